//! Engine room, cases: findings that were raised, changed or withdrawn move cases, and cases
//! ask for steps. Nothing is repeated: orders are carried over by (case, action, account).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::Engine;
use crate::action::{Action, Tier};
use crate::case::{Case, CaseState};
use crate::desire::{self, Desires};
use crate::finding::{Change, Finding};
use crate::id::{CaseId, FindingId, OrderId};
use crate::identity::Class;
use crate::order::{Event, On, Order, State};
use crate::resolve::{Resolution, Subject};
use crate::signal::Reach;
use crate::time::{DAY, Time};

impl Engine {
    pub(super) fn apply(&mut self, change: Change) {
        match change {
            Change::Raised(finding) => self.raise(finding),
            Change::Amended(finding) => self.amend(finding),
            Change::Superseded(old, new) => {
                self.let_go(old, "finding_superseded", &json!({ "by": new }));
            }
            Change::Withdrawn(old) => self.let_go(old, "finding_withdrawn", &Value::Null),
        }
    }

    fn raise(&mut self, finding: Finding) {
        let case = self.attach(&finding);
        self.record_finding("finding_raised", &finding, case);
        self.by_subject.entry(finding.subject.clone()).or_default().insert(finding.id);
        self.scratch.findings.insert(finding.id);
        self.scratch.replan.insert(case);
        self.page_if_people_must_look(&finding, case);
        self.findings.insert(finding.id, finding);
    }

    fn amend(&mut self, finding: Finding) {
        let case = self.case_of(finding.id).unwrap_or_else(|| self.attach(&finding));
        self.record_finding("finding_amended", &finding, case);
        self.scratch.findings.insert(finding.id);
        if let Some(open) = self.cases.get_mut(&case) {
            open.add(&finding);
            self.scratch.cases.insert(case);
        }
        self.scratch.replan.insert(case);
        self.findings.insert(finding.id, finding);
    }

    fn let_go(&mut self, id: FindingId, kind: &'static str, more: &Value) {
        let Some(finding) = self.findings.remove(&id) else { return };
        if let Some(all) = self.by_subject.get_mut(&finding.subject) {
            all.remove(&id);
        }
        self.scratch.findings.insert(id);
        let case = self.case_of(id);
        let body = json!({
            "finding": id, "rule": finding.rule, "subject": finding.subject.to_string(),
            "case": case, "more": more,
        });
        let mut refs = vec![id.to_string()];
        refs.extend(case.map(|c| c.to_string()));
        self.record(kind, body, refs);
        if let Some(open) = case.and_then(|case| self.cases.get_mut(&case)) {
            open.remove(id);
            self.scratch.cases.insert(open.id);
            self.scratch.replan.insert(open.id);
        }
    }

    /// The live case that holds a finding.
    pub(super) fn case_of(&self, finding: FindingId) -> Option<CaseId> {
        let subject = self.findings.get(&finding).map(|f| &f.subject);
        let near = subject.and_then(|s| self.cases_of.get(s));
        let holds = |case: &&Case| case.is_live() && case.findings.contains(&finding);
        match near {
            Some(ids) => ids.iter().filter_map(|id| self.cases.get(id)).find(holds).map(|c| c.id),
            None => self.cases.values().find(holds).map(|case| case.id),
        }
    }

    /// The case of a new finding: one within the gap, the oldest of several, or a new one.
    fn attach(&mut self, finding: &Finding) -> CaseId {
        let gap = self.config.policy.limits.case_gap;
        let ids = self.cases_of.get(&finding.subject).cloned().unwrap_or_default();
        let mut near: Vec<&Case> = ids
            .iter()
            .filter_map(|id| self.cases.get(id))
            .filter(|case| case.is_live() && case.reaches(finding, gap))
            .collect();
        near.sort_by_key(|case| (case.opened_at, case.id));
        let near: Vec<CaseId> = near.into_iter().map(|case| case.id).collect();
        let Some((oldest, younger)) = near.split_first() else {
            let case = Case::open(self.tenant(), finding, self.at);
            let id = case.id;
            let body = json!({ "case": id, "subject": finding.subject.to_string() });
            self.record("case_opened", body, vec![id.to_string()]);
            self.cases_of.entry(finding.subject.clone()).or_default().insert(id);
            self.cases.insert(id, case);
            self.scratch.cases.insert(id);
            return id;
        };
        younger.iter().for_each(|id| self.merge(*id, *oldest));
        if let Some(case) = self.cases.get_mut(oldest) {
            case.add(finding);
        }
        self.scratch.cases.insert(*oldest);
        *oldest
    }

