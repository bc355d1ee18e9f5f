//! Evidence: proofs of inclusion and consistency (RFC 6962, sections 2.1.1 and 2.1.2) and their
//! verification (RFC 9162, sections 2.1.3.2 and 2.1.4.2). Never trusts a proof's length.

use thiserror::Error;

use super::{MAX_SIZE, Nodes, empty_root, node_hash};
use crate::digest::Hash;

/// Why a proof cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ProveError<E> {
    /// The leaf lies beyond the tree, or the old tree is greater than the new one.
    #[error("`{part}` is beyond a tree of `{size}` leaves")]
    Range {
        /// The leaf index or the old size.
        part: u64,
        /// The size of the tree.
        size: u64,
    },
    /// A hash of the tree could not be given.
    #[error("a hash of the tree is missing: {0}")]
    Nodes(E),
}

/// Why a proof does not prove what it is offered for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum NotProved {
    /// The leaf lies beyond the tree, or the old tree is greater than the new one.
    #[error("`{part}` is beyond a tree of `{size}` leaves")]
    Range {
        /// The leaf index or the old size.
        part: u64,
        /// The size of the tree.
        size: u64,
    },
    /// More or fewer hashes than such a proof has.
    #[error("the proof has the wrong number of hashes")]
    Length,
    /// The hashes lead to another root.
    #[error("the proof leads to another root")]
    Root,
}

/// The root of the tree when it had `size` leaves.
///
/// # Errors
/// What `nodes` answers; a size beyond [`MAX_SIZE`].
pub fn root_at<N: Nodes + ?Sized>(size: u64, nodes: &N) -> Result<Hash, ProveError<N::Error>> {
    if size > MAX_SIZE {
        return Err(ProveError::Range { part: size, size: MAX_SIZE });
    }
    range_root(0, size, nodes)
}

/// Proves that the leaf at `index` is in the tree of `size` leaves, the deepest hash first.
///
/// # Errors
/// [`ProveError::Range`] for a leaf beyond the tree; what `nodes` answers.
pub fn inclusion_proof<N: Nodes + ?Sized>(
    index: u64,
    size: u64,
    nodes: &N,
) -> Result<Vec<Hash>, ProveError<N::Error>> {
    if index >= size || size > MAX_SIZE {
        return Err(ProveError::Range { part: index, size });
    }
    let mut proof = Vec::new();
    let (mut from, mut to) = (0, size);
    while to - from > 1 {
        let middle = from + split(to - from);
        if index < middle {
            proof.push(range_root(middle, to, nodes)?);
            to = middle;
        } else {
            proof.push(range_root(from, middle, nodes)?);
            from = middle;
        }
    }
    proof.reverse();
    Ok(proof)
}

/// Proves that the tree of `old` leaves is the beginning of the tree of `new` leaves.
///
/// The proof is empty where `old` is 0 or equals `new`.
///
/// # Errors
/// [`ProveError::Range`] where `old` is greater than `new`; what `nodes` answers.
pub fn consistency_proof<N: Nodes + ?Sized>(
    old: u64,
    new: u64,
    nodes: &N,
) -> Result<Vec<Hash>, ProveError<N::Error>> {
    if old > new || new > MAX_SIZE {
        return Err(ProveError::Range { part: old, size: new });
    }
    let mut proof = Vec::new();
    let (mut from, mut to) = (0, new);
    let mut whole = true;
    while old != 0 && old != to {
        let middle = from + split(to - from);
        if old <= middle {
            proof.push(range_root(middle, to, nodes)?);
            to = middle;
        } else {
            proof.push(range_root(from, middle, nodes)?);
            from = middle;
            whole = false;
        }
    }
    if !whole {
        proof.push(range_root(from, to, nodes)?);
    }
    proof.reverse();
    Ok(proof)
}

