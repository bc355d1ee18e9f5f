//! Store: what can be read, beside the writer and without a long transaction. Never writes.

mod tree;
mod walk;

use quell_core::id::{Digest, SourceName, Tenant};
use quell_core::order::Call;
use quell_core::time::Time;
use quell_evidence::Hash;
use quell_evidence::leaf::{BadHeader, Body, Header, Record, Salt};
use thiserror::Error;

use crate::commit::{Notice, WatchEntry};
use crate::frame::{BadFrame, StoredFrame};
use crate::seal::NoKey;

pub use tree::{ExportError, Tree, export};
pub use walk::{Frames, Records, StateRows};

/// Rows of one answer; a greater `limit` counts as this.
pub const MAX_ROWS: usize = 10_000;

/// Reads what was committed. Each method sees one moment; two calls may see two.
///
/// *Crash*: no method writes anything.
pub trait Views {
    /// Where the tenant's journal, evidence and lease stand.
    ///
    /// # Errors
    /// [`ReadError`], here as in all methods.
    fn head(&self, tenant: &str) -> Result<Head, ReadError>;

    /// State rows of a table after a key, ordered by key.
    fn state(
        &self,
        tenant: &str,
        table: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, Vec<u8>)>, ReadError>;

    /// One state row.
    fn state_row(&self, tenant: &str, table: &str, key: &str)
    -> Result<Option<Vec<u8>>, ReadError>;

    /// The frames of the row that holds frame `seq` or, where that is gone, of the next row.
    /// None at the end of the journal.
    fn group(&self, tenant: &str, seq: u64) -> Result<Option<Vec<StoredFrame>>, ReadError>;

    /// Evidence records from a number on.
    fn records(
        &self,
        tenant: &str,
        pick: Pick<'_>,
        from: u64,
        limit: usize,
    ) -> Result<Vec<StoredRecord>, ReadError>;

    /// Calls of the outbox that are not over, the earliest due first.
    fn outbox(&self, tenant: &str, limit: usize) -> Result<Vec<OutboxRow>, ReadError>;

    /// When the next unclaimed call is due.
    fn next_due(&self, tenant: &str) -> Result<Option<Time>, ReadError>;

    /// The watchlist as it stands at `now`, after an entry, ordered by kind and value.
    fn watch(
        &self,
        tenant: &str,
        now: Time,
        after: Option<(&str, &str)>,
        limit: usize,
    ) -> Result<Vec<WatchEntry>, ReadError>;

    /// Notices that are due at `now`, the longest due first.
    fn notices(&self, tenant: &str, now: Time, limit: usize) -> Result<Vec<Notice>, ReadError>;

    /// How far each source was read, ordered by name.
    fn cursors(&self, tenant: &str) -> Result<Vec<(SourceName, Vec<u8>)>, ReadError>;

    /// The bytes that were kept under a digest.
    fn blob(&self, tenant: &str, digest: &Digest) -> Result<Option<Vec<u8>>, ReadError>;

    /// How much there is.
    fn counts(&self, tenant: &str) -> Result<Counts, ReadError>;

    /// How many leaves the tenant's tree has.
    fn tree_size(&self, tenant: &str) -> Result<u64, ReadError>;

    /// Hashes of nodes of height `8 * level` (level 0 is the leaves), `count` from `first` on.
    fn nodes(
        &self,
        tenant: &str,
        level: u32,
        first: u64,
        count: u32,
    ) -> Result<Vec<Hash>, ReadError>;

    /// The newest checkpoint, or the newest whose size is at most `size`.
    fn checkpoint(
        &self,
        tenant: &str,
        size: Option<u64>,
    ) -> Result<Option<StoredCheckpoint>, ReadError>;
}

/// Where a tenant's journal, evidence and lease stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The number of the next frame; also how many there were.
    pub next_frame: u64,
    /// The time of the last frame.
    pub last_at: Option<Time>,
    /// The number of the next evidence record; also how many there are.
    pub next_record: u64,
    /// The leaf hash of the last record; zeros before the first.
    pub last_leaf: Hash,
    /// The epoch of the lease; 0 when nobody ever took it.
    pub epoch: u64,
    /// Who took it last.
    pub holder: Option<String>,
}

