//! Store: everything on one SQLite database in one folder. One process writes; readers and
//! maintenance use connections of their own. Never checkpoints on the way of a commit, unless
//! the write-ahead log grew beyond its limit.

mod blobs;
mod commit;
mod keys;
mod ledger;
mod lock;
mod maintain;
mod migrate;
mod place;
mod sequence;
mod views;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};
use thiserror::Error;

use crate::commit::WriteError;
use crate::salt::{OsSalts, Salts};
use crate::seal::{Keyring, OuterKey};
use crate::store::Store;
use crate::views::{ReadError, Views};

pub use maintain::{Maintained, Maintainer, WalFigures};
pub use views::SqliteViews;

use keys::Stored;
use lock::FolderLock;
use maintain::Wal;

/// The database's name in its folder.
pub const DATABASE: &str = "quell.db";

/// The lock's name in the folder.
pub const LOCK: &str = "quell.lock";

/// `QUEL` in ASCII, so that `file` and we know whose database it is.
const APPLICATION_ID: i32 = 0x5155_454c;

/// How long the writer waits for a reader or a checkpoint.
const WRITER_PATIENCE: Duration = Duration::from_secs(1);

/// How long a reader waits for a recovery.
const READER_PATIENCE: Duration = Duration::from_secs(5);

/// How a store is opened.
pub struct Options {
    /// Where salts, nonces and data keys come from.
    pub salts: Box<dyn Salts>,
    /// The key that wraps the data keys. Without one, what is written from now on is in clear; a
    /// store that holds anything encrypted does not open without its key.
    pub key: Option<OuterKey>,
    /// Above this the writer itself restarts the write-ahead log, in bytes.
    pub wal_limit_bytes: u64,
    /// A cap on the database, in pages of 4096 bytes, beyond which it counts as full.
    pub max_pages: Option<u32>,
}

/// The writer. There is one in all processes; [`Store::views`] reads beside it.
pub struct SqliteStore {
    conn: Connection,
    path: PathBuf,
    salts: Box<dyn Salts>,
    keys: Arc<Keyring>,
    wal: Wal,
    halted: bool,
    /// Dropped last, so that the next process opens a database that is closed.
    _lock: FolderLock,
}

/// Why a store cannot be opened.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum OpenError {
    /// The folder cannot be made or used.
    #[error("the store's folder `{}` cannot be used: {cause}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        cause: String,
    },
    /// Another process writes to it.
    #[error("the store `{}` is in use by {}", path.display(), by(*pid))]
    InUse {
        /// The folder.
        path: PathBuf,
        /// The process, where the lock file names one.
        pid: Option<u32>,
    },
    /// A newer program has written it.
    #[error("the store has schema `{found}`, this program knows up to `{known}`: use a newer one")]
    Newer {
        /// The schema of the store.
        found: u32,
        /// The newest that this program knows.
        known: u32,
    },
    /// Not a store, or one whose schema was changed by hand.
    #[error("`{}` is not a store of quell: {cause}", path.display())]
    Foreign {
        /// The database.
        path: PathBuf,
        /// What is wrong.
        cause: String,
    },
    /// Something in it is encrypted.
    #[error("the store is encrypted and no key was given")]
    NoKey,
    /// Something in it is encrypted, and not with this key.
    #[error("the store is encrypted under another key than the one given")]
    OtherKey,
    /// As with any write.
    #[error("the store cannot be opened: {0}")]
    Write(#[from] WriteError),
}

impl Default for Options {
    fn default() -> Self {
        Self { salts: Box::new(OsSalts), key: None, wal_limit_bytes: 256 << 20, max_pages: None }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("key", &self.key)
            .field("wal_limit_bytes", &self.wal_limit_bytes)
            .field("max_pages", &self.max_pages)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore")
            .field("path", &self.path)
            .field("wal", &self.wal)
            .field("halted", &self.halted)
            .finish_non_exhaustive()
    }
}

