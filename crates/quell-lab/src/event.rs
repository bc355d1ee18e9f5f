//! One Okta System Log event (LogEvent) in the vendor's shape. Pure; the provider writes its log
//! with it and the attacks their records.

use quell_core::time::Time;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::company::Place;

/// What an event states.
#[derive(Debug, Clone)]
pub(crate) struct Event<'a> {
    /// `published`.
    pub(crate) at: Time,
    /// `uuid`.
    pub(crate) uuid: String,
    /// `eventType` and its sentence.
    pub(crate) what: What,
    /// `outcome`.
    pub(crate) outcome: (&'a str, Option<&'a str>),
    /// `severity`.
    pub(crate) severity: &'a str,
    /// `actor`.
    pub(crate) actor: Party,
    /// `target`.
    pub(crate) targets: Vec<Party>,
    /// `client` and `device`.
    pub(crate) from: Place,
    /// `authenticationContext.externalSessionId`.
    pub(crate) session: Option<String>,
    /// `transaction.id`.
    pub(crate) transaction: String,
    /// The API token that the request came with.
    pub(crate) api_token: Option<String>,
    /// `debugContext.debugData.requestUri`.
    pub(crate) uri: String,
    /// Further members of `debugContext.debugData`.
    pub(crate) debug: Vec<(&'a str, String)>,
}

/// An event type with its sentence and its older name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct What {
    pub(crate) kind: &'static str,
    pub(crate) sentence: &'static str,
    pub(crate) legacy: &'static str,
}

const fn what(kind: &'static str, sentence: &'static str, legacy: &'static str) -> What {
    What { kind, sentence, legacy }
}

pub(crate) const SESSION_START: What =
    what("user.session.start", "User login to Okta", "core.user_auth.login_success");
pub(crate) const SESSION_FAILED: What =
    what("user.session.start", "User login to Okta", "core.user_auth.login_failed");
pub(crate) const SESSION_CLEAR: What =
    what("user.session.clear", "Clear user session", "core.user_auth.session_clear");
pub(crate) const SESSION_END: What =
    what("user.session.end", "User logout from Okta", "core.user_auth.logout_success");
pub(crate) const SSO: What =
    what("user.authentication.sso", "User single sign on to app", "app.auth.sso");
pub(crate) const REFRESH_GRANT: What = what(
    "app.oauth2.token.grant.refresh_token",
    "OIDC refresh token is granted",
    "app.oauth2.token.grant.refresh_token_success",
);
pub(crate) const ACCESS_GRANT: What = what(
    "app.oauth2.token.grant.access_token",
    "OIDC access token is granted",
    "app.oauth2.token.grant.access_token_success",
);
pub(crate) const GRANT_FAILED: What =
    what("app.oauth2.token.grant", "OIDC token request", "app.oauth2.token.grant_failure");
pub(crate) const SUSPEND: What =
    what("user.lifecycle.suspend", "Suspend Okta user", "core.user.config.user_status.suspended");
pub(crate) const UNSUSPEND: What = what(
    "user.lifecycle.unsuspend",
    "Unsuspend Okta user",
    "core.user.config.user_status.unsuspended",
);
pub(crate) const GROUP_ADD: What = what(
    "group.user_membership.add",
    "Add user to group membership",
    "core.user_group_member.user_add",
);
pub(crate) const GROUP_REMOVE: What = what(
    "group.user_membership.remove",
    "Remove user from group membership",
    "core.user_group_member.user_remove",
);
pub(crate) const BREACHED: What = what(
    "security.breached_credential.detected",
    "Breached credential detected",
    "security.breached_credential.detected",
);

/// An actor or target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Party {
    pub(crate) id: String,
    pub(crate) kind: &'static str,
    pub(crate) alternate: String,
    pub(crate) name: String,
}

impl Party {
    /// A user.
    pub(crate) fn user(id: &str, login: &str, name: &str) -> Self {
        Self { id: id.to_owned(), kind: "User", alternate: login.to_owned(), name: name.to_owned() }
    }

    fn json(&self) -> Value {
        json!({
            "id": self.id,
            "type": self.kind,
            "alternateId": self.alternate,
            "displayName": self.name,
            "detailEntry": null,
        })
    }
}

impl Event<'_> {
    /// The event as Okta writes it.
    pub(crate) fn json(&self) -> Value {
        let Geo { city, country, as_number, isp } = geo(&self.from.ip);
        let place = json!({
            "city": city,
            "state": city,
            "country": country,
            "postalCode": null,
            "geolocation": null,
        });
        let (os, browser) = software(&self.from.user_agent);
        let (result, reason) = self.outcome;
        let detail = match &self.api_token {
            Some(id) => json!({ "requestApiTokenId": id }),
            None => json!({}),
        };
        json!({
            "uuid": self.uuid,
            "published": milliseconds(self.at),
            "eventType": self.what.kind,
            "version": "0",
            "severity": self.severity,
            "legacyEventType": self.what.legacy,
            "displayMessage": self.what.sentence,
            "actor": self.actor.json(),
            "client": {
                "userAgent": {
                    "rawUserAgent": self.from.user_agent,
                    "os": os,
                    "browser": browser,
                },
                "zone": "null",
                "device": "Computer",
                "id": null,
                "ipAddress": self.from.ip,
                "geographicalContext": place,
            },
            "device": device(&self.from.device),
            "outcome": { "result": result, "reason": reason },
            "target": self.targets.iter().map(Party::json).collect::<Vec<_>>(),
            "transaction": { "type": "WEB", "id": self.transaction, "detail": detail },
            "debugContext": { "debugData": self.debug_data() },
            "authenticationContext": {
                "authenticationProvider": null,
                "credentialProvider": null,
                "credentialType": null,
                "issuer": null,
                "interface": null,
                "authenticationStep": 0,
                "externalSessionId": self.session.as_deref().unwrap_or("unknown"),
                "rootSessionId": self.session.as_deref().unwrap_or("unknown"),
            },
            "securityContext": {
                "asNumber": as_number,
                "asOrg": isp,
                "isp": isp,
                "domain": "example.net",
                "isProxy": false,
            },
            "request": {
                "ipChain": [{
                    "ip": self.from.ip,
                    "geographicalContext": place,
                    "version": "V4",
                    "source": null,
                }],
            },
        })
    }
}

