//! Engine room, time: what is due when. A timer is never more than what a row says, so that an
//! engine loaded from rows has the same ones.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::Engine;
use crate::case::CaseState;
use crate::effect::{TakeBack, WatchEntry};
use crate::id::{OrderId, WatchId};
use crate::order::{Event, Order, State};
use crate::time::Time;

/// What a timer is for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Alarm {
    /// A watch entry ends.
    Watch(WatchId),
    /// The freeze ends.
    Freeze,
    /// A held order is judged again.
    Held(OrderId),
    /// An approval request runs out.
    Approval(OrderId),
    /// An effect's time to live runs out.
    Undo(OrderId),
}

/// The timers that are set, at most one of each.
#[derive(Debug, Default)]
pub(super) struct Alarms {
    due: BTreeSet<(Time, Alarm)>,
    set: BTreeMap<Alarm, Time>,
}

impl Alarms {
    /// Sets a timer, or takes it away.
    pub(super) fn set(&mut self, alarm: Alarm, at: Option<Time>) {
        if let Some(old) = self.set.remove(&alarm) {
            self.due.remove(&(old, alarm));
        }
        if let Some(at) = at {
            self.set.insert(alarm, at);
            self.due.insert((at, alarm));
        }
    }

    /// The timers of an order, by what its row says.
    pub(super) fn of_order(&mut self, order: &Order) {
        let done = matches!(order.state, State::Verified | State::NotProvable | State::Partial);
        let held = order.held_until.filter(|_| order.state == State::Held);
        let asked = order.approval_until.filter(|_| order.state == State::AwaitingApproval);
        self.set(Alarm::Held(order.id), held);
        self.set(Alarm::Approval(order.id), asked);
        self.set(Alarm::Undo(order.id), order.undo_at.filter(|_| done));
    }

    /// The timer of a watch entry.
    pub(super) fn of_watch(&mut self, entry: &WatchEntry) {
        self.set(Alarm::Watch(entry.id), Some(entry.until));
    }

    /// When the next one is due.
    pub(super) fn first(&self) -> Option<Time> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Takes the next one that is due.
    fn pop(&mut self, at: Time) -> Option<Alarm> {
        let (_, alarm) = self.due.first().filter(|(due, _)| *due <= at).copied()?;
        self.set(alarm, None);
        Some(alarm)
    }
}

impl Engine {
    /// Every timer that is due, in the order of times. What a timer sets anew lies ahead.
    pub(super) fn on_tick(&mut self) {
        let mut due = Vec::new();
        while let Some(alarm) = self.alarms.pop(self.at) {
            due.push(alarm);
        }
        for alarm in due {
            match alarm {
                Alarm::Watch(id) => self.watch_ran_out(id),
                Alarm::Freeze => {
                    let text = "the freeze ran out: held orders are judged again";
                    self.page("freeze_ended", None, None, text);
                    self.thaw();
                }
                Alarm::Held(id) => {
                    self.change(id, |order| order.held_until = None);
                    let case = self.orders.get(&id).map(|order| order.case);
                    self.scratch.replan.extend(case);
                }
                Alarm::Approval(id) => self.approval_ran_out(id),
                Alarm::Undo(id) => self.ttl_ran_out(id),
            }
        }
    }

    fn watch_ran_out(&mut self, id: WatchId) {
        let ended = self.watch.get(&id).filter(|entry| entry.until <= self.at).cloned();
        if let Some(entry) = ended {
            self.unwatch(&entry);
        }
    }

    /// First it escalates, then the step is not done and the case stays open.
    fn approval_ran_out(&mut self, id: OrderId) {
        let until = self.at.plus(self.config.policy.limits.approval);
        let Some(order) = self.orders.get(&id) else { return };
        let (case, action) = (order.case, order.action);
        if order.escalations == 0 {
            self.change(id, |order| {
                order.escalations = 1;
                order.approval_until = Some(until);
            });
            let text = format!("{action} {id}: nobody answered; it lapses at {until}");
            self.page("approval_escalated", Some(case), Some(id), &text);
        } else {
            self.advance(id, Event::Expire, "nobody answered in time", &Value::Null);
            let text = format!("{action} {id} was not done: nobody answered; the case stays open");
            self.page("approval_expired", Some(case), Some(id), &text);
        }
    }

    /// The time to live gives access back only if no finding is open, else it escalates.
    fn ttl_ran_out(&mut self, id: OrderId) {
        let Some(order) = self.orders.get(&id) else { return };
        let (case, ttl, action) = (order.case, order.ttl, order.action);
        let closed = self
            .cases
            .get(&case)
            .is_none_or(|case| case.findings.is_empty() || case.state == CaseState::Closed);
        if closed {
            let take_back = TakeBack {
                order: id,
                by: "quell".to_owned(),
                why: "its time to live ran out and no finding is open".to_owned(),
            };
            self.on_take_back(&take_back);
            return;
        }
        let again = ttl.map(|ttl| self.at.plus(ttl.max(crate::time::MINUTE)));
        self.change(id, |order| order.undo_at = again);
        let text = format!("{action} {id}: its time ran out but findings are open; it stays");
        self.page("ttl_escalated", Some(case), Some(id), &text);
    }
}
