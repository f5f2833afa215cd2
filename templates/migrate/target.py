

# ---- The target: what stands there, and every write -----------------------------------------------------------------

NEWER = "a newer migration has taken over the table; this one stops without writing"


class Target:
    """PostgreSQL with pgvector. Only the main thread writes; the reader asks on a connection of its own."""

    def __init__(self, url: str, shard: int, shards: int) -> None:
        plan = PLAN["target"]
        self.schema, self.name, self.model = plan["schema"], plan["table"], PLAN["embedding"]["model"]
        self.table, self.checkpoint, self.quarantine, self.seen = (
            f"{quoted(self.schema)}.{quoted(self.name + suffix)}"
            for suffix in ("", "_checkpoint", "_quarantine", "_seen")
        )
        self.shard, self.shards, self.epoch, self.type = shard, shards, 0, ""
        self.rows = {entity["name"]: Rows(entity["name"], shard) for entity in PLAN["entities"]}
        self.writing = connect(url, "target", autocommit=True)
        self.asking = connect(url, "target", autocommit=True)

    def run(self, sql: str, *values: Any) -> psycopg.Cursor[Any]:
        """Runs a statement made of this file's texts and quoted names."""
        return self.writing.execute(sql.encode(), values or None)

    def one(self, sql: str, *values: Any) -> Any:
        """Gives the first value of a statement, None without a row."""
        row = self.run(sql, *values).fetchone()
        return row[0] if row else None

    def embedding_type(self) -> str | None:
        """Gives the type of the embedding column that is there, such as `vector(384)`."""
        found = self.one(
            "SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = to_regclass(%s)"
            " AND attname = 'embedding' AND NOT attisdropped",
            self.table,
        )
        return str(found).rsplit(".", 1)[-1] if found else None

    def dimensions_there(self) -> int | None:
        """Gives the dimension of a table that an earlier run made."""
        found = re.fullmatch(r"(?:vector|halfvec)\(([0-9]+)\)", self.embedding_type() or "")
        return int(found[1]) if found else None

    def prepare(self, dimensions: int) -> None:
        """Takes the lock, makes what is missing, and refuses what does not fit."""
        self.dimensions, self.type = dimensions, "vector" if dimensions <= VECTOR_LIMIT else "halfvec"
        self.run("SET statement_timeout = 0")  # building the index takes its time
        # A batch and its checkpoint are lost together if the server crashes, and written again; the end is durable.
        self.run("SET synchronous_commit = off")
        self._lock()
        extension = self._extension()
        if not self.one("SELECT 1 FROM pg_namespace WHERE nspname = %s", self.schema):
            self.run(f"CREATE SCHEMA IF NOT EXISTS {quoted(self.schema)}")
        vector = f"{quoted(extension)}.{self.type}({dimensions})"
        with self.writing.transaction():
            self.run("SELECT pg_advisory_xact_lock(hashtextextended(%s, 1))", f"relvec {self.table}")
            self.run(
                f"CREATE TABLE IF NOT EXISTS {self.table} (id uuid PRIMARY KEY, entity text NOT NULL,"
                " source_key jsonb NOT NULL, chunk integer NOT NULL, content text NOT NULL, content_hash bytea NOT"
                f" NULL, embedding {vector} NOT NULL, metadata jsonb NOT NULL, model text NOT NULL,"
                " migrated_at timestamptz NOT NULL DEFAULT now())"
            )
            shard = "SELECT 1 FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attname = 'shard'"
            if not self.one(shard, self.checkpoint):  # it may be an older script's; what it says can be found out again
                self.run(f"DROP TABLE IF EXISTS {self.checkpoint}")
            self.run(
                f"CREATE TABLE IF NOT EXISTS {self.checkpoint} (entity text, shard integer, shards integer NOT NULL,"
                " epoch bigint NOT NULL, low text NOT NULL, high text NOT NULL, snapshot text, last_key jsonb, documents"
                " bigint NOT NULL DEFAULT 0, chunks bigint NOT NULL DEFAULT 0, counts jsonb, finished boolean NOT NULL"
                " DEFAULT false, updated_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (entity, shard))"
            )
            self.run(
                f"CREATE TABLE IF NOT EXISTS {self.quarantine} (id uuid PRIMARY KEY, entity text NOT NULL,"
                " source_key jsonb NOT NULL, reason text NOT NULL, epoch bigint NOT NULL,"
                " quarantined_at timestamptz NOT NULL DEFAULT now())"
            )
        found, wanted = self.embedding_type(), f"{self.type}({dimensions})"
        if found != wanted:
            raise Failure(
                f"the table {self.table} has {found or 'no'} embedding where {wanted} is needed; choose another table"
                " in the job, or drop this one",
                "dimension",
            )

    def _lock(self) -> None:
        """Keeps two copies of this script apart, but lets the shards of one run write side by side."""
        kind = "" if self.shards == 1 else "_shared"
        locks = {f"relvec {self.table}": kind, f"relvec {self.table} {self.shard}": ""}
        until = time.monotonic() + LOCK_SECONDS
        for name, suffix in locks.items():
            while not self.one(f"SELECT pg_try_advisory_lock{suffix}(hashtextextended(%s, 0))", name):  # nosec B608
                if time.monotonic() > until:
                    raise Failure(
                        "another migration into the same table is running; wait for it or stop it", "locked"
                    )
                time.sleep(0.2)

    def _extension(self) -> str:
        """Makes sure of pgvector and gives the schema that it is in."""
        find = (
            "SELECT n.nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace"
            " WHERE e.extname = 'vector'"
        )
        if not self.one("SELECT 1 FROM pg_available_extensions WHERE name = 'vector'"):
            raise Failure(
                "the target has no pgvector; install it on the server (package postgresql-NN-pgvector, or an image that"
                " has it) and run this again"
            )
        if not self.one(find):
            try:
                self.run("CREATE EXTENSION IF NOT EXISTS vector")
            except psycopg.Error as error:
                raise Failure(
                    f"pgvector is installed but not enabled, and this user may not do it ({database_message(error)});"
                    " have an administrator run: CREATE EXTENSION vector"
                ) from None
        return str(self.one(find))

    def begin(self, source: Source, readers: list[EntityReader]) -> tuple[dict[str, tuple[Any, Any]], str | None]:
        """Begins a run, or joins the one that another shard began; gives the key range of each entity, and the name of
        the snapshot where another shard has one."""
        names = [reader.name for reader in readers]
        with self.writing.transaction():
            self.run(f"LOCK TABLE {self.checkpoint} IN SHARE ROW EXCLUSIVE MODE")
            mine = f"FROM {self.checkpoint} WHERE entity = ANY(%s) AND shards = %s AND epoch >= %s"
            joins = self.one(f"SELECT 1 {mine} AND NOT finished AND shards > 1", names, self.shards, self.epoch)  # nosec B608: quoted
            newest = self.one(f"SELECT coalesce(max(epoch), 0) FROM {self.checkpoint}")  # nosec B608: quoted
            if self.epoch and not joins and newest > self.epoch:
                raise Failure(NEWER, "fenced")
            if joins:
                self.run(f"DELETE FROM {self.seen} WHERE shard = %s", self.shard)  # nosec B608: quoted
            else:
                self.epoch = newest + 1
                self._begin_anew(source, readers)
            ranges = self.run(
                f"UPDATE {self.checkpoint} SET documents = 0, chunks = 0, finished = false WHERE entity = ANY(%s)"  # nosec B608: quoted
                " AND shard = %s RETURNING entity, low, high, epoch, snapshot",
                names, self.shard,
            ).fetchall()  # fmt: skip
        self.epoch = ranges[0][3] if ranges else 1
        found = {row[0]: (ast.literal_eval(row[1]), ast.literal_eval(row[2])) for row in ranges}
        return found, ranges[0][4] if ranges and joins else None

    def _begin_anew(self, source: Source, readers: list[EntityReader]) -> None:
        self.run(f"DROP TABLE IF EXISTS {self.seen}")
        self.run(
            f"CREATE UNLOGGED TABLE {self.seen} (id uuid NOT NULL, document uuid NOT NULL, entity text NOT NULL,"
            " shard integer NOT NULL, stored boolean NOT NULL)"
        )
        snapshot = source.export_snapshot() if self.shards > 1 else None
        for reader in readers:
            self.run(f"DELETE FROM {self.checkpoint} WHERE entity = %s", reader.name)  # nosec B608: quoted
            ends = [(), *reader.splits(self.shards), ()]
            for shard in range(1, self.shards + 1):
                self.run(
                    f"INSERT INTO {self.checkpoint} (entity, shard, shards, epoch, low, high, snapshot)"  # nosec B608: quoted
                    " VALUES (%s, %s, %s, %s, %s, %s, %s)",
                    reader.name, shard, self.shards, self.epoch, repr(ends[shard - 1]), repr(ends[shard]), snapshot,
                )  # fmt: skip

    def compare(self, entity: str, page: Page, is_empty: bool) -> list[Chunk]:
        """Notes what the source has, and gives the chunks that the target lacks or has otherwise."""
        rows = self.rows[entity]
        seen = [rows.seen(chunk.id, chunk.document, True) for chunk in page.chunks]
        unstored = [rows.seen(document, document, False) for document in page.without_chunks]
        self._copy(self.asking, self.seen, seen + unstored)
        if is_empty or not page.chunks:
            return page.chunks
        sql = f"SELECT uuid_send(id), content_hash, model FROM {self.table} WHERE id = ANY(%s::uuid[])"  # nosec B608: quoted
        ids = "{" + ",".join([chunk.id.hex() for chunk in page.chunks]) + "}"
        there = {row[0]: row[1:] for row in self.asking.execute(sql.encode(), [ids], binary=True)}
        missing = [chunk for chunk in page.chunks if there.get(chunk.id) != (chunk.hash, self.model)]
        for chunk in missing:
            chunk.known = chunk.id in there
        return missing

    def is_empty(self, entity: str) -> bool:
        """Says whether nothing of an entity is there, so that nothing has to be compared."""
        sql = f"SELECT 1 FROM {self.table} WHERE entity = %s LIMIT 1"  # nosec B608: quoted
        return self.asking.execute(sql.encode(), [entity]).fetchone() is None

    def write(self, works: list[Work], counts: Counts) -> None:
        """Writes batches of one entity, its checkpoint and its quarantined documents in one transaction."""
        entity = works[0].entity
        done = [work.vectors.result() for work in works if work.vectors]
        refused = [*itertools.chain(*(work.read.refused for work in works), *(refusals for _, refusals in done))]
        batch = [chunk for work in works for chunk in work.batch]
        known = [uuid.UUID(bytes=chunk.id) for chunk in batch if chunk.known]
        written = len(batch) - sum(len(refusals) for _, refusals in done)
        last_key = batch[-1].source_key if batch else None
        try:
            with self.writing.transaction():
                fenced = self.run(
                    f"UPDATE {self.checkpoint} SET documents = documents + %s, chunks = chunks + %s,"  # nosec B608: quoted
                    " last_key = coalesce(%s::jsonb, last_key), updated_at = now()"
                    " WHERE entity = %s AND shard = %s AND epoch = %s",
                    sum(work.read.documents for work in works), written, last_key, entity, self.shard, self.epoch,
                )  # fmt: skip
                if fenced.rowcount != 1:
                    raise Failure(NEWER, "fenced")
                if known:
                    self.run(f"DELETE FROM {self.table} WHERE id = ANY(%s)", known)  # nosec B608: quoted
                if done:
                    self._copy(self.writing, f"{self.table} ({COLUMNS})", (rows for rows, _ in done))
                for identity, key, reason in refused:
                    self._set_aside(entity, uuid.UUID(bytes=identity), key, reason)
        except psycopg.errors.UniqueViolation:
            raise Failure(f"entity `{entity}`: two rows have the same key, or a join multiplies rows") from None
        counts.embedded += written

    @staticmethod
    def _copy(connection: psycopg.Connection[Any], into: str, rows: Iterable[bytes]) -> None:
        with connection.cursor().copy(f"COPY {into} FROM STDIN (FORMAT binary)".encode()) as copy:
            copy.write(b"".join([COPY_HEAD, *rows, COPY_TAIL]))

    def _set_aside(self, entity: str, identity: uuid.UUID, key: str, reason: str) -> None:
        self.run(
            f"INSERT INTO {self.quarantine} (id, entity, source_key, reason, epoch) VALUES (%s, %s, %s, %s, %s)"  # nosec B608: quoted
            " ON CONFLICT (id) DO UPDATE SET reason = excluded.reason, epoch = excluded.epoch",
            identity, entity, key, storable(reason), self.epoch,
        )  # fmt: skip

    def finish_shard(self, counts: dict[str, Counts]) -> list[int]:
        """Notes that this shard is through; gives the shards that are not."""
        with self.writing.transaction():
            self.run("SET LOCAL synchronous_commit = on")
            self.run(f"LOCK TABLE {self.checkpoint} IN SHARE ROW EXCLUSIVE MODE")
            for entity, found in counts.items():
                done = self.run(
                    f"UPDATE {self.checkpoint} SET finished = true, counts = %s, updated_at = now()"  # nosec B608: quoted
                    " WHERE entity = %s AND shard = %s AND epoch = %s",
                    json.dumps(vars(found)), entity, self.shard, self.epoch,
                )  # fmt: skip
                if done.rowcount != 1:
                    raise Failure(NEWER, "fenced")
            open_shards = self.run(
                f"SELECT DISTINCT shard FROM {self.checkpoint} WHERE epoch = %s AND NOT finished ORDER BY shard",  # nosec B608: quoted
                self.epoch,
            ).fetchall()
        return [row[0] for row in open_shards]

    def settle(self, entity: str) -> Counts:
        """Removes what the source no longer has, then counts both sides by their keys; gives what all shards did."""
        keeps = PLAN["target"]["on_delete"] == "keep"
        names = {"entity": entity, "epoch": self.epoch, "model": self.model, "keeps": keeps}
        gone = f"entity = %(entity)s AND NOT EXISTS (SELECT 1 FROM {self.seen} s WHERE s.id = t.id AND s.stored)"
        if keeps:  # pieces of documents that have become shorter go all the same
            gone += f" AND source_key IN (SELECT k.source_key FROM {self.table} k JOIN {self.seen} USING (id))"  # nosec B608
        with self.writing.transaction():
            for sql in (
                "SET LOCAL synchronous_commit = on",
                f"DELETE FROM {self.quarantine} WHERE entity = %(entity)s AND epoch <> %(epoch)s",  # nosec B608: quoted
                f"UPDATE {self.seen} s SET stored = false FROM {self.quarantine} q WHERE q.id = s.document",  # nosec B608
                f"ANALYZE {self.seen}",
            ):
                self.writing.execute(sql.encode(), names)
            removed = self.writing.execute(f"DELETE FROM {self.table} t WHERE {gone}".encode(), names).rowcount  # nosec B608
        sql = (
            "SELECT count(DISTINCT s.document) FILTER (WHERE t.id IS NOT NULL), count(t.id) FILTER (WHERE s.stored),"  # nosec B608
            " count(DISTINCT s.document) FILTER (WHERE s.stored AND t.id IS NULL),"
            " count(*) FILTER (WHERE s.id IS NULL AND chunk = 0), count(s.id) - count(DISTINCT s.id),"
            f" (SELECT count(*) FROM {self.quarantine} WHERE entity = %(entity)s)"
            f" FROM (SELECT * FROM {self.seen} WHERE entity = %(entity)s) s FULL JOIN (SELECT id, chunk FROM {self.table}"
            " WHERE entity = %(entity)s AND (model = %(model)s OR %(keeps)s)) t ON t.id = s.id"
        )
        found = self.writing.execute(sql.encode(), names).fetchone() or (0,) * 6
        documents, chunks, lost, extra, doubled, quarantined = found
        if doubled:
            raise Failure(f"entity `{entity}`: {doubled} keys came twice from the source; is its key unique?", "fan_out")
        if extra and not keeps:
            CONSOLE.log("error", f"entity `{entity}`: {extra} rows came into the target beside this migration")
        shards = f"SELECT counts FROM {self.checkpoint} WHERE entity = %(entity)s AND epoch = %(epoch)s"  # nosec B608: quoted
        parts = [row[0] for row in self.writing.execute(shards.encode(), names)]
        counts = Counts(**{name: sum(part[name] for part in parts) for name in vars(Counts())})
        counts.documents, counts.chunks, counts.lost, counts.kept = documents, chunks, lost, extra if keeps else 0
        counts.quarantined, counts.removed = quarantined, removed
        return counts

    def index(self) -> None:
        """Builds the HNSW index once, after the load; it is kept up to date from then on."""
        self.run(f"DROP TABLE {self.seen}")
        if self.dimensions > HNSW_LIMIT:
            CONSOLE.log("warn", f"no index: HNSW takes up to {HNSW_LIMIT} dimensions; searches read the whole table")
            return
        there = self.one(
            "SELECT 1 FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am a ON a.oid = c.relam"
            " WHERE i.indrelid = %s::regclass AND a.amname = 'hnsw' AND i.indisvalid",
            self.table,
        )
        if there:
            return
        CONSOLE.log("info", "building the HNSW index")
        chunks = self.one(f"SELECT count(*) FROM {self.table}")  # nosec B608: quoted
        megabytes = min(self._memory(), max(64, chunks * (self.dimensions * 4 + 512) * 3 // 2 // 2**20))
        self.run(f"SET maintenance_work_mem = '{megabytes}MB'")
        name, extension = quoted(f"{self.name}_embedding_hnsw"), quoted(self._extension())
        create = f"CREATE INDEX {name} ON {self.table} USING hnsw (embedding {extension}.{self.type}_cosine_ops)"
        try:
            self.run(create)
        except (psycopg.errors.DiskFull, psycopg.errors.OutOfMemory, psycopg.errors.InternalError):
            # Containers often have little shared memory, which only a parallel build needs.
            self.run("SET max_parallel_maintenance_workers = 0")
            self.run(create)

    def _memory(self) -> int:
        """Gives the megabytes that a build of the index may take: a quarter of the server's, if it may say so."""
        try:
            found = re.search(r"MemTotal: *([0-9]+) kB", str(self.one("SELECT pg_read_file('/proc/meminfo', 0, 1000)")))
        except psycopg.Error:
            found = None
        return int(found[1]) // 4096 if found else 1024
