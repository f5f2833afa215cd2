

# ---- The command line, the dry run, the report ----------------------------------------------------------------------


def estimate(source: Source, counts: dict[str, Counts], price: float | None) -> Usage:
    """Reads everything, writes nothing, and says what a run would send."""
    usage = Usage()
    total, done = sum(found.source_rows for found in counts.values()), 0
    for entity in PLAN["entities"]:
        found, batcher = counts[entity["name"]], Batcher()
        for document in itertools.chain.from_iterable(documents(source, entity)):
            found.documents += bool(document.chunks)
            found.chunks += len(document.chunks)
            found.quarantined += document.problem is not None
            found.empty += not document.chunks and not document.problem
            usage.tokens += sum(estimated_tokens(chunk.text) for chunk in document.chunks)
            usage.requests += sum(bool(batcher.add(chunk)) for chunk in document.chunks)
            done += 1
            CONSOLE.progress(done, total)
        usage.requests += bool(batcher.take())
    CONSOLE.progress(done, total, last=True)
    cost = f", about {usage.tokens / 1e6 * price:,.2f} in the price's currency" if price else ""
    chunks = sum(found.chunks for found in counts.values())
    CONSOLE.log(
        "info",
        f"dry run: {done:,} documents, {chunks:,} chunks, about {usage.tokens:,} tokens in {usage.requests:,} requests"
        f"{cost}; nothing was written" + ("" if price else "; --price gives the cost"),
    )
    return usage


def arguments() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description="Copies rows, as documents with embeddings, to PostgreSQL with pgvector.",
        epilog="Passwords and keys belong into the environment: SOURCE_URL, TARGET_URL, EMBEDDING_BASE_URL,"
        " EMBEDDING_API_KEY. Exit codes: 0 complete, 1 failed, 2 usage, 3 complete but with quarantined rows,"
        " 4 counts disagree.",
    )
    parser.add_argument(
        "--source", default=os.environ.get("SOURCE_URL"), metavar="URL", help="sqlite:FILE, postgres://… or mysql://…"
    )
    parser.add_argument("--target", default=os.environ.get("TARGET_URL"), metavar="URL", help="postgres://…")
    parser.add_argument("--dry-run", action="store_true", help="count and estimate; write nothing, ask no API")
    parser.add_argument(
        "--price", type=float, metavar="N", help="price of a million tokens, for the estimate of --dry-run"
    )
    parser.add_argument(
        "--until-stdin-ends",
        action="store_true",
        help="stop in order when standard input ends: for a program that starts this one",
    )
    return parser.parse_args()


def stop_on_signals(stop: threading.Event) -> None:
    """Lets the first signal end the run in order and a second one at once."""

    def handle(number: int, _frame: Any) -> None:
        signal.signal(number, signal.SIG_DFL)
        stop.set()

    signal.signal(signal.SIGINT, handle)
    signal.signal(signal.SIGTERM, handle)


def stop_with_standard_input() -> None:
    """Ends the run in order when the program at the other end of standard input is gone, however it went."""

    def wait() -> None:
        while os.read(0, 1024):
            pass
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(ORPHAN_SECONDS)
        os._exit(1)  # nothing is lost, and the target's lock is free for the run that goes on

    threading.Thread(target=wait, daemon=True).start()


def migrate(options: argparse.Namespace) -> int:
    """Runs everything and prints the report; gives the exit code."""
    started = time.monotonic()
    if not options.source or not (options.target or options.dry_run):
        raise Failure("no source or no target; set SOURCE_URL and TARGET_URL, or see --help")
    keep_secret(options.source)
    keep_secret(options.target)
    stop, usage, dimensions = threading.Event(), Usage(), None
    stop_on_signals(stop)
    if options.until_stdin_ends:
        stop_with_standard_input()
    source = open_source(options.source)
    counts = {name: Counts(source_rows=rows) for name, rows in check_queries(source).items()}
    snapshot_at = source.snapshot_at()
    if options.dry_run:
        usage = estimate(source, counts, options.price)
    else:
        embedder = Embedder(stop, usage)
        target = Target(options.target)
        dimensions = embedder.dimensions = embedder.asked or target.dimensions_there()
        if target.dimensions_there() != dimensions or dimensions is None:
            dimensions = embedder.probe()
        target.prepare(dimensions)
        Migration(source, embedder, target, counts).run()
        for name, found in counts.items():
            target.settle(name, found)
        target.index()
    report = {
        "snapshot_at": snapshot_at,
        "dimensions": dimensions,
        "entities": [{"entity": name, **vars(found)} for name, found in counts.items()],
        "tokens": usage.tokens,
        "requests": usage.requests,
        "retries": usage.retries,
        "seconds": round(time.monotonic() - started, 3),
    }
    print(json.dumps(report), flush=True)
    return verdict(counts)


def verdict(counts: dict[str, Counts]) -> int:
    """Gives the exit code that the counts deserve."""
    code = 0
    for name, found in counts.items():
        if found.lost or found.source_rows != found.documents + found.empty + found.quarantined:
            CONSOLE.log(
                "error", f"entity `{name}`: source and target disagree; run this again, then look at the report"
            )
            return 4
        if found.quarantined:
            CONSOLE.log(
                "warn", f"entity `{name}`: {found.quarantined} documents are in quarantine, each with its reason"
            )
            code = 3
    return code


def main() -> int:
    """Turns every way to end into a message and an exit code."""
    options = arguments()
    try:
        return migrate(options)
    except Failure as failure:
        CONSOLE.log("error", str(failure))
    except Interrupted:
        CONSOLE.log("warn", "stopped as asked; run the same command again to go on, what is done is not done twice")
    except psycopg.errors.InsufficientPrivilege as error:
        CONSOLE.log("error", f"{database_message(error)}; grant that right to the user of the URL and run this again")
    except DATABASE_ERRORS as error:
        CONSOLE.log(
            "error", f"a database stopped the run: {database_message(error)}; run the same command again to go on"
        )
    return 1


if __name__ == "__main__":
    sys.exit(main())
