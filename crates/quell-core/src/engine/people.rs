//! Engine room, people and time: answers to approval requests, freeze, undo, timers, and what
//! our own credential was seen doing.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::Engine;
use crate::action::Action;
use crate::authority::{Pending, Permit};
use crate::case::CaseState;
use crate::effect::{Effect, Freeze, Reply, TakeBack, WatchEntry};
use crate::id::{CaseId, OrderId};
use crate::identity::{Account, Identifier, Identity, Scheme};
use crate::order::{Event, On, State, Verb};
use crate::resolve::Subject;
use crate::signal::{Kind, Signal};
use crate::time::{HOUR, MINUTE, Time};

/// How far the provider's record of our act may lie from the act as we know it.
const SEEN_WITHIN: i64 = 10 * MINUTE;
/// How long a freeze lasts that sets itself.
const SELF_FREEZE: i64 = 24 * HOUR;

impl Engine {
    pub(super) fn on_answer(&mut self, reply: &Reply) {
        if let Some(why) = self.unfit(reply) {
            let body = json!({
                "order": reply.order, "by": reply.by, "approve": reply.approve, "refused": why,
            });
            self.record("approval_refused", body, vec![reply.order.to_string()]);
            return;
        }
        let more = json!({ "reply": reply });
        if !reply.approve {
            self.drop_pending(reply.order);
            let why = format!("denied by {}: {}", reply.by, reply.why);
            self.advance(reply.order, Event::Deny, &why, &more);
            return;
        }
        let Some(order) = self.orders.get_mut(&reply.order) else { return };
        order.approved_by.push(reply.by.clone());
        let by: BTreeSet<String> = order.approved_by.iter().cloned().collect();
        let Some(pending) = order.pending.clone() else { return };
        let case = order.case;
        self.scratch.orders.insert(reply.order);
        let body = json!({ "order": reply.order, "reply": reply, "have": by.len() });
        let refs = vec![reply.order.to_string(), case.to_string()];
        self.record("approved", body, refs);
        match Permit::from_approval(&pending, &by) {
            Err(_) => {}
            Ok(permit) => match &self.freeze {
                Some(freeze) => {
                    let why = format!("approved, but frozen by {}", freeze.by);
                    self.advance(reply.order, Event::Hold, &why, &more);
                }
                None => self.permit(reply.order, permit, "approved", &more),
            },
        }
    }

    fn drop_pending(&mut self, id: OrderId) {
        if let Some(order) = self.orders.get_mut(&id) {
            order.pending = None;
            order.approval_until = None;
        }
    }

    /// Why an answer does not count.
    pub fn unfit(&self, reply: &Reply) -> Option<String> {
        let Some(order) = self.orders.get(&reply.order) else {
            return Some(format!("there is no order `{}`", reply.order));
        };
        if order.state != State::AwaitingApproval {
            return Some(format!("the order is `{}` and waits for nobody", order.state));
        }
        let Some(pending) = &order.pending else {
            return Some("the order has no open request".to_owned());
        };
        if reply.approve && pending.digest != self.config.policy.authority.digest() {
            return Some("the policy changed since the request: it is judged again".to_owned());
        }
        if reply.approve && order.approved_by.contains(&reply.by) {
            return Some(format!(
                "`{}` has approved already: two approvals are two persons",
                reply.by
            ));
        }
        let person = self.person(&reply.by)?;
        let subject = Subject::Identity(person.id);
        if self.cases.get(&order.case).is_some_and(|case| case.subject == subject) {
            return Some("nobody approves on himself".to_owned());
        }
        let cases = self.cases_of.get(&subject);
        let open = cases.into_iter().flatten().filter_map(|id| self.cases.get(id));
        let suspect = open.filter(|case| case.is_live()).any(|case| !case.orders.is_empty());
        suspect.then(|| format!("`{}` has an open case", reply.by))
    }

    /// The identity behind a control principal, by login or address.
    fn person(&self, name: &str) -> Option<&Identity> {
        let address = Identifier::new(Scheme::Address, None, name);
        let holders = self.directory.holders(&address, self.at);
        holders.first().and_then(|id| self.directory.identity(*id))
    }

    pub(super) fn on_freeze(&mut self, freeze: &Freeze) {
        self.record("freeze", json!(freeze), Vec::new());
        if freeze.on {
            self.timers.extend(freeze.until);
            self.set_freeze(Some(freeze.clone()));
        } else if self.freeze.is_some() {
            self.thaw();
        }
    }

