//! Engine room, orders: a judged step becomes permitted, held, waiting or refused. Only a permit,
//! taken by value, puts a call into the outbox; what dispatch reports is another room's.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::Engine;
use super::replan::Work;
use crate::action::{Action, Tier};
use crate::authority::{Pending, Permit};
use crate::desire;
use crate::effect::{Effect, WatchEntry};
use crate::history::{Kept, Timeline};
use crate::id::{OrderId, WatchId};
use crate::identity::{Account, Class, Identity};
use crate::judge::{self, Court, Judgement, Sentence};
use crate::order::{Capability, Event, On, Order, State};
use crate::policy::Role;
use crate::progress;
use crate::resolve::Subject;
use crate::time::HOUR;

/// How long an order that a floor holds waits until it is judged again by itself.
const FLOOR_PAUSE: i64 = HOUR;

impl Engine {
    /// Judges one order and moves it accordingly.
    pub(super) fn judge_and_settle(&mut self, work: &Work) {
        let judgement = self.judge(work);
        let tripped = self.tripped(work, &judgement);
        if self.request_stands(work, &judgement, tripped.as_ref()) {
            return;
        }
        let last = self.ground(&work.desire.findings).values().map(|f| f.last_at).max();
        let (at, policy) = (self.at, self.config.policy.digest.to_string());
        let list: Vec<_> = work.desire.findings.iter().copied().collect();
        let known = self.orders.get(&work.order).is_some_and(|order| {
            order.findings == list
                && order.policy == policy
                && last.is_none_or(|last| order.signal_at == last)
        });
        if !known {
            self.change(work.order, |order| {
                order.findings = list;
                order.policy = policy;
                order.signal_at = last.unwrap_or(order.signal_at);
                if order.received_at == crate::time::Time::default() {
                    order.received_at = at;
                }
            });
        }
        let ground = json!({
            "classes": judgement.classes, "ground": judgement.ground,
            "findings": judgement.findings,
        });
        match self.obstacle(work, &judgement) {
            Some((event, why)) => self.stand(work.order, event, &why, &ground),
            None => self.pronounce(work, judgement, tripped.as_ref(), &ground),
        }
    }

    /// True when the approval request that is open still asks the right question. More findings
    /// do not void it; another policy, other classes or a withdrawn finding do, and so does a
    /// finding for which nobody has to be asked.
    fn request_stands(
        &self,
        work: &Work,
        judgement: &Judgement,
        tripped: Option<&Tripped>,
    ) -> bool {
        let Some(order) = self.orders.get(&work.order) else { return false };
        let Some(pending) = &order.pending else { return false };
        let asked: BTreeSet<_> = order.asked.iter().copied().collect();
        let free = matches!(judgement.sentence, Sentence::Permitted(_)) && tripped.is_none();
        if order.state != State::AwaitingApproval
            || free
            || asked.is_empty()
            || !asked.is_subset(&work.desire.findings)
            || order.policy != self.config.policy.digest.to_string()
        {
            return false;
        }
        let narrowed = work.narrowed(&asked);
        let again = self.judge(&narrowed);
        if self.classes_of(&asked) != order.asked_classes
            || matches!(self.obstacle(&narrowed, &again), Some((Event::Refuse, _)))
        {
            return false;
        }
        let tripped = self.tripped(&narrowed, &again);
        let again = weighed(again, tripped.as_ref());
        let same = |new: &Pending| {
            (new.approvals, new.digest, new.ttl, &new.policies)
                == (pending.approvals, pending.digest, pending.ttl, &pending.policies)
        };
        matches!(&again.sentence, Sentence::NeedsApproval(new) if same(new))
    }

    pub(super) fn classes_of(&self, findings: &BTreeSet<crate::id::FindingId>) -> BTreeSet<Class> {
        let findings = findings.iter().filter_map(|id| self.findings.get(id));
        findings.flat_map(|f| desire::classes(&self.directory, f)).collect()
    }

    pub(super) fn judge(&self, work: &Work) -> Judgement {
        let findings = self.ground(&work.desire.findings);
        let Some(first) = findings.values().next() else { return Judgement::baseless() };
        let empty = Timeline::default();
        let timeline = self.timelines.get(&first.subject).unwrap_or(&empty);
        let in_force = |kept: &Kept| self.counts(kept);
        let view = self.view(&first.subject, timeline, &in_force);
        let court = self.court(work.order, &first.subject);
        judge::judge(&court, view, &findings, work.action, &work.on, &work.desire)
    }

