//! Identities: people and non-human principals, their accounts, identifiers and classes.

use std::collections::BTreeSet;

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::id::IdentityId;
use crate::name::names;
use crate::time::Time;

names! {
    /// What kind of name an identifier is.
    Scheme {
        /// The provider's immutable id of an account.
        AccountId = "account_id",
        /// The login at a provider (Okta `login`, Entra UPN).
        Login = "login",
        /// A mail address, primary or alias.
        Address = "address",
        /// `DOMAIN\user`.
        Sam = "sam",
        /// Issuer and subject, joined by a space.
        IssSub = "iss_sub",
        /// An OAuth client id.
        Client = "client",
    }
}

/// One name of one account, folded to lower case where the scheme ignores case.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize, Encode, Decode)]
pub struct Identifier {
    /// What kind of name.
    #[n(0)]
    pub scheme: Scheme,
    /// The provider within which it is unique; none for mail addresses.
    #[n(1)]
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub provider: Option<String>,
    /// The name, at most 512 bytes.
    #[n(2)]
    pub value: String,
}

impl Identifier {
    /// Folds case and trims; mail addresses lose their plus part only when resolved.
    pub fn new(scheme: Scheme, provider: Option<&str>, value: &str) -> Self {
        let value = value.trim();
        let value = match scheme {
            Scheme::AccountId | Scheme::IssSub | Scheme::Client => value.to_owned(),
            Scheme::Login | Scheme::Address | Scheme::Sam => value.to_lowercase(),
        };
        let provider = if scheme == Scheme::Address { None } else { provider.map(str::to_owned) };
        Self { scheme, provider, value }
    }
}

impl std::fmt::Display for Identifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.provider {
            Some(provider) => write!(f, "{}:{}:{}", self.scheme, provider, self.value),
            None => write!(f, "{}:{}", self.scheme, self.value),
        }
    }
}

names! {
    /// The classes of an identity: a set; the most protective decides; empty means unknown.
    Class {
        /// A person.
        Human = "human",
        /// Holds an administrative role.
        Privileged = "privileged",
        /// Finance, payroll, legal, executives.
        HighValue = "high_value",
        /// A non-human account that programs use.
        ServiceAccount = "service_account",
        /// An OAuth application.
        OauthApp = "oauth_app",
        /// An AI agent.
        AiAgent = "ai_agent",
        /// A mailbox that several people read; has no sessions.
        SharedMailbox = "shared_mailbox",
        /// A member whose home is another organisation.
        ExternalMember = "external_member",
        /// The account of last resort: never acted on, always pages.
        BreakGlass = "break_glass",
    }
}

/// One login at one provider.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Account {
    /// The provider's name: the target that carries out orders on it.
    pub provider: String,
    /// The provider's immutable id; every call uses it.
    pub id: String,
    /// The login, for people to read.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub login: Option<String>,
}

impl std::fmt::Display for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.provider, self.id)
    }
}

/// An identifier with the time during which it was this identity's.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Held {
    /// The name.
    pub identifier: Identifier,
    /// From when; none means always.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub from: Option<Time>,
    /// Until when, exclusive; none means still.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub until: Option<Time>,
}

impl Held {
    /// True when it was held at `t`.
    pub fn at(&self, t: Time) -> bool {
        self.from.is_none_or(|from| from <= t) && self.until.is_none_or(|until| t < until)
    }
}

/// One person or one non-human principal.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Identity {
    /// From the directory's stable key.
    pub id: IdentityId,
    /// The directory's stable key (employee number, object id).
    pub key: String,
    /// For people to read.
    pub name: String,
    /// The classes; empty means unknown.
    pub classes: BTreeSet<Class>,
    /// The groups, as the directory names them.
    #[serde(default)]
    pub groups: BTreeSet<String>,
    /// Accounts at providers.
    pub accounts: Vec<Account>,
    /// Names beyond the accounts' own: addresses, aliases, earlier names.
    #[serde(default)]
    pub names: Vec<Held>,
}
