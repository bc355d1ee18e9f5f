//! Helper of the engine's tests: drives an engine with its store rows, outbox and journal through
//! random inputs, crashes among them, and counts what leaves.

use std::collections::{BTreeMap, BTreeSet};

use quell_core::action::Action;
use quell_core::case::Disposition;
use quell_core::effect::{CallId, Closing, Effect, Freeze, Input, Reply, TakeBack};
use quell_core::engine::{Config, Engine};
use quell_core::id::OrderId;
use quell_core::order::{Answer, Call, Capability, Fault, Outcome, Repeat, Verb};
use quell_core::replay;
use quell_core::time::{DAY, HOUR, MINUTE, SECOND, Time};

use super::company::*;

/// What a store keeps between two lives of an engine.
#[derive(Clone, Default, PartialEq, Debug)]
pub(crate) struct Store {
    rows: BTreeMap<(String, String), Vec<u8>>,
    pub(crate) outbox: BTreeMap<CallId, Call>,
    journal: Vec<(Time, u16, Vec<u8>)>,
}

impl Store {
    /// Commits one input with everything that follows from it.
    pub(crate) fn commit(&mut self, at: Time, input: &Input, effects: &[Effect]) {
        let (kind, body) = replay::encode(input);
        self.journal.push((at, kind, body));
        let key = |table: &str, key: &str| (table.to_owned(), key.to_owned());
        let mut done = BTreeSet::new();
        for effect in effects {
            match effect {
                Effect::Put { table, key: k, value } => {
                    self.rows.insert(key(table, k), value.clone());
                }
                Effect::Delete { table, key: k } => {
                    self.rows.remove(&key(table, k));
                }
                Effect::Watch(entry) => {
                    let value = serde_json::to_vec(entry).unwrap();
                    self.rows.insert(key("watch", &entry.id.to_string()), value);
                }
                Effect::Unwatch(entry) => {
                    self.rows.remove(&key("watch", &entry.id.to_string()));
                }
                Effect::Call(call) => {
                    let id = CallId { order: call.order, verb: call.verb, attempt: call.attempt };
                    let old = self.outbox.insert(id, call.clone());
                    assert!(old.is_none(), "the call {id:?} stood in the outbox already");
                }
                Effect::Done(id) => {
                    done.insert(*id);
                }
                Effect::Record { body, .. } => {
                    let encoded = quell_evidence::canonical::encode(body);
                    assert!(encoded.is_ok(), "{encoded:?}: {body}");
                }
                Effect::Page(_) | Effect::WakeAt(_) => {}
            }
        }
        // The store applies what is over after what is new.
        done.iter().for_each(|id| {
            self.outbox.remove(id);
        });
    }

    /// The next life: state rows as they are, timelines folded from the journal.
    pub(crate) fn load(&self, config: &Config) -> Engine {
        let rows = self.rows.iter();
        let rows = rows.map(|((table, key), value)| (table.as_str(), key.as_str(), &**value));
        let mut engine = Engine::load(config.clone(), rows).unwrap();
        let last = self.journal.last().map_or(Time(T0), |(at, ..)| *at);
        let from = engine.fold_from(last);
        for (at, kind, body) in self.journal.iter().filter(|(at, ..)| *at >= from) {
            if let Input::Signals(intake) = replay::decode(*kind, body).unwrap() {
                engine.fold(*at, &intake);
            }
        }
        engine
    }
}

/// What the provider's own log would say of one order.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Tally {
    /// Effecting calls that happened or may have.
    pub(crate) effecting: u32,
    /// Answers that are recorded as unknown.
    pub(crate) unknown: u32,
    /// Read-backs that found the effect absent.
    pub(crate) absent: u32,
}

