"""The other systems: each in a virtual environment of its own, run by its file in `peers/`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from databases import connect, count, new_database, settle
from server import Server

FOLDER = Path(__file__).resolve().parent / "peers"
ROOT = FOLDER.parents[2]
NAMES = ("pgai", "cocoindex", "langchain", "llamaindex")


@dataclass
class Measured:
    """What one of them did, from after its imports to its last row."""

    name: str
    rows: int
    rows_per_second: float
    requests: int
    settings: str
    # The script's own, just before and after.
    script_rows_per_second: float = 0.0

    @property
    def ratio(self) -> float:
        """Gives how many times as fast the script is."""
        return self.script_rows_per_second / self.rows_per_second

    def __str__(self) -> str:
        return (
            f"{self.name} {self.rows_per_second:,.0f} rows/s, {self.requests} requests; ours beside it"
            f" {self.script_rows_per_second:,.0f}, {self.ratio:.1f} times"
        )


def chosen(names: Sequence[str] | None) -> list[str]:
    """Gives the ones that are asked for: none, some or all."""
    if names is None:
        return []
    unknown = set(names) - set(NAMES)
    if unknown:
        sys.exit(f"no such peer: {', '.join(unknown)}; there are {', '.join(NAMES)}")
    return list(names) or list(NAMES)


def python_of(name: str) -> Path:
    """Makes the virtual environment of one of them, once for each list of requirements."""
    wanted = (FOLDER / f"{name}.txt").read_bytes()
    folder = ROOT / "target" / f"migration-bench-{name}"
    python = folder / "bin" / "python"
    installed = folder / "installed.txt"
    if not installed.exists() or installed.read_bytes() != wanted:
        venv.create(folder, with_pip=True, clear=True)
        words = [
            str(python),
            "-m",
            "pip",
            "install",
            "-q",
            "--disable-pip-version-check",
            "-r",
            str(FOLDER / f"{name}.txt"),
        ]
        subprocess.run(words, check=True)
        installed.write_bytes(wanted)
    return python


def measured(name: str, postgres: str, documents: str, server: Server, rows: int) -> Measured:
    """Lets one of them load the first rows into a new database, and counts what arrived."""
    api = server.api
    options = {
        "documents": documents,
        "base_url": server.base_url,
        "dimensions": api.dimensions,
        "batch": api.batch,
        "concurrency": api.concurrency,
        "rows": rows,
    }
    environment = os.environ | {"OPENAI_API_KEY": "none", "OPENAI_BASE_URL": server.base_url}
    with new_database(postgres, "bench_peer") as target:
        with connect(target) as connection:
            connection.execute("CREATE EXTENSION vector")
        settle(postgres)
        before = server.asked()
        ran = subprocess.run(
            [str(python_of(name)), str(FOLDER / f"with_{name}.py"), json.dumps(options | {"target": target})],
            env=environment, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        if ran.returncode:
            sys.exit(f"peers/with_{name}.py fails with {ran.returncode}")
        found = json.loads(ran.stdout.splitlines()[-1])
        arrived = count(target, found["table"])
        if arrived != rows:
            sys.exit(f"{name} was given {rows} rows and its table has {arrived}")
    asked = server.asked().since(before)
    return Measured(name, rows, rows / found["seconds"], asked.requests, found["settings"])
