# -*- coding: utf-8 -*-
"""Copies the rows of a relational database, as documents with embeddings, to PostgreSQL with pgvector.

One root row is one document. The source is only read, at one instant. Running this again changes nothing; killing it
at any point loses nothing. From top to bottom: the plan, small helpers, the source, documents, the embedding API, the
target, and the run that joins them.

    reader thread              embedding threads           main thread
    source -> documents  ->    texts -> vectors      ->    target, in the order of the source
              (unchanged ones stop here)

Environment: SOURCE_URL, TARGET_URL, EMBEDDING_BASE_URL, and the key in EMBEDDING_API_KEY or in the variable that the
plan names. Standard output gets one line, the report as JSON. Exit codes: 0 complete, 1 failed, 2 usage,
3 complete but with quarantined rows, 4 counts disagree.
"""

from __future__ import annotations