pub(crate) struct Driver {
    pub(crate) config: Config,
    pub(crate) engine: Engine,
    pub(crate) store: Store,
    pub(crate) now: Time,
    pub(crate) log: Vec<(Time, Input, Vec<Effect>)>,
    pub(crate) tallies: BTreeMap<OrderId, Tally>,
    pub(crate) dice: Dice,
    story: Vec<quell_core::signal::Matched>,
    /// Crash now and then.
    pub(crate) crashes: bool,
    /// Send what no sane dispatcher would.
    pub(crate) garbage: bool,
    /// Close cases.
    pub(crate) closings: bool,
}

/// A configuration whose targets have these capabilities.
pub(crate) fn with_target(config: &Config, repeat: Repeat, reads_back: bool) -> Config {
    let all = Action::ALL.iter().filter(|action| **action != Action::Watch);
    let all: Vec<Capability> = all.map(|a| capability(*a, repeat, reads_back)).collect();
    let capabilities = [("okta".to_owned(), all.clone()), ("oidc".to_owned(), all)].into();
    Config { capabilities, ..config.clone() }
}

impl Driver {
    pub(crate) fn new(config: Config, seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let mut sigs: Vec<Sig> = Vec::new();
        for who in ["alice", "bob", "carol", "glass", "mallory"] {
            let who = format!("{who}@example.com");
            sigs.extend(story(&who));
            for n in 0..dice.below(4) {
                let t = T0 + i64::try_from(dice.below(3_000)).unwrap() * MINUTE;
                use quell_core::signal::{Kind, Use};
                let mut more = match n {
                    0 => Sig::new("okta", Kind::CredentialLeaked, &who, t),
                    1 => Sig::new("okta", Kind::SignIn, &who, t).at(8),
                    2 => Sig::new("proofpoint_tap", Kind::VerdictChanged, &who, t)
                        .usage(Use::Undo)
                        .threat(1),
                    _ => Sig::new("proofpoint_tap", Kind::UrlClick, &who, t).at(1),
                };
                more.key = format!("{}-{n}", more.key);
                sigs.push(more);
            }
        }
        let mut matched: Vec<_> = sigs.iter().map(|sig| sig.matched(&config)).collect();
        // Mostly in order, as in life.
        matched.sort_by_key(|m| m.signal.times.happened.t);
        for _ in 0..dice.below(12) {
            let (a, b) = (dice.below(matched.len()), dice.below(matched.len()));
            matched.swap(a, b);
        }
        matched.reverse();
        let mut driver = Self {
            engine: Engine::new(config.clone()),
            config,
            store: Store::default(),
            now: Time(T0 - MINUTE),
            log: Vec::new(),
            tallies: BTreeMap::new(),
            dice,
            story: matched,
            crashes: true,
            garbage: false,
            closings: true,
        };
        driver.step(import(company()));
        driver
    }

    pub(crate) fn step(&mut self, input: Input) -> Vec<Effect> {
        let effects = self.engine.step(self.now, &input);
        self.store.commit(self.now, &input, &effects);
        self.log.push((self.now, input, effects.clone()));
        effects
    }

    /// The process dies; another one takes over from the store.
    pub(crate) fn crash(&mut self) {
        self.engine = self.store.load(&self.config);
        for order in self.engine.orders().filter(|order| order.claimed.is_some()) {
            let tally = self.tallies.entry(order.id).or_default();
            if order.claimed.is_some_and(|(verb, _)| verb == Verb::Execute) {
                tally.unknown += 1;
            }
        }
        self.step(Input::Restarted);
    }

    /// One random thing happens.
    pub(crate) fn anything(&mut self) {
        let pause = [0, 1, SECOND, 20 * SECOND, 3 * MINUTE, HOUR];
        let pause = *self.dice.pick(&pause);
        self.now = self.now.plus(pause);
        match self.dice.below(20) {
            0..=3 => self.signals(),
            4..=13 => self.dispatch(),
            14 => self.answer(),
            15 => self.tick(),
            16 if self.closings && self.dice.one_in(3) => self.close(),
            16 => self.freeze(),
            17 => self.take_back(),
            18 if self.crashes => self.crash(),
            19 if self.garbage => self.garbage(),
            _ => self.dispatch(),
        }
    }

