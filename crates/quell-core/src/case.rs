//! Cases: the findings and orders of one subject whose episodes lie within the case gap. A
//! bridging finding merges cases; the oldest id stays.

use serde::{Deserialize, Serialize};

use crate::finding::{Containment, Finding};
use crate::id::{CaseId, FindingId, OrderId};
use crate::name::names;
use crate::resolve::Subject;
use crate::time::Time;

names! {
    /// Where a case stands.
    CaseState {
        /// Something is still to be done or looked at.
        Open = "open",
        /// Every order of group contain or above is done and proved.
        Contained = "contained",
        /// An undo is on its way.
        Recovering = "recovering",
        /// Everything was undone.
        Recovered = "recovered",
        /// A person closed it.
        Closed = "closed",
        /// It lives on in an older case.
        Merged = "merged",
    }
}

names! {
    /// What a closed case was.
    Disposition {
        /// A real attack.
        True = "true",
        /// No attack: the detection was wrong.
        False = "false",
        /// Real, but harmless or permitted.
        Benign = "benign",
        /// Nobody knows.
        Unsure = "unsure",
    }
}

/// One case.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Case {
    /// See [`CaseId::of`].
    pub id: CaseId,
    /// Who it is about.
    pub subject: Subject,
    /// The findings in force, sorted.
    pub findings: Vec<FindingId>,
    /// Its orders, in the order in which they were made.
    pub orders: Vec<OrderId>,
    /// Where it stands.
    pub state: CaseState,
    /// What a closed case was.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub disposition: Option<Disposition>,
    /// When it was closed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub closed_at: Option<Time>,
    /// When it was opened.
    pub opened_at: Time,
    /// The first signal of any of its findings.
    pub first_at: Time,
    /// The last signal of any of its findings.
    pub last_at: Time,
    /// The case in which it lives on.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub merged_into: Option<CaseId>,
    /// The containments that its orders established, in that order.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub containments: Vec<Containment>,
}

impl Case {
    /// Opens a case with its first finding.
    pub fn open(tenant: &str, finding: &Finding, at: Time) -> Self {
        Self {
            id: CaseId::of(tenant, &finding.subject.to_string(), finding.id),
            subject: finding.subject.clone(),
            findings: vec![finding.id],
            orders: Vec::new(),
            state: CaseState::Open,
            disposition: None,
            closed_at: None,
            opened_at: at,
            first_at: finding.first_at,
            last_at: finding.last_at,
            merged_into: None,
            containments: Vec::new(),
        }
    }

    /// True when a finding's episode lies within the gap.
    pub fn reaches(&self, finding: &Finding, gap: i64) -> bool {
        finding.first_at <= self.last_at.plus(gap) && self.first_at <= finding.last_at.plus(gap)
    }

    /// True while findings may join it.
    pub fn is_live(&self) -> bool {
        !matches!(self.state, CaseState::Closed | CaseState::Merged)
    }

    /// True when the finding is one of its.
    pub fn holds(&self, finding: FindingId) -> bool {
        self.findings.binary_search(&finding).is_ok()
    }

    /// Takes a finding in; true when that changed the case.
    pub fn add(&mut self, finding: &Finding) -> bool {
        let before = (self.findings.len(), self.first_at, self.last_at);
        if let Err(place) = self.findings.binary_search(&finding.id) {
            self.findings.insert(place, finding.id);
        }
        self.first_at = self.first_at.min(finding.first_at);
        self.last_at = self.last_at.max(finding.last_at);
        before != (self.findings.len(), self.first_at, self.last_at)
    }

    /// Lets a finding go.
    pub fn remove(&mut self, finding: FindingId) {
        self.findings.retain(|id| *id != finding);
    }
}
