//! The interface of every target and the life of one call: what is checked before anything
//! leaves, and how what was seen becomes an outcome. No vendor's words here.

use std::collections::BTreeSet;
use std::fmt;
use std::future::Future;
use std::pin::Pin;

use quell_core::id::Digest;
use quell_core::order::{Answer, Call, Capability, Fault, Outcome, Verb};
use quell_core::time::Time;
use serde::de::DeserializeOwned;

use crate::secret::Unspoken;
use crate::text::{DETAIL_MAX, clean};

/// A boxed future, so that targets can be kept as trait objects.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A system that carries out orders.
///
/// Dispatch calls [`Target::call`] alone; the verbs are its parts. Calls for one account are
/// serial; a target keeps nothing between calls, so a killed process loses nothing here.
///
/// How a read-back is to be understood: `done` with `conclusive` is proof; `done` without
/// `conclusive` can never be proven by this target; not `done` with `conclusive` means that the
/// effect is absent, at any time: the target itself holds this back until its delays are over or
/// a survivor is seen, so nobody needs to wait any longer before a repetition; neither means that
/// it is too early to tell (lag or quiet time), look again.
/// Neither when lag and quiet are over means that it cannot be told: the repeat class decides.
pub trait Target: Send + Sync + fmt::Debug {
    /// The name under which accounts refer to it (`Account::provider`).
    fn name(&self) -> &str;

    /// What it can do, constant for its configuration; an action that is not listed is refused.
    fn capabilities(&self) -> Vec<Capability>;

    /// Immutable ids of accounts on which no effecting call is ever made, checked here again
    /// behind the core's own check.
    fn protected(&self) -> &BTreeSet<String>;

    /// True for one of them; a provider whose ids are the same in either case says so here.
    fn is_protected(&self, id: &str) -> bool {
        self.protected().contains(id)
    }

    /// Asks for what the credential may read, at start; changes nothing. A right that only an
    /// effecting call would need cannot be seen this way.
    ///
    /// *Crash*: nothing has changed.
    fn check(&self, now: Time) -> BoxFuture<'_, Result<(), Refusal>>;

    /// Reads the state before the act: the positive control and the ground of an undo.
    ///
    /// *Crash*: nothing has changed; probe again.
    fn probe<'a>(
        &'a self,
        call: &'a Call,
        now: Time,
        trace: &'a mut Trace,
    ) -> BoxFuture<'a, Result<Said, Refusal>>;

    /// The effecting call, sent once; never repeated in here.
    ///
    /// *Crash*: it may or may not have happened; read back first, then decide by the action's
    /// repeat class.
    fn execute<'a>(
        &'a self,
        call: &'a Call,
        now: Time,
        trace: &'a mut Trace,
    ) -> BoxFuture<'a, Result<Said, Refusal>>;

    /// Looks whether the effect is there, with the same probe as before the act.
    ///
    /// *Crash*: nothing has changed; read back again.
    fn read_back<'a>(
        &'a self,
        call: &'a Call,
        now: Time,
        trace: &'a mut Trace,
    ) -> BoxFuture<'a, Result<Said, Refusal>>;

    /// The inverse of the effecting call, only where the snapshot says that we made the change.
    ///
    /// *Crash*: the inverse may or may not have happened; read the undo back first.
    fn undo<'a>(
        &'a self,
        call: &'a Call,
        now: Time,
        trace: &'a mut Trace,
    ) -> BoxFuture<'a, Result<Said, Refusal>>;

    /// Looks whether the inverse is there.
    ///
    /// *Crash*: nothing has changed; read back again.
    fn read_back_undo<'a>(
        &'a self,
        call: &'a Call,
        now: Time,
        trace: &'a mut Trace,
    ) -> BoxFuture<'a, Result<Said, Refusal>>;

    /// One call of dispatch, from the checks to the outcome. Never fails and never panics:
    /// everything is told in the outcome.
    ///
    /// *Crash*: as for the verb.
    fn call<'a>(&'a self, call: &'a Call, now: Time) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            let mut trace = Trace::default();
            let told = match refused_before_sending(self, call) {
                Some(refusal) => Err(refusal),
                None => match call.verb {
                    Verb::Probe => self.probe(call, now, &mut trace).await,
                    Verb::Execute => self.execute(call, now, &mut trace).await,
                    Verb::ReadBack => self.read_back(call, now, &mut trace).await,
                    Verb::Undo => self.undo(call, now, &mut trace).await,
                    Verb::ReadBackUndo => self.read_back_undo(call, now, &mut trace).await,
                },
            };
            outcome(call, now, &trace, told)
        })
    }
}

/// What a verb has to say when it was carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// The answer.
    pub answer: Answer,
    /// One sentence for people.
    pub detail: String,
}

impl Said {
    /// An answer with its sentence.
    pub fn new(answer: Answer, detail: impl Into<String>) -> Self {
        Self { answer, detail: detail.into() }
    }
}

/// Why something was refused or failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Refusal {
    /// The class.
    pub fault: Fault,
    /// Not before this time, at most an hour away.
    pub retry_at: Option<Time>,
    /// The HTTP status, when there was one.
    pub status: Option<u16>,
    /// The vendor's own code, when there was one, at most 80 characters.
    pub code: Option<String>,
    /// One sentence for people, no secrets.
    pub detail: String,
}

impl Refusal {
    /// A refusal without an HTTP answer.
    pub fn new(fault: Fault, detail: impl Into<String>) -> Self {
        Self { fault, retry_at: None, status: None, code: None, detail: detail.into() }
    }
}

