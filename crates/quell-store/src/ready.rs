//! Store: turns a commit into what is written, for every implementation alike. Pure but for the
//! salts; refuses whatever could not be read back.

use std::collections::{BTreeMap, BTreeSet};

use quell_core::order::Call;
use quell_core::time::Time;
use quell_evidence::Hash;
use quell_evidence::canonical;
use quell_evidence::leaf::{self, FIRST_PREV, Header, Salt};

use crate::commit::{
    CallKey, Commit, CommitError, Effects, MAX_KEY_BYTES, MAX_NAME_BYTES, MAX_REFS,
    MAX_VALUE_BYTES, RecordDraft, Refusal, WatchChange, WriteError,
};
use crate::frame::{Frame, MAX_GROUP_BYTES, MAX_TENANT_BYTES};
use crate::salt::Salts;
use crate::seal::Seal;

/// Where journal and records of a tenant stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tip {
    pub(crate) next_frame: u64,
    pub(crate) last_at: Option<Time>,
    pub(crate) next_record: u64,
    pub(crate) last_leaf: Hash,
}

/// A commit in the form in which it is written.
#[derive(Debug)]
pub(crate) struct Ready<'c> {
    /// The frames' bytes, one after the other; empty where there are none.
    pub(crate) group: Vec<u8>,
    pub(crate) frames: u32,
    /// The time of the last frame.
    pub(crate) last_at: Option<Time>,
    pub(crate) records: Vec<ReadyRecord<'c>>,
    /// The last change of each row.
    pub(crate) state: BTreeMap<(&'c str, &'c str), Option<&'c [u8]>>,
    pub(crate) calls: Vec<ReadyCall<'c>>,
}

/// An evidence record with what the store adds.
#[derive(Debug)]
pub(crate) struct ReadyRecord<'c> {
    pub(crate) seq: u64,
    pub(crate) draft: &'c RecordDraft,
    pub(crate) prev: Hash,
    pub(crate) salt: Salt,
    pub(crate) digest: Hash,
    pub(crate) leaf: Hash,
}

/// A call in its stored form.
#[derive(Debug)]
pub(crate) struct ReadyCall<'c> {
    pub(crate) call: &'c Call,
    pub(crate) body: Vec<u8>,
}

impl Tip {
    /// Before the first commit.
    pub(crate) const START: Self =
        Self { next_frame: 0, last_at: None, next_record: 0, last_leaf: FIRST_PREV };
}

impl<'c> Ready<'c> {
    /// Makes everything that the commit will write on top of `tip`; frames are encrypted where
    /// `seal` does.
    pub(crate) fn new(
        commit: &'c Commit,
        tip: &Tip,
        salts: &mut dyn Salts,
        seal: &mut Seal,
    ) -> Result<Self, CommitError> {
        check_tenant(&commit.tenant)?;
        check_sizes(&commit.effects)?;
        let last_at = check_times(&commit.frames, tip.last_at)?;
        let (group, frames) = encode_group(&commit.tenant, tip.next_frame, &commit.frames, seal)?;
        let mut state = BTreeMap::new();
        for change in &commit.effects.state {
            state.insert((&*change.table, change.key.as_str()), change.value.as_deref());
        }
        let calls = encode_calls(&commit.effects.outbox_adds)?;
        let records = chain(&commit.tenant, &commit.effects.records, tip, salts)?;
        Ok(Self { group, frames, last_at, records, state, calls })
    }

    /// The time that says which day's keys encrypt the commit: that of the last frame, its own or
    /// the one before it; where there is none, that of its first record.
    pub(crate) fn day_of(commit: &Commit, tip: &Tip) -> Time {
        let first = || commit.effects.records.first().map(|record| record.at);
        let last = commit.frames.last().map(|frame| frame.at);
        last.or(tip.last_at).or_else(first).unwrap_or_default()
    }

    /// How many records, as a small number.
    pub(crate) fn record_count(&self) -> u32 {
        u32::try_from(self.records.len()).unwrap_or(u32::MAX)
    }
}

/// Refuses a tenant that no leaf and no frame could name.
pub(crate) fn check_tenant(tenant: &str) -> Result<(), Refusal> {
    let sized = (1..=MAX_TENANT_BYTES).contains(&tenant.len());
    if sized && !tenant.chars().any(char::is_control) {
        Ok(())
    } else {
        Err(Refusal::Tenant(tenant.chars().take(80).collect()))
    }
}

/// Refuses a name that is empty or longer than [`MAX_NAME_BYTES`].
pub(crate) fn check_name(part: &'static str, name: &str) -> Result<(), Refusal> {
    check_size(part, name.len(), 1, MAX_NAME_BYTES)
}

fn check_size(part: &'static str, found: usize, least: usize, most: usize) -> Result<(), Refusal> {
    if (least..=most).contains(&found) {
        Ok(())
    } else {
        Err(Refusal::Size { part, least, most, found })
    }
}

