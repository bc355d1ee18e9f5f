//! Evidence: the Merkle tree of RFC 6962. Never fetches a hash itself: it asks a [`Nodes`].

mod proof;

use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::canonical;
use crate::digest::{self, Hash};

pub use proof::{
    NotProved, ProveError, consistency_proof, inclusion_proof, root_at, verify_consistency,
    verify_inclusion,
};

/// The greatest number of leaves, which every reader of JSON can hold.
pub const MAX_SIZE: u64 = canonical::MAX_INTEGER;

/// A growing tree of which only the right edge is held: at most 53 hashes.
///
/// *Invariant*: `hashes` are the roots of the perfect subtrees whose sizes are the set bits of
/// `size`, the greatest first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Appender {
    size: u64,
    hashes: Vec<Hash>,
}

/// Gives the hash of any perfect subtree below the size that is asked about.
///
/// The node of height `h` and index `i` is the root over the leaves from `i * 2^h` up to, but
/// not with, `(i + 1) * 2^h`; height 0 is the leaf hashes themselves.
pub trait Nodes {
    /// Why a node cannot be given.
    type Error;

    /// Gives one node.
    ///
    /// # Errors
    /// Whatever keeps the node from being given.
    fn node(&self, height: u32, index: u64) -> Result<Hash, Self::Error>;
}

/// [`Nodes`] computed from all leaf hashes, for tests, small logs and bundles.
#[derive(Debug, Clone, Copy)]
pub struct LeafHashes<'a>(pub &'a [Hash]);

/// A node was asked for beyond the leaves at hand.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("no node of height `{height}` at `{index}`")]
pub struct NoNode {
    /// The height that was asked for.
    pub height: u32,
    /// The index that was asked for.
    pub index: u64,
}

/// Why size and hashes are not the edge of a tree.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NotAnEdge {
    /// Beyond [`MAX_SIZE`].
    #[error("a tree of `{0}` leaves is beyond 2^53 - 1")]
    Size(u64),
    /// Not one hash for each set bit of the size.
    #[error("a tree of `{size}` leaves has an edge of {expected} hashes, not {given}")]
    Hashes {
        /// The size that was given.
        size: u64,
        /// How many hashes it demands.
        expected: u32,
        /// How many there were.
        given: usize,
    },
}

/// The root of the empty tree: SHA-256 of nothing.
#[must_use]
pub fn empty_root() -> Hash {
    digest::sha256(b"")
}

/// The hash of a leaf: SHA-256(0x00 ‖ leaf).
#[must_use]
pub fn leaf_hash(leaf: &[u8]) -> Hash {
    let mut hasher = Sha256::new();
    hasher.update([0x00]);
    hasher.update(leaf);
    hasher.finalize().into()
}

/// The hash over two subtrees: SHA-256(0x01 ‖ left ‖ right).
#[must_use]
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let mut hasher = Sha256::new();
    hasher.update([0x01]);
    hasher.update(left);
    hasher.update(right);
    hasher.finalize().into()
}

impl Appender {
    /// An empty tree.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes up a tree from what [`Appender::size`] and [`Appender::hashes`] gave.
    ///
    /// # Errors
    /// [`NotAnEdge`] where the hashes do not fit the size.
    pub fn from_parts(size: u64, hashes: Vec<Hash>) -> Result<Self, NotAnEdge> {
        if size > MAX_SIZE {
            return Err(NotAnEdge::Size(size));
        }
        let (expected, given) = (size.count_ones(), hashes.len());
        if usize::try_from(expected) != Ok(given) {
            return Err(NotAnEdge::Hashes { size, expected, given });
        }
        Ok(Self { size, hashes })
    }

    /// How many leaves the tree has.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The roots of the perfect subtrees, the greatest first.
    #[must_use]
    pub fn hashes(&self) -> &[Hash] {
        &self.hashes
    }

    /// Adds one leaf by its hash.
    pub fn append(&mut self, leaf_hash: Hash) {
        let mut joined = leaf_hash;
        for _ in 0..self.size.trailing_ones() {
            let Some(left) = self.hashes.pop() else { break };
            joined = node_hash(&left, &joined);
        }
        self.hashes.push(joined);
        // Not reached by counting: a million leaves a second fill 64 bits in 500,000 years.
        self.size = self.size.saturating_add(1);
    }

    /// The root of the tree as it is now.
    #[must_use]
    pub fn root(&self) -> Hash {
        let joined = self.hashes.iter().rev().copied();
        joined.reduce(|right, left| node_hash(&left, &right)).unwrap_or_else(empty_root)
    }
}

impl Nodes for LeafHashes<'_> {
    type Error = NoNode;

    fn node(&self, height: u32, index: u64) -> Result<Hash, NoNode> {
        let none = || NoNode { height, index };
        let width = 1_u64.checked_shl(height).ok_or_else(none)?;
        let from = index.checked_mul(width).ok_or_else(none)?;
        let to = from.checked_add(width).ok_or_else(none)?;
        let from = usize::try_from(from).map_err(|_| none())?;
        let to = usize::try_from(to).map_err(|_| none())?;
        let leaves = self.0.get(from..to).ok_or_else(none)?;
        perfect_root(leaves).ok_or_else(none)
    }
}

/// The root over a number of hashes that is a power of two.
pub(crate) fn perfect_root(hashes: &[Hash]) -> Option<Hash> {
    match hashes {
        [] => None,
        [only] => Some(*only),
        more => {
            let (left, right) = more.split_at(more.len() / 2);
            Some(node_hash(&perfect_root(left)?, &perfect_root(right)?))
        }
    }
}

#[cfg(test)]
mod tests;
