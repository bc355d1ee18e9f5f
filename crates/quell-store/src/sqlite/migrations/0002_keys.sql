-- Data keys, one for each tenant, day and purpose, each wrapped by the key that its owner keeps
-- elsewhere. day: days since 1970 in UTC. purpose: 0 bodies of journal frames, 1 everything else.
CREATE TABLE data_key (
    id      INTEGER PRIMARY KEY CHECK (id BETWEEN 1 AND 4294967295),
    tenant  TEXT NOT NULL,
    epoch   INTEGER NOT NULL,
    day     INTEGER NOT NULL,
    purpose INTEGER NOT NULL CHECK (purpose BETWEEN 0 AND 1),
    nonce   BLOB NOT NULL,
    wrapped BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX data_key_day ON data_key (tenant, day, purpose);

-- Under which data key a value is encrypted; 0 in clear. An encrypted value is nonce, ciphertext
-- and tag. Of an encrypted record the salt is empty: it stands before the body, in the body.
ALTER TABLE state  ADD COLUMN key_id INTEGER NOT NULL DEFAULT 0;
ALTER TABLE record ADD COLUMN key_id INTEGER NOT NULL DEFAULT 0;
ALTER TABLE outbox ADD COLUMN key_id INTEGER NOT NULL DEFAULT 0;
ALTER TABLE watch  ADD COLUMN key_id INTEGER NOT NULL DEFAULT 0;
ALTER TABLE notice ADD COLUMN key_id INTEGER NOT NULL DEFAULT 0;
ALTER TABLE cursor ADD COLUMN key_id INTEGER NOT NULL DEFAULT 0;
ALTER TABLE blob   ADD COLUMN key_id INTEGER NOT NULL DEFAULT 0;
