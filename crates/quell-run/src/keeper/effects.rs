//! Run room, keeper's effects: what the engine wants, as rows of one commit and as what leaves
//! after it. Changes nothing about either.

use quell_core::effect::{CallId, Effect, WatchEntry};
use quell_core::time::Time;
use quell_evidence::canonical;
use quell_store::{CallKey, Change, Effects, RecordDraft, WatchChange};

use super::{KeepError, Outputs};

/// Turns the engine's effects into rows and outputs.
pub(super) fn take(
    effects: Vec<Effect>,
    at: Time,
    rows: &mut Effects,
    outputs: &mut Outputs,
) -> Result<(), KeepError> {
    for effect in effects {
        match effect {
            Effect::Record { kind, body, mut refs } => {
                let body = canonical::encode(&body)
                    .map_err(|e| KeepError::Record { kind, cause: e.to_string() })?;
                refs.sort();
                refs.dedup();
                let record_type = kind.to_owned();
                rows.records.push(RecordDraft { record_type, at, body, refs });
            }
            Effect::Put { table, key, value } => {
                rows.state.push(Change::put(table, key, value));
            }
            Effect::Delete { table, key } => rows.state.push(Change::delete(table, key)),
            Effect::Call(call) => {
                rows.outbox_adds.push(call.clone());
                outputs.calls.push(call);
            }
            Effect::Done(call) => {
                let CallId { order, verb, attempt } = call;
                rows.outbox_dones.push(CallKey { order, verb, attempt });
                outputs.dones.push(call);
            }
            Effect::Watch(entry) => rows.watch.push(WatchChange::Put(watched(&entry))),
            Effect::Unwatch(entry) => {
                rows.watch.push(WatchChange::Remove { kind: entry.kind, value: entry.value });
            }
            Effect::Page(notice) => {
                let body = serde_json::to_vec(&notice).unwrap_or_default();
                let id = notice.id.clone();
                rows.notice_puts.push(quell_store::Notice { id, due: at, body });
                outputs.notices.push(notice);
            }
            Effect::WakeAt(_) => {}
        }
    }
    Ok(())
}

fn watched(entry: &WatchEntry) -> quell_store::WatchEntry {
    quell_store::WatchEntry {
        kind: entry.kind.clone(),
        value: entry.value.clone(),
        until: Some(entry.until),
        body: serde_json::to_vec(entry).unwrap_or_default(),
    }
}
