

# ---- The command line, the passes, the report -----------------------------------------------------------------------


def estimate(readers: list[EntityReader], counts: dict[str, Counts], price: float | None) -> Usage:
    """Reads everything, writes nothing, and says what a run would send."""
    usage, progress = Usage(), Progress(sum(found["source_rows"] for found in counts.values()))
    for reader in readers:
        found, batcher = counts[reader.name], Batcher()
        for page in reader.pages():
            found["documents"] += page.documents - page.empty - len(page.refused)
            found["chunks"] += len(page.chunks)
            found["quarantined"] += len(page.refused)
            found["empty"] += page.empty
            usage.add(estimated_tokens(chunk.data for chunk in page.chunks), sum(bool(batcher.add(c)) for c in page.chunks))
            progress.add(page.documents)
        usage.add(requests=bool(batcher.take()))
    progress.add(0, last=True)
    chunks, seconds = sum(found["chunks"] for found in counts.values()), time.monotonic() - STARTED
    longest = seconds + 0.5 * -(-usage.requests // max(1, PLAN["embedding"]["concurrency"]))
    cost = f"about {usage.tokens / 1e6 * price:,.2f} in the price's currency" if price else "--price gives the cost"
    text = f"dry run: {progress.done:,} documents, {chunks:,} chunks, about {usage.tokens:,} tokens in {usage.requests:,} requests"
    log("info", f"{text}; {cost}; {longest:,.0f} s if the API answers in 0.5 s, {seconds:,.0f} s of them to read; nothing was written")
    return usage


def arguments() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description="Copies rows, as documents with embeddings, to PostgreSQL with pgvector.",
        epilog="Passwords and keys belong into the environment: SOURCE_URL, TARGET_URL, EMBEDDING_BASE_URL,"
        " EMBEDDING_API_KEY. Exit codes: 0 complete, 1 failed, 2 usage, 3 complete but with quarantined rows,"
        " 4 counts disagree. Running this again takes up what is new, changed or in quarantine.",
    )
    source, target = os.environ.get("SOURCE_URL"), os.environ.get("TARGET_URL")
    part = "read one of n parts of each entity by its key; all parts have to run, at once or one after the other"
    orphan = "stop in order when standard input ends: for a program that starts this one"
    parser.add_argument("--source", default=source, metavar="URL", help="sqlite:FILE, postgres://... or mysql://...")
    parser.add_argument("--target", default=target, metavar="URL", help="postgres://...")
    parser.add_argument("--shard", type=shard, default=(1, 1), metavar="i/n", help=part)
    parser.add_argument("--dry-run", action="store_true", help="count and estimate; write nothing, ask no API")
    parser.add_argument("--price", type=float, metavar="N", help="price of a million tokens, for --dry-run")
    parser.add_argument("--until-stdin-ends", action="store_true", help=orphan)
    return parser.parse_args()


def shard(text: str) -> tuple[int, int]:
    """Reads `i/n`."""
    found = re.fullmatch("([0-9]{1,4})/([0-9]{1,4})", text)
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        raise argparse.ArgumentTypeError("write i/n with i from 1 to n, such as 2/4")
    return int(found[1]), int(found[2])


def stop_on_signals(stop: threading.Event) -> None:
    """Lets the first signal end the run in order and a second one at once."""

    def handle(number: int, _frame: Any) -> None:
        signal.signal(number, signal.SIG_DFL)
        stop.set()

    signal.signal(signal.SIGINT, handle)
    signal.signal(signal.SIGTERM, handle)


