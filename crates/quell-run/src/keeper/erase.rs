//! Run room, keeper's erasures: journal, evidence and notices are searched for a person turn by
//! turn, between the commits of others. A turn is one transaction with how far it came, so that
//! whoever dies goes on where he was. Decides nothing: what was asked for is committed.

use quell_core::effect::Input;
use quell_core::erase::{Cut, Erase, Pending};
use quell_core::id::Digest;
use quell_core::replay;
use quell_core::time::Time;
use quell_store::frame::Content;
use quell_store::views::{Pick, StateRows, Views};
use quell_store::{
    Body, Change, Commit, CommitError, Effects, Erasure, ReadError, StoredFrame, StoredRecord,
};

use super::{KeepError, Keeper, Outputs, Submission};

/// Bytes of bodies that one turn looks at, about; a longer frame is a turn by itself.
const TURN_BYTES: usize = 1 << 20;
/// Records of one page.
const PAGE: usize = 64;
/// Undelivered notices that are looked at.
const NOTICES: usize = 10_000;
/// The table of erasures under way.
const TABLE: &str = "erasure";

/// The erasures under way while the engine is loaded: from the ask on, what they will erase counts
/// as erased.
pub(super) struct Erasures {
    all: Vec<(Pending, bool)>,
}

impl Erasures {
    pub(super) fn load(views: &dyn Views, tenant: &str) -> Result<Self, KeepError> {
        let rows = StateRows::new(views, tenant, TABLE);
        let all = rows.map(|row| Ok((read(&row?.1)?, false)));
        Ok(Self { all: all.collect::<Result<_, KeepError>>()? })
    }

    pub(super) fn are_pending(&self) -> bool {
        !self.all.is_empty()
    }

    /// An ask stands here: what comes after it stays.
    pub(super) fn pass(&mut self, at: Time, body: &[u8]) -> Result<(), KeepError> {
        if let Input::Erase(erase) = replay::decode(replay::kind::ERASE, body)? {
            for (pending, passed) in &mut self.all {
                *passed |= pending.is_ask(at, &erase);
            }
        }
        Ok(())
    }

    /// What will be left of a body; none for nothing.
    pub(super) fn rest(&self, kind: u16, body: Vec<u8>) -> Result<Option<Vec<u8>>, KeepError> {
        let mut rest = body;
        for (pending, _) in self.all.iter().filter(|(_, passed)| !passed) {
            match pending.trace.cut(kind, &rest, &mut pending.found.clone())? {
                Cut::Keep => {}
                Cut::All => return Ok(None),
                Cut::Part(part) => rest = part,
            }
        }
        Ok(Some(rest))
    }
}

impl Keeper {
    /// True while somebody is being forgotten, or what was erased may still lie in the log:
    /// [`Keeper::erase_some`] is wanted.
    pub fn is_erasing(&self) -> bool {
        self.erasing || self.purging
    }

    /// One turn: a part of the search, or its end. What it gives, if anything, is let out as after
    /// [`Keeper::commit`].
    ///
    /// # Errors
    /// [`KeepError`]; try again later, nothing of the turn has happened or all of it.
    ///
    /// *Crash*: the turn is there as a whole or not at all, and the next process goes on.
    pub fn erase_some(&mut self, now: Time) -> Result<Option<Outputs>, KeepError> {
        let store = self.store.as_mut().ok_or(KeepError::Dropped)?;
        let views = store.views()?;
        let tenant = self.config.tenant.clone();
        let rows = StateRows::new(views.as_ref(), &tenant, TABLE).take(1);
        let first = rows.collect::<Result<Vec<_>, _>>()?.pop();
        let Some((key, value)) = first else {
            self.erasing = false;
            self.purging = !self.purge()?;
            return Ok(None);
        };
        let mut pending = read(&value)?;
        if pending.is_searched() {
            // The names go with the last of them, and their bytes after that.
            return if self.purge()? { self.finish(now, pending).map(Some) } else { Ok(None) };
        }
        let mut effects = Effects::default();
        if pending.frame.is_some() {
            search_frames(views.as_ref(), &tenant, &mut pending, &mut effects)?;
        } else {
            search_records(views.as_ref(), &tenant, &mut pending, &mut effects)?;
        }
        let value = serde_json::to_vec(&pending)
            .map_err(|e| KeepError::Record { kind: TABLE, cause: e.to_string() })?;
        effects.state.push(Change::put(TABLE, key, value));
        let commit = Commit { tenant, epoch: self.epoch, frames: Vec::new(), effects };
        let store = self.store.as_mut().ok_or(KeepError::Dropped)?;
        let written = store.commit(&commit);
        if let Err(CommitError::Write(error)) = &written {
            self.drop_unsure(error);
        }
        written?;
        Ok(None)
    }

