# -*- coding: utf-8 -*-
"""Serves the migrated documents: search, and the migration itself at the push of a button.

Environment: as for migrate.py. With SERVICE_TOKEN set, `POST /migrate` and `POST /search` want it as a bearer token.
One process only: the state of the migration is in memory.
"""

from __future__ import annotations

import asyncio
import collections
import hmac
import json
import os
import pathlib
import sys
import threading
from typing import Annotated, Any

import psycopg
from fastapi import Depends, FastAPI, Header, HTTPException, Response
from pydantic import BaseModel, ConfigDict, Field

import migrate

app = FastAPI(title="relvec search", description="Semantic search over migrated documents.")


def allowed(authorization: Annotated[str, Header()] = "") -> None:
    """Refuses a request without the token, if there is one."""
    token = os.environ.get("SERVICE_TOKEN", "")
    if token and not hmac.compare_digest(authorization.encode(), f"Bearer {token}".encode()):
        raise HTTPException(401, "the bearer token is missing or wrong", {"WWW-Authenticate": "Bearer"})


# ---- The migration --------------------------------------------------------------------------------------------------


class Run:
    """The last migration that this process started."""

    def __init__(self) -> None:
        self.state = "idle"
        self.exit_code: int | None = None
        self.done = 0
        self.total = 0
        self.messages: collections.deque[dict[str, str]] = collections.deque(maxlen=50)
        self.report: dict[str, Any] | None = None

    def shown(self) -> dict[str, Any]:
        """Gives what `GET /progress` answers."""
        return {
            "state": self.state,
            "exit_code": self.exit_code,
            "done": self.done,
            "total": self.total,
            "messages": list(self.messages),
        }

    def note(self, line: bytes) -> None:
        """Takes one line of the script's standard error."""
        try:
            event = json.loads(line)
        except ValueError:
            event = None
        if not isinstance(event, dict):
            return
        if event.get("event") == "progress":
            self.done, self.total = int(event["done"]), int(event["total"])
        elif event.get("event") == "log":
            self.messages.append({"level": str(event["level"]), "message": str(event["message"])})


last = Run()
following: set[asyncio.Task[None]] = set()


async def follow(run: Run, process: asyncio.subprocess.Process) -> None:
    """Reads what the script says until it ends."""

    async def errors() -> None:
        assert process.stderr is not None  # nosec B101: it was asked for
        async for line in process.stderr:
            run.note(line)

    assert process.stdout is not None  # nosec B101: it was asked for
    output, _ = await asyncio.gather(process.stdout.read(), errors())
    run.exit_code = await process.wait()
    lines = output.splitlines()
    run.report = json.loads(lines[-1]) if lines else None
    run.state = "finished" if run.exit_code in (0, 3) else "failed"


@app.post("/migrate", status_code=202, dependencies=[Depends(allowed)])
async def start_migration() -> dict[str, Any]:
    """Starts the migration; one at a time."""
    global last
    if last.state == "running":
        raise HTTPException(409, "a migration is running; see GET /progress")
    last = run = Run()
    run.state = "running"
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(pathlib.Path(migrate.__file__).resolve()),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    except OSError:
        run.state = "failed"
        raise HTTPException(500, "the migration cannot be started") from None
    task = asyncio.create_task(follow(run, process))
    following.add(task)
    task.add_done_callback(following.discard)
    return run.shown()


@app.get("/progress")
async def progress() -> dict[str, Any]:
    """Says how far the last migration has come."""
    return last.shown()


@app.get("/report")
async def report() -> dict[str, Any]:
    """Gives the report of the last migration."""
    if last.report is None:
        raise HTTPException(404, "no migration has ended with a report yet; see GET /progress")
    return last.report


# ---- Search ---------------------------------------------------------------------------------------------------------


class Search(BaseModel):
    """A search."""

    model_config = ConfigDict(extra="forbid")

    query: str = Field(min_length=1, max_length=20_000)
    top_k: int = Field(default=10, ge=1, le=100)
    filter: dict[str, Any] = Field(default_factory=dict, description="only documents whose metadata contains this")
    entity: str | None = Field(default=None, description="only documents of this entity")


