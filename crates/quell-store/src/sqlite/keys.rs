//! Store: the table of data keys, and opening what is encrypted under them. A key that is not
//! stored for certain is never used again.

use std::fmt::Display;
use std::sync::Arc;

use quell_core::UnknownName;
use quell_core::id::{InvalidId, OrderId, Tenant};
use quell_core::order::{Call, Verb};
use quell_core::time::Time;
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use zeroize::Zeroizing;

use super::{OpenError, SqliteStore, failed, int, place};
use crate::commit::{CallKey, WriteError};
use crate::ready;
use crate::salt::Salts;
use crate::seal::{
    self, DataKey, Keyring, Keys, NoKey, Nonce, OuterKey, Purpose, Seal, WrappedKey,
};
use crate::views::{ReadError, Unopened};

/// A data key that the transaction at hand makes; to be learned once that is durable.
pub(super) type Fresh = (WrappedKey, Arc<DataKey>);

/// The ring, with the table behind it.
pub(super) struct Stored<'a> {
    pub(super) conn: &'a Connection,
    pub(super) ring: &'a Keyring,
}

const COLUMNS: &str = "SELECT id, tenant, day, purpose, nonce, wrapped FROM data_key";

impl SqliteStore {
    /// Wraps every data key anew, under another outer key; gives how many there are. What they
    /// encrypt is not touched. The store must be open under the key of before, or hold no data
    /// keys; it must be opened again under the new one.
    ///
    /// # Errors
    /// [`WriteError`]; all of them are then wrapped as before.
    ///
    /// *Crash*: all are wrapped under the one key or all under the other, which the next opening
    /// tells. The old wrappings are gone once [`SqliteStore::purge`] returned true.
    pub fn rekey(&mut self, to: &OuterKey) -> Result<u64, WriteError> {
        let ring = Arc::clone(&self.keys);
        let count = self.write(|conn, salts| {
            let all = all(conn).map_err(failed)?;
            for mut key in all.iter().cloned() {
                let outer = ring.outer().ok_or_else(|| damaged(&NoKey::NotAtHand(key.id)))?;
                let data = outer.unwrap(&key).ok_or_else(|| damaged(&NoKey::Damaged(key.id)))?;
                key.nonce = nonce(salts)?;
                to.wrap(&mut key, &data)?;
                conn.execute(
                    "UPDATE data_key SET nonce = ?2, wrapped = ?3 WHERE id = ?1",
                    params![key.id, key.nonce, key.wrapped],
                )
                .map_err(failed)?;
            }
            Ok::<_, WriteError>(all.len())
        })?;
        Ok(u64::try_from(count).unwrap_or(u64::MAX))
    }
}

impl Keys for Stored<'_> {
    fn key(&self, id: u32) -> Result<Arc<DataKey>, NoKey> {
        if let Some(key) = self.ring.find(id) {
            return Ok(key);
        }
        if self.ring.outer().is_none() {
            return Err(NoKey::NotAtHand(id));
        }
        let unread = |error: rusqlite::Error| NoKey::Unread(error.to_string());
        let stored = self
            .conn
            .prepare_cached(&format!("{COLUMNS} WHERE id = ?1"))
            .and_then(|mut select| select.query_row([id], wrapped).optional())
            .map_err(unread)?
            .ok_or(NoKey::NotAtHand(id))?;
        let key = self.ring.unwrap(&stored)?;
        self.ring.learn(&stored, Arc::clone(&key));
        Ok(key)
    }
}

impl Stored<'_> {
    /// A value in clear, out of a row of `table`.
    pub(super) fn open(
        &self,
        (table, row): (&'static str, impl Display),
        place: impl FnOnce() -> Vec<u8>,
        (id, stored): (u32, Vec<u8>),
    ) -> Result<Vec<u8>, ReadError> {
        if id == 0 {
            return Ok(stored);
        }
        let opened = self
            .key(id)
            .map_err(Unopened::Key)
            .and_then(|key| seal::open_value(&key, &place(), &stored).ok_or(Unopened::Forged(id)));
        opened.map_err(|cause| ReadError::Sealed { table, row: row.to_string(), cause })
    }

    /// A call of the outbox.
    pub(super) fn call(&self, tenant: &str, row: CallRow) -> Result<Call, ReadError> {
        let damaged = |cause: String| ReadError::Damaged(format!("a call in the outbox: {cause}"));
        let CallRow { order, verb, attempt, body, key } = row;
        let id: OrderId = order.parse().map_err(|e: InvalidId| damaged(e.to_string()))?;
        let verb: Verb = verb.parse().map_err(|e: UnknownName| damaged(e.to_string()))?;
        let place = || place::call(tenant, &CallKey { order: id, verb, attempt });
        let body =
            self.open(("outbox", format_args!("{order}/{verb}/{attempt}")), place, (key, body))?;
        ready::decode_call(&body).map_err(damaged)
    }
}

