-- Where the graph file was, for a run that was started from a path; null where the graph is looked up by its name.
ALTER TABLE runs ADD COLUMN graph_path TEXT;

-- The run that this one is a retry of.
ALTER TABLE runs ADD COLUMN retry_of TEXT REFERENCES runs (id) ON DELETE SET NULL;

-- Whether the stage was taken over from that run.
ALTER TABLE stages ADD COLUMN reused INTEGER NOT NULL DEFAULT 0;

-- What a stage that failed and counts as skipped could report. It is no output.
ALTER TABLE stages ADD COLUMN evidence TEXT;
