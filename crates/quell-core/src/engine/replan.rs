//! Engine room, planning: what the findings of touched cases ask for against what was ordered.
//! Nothing is repeated: orders are carried over by (case, action, account).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::Engine;
use crate::action::{Action, Tier};
use crate::case::Case;
use crate::desire::{self, Desire, Desires};
use crate::finding::Finding;
use crate::id::{CaseId, FindingId, OrderId};
use crate::identity::Class;
use crate::order::{Event, On, Order, State};
use crate::signal::Reach;
use crate::time::{DAY, MINUTE, Time};

impl Engine {
    /// Plans the touched cases: what the findings in force ask for against what was ordered.
    pub(super) fn replan(&mut self) {
        let mut work = Vec::new();
        for case in std::mem::take(&mut self.scratch.replan) {
            let live = self.cases.get(&case).is_some_and(Case::is_live);
            if !live {
                continue;
            }
            let desires = self.desires(case);
            self.cancel_unwanted(case, &desires);
            work.extend(self.due(case, desires));
        }
        work.sort_by_key(|work| work.rank);
        for work in work {
            self.judge_and_settle(&work);
        }
    }

    /// What the findings of a case ask for, the next tier included where a contained person is
    /// attacked again within a day.
    fn desires(&self, case: CaseId) -> Desires {
        let mut desires = Desires::new();
        let Some(case) = self.cases.get(&case) else { return desires };
        let policy = &self.config.policy;
        for finding in self.in_force(case) {
            let tier = finding.tier;
            desire::add(&mut desires, &self.directory, policy, finding, tier, None);
        }
        for finding in self.in_force(case) {
            if let Some(next) = self.escalation(finding) {
                let why = "the same person is attacked again after a verified containment";
                desire::add(&mut desires, &self.directory, policy, finding, next, Some(why));
            }
        }
        desires
    }

    /// Orders that nobody asks for any more: those that have not left are cancelled; for those
    /// that are done, people are asked about the undo.
    fn cancel_unwanted(&mut self, case: CaseId, desires: &Desires) {
        let ids = self.cases.get(&case).map(|case| case.orders.clone()).unwrap_or_default();
        for id in ids {
            let Some(order) = self.orders.get(&id) else { continue };
            let key = (order.action, order.on.clone());
            if desires.contains_key(&key) || self.is_for_undo(order) {
                continue;
            }
            let done = matches!(order.state, State::Verified | State::NotProvable | State::Partial);
            let done = done && !self.contained_desires(case).contains_key(&key);
            if order.state.waits() {
                self.drop_call(id);
                self.advance(id, Event::Cancel, "no finding in force asks for it", &Value::Null);
            } else if done && !order.ungrounded {
                let (case, action) = (order.case, order.action);
                let undoes = self.capability(action, &order.on).is_some_and(|c| c.undoes);
                self.change(id, |order| order.ungrounded = true);
                if undoes {
                    let text = format!("{action} {id}: its ground was withdrawn; undo it?");
                    self.page("undo_proposed", Some(case), Some(id), &text);
                }
            }
        }
    }

    /// The orders that must be judged: new ones, and waiting ones whose ground changed.
    fn due(&mut self, case: CaseId, desires: Desires) -> Vec<Work> {
        let mut all = Vec::new();
        for ((action, on), desire) in desires {
            let Some(open) = self.cases.get(&case) else { continue };
            let same: Vec<&Order> = open
                .orders
                .iter()
                .filter_map(|id| self.orders.get(id))
                .filter(|order| order.action == action && order.on == on)
                .collect();
            let standing = same.iter().filter(|o| o.state.stands()).max_by_key(|o| o.planned_at);
            let newest = self.newest(&desire, action);
            let id = match standing.filter(|order| !is_spent(order, newest)) {
                Some(order) => {
                    let id = order.id;
                    if !self.carry(id, &desire.findings) {
                        continue;
                    }
                    id
                }
                None if self.is_done_elsewhere(case, action, &on, newest) => continue,
                None => self.plan_order(case, action, on.clone()),
            };
            let rank = self.rank(&desire.findings);
            all.push(Work { rank, order: id, action, on, desire });
        }
        all
    }

    /// The latest signal that asks for the step: for what goes beyond watching, the latest that
    /// takes the person's credential, session or grant.
    fn newest(&self, desire: &Desire, action: Action) -> Option<Time> {
        let findings = desire.findings.iter().filter_map(|id| self.findings.get(id));
        if action.group() == Tier::Observe {
            findings.map(|finding| finding.last_at).max()
        } else {
            findings.filter_map(newest_access).max()
        }
    }

