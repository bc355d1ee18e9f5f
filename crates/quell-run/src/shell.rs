//! Run room, shell: threads and tasks around keeper and dispatch. The engine has a thread of its
//! own; calls run as tasks; the clock comes from outside.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use quell_core::effect::{CallId, Input, Notice};
use quell_core::id::Digest;
use quell_core::order::Call;
use quell_core::time::Time;
use quell_store::CheckpointSigner;
use quell_targets::Target;
use tokio::sync::{mpsc, oneshot};

use crate::dispatch::Dispatch;
use crate::keeper::{KeepError, Keeper, Outputs, Receipt, Submission};
use crate::queue::{Errand, Queue, Waiting};

mod carry;

/// The clock, passed in by whoever starts the shell.
pub type Clock = Arc<dyn Fn() -> Time + Send + Sync>;

pub(crate) type Reply = oneshot::Sender<Result<Receipt, Busy>>;

/// Not taken: the queue is full, or the store does not commit. Try again later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not taken: the engine is busy or its store cannot commit")]
pub struct Busy;

/// Everything that the shell is given.
pub struct Parts {
    /// The engine with its store.
    pub keeper: Keeper,
    /// The targets by provider.
    pub targets: BTreeMap<String, Arc<dyn Target>>,
    /// Signs checkpoints.
    pub signer: Arc<dyn CheckpointSigner + Send + Sync>,
    /// The clock.
    pub clock: Clock,
    /// Where pages go beside the webhook: the console.
    pub pages: mpsc::UnboundedSender<Notice>,
    /// How long a record may wait for a signed checkpoint.
    pub merge_delay: Duration,
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parts").field("keeper", &self.keeper).finish_non_exhaustive()
    }
}

/// The running engine, as doors and control see it.
#[derive(Clone)]
pub struct Handle {
    queue: Arc<Queue>,
    healthy: Arc<AtomicBool>,
    /// A freeze is in force: read before each send.
    frozen: Arc<AtomicBool>,
    figures: Arc<Figures>,
    fault: Arc<std::sync::OnceLock<String>>,
    thread: Arc<std::sync::Mutex<Option<std::thread::JoinHandle<()>>>>,
}

/// What the threads of the shell count for figures.
#[derive(Debug, Default)]
struct Figures {
    failed_commits: AtomicU64,
    calls_waiting: AtomicUsize,
    calls_running: AtomicUsize,
}

/// What waits in the running engine, at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Depths {
    /// Control inputs that wait for the engine.
    pub control: usize,
    /// Intakes that wait for the engine.
    pub signals: usize,
    /// Bytes of these, as they will be stored.
    pub signals_bytes: usize,
    /// Calls that wait until they are due or their account is free.
    pub calls_waiting: usize,
    /// Calls that are on their way.
    pub calls_running: usize,
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handle").field("healthy", &self.is_ready()).finish_non_exhaustive()
    }
}

/// Microseconds after a failed commit until the engine tries again by itself.
const AFTER_FAILURE: i64 = 1_000_000;
/// How long the engine's thread waits for work between two turns of an erasure.
const BETWEEN_ERASURES: Duration = Duration::from_millis(5);
/// How long the engine's thread waits when nothing is due.
const IDLE: Duration = Duration::from_millis(250);

/// Starts engine and dispatch; must be called within a tokio runtime.
///
/// # Errors
/// When the outbox cannot be read or the engine's thread cannot start.
pub fn start(parts: Parts) -> Result<Handle, StartError> {
    let calls = parts.keeper.outbox()?;
    let queue = Arc::new(Queue::default());
    let healthy = Arc::new(AtomicBool::new(true));
    let (to_dispatch, from_engine) = mpsc::unbounded_channel();
    let frozen = parts.keeper.engine().is_some_and(|engine| engine.freeze().is_some());
    let handle = Handle {
        queue,
        healthy,
        frozen: Arc::new(AtomicBool::new(frozen)),
        figures: Arc::default(),
        fault: Arc::default(),
        thread: Arc::default(),
    };
    let worker = Worker {
        keeper: parts.keeper,
        handle: handle.clone(),
        to_dispatch,
        pages: parts.pages,
        signer: parts.signer,
        clock: Arc::clone(&parts.clock),
        merge_delay: parts.merge_delay,
        wake_at: None,
        unsigned_since: None,
        erase_after: None,
    };
    let dispatcher = Dispatcher {
        dispatch: Dispatch::default(),
        targets: parts.targets,
        handle: handle.clone(),
        clock: parts.clock,
    };
    tokio::spawn(dispatcher.run(calls, from_engine));
    let thread = std::thread::Builder::new()
        .name("engine".to_owned())
        .stack_size(16 << 20)
        .spawn(move || worker.run())
        .map_err(|e| StartError::Thread(e.to_string()))?;
    *handle.thread.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(thread);
    Ok(handle)
}

