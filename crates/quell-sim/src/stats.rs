//! Simulation room, figures: how often each thing happened, so that a run can show that it tried
//! what it claims to try.

use std::collections::BTreeMap;

/// What must happen at least once in a run of many seeds: each outside write with "failed and did
/// not happen" and "failed but did happen", each kind of fault, and each place of a crash.
pub const CASES: &[&str] = &[
    "acquire: failed, did not happen",
    "acquire: failed, did happen",
    "commit: disk full",
    "commit: failed, did not happen",
    "commit: failed, did happen",
    "integrate: failed, did not happen",
    "integrate: failed, did happen",
    "checkpoint: failed, did not happen",
    "checkpoint: failed, did happen",
    "execute: failed, did not happen",
    "execute: failed, did happen",
    "undo: failed, did not happen",
    "undo: failed, did happen",
    "notice: failed, did not happen",
    "notice: failed, did happen",
    "answer: auth_broken",
    "answer: bad_request",
    "answer: indeterminate",
    "answer: no_permission",
    "answer: throttled",
    "answer: transient",
    "answer: unknown_subject",
    "answer: already so",
    "answer: arrived after the time-out",
    "crash: between commit and release",
    "crash: between claim and send",
    "crash: between send and answer",
    "crash: between answer and outcome",
    "crash: with inputs in the queue",
    "crash: before a call was given back",
    "crash: at rest",
    "open: failed",
    "commit: unsure, the store is opened again",
    "commit: the store does not open, the process ends",
    "freeze: a claimed call was given back",
    "clock: went back",
    "intake: refused and sent again",
    "intake: sent again after a crash",
    "intake: duplicate",
    "people: approved",
    "people: denied",
    "people: froze",
    "people: took back",
    "people: imported a directory",
    "people: changed the policy",
    "orders: verified",
    "orders: not_provable",
    "orders: not_effective",
    "orders: no_change",
    "orders: manual",
    "orders: failed",
    "orders: cancelled",
    "orders: denied",
    "orders: expired",
    "orders: refused",
    "orders: undone",
    "orders: undo_failed",
];

/// What a run did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    /// Seeds that were run.
    pub seeds: u64,
    /// Steps of the worlds.
    pub steps: u64,
    /// Deaths of the engine.
    pub crashes: u64,
    /// Faults of disks, networks, providers and pagers.
    pub faults: u64,
    /// Everything else by name; see [`CASES`].
    pub counts: BTreeMap<String, u64>,
}

impl Stats {
    /// Adds what another run did.
    pub fn add(&mut self, other: &Self) {
        self.seeds += other.seeds;
        self.steps += other.steps;
        self.crashes += other.crashes;
        self.faults += other.faults;
        for (name, count) in &other.counts {
            *self.counts.entry(name.clone()).or_default() += count;
        }
    }

    /// The cases of the list that never happened.
    pub fn missing(&self) -> Vec<&'static str> {
        CASES.iter().filter(|name| !self.counts.contains_key(**name)).copied().collect()
    }

    pub(crate) fn count(&mut self, name: impl Into<String>) {
        *self.counts.entry(name.into()).or_default() += 1;
    }

    pub(crate) fn fault(&mut self, name: impl Into<String>) {
        self.faults += 1;
        self.count(name);
    }
}
