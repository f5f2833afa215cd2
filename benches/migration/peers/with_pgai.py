"""pgai: a vectorizer of a table in the target, and its worker once.

It reads a table beside its own: the documents are copied there before the clock starts, which the others are not given.
The model has a name that no tokenizer is known for, which spares the worker the counting of tokens (and this bench the
download of a tokenizer).
"""

from __future__ import annotations

import asyncio

import pgai
import psycopg
from pgai.vectorizer import Worker

from job import Clock, Job, job

SETTINGS = "batch_size {batch}, worker's concurrency {concurrency}, no chunking, no index"
VECTORIZER = """
SELECT ai.create_vectorizer(
  'documents'::regclass,
  loading => ai.loading_column('content'),
  destination => ai.destination_table('embeddings'),
  embedding => ai.embedding_openai('bench', {dimensions}, base_url => '{base_url}'),
  chunking => ai.chunking_none(),
  formatting => ai.formatting_python_template('$chunk'),
  indexing => ai.indexing_none(),
  scheduling => ai.scheduling_none(),
  processing => ai.processing_default(batch_size => {batch}, concurrency => {vectorizer_concurrency})
)"""
MOST = 10  # workers that a vectorizer may ask for; the worker's own option knows no limit


def prepare(asked: Job) -> int:
    """Copies the documents, installs pgai and makes the vectorizer, which puts every row into its queue."""
    pgai.install(asked.target)
    with psycopg.connect(asked.documents) as source, psycopg.connect(asked.target, autocommit=True) as target:
        target.execute("CREATE TABLE documents (id bigint PRIMARY KEY, content text NOT NULL)")
        given = source.cursor().copy(f"COPY ({asked.query}) TO STDOUT".encode())
        with given as rows, target.cursor().copy("COPY documents FROM STDIN") as copy:
            for block in rows:
                copy.write(block)
        vectorizer = VECTORIZER.format(**vars(asked), vectorizer_concurrency=min(MOST, asked.concurrency))
        row = target.execute(vectorizer.encode()).fetchone()
        target.execute("VACUUM ANALYZE")
    assert row
    return int(row[0])


def main() -> None:
    """Loads everything."""
    asked = job()
    vectorizer = prepare(asked)
    clock = Clock()
    worker = Worker(asked.target, once=True, vectorizer_ids=[vectorizer], concurrency=asked.concurrency)
    failure = asyncio.run(worker.run())
    if failure:
        raise failure
    clock.stop("embeddings_store", SETTINGS.format(**vars(asked)))


main()
