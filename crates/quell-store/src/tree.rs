//! Store: how a tenant's tree grows and when its head may be signed, for every implementation
//! alike. Hashes nothing itself: that is `quell-evidence`'s.

use quell_core::time::Time;
use quell_evidence::Hash;
use quell_evidence::checkpoint::{BadCheckpoint, Checkpoint};
use quell_evidence::merkle::{self, Appender};

use crate::commit::WriteError;
use crate::store::{CheckpointSigner, SequenceError};
use crate::views::{Pick, ReadError, StoredCheckpoint, Tree, Views};

/// Leaves that one transaction takes.
pub(crate) const LEAVES_PER_STEP: usize = 4096;

/// Transactions that one checkpoint may take before it signs what it has.
pub(crate) const STEPS_PER_CHECKPOINT: usize = 64;

/// Nodes of one answer.
pub(crate) const MAX_NODES: u32 = 4096;

/// A growing tree that also gives the root of every full group of 256 nodes.
///
/// *Invariant*: `levels[n]` holds fewer than 256 nodes of height `8 * n`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Growth {
    size: u64,
    levels: Vec<Appender>,
}

/// The root of a full subtree of 256^level leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) level: u32,
    pub(crate) index: u64,
    pub(crate) hash: Hash,
}

impl Growth {
    /// Takes a tree up again from its size and its right edge.
    pub(crate) fn from_edge(size: u64, edge: &[Hash]) -> Result<Self, String> {
        // Which also says that the number of hashes is the right one.
        Appender::from_parts(size, edge.to_vec()).map_err(|error| error.to_string())?;
        let mut levels = Vec::new();
        let mut rest = edge;
        for level in (0..8).rev() {
            let here = (size >> (8 * level)) & 0xff;
            let count = usize::try_from(here.count_ones()).unwrap_or(usize::MAX);
            let (hashes, after) = rest.split_at_checked(count).unwrap_or((rest, &[]));
            let level = Appender::from_parts(here, hashes.to_vec());
            levels.push(level.map_err(|error| error.to_string())?);
            rest = after;
        }
        levels.reverse();
        Ok(Self { size, levels })
    }

    /// Adds a leaf; appends to `nodes` the full subtrees that it completes.
    pub(crate) fn append(&mut self, leaf: Hash, nodes: &mut Vec<Node>) {
        self.size = self.size.saturating_add(1);
        let mut hash = leaf;
        for (below, above) in (0_u32..).zip(1_u32..) {
            let place = usize::try_from(below).unwrap_or(usize::MAX);
            if self.levels.len() <= place {
                self.levels.push(Appender::new());
            }
            let Some(level) = self.levels.get_mut(place) else { return };
            level.append(hash);
            if level.size() < 256 {
                return;
            }
            hash = level.root();
            *level = Appender::new();
            let full = self.size.checked_shr(8 * above).unwrap_or(0);
            nodes.push(Node { level: above, index: full.saturating_sub(1), hash });
        }
    }

    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// The roots of the perfect subtrees, the greatest first.
    pub(crate) fn edge(&self) -> Vec<Hash> {
        self.levels.iter().rev().flat_map(|level| level.hashes().iter().copied()).collect()
    }
}

