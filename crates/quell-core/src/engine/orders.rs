//! Engine room, orders: a judged step becomes permitted, held, waiting or refused; what dispatch
//! reports moves it on. Only a permit, taken by value, puts a call into the outbox.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::Engine;
use super::cases::Work;
use crate::action::Action;
use crate::authority::Permit;
use crate::case::CaseState;
use crate::effect::{CallId, Effect, WatchEntry};
use crate::finding::View;
use crate::history::{Kept, Timeline};
use crate::id::{OrderId, WatchId};
use crate::identity::Class;
use crate::judge::{self, Court, Judgement, Sentence};
use crate::order::{Answer, Capability, Event, On, Order, Outcome, State, Verb};
use crate::policy::Role;
use crate::progress;
use crate::resolve::{Resolution, Subject};
use crate::time::Time;

impl Engine {
    /// Judges one order and moves it accordingly.
    pub(super) fn judge_and_settle(&mut self, work: &Work) {
        let Some(order) = self.orders.get(&work.order) else { return };
        if order.state == State::AwaitingApproval && self.same_question(order, work) {
            return;
        }
        let judgement = self.judge(work);
        if let Some(order) = self.orders.get_mut(&work.order) {
            order.findings = work.desire.findings.iter().copied().collect();
            order.policy = self.config.policy.digest.to_string();
        }
        self.note_times(work);
        let ground = json!({
            "classes": judgement.classes, "ground": judgement.ground,
            "findings": judgement.findings,
        });
        match self.obstacle(work, &judgement) {
            Some((event, why)) => self.stand(work.order, event, &why, &ground),
            None => self.pronounce(work, judgement, &ground),
        }
    }

    /// True when the approval request that is open asks the same question: more findings do not
    /// void it, another policy does.
    fn same_question(&self, order: &Order, work: &Work) -> bool {
        let asked: BTreeSet<_> = order.findings.iter().copied().collect();
        order.policy == self.config.policy.digest.to_string()
            && !asked.is_empty()
            && asked.iter().all(|id| work.desire.findings.contains(id))
    }

    pub(super) fn judge(&self, work: &Work) -> Judgement {
        let findings = self.ground(&work.desire.findings);
        let Some(first) = findings.values().next() else {
            let nobody = std::collections::BTreeMap::new();
            let subject = Subject::Account {
                source: String::new(),
                name: crate::identity::Identifier::new(crate::identity::Scheme::Client, None, ""),
            };
            let timeline = Timeline::default();
            let all = |_: &Kept| true;
            let view = self.view(&subject, &timeline, &Resolution::Resolved, &all);
            let court = self.court(work.order);
            return judge::judge(court, view, &nobody, work.action, &work.on, &work.desire);
        };
        let empty = Timeline::default();
        let timeline = self.timelines.get(&first.subject).unwrap_or(&empty);
        let threats = &self.threats;
        let in_force = |kept: &Kept| !super::withdrawn(threats, kept);
        let view = self.view(&first.subject, timeline, &first.resolution, &in_force);
        let court = self.court(work.order);
        judge::judge(court, view, &findings, work.action, &work.on, &work.desire)
    }

