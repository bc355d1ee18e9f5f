//! Binary room, a run in memory: records or signals go through a real engine that has no store, no
//! targets and no clock. Sends nothing and keeps nothing.

use quell_core::action::Action;
use quell_core::directory::Import;
use quell_core::effect::{Input, Intake};
use quell_core::engine::{Engine, PlanRow};
use quell_core::id::SourceName;
use quell_core::signal::{Matched, Signal};
use quell_core::time::{HOUR, MINUTE, Time};
use quell_sources::Pack;

use crate::assemble::Brain;
use crate::command::decode::{bodies, decode};
use crate::fault::Fault;

/// The tenant of every run.
pub(crate) const TENANT: &str = "default";

/// An engine that took these in, in this order and all at one time.
pub(crate) fn run(
    brain: &Brain,
    at: Time,
    directory: Option<&Import>,
    records: &[(SourceName, Vec<Signal>)],
) -> Engine {
    let mut engine = Engine::new(brain.config(TENANT, Default::default()));
    if let Some(import) = directory {
        engine.step(at, &Input::Directory(import.clone()));
    }
    for (source, signals) in records {
        engine.step(at, &Input::Signals(intake(brain, source, signals.iter().cloned())));
    }
    engine
}

/// Signals with what the rules make of them.
pub(crate) fn intake(brain: &Brain, source: &str, signals: impl Iterator<Item = Signal>) -> Intake {
    let matched = signals.map(|signal| {
        let rules = brain.rules.match_ids(&signal);
        Matched { signal: signal.into(), rules }
    });
    Intake { source: source.to_owned(), matched: matched.collect(), ..Intake::default() }
}

/// The signals of each record of a body, as read from a file.
pub(crate) fn records(
    pack: &Pack,
    source: &str,
    now: Time,
    body: &[u8],
) -> Result<Vec<(SourceName, Vec<Signal>)>, Fault> {
    let mut records = Vec::new();
    for part in bodies(body) {
        let decoded = decode(pack, source, now, &part)?;
        if let Some(reject) = decoded.fault {
            return Err(Fault::input(reject.detail, "one object, a list of objects, or NDJSON"));
        }
        records.extend(decoded.records.into_iter().map(|r| (source.to_owned(), r.signals)));
    }
    Ok(records)
}

/// The greatest time that a vendor wrote.
pub(crate) fn latest(records: &[(SourceName, Vec<Signal>)]) -> Option<Time> {
    records.iter().flat_map(|(_, signals)| signals).map(|signal| signal.times.written).max()
}

/// A time to live for people.
pub(crate) fn span(ttl: i64) -> String {
    if ttl % HOUR == 0 { format!("{}h", ttl / HOUR) } else { format!("{}m", ttl / MINUTE) }
}

/// `1 approval`, `autonomous`.
pub(crate) fn decision(row: &PlanRow) -> String {
    let ttl = row.ttl.filter(|_| row.action != Action::Watch);
    let ttl = ttl.map(|ttl| format!(" for {}", span(ttl))).unwrap_or_default();
    match row.approvals {
        0 => format!("{}{ttl}", row.decision),
        1 => format!("1 approval{ttl}"),
        n => format!("{n} approvals{ttl}"),
    }
}
