//! Engine room, erasure: a person is forgotten by the state, the watchlist and the timelines at
//! once; the journal and the evidence follow, and are not this room's. Nothing is sent from here.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::json;

use super::Engine;
use super::timers::Alarm;
use crate::action::Action;
use crate::case::CaseState;
use crate::effect::{CallId, Effect};
use crate::erase::{Erase, Erased, Pending, Trace};
use crate::id::{CaseId, IdentityId, OrderId};
use crate::order::{On, Order, State};
use crate::resolve::{Resolution, Subject};
use crate::signal::Signal;

/// What stands where a name stood.
const GONE: &str = "erased";

impl Engine {
    pub(super) fn on_erase(&mut self, erase: &Erase) {
        let id = erase.identity;
        let refs = vec![id.to_string()];
        let clean =
            Erase { by: super::plain(&erase.by), why: super::plain(&erase.why), ..erase.clone() };
        if let Some(done) = &erase.done {
            let key = id.to_string();
            self.scratch.effects.push(Effect::Delete { table: "erasure", key });
            let body = json!({ "identity": id, "by": clean.by, "why": clean.why, "erased": done });
            return self.record("identity_erased", body, refs);
        }
        if let Some(refused) = self.unfit_erase(erase) {
            let body = json!({ "identity": id, "by": clean.by, "refused": refused });
            return self.record("erasure_refused", body, refs);
        }
        let Some(identity) = self.directory.identity(id) else { return };
        let mut trace = Trace::new(id, self.directory.names_alone(id), &identity.key);
        let subjects = self.subjects_of(&trace);
        let (cases, orders) = self.forget_subjects(&subjects, &mut trace);
        let watched = self.forget_watch(&trace);
        self.directory.erase(id);
        let key = id.to_string();
        self.scratch.effects.push(Effect::Delete { table: "directory", key });
        self.forget_names(&trace);
        self.place_again_as(false, &|signal| trace.redact(signal).map(Arc::new));
        let body = json!({
            "identity": id, "by": clean.by, "why": clean.why, "force": erase.force,
            "cases": cases, "orders": orders, "watch_entries": watched,
        });
        self.record("erasure_asked", body, refs);
        let found = Erased { asked_at: self.at, ..Erased::default() };
        let pending = Pending { ask: clean, trace, frame: Some(0), record: Some(0), found };
        if let Some(value) = super::state::bytes(&pending) {
            let key = id.to_string();
            self.scratch.effects.push(Effect::Put { table: "erasure", key, value });
        }
    }

    /// Why a person is not forgotten now.
    pub fn unfit_erase(&self, erase: &Erase) -> Option<String> {
        if erase.done.is_some() {
            return None;
        }
        let id = erase.identity;
        let Some(identity) = self.directory.identity(id) else {
            return Some(format!("the directory has no `{id}`: nothing tells which names are his"));
        };
        if erase.why.trim().is_empty() {
            return Some("a reason is needed, for the record".to_owned());
        }
        let trace = Trace::new(id, self.directory.names_alone(id), &identity.key);
        let name = identity.name.to_lowercase();
        let told = erase.why.to_lowercase();
        if trace.mentions(&erase.why) || !name.is_empty() && told.contains(&name) {
            return Some("the reason names the person, and would outlive him".to_owned());
        }
        let by = self.persons(&erase.by);
        if by.contains(&id) {
            return Some("nobody decides on himself".to_owned());
        }
        if by.iter().any(|who| self.is_suspect(*who)) {
            return Some(format!("`{}` has an open case", super::plain(&erase.by)));
        }
        self.still_open(&self.subjects_of(&trace), erase.force)
    }

    /// What is not over: a call on its way, an effect that only its order can take back, and,
    /// unless forced, a case that is open or an order that waits.
    fn still_open(&self, subjects: &BTreeSet<Subject>, force: bool) -> Option<String> {
        let ids = subjects.iter().filter_map(|subject| self.cases_of.get(subject)).flatten();
        let cases: Vec<_> = ids.filter_map(|id| self.cases.get(id)).collect();
        let orders = cases.iter().flat_map(|case| &case.orders);
        for order in orders.filter_map(|id| self.orders.get(id)) {
            let (id, state, action) = (order.id, order.state, order.action);
            if self.holds_something(order) {
                return Some(format!("order `{id}` still holds `{action}`: take it back first"));
            }
            if !state.is_final() && (!state.waits() || order.claimed.is_some()) {
                return Some(format!("order `{id}` is `{state}`: it is on its way"));
            }
            if !state.is_final() && !force {
                return Some(format!("order `{id}` is `{state}`: deny it, or force"));
            }
        }
        let open = |state| matches!(state, CaseState::Open | CaseState::Recovering);
        let case = cases.iter().find(|case| open(case.state)).filter(|_| !force)?;
        Some(format!("case `{}` is `{}`: close it, or force", case.id, case.state))
    }

    /// True while something is in force at a provider that only this order can take back.
    fn holds_something(&self, order: &Order) -> bool {
        let done = matches!(
            order.state,
            State::Verified | State::NotProvable | State::Partial | State::UndoFailed
        );
        let undoes = || self.capability(order.action, &order.on).is_some_and(|c| c.undoes);
        done && order.action != Action::Watch && undoes()
    }

