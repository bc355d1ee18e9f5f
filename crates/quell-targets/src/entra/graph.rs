//! Entra ID: how Graph is asked, and what it says about a user. Ids and codes are Graph's; nothing
//! here decides what an answer means for an order.

use quell_core::order::{Call, Fault};
use quell_core::time::Time;
use reqwest::Method;
use reqwest::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue};
use serde_json::Value;

use super::Entra;
use super::token::Issued;
use crate::target::{Refusal, Trace};
use crate::vendor::{Ask, Reply, agent};

/// The version of Graph; `beta` is not for production by Microsoft's own word.
pub(super) const VERSION: &str = "/v1.0";

/// What is asked about a user; `userPrincipalName` alone tells a converted guest.
const MEMBERS: &str = "id,accountEnabled,userType,userPrincipalName,onPremisesSyncEnabled,\
                       signInSessionsValidFromDateTime";

/// A user as far as we rest on him.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct User {
    /// `accountEnabled`.
    pub(super) enabled: Option<bool>,
    /// Invited from another tenant, which keeps his sessions and his risk.
    pub(super) guest: bool,
    /// Written over from an on-premises directory.
    pub(super) synced: bool,
    /// `signInSessionsValidFromDateTime`, whole seconds.
    pub(super) valid_from: Option<Time>,
    /// The vendor's clock, whole seconds.
    pub(super) date: Option<Time>,
}

impl Entra {
    /// Sends one request with a token. Where Graph does not accept a token that was kept from
    /// before, nothing has happened: a new one is asked for, once.
    pub(super) async fn graph(
        &self,
        ask: Ask,
        now: Time,
        trace: &mut Trace,
    ) -> Result<Reply, Refusal> {
        let issued = self.tokens.get(now, trace).await?;
        let told = self.client.send(bearing(&ask, &issued)?, now, trace).await;
        let Err(refusal) = &told else { return told };
        if refusal.status != Some(401) {
            return told;
        }
        self.tokens.forget(&issued);
        if issued.fresh {
            return told;
        }
        let issued = self.tokens.get(now, trace).await?;
        self.client.send(bearing(&ask, &issued)?, now, trace).await
    }

    /// The user of an account, by his object id alone.
    pub(super) async fn user(
        &self,
        call: &Call,
        now: Time,
        trace: &mut Trace,
    ) -> Result<User, Refusal> {
        let path = format!("{VERSION}/users/{}?$select={MEMBERS}", object_id(call)?);
        let reply = self.graph(read(path, call), now, trace).await?;
        let user = reply.json()?;
        let text = |name: &str| user.get(name).and_then(Value::as_str);
        let flag = |name: &str| user.get(name).and_then(Value::as_bool);
        if !text("id").is_some_and(|id| id.eq_ignore_ascii_case(&call.account.id)) {
            return Err(Refusal::new(Fault::Indeterminate, "the answer is about another user"));
        }
        let login = text("userPrincipalName").unwrap_or_default();
        let from = text("signInSessionsValidFromDateTime").and_then(Time::parse);
        Ok(User {
            enabled: flag("accountEnabled"),
            guest: text("userType") == Some("Guest") || login.contains("#EXT#"),
            synced: flag("onPremisesSyncEnabled") == Some(true),
            valid_from: from.map(|moment| moment.t),
            date: reply.date,
        })
    }
}

/// The request with its token.
fn bearing(ask: &Ask, issued: &Issued) -> Result<Ask, Refusal> {
    let text = format!("Bearer {}", issued.token.reveal());
    let mut value = HeaderValue::from_str(&text).map_err(|_| {
        Refusal::new(Fault::Transient, "the token that was issued cannot stand in a header")
    })?;
    value.set_sensitive(true);
    let mut ask = ask.clone();
    ask.headers.push((AUTHORIZATION, value));
    ask.secrets.push(issued.token.clone());
    Ok(ask)
}

/// A read on behalf of an order.
pub(super) fn read(path: impl Into<String>, call: &Call) -> Ask {
    let mut ask = Ask::get(path, &agent(call));
    ask.headers.push(named(call));
    ask
}

/// A request that changes something; a body is JSON, and none is said to be none, which Graph
/// wants.
pub(super) fn act(method: Method, path: String, body: Option<&Value>, call: &Call) -> Ask {
    let mut ask = Ask::act(method, path, &agent(call));
    ask.headers.push(named(call));
    let priority = HeaderName::from_static("x-ms-throttle-priority");
    ask.headers.push((priority, HeaderValue::from_static("high")));
    give(&mut ask, body);
    ask
}

