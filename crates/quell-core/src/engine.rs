//! The engine: one tenant's state machine. Inputs in, effects out, nothing else. The same
//! journal and configuration give the same effects, byte for byte.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Value, json};

use crate::case::Case;
use crate::directory::Directory;
use crate::effect::{CallId, Configured, Effect, Freeze, Input, Notice, WatchEntry};
use crate::finding::Finding;
use crate::history::{Bounds, Kept, Timeline};
use crate::id::{CaseId, Digest, FindingId, OrderId, SignalId, Tenant, WatchId, notice_id};
use crate::order::{Capability, Order};
use crate::policy::Policy;
use crate::resolve::{Resolution, Subject};
use crate::rule::Rules;
use crate::signal::{EntityKind, Use};
use crate::time::Time;

mod intake;
mod cases;
mod orders;
mod people;
mod state;
mod plan;

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
        }
    }
}

/// The revision of a record that is in force, and where its signals stand.
#[derive(Clone, Debug)]
struct Revision {
    written: Time,
    digest: Digest,
    placed: Vec<Placed>,
}

#[derive(Clone, Debug)]
enum Placed {
    Timeline(Subject, Time, SignalId),
    Undo(ThreatKey, Time, SignalId),
}

/// What an undo of a source refers to.
type ThreatKey = (String, EntityKind, String);

/// Undos and the subjects that they concern.
#[derive(Clone, Debug, Default)]
struct Threat {
    undos: BTreeSet<(Time, SignalId)>,
    subjects: BTreeSet<Subject>,
}

/// One tenant's engine.
#[derive(Debug)]
pub struct Engine {
    config: Config,
    at: Time,
    directory: Directory,
    timelines: BTreeMap<Subject, Timeline>,
    resolutions: BTreeMap<Subject, Resolution>,
    revisions: BTreeMap<[u8; 16], Revision>,
    threats: BTreeMap<ThreatKey, Threat>,
    findings: BTreeMap<FindingId, Finding>,
    by_subject: BTreeMap<Subject, BTreeSet<FindingId>>,
    cases: BTreeMap<CaseId, Case>,
    cases_of: BTreeMap<Subject, BTreeSet<CaseId>>,
    orders: BTreeMap<OrderId, Order>,
    spent: BTreeMap<String, Vec<Time>>,
    freeze: Option<Freeze>,
    watch: BTreeMap<WatchId, WatchEntry>,
    timers: BTreeSet<Time>,
    scratch: Scratch,
}

/// What one step gathers.
#[derive(Debug, Default)]
struct Scratch {
    effects: Vec<Effect>,
    subjects: BTreeSet<Subject>,
    findings: BTreeSet<FindingId>,
    cases: BTreeSet<CaseId>,
    orders: BTreeSet<OrderId>,
    replan: BTreeSet<CaseId>,
    notices: u32,
}

impl Engine {
    /// An engine without a past.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            at: Time::default(),
            directory: Directory::default(),
            timelines: BTreeMap::new(),
            resolutions: BTreeMap::new(),
            revisions: BTreeMap::new(),
            threats: BTreeMap::new(),
            findings: BTreeMap::new(),
            by_subject: BTreeMap::new(),
            cases: BTreeMap::new(),
            cases_of: BTreeMap::new(),
            orders: BTreeMap::new(),
            spent: BTreeMap::new(),
            freeze: None,
            watch: BTreeMap::new(),
            timers: BTreeSet::new(),
            scratch: Scratch::default(),
        }
    }

    /// Puts another configuration in force; [`Input::Configured`] must follow.
    pub fn configure(&mut self, config: Config) {
        self.config = config;
    }

    /// Takes one input in. `at` never goes back: an earlier one counts as the latest seen.
    pub fn step(&mut self, at: Time, input: &Input) -> Vec<Effect> {
        self.at = self.at.max(at);
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
        }
        self.settle();
        self.flush();
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
        self.findings.values()
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
        self.timers.first().copied()
    }

    /// True when dispatch may send this effecting call now: it was claimed, and nothing has
    /// taken the claim away.
    pub fn may_send(&self, call: CallId) -> bool {
        let claimed = self.orders.get(&call.order).and_then(|order| order.claimed);
        claimed == Some((call.verb, call.attempt))
    }

    fn tenant(&self) -> &str {
        &self.config.tenant
    }

    /// Recomputes what was touched, then plans the touched cases.
    fn settle(&mut self) {
        self.recompute();
        self.replan();
    }

    /// Writes the rows of everything that changed, once each.
    fn flush(&mut self) {
        let mut effects = std::mem::take(&mut self.scratch.effects);
        let mut row = |table, key: String, value: Option<Vec<u8>>| {
            effects.push(match value {
                Some(value) => Effect::Put { table, key, value },
                None => Effect::Delete { table, key },
            });
        };
        for id in std::mem::take(&mut self.scratch.findings) {
            row("finding", id.to_string(), self.findings.get(&id).and_then(state::bytes));
        }
        for id in std::mem::take(&mut self.scratch.cases) {
            row("case", id.to_string(), self.cases.get(&id).and_then(state::bytes));
        }
        let orders = std::mem::take(&mut self.scratch.orders);
        for id in &orders {
            row("order", id.to_string(), self.orders.get(id).and_then(state::bytes));
        }
        for order in orders.iter().filter_map(|id| self.orders.get(id)) {
            let times = [order.approval_until, order.undo_at];
            self.timers.extend(times.into_iter().flatten());
        }
        if let Some(at) = self.wake_at() {
            effects.push(Effect::WakeAt(at));
        }
        self.scratch.effects = effects;
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
        self.scratch.subjects.extend(self.timelines.keys().cloned());
        let live = self.cases.values().filter(|case| case.is_live()).map(|case| case.id);
        self.scratch.replan.extend(live);
    }
}

/// Text for people: control and bidirectional characters out, at most 240 characters.
pub fn plain(text: &str) -> String {
    let bidi = |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().filter(|c| !c.is_control() && !bidi(*c)).take(240).collect()
}

/// True when an undo in force withdraws the signal: written no earlier than it.
fn withdrawn(threats: &BTreeMap<ThreatKey, Threat>, kept: &Kept) -> bool {
    let signal = kept.signal();
    signal.entities.iter().any(|entity| {
        let key = (signal.source.clone(), entity.kind, entity.value.clone());
        let linked = matches!(entity.kind, EntityKind::Threat | EntityKind::Message);
        let undo = || threats.get(&key).and_then(|t| t.undos.last());
        linked
            && signal.usage != Use::Undo
            && undo().is_some_and(|(written, _)| *written >= signal.times.written)
    })
}

/// Shares a signal with the journal's decoder without copying it.
fn shared(matched: &crate::signal::Matched) -> Arc<crate::signal::Matched> {
    Arc::new(matched.clone())
}

#[cfg(test)]
mod tests;
