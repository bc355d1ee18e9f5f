//! Run room, the shell's task that carries calls out: claimed, sent and reported, each as a task of
//! its own. It knows no engine; what a call may do was decided before.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use quell_core::effect::{CallId, Input};
use quell_core::order::Call;
use quell_targets::Target;
use tokio::sync::mpsc;

use super::{Busy, Clock, Dispatcher, Handle, News, timer};
use crate::dispatch;

impl Dispatcher {
    pub(super) async fn run(mut self, calls: Vec<Call>, mut news: mpsc::UnboundedReceiver<News>) {
        self.dispatch.add(calls);
        let (finish, mut finished) = mpsc::unbounded_channel::<Finished>();
        loop {
            let now = (self.clock)();
            for call in self.dispatch.ready(now) {
                self.send(call, finish.clone());
            }
            let (waiting, running) = self.dispatch.counts();
            self.handle.figures.calls_waiting.store(waiting, Ordering::Relaxed);
            self.handle.figures.calls_running.store(running, Ordering::Relaxed);
            let wait = self.dispatch.next_due().map_or(Duration::from_secs(60), |due| {
                let micros = u64::try_from(due.since((self.clock)())).unwrap_or_default();
                Duration::from_micros(micros.max(500))
            });
            tokio::select! {
                heard = news.recv() => match heard {
                    Some(News::Outputs { calls, dones }) => {
                        self.dispatch.remove(&dones);
                        self.dispatch.add(calls);
                    }
                    Some(News::Outbox(calls)) => self.dispatch.replace(calls),
                    Some(News::Stopped(stopped)) => self.dispatch.stop(stopped),
                    None => return,
                },
                Some(Finished { call, again }) = finished.recv() => {
                    self.dispatch.finished(call);
                    self.dispatch.add(again);
                }
                () = timer(wait) => {}
            }
        }
    }

    fn send(&self, call: Call, finish: mpsc::UnboundedSender<Finished>) {
        let target = self.targets.get(&call.account.provider).cloned();
        let handle = self.handle.clone();
        let clock = Arc::clone(&self.clock);
        tokio::spawn(async move {
            let id = dispatch::id(&call);
            let mut again = None;
            if let Some(target) = target
                && carry_out(&call, target.as_ref(), &handle, &clock).await == Carried::NotTaken
            {
                let due = clock().plus(NOT_TAKEN_PAUSE);
                again = Some(Call { due, ..call });
            }
            drop(finish.send(Finished { call: id, again }));
        });
    }
}

/// A call that no longer runs, and itself where it must be tried again.
struct Finished {
    call: CallId,
    again: Option<Call>,
}

/// What became of a call.
#[derive(PartialEq, Eq)]
pub(super) enum Carried {
    /// Its outcome is committed, or the engine does not want it any more.
    Over,
    /// The claim was not taken: nothing was sent.
    NotTaken,
}

/// Microseconds until a call is tried again whose claim was not taken.
const NOT_TAKEN_PAUSE: i64 = 200_000;

/// One call: claimed if it changes anything, sent unless a freeze came since, and its outcome
/// handed in until it is taken.
pub(super) async fn carry_out(
    call: &Call,
    target: &dyn Target,
    handle: &Handle,
    clock: &Clock,
) -> Carried {
    let id = dispatch::id(call);
    let mut heeds_freeze = false;
    if dispatch::needs_claim(call) {
        match handle.input(Input::Claim(id)).await {
            Ok(receipt) if receipt.may_send => heeds_freeze = receipt.heeds_freeze,
            Ok(_) => return Carried::Over,
            Err(Busy) => return Carried::NotTaken,
        }
    }
    let told = if heeds_freeze && handle.frozen.load(Ordering::SeqCst) {
        Input::Unsent(id)
    } else {
        Input::Outcome(target.call(call, clock()).await)
    };
    let mut pause = Duration::from_millis(20);
    while handle.fault().is_none() && handle.input(told.clone()).await.is_err() {
        timer(pause).await;
        pause = (pause * 2).min(Duration::from_secs(5));
    }
    Carried::Over
}
