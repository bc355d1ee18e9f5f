//! Entra ID: the group of step-up, of which a Conditional Access policy of the customer asks a
//! stronger sign-in. How a member is read, added and taken out; when, is said elsewhere. Adds and
//! removes references alone, never objects.

use quell_core::order::{Answer, Call, Fault};
use quell_core::time::Time;
use reqwest::Method;
use serde_json::{Value, json};

use super::Entra;
use super::graph::{VERSION, act, is_guid, object_id, question};
use crate::step_up::StepUp;
use crate::target::{Refusal, Said, Trace};

impl StepUp for Entra {
    const MEMBER: &'static str = "in the step-up group: asked at the next token";

    fn group(&self) -> Option<&str> {
        self.group.as_deref()
    }

    fn is_group(id: &str) -> bool {
        is_guid(id)
    }

    fn lag(&self) -> i64 {
        self.lag
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

    async fn put_in(
        &self,
        group: &str,
        call: &Call,
        now: Time,
        trace: &mut Trace,
    ) -> Result<Said, Refusal> {
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

    async fn take_out(
        &self,
        group: &str,
        call: &Call,
        now: Time,
        trace: &mut Trace,
    ) -> Result<Said, Refusal> {
        let path = reference(group, object_id(call)?);
        let mut ask = act(Method::DELETE, path, None, call);
        ask.expected = vec![204];
        self.graph(ask, now, trace).await?;
        Ok(Said::new(Answer::Accepted { already: false }, "accepted"))
    }
}

/// The reference of a member. Without its last segment the same request would delete the user.
fn reference(group: &str, user: &str) -> String {
    format!("{VERSION}/groups/{group}/members/{user}/$ref")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_removed_and_never_a_user() {
        assert!(reference("g", "u").ends_with("/members/u/$ref"));
    }
}
