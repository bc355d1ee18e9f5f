//! Engine room, containment: when an identity counts as contained, and what a repeat asks for. A
//! containment is never inferred: each of its orders was read back.

use serde_json::json;

use super::Engine;
use super::replan::{is_spent, newest_access};
use crate::action::{Action, Tier};
use crate::desire::{self, Desires};
use crate::finding::{Containment, Finding};
use crate::id::{CaseId, IdentityId, OrderId};
use crate::identity::Account;
use crate::order::{On, Order, State};
use crate::resolve::Subject;
use crate::time::{DAY, Time};

/// Containments of one identity at most: beyond them earlier signals anchor findings as before.
const CONTAINMENTS_MAX: usize = 64;

impl Engine {
    /// The verified containments, by identity.
    pub fn containments(&self) -> impl Iterator<Item = (IdentityId, &Containment)> {
        self.contained.iter().flat_map(|(subject, all)| {
            let id = match subject {
                Subject::Identity(id) => Some(*id),
                Subject::Account { .. } => None,
            };
            all.iter().filter_map(move |containment| Some((id?, containment)))
        })
    }

    /// Puts a verified containment of another engine in force, before any signal is told:
    /// findings are a function of the signals in force and of these.
    pub fn assume(&mut self, identity: IdentityId, containment: Containment) {
        self.keep_containment(&Subject::Identity(identity), containment);
    }

    pub(super) fn keep_containment(&mut self, subject: &Subject, containment: Containment) {
        self.contained.entry(subject.clone()).or_default().push(containment);
    }

    /// A closing order ended: when that closes the last account of the identity, the identity is
    /// contained. What stands now led to it and stays in force.
    pub(super) fn contain(&mut self, id: OrderId) {
        let Some(order) = self.orders.get(&id).filter(|order| closed_at(order).is_some()) else {
            return;
        };
        let case = order.case;
        let Some(Subject::Identity(identity)) = self.cases.get(&case).map(|c| &c.subject) else {
            return;
        };
        let identity = *identity;
        let Some((before, orders)) = self.closed(identity) else { return };
        let subject = Subject::Identity(identity);
        let known = self.contained.get(&subject).map_or(&[][..], Vec::as_slice);
        let newer = known.iter().all(|containment| containment.before < before);
        if !newer || known.len() >= CONTAINMENTS_MAX || before < self.floor(&subject) {
            return;
        }
        let findings = self.by_subject.get(&subject).into_iter().flat_map(|of| of.values());
        let findings = findings.flatten().filter_map(|id| self.findings.get(id));
        let groups = orders.iter().filter_map(|id| self.orders.get(id));
        let group = groups.map(|order| order.action.group()).max().unwrap_or(Tier::Contain);
        let ground = Containment::ground(findings);
        let containment = Containment { before, group, orders, ground };
        let body = json!({
            "case": case, "identity": identity, "before": before, "group": group,
            "orders": containment.orders,
        });
        let mut refs = vec![case.to_string(), identity.to_string()];
        refs.extend(containment.orders.iter().map(OrderId::to_string));
        self.record("contained", body, refs);
        if let Some(case) = self.cases.get_mut(&case) {
            case.containments.push(containment.clone());
        }
        self.scratch.cases.insert(case);
        self.keep_containment(&subject, containment);
    }

    /// When the earliest of an identity's accounts was closed the last time, with the orders
    /// that did it; none while one of them is open, or when nothing was ended at any.
    fn closed(&self, identity: IdentityId) -> Option<(Time, Vec<OrderId>)> {
        let accounts = &self.directory.identity(identity)?.accounts;
        let last = |account: &Account| {
            let all = self.index.on(&account.to_string()).filter_map(|id| self.orders.get(&id));
            all.filter_map(|order| Some((closed_at(order)?, order.id))).max()
        };
        let all: Option<Vec<(Time, OrderId)>> = accounts.iter().map(last).collect();
        let all = all?;
        let before = all.iter().map(|(at, _)| *at).min()?;
        let mut orders: Vec<OrderId> = all.into_iter().map(|(_, id)| id).collect();
        orders.sort_unstable();
        let verified = |id: &OrderId| self.order(*id).is_some_and(|o| o.state == State::Verified);
        orders.iter().any(verified).then_some((before, orders))
    }

