//! Store: the write-ahead log's upkeep. PASSIVE checkpoints run beside the writer and never make
//! it wait; the writer restarts the log itself, where little is left to move or above its limit.

use std::time::Duration;

use rusqlite::Connection;

use super::{WRITER_PATIENCE, failed, int};
use crate::commit::WriteError;

/// Moves committed pages from the write-ahead log into the database.
#[derive(Debug)]
pub struct Maintainer {
    conn: Connection,
    page_bytes: u64,
}

/// What one round of upkeep found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Maintained {
    /// Bytes in use in the write-ahead log.
    pub log_bytes: u64,
    /// How many of them are in the database too.
    pub moved_bytes: u64,
    /// Another checkpoint ran at the same time, so that this one did nothing.
    pub busy: bool,
}

/// How the write-ahead log fared since the store was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WalFigures {
    /// Bytes in use when last looked at.
    pub log_bytes: u64,
    /// How often the writer restarted the log.
    pub restarts: u64,
    /// How often it wanted to and a reader or a checkpoint stood in the way, or the disk failed.
    pub refused: u64,
}

/// The writer's own account of the log.
#[derive(Debug)]
pub(super) struct Wal {
    limit_bytes: u64,
    page_bytes: u64,
    /// Bytes written since the log was last looked at, roughly.
    unseen_bytes: u64,
    figures: WalFigures,
}

/// The answer of `PRAGMA wal_checkpoint`.
struct Answer {
    busy: bool,
    log_pages: u64,
    moved_pages: u64,
}

impl Maintainer {
    pub(super) fn new(conn: Connection) -> Self {
        Self { conn, page_bytes: 4096 }
    }

    /// Moves what no reader still needs; call it a few times a second on a thread of its own.
    ///
    /// # Errors
    /// [`WriteError`]; the log keeps what could not be moved.
    ///
    /// *Crash*: nothing is lost, for what is moved stays in the log until all of it is moved and
    /// synced.
    pub fn maintain(&mut self) -> Result<Maintained, WriteError> {
        let answer = checkpoint(&self.conn, "PASSIVE").map_err(failed)?;
        Ok(Maintained {
            log_bytes: answer.log_pages.saturating_mul(self.page_bytes),
            moved_bytes: answer.moved_pages.saturating_mul(self.page_bytes),
            busy: answer.busy,
        })
    }
}

impl Wal {
    pub(super) fn new(limit_bytes: u64, page_bytes: u32) -> Self {
        let figures = WalFigures::default();
        let page_bytes = u64::from(page_bytes);
        Self { limit_bytes, page_bytes, unseen_bytes: u64::MAX, figures }
    }

    pub(super) fn figures(&self) -> WalFigures {
        self.figures
    }

    /// Counts what a commit adds to the log.
    pub(super) fn wrote(&mut self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        // A commit also rewrites some pages of indices and rows.
        self.unseen_bytes = self.unseen_bytes.saturating_add(bytes).saturating_add(64 << 10);
    }

    /// Restarts the log where it is beyond its limit, or earlier where that costs nearly nothing:
    /// under a steady load a checkpoint beside the writer never meets the moment in which all of
    /// the log is moved. What fails here is tried again: the commit that follows needs none of it.
    pub(super) fn before_write(&mut self, conn: &Connection) {
        if self.unseen_bytes < self.limit_bytes / 256 {
            return;
        }
        self.unseen_bytes = 0;
        let Ok(seen) = checkpoint(conn, "NOOP") else { return };
        self.figures.log_bytes = seen.log_pages.saturating_mul(self.page_bytes);
        let left = seen.log_pages.saturating_sub(seen.moved_pages).saturating_mul(self.page_bytes);
        let easy = self.figures.log_bytes > self.limit_bytes / 4 && left <= self.limit_bytes / 64;
        if self.figures.log_bytes > self.limit_bytes {
            // Looked at again at once where the restart is refused.
            self.unseen_bytes = u64::MAX;
            self.figures.refused += u64::from(!self.restart(conn));
        } else if easy && conn.busy_timeout(Duration::ZERO).is_ok() {
            self.restart(conn);
            // Whoever waits for nobody fails sooner, which is no fault of the commit's.
            drop(conn.busy_timeout(WRITER_PATIENCE));
        }
    }

    fn restart(&mut self, conn: &Connection) -> bool {
        let done = checkpoint(conn, "RESTART").is_ok_and(|answer| !answer.busy);
        if done {
            self.figures.restarts += 1;
            self.figures.log_bytes = 0;
            self.unseen_bytes = 0;
        }
        done
    }
}

/// Empties the log into the database, so that nothing erased is left in it.
///
/// *Crash*: nothing is lost; old bytes may still be in the log.
pub(super) fn truncate(conn: &Connection) -> Result<bool, WriteError> {
    checkpoint(conn, "TRUNCATE").map(|answer| !answer.busy).map_err(failed)
}

fn checkpoint(conn: &Connection, mode: &str) -> rusqlite::Result<Answer> {
    // SQLite answers -1 for an empty log.
    let pages = |pages: i64| u64::try_from(pages).unwrap_or(0);
    let sql = format!("PRAGMA wal_checkpoint({mode})");
    conn.prepare_cached(&sql)?.query_row([], |row| {
        Ok(Answer {
            busy: row.get::<_, i64>(0)? != int(0),
            log_pages: pages(row.get(1)?),
            moved_pages: pages(row.get(2)?),
        })
    })
}
