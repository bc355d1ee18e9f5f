//! Engine room, calls: what dispatch claims and reports moves an order on. Nothing here judges;
//! a call leaves only for an order that holds a permit.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::Engine;
use crate::action::Action;
use crate::effect::{CallId, Effect};
use crate::id::OrderId;
use crate::identity::{Class, Identity};
use crate::order::{Answer, CLAIMS_MAX, Capability, Event, Fault, On, Order, Outcome, State, Verb};
use crate::progress;
use crate::resolve::Subject;
use crate::time::Time;

/// Characters of a request as an outcome tells it.
const REQUEST_MAX: usize = 1_024;

impl Engine {
    /// Puts the next call of an order into the outbox. An attempt is counted when it is made, so
    /// that no attempt stands in the outbox twice.
    pub(super) fn call(&mut self, id: OrderId, verb: Verb, due: Time) {
        if self.orders.get(&id).is_some_and(|order| self.has_no_target(order)) {
            // Nobody would take it out of the outbox again.
            self.give_up_target(id, &Value::Null);
            return;
        }
        let call = self.orders.get(&id).and_then(|order| progress::call(order, verb, due));
        let Some(call) = call else { return };
        self.change(id, |order| {
            if let Some(count) = order.attempts.get_mut(progress::slot(verb)) {
                *count = call.attempt;
            }
            order.awaits = Some((verb, call.attempt));
        });
        self.scratch.effects.push(Effect::Call(call));
    }

    /// Takes the call of an order out of the outbox; one that is on its way stays awaited.
    pub(super) fn drop_call(&mut self, id: OrderId) {
        let Some(order) = self.orders.get(&id) else { return };
        if let Some((verb, attempt)) = order.awaits.filter(|_| order.claimed.is_none()) {
            self.change(id, |order| order.awaits = None);
            self.scratch.effects.push(Effect::Done(CallId { order: id, verb, attempt }));
        }
    }

    /// Dispatch wants to send an effecting call.
    pub(super) fn on_claim(&mut self, call: CallId) {
        let Some(order) = self.orders.get(&call.order) else {
            self.scratch.effects.push(Effect::Done(call));
            return;
        };
        let state = order.state;
        let fits = order.awaits == Some((call.verb, call.attempt))
            && order.claimed.is_none()
            && progress::is_effecting(call.verb)
            && progress::expects(state, call.verb);
        if !fits {
            // A call that is on its way is over when its outcome is there, not before.
            if order.claimed != Some((call.verb, call.attempt)) {
                self.scratch.effects.push(Effect::Done(call));
            }
            return;
        }
        if call.verb == Verb::Execute {
            if let Some(freeze) = self.freeze.as_ref().filter(|_| !self.is_for_undo(order)) {
                let why = format!("frozen by {}: {}", freeze.by, freeze.why);
                self.put_aside(call, &why);
                return;
            }
            if let Some(why) = self.outdated(call.order) {
                self.judge_again(call.order, why);
                return;
            }
            if let Some(why) = self.untouchable(call.order) {
                self.drop_call(call.order);
                self.advance(call.order, Event::HandOver, &why, &Value::Null);
                let case = self.orders.get(&call.order).map(|order| order.case);
                let text = format!("{} was permitted, but {why}", call.order);
                self.page("order_needs_people", case, Some(call.order), &text);
                return;
            }
            if state == State::Unknown {
                let why = "the call is safe to repeat";
                self.advance(call.order, Event::Retry, why, &Value::Null);
            }
            self.advance(call.order, Event::Claim, "dispatch takes it", &Value::Null);
        }
        let at = self.at;
        self.change(call.order, |order| {
            order.claimed = Some((call.verb, call.attempt));
            if call.verb == Verb::Execute {
                order.claimed_at = Some(at);
            }
            if order.claims.len() >= CLAIMS_MAX {
                order.claims.remove(0);
            }
            order.claims.push(at);
        });
    }