/// Why the shell does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store.
    #[error(transparent)]
    Keep(#[from] KeepError),
    /// The operating system gives no thread.
    #[error("the engine's thread cannot start: {0}")]
    Thread(String),
}

impl Handle {
    /// Hands an input in and waits until it is committed.
    ///
    /// # Errors
    /// [`Busy`]: nothing was taken.
    ///
    /// *Crash*: an input whose receipt was not given may or may not be in the journal.
    pub async fn submit(&self, submission: Submission) -> Result<Receipt, Busy> {
        let (reply, receipt) = oneshot::channel();
        self.queue.push(Waiting { submission, reply: Some(reply) })?;
        receipt.await.map_err(|_| Busy)?
    }

    /// The same for an input that is no intake.
    ///
    /// # Errors
    /// [`Busy`].
    pub async fn input(&self, input: Input) -> Result<Receipt, Busy> {
        let submission = Submission::new(input, Digest([0; 32])).map_err(|_| Busy)?;
        self.submit(submission).await
    }

    /// Signs a checkpoint over everything committed so far and gives its note.
    ///
    /// # Errors
    /// A sentence for people.
    pub async fn checkpoint(&self) -> Result<String, String> {
        let (send, receive) = oneshot::channel();
        self.queue.errand(Errand::Checkpoint(send));
        receive.await.map_err(|_| "the engine has stopped".to_owned())?
    }

    /// Notices that were delivered or given up, and those that are due again later.
    pub fn notices_tried(&self, done: Vec<String>, later: Vec<quell_store::Notice>) {
        self.queue.errand(Errand::NoticesTried(done, later));
    }

    /// Why the engine ended by itself, where it did: nothing is taken any more, and the process
    /// must end so that another takes over.
    pub fn fault(&self) -> Option<&str> {
        self.fault.get().map(String::as_str)
    }

    /// True while the store commits.
    pub fn is_ready(&self) -> bool {
        self.healthy.load(Ordering::Relaxed)
    }

    /// True while a freeze is in force.
    pub fn is_frozen(&self) -> bool {
        self.frozen.load(Ordering::SeqCst)
    }

    /// Groups that could not be committed since the start.
    pub fn failed_commits(&self) -> u64 {
        self.figures.failed_commits.load(Ordering::Relaxed)
    }

    /// What waits, for figures.
    pub fn depths(&self) -> Depths {
        let (control, signals, signals_bytes) = self.queue.depths();
        let calls_waiting = self.figures.calls_waiting.load(Ordering::Relaxed);
        let calls_running = self.figures.calls_running.load(Ordering::Relaxed);
        Depths { control, signals, signals_bytes, calls_waiting, calls_running }
    }

    /// Stops the engine after what is queued and waits for it.
    pub async fn stop(&self) {
        self.queue.close();
        let thread = self.thread.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let joined = tokio::task::spawn_blocking(move || thread.join()).await;
            drop(joined);
        }
    }
}

/// From the engine to dispatch.
enum News {
    Outputs {
        calls: Vec<Call>,
        dones: Vec<CallId>,
    },
    /// The engine was loaded again: this is all that waits.
    Outbox(Vec<Call>),
    Stopped(bool),
}

/// The engine's thread.
struct Worker {
    keeper: Keeper,
    handle: Handle,
    to_dispatch: mpsc::UnboundedSender<News>,
    pages: mpsc::UnboundedSender<Notice>,
    signer: Arc<dyn CheckpointSigner + Send + Sync>,
    clock: Clock,
    merge_delay: Duration,
    wake_at: Option<Time>,
    unsigned_since: Option<Time>,
    /// After a failed turn of an erasure, when the next one is due.
    erase_after: Option<Time>,
}

impl Worker {
    fn run(mut self) {
        // The first commit tells the engine that it was restarted, and with what configuration.
        self.commit(Vec::new());
        while self.handle.fault().is_none() {
            let batch = self.handle.queue.next(self.patience());
            if !batch.group.is_empty() {
                self.commit(batch.group);
            }
            batch.errands.into_iter().for_each(|errand| self.errand(errand));
            let now = (self.clock)();
            if self.erases_at(now) {
                self.erase_some(now);
            }
            if self.wake_at.is_some_and(|at| at <= now) {
                self.tick();
            }
            self.sign_if_due(now, batch.closed);
            if batch.closed {
                return;
            }
        }
        self.handle.queue.abandon();
    }

    /// How long to wait for work: until the next timer or checkpoint, and not longer than idle.
    fn patience(&self) -> Duration {
        let now = (self.clock)();
        let due = |at: Time| {
            let micros = u64::try_from(at.since(now)).unwrap_or_default();
            Duration::from_micros(micros)
        };
        let idle = if self.erases_at(now) { BETWEEN_ERASURES } else { IDLE };
        self.wake_at.map_or(idle, |at| due(at).min(idle))
    }

