"""Measures the generated migration beside its ceilings and beside others, in one run, and holds ratios against bars.

Started by benches/migration/run, which starts the database server and builds the programs. Rounds alternate between
what is compared, and medians are compared, so that a machine that is busy for a while slows both.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import copying
import data
import ours
import others
import report
from databases import count, fingerprint, new_database, settings, settle
from server import FREE, SLOW, Server, serving

MILLION = 1_000_000


@dataclass
class Figures:
    """Everything that was measured with one API, a value a round."""

    ceiling: list[float] = field(default_factory=list)
    parsed: list[float] = field(default_factory=list)
    copy: list[float] = field(default_factory=list)
    builds: dict[int, list[float]] = field(default_factory=dict)
    loads: list[ours.Ran] = field(default_factory=list)
    agains: list[ours.Ran] = field(default_factory=list)
    others: list[others.Measured] = field(default_factory=list)


@dataclass(frozen=True)
class Bench:
    """Where everything is."""

    options: argparse.Namespace
    folder: Path
    postgres: str
    documents: str
    source: str

    def log(self, message: str) -> None:
        """Says what is being done."""
        print(f"bench: {message}", file=sys.stderr, flush=True)


def rounds(bench: Bench, server: Server, figures: Figures, times: int, with_index: int, against_copy: bool) -> None:
    """Measures the ceilings and the script in turn, so many times; the first times with indexes."""
    rows, texts, name = bench.options.rows, bench.folder / "texts", server.api.name
    script = ours.generate(bench.options.relvec, bench.folder, bench.source, server)
    for number in range(times):
        index = number < with_index
        figures.ceiling.append(server.ceiling(texts))
        figures.parsed.append(server.ceiling(texts, parse=True))
        with new_database(bench.postgres, "bench_ours") as target:
            settle(bench.postgres)
            load = ours.run(script, bench.source, target, server, rows, index)
            whole(target, rows)
            if number == 0 and fingerprint(target, ours.TABLE) != fingerprint(bench.documents, "documents"):
                sys.exit("the script's texts are not those of the view `documents`, which the others are given")
            figures.loads.append(load)
            bench.log(f"{name} API, round {number + 1}: ceiling {figures.ceiling[-1]:,.0f} rows/s; ours {load}")
            if not against_copy:
                continue
            settle(bench.postgres)
            again = ours.run(script, bench.source, target, server, rows, index)
            figures.agains.append(again)
            bench.log(f"again: {again}")
            table = copying.keep(target, ours.TABLE, bench.folder / "copy")
        # After the first round only the best number of workers is worth its time.
        best = min(figures.builds, key=lambda workers: min(figures.builds[workers]), default=None)
        workers = () if not index else copying.WORKERS if best is None else (best,)
        rate, builds = copying.copied(bench.postgres, table, workers)
        figures.copy.append(rate)
        for used, seconds in builds.items():
            figures.builds.setdefault(used, []).append(seconds)
        bench.log(
            f"COPY {rate:,.0f} rows/s; index built in { ({n: round(s, 1) for n, s in builds.items()}) } s by workers"
        )


def beside_others(bench: Bench, server: Server, figures: Figures, chosen: list[str], peer_rows: int) -> None:
    """Measures each of the others between two loads of the script, which are what it is compared with."""
    if not chosen:
        return
    script = ours.generate(bench.options.relvec, bench.folder, bench.source, server)

    def load() -> float:
        with new_database(bench.postgres, "bench_ours") as target:
            settle(bench.postgres)
            return ours.run(script, bench.source, target, server, bench.options.rows, index=False).rate

    before = load()
    for name in chosen:
        measured = others.measured(name, bench.postgres, bench.documents, server, peer_rows)
        after = load()
        measured.script_rows_per_second = (before + after) / 2
        figures.others.append(measured)
        bench.log(f"{server.api.name} API: {measured}")
        before = after


def whole(target: str, rows: int) -> None:
    """Ends the measurement where the script did not do what it is measured for."""
    arrived = count(target, ours.TABLE)
    if arrived != rows:
        sys.exit(f"the script migrated {arrived} documents of {rows}")


def million(bench: Bench) -> ours.Ran:
    """Loads 1,000,000 rows, without the index."""
    bench.log("making 1,000,000 rows")
    with new_database(bench.postgres, "bench_million") as source, serving(bench.options.server, FREE) as server:
        data.make_postgres(source, MILLION)
        folder = bench.folder / "million"
        folder.mkdir()
        script = ours.generate(bench.options.relvec, folder, source, server)
        with new_database(bench.postgres, "bench_million_target") as target:
            settle(bench.postgres)
            load = ours.run(script, source, target, server, MILLION, index=False)
            bench.log(f"1,000,000 rows: {load}")
            whole(target, MILLION)
    return load


def source_of(options: argparse.Namespace, folder: Path, documents: str) -> str:
    """Makes the database that the script reads, if it is not the one that the others read."""
    if options.source == "postgres":
        return documents
    if options.source == "sqlite":
        data.make_sqlite(folder / "source.db", options.rows)
        return f"sqlite:{folder / 'source.db'}"
    url = os.environ["BENCH_MYSQL"]
    data.make_mysql(url, options.rows)
    return url


def measure(bench: Bench) -> report.Found:
    """Measures everything that is asked for."""
    options = bench.options
    free, slow, large = Figures(), Figures(), None
    chosen = others.chosen(options.peers)
    for peer in chosen:
        others.python_of(peer)
    with serving(options.server, FREE) as server:
        rounds(bench, server, free, options.rounds, options.index_rounds, against_copy=True)
        beside_others(bench, server, free, chosen, options.peer_rows)
    if not options.no_slow:
        with serving(options.server, SLOW) as server:
            rounds(bench, server, slow, options.rounds, 0, against_copy=False)
            beside_others(bench, server, slow, chosen, min(options.peer_rows, options.slow_peer_rows))
    if options.million:
        large = million(bench)
    return report.Found(
        rows=options.rows,
        free=summary(free),
        slow=summary(slow) if slow.loads else None,
        million={"rows_per_second": large.rate, "peak_mb": large.peak_mb} if large else None,
    )


def summary(figures: Figures) -> dict[str, object]:
    """Gives the medians of what was measured with one API."""
    builds = {count: min(seconds) for count, seconds in figures.builds.items()}
    best = min(builds, key=lambda count: builds[count], default=None)
    best_build = median(figures.builds[best]) if best is not None else None
    loads, agains = figures.loads, figures.agains
    found: dict[str, object] = {
        "ceiling": median(figures.ceiling),
        "ceiling_parsed": median(figures.parsed),
        "load": median(load.rate for load in loads),
        "load_seconds": median(load.load_seconds for load in loads),
        "load_by_ceiling": median(load.rate / rate for load, rate in zip(loads, figures.ceiling, strict=True)),
        "peak_mb": max(load.peak_mb for load in loads),
        "processor_seconds": median(load.processor_seconds for load in loads),
        "requests": max(load.asked.requests for load in loads),
        "rounds": {"ceiling": figures.ceiling, "load": [load.rate for load in loads], "copy": figures.copy},
        "others": {peer.name: vars(peer) | {"ratio": peer.ratio} for peer in figures.others},
    }
    if agains:
        found |= {
            "copy": median(figures.copy),
            "load_by_copy": median(load.rate / rate for load, rate in zip(loads, figures.copy, strict=True)),
            "again": median(again.rate for again in agains),
            "again_requests": max(again.asked.requests for again in agains),
        }
    if best_build is not None:
        indexed = [load for load in loads if load.report]
        found |= {
            "searchable_seconds": median(load.total_seconds for load in indexed),
            "best_build_seconds": best_build,
            "best_build_workers": best,
            "searchable_by_best": median(load.total_seconds / (load.load_seconds + best_build) for load in indexed),
        }
    return found


def arguments() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(prog="benches/migration/run", description="Measures the generated migration.")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--source", choices=("postgres", "sqlite", "mysql"), default="postgres", help="what the script reads"
    )
    parser.add_argument("--million", action="store_true", help="1,000,000 rows too, for the peak of memory")
    parser.add_argument(
        "--peers", nargs="*", metavar="NAME", help=f"others too: {', '.join(others.NAMES)}; all without a name"
    )
    parser.add_argument("--peer-rows", type=int, help="rows for the others, --rows if absent")
    parser.add_argument("--slow-peer-rows", type=int, default=20_000, help="most rows for the others with the slow API")
    parser.add_argument("--no-slow", action="store_true", help="leave the slow API out")
    parser.add_argument("--index-rounds", type=int, default=1, help="rounds in which indexes are built too")
    parser.add_argument("--quick", action="store_true", help="20,000 rows, one round")
    parser.add_argument(
        "--json", type=Path, help="a file for the JSON document, which otherwise goes to standard output"
    )
    parser.add_argument("--relvec", type=Path, required=True, help="the program that generates the script")
    parser.add_argument("--server", type=Path, required=True, help="the program of this bench")
    options = parser.parse_args()
    if options.quick:
        options.rows, options.rounds = min(options.rows, 20_000), 1
    options.peer_rows = min(options.peer_rows or options.rows, options.rows)
    options.relvec, options.server = options.relvec.absolute(), options.server.absolute()
    return options


def main() -> int:
    """Measures, prints the figures and gives the exit code: 1 where a bar is missed."""
    options = arguments()
    postgres = os.environ["BENCH_POSTGRES"]
    with tempfile.TemporaryDirectory() as temporary, new_database(postgres, "bench_source") as documents:
        folder = Path(temporary)
        print(f"bench: making {options.rows:,} rows", file=sys.stderr, flush=True)
        data.make_postgres(documents, options.rows)
        data.write_texts(documents, folder / "texts", options.rows)
        bench = Bench(options, folder, postgres, documents, source_of(options, folder, documents))
        length = data.average_length(documents)
        found = measure(bench)
    bars = report.bars(found)
    document = report.document(found, bars, settings(postgres), length, sys.argv[1:])
    text = json.dumps(document, indent=2)
    if options.json:
        options.json.write_text(text + "\n")
    else:
        print(text)
    print(report.table(found, bars), file=sys.stderr)
    return int(any(bar.met is False for bar in bars))


if __name__ == "__main__":
    sys.exit(main())
