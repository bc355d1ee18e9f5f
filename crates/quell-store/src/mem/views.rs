//! Store: reading a [`MemDisk`]. Never writes.

use std::ops::Bound;

use quell_core::id::{Digest, SourceName};
use quell_core::time::Time;
use quell_evidence::Hash;

use super::MemDisk;
use super::room::Room;
use crate::commit::{Notice, WatchEntry};
use crate::frame::{self, StoredFrame};
use crate::seal::NoKeys;
use crate::tree;
use crate::views::{
    Counts, Head, MAX_ROWS, OutboxRow, Pick, ReadError, StoredCheckpoint, StoredRecord, Views,
};

/// A reader of a [`MemDisk`].
#[derive(Debug, Clone)]
pub struct MemViews {
    disk: MemDisk,
}

impl MemViews {
    pub(super) fn new(disk: MemDisk) -> Self {
        Self { disk }
    }

    /// What `read` gives for the tenant's room, or for an empty one.
    fn room<T>(&self, tenant: &str, read: impl FnOnce(&Room) -> T) -> T {
        let shared = self.disk.lock();
        match shared.rooms.get(tenant) {
            Some(room) => read(room),
            None => read(&Room::default()),
        }
    }
}

impl Views for MemViews {
    fn head(&self, tenant: &str) -> Result<Head, ReadError> {
        Ok(self.room(tenant, |room| {
            let tip = room.tip();
            Head {
                next_frame: tip.next_frame,
                last_at: tip.last_at,
                next_record: tip.next_record,
                last_leaf: tip.last_leaf,
                epoch: room.epoch,
                holder: room.holder.clone(),
            }
        }))
    }

    fn state(
        &self,
        tenant: &str,
        table: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, Vec<u8>)>, ReadError> {
        let from = (Bound::Excluded(after.unwrap_or("")), Bound::Unbounded);
        Ok(self.room(tenant, |room| {
            let rows = room.state.get(table).into_iter();
            let rows = rows.flat_map(|rows| rows.range::<str, _>(from));
            let rows = rows.map(|(key, value)| (key.clone(), value.clone()));
            rows.take(limit.min(MAX_ROWS)).collect()
        }))
    }

    fn state_row(
        &self,
        tenant: &str,
        table: &str,
        key: &str,
    ) -> Result<Option<Vec<u8>>, ReadError> {
        Ok(self.room(tenant, |room| room.state.get(table)?.get(key).cloned()))
    }

    fn group(&self, tenant: &str, seq: u64) -> Result<Option<Vec<StoredFrame>>, ReadError> {
        self.room(tenant, |room| {
            let holds = room.groups.range(..=seq).next_back();
            let holds = holds.filter(|(first, group)| *first + u64::from(group.frames) > seq);
            let next = || room.groups.range(seq..).next();
            let Some((first, group)) = holds.or_else(next) else { return Ok(None) };
            let bad = |cause| ReadError::Frame { tenant: tenant.to_owned(), seq: *first, cause };
            frame::read_group(*first, group.frames, &group.bytes, &NoKeys).map(Some).map_err(bad)
        })
    }

    fn records(
        &self,
        tenant: &str,
        pick: Pick<'_>,
        from: u64,
        limit: usize,
    ) -> Result<Vec<StoredRecord>, ReadError> {
        let limit = limit.min(MAX_ROWS);
        let start = usize::try_from(from).unwrap_or(usize::MAX);
        Ok(self.room(tenant, |room| {
            let all = room.records.iter().skip(start);
            match pick {
                Pick::All => all.take(limit).cloned().collect(),
                Pick::Type(name) => {
                    all.filter(|record| record.record_type == name).take(limit).cloned().collect()
                }
                Pick::Ref(id) => {
                    let seqs = room.refs.get(id).into_iter().flat_map(|seqs| seqs.range(from..));
                    let at = |seq: &u64| room.records.get(usize::try_from(*seq).ok()?).cloned();
                    seqs.filter_map(at).take(limit).collect()
                }
            }
        }))
    }

