//! Store: what one tenant has in a [`super::MemDisk`]. Checks everything before it changes
//! anything, so that a change is whole.

use std::collections::{BTreeMap, BTreeSet};

use quell_core::id::Digest;
use quell_core::order::Call;
use quell_core::time::Time;
use quell_evidence::Hash;

use crate::commit::{
    CallKey, Commit, CommitError, Committed, Erasure, Notice, Refusal, WatchChange, WatchEntry,
    WriteError,
};
use crate::frame::{self, Remains};
use crate::packed::PackedBlob;
use crate::ready::{self, Ready, Tip};
use crate::seal::Seal;
use crate::store::MAX_CALLS;
use crate::tree::Growth;
use crate::views::{OutboxRow, StoredCheckpoint, StoredRecord};

/// Everything of one tenant.
#[derive(Debug, Default)]
pub(super) struct Room {
    pub(super) epoch: u64,
    pub(super) holder: Option<String>,
    /// By the number of the first frame.
    pub(super) groups: BTreeMap<u64, Group>,
    pub(super) state: BTreeMap<String, BTreeMap<String, Vec<u8>>>,
    pub(super) records: Vec<StoredRecord>,
    pub(super) refs: BTreeMap<String, BTreeSet<u64>>,
    outbox: BTreeMap<CallKey, Row>,
    pub(super) watch: BTreeMap<(String, String), WatchEntry>,
    pub(super) notices: BTreeMap<String, Notice>,
    pub(super) cursors: BTreeMap<String, Vec<u8>>,
    tree: Growth,
    pub(super) nodes: BTreeMap<(u32, u64), Hash>,
    pub(super) checkpoints: BTreeMap<u64, StoredCheckpoint>,
    pub(super) blobs: BTreeMap<Digest, PackedBlob<'static>>,
}

/// The frames of one commit.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) frames: u32,
    pub(super) at: Time,
    pub(super) bytes: Vec<u8>,
}

/// A call in the outbox; over once it has no body.
#[derive(Debug)]
struct Row {
    due: Time,
    claimed: Option<(u64, Time)>,
    body: Option<Vec<u8>>,
}

impl Room {
    pub(super) fn tip(&self) -> Tip {
        let group = self.groups.last_key_value();
        Tip {
            next_frame: group.map_or(0, |(seq, group)| seq + u64::from(group.frames)),
            last_at: group.map(|(_, group)| group.at),
            next_record: self.records.last().map_or(0, |record| record.seq + 1),
            last_leaf: self.records.last().map_or(Tip::START.last_leaf, |record| record.leaf),
        }
    }

    /// Refuses what contradicts what is here.
    pub(super) fn check(&self, commit: &Commit, ready: &Ready<'_>) -> Result<(), CommitError> {
        for one in &ready.calls {
            if self.outbox.contains_key(&CallKey::of(one.call)) {
                return Err(ready::again(one.call).into());
            }
        }
        let tip = self.tip();
        for erasure in &commit.effects.erasures {
            let (part, seq, next) = match *erasure {
                Erasure::Record { seq } => {
                    ("record", seq, tip.next_record + u64::from(ready.record_count()))
                }
                Erasure::Frame { seq } | Erasure::Part { seq, .. } => {
                    ("frame", seq, tip.next_frame + u64::from(ready.frames))
                }
            };
            if seq >= next {
                return Err(Refusal::NothingToErase { part, seq }.into());
            }
        }
        Ok(())
    }

    /// Applies a commit that was checked.
    pub(super) fn apply(&mut self, commit: &Commit, ready: &Ready<'_>) -> Committed {
        let tip = self.tip();
        if let (Some(at), true) = (ready.last_at, ready.frames > 0) {
            let group = Group { frames: ready.frames, at, bytes: ready.group.clone() };
            self.groups.insert(tip.next_frame, group);
        }
        self.apply_records(commit, ready);
        for ((table, key), value) in &ready.state {
            let rows = self.state.entry((*table).to_owned()).or_default();
            match value {
                Some(value) => rows.insert((*key).to_owned(), value.to_vec()),
                None => rows.remove(*key),
            };
        }
        for one in &ready.calls {
            let row = Row { due: one.call.due, claimed: None, body: Some(one.body.clone()) };
            self.outbox.insert(CallKey::of(one.call), row);
        }
        for key in &commit.effects.outbox_dones {
            if let Some(row) = self.outbox.get_mut(key) {
                row.body = None;
            }
        }
        self.apply_rest(commit);
        for erasure in &commit.effects.erasures {
            self.erase(erasure);
        }
        Committed {
            journal_seq: tip.next_frame,
            frames: ready.frames,
            first_record_seq: tip.next_record,
            records: ready.record_count(),
        }
    }

