//! Evidence: fills tiles as a tree grows, each hash computed once. Never holds more than the
//! partial tiles of the right edge.

use super::{BadTile, FULL, LEVELS, NoTile, Tile, hashes_at};
use crate::digest::Hash;
use crate::merkle::perfect_root;

/// The partial tiles of a growing tree: at most 255 hashes on each of 7 levels.
///
/// *Invariant*: level `l` holds the last `floor(size / 256^l) mod 256` hashes of its height.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TileAppender {
    size: u64,
    levels: Vec<Vec<Hash>>,
}

impl TileAppender {
    /// An empty tree.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes up a tree of `size` leaves, whose partial tiles `fetch` brings.
    ///
    /// # Errors
    /// What `fetch` answers; [`NoTile::Bad`] for a tile of another length.
    pub fn resume<E>(
        size: u64,
        mut fetch: impl FnMut(Tile) -> Result<Vec<u8>, E>,
    ) -> Result<Self, NoTile<E>> {
        let mut levels = Vec::new();
        for level in 0..LEVELS {
            let hashes = hashes_at(level, size);
            if hashes == 0 {
                break;
            }
            let Some(tile) = Tile::in_tree(level, hashes / u64::from(FULL), size) else {
                levels.push(Vec::new());
                continue;
            };
            let bytes = fetch(tile).map_err(NoTile::Fetch)?;
            let bad = |bad: BadTile| NoTile::Bad { path: tile.path(), bad };
            levels.push(tile.hashes(&bytes).map_err(bad)?);
        }
        Ok(Self { size, levels })
    }

    /// How many leaves the tree has.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Adds one leaf by its hash, and the tiles that it fills to `full`.
    pub fn append(&mut self, leaf_hash: Hash, full: &mut Vec<(Tile, Vec<u8>)>) {
        self.size = self.size.saturating_add(1);
        let mut hash = leaf_hash;
        for level in 0..LEVELS {
            let place = usize::from(level);
            if self.levels.len() <= place {
                self.levels.push(Vec::new());
            }
            let Some(hashes) = self.levels.get_mut(place) else { break };
            hashes.push(hash);
            if hashes.len() < usize::from(FULL) {
                break;
            }
            let index = (hashes_at(level, self.size) / u64::from(FULL)).saturating_sub(1);
            let filled = std::mem::take(hashes);
            if let (Ok(tile), Some(root)) = (Tile::new(level, index, FULL), perfect_root(&filled)) {
                full.push((tile, filled.concat()));
                hash = root;
            }
        }
    }

    /// The partial tiles as they are now, lowest level first.
    pub fn partial(&self) -> impl Iterator<Item = (Tile, Vec<u8>)> {
        (0..LEVELS).zip(&self.levels).filter_map(|(level, hashes)| {
            let index = hashes_at(level, self.size) / u64::from(FULL);
            let tile = Tile::in_tree(level, index, self.size)?;
            Some((tile, hashes.concat()))
        })
    }
}