/// A row of the outbox.
pub(super) struct CallRow {
    order: String,
    verb: String,
    attempt: u32,
    body: Vec<u8>,
    key: u32,
}

impl CallRow {
    /// The columns that [`CallRow::read`] takes, the first ones of a query.
    pub(super) const COLUMNS: &str = "order_id, verb, attempt, body, key_id";

    pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            order: row.get(0)?,
            verb: row.get(1)?,
            attempt: row.get(2)?,
            body: row.get(3)?,
            key: row.get(4)?,
        })
    }
}

/// Learns the keys of a store, before anything is written to it.
///
/// # Errors
/// [`OpenError::NoKey`] and [`OpenError::OtherKey`]: nothing was written.
pub(super) fn learn(conn: &Connection, ring: &Keyring) -> Result<(), OpenError> {
    let there: bool = conn
        .query_row("SELECT count(*) FROM sqlite_schema WHERE name = 'data_key'", [], |row| {
            row.get(0)
        })
        .map_err(failed)?;
    if !there {
        return Ok(());
    }
    let stored = all(conn).map_err(failed)?;
    if stored.is_empty() {
        return Ok(());
    }
    if ring.outer().is_none() {
        return Err(OpenError::NoKey);
    }
    let opened: Vec<_> = stored.iter().map(|key| (key, ring.unwrap(key))).collect();
    if opened.iter().all(|(_, key)| key.is_err()) {
        return Err(OpenError::OtherKey);
    }
    for (stored, key) in opened {
        ring.learn(stored, key.map_err(|error| damaged(&error))?);
    }
    Ok(())
}

/// What encrypts a commit at `at`: the keys of its day, made where there are none.
pub(super) fn seal(
    conn: &Connection,
    ring: &Keyring,
    (tenant, epoch): (&str, u64),
    at: Time,
    salts: &mut dyn Salts,
) -> Result<(Seal, Vec<Fresh>), WriteError> {
    let Some(outer) = ring.outer() else { return Ok((Seal::clear(), Vec::new())) };
    let mut fresh = Vec::new();
    let day = seal::day(at);
    let mut of = |purpose: Purpose, salts: &mut dyn Salts| {
        if let Some(key) = ring.of_day(tenant, day, purpose) {
            return Ok(key);
        }
        let next: i64 = conn
            .query_row("SELECT coalesce(max(id), 0) + 1 FROM data_key", [], |row| row.get(0))
            .map_err(failed)?;
        let id = u32::try_from(next)
            .map_err(|_| WriteError::Failed("there are no more numbers of keys".to_owned()))?;
        let tenant: Tenant = tenant.to_owned();
        let nonce = nonce(salts)?;
        let mut stored = WrappedKey { id, tenant, day, purpose, nonce, wrapped: Vec::new() };
        outer.wrap(&mut stored, Zeroizing::new(random(salts)?).as_slice())?;
        conn.execute(
            "INSERT INTO data_key (id, tenant, epoch, day, purpose, nonce, wrapped)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            params![id, stored.tenant, int(epoch), day, purpose as u8, nonce, stored.wrapped],
        )
        .map_err(failed)?;
        let key = ring.unwrap(&stored).map_err(|error| damaged(&error))?;
        fresh.push((stored, Arc::clone(&key)));
        Ok(key)
    };
    let journal = of(Purpose::Journal, salts)?;
    let rows = of(Purpose::Rows, salts)?;
    Ok((Seal::new(journal, rows, salts)?, fresh))
}

fn random(salts: &mut dyn Salts) -> Result<[u8; 32], WriteError> {
    salts.next().map_err(|error| WriteError::Failed(error.to_string()))
}

fn nonce(salts: &mut dyn Salts) -> Result<Nonce, WriteError> {
    let mut nonce = Nonce::default();
    nonce.iter_mut().zip(random(salts)?).for_each(|(to, from)| *to = from);
    Ok(nonce)
}

fn all(conn: &Connection) -> rusqlite::Result<Vec<WrappedKey>> {
    let mut select = conn.prepare(&format!("{COLUMNS} ORDER BY id"))?;
    let rows = select.query_map([], wrapped)?;
    rows.collect()
}

fn wrapped(row: &Row<'_>) -> rusqlite::Result<WrappedKey> {
    let purpose = match row.get::<_, i64>(3)? {
        0 => Purpose::Journal,
        1 => Purpose::Rows,
        other => return Err(rusqlite::Error::IntegralValueOutOfRange(3, other)),
    };
    Ok(WrappedKey {
        id: row.get(0)?,
        tenant: row.get(1)?,
        day: row.get(2)?,
        purpose,
        nonce: row.get(4)?,
        wrapped: row.get(5)?,
    })
}

fn damaged(error: &NoKey) -> WriteError {
    WriteError::Damaged(error.to_string())
}

#[cfg(test)]
mod tests;
