"""The same two endpoints on FastAPI, as durable: a run is in SQLite (WAL, synchronous=FULL) before its 202."""

import json
import os
import sqlite3
import threading
import uuid
from datetime import datetime, timezone
from typing import Any

from fastapi import FastAPI, HTTPException, Response
from pydantic import BaseModel

PATH = os.environ["BENCH_STORE"]
local = threading.local()
app = FastAPI()


def store() -> sqlite3.Connection:
    """Gives this thread's connection: FastAPI runs plain functions on a pool of threads."""
    if not hasattr(local, "store"):
        local.store = sqlite3.connect(PATH, timeout=30, isolation_level=None)
        local.store.execute("PRAGMA journal_mode=WAL")
        local.store.execute("PRAGMA synchronous=FULL")
        local.store.execute(
            "CREATE TABLE IF NOT EXISTS runs (id TEXT PRIMARY KEY, graph TEXT, job TEXT, status TEXT, created_at TEXT)"
        )
    return local.store


class Source(BaseModel):
    url: str


class JobInput(BaseModel):
    source: Source


class Submission(BaseModel):
    graph: str
    input: JobInput


def document(run_id: str, graph: str, status: str, created_at: str) -> dict[str, Any]:
    """A run's document with the members that relvec's has."""
    return {
        "run_id": run_id,
        "retry_of": None,
        "graph": graph,
        "status": status,
        "error": None,
        "created_at": created_at,
        "started_at": None,
        "finished_at": None,
        "stages": [{"id": "gate_review", "status": status, "reason": None, "attempts": 0, "seconds": None}],
        "open_questions": [],
        "generated_artifacts": [],
        "execution_report": None,
        "validation_report": None,
    }


@app.post("/jobs", status_code=202)
def submit(job: Submission, response: Response) -> dict[str, Any]:
    run_id = str(uuid.uuid4())
    created_at = datetime.now(timezone.utc).isoformat()
    store().execute(
        "INSERT INTO runs VALUES (?, ?, ?, 'queued', ?)",
        (run_id, job.graph, json.dumps(job.input.model_dump()), created_at),
    )
    response.headers["Location"] = f"/jobs/{run_id}"
    return document(run_id, job.graph, "queued", created_at)


@app.get("/jobs/{run_id}")
def show(run_id: str) -> dict[str, Any]:
    row = store().execute("SELECT id, graph, status, created_at FROM runs WHERE id = ?", (run_id,)).fetchone()
    if row is None:
        raise HTTPException(status_code=404, detail=f"there is no run {run_id}")
    return document(*row)
