//! Engine room, intake: signals enter timelines, the findings that they touch are computed
//! again and compared with those in force.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::{Engine, Placed, Revision, ThreatKey, shared, withdrawn};
use crate::directory::Import;
use crate::effect::Intake;
use crate::finding::{self, Change, Finding, View};
use crate::history::Kept;
use crate::id::FindingId;
use crate::resolve::{Resolution, Subject, resolve};
use crate::rule::RuleIdx;
use crate::signal::{Kind, Matched, Reject, Signal, Use};
use crate::time::{MINUTE, Time};

/// How many rejects one record lists one by one; the rest is counted.
const REJECTS_LISTED: usize = 16;

impl Engine {
    pub(super) fn on_signals(&mut self, intake: &Intake) {
        for matched in &intake.matched {
            self.take_in(matched, true);
        }
        if !intake.rejects.is_empty() {
            self.record_rejects(&intake.source, &intake.rejects);
        }
    }

    /// Folds a journalled intake after a restart: timelines only, nothing is decided again.
    /// The matches are made anew, since the rules may have changed.
    pub fn fold(&mut self, at: Time, intake: &Intake) {
        self.at = self.at.max(at);
        for matched in &intake.matched {
            self.take_in(matched, false);
        }
        self.scratch.subjects.clear();
    }

    fn take_in(&mut self, matched: &Matched, live: bool) {
        let signal = &matched.signal;
        if signal.times.happened.t > self.at.plus(5 * MINUTE) {
            return;
        }
        if !self.is_greatest(signal) {
            return;
        }
        if signal.attributes.contains_key("self") {
            if live {
                self.own_event(signal);
            }
            return;
        }
        if signal.kind == Kind::SourceDegraded {
            if live {
                self.degraded(signal);
            }
            return;
        }
        if signal.usage == Use::Undo {
            self.take_undo(signal);
            return;
        }
        let mut rules: Vec<RuleIdx> =
            matched.rules.iter().filter_map(|id| self.config.rules.idx(id)).collect();
        if !live || rules.len() != matched.rules.len() {
            rules = self.config.rules.matches(signal);
        }
        rules.sort_unstable();
        if rules.is_empty() && signal.kind != Kind::SignIn {
            return;
        }
        let Some((subject, resolution)) = resolve(&self.directory, signal) else { return };
        self.place(Kept::new(shared(matched), rules), subject, resolution);
    }

    /// A source cannot be relied upon: people must know.
    fn degraded(&mut self, signal: &Signal) {
        let text = |name: &str| signal.attributes.get(name).map_or("unknown", String::as_str);
        let (source, why) = (text("degraded").to_owned(), text("why").to_owned());
        let body = json!({ "source": source, "why": why, "signal": signal.id });
        self.record("source_degraded", body, vec![signal.id.to_string(), source.clone()]);
        self.page("source_degraded", None, None, &format!("source `{source}`: {why}"));
    }

    /// Puts a signal on its subject's timeline.
    fn place(&mut self, kept: Kept, subject: Subject, resolution: Resolution) {
        let signal = kept.signal();
        let (t, id) = (signal.times.happened.t, signal.id);
        let linked: Vec<ThreatKey> = links(signal).collect();
        let revision = self.revisions.get_mut(&record_id(&self.config.tenant, signal));
        let cap = self.config.bounds().entries;
        if t < self.at.plus(-self.config.policy.limits.retention) {
            return;
        }
        let timeline = self.timelines.entry(subject.clone()).or_default();
        if !timeline.insert(kept, cap) {
            return;
        }
        if let Some(revision) = revision {
            revision.placed.push(Placed::Timeline(subject.clone(), t, id));
        }
        for key in linked {
            self.threats.entry(key).or_default().subjects.insert(subject.clone());
        }
        if resolution != Resolution::Resolved {
            self.resolutions.insert(subject.clone(), resolution);
        }
        self.scratch.subjects.insert(subject);
    }

