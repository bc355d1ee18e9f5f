//! Simulation room, process: one life of the engine, driven as `quell_run::shell` drives it, one
//! small step at a time, so that it can die between any two.

use std::collections::{BTreeMap, VecDeque};

use quell_core::effect::{CallId, Configured, Input};
use quell_core::engine::Config;
use quell_core::id::Digest;
use quell_core::order::Call;
use quell_core::time::{SECOND, Time};
use quell_run::dispatch::{self, Dispatch};
use quell_run::{Busy, KeepError, Keeper, Outputs, Receipt, Submission};

/// Intakes that wait at most; fewer than in the shell, so that the bound is met.
const SIGNALS_MAX: usize = 6;
/// Submissions in one group at most.
const GROUP_MAX: usize = 32;

/// Who waits for the reply to a submission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asker {
    Nobody,
    Task(u64),
    Source {
        source: usize,
        batch: u64,
    },
    Person,
    /// Whoever imports the directory, and tries until it is taken.
    Directory,
}

/// A reply on its way.
pub(crate) type Replied = (Asker, Result<Receipt, Busy>);

#[derive(Debug)]
struct Waiting {
    submission: Submission,
    asker: Asker,
}

/// From the engine to dispatch.
#[derive(Debug)]
enum News {
    Outputs { calls: Vec<Call>, dones: Vec<CallId> },
    Outbox(Vec<Call>),
    Stopped(bool),
}

/// Where a call stands that is being carried out.
#[derive(Debug, Clone)]
pub(crate) enum Stage {
    /// To be claimed.
    Claim,
    /// The claim waits for its reply.
    Claiming,
    /// To be sent; true when a freeze stops it even now.
    Send(bool),
    /// Sent at that time.
    Sent(Time),
    /// The outcome, or that it did not leave, is to be handed in, not before that time; how long to
    /// wait when it is refused.
    Report(Input, Time, i64),
    /// What was handed in waits for its reply.
    Reporting(Input, i64),
}

#[derive(Debug, Clone)]
pub(crate) struct Task {
    pub(crate) call: Call,
    pub(crate) stage: Stage,
}

impl Task {
    /// It can go on now.
    pub(crate) fn is_ready(&self, now: Time) -> bool {
        match &self.stage {
            Stage::Claim | Stage::Send(_) => true,
            Stage::Report(_, at, _) => *at <= now,
            Stage::Claiming | Stage::Sent(_) | Stage::Reporting(..) => false,
        }
    }
}

/// One life of the engine.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) keeper: Keeper,
    pub(crate) dispatch: Dispatch,
    pub(crate) life: u64,
    /// How far its clock is from the true time.
    pub(crate) skew: i64,
    pub(crate) tasks: BTreeMap<u64, Task>,
    pub(crate) wake_at: Option<Time>,
    /// Something is committed that no checkpoint covers.
    pub(crate) unsigned: bool,
    /// The flag that dispatch reads before each send.
    pub(crate) frozen: bool,
    control: VecDeque<Waiting>,
    signals: VecDeque<Waiting>,
    committed: Option<(Outputs, Vec<Asker>)>,
    replies: VecDeque<Replied>,
    news: VecDeque<News>,
    finished: VecDeque<(CallId, Option<Call>)>,
    healthy: bool,
    /// Dispatch may go on once it knows what was committed.
    resumes: bool,
    first: bool,
    /// When dispatch found nothing to do: what is due waits for its account.
    idle_at: Option<Time>,
    number: u64,
}

/// Microseconds after a failed commit until the engine tries again by itself.
const AFTER_FAILURE: i64 = SECOND;
/// Microseconds until a call is tried again whose claim was not taken.
const NOT_TAKEN_PAUSE: i64 = 200_000;

impl Process {
    /// As `shell::start` does: the outbox is read before the first commit.
    pub(crate) fn start(keeper: Keeper, life: u64, skew: i64) -> Result<Self, String> {
        let calls = keeper.outbox().map_err(|e| e.to_string())?;
        let mut dispatch = Dispatch::default();
        dispatch.add(calls);
        let frozen = keeper.engine().is_some_and(|engine| engine.freeze().is_some());
        Ok(Self {
            keeper,
            dispatch,
            life,
            skew,
            tasks: BTreeMap::new(),
            wake_at: None,
            unsigned: false,
            frozen,
            control: VecDeque::new(),
            signals: VecDeque::new(),
            committed: None,
            replies: VecDeque::new(),
            news: VecDeque::new(),
            finished: VecDeque::new(),
            healthy: true,
            resumes: false,
            first: true,
            idle_at: None,
            number: 0,
        })
    }

