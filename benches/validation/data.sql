-- Source and target of the measurement, equal to each other, made by PostgreSQL alone: $1 rows, vectors of $2 numbers.
-- Ids and hashes are computed here after the rules in src/model/plan.rs, with no code of relvec's.

CREATE EXTENSION IF NOT EXISTS vector;

CREATE FUNCTION tagged(value text) RETURNS bytea LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT CASE WHEN value IS NULL THEN 'N'::bytea
    ELSE 'T'::bytea || int8send(octet_length(convert_to(value, 'UTF8'))) || convert_to(value, 'UTF8') END $$;

CREATE FUNCTION chunk_id(entity text, key text) RETURNS uuid LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT encode(set_byte(set_byte(h, 6, get_byte(h, 6) & 15 | 128), 8, get_byte(h, 8) & 63 | 128), 'hex')::uuid
  FROM substr(sha256(tagged(entity) || tagged(key) || tagged('0')), 1, 16) AS h $$;

CREATE TABLE notes (id bigint PRIMARY KEY, title text NOT NULL, body text NOT NULL, stars integer NOT NULL, status text);

INSERT INTO notes
SELECT n, 'note ' || n, (SELECT string_agg(md5(n::text || w::text), ' ') FROM generate_series(1, 8) AS w), n % 5,
  CASE WHEN n % 2 = 0 THEN 'open' END
FROM generate_series(1, :rows) AS n;

CREATE TABLE documents (
  id uuid PRIMARY KEY, entity text NOT NULL, source_key jsonb NOT NULL, chunk integer NOT NULL, content text NOT NULL,
  content_hash bytea NOT NULL, embedding vector(:dimensions) NOT NULL, metadata jsonb NOT NULL, model text NOT NULL,
  migrated_at timestamptz NOT NULL DEFAULT now());

-- A few vectors over and over: what is in them makes no difference to reading them.
CREATE TEMP TABLE pool AS
SELECT p, (SELECT array_agg(random() - 0.5 + 0 * d * p) FROM generate_series(1, :dimensions) AS d)::vector(:dimensions) AS embedding
FROM generate_series(0, 996) AS p;

INSERT INTO documents
SELECT chunk_id('notes', n.id::text), 'notes', jsonb_build_object('id', n.id::text), 0, t.content,
  sha256(tagged(t.content) || tagged(n.stars::text) || tagged(n.status)), pool.embedding,
  jsonb_build_object('stars', n.stars, 'status', n.status), 'm'
FROM notes AS n
CROSS JOIN LATERAL (SELECT 'title: ' || n.title || E'\nbody: ' || n.body AS content) AS t
JOIN pool ON p = n.id % 997;

VACUUM ANALYZE notes, documents;