impl SqliteStore {
    /// Opens the store in `folder`, made where there is none, and brings its schema up to date.
    ///
    /// # Errors
    /// [`OpenError`].
    ///
    /// *Crash*: the store is as before, or one or more migrations further; the next opening goes
    /// on from there. What was committed is recovered by the next opening, and nothing else.
    pub fn open(folder: &Path, options: Options) -> Result<Self, OpenError> {
        let lock = FolderLock::take(folder)?;
        let path = folder.join(DATABASE);
        let mut conn = connect(&path, true)?;
        migrate::refuse_foreign(&conn, &path)?;
        let keys = Arc::new(Keyring::new(options.key));
        keys::learn(&conn, &keys)?;
        set_up_writer(&conn)?;
        migrate::migrate(&mut conn, &path)?;
        if let Some(pages) = options.max_pages {
            conn.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))
                .map_err(failed)?;
        }
        let page_bytes: u32 =
            conn.pragma_query_value(None, "page_size", |row| row.get(0)).map_err(failed)?;
        let wal = Wal::new(options.wal_limit_bytes, page_bytes);
        let salts = options.salts;
        Ok(Self { conn, path, salts, keys, wal, halted: false, _lock: lock })
    }

    /// A connection that moves committed pages into the database, for a thread beside the writer.
    ///
    /// # Errors
    /// [`OpenError::Write`].
    ///
    /// *Crash*: nothing is written by this.
    pub fn maintainer(&self) -> Result<Maintainer, OpenError> {
        let conn = connect(&self.path, true)?;
        set_up_writer(&conn)?;
        Ok(Maintainer::new(conn))
    }

    /// How the write-ahead log fares.
    pub fn wal(&self) -> WalFigures {
        self.wal.figures()
    }

    /// Runs `body` in one transaction that is durable when this returns `Ok`.
    ///
    /// *Crash*: all that `body` wrote is there, or nothing of it.
    fn write<T, E: From<WriteError>>(
        &mut self,
        body: impl FnOnce(&Connection, &mut dyn Salts) -> Result<T, E>,
    ) -> Result<T, E> {
        self.not_halted()?;
        self.wal.before_write(&self.conn);
        statement(&self.conn, "BEGIN IMMEDIATE").map_err(failed)?;
        let result = body(&self.conn, self.salts.as_mut());
        let value = match result {
            Ok(value) => value,
            Err(error) => {
                self.roll_back();
                return Err(error);
            }
        };
        match statement(&self.conn, "COMMIT") {
            Ok(()) => Ok(value),
            Err(error) => {
                self.roll_back();
                // A full disk is noticed before the commit's last page is in the log, which makes
                // the rest of it void. Any other failure may have come after it.
                match failed(error) {
                    WriteError::Full => Err(WriteError::Full.into()),
                    other => {
                        self.halted = true;
                        Err(WriteError::Unsure(other.to_string()).into())
                    }
                }
            }
        }
    }

    /// The data keys, with the table behind them.
    fn stored(&self) -> Stored<'_> {
        Stored { conn: &self.conn, ring: &self.keys }
    }

    /// Refuses to go on after a write that may have happened.
    fn not_halted(&self) -> Result<(), WriteError> {
        if self.halted { Err(WriteError::Halted) } else { Ok(()) }
    }

    /// Ends a transaction without a trace. Some errors have ended it already.
    fn roll_back(&mut self) {
        if !self.conn.is_autocommit() && statement(&self.conn, "ROLLBACK").is_err() {
            self.halted = true;
        }
    }
}

impl Store for SqliteStore {
    fn views(&self) -> Result<Box<dyn Views + Send>, ReadError> {
        Ok(Box::new(SqliteViews::at(&self.path, Arc::clone(&self.keys))?))
    }

    fn purge(&mut self) -> Result<bool, WriteError> {
        Self::purge(self)
    }
}

/// Opens a connection with the settings that every connection shares, changing nothing.
fn connect(path: &Path, write: bool) -> Result<Connection, WriteError> {
    let mode = if write {
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE
    } else {
        OpenFlags::SQLITE_OPEN_READ_ONLY
    };
    let conn = Connection::open_with_flags(path, mode | OpenFlags::SQLITE_OPEN_NO_MUTEX)
        .map_err(failed)?;
    conn.busy_timeout(if write { WRITER_PATIENCE } else { READER_PATIENCE }).map_err(failed)?;
    conn.set_prepared_statement_cache_capacity(64);
    let set = "PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON;";
    conn.execute_batch(set).map_err(failed)?;
    Ok(conn)
}

/// Sets what makes a commit durable, and keeps checkpoints off its way.
///
/// The cache is small on purpose: SQLite walks all of it at the end of a transaction in which a
/// tree was balanced (`pcache1TruncateUnsafe`, since balancing uses the lock page's number).
fn set_up_writer(conn: &Connection) -> Result<(), WriteError> {
    conn.execute_batch(
        "PRAGMA page_size = 4096;
         PRAGMA journal_mode = WAL;
         PRAGMA synchronous = FULL;
         PRAGMA wal_autocheckpoint = 0;
         PRAGMA secure_delete = ON;
         PRAGMA cache_size = -8192;",
    )
    .map_err(failed)
}

/// Runs a statement without parameters or rows.
fn statement(conn: &Connection, sql: &str) -> rusqlite::Result<()> {
    conn.prepare_cached(sql)?.execute([]).map(|_| ())
}

/// What an error of SQLite means for a write that is not yet being made durable.
#[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` hands over")]
fn failed(error: rusqlite::Error) -> WriteError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => WriteError::Full,
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            WriteError::Damaged(error.to_string())
        }
        _ if is_conversion(&error) => WriteError::Damaged(error.to_string()),
        _ => WriteError::Failed(error.to_string()),
    }
}

/// What an error of SQLite means for a reader.
fn unread(error: rusqlite::Error) -> ReadError {
    match failed(error) {
        WriteError::Damaged(cause) => ReadError::Damaged(cause),
        WriteError::Failed(cause) => ReadError::Failed(cause),
        other => ReadError::Failed(other.to_string()),
    }
}

/// True when a value of a row has not the type that was written.
fn is_conversion(error: &rusqlite::Error) -> bool {
    matches!(
        error,
        rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::IntegralValueOutOfRange(..)
            | rusqlite::Error::InvalidColumnType(..)
    )
}

/// A number as SQLite holds it; ours stay below 2^53.
fn int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A number out of a row that is never negative.
fn unsigned(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let number: i64 = row.get(column)?;
    u64::try_from(number).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, number))
}

fn by(pid: Option<u32>) -> String {
    match pid {
        Some(pid) => format!("process `{pid}`"),
        None => "another process".to_owned(),
    }
}

#[cfg(test)]
mod crash;
#[cfg(test)]
mod tests;
