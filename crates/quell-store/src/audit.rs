//! Store: reads all of a tenant's journal and evidence and says whether they hold together.
//! Trusts nothing that is stored: every hash is computed again. Never repairs.

use quell_core::time::Time;
use quell_evidence::checkpoint::{BadCheckpoint, Checkpoint};
use quell_evidence::leaf::{BadHeader, FIRST_PREV};
use quell_evidence::merkle::Appender;
use quell_evidence::note::{Note, VerifierKey};
use thiserror::Error;

use crate::frame::Content;
use crate::views::{Frames, Pick, ReadError, Records, StoredCheckpoint, Tree, Views};

/// What was found to hold together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Audited {
    /// Frames, whole and in order.
    pub frames: u64,
    /// Those of them that are tombstones.
    pub erased_frames: u64,
    /// Evidence records, gap-free and chained.
    pub records: u64,
    /// Those of them without a body.
    pub erased_records: u64,
    /// Leaves of the tree, which are the first so many records.
    pub leaves: u64,
    /// Checkpoints, each of them a head of this tree.
    pub checkpoints: u64,
}

/// What does not hold together.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AuditError {
    /// Something cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A number is missing or comes twice.
    #[error("{part} `{expected}` is missing, `{found}` stands in its place")]
    Gap {
        /// Frame or record.
        part: &'static str,
        /// The number that is due.
        expected: u64,
        /// The number found.
        found: u64,
    },
    /// A frame is older than the one before it.
    #[error("frame `{seq}` is older than the one before it")]
    WentBack {
        /// Its number.
        seq: u64,
    },
    /// A record's header has not its form.
    #[error("evidence record `{seq}` is no record: {cause}")]
    Header {
        /// Its number.
        seq: u64,
        /// Why.
        cause: BadHeader,
    },
    /// A record does not name the one before it.
    #[error("evidence record `{seq}` does not follow the one before it")]
    Chain {
        /// Its number.
        seq: u64,
    },
    /// A record's body or leaf was changed.
    #[error("evidence record `{seq}` is not the one that was written")]
    Leaf {
        /// Its number.
        seq: u64,
    },
    /// The tree is not that of the records.
    #[error("the tree of `{size}` leaves is not that of the records")]
    Tree {
        /// Its size.
        size: u64,
    },
    /// A checkpoint is not a head of the tree.
    #[error("the checkpoint of size `{size}` is not a head of the tree: {cause}")]
    Checkpoint {
        /// Its size.
        size: u64,
        /// Why.
        cause: String,
    },
}

/// Audits a tenant; with `key`, the signatures of all checkpoints too.
///
/// Memory is bounded but for 200 bytes a checkpoint.
///
/// # Errors
/// [`AuditError`]: the first thing that does not hold.
pub fn audit(
    views: &dyn Views,
    tenant: &str,
    key: Option<&VerifierKey>,
) -> Result<Audited, AuditError> {
    let mut audited = Audited::default();
    frames(views, tenant, &mut audited)?;
    records(views, tenant, key, &mut audited)?;
    Ok(audited)
}

fn frames(views: &dyn Views, tenant: &str, audited: &mut Audited) -> Result<(), AuditError> {
    let mut last = Time(i64::MIN);
    for frame in Frames::new(views, tenant, 0) {
        let frame = frame?;
        in_place("frame", audited.frames, frame.seq)?;
        if frame.at < last {
            return Err(AuditError::WentBack { seq: frame.seq });
        }
        last = frame.at;
        audited.frames += 1;
        audited.erased_frames += u64::from(matches!(frame.content, Content::Erased { .. }));
    }
    in_place("frame", audited.frames, views.head(tenant)?.next_frame)
}

fn records(
    views: &dyn Views,
    tenant: &str,
    key: Option<&VerifierKey>,
    audited: &mut Audited,
) -> Result<(), AuditError> {
    let mut heads = heads(views, tenant)?;
    let size = views.tree_size(tenant)?;
    let mut tree = Appender::new();
    let mut prev = FIRST_PREV;
    check_heads(&mut heads, &tree, key, audited)?;
    for record in Records::new(views, tenant, Pick::All, 0) {
        let record = record?;
        let seq = record.seq;
        in_place("evidence record", audited.records, seq)?;
        let evidence = record.record().map_err(|cause| AuditError::Header { seq, cause })?;
        if record.prev != prev {
            return Err(AuditError::Chain { seq });
        }
        if evidence.body.digest() != record.digest || evidence.leaf_hash() != record.leaf {
            return Err(AuditError::Leaf { seq });
        }
        prev = record.leaf;
        audited.records += 1;
        audited.erased_records += u64::from(record.body.is_none());
        if seq < size {
            tree.append(record.leaf);
            check_heads(&mut heads, &tree, key, audited)?;
        }
    }
    in_place("evidence record", audited.records, views.head(tenant)?.next_record)?;
    if tree.size() != size || Tree::new(views, tenant).root(size)? != tree.root() {
        return Err(AuditError::Tree { size });
    }
    if let Some(head) = heads.pop() {
        let cause = format!("the tree has {size} leaves");
        return Err(AuditError::Checkpoint { size: head.size, cause });
    }
    audited.leaves = size;
    Ok(())
}

/// All checkpoints, the greatest first.
fn heads(views: &dyn Views, tenant: &str) -> Result<Vec<StoredCheckpoint>, ReadError> {
    let mut heads = Vec::new();
    let mut next = views.checkpoint(tenant, None)?;
    while let Some(head) = next {
        next = match head.size.checked_sub(1) {
            Some(below) => views.checkpoint(tenant, Some(below))?,
            None => None,
        };
        heads.push(head);
    }
    Ok(heads)
}

/// Checks and takes off the checkpoint of the tree's present size, if there is one.
fn check_heads(
    heads: &mut Vec<StoredCheckpoint>,
    tree: &Appender,
    key: Option<&VerifierKey>,
    audited: &mut Audited,
) -> Result<(), AuditError> {
    let Some(head) = heads.pop_if(|head| head.size == tree.size()) else { return Ok(()) };
    let wrong = |cause: String| AuditError::Checkpoint { size: head.size, cause };
    let signed = read_note(&head.note, key).map_err(|error| wrong(error.to_string()))?;
    let stored = signed.size() == head.size && signed.origin() == head.origin;
    if !stored || *signed.root() != head.root || head.root != tree.root() {
        return Err(wrong("it names another tree".to_owned()));
    }
    audited.checkpoints += 1;
    Ok(())
}

fn read_note(note: &str, key: Option<&VerifierKey>) -> Result<Checkpoint, BadCheckpoint> {
    match key {
        Some(key) => Checkpoint::open(note.as_bytes(), key),
        None => Checkpoint::parse(Note::parse(note.as_bytes())?.text()),
    }
}

fn in_place(part: &'static str, expected: u64, found: u64) -> Result<(), AuditError> {
    if expected == found { Ok(()) } else { Err(AuditError::Gap { part, expected, found }) }
}
