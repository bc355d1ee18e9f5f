//! Okta: suspend a user and lift it again. The status is read before and after; nothing is
//! lifted that we did not set.

use quell_core::order::{Answer, Call, Fault};
use quell_core::time::{SECOND, Time};
use reqwest::Method;
use serde::{Deserialize, Serialize};

use super::{Okta, user_path};
use crate::target::{Refusal, Said, Trace, is_late, snapshot};
use crate::vendor::{Ask, agent};

/// How long a status may stay the old one, microseconds. A single user's status is current at Okta;
/// a request whose answer was lost may arrive a little later.
pub(super) const STATUS_LAG: i64 = 5 * SECOND;

/// What the probe keeps for the undo.
#[derive(Debug, Serialize, Deserialize)]
struct Snapshot {
    status: String,
}

impl Okta {
    pub(super) async fn probe_suspend(
        &self,
        call: &Call,
        now: Time,
        trace: &mut Trace,
    ) -> Result<Said, Refusal> {
        let status = self.status(call, now, trace).await?;
        let detail = format!("status is `{status}`");
        if status != "ACTIVE" && status != "SUSPENDED" {
            let detail = format!("{detail}: only an `ACTIVE` user can be suspended");
            return Err(Refusal::new(Fault::Precondition, detail));
        }
        let snapshot = serde_json::to_string(&Snapshot { status: status.clone() }).ok();
        let alive = status == "ACTIVE";
        Ok(Said::new(Answer::Before { alive, already: !alive, snapshot }, detail))
    }

    pub(super) async fn suspend(
        &self,
        call: &Call,
        now: Time,
        trace: &mut Trace,
    ) -> Result<Said, Refusal> {
        let path = format!("{}/lifecycle/suspend", user_path(call)?);
        match self.client.send(Ask::act(Method::POST, path, &agent(call)), now, trace).await {
            Ok(reply) => {
                reply.json_or_nothing()?;
                Ok(Said::new(Answer::Accepted { already: false }, "accepted"))
            }
            Err(refusal) if refusal.fault == Fault::Precondition => {
                // Okta answers 400 for a user who is suspended already
                let status = self.status(call, now, trace).await?;
                if status != "SUSPENDED" {
                    return Err(refusal);
                }
                // a later attempt finds what an earlier one of ours, whose answer was lost, did
                let already = call.attempt <= 1;
                Ok(Said::new(Answer::Accepted { already }, "was suspended already"))
            }
            Err(refusal) => Err(refusal),
        }
    }

    pub(super) async fn read_back_suspend(
        &self,
        call: &Call,
        now: Time,
        trace: &mut Trace,
    ) -> Result<Said, Refusal> {
        let status = self.status(call, now, trace).await?;
        let done = status == "SUSPENDED";
        let answer = Answer::Seen { done, conclusive: done || is_late(call, now, STATUS_LAG) };
        Ok(Said::new(answer, format!("status is `{status}`")))
    }

    /// Lifts the suspension, if the probe saw the user active before. A block that is lifted may
    /// give the same tokens their life back: the engine orders an end of sessions before this.
    ///
    /// *Crash*: it may or may not be lifted; the status tells.
    pub(super) async fn unsuspend(
        &self,
        call: &Call,
        now: Time,
        trace: &mut Trace,
    ) -> Result<Said, Refusal> {
        let was: Option<Snapshot> = snapshot(call);
        if was.is_none_or(|was| was.status != "ACTIVE") {
            let detail = "the user was not active before: not lifted, nothing was sent";
            return Err(Refusal::new(Fault::Precondition, detail));
        }
        let path = format!("{}/lifecycle/unsuspend", user_path(call)?);
        if self.status(call, now, trace).await? != "SUSPENDED" {
            return Ok(Said::new(Answer::Accepted { already: true }, "is not suspended"));
        }
        let lift = Ask::act(Method::POST, path, &agent(call));
        self.client.send(lift, now, trace).await?.json_or_nothing()?;
        Ok(Said::new(Answer::Accepted { already: false }, "accepted"))
    }

    pub(super) async fn read_back_unsuspend(
        &self,
        call: &Call,
        now: Time,
        trace: &mut Trace,
    ) -> Result<Said, Refusal> {
        let status = self.status(call, now, trace).await?;
        let done = status != "SUSPENDED";
        let answer = Answer::Seen { done, conclusive: true };
        Ok(Said::new(answer, format!("status is `{status}`")))
    }

    /// The user's status word, e.g. `ACTIVE`; the single-user read is current, lists may lag.
    async fn status(&self, call: &Call, now: Time, trace: &mut Trace) -> Result<String, Refusal> {
        let ask = Ask::get(user_path(call)?, &agent(call));
        let user = self.client.send(ask, now, trace).await?.json()?;
        let unclear = |why: &str| Refusal::new(Fault::Indeterminate, why);
        if user.get("id").and_then(|id| id.as_str()) != Some(call.account.id.as_str()) {
            return Err(unclear("the answer is about another user"));
        }
        // a word as Okta writes them: it is kept in the snapshot
        let is_word = |status: &&str| {
            let form = |b: u8| b.is_ascii_uppercase() || b == b'_';
            (1..=40).contains(&status.len()) && status.bytes().all(form)
        };
        match user.get("status").and_then(|status| status.as_str()).filter(is_word) {
            Some(status) => Ok(status.to_owned()),
            None => Err(unclear("the answer holds no status")),
        }
    }
}
