//! The engine: one tenant's state machine. Inputs in, effects out, nothing else. The same
//! journal and configuration give the same effects, byte for byte.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::case::Case;
use crate::directory::Directory;
use crate::effect::{CallId, Closing, Configured, Effect, Freeze, Input, Notice, WatchEntry};
use crate::finding::{Containment, Finding};
use crate::history::{Bounds, Kept, Timeline};
use crate::id::{CaseId, Digest, FindingId, OrderId, Tenant, WatchId, notice_id};
use crate::order::{Capability, Order, Verb};
use crate::policy::Policy;
use crate::precision::Precision;
use crate::resolve::Subject;
use crate::rule::{RuleIdx, Rules};
use crate::signal::{Entity, EntityKind, Signal, Use};
use crate::time::Time;

mod books;
mod intake;
mod weigh;
mod cases;
mod close;
mod contain;
mod replan;
mod sight;
mod orders;
mod calls;
mod people;
mod undo;
mod own;
mod erase;
mod timers;
mod state;
mod plan;

use books::{Crowd, Index, Records, Spent, Threat, ThreatKey};
use close::Dismissed;
use timers::Alarms;

pub use plan::PlanRow;
pub use state::BadState;

/// What the engine decides by.
#[derive(Clone, Debug)]
pub struct Config {
    /// The tenant.
    pub tenant: Tenant,
    /// The rules in force.
    pub rules: Rules,
    /// The policy in force.
    pub policy: Policy,
    /// What each provider's target can do.
    pub capabilities: BTreeMap<String, Vec<Capability>>,
}

impl Config {
    fn bounds(&self) -> Bounds {
        let size = |n: u32| usize::try_from(n).unwrap_or(usize::MAX);
        Bounds {
            entries: size(self.policy.limits.entries_per_key),
            cold: size(self.policy.limits.cold_history),
            seen: self.policy.limits.seen,
            keyed: self.rules.keyed,
        }
    }
}

/// One tenant's engine.
#[derive(Debug)]
pub struct Engine {
    config: Config,
    at: Time,
    directory: Directory,
    /// The digest of the rules that the timelines are matched with.
    matched_with: Digest,
    timelines: BTreeMap<Subject, Timeline>,
    swept: Option<Subject>,
    /// Counts signals, so that a timeline is visited now and then.
    taken: u8,
    records: Records,
    threats: BTreeMap<ThreatKey, Threat>,
    crowd: Crowd,
    findings: BTreeMap<FindingId, Finding>,
    by_subject: BTreeMap<Subject, BTreeMap<String, BTreeSet<FindingId>>>,
    cases: BTreeMap<CaseId, Case>,
    cases_of: BTreeMap<Subject, BTreeSet<CaseId>>,
    contained: BTreeMap<Subject, Vec<Containment>>,
    orders: BTreeMap<OrderId, Order>,
    index: Index,
    spent: BTreeMap<String, Spent>,
    freeze: Option<Freeze>,
    watch: BTreeMap<WatchId, WatchEntry>,
    dismissed: Dismissed,
    precision: Precision,
    sights: sight::Sights,
    alarms: Alarms,
    scratch: Scratch,
}

/// What of a subject must be computed again.
#[derive(Debug, Default)]
struct Touched {
    rules: BTreeSet<RuleIdx>,
    /// When what came or went happened.
    times: BTreeSet<Time>,
    /// What it names of the kinds by which correlations group.
    values: BTreeSet<Entity>,
    /// What the person's sign-ins show is something else now.
    history: bool,
    all: bool,
}

/// What one step gathers.
#[derive(Debug, Default)]
struct Scratch {
    effects: Vec<Effect>,
    subjects: BTreeMap<Subject, Touched>,
    findings: BTreeSet<FindingId>,
    cases: BTreeSet<CaseId>,
    orders: BTreeSet<OrderId>,
    replan: BTreeSet<CaseId>,
    reckon: BTreeSet<CaseId>,
    closing: Option<Closing>,
    notices: u32,
}

impl Engine {
    /// An engine without a past.
    pub fn new(config: Config) -> Self {
        Self {
            matched_with: config.rules.digest,
            config,
            at: Time::default(),
            directory: Directory::default(),
            timelines: BTreeMap::new(),
            swept: None,
            taken: 0,
            records: Records::default(),
            threats: BTreeMap::new(),
            crowd: Crowd::default(),
            findings: BTreeMap::new(),
            by_subject: BTreeMap::new(),
            cases: BTreeMap::new(),
            cases_of: BTreeMap::new(),
            contained: BTreeMap::new(),
            orders: BTreeMap::new(),
            index: Index::default(),
            spent: BTreeMap::new(),
            freeze: None,
            watch: BTreeMap::new(),
            dismissed: Dismissed::default(),
            precision: Precision::default(),
            sights: sight::Sights::new(),
            alarms: Alarms::default(),
            scratch: Scratch::default(),
        }
    }