/// A question that Graph takes as a POST.
pub(super) fn question(path: String, body: &Value, call: &Call) -> Ask {
    let mut ask = Ask { method: Method::POST, ..read(path, call) };
    give(&mut ask, Some(body));
    ask
}

fn give(ask: &mut Ask, body: Option<&Value>) {
    match body {
        Some(body) => {
            ask.headers.push((CONTENT_TYPE, HeaderValue::from_static("application/json")));
            ask.body = Some(body.to_string().into_bytes());
        }
        None if ask.method == Method::POST => {
            ask.headers.push((CONTENT_LENGTH, HeaderValue::from_static("0")));
        }
        None => {}
    }
}

/// Graph keeps the caller's own id of a request in its logs: the order's, in the form of a GUID.
fn named(call: &Call) -> (HeaderName, HeaderValue) {
    let hex = data_encoding::HEXLOWER.encode(&call.order.0);
    let mut guid = String::with_capacity(36);
    for (at, digit) in hex.chars().enumerate() {
        if matches!(at, 8 | 12 | 16 | 20) {
            guid.push('-');
        }
        guid.push(digit);
    }
    let value = HeaderValue::from_str(&guid).unwrap_or(HeaderValue::from_static("none"));
    (HeaderName::from_static("client-request-id"), value)
}

/// The account's object id: never a login, so that nothing else can get into a path or a body.
pub(super) fn object_id(call: &Call) -> Result<&str, Refusal> {
    let id = call.account.id.as_str();
    if is_guid(id) {
        return Ok(id);
    }
    let detail = "the account's id is no object id of Entra ID: nothing was sent";
    Err(Refusal::new(Fault::BadRequest, detail))
}

/// `8-4-4-4-12` hexadecimal digits.
pub(super) fn is_guid(text: &str) -> bool {
    let hex = |part: &str| part.bytes().all(|b| b.is_ascii_hexdigit());
    let mut parts = text.split('-');
    let fits = [8, 4, 4, 4, 12]
        .iter()
        .all(|length| parts.next().is_some_and(|part| part.len() == *length && hex(part)));
    fits && parts.next().is_none()
}

/// Graph's error codes that say more than the status.
pub(super) fn own_codes(status: u16, code: &str) -> Option<Fault> {
    match (status, code) {
        (429 | 503, "TooManyRequests" | "activityLimitReached" | "ApplicationThrottled") => {
            Some(Fault::Throttled)
        }
        (400 | 409, "Directory_ConcurrencyViolation") => Some(Fault::Transient),
        (409, _) => Some(Fault::Precondition),
        (
            400 | 403,
            "AzureActiveDirectoryCannotUpdateObjectsOriginatedInExternalService"
            | "Authentication_RequestFromNonPremiumTenantOrB2CTenant",
        ) => Some(Fault::Unsupported),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn object_ids_are_guids_and_nothing_else() {
        let check = |text: &str, want: bool| assert_eq!(is_guid(text), want, "{text}");
        check("8f0d3c1e-5b7a-4d0e-9c61-2b6f1d0a7e11", true);
        check("8F0D3C1E-5B7A-4D0E-9C61-2B6F1D0A7E11", true);
        check("", false);
        check("8f0d3c1e-5b7a-4d0e-9c61-2b6f1d0a7e1", false);
        check("8f0d3c1e-5b7a-4d0e-9c61-2b6f1d0a7e11-", false);
        check("8f0d3c1e-5b7a-4d0e-9c61-2b6f1d0a7e1g", false);
        check("8f0d3c1e5b7a4d0e9c612b6f1d0a7e11", false);
        check("alice.weber@example.com", false);
        check("../groups/8f0d3c1e-5b7a-4d0e-9c61-2b", false);
    }

    #[test]
    fn codes_say_more_than_the_status() {
        let check = |status, code, want| assert_eq!(own_codes(status, code), want, "{code}");
        check(429, "TooManyRequests", Some(Fault::Throttled));
        check(503, "ApplicationThrottled", Some(Fault::Throttled));
        check(503, "serviceNotAvailable", None);
        check(400, "Directory_ConcurrencyViolation", Some(Fault::Transient));
        check(409, "anything", Some(Fault::Precondition));
        check(
            403,
            "Authentication_RequestFromNonPremiumTenantOrB2CTenant",
            Some(Fault::Unsupported),
        );
        check(403, "Authorization_RequestDenied", None);
        check(400, "Request_BadRequest", None);
    }
}
