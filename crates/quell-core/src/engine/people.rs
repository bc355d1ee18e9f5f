//! Engine room, people: answers to approval requests, and the freeze. Who a principal is, the
//! control listener has proved; what he may do is said here.

use std::collections::BTreeSet;

use serde_json::json;

use super::Engine;
use super::timers::Alarm;
use crate::authority::Permit;
use crate::effect::{Freeze, Reply};
use crate::id::{CaseId, IdentityId};
use crate::identity::{Identifier, Scheme};
use crate::order::{Event, On, State};
use crate::resolve::{Subject, holders};

impl Engine {
    pub(super) fn on_answer(&mut self, reply: &Reply) {
        let id = reply.order;
        let clean = Reply {
            order: id,
            by: super::plain(&reply.by),
            approve: reply.approve,
            why: super::plain(&reply.why),
        };
        if let Some(why) = self.unfit(reply) {
            let body = json!({ "reply": clean, "refused": why });
            self.record("approval_refused", body, vec![id.to_string()]);
            return;
        }
        let more = json!({ "reply": clean });
        if !reply.approve {
            let why = format!("denied by {}: {}", clean.by, clean.why);
            self.advance(id, Event::Deny, &why, &more);
            return;
        }
        self.change(id, |order| order.approved_by.push(reply.by.clone()));
        let Some(order) = self.orders.get(&id) else { return };
        let by: BTreeSet<String> = order.approved_by.iter().cloned().collect();
        let Some(pending) = order.pending.clone() else { return };
        let (case, action, on) = (order.case, order.action, order.on.clone());
        let body = json!({ "order": id, "reply": clean, "have": by.len() });
        self.record("approved", body, vec![id.to_string(), case.to_string()]);
        let Ok(permit) = Permit::from_approval(&pending, &by) else { return };
        // Since the request, a freeze may have come, or others may have been locked out.
        match self.hindrance(id, action, &on) {
            Some((event, why)) => {
                self.stand(id, event, &format!("approved, but {why}"), &more);
                let text = format!("{action} {id} was approved and is held: {why}");
                self.page("approved_but_held", Some(case), Some(id), &text);
            }
            None => self.permit(id, permit, "approved", &more),
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
        let by = super::plain(&reply.by);
        let persons = self.persons(&reply.by);
        let same = |other: &String| {
            *other == reply.by || self.persons(other).iter().any(|id| persons.contains(id))
        };
        if reply.approve && order.approved_by.iter().any(same) {
            return Some(format!("`{by}` has approved already: two approvals are two persons"));
        }
        self.may_not_decide(&reply.by, order.case, Some(&order.on))
    }

    /// Why somebody has no say in what is done about a case or to an account: it is his own, or
    /// he is under suspicion himself.
    pub(super) fn may_not_decide(&self, by: &str, case: CaseId, on: Option<&On>) -> Option<String> {
        let persons = self.persons(by);
        let subject = self.cases.get(&case).map(|case| &case.subject);
        let owners: BTreeSet<IdentityId> = match on {
            Some(On::Account(account)) => {
                self.directory.owners(account).map(|owner| owner.id).collect()
            }
            Some(On::Entity(_)) | None => BTreeSet::new(),
        };
        let himself =
            |id: &IdentityId| subject == Some(&Subject::Identity(*id)) || owners.contains(id);
        if persons.iter().any(himself) {
            return Some("nobody decides on himself".to_owned());
        }
        let suspect = persons.iter().any(|id| self.is_suspect(*id));
        suspect.then(|| format!("`{}` has an open case", super::plain(by)))
    }

    /// The identities that a control principal may be: by any name of the directory, or by its
    /// key. Several are all meant.
    pub(super) fn persons(&self, name: &str) -> BTreeSet<IdentityId> {
        let mut ids = self.directory.named(name);
        let address = Identifier::new(Scheme::Address, None, name);
        ids.extend(holders(&self.directory, &address, self.at));
        let keyed = IdentityId::of(&self.config.tenant, name);
        ids.extend(self.directory.identity(keyed).map(|identity| identity.id));
        ids
    }

    pub(super) fn on_freeze(&mut self, freeze: &Freeze) {
        let freeze = Freeze {
            by: super::plain(&freeze.by),
            why: super::plain(&freeze.why),
            ..freeze.clone()
        };
        self.record("freeze", json!(freeze), Vec::new());
        if freeze.on {
            self.set_freeze(Some(freeze));
        } else if self.freeze.is_some() {
            self.thaw();
        }
    }

    pub(super) fn set_freeze(&mut self, freeze: Option<Freeze>) {
        let value = freeze.as_ref().and_then(super::state::bytes);
        self.row("freeze", "current".to_owned(), value);
        self.alarms.set(Alarm::Freeze, freeze.as_ref().and_then(|freeze| freeze.until));
        self.freeze = freeze;
    }

    /// Held orders are judged again, and calls that were put aside go on.
    pub(super) fn thaw(&mut self) {
        self.set_freeze(None);
        self.unpark();
        let held = self.index.held.iter().filter_map(|id| self.orders.get(id));
        let cases: Vec<CaseId> = held.map(|order| order.case).collect();
        self.scratch.replan.extend(cases);
    }
}