    /// Why the permit of an order does not stand any more: it is bound to the policy, which says
    /// what is armed too, and to the classes that were asked for.
    fn outdated(&self, id: OrderId) -> Option<&'static str> {
        let order = self.orders.get(&id).filter(|order| !self.is_for_undo(order))?;
        if order.policy != self.config.policy.digest.to_string() {
            return Some("the policy changed since the permit");
        }
        let asked: BTreeSet<_> = order.asked.iter().copied().collect();
        let other = self.classes_of(&asked) != order.asked_classes;
        other.then_some("the classes of the identity changed since the permit")
    }

    /// Takes back the permit of an order whose call has not left: it is judged again. One that may
    /// have done something already goes to people.
    fn judge_again(&mut self, id: OrderId, why: &str) {
        self.drop_call(id);
        let Some(order) = self.orders.get(&id) else { return };
        let case = order.case;
        if order.unsure || order.state == State::Unknown {
            self.advance(id, Event::HandOver, why, &Value::Null);
            let text = format!("{id} may have been carried out, and {why}");
            self.page("order_needs_people", Some(case), Some(id), &text);
        } else {
            self.advance(id, Event::Hold, why, &Value::Null);
            self.scratch.replan.insert(case);
        }
    }

    /// True when no target does the step, which is one on an account and no watch entry.
    fn has_no_target(&self, order: &Order) -> bool {
        let on_account = matches!(order.on, On::Account(_)) && order.action != Action::Watch;
        on_account && self.capability(order.action, &order.on).is_none()
    }

    /// Orders under way whose target is not configured any more go to people: no call of theirs
    /// would ever leave.
    pub(super) fn hand_over_orphans(&mut self) {
        let orphan = |order: &&Order| {
            order.awaits.is_some() && order.claimed.is_none() && self.has_no_target(order)
        };
        let orphans: Vec<OrderId> = self.orders.values().filter(orphan).map(|o| o.id).collect();
        for id in orphans {
            self.drop_call(id);
            self.give_up_target(id, &Value::Null);
        }
    }

    /// Why nothing may be sent to the account of an order any more: the directory or the policy
    /// has changed since the permit.
    fn untouchable(&self, order: OrderId) -> Option<String> {
        let On::Account(account) = &self.orders.get(&order)?.on else { return None };
        if let Some(why) = self.config.policy.protected.account(&account.provider, &account.id) {
            return Some(format!("`{account}` is protected: {why}"));
        }
        let owners: Vec<&Identity> = self.directory.owners(account).collect();
        if owners.iter().any(|owner| owner.classes.contains(&Class::BreakGlass)) {
            return Some(format!("`{account}` is a break-glass account by now"));
        }
        let several = owners.len() > 1;
        several.then(|| format!("`{account}` stands at several identities by now"))
    }

    /// True when the account of an order belongs to a break-glass identity that the case is not
    /// about: the finding itself says nothing of it.
    pub(super) fn is_anothers_last_resort(&self, id: OrderId) -> bool {
        let Some(order) = self.orders.get(&id) else { return false };
        let On::Account(account) = &order.on else { return false };
        let subject = self.cases.get(&order.case).map(|case| &case.subject);
        let other = |owner: &&Identity| subject != Some(&Subject::Identity(owner.id));
        let mut others = self.directory.owners(account).filter(other);
        others.any(|owner| owner.classes.contains(&Class::BreakGlass))
    }

    /// A freeze stops a call: an order that never left is held, one that may have left keeps its
    /// place and goes on when the freeze ends.
    fn put_aside(&mut self, call: CallId, why: &str) {
        self.drop_call(call.order);
        if self.orders.get(&call.order).is_some_and(|order| order.state == State::Unknown) {
            self.change(call.order, |order| order.parked = true);
        } else {
            self.advance(call.order, Event::Hold, why, &Value::Null);
        }
    }

    /// The freeze is over: calls that it put aside are due.
    pub(super) fn unpark(&mut self) {
        for id in self.index.parked.clone() {
            self.change(id, |order| order.parked = false);
            self.call(id, Verb::Execute, self.at);
        }
    }

    /// Dispatch gives a claimed call back: it did not leave, because a freeze came in between. The
    /// order stands where it stood before the claim, and waits for the end of the freeze.
    pub(super) fn on_unsent(&mut self, call: CallId) {
        if !self.may_send(call) {
            return;
        }
        let id = call.order;
        self.change(id, |order| {
            order.claimed = None;
            order.awaits = None;
            order.claims.pop();
            if call.verb == Verb::Execute {
                order.claimed_at = order.claims.last().copied();
            }
        });
        self.scratch.effects.push(Effect::Done(call));
        if call.verb != Verb::Execute {
            self.call(id, call.verb, self.at);
            return;
        }
        self.advance(id, Event::GiveBack, "it did not leave: it was stopped", &Value::Null);
        let Some(order) = self.orders.get(&id) else { return };
        let (case, unsure, for_undo) = (order.case, order.unsure, self.is_for_undo(order));
        match self.freeze.as_ref().filter(|_| !for_undo) {
            Some(freeze) => {
                let why = format!("frozen by {}: {}", freeze.by, freeze.why);
                if unsure {
                    let why = "this call did not leave, an earlier one may have";
                    self.advance(id, Event::LoseSight, why, &Value::Null);
                }
                self.put_aside(call, &why);
            }
            None => self.call(id, Verb::Execute, self.at),
        }
        // While it was claimed its ground may have been withdrawn.
        self.scratch.replan.insert(case);
    }

    pub(super) fn on_outcome(&mut self, outcome: &Outcome) {
        let outcome = &bounded(outcome);
        let id = outcome.order;
        let call = CallId { order: id, verb: outcome.verb, attempt: outcome.attempt };
        self.scratch.effects.push(Effect::Done(call));
        let Some(order) = self.orders.get(&id) else { return };
        let awaited = Some((outcome.verb, outcome.attempt));
        let unclaimed = progress::is_effecting(outcome.verb) && order.claimed != awaited;
        if order.awaits != awaited || unclaimed || !progress::expects(order.state, outcome.verb) {
            let refs = vec![id.to_string(), order.case.to_string()];
            self.record("outcome_unexpected", json!(outcome), refs);
            return;
        }
        self.change(id, |order| {
            order.awaits = None;
            order.claimed = None;
        });
        self.learn(outcome);
        let Some(order) = self.orders.get(&id) else { return };
        let due = order.effective_at.is_some_and(|effective| effective <= self.at);
        if order.state == State::Acknowledged && outcome.verb == Verb::ReadBack && due {
            let why = "the time after which it takes effect has passed";
            self.advance(id, Event::TakeEffect, why, &Value::Null);
        }
        let Some(order) = self.orders.get(&id) else { return };
        let Some(capability) = self.capability(order.action, &order.on) else {
            self.give_up_target(id, &json!({ "outcome": outcome }));
            return;
        };
        let asked = outcome.sent_at.unwrap_or(self.at);
        let mut step =
            progress::next(order, capability, outcome.verb, &outcome.answer, asked, self.at);
        if step.event == Some(Event::Retry) && order.state == State::Permitted {
            step.event = None;
        }
        self.conclude(outcome, capability, &step);
    }

    /// The target is not configured any more: nobody can say how it ended.
    fn give_up_target(&mut self, id: OrderId, more: &Value) {
        let Some(order) = self.orders.get(&id) else { return };
        let (case, undoing) = (order.case, order.state == State::Undoing);
        let event = if undoing { Event::UndoFail } else { Event::HandOver };
        let why = "no target does this any more: a person must look";
        self.advance(id, event, why, more);
        self.page("order_needs_people", Some(case), Some(id), &format!("{id}: {why}"));
    }

    /// Keeps what a call told about the order.
    fn learn(&mut self, outcome: &Outcome) {
        let at = self.at;
        let failed = matches!(outcome.answer, Answer::Fault { .. });
        let effecting = progress::is_effecting(outcome.verb);
        self.change(outcome.order, |order| {
            order.faults = if failed { order.faults.saturating_add(1) } else { 0 };
            if effecting && !is_refusal(&outcome.answer) {
                let accepted = matches!(outcome.answer, Answer::Accepted { .. });
                let counts = if accepted { &mut order.accepted } else { &mut order.lost };
                if let Some(count) = counts.get_mut(progress::slot(outcome.verb)) {
                    *count = count.saturating_add(1);
                }
                order.sighted_at = Some(at);
            }
        });
        self.change(outcome.order, |order| match (outcome.verb, &outcome.answer) {
            (Verb::Probe, Answer::Before { alive, snapshot, .. }) => {
                order.control = Some(*alive);
                order.snapshot = snapshot.clone().filter(|text| text.len() <= 4096);
            }
            (Verb::Execute, answer) => {
                let happened = !matches!(
                    answer,
                    Answer::Fault { fault, .. } if *fault != Fault::Indeterminate
                );
                if happened && order.sent_at.is_none() {
                    order.sent_at = outcome.sent_at;
                }
                if let Answer::Accepted { .. } = answer {
                    order.acknowledged_at = Some(at);
                }
            }
            _ => {}
        });
    }

    fn conclude(&mut self, outcome: &Outcome, capability: Capability, step: &progress::Next) {
        let (id, at) = (outcome.order, self.at);
        let done =
            matches!(step.event, Some(Event::Verify | Event::CannotProve | Event::FindPartial));
        self.change(id, |order| {
            if step.event == Some(Event::Acknowledge) {
                order.effective_at = Some(at.plus(capability.effective_after));
            }
            if step.event == Some(Event::Verify) {
                order.verified_at = Some(at);
            }
            order.unsure |= outcome.verb == Verb::Execute
                && matches!(step.event, Some(Event::Acknowledge | Event::LoseSight));
            if done {
                let undoes = order.ttl.filter(|_| capability.undoes);
                order.undo_at = undoes.map(|ttl| at.plus(ttl));
            }
        });
        let more = json!({ "outcome": outcome });
        match step.event {
            Some(event) => self.advance(id, event, &step.reason, &more),
            None => {
                let case = self.orders.get(&id).map(|order| order.case);
                let body = json!({ "order": id, "reason": step.reason, "outcome": outcome });
                let mut refs = vec![id.to_string()];
                refs.extend(case.map(|c| c.to_string()));
                self.record("outcome", body, refs);
            }
        }
        let order = self.orders.get(&id);
        let case = order.map(|order| order.case);
        if step.page {
            let action = order.map_or("step", |order| order.action.name());
            let text = format!("{action} {id}: {}", step.reason);
            self.page("order_needs_people", case, Some(id), &text);
        }
        if let Some((verb, due)) = step.call {
            self.call(id, verb, due);
        }
        if done {
            // Its ground may have been withdrawn while it was on its way.
            self.scratch.replan.extend(case);
        }
    }

    /// A final order may let an undo go on that waited for it.
    pub(super) fn after_final(&mut self, id: OrderId) {
        for undo in self.index.waiting_for(id) {
            self.change(undo, |order| order.undo_after = None);
            if self.orders.get(&undo).is_some_and(|order| order.state == State::Undoing) {
                self.call(undo, Verb::Undo, self.at);
            }
        }
    }

    pub(super) fn on_restarted(&mut self) {
        for order in self.index.claimed.clone() {
            let claimed = self.orders.get(&order).and_then(|order| order.claimed);
            let Some((verb, attempt)) = claimed else { continue };
            let outcome = Outcome {
                order,
                verb,
                attempt,
                answer: progress::lost(),
                sent_at: None,
                request: String::new(),
                status: None,
                vendor_request: None,
                response: None,
                detail: "the engine stopped before the answer was recorded".to_owned(),
            };
            self.on_outcome(&outcome);
        }
    }
}

/// True when the target said that nothing happened.
fn is_refusal(answer: &Answer) -> bool {
    matches!(answer, Answer::Fault { fault, .. } if *fault != Fault::Indeterminate)
}

/// What a target reports goes into records, so it is cut to what they may hold.
fn bounded(outcome: &Outcome) -> Outcome {
    let mut outcome = outcome.clone();
    outcome.request = outcome.request.chars().take(REQUEST_MAX).collect();
    outcome.detail = super::plain(&outcome.detail);
    outcome.response = outcome.response.map(|text| super::plain(&text));
    outcome.vendor_request = outcome.vendor_request.map(|text| super::plain(&text));
    if let Answer::Before { snapshot, .. } = &mut outcome.answer {
        *snapshot = snapshot.take().filter(|text| text.len() <= 4096);
    }
    outcome
}
