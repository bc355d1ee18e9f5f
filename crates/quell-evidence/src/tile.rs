//! Evidence: the tree as files (c2sp.org/tlog-tiles). Never reads or writes a file: it names
//! them, fills them, and asks the caller for them.

mod appender;

use thiserror::Error;

use crate::digest::Hash;
use crate::merkle::{MAX_SIZE, Nodes, ProveError, perfect_root};

pub use appender::TileAppender;

/// Hashes of a full tile, and entries of a full entry bundle.
pub const FULL: u16 = 256;

/// The greatest level that a path may name.
pub const MAX_LEVEL: u8 = 63;

/// Bytes of one entry, as many as its two bytes of length can say.
pub const MAX_ENTRY_BYTES: usize = 0xffff;

/// Levels between one tile and the one above it.
const HEIGHT: u32 = 8;

/// Levels of tiles that a tree of [`MAX_SIZE`] leaves fills.
const LEVELS: u8 = 7;

/// One tile: up to 256 consecutive hashes of one height of the tree.
///
/// *Invariant*: the level is at most 63, the index below 2^53, the width 1 to 256.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tile {
    level: u8,
    index: u64,
    width: u16,
}

/// What a path names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Path {
    /// `tile/<L>/<N>[.p/<W>]`: hashes.
    Hashes(Tile),
    /// `tile/entries/<N>[.p/<W>]`: the leaves under the tile of level 0.
    Entries(Tile),
}

/// Why something is not a tile, a path or an entry bundle.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BadTile {
    /// Out of range.
    #[error("no tile of level `{level}`, index `{index}` and width `{width}`")]
    Range {
        /// The level that was given.
        level: u8,
        /// The index that was given.
        index: u64,
        /// The width that was given.
        width: u16,
    },
    /// Not a path of a tile, or not in its one form.
    #[error("not the path of a tile")]
    Path,
    /// Another number of bytes than the width demands.
    #[error("a tile of `{width}` hashes has not `{bytes}` bytes")]
    Length {
        /// Hashes of the tile.
        width: u16,
        /// Bytes at hand.
        bytes: usize,
    },
    /// An entry longer than its two bytes of length can say.
    #[error("an entry of `{0}` bytes is longer than 65535")]
    Entry(usize),
    /// An entry bundle that ends within an entry, or with another number of entries.
    #[error("an entry bundle ends within an entry or has not `{0}` entries")]
    Entries(u16),
}

/// Why [`TileNodes`] cannot give a hash.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NoTile<E> {
    /// Beyond the size of the tree.
    #[error("no node of height `{height}` at `{index}`")]
    Node {
        /// The height that was asked for.
        height: u32,
        /// The index that was asked for.
        index: u64,
    },
    /// The tile was fetched and is none.
    #[error("`{path}`: {bad}")]
    Bad {
        /// The path of the tile.
        path: String,
        /// What is wrong with it.
        bad: BadTile,
    },
    /// The tile could not be fetched.
    #[error("{0}")]
    Fetch(E),
}

/// [`Nodes`] out of the tiles of a tree, which `fetch` brings; it is asked again each time.
#[derive(Debug, Clone)]
pub struct TileNodes<F> {
    size: u64,
    fetch: F,
}

impl Tile {
    /// Makes a tile.
    ///
    /// # Errors
    /// [`BadTile::Range`].
    pub fn new(level: u8, index: u64, width: u16) -> Result<Self, BadTile> {
        if level > MAX_LEVEL || index > MAX_SIZE || !(1..=FULL).contains(&width) {
            return Err(BadTile::Range { level, index, width });
        }
        Ok(Self { level, index, width })
    }

    /// The tile of this level and index as a tree of `size` leaves has it: full, partial or not.
    #[must_use]
    pub fn in_tree(level: u8, index: u64, size: u64) -> Option<Self> {
        let hashes = hashes_at(level, size).checked_sub(index.checked_mul(u64::from(FULL))?)?;
        let width = u16::try_from(hashes.min(u64::from(FULL))).ok()?;
        Self::new(level, index, width).ok()
    }

