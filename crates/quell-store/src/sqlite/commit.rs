//! Store: a commit as SQLite statements, and the lease that guards it. Decides nothing: what is
//! written was made ready before.

use std::sync::Arc;

use quell_core::id::Tenant;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::{SqliteStore, failed, int, keys, maintain, place, unsigned};
use crate::commit::{
    CallKey, Commit, CommitError, Committed, Effects, Erasure, Refusal, WatchChange, WriteError,
};
use crate::frame::{self, Remains};
use crate::ready::{self, Ready, Tip};
use crate::seal::Seal;
use crate::store::{Journal, Lease, LeaseError};
use crate::views::Head;

impl Journal for SqliteStore {
    fn commit(&mut self, commit: &Commit) -> Result<Committed, CommitError> {
        let ring = Arc::clone(&self.keys);
        let (committed, bytes, fresh) = self.write(|conn, salts| {
            check_lease(conn, &commit.tenant, commit.epoch)?;
            ready::check_tenant(&commit.tenant)?;
            let tip = tip(conn, &commit.tenant)?;
            let (whose, at) = ((commit.tenant.as_str(), commit.epoch), Ready::day_of(commit, &tip));
            let (mut seal, fresh) = keys::seal(conn, &ring, whose, at, salts)?;
            let ready = Ready::new(commit, &tip, salts, &mut seal)?;
            write_journal(conn, commit, &tip, &ready).map_err(failed)?;
            write_records(conn, commit, &ready, &mut seal)?;
            write_state(conn, commit, &ready, &mut seal)?;
            write_outbox(conn, commit, &ready, &mut seal)?;
            write_rest(conn, commit, &mut seal)?;
            let next = Tip {
                next_frame: tip.next_frame + u64::from(ready.frames),
                next_record: tip.next_record + u64::from(ready.record_count()),
                ..tip
            };
            for erasure in &commit.effects.erasures {
                erase(conn, &commit.tenant, erasure, &next, &mut seal)?;
            }
            let committed = Committed {
                journal_seq: tip.next_frame,
                frames: ready.frames,
                first_record_seq: tip.next_record,
                records: ready.record_count(),
            };
            let bytes = ready.group.len() + bytes_of(&commit.effects);
            Ok::<_, CommitError>((committed, bytes, fresh))
        })?;
        fresh.into_iter().for_each(|(stored, key)| self.keys.learn(&stored, key));
        self.wal.wrote(bytes);
        Ok(committed)
    }
}

impl Lease for SqliteStore {
    fn acquire(&mut self, tenant: &str, holder: &str) -> Result<u64, LeaseError> {
        ready::check_tenant(tenant)?;
        ready::check_name("lease holder", holder)?;
        self.write(|conn, _| {
            let epoch = epoch(conn, tenant).map_err(failed)?.unwrap_or(0) + 1;
            conn.prepare_cached(
                "INSERT OR REPLACE INTO lease (tenant, epoch, holder) VALUES (?1, ?2, ?3)",
            )
            .and_then(|mut insert| insert.execute(params![tenant, int(epoch), holder]))
            .map_err(failed)?;
            Ok(epoch)
        })
    }
}

impl SqliteStore {
    /// Empties the write-ahead log, so that nothing erased is left in it; false while a reader
    /// or a checkpoint stands in the way.
    ///
    /// # Errors
    /// [`WriteError`].
    ///
    /// *Crash*: nothing is lost; erased bytes may still be in the log until this returned true.
    pub fn purge(&mut self) -> Result<bool, WriteError> {
        self.not_halted()?;
        maintain::truncate(&self.conn)
    }
}

/// Refuses an epoch that does not hold the lease.
pub(super) fn check_lease(conn: &Connection, tenant: &str, wanted: u64) -> Result<(), WriteError> {
    let tenant = || -> Tenant { tenant.to_owned() };
    match epoch(conn, &tenant()).map_err(failed)? {
        Some(current) if current == wanted => Ok(()),
        Some(current) => Err(WriteError::Fenced { tenant: tenant(), epoch: wanted, current }),
        None => Err(WriteError::NoLease(tenant())),
    }
}

fn epoch(conn: &Connection, tenant: &str) -> rusqlite::Result<Option<u64>> {
    conn.prepare_cached("SELECT epoch FROM lease WHERE tenant = ?1")?
        .query_row([tenant], |row| unsigned(row, 0))
        .optional()
}