fn check_sizes(effects: &Effects) -> Result<(), Refusal> {
    for change in &effects.state {
        check_name("table name", &change.table)?;
        check_size("state key", change.key.len(), 1, MAX_KEY_BYTES)?;
        let length = change.value.as_ref().map_or(0, Vec::len);
        check_size("state value", length, 0, MAX_VALUE_BYTES)?;
    }
    for change in &effects.watch {
        let (kind, value) = match change {
            WatchChange::Put(entry) => {
                check_size("watch entry", entry.body.len(), 0, MAX_VALUE_BYTES)?;
                (&entry.kind, &entry.value)
            }
            WatchChange::Remove { kind, value } => (kind, value),
        };
        check_name("watch kind", kind)?;
        check_size("watch value", value.len(), 1, MAX_KEY_BYTES)?;
    }
    for notice in &effects.notice_puts {
        check_size("notice id", notice.id.len(), 1, MAX_KEY_BYTES)?;
        check_size("notice", notice.body.len(), 0, MAX_VALUE_BYTES)?;
    }
    for (source, value) in &effects.cursors {
        check_name("source name", source)?;
        check_size("cursor", value.len(), 0, MAX_VALUE_BYTES)?;
    }
    for record in &effects.records {
        check_refs(record.refs.len())?;
        for reference in &record.refs {
            check_size("reference", reference.len(), 1, MAX_KEY_BYTES)?;
        }
    }
    Ok(())
}

fn check_refs(found: usize) -> Result<(), Refusal> {
    if found <= MAX_REFS { Ok(()) } else { Err(Refusal::Refs(found)) }
}

/// Refuses frames that go back in time; gives the time of the last one.
fn check_times(frames: &[Frame], last: Option<Time>) -> Result<Option<Time>, CommitError> {
    frames.iter().try_fold(last, |last, frame| match last {
        Some(last) if frame.at < last => Err(CommitError::WentBack { at: frame.at, last }),
        _ => Ok(Some(frame.at)),
    })
}

fn encode_group(
    tenant: &str,
    first: u64,
    frames: &[Frame],
    seal: &mut Seal,
) -> Result<(Vec<u8>, u32), CommitError> {
    let more = seal.frame_overhead();
    let bytes = frames.iter().map(|frame| frame.encoded_bytes(tenant) + more).sum();
    let count = u32::try_from(frames.len()).ok().filter(|_| bytes <= MAX_GROUP_BYTES);
    let Some(count) = count else { return Err(Refusal::Group(bytes).into()) };
    let mut group = Vec::with_capacity(bytes);
    for (seq, frame) in (first..).zip(frames) {
        frame.encode(tenant, seq, seal, &mut group)?;
    }
    Ok((group, count))
}

/// Encodes calls as JSON, each of which reads back as it is.
fn encode_calls(calls: &[Call]) -> Result<Vec<ReadyCall<'_>>, Refusal> {
    let mut seen = BTreeSet::new();
    let mut ready = Vec::with_capacity(calls.len());
    for call in calls {
        if !seen.insert(CallKey::of(call)) {
            return Err(again(call));
        }
        let unstorable = |why: String| Refusal::Call(call.order, why);
        let body = serde_json::to_vec(call).map_err(|error| unstorable(error.to_string()))?;
        check_size("call", body.len(), 1, MAX_VALUE_BYTES)?;
        match decode_call(&body) {
            Ok(read) if read == *call => ready.push(ReadyCall { call, body }),
            Ok(_) => return Err(unstorable("it reads back as another".to_owned())),
            Err(why) => return Err(unstorable(why)),
        }
    }
    Ok(ready)
}

/// Reads a call that [`encode_calls`] wrote.
pub(crate) fn decode_call(body: &[u8]) -> Result<Call, String> {
    serde_json::from_slice(body).map_err(|error| error.to_string())
}

/// The refusal of a call that was there before.
pub(crate) fn again(call: &Call) -> Refusal {
    Refusal::CallAgain { order: call.order, verb: call.verb, attempt: call.attempt }
}

/// Numbers, salts and chains the records.
fn chain<'c>(
    tenant: &str,
    drafts: &'c [RecordDraft],
    tip: &Tip,
    salts: &mut dyn Salts,
) -> Result<Vec<ReadyRecord<'c>>, CommitError> {
    let mut prev = tip.last_leaf;
    let mut records = Vec::with_capacity(drafts.len());
    for (draft, seq) in drafts.iter().zip(tip.next_record..) {
        canonical::parse_canonical(&draft.body).map_err(|cause| {
            let record_type = draft.record_type.chars().take(80).collect();
            Refusal::Body { record_type, cause }
        })?;
        let at = draft.at.to_string();
        let header = Header::new(tenant, seq, draft.record_type.as_str(), at, prev)
            .map_err(Refusal::Header)?;
        let salt = salts.next().map_err(|error| WriteError::Failed(error.to_string()))?;
        let digest = leaf::body_digest(&salt, &draft.body);
        let leaf = header.leaf_hash(&digest);
        records.push(ReadyRecord { seq, draft, prev, salt, digest, leaf });
        prev = leaf;
    }
    Ok(records)
}
