-- settings
SELECT set_config('statement_timeout', '0', false), set_config('default_statistics_target', '10', false)
-- relaxed
-- A batch and its checkpoint are lost together if the server crashes, and written again.
SET synchronous_commit = off
-- durable
SET LOCAL synchronous_commit = on
-- lock
SELECT pg_try_advisory_lock(hashtextextended(%(lock)s, 0))
-- lock_shared
SELECT pg_try_advisory_lock_shared(hashtextextended(%(lock)s, 0))
-- lock_setup
SELECT pg_advisory_xact_lock(hashtextextended(%(lock)s, 1))
-- available
SELECT 1 FROM pg_available_extensions WHERE name = 'vector'
-- extension
SELECT quote_ident(n.nspname) FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'vector'
-- create_extension
CREATE EXTENSION IF NOT EXISTS vector
-- schema
SELECT 1 FROM pg_namespace WHERE nspname = %(schema)s
-- create_schema
CREATE SCHEMA IF NOT EXISTS {schema}
-- embedding
SELECT regexp_replace(format_type(atttypid, atttypmod), '^.*[.]', '') FROM pg_attribute
WHERE attrelid = to_regclass(%(table)s) AND attname = 'embedding' AND NOT attisdropped
-- create_table
CREATE TABLE IF NOT EXISTS {table} (id uuid PRIMARY KEY, entity text NOT NULL, source_key jsonb NOT NULL, chunk integer NOT NULL,
content text NOT NULL, content_hash bytea NOT NULL, embedding {vector} NOT NULL, metadata jsonb NOT NULL, model text NOT NULL,
migrated_at timestamptz NOT NULL DEFAULT now())
-- old_checkpoint
SELECT 1 FROM pg_class WHERE oid = to_regclass(%(checkpoint)s)
AND NOT EXISTS (SELECT 1 FROM pg_attribute WHERE attrelid = to_regclass(%(checkpoint)s) AND attname = 'shard')
-- drop_checkpoint
DROP TABLE {checkpoint}
-- create_checkpoint
CREATE TABLE IF NOT EXISTS {checkpoint} (entity text, shard integer, shards integer NOT NULL, epoch bigint NOT NULL,
low text NOT NULL, high text NOT NULL, snapshot text, last_key jsonb, documents bigint NOT NULL DEFAULT 0,
chunks bigint NOT NULL DEFAULT 0, counts jsonb, finished boolean NOT NULL DEFAULT false,
updated_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (entity, shard))
-- create_quarantine
CREATE TABLE IF NOT EXISTS {quarantine} (id uuid PRIMARY KEY, entity text NOT NULL, source_key jsonb NOT NULL,
reason text NOT NULL, epoch bigint NOT NULL, quarantined_at timestamptz NOT NULL DEFAULT now())
-- lock_checkpoint
LOCK TABLE {checkpoint} IN SHARE ROW EXCLUSIVE MODE
-- epoch
SELECT coalesce(max(epoch), 0) FROM {checkpoint}
-- joins
SELECT 1 FROM {checkpoint} WHERE entity = ANY(%(entities)s) AND shards = %(shards)s AND shards > 1 AND epoch >= %(epoch)s AND NOT finished
LIMIT 1
-- forget_shard
DELETE FROM {seen} WHERE shard = %(shard)s
-- drop_seen
DROP TABLE IF EXISTS {seen}
-- create_seen
CREATE UNLOGGED TABLE {seen} (id uuid NOT NULL, document uuid NOT NULL, entity text NOT NULL, shard integer NOT NULL,
stored boolean NOT NULL)
-- forget_checkpoint
DELETE FROM {checkpoint} WHERE entity = %(entity)s
-- add_checkpoint
INSERT INTO {checkpoint} (entity, shard, shards, epoch, low, high, snapshot)
VALUES (%(entity)s, %(number)s, %(shards)s, %(epoch)s, %(low)s, %(high)s, %(snapshot)s)
-- begin_shard
UPDATE {checkpoint} SET documents = 0, chunks = 0, finished = false WHERE entity = ANY(%(entities)s) AND shard = %(shard)s
RETURNING entity, low, high, epoch, snapshot
-- filled
SELECT EXISTS (SELECT 1 FROM {table} WHERE entity = %(entity)s)
-- known
SELECT uuid_send(id), content_hash, model FROM {table} WHERE id = ANY(%(ids)s::uuid[])
-- copy_seen
COPY {seen} FROM STDIN (FORMAT binary)
-- copy_rows
COPY {table} (id, entity, model, chunk, content_hash, source_key, content, metadata, embedding) FROM STDIN (FORMAT binary)
-- replace
DELETE FROM {table} WHERE id = ANY(%(ids)s::uuid[])
-- set_aside
INSERT INTO {quarantine} (id, entity, source_key, reason, epoch) VALUES (%(id)s, %(entity)s, %(key)s, %(reason)s, %(epoch)s)
ON CONFLICT (id) DO UPDATE SET reason = excluded.reason, epoch = excluded.epoch
-- advance
UPDATE {checkpoint} SET documents = documents + %(documents)s, chunks = chunks + %(chunks)s,
last_key = coalesce(%(last_key)s::jsonb, last_key), updated_at = now()
WHERE entity = %(entity)s AND shard = %(shard)s AND epoch = %(epoch)s
-- finish
UPDATE {checkpoint} SET finished = true, counts = %(counts)s, updated_at = now()
WHERE entity = %(entity)s AND shard = %(shard)s AND epoch = %(epoch)s
-- open_shards
SELECT DISTINCT shard FROM {checkpoint} WHERE epoch = %(epoch)s AND NOT finished ORDER BY shard
-- old_quarantine
DELETE FROM {quarantine} WHERE entity = ANY(%(entities)s) AND epoch <> %(epoch)s
-- unstore
-- Where nothing is in quarantine, no row is read.
UPDATE {seen} s SET stored = false FROM {quarantine} q WHERE q.id = s.document AND EXISTS (SELECT FROM {quarantine})
-- analyze
-- A small sample says how many rows there are, which is all that the plans need.
ANALYZE {seen}
-- compare
-- A document has the id of its first chunk.
SELECT count(*) FILTER (WHERE s.stored AND current AND s.id = s.document), count(*) FILTER (WHERE s.stored AND current),
count(DISTINCT s.document) FILTER (WHERE s.stored AND current IS NOT TRUE), count(*) FILTER (WHERE s.id IS NULL AND chunk = 0),
(SELECT count(*) FROM (SELECT FROM {seen} WHERE entity = %(entity)s GROUP BY id HAVING count(*) > 1) d),
(SELECT count(*) FROM {quarantine} WHERE entity = %(entity)s), count(t.id) FILTER (WHERE s.stored IS NOT TRUE)
FROM (SELECT * FROM {seen} WHERE entity = %(entity)s) s
FULL JOIN (SELECT id, chunk, model = %(model)s AS current FROM {table} WHERE entity = %(entity)s) t ON t.id = s.id
-- remove
DELETE FROM {table} t WHERE entity = %(entity)s AND NOT EXISTS (SELECT 1 FROM {seen} s WHERE s.id = t.id AND s.stored)
AND {gone}
-- counts
SELECT counts FROM {checkpoint} WHERE entity = %(entity)s AND epoch = %(epoch)s
-- index
SELECT 1 FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am a ON a.oid = c.relam
WHERE i.indrelid = %(table)s::regclass AND a.amname = 'hnsw' AND i.indisvalid
-- rows
SELECT count(*) FROM {table}
-- memory
SELECT pg_read_file('/proc/meminfo', 0, 1000)
-- create_index
CREATE INDEX {index} ON {table} USING hnsw (embedding {operators})
