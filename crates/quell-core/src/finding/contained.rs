//! Findings, containment: what a verified containment leaves to signals that lie before it. A
//! containment is an input like the signals: whatever the order, the same ones give the same
//! findings.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Bench, Candidate, Finding};
use crate::action::Tier;
use crate::history::Key;
use crate::id::{OrderId, SignalId};
use crate::time::{Moment, Time};

/// A verified containment of an identity.
///
/// It is established by the read-back that agrees for the last of the identity's accounts, and
/// committed with that step, in the row of the case; nothing takes it back.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Containment {
    /// When the effecting call was claimed, of several accounts the earliest: what happened
    /// before was ended by it.
    pub before: Time,
    /// The greatest group of the orders.
    pub group: Tier,
    /// The orders that it rests on, sorted.
    pub orders: Vec<OrderId>,
    /// What stood when it was established, by rule: the signals that findings in force cited.
    pub ground: BTreeMap<String, BTreeSet<SignalId>>,
}

impl Containment {
    /// The signals that findings in force cite, by rule.
    pub(crate) fn ground<'a>(
        findings: impl Iterator<Item = &'a Finding>,
    ) -> BTreeMap<String, BTreeSet<SignalId>> {
        let mut ground: BTreeMap<String, BTreeSet<SignalId>> = BTreeMap::new();
        for finding in findings.filter(|finding| !finding.contained) {
            let cited = finding.signals.iter().map(|cited| cited.signal);
            ground.entry(finding.rule.clone()).or_default().extend(cited);
        }
        ground
    }

    /// True when some of these signals are those of a finding that stood then.
    fn knows(&self, rule: &str, mut part: impl Iterator<Item = SignalId>) -> bool {
        self.ground.get(rule).is_some_and(|ground| part.any(|signal| ground.contains(&signal)))
    }
}

/// True when all of the interval in which it may have happened lies before the time.
fn lies_before(at: Moment, time: Time) -> bool {
    at.t.plus(at.precision.micros()) <= time
}

impl<'a> Bench<'a> {
    /// The anchor of an episode, and whether the episode lies before a containment altogether.
    ///
    /// A containment bars an episode that shares no signal with what stood when it was
    /// established. The anchor is the earliest signal that does not lie before the latest
    /// containment that bars the episode; where there is none, the earliest of all.
    pub(super) fn anchor(&self, part: &[Candidate<'a>]) -> Option<(Key, bool)> {
        let first = part.first()?.kept.key();
        let ids = || part.iter().map(|candidate| candidate.kept.signal().id);
        let all = self.view.contained.iter();
        let bars = all.filter(|containment| !containment.knows(&self.rule.id, ids()));
        let Some(bar) = bars.map(|containment| containment.before).max() else {
            return Some((first, false));
        };
        let after = |c: &&Candidate<'a>| !lies_before(c.kept.signal().times.happened, bar);
        let anchor = part.iter().find(after).map(|candidate| (candidate.kept.key(), false));
        Some(anchor.unwrap_or((first, true)))
    }
}