    fn apply_records(&mut self, commit: &Commit, ready: &Ready<'_>) {
        for record in &ready.records {
            for reference in &record.draft.refs {
                self.refs.entry(reference.clone()).or_default().insert(record.seq);
            }
            self.records.push(StoredRecord {
                tenant: commit.tenant.clone(),
                seq: record.seq,
                record_type: record.draft.record_type.clone(),
                at: record.draft.at,
                prev: record.prev,
                digest: record.digest,
                leaf: record.leaf,
                body: Some((record.salt, record.draft.body.clone())),
            });
        }
    }

    fn apply_rest(&mut self, commit: &Commit) {
        for change in &commit.effects.watch {
            match change {
                WatchChange::Put(entry) => {
                    let key = (entry.kind.clone(), entry.value.clone());
                    self.watch.insert(key, entry.clone());
                }
                WatchChange::Remove { kind, value } => {
                    self.watch.remove(&(kind.clone(), value.clone()));
                }
            }
        }
        for notice in &commit.effects.notice_puts {
            self.notices.insert(notice.id.clone(), notice.clone());
        }
        for id in &commit.effects.notice_dones {
            self.notices.remove(id);
        }
        for (source, value) in &commit.effects.cursors {
            self.cursors.insert(source.clone(), value.clone());
        }
    }

    fn erase(&mut self, erasure: &Erasure) {
        match erasure {
            Erasure::Record { seq } => {
                let place = usize::try_from(*seq).unwrap_or(usize::MAX);
                if let Some(record) = self.records.get_mut(place) {
                    record.body = None;
                }
            }
            Erasure::Frame { seq } => self.rewrite(*seq, Remains::Nothing),
            Erasure::Part { seq, rest } => self.rewrite(*seq, Remains::Body(rest)),
        }
    }

    fn rewrite(&mut self, seq: u64, remains: Remains<'_>) {
        if let Some((first, group)) = self.groups.range_mut(..=seq).next_back()
            && let Ok((bytes, _)) = frame::rewrite(
                (*first, group.frames),
                &group.bytes,
                seq,
                remains,
                &mut Seal::clear(),
            )
        {
            group.bytes = bytes;
        }
    }

    /// Calls of the outbox that are not over, the earliest due first.
    pub(super) fn calls(&self) -> Result<Vec<OutboxRow>, String> {
        let mut rows: Vec<(&CallKey, &Row)> =
            self.outbox.iter().filter(|(_, row)| row.body.is_some()).collect();
        rows.sort_by_cached_key(|(key, row)| {
            (row.due, key.order.to_string(), key.verb.name(), key.attempt)
        });
        let read = |(_, row): (&CallKey, &Row)| {
            let call = ready::decode_call(row.body.as_deref().unwrap_or_default())?;
            Ok(OutboxRow { call, claimed: row.claimed })
        };
        rows.into_iter().map(read).collect()
    }

    pub(super) fn due(&self, now: Time, limit: usize) -> Result<Vec<Call>, WriteError> {
        let due = |row: &OutboxRow| row.claimed.is_none() && row.call.due <= now;
        self.some_calls(due, limit)
    }

    pub(super) fn orphans(&self, epoch: u64, now: Time) -> Result<Vec<Call>, WriteError> {
        let lost = |(by, until): (u64, Time)| by != epoch || until < now;
        self.some_calls(|row| row.claimed.is_some_and(lost), MAX_CALLS)
    }

    fn some_calls(
        &self,
        pick: impl Fn(&OutboxRow) -> bool,
        limit: usize,
    ) -> Result<Vec<Call>, WriteError> {
        let rows = self.calls().map_err(WriteError::Damaged)?;
        let picked = rows.into_iter().filter(pick).map(|row| row.call);
        Ok(picked.take(limit.min(MAX_CALLS)).collect())
    }

    pub(super) fn claim(&mut self, calls: &[Call], epoch: u64, until: Time) {
        for call in calls {
            if let Some(row) = self.outbox.get_mut(&CallKey::of(call)) {
                row.claimed = Some((epoch, until));
            }
        }
    }

    pub(super) fn release(&mut self, calls: &[CallKey], epoch: u64) {
        for key in calls {
            if let Some(row) = self.outbox.get_mut(key)
                && row.claimed.is_some_and(|(by, _)| by == epoch)
            {
                row.claimed = None;
            }
        }
    }

    /// The tree's size and the leaves that come next.
    pub(super) fn leaves(&self, limit: usize) -> (u64, Vec<Hash>) {
        let size = self.tree.size();
        let done = usize::try_from(size).unwrap_or(usize::MAX);
        let next = self.records.iter().skip(done).take(limit);
        (size, next.map(|record| record.leaf).collect())
    }

    pub(super) fn grow(&mut self, leaves: &[Hash]) -> u64 {
        let mut nodes = Vec::new();
        for leaf in leaves {
            self.tree.append(*leaf, &mut nodes);
        }
        for node in nodes {
            self.nodes.insert((node.level, node.index), node.hash);
        }
        self.tree.size()
    }

    pub(super) fn tree_size(&self) -> u64 {
        self.tree.size()
    }
}
