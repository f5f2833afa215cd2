

# ---- The run: reader, embedding threads, writer ---------------------------------------------------------------------


class Batcher:
    """Groups texts into requests by items, tokens and bytes."""

    def __init__(self) -> None:
        plan = PLAN["embedding"]
        self.items = min(plan["batch_items"], MOST_ITEMS)
        self.limit = min(plan["batch_tokens"] * BYTES_A_TOKEN, REQUEST_BYTES)
        self.chunks: list[Chunk] = []
        self.size = 0

    def add(self, chunk: Chunk) -> list[Chunk]:
        """Adds a chunk; gives a batch where the chunk begins a new one."""
        full = self.chunks and (len(self.chunks) >= self.items or self.size + len(chunk.data) > self.limit)
        batch = self.take() if full else []
        self.chunks.append(chunk)
        self.size += len(chunk.data)
        return batch

    def take(self) -> list[Chunk]:
        """Gives what is there."""
        batch, self.chunks, self.size = self.chunks, [], 0
        return batch


@dataclass
class Work:
    """What is to be written: a page of documents that were read, or a batch that is being embedded."""

    entity: str
    read: Page = field(default_factory=Page)
    batch: list[Chunk] = field(default_factory=list)
    vectors: Future[tuple[bytes, list[Refused]]] | None = None  # rows for the target, and what the API refused


class Migration:
    """One pass over the source: joins reader, embedding threads and writer through a bounded queue."""

    def __init__(self, readers: list[EntityReader], embedder: Embedder, target: Target, counts: dict[str, Counts]) -> None:
        self.readers, self.embedder, self.target, self.counts = readers, embedder, target, counts
        self.over = threading.Event()
        self.pool = ThreadPoolExecutor(embedder.concurrency, thread_name_prefix="embed")
        self.queue: queue.Queue[Work | BaseException | None] = queue.Queue(2 * embedder.concurrency + 2)

    def run(self) -> None:
        """Migrates every entity; returns when everything is written."""
        progress = Progress(sum(counts["source_rows"] for counts in self.counts.values()))
        threading.Thread(target=self._read, name="reader", daemon=True).start()
        try:
            for works in self._transactions():
                self.target.write(works, self.counts[works[0].entity])
                progress.add(sum(work.read.documents for work in works))
        finally:
            self.over.set()
            self.pool.shutdown(wait=False, cancel_futures=True)
        progress.add(0, last=True)

    def _transactions(self) -> Iterator[list[Work]]:
        """Gives in order what can be written at once: works of one entity that do not wait for the API."""
        ready: list[Work] = []
        while True:
            if ready and self.queue.empty():
                yield ready
                ready = []
            work = self.queue.get()
            if ready and not (isinstance(work, Work) and self._join(ready, work)):
                yield ready
                ready = []
            if isinstance(work, BaseException):
                raise work
            if work is None:
                return
            ready.append(work)

    @staticmethod
    def _join(ready: list[Work], work: Work) -> bool:
        is_ready = work.vectors is None or work.vectors.done()
        return is_ready and work.entity == ready[0].entity and sum(len(one.batch) for one in ready) < WRITE_ROWS

    def _read(self) -> None:
        outcome: BaseException | None = None
        try:
            for reader in self.readers:
                self._read_entity(reader)
        except BaseException as error:  # noqa: BLE001 - it belongs to the main thread
            outcome = error
        with contextlib.suppress(Interrupted):
            self._put(outcome)

    def _read_entity(self, reader: EntityReader) -> None:
        name, counts, batcher = reader.name, self.counts[reader.name], Batcher()
        for page, missing in self._compared(reader):
            counts["empty"] += page.empty
            counts["unchanged"] += len(page.chunks) - len(missing)
            page.chunks = []
            self._put(Work(name, read=page))
            for chunk in missing:
                if batch := batcher.add(chunk):
                    self._embed(name, batch)
            if self.embedder.stop.is_set():  # what was sent to the API is still written
                raise Interrupted
        if batch := batcher.take():
            self._embed(name, batch)

    def _compared(self, reader: EntityReader) -> Iterator[tuple[Page, list[Chunk]]]:
        """Gives each page with what the target lacks of it; the target is asked while the next page is made."""
        is_empty = self.target.is_empty(reader.name)
        with ThreadPoolExecutor(1) as asking:
            before: tuple[Page, Future[list[Chunk]]] | None = None
            for page in reader.pages():
                asked = page, asking.submit(self.target.compare, reader.name, page, is_empty=is_empty)
                if before:
                    yield before[0], before[1].result()
                before = asked
            if before:
                yield before[0], before[1].result()

    def _embed(self, entity: str, batch: list[Chunk]) -> None:
        self._put(Work(entity, batch=batch, vectors=self.pool.submit(self._embedded, entity, batch)))

    def _embedded(self, entity: str, batch: list[Chunk]) -> tuple[bytes, list[Refused]]:
        """Asks for a batch's vectors; gives the rows for the target, and what the API refused."""
        both = list(zip(batch, self.embedder.embed([chunk.text for chunk in batch]), strict=True))
        stored = self.target.rows[entity].stored
        rows = [stored(chunk, vector) for chunk, vector in both if isinstance(vector, bytes)]
        refused = [(chunk.document, chunk.source_key, reason) for chunk, reason in both if isinstance(reason, str)]
        return b"".join(rows), refused

    def _put(self, work: Work | BaseException | None) -> None:
        while not self.over.is_set():
            try:
                return self.queue.put(work, timeout=0.1)
            except queue.Full:
                continue
        raise Interrupted
