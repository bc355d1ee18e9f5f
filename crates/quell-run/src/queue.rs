//! Run room, queue: what waits for the engine. Control inputs go before signals; signals are
//! bounded, and beyond the bound the door says that it is busy.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::keeper::Submission;
use crate::shell::{Busy, Reply};

/// Intakes that wait at most.
pub(crate) const SIGNALS_MAX: usize = 64;
/// Control inputs that wait at most.
pub(crate) const CONTROL_MAX: usize = 4096;
/// Submissions in one group.
pub(crate) const GROUP_MAX: usize = 32;

/// A submission with the way back.
pub(crate) struct Waiting {
    pub(crate) submission: Submission,
    pub(crate) reply: Option<Reply>,
}

/// What the engine's thread is asked for beside inputs.
#[derive(Debug)]
pub(crate) enum Errand {
    /// Notices that are delivered.
    NoticesDone(Vec<String>),
    /// A signed checkpoint now.
    Checkpoint(tokio::sync::oneshot::Sender<Result<String, String>>),
}

#[derive(Default)]
struct Lanes {
    control: VecDeque<Waiting>,
    signals: VecDeque<Waiting>,
    errands: VecDeque<Errand>,
    closed: bool,
}

/// The queue.
#[derive(Default)]
pub(crate) struct Queue {
    lanes: Mutex<Lanes>,
    wake: Condvar,
}

/// A group of submissions, or errands, or the end.
pub(crate) struct Batch {
    pub(crate) group: Vec<Waiting>,
    pub(crate) errands: Vec<Errand>,
    pub(crate) closed: bool,
}

impl Queue {
    fn lanes(&self) -> MutexGuard<'_, Lanes> {
        // A panic while holding the lock leaves whole queues: nothing is half-pushed.
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn push(&self, waiting: Waiting) -> Result<(), Busy> {
        let mut lanes = self.lanes();
        let signals = matches!(waiting.submission.input, quell_core::effect::Input::Signals(_));
        let (lane, max) = if signals {
            (&mut lanes.signals, SIGNALS_MAX)
        } else {
            (&mut lanes.control, CONTROL_MAX)
        };
        if lane.len() >= max {
            return Err(Busy);
        }
        lane.push_back(waiting);
        if lanes.closed {
            lanes.signals.clear();
            lanes.control.clear();
            return Err(Busy);
        }
        drop(lanes);
        self.wake.notify_one();
        Ok(())
    }

    pub(crate) fn errand(&self, errand: Errand) {
        self.lanes().errands.push_back(errand);
        self.wake.notify_one();
    }

    pub(crate) fn close(&self) {
        self.lanes().closed = true;
        self.wake.notify_one();
    }

    /// Waits for work, at most so long.
    pub(crate) fn next(&self, wait: Duration) -> Batch {
        let lanes = self.lanes();
        let idle = |lanes: &mut Lanes| {
            lanes.control.is_empty()
                && lanes.signals.is_empty()
                && lanes.errands.is_empty()
                && !lanes.closed
        };
        let waited = self.wake.wait_timeout_while(lanes, wait, idle);
        let (mut lanes, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let mut group: Vec<Waiting> = Vec::new();
        while group.len() < GROUP_MAX {
            let next = lanes.control.pop_front();
            let Some(next) = next.or_else(|| lanes.signals.pop_front()) else { break };
            group.push(next);
        }
        Batch { group, errands: lanes.errands.drain(..).collect(), closed: lanes.closed }
    }
}