class Hit(BaseModel):
    """A chunk that was found; `score` is the cosine similarity, 1 is the best."""

    score: float
    entity: str
    source_key: dict[str, str]
    chunk: int
    content: str
    metadata: dict[str, Any]


def connect() -> psycopg.Connection[Any]:
    """Opens the target."""
    url = os.environ.get("TARGET_URL")
    if not url:
        raise HTTPException(503, "TARGET_URL is not set")
    try:
        return migrate.connect(url, "target", autocommit=False)
    except migrate.Failure as failure:
        raise HTTPException(503, str(failure)) from None


embedder: migrate.Embedder | None = None
embedder_lock = threading.Lock()


def embedded(query: str) -> list[float]:
    """Gives the query's vector."""
    global embedder
    try:
        with embedder_lock:
            embedder = embedder or migrate.Embedder(threading.Event(), migrate.Usage())
        return embedder.query(query)
    except migrate.Failure as failure:
        raise HTTPException(503, str(failure)) from None


@app.get("/health")
def health(response: Response) -> dict[str, str]:
    """Says whether the target answers."""
    try:
        with connect() as connection:
            connection.execute("SELECT 1")
    except (HTTPException, psycopg.Error):
        response.status_code = 503
        return {"status": "unavailable", "target": "unreachable"}
    return {"status": "ok", "target": "reachable"}


@app.post("/search", dependencies=[Depends(allowed)])
def search(request: Search) -> dict[str, list[Hit]]:
    """Finds the chunks that are nearest to the query."""
    vector = embedded(request.query)
    with connect() as connection:
        try:
            return {"hits": nearest(connection, request, vector)}
        except psycopg.errors.UndefinedTable:
            raise HTTPException(409, "nothing has been migrated yet; POST /migrate first") from None
        except psycopg.errors.DataException:
            raise HTTPException(409, "the target holds vectors of another model; migrate again") from None


def nearest(connection: psycopg.Connection[Any], request: Search, vector: list[float]) -> list[Hit]:
    """Asks the target; the index is used, and goes on past rows that the filter leaves out."""
    found = connection.execute(
        "SELECT n.nspname, string_to_array(e.extversion, '.')::int[] >= ARRAY[0, 8]"
        " FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'vector'"
    ).fetchone()
    if found is None:
        raise HTTPException(409, "the target has no pgvector; POST /migrate first")
    extension, iterates = migrate.quoted(found[0]), found[1]
    target = migrate.PLAN["target"]
    table = f"{migrate.quoted(target['schema'])}.{migrate.quoted(target['table'])}"
    kind = "vector" if len(vector) <= migrate.VECTOR_LIMIT else "halfvec"
    distance = f"embedding OPERATOR({extension}.<=>) %(vector)s::{extension}.{kind}({len(vector)})"
    conditions = ["model = %(model)s"]
    if request.entity is not None:
        conditions.append("entity = %(entity)s")
    if request.filter:
        conditions.append("metadata @> %(filter)s::jsonb")
    if iterates:
        connection.execute("SET LOCAL hnsw.iterative_scan = 'strict_order'")
    connection.execute(f"SET LOCAL hnsw.ef_search = {max(40, request.top_k)}".encode())
    sql = (
        f"SELECT 1 - ({distance}), entity, source_key, chunk, content, metadata FROM {table}"  # nosec B608
        f" WHERE {' AND '.join(conditions)} ORDER BY {distance} LIMIT %(top_k)s"
    )
    values = {
        "vector": json.dumps(vector),
        "model": migrate.PLAN["embedding"]["model"],
        "entity": request.entity,
        "filter": json.dumps(request.filter),
        "top_k": request.top_k,
    }
    names = ("score", "entity", "source_key", "chunk", "content", "metadata")
    return [Hit(**dict(zip(names, row, strict=True))) for row in connection.execute(sql.encode(), values)]
