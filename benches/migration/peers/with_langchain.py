"""LangChain: `PGVector` with `OpenAIEmbeddings`, batches added by `aadd_texts`, as many at once as the API is asked.

Its documentation adds documents by one call, which embeds batch after batch and writes when all are there; several
calls at once are what its asynchronous interface is for, and faster.
"""

from __future__ import annotations

import asyncio

import psycopg
from langchain_openai import OpenAIEmbeddings
from langchain_postgres import PGVector

from job import Clock, Job, batches, job

SETTINGS = "PGVector, async, aadd_texts of {batch} texts, {concurrency} at once, no index"


async def load(asked: Job) -> None:
    """Loads everything."""
    embeddings = OpenAIEmbeddings(
        model="text-embedding-3-small",
        dimensions=asked.dimensions,
        base_url=asked.base_url,
        chunk_size=asked.batch,
        check_embedding_ctx_length=False,  # texts are sent, not tokens
    )
    store = PGVector(
        embeddings,
        connection=asked.target.replace("postgres://", "postgresql+psycopg://"),
        embedding_length=asked.dimensions,
        collection_name="bench",
        async_mode=True,
        engine_args={"pool_size": asked.concurrency},
    )
    await store.acreate_collection()
    clock = Clock()
    running: set[asyncio.Task[list[str]]] = set()
    with psycopg.connect(asked.documents) as source, source.cursor(name="documents") as cursor:
        cursor.execute(asked.query.encode())
        for batch in batches(iter(cursor), asked.batch):
            texts, ids = [text for _, text in batch], [str(number) for number, _ in batch]
            metadatas = [{"id": number} for number, _ in batch]
            running.add(asyncio.create_task(store.aadd_texts(texts, metadatas, ids)))
            if len(running) >= asked.concurrency:
                done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
        await asyncio.gather(*running)
    clock.stop("langchain_pg_embedding", SETTINGS.format(**vars(asked)))


asyncio.run(load(job()))