    fn merge(&mut self, younger: CaseId, oldest: CaseId) {
        let Some(case) = self.cases.get_mut(&younger) else { return };
        case.state = CaseState::Merged;
        case.merged_into = Some(oldest);
        let (findings, orders) =
            (std::mem::take(&mut case.findings), std::mem::take(&mut case.orders));
        let (first, last) = (case.first_at, case.last_at);
        for id in &orders {
            if let Some(order) = self.orders.get_mut(id) {
                order.case = oldest;
                self.scratch.orders.insert(*id);
            }
        }
        if let Some(case) = self.cases.get_mut(&oldest) {
            case.findings.extend(findings);
            case.findings.sort_unstable();
            case.findings.dedup();
            case.orders.extend(orders);
            case.first_at = case.first_at.min(first);
            case.last_at = case.last_at.max(last);
        }
        self.scratch.cases.extend([younger, oldest]);
        let body = json!({ "case": younger, "into": oldest });
        self.record("case_merged", body, vec![younger.to_string(), oldest.to_string()]);
    }

    fn record_finding(&mut self, kind: &'static str, finding: &Finding, case: CaseId) {
        let rule = self.config.rules.idx(&finding.rule).and_then(|i| self.config.rules.get(i));
        let window = rule.and_then(|r| r.correlation.as_ref()).map(|(shape, _)| shape.span);
        let identity = match &finding.subject {
            Subject::Identity(id) => self.directory.identity(*id),
            Subject::Account { .. } => None,
        };
        let body = json!({
            "finding": finding,
            "case": case,
            "window_us": window,
            "rationale": rule.map(|r| r.rationale.clone()),
            "frameworks": rule.map(|r| r.frameworks.clone()),
            "identity": identity.map(|i| json!({ "key": i.key, "classes": i.classes })),
            "directory": {
                "version": self.directory.version,
                "age_s": self.at.since(self.directory.as_of) / crate::time::SECOND,
            },
            "late_s": self.at.since(finding.last_at) / crate::time::SECOND,
        });
        let mut refs = vec![finding.id.to_string(), case.to_string()];
        refs.push(finding.subject.to_string());
        refs.extend(finding.signals.iter().map(|c| c.signal.to_string()));
        self.record(kind, body, refs);
    }

    fn page_if_people_must_look(&mut self, finding: &Finding, case: CaseId) {
        let classes = desire::classes(&self.directory, finding);
        let subject = self.name_of(&finding.subject);
        if classes.contains(&Class::BreakGlass) {
            let text = format!("break-glass account {subject}: {}; not acted on", finding.title);
            self.page("break_glass", Some(case), None, &text);
        } else if finding.tier >= Tier::Challenge {
            let why = match &finding.resolution {
                Resolution::Resolved => return,
                Resolution::Ambiguous(why) | Resolution::Unknown(why) => why.clone(),
            };
            let text = format!("{}: whose account is this? {why}", finding.title);
            self.page("unresolved_subject", Some(case), None, &text);
        }
    }

    /// For people: the directory's name and key, never a mail address.
    pub(super) fn name_of(&self, subject: &Subject) -> String {
        match subject {
            Subject::Identity(id) => match self.directory.identity(*id) {
                Some(identity) => format!("`{}` ({})", identity.key, id),
                None => format!("{id}"),
            },
            Subject::Account { source, .. } => format!("an unresolved account of `{source}`"),
        }
    }

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

