-- Who may write for a tenant. Every commit compares its epoch with this row.
CREATE TABLE lease (
    tenant TEXT NOT NULL,
    epoch  INTEGER NOT NULL,
    holder TEXT NOT NULL,
    PRIMARY KEY (tenant)
) STRICT, WITHOUT ROWID;

-- One row for each committed group of frames; seq is the number of its first frame, at the time
-- of its last, bytes the frames one after the other.
CREATE TABLE journal (
    id     INTEGER PRIMARY KEY,
    tenant TEXT NOT NULL,
    epoch  INTEGER NOT NULL,
    seq    INTEGER NOT NULL,
    frames INTEGER NOT NULL,
    at     INTEGER NOT NULL,
    bytes  BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX journal_seq ON journal (tenant, seq);

-- What the engine keeps: rows that it loads again and never derives again.
CREATE TABLE state (
    tenant TEXT NOT NULL,
    tbl    TEXT NOT NULL,
    key    TEXT NOT NULL,
    epoch  INTEGER NOT NULL,
    value  BLOB NOT NULL,
    PRIMARY KEY (tenant, tbl, key)
) STRICT, WITHOUT ROWID;

-- Evidence. Salt and body are null once they are erased; the rest stays.
CREATE TABLE record (
    id     INTEGER PRIMARY KEY,
    tenant TEXT NOT NULL,
    epoch  INTEGER NOT NULL,
    seq    INTEGER NOT NULL,
    type   TEXT NOT NULL,
    at     INTEGER NOT NULL,
    prev   BLOB NOT NULL,
    digest BLOB NOT NULL,
    leaf   BLOB NOT NULL,
    salt   BLOB,
    body   BLOB,
    CHECK ((salt IS NULL) = (body IS NULL))
) STRICT;
CREATE UNIQUE INDEX record_seq ON record (tenant, seq);
CREATE INDEX record_type ON record (tenant, type, seq);
CREATE TABLE record_ref (
    tenant TEXT NOT NULL,
    ref    TEXT NOT NULL,
    seq    INTEGER NOT NULL,
    epoch  INTEGER NOT NULL,
    PRIMARY KEY (tenant, ref, seq)
) STRICT, WITHOUT ROWID;

-- Calls. stage: 0 waits, 1 claimed, 2 over. Rows that are over stay without their body, so that
-- no call is ever added twice.
CREATE TABLE outbox (
    tenant        TEXT NOT NULL,
    order_id      TEXT NOT NULL,
    verb          TEXT NOT NULL,
    attempt       INTEGER NOT NULL,
    epoch         INTEGER NOT NULL,
    due           INTEGER NOT NULL,
    stage         INTEGER NOT NULL CHECK (stage BETWEEN 0 AND 2),
    claimed_by    INTEGER,
    claimed_until INTEGER,
    body          BLOB,
    PRIMARY KEY (tenant, order_id, verb, attempt)
) STRICT, WITHOUT ROWID;
CREATE INDEX outbox_waiting ON outbox (tenant, due) WHERE stage = 0;
CREATE INDEX outbox_claimed ON outbox (tenant, due) WHERE stage = 1;

CREATE TABLE watch (
    tenant TEXT NOT NULL,
    kind   TEXT NOT NULL,
    value  TEXT NOT NULL,
    epoch  INTEGER NOT NULL,
    until  INTEGER,
    body   BLOB NOT NULL,
    PRIMARY KEY (tenant, kind, value)
) STRICT, WITHOUT ROWID;

CREATE TABLE notice (
    tenant TEXT NOT NULL,
    id     TEXT NOT NULL,
    epoch  INTEGER NOT NULL,
    due    INTEGER NOT NULL,
    body   BLOB NOT NULL,
    PRIMARY KEY (tenant, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX notice_due ON notice (tenant, due);

CREATE TABLE cursor (
    tenant TEXT NOT NULL,
    source TEXT NOT NULL,
    epoch  INTEGER NOT NULL,
    value  BLOB NOT NULL,
    PRIMARY KEY (tenant, source)
) STRICT, WITHOUT ROWID;

-- The right edge of the Merkle tree: the roots of its perfect subtrees, the greatest first.
CREATE TABLE tree (
    tenant TEXT NOT NULL,
    epoch  INTEGER NOT NULL,
    size   INTEGER NOT NULL,
    edge   BLOB NOT NULL,
    PRIMARY KEY (tenant)
) STRICT, WITHOUT ROWID;

-- Roots of perfect subtrees of 256^level leaves, from level 1 up; level 0 is record.leaf.
CREATE TABLE tree_node (
    tenant TEXT NOT NULL,
    level  INTEGER NOT NULL,
    idx    INTEGER NOT NULL,
    epoch  INTEGER NOT NULL,
    hash   BLOB NOT NULL,
    PRIMARY KEY (tenant, level, idx)
) STRICT, WITHOUT ROWID;

CREATE TABLE checkpoint (
    tenant      TEXT NOT NULL,
    size        INTEGER NOT NULL,
    epoch       INTEGER NOT NULL,
    at          INTEGER NOT NULL,
    merge_delay INTEGER NOT NULL,
    origin      TEXT NOT NULL,
    root        BLOB NOT NULL,
    note        TEXT NOT NULL,
    PRIMARY KEY (tenant, size)
) STRICT, WITHOUT ROWID;

-- Bytes under their SHA-256. codec: 0 as they are, 1 one LZ4 block.
CREATE TABLE blob (
    id        INTEGER PRIMARY KEY,
    tenant    TEXT NOT NULL,
    epoch     INTEGER NOT NULL,
    digest    BLOB NOT NULL,
    codec     INTEGER NOT NULL,
    raw_bytes INTEGER NOT NULL,
    bytes     BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX blob_digest ON blob (tenant, digest);
