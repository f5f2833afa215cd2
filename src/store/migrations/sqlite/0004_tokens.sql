-- Who may use the gateway. A revoked token stays, so that a gateway which had tokens stays closed.
CREATE TABLE tokens (
    id         TEXT NOT NULL PRIMARY KEY,
    name       TEXT NOT NULL,
    tenant     TEXT NOT NULL,
    scopes     TEXT NOT NULL,
    -- BLAKE3 of the token's text, in hexadecimal. The text itself is nowhere.
    hash       TEXT NOT NULL,
    created_at TEXT NOT NULL,
    expires_at TEXT,
    revoked_at TEXT
) STRICT;
