

# ---- The target: what stands there, and every write. Its statements are in the plan ---------------------------------

COPY_HEAD = b"PGCOPY\n\xff\r\n\0" + struct.pack(">ii", 0, 0)
LENGTH = struct.Struct(">i").pack
COPY_TAIL = struct.pack(">h", -1)
NEWER = "a newer migration has taken over the table; this one stops without writing"
COUNTS = "source_rows documents chunks embedded unchanged empty quarantined removed kept lost".split()
Counts = dict[str, int]


def sized(data: bytes) -> bytes:
    """Gives a value of a row of binary COPY."""
    return LENGTH(len(data)) + data


class Rows:
    """Makes the rows of one entity in the format of binary COPY."""

    def __init__(self, entity: str, model: str, shard: int) -> None:
        self.names = sized(entity.encode()) + sized(model.encode())
        self.tail = sized(entity.encode()) + struct.pack(">iii", 4, shard, 1)
        # Count of columns and id; entity and model; chunk; hash; length and version of the key's jsonb.
        self.head = struct.Struct(f">hi16s{len(self.names)}siii32siB").pack

    def stored(self, chunk: Chunk, vector: bytes) -> bytes:
        """Gives a chunk as a row of the target."""
        key, data, metadata = chunk.source_key.encode(), chunk.data, chunk.metadata
        head = self.head(9, 16, chunk.id, self.names, 4, chunk.number, 32, chunk.hash, len(key) + 1, 1)
        lengths = LENGTH(len(data)), LENGTH(len(metadata) + 1), LENGTH(len(vector))
        return b"".join((head, key, lengths[0], data, lengths[1], b"\1", metadata, lengths[2], vector))

    def seen(self, identity: bytes, document: bytes, *, stored: bool) -> bytes:
        """Gives a chunk, or a document without any, as a row of the table of what the source has."""
        return b"\0\5\0\0\0\x10%b\0\0\0\x10%b%b%c" % (identity, document, self.tail, stored)


