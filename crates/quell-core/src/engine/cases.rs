//! Engine room, cases: findings that were raised, changed or withdrawn move cases. What the cases
//! then ask for is planned elsewhere.

use serde_json::{Value, json};

use super::Engine;
use crate::action::Tier;
use crate::case::{Case, CaseState};
use crate::desire;
use crate::finding::{Change, Finding};
use crate::id::{CaseId, FindingId, IdentityId};
use crate::identity::Class;
use crate::order::{Order, State};
use crate::resolve::{Resolution, Subject};

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
        let case = self.home(&finding);
        let kind = if finding.contained { "finding_contained" } else { "finding_raised" };
        self.record_finding(kind, &finding, case);
        let of = self.by_subject.entry(finding.subject.clone()).or_default();
        of.entry(finding.rule.clone()).or_default().insert(finding.id);
        self.page_if_people_must_look(&finding, case);
        self.keep(finding, case);
    }

    fn amend(&mut self, finding: Finding) {
        let case = self.home(&finding);
        self.record_finding("finding_amended", &finding, case);
        let old = self.findings.get(&finding.id);
        let before = old.map(|old| (old.contained, old.tier));
        let (was, is) = (before.map(|(_, tier)| tier), finding.tier);
        if before.is_some_and(|(contained, _)| contained != finding.contained)
            || was.is_none_or(|was| was < Tier::Challenge && is >= Tier::Challenge)
        {
            self.page_if_people_must_look(&finding, case);
        }
        self.keep(finding, case);
    }

    fn keep(&mut self, finding: Finding, case: CaseId) {
        self.page_if_nothing_is_left(&finding, case);
        self.scratch.findings.insert(finding.id);
        self.scratch.replan.insert(case);
        self.scratch.reckon.insert(case);
        self.findings.insert(finding.id, finding);
    }

    fn let_go(&mut self, id: FindingId, kind: &'static str, more: &Value) {
        let case = self.case_of(id);
        let Some(finding) = self.findings.remove(&id) else { return };
        if let Some(of) = self.by_subject.get_mut(&finding.subject) {
            if let Some(all) = of.get_mut(&finding.rule) {
                all.remove(&id);
                if all.is_empty() {
                    of.remove(&finding.rule);
                }
            }
            if of.is_empty() {
                self.by_subject.remove(&finding.subject);
            }
        }
        self.scratch.findings.insert(id);
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
            self.scratch.reckon.insert(open.id);
        }
    }

    /// The live case that holds a finding in force.
    fn case_of(&self, finding: FindingId) -> Option<CaseId> {
        let subject = &self.findings.get(&finding)?.subject;
        let ids = self.cases_of.get(subject)?;
        let holds = |case: &&Case| case.is_live() && case.holds(finding);
        ids.iter().filter_map(|id| self.cases.get(id)).find(holds).map(|case| case.id)
    }

    /// The case of a finding: that within the gap, of several the oldest, into which the others
    /// are merged; else a new one.
    fn home(&mut self, finding: &Finding) -> CaseId {
        let gap = self.config.policy.limits.case_gap;
        let ids = self.cases_of.get(&finding.subject).into_iter().flatten();
        let mut near: Vec<&Case> = ids
            .filter_map(|id| self.cases.get(id))
            .filter(|case| case.is_live())
            .filter(|case| case.reaches(finding, gap) || case.holds(finding.id))
            .collect();
        near.sort_by_key(|case| (case.opened_at, case.id));
        let near: Vec<CaseId> = near.into_iter().map(|case| case.id).collect();
        if near.is_empty()
            && let Some(closed) = self.closed_home(finding)
        {
            return closed;
        }
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
        if let Some(case) = self.cases.get_mut(oldest)
            && case.add(finding)
        {
            self.scratch.cases.insert(*oldest);
        }
        *oldest
    }

    fn merge(&mut self, younger: CaseId, oldest: CaseId) {
        let Some(case) = self.cases.get_mut(&younger) else { return };
        case.state = CaseState::Merged;
        case.merged_into = Some(oldest);
        let (findings, orders) =
            (std::mem::take(&mut case.findings), std::mem::take(&mut case.orders));
        let (first, last) = (case.first_at, case.last_at);
        orders.iter().for_each(|id| self.change(*id, |order| order.case = oldest));
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
        let window = rule.and_then(|r| r.correlation.as_ref()).map(|c| c.shape.span);
        let identity = match &finding.subject {
            Subject::Identity(id) => self.directory.identity(*id),
            Subject::Account { .. } => None,
        };
        let head = self.directory.head();
        let body = json!({
            "finding": finding,
            "case": case,
            "window_us": window,
            "rationale": rule.map(|r| r.rationale.clone()),
            "frameworks": rule.map(|r| r.frameworks.clone()),
            "identity": identity.map(|i| json!({ "key": i.key, "classes": i.classes })),
            "directory": {
                "version": head.version,
                "age_s": self.at.since(head.as_of) / crate::time::SECOND,
            },
            "late_s": self.at.since(finding.last_at) / crate::time::SECOND,
        });
        let mut refs = vec![finding.id.to_string(), case.to_string()];
        // An unresolved account is named by an address, which must not outlive an erasure.
        if let Subject::Identity(id) = &finding.subject {
            refs.push(id.to_string());
        }
        refs.extend(finding.signals.iter().map(|c| c.signal.to_string()));
        self.record(kind, body, refs);
    }

    fn page_if_people_must_look(&mut self, finding: &Finding, case: CaseId) {
        if finding.contained {
            return self.page_if_beyond_containment(finding, case);
        }
        let classes = desire::classes(&self.directory, finding);
        let subject = self.name_of(&finding.subject);
        if classes.contains(&Class::BreakGlass) {
            let text = format!("break-glass account {subject}: {}; not acted on", finding.title);
            self.page("break_glass", Some(case), None, &text);
        } else if finding.tier >= Tier::Challenge {
            let (kind, text) = match &finding.resolution {
                Resolution::Resolved if !classes.is_empty() => return,
                Resolution::Resolved => {
                    ("unclassified_subject", format!("{}: what is {subject}?", finding.title))
                }
                Resolution::Ambiguous(why) | Resolution::Unknown(why) => {
                    let text = format!("{}: whose account is this? {why}", finding.title);
                    ("unresolved_subject", text)
                }
            };
            self.page(kind, Some(case), None, &text);
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

    /// True when a person has an open case that asks for more than watching: what anybody
    /// outside can cause makes nobody suspect. A click under a cold history may be anybody's.
    pub(super) fn is_suspect(&self, id: IdentityId) -> bool {
        let cases = self.cases_of.get(&Subject::Identity(id)).into_iter().flatten();
        let mut live = cases.filter_map(|id| self.cases.get(id)).filter(|case| case.is_live());
        let grave = |finding: &Finding| {
            finding.tier >= Tier::Contain || finding.tier == Tier::Challenge && !finding.cold
        };
        live.any(|case| self.in_force(case).any(grave))
    }

    pub(super) fn in_force<'a>(&'a self, case: &'a Case) -> impl Iterator<Item = &'a Finding> {
        self.on_record(case).filter(|finding| !finding.contained)
    }

    /// The findings in force of a case, and what lies before a containment.
    pub(super) fn on_record<'a>(&'a self, case: &'a Case) -> impl Iterator<Item = &'a Finding> {
        case.findings.iter().filter_map(|id| self.findings.get(id))
    }

    /// The state of a case from its orders.
    pub(super) fn reckon(&mut self, id: CaseId) {
        let Some(case) = self.cases.get(&id).filter(|case| case.is_live()) else { return };
        let orders: Vec<&Order> = case.orders.iter().filter_map(|id| self.orders.get(id)).collect();
        let state = reckoned(&orders);
        if state == case.state {
            return;
        }
        let body = json!({ "case": id, "from": case.state, "to": state });
        if let Some(case) = self.cases.get_mut(&id) {
            case.state = state;
        }
        self.scratch.cases.insert(id);
        self.record("case", body, vec![id.to_string()]);
    }
}

/// Contained means that every act of group contain or above that was taken is done and proved.
fn reckoned(orders: &[&Order]) -> CaseState {
    let acts = || {
        let past = orders.iter().filter(|o| o.action.group() >= Tier::Contain);
        past.filter(|o| !matches!(o.state, State::Cancelled | State::Superseded))
    };
    let ended = |o: &&&Order| matches!(o.state, State::Verified | State::NoChange);
    let open = |o: &&Order| {
        use State as S;
        matches!(
            o.state,
            S::Failed | S::NotEffective | S::NotProvable | S::Partial | S::Manual | S::UndoFailed
        )
    };
    if acts().any(|o| o.state == State::Undoing) {
        CaseState::Recovering
    } else if acts().count() > 0 && acts().all(|o| o.state == State::Undone) {
        CaseState::Recovered
    } else if acts().filter(ended).count() > 0
        && acts().all(|o| o.state.is_final() || o.state == State::AwaitingApproval)
        && !acts().any(open)
    {
        CaseState::Contained
    } else {
        CaseState::Open
    }
}
