//! Engine room, the plan: what the findings in force ask for at one moment, and what authority
//! says to it. A pure view: no budget is spent and no history is looked at, so it is the same
//! for any order of arrival.

use serde::Serialize;

use super::Engine;
use super::replan::Work;
use crate::action::Action;
use crate::authority::Pending;
use crate::case::Case;
use crate::desire::{self, Desires};
use crate::finding::Finding;
use crate::id::FindingId;
use crate::judge::Sentence;
use crate::order::On;
use crate::resolve::Subject;

/// One step of the plan.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
pub struct PlanRow {
    /// Who it is about.
    pub subject: String,
    /// The action.
    pub action: Action,
    /// What it acts on.
    pub on: On,
    /// `autonomous`, `approval` or `never`.
    pub decision: &'static str,
    /// How many approvals it needs.
    pub approvals: u8,
    /// How long the effect would last, microseconds; none while it lasts until it is undone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl: Option<i64>,
    /// Ids of the determining policies.
    pub policies: Vec<String>,
    /// Why.
    pub reason: String,
    /// The findings that ask for it.
    pub findings: Vec<FindingId>,
}

impl Engine {
    /// The plan at the latest `at`, in a stable order.
    pub fn plan(&self) -> Vec<PlanRow> {
        let mut rows = Vec::new();
        for (subject, rules) in &self.by_subject {
            let ids = rules.values().flatten();
            let known = ids.filter_map(|id| self.findings.get(id));
            let findings: Vec<&Finding> = known
                .filter(|finding| !finding.contained && self.closed_home(finding).is_none())
                .collect();
            for cluster in clusters(findings, self.config.policy.limits.case_gap) {
                rows.extend(self.plan_of(subject, &cluster));
            }
        }
        rows.sort();
        rows
    }

    fn plan_of(&self, subject: &Subject, findings: &[&Finding]) -> Vec<PlanRow> {
        let mut desires = Desires::new();
        for finding in findings {
            let policy = &self.config.policy;
            desire::add(&mut desires, &self.directory, policy, finding, finding.tier, None);
        }
        let mut rows = Vec::new();
        for ((action, on), desire) in desires {
            let work = Work::of(action, on.clone(), desire);
            let judgement = self.judge(&work);
            let usual = self.config.policy.limits.ttl.get(&action).copied();
            let (decision, approvals, ttl, policies) = match &judgement.sentence {
                Sentence::Permitted(permit) => {
                    ("autonomous", 0, permit.ttl().or(usual), permit.policies().to_vec())
                }
                Sentence::NeedsApproval(pending) => {
                    let Pending { approvals, ttl, policies, .. } = pending.clone();
                    ("approval", approvals, ttl.or(usual), policies)
                }
                Sentence::Refused => ("never", 0, None, Vec::new()),
            };
            rows.push(PlanRow {
                subject: subject.to_string(),
                action,
                on,
                decision,
                approvals,
                ttl,
                policies,
                reason: judgement.reason,
                findings: work.desire.findings.into_iter().collect(),
            });
        }
        rows
    }
}

/// Findings whose episodes lie within the gap of each other, transitively.
fn clusters(mut findings: Vec<&Finding>, gap: i64) -> Vec<Vec<&Finding>> {
    findings.sort_by_key(|f| (f.first_at, f.id));
    let mut all: Vec<(Case, Vec<&Finding>)> = Vec::new();
    for finding in findings {
        match all.last_mut().filter(|(case, _)| case.reaches(finding, gap)) {
            Some((case, cluster)) => {
                case.add(finding);
                cluster.push(finding);
            }
            None => all.push((Case::open("", finding, finding.first_at), vec![finding])),
        }
    }
    all.into_iter().map(|(_, cluster)| cluster).collect()
}
