"""Writes what relvec generates, for every dialect, provider and runtime: python3 generated.py RELVEC FOLDER

Each combination has its folder in FOLDER. For SQLite the program RELVEC writes it from a small database; for the other
dialects, whose databases would have to run, the script is put together by the same list of parts.
"""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import sqlite3
import subprocess
import sys

from script import FOLDER as PARTS
from script import script_of

ROOT = PARTS.parents[1]
PROVIDERS = ("relvec", "openai", "gemini", "local")
RUNTIMES = ("script", "fastapi")
SHOP = """
CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT NOT NULL);
CREATE TABLE orders (id INTEGER PRIMARY KEY, customer_id INTEGER REFERENCES customers, note TEXT);
INSERT INTO customers VALUES (1, 'Ada'), (2, 'Grace');
INSERT INTO orders VALUES (1, 1, 'Leave it at the neighbour, please, the bell is broken.'), (2, 2, 'As soon as you can, thank you.');
"""


def by_relvec(relvec: str, folder: pathlib.Path, provider: str, runtime: str) -> None:
    """Runs the generators on a small database and keeps what they write."""
    home, database, job = folder / "home", folder / "shop.db", folder / "job.json"
    home.mkdir(parents=True)
    connection = sqlite3.connect(database)
    connection.executescript(SHOP)
    connection.close()
    job.write_text(json.dumps({
        "source": {"url": f"sqlite:{database}"},
        "embedding": {"provider": provider},
        "execution": {"runtime": runtime},
    }))  # fmt: skip
    ran = subprocess.run(
        [relvec, "run", "plan-only", "--input", str(job), "--format", "json"],
        env={"PATH": os.environ["PATH"], "RELVEC_HOME": str(home), "OPENAI_API_KEY": "none", "GOOGLE_API_KEY": "none"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    if ran.returncode:
        sys.stderr.write(ran.stderr)
        sys.exit(f"relvec does not generate for {provider} and {runtime}: it ended with {ran.returncode}")
    (run,) = (home / "runs").iterdir()
    for file in run.iterdir():
        if file.is_file():
            shutil.copy(file, folder / file.name)
    shutil.rmtree(home)


def by_parts(folder: pathlib.Path, dialect: str, provider: str) -> None:
    """Puts the script together; the service is the same for all."""
    folder.mkdir(parents=True)
    plan = {"dialect": dialect, "embedding": {"provider": provider}}
    (folder / "migrate.py").write_text(script_of(plan))
    shutil.copy(ROOT / "templates/service.py", folder / "service.py")


def main() -> None:
    """Writes all of them anew."""
    relvec, target = sys.argv[1], pathlib.Path(sys.argv[2]).resolve()
    shutil.rmtree(target, ignore_errors=True)
    for provider in PROVIDERS:
        for runtime in RUNTIMES:
            by_relvec(relvec, target / f"sqlite-{provider}-{runtime}", provider, runtime)
        for dialect in ("postgres", "mysql"):
            by_parts(target / f"{dialect}-{provider}", dialect, provider)


if __name__ == "__main__":
    main()
