//! Store: reading from the database, each answer in a short transaction of its own. Never writes:
//! the connection of [`SqliteViews`] is read-only.

use std::borrow::Borrow;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use quell_core::id::{Digest, SourceName};
use quell_core::time::Time;
use quell_evidence::Hash;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::commit::{group_row, head, next_group_row};
use super::keys::{CallRow, Stored};
use super::{DATABASE, connect, int, migrate, place, unread, unsigned};
use crate::commit::{Notice, WatchEntry};
use crate::frame::{self, StoredFrame};
use crate::packed::PackedBlob;
use crate::seal::{Keyring, OuterKey};
use crate::tree;
use crate::views::{
    Counts, Head, MAX_ROWS, OutboxRow, Pick, ReadError, StoredCheckpoint, StoredRecord, Views,
};

/// A reader on any connection.
pub struct Reader<C> {
    conn: C,
    keys: Arc<Keyring>,
}

/// A reader with a read-only connection of its own.
pub type SqliteViews = Reader<Connection>;

impl<C> fmt::Debug for Reader<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").finish_non_exhaustive()
    }
}

impl SqliteViews {
    /// Reads the store in `folder`, whether or not a process writes to it. What is encrypted
    /// gives [`ReadError::Sealed`] or [`ReadError::Frame`], each where it stands.
    ///
    /// # Errors
    /// [`ReadError::Failed`] where there is none, [`ReadError::Schema`] for another program's.
    pub fn open(folder: &Path) -> Result<Self, ReadError> {
        Self::open_with(folder, None)
    }

    /// The same with the key that wraps the data keys, where there is one.
    ///
    /// # Errors
    /// As [`SqliteViews::open`]; another key is told where something does not open under it.
    pub fn open_with(folder: &Path, key: Option<OuterKey>) -> Result<Self, ReadError> {
        Self::at(&folder.join(DATABASE), Arc::new(Keyring::new(key)))
    }

    pub(super) fn at(path: &Path, keys: Arc<Keyring>) -> Result<Self, ReadError> {
        let conn = connect(path, false).map_err(|error| ReadError::Failed(error.to_string()))?;
        migrate::refuse_other_schema(&conn)?;
        Ok(Self::new(conn, keys))
    }
}

impl<C: Borrow<Connection>> Reader<C> {
    pub(super) fn new(conn: C, keys: Arc<Keyring>) -> Self {
        Self { conn, keys }
    }

