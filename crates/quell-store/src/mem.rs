//! Store: the same interfaces in memory, for simulations and tests. A [`MemDisk`] outlives the
//! process that writes to it and fails where it is told to; it never fails by itself.

mod room;
mod views;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use quell_core::id::{Digest, Tenant};
use quell_core::order::Call;
use quell_core::time::Time;

use crate::commit::{CallKey, Commit, CommitError, Committed, WriteError};
use crate::packed::PackedBlob;
use crate::ready::{self, Ready};
use crate::salt::Salts;
use crate::seal::Seal;
use crate::store::{
    Blobs, CheckpointSigner, Journal, Lease, LeaseError, Ledger, SequenceError, Sequencer, Store,
};
use crate::tree::{self, LEAVES_PER_STEP, Next, STEPS_PER_CHECKPOINT};
use crate::views::{ReadError, StoredCheckpoint, Views};

pub use views::MemViews;

use room::Room;

/// What a write is, so that a fault can be chosen by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Write {
    /// [`Journal::commit`].
    Commit,
    /// [`Ledger::claim`] with at least one call due.
    Claim,
    /// [`Ledger::release`].
    Release,
    /// [`Blobs::keep`].
    Keep,
    /// [`Blobs::discard`].
    Discard,
    /// [`Sequencer::integrate`] with at least one record to take.
    Integrate,
    /// The storing of a signed checkpoint.
    Checkpoint,
    /// [`Lease::acquire`].
    Acquire,
}

/// How a write that would succeed ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fault {
    /// It succeeds.
    #[default]
    None,
    /// No space: nothing happened, the store goes on.
    Full,
    /// The write was lost before it was durable; the caller is told that nobody knows, and the
    /// store halts until it is opened again.
    Lost,
    /// As [`Fault::Lost`] for the caller, but the write is durable.
    Kept,
}

/// Chooses the fault of the next write.
pub type Faults = Box<dyn FnMut(Write) -> Fault + Send>;

/// What survives a process: everything that was written and not lost. Clones share it.
#[derive(Clone, Default)]
pub struct MemDisk {
    shared: Arc<Mutex<Shared>>,
}

/// The writer of a [`MemDisk`]. Opening another stands for the death of this one.
pub struct MemStore {
    disk: MemDisk,
    salts: Box<dyn Salts>,
    opened: u64,
    halted: bool,
}

#[derive(Default)]
struct Shared {
    rooms: BTreeMap<Tenant, Room>,
    /// How often the disk was opened; only the last writer may write.
    opened: u64,
    faults: Option<Faults>,
}

impl MemDisk {
    /// An empty disk without faults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Opens the disk for writing. Whoever had opened it before writes no more: what he had not
    /// made durable never was.
    pub fn open(&self, salts: Box<dyn Salts>) -> MemStore {
        let mut shared = self.lock();
        shared.opened += 1;
        let opened = shared.opened;
        drop(shared);
        MemStore { disk: self.clone(), salts, opened, halted: false }
    }

    /// Asks `faults` before every write from now on; none makes all of them succeed.
    pub fn set_faults(&self, faults: Option<Faults>) {
        self.lock().faults = faults;
    }