impl Event<'_> {
    fn debug_data(&self) -> Value {
        let mut debug = serde_json::Map::new();
        debug.insert("requestId".to_owned(), json!(self.transaction));
        debug.insert("dtHash".to_owned(), json!(device_hash(&self.from.device)));
        debug.insert("requestUri".to_owned(), json!(self.uri));
        debug.insert("url".to_owned(), json!(format!("{}?", self.uri)));
        debug.insert("threatSuspected".to_owned(), json!("false"));
        for (name, value) in &self.debug {
            debug.insert((*name).to_owned(), json!(value));
        }
        Value::Object(debug)
    }
}

/// RFC 3339 with three digits; cut.
pub(crate) fn milliseconds(t: Time) -> String {
    let whole = t.to_string();
    whole.split_at_checked(23).map_or_else(|| whole.clone(), |(head, _)| format!("{head}Z"))
}

/// A version 4 UUID from a digest of its parts.
pub(crate) fn uuid(parts: &[&str]) -> String {
    let mut bytes: [u8; 16] = [0; 16];
    let digest = Sha256::digest(parts.join("\u{1f}").as_bytes());
    for (to, from) in bytes.iter_mut().zip(digest) {
        *to = from;
    }
    let mut n = u128::from_be_bytes(bytes);
    n = n & !(0xf << 76) | 4 << 76;
    n = n & !(0x3 << 62) | 2 << 62;
    let hex = format!("{n:032x}");
    let mut text = String::with_capacity(36);
    for (place, digit) in hex.chars().enumerate() {
        if matches!(place, 8 | 12 | 16 | 20) {
            text.push('-');
        }
        text.push(digit);
    }
    text
}

/// A registered device is described, any other is only a hash in the debug data.
fn device(id: &str) -> Value {
    if !id.starts_with("guo") {
        return Value::Null;
    }
    json!({
        "id": id,
        "name": format!("EXAMPLE-{}", id.chars().rev().take(4).collect::<String>()),
        "platform": "WINDOWS",
        "osVersion": "10.0.26100",
        "registered": true,
        "managed": true,
        "jailbreak": null,
        "diskEncryptionType": "ALL_INTERNAL_VOLUMES",
        "screenLockType": "BIOMETRIC",
        "secureHardwarePresent": true,
    })
}

fn device_hash(id: &str) -> String {
    data_encoding::HEXLOWER.encode(&Sha256::digest(format!("device/{id}").as_bytes()))
}

fn software(agent: &str) -> (&'static str, &'static str) {
    let os = match agent {
        a if a.contains("Windows NT 10") => "Windows 10",
        a if a.contains("Mac OS X") => "Mac OS X",
        a if a.contains("Linux") => "Linux",
        _ => "Unknown",
    };
    let browser = match agent {
        a if a.contains("Firefox/") => "FIREFOX",
        a if a.contains("Chrome/") => "CHROME",
        a if a.contains("Safari/") => "SAFARI",
        _ => "UNKNOWN",
    };
    (os, browser)
}

struct Geo {
    city: &'static str,
    country: &'static str,
    as_number: u32,
    isp: &'static str,
}

/// Documentation ranges stand for places and networks (RFC 5737, RFC 5398).
fn geo(ip: &str) -> Geo {
    match ip {
        ip if ip.starts_with("192.0.2.") => {
            Geo { city: "Zurich", country: "Switzerland", as_number: 64496, isp: "example office" }
        }
        ip if ip.starts_with("203.0.113.") => {
            Geo { city: "Bern", country: "Switzerland", as_number: 64497, isp: "example home" }
        }
        ip if ip.starts_with("198.51.100.") => {
            Geo { city: "Anytown", country: "Elsewhere", as_number: 64511, isp: "example hosting" }
        }
        _ => Geo { city: "Unknown", country: "Unknown", as_number: 64500, isp: "example" },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuids_have_the_shape_of_version_4() {
        let one = uuid(&["a", "b"]);
        assert_eq!(one, uuid(&["a", "b"]));
        assert_ne!(one, uuid(&["ab"]));
        let parts: Vec<usize> = one.split('-').map(str::len).collect();
        assert_eq!(parts, [8, 4, 4, 4, 12]);
        assert_eq!(one.chars().nth(14), Some('4'));
        assert!(one.chars().nth(19).is_some_and(|c| "89ab".contains(c)), "{one}");
    }

    #[test]
    fn times_are_cut_to_milliseconds() {
        assert_eq!(milliseconds(Time(1_999_999)), "1970-01-01T00:00:01.999Z");
    }
}