/// What was sent and seen during one call: for the evidence, without secrets and bodies.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trace {
    requests: Vec<String>,
    digests: Vec<Digest>,
    more: usize,
    sent: bool,
    status: Option<u16>,
    vendor_request: Option<String>,
    unspoken: Unspoken,
}

impl Trace {
    /// Notes with which credentials something is about to leave: none of them is kept in what
    /// becomes of this trace, whoever says it.
    pub(crate) fn keep_out(&mut self, unspoken: &Unspoken) {
        self.unspoken.merge(unspoken);
    }

    /// Notes a request line (method, path and query) that is about to leave.
    pub(crate) fn asked(&mut self, line: String) {
        if self.requests.len() < REQUESTS_MAX {
            self.requests.push(line);
        } else {
            self.more += 1;
        }
    }

    /// Notes that bytes may have left.
    pub(crate) fn sent(&mut self) {
        self.sent = true;
    }

    /// Notes an answer's head; the last one stands in the outcome.
    pub(crate) fn answered(&mut self, status: u16, vendor_request: Option<String>) {
        self.status = Some(status);
        self.vendor_request = vendor_request;
    }

    /// Notes the body of an answer.
    pub(crate) fn body(&mut self, body: &[u8]) {
        self.digests.push(Digest::of(body));
    }

    /// Takes in what a second, parallel trace saw.
    pub(crate) fn merge(&mut self, other: Self) {
        for line in other.requests {
            self.asked(line);
        }
        self.more += other.more;
        self.digests.extend(other.digests);
        self.unspoken.merge(&other.unspoken);
        self.sent |= other.sent;
        if other.status.is_some() {
            self.status = other.status;
            self.vendor_request = other.vendor_request;
        }
    }

    /// Takes in a request that was to prepare the one that matters, and failed: nothing of the
    /// order has left with it.
    pub(crate) fn prepared(&mut self, other: Self) {
        let sent = self.sent;
        self.merge(other);
        self.sent = sent;
    }

    /// The request lines; a next page is the vendor's own words.
    fn request(&self) -> String {
        let mut text = self.requests.join("; ");
        if self.more > 0 {
            text.push_str(&format!("; and {} more", self.more));
        }
        self.unspoken.people(&text, usize::MAX)
    }

    /// One body: its digest. Several: the digest of their digests, one a line.
    fn response(&self) -> Option<String> {
        match self.digests.as_slice() {
            [] => None,
            [one] => Some(one.to_string()),
            many => {
                let lines: Vec<String> = many.iter().map(Digest::to_string).collect();
                Some(Digest::of(lines.join("\n").as_bytes()).to_string())
            }
        }
    }
}

/// The refusal of an action that a target has no verb for.
pub(crate) fn cannot(call: &Call) -> Refusal {
    Refusal::new(Fault::Unsupported, format!("`{}` is not done here", call.action))
}

/// What the probe kept of the state before, if it can be read.
pub(crate) fn snapshot<T: DeserializeOwned>(call: &Call) -> Option<T> {
    serde_json::from_str(call.snapshot.as_deref()?).ok()
}

/// True when what was asked for must be there by now: a request whose answer was lost may still be
/// on its way, and a read may lag behind by so many microseconds.
pub(crate) fn is_late(call: &Call, now: Time, lag: i64) -> bool {
    let asked = call.acknowledged_at.or(call.sent_at);
    asked.is_none_or(|asked| now >= asked.plus(lag))
}

/// Request lines kept of one call; a read-back may page.
const REQUESTS_MAX: usize = 8;

fn refused_before_sending<T: Target + ?Sized>(target: &T, call: &Call) -> Option<Refusal> {
    if call.account.provider != target.name() {
        let detail = format!(
            "`{}` is no account of `{}`: nothing was sent",
            clean(&call.account.to_string(), 80),
            target.name()
        );
        return Some(Refusal::new(Fault::Unsupported, detail));
    }
    let effecting = matches!(call.verb, Verb::Execute | Verb::Undo);
    if effecting && target.is_protected(&call.account.id) {
        let detail =
            format!("`{}` is protected: nothing was sent", clean(&call.account.to_string(), 80));
        return Some(Refusal::new(Fault::Unsupported, detail));
    }
    let capability = target.capabilities().into_iter().find(|c| c.action == call.action);
    let undo = matches!(call.verb, Verb::Undo | Verb::ReadBackUndo);
    match capability {
        None => {
            let detail =
                format!("`{}` cannot do `{}`: nothing was sent", target.name(), call.action);
            Some(Refusal::new(Fault::Unsupported, detail))
        }
        Some(capability) if undo && !capability.undoes => {
            let detail = format!("`{}` has no inverse: nothing was sent", call.action);
            Some(Refusal::new(Fault::Unsupported, detail))
        }
        Some(_) => None,
    }
}

fn outcome(call: &Call, now: Time, trace: &Trace, told: Result<Said, Refusal>) -> Outcome {
    let (answer, detail) = match told {
        Ok(said) => (said.answer, said.detail),
        Err(refusal) => {
            let answer = Answer::Fault { fault: refusal.fault, retry_at: refusal.retry_at };
            (answer, refusal.detail)
        }
    };
    Outcome {
        order: call.order,
        verb: call.verb,
        attempt: call.attempt,
        answer,
        sent_at: trace.sent.then_some(now),
        request: trace.request(),
        status: trace.status,
        vendor_request: trace.vendor_request.clone(),
        response: trace.response(),
        detail: trace.unspoken.people(&detail, DETAIL_MAX),
    }
}
