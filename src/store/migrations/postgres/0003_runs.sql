-- The tables of SQLite's migrations 1 to 3, with the same names and columns. From here on both have the same numbers.
CREATE TABLE runs (
    id              TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    tenant          TEXT             NOT NULL DEFAULT 'local',
    origin          TEXT             NOT NULL CHECK (origin IN ('command', 'gateway')),
    graph           TEXT             NOT NULL,
    graph_text      TEXT             NOT NULL,
    graph_sha256    TEXT             NOT NULL,
    graph_path      TEXT,
    job             TEXT             NOT NULL,
    inline_secrets  TEXT             NOT NULL,
    status          TEXT             NOT NULL
                    CHECK (status IN ('queued', 'running', 'waiting', 'succeeded', 'failed', 'cancelled')),
    error           TEXT,
    created_at      TEXT COLLATE "C" NOT NULL,
    started_at      TEXT COLLATE "C",
    finished_at     TEXT COLLATE "C",
    idempotency_key TEXT,
    fingerprint     TEXT             NOT NULL,
    retry_of        TEXT COLLATE "C" REFERENCES runs (id) ON DELETE SET NULL,
    last_seq        BIGINT           NOT NULL DEFAULT 0,
    worked          DOUBLE PRECISION NOT NULL DEFAULT 0,
    owner           TEXT,
    epoch           BIGINT           NOT NULL DEFAULT 0,
    lease_until     BIGINT,
    holder          TEXT,
    cancel_wanted   BIGINT           NOT NULL DEFAULT 0,
    pruned          BIGINT           NOT NULL DEFAULT 0,
    UNIQUE (tenant, idempotency_key)
);

CREATE INDEX runs_by_status ON runs (status, origin, id);
CREATE INDEX runs_by_tenant ON runs (tenant, id);
CREATE INDEX runs_by_end ON runs (finished_at) WHERE finished_at IS NOT NULL;
CREATE INDEX runs_by_retry ON runs (retry_of) WHERE retry_of IS NOT NULL;

-- A status that says the run is over is the last word, whoever writes.
CREATE FUNCTION runs_are_over_once() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.status IN ('succeeded', 'failed', 'cancelled') AND NEW.status <> OLD.status THEN
        RAISE EXCEPTION 'the run is over';
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER runs_are_over_once
BEFORE UPDATE OF status ON runs
FOR EACH ROW EXECUTE FUNCTION runs_are_over_once();

-- Wakes whoever follows a run, executes it, or could. A lease that goes on wakes nobody.
CREATE FUNCTION runs_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('relvec_runs', NEW.id || ' ' || NEW.status);
    RETURN NULL;
END $$;

CREATE TRIGGER runs_were_added
AFTER INSERT ON runs
FOR EACH ROW EXECUTE FUNCTION runs_changed();

CREATE TRIGGER runs_were_changed
AFTER UPDATE OF status, last_seq, cancel_wanted ON runs
FOR EACH ROW EXECUTE FUNCTION runs_changed();

CREATE TABLE stages (
    run_id   TEXT COLLATE "C"  NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    id       TEXT              NOT NULL,
    position BIGINT            NOT NULL,
    status   TEXT              NOT NULL,
    reason   TEXT,
    attempts BIGINT            NOT NULL DEFAULT 0,
    seconds  DOUBLE PRECISION,
    kind     TEXT,
    output   TEXT,
    reused   BIGINT            NOT NULL DEFAULT 0,
    evidence TEXT,
    PRIMARY KEY (run_id, id)
);

CREATE TABLE events (
    run_id TEXT COLLATE "C" NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    seq    BIGINT           NOT NULL,
    at     TEXT             NOT NULL,
    event  TEXT             NOT NULL,
    kind   TEXT             NOT NULL DEFAULT '',
    stage  TEXT,
    PRIMARY KEY (run_id, seq)
);

CREATE INDEX edges_of_runs ON events (run_id, seq) WHERE kind = 'edge_decided';

CREATE TABLE questions (
    run_id     TEXT COLLATE "C" NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    id         TEXT             NOT NULL,
    position   BIGINT           NOT NULL,
    question   TEXT             NOT NULL,
    expires_at BIGINT,
    PRIMARY KEY (run_id, id)
);

CREATE INDEX questions_by_end ON questions (expires_at) WHERE expires_at IS NOT NULL;

CREATE TABLE answers (
    run_id   TEXT COLLATE "C" NOT NULL,
    question TEXT             NOT NULL,
    choice   TEXT             NOT NULL,
    by       TEXT             NOT NULL,
    at       TEXT             NOT NULL,
    PRIMARY KEY (run_id, question),
    FOREIGN KEY (run_id, question) REFERENCES questions (run_id, id) ON DELETE CASCADE
);

CREATE TABLE artifacts (
    run_id  TEXT COLLATE "C" NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    name    TEXT             NOT NULL,
    stage   TEXT             NOT NULL,
    bytes   BIGINT           NOT NULL,
    sha256  TEXT             NOT NULL,
    content BYTEA,
    PRIMARY KEY (run_id, name)
);

CREATE TABLE gateways (
    id         TEXT   NOT NULL PRIMARY KEY,
    started_at TEXT   NOT NULL,
    seen_until BIGINT NOT NULL
);

CREATE TABLE removed (
    run_id     TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    removed_at BIGINT           NOT NULL
);
