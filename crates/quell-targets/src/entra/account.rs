//! Entra ID: disable a user and enable him again. `accountEnabled` is read before and after;
//! nothing is enabled that we did not disable.

use quell_core::order::{Answer, Call, Fault};
use quell_core::time::Time;
use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Entra;
use super::graph::{User, VERSION, act, object_id};
use crate::target::{Refusal, Said, Trace, is_late, snapshot};

/// What the probe keeps for the undo.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Snapshot {
    /// `accountEnabled`.
    enabled: bool,
    /// Written over from an on-premises directory.
    synced: bool,
}

impl Entra {
    pub(super) async fn probe_disable(
        &self,
        call: &Call,
        now: Time,
        trace: &mut Trace,
    ) -> Result<Said, Refusal> {
        let user = self.user(call, now, trace).await?;
        let enabled = enabled(user)?;
        let snapshot = serde_json::to_string(&Snapshot { enabled, synced: user.synced }).ok();
        let answer = Answer::Before { alive: enabled, already: !enabled, snapshot };
        Ok(Said::new(answer, words(user, enabled)))
    }

    pub(super) async fn disable(
        &self,
        call: &Call,
        now: Time,
        trace: &mut Trace,
    ) -> Result<Said, Refusal> {
        self.set_enabled(false, call, now, trace).await?;
        Ok(Said::new(Answer::Accepted { already: false }, "accepted"))
    }

    pub(super) async fn read_back_disable(
        &self,
        call: &Call,
        now: Time,
        trace: &mut Trace,
    ) -> Result<Said, Refusal> {
        let user = self.user(call, now, trace).await?;
        let enabled = enabled(user)?;
        let done = !enabled;
        // what a synchronisation may write over is seen, not proven
        let conclusive = if done { !user.synced } else { is_late(call, now, self.lag) };
        Ok(Said::new(Answer::Seen { done, conclusive }, words(user, enabled)))
    }

    /// Enables the user, if the probe saw him enabled before. A block that is lifted gives the same
    /// tokens their life back: the engine orders an end of sessions before this.
    ///
    /// *Crash*: he may or may not be enabled; `accountEnabled` tells.
    pub(super) async fn enable(
        &self,
        call: &Call,
        now: Time,
        trace: &mut Trace,
    ) -> Result<Said, Refusal> {
        let was: Option<Snapshot> = snapshot(call);
        if was.is_none_or(|was| !was.enabled) {
            let detail = "the user was not enabled before: left as he is, nothing was sent";
            return Err(Refusal::new(Fault::Precondition, detail));
        }
        if enabled(self.user(call, now, trace).await?)? {
            return Ok(Said::new(Answer::Accepted { already: true }, "is enabled"));
        }
        self.set_enabled(true, call, now, trace).await?;
        Ok(Said::new(Answer::Accepted { already: false }, "accepted"))
    }

    pub(super) async fn read_back_enable(
        &self,
        call: &Call,
        now: Time,
        trace: &mut Trace,
    ) -> Result<Said, Refusal> {
        let user = self.user(call, now, trace).await?;
        let done = enabled(user)?;
        Ok(Said::new(Answer::Seen { done, conclusive: true }, words(user, done)))
    }

    async fn set_enabled(
        &self,
        enabled: bool,
        call: &Call,
        now: Time,
        trace: &mut Trace,
    ) -> Result<(), Refusal> {
        let path = format!("{VERSION}/users/{}", object_id(call)?);
        let body = json!({ "accountEnabled": enabled });
        let mut ask = act(Method::PATCH, path, Some(&body), call);
        ask.expected = vec![204];
        self.graph(ask, now, trace).await?;
        Ok(())
    }
}

fn enabled(user: User) -> Result<bool, Refusal> {
    user.enabled.ok_or_else(|| {
        Refusal::new(Fault::Indeterminate, "the answer does not say whether he is enabled")
    })
}

fn words(user: User, enabled: bool) -> String {
    let state = if enabled { "the account is enabled" } else { "the account is disabled" };
    match user.synced {
        true => format!("{state}; the directory that it is synchronised from may write over it"),
        false => state.to_owned(),
    }
}