    fn court(&self, order: OrderId, subject: &Subject) -> Court<'_> {
        let case = self.orders.get(&order).and_then(|order| self.cases.get(&order.case));
        Court {
            policy: &self.config.policy,
            directory: &self.directory,
            at: self.at,
            case_state: case.map_or("none", |case| case.state.name()),
            watched: case.is_some() && self.is_watched(subject),
            precision: &self.precision,
            blind: self.blind(),
        }
    }

    /// True when an account of the person stands on the watchlist.
    fn is_watched(&self, subject: &Subject) -> bool {
        let Subject::Identity(id) = subject else { return false };
        let accounts = self.directory.identity(*id).map(|identity| identity.accounts.as_slice());
        accounts.unwrap_or_default().iter().any(|account| {
            let id = WatchId::of(&self.config.tenant, "user", &account.to_string());
            self.watch.contains_key(&id)
        })
    }

    /// What stands in the way of an order that is permitted or may become so.
    fn obstacle(&self, work: &Work, judgement: &Judgement) -> Option<(Event, String)> {
        if matches!(judgement.sentence, Sentence::Refused) {
            return Some((Event::Refuse, judgement.reason.clone()));
        }
        let unarmed: Vec<&String> = judgement
            .sources
            .iter()
            .filter(|source| !self.config.policy.armed.is_armed(source, work.action))
            .collect();
        if let Some(source) = unarmed.first() {
            let why = format!("`{source}` is not armed for `{}`: nothing is sent", work.action);
            return Some((Event::Shadow, why));
        }
        if let On::Account(account) = &work.on
            && work.action != Action::Watch
            && self.directory.owners(account).nth(1).is_some()
        {
            let why = format!("`{account}` stands at several identities: a person must look");
            return Some((Event::HandOver, why));
        }
        if let On::Account(account) = &work.on
            && work.action != Action::Watch
            && self.capability(work.action, &work.on).is_none()
        {
            let provider = &account.provider;
            let why = format!("no target does `{}` at `{provider}`: a person must", work.action);
            return Some((Event::HandOver, why));
        }
        self.hindrance(work.order, work.action, &work.on)
    }

    /// What holds a step that may be done: a freeze, or a floor.
    pub(super) fn hindrance(
        &self,
        order: OrderId,
        action: Action,
        on: &On,
    ) -> Option<(Event, String)> {
        if let Some(freeze) = &self.freeze {
            return Some((Event::Hold, format!("frozen by {}: {}", freeze.by, freeze.why)));
        }
        let floor = self.broken_floor(order, action, on)?;
        Some((Event::Hold, floor))
    }

    /// The floor that a lock-out would break: too few people left who can do something.
    fn broken_floor(&self, id: OrderId, action: Action, on: &On) -> Option<String> {
        let On::Account(account) = on else { return None };
        if !action.locks_out() {
            return None;
        }
        let owners: Vec<&Identity> = self.directory.owners(account).collect();
        self.config.policy.limits.floors.iter().find_map(|floor| {
            if !owners.iter().any(|owner| floor.holds(owner)) {
                return None;
            }
            let least = usize::try_from(floor.at_least).unwrap_or(usize::MAX);
            let usable = self
                .directory
                .identities()
                .filter(|i| floor.holds(i) && owners.iter().all(|owner| owner.id != i.id))
                .filter(|i| !self.locked_out(&i.accounts, id))
                .filter(|i| floor.role != Role::Approver || !self.is_suspect(i.id))
                .take(least)
                .count();
            (usable < least).then(|| {
                let role = floor.role;
                format!("it would leave {usable} usable `{role}`, fewer than {least}")
            })
        })
    }

    /// True when another order locks one of the accounts out, or is about to.
    fn locked_out(&self, accounts: &[Account], but: OrderId) -> bool {
        use State as S;
        let names: Vec<String> = accounts.iter().map(Account::to_string).collect();
        let ids = names.iter().flat_map(|name| self.index.on(name));
        ids.filter(|id| *id != but).filter_map(|id| self.orders.get(&id)).any(|order| {
            let gone = matches!(
                order.state,
                S::Permitted
                    | S::Dispatched
                    | S::Acknowledged
                    | S::Unknown
                    | S::Effective
                    | S::Verified
                    | S::NotProvable
                    | S::Partial
                    | S::Undoing
                    | S::UndoFailed
            );
            gone && order.action.locks_out()
        })
    }

    fn pronounce(
        &mut self,
        work: &Work,
        judgement: Judgement,
        tripped: Option<&Tripped>,
        ground: &Value,
    ) {
        let id = work.order;
        if let Some(tripped) = tripped {
            self.tell_of(tripped);
            if work.action.group() == Tier::Observe {
                self.stand(id, Event::Hold, &tripped.why, ground);
                let until = tripped.frees_at;
                self.change(id, |order| order.held_until = Some(until));
                return;
            }
        }
        let classes = self.classes_of(&judgement.findings.iter().copied().collect());
        let (sources, charged) = (judgement.sources.clone(), judgement.classes.clone());
        let judgement = weighed(judgement, tripped);
        let reason = judgement.reason.clone();
        match judgement.sentence {
            Sentence::Permitted(permit) => {
                self.spend(work.action, &sources, &charged);
                self.change(id, |order| {
                    order.asked = judgement.findings;
                    order.asked_classes = classes;
                });
                self.permit(id, permit, &reason, ground);
            }
            Sentence::NeedsApproval(pending) => {
                let until = self.at.plus(self.config.policy.limits.approval);
                let needed = u32::from(pending.approvals);
                self.change(id, |order| {
                    order.pending = Some(pending);
                    order.approvals_needed = needed;
                    order.approved_by.clear();
                    order.approval_until = Some(until);
                    order.escalations = 0;
                    order.asked = judgement.findings;
                    order.asked_classes = classes;
                });
                self.advance(id, Event::AskApproval, &reason, ground);
                self.page_approval(id, needed);
            }
            Sentence::Refused => self.stand(id, Event::Refuse, &reason, ground),
        }
    }

    fn page_approval(&mut self, id: OrderId, needed: u32) {
        let Some(order) = self.orders.get(&id) else { return };
        let (case, action) = (order.case, order.action);
        let subject = self.cases.get(&case).map(|c| c.subject.clone());
        let name = subject.map(|s| self.name_of(&s)).unwrap_or_default();
        let text = format!("{action} for {name} waits for {needed} approval(s): {id}");
        self.page("approval_needed", Some(case), Some(id), &text);
    }

    /// The budget that has no room for the step.
    fn tripped(&self, work: &Work, judgement: &Judgement) -> Option<Tripped> {
        let counters = judgement.sources.iter().flat_map(|source| {
            self.config.policy.limits.counters(work.action, &judgement.classes, source)
        });
        counters.into_iter().find_map(|counter| {
            let spent = self.spent.get(&counter.key);
            let used = spent.map_or(0, |spent| spent.used(self.at, counter.per));
            (used >= u64::from(counter.max)).then(|| Tripped {
                why: format!("the budget `{}` of {} is spent", counter.key, counter.max),
                frees_at: spent.map_or(self.at, |s| s.frees_at(self.at, counter.per)),
                key: counter.key,
                per: counter.per,
            })
        })
    }

    /// People are told once in each window that a budget is spent.
    fn tell_of(&mut self, tripped: &Tripped) {
        let at = self.at;
        let spent = self.spent.entry(tripped.key.clone()).or_default();
        if spent.told.is_some_and(|told| at.since(told) < tripped.per) {
            return;
        }
        spent.told = Some(at);
        self.put_budget(&tripped.key);
        self.page("budget_spent", None, None, &tripped.why);
    }

    fn put_budget(&mut self, key: &str) {
        if let Some(value) = self.spent.get(key).and_then(super::state::bytes) {
            let key = key.to_owned();
            self.scratch.effects.push(Effect::Put { table: "budget", key, value });
        }
    }

    fn spend(&mut self, action: Action, sources: &BTreeSet<String>, classes: &BTreeSet<Class>) {
        let mut charged = BTreeSet::new();
        for source in sources {
            for counter in self.config.policy.limits.counters(action, classes, source) {
                if charged.insert(counter.key.clone()) {
                    self.spent.entry(counter.key.clone()).or_default().spend(self.at, counter.per);
                    self.put_budget(&counter.key);
                }
            }
        }
    }

    /// Moves an order that is not permitted; a repeated verdict changes nothing.
    pub(super) fn stand(&mut self, id: OrderId, event: Event, why: &str, ground: &Value) {
        let Some(order) = self.orders.get(&id) else { return };
        let (case, action, from) = (order.case, order.action, order.state);
        let again =
            from.next(event).is_ok_and(|next| next == from) && order.reason == super::plain(why);
        if !again {
            self.advance(id, event, why, ground);
            if event == Event::HandOver {
                let text = format!("{action} {id}: {why}");
                self.page("order_needs_people", Some(case), Some(id), &text);
            } else if event == Event::Refuse && self.is_anothers_last_resort(id) {
                self.page("break_glass", Some(case), Some(id), &format!("{action} {id}: {why}"));
            }
        }
        if event == Event::Hold && self.freeze.is_none() {
            let until = self.at.plus(FLOOR_PAUSE);
            self.change(id, |order| order.held_until = Some(until));
        }
    }

    /// The only way into the outbox: takes the permit by value.
    pub(super) fn permit(&mut self, id: OrderId, permit: Permit, why: &str, ground: &Value) {
        let Some(order) = self.orders.get(&id) else { return };
        let usual = self.config.policy.limits.ttl.get(&order.action).copied();
        let (action, on) = (order.action, order.on.clone());
        let ttl = permit.ttl().or(usual);
        let more = json!({ "permit": permit, "ground": ground });
        self.advance(id, Event::Permit, why, &more);
        if self.orders.get(&id).is_none_or(|order| order.state != State::Permitted) {
            return;
        }
        let by: Vec<String> = permit.approved_by().iter().cloned().collect();
        self.change(id, |order| {
            order.ttl = ttl;
            order.approved_by = by;
        });
        drop(permit);
        if action == Action::Watch {
            self.put_on_watch(id);
        } else if let Some(capability) = self.capability(action, &on) {
            self.call(id, progress::first(capability), self.at);
        }
    }

    fn put_on_watch(&mut self, id: OrderId) {
        let Some(order) = self.orders.get(&id) else { return };
        let (kind, value) = watched(&order.on);
        let (case, at) = (order.case, self.at);
        let ttl = order.ttl.unwrap_or(self.config.policy.limits.watch_ttl);
        let watch = WatchId::of(&self.config.tenant, &kind, &value);
        let old = self.watch.get(&watch);
        let since = old.map_or(at, |old| old.since);
        let until = old.map_or(at.plus(ttl), |old| old.until.max(at.plus(ttl)));
        let entry = WatchEntry { id: watch, kind, value, case, since, until };
        self.alarms.of_watch(&entry);
        self.watch.insert(watch, entry.clone());
        self.scratch.effects.push(Effect::Watch(entry));
        self.change(id, |order| {
            order.verified_at = Some(at);
            order.control = Some(true);
        });
        self.advance(id, Event::Claim, "the entry is part of this commit", &Value::Null);
        self.advance(id, Event::Verify, "the entry is part of this commit", &Value::Null);
    }

    pub(super) fn capability(&self, action: Action, on: &On) -> Option<Capability> {
        let On::Account(account) = on else { return None };
        let all = self.config.capabilities.get(&account.provider)?;
        all.iter().find(|capability| capability.action == action).copied()
    }

    /// Moves an order and writes its record. An event that does not belong is recorded and
    /// changes nothing.
    pub(super) fn advance(&mut self, id: OrderId, event: Event, why: &str, more: &Value) {
        let Some(order) = self.orders.get(&id) else { return };
        let (from, at) = (order.state, self.at);
        let refs = vec![id.to_string(), order.case.to_string()];
        let to = match from.next(event) {
            Ok(to) => to,
            Err(illegal) => {
                let body = json!({ "order": id, "illegal": illegal.to_string(), "more": more });
                self.record("order_event_refused", body, refs);
                return;
            }
        };
        self.change(id, |order| {
            order.state = to;
            order.reason = super::plain(why);
            order.changed_at = at;
            if from == State::AwaitingApproval && to != from {
                end_request(order, to);
            }
            if to != State::Held {
                order.held_until = None;
            }
        });
        if let Some(order) = self.orders.get(&id) {
            let body = order_body(order, from, event, more);
            self.record("order", body, refs);
        }
        if to.is_final() {
            self.after_final(id);
            self.contain(id);
        }
    }
}