    /// Every order of a subject, of all its cases.
    fn orders_of<'a>(&'a self, subject: &Subject) -> impl Iterator<Item = &'a Order> {
        let ids = self.cases_of.get(subject).into_iter().flatten();
        let orders = ids.filter_map(|id| self.cases.get(id)).flat_map(|case| &case.orders);
        orders.filter_map(|id| self.orders.get(id))
    }

    /// True when the subject was attacked again within a day after a step of group contain or
    /// above that is verified, or was accepted and cannot be proved: its effecting call came before
    /// the newest signal that takes access.
    fn is_repeat(&self, finding: &Finding, newest: Time) -> bool {
        self.orders_of(&finding.subject)
            .filter(|order| order.action.group() >= Tier::Contain)
            .filter_map(|order| {
                let accepted = order.acknowledged_at.filter(|_| order.state == State::NotProvable);
                Some((order.claimed_at?, order.verified_at.or(accepted)?))
            })
            .any(|(called, verified)| newest > called && newest.since(verified) <= DAY)
    }

    /// The next tier, which a repeat asks for by approval.
    pub(super) fn escalation(&self, finding: &Finding) -> Option<Tier> {
        let newest = newest_access(finding)?;
        let next = (finding.tier == Tier::Contain).then_some(Tier::Evict)?;
        self.is_repeat(finding, newest).then_some(next)
    }

    /// Beyond evict there is no tier: a repeat is told to people, once for each newer signal.
    pub(super) fn page_if_nothing_is_left(&mut self, finding: &Finding, case: CaseId) {
        let newest = newest_access(finding).filter(|_| finding.tier == Tier::Evict);
        let Some(newest) = newest.filter(|_| !finding.contained) else { return };
        let before = self.findings.get(&finding.id).and_then(newest_access);
        if before.is_none_or(|before| before < newest) && self.is_repeat(finding, newest) {
            let subject = self.name_of(&finding.subject);
            let text = format!("{}: {subject} is attacked again after it", finding.title);
            self.page("attacked_again", Some(case), None, &text);
        }
    }

    /// Something that lies before the containment asks for more than was done: people must know.
    pub(super) fn page_if_beyond_containment(&mut self, finding: &Finding, case: CaseId) {
        let all = self.contained.get(&finding.subject).into_iter().flatten();
        let most = all.map(|containment| containment.group).max();
        if most.is_some_and(|most| finding.tier > most) {
            let (subject, tier) = (self.name_of(&finding.subject), finding.tier);
            let text = format!(
                "{}: became known after {subject} was contained and asks for {tier}",
                finding.title
            );
            self.page("contained_before", Some(case), None, &text);
        }
    }

    /// What would be asked for by what lies before a containment: it asks for nothing new, but
    /// what was done keeps its ground.
    pub(super) fn contained_desires(&self, case: CaseId) -> Desires {
        let mut desires = Desires::new();
        let Some(case) = self.cases.get(&case) else { return desires };
        for finding in self.on_record(case).filter(|finding| finding.contained) {
            let policy = &self.config.policy;
            desire::add(&mut desires, &self.directory, policy, finding, finding.tier, None);
        }
        desires
    }

    /// True when another case of the subject has the step verified within a day: the same step
    /// is not ordered again.
    pub(super) fn is_done_elsewhere(
        &self,
        case: CaseId,
        action: Action,
        on: &On,
        newest: Option<Time>,
    ) -> bool {
        let Some(subject) = self.cases.get(&case).map(|case| &case.subject) else { return false };
        action.group() >= Tier::Contain
            && self.orders_of(subject).any(|order| {
                let other = order.case != case && order.state == State::Verified;
                other && order.action == action && order.on == *on && !is_spent(order, newest)
            })
    }
}

/// When what an account gave was ended by the order: at the claim of its effecting call, or when
/// it was asked for where nothing was left to end.
fn closed_at(order: &Order) -> Option<Time> {
    if !order.action.closes_account() {
        return None;
    }
    match order.state {
        State::Verified => order.claimed_at,
        State::NoChange => Some(order.claimed_at.unwrap_or(order.planned_at)),
        _ => None,
    }
}