    /// The person, and his accounts as the directory had not resolved them.
    fn subjects_of(&self, trace: &Trace) -> BTreeSet<Subject> {
        let known = self.timelines.keys().chain(self.by_subject.keys());
        let known = known.chain(self.cases_of.keys()).chain(self.contained.keys());
        let his = |subject: &&Subject| match subject {
            Subject::Identity(id) => Some(*id) == trace.identity,
            Subject::Account { name, .. } => trace.was_him(name),
        };
        known.filter(his).cloned().collect()
    }

    /// Drops timelines, findings, cases and orders of subjects; their ids go into the trace. Gives
    /// how many cases and orders there were.
    fn forget_subjects(
        &mut self,
        subjects: &BTreeSet<Subject>,
        trace: &mut Trace,
    ) -> (usize, usize) {
        let (mut cases, mut orders) = (0, 0);
        for subject in subjects {
            if let Some(timeline) = self.timelines.remove(subject) {
                timeline.entries().for_each(|kept| self.unlink(subject, kept));
            }
            let findings = self.by_subject.remove(subject).unwrap_or_default();
            for id in findings.into_values().flatten() {
                self.findings.remove(&id);
                self.scratch.findings.insert(id);
                trace.ids.insert(id.to_string());
            }
            for id in self.cases_of.remove(subject).unwrap_or_default() {
                let Some(case) = self.cases.remove(&id) else { continue };
                self.scratch.cases.insert(id);
                trace.ids.insert(id.to_string());
                self.forget_dismissed(id);
                cases += 1;
                for order in case.orders {
                    orders += usize::from(self.forget_order(order));
                    trace.ids.insert(order.to_string());
                }
            }
            self.contained.remove(subject);
        }
        (cases, orders)
    }

    fn forget_order(&mut self, id: OrderId) -> bool {
        let Some(order) = self.orders.remove(&id) else { return false };
        self.index.forget(&order);
        for alarm in [Alarm::Held(id), Alarm::Approval(id), Alarm::Undo(id)] {
            self.alarms.set(alarm, None);
        }
        if let Some((verb, attempt)) = order.awaits {
            self.scratch.effects.push(Effect::Done(CallId { order: id, verb, attempt }));
        }
        self.scratch.orders.insert(id);
        true
    }

    /// Takes what names him off the watchlist; what an attacker used stays.
    fn forget_watch(&mut self, trace: &Trace) -> usize {
        let accounts: BTreeSet<String> = self.accounts_of(trace.identity);
        let his = |kind: &str, value: &str| {
            kind == "user" && accounts.contains(value) || kind != "user" && trace.mentions(value)
        };
        let entries: Vec<_> =
            self.watch.values().filter(|entry| his(&entry.kind, &entry.value)).cloned().collect();
        let count = entries.len();
        for entry in entries {
            self.watch.remove(&entry.id);
            self.alarms.set(Alarm::Watch(entry.id), None);
            self.scratch.effects.push(Effect::Unwatch(entry));
        }
        count
    }

    fn accounts_of(&self, identity: Option<IdentityId>) -> BTreeSet<String> {
        let identity = identity.and_then(|id| self.directory.identity(id));
        let accounts = identity.map(|i| i.accounts.as_slice()).unwrap_or_default();
        accounts.iter().map(ToString::to_string).collect()
    }

    /// Takes his name out of what is about others: cited entities, what signals agree in, reasons,
    /// watched senders.
    fn forget_names(&mut self, trace: &Trace) {
        for finding in self.findings.values_mut() {
            let mut changed = false;
            for cited in &mut finding.signals {
                let before = cited.entities.len();
                cited.entities.retain(|entity| !trace.mentions(&entity.value));
                changed |= cited.entities.len() != before;
            }
            for agreed in finding.group.iter_mut().filter(|agreed| trace.mentions(agreed)) {
                let key = agreed.split_once('=').map_or("", |(key, _)| key);
                *agreed = format!("{key}={GONE}");
                changed = true;
            }
            if let Resolution::Ambiguous(why) | Resolution::Unknown(why) = &mut finding.resolution
                && trace.mentions(why)
            {
                GONE.clone_into(why);
                changed = true;
            }
            if changed {
                self.scratch.findings.insert(finding.id);
            }
        }
        let named = |order: &&Order| match &order.on {
            On::Entity(entity) => trace.mentions(&entity.value),
            On::Account(_) => false,
        };
        let watching: Vec<(OrderId, CaseId)> =
            self.orders.values().filter(named).map(|order| (order.id, order.case)).collect();
        for (id, case) in watching {
            self.forget_order(id);
            if let Some(case) = self.cases.get_mut(&case) {
                case.orders.retain(|order| *order != id);
                self.scratch.cases.insert(case.id);
            }
        }
        for order in self.orders.values_mut() {
            if trace.mentions(&order.reason) {
                GONE.clone_into(&mut order.reason);
                self.scratch.orders.insert(order.id);
            }
        }
    }
}

/// What stands in a signal's place once it is placed again; none for the signal itself.
pub(super) type Instead<'a> = &'a dyn Fn(&Signal) -> Option<Arc<Signal>>;