    /// Puts another configuration in force; [`Input::Configured`] must follow.
    ///
    /// Kept signals are matched by the new rules; one that no rule wanted was not kept, so a new
    /// rule sees those that arrive from now on, and all of them once the engine is loaded again.
    pub fn configure(&mut self, config: Config) {
        self.config = config;
        if self.matched_with != self.config.rules.digest {
            self.matched_with = self.config.rules.digest;
            self.place_again(true);
            self.scratch.subjects.clear();
        }
    }

    /// Takes one input in. `at` never goes back: an earlier one counts as the latest seen.
    pub fn step(&mut self, at: Time, input: &Input) -> Vec<Effect> {
        self.at = self.at.max(at);
        let woken = self.wake_at();
        self.records_forget();
        match input {
            Input::Signals(intake) => self.on_signals(intake),
            Input::Directory(import) => self.on_directory(import.clone()),
            Input::Answer(reply) => self.on_answer(reply),
            Input::Claim(call) => self.on_claim(*call),
            Input::Outcome(outcome) => self.on_outcome(outcome),
            Input::Freeze(freeze) => self.on_freeze(freeze),
            Input::TakeBack(take_back) => self.on_take_back(take_back),
            Input::Restarted => self.on_restarted(),
            Input::Configured(configured) => self.on_configured(configured),
            Input::Tick => self.on_tick(),
            Input::Unsent(call) => self.on_unsent(*call),
            Input::Erase(erase) => self.on_erase(erase),
            Input::Close(closing) => self.on_close(closing),
        }
        self.settle();
        self.flush(woken);
        std::mem::take(&mut self.scratch).effects
    }

    /// The configuration in force.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The latest `at`.
    pub fn at(&self) -> Time {
        self.at
    }

    /// The directory in force.
    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    /// The findings in force, by id.
    pub fn findings(&self) -> impl Iterator<Item = &Finding> {
        self.findings.values().filter(|finding| !finding.contained)
    }

    /// What lies before a verified containment and is on record only, by id.
    pub fn contained(&self) -> impl Iterator<Item = &Finding> {
        self.findings.values().filter(|finding| finding.contained)
    }

    /// Every case, by id.
    pub fn cases(&self) -> impl Iterator<Item = &Case> {
        self.cases.values()
    }

    /// Every order, by id.
    pub fn orders(&self) -> impl Iterator<Item = &Order> {
        self.orders.values()
    }

    /// One order.
    pub fn order(&self, id: OrderId) -> Option<&Order> {
        self.orders.get(&id)
    }

    /// The watchlist, by id.
    pub fn watch(&self) -> impl Iterator<Item = &WatchEntry> {
        self.watch.values()
    }

    /// The freeze in force, if any.
    pub fn freeze(&self) -> Option<&Freeze> {
        self.freeze.as_ref()
    }

    /// When the next timer is due.
    pub fn wake_at(&self) -> Option<Time> {
        self.alarms.first()
    }

    /// From when on journalled signals must be folded after a load: what is older can neither be
    /// part of a finding nor of the history of one.
    pub fn fold_from(&self, now: Time) -> Time {
        let limits = &self.config.policy.limits;
        now.plus(-limits.retention).plus(-limits.seen)
    }

    /// True when dispatch may send this effecting call now: it was claimed, and nothing has
    /// taken the claim away.
    pub fn may_send(&self, call: CallId) -> bool {
        let claimed = self.orders.get(&call.order).and_then(|order| order.claimed);
        claimed == Some((call.verb, call.attempt))
    }

    /// True when a freeze that comes between the claim of this call and its sending stops it. An
    /// undo, and the end of sessions that goes before one, are not stopped.
    pub fn heeds_freeze(&self, call: CallId) -> bool {
        let order = self.orders.get(&call.order);
        call.verb == Verb::Execute && order.is_some_and(|order| !self.is_for_undo(order))
    }

    /// True for the end of sessions that a person's undo waits for: findings that ask for the same
    /// step may have joined it since.
    fn is_for_undo(&self, order: &Order) -> bool {
        order.by_person() || !self.index.waiting_for(order.id).is_empty()
    }

    fn tenant(&self) -> &str {
        &self.config.tenant
    }

    /// Recomputes what was touched, plans the touched cases, then says where they stand.
    fn settle(&mut self) {
        self.recompute();
        self.replan();
        self.finish_closing();
        for case in std::mem::take(&mut self.scratch.reckon) {
            self.reckon(case);
        }
    }

    /// Writes the rows of everything that changed, once each.
    fn flush(&mut self, woken: Option<Time>) {
        for id in std::mem::take(&mut self.scratch.findings) {
            let value = self.findings.get(&id).and_then(state::bytes);
            self.row("finding", id.to_string(), value);
        }
        for id in std::mem::take(&mut self.scratch.cases) {
            let value = self.cases.get(&id).and_then(state::bytes);
            self.row("case", id.to_string(), value);
        }
        for id in std::mem::take(&mut self.scratch.orders) {
            let value = self.orders.get(&id).and_then(state::bytes);
            self.row("order", id.to_string(), value);
        }
        if let Some(at) = self.wake_at().filter(|at| Some(*at) != woken) {
            self.scratch.effects.push(Effect::WakeAt(at));
        }
    }

