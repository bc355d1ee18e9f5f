//! Findings, the comparison: those of one rule and subject in force with those just computed.

use std::collections::{BTreeMap, BTreeSet};

use super::Finding;
use crate::id::{FindingId, SignalId};

/// How a finding changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// A new finding.
    Raised(Finding),
    /// The same finding with other content.
    Amended(Finding),
    /// It stands no longer: another one of the same rule took its signals over.
    Superseded(FindingId, FindingId),
    /// It stands no longer.
    Withdrawn(FindingId),
}

/// Compares the findings of one rule and subject.
///
/// A `frozen` one cites a signal that has left the timeline: it stays as it is, and what shares
/// a signal with it is not raised beside it. With `capped` it says so. One that is not among
/// those just computed is superseded by the one that has one of its signals, and where the bound
/// on findings is reached by the latest of them; else it is withdrawn.
pub fn diff(
    before: &[&Finding],
    now: Vec<Finding>,
    frozen: impl Fn(&Finding) -> bool,
    capped: bool,
) -> Vec<Change> {
    let (frozen, live): (Vec<&Finding>, Vec<&Finding>) = before.iter().partition(|f| frozen(f));
    let mut changes = Vec::new();
    let mut taken: BTreeSet<SignalId> = BTreeSet::new();
    let ids: BTreeSet<FindingId> = frozen.iter().map(|f| f.id).collect();
    for old in frozen {
        taken.extend(old.signals.iter().map(|cited| cited.signal));
        if capped && !old.capped {
            changes.push(Change::Amended(Finding { capped: true, ..old.clone() }));
        }
    }
    let free = |f: &Finding| {
        !ids.contains(&f.id) && !f.signals.iter().any(|cited| taken.contains(&cited.signal))
    };
    let now: Vec<Finding> = now.into_iter().filter(free).collect();
    let mut owner: BTreeMap<SignalId, FindingId> = BTreeMap::new();
    for new in &now {
        owner.extend(new.signals.iter().map(|cited| (cited.signal, new.id)));
    }
    let fresh: BTreeMap<FindingId, &Finding> = now.iter().map(|f| (f.id, f)).collect();
    for old in &live {
        if fresh.contains_key(&old.id) {
            continue;
        }
        let heir = old.signals.iter().find_map(|cited| owner.get(&cited.signal));
        let crowded = now.last().filter(|_| now.len() == super::FINDINGS_MAX).map(|f| f.id);
        changes.push(match heir.copied().or(crowded) {
            Some(new) => Change::Superseded(old.id, new),
            None => Change::Withdrawn(old.id),
        });
    }
    let known: BTreeMap<FindingId, &Finding> = live.iter().map(|f| (f.id, *f)).collect();
    for new in now {
        match known.get(&new.id) {
            Some(old) if **old == new => {}
            Some(_) => changes.push(Change::Amended(new)),
            None => changes.push(Change::Raised(new)),
        }
    }
    changes
}