/// Which evidence records are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pick<'a> {
    /// All.
    All,
    /// Those of one type.
    Type(&'a str),
    /// Those that name an id among their references.
    Ref(&'a str),
}

/// An evidence record out of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRecord {
    /// The tenant whose record it is.
    pub tenant: Tenant,
    /// Its number, which is also its leaf index.
    pub seq: u64,
    /// Its type.
    pub record_type: String,
    /// When it was recorded.
    pub at: Time,
    /// The leaf hash of the record before.
    pub prev: Hash,
    /// SHA-256 of salt and body.
    pub digest: Hash,
    /// Its leaf hash.
    pub leaf: Hash,
    /// Salt and body, unless they were erased.
    pub body: Option<(Salt, Vec<u8>)>,
}

/// A call in the outbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxRow {
    /// The call.
    pub call: Call,
    /// By which epoch it is claimed and until when, if it is.
    pub claimed: Option<(u64, Time)>,
}

/// A signed head of a tenant's tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredCheckpoint {
    /// How many leaves it covers.
    pub size: u64,
    /// Their root.
    pub root: Hash,
    /// The log's name.
    pub origin: String,
    /// The signed note.
    pub note: String,
    /// When it was made.
    pub at: Time,
    /// How long its oldest new record waited for it, in microseconds.
    pub merge_delay: i64,
}

/// How much there is of a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Frames that were ever appended.
    pub frames: u64,
    /// Evidence records.
    pub records: u64,
    /// Calls that wait for dispatch.
    pub outbox_waiting: u64,
    /// Calls that are claimed.
    pub outbox_claimed: u64,
    /// Entries of the watchlist, lapsed ones that were not yet removed included.
    pub watch: u64,
    /// Notices not yet delivered.
    pub notices: u64,
}

/// Why something cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ReadError {
    /// The store does not answer.
    #[error("the store cannot be read: {0}")]
    Failed(String),
    /// Another program's schema.
    #[error("the store has schema `{found}`, this program reads schema `{known}`")]
    Schema {
        /// The schema of the store.
        found: u32,
        /// The one that this program reads.
        known: u32,
    },
    /// A row of the journal is damaged.
    #[error("frame `{seq}` of tenant `{tenant}` cannot be read: {cause}")]
    Frame {
        /// Whose journal.
        tenant: Tenant,
        /// The row's first frame.
        seq: u64,
        /// Why.
        cause: BadFrame,
    },
    /// A value is encrypted and does not open.
    #[error("row `{row}` of `{table}` cannot be read: {cause}")]
    Sealed {
        /// The table.
        table: &'static str,
        /// The row's key.
        row: String,
        /// Why.
        cause: Unopened,
    },
    /// Something else that is stored contradicts itself.
    #[error("the store is damaged: {0}")]
    Damaged(String),
    /// More was asked for than is in the tree.
    #[error("`{part}` is beyond a tree of `{size}` leaves")]
    Range {
        /// The leaf, size or node asked for.
        part: u64,
        /// The size of the tree.
        size: u64,
    },
}

/// Why an encrypted value does not open.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Unopened {
    /// Its key cannot be had.
    #[error(transparent)]
    Key(NoKey),
    /// The ciphertext is not the one that was written there.
    #[error("it does not open under key `{0}`: its bytes have changed or are another row's")]
    Forged(u32),
}

impl StoredRecord {
    /// The record as evidence.
    ///
    /// # Errors
    /// [`BadHeader`] where the store is damaged.
    pub fn record(&self) -> Result<Record<'_>, BadHeader> {
        let at = self.at.to_string();
        let header =
            Header::new(self.tenant.as_str(), self.seq, self.record_type.as_str(), at, self.prev)?;
        let body = match &self.body {
            Some((salt, bytes)) => Body::Kept { salt: *salt, bytes: bytes.as_slice().into() },
            None => Body::Erased { digest: self.digest },
        };
        Ok(Record { header, body })
    }

    /// The record as evidence, borrowing nothing.
    ///
    /// # Errors
    /// [`BadHeader`] where the store is damaged.
    pub fn into_record(self) -> Result<Record<'static>, BadHeader> {
        let header = self.record()?.header.into_owned();
        let body = match self.body {
            Some((salt, bytes)) => Body::Kept { salt, bytes: bytes.into() },
            None => Body::Erased { digest: self.digest },
        };
        Ok(Record { header, body })
    }
}
