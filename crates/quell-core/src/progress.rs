//! How an order goes on after a call: one pure function from the order, the capability and the
//! answer to the event and the next call. Used live and after a crash alike.

use crate::order::{Answer, Call, Capability, Event, Fault, On, Order, Repeat, State, Verb};
use crate::time::{MINUTE, SECOND, Time};

/// What follows from an answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Next {
    /// What happens to the order; none leaves its state as it is.
    pub event: Option<Event>,
    /// The next call, with its due time.
    pub call: Option<(Verb, Time)>,
    /// Why, one sentence.
    pub reason: String,
    /// True when people must be paged.
    pub page: bool,
}

/// How often the target may accept the effecting call and the read-back find nothing of it.
pub const REPEATS_MAX: u32 = 3;
/// How often the effecting call may end without an answer: time-outs, deaths of the engine.
pub const LOST_MAX: u32 = 20;
/// How often a call is tried in all; those that the target refused are known not to have happened.
pub const TRIES_MAX: u32 = 60;
/// How long the act may wait for another look before it, microseconds.
pub const PROBE_PATIENCE: i64 = SECOND;
/// How often a read-back is tried for each effecting call before nothing can be proved.
pub const LOOKS_MAX: u32 = 40;

/// The pause after the n-th fault in a row, or look at an undo: 2 s doubling to 5 min.
fn pause(faults: u32) -> i64 {
    SECOND.saturating_mul(1_i64 << faults.clamp(0, 9)).min(5 * MINUTE)
}

/// The place of a verb in [`Order::attempts`].
pub fn slot(verb: Verb) -> usize {
    match verb {
        Verb::Probe => 0,
        Verb::Execute => 1,
        Verb::ReadBack => 2,
        Verb::Undo => 3,
        Verb::ReadBackUndo => 4,
    }
}

/// The attempts of a verb so far.
pub fn attempts(order: &Order, verb: Verb) -> u32 {
    at_place(&order.attempts, verb)
}

fn at_place(counts: &[u32; 5], verb: Verb) -> u32 {
    counts.get(slot(verb)).copied().unwrap_or_default()
}

/// How many calls of an effecting verb may have done something so far.
fn left(order: &Order, verb: Verb) -> u32 {
    at_place(&order.accepted, verb).saturating_add(at_place(&order.lost, verb))
}

/// The first call of a permitted order.
pub fn first(capability: Capability) -> Verb {
    if capability.reads_back { Verb::Probe } else { Verb::Execute }
}

/// The call as the outbox keeps it; none for entities, which no target acts on.
pub fn call(order: &Order, verb: Verb, due: Time) -> Option<Call> {
    let On::Account(account) = &order.on else { return None };
    Some(Call {
        order: order.id,
        verb,
        attempt: attempts(order, verb).saturating_add(1),
        due,
        action: order.action,
        account: account.clone(),
        snapshot: order.snapshot.clone(),
        acknowledged_at: order.acknowledged_at.filter(|t| Some(*t) >= order.claimed_at),
        sent_at: order.claimed_at.or(order.sent_at),
    })
}

/// What follows from the answer to a call of the order. `order.attempts` and `order.faults`
/// already count it. `asked` is when the call began to leave: an answer speaks of then.
pub fn next(
    order: &Order,
    capability: Capability,
    verb: Verb,
    answer: &Answer,
    asked: Time,
    at: Time,
) -> Next {
    let step = Step { order, capability, asked, at };
    match verb {
        Verb::Probe => step.after_probe(answer),
        Verb::Execute => step.after_execute(answer),
        Verb::ReadBack => step.after_read_back(answer),
        Verb::Undo => step.after_undo(answer),
        Verb::ReadBackUndo => step.after_read_back_undo(answer),
    }
}

struct Step<'a> {
    order: &'a Order,
    capability: Capability,
    asked: Time,
    at: Time,
}

fn done(event: Event, reason: &str) -> Next {
    Next { event: Some(event), call: None, reason: reason.to_owned(), page: false }
}

fn alarm(event: Event, reason: String) -> Next {
    Next { event: Some(event), call: None, reason, page: true }
}