/// Where journal and records stand.
fn tip(conn: &Connection, tenant: &str) -> Result<Tip, WriteError> {
    let head = head(conn, tenant).map_err(failed)?;
    Ok(Tip {
        next_frame: head.next_frame,
        last_at: head.last_at,
        next_record: head.next_record,
        last_leaf: head.last_leaf,
    })
}

/// Where journal, records and lease stand.
pub(super) fn head(conn: &Connection, tenant: &str) -> rusqlite::Result<Head> {
    let frames = conn
        .prepare_cached(
            "SELECT seq, frames, at FROM journal WHERE tenant = ?1 ORDER BY seq DESC LIMIT 1",
        )?
        .query_row([tenant], |row| {
            let next = unsigned(row, 0)?.saturating_add(unsigned(row, 1)?);
            Ok((next, quell_core::time::Time(row.get(2)?)))
        })
        .optional()?;
    let record = conn
        .prepare_cached("SELECT seq, leaf FROM record WHERE tenant = ?1 ORDER BY seq DESC LIMIT 1")?
        .query_row([tenant], |row| Ok((unsigned(row, 0)?.saturating_add(1), row.get(1)?)))
        .optional()?;
    let lease = conn
        .prepare_cached("SELECT epoch, holder FROM lease WHERE tenant = ?1")?
        .query_row([tenant], |row| Ok((unsigned(row, 0)?, row.get(1)?)))
        .optional()?;
    let (next_record, last_leaf) = record.unwrap_or((0, Tip::START.last_leaf));
    let (epoch, holder) = match lease {
        Some((epoch, holder)) => (epoch, Some(holder)),
        None => (0, None),
    };
    Ok(Head {
        next_frame: frames.map_or(0, |(next, _)| next),
        last_at: frames.map(|(_, at)| at),
        next_record,
        last_leaf,
        epoch,
        holder,
    })
}

fn write_journal(
    conn: &Connection,
    commit: &Commit,
    tip: &Tip,
    ready: &Ready<'_>,
) -> rusqlite::Result<()> {
    let (Some(at), true) = (ready.last_at, ready.frames > 0) else { return Ok(()) };
    conn.prepare_cached(
        "INSERT INTO journal (tenant, epoch, seq, frames, at, bytes)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute(params![
        commit.tenant,
        int(commit.epoch),
        int(tip.next_frame),
        ready.frames,
        at.0,
        ready.group,
    ])?;
    Ok(())
}

fn write_records(
    conn: &Connection,
    commit: &Commit,
    ready: &Ready<'_>,
    seal: &mut Seal,
) -> Result<(), WriteError> {
    for record in &ready.records {
        let place = place::record(
            &commit.tenant,
            (record.seq, &record.draft.record_type, record.draft.at),
            (&record.prev, &record.digest),
        );
        let whole = [record.salt.as_slice(), &record.draft.body].concat();
        let sealed = seal.value(&place, &whole)?;
        // In clear salt and body stand apart, as they always did.
        let (salt, body) = match sealed.key {
            0 => (record.salt.as_slice(), record.draft.body.as_slice()),
            _ => (&[][..], &*sealed.bytes),
        };
        conn.prepare_cached(
            "INSERT INTO record
             (tenant, epoch, seq, type, at, prev, digest, leaf, salt, body, key_id)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        )
        .and_then(|mut insert| {
            insert.execute(params![
                commit.tenant,
                int(commit.epoch),
                int(record.seq),
                record.draft.record_type,
                record.draft.at.0,
                record.prev,
                record.digest,
                record.leaf,
                salt,
                body,
                sealed.key,
            ])
        })
        .map_err(failed)?;
        for reference in &record.draft.refs {
            conn.prepare_cached(
                "INSERT OR IGNORE INTO record_ref (tenant, ref, seq, epoch)
                 VALUES (?1, ?2, ?3, ?4)",
            )
            .and_then(|mut insert| {
                let (seq, epoch) = (int(record.seq), int(commit.epoch));
                insert.execute(params![commit.tenant, reference, seq, epoch])
            })
            .map_err(failed)?;
        }
    }
    Ok(())
}