    pub(super) fn view<'a>(
        &'a self,
        subject: &'a Subject,
        timeline: &'a Timeline,
        resolution: &'a Resolution,
        in_force: &'a dyn Fn(&Kept) -> bool,
    ) -> View<'a> {
        View {
            tenant: &self.config.tenant,
            subject,
            resolution,
            timeline,
            rules: &self.config.rules,
            bounds: self.config.bounds(),
            in_force,
        }
    }

    fn court(&self, order: OrderId) -> Court<'_> {
        let case = self.orders.get(&order).and_then(|order| self.cases.get(&order.case));
        let watched = case.is_some_and(|case| self.watch.values().any(|w| w.case == case.id));
        Court {
            policy: &self.config.policy,
            directory: &self.directory,
            at: self.at,
            case_state: case.map_or("none", |case| case.state.name()),
            watched,
        }
    }

    fn note_times(&mut self, work: &Work) {
        let last = self.ground(&work.desire.findings).values().map(|f| f.last_at).max();
        let at = self.at;
        if let (Some(order), Some(last)) = (self.orders.get_mut(&work.order), last) {
            order.signal_at = last;
            if order.received_at == Time::default() {
                order.received_at = at;
            }
        }
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
            && self.capability(work.action, &work.on).is_none()
        {
            let provider = &account.provider;
            let why = format!("no target does `{}` at `{provider}`: a person must", work.action);
            return Some((Event::HandOver, why));
        }
        if let Some(freeze) = &self.freeze {
            return Some((Event::Hold, format!("frozen by {}: {}", freeze.by, freeze.why)));
        }
        let floor = self.broken_floor(work)?;
        Some((Event::Hold, floor))
    }

    /// The floor that a lock-out would break: too few people left who can do something.
    fn broken_floor(&self, work: &Work) -> Option<String> {
        let On::Account(account) = &work.on else { return None };
        if !work.action.locks_out() {
            return None;
        }
        let owner = self.directory.owner(account)?;
        let locked = |accounts: &[crate::identity::Account]| {
            self.orders.values().any(|order| {
                let on = matches!(&order.on, On::Account(a) if accounts.contains(a));
                let gone = matches!(
                    order.state,
                    State::Permitted
                        | State::Dispatched
                        | State::Acknowledged
                        | State::Unknown
                        | State::Effective
                        | State::Verified
                        | State::NotProvable
                );
                on && gone && order.action.locks_out() && order.id != work.order
            })
        };
        self.config.policy.limits.floors.iter().find_map(|floor| {
            let has = |role: Role, groups: &BTreeSet<String>| groups.contains(role.name());
            if !has(floor.role, &owner.groups) {
                return None;
            }
            let open = |id| {
                let cases = self.cases_of.get(&Subject::Identity(id));
                cases.into_iter().flatten().filter_map(|c| self.cases.get(c)).any(|c| c.is_live())
            };
            let usable = self
                .directory
                .identities()
                .filter(|i| has(floor.role, &i.groups) && i.id != owner.id)
                .filter(|i| !locked(&i.accounts))
                .filter(|i| floor.role != Role::Approver || !open(i.id))
                .count();
            let left = u32::try_from(usable).unwrap_or(u32::MAX);
            (left < floor.at_least).then(|| {
                let (role, least) = (floor.role, floor.at_least);
                format!("it would leave {left} usable `{role}`, fewer than {least}")
            })
        })
    }

    fn pronounce(&mut self, work: &Work, judgement: Judgement, ground: &Value) {
        let tripped = self.tripped(work, &judgement);
        let judgement = match tripped {
            Some(why) => judge::demand(judgement, 1, &why),
            None => judgement,
        };
        let reason = judgement.reason.clone();
        match judgement.sentence {
            Sentence::Permitted(permit) => {
                self.spend(work, &judgement.sources, &judgement.classes);
                self.permit(work.order, permit, &reason, ground);
            }
            Sentence::NeedsApproval(pending) => {
                let until = self.at.plus(self.config.policy.limits.approval);
                let needed = u32::from(pending.approvals);
                if let Some(order) = self.orders.get_mut(&work.order) {
                    order.pending = Some(pending);
                    order.approvals_needed = needed;
                    order.approved_by.clear();
                    order.approval_until = Some(until);
                    order.escalations = 0;
                }
                self.stand(work.order, Event::AskApproval, &reason, ground);
                self.page_approval(work.order, needed);
            }
            Sentence::Refused => self.stand(work.order, Event::Refuse, &reason, ground),
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
    fn tripped(&self, work: &Work, judgement: &Judgement) -> Option<String> {
        let source = judgement.sources.first()?;
        let limits = &self.config.policy.limits;
        let counters = limits.counters(work.action, &judgement.classes, source);
        counters.into_iter().find_map(|counter| {
            let from = self.at.plus(-counter.per);
            let spent = self.spent.get(&counter.key).map(Vec::as_slice).unwrap_or_default();
            let used = spent.iter().filter(|t| **t > from).count();
            let max = usize::try_from(counter.max).unwrap_or(usize::MAX);
            (used >= max).then(|| format!("the budget `{}` of {max} is spent", counter.key))
        })
    }

    fn spend(&mut self, work: &Work, sources: &BTreeSet<String>, classes: &BTreeSet<Class>) {
        let Some(source) = sources.first() else { return };
        for counter in self.config.policy.limits.counters(work.action, classes, source) {
            let from = self.at.plus(-counter.per);
            let spent = self.spent.entry(counter.key.clone()).or_default();
            spent.retain(|t| *t > from);
            spent.push(self.at);
            if let Some(value) = super::state::bytes(spent) {
                let key = counter.key;
                self.scratch.effects.push(Effect::Put { table: "budget", key, value });
            }
        }
    }

    /// Moves an order that is not permitted; a repeated verdict changes nothing.
    pub(super) fn stand(&mut self, id: OrderId, event: Event, why: &str, ground: &Value) {
        let Some(order) = self.orders.get(&id) else { return };
        let same = order.state.next(event).is_ok_and(|next| next == order.state);
        if same && order.reason == why {
            return;
        }
        self.advance(id, event, why, ground);
    }

    /// The only way into the outbox: takes the permit by value.
    pub(super) fn permit(&mut self, id: OrderId, permit: Permit, why: &str, ground: &Value) {
        let Some(order) = self.orders.get_mut(&id) else { return };
        let usual = self.config.policy.limits.ttl.get(&order.action).copied();
        order.ttl = permit.ttl().or(usual);
        order.pending = None;
        order.approval_until = None;
        order.approved_by = permit.approved_by().iter().cloned().collect();
        let more = json!({ "permit": permit, "ground": ground });
        self.advance(id, Event::Permit, why, &more);
        let Some(order) = self.orders.get(&id) else { return };
        if order.action == Action::Watch {
            self.put_on_watch(id);
            return;
        }
        if let Some(capability) = self.capability(order.action, &order.on) {
            self.call(id, progress::first(capability), self.at);
        }
    }

    fn put_on_watch(&mut self, id: OrderId) {
        let Some(order) = self.orders.get_mut(&id) else { return };
        let (kind, value) = match &order.on {
            On::Account(account) => ("user".to_owned(), account.to_string()),
            On::Entity(entity) => (entity.kind.name().to_owned(), entity.value.clone()),
        };
        let ttl = order.ttl.unwrap_or(self.config.policy.limits.watch_ttl);
        let until = self.at.plus(ttl);
        order.verified_at = Some(self.at);
        order.control = Some(true);
        let case = order.case;
        let watch = WatchId::of(&self.config.tenant, &kind, &value);
        let since = self.watch.get(&watch).map_or(self.at, |old| old.since);
        let until = self.watch.get(&watch).map_or(until, |old| old.until.max(until));
        let entry = WatchEntry { id: watch, kind, value, case, since, until };
        self.timers.insert(until);
        self.watch.insert(watch, entry.clone());
        self.scratch.effects.push(Effect::Watch(entry));
        self.advance(id, Event::Claim, "the entry is part of this commit", &Value::Null);
        self.advance(id, Event::Verify, "the entry is part of this commit", &Value::Null);
    }

    /// Puts the next call of an order into the outbox. An attempt is counted when it is made, so
    /// that no attempt stands in the outbox twice.
    pub(super) fn call(&mut self, id: OrderId, verb: Verb, due: Time) {
        let Some(order) = self.orders.get_mut(&id) else { return };
        let Some(call) = progress::call(order, verb, due) else { return };
        if let Some(count) = order.attempts.get_mut(progress::slot(verb)) {
            *count = call.attempt;
        }
        self.scratch.orders.insert(id);
        self.scratch.effects.push(Effect::Call(call));
    }

    /// Takes the waiting calls of an order out of the outbox.
    pub(super) fn drop_calls(&mut self, id: OrderId) {
        let Some(order) = self.orders.get(&id) else { return };
        for verb in Verb::ALL {
            if progress::expects(order.state, *verb) {
                let attempt = progress::attempts(order, *verb);
                let done = Effect::Done(CallId { order: id, verb: *verb, attempt });
                self.scratch.effects.push(done);
            }
        }
    }

    pub(super) fn capability(&self, action: Action, on: &On) -> Option<Capability> {
        let On::Account(account) = on else { return None };
        let all = self.config.capabilities.get(&account.provider)?;
        all.iter().find(|capability| capability.action == action).copied()
    }

    /// Moves an order and writes its record. An event that does not belong is recorded and
    /// changes nothing.
    pub(super) fn advance(&mut self, id: OrderId, event: Event, why: &str, more: &Value) {
        let Some(order) = self.orders.get_mut(&id) else { return };
        let from = order.state;
        let refs = vec![id.to_string(), order.case.to_string()];
        match from.next(event) {
            Ok(to) => {
                order.state = to;
                order.reason = super::plain(why);
                order.changed_at = self.at;
                let body = json!({
                    "order": id, "case": order.case, "action": order.action, "on": order.on,
                    "from": from, "to": to, "event": event, "reason": order.reason,
                    "findings": order.findings, "policy": order.policy, "more": more,
                    "received_at": order.received_at, "signal_at": order.signal_at,
                    "sent_at": order.sent_at, "acknowledged_at": order.acknowledged_at,
                    "effective_at": order.effective_at, "verified_at": order.verified_at,
                    "countermeasure": order.action.countermeasure().map(|(id, _)| id),
                });
                self.scratch.orders.insert(id);
                self.record("order", body, refs);
                if to.is_final() {
                    self.after_final(id);
                }
            }
            Err(illegal) => {
                let body = json!({ "order": id, "illegal": illegal.to_string(), "more": more });
                self.record("order_event_refused", body, refs);
            }
        }
    }

    /// A final order may complete its case, or let an undo go on that waited for it.
    fn after_final(&mut self, id: OrderId) {
        let waiting: Vec<OrderId> = self
            .orders
            .values()
            .filter(|order| order.undo_after == Some(id) && order.state == State::Undoing)
            .map(|order| order.id)
            .collect();
        for order in waiting {
            if let Some(order) = self.orders.get_mut(&order) {
                order.undo_after = None;
                self.scratch.orders.insert(order.id);
            }
            self.call(order, Verb::Undo, self.at);
        }
        let Some(case) = self.orders.get(&id).map(|order| order.case) else { return };
        self.reckon(case);
    }

    /// The state of a case from its orders.
    pub(super) fn reckon(&mut self, id: crate::id::CaseId) {
        let Some(case) = self.cases.get(&id).filter(|case| case.is_live()) else { return };
        let orders: Vec<&Order> = case.orders.iter().filter_map(|id| self.orders.get(id)).collect();
        let acts = || {
            let past = orders.iter().filter(|o| o.action.group() >= crate::action::Tier::Contain);
            past.filter(|o| !matches!(o.state, State::Cancelled | State::Superseded))
        };
        let ended = |o: &&&Order| matches!(o.state, State::Verified | State::NoChange);
        let state = if acts().any(|o| o.state == State::Undoing) {
            CaseState::Recovering
        } else if acts().count() > 0 && acts().all(|o| o.state == State::Undone) {
            CaseState::Recovered
        } else if acts().filter(ended).count() > 0
            && acts().all(|o| ended(&o) || o.state.is_final() || o.state == State::AwaitingApproval)
            && !acts()
                .any(|o| matches!(o.state, State::Failed | State::NotEffective | State::Manual))
        {
            CaseState::Contained
        } else {
            CaseState::Open
        };
        if state != case.state {
            let body = json!({ "case": id, "from": case.state, "to": state });
            if let Some(case) = self.cases.get_mut(&id) {
                case.state = state;
            }
            self.scratch.cases.insert(id);
            self.record("case", body, vec![id.to_string()]);
        }
    }

    /// Dispatch wants to send an effecting call.
    pub(super) fn on_claim(&mut self, call: CallId) {
        let Some(order) = self.orders.get(&call.order) else {
            self.scratch.effects.push(Effect::Done(call));
            return;
        };
        // After a crash the outbox may still offer an attempt whose answer was given up as lost.
        let fits = progress::expects(order.state, call.verb)
            && progress::is_open(order, call.verb, call.attempt);
        if !fits || order.claimed.is_some() {
            self.scratch.effects.push(Effect::Done(call));
            return;
        }
        if call.verb == Verb::Execute {
            if let Some(freeze) = &self.freeze {
                let why = format!("frozen by {}: {}", freeze.by, freeze.why);
                self.scratch.effects.push(Effect::Done(call));
                if order.state == State::Unknown {
                    return;
                }
                self.advance(call.order, Event::Hold, &why, &Value::Null);
                return;
            }
            if order.state == State::Unknown {
                let why = "the call is safe to repeat";
                self.advance(call.order, Event::Retry, why, &Value::Null);
            }
            let state = self.orders.get(&call.order).map(|order| order.state);
            if state == Some(State::Permitted) {
                self.advance(call.order, Event::Claim, "dispatch takes it", &Value::Null);
            }
        }
        if let Some(order) = self.orders.get_mut(&call.order) {
            order.claimed = Some((call.verb, call.attempt));
            if call.verb == Verb::Execute {
                order.claimed_at = Some(self.at);
            }
            self.scratch.orders.insert(call.order);
        }
    }

    pub(super) fn on_outcome(&mut self, outcome: &Outcome) {
        let call = CallId { order: outcome.order, verb: outcome.verb, attempt: outcome.attempt };
        self.scratch.effects.push(Effect::Done(call));
        let Some(order) = self.orders.get_mut(&outcome.order) else { return };
        let open = progress::is_open(order, outcome.verb, outcome.attempt);
        if !open || !progress::expects(order.state, outcome.verb) {
            let refs = vec![outcome.order.to_string(), order.case.to_string()];
            self.record("outcome_unexpected", json!(outcome), refs);
            return;
        }
        if order.claimed == Some((outcome.verb, outcome.attempt)) {
            order.claimed = None;
        }
        if let Some(answered) = order.answered.get_mut(progress::slot(outcome.verb)) {
            *answered = outcome.attempt;
        }
        self.scratch.orders.insert(outcome.order);
        self.learn(outcome);
        let Some(order) = self.orders.get(&outcome.order) else { return };
        let Some(capability) = self.capability(order.action, &order.on) else { return };
        let asked = outcome.sent_at.unwrap_or(self.at);
        let mut step =
            progress::next(order, capability, outcome.verb, &outcome.answer, asked, self.at);
        if step.event == Some(Event::Retry) && order.state == State::Permitted {
            step.event = None;
        }
        self.conclude(outcome, capability, step);
    }

    /// Keeps what a call told about the order.
    fn learn(&mut self, outcome: &Outcome) {
        let at = self.at;
        let Some(order) = self.orders.get_mut(&outcome.order) else { return };
        order.faults = match outcome.answer {
            Answer::Fault { .. } => order.faults.saturating_add(1),
            _ => 0,
        };
        match (outcome.verb, &outcome.answer) {
            (Verb::Probe, Answer::Before { alive, snapshot, .. }) => {
                order.control = Some(*alive);
                order.snapshot = snapshot.clone().filter(|text| text.len() <= 4096);
            }
            (Verb::Execute, answer) => {
                if order.sent_at.is_none() {
                    order.sent_at = outcome.sent_at;
                }
                if let Answer::Accepted { .. } = answer {
                    order.acknowledged_at = Some(at);
                }
            }
            _ => {}
        }
    }

    fn conclude(&mut self, outcome: &Outcome, capability: Capability, step: progress::Next) {
        let id = outcome.order;
        let at = self.at;
        if let Some(order) = self.orders.get_mut(&id) {
            if step.event == Some(Event::Acknowledge) {
                order.effective_at = Some(at.plus(capability.effective_after));
            }
            if step.event == Some(Event::Verify) {
                order.verified_at = Some(at);
                let undoes = order.ttl.filter(|_| capability.undoes);
                order.undo_at = undoes.map(|ttl| at.plus(ttl));
            }
        }
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
        if step.page {
            let order = self.orders.get(&id);
            let case = order.map(|order| order.case);
            let action = order.map_or("step", |order| order.action.name());
            let text = format!("{action} {id}: {}", step.reason);
            self.page("order_needs_people", case, Some(id), &text);
        }
        if let Some((verb, due)) = step.call {
            self.call(id, verb, due);
        }
    }

    pub(super) fn on_restarted(&mut self) {
        let lost: Vec<(OrderId, Verb, u32)> = self
            .orders
            .values()
            .filter_map(|order| order.claimed.map(|(verb, n)| (order.id, verb, n)))
            .collect();
        for (order, verb, attempt) in lost {
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