    /// True when no greater revision of the record is known; takes the signals of a lesser one
    /// back.
    fn is_greatest(&mut self, signal: &Signal) -> bool {
        let id = record_id(&self.config.tenant, signal);
        let (written, digest) = (signal.times.written, signal.record);
        let fresh = || Revision { written, digest, placed: Vec::new() };
        let Some(known) = self.revisions.get_mut(&id) else {
            self.revisions.insert(id, fresh());
            return true;
        };
        if (known.written, known.digest) > (written, digest) {
            return false;
        }
        if (known.written, known.digest) < (written, digest) {
            let old = std::mem::replace(known, fresh());
            old.placed.into_iter().for_each(|placed| self.displace(placed));
        }
        true
    }

    fn displace(&mut self, placed: Placed) {
        match placed {
            Placed::Timeline(subject, t, id) => {
                if let Some(timeline) = self.timelines.get_mut(&subject) {
                    timeline.remove(t, id);
                }
                self.scratch.subjects.insert(subject);
            }
            Placed::Undo(key, written, id) => {
                if let Some(threat) = self.threats.get_mut(&key) {
                    threat.undos.remove(&(written, id));
                    self.scratch.subjects.extend(threat.subjects.iter().cloned());
                }
            }
        }
    }

    fn take_undo(&mut self, signal: &Signal) {
        let Some(kind) = signal.withdraws else { return };
        let record = record_id(&self.config.tenant, signal);
        for entity in signal.entities.iter().filter(|entity| entity.kind == kind) {
            let key: ThreatKey = (signal.source.clone(), kind, entity.value.clone());
            let threat = self.threats.entry(key.clone()).or_default();
            if threat.undos.insert((signal.times.written, signal.id)) {
                self.scratch.subjects.extend(threat.subjects.iter().cloned());
                if let Some(revision) = self.revisions.get_mut(&record) {
                    revision.placed.push(Placed::Undo(key, signal.times.written, signal.id));
                }
            }
        }
    }

    pub(super) fn on_directory(&mut self, mut import: Import) {
        for identity in &mut import.identities {
            identity.classes = self.config.policy.classes.of(&identity.classes, &identity.groups);
        }
        let (origin, count) = (import.origin.clone(), import.identities.len());
        self.directory.import(self.at, import);
        if let Some(value) = super::state::bytes(&self.directory) {
            let key = "current".to_owned();
            self.scratch.effects.push(crate::effect::Effect::Put {
                table: "directory",
                key,
                value,
            });
        }
        let digest = self.directory.digest.map(|d| d.to_string());
        let body = json!({
            "origin": super::plain(&origin),
            "identities": count,
            "version": self.directory.version,
            "as_of": self.directory.as_of,
            "digest": digest,
        });
        self.record("directory_imported", body, Vec::new());
        self.resolve_again();
        let live = self.cases.values().filter(|case| case.is_live()).map(|case| case.id);
        self.scratch.replan.extend(live);
    }

    /// Resolves every kept signal by the directory now in force.
    pub(super) fn resolve_again(&mut self) {
        let old = std::mem::take(&mut self.timelines);
        self.resolutions.clear();
        self.threats.values_mut().for_each(|threat| threat.subjects.clear());
        for revision in self.revisions.values_mut() {
            revision.placed.retain(|placed| matches!(placed, Placed::Undo(..)));
        }
        for (subject, timeline) in old {
            for kept in timeline.entries() {
                if let Some((subject, resolution)) = resolve(&self.directory, kept.signal()) {
                    self.place(kept.clone(), subject, resolution);
                }
            }
            if let Some(new) = self.timelines.get_mut(&subject) {
                new.evicted = new.evicted.max(timeline.evicted);
            }
            self.scratch.subjects.insert(subject);
        }
    }