    fn close(&mut self) {
        let all: Vec<_> = self.engine.cases().map(|case| case.id).collect();
        if all.is_empty() {
            return self.signals();
        }
        let case = *self.dice.pick(&all);
        let disposition = *self.dice.pick(Disposition::ALL);
        let (by, why) = ("officer".to_owned(), "seen".to_owned());
        self.step(Input::Close(Closing { case, disposition, by, why }));
    }

    fn signals(&mut self) {
        let size = 1 + self.dice.below(20);
        let at = self.story.len().saturating_sub(size);
        let batch = self.story.split_off(at);
        if let Some(latest) = batch.iter().map(|m| m.signal.times.happened.t).max() {
            self.now = self.now.max(latest);
        }
        self.step(signals(batch));
    }

    fn dispatch(&mut self) {
        let outbox: Vec<CallId> = self.store.outbox.keys().copied().collect();
        if outbox.is_empty() {
            return self.signals();
        }
        let id = *self.dice.pick(&outbox);
        let call = self.store.outbox[&id].clone();
        self.now = self.now.max(call.due);
        self.carry_out(&call);
    }

    /// Claims a call where it must be, sends it, and loses its answer now and then.
    pub(crate) fn carry_out(&mut self, call: &Call) {
        let id = CallId { order: call.order, verb: call.verb, attempt: call.attempt };
        if matches!(call.verb, Verb::Execute | Verb::Undo) {
            let running = self.engine.may_send(id);
            self.step(Input::Claim(id));
            if running || !self.engine.may_send(id) {
                return;
            }
        }
        if call.verb == Verb::Execute && self.engine.freeze().is_some() {
            assert!(!self.engine.heeds_freeze(id), "a claim was granted in a freeze");
        }
        if call.verb == Verb::Execute && self.dice.one_in(10) {
            // Dispatch sees a freeze that the engine knows, or not any more.
            if self.dice.one_in(2) {
                self.freeze();
            }
            if self.crashes && self.dice.one_in(4) {
                return self.crash();
            }
            self.step(Input::Unsent(id));
            assert!(!self.engine.may_send(id), "{id:?} was given back and may go");
            return;
        }
        let answer = self.answer_to(call.verb);
        let tally = self.tallies.entry(call.order).or_default();
        let refused =
            matches!(&answer, Answer::Fault { fault, .. } if *fault != Fault::Indeterminate);
        if call.verb == Verb::Execute && !refused {
            tally.effecting += 1;
        }
        if call.verb == Verb::ReadBack
            && matches!(answer, Answer::Seen { done: false, conclusive: true })
        {
            tally.absent += 1;
        }
        if self.crashes && self.dice.one_in(8) {
            if call.verb == Verb::Execute && refused {
                // It did not happen, but nobody knows: the tally must not excuse it twice.
                tally.effecting += 1;
            }
            return self.crash();
        }
        let unclear = matches!(
            answer,
            Answer::Fault { fault: Fault::Indeterminate, .. }
                | Answer::Before { .. }
                | Answer::Seen { .. }
        );
        if call.verb == Verb::Execute && unclear {
            tally.unknown += 1;
        }
        let input = outcome(call, answer, self.now);
        self.step(input);
    }

    fn answer_to(&mut self, verb: Verb) -> Answer {
        let retry_at = self.dice.one_in(3).then(|| self.now.plus(MINUTE));
        let fault = Answer::Fault { fault: *self.dice.pick(Fault::ALL), retry_at };
        let usual = match verb {
            Verb::Probe => {
                let snapshot = self.dice.one_in(2).then(|| "{}".to_owned());
                let (alive, already) = (!self.dice.one_in(4), self.dice.one_in(8));
                Answer::Before { alive, already, snapshot }
            }
            Verb::Execute | Verb::Undo => Answer::Accepted { already: self.dice.one_in(8) },
            Verb::ReadBack | Verb::ReadBackUndo => {
                Answer::Seen { done: !self.dice.one_in(3), conclusive: !self.dice.one_in(4) }
            }
        };
        if self.dice.one_in(3) { fault } else { usual }
    }