    /// The level: 0 holds leaf hashes, each further one the roots of full tiles below.
    #[must_use]
    pub fn level(&self) -> u8 {
        self.level
    }

    /// Which tile of its level it is, from 0.
    #[must_use]
    pub fn index(&self) -> u64 {
        self.index
    }

    /// How many hashes it holds, 1 to 256.
    #[must_use]
    pub fn width(&self) -> u16 {
        self.width
    }

    /// `tile/<L>/<N>[.p/<W>]`.
    #[must_use]
    pub fn path(&self) -> String {
        self.path_under(&self.level.to_string())
    }

    /// `tile/entries/<N>[.p/<W>]`: where the leaves of this tile of level 0 are.
    #[must_use]
    pub fn entries_path(&self) -> String {
        self.path_under("entries")
    }

    /// The hashes of the tile, out of the hashes of the tree.
    ///
    /// # Errors
    /// What `nodes` answers.
    pub fn bytes<N: Nodes + ?Sized>(&self, nodes: &N) -> Result<Vec<u8>, ProveError<N::Error>> {
        let first = self.index.saturating_mul(u64::from(FULL));
        let mut out = Vec::with_capacity(usize::from(self.width) * 32);
        for offset in 0..u64::from(self.width) {
            let height = u32::from(self.level) * HEIGHT;
            let hash = nodes.node(height, first + offset).map_err(ProveError::Nodes)?;
            out.extend_from_slice(&hash);
        }
        Ok(out)
    }

    /// Takes the bytes of the tile apart.
    ///
    /// # Errors
    /// [`BadTile::Length`] unless there are exactly as many as the width demands.
    pub fn hashes(&self, bytes: &[u8]) -> Result<Vec<Hash>, BadTile> {
        let (hashes, rest) = bytes.as_chunks::<32>();
        if !rest.is_empty() || hashes.len() != usize::from(self.width) {
            return Err(BadTile::Length { width: self.width, bytes: bytes.len() });
        }
        Ok(hashes.to_vec())
    }

    fn path_under(&self, kind: &str) -> String {
        let mut groups = vec![format!("{:03}", self.index % 1_000)];
        let mut rest = self.index / 1_000;
        while rest > 0 {
            groups.push(format!("x{:03}", rest % 1_000));
            rest /= 1_000;
        }
        groups.reverse();
        let index = groups.join("/");
        if self.width == FULL {
            format!("tile/{kind}/{index}")
        } else {
            format!("tile/{kind}/{index}.p/{}", self.width)
        }
    }
}

impl Path {
    /// Reads a path, as a request for it would bring.
    ///
    /// # Errors
    /// [`BadTile::Path`] for every other form of the same path.
    pub fn parse(path: &str) -> Result<Self, BadTile> {
        let (kind, place) = path
            .strip_prefix("tile/")
            .filter(|_| path.len() <= 64)
            .and_then(|rest| rest.split_once('/'))
            .ok_or(BadTile::Path)?;
        let (index, width) = match place.split_once(".p/") {
            Some((index, width)) => (index, width.parse().map_err(|_| BadTile::Path)?),
            None => (place, FULL),
        };
        let mut number = 0_u64;
        for group in index.split('/') {
            let digits: u64 = group.trim_start_matches('x').parse().map_err(|_| BadTile::Path)?;
            number = number.checked_mul(1_000).ok_or(BadTile::Path)?;
            number = number.checked_add(digits).ok_or(BadTile::Path)?;
        }
        let level = if kind == "entries" { Ok(0) } else { kind.parse() };
        let level = level.map_err(|_| BadTile::Path)?;
        let tile = Tile::new(level, number, width).map_err(|_| BadTile::Path)?;
        let read = if kind == "entries" { Self::Entries(tile) } else { Self::Hashes(tile) };
        // Leading zeros, signs, short groups and a written width of 256 all fail here.
        if read.to_text() == path { Ok(read) } else { Err(BadTile::Path) }
    }

