//! Entra ID: step-up by membership in one configured group, of which a Conditional Access policy
//! of the customer asks a stronger sign-in. Membership is read before and after; nobody is taken
//! out who was in before. Adds and removes references alone, never objects.

use quell_core::order::{Answer, Call, Fault};
use quell_core::time::Time;
use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Entra;
use super::graph::{VERSION, act, is_guid, object_id, question};
use crate::target::{Refusal, Said, Trace};

/// What the probe keeps for the undo.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Snapshot {
    /// The group of that time: the undo takes him out of this one, whatever is configured by then.
    group: String,
    /// He was in it.
    member: bool,
}

impl Entra {
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

    pub(super) async fn step_up(
        &self,
        call: &Call,
        now: Time,
        trace: &mut Trace,
    ) -> Result<Said, Refusal> {
        let group = self.group(call)?;
        let path = format!("{VERSION}/groups/{group}/members/$ref");
        let object = format!("{}{VERSION}/directoryObjects/{}", self.base, object_id(call)?);
        let body = json!({ "\u{40}odata.id": object });
        let mut ask = act(Method::POST, path, Some(&body), call);
        ask.expected = vec![204];
        match self.graph(ask, now, trace).await {
            Ok(_) => Ok(Said::new(Answer::Accepted { already: false }, "accepted")),
            // Graph answers 400 for somebody who is in the group already
            Err(refusal) if refusal.status == Some(400) => {
                if !self.is_member(group, call, now, trace).await? {
                    return Err(refusal);
                }
                // a later attempt finds what an earlier one of ours, whose answer was lost, did
                let already = call.attempt <= 1;
                Ok(Said::new(Answer::Accepted { already }, "was in the group already"))
            }
            Err(refusal) => Err(refusal),
        }
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
        let conclusive = done || self.is_late(call, now);
        Ok(Said::new(Answer::Seen { done, conclusive }, words(done)))
    }

    /// Takes the user out of the group, if the probe saw him outside before.
    ///
    /// *Crash*: he may or may not be in it; the membership tells.
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
        let path = reference(&was.group, object_id(call)?);
        let mut ask = act(Method::DELETE, path, None, call);
        ask.expected = vec![204];
        self.graph(ask, now, trace).await?;
        Ok(Said::new(Answer::Accepted { already: false }, "accepted"))
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

    /// Asks about this one group; membership through a group inside it counts, because Conditional
    /// Access counts it.
    async fn is_member(
        &self,
        group: &str,
        call: &Call,
        now: Time,
        trace: &mut Trace,
    ) -> Result<bool, Refusal> {
        let path = format!("{VERSION}/users/{}/checkMemberGroups", object_id(call)?);
        let ask = question(path, &json!({ "groupIds": [group] }), call);
        let answer = self.graph(ask, now, trace).await?.json()?;
        let Some(groups) = answer.get("value").and_then(Value::as_array) else {
            let why = "the answer proves nothing: it lists no groups";
            return Err(Refusal::new(Fault::Indeterminate, why));
        };
        let is = |id: &Value| id.as_str().is_some_and(|id| id.eq_ignore_ascii_case(group));
        Ok(groups.iter().any(is))
    }

    fn group(&self, call: &Call) -> Result<&str, Refusal> {
        self.group.as_deref().ok_or_else(|| super::cannot(call))
    }
}

/// The reference of a member. Without its last segment the same request would delete the user.
fn reference(group: &str, user: &str) -> String {
    format!("{VERSION}/groups/{group}/members/{user}/$ref")
}

fn snapshot(call: &Call) -> Option<Snapshot> {
    let was: Snapshot =
        call.snapshot.as_deref().and_then(|text| serde_json::from_str(text).ok())?;
    is_guid(&was.group).then_some(was)
}

fn words(member: bool) -> &'static str {
    match member {
        true => "in the step-up group: asked at the next token",
        false => "not in the step-up group",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_removed_and_never_a_user() {
        assert!(reference("g", "u").ends_with("/members/u/$ref"));
    }
}
