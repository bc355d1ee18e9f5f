//! Sources room, tests: what every listed Okta event type means for each outcome, as one table that
//! a reader can hold against the vendor's event catalogue.

#![cfg(test)]

use std::fmt::Write as _;

use expect_test::expect_file;
use quell_core::signal::Provenance;
use quell_core::time::Time;
use quell_sources::{DecodeContext, EMBEDDED, Pack};
use serde_json::{Value, json};

fn meaning(pack: &Pack, event_type: &str, outcome: &str) -> String {
    let ctx = DecodeContext {
        tenant: "default",
        source: "okta",
        provenance: Provenance::Polled,
        now: Time::parse("2026-03-02T10:00:00Z").unwrap().t,
        provider: None,
        own_principals: &[],
        allowed_domains: &[],
    };
    let user = |id: &str| json!({"id": id, "type": "User", "alternateId": "unknown"});
    let client = json!({"id": "client", "type": "PublicClientApp", "alternateId": "unknown"});
    let record = |actor: Value| {
        json!({
            "uuid": "u", "eventType": event_type, "published": "2026-03-02T09:00:00Z",
            "actor": actor, "target": [user("target"), client],
            "outcome": {"result": outcome}, "authenticationContext": {"externalSessionId": "s"},
        })
    };
    let decoded = pack.decode(&ctx, record(user("actor")).to_string().as_bytes());
    let record = &decoded.records[0];
    if let Some(reject) = &record.reject {
        return reject.reason.to_string();
    }
    let show = |signal: &quell_core::signal::Signal| {
        let confidence = signal.confidence.map(|c| format!(" {c}")).unwrap_or_default();
        let about = signal.about.first().map_or("nobody", |id| id.value.as_str());
        let traces = if signal.entities.is_empty() { "" } else { " with its session" };
        format!("{} {}{confidence} of {about}{traces}", signal.kind, signal.usage)
    };
    record.signals.iter().map(show).collect::<Vec<_>>().join(", ")
}

#[test]
fn every_listed_event_type_has_its_meaning() {
    let (_, text) = EMBEDDED.iter().find(|(name, _)| *name == "okta").unwrap();
    let pack = Pack::load("okta", text).unwrap();
    let mut table = String::new();
    for listed in pack.event_types() {
        let event_type = listed.replace('*', "x");
        let mut last = String::new();
        for outcome in ["SUCCESS", "FAILURE", "DENY", "ALLOW", "CHALLENGE", "NOVEL"] {
            let meaning = meaning(&pack, &event_type, outcome);
            if meaning == last {
                continue;
            }
            writeln!(table, "{listed} {outcome}: {meaning}").unwrap();
            last = meaning;
        }
    }
    expect_file!["okta-table.txt"].assert_eq(&table);
}