/// The next checkpoint of a tenant's tree, signed but not stored; none where the last one still
/// stands for the whole tree, which is given then.
pub(crate) fn next_checkpoint(
    views: &dyn Views,
    tenant: &str,
    now: Time,
    signer: &dyn CheckpointSigner,
) -> Result<Next, SequenceError> {
    let read = |error: ReadError| SequenceError::Write(unwritable(error));
    let sign = |cause: BadCheckpoint| SequenceError::Sign { tenant: tenant.to_owned(), cause };
    let size = views.tree_size(tenant).map_err(read)?;
    let last = views.checkpoint(tenant, None).map_err(read)?;
    if let Some(last) = &last
        && last.origin != signer.origin()
    {
        return Err(SequenceError::Origin {
            tenant: tenant.to_owned(),
            before: last.origin.clone(),
            now: signer.origin().to_owned(),
        });
    }
    let tree = Tree::new(views, tenant);
    let root = tree.root(size).map_err(read)?;
    if let Some(last) = &last {
        continues(&tree, tenant, last, size, &root)?;
    }
    let covered = match last {
        Some(last) if last.size == size => return Ok(Next::Stands(last)),
        Some(last) => last.size,
        None => 0,
    };
    let oldest = views.records(tenant, Pick::All, covered, 1).map_err(read)?;
    let merge_delay = oldest.first().map_or(0, |record| now.since(record.at).max(0));
    let checkpoint = Checkpoint::new(signer.origin(), size, root).map_err(sign)?;
    let note = signer.sign(&checkpoint).map_err(sign)?.to_text();
    let origin = signer.origin().to_owned();
    Ok(Next::New(StoredCheckpoint { size, root, origin, note, at: now, merge_delay }))
}

/// What comes of asking for a checkpoint.
#[derive(Debug)]
pub(crate) enum Next {
    /// Nothing came after this one.
    Stands(StoredCheckpoint),
    /// To be stored before it is given away.
    New(StoredCheckpoint),
}

/// Refuses to sign a tree that is not a continuation of what was signed before.
fn continues(
    tree: &Tree<'_>,
    tenant: &str,
    last: &StoredCheckpoint,
    size: u64,
    root: &Hash,
) -> Result<(), SequenceError> {
    let fork = || SequenceError::Fork { tenant: tenant.to_owned(), size: last.size };
    let proof = match tree.consistency(last.size, size) {
        Ok(proof) => proof,
        Err(ReadError::Range { .. }) => return Err(fork()),
        Err(error) => return Err(SequenceError::Write(unwritable(error))),
    };
    merkle::verify_consistency(last.size, &last.root, size, root, &proof).map_err(|_| fork())
}

/// Cuts a range of nodes of height `8 * level` at the end of the tree.
///
/// # Errors
/// [`ReadError::Range`] for a level that no tree has.
pub(crate) fn nodes_within(size: u64, level: u32, end: u64) -> Result<u64, ReadError> {
    let there = level.checked_mul(8).and_then(|height| size.checked_shr(height));
    let there = there.ok_or(ReadError::Range { part: u64::from(level), size })?;
    Ok(end.min(there))
}

/// What a failed reading means for the write that needed it.
pub(crate) fn unwritable(error: ReadError) -> WriteError {
    match error {
        ReadError::Failed(cause) => WriteError::Failed(cause),
        other => WriteError::Damaged(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use merkle::{LeafHashes, Nodes as _};

    /// Every size up to two levels and a bit: edge, root and completed subtrees agree with the
    /// reference, also when the tree is taken up again at every step.
    #[test]
    fn grows_like_the_reference() {
        let leaves: Vec<Hash> =
            (0..66_100_u32).map(|n| merkle::leaf_hash(&n.to_be_bytes())).collect();
        let mut growth = Growth::default();
        let mut reference = Appender::new();
        let mut nodes = Vec::new();
        for (place, leaf) in leaves.iter().enumerate() {
            growth.append(*leaf, &mut nodes);
            reference.append(*leaf);
            if !(1000..=65_000).contains(&place) {
                assert_eq!(growth.edge(), reference.hashes());
                growth = Growth::from_edge(growth.size(), &growth.edge()).unwrap();
            }
        }
        let expected: Vec<Node> = (1_u32..=2)
            .flat_map(|level| (0..66_100 >> (8 * level)).map(move |index| (level, index)))
            .map(|(level, index)| {
                let hash = LeafHashes(&leaves).node(8 * level, index).unwrap();
                Node { level, index, hash }
            })
            .collect();
        nodes.sort_by_key(|node| (node.level, node.index));
        assert_eq!(nodes, expected);
    }

    #[test]
    fn refuses_an_edge_of_another_size() {
        assert!(Growth::from_edge(3, &[[0; 32]]).is_err());
    }
}
