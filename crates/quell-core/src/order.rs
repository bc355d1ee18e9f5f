//! Orders: a step on its way, its states as one total function, and what targets report.
//! Nothing here acts; only a permit lets an order leave.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::action::Action;
use crate::id::{CaseId, FindingId, OrderId};
use crate::identity::{Account, Class};
use crate::name::names;
use crate::signal::Entity;
use crate::time::Time;

mod state;

pub use state::{Event, IllegalEvent, State};

/// What a step acts on.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum On {
    /// One login at one provider.
    Account(Account),
    /// Something that is watched.
    Entity(Entity),
}

impl On {
    /// The stable text that ids and serial queues use: `provider:id` or `kind=value`.
    pub fn key(&self) -> String {
        match self {
            Self::Account(account) => account.to_string(),
            Self::Entity(entity) => format!("{}={}", entity.kind, entity.value),
        }
    }
}

names! {
    /// May the effecting call be sent again?
    Repeat {
        /// Yes: a second call changes nothing more.
        Safe = "safe",
        /// Only after a read-back that found the effect absent.
        AfterReadBack = "after_read_back",
        /// Never; without a read-back it is done at most once and ends in `manual`.
        Never = "never",
    }
}

/// What a target can do for one action; stated by the target, constant for its configuration.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Capability {
    /// The action.
    pub action: Action,
    /// May the call be repeated?
    pub repeat: Repeat,
    /// True when a read-back exists that can tell done from not done.
    pub reads_back: bool,
    /// Microseconds from acknowledgement until the effect, as the vendor states it.
    pub effective_after: i64,
    /// Microseconds after the effect during which the read-back may still lag.
    pub read_back_lag: i64,
    /// Microseconds of quiet that the read-back watches before it says "done".
    pub quiet: i64,
    /// True when the inverse exists.
    pub undoes: bool,
}

names! {
    /// One call of dispatch.
    Verb {
        /// Read the state before acting: the positive control and the ground of an undo.
        Probe = "probe",
        /// The effecting call.
        Execute = "execute",
        /// Look whether it is so.
        ReadBack = "read_back",
        /// The inverse of the effecting call.
        Undo = "undo",
        /// Look whether the inverse is so.
        ReadBackUndo = "read_back_undo",
    }
}

names! {
    /// Why a target refused or failed; only `throttled` and `transient` are retried.
    Fault {
        /// 404 on the subject: wrong tenant or id; never a success.
        UnknownSubject = "unknown_subject",
        /// 403: our credential may not.
        NoPermission = "no_permission",
        /// 401: our own credential is broken.
        AuthBroken = "auth_broken",
        /// 429 or a vendor's way to say so.
        Throttled = "throttled",
        /// The account is in a state that does not permit it.
        Precondition = "precondition",
        /// This kind of account cannot have it.
        Unsupported = "unsupported",
        /// 400: our request was wrong.
        BadRequest = "bad_request",
        /// 5xx before anything can have happened, refused connection.
        Transient = "transient",
        /// No answer in time, connection lost after sending, garbage: it may have happened.
        Indeterminate = "indeterminate",
    }
}

/// What one call told; never holds secrets or vendor bodies, only digests of them.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum Answer {
    /// Probe: the state before, and whether the positive control says "alive".
    Before {
        /// The thing to end or change is seen alive by the same probe that will look for it.
        alive: bool,
        /// It is already as wished.
        already: bool,
        /// What an undo needs, canonical JSON text without secrets, at most 4 KiB.
        snapshot: Option<String>,
    },
    /// Execute or undo: the target accepted.
    Accepted {
        /// It was already so: nothing was changed by us.
        already: bool,
    },
    /// Read-back: what is seen now.
    Seen {
        /// The effect is there.
        done: bool,
        /// The probe could see a difference at all (permission, audience, list not capped).
        conclusive: bool,
    },
    /// It did not work, or nobody knows.
    Fault {
        /// The class.
        fault: Fault,
        /// Not before this time; from `Retry-After` and the like, capped at an hour.
        retry_at: Option<Time>,
    },
}

/// What dispatch gives back for one call; an input of the engine.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Outcome {
    /// The order.
    pub order: OrderId,
    /// The call.
    pub verb: Verb,
    /// Which attempt of this verb, from 1.
    pub attempt: u32,
    /// What it told.
    pub answer: Answer,
    /// When the request began to leave; none when it was never sent.
    pub sent_at: Option<Time>,
    /// The request in the vendor's words, secrets removed, e.g. `DELETE /api/v1/users/00u1/..`.
    pub request: String,
    /// HTTP status, when there was one.
    pub status: Option<u16>,
    /// The vendor's id of the request, when there was one, at most 128 characters.
    pub vendor_request: Option<String>,
    /// Digest of the answer's body, `sha256:<hex>`, when there was one.
    pub response: Option<String>,
    /// One sentence for people, at most 240 characters, no secrets, control characters removed.
    pub detail: String,
}

/// One call in the outbox: committed with the step, carried out whatever crashes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Call {
    /// The order.
    pub order: OrderId,
    /// The call.
    pub verb: Verb,
    /// Which attempt of this verb, from 1.
    pub attempt: u32,
    /// Not before.
    pub due: Time,
    /// The action.
    pub action: Action,
    /// What it acts on.
    pub account: Account,
    /// From the probe, for the undo and the positive control.
    pub snapshot: Option<String>,
    /// When the newest effecting call was acknowledged; a read-back looks for what is newer.
    pub acknowledged_at: Option<Time>,
    /// When the newest effecting call was claimed, or began to leave: not later than it left.
    pub sent_at: Option<Time>,
}

