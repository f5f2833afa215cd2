"""LlamaIndex: an `IngestionPipeline` of `OpenAILikeEmbedding` into `PGVectorStore`, a slice of the documents a run.

A slice is large enough for every worker of the embedding; all at once would need the memory of all.
"""

from __future__ import annotations

import asyncio

import psycopg
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.schema import TextNode
from llama_index.embeddings.openai_like import OpenAILikeEmbedding
from llama_index.vector_stores.postgres import PGVectorStore

from job import Clock, Job, batches, job

BATCHES = 4  # of each worker, in a slice
SETTINGS = "IngestionPipeline.arun, {batch} texts a request, {concurrency} workers, no index"


async def load(asked: Job) -> None:
    """Loads everything."""
    embedding = OpenAILikeEmbedding(
        model_name="text-embedding-3-small",
        api_base=asked.base_url,
        dimensions=asked.dimensions,
        embed_batch_size=asked.batch,
        num_workers=asked.concurrency,
    )
    url = asked.target.removeprefix("postgres://")
    store = PGVectorStore.from_params(
        connection_string=f"postgresql+psycopg2://{url}",
        async_connection_string=f"postgresql+asyncpg://{url}",
        table_name="bench",
        embed_dim=asked.dimensions,
        use_jsonb=True,
    )
    pipeline = IngestionPipeline(transformations=[embedding], vector_store=store, disable_cache=True)
    clock = Clock()
    with psycopg.connect(asked.documents) as source, source.cursor(name="documents") as cursor:
        cursor.execute(asked.query.encode())
        for batch in batches(iter(cursor), asked.batch * asked.concurrency * BATCHES):
            nodes = [TextNode(id_=str(number), text=text, metadata={}) for number, text in batch]
            await pipeline.arun(nodes=nodes)
    clock.stop("data_bench", SETTINGS.format(**vars(asked)))


asyncio.run(load(job()))
