//! Okta: the group of step-up, of which a sign-on policy of the customer asks a stronger sign-in.
//! How a member is read, added and taken out; when, is said elsewhere.

use quell_core::order::{Answer, Call, Fault};
use quell_core::time::{SECOND, Time};
use reqwest::Method;
use serde_json::Value;

use super::tokens::LIST_PAGE;
use super::{Okta, is_id, user_path};
use crate::step_up::StepUp;
use crate::target::{Refusal, Said, Trace};
use crate::vendor::{AGENT, Ask, agent};

/// How long a list of groups may stay the old one, microseconds.
pub(super) const GROUP_LAG: i64 = 15 * SECOND;

impl StepUp for Okta {
    const MEMBER: &'static str = "in the step-up group: asked at the next sign-in";

    fn group(&self) -> Option<&str> {
        self.group.as_deref()
    }

    fn is_group(id: &str) -> bool {
        is_id(id)
    }

    fn lag(&self) -> i64 {
        GROUP_LAG
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

    /// Okta answers 204 for a member, too, so that the probe alone tells whose doing it is.
    async fn put_in(
        &self,
        group: &str,
        call: &Call,
        now: Time,
        trace: &mut Trace,
    ) -> Result<Said, Refusal> {
        self.change(Method::PUT, group, call, now, trace).await
    }

    async fn take_out(
        &self,
        group: &str,
        call: &Call,
        now: Time,
        trace: &mut Trace,
    ) -> Result<Said, Refusal> {
        self.change(Method::DELETE, group, call, now, trace).await
    }
}

impl Okta {
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
}
