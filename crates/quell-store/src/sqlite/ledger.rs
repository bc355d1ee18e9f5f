//! Store: claims of outbox rows. Never says that a call was sent: whoever claimed one and died
//! leaves an orphan.

use quell_core::order::Call;
use quell_core::time::Time;
use rusqlite::params;

use super::commit::check_lease;
use super::keys::{CallRow, Stored};
use super::{SqliteStore, failed, int};
use crate::commit::{CallKey, WriteError};
use crate::store::{Ledger, MAX_CALLS};
use crate::tree;

impl Ledger for SqliteStore {
    fn claim(
        &mut self,
        tenant: &str,
        epoch: u64,
        now: Time,
        until: Time,
        limit: usize,
    ) -> Result<Vec<Call>, WriteError> {
        let due = due(&self.stored(), tenant, now, limit)?;
        if due.is_empty() {
            // Nothing to write, but a deposed engine must learn that it is one.
            self.not_halted()?;
            check_lease(&self.conn, tenant, epoch)?;
            return Ok(due);
        }
        self.write(|conn, _| {
            check_lease(conn, tenant, epoch)?;
            for call in &due {
                let claimed = conn
                    .prepare_cached(
                        "UPDATE outbox SET stage = 1, claimed_by = ?5, claimed_until = ?6
                         WHERE tenant = ?1 AND order_id = ?2 AND verb = ?3 AND attempt = ?4
                         AND stage = 0",
                    )
                    .and_then(|mut update| {
                        update.execute(params![
                            tenant,
                            call.order.to_string(),
                            call.verb.name(),
                            call.attempt,
                            int(epoch),
                            until.0,
                        ])
                    })
                    .map_err(failed)?;
                if claimed != 1 {
                    return Err(WriteError::Damaged(format!(
                        "the outbox row of order {} does not name its own call",
                        call.order
                    )));
                }
            }
            Ok(())
        })?;
        Ok(due)
    }

    fn release(&mut self, tenant: &str, epoch: u64, calls: &[CallKey]) -> Result<(), WriteError> {
        self.write(|conn, _| {
            check_lease(conn, tenant, epoch)?;
            for CallKey { order, verb, attempt } in calls {
                conn.prepare_cached(
                    "UPDATE outbox SET stage = 0, claimed_by = NULL, claimed_until = NULL
                     WHERE tenant = ?1 AND order_id = ?2 AND verb = ?3 AND attempt = ?4
                     AND stage = 1 AND claimed_by = ?5",
                )
                .and_then(|mut update| {
                    let order = order.to_string();
                    update.execute(params![tenant, order, verb.name(), attempt, int(epoch)])
                })
                .map_err(failed)?;
            }
            Ok(())
        })
    }

    fn orphans(&self, tenant: &str, epoch: u64, now: Time) -> Result<Vec<Call>, WriteError> {
        let which = "tenant = ?1 AND stage = 1 AND (claimed_by <> ?2 OR claimed_until < ?3)
                     ORDER BY due, order_id, verb, attempt LIMIT ?4";
        let params = params![tenant, int(epoch), now.0, limit(MAX_CALLS)];
        calls(&self.stored(), tenant, which, params)
    }
}

/// Calls that are due and unclaimed. Read outside the claim's transaction, which is sound because
/// nobody else writes.
fn due(stored: &Stored<'_>, tenant: &str, now: Time, most: usize) -> Result<Vec<Call>, WriteError> {
    let which = "tenant = ?1 AND stage = 0 AND due <= ?2
                 ORDER BY due, order_id, verb, attempt LIMIT ?3";
    calls(stored, tenant, which, params![tenant, now.0, limit(most.min(MAX_CALLS))])
}

fn calls(
    stored: &Stored<'_>,
    tenant: &str,
    which: &str,
    params: &[&dyn rusqlite::ToSql],
) -> Result<Vec<Call>, WriteError> {
    let sql = format!("SELECT {} FROM outbox WHERE {which}", CallRow::COLUMNS);
    let mut select = stored.conn.prepare_cached(&sql).map_err(failed)?;
    let rows = select
        .query_map(params, CallRow::read)
        .and_then(Iterator::collect::<rusqlite::Result<Vec<CallRow>>>)
        .map_err(failed)?;
    let read = |row| stored.call(tenant, row).map_err(tree::unwritable);
    rows.into_iter().map(read).collect()
}

fn limit(most: usize) -> i64 {
    i64::try_from(most).unwrap_or(i64::MAX)
}