    /// Computes the findings of the touched subjects again and applies what changed.
    pub(super) fn recompute(&mut self) {
        let mut changes = Vec::new();
        for subject in std::mem::take(&mut self.scratch.subjects) {
            changes.extend(self.changes_of(&subject));
        }
        // A finding of an account that the directory has come to know lives on in the identity's.
        let anchors: BTreeMap<_, FindingId> = changes
            .iter()
            .filter_map(|change| match change {
                Change::Raised(f) => Some(((f.rule.clone(), f.anchor), f.id)),
                _ => None,
            })
            .collect();
        for change in changes {
            let change = match change {
                Change::Withdrawn(id) => {
                    let old = self.findings.get(&id);
                    let new = old.and_then(|f| anchors.get(&(f.rule.clone(), f.anchor)));
                    new.map_or(Change::Withdrawn(id), |new| Change::Superseded(id, *new))
                }
                other => other,
            };
            self.apply(change);
        }
    }

    fn changes_of(&mut self, subject: &Subject) -> Vec<Change> {
        let bounds = self.config.bounds();
        let mut floor = self.at.plus(-self.config.policy.limits.retention);
        if let Some(timeline) = self.timelines.get_mut(subject) {
            timeline.forget_before(floor);
            if timeline.evicted > 0 {
                let oldest = timeline.entries().next().map(|k| k.signal().times.happened.t);
                floor = oldest.unwrap_or(floor).max(floor);
            }
        }
        let mut rules: BTreeSet<RuleIdx> = BTreeSet::new();
        let before = self.by_subject.get(subject).cloned().unwrap_or_default();
        let before: Vec<&Finding> = before.iter().filter_map(|id| self.findings.get(id)).collect();
        rules.extend(before.iter().filter_map(|f| self.config.rules.idx(&f.rule)));
        let mut changes: Vec<Change> = before
            .iter()
            .filter(|f| self.config.rules.idx(&f.rule).is_none())
            .map(|f| Change::Withdrawn(f.id))
            .collect();
        let empty = crate::history::Timeline::default();
        let timeline = self.timelines.get(subject).unwrap_or(&empty);
        for matched in timeline.rules() {
            rules.insert(matched);
            rules.extend(self.config.rules.referencing(matched));
        }
        let resolved = Resolution::Resolved;
        let resolution = match subject {
            Subject::Identity(_) => &resolved,
            Subject::Account { .. } => self.resolutions.get(subject).unwrap_or(&resolved),
        };
        let threats = &self.threats;
        let in_force = |kept: &Kept| !withdrawn(threats, kept);
        let view = View {
            tenant: &self.config.tenant,
            subject,
            resolution,
            timeline,
            rules: &self.config.rules,
            bounds,
            in_force: &in_force,
        };
        for idx in rules {
            let now = finding::findings(view, idx);
            let id = self.config.rules.get(idx).map(|rule| rule.id.as_str()).unwrap_or_default();
            let old: Vec<&Finding> = before.iter().filter(|f| f.rule == id).copied().collect();
            if !now.is_empty() || !old.is_empty() {
                changes.extend(finding::diff(&old, now, floor));
            }
        }
        changes
    }

    fn record_rejects(&mut self, source: &str, rejects: &[Reject]) {
        let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
        for reject in rejects {
            *counts.entry(reject.reason.name()).or_default() += 1;
        }
        let listed: Vec<_> = rejects.iter().take(REJECTS_LISTED).collect();
        let body = json!({ "source": source, "counts": counts, "rejects": listed });
        self.record("rejected", body, vec![source.to_owned()]);
    }
}

/// The entities through which an undo of the same source can reach the signal.
fn links(signal: &Signal) -> impl Iterator<Item = ThreatKey> + '_ {
    use crate::signal::EntityKind as K;
    let linked = signal.entities.iter().filter(|e| matches!(e.kind, K::Threat | K::Message));
    linked.map(|e| (signal.source.clone(), e.kind, e.value.clone()))
}

/// The record across its revisions.
fn record_id(tenant: &str, signal: &Signal) -> [u8; 16] {
    crate::id::record_id(tenant, &signal.source, &signal.record_key)
}
