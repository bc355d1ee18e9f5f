//! Engine room, sight: which sources may have missed something, as the built-in source says. A
//! finding that needs such a source goes to a person; nothing else follows from it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::Engine;
use crate::time::Time;

/// What was last said of a source.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Sight {
    /// When it was found so.
    pub(super) at: Time,
    /// True while signals of it may be missing.
    pub(super) blind: bool,
}

/// What was last said of each source.
pub(super) type Sights = BTreeMap<String, Sight>;

impl Engine {
    /// Takes up a word about a source; an older one than what is known changes nothing. Orders that
    /// wait are judged again.
    pub(super) fn see(&mut self, source: &str, sight: Sight) {
        if self.sights.get(source).is_some_and(|known| known.at >= sight.at) {
            return;
        }
        let before = self.sights.insert(source.to_owned(), sight);
        self.row("sight", source.to_owned(), super::state::bytes(&sight));
        if before.is_some_and(|before| before.blind) != sight.blind {
            let live = self.cases.values().filter(|case| case.is_live()).map(|case| case.id);
            self.scratch.replan.extend(live);
        }
    }

    /// The sources that may have missed something.
    pub(super) fn blind(&self) -> BTreeSet<&str> {
        let blind = self.sights.iter().filter(|(_, sight)| sight.blind);
        blind.map(|(source, _)| source.as_str()).collect()
    }
}
