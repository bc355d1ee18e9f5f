//! Engine room, intake: signals enter timelines, undos and the directory change what they say.
//! What follows for findings is weighed elsewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use serde_json::json;

use super::books::{Placed, ThreatKey, links};
use super::erase::Instead;
use super::sight::Sight;
use super::{Engine, state};
use crate::directory::Import;
use crate::effect::{Effect, Intake};
use crate::history::{Kept, Key, Past};
use crate::id::{IdentityId, record_id};
use crate::resolve::{Subject, resolve, resolve_names};
use crate::rule::RuleIdx;
use crate::signal::{Kind, Matched, Reject, Signal, Use};
use crate::time::{MINUTE, Time};

/// How many rejects one record lists one by one; the rest is counted.
const REJECTS_LISTED: usize = 16;
/// After so many signals the next timeline is visited.
const SWEEP_EVERY: u8 = 8;
/// The source that speaks of other sources.
const BUILT_IN: &str = "quell";
/// How far in the future an event may lie.
const AHEAD: i64 = 5 * MINUTE;

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
        self.records_forget();
        for matched in &intake.matched {
            self.take_in(matched, false);
        }
        self.scratch.subjects.clear();
    }

    fn take_in(&mut self, matched: &Matched, live: bool) {
        let signal = &matched.signal;
        if signal.times.happened.t > self.at.plus(AHEAD) || self.is_too_old(signal) {
            return;
        }
        self.taken = self.taken.wrapping_add(1);
        if self.taken.is_multiple_of(SWEEP_EVERY) {
            self.sweep();
        }
        let record = record_id(&self.config.tenant, &signal.source, &signal.record_key);
        let Some(lesser) = self.records.admit(record, signal) else { return };
        lesser.into_iter().for_each(|placed| self.displace(placed));
        if signal.attributes.contains_key("self") {
            if self.records.note(record, Placed::Heard(signal.id)) && live {
                self.own_event(signal);
            }
            return;
        }
        if signal.kind == Kind::SourceDegraded {
            if self.records.note(record, Placed::Heard(signal.id)) && live {
                self.degraded(signal);
            }
            return;
        }
        if signal.usage == Use::Undo {
            self.take_undo(record, signal);
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
        let kept = Kept::new(Arc::clone(signal), rules, resolution, record);
        self.place(kept, &subject, record);
    }

    /// Before this nothing is kept: a sign-in as long as some entry can look back to it.
    fn is_too_old(&self, signal: &Signal) -> bool {
        let limits = &self.config.policy.limits;
        let floor = self.at.plus(-limits.retention);
        let oldest = if signal.kind == Kind::SignIn { floor.plus(-limits.seen) } else { floor };
        let times = &signal.times;
        times.written < oldest || signal.usage != Use::Undo && times.happened.t < oldest
    }

    /// From when on a subject's signals may be part of findings.
    pub(super) fn floor(&self, subject: &Subject) -> Time {
        let floor = self.at.plus(-self.config.policy.limits.retention);
        match subject {
            Subject::Identity(_) => floor,
            Subject::Account { .. } => self.crowd.floor.map_or(floor, |crowd| crowd.max(floor)),
        }
    }

    /// A source cannot be relied upon, or can be again: people must know. Before it said which of
    /// the two, the attribute `degraded` named the source.
    fn degraded(&mut self, signal: &Signal) {
        let attribute = |name: &str| signal.attributes.get(name).map(String::as_str);
        // Who is not built in speaks for himself alone, and cannot tell that he misses nothing.
        let own = signal.source == BUILT_IN;
        let source = attribute("source").filter(|_| own).unwrap_or(&signal.source);
        let state = if own && attribute("state") == Some("well") { "well" } else { "degraded" };
        let blind = own && state == "degraded" && attribute("blind") != Some("false");
        let why = super::plain(attribute("why").unwrap_or("unknown"));
        let source = super::plain(source);
        let body = json!({
            "source": source, "state": state, "blind": blind, "why": why, "signal": signal.id,
        });
        self.record("source_degraded", body, vec![signal.id.to_string(), source.clone()]);
        if own {
            self.see(&source, Sight { at: signal.times.happened.t, blind });
        }
        let kind = if state == "well" { "source_well" } else { "source_degraded" };
        self.page(kind, None, None, &format!("source `{source}` is {state}: {why}"));
    }

    /// Puts a signal on its subject's timeline.
    fn place(&mut self, kept: Kept, subject: &Subject, record: [u8; 16]) {
        let (bounds, floor) = (self.config.bounds(), self.floor(subject));
        let (key, rules, signal) = (kept.key(), kept.rules.clone(), kept.signal.clone());
        let timeline = match self.timelines.get_mut(subject) {
            Some(timeline) => timeline,
            None => self.timelines.entry(subject.clone()).or_default(),
        };
        let whole = !timeline.is_capped();
        let inserted = timeline.insert(kept, floor, bounds);
        let capped = whole && timeline.is_capped();
        if timeline.is_empty() {
            self.timelines.remove(subject);
        }
        if capped {
            // Every finding of the key must say so.
            self.touch_all(subject);
        }
        if !inserted.changed {
            return;
        }
        self.records.note(record, Placed::Timeline(subject.clone(), key));
        self.touch(subject, &rules, &signal);
        if inserted.rewrites {
            self.touch_history(subject);
        }
        if inserted.entered {
            self.link(subject, &signal);
        }
        if let Some(out) = inserted.evicted.filter(|out| out.key() != key) {
            self.unlink(subject, &out);
            self.touch(subject, &out.rules, out.signal());
        }
    }

    /// Puts a sign-in into a subject's history alone.
    fn place_past(&mut self, key: Key, past: Past, subject: &Subject) {
        let bounds = self.config.bounds();
        let timeline = self.timelines.entry(subject.clone()).or_default();
        let record = past.record;
        if timeline.remember(key, past, bounds) {
            self.records.note(record, Placed::Timeline(subject.clone(), key));
        }
    }

    fn link(&mut self, subject: &Subject, signal: &Signal) {
        if matches!(subject, Subject::Account { .. }) {
            self.crowd.add(signal.times.happened.t);
        }
        for (kind, value) in links(signal) {
            let key = (signal.source.clone(), kind, value.to_owned());
            let threat = self.threats.entry(key).or_default();
            *threat.subjects.entry(subject.clone()).or_default() += 1;
        }
    }

    pub(super) fn unlink(&mut self, subject: &Subject, kept: &Kept) {
        let signal = kept.signal();
        if matches!(subject, Subject::Account { .. }) {
            self.crowd.remove(signal.times.happened.t);
        }
        let oldest = self.fold_from(self.at);
        for (kind, value) in links(signal) {
            let key = (signal.source.clone(), kind, value.to_owned());
            let Some(threat) = self.threats.get_mut(&key) else { continue };
            if let Some(count) = threat.subjects.get_mut(subject) {
                *count -= 1;
                if *count == 0 {
                    threat.subjects.remove(subject);
                }
            }
            let old = threat.undos.last().is_none_or(|(written, _)| *written < oldest);
            if threat.subjects.is_empty() && old {
                self.threats.remove(&key);
            }
        }
    }

    /// Takes back what a lesser revision had placed.
    fn displace(&mut self, placed: Placed) {
        match placed {
            Placed::Timeline(subject, key) => {
                let Some(timeline) = self.timelines.get_mut(&subject) else { return };
                let past = timeline.is_past(key);
                let Some(kept) = timeline.remove(key) else {
                    if past {
                        self.touch_all(&subject);
                    }
                    return;
                };
                let rewrites = timeline.rewrites(&kept);
                if timeline.is_empty() {
                    self.timelines.remove(&subject);
                }
                self.unlink(&subject, &kept);
                self.touch(&subject, &kept.rules, kept.signal());
                if rewrites {
                    self.touch_history(&subject);
                }
            }
            Placed::Undo(key, written, id) => {
                let Some(threat) = self.threats.get_mut(&key) else { return };
                threat.undos.remove(&(written, id));
                let subjects: Vec<Subject> = threat.subjects.keys().cloned().collect();
                if subjects.is_empty() && threat.undos.is_empty() {
                    self.threats.remove(&key);
                }
                subjects.iter().for_each(|subject| self.touch_all(subject));
            }
            Placed::Heard(_) => {}
        }
    }

    fn take_undo(&mut self, record: [u8; 16], signal: &Signal) {
        let Some(kind) = signal.withdraws else { return };
        for entity in signal.entities.iter().filter(|entity| entity.kind == kind) {
            let key: ThreatKey = (signal.source.clone(), kind, entity.value.clone());
            let threat = self.threats.entry(key.clone()).or_default();
            if threat.undos.insert((signal.times.written, signal.id)) {
                let subjects: Vec<Subject> = threat.subjects.keys().cloned().collect();
                subjects.iter().for_each(|subject| self.touch_all(subject));
                let placed = Placed::Undo(key, signal.times.written, signal.id);
                self.records.note(record, placed);
            }
        }
    }

    /// Forgets records that no kept signal can come from, and undos that reach no kept signal.
    pub(super) fn records_forget(&mut self) {
        for revision in self.records.forget(self.fold_from(self.at)) {
            for placed in revision.placed {
                let Placed::Undo(key, written, id) = placed else { continue };
                let Some(threat) = self.threats.get_mut(&key) else { continue };
                if threat.subjects.is_empty() {
                    threat.undos.remove(&(written, id));
                    if threat.undos.is_empty() {
                        self.threats.remove(&key);
                    }
                }
            }
        }
    }

    /// Visits one timeline in turn and drops what is too old, so that nobody's stays for ever.
    fn sweep(&mut self) {
        let after = match &self.swept {
            Some(subject) => Bound::Excluded(subject),
            None => Bound::Unbounded,
        };
        let next = self.timelines.range((after, Bound::Unbounded)).next();
        let next = next.map(|(subject, _)| subject.clone());
        if let Some(subject) = &next {
            self.forget(subject);
        }
        self.swept = next;
    }

    /// Drops what is too old of one subject.
    pub(super) fn forget(&mut self, subject: &Subject) {
        let (floor, bounds) = (self.floor(subject), self.config.bounds());
        let Some(timeline) = self.timelines.get_mut(subject) else { return };
        let out = timeline.forget(floor, bounds);
        if timeline.is_empty() {
            self.timelines.remove(subject);
        }
        out.iter().for_each(|kept| self.unlink(subject, kept));
    }

    pub(super) fn on_directory(&mut self, import: Import) {
        let (origin, count) = (import.origin.clone(), import.identities.len());
        let changed = self.directory.import(self.at, import, &self.config.policy.classes);
        self.put_identities(changed);
        let head = self.directory.head().clone();
        if let Some(value) = state::bytes(&head) {
            let key = "current".to_owned();
            self.scratch.effects.push(Effect::Put { table: "directory", key, value });
        }
        let body = json!({
            "origin": super::plain(&origin),
            "identities": count,
            "version": head.version,
            "as_of": head.as_of,
            "digest": head.digest,
        });
        self.record("directory_imported", body, Vec::new());
        self.place_again(false);
        let live = self.cases.values().filter(|case| case.is_live()).map(|case| case.id);
        self.scratch.replan.extend(live);
    }

    /// Writes the rows of identities that changed, one each.
    pub(super) fn put_identities(&mut self, changed: BTreeSet<IdentityId>) {
        for id in changed {
            let value = self.directory.entry(id).and_then(state::bytes);
            self.row("directory", id.to_string(), value);
        }
    }

    /// Resolves every kept signal by the directory in force, and where the rules are others
    /// matches it by them.
    pub(super) fn place_again(&mut self, rematch: bool) {
        self.place_again_as(rematch, &|_| None);
    }

    /// The same, with another signal in the place of some.
    pub(super) fn place_again_as(&mut self, rematch: bool, instead: Instead<'_>) {
        let old = std::mem::take(&mut self.timelines);
        self.records.clear_places();
        self.threats.retain(|_, threat| {
            threat.subjects.clear();
            !threat.undos.is_empty()
        });
        self.crowd.clear();
        for (subject, timeline) in old {
            for (key, past) in timeline.past_alone() {
                let to = resolve_names(&self.directory, &past.source, &past.about, key.0);
                if let Some((to, _)) = to {
                    self.place_past(key, past.clone(), &to);
                }
            }
            for kept in timeline.entries() {
                let other = instead(&kept.signal);
                let signal = other.as_ref().unwrap_or(&kept.signal);
                let rules =
                    if rematch { self.config.rules.matches(signal) } else { kept.rules.clone() };
                let idle = rules.is_empty() && signal.kind != Kind::SignIn;
                let to = resolve(&self.directory, signal).filter(|_| !idle);
                if let Some((to, resolution)) = to {
                    let record = record_id(&self.config.tenant, &signal.source, &signal.record_key);
                    let kept = Kept::new(signal.clone(), rules, resolution, record);
                    self.place(kept, &to, record);
                }
            }
            if let Some(new) = self.timelines.get_mut(&subject) {
                new.miss_as(&timeline);
            }
            self.touch_all(&subject);
        }
        let touched: Vec<Subject> = self.scratch.subjects.keys().cloned().collect();
        touched.iter().for_each(|subject| self.touch_all(subject));
    }

    fn record_rejects(&mut self, source: &str, rejects: &[Reject]) {
        let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
        for reject in rejects {
            *counts.entry(reject.reason.name()).or_default() += 1;
        }
        let listed = rejects.iter().take(REJECTS_LISTED).map(|reject| {
            json!({
                "source": super::plain(&reject.source), "reason": reject.reason,
                "detail": super::plain(&reject.detail), "record": reject.record,
            })
        });
        let listed: Vec<_> = listed.collect();
        let source = super::plain(source);
        let body = json!({ "source": source, "counts": counts, "rejects": listed });
        self.record("rejected", body, vec![source]);
    }
}
