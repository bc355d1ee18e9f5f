//! Okta: step-up by membership in one configured group, of which a sign-on policy of the customer
//! asks a stronger sign-in. Membership is read before and after; nobody is taken out who was in
//! before.

use quell_core::order::{Answer, Call, Fault};
use quell_core::time::{SECOND, Time};
use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::tokens::LIST_PAGE;
use super::{Okta, is_id, user_path};
use crate::target::{Refusal, Said, Trace};
use crate::vendor::{AGENT, Ask, agent};

/// How long a list of groups may stay the old one, microseconds.
pub(super) const GROUP_LAG: i64 = 15 * SECOND;

/// What the probe keeps for the undo.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Snapshot {
    /// The group of that time: the undo takes him out of this one, whatever is configured by then.
    group: String,
    /// He was in it.
    member: bool,
}

impl Okta {
    pub(super) async fn probe_step_up(
        &self,
        call: &Call,
        now: Time,
        trace: &mut Trace,
    ) -> Result<Said, Refusal> {
        let group = self.group(call)?;
        let member = self.is_member(group, call, now, trace).await?;
        let snapshot = Snapshot { group: group.to_owned(), member };
        let snapshot = serde_json::to_string(&snapshot).ok();
        let answer = Answer::Before { alive: !member, already: member, snapshot };
        Ok(Said::new(answer, words(member)))
    }

    /// Adds the user. Okta answers 204 for a member, too, so that the probe alone tells whose
    /// doing it is.
    pub(super) async fn step_up(
        &self,
        call: &Call,
        now: Time,
        trace: &mut Trace,
    ) -> Result<Said, Refusal> {
        self.change(Method::PUT, self.group(call)?, call, now, trace).await
    }

    pub(super) async fn read_back_step_up(
        &self,
        call: &Call,
        now: Time,
        trace: &mut Trace,
    ) -> Result<Said, Refusal> {
        let was = snapshot(call);
        let group = match &was {
            Some(was) => was.group.as_str(),
            None => self.group(call)?,
        };
        let done = self.is_member(group, call, now, trace).await?;
        let asked = call.acknowledged_at.or(call.sent_at);
        let late = asked.is_none_or(|asked| now >= asked.plus(GROUP_LAG));
        Ok(Said::new(Answer::Seen { done, conclusive: done || late }, words(done)))
    }

    /// Takes the user out of the group, if the probe saw him outside before.
    ///
    /// *Crash*: he may or may not be in it; his groups tell.
    pub(super) async fn step_down(
        &self,
        call: &Call,
        now: Time,
        trace: &mut Trace,
    ) -> Result<Said, Refusal> {
        let Some(was) = snapshot(call).filter(|was| !was.member) else {
            let detail = "the user was in the group before: left in it, nothing was sent";
            return Err(Refusal::new(Fault::Precondition, detail));
        };
        if !self.is_member(&was.group, call, now, trace).await? {
            return Ok(Said::new(Answer::Accepted { already: true }, "is not in the group"));
        }
        self.change(Method::DELETE, &was.group, call, now, trace).await
    }

    pub(super) async fn read_back_step_down(
        &self,
        call: &Call,
        now: Time,
        trace: &mut Trace,
    ) -> Result<Said, Refusal> {
        let Some(was) = snapshot(call) else {
            return Err(Refusal::new(Fault::Precondition, "the group of that time is not known"));
        };
        let member = self.is_member(&was.group, call, now, trace).await?;
        Ok(Said::new(Answer::Seen { done: !member, conclusive: true }, words(member)))
    }

    /// Only a group that nobody but administrators fills can be the step-up group.
    pub(super) async fn check_group(&self, now: Time) -> Result<(), Refusal> {
        let Some(group) = &self.group else { return Ok(()) };
        let ask = Ask::get(format!("/api/v1/groups/{group}"), AGENT);
        let found = self.client.send(ask, now, &mut Trace::default()).await?.json()?;
        if found.get("type").and_then(Value::as_str) == Some("OKTA_GROUP") {
            return Ok(());
        }
        let detail = format!("`{group}` cannot be the step-up group: it is no `OKTA_GROUP`");
        Err(Refusal::new(Fault::Precondition, detail))
    }

    async fn change(
        &self,
        method: Method,
        group: &str,
        call: &Call,
        now: Time,
        trace: &mut Trace,
    ) -> Result<Said, Refusal> {
        user_path(call)?;
        let path = format!("/api/v1/groups/{group}/users/{}", call.account.id);
        let mut ask = Ask::act(method, path, &agent(call));
        ask.expected = vec![204];
        self.client.send(ask, now, trace).await?;
        Ok(Said::new(Answer::Accepted { already: false }, "accepted"))
    }

    async fn is_member(
        &self,
        group: &str,
        call: &Call,
        now: Time,
        trace: &mut Trace,
    ) -> Result<bool, Refusal> {
        let path = format!("{}/groups", user_path(call)?);
        let pages = self.pages(&path, LIST_PAGE, false, call, now, trace).await?;
        let is = |item: &Value| item.get("id").and_then(Value::as_str) == Some(group);
        let member = pages.items.iter().any(is);
        if !member && !pages.complete {
            let why = "the user is in more groups than are read";
            return Err(Refusal::new(Fault::Indeterminate, why));
        }
        Ok(member)
    }

    fn group(&self, call: &Call) -> Result<&str, Refusal> {
        self.group.as_deref().ok_or_else(|| super::cannot(call))
    }
}

fn snapshot(call: &Call) -> Option<Snapshot> {
    let was: Snapshot =
        call.snapshot.as_deref().and_then(|text| serde_json::from_str(text).ok())?;
    is_id(&was.group).then_some(was)
}

fn words(member: bool) -> &'static str {
    match member {
        true => "in the step-up group: asked at the next sign-in",
        false => "not in the step-up group",
    }
}
