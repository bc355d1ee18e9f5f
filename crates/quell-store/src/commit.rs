//! Store: what one commit carries and what can refuse it. Never says what a key, a record or a
//! call means.

use std::borrow::Cow;

use quell_core::id::{OrderId, SourceName, Tenant};
use quell_core::order::{Call, Verb};
use quell_core::time::Time;
use quell_evidence::canonical::NotCanonical;
use quell_evidence::leaf::BadHeader;
use thiserror::Error;

use crate::frame::{Body, Frame};

/// Bytes of a table's, a source's or a holder's name.
pub const MAX_NAME_BYTES: usize = 128;

/// Bytes of a key: of a state row, a watch entry, a notice or a reference.
pub const MAX_KEY_BYTES: usize = 4096;

/// Bytes of a value: of a state row, a watch entry, a notice or a cursor.
pub const MAX_VALUE_BYTES: usize = 4 << 20;

/// References of one record.
pub const MAX_REFS: usize = 4096;

/// A group of inputs with everything that follows from them; all of it happens or nothing.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Commit {
    /// Whose.
    pub tenant: Tenant,
    /// The epoch that [`crate::Lease::acquire`] gave; an older one is fenced.
    pub epoch: u64,
    /// The inputs in their order; none where only bookkeeping is committed.
    pub frames: Vec<Frame>,
    /// What follows from them.
    pub effects: Effects,
}

/// What follows from a group of inputs. Facts leave all of it empty.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Effects {
    /// Changes of state rows, applied in order.
    pub state: Vec<Change>,
    /// Evidence records in their order.
    pub records: Vec<RecordDraft>,
    /// Calls to carry out.
    pub outbox_adds: Vec<Call>,
    /// Calls that are over: answered or no longer wanted. One that is not there is passed over.
    pub outbox_dones: Vec<CallKey>,
    /// Changes of the watchlist, applied in order.
    pub watch: Vec<WatchChange>,
    /// Notices to deliver; one with the same id is replaced.
    pub notice_puts: Vec<Notice>,
    /// Ids of notices that are delivered or given up. One that is not there is passed over.
    pub notice_dones: Vec<String>,
    /// How far each source was read; committed with the page that it belongs to.
    pub cursors: Vec<(SourceName, Vec<u8>)>,
    /// What is to be forgotten.
    pub erasures: Vec<Erasure>,
}

/// A state row to write or to remove.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The table: 1 to [`MAX_NAME_BYTES`] bytes.
    pub table: Cow<'static, str>,
    /// The key: up to [`MAX_KEY_BYTES`] bytes.
    pub key: String,
    /// The new value, up to [`MAX_VALUE_BYTES`] bytes; none removes the row, if there is one.
    pub value: Option<Vec<u8>>,
}

/// An evidence record without what the store adds: number, salt, predecessor and leaf hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordDraft {
    /// Its type.
    pub record_type: String,
    /// When it was recorded.
    pub at: Time,
    /// Its body, canonical JSON.
    pub body: Vec<u8>,
    /// Ids under which it is to be found. Ids only, never addresses: they outlive an erasure.
    pub refs: Vec<String>,
}

/// Which call: unique for ever within a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct CallKey {
    /// The order.
    pub order: OrderId,
    /// The call.
    pub verb: Verb,
    /// Which attempt of this verb, from 1.
    pub attempt: u32,
}

/// A change of the watchlist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WatchChange {
    /// Adds an entry or replaces the one of the same kind and value.
    Put(WatchEntry),
    /// Removes an entry, if there is one.
    Remove {
        /// What kind of thing.
        kind: String,
        /// Which.
        value: String,
    },
}

/// A watchlist entry; feeds are views of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchEntry {
    /// What kind of thing is watched.
    pub kind: String,
    /// Which.
    pub value: String,
    /// Until when; none is for ever. A feed leaves it out from this moment on.
    pub until: Option<Time>,
    /// What the caller keeps with it.
    pub body: Vec<u8>,
}

/// A message to people on its way; delivered at least once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Its id; the receiver tells repetitions by it.
    pub id: String,
    /// Not before.
    pub due: Time,
    /// What the caller encoded.
    pub body: Vec<u8>,
}

/// What is to be forgotten. Numbers, times, types and leaf hashes stay, so proofs hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Erasure {
    /// Salt and body of an evidence record.
    Record {
        /// Its number.
        seq: u64,
    },
    /// The body of a journal frame, which becomes a tombstone.
    Frame {
        /// Its number.
        seq: u64,
    },
    /// A part of the body of a journal frame; the caller says in the rest that something is gone.
    Part {
        /// The frame's number.
        seq: u64,
        /// What is left. A frame that was erased as a whole stays so.
        rest: Body,
    },
}