    /// The data keys, with the table behind them.
    fn stored(&self) -> Stored<'_> {
        Stored { conn: self.conn.borrow(), ring: &self.keys }
    }

    /// All rows of a query.
    fn rows<T>(
        &self,
        sql: &str,
        params: &[&dyn rusqlite::ToSql],
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, ReadError> {
        let mut select = self.conn.borrow().prepare_cached(sql).map_err(unread)?;
        let rows = select.query_map(params, read).map_err(unread)?;
        rows.collect::<rusqlite::Result<_>>().map_err(unread)
    }

    /// The first row of a query, if there is one.
    fn row<T>(
        &self,
        sql: &str,
        params: &[&dyn rusqlite::ToSql],
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, ReadError> {
        let mut select = self.conn.borrow().prepare_cached(sql).map_err(unread)?;
        select.query_row(params, read).optional().map_err(unread)
    }

    fn open_state(
        &self,
        tenant: &str,
        table: &str,
        key: &str,
        value: (u32, Vec<u8>),
    ) -> Result<Vec<u8>, ReadError> {
        let row = format_args!("{table}/{key}");
        self.stored().open(("state", row), || place::state(tenant, table, key), value)
    }

    fn count(&self, sql: &str, tenant: &str) -> Result<u64, ReadError> {
        Ok(self.row(sql, params![tenant], |row| unsigned(row, 0))?.unwrap_or(0))
    }
}

impl<C: Borrow<Connection>> Views for Reader<C> {
    fn head(&self, tenant: &str) -> Result<Head, ReadError> {
        head(self.conn.borrow(), tenant).map_err(unread)
    }

    fn state(
        &self,
        tenant: &str,
        table: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, Vec<u8>)>, ReadError> {
        // Keys are not empty, so that everything comes after the empty one.
        let rows: Vec<(String, (u32, Vec<u8>))> = self.rows(
            "SELECT key, key_id, value FROM state WHERE tenant = ?1 AND tbl = ?2 AND key > ?3
             ORDER BY key LIMIT ?4",
            params![tenant, table, after.unwrap_or(""), capped(limit)],
            |row| Ok((row.get(0)?, (row.get(1)?, row.get(2)?))),
        )?;
        let open = |(key, value): (String, _)| {
            let value = self.open_state(tenant, table, &key, value)?;
            Ok((key, value))
        };
        rows.into_iter().map(open).collect()
    }

    fn state_row(
        &self,
        tenant: &str,
        table: &str,
        key: &str,
    ) -> Result<Option<Vec<u8>>, ReadError> {
        let value = self.row(
            "SELECT key_id, value FROM state WHERE tenant = ?1 AND tbl = ?2 AND key = ?3",
            params![tenant, table, key],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        value.map(|value| self.open_state(tenant, table, key, value)).transpose()
    }

    fn group(&self, tenant: &str, seq: u64) -> Result<Option<Vec<StoredFrame>>, ReadError> {
        let conn = self.conn.borrow();
        let row = match group_row(conn, tenant, seq).map_err(unread)? {
            Some(row) if row.holds(seq) => Some(row),
            _ => next_group_row(conn, tenant, seq).map_err(unread)?,
        };
        let Some(row) = row else { return Ok(None) };
        let bad = |cause| ReadError::Frame { tenant: tenant.to_owned(), seq: row.seq, cause };
        let frames =
            frame::read_group(row.seq, row.frames, &row.bytes, &self.stored()).map_err(bad)?;
        if frames.iter().any(|frame| frame.tenant != tenant) {
            return Err(ReadError::Damaged(format!("row {} holds another's frames", row.seq)));
        }
        Ok(Some(frames))
    }

    fn records(
        &self,
        tenant: &str,
        pick: Pick<'_>,
        from: u64,
        limit: usize,
    ) -> Result<Vec<StoredRecord>, ReadError> {
        let (from, limit) = (int(from), capped(limit));
        let rows = match pick {
            Pick::All => self.rows(
                "SELECT tenant, seq, type, at, prev, digest, leaf, salt, body, key_id FROM record
                 WHERE tenant = ?1 AND seq >= ?2 ORDER BY seq LIMIT ?3",
                params![tenant, from, limit],
                RecordRow::read,
            ),
            Pick::Type(name) => self.rows(
                "SELECT tenant, seq, type, at, prev, digest, leaf, salt, body, key_id FROM record
                 WHERE tenant = ?1 AND seq >= ?2 AND type = ?4 ORDER BY seq LIMIT ?3",
                params![tenant, from, limit, name],
                RecordRow::read,
            ),
            Pick::Ref(id) => self.rows(
                "SELECT r.tenant, r.seq, r.type, r.at, r.prev, r.digest, r.leaf, r.salt, r.body,
                 r.key_id FROM record_ref AS f CROSS JOIN record AS r
                 ON r.tenant = f.tenant AND r.seq = f.seq
                 WHERE f.tenant = ?1 AND f.seq >= ?2 AND f.ref = ?4 ORDER BY f.seq LIMIT ?3",
                params![tenant, from, limit, id],
                RecordRow::read,
            ),
        };
        rows?.into_iter().map(|row| row.open(&self.stored())).collect()
    }

    fn outbox(&self, tenant: &str, limit: usize) -> Result<Vec<OutboxRow>, ReadError> {
        let sql = format!(
            "SELECT {}, claimed_by, claimed_until FROM outbox
             WHERE tenant = ?1 AND (stage = 0 OR stage = 1)
             ORDER BY due, order_id, verb, attempt LIMIT ?2",
            CallRow::COLUMNS
        );
        let rows: Vec<(CallRow, Option<i64>, Option<i64>)> =
            self.rows(&sql, params![tenant, capped(limit)], |row| {
                Ok((CallRow::read(row)?, row.get(5)?, row.get(6)?))
            })?;
        let damaged = |cause| ReadError::Damaged(format!("a call in the outbox: {cause}"));
        rows.into_iter()
            .map(|(row, by, until)| {
                let call = self.stored().call(tenant, row)?;
                let by = by.map(u64::try_from).transpose().map_err(|e| damaged(e.to_string()))?;
                Ok(OutboxRow { call, claimed: by.zip(until.map(Time)) })
            })
            .collect()
    }

    fn next_due(&self, tenant: &str) -> Result<Option<Time>, ReadError> {
        self.row(
            "SELECT due FROM outbox WHERE tenant = ?1 AND stage = 0 ORDER BY due LIMIT 1",
            params![tenant],
            |row| Ok(Time(row.get(0)?)),
        )
    }

    fn watch(
        &self,
        tenant: &str,
        now: Time,
        after: Option<(&str, &str)>,
        limit: usize,
    ) -> Result<Vec<WatchEntry>, ReadError> {
        let (kind, value) = after.unwrap_or(("", ""));
        let rows: Vec<(WatchEntry, u32)> = self.rows(
            "SELECT kind, value, until, body, key_id FROM watch
             WHERE tenant = ?1 AND (until IS NULL OR until > ?2) AND (kind, value) > (?3, ?4)
             ORDER BY kind, value LIMIT ?5",
            params![tenant, now.0, kind, value, capped(limit)],
            |row| {
                let until: Option<i64> = row.get(2)?;
                let until = until.map(Time);
                let (kind, value, body) = (row.get(0)?, row.get(1)?, row.get(3)?);
                Ok((WatchEntry { kind, value, until, body }, row.get(4)?))
            },
        )?;
        let open = |(mut entry, key): (WatchEntry, u32)| {
            let body = (key, std::mem::take(&mut entry.body));
            let name = ("watch", &entry.kind);
            entry.body = self.stored().open(name, || place::watch(tenant, &entry), body)?;
            Ok(entry)
        };
        rows.into_iter().map(open).collect()
    }

    fn notices(&self, tenant: &str, now: Time, limit: usize) -> Result<Vec<Notice>, ReadError> {
        let rows: Vec<(String, Time, (u32, Vec<u8>))> = self.rows(
            "SELECT id, due, key_id, body FROM notice WHERE tenant = ?1 AND due <= ?2
             ORDER BY due, id LIMIT ?3",
            params![tenant, now.0, capped(limit)],
            |row| Ok((row.get(0)?, Time(row.get(1)?), (row.get(2)?, row.get(3)?))),
        )?;
        let open = |(id, due, body): (String, Time, _)| {
            let place = || place::notice(tenant, &id, due);
            let body = self.stored().open(("notice", &id), place, body)?;
            Ok(Notice { id, due, body })
        };
        rows.into_iter().map(open).collect()
    }

    fn cursors(&self, tenant: &str) -> Result<Vec<(SourceName, Vec<u8>)>, ReadError> {
        let rows: Vec<(SourceName, (u32, Vec<u8>))> = self.rows(
            "SELECT source, key_id, value FROM cursor WHERE tenant = ?1 ORDER BY source",
            params![tenant],
            |row| Ok((row.get(0)?, (row.get(1)?, row.get(2)?))),
        )?;
        let open = |(source, value): (SourceName, _)| {
            let place = || place::cursor(tenant, &source);
            let value = self.stored().open(("cursor", &source), place, value)?;
            Ok((source, value))
        };
        rows.into_iter().map(open).collect()
    }

    fn blob(&self, tenant: &str, digest: &Digest) -> Result<Option<Vec<u8>>, ReadError> {
        let row: Option<(u8, u32, (u32, Vec<u8>))> = self.row(
            "SELECT codec, raw_bytes, key_id, bytes FROM blob WHERE tenant = ?1 AND digest = ?2",
            params![tenant, digest.0],
            |row| Ok((row.get(0)?, row.get(1)?, (row.get(2)?, row.get(3)?))),
        )?;
        let Some((codec, raw_bytes, bytes)) = row else { return Ok(None) };
        let place = || place::blob(tenant, digest, codec, raw_bytes);
        let bytes = self.stored().open(("blob", digest), place, bytes)?.into();
        let packed = PackedBlob { digest: *digest, codec, raw_bytes, bytes };
        packed.unpack().map(Some).map_err(ReadError::Damaged)
    }

    fn counts(&self, tenant: &str) -> Result<Counts, ReadError> {
        let head = self.head(tenant)?;
        let waiting = "SELECT count(*) FROM outbox WHERE tenant = ?1 AND stage = 0";
        let claimed = "SELECT count(*) FROM outbox WHERE tenant = ?1 AND stage = 1";
        let watch = "SELECT count(*) FROM watch WHERE tenant = ?1";
        let notices = "SELECT count(*) FROM notice WHERE tenant = ?1";
        Ok(Counts {
            frames: head.next_frame,
            records: head.next_record,
            outbox_waiting: self.count(waiting, tenant)?,
            outbox_claimed: self.count(claimed, tenant)?,
            watch: self.count(watch, tenant)?,
            notices: self.count(notices, tenant)?,
        })
    }

    fn tree_size(&self, tenant: &str) -> Result<u64, ReadError> {
        self.count("SELECT size FROM tree WHERE tenant = ?1", tenant)
    }

    fn nodes(
        &self,
        tenant: &str,
        level: u32,
        first: u64,
        count: u32,
    ) -> Result<Vec<Hash>, ReadError> {
        let end = first.saturating_add(u64::from(count.min(tree::MAX_NODES)));
        let within = tree::nodes_within(self.tree_size(tenant)?, level, end)?;
        let rows: Vec<Hash> = if level == 0 {
            self.rows(
                "SELECT leaf FROM record WHERE tenant = ?1 AND seq >= ?2 AND seq < ?3
                 ORDER BY seq",
                params![tenant, int(first), int(within)],
                |row| row.get(0),
            )?
        } else {
            self.rows(
                "SELECT hash FROM tree_node WHERE tenant = ?1 AND level = ?4
                 AND idx >= ?2 AND idx < ?3 ORDER BY idx",
                params![tenant, int(first), int(within), level],
                |row| row.get(0),
            )?
        };
        let found = u64::try_from(rows.len()).unwrap_or(u64::MAX);
        if found == within.saturating_sub(first) {
            Ok(rows)
        } else {
            Err(ReadError::Damaged(format!("the tree of tenant `{tenant}` has a gap")))
        }
    }

    fn checkpoint(
        &self,
        tenant: &str,
        size: Option<u64>,
    ) -> Result<Option<StoredCheckpoint>, ReadError> {
        self.row(
            "SELECT size, root, origin, note, at, merge_delay FROM checkpoint
             WHERE tenant = ?1 AND size <= ?2 ORDER BY size DESC LIMIT 1",
            params![tenant, int(size.unwrap_or(u64::MAX))],
            |row| {
                Ok(StoredCheckpoint {
                    size: unsigned(row, 0)?,
                    root: row.get(1)?,
                    origin: row.get(2)?,
                    note: row.get(3)?,
                    at: Time(row.get(4)?),
                    merge_delay: row.get(5)?,
                })
            },
        )
    }
}

/// A row of the evidence, its body as it is stored.
struct RecordRow {
    record: StoredRecord,
    salt: Option<Vec<u8>>,
    body: Option<Vec<u8>>,
    key: u32,
}

impl RecordRow {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        let record = StoredRecord {
            tenant: row.get(0)?,
            seq: unsigned(row, 1)?,
            record_type: row.get(2)?,
            at: Time(row.get(3)?),
            prev: row.get(4)?,
            digest: row.get(5)?,
            leaf: row.get(6)?,
            body: None,
        };
        Ok(Self { record, salt: row.get(7)?, body: row.get(8)?, key: row.get(9)? })
    }

    fn open(self, stored: &Stored<'_>) -> Result<StoredRecord, ReadError> {
        let Self { mut record, salt, body, key } = self;
        let Some((mut salt, mut body)) = salt.zip(body) else { return Ok(record) };
        if key != 0 {
            let of = (record.seq, record.record_type.as_str(), record.at);
            let place = || place::record(&record.tenant, of, (&record.prev, &record.digest));
            salt = stored.open(("record", record.seq), place, (key, body))?;
            body = salt.split_off(salt.len().min(32));
        }
        let damaged = |_| ReadError::Damaged(format!("the salt of record {}", record.seq));
        let salt = salt.try_into().map_err(damaged)?;
        record.body = Some((salt, body));
        Ok(record)
    }
}

fn capped(limit: usize) -> i64 {
    i64::try_from(limit.min(MAX_ROWS)).unwrap_or(i64::MAX)
}
