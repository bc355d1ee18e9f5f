//! Evidence: canonical records, Merkle tree, checkpoints, proofs, bundles and their offline
//! verification. Pure: no input or output, clock, randomness, async or logging, and nothing of
//! ours below it, so that an auditor can build the verifier from this crate alone.
//!
//! In reading order: [`digest`] shows digests, [`canonical`] is the one encoding of JSON,
//! [`leaf`] turns a record into a leaf hash, [`merkle`] grows the tree and proves things about
//! it, [`tile`] publishes it, [`note`] signs text, [`checkpoint`] is the signed head of a tree,
//! [`bundle`] is the one file that verifies offline.

pub mod digest;

pub mod canonical;

pub mod leaf;

pub mod merkle;

pub mod tile;

pub mod note;

pub mod checkpoint;

pub mod bundle;

pub use digest::Hash;
