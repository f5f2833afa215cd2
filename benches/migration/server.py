"""The embedding API of the measurement, what it was asked, and its ceiling."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Api:
    """What the API is like, and how it is asked."""

    name: str
    dimensions: int
    latency_ms: int
    in_flight: int | None
    batch: int
    concurrency: int


FREE = Api("free", dimensions=384, latency_ms=0, in_flight=None, batch=256, concurrency=8)
SLOW = Api("slow", dimensions=1536, latency_ms=200, in_flight=16, batch=64, concurrency=16)


@dataclass(frozen=True)
class Asked:
    """What an API was asked so far."""

    requests: int
    texts: int

    def since(self, before: Asked) -> Asked:
        """Gives what came after an earlier moment."""
        return Asked(self.requests - before.requests, self.texts - before.texts)


@dataclass(frozen=True)
class Server:
    """An API that runs."""

    api: Api
    program: Path
    port: int

    @property
    def base_url(self) -> str:
        """Gives the address that OpenAI's clients take."""
        return f"http://127.0.0.1:{self.port}/v1"

    def asked(self) -> Asked:
        """Asks the API what it was asked so far."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/stats") as reply:
            found = json.load(reply)
        return Asked(found["requests"], found["texts"])

    def ceiling(self, texts: Path, parse: bool = False) -> float:
        """Gives the rows a second of a client that does nothing but ask."""
        words = [self.program, "ask", "--port", self.port, "--texts", texts, "--batch", self.api.batch]
        words += ["--concurrency", self.api.concurrency, "--dimensions", self.api.dimensions]
        words += ["--parse"] if parse else []
        found = json.loads(subprocess.run(list(map(str, words)), check=True, stdout=subprocess.PIPE).stdout)
        return float(found["rows"]) / float(found["seconds"])


@contextlib.contextmanager
def serving(program: Path, api: Api) -> Iterator[Server]:
    """Starts an API and stops it."""
    words = [program, "serve", "--dimensions", api.dimensions, "--latency-ms", api.latency_ms]
    words += ["--in-flight", api.in_flight] if api.in_flight else []
    process = subprocess.Popen(list(map(str, words)), stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line.startswith("listening on "):
            sys.exit(f"{program} serve does not say where it listens")
        yield Server(api, program, int(line.strip().removesuffix("/v1").rsplit(":", 1)[1]))
    finally:
        process.terminate()
        process.wait()