    fn answer(&mut self) {
        let orders: Vec<OrderId> = self.engine.orders().map(|order| order.id).collect();
        if orders.is_empty() {
            return;
        }
        let names = ["officer", "alice@example.com", "bob@example.com", "deputy"];
        let reply = Reply {
            order: *self.dice.pick(&orders),
            by: (*self.dice.pick(&names)).to_owned(),
            approve: !self.dice.one_in(4),
            why: String::new(),
        };
        self.step(Input::Answer(reply));
    }

    fn tick(&mut self) {
        if let Some(due) = self.engine.wake_at() {
            self.now = self.now.max(due);
        }
        self.step(Input::Tick);
    }

    fn freeze(&mut self) {
        let freeze = Freeze {
            on: self.dice.one_in(3),
            until: self.dice.one_in(2).then(|| self.now.plus(HOUR)),
            by: "officer".to_owned(),
            why: "drill".to_owned(),
        };
        self.step(Input::Freeze(freeze));
    }

    fn take_back(&mut self) {
        let orders: Vec<OrderId> = self.engine.orders().map(|order| order.id).collect();
        if !orders.is_empty() {
            let order = *self.dice.pick(&orders);
            let back = TakeBack { order, by: "officer".to_owned(), why: "over".to_owned() };
            self.step(Input::TakeBack(back));
        }
    }

    /// Claims and outcomes for calls that do not exist, are over, or come later.
    fn garbage(&mut self) {
        let mut orders: Vec<OrderId> = self.engine.orders().map(|order| order.id).collect();
        orders.push(OrderId([9; 16]));
        let (order, verb) = (*self.dice.pick(&orders), *self.dice.pick(Verb::ALL));
        let attempt = *self.dice.pick(&[0, 1, 2, 3, 7, u32::MAX]);
        let id = CallId { order, verb, attempt };
        let known = self.store.outbox.contains_key(&id);
        if self.dice.one_in(2) {
            if !known {
                let before = self.engine.may_send(id);
                self.step(Input::Claim(id));
                assert!(before || !self.engine.may_send(id), "a call out of nowhere may go");
            }
            return;
        }
        if !known && !self.engine.may_send(id) {
            let huge = "\u{7}\u{202e}x".repeat(2_000);
            let answers = [Verb::Probe, Verb::Execute, Verb::ReadBack];
            let kind = *self.dice.pick(&answers);
            let answer = self.answer_to(kind);
            self.step(Input::Outcome(Outcome {
                order,
                verb,
                attempt,
                answer,
                sent_at: Some(Time(-62_000_000_000_000_000)),
                request: huge.clone(),
                status: Some(u16::MAX),
                vendor_request: Some(huge.clone()),
                response: Some(huge.clone()),
                detail: huge,
            }));
        }
    }

    /// Long after everything: time passes until nothing is due any more.
    pub(crate) fn settle(&mut self) {
        self.step(thaw());
        let end = self.now.plus(3 * DAY);
        for _ in 0..4_000 {
            let call = self.store.outbox.values().min_by_key(|call| (call.due, call.order));
            let Some(call) = call.cloned() else { break };
            self.now = self.now.max(call.due).min(end);
            self.carry_out(&call);
            if self.engine.freeze().is_some() {
                self.step(thaw());
            }
        }
    }
}

/// The end of a freeze.
fn thaw() -> Input {
    let (by, why) = ("officer".to_owned(), String::new());
    Input::Freeze(Freeze { on: false, until: None, by, why })
}
