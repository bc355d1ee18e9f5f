//! Run room, dispatch: which calls may go now. A state machine without clock or socket; calls
//! for one target and account are serial. Whoever drives it carries the calls out.

use std::collections::{BTreeMap, BTreeSet};

use quell_core::effect::CallId;
use quell_core::order::Call;
use quell_core::progress;
use quell_core::time::Time;

/// Calls on the way at once, to any one provider: one that hangs takes no place of another's.
pub const IN_FLIGHT_MAX: usize = 32;

/// Waiting and running calls.
#[derive(Debug, Default)]
pub struct Dispatch {
    waiting: BTreeMap<(Time, CallId), Call>,
    /// When each waiting call is due: none waits twice.
    due: BTreeMap<CallId, Time>,
    /// The provider and the account of each running call.
    running: BTreeMap<CallId, (String, String)>,
    busy: BTreeSet<String>,
    /// How many run at each provider.
    at_provider: BTreeMap<String, usize>,
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
    /// Takes calls of a committed group, or of the outbox at start. One that waits or runs already
    /// stays as it is.
    pub fn add(&mut self, calls: impl IntoIterator<Item = Call>) {
        for call in calls {
            let id = id(&call);
            if !self.running.contains_key(&id) && !self.due.contains_key(&id) {
                self.due.insert(id, call.due);
                self.waiting.insert((call.due, id), call);
            }
        }
    }

    /// Takes the outbox for everything that waits, after the engine was loaded again. What runs
    /// runs on, and keeps its account.
    pub fn replace(&mut self, outbox: impl IntoIterator<Item = Call>) {
        self.waiting.clear();
        self.due.clear();
        self.add(outbox);
    }

    /// Drops waiting calls that are over or no longer wanted. A running one keeps its account
    /// until [`Dispatch::finished`]: its request may still be out.
    pub fn remove(&mut self, dones: &[CallId]) {
        for done in dones {
            let due = self.due.remove(done);
            due.and_then(|due| self.waiting.remove(&(due, *done)));
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
            let Some(call) = self.waiting.get(&key) else { continue };
            let (provider, lane) = (call.account.provider.clone(), call.account.to_string());
            let running = self.at_provider.entry(provider.clone()).or_default();
            if *running >= IN_FLIGHT_MAX || !self.busy.insert(lane.clone()) {
                continue;
            }
            *running += 1;
            self.due.remove(&key.1);
            if let Some(call) = self.waiting.remove(&key) {
                self.running.insert(key.1, (provider, lane));
                go.push(call);
            }
        }
        go
    }

    /// A running call is over; its account is free again.
    pub fn finished(&mut self, call: CallId) {
        if let Some((provider, lane)) = self.running.remove(&call) {
            self.busy.remove(&lane);
            if let Some(running) = self.at_provider.get_mut(&provider) {
                *running = running.saturating_sub(1);
            }
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

#[cfg(test)]
mod tests {
    use super::*;
    use quell_core::action::Action;
    use quell_core::id::OrderId;
    use quell_core::identity::Account;
    use quell_core::order::Verb;

    fn call(order: u8, verb: Verb, due: i64) -> Call {
        let id = format!("00u{order}");
        Call {
            order: OrderId([order; 16]),
            verb,
            attempt: 1,
            due: Time(due),
            action: Action::EndSessions,
            account: Account { provider: "okta".to_owned(), id, login: None },
            snapshot: None,
            acknowledged_at: None,
            sent_at: None,
        }
    }

    fn names(calls: &[Call]) -> Vec<u8> {
        calls.iter().map(|call| call.order.0[0]).collect()
    }

    /// No call waits twice, and after a reload nothing waits that is not in the outbox.
    #[test]
    fn the_outbox_stands_for_everything_that_waited() {
        let mut dispatch = Dispatch::default();
        dispatch.add([call(1, Verb::Execute, 0), call(2, Verb::Execute, 5)]);
        dispatch.add([call(2, Verb::Execute, 9), call(3, Verb::ReadBack, 5)]);
        assert_eq!(names(&dispatch.ready(Time(0))), [1]);
        assert_eq!(dispatch.counts(), (2, 1), "2 and 3 wait once each, 1 runs");
        dispatch.replace([
            call(1, Verb::Execute, 0),
            call(2, Verb::Execute, 5),
            call(4, Verb::Probe, 5),
        ]);
        assert_eq!(dispatch.counts(), (2, 1), "1 still runs, 3 is forgotten");
        assert_eq!(names(&dispatch.ready(Time(5))), [2, 4]);
        dispatch.remove(&[id(&call(2, Verb::Execute, 5))]);
        for order in [1, 2, 4] {
            let verb = if order == 4 { Verb::Probe } else { Verb::Execute };
            dispatch.finished(id(&call(order, verb, 0)));
        }
        assert!(dispatch.is_idle());
    }

    /// Every place of one provider is taken by calls that hang; another's go all the same.
    #[test]
    fn a_provider_that_hangs_holds_up_nobody_else() {
        let mut dispatch = Dispatch::default();
        let most = u8::try_from(IN_FLIGHT_MAX).unwrap();
        dispatch.add((0..most + 8).map(|order| call(order, Verb::Execute, 0)));
        assert_eq!(dispatch.ready(Time(0)).len(), IN_FLIGHT_MAX);
        let mut other = call(200, Verb::Execute, 0);
        other.account.provider = "oidc".to_owned();
        dispatch.add([other]);
        assert_eq!(names(&dispatch.ready(Time(0))), [200]);
        dispatch.finished(id(&call(0, Verb::Execute, 0)));
        assert_eq!(dispatch.ready(Time(0)).len(), 1, "a place that is free again is taken");
    }
}