class Target:
    """PostgreSQL with pgvector. Only the main thread writes; the reader asks on a connection of its own."""

    def __init__(self, url: str, shard: int, shards: int) -> None:
        self.plan, model = PLAN["target"], PLAN["embedding"]["model"]
        self.shard, self.shards, self.epoch = shard, shards, 0
        self.table, self.checkpoint = (
            f"{quoted(self.plan['schema'])}.{quoted(self.plan['table'] + suffix)}" for suffix in ("", "_checkpoint")
        )
        self.bound = {
            "table": self.table, "checkpoint": self.checkpoint, "schema": self.plan["schema"], "model": model,
            "shard": shard, "shards": shards, "keeps": self.plan["on_delete"] == "keep",
            "entities": [entity["name"] for entity in PLAN["entities"]],
        }  # fmt: skip
        self.rows = {entity["name"]: Rows(entity["name"], model, shard) for entity in PLAN["entities"]}
        self.writing, self.asking = connect(url, "target", autocommit=True), connect(url, "target", autocommit=True)

    def run(self, name: str, **values: Any) -> psycopg.Cursor[Any]:
        """Runs a statement of the plan."""
        return self._run(self.writing, self.plan["sql"][name], values)

    def _run(self, connection: psycopg.Connection[Any], sql: str, values: Values) -> psycopg.Cursor[Any]:
        return connection.execute(sql.encode(), self.bound | {"epoch": self.epoch} | values)

    def one(self, name: str, **values: Any) -> Any:
        """Gives the first value of a statement, None without a row."""
        row = self.run(name, **values).fetchone()
        return row[0] if row else None

    def dimensions_there(self) -> int | None:
        """Gives the dimension of a table that an earlier run made."""
        found = re.fullmatch(r"(?:vector|halfvec)\(([0-9]+)\)", self.one("embedding") or "")
        return int(found[1]) if found else None

    def prepare(self, dimensions: int) -> None:
        """Takes the lock, makes what is missing, and refuses what does not fit."""
        self.dimensions, self.type = dimensions, "vector" if dimensions <= VECTOR_LIMIT else "halfvec"
        self.run("settings")
        self.run("relaxed")
        self._lock("lock" if self.shards == 1 else "lock_shared", f"relvec {self.table}")
        self._lock("lock", f"relvec {self.table} {self.shard}")
        wanted = f"{self.type}({dimensions})"
        with self.writing.transaction():
            self.run("lock_setup", lock=f"relvec {self.table}")
            self.extension = self._extension()
            if not self.one("schema"):
                self.run("create_schema")
            if self.one("old_checkpoint"):  # what an older script noted can be found out again
                self.run("drop_checkpoint")
            table = self.plan["sql"]["create_table"].replace("{vector}", f"{self.extension}.{wanted}")
            self._run(self.writing, table, {})
            self.run("create_checkpoint")
            self.run("create_quarantine")
        if (found := self.one("embedding")) != wanted:
            raise Failure(
                f"the table {self.table} has {found or 'no'} embedding where {wanted} is needed; choose another table"
                " in the job, or drop this one",
                "dimension",
            )

    def _lock(self, name: str, lock: str) -> None:
        """Keeps two copies of this script apart, but lets the shards of one run write side by side."""
        until = time.monotonic() + LOCK_SECONDS
        while not self.one(name, lock=lock):
            if time.monotonic() > until:
                raise Failure("another migration into the same table is running; wait for it or stop it", "locked")
            time.sleep(0.2)

    def _extension(self) -> str:
        """Makes sure of pgvector and gives the schema that it is in."""
        if not self.one("available"):
            raise Failure(
                "the target has no pgvector; install it on the server (package postgresql-NN-pgvector, or an image that"
                " has it) and run this again"
            )
        if not self.one("extension"):
            try:
                self.run("create_extension")
            except psycopg.Error as error:
                raise Failure(
                    f"pgvector is installed but not enabled, and this user may not do it ({database_message(error)});"
                    " have an administrator run: CREATE EXTENSION vector"
                ) from None
        return str(self.one("extension"))

    def begin(self, source: Source, readers: list[EntityReader]) -> tuple[dict[str, tuple[Any, Any]], str | None]:
        """Begins a run, or joins the one that another shard began; gives each entity's range of keys, and a snapshot to join."""
        with self.writing.transaction():
            self.run("lock_checkpoint")
            joins, newest = self.one("joins"), self.one("epoch")
            if self.epoch and not joins and newest > self.epoch:
                raise Failure(NEWER, "fenced")
            if joins:
                self.run("forget_shard")
            else:
                self.epoch = newest + 1
                self._begin_anew(source, readers)
            rows = self.run("begin_shard").fetchall()
        self.epoch = rows[0][3]
        return {row[0]: (ast.literal_eval(row[1]), ast.literal_eval(row[2])) for row in rows}, rows[0][4] if joins else None

    def _begin_anew(self, source: Source, readers: list[EntityReader]) -> None:
        self.run("drop_seen")
        self.run("create_seen")
        snapshot = source.export_snapshot() if self.shards > 1 else None
        for reader in readers:
            self.run("forget_checkpoint", entity=reader.name)
            ends = [(), *reader.splits(self.shards), ()]
            for number, (low, high) in enumerate(itertools.pairwise(ends), 1):
                values = {"number": number, "low": repr(low), "high": repr(high), "snapshot": snapshot}
                self.run("add_checkpoint", entity=reader.name, **values)

    def compare(self, entity: str, page: Page, *, is_empty: bool) -> list[Chunk]:
        """Notes what the source has, and gives the chunks that the target lacks or has otherwise."""
        seen = self.rows[entity].seen
        rows = [seen(chunk.id, chunk.document, stored=True) for chunk in page.chunks]
        rows += [seen(document, document, stored=False) for document in page.without_chunks]
        self._copy(self.asking, "copy_seen", rows)
        if is_empty or not page.chunks:
            return page.chunks
        ids = "{" + ",".join([chunk.id.hex() for chunk in page.chunks]) + "}"
        found = self.asking.execute(self.plan["sql"]["known"].encode(), {"ids": ids}, binary=True)
        there, model = {row[0]: row[1:] for row in found}, self.bound["model"]
        missing = [chunk for chunk in page.chunks if there.get(chunk.id) != (chunk.hash, model)]
        for chunk in missing:
            chunk.known = chunk.id in there
        return missing

    def is_empty(self, entity: str) -> bool:
        """Says whether nothing of an entity is there, so that nothing has to be compared."""
        row = self._run(self.asking, self.plan["sql"]["filled"], {"entity": entity}).fetchone()
        return not (row and row[0])

    def write(self, works: list[Work], counts: Counts) -> None:
        """Writes batches of one entity, its checkpoint and its quarantined documents in one transaction."""
        entity, done = works[0].entity, [work.vectors.result() for work in works if work.vectors]
        refused = [*itertools.chain(*(work.read.refused for work in works), *(refusals for _, refusals in done))]
        batch = [chunk for work in works for chunk in work.batch]
        known = [chunk.id.hex() for chunk in batch if chunk.known]
        written = len(batch) - sum(len(refusals) for _, refusals in done)
        last_key = batch[-1].source_key if batch else None
        try:
            with self.writing.transaction():
                documents = sum(work.read.documents for work in works)
                self._fenced("advance", entity=entity, documents=documents, chunks=written, last_key=last_key)
                if known:
                    self.run("replace", ids="{" + ",".join(known) + "}")
                if done:
                    self._copy(self.writing, "copy_rows", (rows for rows, _ in done))
                for identity, key, reason in refused:
                    self.run("set_aside", entity=entity, id=uuid.UUID(bytes=identity), key=key, reason=storable(reason))
        except psycopg.errors.UniqueViolation:
            raise Failure(f"entity `{entity}`: two rows have the same key, or a join multiplies rows", "fan_out") from None
        counts["embedded"] += written

    def _fenced(self, name: str, **values: Any) -> None:
        if self.run(name, **values).rowcount != 1:
            raise Failure(NEWER, "fenced")

    def _copy(self, connection: psycopg.Connection[Any], name: str, rows: Iterable[bytes]) -> None:
        with connection.cursor().copy(self.plan["sql"][name].encode()) as copy:
            copy.write(b"".join([COPY_HEAD, *rows, COPY_TAIL]))

    def finish_shard(self, counts: dict[str, Counts]) -> list[int]:
        """Notes that this shard is through; gives the shards that are not."""
        with self.writing.transaction():
            self.run("durable")
            self.run("lock_checkpoint")
            for entity, found in counts.items():
                self._fenced("finish", entity=entity, counts=json.dumps(found))
            return [row[0] for row in self.run("open_shards")]

    def settle(self) -> dict[str, Counts]:
        """Removes what the source no longer has, and counts both sides by their keys."""
        with self.writing.transaction():
            self.run("durable")
            self.run("old_quarantine")
            self.run("unstore")
            self.run("analyze")
        return {entity: self._settled(entity) for entity in self.bound["entities"]}

    def _settled(self, entity: str) -> Counts:
        """Compares an entity, once more if something had to be removed; gives what all shards did, and what is there."""
        *found, superfluous = self.run("compare", entity=entity).fetchone() or (0,) * 7
        removed = 0
        if superfluous:
            with self.writing.transaction():
                self.run("durable")
                removed = self.run("remove", entity=entity).rowcount
            *found, _ = self.run("compare", entity=entity).fetchone() or (0,) * 7
        documents, chunks, lost, extra, doubled, quarantined = found
        if doubled:
            raise Failure(f"entity `{entity}`: {doubled} keys came twice from the source; is its key unique?", "fan_out")
        if extra and not self.bound["keeps"]:
            log("error", f"entity `{entity}`: {extra} rows came into the target beside this migration")
        parts = [row[0] for row in self.run("counts", entity=entity)]
        counts = {"documents": documents, "chunks": chunks, "quarantined": quarantined, "removed": removed, "lost": lost}
        counts["kept"] = extra if self.bound["keeps"] else 0
        return {name: sum(part[name] for part in parts) for name in COUNTS} | counts

    def index(self) -> None:
        """Builds the HNSW index once, after the load; it is kept up to date from then on."""
        self.run("drop_seen")
        if self.dimensions > HNSW_LIMIT:
            log("warn", f"no index: HNSW takes up to {HNSW_LIMIT} dimensions; searches read the whole table")
        if self.dimensions > HNSW_LIMIT or self.one("index"):
            return
        log("info", "building the HNSW index")
        self.writing.patience = INDEX_SECONDS
        wanted = self.one("rows") * (self.dimensions * 4 + 512) * 3 // 2 // 2**20
        self.writing.execute(f"SET maintenance_work_mem = '{min(self._memory(), max(64, wanted))}MB'".encode())
        operators = f"{self.extension}.{self.type}_cosine_ops"
        create = self.plan["sql"]["create_index"].replace("{operators}", operators).encode()
        try:
            self.writing.execute(create)
        except (psycopg.errors.DiskFull, psycopg.errors.OutOfMemory, psycopg.errors.InternalError):
            # Containers often have little shared memory, which only a parallel build needs.
            self.writing.execute(b"SET max_parallel_maintenance_workers = 0")
            self.writing.execute(create)

    def _memory(self) -> int:
        """Gives the megabytes that a build of the index may take: a quarter of the server's, if it may say so."""
        try:
            found = re.search(r"MemTotal: *([0-9]+) kB", str(self.one("memory")))
        except psycopg.Error:
            found = None
        return int(found[1]) // 4096 if found else 1024
