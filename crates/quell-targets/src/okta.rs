//! Okta: end sessions, force reauthentication, step-up by a group, suspend and unsuspend over the
//! management API.
//! Only documented calls; what Okta cannot prove is said, not assumed.
//!
//! Sources: Okta management API 2026.06 (User sessions, User lifecycle, User OAuth, System Log).
//! There is no call by which an administrator can list sessions: the controls are the refresh
//! tokens and the System Log.

mod end;
mod group;
mod log;
mod suspend;
mod tokens;

use std::collections::BTreeSet;

use quell_core::action::Action;
use quell_core::order::{Call, Capability, Fault, Repeat};
use quell_core::time::{HOUR, MINUTE, SECOND, Time};

use crate::step_up::StepUp;
use crate::target::{BoxFuture, Refusal, Said, Target, Trace, cannot};
use crate::vendor::{AGENT, Ask, BadConfig, VendorClient, VendorConfig};

/// What the Okta target needs to know.
#[derive(Debug, Clone)]
pub struct OktaConfig {
    /// The name under which accounts refer to it.
    pub name: String,
    /// Address, credential and limits; the credential is an API token (`Auth::Ssws`) or an
    /// access token of a service app (`Auth::Bearer`). Least scopes: `okta.users.manage`,
    /// `okta.logs.read`.
    pub vendor: VendorConfig,
    /// The id of the group that a sign-on policy asks a stronger sign-in of; without it there is
    /// no `step_up`. Its scope is `okta.groups.manage`.
    pub step_up_group: Option<String>,
    /// Immutable user ids that are never acted on.
    pub protected: BTreeSet<String>,
    /// Microseconds of quiet after an end of sessions in which nothing of the user may succeed.
    pub quiet: i64,
    /// Microseconds by which the System Log may lag; Okta says "near real time".
    pub log_lag: i64,
    /// How far back a session start counts as a live session, microseconds.
    pub session_age: i64,
}

impl OktaConfig {
    /// The defaults: 5 s of quiet, 2 min of lag, sessions of up to 24 h.
    pub fn new(name: impl Into<String>, vendor: VendorConfig) -> Self {
        Self {
            name: name.into(),
            vendor: VendorConfig { codes: own_codes, ..vendor },
            step_up_group: None,
            protected: BTreeSet::new(),
            quiet: 5 * SECOND,
            log_lag: 2 * MINUTE,
            session_age: 24 * HOUR,
        }
    }
}

/// The Okta target.
#[derive(Debug)]
pub struct Okta {
    name: String,
    client: VendorClient,
    group: Option<String>,
    protected: BTreeSet<String>,
    quiet: i64,
    log_lag: i64,
    session_age: i64,
}

impl Okta {
    /// Builds the target; nothing is sent.
    ///
    /// # Errors
    /// [`BadConfig`] as for [`VendorClient::new`], and for a group whose id is none.
    pub fn new(config: OktaConfig) -> Result<Self, BadConfig> {
        if config.step_up_group.as_deref().is_some_and(|group| !is_id(group)) {
            let why = "it is no Okta group id".to_owned();
            return Err(BadConfig::Member { member: "step_up_group", why });
        }
        Ok(Self {
            name: config.name,
            client: VendorClient::new(VendorConfig { codes: own_codes, ..config.vendor })?,
            group: config.step_up_group,
            protected: config.protected,
            quiet: config.quiet.max(0),
            log_lag: config.log_lag.max(0),
            session_age: config.session_age.max(0),
        })
    }
}

impl Target for Okta {
    fn name(&self) -> &str {
        &self.name
    }

    fn capabilities(&self) -> Vec<Capability> {
        let ends = Capability {
            action: Action::EndSessions,
            repeat: Repeat::Safe,
            reads_back: true,
            effective_after: 0,
            read_back_lag: self.log_lag,
            // what was issued within the second of the call may survive it: look after that
            quiet: self.quiet.saturating_add(SECOND),
            undoes: false,
        };
        let reauth = Capability { action: Action::ForceReauth, quiet: 0, ..ends };
        let suspend = Capability {
            action: Action::Suspend,
            repeat: Repeat::AfterReadBack,
            reads_back: true,
            effective_after: 0,
            read_back_lag: suspend::STATUS_LAG,
            quiet: 0,
            undoes: true,
        };
        let step_up =
            Capability { action: Action::StepUp, read_back_lag: group::GROUP_LAG, ..suspend };
        let step_up = self.group.as_ref().map(|_| step_up);
        [ends, reauth, suspend].into_iter().chain(step_up).collect()
    }