/// Checks that the leaf with this hash is at `index` in the tree of `size` leaves and this root.
///
/// # Errors
/// [`NotProved`] unless the proof is exactly the one that the tree has.
pub fn verify_inclusion(
    leaf_hash: &Hash,
    index: u64,
    size: u64,
    proof: &[Hash],
    root: &Hash,
) -> Result<(), NotProved> {
    if index >= size {
        return Err(NotProved::Range { part: index, size });
    }
    let (mut at, mut last) = (index, size - 1);
    let mut hash = *leaf_hash;
    for step in proof {
        if last == 0 {
            return Err(NotProved::Length);
        }
        if at & 1 == 1 || at == last {
            hash = node_hash(step, &hash);
            skip_right_edge(&mut at, &mut last);
        } else {
            hash = node_hash(&hash, step);
        }
        (at, last) = (at >> 1, last >> 1);
    }
    match (last == 0, hash == *root) {
        (false, _) => Err(NotProved::Length),
        (true, false) => Err(NotProved::Root),
        (true, true) => Ok(()),
    }
}

/// Checks that the tree of `old` leaves is the beginning of the tree of `new` leaves.
///
/// # Errors
/// [`NotProved`] unless the proof is exactly the one that the two trees have.
pub fn verify_consistency(
    old: u64,
    old_root: &Hash,
    new: u64,
    new_root: &Hash,
    proof: &[Hash],
) -> Result<(), NotProved> {
    if old > new {
        return Err(NotProved::Range { part: old, size: new });
    }
    if old == 0 || old == new {
        let expected = if old == new { *new_root } else { empty_root() };
        return match (proof, *old_root == expected) {
            ([], true) if new > 0 || *new_root == empty_root() => Ok(()),
            ([], _) => Err(NotProved::Root),
            _ => Err(NotProved::Length),
        };
    }
    let (mut at, mut last) = (old - 1, new - 1);
    let trimmed = at.trailing_ones();
    (at, last) = (at >> trimmed, last >> trimmed);
    // A perfect old tree is a node of the new one, so its root is not repeated in the proof.
    let (first, rest) = if old.is_power_of_two() {
        (old_root, proof)
    } else {
        proof.split_first().ok_or(NotProved::Length)?
    };
    let (mut old_hash, mut new_hash) = (*first, *first);
    for step in rest {
        if last == 0 {
            return Err(NotProved::Length);
        }
        if at & 1 == 1 || at == last {
            old_hash = node_hash(step, &old_hash);
            new_hash = node_hash(step, &new_hash);
            skip_right_edge(&mut at, &mut last);
        } else {
            new_hash = node_hash(&new_hash, step);
        }
        (at, last) = (at >> 1, last >> 1);
    }
    match (last == 0, old_hash == *old_root && new_hash == *new_root) {
        (false, _) => Err(NotProved::Length),
        (true, false) => Err(NotProved::Root),
        (true, true) => Ok(()),
    }
}

/// Leaves out the levels on which the right edge has no sibling.
fn skip_right_edge(at: &mut u64, last: &mut u64) {
    while *at & 1 == 0 && *at != 0 {
        (*at, *last) = (*at >> 1, *last >> 1);
    }
}

/// The greatest power of two below `leaves`, which is at least 2.
fn split(leaves: u64) -> u64 {
    1 << (leaves - 1).ilog2()
}

/// The root over the leaves from `from` up to, but not with, `to`.
///
/// *Invariant*: `from` is a multiple of the least power of two that is at least `to - from`,
/// which holds for every part that RFC 6962 splits a tree into.
fn range_root<N: Nodes + ?Sized>(
    from: u64,
    to: u64,
    nodes: &N,
) -> Result<Hash, ProveError<N::Error>> {
    let mut parts = Vec::new();
    let mut start = from;
    while start < to {
        let height = (to - start).ilog2();
        parts.push(nodes.node(height, start >> height).map_err(ProveError::Nodes)?);
        start += 1 << height;
    }
    let joined = parts.into_iter().rev().reduce(|right, left| node_hash(&left, &right));
    Ok(joined.unwrap_or_else(empty_root))
}
