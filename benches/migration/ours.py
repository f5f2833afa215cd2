"""The generated script: made by the program, run in an environment of its own requirements, watched from outside.

Nothing of its inside is known here but the report on its standard output, the line by which it says that it begins to
build the index, which is when the load is written and reconciled, and two settings of its plan.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import threading
import time
import venv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data import SECTIONS
from databases import disconnect_all
from server import Asked, Server
from watch import Peak

ROOT = Path(__file__).resolve().parents[2]
TABLE = "relvec_documents"
INDEX_LINE = re.compile(r"building the \w+ index")


@dataclass(frozen=True)
class Script:
    """A script that was generated, and the Python that runs it."""

    python: Path
    path: Path


@dataclass(frozen=True)
class Ran:
    """A run of the script, measured from the start of its process."""

    rows: int
    load_seconds: float
    total_seconds: float
    peak_mb: float
    processor_seconds: float
    asked: Asked
    report: dict[str, Any] | None

    @property
    def rate(self) -> float:
        """Gives the rows a second until the load is reconciled."""
        return self.rows / self.load_seconds

    def __str__(self) -> str:
        searchable = f", {self.total_seconds:.1f} s searchable" if self.report else ""
        return (
            f"{self.rate:,.0f} rows/s, {self.load_seconds:.1f} s loaded{searchable}, {self.processor_seconds:.1f} s of"
            f" processor, {self.peak_mb:.0f} MB, {self.asked.requests} requests"
        )


def generate(relvec: Path, folder: Path, source: str, server: Server) -> Script:
    """Has the program write the script for a source and an API."""
    template = [
        {"label": label, "column": column if table == "orders" else f"{table}.{column}"}
        for label, table, column in SECTIONS
    ]
    job = {
        "source": {"url": source},
        "target": {"url": "embedded", "table": TABLE},
        "embedding": {
            "provider": "openai",
            "base_url": server.base_url,
            "model": "text-embedding-3-small",
            "dimensions": server.api.dimensions,
        },
        "analysis": {"roots": ["orders"], "templates": {"orders": template}},
        "execution": {"runtime": "script"},
        "llm": {"enabled": False},
    }
    (folder / "job.json").write_text(json.dumps(job))
    words = [str(relvec), "run", "plan-only", "--input", str(folder / "job.json"), "--format", "json"]
    found = subprocess.run(words, env=os.environ | {"RELVEC_HOME": str(folder)}, stdout=subprocess.PIPE, text=True)
    if found.returncode:
        sys.exit(f"relvec run plan-only fails with {found.returncode}: {found.stdout[-2000:]}")
    run = json.loads(found.stdout)
    artifacts = folder / "runs" / run["run_id"]
    script = artifacts / "migrate.py"
    text = script.read_text()
    for name, value in {"batch_items": server.api.batch, "concurrency": server.api.concurrency}.items():
        text, changed = re.subn(rf'"{name}": \d+', f'"{name}": {value}', text)
        if changed != 1:
            sys.exit(f"{script} has {changed} times `{name}` in its plan")
    script.write_text(text)
    return Script(python_with(artifacts / "requirements.txt"), script)


def python_with(requirements: Path) -> Path:
    """Makes the virtual environment of the generated script, once for each list of requirements."""
    name = hashlib.sha256(requirements.read_bytes()).hexdigest()[:12]
    folder = ROOT / "target" / f"migration-bench-script-{name}"
    python = folder / "bin" / "python"
    if not (folder / "complete").exists():
        venv.create(folder, with_pip=True, clear=True)
        words = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", "--require-hashes", "-r"]
        subprocess.run([*words, str(requirements)], check=True)
        (folder / "complete").touch()
    return python


def run(script: Script, source: str, target: str, server: Server, rows: int, index: bool = True) -> Ran:
    """Runs the script to its end, or without `index` until it begins to build the index."""
    secrets = {
        "SOURCE_URL": source,
        "TARGET_URL": target,
        "EMBEDDING_BASE_URL": server.base_url,
        "EMBEDDING_API_KEY": "none",
        "OPENAI_API_KEY": "none",
    }
    before = server.asked()
    begun = time.monotonic()
    process = subprocess.Popen(
        [str(script.python), str(script.path)],
        env=os.environ | secrets,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None and process.stderr is not None
    peak = Peak(process.pid)
    reports: list[str] = []
    stdout = process.stdout
    reading = threading.Thread(target=lambda: reports.extend(stdout), daemon=True)
    reading.start()
    loaded: float | None = None
    said: list[str] = []
    for line in process.stderr:
        if '"progress"' not in line:
            said.append(line)
        if INDEX_LINE.search(line):
            loaded = time.monotonic() - begun
            if not index:
                process.kill()
                disconnect_all(target)
    reading.join()
    _, status, used = os.wait4(process.pid, 0)
    total = time.monotonic() - begun
    process.returncode = os.waitstatus_to_exitcode(status)
    stopped = not index and loaded is not None
    if process.returncode and not stopped:
        sys.exit(f"the script ends with {process.returncode}:\n{''.join(said[-20:])}{''.join(reports)}")
    report = json.loads(reports[-1]) if reports else None
    if report is None and not stopped:
        sys.exit("the script printed no report")
    return Ran(
        rows,
        load_seconds=total if loaded is None else loaded,
        total_seconds=total,
        peak_mb=peak.megabytes(),
        processor_seconds=used.ru_utime + used.ru_stime,
        asked=server.asked().since(before),
        report=report,
    )