fn write_state(
    conn: &Connection,
    commit: &Commit,
    ready: &Ready<'_>,
    seal: &mut Seal,
) -> Result<(), WriteError> {
    for ((table, key), value) in &ready.state {
        match value {
            Some(value) => {
                let sealed = seal.value(&place::state(&commit.tenant, table, key), value)?;
                conn.prepare_cached(
                    "INSERT OR REPLACE INTO state (tenant, tbl, key, epoch, value, key_id)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                )
                .and_then(|mut insert| {
                    insert.execute(params![
                        commit.tenant,
                        table,
                        key,
                        int(commit.epoch),
                        sealed.bytes,
                        sealed.key,
                    ])
                })
            }
            None => conn
                .prepare_cached("DELETE FROM state WHERE tenant = ?1 AND tbl = ?2 AND key = ?3")
                .and_then(|mut delete| delete.execute(params![commit.tenant, table, key])),
        }
        .map_err(failed)?;
    }
    Ok(())
}

fn write_outbox(
    conn: &Connection,
    commit: &Commit,
    ready: &Ready<'_>,
    seal: &mut Seal,
) -> Result<(), CommitError> {
    for one in &ready.calls {
        let sealed = seal.value(&place::call(&commit.tenant, &CallKey::of(one.call)), &one.body)?;
        let added = conn
            .prepare_cached(
                "INSERT INTO outbox
                 (tenant, order_id, verb, attempt, epoch, due, stage, body, key_id)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, ?7, ?8) ON CONFLICT DO NOTHING",
            )
            .and_then(|mut insert| {
                insert.execute(params![
                    commit.tenant,
                    one.call.order.to_string(),
                    one.call.verb.name(),
                    one.call.attempt,
                    int(commit.epoch),
                    one.call.due.0,
                    sealed.bytes,
                    sealed.key,
                ])
            })
            .map_err(failed)?;
        if added == 0 {
            return Err(ready::again(one.call).into());
        }
    }
    for CallKey { order, verb, attempt } in &commit.effects.outbox_dones {
        conn.prepare_cached(
            "UPDATE outbox SET stage = 2, body = NULL, key_id = 0, epoch = ?5
             WHERE tenant = ?1 AND order_id = ?2 AND verb = ?3 AND attempt = ?4 AND stage < 2",
        )
        .and_then(|mut update| {
            update.execute(params![
                commit.tenant,
                order.to_string(),
                verb.name(),
                attempt,
                int(commit.epoch),
            ])
        })
        .map_err(failed)?;
    }
    Ok(())
}