    /// Its own clock.
    pub(crate) fn clock(&self, now: Time) -> Time {
        now.plus(self.skew)
    }

    /// The true time at which its clock shows `t`.
    pub(crate) fn truly(&self, t: Time) -> Time {
        t.plus(-self.skew)
    }

    /// Hands an input in, as `Handle::submit` does.
    pub(crate) fn submit(&mut self, submission: Submission, asker: Asker) -> Result<(), Busy> {
        let waiting = Waiting { submission, asker };
        if matches!(waiting.submission.input, Input::Signals(_)) {
            if self.signals.len() >= SIGNALS_MAX {
                return Err(Busy);
            }
            self.signals.push_back(waiting);
        } else {
            self.control.push_back(waiting);
        }
        Ok(())
    }

    /// Hands an input in that is no intake.
    pub(crate) fn input(&mut self, input: Input, asker: Asker) -> Result<(), String> {
        let submission = Submission::new(input, Digest([0; 32])).map_err(|e| e.to_string())?;
        self.submit(submission, asker).map_err(|e| e.to_string())
    }

    pub(crate) fn can_commit(&self) -> bool {
        let waits = !self.control.is_empty() || !self.signals.is_empty();
        self.committed.is_none() && (self.first || waits)
    }

    pub(crate) fn can_tick(&self, now: Time) -> bool {
        let due = self.wake_at.is_some_and(|at| at <= self.clock(now));
        self.committed.is_none() && !self.first && due
    }

    /// Commits a group of at most `most` submissions; the first commit of a life has none.
    pub(crate) fn commit(&mut self, now: Time, most: usize) -> Result<(), KeepError> {
        let mut group = Vec::new();
        while !self.first && group.len() < most.clamp(1, GROUP_MAX) {
            let next = self.control.pop_front();
            let Some(next) = next.or_else(|| self.signals.pop_front()) else { break };
            group.push(next);
        }
        self.first = false;
        self.commit_group(now, group)
    }

    pub(crate) fn tick(&mut self, now: Time) -> Result<(), KeepError> {
        self.wake_at = None;
        let Ok(submission) = Submission::new(Input::Tick, Digest([0; 32])) else { return Ok(()) };
        self.commit_group(now, vec![Waiting { submission, asker: Asker::Nobody }])
    }

    /// Puts another configuration in force, as the shell's errand does.
    pub(crate) fn configure(
        &mut self,
        now: Time,
        config: Config,
        configured: Configured,
    ) -> Result<(), KeepError> {
        let input = Input::Configured(configured.clone());
        self.keeper.configure(config, configured);
        let Ok(submission) = Submission::new(input, Digest([0; 32])) else { return Ok(()) };
        self.commit_group(now, vec![Waiting { submission, asker: Asker::Nobody }])
    }

    fn commit_group(&mut self, now: Time, group: Vec<Waiting>) -> Result<(), KeepError> {
        let now = self.clock(now);
        let (submissions, askers): (Vec<_>, Vec<_>) =
            group.into_iter().map(|w| (w.submission, w.asker)).unzip();
        let outcome = self.keeper.commit(now, submissions);
        let well = outcome.is_ok();
        if self.healthy && !well {
            self.news.push_back(News::Stopped(true));
        }
        self.resumes |= well && !self.healthy;
        self.healthy = well;
        match outcome {
            Ok(outputs) => {
                self.committed = Some((outputs, askers));
                Ok(())
            }
            Err(error) => {
                self.wake_at = Some(now.plus(AFTER_FAILURE));
                self.replies.extend(askers.into_iter().map(|asker| (asker, Err(Busy))));
                Err(error)
            }
        }
    }

    pub(crate) fn can_release(&self) -> bool {
        self.committed.is_some()
    }