    fn set_freeze(&mut self, freeze: Option<Freeze>) {
        let key = "current".to_owned();
        let row = match freeze.as_ref().and_then(super::state::bytes) {
            Some(value) => Effect::Put { table: "freeze", key, value },
            None => Effect::Delete { table: "freeze", key },
        };
        self.scratch.effects.push(row);
        self.freeze = freeze;
    }

    /// Held orders are judged again.
    fn thaw(&mut self) {
        self.set_freeze(None);
        let held = self.orders.values().filter(|order| order.state == State::Held);
        self.scratch.replan.extend(held.map(|order| order.case).collect::<Vec<CaseId>>());
    }

    pub(super) fn on_take_back(&mut self, take_back: &TakeBack) {
        let Some(order) = self.orders.get(&take_back.order) else { return };
        let (id, case) = (order.id, order.case);
        let more = json!({ "take_back": take_back });
        if order.action == Action::Watch {
            self.advance(id, Event::Undo, "taken back", &more);
            self.unwatch_order(id);
            self.advance(id, Event::UndoVerify, "the entry is gone with this commit", &more);
            return;
        }
        let undoes = self.capability(order.action, &order.on).is_some_and(|c| c.undoes);
        if !undoes {
            let body = json!({ "order": id, "refused": "the target has no inverse for it" });
            self.record("undo_refused", body, vec![id.to_string(), case.to_string()]);
            return;
        }
        if order.state.next(Event::Undo).is_err() {
            let why = format!("an order that is `{}` cannot be taken back", order.state);
            let body = json!({ "order": id, "refused": why });
            self.record("undo_refused", body, vec![id.to_string(), case.to_string()]);
            return;
        }
        let on = order.on.clone();
        let locks_out = order.action.locks_out();
        if let Some(order) = self.orders.get_mut(&id) {
            order.undo_at = None;
        }
        let why = format!("taken back by {}: {}", take_back.by, take_back.why);
        self.advance(id, Event::Undo, &why, &more);
        match self.end_once_more(take_back, case, &on).filter(|_| locks_out) {
            Some(first) => {
                if let Some(order) = self.orders.get_mut(&id) {
                    order.undo_after = Some(first);
                }
                self.begin_last_end(take_back, first, &on);
            }
            None => self.call(id, Verb::Undo, self.at),
        }
    }