/// Where the frames and records of a commit came to stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {
    /// The number of its first frame; of the next one to come where it had none.
    pub journal_seq: u64,
    /// How many frames it had.
    pub frames: u32,
    /// The number of its first record; of the next one to come where it had none.
    pub first_record_seq: u64,
    /// How many records it had.
    pub records: u32,
}

/// Why a write did not happen, or may not have.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum WriteError {
    /// Nobody ever acquired the tenant's lease.
    #[error("nobody holds the lease of tenant `{0}`")]
    NoLease(Tenant),
    /// Another engine took over; this one must stop.
    #[error("epoch `{epoch}` is deposed: the lease of tenant `{tenant}` is at epoch `{current}`")]
    Fenced {
        /// Whose lease.
        tenant: Tenant,
        /// The epoch that wanted to write.
        epoch: u64,
        /// The epoch that may.
        current: u64,
    },
    /// No space left; nothing happened, and a later attempt may succeed.
    #[error("the disk is full")]
    Full,
    /// Nothing happened.
    #[error("the store cannot write: {0}")]
    Failed(String),
    /// It failed while the commit was being made durable: all of it happened or nothing did.
    /// Nothing more is written until the store is opened again; what it shows then is the truth.
    #[error("the store cannot say whether the write happened, open it again: {0}")]
    Unsure(String),
    /// Nothing happened, because an earlier write ended in [`WriteError::Unsure`].
    #[error("an earlier write ended unsure: open the store again")]
    Halted,
    /// What is stored contradicts itself; nothing happened.
    #[error("the store is damaged: {0}")]
    Damaged(String),
}

/// Why a commit did not happen, or may not have.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CommitError {
    /// As with any write.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// Nothing happened: a frame is older than the one before it.
    #[error("time went back: a frame of `{at}` cannot follow one of `{last}`")]
    WentBack {
        /// The frame's time.
        at: Time,
        /// The time of the frame before it.
        last: Time,
    },
    /// Nothing happened: the commit is not one that can be stored.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

/// What about a commit can never be stored.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refusal {
    /// Empty, too long or with control characters.
    #[error("the tenant `{}` is not 1 to 128 bytes without control characters", .0.escape_debug())]
    Tenant(String),
    /// A name, key or value that is too long, or empty where it may not be.
    #[error("a {part} is {least} to {most} bytes, not {found}")]
    Size {
        /// What it is.
        part: &'static str,
        /// Bytes needed.
        least: usize,
        /// Bytes allowed.
        most: usize,
        /// Bytes found.
        found: usize,
    },
    /// More references than a record may have.
    #[error("a record has {0} references, more than 4096")]
    Refs(usize),
    /// More frames than a commit may hold.
    #[error("the frames of one commit take {0} bytes, more than 67108864")]
    Group(usize),
    /// A record's type or time has not its form.
    #[error("a record cannot be stored: {0}")]
    Header(#[from] BadHeader),
    /// A record's body is not canonical.
    #[error("the body of a `{record_type}` record cannot be stored: {cause}")]
    Body {
        /// The record's type.
        record_type: String,
        /// Why.
        cause: NotCanonical,
    },
    /// The same call once more.
    #[error("attempt {attempt} of `{verb}` of order `{order}` was in the outbox before")]
    CallAgain {
        /// The order.
        order: OrderId,
        /// The call.
        verb: Verb,
        /// Which attempt.
        attempt: u32,
    },
    /// A call that would not be read back as it is.
    #[error("a call of order `{0}` has no stored form: {1}")]
    Call(OrderId, String),
    /// A frame or record that was never written.
    #[error("there is no {part} `{seq}` to erase")]
    NothingToErase {
        /// Frame or record.
        part: &'static str,
        /// Its number.
        seq: u64,
    },
}

impl Change {
    /// Writes a row.
    pub fn put(table: impl Into<Cow<'static, str>>, key: String, value: Vec<u8>) -> Self {
        Self { table: table.into(), key, value: Some(value) }
    }

    /// Removes a row.
    pub fn delete(table: impl Into<Cow<'static, str>>, key: String) -> Self {
        Self { table: table.into(), key, value: None }
    }
}

impl CallKey {
    /// The key of a call.
    pub fn of(call: &Call) -> Self {
        Self { order: call.order, verb: call.verb, attempt: call.attempt }
    }
}

impl CommitError {
    /// True when it is certain that nothing happened.
    pub fn nothing_happened(&self) -> bool {
        !matches!(self, Self::Write(WriteError::Unsure(_)))
    }
}
