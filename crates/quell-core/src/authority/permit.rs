//! The sealed permit: made only by a ruling of the authority or by a granted approval. It
//! dispatches nothing.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{Question, Verdict};
use crate::action::Action;
use crate::id::Digest;

/// Leave to carry out one step; without it no order is dispatched.
///
/// Nothing outside the core can make one:
///
/// ```compile_fail,E0451
/// use quell_core::action::Action;
/// use quell_core::authority::Permit;
/// use quell_core::id::Digest;
///
/// let forged = Permit {
///     action: Action::Suspend,
///     on: String::new(),
///     policies: Vec::new(),
///     digest: Digest([0; 32]),
///     approvals: 0,
///     ttl: None,
///     approved_by: Default::default(),
/// };
/// ```
///
/// nor through an approval:
///
/// ```compile_fail,E0624
/// # use quell_core::authority::{Pending, Permit};
/// fn forge(pending: &Pending) {
///     let forged = Permit::from_approval(pending, &Default::default());
/// }
/// ```
///
/// nor by reading one:
///
/// ```compile_fail,E0277
/// # use quell_core::authority::Permit;
/// let forged: Permit = serde_json::from_str("{}").unwrap();
/// ```
///
/// while its statements can be read:
///
/// ```
/// # use quell_core::authority::Permit;
/// fn read(permit: &Permit) -> String {
///     format!("{} on {} by {:?}", permit.action(), permit.on(), permit.policies())
/// }
/// ```
#[derive(PartialEq, Eq, Debug, Serialize)]
pub struct Permit {
    action: Action,
    on: String,
    policies: Vec<String>,
    digest: Digest,
    approvals: u8,
    ttl: Option<i64>,
    approved_by: BTreeSet<String>,
}

impl Permit {
    /// Makes the permit that a pending one becomes once enough different people approved.
    ///
    /// The caller has checked that they may: in role, not the subject, without an open case, and
    /// that the policy digest is still the one in force.
    ///
    /// # Errors
    /// [`ApprovalMissing`] when there are fewer than asked for.
    pub(crate) fn from_approval(
        pending: &Pending,
        by: &BTreeSet<String>,
    ) -> Result<Self, ApprovalMissing> {
        let (have, need) = (by.len(), usize::from(pending.approvals));
        if need == 0 || have < need {
            return Err(ApprovalMissing { have, need });
        }
        Ok(Self {
            action: pending.action,
            on: pending.on.clone(),
            policies: pending.policies.clone(),
            digest: pending.digest,
            approvals: pending.approvals,
            ttl: pending.ttl,
            approved_by: by.clone(),
        })
    }

    /// The action that may be done.
    pub fn action(&self) -> Action {
        self.action
    }

    /// The identity or entity that it may be done to, as [`super::Resource::key`] names it.
    pub fn on(&self) -> &str {
        &self.on
    }

    /// Ids of the determining policies, sorted.
    pub fn policies(&self) -> &[String] {
        &self.policies
    }

    /// The digest of the policy files.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// How many approvals it took.
    pub fn approvals(&self) -> u8 {
        self.approvals
    }

    /// Who approved; empty when nobody had to.
    pub fn approved_by(&self) -> &BTreeSet<String> {
        &self.approved_by
    }

    /// How long the effect may last, microseconds; none sets no limit.
    pub fn ttl(&self) -> Option<i64> {
        self.ttl
    }
}

/// What becomes a permit once people approved; the ledger may keep it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Pending {
    /// The action.
    pub action: Action,
    /// The identity or entity, as [`super::Resource::key`] names it.
    pub on: String,
    /// Ids of the determining policies, sorted.
    pub policies: Vec<String>,
    /// The digest of the policy files; an approval is bound to it.
    pub digest: Digest,
    /// How many different people must approve; at least 1.
    pub approvals: u8,
    /// How long the effect may last, microseconds.
    pub ttl: Option<i64>,
}

/// Fewer people approved than the policy asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{have} of {need} approvals")]
pub struct ApprovalMissing {
    have: usize,
    need: usize,
}

/// What follows for one step.
#[derive(PartialEq, Eq, Debug)]
pub enum Ruling {
    /// It may be done now.
    Permitted(Permit),
    /// It may be done when people approved.
    NeedsApproval(Pending),
    /// It may not: a denial or an error, never a permit.
    Refused(Verdict),
}

/// Turns the joined verdict over all questions of one step into its ruling.
pub(super) fn ruling(verdict: Verdict, questions: &[Question], digest: Digest) -> Ruling {
    let Verdict::Permit { approvals, ttl, policies } = verdict else {
        return Ruling::Refused(verdict);
    };
    let one_step = |first: &&Question| {
        questions.iter().all(|q| q.action == first.action && q.resource == first.resource)
    };
    let Some(first) = questions.first().filter(one_step) else {
        let message = "the questions are not about one step".to_owned();
        return Ruling::Refused(Verdict::Error { message });
    };
    let (action, on) = (first.action, first.resource.key());
    if approvals > 0 {
        return Ruling::NeedsApproval(Pending { action, on, policies, digest, approvals, ttl });
    }
    let approved_by = BTreeSet::new();
    Ruling::Permitted(Permit { action, on, policies, digest, approvals, ttl, approved_by })
}
