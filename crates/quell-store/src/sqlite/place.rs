//! Store: to which row an encrypted value is bound. What stands here is stored for ever: a value
//! opens only where its place is made in the same way. Reads and writes nothing.

use quell_core::id::Digest;
use quell_core::time::Time;
use quell_evidence::Hash;

use crate::commit::{CallKey, WatchEntry};
use crate::seal::row_place;

pub(super) fn state(tenant: &str, table: &str, key: &str) -> Vec<u8> {
    row_place(tenant, "state", &[table.as_bytes(), key.as_bytes()])
}

pub(super) fn record(
    tenant: &str,
    (seq, record_type, at): (u64, &str, Time),
    (prev, digest): (&Hash, &Hash),
) -> Vec<u8> {
    let (seq, at) = (seq.to_be_bytes(), at.0.to_be_bytes());
    row_place(tenant, "record", &[&seq, record_type.as_bytes(), &at, prev, digest])
}

pub(super) fn call(tenant: &str, call: &CallKey) -> Vec<u8> {
    let order = call.order.to_string();
    let verb = call.verb.name().as_bytes();
    row_place(tenant, "outbox", &[order.as_bytes(), verb, &call.attempt.to_be_bytes()])
}

pub(super) fn watch(tenant: &str, entry: &WatchEntry) -> Vec<u8> {
    let until = entry.until.map(|until| until.0.to_be_bytes());
    let until = until.as_ref().map_or(&[][..], |until| until.as_slice());
    row_place(tenant, "watch", &[entry.kind.as_bytes(), entry.value.as_bytes(), until])
}

pub(super) fn notice(tenant: &str, id: &str, due: Time) -> Vec<u8> {
    row_place(tenant, "notice", &[id.as_bytes(), &due.0.to_be_bytes()])
}

pub(super) fn cursor(tenant: &str, source: &str) -> Vec<u8> {
    row_place(tenant, "cursor", &[source.as_bytes()])
}

pub(super) fn blob(tenant: &str, digest: &Digest, codec: u8, raw_bytes: u32) -> Vec<u8> {
    row_place(tenant, "blob", &[&digest.0, &[codec], &raw_bytes.to_be_bytes()])
}
