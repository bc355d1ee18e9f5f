//! Engine room, undo: what was done is taken back. What an attacker made is never restored here.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::Engine;
use super::orders::watched;
use super::timers::Alarm;
use crate::action::Action;
use crate::authority::{Pending, Permit};
use crate::case::Case;
use crate::effect::{Effect, TakeBack, WatchEntry};
use crate::id::{CaseId, OrderId, WatchId};
use crate::order::{Event, On, State, Verb};

impl Engine {
    pub(super) fn on_take_back(&mut self, take_back: &TakeBack) {
        let Some(order) = self.orders.get(&take_back.order) else { return };
        let (id, case, action, on) = (order.id, order.case, order.action, order.on.clone());
        let by = TakeBack {
            order: id,
            by: super::plain(&take_back.by),
            why: super::plain(&take_back.why),
        };
        let more = json!({ "take_back": by });
        let refused = self.unfit_undo(take_back);
        if let Some(why) = refused {
            let body = json!({ "order": id, "refused": why, "take_back": by });
            self.record("undo_refused", body, vec![id.to_string(), case.to_string()]);
            return;
        }
        self.change(id, |order| order.undo_at = None);
        let why = format!("taken back by {}: {}", by.by, by.why);
        self.advance(id, Event::Undo, &why, &more);
        if action == Action::Watch {
            let why = match self.is_asked_by_another(id, &on) {
                true => "the entry stays: another order asks for it",
                false => {
                    self.unwatch_order(&on);
                    "the entry is gone with this commit"
                }
            };
            self.advance(id, Event::UndoVerify, why, &more);
            return;
        }
        match self.end_once_more(action, case, &on) {
            Some(first) => {
                self.change(id, |order| order.undo_after = Some(first));
                self.begin_last_end(&by, first, &on);
            }
            None => self.call(id, Verb::Undo, self.at),
        }
    }

    /// Why an order is not taken back.
    pub fn unfit_undo(&self, take_back: &TakeBack) -> Option<String> {
        let Some(order) = self.orders.get(&take_back.order) else {
            return Some(format!("there is no order `{}`", take_back.order));
        };
        let undoes = order.action == Action::Watch
            || self.capability(order.action, &order.on).is_some_and(|c| c.undoes);
        if !undoes {
            return Some("the target has no inverse for it".to_owned());
        }
        if order.state.next(Event::Undo).is_err() {
            return Some(format!("an order that is `{}` cannot be taken back", order.state));
        }
        self.may_not_decide(&take_back.by, order.case, Some(&order.on))
    }

    /// A block ends nothing: before it is lifted the sessions are ended once more.
    fn end_once_more(&mut self, action: Action, case: CaseId, on: &On) -> Option<OrderId> {
        if action != Action::Suspend {
            return None;
        }
        self.capability(Action::EndSessions, on)?;
        Some(self.plan_order(case, Action::EndSessions, on.clone()))
    }

    fn begin_last_end(&mut self, by: &TakeBack, id: OrderId, on: &On) {
        let pending = Pending {
            action: Action::EndSessions,
            on: on.key(),
            policies: Vec::new(),
            digest: self.config.policy.authority.digest(),
            approvals: 1,
            ttl: None,
        };
        let person: BTreeSet<String> = [by.by.clone()].into();
        if let Ok(permit) = Permit::from_approval(&pending, &person) {
            let why = "sessions end once more before the block is lifted";
            self.permit(id, permit, why, &Value::Null);
        }
    }

    /// True when another order of a live case put the same entry on the watchlist.
    fn is_asked_by_another(&self, id: OrderId, on: &On) -> bool {
        let live = |case: CaseId| self.cases.get(&case).is_some_and(Case::is_live);
        let mut others = self.orders.values().filter(|order| order.id != id && order.on == *on);
        others.any(|o| o.action == Action::Watch && o.state == State::Verified && live(o.case))
    }

    /// Takes an entry off the watchlist.
    fn unwatch_order(&mut self, on: &On) {
        let (kind, value) = watched(on);
        let id = WatchId::of(&self.config.tenant, &kind, &value);
        let Some(entry) = self.watch.get(&id).cloned() else { return };
        self.unwatch(&entry);
    }

    pub(super) fn unwatch(&mut self, entry: &WatchEntry) {
        self.watch.remove(&entry.id);
        self.alarms.set(Alarm::Watch(entry.id), None);
        self.scratch.effects.push(Effect::Unwatch(entry.clone()));
        let refs = vec![entry.id.to_string(), entry.case.to_string()];
        self.record("watch_ended", json!(entry), refs);
    }
}