    /// Lets out what a committed group allows.
    pub(crate) fn release(&mut self) {
        let Some((outputs, askers)) = self.committed.take() else { return };
        self.wake_at = outputs.wake_at;
        self.unsigned = true;
        self.frozen = outputs.frozen;
        let Outputs { receipts, calls, dones, outbox, .. } = outputs;
        if let Some(outbox) = outbox {
            self.news.push_back(News::Outbox(outbox));
        } else if !calls.is_empty() || !dones.is_empty() {
            self.news.push_back(News::Outputs { calls, dones });
        }
        if std::mem::take(&mut self.resumes) {
            self.news.push_back(News::Stopped(false));
        }
        let receipts = receipts.into_iter().map(Ok);
        self.replies.extend(askers.into_iter().zip(receipts));
    }

    pub(crate) fn can_reply(&self) -> bool {
        !self.replies.is_empty()
    }

    /// The next reply that reaches whoever asked.
    pub(crate) fn reply(&mut self) -> Option<Replied> {
        self.replies.pop_front()
    }

    pub(crate) fn can_dispatch(&self, now: Time) -> bool {
        let due = self.dispatch.next_due().is_some_and(|due| due <= self.clock(now));
        let tried = self.idle_at == Some(now);
        due && !tried || !self.news.is_empty() || !self.finished.is_empty()
    }

    /// One turn of the dispatcher: one thing that it hears, then what may go.
    pub(crate) fn dispatch(&mut self, true_now: Time, finished_first: bool) {
        let now = self.clock(true_now);
        let hears_end = finished_first && !self.finished.is_empty();
        let heard = if hears_end { None } else { self.news.pop_front() };
        let mut changed = true;
        match heard {
            Some(News::Outputs { calls, dones }) => {
                self.dispatch.remove(&dones);
                self.dispatch.add(calls);
            }
            Some(News::Outbox(calls)) => self.dispatch.replace(calls),
            Some(News::Stopped(stopped)) => self.dispatch.stop(stopped),
            None => match self.finished.pop_front() {
                Some((call, again)) => {
                    self.dispatch.finished(call);
                    self.dispatch.add(again);
                }
                None => changed = false,
            },
        }
        for call in self.dispatch.ready(now) {
            self.number += 1;
            let claims = dispatch::needs_claim(&call);
            let stage = if claims { Stage::Claim } else { Stage::Send(false) };
            self.tasks.insert(self.number, Task { call, stage });
            changed = true;
        }
        self.idle_at = (!changed).then_some(true_now);
    }

    /// A task is over; it is tried again where its claim was not taken.
    pub(crate) fn finish(&mut self, task: u64, now: Time, not_taken: bool) {
        let Some(Task { call, .. }) = self.tasks.remove(&task) else { return };
        let id = dispatch::id(&call);
        let due = self.clock(now).plus(NOT_TAKEN_PAUSE);
        let again = not_taken.then_some(Call { due, ..call });
        self.finished.push_back((id, again));
    }

    /// Nothing is under way inside.
    pub(crate) fn is_still(&self) -> bool {
        !self.first
            && self.committed.is_none()
            && self.control.is_empty()
            && self.signals.is_empty()
            && self.replies.is_empty()
            && self.news.is_empty()
            && self.finished.is_empty()
            && self.tasks.is_empty()
    }

    /// The store is opened again, by a tick at once.
    pub(crate) fn reopens(&mut self, now: Time) {
        if !self.keeper.is_open() {
            self.wake_at = Some(self.clock(now));
        }
    }

    /// What a death now would cut through.
    pub(crate) fn place(&self) -> &'static str {
        let any = |of: fn(&Stage) -> bool| self.tasks.values().any(|task| of(&task.stage));
        if self.committed.is_some() {
            "crash: between commit and release"
        } else if any(|s| matches!(s, Stage::Report(Input::Unsent(_), ..))) {
            "crash: before a call was given back"
        } else if any(|s| matches!(s, Stage::Send(_))) {
            "crash: between claim and send"
        } else if any(|s| matches!(s, Stage::Report(..) | Stage::Reporting(..))) {
            "crash: between answer and outcome"
        } else if any(|s| matches!(s, Stage::Sent(_))) {
            "crash: between send and answer"
        } else if !self.control.is_empty() || !self.signals.is_empty() {
            "crash: with inputs in the queue"
        } else {
            "crash: at rest"
        }
    }
}