impl Step<'_> {
    /// Only faults in a row make the pause longer, not looks that were answered.
    fn later(&self, retry_at: Option<Time>) -> Time {
        let pause = self.at.plus(pause(self.order.faults));
        retry_at.map_or(pause, |t| t.max(self.at.plus(SECOND)))
    }

    fn go(&self, event: Option<Event>, verb: Verb, due: Time, reason: &str) -> Next {
        Next { event, call: Some((verb, due)), reason: reason.to_owned(), page: false }
    }

    fn after_probe(&self, answer: &Answer) -> Next {
        let tries = attempts(self.order, Verb::Probe);
        match answer {
            Answer::Before { already: true, .. } if self.may_be_ours() => {
                let why = "it is so now, perhaps by an earlier call: read back";
                self.go(Some(Event::LoseSight), Verb::ReadBack, self.at, why)
            }
            Answer::Before { already: true, .. } => {
                done(Event::FindUnchanged, "it was already so before the act")
            }
            Answer::Before { .. } => self.go(None, Verb::Execute, self.at, "the state is known"),
            Answer::Fault { fault: Fault::Unsupported | Fault::Precondition, .. } => {
                alarm(Event::Fail, "the target does not do this to this account".to_owned())
            }
            Answer::Fault { fault: Fault::AuthBroken, .. } => {
                alarm(Event::Fail, "the target does not accept our credential".to_owned())
            }
            Answer::Fault { retry_at, fault }
                if tries < 2
                    && matches!(fault, Fault::Throttled | Fault::Transient)
                    && retry_at.is_none_or(|t| t <= self.at.plus(PROBE_PATIENCE)) =>
            {
                let due = self.at.plus(PROBE_PATIENCE / 2).max(retry_at.unwrap_or(self.at));
                self.go(None, Verb::Probe, due, "the target could not be asked; once more")
            }
            // Acting matters more than proving: without the control nothing is called verified.
            _ => self.go(None, Verb::Execute, self.at, "the state before is not known"),
        }
    }

    fn after_execute(&self, answer: &Answer) -> Next {
        match answer {
            Answer::Accepted { already: true } if !self.may_be_ours() => {
                done(Event::FindUnchanged, "the target says that it was already so")
            }
            Answer::Accepted { .. } => self.acknowledged(),
            Answer::Fault { fault: Fault::Throttled | Fault::Transient, retry_at } => {
                if attempts(self.order, Verb::Execute) >= TRIES_MAX {
                    return alarm(Event::Fail, format!("not accepted in {TRIES_MAX} attempts"));
                }
                let due = self.later(*retry_at);
                self.go(Some(Event::Retry), Verb::Execute, due, "it did not happen; again later")
            }
            Answer::Fault { fault: Fault::Indeterminate, .. }
            | Answer::Before { .. }
            | Answer::Seen { .. } => self.lost_sight(),
            Answer::Fault { fault, .. } => {
                alarm(Event::Fail, format!("the target refused for good: {fault}"))
            }
        }
    }

    /// True when an earlier effecting call of the order may have done it.
    fn may_be_ours(&self) -> bool {
        self.order.unsure
    }

    fn acknowledged(&self) -> Next {
        if self.capability.reads_back {
            let due = self.at.plus(self.capability.effective_after);
            let event = Some(Event::Acknowledge);
            return self.go(event, Verb::ReadBack, due, "the target accepted");
        }
        match self.capability.repeat {
            Repeat::Never => alarm(
                Event::HandOver,
                "accepted once; nothing can be read back, so a person must look".to_owned(),
            ),
            _ => done(Event::CannotProve, "accepted; this target cannot be read back"),
        }
    }

    fn lost_sight(&self) -> Next {
        let lost = Some(Event::LoseSight);
        if self.capability.reads_back {
            let due = self.at.plus(self.capability.effective_after.min(SECOND));
            return self.go(lost, Verb::ReadBack, due, "no proof either way: read back first");
        }
        match self.capability.repeat {
            Repeat::Safe if self.may_be_lost_again(Verb::Execute) => {
                let due = self.later(None);
                self.go(lost, Verb::Execute, due, "no proof either way; the call is safe to repeat")
            }
            _ => alarm(
                Event::HandOver,
                "no proof either way and the call must not be repeated".to_owned(),
            ),
        }
    }

    fn after_read_back(&self, answer: &Answer) -> Next {
        let looks = attempts(self.order, Verb::ReadBack);
        let most = LOOKS_MAX.saturating_mul(left(self.order, Verb::Execute).max(1));
        // of the newest call: the lag that the vendor states begins anew with each
        let Order { acknowledged_at, sent_at, claimed_at, .. } = self.order;
        let sent = acknowledged_at.or(*sent_at).max(*claimed_at).unwrap_or(self.asked);
        // Where sight was lost, the delays run from then: nobody knows when it left.
        let lost = self.order.state == State::Unknown;
        let sent = if lost { sent.max(self.order.changed_at) } else { sent };
        let in_time = self.asked.since(sent) < self.patience() && looks < most;
        match answer {
            Answer::Seen { done: true, conclusive: true } if self.order.control == Some(true) => {
                done(Event::Verify, "the read-back agrees, and it saw the state before")
            }
            Answer::Seen { done: true, .. } => done(
                Event::CannotProve,
                "the read-back agrees, but the same probe did not see it alive before",
            ),
            Answer::Seen { .. } if in_time => self.look_again(Verb::ReadBack),
            Answer::Seen { done: false, conclusive: true } => self.repeat_or_give_up(),
            Answer::Seen { .. } => self.cannot_tell(),
            Answer::Fault { fault: Fault::Throttled | Fault::Transient, retry_at }
                if looks < most =>
            {
                let due = self.later(*retry_at);
                self.go(None, Verb::ReadBack, due, "the target could not be asked; again later")
            }
            Answer::Fault { fault: Fault::Indeterminate, .. } if looks < most => {
                let due = self.later(None);
                self.go(None, Verb::ReadBack, due, "no answer to the read-back; again later")
            }
            _ => self.cannot_tell(),
        }
    }

    /// How long after the newest effecting call a read-back may rightly see nothing of it.
    fn patience(&self) -> i64 {
        let Capability { effective_after, read_back_lag, quiet, .. } = self.capability;
        effective_after.saturating_add(read_back_lag).saturating_add(quiet)
    }

    /// One more look within the patience: the looks must outlast lag and quiet together.
    fn look_again(&self, verb: Verb) -> Next {
        let due = self.at.plus((self.patience() / 16).clamp(SECOND / 20, 5 * MINUTE));
        self.go(None, verb, due, "not seen yet; within the stated lag")
    }

    fn may_be_lost_again(&self, verb: Verb) -> bool {
        at_place(&self.order.lost, verb) < LOST_MAX && attempts(self.order, verb) < TRIES_MAX
    }

    /// When an effecting call is sent once more that is not seen to have done anything; never,
    /// where its class says so, or where it was accepted or lost too often. What the target
    /// refused does not count: it is known not to have happened.
    fn once_more(&self, verb: Verb) -> Option<Time> {
        let may = self.capability.repeat != Repeat::Never
            && at_place(&self.order.accepted, verb) < REPEATS_MAX
            && self.may_be_lost_again(verb);
        let lost = at_place(&self.order.lost, verb);
        let pause = lost.checked_sub(1).map_or(0, pause);
        may.then(|| self.at.plus(pause))
    }

    fn repeat_or_give_up(&self) -> Next {
        if let Some(due) = self.once_more(Verb::Execute) {
            let why = "the read-back found it not done: sent again";
            return self.go(Some(Event::Retry), Verb::Execute, due, why);
        }
        let sent = left(self.order, Verb::Execute);
        alarm(Event::GiveUp, format!("the read-back found it not done after {sent} calls"))
    }

    /// The read-back cannot tell done from not done.
    fn cannot_tell(&self) -> Next {
        if self.order.acknowledged_at.is_some() {
            return done(Event::CannotProve, "accepted; the read-back cannot tell");
        }
        let again = self.once_more(Verb::Execute);
        if let Some(due) = again.filter(|_| self.capability.repeat == Repeat::Safe) {
            let why = "nothing can be proved; the call is safe to repeat";
            return self.go(Some(Event::Retry), Verb::Execute, due, why);
        }
        alarm(Event::HandOver, "nobody can tell whether it happened".to_owned())
    }

    fn after_undo(&self, answer: &Answer) -> Next {
        let tries = attempts(self.order, Verb::Undo);
        match answer {
            Answer::Accepted { .. } if self.capability.reads_back => {
                let due = self.at.plus(self.capability.effective_after);
                self.go(None, Verb::ReadBackUndo, due, "the target accepted the inverse")
            }
            Answer::Accepted { .. } => done(Event::UndoVerify, "the target accepted the inverse"),
            Answer::Fault { fault: Fault::Throttled | Fault::Transient, retry_at }
                if tries < TRIES_MAX =>
            {
                let due = self.later(*retry_at);
                self.go(None, Verb::Undo, due, "the inverse did not happen; again later")
            }
            Answer::Fault { fault: Fault::Indeterminate, .. } if self.capability.reads_back => {
                let why = "no proof either way: read back first";
                self.go(None, Verb::ReadBackUndo, self.at.plus(SECOND), why)
            }
            Answer::Fault { fault: Fault::Indeterminate, .. }
                if self.capability.repeat == Repeat::Safe && self.may_be_lost_again(Verb::Undo) =>
            {
                let why = "no proof either way; the inverse is safe to repeat";
                self.go(None, Verb::Undo, self.later(None), why)
            }
            _ => alarm(Event::UndoFail, "the inverse failed".to_owned()),
        }
    }

    fn after_read_back_undo(&self, answer: &Answer) -> Next {
        let looks = attempts(self.order, Verb::ReadBackUndo);
        let sent = left(self.order, Verb::Undo);
        let most = LOOKS_MAX.saturating_mul(sent.max(1));
        // The newest effecting call was the undo: the delays that the vendor states begin anew with
        // each, and where its answer was lost nobody knows when it left.
        let last = self.order.sighted_at.unwrap_or(self.order.changed_at);
        let in_time = self.asked.since(last) < self.patience() && looks < most;
        match answer {
            Answer::Seen { done: true, .. } => {
                done(Event::UndoVerify, "the read-back finds access restored")
            }
            Answer::Seen { done: false, conclusive: true } if in_time => {
                self.look_again(Verb::ReadBackUndo)
            }
            Answer::Seen { done: false, conclusive: true } => {
                if let Some(due) = self.once_more(Verb::Undo) {
                    let why = "the read-back found no change: sent again";
                    return self.go(None, Verb::Undo, due, why);
                }
                let why = format!("the read-back found no change after {sent} calls");
                alarm(Event::UndoFail, why)
            }
            _ if looks < most => {
                let due = self.at.plus(pause(looks));
                self.go(None, Verb::ReadBackUndo, due, "not seen yet; again later")
            }
            _ => alarm(Event::UndoFail, "the inverse cannot be proved".to_owned()),
        }
    }
}

