-- Runs belong to tenants, and an execution of a run has one owner. The table is made anew because SQLite cannot drop the old
-- rule that a key is unique whoever uses it. Foreign keys are off meanwhile: see `open.rs`.
CREATE TABLE new_runs (
    id              TEXT    NOT NULL PRIMARY KEY,
    tenant          TEXT    NOT NULL DEFAULT 'local',
    origin          TEXT    NOT NULL CHECK (origin IN ('command', 'gateway')),
    graph           TEXT    NOT NULL,
    graph_text      TEXT    NOT NULL,
    graph_sha256    TEXT    NOT NULL,
    graph_path      TEXT,
    job             TEXT    NOT NULL,
    inline_secrets  TEXT    NOT NULL,
    status          TEXT    NOT NULL
                    CHECK (status IN ('queued', 'running', 'waiting', 'succeeded', 'failed', 'cancelled')),
    error           TEXT,
    created_at      TEXT    NOT NULL,
    started_at      TEXT,
    finished_at     TEXT,
    idempotency_key TEXT,
    fingerprint     TEXT    NOT NULL,
    -- The run that this one is a retry of.
    retry_of        TEXT    REFERENCES runs (id) ON DELETE SET NULL,
    -- The number of the last event.
    last_seq        INTEGER NOT NULL DEFAULT 0,
    -- How many seconds its executions worked so far.
    worked          REAL    NOT NULL DEFAULT 0,
    -- The process that executes it.
    owner           TEXT,
    -- Counts its executions: a write of an earlier one hits no row.
    epoch           INTEGER NOT NULL DEFAULT 0,
    -- When others may take it, in milliseconds of the database's clock; where there is no file lock to tell them.
    lease_until     INTEGER,
    -- The process that has secrets of it in memory which nobody else has.
    holder          TEXT,
    -- Whether somebody wants it cancelled while another process executes it.
    cancel_wanted   INTEGER NOT NULL DEFAULT 0,
    -- What retention took away already: 1 for events, 2 for files, 3 for both.
    pruned          INTEGER NOT NULL DEFAULT 0,
    UNIQUE (tenant, idempotency_key)
) STRICT;

INSERT INTO new_runs (id, origin, graph, graph_text, graph_sha256, graph_path, job, inline_secrets, status, error, created_at,
                      started_at, finished_at, idempotency_key, fingerprint, retry_of, last_seq)
SELECT id, origin, graph, graph_text, graph_sha256, graph_path, job, inline_secrets, status, error, created_at,
       started_at, finished_at, idempotency_key, fingerprint, retry_of,
       coalesce((SELECT max(seq) FROM events WHERE run_id = runs.id), 0)
FROM runs;

DROP TABLE runs;
ALTER TABLE new_runs RENAME TO runs;

CREATE INDEX runs_by_status ON runs (status, origin, id);
CREATE INDEX runs_by_tenant ON runs (tenant, id);
CREATE INDEX runs_by_end ON runs (finished_at) WHERE finished_at IS NOT NULL;
CREATE INDEX runs_by_retry ON runs (retry_of) WHERE retry_of IS NOT NULL;

-- A status that says the run is over is the last word, whoever writes.
CREATE TRIGGER runs_are_over_once
BEFORE UPDATE OF status ON runs
WHEN OLD.status IN ('succeeded', 'failed', 'cancelled') AND NEW.status <> OLD.status
BEGIN
    SELECT RAISE(ABORT, 'the run is over');
END;

-- What statements ask about an event, so that none has to look into its text.
ALTER TABLE events ADD COLUMN kind TEXT NOT NULL DEFAULT '';
ALTER TABLE events ADD COLUMN stage TEXT;
UPDATE events SET kind = event ->> '$.event', stage = event ->> '$.stage';
CREATE INDEX edges_of_runs ON events (run_id, seq) WHERE kind = 'edge_decided';

-- In milliseconds of the database's clock.
ALTER TABLE questions ADD COLUMN expires_at INTEGER;
UPDATE questions SET expires_at = CAST(unixepoch(question ->> '$.expires_at', 'subsec') * 1000 AS INTEGER);
CREATE INDEX questions_by_end ON questions (expires_at) WHERE expires_at IS NOT NULL;

-- A file's bytes, where gateways on several machines have to share them.
ALTER TABLE artifacts ADD COLUMN content BLOB;

-- The processes that execute runs, each until it is not heard of any more.
CREATE TABLE gateways (
    id         TEXT    NOT NULL PRIMARY KEY,
    started_at TEXT    NOT NULL,
    seen_until INTEGER NOT NULL
) STRICT;

-- Runs that are removed, or whose files are, so that every gateway removes the files that it has of them.
CREATE TABLE removed (
    run_id     TEXT    NOT NULL PRIMARY KEY,
    removed_at INTEGER NOT NULL
) STRICT;