    fn protected(&self) -> &BTreeSet<String> {
        &self.protected
    }

    fn check(&self, now: Time) -> BoxFuture<'_, Result<(), Refusal>> {
        Box::pin(async move {
            let mut trace = Trace::default();
            for path in ["/api/v1/users?limit=1", "/api/v1/logs?limit=1"] {
                self.client.send(Ask::get(path, AGENT), now, &mut trace).await?.json()?;
            }
            self.check_group(now).await
        })
    }

    fn probe<'a>(
        &'a self,
        call: &'a Call,
        now: Time,
        trace: &'a mut Trace,
    ) -> BoxFuture<'a, Result<Said, Refusal>> {
        Box::pin(async move {
            match call.action {
                Action::EndSessions | Action::ForceReauth => self.probe_end(call, now, trace).await,
                Action::StepUp => self.probe_step_up(call, now, trace).await,
                Action::Suspend => self.probe_suspend(call, now, trace).await,
                _ => Err(cannot(call)),
            }
        })
    }

    fn execute<'a>(
        &'a self,
        call: &'a Call,
        now: Time,
        trace: &'a mut Trace,
    ) -> BoxFuture<'a, Result<Said, Refusal>> {
        Box::pin(async move {
            match call.action {
                Action::EndSessions | Action::ForceReauth => self.end(call, now, trace).await,
                Action::StepUp => self.step_up(call, now, trace).await,
                Action::Suspend => self.suspend(call, now, trace).await,
                _ => Err(cannot(call)),
            }
        })
    }

    fn read_back<'a>(
        &'a self,
        call: &'a Call,
        now: Time,
        trace: &'a mut Trace,
    ) -> BoxFuture<'a, Result<Said, Refusal>> {
        Box::pin(async move {
            match call.action {
                Action::EndSessions | Action::ForceReauth => {
                    self.read_back_end(call, now, trace).await
                }
                Action::StepUp => self.read_back_step_up(call, now, trace).await,
                Action::Suspend => self.read_back_suspend(call, now, trace).await,
                _ => Err(cannot(call)),
            }
        })
    }

    fn undo<'a>(
        &'a self,
        call: &'a Call,
        now: Time,
        trace: &'a mut Trace,
    ) -> BoxFuture<'a, Result<Said, Refusal>> {
        Box::pin(async move {
            match call.action {
                Action::StepUp => self.step_down(call, now, trace).await,
                Action::Suspend => self.unsuspend(call, now, trace).await,
                _ => Err(cannot(call)),
            }
        })
    }

    fn read_back_undo<'a>(
        &'a self,
        call: &'a Call,
        now: Time,
        trace: &'a mut Trace,
    ) -> BoxFuture<'a, Result<Said, Refusal>> {
        Box::pin(async move {
            match call.action {
                Action::StepUp => self.read_back_step_down(call, now, trace).await,
                Action::Suspend => self.read_back_unsuspend(call, now, trace).await,
                _ => Err(cannot(call)),
            }
        })
    }
}

/// The path of a user, or a refusal when the id is not of Okta's shape: ids are letters and
/// digits, never a login, so that nothing else can get into the path or a filter.
fn user_path(call: &Call) -> Result<String, Refusal> {
    let id = &call.account.id;
    if !is_id(id) {
        let detail = "the account's id is no Okta user id: nothing was sent";
        return Err(Refusal::new(Fault::BadRequest, detail));
    }
    Ok(format!("/api/v1/users/{}", crate::text::encode(id)))
}

/// Letters, digits, `_` and `-`.
fn is_id(id: &str) -> bool {
    (1..=100).contains(&id.len())
        && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

/// Okta's error codes that say more than the status: validation of a life-cycle change
/// (E0000001), state does not permit it (E0000038), conflict (E0000195), rate limit (E0000047),
/// feature not in the organisation (E0000015).
fn own_codes(status: u16, code: &str) -> Option<Fault> {
    match (status, code) {
        (400, "E0000001") | (_, "E0000038" | "E0000195") => Some(Fault::Precondition),
        (_, "E0000047") => Some(Fault::Throttled),
        (401, "E0000015") => Some(Fault::Unsupported),
        _ => None,
    }
}
