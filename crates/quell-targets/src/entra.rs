//! Entra ID over Microsoft Graph v1.0: end sessions, step-up by a group, confirm compromised,
//! disable and enable. Only documented calls; what Graph cannot prove is said, not assumed.
//!
//! Sources: Microsoft Graph v1.0 (user: revokeSignInSessions, user, group members, riskyUser) and
//! its permissions reference. Nobody can list the sessions of a user: the control is the time from
//! which sessions are valid.

mod account;
mod assertion;
mod graph;
mod group;
mod need;
mod risk;
mod sessions;
mod token;

use std::collections::BTreeSet;

use quell_core::action::Action;
use quell_core::order::{Call, Capability, Repeat};
use quell_core::time::{MINUTE, SECOND, Time};

use crate::secret::Secret;
use crate::step_up::StepUp;
use crate::target::{BoxFuture, Refusal, Said, Target, Trace, cannot};
use crate::vendor::{BadConfig, VendorClient, VendorConfig};
use graph::is_guid;
use token::Tokens;

/// How the application proves itself to the login host.
#[derive(Debug, Clone)]
pub enum Credential {
    /// A client secret.
    Secret(Secret),
    /// PEM text with a certificate and its RSA private key (PKCS#8 or PKCS#1): signs an assertion
    /// (PS256, `x5t#S256`).
    Certificate(Secret),
}

/// What the Entra ID target needs to know.
#[derive(Debug, Clone)]
pub struct EntraConfig {
    /// The name under which accounts refer to it.
    pub name: String,
    /// The host of Graph and the limits; its credential is not used.
    pub vendor: VendorConfig,
    /// Scheme and host of the login service; `https`, or `http` on loopback alone.
    pub login: String,
    /// The tenant: its id, or one of its domains.
    pub tenant: String,
    /// The application's client id.
    pub client_id: String,
    /// How the application proves itself.
    pub credential: Credential,
    /// What it may be asked to do; every action here needs its permission (see the user guide).
    pub actions: BTreeSet<Action>,
    /// The object id of the group that a Conditional Access policy asks a stronger sign-in of;
    /// needed for `step_up`.
    pub step_up_group: Option<String>,
    /// Object ids that are never acted on.
    pub protected: BTreeSet<String>,
    /// Microseconds from the answer until an end of sessions takes effect; Microsoft says "a few
    /// minutes".
    pub effect: i64,
    /// Microseconds by which a read may lag behind a write, because the directory has replicas.
    pub lag: i64,
}

impl EntraConfig {
    /// The defaults: the global cloud's login host, `end_sessions`, `force_reauth` and `suspend`,
    /// 3 min until an end takes effect, 1 min of lag.
    pub fn new(
        name: impl Into<String>,
        vendor: VendorConfig,
        tenant: impl Into<String>,
        client_id: impl Into<String>,
        credential: Credential,
    ) -> Self {
        Self {
            name: name.into(),
            vendor,
            login: "https://login.microsoftonline.com".to_owned(),
            tenant: tenant.into(),
            client_id: client_id.into(),
            credential,
            actions: [Action::EndSessions, Action::ForceReauth, Action::Suspend].into(),
            step_up_group: None,
            protected: BTreeSet::new(),
            effect: 3 * MINUTE,
            lag: MINUTE,
        }
    }
}

/// The Entra ID target.
#[derive(Debug)]
pub struct Entra {
    name: String,
    client: VendorClient,
    tokens: Tokens,
    /// Scheme, host and prefix of Graph, for references to directory objects.
    base: String,
    actions: BTreeSet<Action>,
    group: Option<String>,
    protected: BTreeSet<String>,
    effect: i64,
    lag: i64,
}

impl Entra {
    /// Builds the target; nothing is sent.
    ///
    /// # Errors
    /// [`BadConfig`] for addresses as in [`VendorClient::new`], ids that are none, a certificate
    /// that cannot be used, an action that Graph has no call for, `step_up` without its group.
    pub fn new(config: EntraConfig) -> Result<Self, BadConfig> {
        let bad = |member, why: &str| BadConfig::Member { member, why: why.to_owned() };
        if let Some(other) = config.actions.iter().find(|action| !ALL.contains(action)) {
            return Err(bad("actions", &format!("`{other}` is none of this target's")));
        }
        if config.actions.contains(&Action::StepUp) && config.step_up_group.is_none() {
            return Err(bad("step_up_group", "`step_up` needs it"));
        }
        if config.step_up_group.as_deref().is_some_and(|group| !is_guid(group)) {
            return Err(bad("step_up_group", "it is no object id"));
        }
        let tokens = Tokens::new(&config)?;
        let vendor = VendorConfig {
            auth: crate::vendor::Auth::None,
            codes: graph::own_codes,
            ..config.vendor
        };
        let base = vendor.base.trim_end_matches('/').to_owned();
        Ok(Self {
            name: config.name,
            client: VendorClient::new(vendor)?,
            tokens,
            base,
            actions: config.actions,
            group: config.step_up_group,
            protected: config.protected.iter().map(|id| id.to_ascii_lowercase()).collect(),
            effect: config.effect.max(0),
            lag: config.lag.max(0),
        })
    }

    fn capability(&self, action: Action) -> Capability {
        let state = Capability {
            action,
            repeat: Repeat::AfterReadBack,
            reads_back: true,
            effective_after: 0,
            read_back_lag: self.lag,
            quiet: 0,
            undoes: true,
        };
        match action {
            Action::EndSessions | Action::ForceReauth => Capability {
                repeat: Repeat::Safe,
                effective_after: self.effect,
                // a session of the same whole second may survive: look after it
                quiet: SECOND,
                undoes: false,
                ..state
            },
            Action::ConfirmCompromised => Capability { repeat: Repeat::Safe, ..state },
            _ => state,
        }
    }
}

/// What Graph has a call for.
const ALL: [Action; 5] = [
    Action::EndSessions,
    Action::ForceReauth,
    Action::StepUp,
    Action::ConfirmCompromised,
    Action::Suspend,
];

impl Target for Entra {
    fn name(&self) -> &str {
        &self.name
    }

    fn capabilities(&self) -> Vec<Capability> {
        ALL.iter().filter(|a| self.actions.contains(a)).map(|a| self.capability(*a)).collect()
    }

    fn protected(&self) -> &BTreeSet<String> {
        &self.protected
    }

    /// Object ids are the same in either case.
    fn is_protected(&self, id: &str) -> bool {
        self.protected.contains(&id.to_ascii_lowercase())
    }

    fn check(&self, now: Time) -> BoxFuture<'_, Result<(), Refusal>> {
        Box::pin(self.check_rights(now))
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
                Action::ConfirmCompromised => self.probe_confirm(call, now, trace).await,
                Action::Suspend => self.probe_disable(call, now, trace).await,
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
                Action::ConfirmCompromised => self.confirm(call, now, trace).await,
                Action::Suspend => self.disable(call, now, trace).await,
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
                Action::ConfirmCompromised => self.read_back_confirm(call, now, trace).await,
                Action::Suspend => self.read_back_disable(call, now, trace).await,
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
                Action::ConfirmCompromised => self.dismiss(call, now, trace).await,
                Action::Suspend => self.enable(call, now, trace).await,
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
                Action::ConfirmCompromised => self.read_back_dismiss(call, now, trace).await,
                Action::Suspend => self.read_back_enable(call, now, trace).await,
                _ => Err(cannot(call)),
            }
        })
    }
}
