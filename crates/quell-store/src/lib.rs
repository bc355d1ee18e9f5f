//! Store: journal, state, outbox and evidence in one transaction; survives any crash, knows no
//! vendor. Never decides anything, and never lets a secret in.
//!
//! In reading order: [`frame`] is one journalled input as bytes, [`commit`] what is written at
//! once, `seal` how it is encrypted, [`store`] the interfaces for writing, [`views`] those for
//! reading; [`sqlite`] implements both on one folder, [`mem`] in memory for simulations; [`audit`]
//! says whether what is stored holds together.

pub mod frame;

pub mod commit;

mod salt;

mod seal;

mod ready;

mod packed;

pub mod store;

pub mod views;

mod tree;

pub mod audit;

pub mod sqlite;

pub mod mem;

#[cfg(test)]
mod conformance;

pub use commit::{
    CallKey, Change, Commit, CommitError, Committed, Effects, Erasure, Notice, RecordDraft,
    Refusal, WatchChange, WatchEntry, WriteError,
};
pub use frame::{Body, Frame, StoredFrame};
pub use salt::{NoSalt, OsSalts, Salts, SeededSalts};
pub use seal::{BadKey, NoKey, OuterKey};
pub use sqlite::{Options, SqliteStore, SqliteViews};
pub use store::{
    Blobs, CheckpointSigner, Journal, KeySigner, Lease, LeaseError, Ledger, SequenceError,
    Sequencer, Store,
};
pub use views::{Pick, ReadError, StoredRecord, Views};