/// A budget without room.
struct Tripped {
    key: String,
    per: i64,
    why: String,
    frees_at: crate::time::Time,
}

/// The judgement as a spent budget leaves it.
fn weighed(judgement: Judgement, tripped: Option<&Tripped>) -> Judgement {
    match tripped {
        Some(tripped) => judge::demand(judgement, 1, &tripped.why),
        None => judgement,
    }
}

/// The approval request is over, whatever came of it. What a permit was asked for stays: the permit
/// is bound to it.
fn end_request(order: &mut Order, to: State) {
    order.pending = None;
    order.approval_until = None;
    order.approved_by.clear();
    if to != State::Permitted {
        order.asked.clear();
        order.asked_classes.clear();
    }
}

fn order_body(order: &Order, from: State, event: Event, more: &Value) -> Value {
    json!({
        "order": order.id, "case": order.case, "action": order.action, "on": order.on,
        "from": from, "to": order.state, "event": event, "reason": order.reason,
        "findings": order.findings, "policy": order.policy, "more": more,
        "received_at": order.received_at, "signal_at": order.signal_at,
        "sent_at": order.sent_at, "acknowledged_at": order.acknowledged_at,
        "effective_at": order.effective_at, "verified_at": order.verified_at,
        "countermeasure": order.action.countermeasure().map(|(id, _)| id),
    })
}

/// How the watchlist names what an order acts on.
pub(super) fn watched(on: &On) -> (String, String) {
    match on {
        On::Account(account) => ("user".to_owned(), account.to_string()),
        On::Entity(entity) => (entity.kind.name().to_owned(), entity.value.clone()),
    }
}