    /// Writes the path.
    #[must_use]
    pub fn to_text(&self) -> String {
        match self {
            Self::Hashes(tile) => tile.path(),
            Self::Entries(tile) => tile.entries_path(),
        }
    }
}

/// The tiles that a tree gains or widens as it grows from `old` to `new` leaves, lowest level
/// first. Partial tiles are among them, so a checkpoint of `new` can be served.
pub fn grown(old: u64, new: u64) -> impl Iterator<Item = Tile> {
    (0..LEVELS).flat_map(move |level| {
        let (before, now) = (hashes_at(level, old), hashes_at(level, new));
        let first = before / u64::from(FULL);
        let end = if before < now { now.div_ceil(u64::from(FULL)) } else { first };
        (first..end).filter_map(move |index| Tile::in_tree(level, index, new))
    })
}

/// Appends one entry to an entry bundle: two bytes of length, big-endian, and the entry.
///
/// # Errors
/// [`BadTile::Entry`]; `bundle` is then as it was.
pub fn push_entry(bundle: &mut Vec<u8>, entry: &[u8]) -> Result<(), BadTile> {
    let length = u16::try_from(entry.len()).map_err(|_| BadTile::Entry(entry.len()))?;
    bundle.extend_from_slice(&length.to_be_bytes());
    bundle.extend_from_slice(entry);
    Ok(())
}

/// Takes an entry bundle apart that has `width` entries.
///
/// # Errors
/// [`BadTile::Entries`] where it ends early, late, or within an entry.
pub fn entries(bundle: &[u8], width: u16) -> Result<Vec<&[u8]>, BadTile> {
    let bad = || BadTile::Entries(width);
    let mut found = Vec::new();
    let mut rest = bundle;
    while let Some((length, tail)) = rest.split_first_chunk::<2>() {
        let length = usize::from(u16::from_be_bytes(*length));
        let (entry, tail) = tail.split_at_checked(length).ok_or_else(bad)?;
        found.push(entry);
        rest = tail;
        if found.len() > usize::from(width) {
            return Err(bad());
        }
    }
    if rest.is_empty() && found.len() == usize::from(width) { Ok(found) } else { Err(bad()) }
}

impl<F, E> TileNodes<F>
where
    F: Fn(Tile) -> Result<Vec<u8>, E>,
{
    /// Reads a tree of `size` leaves through `fetch`.
    #[must_use]
    pub fn new(size: u64, fetch: F) -> Self {
        Self { size, fetch }
    }
}

impl<F, E> Nodes for TileNodes<F>
where
    F: Fn(Tile) -> Result<Vec<u8>, E>,
{
    type Error = NoTile<E>;

    fn node(&self, height: u32, index: u64) -> Result<Hash, NoTile<E>> {
        let none = || NoTile::Node { height, index };
        let level = u8::try_from(height / HEIGHT).map_err(|_| none())?;
        let width = 1_usize << (height % HEIGHT);
        let first = index.checked_mul(1 << (height % HEIGHT)).ok_or_else(none)?;
        let number = first / u64::from(FULL);
        let tile = Tile::in_tree(level, number, self.size).ok_or_else(none)?;
        let bytes = (self.fetch)(tile).map_err(NoTile::Fetch)?;
        let bad = |bad| NoTile::Bad { path: tile.path(), bad };
        let hashes = tile.hashes(&bytes).map_err(bad)?;
        let offset = usize::try_from(first % u64::from(FULL)).map_err(|_| none())?;
        let part = hashes.get(offset..offset + width).ok_or_else(none)?;
        perfect_root(part).ok_or_else(none)
    }
}

/// How many hashes a tree of `size` leaves has on a level of tiles.
fn hashes_at(level: u8, size: u64) -> u64 {
    size.checked_shr(u32::from(level) * HEIGHT).unwrap_or(0)
}

#[cfg(test)]
mod tests;