    fn in_force(&self, case: &Case) -> Vec<&Finding> {
        case.findings.iter().filter_map(|id| self.findings.get(id)).collect()
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
            if let Some(next) = self.escalation(case, finding) {
                let why = "the same person is attacked again after a verified containment";
                desire::add(&mut desires, &self.directory, policy, finding, next, Some(why));
            }
        }
        desires
    }

    fn escalation(&self, case: &Case, finding: &Finding) -> Option<Tier> {
        let newest = newest_access(finding)?;
        let contained = case
            .orders
            .iter()
            .filter_map(|id| self.orders.get(id))
            .filter(|order| order.action.group() >= Tier::Contain)
            .filter_map(|order| order.verified_at)
            .any(|verified| newest > verified && newest.since(verified) <= DAY);
        let next = match finding.tier {
            Tier::Contain => Some(Tier::Evict),
            _ => None,
        };
        next.filter(|_| contained)
    }

    /// Orders that nobody asks for any more: those that have not left are cancelled; for those
    /// that have, people are asked about the undo.
    fn cancel_unwanted(&mut self, case: CaseId, desires: &Desires) {
        let ids = self.cases.get(&case).map(|case| case.orders.clone()).unwrap_or_default();
        for id in ids {
            let Some(order) = self.orders.get(&id) else { continue };
            let wanted = desires.contains_key(&(order.action, order.on.clone()));
            let by_person = order.findings.is_empty();
            if wanted || by_person {
                continue;
            }
            let waiting = matches!(
                order.state,
                State::Planned
                    | State::Refused
                    | State::Shadowed
                    | State::Held
                    | State::AwaitingApproval
                    | State::Permitted
            );
            if waiting {
                self.drop_calls(id);
                self.advance(id, Event::Cancel, "no finding in force asks for it", &Value::Null);
            } else if order.state == State::Verified && !order.reason.starts_with("withdrawn") {
                let text = format!("{} {id}: its ground was withdrawn; undo it?", order.action);
                let (case, order) = (order.case, order.id);
                self.page("undo_proposed", Some(case), Some(order), &text);
                if let Some(order) = self.orders.get_mut(&order) {
                    order.reason = "withdrawn: the undo is proposed".to_owned();
                    self.scratch.orders.insert(id);
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
            let standing = same.iter().find(|order| order.state.stands());
            let newest = desire
                .findings
                .iter()
                .filter_map(|id| self.findings.get(id))
                .filter_map(newest_access)
                .max();
            let outlived = |order: &&&Order| {
                let since = order.verified_at.zip(newest).map(|(v, n)| n.since(v));
                since.is_some_and(|age| age > DAY)
            };
            let id = match standing.filter(|order| !outlived(order)) {
                Some(order) => {
                    let id = order.id;
                    if !self.carry(id, &desire.findings) {
                        continue;
                    }
                    id
                }
                None => self.plan_order(case, action, on.clone(), same.len()),
            };
            let rank = self.rank(&desire.findings);
            all.push(Work { rank, order: id, action, on, desire });
        }
        all
    }

    /// Adds the findings to a standing order; true when it must be judged again.
    fn carry(&mut self, id: OrderId, findings: &BTreeSet<FindingId>) -> bool {
        let Some(order) = self.orders.get_mut(&id) else { return false };
        let mut all: BTreeSet<FindingId> = findings.clone();
        let judged = matches!(
            order.state,
            State::Planned
                | State::Refused
                | State::Shadowed
                | State::Held
                | State::AwaitingApproval
        );
        if !judged {
            all.extend(order.findings.iter().copied());
        }
        let list: Vec<FindingId> = all.into_iter().collect();
        if list != order.findings {
            order.findings = list;
            self.scratch.orders.insert(id);
        }
        judged
    }

    fn plan_order(&mut self, case: CaseId, action: Action, on: On, before: usize) -> OrderId {
        let before = u32::try_from(before).unwrap_or(u32::MAX);
        let mut id = OrderId::of(self.tenant(), case, action.name(), &on.key(), before);
        // A merged case may bring an order that already has this id: count on.
        let mut next = before;
        while self.orders.contains_key(&id) {
            next = next.saturating_add(1);
            id = OrderId::of(self.tenant(), case, action.name(), &on.key(), next);
        }
        let order = Order::planned(id, case, action, on, self.at);
        self.orders.insert(id, order);
        if let Some(open) = self.cases.get_mut(&case) {
            open.orders.push(id);
        }
        self.scratch.cases.insert(case);
        self.scratch.orders.insert(id);
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
    pub(super) desire: desire::Desire,
}

impl Work {
    /// A step that has no order: for the plan.
    pub(super) fn of(action: Action, on: On, desire: desire::Desire) -> Self {
        Self { rank: (0, 0, 0), order: OrderId([0; 16]), action, on, desire }
    }
}

/// The latest cited signal that takes the person's credential, session or grant.
fn newest_access(finding: &Finding) -> Option<Time> {
    let access = finding.signals.iter().filter(|c| c.kind.reach() == Reach::Access);
    access.map(|c| c.at).max()
}
