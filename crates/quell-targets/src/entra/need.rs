//! Entra ID: which application permissions the enabled actions need, and what can be seen of them
//! without changing anything. The least ones of Microsoft's permissions reference come first.

use quell_core::action::Action;
use quell_core::order::Fault;
use quell_core::time::Time;
use serde_json::Value;

use super::Entra;
use super::graph::VERSION;
use crate::secret::Secret;
use crate::target::{Refusal, Trace};
use crate::vendor::{AGENT, Ask};

/// One need: the least permission, and the wider ones that hold it.
type Need = &'static [&'static str];

const READ_USERS: Need =
    &["User.Read.All", "User.ReadWrite.All", "Directory.Read.All", "Directory.ReadWrite.All"];
const REVOKE: Need = &["User.RevokeSessions.All", "User.ReadWrite.All", "Directory.ReadWrite.All"];
const ENABLE: Need = &["User.EnableDisableAccount.All", "User.ReadWrite.All"];
const MEMBERS: Need =
    &["GroupMember.ReadWrite.All", "Group.ReadWrite.All", "Directory.ReadWrite.All"];
const RISK: Need = &["IdentityRiskyUser.ReadWrite.All"];

impl Entra {
    /// Asks for a token and looks whether it holds what the enabled actions need; then for what
    /// each of them reads.
    pub(super) async fn check_rights(&self, now: Time) -> Result<(), Refusal> {
        let mut trace = Trace::default();
        let issued = self.tokens.get(now, &mut trace).await?;
        let held = roles(&issued.token);
        if let Some(missing) = held.and_then(|held| self.missing(&held)) {
            let detail = format!("the application lacks {missing}, or it was not consented to");
            return Err(Refusal::new(Fault::NoPermission, detail));
        }
        self.look(format!("{VERSION}/users?$top=1&$select=id"), now).await?;
        if self.actions.contains(&Action::ConfirmCompromised) {
            let path = format!("{VERSION}/identityProtection/riskyUsers?$top=1&$select=id");
            self.look(path, now).await?;
        }
        match self.group.as_deref().filter(|_| self.actions.contains(&Action::StepUp)) {
            Some(group) => self.check_group(group, now).await,
            None => Ok(()),
        }
    }

    /// The first permission that is missing.
    fn missing(&self, held: &[String]) -> Option<&'static str> {
        let needs = self.actions.iter().map(|action| match action {
            Action::EndSessions | Action::ForceReauth => REVOKE,
            Action::StepUp => MEMBERS,
            Action::ConfirmCompromised => RISK,
            _ => ENABLE,
        });
        let lacks = |need: &Need| !need.iter().any(|name| held.iter().any(|held| held == name));
        let first = std::iter::once(READ_USERS).chain(needs).find(lacks)?;
        first.first().copied()
    }

    /// A group that somebody else fills, or that gives rights, is not one to put people into.
    async fn check_group(&self, group: &str, now: Time) -> Result<(), Refusal> {
        let members = "id,groupTypes,isAssignableToRole,onPremisesSyncEnabled";
        let found = self.look(format!("{VERSION}/groups/{group}?$select={members}"), now).await?;
        let flag = |name: &str| found.get(name).and_then(Value::as_bool) == Some(true);
        let kinds = found.get("groupTypes").and_then(Value::as_array);
        let dynamic = kinds.is_some_and(|kinds| kinds.iter().any(|k| k == "DynamicMembership"));
        let why = if dynamic {
            "its members are worked out by a rule"
        } else if flag("onPremisesSyncEnabled") {
            "its members come from an on-premises directory"
        } else if flag("isAssignableToRole") {
            "roles can be given to it"
        } else {
            return Ok(());
        };
        let detail = format!("`{group}` cannot be the step-up group: {why}");
        Err(Refusal::new(Fault::Precondition, detail))
    }

    async fn look(&self, path: String, now: Time) -> Result<Value, Refusal> {
        self.graph(Ask::get(path, AGENT), now, &mut Trace::default()).await?.json()
    }
}

/// The permissions that a token holds (`roles`); none when it cannot be looked into, which
/// Microsoft does not promise.
fn roles(token: &Secret) -> Option<Vec<String>> {
    let claims = token.reveal().split('.').nth(1)?;
    let claims = data_encoding::BASE64URL_NOPAD.decode(claims.as_bytes()).ok()?;
    let claims: Value = serde_json::from_slice(&claims).ok()?;
    let roles = claims.get("roles")?.as_array()?;
    roles.iter().map(|role| role.as_str().map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_are_read_from_a_token_that_can_be_looked_into() {
        let check = |payload: &str, want: Option<&[&str]>| {
            let token =
                format!("e30.{}.x", data_encoding::BASE64URL_NOPAD.encode(payload.as_bytes()));
            let want: Option<Vec<String>> =
                want.map(|names| names.iter().map(|name| (*name).to_owned()).collect());
            assert_eq!(roles(&Secret::new(token)), want, "{payload}");
        };
        check(r#"{"roles":["User.Read.All"]}"#, Some(&["User.Read.All"]));
        check(r#"{"roles":[]}"#, Some(&[]));
        check(r#"{"roles":[1]}"#, None);
        check("{}", None);
        check("no json", None);
        assert_eq!(roles(&Secret::new("opaque")), None);
        assert_eq!(roles(&Secret::new("e30.!.x")), None);
    }
}
