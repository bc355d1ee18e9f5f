//! Store: the interfaces through which anything is written. What an implementation does with a
//! disk or a server is not said here; what is true when the process dies in a method is.

use quell_core::id::{Digest, Tenant};
use quell_core::order::Call;
use quell_core::time::Time;
use quell_evidence::checkpoint::{BadCheckpoint, Checkpoint};
use quell_evidence::note::{Note, SignerKey};
use thiserror::Error;

use crate::commit::{CallKey, Commit, CommitError, Committed, Refusal, WriteError};
use crate::views::{StoredCheckpoint, Views};

/// Bytes of one blob.
pub const MAX_BLOB_BYTES: usize = 256 << 20;

/// Calls of one claim, orphans of one answer.
pub const MAX_CALLS: usize = 4096;

/// Takes commits: inputs with everything that follows from them.
pub trait Journal {
    /// Writes all of `commit` durably, or nothing of it.
    ///
    /// Frames get the next numbers of the tenant's journal; records the next numbers of its
    /// evidence, each with a fresh salt and the leaf hash of the record before. Checks first that
    /// `epoch` still holds the lease.
    ///
    /// # Errors
    /// After [`WriteError::Unsure`] it is unknown whether the commit happened; after any other
    /// [`CommitError`] it did not. In both cases the engine in memory is ahead of the store:
    /// drop it and load again.
    ///
    /// *Crash*: the commit is there as a whole or not at all. Once this returned, it is there.
    fn commit(&mut self, commit: &Commit) -> Result<Committed, CommitError>;
}

/// Hands out the calls of the outbox, each to one dispatcher.
pub trait Ledger {
    /// Claims up to `limit` calls (at most [`MAX_CALLS`]) that are due at `now` and unclaimed,
    /// the longest due first. The claim is durable before a call is given, so that no call can
    /// leave without a trace. `until` is when the claim is given up for lost.
    ///
    /// # Errors
    /// [`WriteError`]; after [`WriteError::Unsure`] the calls may be claimed and are orphans.
    ///
    /// *Crash*: the calls are unclaimed, or claimed by this epoch and never sent; in that case
    /// they are orphans of the next epoch, which must treat them as sent.
    fn claim(
        &mut self,
        tenant: &str,
        epoch: u64,
        now: Time,
        until: Time,
        limit: usize,
    ) -> Result<Vec<Call>, WriteError>;

    /// Puts claimed calls back that were certainly not sent; those not claimed by this epoch are
    /// passed over.
    ///
    /// # Errors
    /// [`WriteError`].
    ///
    /// *Crash*: the calls are unclaimed, or still claimed and orphans of the next epoch.
    fn release(&mut self, tenant: &str, epoch: u64, calls: &[CallKey]) -> Result<(), WriteError>;

    /// Calls whose claim is lost: claimed by an earlier epoch, or past their `until` at `now`;
    /// up to [`MAX_CALLS`]. They may have been sent: the engine must hear of each as unknown.
    /// They leave the list by being done in a commit.
    ///
    /// # Errors
    /// [`WriteError::Damaged`], [`WriteError::Failed`].
    ///
    /// *Crash*: nothing is written; the next process gets the same list.
    fn orphans(&self, tenant: &str, epoch: u64, now: Time) -> Result<Vec<Call>, WriteError>;
}

/// Keeps bytes under their digest: policies and packs of former days, snapshots of timelines.
pub trait Blobs {
    /// Keeps `bytes` durably and gives their digest. Keeping the same bytes again is nothing new.
    ///
    /// # Errors
    /// [`WriteError`]; [`WriteError::Failed`] beyond [`MAX_BLOB_BYTES`].
    ///
    /// *Crash*: the blob is there as a whole or not at all; one that nothing refers to does no
    /// harm.
    fn keep(&mut self, tenant: &str, epoch: u64, bytes: &[u8]) -> Result<Digest, WriteError>;

    /// Removes a blob, if it is there.
    ///
    /// # Errors
    /// [`WriteError`].
    ///
    /// *Crash*: the blob is there as a whole or not at all.
    fn discard(&mut self, tenant: &str, epoch: u64, digest: &Digest) -> Result<(), WriteError>;
}

