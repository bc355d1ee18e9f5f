//! Engine room, state rows: what is loaded from the store and never derived again.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Config, Engine};
use crate::case::Case;
use crate::directory::Directory;
use crate::effect::{Freeze, WatchEntry};
use crate::finding::Finding;
use crate::order::{Order, State};
use crate::resolve::Subject;
use crate::time::Time;

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
        let times: Vec<Time> = engine
            .orders
            .values()
            .filter(|order| !order.state.is_final() || order.state == State::Verified)
            .flat_map(|order| [order.approval_until, order.undo_at])
            .chain(engine.watch.values().map(|entry| Some(entry.until)))
            .chain([engine.freeze.as_ref().and_then(|freeze| freeze.until)])
            .flatten()
            .collect();
        engine.timers.extend(times);
        Ok(engine)
    }

    fn load_row(&mut self, table: &str, key: &str, value: &[u8]) -> Result<(), BadState> {
        match table {
            "directory" => {
                let mut directory: Directory = read(table, key, value)?;
                directory.index();
                self.directory = directory;
            }
            "finding" => {
                let finding: Finding = read(table, key, value)?;
                let of = self.by_subject.entry(finding.subject.clone()).or_default();
                of.insert(finding.id);
                self.findings.insert(finding.id, finding);
            }
            "case" => {
                let case: Case = read(table, key, value)?;
                self.cases_of.entry(case.subject.clone()).or_default().insert(case.id);
                self.cases.insert(case.id, case);
            }
            "order" => {
                let order: Order = read(table, key, value)?;
                self.orders.insert(order.id, order);
            }
            "budget" => {
                self.spent.insert(key.to_owned(), read(table, key, value)?);
            }
            "freeze" => self.freeze = Some(read::<Freeze>(table, key, value)?),
            "watch" => {
                let entry: WatchEntry = read(table, key, value)?;
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
    serde_json::from_slice(value).map_err(|e| BadState {
        table: table.to_owned(),
        key: key.to_owned(),
        cause: e.to_string(),
    })
}
