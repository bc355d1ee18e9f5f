//! Evidence: the state of one walk over a tenant's records, the same for writing a bundle and
//! for verifying one. Never keeps a record.

use super::Broken;
use crate::checkpoint::Checkpoint;
use crate::digest::Hash;
use crate::leaf::{FIRST_PREV, Header};
use crate::merkle::Appender;

/// A tenant's log as far as it was walked.
#[derive(Debug, Clone)]
pub(super) struct Chain<'a> {
    tenant: &'a str,
    checkpoint: &'a Checkpoint,
    held: Option<&'a Checkpoint>,
    tree: Appender,
    prev: Hash,
}

impl<'a> Chain<'a> {
    /// Starts before the first record.
    pub(super) fn new(
        tenant: &'a str,
        checkpoint: &'a Checkpoint,
        held: Option<&'a Checkpoint>,
    ) -> Result<Self, Broken> {
        if let Some(held) = held {
            if held.origin() != checkpoint.origin() {
                return Err(Broken::HeldOrigin {
                    held: held.origin().to_owned(),
                    found: checkpoint.origin().to_owned(),
                });
            }
            if held.size() > checkpoint.size() {
                return Err(Broken::Truncated { held: held.size(), found: checkpoint.size() });
            }
        }
        let chain = Self { tenant, checkpoint, held, tree: Appender::new(), prev: FIRST_PREV };
        chain.compare_held()?;
        Ok(chain)
    }

    /// How many records were walked, which is the index of the next one.
    pub(super) fn size(&self) -> u64 {
        self.tree.size()
    }

    /// Takes the next record in leaf order.
    pub(super) fn push(&mut self, header: &Header<'_>, body: &Hash) -> Result<(), Broken> {
        let index = self.size();
        if index >= self.checkpoint.size() {
            return Err(Broken::Count { covered: self.checkpoint.size(), found: index + 1 });
        }
        if header.tenant() != self.tenant {
            return Err(Broken::OtherTenant(index));
        }
        if header.seq() != index {
            return Err(Broken::Seq { index, found: header.seq() });
        }
        if *header.prev() != self.prev {
            return Err(Broken::Prev(index));
        }
        self.prev = header.leaf_hash(body);
        self.tree.append(self.prev);
        self.compare_held()
    }

    /// Ends after the last record.
    pub(super) fn finish(self) -> Result<(), Broken> {
        let (covered, found) = (self.checkpoint.size(), self.size());
        if found != covered {
            return Err(Broken::Count { covered, found });
        }
        if self.tree.root() == *self.checkpoint.root() { Ok(()) } else { Err(Broken::Root) }
    }

    /// The tree must have passed through what the held checkpoint says.
    fn compare_held(&self) -> Result<(), Broken> {
        let size = self.size();
        match self.held {
            Some(held) if held.size() == size && *held.root() != self.tree.root() => {
                Err(Broken::Rewritten(size))
            }
            _ => Ok(()),
        }
    }
}
