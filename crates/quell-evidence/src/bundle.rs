//! Evidence: bundle v1, the one file from which a tenant's whole log is verified offline. Never
//! reads a file, and never trusts one word of a bundle before all of it holds.
//!
//! Lines of canonical JSON, each ending in a newline: first the head
//! `{checkpoint, format, key, origin, records, tenant}`, then for each record in leaf order
//! `{body, index, leaf, salt}`, or `{index, leaf}` where it was erased. `leaf` and `body` are the
//! very bytes that were hashed. The last line is `sha256:<hex>` of all bytes before it.

mod chain;
mod verify;
mod write;

use thiserror::Error;

use crate::canonical::{Caps, MAX_BYTES, MAX_DEPTH, NotCanonical};
use crate::checkpoint::BadCheckpoint;
use crate::leaf::BadLeaf;

pub use verify::{Verified, verify, verify_each};
pub use write::{Writer, write};

/// What the member `format` of the head says.
pub const FORMAT: &str = "quell/bundle/v1";

/// Bytes of the last line: the written digest and a newline.
const LAST_LINE_BYTES: usize = crate::digest::WRITTEN_BYTES + 1;

/// A body is as great as any record's, and lies one level deeper; a leaf and a salt stand by it.
const LINE_CAPS: Caps = Caps { depth: MAX_DEPTH + 1, bytes: MAX_BYTES + 4096 };

/// Why a bundle proves nothing. Records are named by their place, from 0.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Broken {
    /// No last line with a digest, for example because the end is missing.
    #[error("the bundle does not end in a line with its digest: it is cut off")]
    End,
    /// Some byte was changed.
    #[error("the bundle's digest is not that of its bytes: it was changed or damaged")]
    Digest,
    /// A line is not canonical JSON.
    #[error("line {line}: {cause}")]
    Line {
        /// The line, from 1.
        line: u64,
        /// What is wrong with it.
        cause: NotCanonical,
    },
    /// The head has not exactly its members.
    #[error("the head has not the members checkpoint, format, key, origin, records and tenant")]
    Head,
    /// Another format, for example of a later version.
    #[error("the format `{}` is not `quell/bundle/v1`", .0.escape_debug())]
    Format(String),
    /// Signed by another key than the one at hand.
    #[error("the bundle is signed by `{}`, not `{expected}`", .named.escape_debug())]
    Key {
        /// The key at hand.
        expected: String,
        /// The key that the bundle names.
        named: String,
    },
    /// The checkpoint in the bundle does not hold.
    #[error("the bundle's checkpoint: {0}")]
    Checkpoint(BadCheckpoint),
    /// The checkpoint is of another log than the head says.
    #[error(
        "the checkpoint is of the log `{}`, not `{}`",
        .found.escape_debug(),
        .named.escape_debug()
    )]
    Origin {
        /// The origin that the head names.
        named: String,
        /// The origin of the checkpoint.
        found: String,
    },
    /// The tenant cannot be one.
    #[error("the tenant `{}` is not 1 to 128 bytes without control characters", .0.escape_debug())]
    Tenant(String),
    /// Fewer or more records than the checkpoint covers.
    #[error("the checkpoint covers {covered} records, the bundle has {found}")]
    Count {
        /// How many leaves the checkpoint covers.
        covered: u64,
        /// How many there are, as far as they were read.
        found: u64,
    },
    /// A record's line has not exactly its members.
    #[error("record {0} has not the members body, index, leaf and salt, or index and leaf alone")]
    Record(u64),
    /// A record stands at another place than it says.
    #[error("record {0} says that it stands at another place")]
    Index(u64),
    /// A record's salt is not canonical base64 of 32 bytes.
    #[error("the salt of record {0} is not canonical base64 of 32 bytes")]
    Salt(u64),
    /// A record's leaf is none.
    #[error("record {index}: {cause}")]
    Leaf {
        /// The record.
        index: u64,
        /// What is wrong with its leaf.
        cause: BadLeaf,
    },
    /// A record's body is not canonical JSON.
    #[error("the body of record {index}: {cause}")]
    Body {
        /// The record.
        index: u64,
        /// What is wrong with its body.
        cause: NotCanonical,
    },
    /// Salt and body do not give the digest in the leaf.
    #[error("the body of record {0} is not the one that its leaf commits to")]
    OtherBody(u64),
    /// A record belongs to another tenant.
    #[error("record {0} belongs to another tenant")]
    OtherTenant(u64),
    /// The sequence has a gap, a repetition or another order.
    #[error("record {index} has the sequence number {found}: one is missing, repeated or moved")]
    Seq {
        /// The record, and the sequence number that it should have.
        index: u64,
        /// The number that it has.
        found: u64,
    },
    /// A record does not follow the one before it.
    #[error("record {0} does not carry the leaf hash of the record before it")]
    Prev(u64),
    /// The records are not those that the checkpoint commits to.
    #[error("the records do not give the root of the checkpoint")]
    Root,
    /// The held checkpoint does not hold itself.
    #[error("the held checkpoint: {0}")]
    Held(BadCheckpoint),
    /// The held checkpoint is of another log.
    #[error(
        "the held checkpoint is of the log `{}`, not `{}`",
        .held.escape_debug(),
        .found.escape_debug()
    )]
    HeldOrigin {
        /// The origin of the held checkpoint.
        held: String,
        /// The origin of the bundle.
        found: String,
    },
    /// The bundle ends before the held checkpoint: records are missing, or it is an older export.
    #[error("the held checkpoint covers {held} records, the bundle ends after {found}")]
    Truncated {
        /// How many leaves the held checkpoint covers.
        held: u64,
        /// How many the bundle covers.
        found: u64,
    },
    /// The log was forked or rewritten: its beginning is not what was once signed.
    #[error("the first {0} records are not those of the held checkpoint: the log was rewritten")]
    Rewritten(u64),
}
