

# ---- The run: reader, embedding threads, writer ---------------------------------------------------------------------


class Batcher:
    """Groups texts into requests by items, tokens and bytes."""

    def __init__(self) -> None:
        plan = PLAN["embedding"]
        self.items = min(plan["batch_items"], MOST_ITEMS)
        self.tokens = plan["batch_tokens"]
        self.chunks: list[Chunk] = []
        self.size = 0

    def add(self, chunk: Chunk) -> list[Chunk]:
        """Adds a chunk; gives a batch where the chunk begins a new one."""
        size = len(chunk.text.encode())
        limit = min(self.tokens * ESTIMATE_BYTES_A_TOKEN, REQUEST_BYTES)
        full = self.chunks and (len(self.chunks) >= self.items or self.size + size > limit)
        batch = self.take() if full else []
        self.chunks.append(chunk)
        self.size += size
        return batch

    def take(self) -> list[Chunk]:
        """Gives what is there."""
        batch, self.chunks, self.size = self.chunks, [], 0
        return batch


class Migration:
    """Joins reader, embedding threads and writer through bounded queues."""

    def __init__(self, source: Source, embedder: Embedder, target: Target, counts: dict[str, Counts]) -> None:
        self.source, self.embedder, self.target, self.counts = source, embedder, target, counts
        self.stop, self.over = embedder.stop, threading.Event()
        concurrency = embedder.concurrency
        self.pool = ThreadPoolExecutor(concurrency, thread_name_prefix="embed")
        self.queue: queue.Queue[Work | BaseException | None] = queue.Queue(2 * concurrency + 2)

    def run(self) -> None:
        """Migrates every entity; returns when everything is written."""
        total = sum(counts.source_rows for counts in self.counts.values())
        done = 0
        reader = threading.Thread(target=self._read, name="reader", daemon=True)
        reader.start()
        try:
            for works in self._transactions():
                self.target.write(works, self.counts[works[0].entity])
                done += sum(len(work.read) for work in works)
                CONSOLE.progress(done, total)
        finally:
            self.over.set()
            self.stop.set()  # a thread that waits for the API need not wait any longer
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
            if ready and not joins:
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
            for entity in PLAN["entities"]:
                self._read_entity(entity)
        except BaseException as error:  # it belongs to the main thread
            outcome = error
        self._put(outcome, last=True)

    def _read_entity(self, entity: dict[str, Any]) -> None:
        name = entity["name"]
        counts, batcher, compare = self.counts[name], Batcher(), not self.target.is_empty(name)
        for page in documents(self.source, entity):
            chunks = [chunk for document in page for chunk in document.chunks]
            known = self.target.known(chunks) if compare else {}
            counts.empty += sum(not document.chunks and not document.problem for document in page)
            self._put(Work(name, read=page))
            for chunk in chunks:
                if known.get(chunk.id) == chunk.hash:
                    counts.unchanged += 1
                elif batch := batcher.add(chunk):
                    self._embed(name, batch)
        if batch := batcher.take():
            self._embed(name, batch)

    def _embed(self, entity: str, batch: list[Chunk]) -> None:
        vectors = self.pool.submit(self.embedder.embed, [chunk.text for chunk in batch])
        self._put(Work(entity, batch=batch, vectors=vectors))

    def _put(self, work: Work | BaseException | None, last: bool = False) -> None:
        while not self.over.is_set() and (last or not self.stop.is_set()):
            try:
                self.queue.put(work, timeout=0.1)
                return
            except queue.Full:
                continue
        if not last:
            raise Interrupted