    /// Writes a state row, or removes it where there is nothing to write.
    fn row(&mut self, table: &'static str, key: String, value: Option<Vec<u8>>) {
        self.scratch.effects.push(match value {
            Some(value) => Effect::Put { table, key, value },
            None => Effect::Delete { table, key },
        });
    }

    /// True when a signal is in force: nothing withdraws it and no analyst has.
    fn counts(&self, kept: &Kept) -> bool {
        !withdrawn(&self.threats, kept) && !self.dismissed.holds(kept.signal())
    }

    /// Marks the rules that a signal matches to be computed again for a subject, around the time
    /// at which it happened and for the values that it names.
    fn touch(&mut self, subject: &Subject, rules: &[RuleIdx], signal: &Signal) {
        if rules.is_empty() {
            return;
        }
        let keyed = self.config.rules.keyed;
        self.touched(subject, |touched| {
            touched.rules.extend(rules);
            touched.times.insert(signal.times.happened.t);
            let values = signal.entities.iter().filter(|entity| keyed.holds(entity.kind));
            touched.values.extend(values.cloned());
        });
    }

    /// Marks all of a subject to be computed again.
    fn touch_all(&mut self, subject: &Subject) {
        self.touched(subject, |touched| touched.all = true);
    }

    /// Marks the rules of a subject that ask what the person's sign-ins show.
    fn touch_history(&mut self, subject: &Subject) {
        self.touched(subject, |touched| touched.history = true);
    }

    fn touched(&mut self, subject: &Subject, mark: impl FnOnce(&mut Touched)) {
        match self.scratch.subjects.get_mut(subject) {
            Some(touched) => mark(touched),
            None => mark(self.scratch.subjects.entry(subject.clone()).or_default()),
        }
    }

    /// Changes an order; its row and all that is looked up by it follow.
    fn change(&mut self, id: OrderId, change: impl FnOnce(&mut Order)) {
        let Some(order) = self.orders.get_mut(&id) else { return };
        self.index.remove(order);
        change(order);
        self.index.insert(order);
        self.alarms.of_order(order);
        self.scratch.orders.insert(id);
        self.scratch.reckon.insert(order.case);
    }

    /// Adds an order.
    fn add_order(&mut self, order: Order) {
        self.index.insert(&order);
        self.scratch.orders.insert(order.id);
        self.scratch.reckon.insert(order.case);
        self.orders.insert(order.id, order);
    }

    fn record(&mut self, kind: &'static str, body: Value, refs: Vec<String>) {
        self.scratch.effects.push(Effect::Record { kind, body, refs });
    }

    /// Raises a page: an evidence record, a console line and one signed webhook.
    fn page(&mut self, kind: &str, case: Option<CaseId>, order: Option<OrderId>, text: &str) {
        self.scratch.notices += 1;
        let number = self.scratch.notices;
        let id = notice_id(self.tenant(), kind, (case, order), self.at, number, text);
        let notice =
            Notice { id, kind: kind.to_owned(), case, order, text: plain(text), at: self.at };
        let mut refs: Vec<String> = vec![notice.id.clone()];
        refs.extend(case.map(|c| c.to_string()));
        refs.extend(order.map(|o| o.to_string()));
        self.record("page", json!(notice), refs);
        self.scratch.effects.push(Effect::Page(notice));
    }

    fn on_configured(&mut self, configured: &Configured) {
        self.record("configured", json!(configured), Vec::new());
        let changed = self.directory.reclass(self.at, &self.config.policy.classes);
        self.put_identities(changed);
        let known = self.timelines.keys().chain(self.by_subject.keys());
        let known: Vec<Subject> = known.cloned().collect();
        known.iter().for_each(|subject| self.touch_all(subject));
        self.hand_over_orphans();
        let live = self.cases.values().filter(|case| case.is_live()).map(|case| case.id);
        self.scratch.replan.extend(live);
    }
}

/// Text for people: control and bidirectional characters out, at most 240 characters.
pub fn plain(text: &str) -> String {
    let mark = |c: char| matches!(c, '\u{061c}' | '\u{200e}' | '\u{200f}');
    let bidi = |c: char| mark(c) || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().filter(|c| !c.is_control() && !bidi(*c)).take(240).collect()
}

/// True when an undo in force withdraws the signal: written no earlier than it.
fn withdrawn(threats: &BTreeMap<ThreatKey, Threat>, kept: &Kept) -> bool {
    let signal = kept.signal();
    let undone = |(kind, value): (EntityKind, &str)| {
        let key = (signal.source.clone(), kind, value.to_owned());
        let last = threats.get(&key).and_then(|threat| threat.undos.last());
        last.is_some_and(|(written, _)| *written >= signal.times.written)
    };
    signal.usage != Use::Undo && books::links(signal).any(undone)
}

#[cfg(test)]
mod tests;