    /// A reader.
    pub fn views(&self) -> MemViews {
        MemViews::new(self.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    /// The tenant's room, if `epoch` holds its lease.
    fn room(&mut self, tenant: &str, epoch: u64) -> Result<&mut Room, WriteError> {
        let nobody = || WriteError::NoLease(tenant.to_owned());
        let room = self.rooms.get_mut(tenant).ok_or_else(nobody)?;
        if room.epoch == epoch {
            return Ok(room);
        }
        Err(WriteError::Fenced { tenant: tenant.to_owned(), epoch, current: room.epoch })
    }
}

impl MemStore {
    /// Runs `check`, then lets `apply` write what it made ready, unless a fault stands in the way.
    fn write<R, T, E: From<WriteError>>(
        &mut self,
        write: Write,
        check: impl FnOnce(&mut Shared, &mut dyn Salts) -> Result<R, E>,
        apply: impl FnOnce(&mut Shared, R) -> T,
    ) -> Result<T, E> {
        self.alive()?;
        let mut shared = self.disk.lock();
        let ready = check(&mut shared, self.salts.as_mut())?;
        let fault = shared.faults.as_mut().map_or(Fault::None, |faults| faults(write));
        let unsure = || WriteError::Unsure("the disk failed".to_owned());
        match fault {
            Fault::None => Ok(apply(&mut shared, ready)),
            Fault::Full => Err(WriteError::Full.into()),
            Fault::Lost => {
                self.halted = true;
                Err(unsure().into())
            }
            Fault::Kept => {
                apply(&mut shared, ready);
                self.halted = true;
                Err(unsure().into())
            }
        }
    }

    fn alive(&self) -> Result<(), WriteError> {
        if self.halted {
            return Err(WriteError::Halted);
        }
        if self.disk.lock().opened != self.opened {
            return Err(WriteError::Failed("another process has opened the disk".to_owned()));
        }
        Ok(())
    }
}

impl Journal for MemStore {
    fn commit(&mut self, commit: &Commit) -> Result<Committed, CommitError> {
        self.write(
            Write::Commit,
            |shared, salts| {
                let room = shared.room(&commit.tenant, commit.epoch)?;
                let ready = Ready::new(commit, &room.tip(), salts, &mut Seal::clear())?;
                room.check(commit, &ready)?;
                Ok::<_, CommitError>(ready)
            },
            |shared, ready| {
                let room = shared.rooms.entry(commit.tenant.clone()).or_default();
                room.apply(commit, &ready)
            },
        )
    }
}

impl Ledger for MemStore {
    fn claim(
        &mut self,
        tenant: &str,
        epoch: u64,
        now: Time,
        until: Time,
        limit: usize,
    ) -> Result<Vec<Call>, WriteError> {
        self.alive()?;
        let due = self.disk.lock().room(tenant, epoch)?.due(now, limit)?;
        if due.is_empty() {
            return Ok(due);
        }
        self.write(
            Write::Claim,
            |_, _| Ok(()),
            |shared, ()| {
                let room = shared.rooms.entry(tenant.to_owned()).or_default();
                room.claim(&due, epoch, until);
                due
            },
        )
    }

    fn release(&mut self, tenant: &str, epoch: u64, calls: &[CallKey]) -> Result<(), WriteError> {
        self.write(
            Write::Release,
            |shared, _| shared.room(tenant, epoch).map(|_| ()),
            |shared, ()| {
                let room = shared.rooms.entry(tenant.to_owned()).or_default();
                room.release(calls, epoch);
            },
        )
    }

    fn orphans(&self, tenant: &str, epoch: u64, now: Time) -> Result<Vec<Call>, WriteError> {
        let shared = self.disk.lock();
        shared.rooms.get(tenant).map_or(Ok(Vec::new()), |room| room.orphans(epoch, now))
    }
}

impl Blobs for MemStore {
    fn keep(&mut self, tenant: &str, epoch: u64, bytes: &[u8]) -> Result<Digest, WriteError> {
        let packed = PackedBlob::new(bytes)?.into_owned();
        self.write(
            Write::Keep,
            |shared, _| shared.room(tenant, epoch).map(|_| ()),
            |shared, ()| {
                let digest = packed.digest;
                let room = shared.rooms.entry(tenant.to_owned()).or_default();
                room.blobs.entry(digest).or_insert(packed);
                digest
            },
        )
    }

    fn discard(&mut self, tenant: &str, epoch: u64, digest: &Digest) -> Result<(), WriteError> {
        self.write(
            Write::Discard,
            |shared, _| shared.room(tenant, epoch).map(|_| ()),
            |shared, ()| {
                shared.rooms.entry(tenant.to_owned()).or_default().blobs.remove(digest);
            },
        )
    }
}

impl Sequencer for MemStore {
    fn integrate(&mut self, tenant: &str, epoch: u64, limit: usize) -> Result<u64, SequenceError> {
        self.alive()?;
        let mut shared = self.disk.lock();
        let (size, leaves) = shared.room(tenant, epoch)?.leaves(limit.min(LEAVES_PER_STEP));
        drop(shared);
        if leaves.is_empty() {
            return Ok(size);
        }
        self.write(
            Write::Integrate,
            |_, _| Ok(()),
            |shared, ()| shared.rooms.entry(tenant.to_owned()).or_default().grow(&leaves),
        )
    }

    fn checkpoint(
        &mut self,
        tenant: &str,
        epoch: u64,
        now: Time,
        signer: &dyn CheckpointSigner,
    ) -> Result<StoredCheckpoint, SequenceError> {
        let mut size = None;
        for _ in 0..STEPS_PER_CHECKPOINT {
            let grown = self.integrate(tenant, epoch, LEAVES_PER_STEP)?;
            if size.replace(grown) == Some(grown) {
                break;
            }
        }
        let checkpoint = match tree::next_checkpoint(&self.disk.views(), tenant, now, signer)? {
            Next::Stands(last) => return Ok(last),
            Next::New(checkpoint) => checkpoint,
        };
        self.write(
            Write::Checkpoint,
            |_, _| Ok(()),
            |shared, ()| {
                let room = shared.rooms.entry(tenant.to_owned()).or_default();
                room.checkpoints.insert(checkpoint.size, checkpoint.clone());
                checkpoint
            },
        )
    }
}

impl Lease for MemStore {
    fn acquire(&mut self, tenant: &str, holder: &str) -> Result<u64, LeaseError> {
        ready::check_tenant(tenant)?;
        ready::check_name("lease holder", holder)?;
        self.write(
            Write::Acquire,
            |_, _| Ok(()),
            |shared, ()| {
                let room = shared.rooms.entry(tenant.to_owned()).or_default();
                room.epoch += 1;
                room.holder = Some(holder.to_owned());
                room.epoch
            },
        )
    }
}

impl Store for MemStore {
    fn views(&self) -> Result<Box<dyn Views + Send>, ReadError> {
        Ok(Box::new(self.disk.views()))
    }

    fn purge(&mut self) -> Result<bool, WriteError> {
        self.alive().map(|()| true)
    }
}

impl fmt::Debug for MemDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemDisk").finish_non_exhaustive()
    }
}

impl fmt::Debug for MemStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemStore").field("halted", &self.halted).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
