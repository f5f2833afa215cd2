CREATE TABLE runs (
    id              TEXT NOT NULL PRIMARY KEY,
    origin          TEXT NOT NULL CHECK (origin IN ('command', 'gateway')),
    graph           TEXT NOT NULL,
    graph_text      TEXT NOT NULL,
    graph_sha256    TEXT NOT NULL,
    job             TEXT NOT NULL,
    inline_secrets  TEXT NOT NULL,
    status          TEXT NOT NULL
                    CHECK (status IN ('queued', 'running', 'waiting', 'succeeded', 'failed', 'cancelled')),
    error           TEXT,
    created_at      TEXT NOT NULL,
    started_at      TEXT,
    finished_at     TEXT,
    idempotency_key TEXT UNIQUE,
    fingerprint     TEXT NOT NULL
) STRICT;

CREATE INDEX runs_by_status ON runs (status);

-- A status that says the run is over is the last word, whoever writes.
CREATE TRIGGER runs_are_over_once
BEFORE UPDATE OF status ON runs
WHEN OLD.status IN ('succeeded', 'failed', 'cancelled') AND NEW.status <> OLD.status
BEGIN
    SELECT RAISE(ABORT, 'the run is over');
END;

CREATE TABLE stages (
    run_id   TEXT    NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    id       TEXT    NOT NULL,
    position INTEGER NOT NULL,
    status   TEXT    NOT NULL,
    reason   TEXT,
    attempts INTEGER NOT NULL DEFAULT 0,
    seconds  REAL,
    kind     TEXT,
    output   TEXT,
    PRIMARY KEY (run_id, id)
) STRICT;

CREATE TABLE events (
    run_id TEXT    NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    seq    INTEGER NOT NULL,
    at     TEXT    NOT NULL,
    event  TEXT    NOT NULL,
    PRIMARY KEY (run_id, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE questions (
    run_id   TEXT    NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    id       TEXT    NOT NULL,
    position INTEGER NOT NULL,
    question TEXT    NOT NULL,
    PRIMARY KEY (run_id, id)
) STRICT;

CREATE TABLE answers (
    run_id   TEXT NOT NULL,
    question TEXT NOT NULL,
    choice   TEXT NOT NULL,
    by       TEXT NOT NULL,
    at       TEXT NOT NULL,
    PRIMARY KEY (run_id, question),
    FOREIGN KEY (run_id, question) REFERENCES questions (run_id, id) ON DELETE CASCADE
) STRICT;

CREATE TABLE artifacts (
    run_id TEXT    NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    name   TEXT    NOT NULL,
    stage  TEXT    NOT NULL,
    bytes  INTEGER NOT NULL,
    sha256 TEXT    NOT NULL,
    PRIMARY KEY (run_id, name)
) STRICT;