    /// Adds the findings to a standing order; true when it must be judged again.
    fn carry(&mut self, id: OrderId, findings: &BTreeSet<FindingId>) -> bool {
        let Some(order) = self.orders.get(&id) else { return false };
        let judged = order.state.is_judged_again();
        let mut all: BTreeSet<FindingId> = findings.clone();
        if !judged {
            all.extend(order.findings.iter().copied());
        }
        let list: Vec<FindingId> = all.into_iter().collect();
        if list != order.findings || order.ungrounded {
            self.change(id, |order| {
                order.findings = list;
                order.ungrounded = false;
            });
        }
        judged
    }

    /// A new order of the step, numbered by how often the case had it before; a merged case may
    /// bring an order that has the next number already.
    pub(super) fn plan_order(&mut self, case: CaseId, action: Action, on: On) -> OrderId {
        let same = |order: &&Order| order.action == action && order.on == on;
        let before = self.cases.get(&case).into_iter().flat_map(|case| &case.orders);
        let before = before.filter_map(|id| self.orders.get(id)).filter(same).count();
        let mut next = u32::try_from(before).unwrap_or(u32::MAX);
        let key = on.key();
        let id = loop {
            let id = OrderId::of(self.tenant(), case, action.name(), &key, next);
            if !self.orders.contains_key(&id) {
                break id;
            }
            next = next.saturating_add(1);
        };
        self.add_order(Order::planned(id, case, action, on, self.at));
        if let Some(open) = self.cases.get_mut(&case) {
            open.orders.push(id);
        }
        self.scratch.cases.insert(case);
        id
    }

    /// Budgets are spent by rank: class, confidence, and whether an access signal names a
    /// session or successful sign-in. Smaller goes first.
    fn rank(&self, findings: &BTreeSet<FindingId>) -> (u8, u8, u8) {
        let findings = || findings.iter().filter_map(|id| self.findings.get(id));
        let protective = |class: &Class| match class {
            Class::BreakGlass | Class::Privileged => 0,
            Class::HighValue => 1,
            _ => 2,
        };
        let class = findings()
            .flat_map(|f| desire::classes(&self.directory, f))
            .map(|class| protective(&class))
            .min();
        let confidence = findings().map(|f| f.confidence).max().unwrap_or_default();
        let access = findings().flat_map(|f| &f.signals).any(|c| c.kind.reach() == Reach::Access);
        (class.unwrap_or(3), 100_u8.saturating_sub(confidence), u8::from(!access))
    }

    /// The findings that an order rests on, by id.
    pub(super) fn ground(&self, ids: &BTreeSet<FindingId>) -> BTreeMap<FindingId, &Finding> {
        ids.iter().filter_map(|id| self.findings.get(id).map(|f| (*id, f))).collect()
    }
}

/// One order to be judged.
#[derive(Debug)]
pub(super) struct Work {
    rank: (u8, u8, u8),
    pub(super) order: OrderId,
    pub(super) action: Action,
    pub(super) on: On,
    pub(super) desire: Desire,
}

impl Work {
    /// A step that has no order: for the plan.
    pub(super) fn of(action: Action, on: On, desire: Desire) -> Self {
        Self { rank: (0, 0, 0), order: OrderId([0; 16]), action, on, desire }
    }

    /// The same step asked for by these findings alone.
    pub(super) fn narrowed(&self, findings: &BTreeSet<FindingId>) -> Self {
        let desire = Desire { findings: findings.clone(), ..self.desire.clone() };
        Self {
            rank: self.rank,
            order: self.order,
            action: self.action,
            on: self.on.clone(),
            desire,
        }
    }
}

/// True when a standing order no longer answers for a signal this new, so that the step may be
/// ordered once more: a day after it was done or handed to people, ten minutes after it was not
/// done, and at once where there was nothing to do then or it was taken back before.
pub(super) fn is_spent(order: &Order, newest: Option<Time>) -> bool {
    use State as S;
    let Some(newest) = newest else { return false };
    match order.state {
        S::Verified | S::NotProvable | S::Partial | S::Manual => {
            newest.since(order.verified_at.unwrap_or(order.changed_at)) > DAY
        }
        S::Denied | S::Expired | S::Failed | S::NotEffective => {
            newest.since(order.changed_at) > 10 * MINUTE
        }
        S::NoChange | S::Undone => newest > order.changed_at,
        _ => false,
    }
}

/// The latest cited signal that takes the person's credential, session or grant.
pub(super) fn newest_access(finding: &Finding) -> Option<Time> {
    let access = finding.signals.iter().filter(|c| c.kind.reach() == Reach::Access);
    access.map(|c| c.at).max()
}