/// How many claims an order remembers.
pub const CLAIMS_MAX: usize = 16;

fn is_zero(counts: &[u32; 5]) -> bool {
    counts.iter().all(|count| *count == 0)
}

/// A step on its way, as the ledger keeps it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Order {
    /// See [`OrderId::of`].
    pub id: OrderId,
    /// The case that it belongs to now.
    pub case: CaseId,
    /// The action.
    pub action: Action,
    /// What it acts on.
    pub on: On,
    /// Where it stands.
    pub state: State,
    /// The findings that asked for it.
    pub findings: Vec<FindingId>,
    /// Why it stands there, one sentence.
    pub reason: String,
    /// When it was planned.
    pub planned_at: Time,
    /// When the state last changed.
    pub changed_at: Time,
    /// The time to live of the effect, microseconds; none is for ever.
    pub ttl: Option<i64>,
    /// When the effect is taken back.
    pub undo_at: Option<Time>,
    /// What the probe saw.
    pub snapshot: Option<String>,
    /// The probe's positive control.
    pub control: Option<bool>,
    /// How often each verb was sent: probe, execute, read-back, undo, read-back of the undo.
    pub attempts: [u32; 5],
    /// When the first effecting request began to leave.
    pub sent_at: Option<Time>,
    /// When the target acknowledged.
    pub acknowledged_at: Option<Time>,
    /// When the effect was due by the vendor's own statement.
    pub effective_at: Option<Time>,
    /// When the read-back agreed.
    pub verified_at: Option<Time>,
    /// The happened time of the newest signal that asked, for figures.
    pub signal_at: Time,
    /// The receive time of the signal that completed the finding, for figures.
    pub received_at: Time,
    /// How many approvals it needs.
    pub approvals_needed: u32,
    /// Who approved so far.
    pub approved_by: Vec<String>,
    /// When the approval request runs out.
    pub approval_until: Option<Time>,
    /// The digest of the policy set that judged it.
    pub policy: String,
    /// What becomes a permit once people approved.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub pending: Option<crate::authority::Pending>,
    /// The effecting call that dispatch claimed and whose answer is not known yet.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub claimed: Option<(Verb, u32)>,
    /// How many calls in a row failed or told nothing: the pause before the next grows with it.
    #[serde(default)]
    pub faults: u32,
    /// When the newest effecting call was claimed: it left after this, if it left.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub claimed_at: Option<Time>,
    /// When its effecting calls were claimed, the undo's too; the last [`CLAIMS_MAX`]. One that was
    /// given back unsent is not among them.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub claims: Vec<Time>,
    /// How often the target accepted each effecting verb, by place as in `attempts`.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub accepted: [u32; 5],
    /// How often each effecting verb ended without an answer, by place as in `attempts`.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub lost: [u32; 5],
    /// When the newest effecting call was accepted or given up for lost: the delays that the target
    /// states run from then.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub sighted_at: Option<Time>,
    /// An undo waits until this order is final: sessions end once more before a block is lifted.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub undo_after: Option<OrderId>,
    /// How often the approval request escalated.
    #[serde(default)]
    pub escalations: u32,
    /// The call that stands in the outbox or is on its way.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub awaits: Option<(Verb, u32)>,
    /// The findings that the open approval request named, sorted.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub asked: Vec<FindingId>,
    /// The classes that the open approval request was judged by.
    #[serde(skip_serializing_if = "BTreeSet::is_empty", default)]
    pub asked_classes: BTreeSet<Class>,
    /// When a held order is judged again by itself.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub held_until: Option<Time>,
    /// Its call was put aside by a freeze and is due when that ends.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub parked: bool,
    /// An effecting call of it may have been carried out without an answer: what is found to be so
    /// already may be its own work.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub unsure: bool,
    /// It is done, and no finding in force asks for it any more: the undo was proposed.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub ungrounded: bool,
}

impl Order {
    /// A step that was asked for and not judged yet.
    pub fn planned(id: OrderId, case: CaseId, action: Action, on: On, at: Time) -> Self {
        Self {
            id,
            case,
            action,
            on,
            state: State::Planned,
            findings: Vec::new(),
            reason: "asked for".to_owned(),
            planned_at: at,
            changed_at: at,
            ttl: None,
            undo_at: None,
            snapshot: None,
            control: None,
            attempts: [0; 5],
            sent_at: None,
            acknowledged_at: None,
            effective_at: None,
            verified_at: None,
            signal_at: Time::default(),
            received_at: Time::default(),
            approvals_needed: 0,
            approved_by: Vec::new(),
            approval_until: None,
            policy: String::new(),
            pending: None,
            claimed: None,
            faults: 0,
            claimed_at: None,
            claims: Vec::new(),
            accepted: [0; 5],
            lost: [0; 5],
            sighted_at: None,
            undo_after: None,
            escalations: 0,
            awaits: None,
            asked: Vec::new(),
            asked_classes: BTreeSet::new(),
            held_until: None,
            parked: false,
            unsure: false,
            ungrounded: false,
        }
    }

    /// True for what no finding asked for: the end of sessions before a block is lifted.
    pub fn by_person(&self) -> bool {
        self.findings.is_empty()
    }
}
