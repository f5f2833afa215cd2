

# ---- The target: what stands there, and every write -----------------------------------------------------------------


class Target:
    """PostgreSQL with pgvector. Only the main thread writes; the reader asks on a connection of its own."""

    def __init__(self, url: str) -> None:
        plan = PLAN["target"]
        self.schema, self.name, self.model = plan["schema"], plan["table"], PLAN["embedding"]["model"]
        self.table, self.checkpoint, self.quarantine = (
            f"{quoted(self.schema)}.{quoted(self.name + suffix)}" for suffix in ("", "_checkpoint", "_quarantine")
        )
        self.dimensions, self.type, self.epoch = 0, "", 0
        self.connection = connect(url, "target", autocommit=True)
        self.asking = connect(url, "target", autocommit=True)

    def run(self, sql: str, *values: Any) -> psycopg.Cursor[Any]:
        """Runs a statement made of this file's texts and quoted names."""
        return self.connection.execute(sql.encode(), values or None)

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
        self.dimensions = dimensions
        self.type = "vector" if dimensions <= VECTOR_LIMIT else "halfvec"
        self.run("SET statement_timeout = 0")  # building the index takes its time
        self._lock()
        extension = self._extension()
        if not self.one("SELECT 1 FROM pg_namespace WHERE nspname = %s", self.schema):
            self.run(f"CREATE SCHEMA {quoted(self.schema)}")
        vector = f"{quoted(extension)}.{self.type}({self.dimensions})"
        columns = (
            "id uuid PRIMARY KEY, entity text NOT NULL, source_key jsonb NOT NULL, chunk integer NOT NULL,"
            f" content text NOT NULL, content_hash bytea NOT NULL, embedding {vector} NOT NULL, metadata jsonb NOT NULL"
        )
        with self.connection.transaction():
            self.run(
                f"CREATE TABLE IF NOT EXISTS {self.table} ({columns}, model text NOT NULL,"
                " migrated_at timestamptz NOT NULL DEFAULT now())"
            )
            self.run(
                f"CREATE TABLE IF NOT EXISTS {self.checkpoint} (entity text PRIMARY KEY, epoch bigint NOT NULL,"
                " last_key jsonb, documents bigint NOT NULL DEFAULT 0, chunks bigint NOT NULL DEFAULT 0,"
                " finished boolean NOT NULL DEFAULT false, updated_at timestamptz NOT NULL DEFAULT now())"
            )
            self.run(
                f"CREATE TABLE IF NOT EXISTS {self.quarantine} (id uuid PRIMARY KEY, entity text NOT NULL,"
                " source_key jsonb NOT NULL, reason text NOT NULL, epoch bigint NOT NULL,"
                " quarantined_at timestamptz NOT NULL DEFAULT now())"
            )
            found, wanted = self.embedding_type(), f"{self.type}({self.dimensions})"
            if found != wanted:
                raise Failure(
                    f"the table {self.table} has {found or 'no'} embedding where {wanted} is needed;"
                    " choose another table in the job, or drop this one"
                )
            self.epoch = 1 + self.one(f"SELECT coalesce(max(epoch), 0) FROM {self.checkpoint}")  # nosec B608: quoted
            for entity in PLAN["entities"]:
                self.run(
                    f"INSERT INTO {self.checkpoint} (entity, epoch) VALUES (%s, %s) ON CONFLICT (entity) DO UPDATE"  # nosec B608: quoted
                    " SET epoch = excluded.epoch, last_key = NULL, documents = 0, chunks = 0, finished = false",
                    entity["name"], self.epoch,
                )  # fmt: skip
        self.run(f"CREATE TEMPORARY TABLE relvec_staging ({columns}) ON COMMIT DELETE ROWS")
        self.run(
            "CREATE TEMPORARY TABLE relvec_seen (id uuid PRIMARY KEY, document uuid NOT NULL, entity text NOT NULL)"
        )

    def _lock(self) -> None:
        """Keeps two copies of this script apart; the epoch would stop the older one anyway."""
        until = time.monotonic() + LOCK_SECONDS
        while not self.one("SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", f"relvec {self.table}"):
            if time.monotonic() > until:
                raise Failure("another migration into the same table is running; wait for it or stop it")
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

    def is_empty(self, entity: str) -> bool:
        """Says whether nothing of an entity is there, so that nothing has to be compared."""
        sql = f"SELECT 1 FROM {self.table} WHERE entity = %s LIMIT 1"  # nosec B608: quoted
        return self.asking.execute(sql.encode(), [entity]).fetchone() is None

    def known(self, chunks: list[Chunk]) -> dict[bytes, bytes]:
        """Gives the hashes that the target has for these ids under the plan's model."""
        sql = f"SELECT id, content_hash FROM {self.table} WHERE id = ANY(%s) AND model = %s"  # nosec B608: quoted
        ids = [uuid.UUID(bytes=chunk.id) for chunk in chunks]
        rows = self.asking.execute(sql.encode(), [ids, self.model], binary=True)
        return {row[0].bytes: row[1] for row in rows}

    def write(self, works: list[Work], counts: Counts) -> None:
        """Writes pages and batches of one entity, its checkpoint and its quarantined documents in one transaction."""
        entity = works[0].entity
        read = [document for work in works for document in work.read]
        vectors = [
            pair for work in works if work.vectors for pair in zip(work.batch, work.vectors.result(), strict=True)
        ]
        refused = {document.id: (document.source_key, document.problem) for document in read if document.problem}
        refused |= {chunk.document: (chunk.source_key, reason) for chunk, reason in vectors if isinstance(reason, str)}
        rows = [(chunk, vector) for chunk, vector in vectors if isinstance(vector, bytes)]
        try:
            with self.connection.transaction():
                seen = (chunk for document in read for chunk in document.chunks)
                name = entity.encode()
                self._copy(
                    "relvec_seen (id, document, entity)", (copy_row(chunk.id, chunk.document, name) for chunk in seen)
                )
                if rows:
                    self._upsert(entity, rows)
                for identity, (key, reason) in refused.items():
                    self._set_aside(entity, uuid.UUID(bytes=identity), key, reason)
                last_key = rows[-1][0].source_key if rows else None
                fenced = self.run(
                    f"UPDATE {self.checkpoint} SET documents = documents + %s, chunks = chunks + %s,"  # nosec B608: quoted
                    " last_key = coalesce(%s::jsonb, last_key), updated_at = now() WHERE entity = %s AND epoch = %s",
                    len(read), len(rows), last_key, entity, self.epoch,
                )  # fmt: skip
                if fenced.rowcount != 1:
                    raise Failure("a newer migration has taken over the table; this one stops without writing")
        except psycopg.errors.UniqueViolation:
            raise Failure(f"entity `{entity}`: two rows have the same key, or a join multiplies rows") from None
        counts.embedded += len(rows)

    def _copy(self, into: str, rows: Iterable[bytes]) -> None:
        with self.connection.cursor().copy(f"COPY {into} FROM STDIN (FORMAT binary)".encode()) as copy:
            copy.write(b"".join([COPY_HEAD, *rows, COPY_TAIL]))

    def _upsert(self, entity: str, rows: list[tuple[Chunk, bytes]]) -> None:
        name = entity.encode()
        self._copy(f"relvec_staging ({COLUMNS})", (
            copy_row(
                chunk.id, name, b"\x01" + chunk.source_key.encode(), struct.pack(">i", chunk.number),
                chunk.text.encode(), chunk.hash, vector, b"\x01" + chunk.metadata.encode(),
            )
            for chunk, vector in rows
        ))  # fmt: skip
        assignments = ", ".join(
            f"{column} = excluded.{column}" for column in f"{COLUMNS}, model, migrated_at".split(", ")
        )
        self.run(
            f"INSERT INTO {self.table} AS t ({COLUMNS}, model, migrated_at)"  # nosec B608: quoted
            f" SELECT {COLUMNS}, %s, now() FROM relvec_staging ON CONFLICT (id) DO UPDATE SET {assignments}"
            " WHERE (t.content_hash, t.model) IS DISTINCT FROM (excluded.content_hash, excluded.model)",
            self.model,
        )

    def _set_aside(self, entity: str, identity: uuid.UUID, key: str, reason: str | None) -> None:
        self.run("DELETE FROM relvec_seen WHERE document = %s", identity)
        self.run(
            f"INSERT INTO {self.quarantine} (id, entity, source_key, reason, epoch) VALUES (%s, %s, %s, %s, %s)"  # nosec B608: quoted
            " ON CONFLICT (id) DO UPDATE SET reason = excluded.reason, epoch = excluded.epoch",
            identity, entity, key, storable(reason or ""), self.epoch,
        )  # fmt: skip

    def settle(self, entity: str, counts: Counts) -> None:
        """Removes what the source no longer has, then counts both sides by their keys."""
        unseen = "NOT EXISTS (SELECT 1 FROM relvec_seen s WHERE s.id = t.id)"
        with self.connection.transaction():
            self.run(f"DELETE FROM {self.quarantine} WHERE entity = %s AND epoch <> %s", entity, self.epoch)  # nosec B608: quoted
            removed = self.run(f"DELETE FROM {self.table} t WHERE entity = %s AND {unseen}", entity)  # nosec B608: quoted
            done = f"UPDATE {self.checkpoint} SET finished = true, updated_at = now() WHERE entity = %s AND epoch = %s"  # nosec B608: quoted
            if self.run(done, entity, self.epoch).rowcount != 1:
                raise Failure("a newer migration has taken over the table; this one stops without writing")
        counts.removed = removed.rowcount
        counts.documents, counts.chunks, extra = self.run(
            f"SELECT count(*) FILTER (WHERE chunk = 0), count(*), count(*) FILTER (WHERE {unseen})"  # nosec B608: quoted
            f" FROM {self.table} t WHERE entity = %s AND model = %s",
            entity, self.model,
        ).fetchone() or (0, 0, 0)  # fmt: skip
        counts.quarantined = self.one(f"SELECT count(*) FROM {self.quarantine} WHERE entity = %s", entity)  # nosec B608: quoted
        counts.lost = self.one(
            "SELECT count(DISTINCT s.document) FROM relvec_seen s WHERE s.entity = %s AND NOT EXISTS"
            f" (SELECT 1 FROM {self.table} t WHERE t.id = s.id AND t.model = %s)",  # nosec B608: quoted
            entity, self.model,
        )  # fmt: skip
        if extra:
            CONSOLE.log("error", f"entity `{entity}`: {extra} rows came into the target beside this migration")

    def index(self) -> None:
        """Builds the HNSW index once, after the load; it is kept up to date from then on."""
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
        megabytes = min(1024, max(64, chunks * (self.dimensions * 4 + 512) * 3 // 2 // 2**20))
        self.run(f"SET maintenance_work_mem = '{megabytes}MB'")
        name, extension = quoted(f"{self.name}_embedding_hnsw"), quoted(self._extension())
        create = f"CREATE INDEX {name} ON {self.table} USING hnsw (embedding {extension}.{self.type}_cosine_ops)"
        try:
            self.run(create)
        except (psycopg.errors.DiskFull, psycopg.errors.OutOfMemory, psycopg.errors.InternalError):
            # Containers often have little shared memory, which only a parallel build needs.
            self.run("SET max_parallel_maintenance_workers = 0")
            self.run(create)
