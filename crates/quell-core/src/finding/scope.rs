//! Findings, the scope: how far a signal that came or went can change the findings of a rule. What
//! lies outside is not looked at again; what lies inside is computed as if there were nothing else.

use std::collections::BTreeSet;

use super::Finding;
use super::bench::{Bench, reach};
use crate::signal::Entity;
use crate::time::Time;

/// What came or went.
#[derive(Clone, Copy, Debug)]
pub struct Around<'a> {
    /// When it happened.
    pub times: &'a BTreeSet<Time>,
    /// What it names of the kinds by which correlations group.
    pub values: &'a BTreeSet<Entity>,
}

/// A part of the findings of one rule about one subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All of them.
    All,
    /// Those whose signals lie in a stretch of event time, both ends included: no window reaches
    /// across its borders.
    Stretch {
        /// Its first time.
        from: Time,
        /// Its last time.
        to: Time,
    },
    /// Those whose first key has one of these values.
    Values(BTreeSet<Entity>),
}

/// How often a stretch is widened before everything is computed again.
const STRETCH_MAX: usize = 64;

impl Scope {
    /// True when a finding in force lies in it.
    pub fn holds(&self, finding: &Finding) -> bool {
        match self {
            Self::All => true,
            Self::Stretch { from, to } => {
                let first = finding.signals.first().map_or(finding.first_at, |c| c.at);
                *from <= first && first <= *to
            }
            Self::Values(_) => {
                let value = finding.group.first().and_then(|part| part.split_once('='));
                value.is_some_and(|(_, value)| self.holds_value(value))
            }
        }
    }

    /// True when a group whose first key has this value lies in it.
    pub(super) fn holds_value(&self, value: &str) -> bool {
        match self {
            Self::Values(values) => values.iter().any(|entity| entity.value == value),
            Self::All | Self::Stretch { .. } => true,
        }
    }
}

impl Bench<'_> {
    /// See [`super::scope`].
    pub(super) fn scope(&self, around: Around<'_>) -> Scope {
        let Some(correlation) = self.correlation() else { return Scope::All };
        if !correlation.first.is_empty() {
            let values = around.values.iter();
            let own = values.filter(|entity| correlation.first.contains(&entity.kind));
            return Scope::Values(own.cloned().collect());
        }
        if !self.possible(correlation) {
            return Scope::All;
        }
        let (Some(first), Some(last)) = (around.times.first(), around.times.last()) else {
            return Scope::All;
        };
        let reach = reach(correlation);
        let timeline = self.view.timeline;
        let (mut from, mut to) = (first.plus(-reach), last.plus(reach));
        for _ in 0..STRETCH_MAX {
            let keys = || self.leaves.iter().map(|leaf| timeline.of_rule_within(*leaf, from, to));
            let low = keys().filter_map(|mut keys| keys.next()).min();
            let high = keys().filter_map(|mut keys| keys.next_back()).max();
            let (Some((low, _)), Some((high, _))) = (low, high) else {
                return Scope::Stretch { from, to };
            };
            let wider = (from.min(low.plus(-reach)), to.max(high.plus(reach)));
            if wider == (from, to) {
                return Scope::Stretch { from, to };
            }
            (from, to) = wider;
        }
        Scope::All
    }
}
