

# ---- The run: reader, embedding threads, writer ---------------------------------------------------------------------


class Batcher:
    """Groups texts into requests by items, tokens and bytes."""

    def __init__(self) -> None:
        plan = PLAN["embedding"]
        self.items = min(plan["batch_items"], MOST_ITEMS)
        self.limit = min(plan["batch_tokens"] * ESTIMATE_BYTES_A_TOKEN, REQUEST_BYTES)
        self.chunks: list[Chunk] = []
        self.size = 0

    def add(self, chunk: Chunk) -> list[Chunk]:
        """Adds a chunk; gives a batch where the chunk begins a new one."""
        size = len(chunk.data)
        full = self.chunks and (len(self.chunks) >= self.items or self.size + size > self.limit)
        batch = self.take() if full else []
        self.chunks.append(chunk)
        self.size += size
        return batch

    def take(self) -> list[Chunk]:
        """Gives what is there."""
        batch, self.chunks, self.size = self.chunks, [], 0
        return batch


class Migration:
    """One pass over the source: joins reader, embedding threads and writer through a bounded queue."""

    def __init__(self, readers: list[EntityReader], embedder: Embedder, target: Target, counts: dict[str, Counts]) -> None:
        self.readers, self.embedder, self.target, self.counts = readers, embedder, target, counts
        self.stop, self.over = embedder.stop, threading.Event()
        self.pool = ThreadPoolExecutor(embedder.concurrency, thread_name_prefix="embed")
        self.queue: queue.Queue[Work | BaseException | None] = queue.Queue(2 * embedder.concurrency + 2)

    def run(self) -> None:
        """Migrates every entity; returns when everything is written."""
        total = sum(counts.source_rows for counts in self.counts.values())
        done = 0
        threading.Thread(target=self._read, name="reader", daemon=True).start()
        try:
            for works in self._transactions():
                self.target.write(works, self.counts[works[0].entity])
                done += sum(work.read.documents for work in works)
                CONSOLE.progress(done, total)
        finally:
            self.over.set()
            self.pool.shutdown(wait=False, cancel_futures=True)
        CONSOLE.progress(done, total, last=True)

    def _transactions(self) -> Iterator[list[Work]]:
        """Gives in order what can be written at once: works of one entity that do not wait for the API."""
        ready: list[Work] = []
        while True:
            if ready and self.queue.empty():
                yield ready
                ready = []
            work = self.queue.get()
            joins = isinstance(work, Work) and ready and work.entity == ready[0].entity and work.is_ready()
            if ready and not (joins and sum(len(one.batch) for one in ready) < WRITE_ROWS):
                yield ready
                ready = []
            if isinstance(work, BaseException):
                raise work
            if work is None:
                return
            ready.append(work)

    def _read(self) -> None:
        outcome: BaseException | None = None
        try:
            for reader in self.readers:
                self._read_entity(reader)
        except BaseException as error:  # it belongs to the main thread
            outcome = error
        with contextlib.suppress(Interrupted):  # the main thread may be past it
            self._put(outcome)

    def _read_entity(self, reader: EntityReader) -> None:
        name, counts, batcher = reader.name, self.counts[reader.name], Batcher()
        is_empty = self.target.is_empty(name)
        for page in reader.pages():
            missing = self.target.compare(name, page, is_empty)
            counts.empty += page.empty
            counts.unchanged += len(page.chunks) - len(missing)
            page.chunks = []
            self._put(Work(name, read=page))
            for chunk in missing:
                if batch := batcher.add(chunk):
                    self._embed(name, batch)
            if self.stop.is_set():  # what was sent to the API is still written
                raise Interrupted
        if batch := batcher.take():
            self._embed(name, batch)

    def _embed(self, entity: str, batch: list[Chunk]) -> None:
        self._put(Work(entity, batch=batch, vectors=self.pool.submit(self._embedded, entity, batch)))

    def _embedded(self, entity: str, batch: list[Chunk]) -> tuple[bytes, list[Refused]]:
        """Asks for a batch's vectors; gives the rows for the target, and what the API refused."""
        vectors = self.embedder.embed([chunk.text for chunk in batch])
        stored = self.target.rows[entity].stored
        both = list(zip(batch, vectors, strict=True))
        rows = [stored(chunk, vector) for chunk, vector in both if isinstance(vector, bytes)]
        refused = [(chunk.document, chunk.source_key, reason) for chunk, reason in both if isinstance(reason, str)]
        return b"".join(rows), refused

    def _put(self, work: Work | BaseException | None) -> None:
        while not self.over.is_set():
            try:
                self.queue.put(work, timeout=0.1)
                return
            except queue.Full:
                continue
        raise Interrupted
