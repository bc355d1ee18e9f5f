//! Engine room, state rows: what is loaded from the store and never derived again.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::timers::Alarm;
use super::{Config, Engine};
use crate::case::Case;
use crate::directory::{Entry, Head};
use crate::effect::{Freeze, WatchEntry};
use crate::finding::Finding;
use crate::id::IdentityId;
use crate::order::Order;
use crate::resolve::Subject;

/// A state row that cannot be read: the store is damaged or of another version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("state row `{table}/{key}` cannot be read: {cause}")]
pub struct BadState {
    table: String,
    key: String,
    cause: String,
}

/// A value as a state row.
pub(super) fn bytes<T: Serialize>(value: &T) -> Option<Vec<u8>> {
    serde_json::to_vec(value).ok()
}

impl Engine {
    /// An engine with the state of a store. Timelines come back by [`Engine::fold`].
    ///
    /// # Errors
    /// [`BadState`] for a row that cannot be read; nothing is guessed.
    pub fn load<'a>(
        config: Config,
        rows: impl IntoIterator<Item = (&'a str, &'a str, &'a [u8])>,
    ) -> Result<Self, BadState> {
        let mut engine = Self::new(config);
        for (table, key, value) in rows {
            engine.load_row(table, key, value)?;
        }
        engine.directory.index();
        Ok(engine)
    }

    fn load_row(&mut self, table: &str, key: &str, value: &[u8]) -> Result<(), BadState> {
        match table {
            "directory" if key == "current" => {
                self.directory.load_head(read::<Head>(table, key, value)?);
            }
            "directory" => {
                let id: IdentityId = key.parse().map_err(|e| bad(table, key, &e))?;
                self.directory.load_entry(id, read::<Entry>(table, key, value)?);
            }
            "finding" => {
                let finding: Finding = read(table, key, value)?;
                let of = self.by_subject.entry(finding.subject.clone()).or_default();
                of.entry(finding.rule.clone()).or_default().insert(finding.id);
                self.findings.insert(finding.id, finding);
            }
            "case" => {
                let case: Case = read(table, key, value)?;
                self.cases_of.entry(case.subject.clone()).or_default().insert(case.id);
                case.containments
                    .iter()
                    .cloned()
                    .for_each(|c| self.keep_containment(&case.subject, c));
                self.cases.insert(case.id, case);
            }
            "order" => {
                let order: Order = read(table, key, value)?;
                self.index.insert(&order);
                self.alarms.of_order(&order);
                self.orders.insert(order.id, order);
            }
            "budget" => {
                self.spent.insert(key.to_owned(), read(table, key, value)?);
            }
            "freeze" => {
                let freeze: Freeze = read(table, key, value)?;
                self.alarms.set(Alarm::Freeze, freeze.until);
                self.freeze = Some(freeze);
            }
            "dismissed" => {
                let case = key.parse().map_err(|e| bad(table, key, &e))?;
                self.dismissed.keep(case, read(table, key, value)?);
            }
            "sight" => {
                self.sights.insert(key.to_owned(), read(table, key, value)?);
            }
            "precision" => {
                self.precision.load(key, read(table, key, value)?);
            }
            "watch" => {
                let entry: WatchEntry = read(table, key, value)?;
                self.alarms.of_watch(&entry);
                self.watch.insert(entry.id, entry);
            }
            _ => {}
        }
        Ok(())
    }

    /// Subjects with a timeline, for figures.
    pub fn subjects(&self) -> impl Iterator<Item = &Subject> {
        self.timelines.keys()
    }
}

fn read<T: DeserializeOwned>(table: &str, key: &str, value: &[u8]) -> Result<T, BadState> {
    serde_json::from_slice(value).map_err(|e| bad(table, key, &e))
}

fn bad(table: &str, key: &str, cause: &dyn std::fmt::Display) -> BadState {
    BadState { table: table.to_owned(), key: key.to_owned(), cause: cause.to_string() }
}