    /// The proof that it was done, which also ends it.
    fn finish(&mut self, now: Time, pending: Pending) -> Result<Outputs, KeepError> {
        let erase = Erase { done: Some(pending.found), ..pending.ask };
        let submission = Submission::new(Input::Erase(erase), Digest([0; 32]));
        let submission = submission
            .map_err(|e| KeepError::Record { kind: "identity_erased", cause: e.to_string() })?;
        let outputs = self.commit(now, vec![submission])?;
        self.purging = true;
        Ok(outputs)
    }

    fn purge(&mut self) -> Result<bool, KeepError> {
        let store = self.store.as_mut().ok_or(KeepError::Dropped)?;
        let purged = store.purge();
        if let Err(error) = &purged {
            self.drop_unsure(error);
        }
        purged.map_err(|error| KeepError::Commit(CommitError::Write(error)))
    }
}

fn read(value: &[u8]) -> Result<Pending, KeepError> {
    let damaged = |e: serde_json::Error| ReadError::Damaged(format!("an erasure: {e}"));
    Ok(serde_json::from_slice(value).map_err(damaged)?)
}

fn search_frames(
    views: &dyn Views,
    tenant: &str,
    pending: &mut Pending,
    effects: &mut Effects,
) -> Result<(), KeepError> {
    let mut bytes = 0;
    while let Some(next) = pending.frame.filter(|_| bytes < TURN_BYTES) {
        let Some(group) = views.group(tenant, next)? else {
            pending.frame = None;
            break;
        };
        for frame in group.into_iter().filter(|frame| frame.seq >= next) {
            if bytes >= TURN_BYTES {
                break;
            }
            bytes += search_frame(&frame, pending, effects)?;
            if pending.frame.is_none() {
                break;
            }
        }
    }
    Ok(())
}

/// Looks at one frame; gives how long it was.
fn search_frame(
    frame: &StoredFrame,
    pending: &mut Pending,
    effects: &mut Effects,
) -> Result<usize, KeepError> {
    let seq = frame.seq;
    pending.frame = Some(seq.saturating_add(1));
    let Content::Kept(body) = &frame.content else { return Ok(1) };
    if frame.kind == replay::kind::ERASE
        && let Input::Erase(erase) = replay::decode(frame.kind, body)?
        && pending.is_ask(frame.at, &erase)
    {
        pending.frame = None;
        return Ok(body.len());
    }
    match pending.trace.cut(frame.kind, body, &mut pending.found)? {
        Cut::Keep => {}
        Cut::All => {
            pending.found.frames.add(seq);
            effects.erasures.push(Erasure::Frame { seq });
        }
        Cut::Part(rest) => {
            let rest = Body::pack(&rest)
                .map_err(|e| KeepError::Record { kind: TABLE, cause: e.to_string() })?;
            pending.found.parts.add(seq);
            effects.erasures.push(Erasure::Part { seq, rest });
        }
    }
    Ok(body.len().max(1))
}

fn search_records(
    views: &dyn Views,
    tenant: &str,
    pending: &mut Pending,
    effects: &mut Effects,
) -> Result<(), KeepError> {
    let mut bytes = 0;
    while let Some(next) = pending.record.filter(|_| bytes < TURN_BYTES) {
        let page = views.records(tenant, Pick::All, next, PAGE)?;
        if page.is_empty() {
            pending.record = None;
        }
        for record in page {
            bytes += search_record(&record, pending, effects);
            if pending.record.is_none() {
                break;
            }
        }
    }
    if pending.record.is_none() {
        // Pages that nobody has got yet, and must not get any more.
        let notices = views.notices(tenant, Time(i64::MAX), NOTICES)?;
        let his = notices.into_iter().filter(|n| pending.trace.named_in(&n.body).is_some());
        effects.notice_dones.extend(his.map(|notice| notice.id));
    }
    Ok(())
}

fn search_record(record: &StoredRecord, pending: &mut Pending, effects: &mut Effects) -> usize {
    let seq = record.seq;
    pending.record = Some(seq.saturating_add(1));
    let Some((_, body)) = &record.body else { return 1 };
    let text = String::from_utf8_lossy(body);
    let own = text.contains(&pending.ask.identity.to_string());
    let named = match record.record_type.as_str() {
        "erasure_asked" if own && record.at == pending.found.asked_at => {
            pending.record = None;
            None
        }
        // An erasure is proved by an id alone; only who asked may be named.
        "erasure_asked" | "erasure_refused" | "identity_erased" => {
            pending.trace.mentions(&text).then_some(!own)
        }
        _ => pending.trace.named_in(body),
    };
    if let Some(others) = named {
        pending.found.records.add(seq);
        pending.found.others = pending.found.others.saturating_add(u64::from(others));
        effects.erasures.push(Erasure::Record { seq });
    }
    body.len().max(1)
}
