"""CocoIndex: an app whose components are batches of rows, each embedded by one request.

Its documentation makes a component of each row, which takes about five times as long; a batch of rows a component is
the fastest form that it has, and what it remembers of a run is kept for each batch.
"""

from __future__ import annotations

import base64
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import cocoindex as coco
import numpy as np
from cocoindex.connectors import postgres
from openai import AsyncOpenAI

from job import Clock, Job, job

SETTINGS = "a component for {batch} rows, {concurrency} at once, no index"
ASKED: Job = job()
TARGET = coco.ContextKey[asyncpg.Pool]("target")
CLIENT = AsyncOpenAI(base_url=ASKED.base_url, api_key="none")
Rows = list[tuple[int, str]]


def vector_text(vector: np.ndarray) -> str:
    """Writes a vector as pgvector reads it."""
    return "[" + ",".join(map(str, vector.tolist())) + "]"


SCHEMA: postgres.TableSchema = postgres.TableSchema(
    {
        "id": postgres.ColumnDef("bigint", nullable=False),
        "content": postgres.ColumnDef("text", nullable=False),
        "embedding": postgres.ColumnDef(f"vector({ASKED.dimensions})", nullable=False, encoder=vector_text),
    },
    ["id"],
)


@coco.fn(memo=True)
async def process(rows: Rows, table: postgres.TableTarget) -> None:
    """Embeds a batch of rows and declares what is to stand in the table."""
    reply = await CLIENT.embeddings.create(
        model="text-embedding-3-small",
        input=[text for _, text in rows],
        dimensions=ASKED.dimensions,
        encoding_format="base64",
    )
    for (number, text), item in zip(rows, reply.data, strict=True):
        vector = np.frombuffer(base64.b64decode(str(item.embedding)), dtype=np.float32)
        table.declare_row(row={"id": number, "content": text, "embedding": vector})


async def read() -> AsyncIterator[tuple[int, Rows]]:
    """Gives the batches of rows, each with its number."""
    source = await asyncpg.connect(ASKED.documents)
    try:
        async with source.transaction(readonly=True):
            rows: Rows = []
            number = 0
            async for row in source.cursor(ASKED.query, prefetch=1000):
                rows.append((row[0], row[1]))
                if len(rows) == ASKED.batch:
                    yield number, rows
                    number, rows = number + 1, []
            if rows:
                yield number, rows
    finally:
        await source.close()


@coco.fn
async def main() -> None:
    """Mounts the table and a component for each batch."""
    table = await postgres.mount_table_target(TARGET, table_name="bench", table_schema=SCHEMA)
    await coco.mount_each(process, read(), table)


@coco.lifespan
async def lifespan(builder: coco.EnvironmentBuilder) -> AsyncIterator[None]:
    """Opens the target."""
    builder.settings.db_path = Path(FOLDER.name) / "state"
    async with await asyncpg.create_pool(ASKED.target, min_size=4, max_size=ASKED.concurrency) as pool:
        builder.provide(TARGET, pool)
        yield


FOLDER = tempfile.TemporaryDirectory()
APP = coco.App(coco.AppConfig(name="bench", max_inflight_components=ASKED.concurrency), main)
CLOCK = Clock()
APP.update_blocking()
CLOCK.stop("bench", SETTINGS.format(**vars(ASKED)))