/// Watchlist, notices and cursors.
fn write_rest(conn: &Connection, commit: &Commit, seal: &mut Seal) -> Result<(), WriteError> {
    let (tenant, epoch) = (&commit.tenant, int(commit.epoch));
    for change in &commit.effects.watch {
        write_watch(conn, (tenant, epoch), change, seal)?;
    }
    for notice in &commit.effects.notice_puts {
        let place = place::notice(tenant, &notice.id, notice.due);
        let sealed = seal.value(&place, &notice.body)?;
        conn.prepare_cached(
            "INSERT OR REPLACE INTO notice (tenant, id, epoch, due, body, key_id)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )
        .and_then(|mut insert| {
            let due = notice.due.0;
            insert.execute(params![tenant, notice.id, epoch, due, sealed.bytes, sealed.key])
        })
        .map_err(failed)?;
    }
    for id in &commit.effects.notice_dones {
        conn.prepare_cached("DELETE FROM notice WHERE tenant = ?1 AND id = ?2")
            .and_then(|mut delete| delete.execute(params![tenant, id]))
            .map_err(failed)?;
    }
    for (source, value) in &commit.effects.cursors {
        let sealed = seal.value(&place::cursor(tenant, source), value)?;
        conn.prepare_cached(
            "INSERT OR REPLACE INTO cursor (tenant, source, epoch, value, key_id)
             VALUES (?1, ?2, ?3, ?4, ?5)",
        )
        .and_then(|mut insert| {
            insert.execute(params![tenant, source, epoch, sealed.bytes, sealed.key])
        })
        .map_err(failed)?;
    }
    Ok(())
}

fn write_watch(
    conn: &Connection,
    (tenant, epoch): (&str, i64),
    change: &WatchChange,
    seal: &mut Seal,
) -> Result<(), WriteError> {
    match change {
        WatchChange::Put(entry) => {
            let sealed = seal.value(&place::watch(tenant, entry), &entry.body)?;
            conn.prepare_cached(
                "INSERT OR REPLACE INTO watch (tenant, kind, value, epoch, until, body, key_id)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )
            .and_then(|mut insert| {
                insert.execute(params![
                    tenant,
                    entry.kind,
                    entry.value,
                    epoch,
                    entry.until.map(|until| until.0),
                    sealed.bytes,
                    sealed.key,
                ])
            })
        }
        WatchChange::Remove { kind, value } => conn
            .prepare_cached("DELETE FROM watch WHERE tenant = ?1 AND kind = ?2 AND value = ?3")
            .and_then(|mut delete| delete.execute(params![tenant, kind, value])),
    }
    .map_err(failed)?;
    Ok(())
}

/// Forgets a record's salt and body, or a frame's body or a part of it. What is forgotten already
/// stays so.
fn erase(
    conn: &Connection,
    tenant: &str,
    erasure: &Erasure,
    tip: &Tip,
    seal: &mut Seal,
) -> Result<(), CommitError> {
    match erasure {
        Erasure::Record { seq } if *seq >= tip.next_record => {
            Err(Refusal::NothingToErase { part: "record", seq: *seq }.into())
        }
        Erasure::Record { seq } => {
            conn.prepare_cached(
                "UPDATE record SET salt = NULL, body = NULL, key_id = 0
                 WHERE tenant = ?1 AND seq = ?2",
            )
            .and_then(|mut update| update.execute(params![tenant, int(*seq)]))
            .map_err(failed)?;
            Ok(())
        }
        Erasure::Frame { seq } => rewrite(conn, tenant, *seq, Remains::Nothing, tip, seal),
        Erasure::Part { seq, rest } => rewrite(conn, tenant, *seq, Remains::Body(rest), tip, seal),
    }
}

fn rewrite(
    conn: &Connection,
    tenant: &str,
    seq: u64,
    remains: Remains<'_>,
    tip: &Tip,
    seal: &mut Seal,
) -> Result<(), CommitError> {
    let row = group_row(conn, tenant, seq).map_err(failed)?;
    let Some(row) = row.filter(|row| seq < tip.next_frame && row.holds(seq)) else {
        return Err(Refusal::NothingToErase { part: "frame", seq }.into());
    };
    let (bytes, changed) = frame::rewrite((row.seq, row.frames), &row.bytes, seq, remains, seal)
        .map_err(|cause| WriteError::Damaged(format!("frame {seq}: {cause}")))?;
    if changed {
        conn.prepare_cached("UPDATE journal SET bytes = ?2 WHERE id = ?1")
            .and_then(|mut update| update.execute(params![row.id, bytes]))
            .map_err(failed)?;
    }
    Ok(())
}

/// One row of the journal.
#[derive(Debug)]
pub(super) struct GroupRow {
    pub(super) id: i64,
    pub(super) seq: u64,
    pub(super) frames: u32,
    pub(super) bytes: Vec<u8>,
}

impl GroupRow {
    pub(super) fn holds(&self, seq: u64) -> bool {
        (self.seq..self.seq.saturating_add(u64::from(self.frames))).contains(&seq)
    }
}

/// The row that holds frame `seq` or, where there is none, the last one before it.
pub(super) fn group_row(
    conn: &Connection,
    tenant: &str,
    seq: u64,
) -> rusqlite::Result<Option<GroupRow>> {
    conn.prepare_cached(
        "SELECT id, seq, frames, bytes FROM journal
         WHERE tenant = ?1 AND seq <= ?2 ORDER BY seq DESC LIMIT 1",
    )?
    .query_row(params![tenant, int(seq)], read_group_row)
    .optional()
}

/// The first row after frame `seq`.
pub(super) fn next_group_row(
    conn: &Connection,
    tenant: &str,
    seq: u64,
) -> rusqlite::Result<Option<GroupRow>> {
    conn.prepare_cached(
        "SELECT id, seq, frames, bytes FROM journal
         WHERE tenant = ?1 AND seq > ?2 ORDER BY seq LIMIT 1",
    )?
    .query_row(params![tenant, int(seq)], read_group_row)
    .optional()
}

fn read_group_row(row: &rusqlite::Row<'_>) -> rusqlite::Result<GroupRow> {
    Ok(GroupRow {
        id: row.get(0)?,
        seq: unsigned(row, 1)?,
        frames: row.get(2)?,
        bytes: row.get(3)?,
    })
}

/// Bytes of effects, roughly, for the account of the write-ahead log.
fn bytes_of(effects: &Effects) -> usize {
    let rows = effects.state.iter().map(|change| change.value.as_ref().map_or(0, Vec::len));
    let records = effects.records.iter().map(|record| record.body.len() + 512);
    rows.chain(records).sum()
}
