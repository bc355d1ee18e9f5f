//! Run room, queue: what waits for the engine. Control inputs go before signals; signals are
//! bounded, and beyond the bound the door says that it is busy.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use quell_core::effect::Input;

use crate::keeper::Submission;
use crate::shell::{Busy, Reply};

/// Intakes that wait at most.
pub(crate) const SIGNALS_MAX: usize = 64;
/// Control inputs that wait at most.
pub(crate) const CONTROL_MAX: usize = 4096;
/// Bytes of intakes that wait at most, as they will be stored; one may be longer by itself.
pub(crate) const SIGNALS_BYTES_MAX: usize = 64 << 20;
/// Submissions in one group.
pub(crate) const GROUP_MAX: usize = 32;
/// Signals in one group, so that control inputs need not wait for a long one; an intake that has
/// more is a group with nothing after it.
pub(crate) const GROUP_SIGNALS_MAX: usize = 4_000;
/// Bytes of one group, as stored, beyond which nothing is added to it.
pub(crate) const GROUP_BYTES_MAX: usize = 32 << 20;

/// A submission with the way back.
pub(crate) struct Waiting {
    pub(crate) submission: Submission,
    pub(crate) reply: Option<Reply>,
}

/// What the engine's thread is asked for beside inputs.
#[derive(Debug)]
pub(crate) enum Errand {
    /// Notices that are delivered or given up, and those that are due again later.
    NoticesTried(Vec<String>, Vec<quell_store::Notice>),
    /// A signed checkpoint now.
    Checkpoint(tokio::sync::oneshot::Sender<Result<String, String>>),
}

#[derive(Default)]
struct Lanes {
    control: VecDeque<Waiting>,
    signals: VecDeque<Waiting>,
    signals_bytes: usize,
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
        if lanes.closed {
            return Err(Busy);
        }
        let (signals, bytes) = weight(&waiting.submission);
        if signals.is_some() {
            let heavy = lanes.signals_bytes.saturating_add(bytes) > SIGNALS_BYTES_MAX;
            if lanes.signals.len() >= SIGNALS_MAX || heavy && !lanes.signals.is_empty() {
                return Err(Busy);
            }
            lanes.signals_bytes = lanes.signals_bytes.saturating_add(bytes);
            lanes.signals.push_back(waiting);
        } else {
            if lanes.control.len() >= CONTROL_MAX {
                return Err(Busy);
            }
            lanes.control.push_back(waiting);
        }
        drop(lanes);
        self.wake.notify_one();
        Ok(())
    }

    /// Control inputs, intakes and the bytes of these that wait.
    pub(crate) fn depths(&self) -> (usize, usize, usize) {
        let lanes = self.lanes();
        (lanes.control.len(), lanes.signals.len(), lanes.signals_bytes)
    }

    pub(crate) fn errand(&self, errand: Errand) {
        let mut lanes = self.lanes();
        if !lanes.closed {
            lanes.errands.push_back(errand);
        }
        drop(lanes);
        self.wake.notify_one();
    }

    /// Nobody works here any more: whoever waits is told so, and nothing is taken.
    pub(crate) fn abandon(&self) {
        let mut lanes = self.lanes();
        lanes.closed = true;
        lanes.signals.clear();
        lanes.control.clear();
        lanes.errands.clear();
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
        let (mut signals, mut bytes) = (0_usize, 0_usize);
        while group.len() < GROUP_MAX && signals < GROUP_SIGNALS_MAX && bytes < GROUP_BYTES_MAX {
            let next = lanes.control.pop_front();
            let Some(next) = next.or_else(|| lanes.signals.pop_front()) else { break };
            let (added, long) = weight(&next.submission);
            if added.is_some() {
                lanes.signals_bytes = lanes.signals_bytes.saturating_sub(long);
            }
            signals = signals.saturating_add(added.unwrap_or_default());
            bytes = bytes.saturating_add(long);
            group.push(next);
        }
        Batch { group, errands: lanes.errands.drain(..).collect(), closed: lanes.closed }
    }
}

/// How many signals an intake has, none for a control input; and the bytes of its frame.
fn weight(submission: &Submission) -> (Option<usize>, usize) {
    let signals = match &submission.input {
        Input::Signals(intake) => Some(intake.matched.len()),
        _ => None,
    };
    (signals, submission.body.stored_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use quell_core::effect::{Freeze, Intake};
    use quell_core::id::Digest;

    fn waiting(input: Input) -> Waiting {
        let submission = Submission::new(input, Digest([0; 32])).unwrap();
        Waiting { submission, reply: None }
    }

    fn intake(bytes: usize) -> Waiting {
        // Bytes that do not compress, so that what is stored is as long.
        let mut state = 7_u64;
        let raw = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            state.to_be_bytes()[0]
        });
        let raw = vec![raw.take(bytes).collect()];
        waiting(Input::Signals(Intake { source: "s".to_owned(), raw, ..Intake::default() }))
    }

    fn kinds(batch: &Batch) -> String {
        let name = |w: &Waiting| match w.submission.input {
            Input::Signals(_) => 's',
            _ => 'c',
        };
        batch.group.iter().map(name).collect()
    }

    #[test]
    fn control_goes_first_and_what_waits_is_bounded() {
        let queue = Queue::default();
        for _ in 0..SIGNALS_MAX {
            queue.push(intake(10)).unwrap();
        }
        assert!(queue.push(intake(10)).is_err());
        let freeze = Freeze { on: true, until: None, by: "x".to_owned(), why: String::new() };
        queue.push(waiting(Input::Freeze(freeze))).unwrap();
        let batch = queue.next(Duration::ZERO);
        assert_eq!(kinds(&batch), format!("c{}", "s".repeat(GROUP_MAX - 1)));
        queue.push(intake(10)).unwrap();
    }

    #[test]
    fn long_intakes_are_few() {
        let queue = Queue::default();
        // One that is longer than everything that may wait is taken all the same.
        queue.push(intake(SIGNALS_BYTES_MAX / 2 + 1)).unwrap();
        assert!(queue.push(intake(SIGNALS_BYTES_MAX / 2)).is_err());
        queue.push(intake(100)).unwrap();
        assert_eq!(kinds(&queue.next(Duration::ZERO)), "s", "it is a group by itself");
        assert_eq!(kinds(&queue.next(Duration::ZERO)), "s");
        queue.push(intake(SIGNALS_BYTES_MAX / 2)).unwrap();
        queue.close();
        assert!(queue.push(intake(10)).is_err());
    }
}
