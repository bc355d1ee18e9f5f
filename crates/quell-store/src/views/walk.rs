//! Store: walks over frames, records and state rows, a page at a time, so that no reader holds
//! the write-ahead log for long. Never writes.

use std::fmt;
use std::vec::IntoIter;

use super::{Pick, ReadError, StoredRecord, Views};
use crate::frame::StoredFrame;

/// Rows of state or evidence that are read at once.
const PAGE: usize = 256;

/// Frames of a journal from a number on, decompressed, to its end.
///
/// After an error there is nothing more.
pub struct Frames<'a> {
    views: &'a dyn Views,
    tenant: &'a str,
    next: u64,
    page: IntoIter<StoredFrame>,
    over: bool,
}

/// Evidence records from a number on, to the last.
///
/// After an error there is nothing more.
pub struct Records<'a> {
    views: &'a dyn Views,
    tenant: &'a str,
    pick: Pick<'a>,
    next: u64,
    page: IntoIter<StoredRecord>,
    over: bool,
}

/// The rows of a state table, ordered by key.
///
/// After an error there is nothing more.
pub struct StateRows<'a> {
    views: &'a dyn Views,
    tenant: &'a str,
    table: &'a str,
    after: Option<String>,
    page: IntoIter<(String, Vec<u8>)>,
    over: bool,
}

impl<'a> Frames<'a> {
    /// Starts at frame `from`.
    pub fn new(views: &'a dyn Views, tenant: &'a str, from: u64) -> Self {
        Self { views, tenant, next: from, page: Vec::new().into_iter(), over: false }
    }
}

impl<'a> Records<'a> {
    /// Starts at record `from`.
    pub fn new(views: &'a dyn Views, tenant: &'a str, pick: Pick<'a>, from: u64) -> Self {
        Self { views, tenant, pick, next: from, page: Vec::new().into_iter(), over: false }
    }
}

impl<'a> StateRows<'a> {
    /// Starts at the first row.
    pub fn new(views: &'a dyn Views, tenant: &'a str, table: &'a str) -> Self {
        Self { views, tenant, table, after: None, page: Vec::new().into_iter(), over: false }
    }
}

impl Iterator for Frames<'_> {
    type Item = Result<StoredFrame, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            // The row that holds the first wanted frame may begin before it.
            let wanted = self.next;
            if let Some(frame) = self.page.by_ref().find(|frame| frame.seq >= wanted) {
                self.next = frame.seq.saturating_add(1);
                return Some(Ok(frame));
            }
            if self.over {
                return None;
            }
            match self.views.group(self.tenant, self.next) {
                Ok(Some(frames)) => self.page = frames.into_iter(),
                Ok(None) => self.over = true,
                Err(error) => {
                    self.over = true;
                    return Some(Err(error));
                }
            }
        }
    }
}

impl Iterator for Records<'_> {
    type Item = Result<StoredRecord, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.page.len() == 0 && !self.over {
            match self.views.records(self.tenant, self.pick, self.next, PAGE) {
                Ok(records) => {
                    self.over = records.len() < PAGE;
                    self.page = records.into_iter();
                }
                Err(error) => {
                    self.over = true;
                    return Some(Err(error));
                }
            }
        }
        let record = self.page.next()?;
        self.next = record.seq.saturating_add(1);
        Some(Ok(record))
    }
}

impl Iterator for StateRows<'_> {
    type Item = Result<(String, Vec<u8>), ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.page.len() == 0 && !self.over {
            match self.views.state(self.tenant, self.table, self.after.as_deref(), PAGE) {
                Ok(rows) => {
                    self.over = rows.len() < PAGE;
                    self.after = rows.last().map(|(key, _)| key.clone());
                    self.page = rows.into_iter();
                }
                Err(error) => {
                    self.over = true;
                    return Some(Err(error));
                }
            }
        }
        self.page.next().map(Ok)
    }
}

impl fmt::Debug for Frames<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frames").field("next", &self.next).finish_non_exhaustive()
    }
}

impl fmt::Debug for Records<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Records").field("next", &self.next).finish_non_exhaustive()
    }
}

impl fmt::Debug for StateRows<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StateRows").field("after", &self.after).finish_non_exhaustive()
    }
}
