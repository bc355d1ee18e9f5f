//! Engine room, weighing: the findings of touched subjects are computed again and compared with
//! those in force.

use std::collections::{BTreeMap, BTreeSet};

use super::{Engine, Touched};
use crate::finding::{self, Change, FINDINGS_MAX, Finding, Scope, View};
use crate::history::{Kept, Timeline};
use crate::id::{FindingId, SignalId};
use crate::resolve::Subject;
use crate::rule::RuleIdx;

impl Engine {
    /// Computes the findings of the touched subjects again and applies what changed: first what
    /// stands, then what stands no longer.
    pub(super) fn recompute(&mut self) {
        let mut changes = Vec::new();
        for (subject, touched) in std::mem::take(&mut self.scratch.subjects) {
            changes.extend(self.changes_of(&subject, &touched));
        }
        if changes.is_empty() {
            return;
        }
        let heirs = heirs(&changes);
        let (stands, falls): (Vec<Change>, Vec<Change>) = changes
            .into_iter()
            .partition(|change| matches!(change, Change::Raised(_) | Change::Amended(_)));
        stands.into_iter().for_each(|change| self.apply(change));
        for change in falls {
            // A finding of an account that the directory has come to know lives on in the
            // identity's.
            let heir = match &change {
                Change::Withdrawn(id) => self.findings.get(id).and_then(|old| {
                    let rule = old.rule.as_str();
                    let heir = |s: SignalId| heirs.get(&(rule.to_owned(), s)).copied();
                    old.signals.iter().find_map(|cited| heir(cited.signal))
                }),
                _ => None,
            };
            match (heir, change) {
                (Some(new), Change::Withdrawn(id)) => self.apply(Change::Superseded(id, new)),
                (_, change) => self.apply(change),
            }
        }
    }

    fn changes_of(&mut self, subject: &Subject, touched: &Touched) -> Vec<Change> {
        self.forget(subject);
        let floor = self.floor(subject);
        let empty = Timeline::default();
        let timeline = self.timelines.get(subject).unwrap_or(&empty);
        let none = BTreeMap::new();
        let before = self.by_subject.get(subject).unwrap_or(&none);
        let mut rules: BTreeSet<RuleIdx> = touched.rules.clone();
        let mut changes: Vec<Change> = Vec::new();
        let asks = |idx: &RuleIdx| self.config.rules.get(*idx).is_some_and(|rule| rule.history);
        if touched.all || touched.history {
            rules.extend(timeline.rules().filter(|idx| touched.all || asks(idx)));
            for (id, findings) in before {
                match self.config.rules.idx(id) {
                    Some(idx) if touched.all || asks(&idx) => {
                        rules.insert(idx);
                    }
                    Some(_) => {}
                    None => changes.extend(findings.iter().map(|f| Change::Withdrawn(*f))),
                }
            }
        }
        let referencing: Vec<RuleIdx> =
            rules.iter().flat_map(|idx| self.config.rules.referencing(*idx)).copied().collect();
        rules.extend(referencing);
        let in_force = |kept: &Kept| self.counts(kept);
        let view = self.view(subject, timeline, &in_force);
        let frozen = |f: &Finding| {
            f.first_at < floor
                || f.signals.first().is_some_and(|c| c.at < floor)
                || f.signals.iter().any(|c| timeline.is_gone((c.at, c.signal), c.kind.reach()))
        };
        for idx in rules {
            let id = self.config.rules.get(idx).map(|rule| rule.id.as_str()).unwrap_or_default();
            let old = before.get(id).into_iter().flatten();
            let mut old: Vec<&Finding> = old.filter_map(|id| self.findings.get(id)).collect();
            // Only what lies around the change, or agrees with it, can be another finding now.
            let change = finding::Around { times: &touched.times, values: &touched.values };
            let whole = touched.all || touched.history && asks(&idx);
            let scope = if whole || old.len() >= FINDINGS_MAX {
                Scope::All
            } else {
                finding::scope(view, idx, change)
            };
            let mut now = finding::findings(view, idx, &scope);
            if !matches!(scope, Scope::All) {
                let all = old.len();
                old.retain(|f| scope.holds(f));
                if all - old.len() + now.len() > FINDINGS_MAX {
                    let every = before.get(id).into_iter().flatten();
                    old = every.filter_map(|id| self.findings.get(id)).collect();
                    now = finding::findings(view, idx, &Scope::All);
                }
            }
            if !now.is_empty() || !old.is_empty() {
                changes.extend(finding::diff(&old, now, frozen, timeline.is_capped()));
            }
        }
        changes
    }

    /// What the findings of a subject depend on.
    pub(super) fn view<'a>(
        &'a self,
        subject: &'a Subject,
        timeline: &'a Timeline,
        in_force: &'a dyn Fn(&Kept) -> bool,
    ) -> View<'a> {
        View {
            tenant: &self.config.tenant,
            subject,
            timeline,
            rules: &self.config.rules,
            bounds: self.config.bounds(),
            floor: self.floor(subject),
            contained: self.contained.get(subject).map_or(&[], Vec::as_slice),
            in_force,
        }
    }
}

/// Who has which signal now, by rule; nothing where nothing was withdrawn.
fn heirs(changes: &[Change]) -> BTreeMap<(String, SignalId), FindingId> {
    let mut heirs = BTreeMap::new();
    if !changes.iter().any(|change| matches!(change, Change::Withdrawn(_))) {
        return heirs;
    }
    for change in changes {
        if let Change::Raised(new) | Change::Amended(new) = change {
            let cited = new.signals.iter();
            heirs.extend(cited.map(|c| ((new.rule.clone(), c.signal), new.id)));
        }
    }
    heirs
}
