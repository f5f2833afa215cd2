"""What each of the others is told, and what it says in the end."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Job:
    """What is to be loaded, from where to where, and how the API may be asked."""

    documents: str
    target: str
    base_url: str
    dimensions: int
    batch: int
    concurrency: int
    rows: int

    @property
    def query(self) -> str:
        """Gives the query of the documents."""
        return f"SELECT id, content FROM documents ORDER BY id LIMIT {self.rows}"


class Clock:
    """Measures from after the imports and the making of tables to the last row."""

    def __init__(self) -> None:
        self.begun = time.monotonic()

    def stop(self, table: str, settings: str) -> None:
        """Says what was done, as the last line of standard output."""
        print(json.dumps({"seconds": time.monotonic() - self.begun, "table": table, "settings": settings}), flush=True)


def job() -> Job:
    """Reads the job from the command line."""
    return Job(**json.loads(sys.argv[1]))


def batches(rows: Iterator[tuple[int, str]], size: int) -> Iterator[list[tuple[int, str]]]:
    """Groups rows."""
    batch: list[tuple[int, str]] = []
    for row in rows:
        batch.append(row)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
