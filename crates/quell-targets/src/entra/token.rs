//! Entra ID: access tokens by client credentials (RFC 6749 section 4.4), kept until shortly before
//! they expire. Tokens stay in this file's memory; nothing of an order is done here.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use quell_core::order::Fault;
use quell_core::time::{DAY, MINUTE, SECOND, Time};
use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use serde_json::Value;

use super::assertion::Signer;
use super::{Credential, EntraConfig};
use crate::secret::Secret;
use crate::target::{Refusal, Trace};
use crate::text::encode;
use crate::vendor::{AGENT, Ask, Auth, BadConfig, VendorClient, VendorConfig};

/// A token is not used in its last minutes, microseconds.
const MARGIN: i64 = 5 * MINUTE;

/// How long a token lives that does not say so, microseconds.
const LIFE_UNSTATED: i64 = 10 * MINUTE;

/// The longest token that can stand in a header, bytes.
const TOKEN_MAX: usize = 64 << 10;

/// Where tokens come from.
pub(super) struct Tokens {
    client: VendorClient,
    /// Path of the endpoint.
    path: String,
    /// Its whole address: what an assertion is made out to.
    audience: String,
    scope: String,
    client_id: String,
    proof: Proof,
    kept: Mutex<Option<Kept>>,
}

enum Proof {
    Secret(Secret),
    Signer(Box<Signer>),
}

struct Kept {
    token: Secret,
    until: Time,
}

/// A token for one request.
#[derive(Debug)]
pub(super) struct Issued {
    pub(super) token: Secret,
    /// It was issued right now: another one would be refused as well.
    pub(super) fresh: bool,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").field("audience", &self.audience).finish_non_exhaustive()
    }
}

impl Tokens {
    /// Nothing is sent.
    pub(super) fn new(config: &EntraConfig) -> Result<Self, BadConfig> {
        let bad = |member, why: &str| BadConfig::Member { member, why: why.to_owned() };
        let is_name = |text: &str| {
            let form = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'.';
            (1..=128).contains(&text.len()) && text.bytes().all(form) && !text.starts_with('.')
        };
        if !is_name(&config.tenant) || ["common", "organizations"].contains(&&*config.tenant) {
            return Err(bad("tenant_id", "it is neither a tenant's id nor a domain of its"));
        }
        if !is_name(&config.client_id) {
            return Err(bad("client_id", "it is no client id"));
        }
        let vendor =
            VendorConfig { base: config.login.clone(), auth: Auth::None, ..config.vendor.clone() };
        let mut client = VendorClient::new(VendorConfig { codes: |_, _| None, ..vendor })?;
        let proof = match &config.credential {
            Credential::Secret(secret) => {
                client.keep_out(secret);
                Proof::Secret(secret.clone())
            }
            Credential::Certificate(pem) => Proof::Signer(Box::new(Signer::new(pem)?)),
        };
        let path = format!("/{}/oauth2/v2.0/token", config.tenant);
        Ok(Self {
            client,
            audience: format!("{}{path}", config.login.trim_end_matches('/')),
            path,
            scope: format!("{}/.default", config.vendor.base.trim_end_matches('/')),
            client_id: config.client_id.clone(),
            proof,
            kept: Mutex::default(),
        })
    }

    /// A token that lives: the kept one, or a new one.
    ///
    /// # Errors
    /// [`Fault::AuthBroken`] when the login host refuses us, else a fault that says that nothing of
    /// the order has been sent.
    pub(super) async fn get(&self, now: Time, trace: &mut Trace) -> Result<Issued, Refusal> {
        let kept = self.kept().as_ref().filter(|kept| now < kept.until).map(|k| k.token.clone());
        if let Some(token) = kept {
            return Ok(Issued { token, fresh: false });
        }
        // of its own: where it fails, nothing of the order has left
        let mut own = Trace::default();
        match self.fetch(now, &mut own).await {
            Ok((token, life)) => {
                let until = now.plus(life.saturating_sub(MARGIN.min(life / 2)));
                *self.kept() = Some(Kept { token: token.clone(), until });
                Ok(Issued { token, fresh: true })
            }
            Err(refusal) => {
                trace.prepared(own);
                Err(told(refusal))
            }
        }
    }

    /// Throws a token away that was not accepted; a newer one stays.
    pub(super) fn forget(&self, issued: &Issued) {
        let mut kept = self.kept();
        if kept.as_ref().is_some_and(|kept| kept.token == issued.token) {
            *kept = None;
        }
    }

    async fn fetch(&self, now: Time, trace: &mut Trace) -> Result<(Secret, i64), Refusal> {
        let mut form = format!(
            "grant_type=client_credentials&client_id={}&scope={}",
            encode(&self.client_id),
            encode(&self.scope)
        );
        let mut secrets = Vec::new();
        match &self.proof {
            Proof::Secret(secret) => {
                form.push_str(&format!("&client_secret={}", encode(secret.reveal())));
            }
            Proof::Signer(signer) => {
                let assertion = signer.sign(&self.client_id, &self.audience, now)?;
                form.push_str("&client_assertion_type=");
                form.push_str(&encode("urn:ietf:params:oauth:client-assertion-type:jwt-bearer"));
                form.push_str(&format!("&client_assertion={}", encode(assertion.reveal())));
                secrets.push(assertion);
            }
        }
        let content = HeaderValue::from_static("application/x-www-form-urlencoded");
        let ask = Ask {
            method: Method::POST,
            headers: vec![(CONTENT_TYPE, content)],
            body: Some(form.into_bytes()),
            secrets,
            ..Ask::get(self.path.clone(), AGENT)
        };
        let answer = self.client.send(ask, now, trace).await?.json()?;
        let token = answer.get("access_token").and_then(Value::as_str);
        let Some(token) = token.filter(|token| (1..=TOKEN_MAX).contains(&token.len())) else {
            return Err(Refusal::new(Fault::Indeterminate, "the answer holds no token"));
        };
        // a number; some answers of older endpoints have it as text
        let seconds = answer.get("expires_in").and_then(|value| match value {
            Value::String(text) => text.parse().ok(),
            other => other.as_i64(),
        });
        let life = seconds.map_or(LIFE_UNSTATED, |s: i64| s.saturating_mul(SECOND).clamp(0, DAY));
        Ok((Secret::new(token), life))
    }

    fn kept(&self) -> MutexGuard<'_, Option<Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a failed request for a token means for an order, of which nothing was sent: a login host
/// that does not want us is our own credential's fault, everything unclear may be tried again.
fn told(refusal: Refusal) -> Refusal {
    let fault = match (refusal.fault, refusal.status) {
        (_, Some(400 | 401 | 403 | 404)) => Fault::AuthBroken,
        (Fault::Indeterminate, _) => Fault::Transient,
        (fault, _) => fault,
    };
    let detail = format!("no token, nothing was sent: {}", refusal.detail);
    Refusal { fault, detail: detail.chars().take(crate::text::DETAIL_MAX).collect(), ..refusal }
}
