//! Binary room, configuration of the targets: what each kind needs, and by which reference it is
//! proven who we are. Nothing is resolved or sent here.

use serde::Deserialize;

use crate::fault::Fault;

/// A system that carries out orders.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TargetSettings {
    /// The provider's name in the directory.
    pub(crate) provider: String,
    /// `okta`, `entra_id` or `oidc`.
    pub(crate) kind: TargetKind,
    /// Base address.
    pub(crate) url: String,
    /// For `okta` and `oidc`: reference to the token.
    #[serde(default)]
    pub(crate) token: String,
    /// `ssws` or `bearer`.
    #[serde(default)]
    pub(crate) auth: AuthScheme,
    /// For `oidc`: the call that ends all sessions and grants of a subject.
    #[serde(default)]
    pub(crate) end_sessions: Option<EndSessions>,
    /// For `oidc`: the call that lists sessions, for the read-back.
    #[serde(default)]
    pub(crate) list_sessions: Option<ListSessions>,
    /// Milliseconds of quiet that the read-back watches.
    #[serde(default)]
    pub(crate) quiet_ms: Option<u64>,
    /// Milliseconds by which the provider's log may lag.
    #[serde(default)]
    pub(crate) lag_ms: Option<u64>,
    /// Milliseconds that one call may take.
    #[serde(default)]
    pub(crate) timeout_ms: Option<u64>,
    /// For `okta` and `entra_id`: the group of which a stronger sign-in is asked.
    #[serde(default)]
    pub(crate) step_up_group: Option<String>,
    /// For `entra_id`: the login host; the global cloud's when unset.
    #[serde(default)]
    pub(crate) login_url: Option<String>,
    /// For `entra_id`: the tenant.
    #[serde(default)]
    pub(crate) tenant_id: Option<String>,
    /// For `entra_id`: the application.
    #[serde(default)]
    pub(crate) client_id: Option<String>,
    /// For `entra_id`: reference to the client secret.
    #[serde(default)]
    pub(crate) client_secret: Option<String>,
    /// For `entra_id`: reference to a PEM with certificate and private key, instead of a secret.
    #[serde(default)]
    pub(crate) certificate: Option<String>,
    /// For `entra_id`: what it may be asked to do.
    #[serde(default)]
    pub(crate) actions: Option<Vec<String>>,
    /// For `entra_id`: milliseconds until an end of sessions takes effect.
    #[serde(default)]
    pub(crate) effect_ms: Option<u64>,
}

impl TargetSettings {
    /// Only what every target has.
    pub(crate) fn new(provider: &str, kind: TargetKind, url: &str) -> Self {
        Self {
            provider: provider.to_owned(),
            kind,
            url: url.to_owned(),
            token: String::new(),
            auth: AuthScheme::default(),
            end_sessions: None,
            list_sessions: None,
            quiet_ms: None,
            lag_ms: None,
            timeout_ms: None,
            step_up_group: None,
            login_url: None,
            tenant_id: None,
            client_id: None,
            client_secret: None,
            certificate: None,
            actions: None,
            effect_ms: None,
        }
    }

    /// The reference to what proves us to the provider.
    pub(crate) fn credential(&self) -> Result<&str, Fault> {
        let wrong = |what: &str, help: &str| {
            Fault::config(format!("target `{}`: {what}", self.provider), help)
        };
        if self.kind != TargetKind::EntraId {
            return match self.token.as_str() {
                "" => Err(wrong("`token` is missing", "write `token = \"env:NAME\"`")),
                token => Ok(token),
            };
        }
        match (self.certificate.as_deref(), self.client_secret.as_deref()) {
            (Some(one), None) | (None, Some(one)) if self.token.is_empty() => Ok(one),
            _ => Err(wrong(
                "an application proves itself by one thing",
                "write either `certificate` or `client_secret`, each a reference, and no `token`",
            )),
        }
    }
}

/// Which dialect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum TargetKind {
    Okta,
    EntraId,
    Oidc,
}

/// How the token is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub(crate) enum AuthScheme {
    #[default]
    Ssws,
    Bearer,
}

/// A configured administrative call.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EndSessions {
    pub(crate) method: String,
    /// With `{sub}` where the subject goes.
    pub(crate) path: String,
    pub(crate) expected: Vec<u16>,
}

/// A configured list call.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListSessions {
    pub(crate) path: String,
    /// JSON pointer to an array or a count; empty is the whole answer.
    #[serde(default)]
    pub(crate) pointer: String,
}
