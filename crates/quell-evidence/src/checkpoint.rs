//! Evidence: the signed head of a tree (c2sp.org/tlog-checkpoint). Never says that two heads
//! belong together: that is what a consistency proof is for.

use data_encoding::BASE64;
use thiserror::Error;

use crate::digest::Hash;
use crate::merkle;
use crate::note::{BadNote, Note, SignerKey, VerifierKey};

/// Bytes of an origin.
pub const MAX_ORIGIN_BYTES: usize = 255;

/// What a log commits to: so many leaves under this root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    origin: String,
    size: u64,
    root: Hash,
}

/// Why something is not a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BadCheckpoint {
    /// Not a note, or not signed by the key.
    #[error("{0}")]
    Note(#[from] BadNote),
    /// Not three lines; our logs write no extension lines.
    #[error("a checkpoint has three lines: origin, size, root")]
    Lines,
    /// Empty, too long, or with control characters.
    #[error("an origin is 1 to 255 bytes without control characters")]
    Origin,
    /// Not a decimal without leading zeros up to 2^53 - 1.
    #[error("the size `{}` is not a decimal up to 2^53 - 1", .0.escape_debug())]
    Size(String),
    /// Not base64 of 32 bytes.
    #[error("the root is not canonical base64 of 32 bytes")]
    Root,
    /// The empty tree has one root.
    #[error("the root of an empty tree is the SHA-256 of nothing")]
    EmptyRoot,
}

impl Checkpoint {
    /// Makes a checkpoint.
    ///
    /// # Errors
    /// [`BadCheckpoint`] where a field has not the form that the format gives it.
    pub fn new(origin: &str, size: u64, root: Hash) -> Result<Self, BadCheckpoint> {
        if !is_origin(origin) {
            return Err(BadCheckpoint::Origin);
        }
        if size > merkle::MAX_SIZE {
            return Err(BadCheckpoint::Size(size.to_string()));
        }
        if size == 0 && root != merkle::empty_root() {
            return Err(BadCheckpoint::EmptyRoot);
        }
        Ok(Self { origin: origin.to_owned(), size, root })
    }

    /// The name of the log.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// How many leaves the tree has.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The root of the tree.
    #[must_use]
    pub fn root(&self) -> &Hash {
        &self.root
    }

    /// Writes the three lines that are signed.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut out = format!("{}\n{}\n", self.origin, self.size);
        BASE64.encode_append(&self.root, &mut out);
        out.push('\n');
        out
    }

    /// Signs the checkpoint as a note.
    ///
    /// # Errors
    /// [`BadCheckpoint::Note`], which no valid checkpoint and key lead to.
    pub fn sign(&self, key: &SignerKey) -> Result<Note, BadCheckpoint> {
        let mut note = Note::new(self.to_text())?;
        note.sign(key)?;
        Ok(note)
    }

    /// Reads a note and checks that this key signed it as a checkpoint.
    ///
    /// The origin is not compared with anything: do so where one is expected.
    ///
    /// # Errors
    /// [`BadCheckpoint`] for any other bytes.
    pub fn open(note: &[u8], key: &VerifierKey) -> Result<Self, BadCheckpoint> {
        let note = Note::parse(note)?;
        note.verify(key)?;
        Self::parse(note.text())
    }

    /// Reads the three lines. Nothing is verified.
    ///
    /// # Errors
    /// [`BadCheckpoint`] unless [`Checkpoint::to_text`] would write exactly this text.
    pub fn parse(text: &str) -> Result<Self, BadCheckpoint> {
        let mut lines = text.strip_suffix('\n').ok_or(BadCheckpoint::Lines)?.split('\n');
        let mut next = || lines.next().ok_or(BadCheckpoint::Lines);
        let (origin, size, root) = (next()?, next()?, next()?);
        if lines.next().is_some() {
            return Err(BadCheckpoint::Lines);
        }
        let bad_size = || BadCheckpoint::Size(size.chars().take(20).collect());
        let number: u64 = size.parse().map_err(|_| bad_size())?;
        if number.to_string() != size {
            return Err(bad_size());
        }
        let root = BASE64.decode(root.as_bytes()).map_err(|_| BadCheckpoint::Root)?;
        let root = root.try_into().map_err(|_| BadCheckpoint::Root)?;
        Self::new(origin, number, root)
    }
}

/// Whether a text can name a log.
pub(crate) fn is_origin(text: &str) -> bool {
    (1..=MAX_ORIGIN_BYTES).contains(&text.len()) && !text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests;