/// The answer that stands for a call whose answer was lost in a crash.
pub fn lost() -> Answer {
    Answer::Fault { fault: Fault::Indeterminate, retry_at: None }
}

/// True for calls that change something at the target: only these are claimed.
pub fn is_effecting(verb: Verb) -> bool {
    matches!(verb, Verb::Execute | Verb::Undo)
}

/// True when an order in this state may be waiting for a call of this verb.
pub fn expects(state: State, verb: Verb) -> bool {
    use State as S;
    match verb {
        Verb::Probe => matches!(state, S::Permitted),
        Verb::Execute => matches!(state, S::Permitted | S::Dispatched | S::Unknown),
        Verb::ReadBack => {
            matches!(state, S::Dispatched | S::Acknowledged | S::Effective | S::Unknown)
        }
        Verb::Undo | Verb::ReadBackUndo => matches!(state, S::Undoing),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::action::Action;
    use crate::id::{CaseId, OrderId};
    use crate::identity::Account;

    #[test]
    fn looks_go_on_until_the_lag_is_over_and_pause_longer_after_faults_alone() {
        let account = Account { provider: "okta".to_owned(), id: "00u1".to_owned(), login: None };
        let (action, on) = (Action::EndSessions, On::Account(account));
        let at = Time(1_000 * SECOND);
        let mut order = Order::planned(OrderId([0; 16]), CaseId([0; 16]), action, on, at);
        order.attempts = [1, 1, 12, 0, 0];
        order.sent_at = Some(at);
        let capability = Capability {
            action,
            repeat: Repeat::Safe,
            reads_back: true,
            effective_after: 0,
            read_back_lag: 120 * SECOND,
            quiet: 0,
            undoes: false,
        };
        let unheard = Answer::Fault { fault: Fault::Transient, retry_at: None };
        for (faults, seconds) in [(1, 2), (2, 4), (5, 32), (9, 300), (39, 300)] {
            order.faults = faults;
            let heard = next(&order, capability, Verb::ReadBack, &unheard, at, at);
            let due = heard.call.map(|(verb, due)| (verb, due.since(at) / SECOND));
            assert_eq!(due, Some((Verb::ReadBack, seconds)), "after {faults}");
        }
        // a look of before the end of the lag, answered after it, is no last word
        let unclear = Answer::Seen { done: false, conclusive: false };
        let late = at.plus(120 * SECOND);
        let early = next(&order, capability, Verb::ReadBack, &unclear, late.plus(-1), late);
        assert_eq!(early.call.map(|(verb, _)| verb), Some(Verb::ReadBack));
        let last = next(&order, capability, Verb::ReadBack, &unclear, late, late);
        assert_eq!(last.call.map(|(verb, _)| verb), Some(Verb::Execute));
    }
}
