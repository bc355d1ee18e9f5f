//! Simulation room, sources: one pushes and sends again until it holds a receipt, one is polled by
//! a cursor that is committed with its page. Both outlive the engine.

use std::collections::BTreeMap;

use quell_core::effect::{Input, Intake};
use quell_core::id::Digest;
use quell_core::signal::Matched;
use quell_core::time::{SECOND, Time};
use quell_run::{Receipt, Submission};

use crate::rng::Rng;
use crate::stats::Stats;

/// Where a batch stands, as its source knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sent {
    /// Not sent, or sent in vain; not before that time.
    Waits(Time),
    /// Sent; there is no answer yet.
    Asked,
    /// The engine gave a receipt with this number; none for a page that only the cursor shows.
    Taken(Option<u64>),
}

#[derive(Debug, Clone)]
pub(crate) struct Batch {
    pub(crate) matched: Vec<Matched>,
    pub(crate) sent: Sent,
    tries: u32,
}

#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) name: &'static str,
    /// We ask it; else it pushes.
    pub(crate) polled: bool,
    pub(crate) batches: BTreeMap<u64, Batch>,
    pending: Vec<Matched>,
    rng: Rng,
}

impl Source {
    pub(crate) fn new(name: &'static str, polled: bool, rng: &mut Rng) -> Self {
        let rng = rng.fork();
        Self { name, polled, batches: BTreeMap::new(), pending: Vec::new(), rng }
    }

    pub(crate) fn learn(&mut self, matched: Matched) {
        self.pending.push(matched);
    }

    pub(crate) fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Makes a batch of some of what it has to tell, in any order, now and then with something
    /// that it told before.
    pub(crate) fn gather(&mut self, now: Time, all: bool, stats: &mut Stats) {
        self.rng.shuffle(&mut self.pending);
        let keep = if all { 0 } else { self.rng.index(self.pending.len()) };
        let mut matched = self.pending.split_off(keep);
        if self.rng.chance(150) {
            let told = self.batches.values().flat_map(|batch| &batch.matched);
            let told: Vec<&Matched> = told.collect();
            if let Some(again) = self.rng.pick(&told) {
                matched.push((*again).clone());
                stats.count("intake: duplicate");
            }
        }
        if matched.is_empty() {
            return;
        }
        let id = u64::try_from(self.batches.len()).unwrap_or(u64::MAX);
        self.batches.insert(id, Batch { matched, sent: Sent::Waits(now), tries: 0 });
    }

    /// The batch that may be sent now; a polled source has its pages in one order.
    pub(crate) fn due(&self, now: Time) -> Option<u64> {
        let untaken = |batch: &Batch| !matches!(batch.sent, Sent::Taken(_));
        let waits = |batch: &Batch| matches!(batch.sent, Sent::Waits(t) if t <= now);
        let mut open = self.batches.iter().filter(|(_, batch)| untaken(batch));
        if self.polled {
            open.next().filter(|(_, batch)| waits(batch)).map(|(id, _)| *id)
        } else {
            open.find(|(_, batch)| waits(batch)).map(|(id, _)| *id)
        }
    }

    /// When a batch may be sent next.
    pub(crate) fn next(&self) -> Option<Time> {
        let times = self.batches.values().filter_map(|batch| match batch.sent {
            Sent::Waits(t) => Some(t),
            Sent::Asked | Sent::Taken(_) => None,
        });
        times.min()
    }

    /// The batch as the door hands it in.
    pub(crate) fn send(&mut self, id: u64) -> Result<Option<Submission>, String> {
        let Some(batch) = self.batches.get_mut(&id) else { return Ok(None) };
        batch.sent = Sent::Asked;
        batch.tries += 1;
        let raw = batch.matched.iter().map(|m| m.signal.record_key.clone().into_bytes());
        let intake = Intake {
            source: self.name.to_owned(),
            matched: batch.matched.clone(),
            rejects: Vec::new(),
            raw: raw.collect(),
        };
        let pack = Digest::of(self.name.as_bytes());
        let submission =
            Submission::new(Input::Signals(intake), pack).map_err(|e| e.to_string())?;
        Ok(Some(if self.polled {
            submission.with_cursor(self.name, id.saturating_add(1).to_be_bytes().to_vec())
        } else {
            submission
        }))
    }

    /// The engine took it.
    pub(crate) fn taken(&mut self, id: u64, receipt: &Receipt) {
        if let Some(batch) = self.batches.get_mut(&id) {
            batch.sent = Sent::Taken(Some(receipt.seq));
        }
    }

    /// The engine did not take it: later again.
    pub(crate) fn refused(&mut self, id: u64, now: Time, stats: &mut Stats) {
        stats.count("intake: refused and sent again");
        let pause = self.rng.span(0, 5 * SECOND);
        if let Some(batch) = self.batches.get_mut(&id) {
            batch.sent = Sent::Waits(now.plus(pause));
        }
    }

    /// The engine died: what has no receipt is sent again. A poller begins at the stored cursor.
    pub(crate) fn engine_died(&mut self, now: Time, cursor: Option<&[u8]>, stats: &mut Stats) {
        let cursor = cursor.and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_be_bytes);
        for (id, batch) in &mut self.batches {
            if self.polled && *id < cursor {
                if batch.sent == Sent::Asked {
                    batch.sent = Sent::Taken(None);
                }
            } else if batch.sent == Sent::Asked {
                stats.count("intake: sent again after a crash");
                batch.sent = Sent::Waits(now);
            }
        }
    }

    /// Everything was told and taken.
    pub(crate) fn is_done(&self) -> bool {
        let taken = |batch: &Batch| matches!(batch.sent, Sent::Taken(_));
        self.pending.is_empty() && self.batches.values().all(taken)
    }

    /// Every signal of every batch that was taken.
    pub(crate) fn accepted(&self) -> impl Iterator<Item = &Matched> {
        let taken = self.batches.values().filter(|b| matches!(b.sent, Sent::Taken(_)));
        taken.flat_map(|batch| &batch.matched)
    }
}