    fn outbox(&self, tenant: &str, limit: usize) -> Result<Vec<OutboxRow>, ReadError> {
        let mut rows = self.room(tenant, Room::calls).map_err(ReadError::Damaged)?;
        rows.truncate(limit.min(MAX_ROWS));
        Ok(rows)
    }

    fn next_due(&self, tenant: &str) -> Result<Option<Time>, ReadError> {
        let rows = self.room(tenant, Room::calls).map_err(ReadError::Damaged)?;
        Ok(rows.iter().find(|row| row.claimed.is_none()).map(|row| row.call.due))
    }

    fn watch(
        &self,
        tenant: &str,
        now: Time,
        after: Option<(&str, &str)>,
        limit: usize,
    ) -> Result<Vec<WatchEntry>, ReadError> {
        let (kind, value) = after.unwrap_or(("", ""));
        let after = (Bound::Excluded((kind.to_owned(), value.to_owned())), Bound::Unbounded);
        Ok(self.room(tenant, |room| {
            let entries = room.watch.range(after).map(|(_, entry)| entry);
            let valid = entries.filter(|entry| entry.until.is_none_or(|until| until > now));
            valid.take(limit.min(MAX_ROWS)).cloned().collect()
        }))
    }

    fn notices(&self, tenant: &str, now: Time, limit: usize) -> Result<Vec<Notice>, ReadError> {
        Ok(self.room(tenant, |room| {
            let mut due: Vec<&Notice> =
                room.notices.values().filter(|notice| notice.due <= now).collect();
            due.sort_by_key(|notice| (notice.due, &notice.id));
            due.into_iter().take(limit.min(MAX_ROWS)).cloned().collect()
        }))
    }

    fn cursors(&self, tenant: &str) -> Result<Vec<(SourceName, Vec<u8>)>, ReadError> {
        Ok(self.room(tenant, |room| {
            room.cursors.iter().map(|(source, value)| (source.clone(), value.clone())).collect()
        }))
    }

    fn blob(&self, tenant: &str, digest: &Digest) -> Result<Option<Vec<u8>>, ReadError> {
        let packed = self.room(tenant, |room| room.blobs.get(digest).cloned());
        packed.map(|packed| packed.unpack().map_err(ReadError::Damaged)).transpose()
    }

    fn counts(&self, tenant: &str) -> Result<Counts, ReadError> {
        let rows = self.room(tenant, Room::calls).map_err(ReadError::Damaged)?;
        let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        let claimed = number(rows.iter().filter(|row| row.claimed.is_some()).count());
        Ok(self.room(tenant, |room| Counts {
            frames: room.tip().next_frame,
            records: room.tip().next_record,
            outbox_waiting: number(rows.len()).saturating_sub(claimed),
            outbox_claimed: claimed,
            watch: number(room.watch.len()),
            notices: number(room.notices.len()),
        }))
    }

    fn tree_size(&self, tenant: &str) -> Result<u64, ReadError> {
        Ok(self.room(tenant, Room::tree_size))
    }

    fn nodes(
        &self,
        tenant: &str,
        level: u32,
        first: u64,
        count: u32,
    ) -> Result<Vec<Hash>, ReadError> {
        let end = first.saturating_add(u64::from(count.min(tree::MAX_NODES)));
        self.room(tenant, |room| {
            let end = tree::nodes_within(room.tree_size(), level, end)?;
            let gap = || ReadError::Damaged(format!("the tree of tenant `{tenant}` has a gap"));
            let node = |index| match level {
                0 => room.records.get(usize::try_from(index).ok()?).map(|record| record.leaf),
                _ => room.nodes.get(&(level, index)).copied(),
            };
            (first..end).map(|index| node(index).ok_or_else(gap)).collect()
        })
    }

    fn checkpoint(
        &self,
        tenant: &str,
        size: Option<u64>,
    ) -> Result<Option<StoredCheckpoint>, ReadError> {
        Ok(self.room(tenant, |room| {
            let newest = room.checkpoints.range(..=size.unwrap_or(u64::MAX)).next_back();
            newest.map(|(_, checkpoint)| checkpoint.clone())
        }))
    }
}