    /// A block ends nothing: before it is lifted the sessions are ended once more.
    fn end_once_more(&mut self, by: &TakeBack, case: CaseId, on: &On) -> Option<OrderId> {
        self.capability(Action::EndSessions, on)?;
        let blocked = self.orders.get(&by.order).is_some_and(|o| o.action == Action::Suspend);
        if !blocked {
            return None;
        }
        let before = self.orders.values().filter(|order| {
            order.case == case && order.action == Action::EndSessions && order.on == *on
        });
        let before = u32::try_from(before.count()).unwrap_or(u32::MAX);
        let name = Action::EndSessions.name();
        let id = OrderId::of(&self.config.tenant, case, name, &on.key(), before);
        if self.orders.contains_key(&id) {
            return None;
        }
        let order =
            crate::order::Order::planned(id, case, Action::EndSessions, on.clone(), self.at);
        self.orders.insert(id, order);
        if let Some(open) = self.cases.get_mut(&case) {
            open.orders.push(id);
            self.scratch.cases.insert(case);
        }
        Some(id)
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

    fn unwatch_order(&mut self, id: OrderId) {
        let Some(order) = self.orders.get(&id) else { return };
        let value = match &order.on {
            On::Account(account) => account.to_string(),
            On::Entity(entity) => entity.value.clone(),
        };
        let entry = self.watch.values().find(|entry| entry.value == value).cloned();
        if let Some(entry) = entry {
            self.unwatch(&entry);
        }
    }

    fn unwatch(&mut self, entry: &WatchEntry) {
        self.watch.remove(&entry.id);
        self.scratch.effects.push(Effect::Unwatch(entry.clone()));
        let refs = vec![entry.id.to_string(), entry.case.to_string()];
        self.record("watch_ended", json!(entry), refs);
    }

    pub(super) fn on_tick(&mut self) {
        let at = self.at;
        while self.timers.first().is_some_and(|due| *due <= at) {
            self.timers.pop_first();
        }
        let ended: Vec<WatchEntry> =
            self.watch.values().filter(|entry| entry.until <= at).cloned().collect();
        ended.iter().for_each(|entry| self.unwatch(entry));
        let freeze_over = self.freeze.as_ref().and_then(|f| f.until).is_some_and(|t| t <= at);
        if freeze_over {
            self.page(
                "freeze_ended",
                None,
                None,
                "the freeze ran out: held orders are judged again",
            );
            self.thaw();
        }
        let due = |time: Option<Time>| time.is_some_and(|t| t <= at);
        let waiting: Vec<OrderId> = self
            .orders
            .values()
            .filter(|o| o.state == State::AwaitingApproval && due(o.approval_until))
            .map(|order| order.id)
            .collect();
        waiting.into_iter().for_each(|id| self.approval_ran_out(id));
        let lapsed: Vec<OrderId> = self
            .orders
            .values()
            .filter(|order| due(order.undo_at) && order.state == State::Verified)
            .map(|order| order.id)
            .collect();
        lapsed.into_iter().for_each(|id| self.ttl_ran_out(id));
    }

    /// First it escalates, then the step is not done and the case stays open.
    fn approval_ran_out(&mut self, id: OrderId) {
        let until = self.at.plus(self.config.policy.limits.approval);
        let Some(order) = self.orders.get_mut(&id) else { return };
        let (case, action) = (order.case, order.action);
        if order.escalations == 0 {
            order.escalations = 1;
            order.approval_until = Some(until);
            self.scratch.orders.insert(id);
            let text = format!("{action} {id}: nobody answered; it lapses at {until}");
            self.page("approval_escalated", Some(case), Some(id), &text);
        } else {
            self.drop_pending(id);
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
        let again = ttl.map(|ttl| self.at.plus(ttl));
        if let Some(order) = self.orders.get_mut(&id) {
            order.undo_at = again;
            self.scratch.orders.insert(id);
        }
        let text = format!("{action} {id}: its time ran out but findings are open; it stays");
        self.page("ttl_escalated", Some(case), Some(id), &text);
    }

    /// What our own credential was seen doing: it verifies an order that names that step,
    /// account and time, or it is misuse.
    pub(super) fn own_event(&mut self, signal: &Signal) {
        let actions: &[Action] = match signal.kind {
            Kind::SessionRevoked => &[
                Action::EndSessions,
                Action::ForceReauth,
                Action::RevokeTokens,
                Action::EndSession,
            ],
            Kind::AccountDisabled => &[Action::Suspend],
            Kind::AccountEnabled => &[Action::Suspend],
            _ => &[],
        };
        let accounts: Vec<Account> = signal
            .about
            .iter()
            .filter(|name| name.scheme == Scheme::AccountId)
            .map(|name| Account {
                provider: name.provider.clone().unwrap_or_default(),
                id: name.value.clone(),
                login: None,
            })
            .collect();
        let t = signal.times.happened.t;
        let ours = self.orders.values().find(|order| {
            let On::Account(on) = &order.on else { return false };
            let same = accounts.iter().any(|a| a.provider == on.provider && a.id == on.id);
            let near = [order.sent_at, Some(order.changed_at), order.acknowledged_at];
            let near = near.iter().flatten().any(|at| t.since(*at).abs() <= SEEN_WITHIN);
            same && near && actions.contains(&order.action) && order.attempts.iter().any(|n| *n > 0)
        });
        if let Some(order) = ours {
            let refs = vec![order.id.to_string(), order.case.to_string(), signal.id.to_string()];
            let body = json!({ "order": order.id, "signal": signal.id, "at": t });
            self.record("order_seen_by_provider", body, refs);
            return;
        }
        // An order in flight whose answer is not recorded yet explains the event as well.
        let in_flight = self.orders.values().any(|order| {
            let On::Account(on) = &order.on else { return false };
            let same = accounts.iter().any(|a| a.provider == on.provider && a.id == on.id);
            same && actions.contains(&order.action) && order.claimed.is_some()
        });
        if in_flight {
            return;
        }
        let body = json!({
            "signal": signal.id, "kind": signal.kind, "source": signal.source,
            "record": signal.record, "at": t,
        });
        self.record("own_credential_misuse", body, vec![signal.id.to_string()]);
        let text = format!("our credential at `{}` acted without an order: frozen", signal.source);
        self.page("own_credential_misuse", None, None, &text);
        if self.freeze.is_none() {
            let until = self.at.plus(SELF_FREEZE);
            self.timers.insert(until);
            self.set_freeze(Some(Freeze {
                on: true,
                until: Some(until),
                by: "quell".to_owned(),
                why: "own credential misuse".to_owned(),
            }));
        }
    }
}