/// Brings records into the tenant's Merkle tree, in the order of their numbers, and signs heads.
pub trait Sequencer {
    /// Takes up to `limit` records that are not yet in the tree; gives the tree's new size.
    /// The leaf index of a record is its number.
    ///
    /// # Errors
    /// [`SequenceError::Write`].
    ///
    /// *Crash*: the tree has its old size or its new one; the same records are taken next time.
    fn integrate(&mut self, tenant: &str, epoch: u64, limit: usize) -> Result<u64, SequenceError>;

    /// Takes all records up to a cap, proves that the tree only grew since the last checkpoint,
    /// and signs a new one; without new records the last one is given again.
    ///
    /// `now` serves to measure the merge delay and stands in no signature.
    ///
    /// # Errors
    /// [`SequenceError`]; no checkpoint left that is not stored.
    ///
    /// *Crash*: the tree may have grown without a new checkpoint; the next call signs it. A
    /// signature that was not stored was not given to anybody.
    fn checkpoint(
        &mut self,
        tenant: &str,
        epoch: u64,
        now: Time,
        signer: &dyn CheckpointSigner,
    ) -> Result<StoredCheckpoint, SequenceError>;
}

/// Signs heads of one tenant's tree.
pub trait CheckpointSigner {
    /// The log's name; the same for ever.
    fn origin(&self) -> &str;

    /// Signs.
    ///
    /// # Errors
    /// [`BadCheckpoint`].
    fn sign(&self, checkpoint: &Checkpoint) -> Result<Note, BadCheckpoint>;
}

/// A key in memory with the name of its log.
#[derive(Debug, Clone)]
pub struct KeySigner {
    /// The log's name.
    pub origin: String,
    /// The key.
    pub key: SignerKey,
}

/// Decides which engine may write for a tenant.
pub trait Lease {
    /// Takes the lease for `holder` and gives its epoch, greater than any before. Whoever held
    /// it is fenced from then on.
    ///
    /// # Errors
    /// [`LeaseError`].
    ///
    /// *Crash*: the former holder still holds it, or nobody does: the new epoch is taken and its
    /// holder is dead, which the next call ends.
    fn acquire(&mut self, tenant: &str, holder: &str) -> Result<u64, LeaseError>;
}

/// All of the above on one store.
pub trait Store: Journal + Ledger + Blobs + Sequencer + Lease + Send {
    /// A reader of its own, usable beside the writer from another thread.
    ///
    /// # Errors
    /// [`crate::ReadError`].
    ///
    /// *Crash*: nothing is written.
    fn views(&self) -> Result<Box<dyn Views + Send>, crate::ReadError>;

    /// Makes sure that no byte of what was erased is left; false while a reader or a checkpoint
    /// stands in the way, then try again.
    ///
    /// # Errors
    /// [`WriteError`].
    ///
    /// *Crash*: nothing is lost; erased bytes may be left until this returned true.
    fn purge(&mut self) -> Result<bool, WriteError>;
}

/// Why the lease was not taken.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LeaseError {
    /// As with any write.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// Tenant or holder has not the form of a name.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

/// Why the tree did not grow or no checkpoint was signed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SequenceError {
    /// As with any write.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The signer failed.
    #[error("the checkpoint of tenant `{tenant}` cannot be signed: {cause}")]
    Sign {
        /// Whose log.
        tenant: Tenant,
        /// Why.
        cause: BadCheckpoint,
    },
    /// The log was signed under another name before.
    #[error("the log of tenant `{tenant}` is `{before}`, it cannot become `{now}`")]
    Origin {
        /// Whose log.
        tenant: Tenant,
        /// The name of the last checkpoint.
        before: String,
        /// The name that the signer gives.
        now: String,
    },
    /// The tree does not contain what was signed before: nothing is signed.
    #[error("the tree of tenant `{tenant}` does not continue its checkpoint of size `{size}`")]
    Fork {
        /// Whose log.
        tenant: Tenant,
        /// The size of the last checkpoint.
        size: u64,
    },
}

impl CheckpointSigner for KeySigner {
    fn origin(&self) -> &str {
        &self.origin
    }

    fn sign(&self, checkpoint: &Checkpoint) -> Result<Note, BadCheckpoint> {
        checkpoint.sign(&self.key)
    }
}
