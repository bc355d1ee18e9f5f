//! Run room, dispatch: which calls may go now. A state machine without clock or socket; calls
//! for one target and account are serial. Whoever drives it carries the calls out.

use std::collections::{BTreeMap, BTreeSet};

use quell_core::effect::CallId;
use quell_core::order::Call;
use quell_core::progress;
use quell_core::time::Time;

/// Calls on the way at once, over all targets.
pub const IN_FLIGHT_MAX: usize = 64;

/// Waiting and running calls.
#[derive(Debug, Default)]
pub struct Dispatch {
    waiting: BTreeMap<(Time, CallId), Call>,
    running: BTreeMap<CallId, String>,
    busy: BTreeSet<String>,
    stopped: bool,
}

/// The identity of a call.
pub fn id(call: &Call) -> CallId {
    CallId { order: call.order, verb: call.verb, attempt: call.attempt }
}

/// True when the call must be claimed before it is sent.
pub fn needs_claim(call: &Call) -> bool {
    progress::is_effecting(call.verb)
}

impl Dispatch {
    /// Takes calls of a committed group, or of the outbox at start.
    pub fn add(&mut self, calls: impl IntoIterator<Item = Call>) {
        for call in calls {
            let id = id(&call);
            if !self.running.contains_key(&id) {
                self.waiting.insert((call.due, id), call);
            }
        }
    }

    /// Drops waiting calls that are over or no longer wanted. A running one keeps its account
    /// until [`Dispatch::finished`]: its request may still be out.
    pub fn remove(&mut self, dones: &[CallId]) {
        for done in dones {
            let key = self.waiting.keys().find(|(_, id)| id == done).copied();
            key.and_then(|key| self.waiting.remove(&key));
        }
    }

    /// Calls that may go now; they count as running until [`Dispatch::finished`].
    pub fn ready(&mut self, now: Time) -> Vec<Call> {
        let mut go = Vec::new();
        if self.stopped {
            return go;
        }
        let due: Vec<(Time, CallId)> =
            self.waiting.keys().take_while(|(due, _)| *due <= now).copied().collect();
        for key in due {
            if self.running.len() >= IN_FLIGHT_MAX {
                break;
            }
            let Some(call) = self.waiting.get(&key) else { continue };
            let lane = call.account.to_string();
            if !self.busy.insert(lane.clone()) {
                continue;
            }
            if let Some(call) = self.waiting.remove(&key) {
                self.running.insert(key.1, lane);
                go.push(call);
            }
        }
        go
    }

    /// A running call is over; its account is free again.
    pub fn finished(&mut self, call: CallId) {
        if let Some(lane) = self.running.remove(&call) {
            self.busy.remove(&lane);
        }
    }

    /// When the next call becomes due, if none is due now.
    pub fn next_due(&self) -> Option<Time> {
        self.waiting.keys().next().map(|(due, _)| *due)
    }

    /// Stops or resumes: while the store cannot commit nothing is sent.
    pub fn stop(&mut self, stopped: bool) {
        self.stopped = stopped;
    }

    /// Nothing waits and nothing runs.
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.running.is_empty()
    }

    /// How many wait and how many run.
    pub fn counts(&self) -> (usize, usize) {
        (self.waiting.len(), self.running.len())
    }
}
