//! Simulation room, the wire: what becomes of a request between the engine and a provider. What
//! was sent stays on its way when the engine dies.

use std::collections::BTreeMap;

use quell_core::order::{Answer, Call, Fault, Verb};
use quell_core::time::{MINUTE, SECOND, Time};

use crate::provider::Providers;
use crate::rng::Rng;
use crate::stats::Stats;

/// How long a request waits for its answer.
pub(crate) const TIME_OUT: i64 = 10 * SECOND;

/// Who waits for an answer: a task of one life of the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Waiter {
    pub(crate) life: u64,
    pub(crate) task: u64,
}

/// An answer that reached the engine's end of the wire.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    pub(crate) waiter: Waiter,
    pub(crate) answer: Answer,
    pub(crate) status: Option<u16>,
}

#[derive(Debug)]
enum Packet {
    /// A request reaches its provider; its answer comes back or not.
    Request {
        call: Call,
        waiter: Waiter,
        comes_back: bool,
    },
    Told(Told),
}

#[derive(Debug)]
pub(crate) struct Wire {
    packets: BTreeMap<(Time, u64), Packet>,
    number: u64,
    rng: Rng,
    /// Nothing fails any more.
    pub(crate) quiet: bool,
    /// How many in a thousand requests fail in some way.
    pub(crate) bad: u64,
}

impl Wire {
    pub(crate) fn new(rng: &mut Rng) -> Self {
        let bad = rng.pick(&[50, 200, 500]).copied().unwrap_or_default();
        Self { packets: BTreeMap::new(), number: 0, rng: rng.fork(), quiet: false, bad }
    }

    fn put(&mut self, at: Time, packet: Packet) {
        self.number += 1;
        self.packets.insert((at, self.number), packet);
    }

    fn latency(&mut self) -> i64 {
        if self.rng.chance(900) { self.rng.span(1000, SECOND) } else { self.rng.span(0, TIME_OUT) }
    }

    /// Sends a request; what will become of it is settled here.
    pub(crate) fn send(&mut self, call: Call, waiter: Waiter, now: Time, stats: &mut Stats) {
        let arrives = now.plus(self.latency().min(4 * SECOND));
        if self.quiet || !self.rng.chance(self.bad) {
            self.put(arrives, Packet::Request { call, waiter, comes_back: true });
            return;
        }
        match self.rng.below(10) {
            0 | 1 => {
                failed(&call, false, stats);
                self.lose(&call, waiter, now);
            }
            2 | 3 => {
                failed(&call, true, stats);
                self.lose(&call, waiter, now);
                self.put(arrives, Packet::Request { call, waiter, comes_back: false });
            }
            4 => {
                failed(&call, true, stats);
                stats.fault("answer: arrived after the time-out");
                self.lose(&call, waiter, now);
                let late = now.plus(TIME_OUT + self.rng.span(0, 2 * MINUTE));
                self.put(late, Packet::Request { call, waiter, comes_back: false });
            }
            5 => {
                // A server that breaks while it works: nobody knows how far it came.
                let happens = self.rng.chance(500);
                failed(&call, happens, stats);
                self.tell(&call, waiter, arrives, 500, Fault::Indeterminate, stats);
                if happens {
                    self.put(arrives, Packet::Request { call, waiter, comes_back: false });
                }
            }
            _ => self.refuse(&call, waiter, arrives, stats),
        }
    }

    /// A refusal before anything happened.
    fn refuse(&mut self, call: &Call, waiter: Waiter, at: Time, stats: &mut Stats) {
        failed(call, false, stats);
        let rare = self.rng.below(20);
        let (status, fault) = match rare {
            0 => (401, Fault::AuthBroken),
            1 => (403, Fault::NoPermission),
            2 => (404, Fault::UnknownSubject),
            3 => (400, Fault::BadRequest),
            4..=11 => (429, Fault::Throttled),
            _ => (503, Fault::Transient),
        };
        self.tell(call, waiter, at, status, fault, stats);
    }

    fn tell(
        &mut self,
        call: &Call,
        waiter: Waiter,
        at: Time,
        status: u16,
        fault: Fault,
        stats: &mut Stats,
    ) {
        stats.count(format!("answer: {fault}"));
        let reads = !matches!(call.verb, Verb::Execute | Verb::Undo);
        let fault = if reads && fault == Fault::Indeterminate { Fault::Transient } else { fault };
        let stated = matches!(fault, Fault::Throttled) && self.rng.chance(700);
        let retry_at = stated.then(|| at.plus(self.rng.span(0, 5 * MINUTE)));
        let answer = Answer::Fault { fault, retry_at };
        self.put(at, Packet::Told(Told { waiter, answer, status: Some(status) }));
    }

    /// Nothing comes back in time.
    fn lose(&mut self, call: &Call, waiter: Waiter, now: Time) {
        let reads = !matches!(call.verb, Verb::Execute | Verb::Undo);
        let fault = if reads { Fault::Transient } else { Fault::Indeterminate };
        let answer = Answer::Fault { fault, retry_at: None };
        let told = Told { waiter, answer, status: None };
        self.put(now.plus(TIME_OUT), Packet::Told(told));
    }

    /// When something happens here next.
    pub(crate) fn next(&self) -> Option<Time> {
        self.packets.keys().next().map(|(at, _)| *at)
    }

    /// Takes the next packet that is due; gives what it told and what it carried out.
    pub(crate) fn step(
        &mut self,
        now: Time,
        providers: &mut Providers,
        stats: &mut Stats,
    ) -> (Option<Told>, Option<Call>) {
        let Some(entry) = self.packets.first_entry().filter(|entry| entry.key().0 <= now) else {
            return (None, None);
        };
        match entry.remove() {
            Packet::Told(told) => (Some(told), None),
            Packet::Request { call, waiter, comes_back } => {
                let answer = providers.arrive(&call, now);
                let acted = matches!(call.verb, Verb::Execute | Verb::Undo);
                let carried = (acted && answer.is_some()).then(|| call.clone());
                let answer =
                    answer.unwrap_or(Answer::Fault { fault: Fault::Unsupported, retry_at: None });
                if comes_back {
                    if answer == (Answer::Accepted { already: true }) {
                        stats.count("answer: already so");
                    }
                    let back = now.plus(self.latency().min(5 * SECOND));
                    let told = Told { waiter, answer, status: Some(200) };
                    self.put(back, Packet::Told(told));
                }
                (None, carried)
            }
        }
    }
}

/// Counts a request that fails for whoever sent it.
fn failed(call: &Call, happened: bool, stats: &mut Stats) {
    let what = if happened { "did happen" } else { "did not happen" };
    stats.fault(format!("{}: failed, {what}", call.verb));
}
