//! Store: a tenant's tree as it is published: proofs, tiles, entries and the one bundle. Never
//! writes; what it gives was committed.

use quell_evidence::Hash;
use quell_evidence::bundle::{Broken, Writer};
use quell_evidence::leaf::BadHeader;
use quell_evidence::merkle::{self, Nodes, ProveError};
use quell_evidence::note::VerifierKey;
use quell_evidence::tile::{self, Tile};
use thiserror::Error;

use super::{Pick, ReadError, Records, Views};

/// The tree of one tenant, for the proofs of [`quell_evidence::merkle`].
#[derive(Clone, Copy)]
pub struct Tree<'a> {
    views: &'a dyn Views,
    tenant: &'a str,
}

impl std::fmt::Debug for Tree<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tree").field("tenant", &self.tenant).finish_non_exhaustive()
    }
}

impl<'a> Tree<'a> {
    /// The tree of `tenant`.
    pub fn new(views: &'a dyn Views, tenant: &'a str) -> Self {
        Self { views, tenant }
    }

    /// The root when the tree had `size` leaves.
    ///
    /// # Errors
    /// [`ReadError::Range`] beyond the tree.
    pub fn root(&self, size: u64) -> Result<Hash, ReadError> {
        self.within(size)?;
        merkle::root_at(size, self).map_err(unwrap_nodes)
    }

    /// The proof that record `seq` is in the tree of `size` leaves.
    ///
    /// # Errors
    /// [`ReadError::Range`] beyond the tree.
    pub fn inclusion(&self, seq: u64, size: u64) -> Result<Vec<Hash>, ReadError> {
        self.within(size)?;
        merkle::inclusion_proof(seq, size, self).map_err(unwrap_nodes)
    }

    /// The proof that the tree of `new` leaves continues the one of `old`.
    ///
    /// # Errors
    /// [`ReadError::Range`] beyond the tree.
    pub fn consistency(&self, old: u64, new: u64) -> Result<Vec<Hash>, ReadError> {
        self.within(new)?;
        merkle::consistency_proof(old, new, self).map_err(unwrap_nodes)
    }

    /// The bytes of a tile.
    ///
    /// # Errors
    /// [`ReadError::Range`] where the tree has no such tile, or not yet of that width.
    pub fn tile(&self, tile: Tile) -> Result<Vec<u8>, ReadError> {
        self.has(tile)?;
        let first = tile.index().saturating_mul(u64::from(tile::FULL));
        let (level, count) = (u32::from(tile.level()), u32::from(tile.width()));
        let hashes = self.views.nodes(self.tenant, level, first, count)?;
        Ok(hashes.concat())
    }

    /// The entry bundle of a tile of level 0: its leaves, without their bodies.
    ///
    /// # Errors
    /// [`ReadError::Range`] as for the tile; [`ReadError::Damaged`].
    pub fn entries(&self, tile: Tile) -> Result<Vec<u8>, ReadError> {
        self.has(tile)?;
        let first = tile.index().saturating_mul(u64::from(tile::FULL));
        let width = usize::from(tile.width());
        let records = self.views.records(self.tenant, Pick::All, first, width)?;
        let mut bundle = Vec::new();
        for record in records {
            let seq = record.seq;
            let damaged = |why: String| ReadError::Damaged(format!("evidence record {seq}: {why}"));
            let evidence = record.record().map_err(|error| damaged(error.to_string()))?;
            let mut leaf = Vec::new();
            evidence.header.encode_leaf(&record.digest, &mut leaf);
            tile::push_entry(&mut bundle, &leaf).map_err(|error| damaged(error.to_string()))?;
        }
        Ok(bundle)
    }

    fn has(&self, tile: Tile) -> Result<(), ReadError> {
        let size = self.views.tree_size(self.tenant)?;
        match Tile::in_tree(tile.level(), tile.index(), size) {
            Some(there) if there.width() >= tile.width() => Ok(()),
            _ => Err(ReadError::Range { part: tile.index(), size }),
        }
    }

    fn within(&self, part: u64) -> Result<(), ReadError> {
        let size = self.views.tree_size(self.tenant)?;
        if part <= size { Ok(()) } else { Err(ReadError::Range { part, size }) }
    }
}

impl Nodes for Tree<'_> {
    type Error = ReadError;

    fn node(&self, height: u32, index: u64) -> Result<Hash, ReadError> {
        let (level, above) = (height / 8, height % 8);
        let first = index.checked_mul(1 << above);
        let beyond = || ReadError::Range { part: index, size: u64::MAX };
        let hashes = self.views.nodes(self.tenant, level, first.ok_or_else(beyond)?, 1 << above)?;
        let damaged = || ReadError::Damaged(format!("node {index} of height {height} is missing"));
        merkle::LeafHashes(&hashes).node(above, 0).map_err(|_| damaged())
    }
}

fn unwrap_nodes(error: ProveError<ReadError>) -> ReadError {
    match error {
        ProveError::Nodes(error) => error,
        ProveError::Range { part, size } => ReadError::Range { part, size },
    }
}

/// Why no bundle was written.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ExportError {
    /// Something cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// No checkpoint was signed yet.
    #[error("the log of tenant `{0}` has no checkpoint yet")]
    NoCheckpoint(String),
    /// A record's header has not its form.
    #[error("evidence record `{seq}` is damaged: {cause}")]
    Header {
        /// Its number.
        seq: u64,
        /// Why.
        cause: BadHeader,
    },
    /// The records are not what the checkpoint covers, or the key is not the one that signed it.
    #[error("no bundle can be written: {0}")]
    Broken(#[from] Broken),
    /// Whoever takes the bundle failed.
    #[error("the bundle cannot be written: {0}")]
    Sink(String),
}

/// Writes the bundle of all records that the newest checkpoint covers, part by part.
///
/// # Errors
/// [`ExportError`]; what `sink` has got by then is no bundle, for its last line is missing.
pub fn export(
    views: &dyn Views,
    tenant: &str,
    key: &VerifierKey,
    mut sink: impl FnMut(&[u8]) -> Result<(), String>,
) -> Result<(), ExportError> {
    let nothing = || ExportError::NoCheckpoint(tenant.to_owned());
    let checkpoint = views.checkpoint(tenant, None)?.ok_or_else(nothing)?;
    let writer = Writer::new(checkpoint.note.as_bytes(), key, tenant)?;
    let covered = usize::try_from(writer.size()).unwrap_or(usize::MAX);
    let mut failed = None;
    let records = Records::new(views, tenant, Pick::All, 0).take(covered).map_while(|record| {
        let read = record.map_err(ExportError::Read).and_then(|record| {
            let seq = record.seq;
            record.into_record().map_err(|cause| ExportError::Header { seq, cause })
        });
        read.map_err(|error| failed = Some(error)).ok()
    });
    let written = writer.write(records, |part| sink(part).map_err(ExportError::Sink));
    match failed {
        Some(error) => Err(error),
        None => written,
    }
}
