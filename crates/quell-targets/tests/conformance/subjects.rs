//! The targets under test, each with the dialect of its vendor. A new target is added here and
//! nowhere else.

use std::time::Duration;

use axum::http::Method;
use quell_core::action::Action;
use quell_core::id::{CaseId, OrderId};
use quell_core::identity::Account;
use quell_core::order::{Answer, Call, Outcome, Verb};
use quell_core::time::{HOUR, SECOND, Time};
use quell_targets::entra::Entra;
use quell_targets::oidc::{EndCall, ListCall, Oidc, OidcConfig};
use quell_targets::okta::{Okta, OktaConfig};
use quell_targets::{Auth, Secret, Target, VendorConfig};
use serde_json::{Value, json};

use crate::server::{Asked, BODY_MAX, Dialect, Vendor};

/// The credential that must never be seen in anything that is kept.
pub(crate) const CREDENTIAL: &str = "00-very-secret-credential-00";

/// One target under test.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subject {
    pub(crate) name: &'static str,
    pub(crate) account: &'static str,
    pub(crate) dialect: Dialect,
    pub(crate) build: fn(VendorConfig, protected: &[&str]) -> Box<dyn Target>,
    /// It asks for its tokens itself.
    pub(crate) renews: bool,
    /// The requests that the reads of a verb rest on; one for a token is none of them.
    pub(crate) reads: fn(&Asked) -> bool,
    /// The effecting request of an act.
    pub(crate) acts: fn(&Asked) -> bool,
    /// The effecting request of an undo.
    pub(crate) undoes: fn(&Asked) -> bool,
}

pub(crate) const SUBJECTS: [Subject; 3] = [
    Subject {
        name: "okta",
        account: "00u1abcdefghijklmnop",
        dialect: okta,
        build: |vendor, protected| {
            let mut config = OktaConfig::new("okta", vendor);
            config.step_up_group = Some(OKTA_GROUP.to_owned());
            config.protected = protected.iter().map(|id| (*id).to_owned()).collect();
            Box::new(Okta::new(config).unwrap())
        },
        renews: false,
        reads: |_| true,
        acts: |asked| asked.method != Method::GET,
        undoes: |asked| asked.method != Method::GET,
    },
    Subject {
        name: "oidc",
        account: "alice@example.com/ü",
        dialect: oidc,
        build: |vendor, protected| {
            let end = EndCall {
                method: "DELETE".to_owned(),
                path: "/admin/users/{sub}/sessions".to_owned(),
                expected: vec![204],
            };
            let mut config = OidcConfig::new("oidc", vendor, end);
            config.list_sessions = Some(ListCall {
                path: "/admin/users/{sub}/sessions".to_owned(),
                pointer: String::new(),
            });
            config.protected = protected.iter().map(|id| (*id).to_owned()).collect();
            Box::new(Oidc::new(config).unwrap())
        },
        renews: false,
        reads: |_| true,
        acts: |asked| asked.method != Method::GET,
        undoes: |_| false,
    },
    Subject {
        name: "entra_id",
        account: crate::entra::USER,
        dialect: crate::entra::dialect,
        build: |vendor, protected| {
            let mut config = crate::entra::config(vendor);
            config.protected = protected.iter().map(|id| (*id).to_owned()).collect();
            Box::new(Entra::new(config).unwrap())
        },
        renews: true,
        reads: |asked| !asked.path.ends_with("/token"),
        acts: crate::entra::changes,
        undoes: crate::entra::changes,
    },
];

impl Subject {
    /// The target; with a short limit only where no answer is meant to come.
    pub(crate) fn target(&self, base: &str, patience: Duration) -> Box<dyn Target> {
        let auth = Auth::Header {
            name: "authorization".to_owned(),
            value: Secret::new(format!("SSWS {CREDENTIAL}")),
        };
        let mut vendor = VendorConfig::new(base, auth);
        vendor.total_timeout = patience;
        vendor.connect_timeout = patience;
        vendor.body_max = BODY_MAX;
        (self.build)(vendor, &[])
    }

    pub(crate) fn call(&self, action: Action, verb: Verb) -> Call {
        let account =
            Account { provider: self.name.to_owned(), id: self.account.to_owned(), login: None };
        let order = OrderId::of("default", CaseId([1; 16]), action.name(), &account.to_string(), 0);
        Call {
            order,
            verb,
            attempt: 1,
            due: NOW,
            action,
            account,
            snapshot: None,
            acknowledged_at: None,
            sent_at: None,
        }
    }

    /// True for the requests that a verb rests on.
    pub(crate) fn strikes(&self, verb: Verb) -> fn(&Asked) -> bool {
        match verb {
            Verb::Execute => self.acts,
            Verb::Undo => self.undoes,
            Verb::Probe | Verb::ReadBack | Verb::ReadBackUndo => self.reads,
        }
    }
}

/// The step-up group at Okta.
const OKTA_GROUP: &str = "00g1stepup";

/// When everything is asked.
pub(crate) const NOW: Time = Time(1_767_261_600_250_000);

/// When everything has settled.
pub(crate) const LATER: Time = Time(NOW.0 + HOUR);

