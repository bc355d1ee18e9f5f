//! Simulation room, disk: when the store's writes fail, and how. The store itself is the one in
//! memory that `quell-store` offers; what a write lost or kept is its business.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use quell_store::mem::{Fault, MemDisk, Write};

use crate::rng::Rng;
use crate::stats::Stats;

/// When writes fail; shared with the disk.
#[derive(Debug, Clone)]
pub(crate) struct Faults {
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug)]
struct Shared {
    rng: Rng,
    stats: Stats,
    /// How many in a thousand writes fail.
    bad: u64,
    /// No space for that many writes.
    full: u64,
    quiet: bool,
}

impl Faults {
    /// Lets the writes of `disk` fail as `rng` says.
    pub(crate) fn install(disk: &MemDisk, rng: &mut Rng) -> Self {
        let bad = rng.pick(&[0, 10, 40]).copied().unwrap_or_default();
        let shared =
            Shared { rng: rng.fork(), stats: Stats::default(), bad, full: 0, quiet: false };
        let faults = Self { shared: Arc::new(Mutex::new(shared)) };
        let chooser = faults.clone();
        disk.set_faults(Some(Box::new(move |write| chooser.lock().choose(write))));
        faults
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on all writes succeed, or fail again.
    pub(crate) fn quiet(&self, quiet: bool) {
        let mut shared = self.lock();
        shared.quiet = quiet;
        shared.full = 0;
    }

    /// The disk can be opened now; as far as it goes, a process that cannot open it must end.
    pub(crate) fn opens(&self) -> bool {
        let mut shared = self.lock();
        let fails = !shared.quiet && shared.bad > 0 && shared.rng.chance(100);
        if fails {
            shared.stats.fault("open: failed");
        }
        !fails
    }

    /// What was counted since the last call.
    pub(crate) fn take_stats(&self) -> Stats {
        std::mem::take(&mut self.lock().stats)
    }
}

impl Shared {
    fn choose(&mut self, write: Write) -> Fault {
        if self.quiet {
            return Fault::None;
        }
        if self.full > 0 {
            self.full -= 1;
            return self.count(write, Fault::Full);
        }
        if !self.rng.chance(self.bad) {
            return Fault::None;
        }
        let fault = match self.rng.below(3) {
            0 => Fault::Lost,
            1 => Fault::Kept,
            _ => {
                self.full = self.rng.below(6);
                Fault::Full
            }
        };
        self.count(write, fault)
    }

    fn count(&mut self, write: Write, fault: Fault) -> Fault {
        let name = match write {
            Write::Commit => "commit",
            Write::Acquire => "acquire",
            Write::Integrate => "integrate",
            Write::Checkpoint => "checkpoint",
            Write::Claim | Write::Release | Write::Keep | Write::Discard => "other",
        };
        let how = match fault {
            Fault::None => return fault,
            Fault::Full => "disk full",
            Fault::Lost => "failed, did not happen",
            Fault::Kept => "failed, did happen",
        };
        self.stats.fault(format!("{name}: {how}"));
        fault
    }
}