    fn erases_at(&self, now: Time) -> bool {
        self.keeper.is_erasing() && self.erase_after.is_none_or(|after| after <= now)
    }

    /// One turn of forgetting somebody, between the commits of others.
    fn erase_some(&mut self, now: Time) {
        self.erase_after = None;
        match self.keeper.erase_some(now) {
            Ok(None) => {}
            Ok(Some(outputs)) => self.release(outputs, Vec::new(), now),
            Err(error) => {
                tracing::error!(%error, "an erasure waits");
                self.erase_after = Some(now.plus(AFTER_FAILURE));
                self.wake_at = Some(now.plus(AFTER_FAILURE));
            }
        }
    }

    fn tick(&mut self) {
        self.wake_at = None;
        match Submission::new(Input::Tick, Digest([0; 32])) {
            Ok(submission) => self.commit(vec![Waiting { submission, reply: None }]),
            Err(_) => self.wake_at = None,
        }
    }

    fn commit(&mut self, group: Vec<Waiting>) {
        let now = (self.clock)();
        let (submissions, replies): (Vec<_>, Vec<_>) =
            group.into_iter().map(|w| (w.submission, w.reply)).unzip();
        let outcome = self.keeper.commit(now, submissions);
        let well = outcome.is_ok();
        let was_well = self.handle.healthy.swap(well, Ordering::Relaxed);
        if was_well && !well {
            drop(self.to_dispatch.send(News::Stopped(true)));
        }
        match outcome {
            Ok(outputs) => {
                self.release(outputs, replies, now);
                if !was_well {
                    drop(self.to_dispatch.send(News::Stopped(false)));
                }
            }
            Err(error) => {
                tracing::error!(%error, "commit failed");
                self.handle.figures.failed_commits.fetch_add(1, Ordering::Relaxed);
                if error.is_final() {
                    drop(self.handle.fault.set(error.to_string()));
                }
                self.wake_at = Some(now.plus(AFTER_FAILURE));
                for reply in replies.into_iter().flatten() {
                    drop(reply.send(Err(Busy)));
                }
            }
        }
    }

    /// Lets out what a committed group allows: answers, calls, pages.
    fn release(&mut self, outputs: Outputs, replies: Vec<Option<Reply>>, now: Time) {
        self.wake_at = outputs.wake_at;
        self.unsigned_since = self.unsigned_since.or(Some(now));
        // Before anybody hears that it is in force: what is claimed by now is stopped as well.
        self.handle.frozen.store(outputs.frozen, Ordering::SeqCst);
        let Outputs { receipts, calls, dones, notices, outbox, .. } = outputs;
        if let Some(outbox) = outbox {
            drop(self.to_dispatch.send(News::Outbox(outbox)));
        } else if !calls.is_empty() || !dones.is_empty() {
            drop(self.to_dispatch.send(News::Outputs { calls, dones }));
        }
        for (reply, receipt) in replies.into_iter().zip(receipts) {
            if let Some(reply) = reply {
                drop(reply.send(Ok(receipt)));
            }
        }
        for notice in notices {
            drop(self.pages.send(notice));
        }
    }

    fn errand(&mut self, errand: Errand) {
        match errand {
            Errand::NoticesTried(done, later) => {
                if let Err(error) = self.keeper.notices_tried(done, later) {
                    tracing::error!(%error, "delivered notices could not be written off");
                }
                if !self.keeper.is_open() {
                    self.wake_at = Some((self.clock)());
                }
            }
            Errand::Checkpoint(reply) => {
                drop(reply.send(self.sign()));
            }
        }
    }

    fn sign_if_due(&mut self, now: Time, closing: bool) {
        let Some(since) = self.unsigned_since else { return };
        let delay = i64::try_from(self.merge_delay.as_micros()).unwrap_or(i64::MAX);
        if (closing || now.since(since) >= delay)
            && let Err(error) = self.sign()
        {
            tracing::error!(%error, "no checkpoint was signed");
        }
    }

    fn sign(&mut self) -> Result<String, String> {
        let now = (self.clock)();
        let signer = Arc::clone(&self.signer);
        let signed = self.keeper.checkpoint(now, signer.as_ref());
        self.unsigned_since = None;
        if !self.keeper.is_open() {
            // A tick opens the store again.
            self.wake_at = Some(now);
        }
        signed.map(|checkpoint| checkpoint.note).map_err(|e| e.to_string())
    }
}

/// The task that carries calls out.
struct Dispatcher {
    dispatch: Dispatch,
    targets: BTreeMap<String, Arc<dyn Target>>,
    handle: Handle,
    clock: Clock,
}

/// The one timer of the program; everything that waits for a time waits here.
#[expect(clippy::disallowed_methods, reason = "due times are waited for here and only here")]
pub async fn timer(wait: Duration) {
    tokio::time::sleep(wait).await;
}

#[cfg(test)]
mod tests;
