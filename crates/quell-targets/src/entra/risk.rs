//! Entra ID: tell Identity Protection that a user is compromised, and take it back where we said
//! it. It blocks nobody by itself: the tenant's own risk policies act on it.

use quell_core::order::{Answer, Call, Fault};
use quell_core::time::Time;
use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Entra;
use super::graph::{VERSION, act, object_id, read};
use crate::target::{Refusal, Said, Trace, is_late, snapshot};

/// What is known of a user's risk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Risk {
    /// `riskState`, e.g. `atRisk`; `none` for a user that Identity Protection does not know.
    state: String,
    /// It is still being worked out.
    #[serde(skip, default)]
    processing: bool,
}

impl Risk {
    fn confirmed(&self) -> bool {
        self.state == "confirmedCompromised"
    }

    /// A dismissal takes everything back, so it is ours to do only where nothing stood before.
    fn is_clear(&self) -> bool {
        matches!(self.state.as_str(), "none" | "confirmedSafe" | "remediated" | "dismissed")
    }

    fn words(&self) -> String {
        let still = if self.processing { ", still being worked out" } else { "" };
        format!("the risk state is `{}`{still}", self.state)
    }
}

impl Entra {
    pub(super) async fn probe_confirm(
        &self,
        call: &Call,
        now: Time,
        trace: &mut Trace,
    ) -> Result<Said, Refusal> {
        if self.user(call, now, trace).await?.guest {
            let detail = "the risk of a guest is kept by the tenant that he comes from";
            return Err(Refusal::new(Fault::Unsupported, detail));
        }
        let risk = self.risk_or_none(call, now, trace).await?;
        let already = risk.confirmed();
        let snapshot = serde_json::to_string(&risk).ok();
        Ok(Said::new(Answer::Before { alive: !already, already, snapshot }, risk.words()))
    }

    pub(super) async fn confirm(
        &self,
        call: &Call,
        now: Time,
        trace: &mut Trace,
    ) -> Result<Said, Refusal> {
        self.tell("confirmCompromised", call, now, trace).await
    }

    pub(super) async fn read_back_confirm(
        &self,
        call: &Call,
        now: Time,
        trace: &mut Trace,
    ) -> Result<Said, Refusal> {
        let risk = self.risk_or_none(call, now, trace).await?;
        let done = risk.confirmed() && !risk.processing;
        let conclusive = done || (!risk.processing && is_late(call, now, self.lag));
        Ok(Said::new(Answer::Seen { done, conclusive }, risk.words()))
    }

    /// Dismisses the risk, if nothing stood against the user before we confirmed it.
    ///
    /// *Crash*: it may or may not be dismissed; the risk state tells.
    pub(super) async fn dismiss(
        &self,
        call: &Call,
        now: Time,
        trace: &mut Trace,
    ) -> Result<Said, Refusal> {
        let was: Option<Risk> = snapshot(call);
        if !was.is_some_and(|was| was.is_clear()) {
            let detail = "the user was at risk before: not dismissed, nothing was sent";
            return Err(Refusal::new(Fault::Precondition, detail));
        }
        if self.risk(call, now, trace).await?.is_clear() {
            return Ok(Said::new(Answer::Accepted { already: true }, "nothing stands against him"));
        }
        self.tell("dismiss", call, now, trace).await
    }

    pub(super) async fn read_back_dismiss(
        &self,
        call: &Call,
        now: Time,
        trace: &mut Trace,
    ) -> Result<Said, Refusal> {
        let risk = self.risk(call, now, trace).await?;
        let done = risk.is_clear() && !risk.processing;
        Ok(Said::new(Answer::Seen { done, conclusive: !risk.processing }, risk.words()))
    }

    /// One user in one call: of a larger batch nobody could say whom it reached.
    async fn tell(
        &self,
        what: &str,
        call: &Call,
        now: Time,
        trace: &mut Trace,
    ) -> Result<Said, Refusal> {
        let path = format!("{VERSION}/identityProtection/riskyUsers/{what}");
        let body = json!({ "userIds": [object_id(call)?] });
        let mut ask = act(Method::POST, path, Some(&body), call);
        ask.expected = vec![204];
        self.graph(ask, now, trace).await?;
        Ok(Said::new(Answer::Accepted { already: false }, "accepted"))
    }

    /// The user's risk. Identity Protection answers 404 for somebody of whom it knows nothing; the
    /// probe has seen that the user exists.
    async fn risk_or_none(
        &self,
        call: &Call,
        now: Time,
        trace: &mut Trace,
    ) -> Result<Risk, Refusal> {
        match self.risk(call, now, trace).await {
            Err(refusal) if refusal.status == Some(404) => {
                Ok(Risk { state: "none".to_owned(), processing: false })
            }
            told => told,
        }
    }

    /// The risk of a user who has one.
    async fn risk(&self, call: &Call, now: Time, trace: &mut Trace) -> Result<Risk, Refusal> {
        let user = object_id(call)?;
        let path = format!(
            "{VERSION}/identityProtection/riskyUsers/{user}?$select=id,riskState,isProcessing"
        );
        let answer = self.graph(read(path, call), now, trace).await?.json()?;
        // a word as Graph writes them: it is kept in the snapshot
        let is_word = |state: &&str| {
            (1..=40).contains(&state.len()) && state.bytes().all(|b| b.is_ascii_alphabetic())
        };
        let about = answer.get("id").and_then(Value::as_str);
        let state = answer.get("riskState").and_then(Value::as_str).filter(is_word);
        match (about, state) {
            (Some(id), Some(state)) if id.eq_ignore_ascii_case(user) => Ok(Risk {
                state: state.to_owned(),
                processing: answer.get("isProcessing").and_then(Value::as_bool) == Some(true),
            }),
            _ => Err(Refusal::new(Fault::Indeterminate, "the answer does not tell his risk")),
        }
    }
}
