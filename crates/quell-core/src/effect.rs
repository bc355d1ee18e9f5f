//! What enters the engine and what leaves it: two closed lists.

use serde::{Deserialize, Serialize};

use crate::case::Disposition;
use crate::directory::Import;
use crate::erase::Erase;
use crate::id::{CaseId, OrderId, WatchId};
use crate::order::{Call, Outcome, Verb};
use crate::signal::{Matched, Reject};
use crate::time::Time;

/// Everything that can happen to the engine. The journal keeps each with its `at`.
#[derive(Clone, PartialEq, Debug)]
pub enum Input {
    /// Signals and rejects of one intake.
    Signals(Intake),
    /// A new directory.
    Directory(Import),
    /// A person's answer to an approval request.
    Answer(Reply),
    /// Dispatch is about to send an effecting call; it may only if the order is then dispatched.
    Claim(CallId),
    /// What a call told.
    Outcome(Outcome),
    /// Stop or resume new orders.
    Freeze(Freeze),
    /// Take an order back.
    TakeBack(TakeBack),
    /// The engine was loaded from the store: calls that were claimed have lost their answer.
    Restarted,
    /// Another configuration is in force; [`crate::engine::Engine::configure`] came before.
    Configured(Configured),
    /// A timer is due.
    Tick,
    /// A claimed call did not leave, and will not: a freeze came between claim and send.
    Unsent(CallId),
    /// A person is to be forgotten, or was.
    Erase(Erase),
    /// A person closes a case.
    Close(Closing),
}

/// One intake of one source.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Intake {
    /// The source.
    pub source: String,
    /// Signals with their matches.
    pub matched: Vec<Matched>,
    /// What gave no signal.
    pub rejects: Vec<Reject>,
    /// The records as received, for the journal alone.
    pub raw: Vec<Vec<u8>>,
}

/// One call of one order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct CallId {
    /// The order.
    pub order: OrderId,
    /// The call.
    pub verb: Verb,
    /// Which attempt, from 1.
    pub attempt: u32,
}

/// A person's answer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Reply {
    /// The order that waits.
    pub order: OrderId,
    /// Who answers: the principal of the control token.
    pub by: String,
    /// Yes or no.
    pub approve: bool,
    /// Why, for people; at most 240 characters.
    pub why: String,
}

/// Stop or resume new orders. Intake, read-back and undo go on.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Freeze {
    /// True to stop.
    pub on: bool,
    /// When it ends by itself, loudly.
    pub until: Option<Time>,
    /// Who.
    pub by: String,
    /// Why.
    pub why: String,
}

/// Take an order back.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TakeBack {
    /// The order.
    pub order: OrderId,
    /// Who.
    pub by: String,
    /// Why.
    pub why: String,
}

/// A person closes a case and says what it was.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Closing {
    /// The case.
    pub case: CaseId,
    /// What it was. `false` and `benign` withdraw the signals that its findings cite.
    #[serde(rename = "as")]
    pub disposition: Disposition,
    /// Who: the principal of the control token.
    pub by: String,
    /// Why, for people; at most 240 characters.
    pub why: String,
}

/// The digests of the configuration in force.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Configured {
    /// The rule set.
    pub rules: String,
    /// The policy.
    pub policy: String,
    /// The packs, by name.
    pub packs: std::collections::BTreeMap<String, String>,
    /// The engine's version.
    pub engine: String,
}

/// Something to be watched, with its end.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct WatchEntry {
    /// See [`WatchId::of`].
    pub id: WatchId,
    /// `user` or an entity kind.
    pub kind: String,
    /// `provider:id` or the entity's value.
    pub value: String,
    /// The case that asked.
    pub case: CaseId,
    /// Since when.
    pub since: Time,
    /// Until when.
    pub until: Time,
}

/// A page to people: an evidence record, a console line and one signed webhook.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Notice {
    /// Stable across retries; the receiver's idempotency key.
    pub id: String,
    /// A name from a bounded list, e.g. `approval_needed`.
    pub kind: String,
    /// The case, if one.
    pub case: Option<CaseId>,
    /// The order, if one.
    pub order: Option<OrderId>,
    /// One sentence; attacker's text is quoted and stripped.
    pub text: String,
    /// When it was raised.
    pub at: Time,
}

/// Everything that the engine can want. All of it is committed with the input, or none.
#[derive(Clone, PartialEq, Debug)]
pub enum Effect {
    /// An evidence record: type, body without floats, ids under which it is found.
    Record {
        /// The type, from a bounded list.
        kind: &'static str,
        /// The body; keys are ASCII, integers are within 2^53.
        body: serde_json::Value,
        /// Ids that it is found by.
        refs: Vec<String>,
    },
    /// Write a state row.
    Put {
        /// The table.
        table: &'static str,
        /// The key.
        key: String,
        /// JSON.
        value: Vec<u8>,
    },
    /// Remove a state row.
    Delete {
        /// The table.
        table: &'static str,
        /// The key.
        key: String,
    },
    /// Add a call to the outbox.
    Call(Call),
    /// Remove a call from the outbox.
    Done(CallId),
    /// Put on the watchlist.
    Watch(WatchEntry),
    /// Take off the watchlist.
    Unwatch(WatchEntry),
    /// Page people.
    Page(Notice),
    /// Wake the engine with a tick at or after this time.
    WakeAt(Time),
}