def stop_with_standard_input() -> None:
    """Ends the run in order when the program at the other end of standard input is gone, however it went."""
    while os.read(0, 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(ORPHAN_SECONDS)
    os._exit(1)  # nothing is lost, and the target's lock is free for the run that goes on


def open_source(url: str, snapshot: str | None = None) -> Source:
    """Opens the source that the plan was made for."""
    scheme, wanted = url.split(":", 1)[0], PLAN["dialect"]
    if {"postgresql": "postgres", "mariadb": "mysql"}.get(scheme, scheme) != wanted:
        raise Failure(f"the plan was made for {wanted}; the source URL has to begin with {wanted}:")
    return Source(url, snapshot)


class Run:
    """The passes over the source, and what the report says of them.

    A broken connection begins another pass: it reads everything at a new instant, and what is in the target already
    costs no request.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self.options, self.stop, self.usage = options, threading.Event(), Usage()
        self.embedder = None if options.dry_run else Embedder(self.stop, self.usage)
        self.counts: dict[str, Counts] = {}
        self.open_shards: list[int] = []
        self.snapshot_at, self.dimensions, self.epoch, self.passes = "", 0, 0, 0

    def go(self) -> int:
        """Runs everything and prints the report; gives the exit code."""
        in_vain = 0
        try:
            while not self._is_through():
                in_vain = 1 if any(counts["embedded"] for counts in self.counts.values()) else in_vain + 1
                if in_vain > PASSES:
                    raise Failure("the connections break again and again; run this again later", "connection_lost")
                if self.stop.wait(2 ** (in_vain - 1)):
                    raise Interrupted
        finally:
            self.stop.set()  # a thread that waits for the API need not wait any longer
        print(json.dumps(self._report()), flush=True)
        if self.open_shards:
            log("info", f"shards {self.open_shards} are still to run; the last one compares both sides")
        return verdict({} if self.open_shards else self.counts)

    def _is_through(self) -> bool:
        """Makes a pass; says whether it came to its end."""
        self.passes += 1
        try:
            try:
                self._pass()
            except DATABASE_ERRORS as error:
                raise_if_lost(error)
                raise
        except Lost as lost:
            reason = str(lost)
        except Failure as failure:
            if self.passes == 1 or failure.code not in ("source_unreachable", "target_unreachable"):
                raise
            reason = str(failure)
        else:
            return True
        log("warn", f"a connection is lost ({reason}); everything is read again, what is written stays")
        return False

    def _pass(self) -> None:
        source = open_source(self.options.source)
        readers = [EntityReader(source, entity) for entity in PLAN["entities"]]
        self.counts = {reader.name: dict.fromkeys(COUNTS, 0) | {"source_rows": reader.check()} for reader in readers}
        self.snapshot_at = source.snapshot_at()
        if self.embedder is None:
            self.usage = estimate(readers, self.counts, self.options.price)
            return
        target = Target(self.options.target, *self.options.shard)
        target.epoch = self.epoch
        try:
            self._move(source, readers, target, self.embedder)
        finally:
            self.epoch = target.epoch  # also where the commit that began it had no answer
            target.writing.close()  # the lock goes with it

    def _move(self, source: Source, readers: list[EntityReader], target: Target, embedder: Embedder) -> None:
        there = target.dimensions_there() or 0
        self.dimensions = embedder.asked or there
        if not there or there != self.dimensions:
            self.dimensions = embedder.probe()
        embedder.dimensions = self.dimensions
        target.prepare(self.dimensions)
        ranges, snapshot = target.begin(source, readers)
        if target.shards > 1:
            source = open_source(self.options.source, snapshot) if snapshot else source
            self.snapshot_at = source.snapshot_at()
            readers = [EntityReader(source, entity, *ranges[entity["name"]]) for entity in PLAN["entities"]]
            self.counts = {reader.name: dict.fromkeys(COUNTS, 0) for reader in readers}
            readers = [reader for reader in readers if reader.width or target.shard == 1]
            for reader in readers:
                self.counts[reader.name]["source_rows"] = reader.check()
        Migration(readers, embedder, target, self.counts).run()
        source.connection.close()
        self.open_shards = target.finish_shard(self.counts)
        if not self.open_shards:
            self.counts = target.settle()
            target.index()

    def _report(self) -> dict[str, Any]:
        usage = {"tokens": self.usage.tokens, "requests": self.usage.requests, "retries": self.usage.retries}
        return {
            "snapshot_at": self.snapshot_at,
            "dimensions": self.dimensions or None,
            "entities": [{"entity": name, **found} for name, found in self.counts.items()],
            "shard": "{}/{}".format(*self.options.shard),
            "open_shards": self.open_shards,
            "passes": self.passes,
            **usage,
            "seconds": round(time.monotonic() - STARTED, 3),
        }


def verdict(counts: dict[str, Counts]) -> int:
    """Gives the exit code that the counts deserve."""
    code = 0
    for name, found in counts.items():
        if found["lost"] or found["source_rows"] != found["documents"] + found["empty"] + found["quarantined"]:
            log("error", f"entity `{name}`: source and target disagree; run this again, then look at the report")
            return 4
        if found["quarantined"]:
            text = f"entity `{name}`: {found['quarantined']} documents are in quarantine, each with its reason"
            log("warn", f"{text}; correct them or the model's limits, then run the same command again: it takes them up")
            code = 3
    return code


def main() -> int:
    """Turns every way to end into a message and an exit code."""
    gc.freeze()  # rows leave no cycles behind, and what the imports made stays: the collector has little to look for
    gc.set_threshold(20_000)
    options = arguments()
    try:
        if not options.source or not (options.target or options.dry_run):
            raise Failure("no source or no target; set SOURCE_URL and TARGET_URL, or see --help")
        keep_secret(options.source)
        keep_secret(options.target)
        run = Run(options)
        stop_on_signals(run.stop)
        threading.Thread(target=watch, args=(run.stop,), daemon=True).start()
        if options.until_stdin_ends:
            threading.Thread(target=stop_with_standard_input, daemon=True).start()
        return run.go()
    except Failure as failure:
        log("error", str(failure), code=failure.code)
    except Interrupted:
        log("warn", "stopped as asked; run the same command again to go on, what is done is not done twice")
    except psycopg.errors.InsufficientPrivilege as error:
        log("error", f"{database_message(error)}; grant that right to the user of the URL and run this again")
    except DATABASE_ERRORS as error:
        text = f"a database stopped the run: {database_message(error)}; run the same command again to go on"
        log("error", text, code="database")
    return 1


if __name__ == "__main__":
    sys.exit(main())