/// An answer in one word.
pub(crate) fn word(outcome: &Outcome) -> String {
    match &outcome.answer {
        Answer::Before { alive: true, .. } => "alive".to_owned(),
        Answer::Before { already: true, .. } => "already".to_owned(),
        Answer::Before { .. } => "not alive".to_owned(),
        Answer::Accepted { already: false } => "accepted".to_owned(),
        Answer::Accepted { already: true } => "accepted already".to_owned(),
        Answer::Seen { done: true, conclusive: true } => "done".to_owned(),
        Answer::Seen { done: true, conclusive: false } => "not provable".to_owned(),
        Answer::Seen { done: false, conclusive: true } => "absent".to_owned(),
        Answer::Seen { done: false, conclusive: false } => "too early".to_owned(),
        Answer::Fault { fault, retry_at: None } => fault.to_string(),
        Answer::Fault { fault, retry_at: Some(t) } => {
            format!("{fault} (+{} s)", t.since(NOW) / SECOND)
        }
    }
}

fn okta(vendor: &mut Vendor, asked: &Asked) -> (u16, Value) {
    const ID: &str = "00u1abcdefghijklmnop";
    let user = format!("/api/v1/users/{ID}");
    let act = |vendor: &mut Vendor| vendor.effects.push(format!("{} {}", asked.method, asked.path));
    let rest = asked.path.strip_prefix(&user);
    let lists = |vendor: &Vendor, item: Value| match vendor.alive {
        true => (200, json!([item])),
        false => (200, json!([])),
    };
    match (asked.method.as_str(), rest) {
        ("GET", Some("")) => {
            let status = if vendor.suspended { "SUSPENDED" } else { "ACTIVE" };
            (200, json!({ "id": ID, "status": status }))
        }
        ("GET", Some("/clients")) => lists(vendor, json!({ "client_id": "0oa1" })),
        ("GET", Some("/clients/0oa1/tokens")) => {
            lists(vendor, json!({ "id": "oar1", "status": "ACTIVE" }))
        }
        ("DELETE", Some("/sessions")) => {
            act(vendor);
            if asked.query.contains("oauthTokens=true") {
                vendor.alive = false;
            }
            let agent = asked.headers["user-agent"].to_str().unwrap().to_owned();
            vendor.cleared.push(agent);
            (204, Value::Null)
        }
        ("POST", Some(verb @ ("/lifecycle/suspend" | "/lifecycle/unsuspend"))) => {
            let suspend = verb == "/lifecycle/suspend";
            if vendor.suspended == suspend {
                return (400, json!({ "errorCode": "E0000001", "errorSummary": "state" }));
            }
            act(vendor);
            vendor.suspended = suspend;
            (200, json!({}))
        }
        ("GET", Some("/groups")) => {
            let groups = if vendor.suspended { json!([{ "id": OKTA_GROUP }]) } else { json!([]) };
            (200, groups)
        }
        (verb @ ("PUT" | "DELETE"), None)
            if asked.path == format!("/api/v1/groups/{OKTA_GROUP}/users/{ID}") =>
        {
            act(vendor);
            vendor.suspended = verb == "PUT";
            (204, Value::Null)
        }
        ("GET", None) if asked.path == format!("/api/v1/groups/{OKTA_GROUP}") => {
            (200, json!({ "id": OKTA_GROUP, "type": "OKTA_GROUP" }))
        }
        ("GET", None) if asked.path == "/api/v1/logs" => {
            let event = |kind: &str, at: Time, agent: &str, actor: &str| {
                json!({
                    "eventType": kind,
                    "published": at,
                    "outcome": { "result": "SUCCESS" },
                    "actor": { "id": actor },
                    "target": [{ "id": ID }],
                    "authenticationContext": { "externalSessionId": "idx1" },
                    "client": { "userAgent": { "rawUserAgent": agent } },
                })
            };
            let start = event("user.session.start", NOW.plus(-HOUR), "browser", ID);
            let clears = vendor
                .cleared
                .iter()
                .map(|agent| event("user.session.clear", NOW.plus(SECOND / 2), agent, "00uapi"));
            (200, Value::Array(std::iter::once(start).chain(clears).collect()))
        }
        ("GET", None) if asked.path == "/api/v1/users" => (200, json!([])),
        _ => (404, json!({ "errorCode": "E0000007", "errorSummary": "not found" })),
    }
}

fn oidc(vendor: &mut Vendor, asked: &Asked) -> (u16, Value) {
    let subject = "/admin/users/alice%40example.com%2F%C3%BC/sessions";
    match (asked.method.as_str(), asked.path.as_str()) {
        ("GET", path) if path == subject => match vendor.alive {
            true => (200, json!([{ "id": "s1" }])),
            false => (200, json!([])),
        },
        ("DELETE", path) if path == subject => {
            vendor.effects.push(format!("DELETE {path}"));
            vendor.alive = false;
            (204, Value::Null)
        }
        ("GET", "/admin/users/quell-permission-check/sessions") => (200, json!([])),
        _ => (404, Value::Null),
    }
}
