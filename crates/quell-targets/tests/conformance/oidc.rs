//! The generic provider beyond the common suite: canary tokens, odd subjects, a provider that
//! cannot list.

use std::collections::BTreeMap;

use quell_core::action::Action;
use quell_core::order::{Answer, Fault, Verb};
use quell_targets::oidc::{EndCall, Introspection, Oidc, OidcConfig};
use quell_targets::{Auth, Secret, Target, VendorConfig};
use serde_json::{Value, json};

use crate::server::{Asked, Server, Vendor};
use crate::subjects::{LATER, NOW, SUBJECTS, word};

const CANARY: &str = "canary secret/1";

fn dialect(vendor: &mut Vendor, asked: &Asked) -> (u16, Value) {
    match (asked.method.as_str(), asked.path.as_str()) {
        ("POST", "/introspect") => {
            let ours = asked.body == b"token=canary%20secret%2F1";
            (200, json!({ "active": ours && vendor.alive }))
        }
        ("POST", "/end") => {
            vendor.effects.push(asked.query.clone());
            vendor.alive = false;
            (204, Value::Null)
        }
        _ => (404, Value::Null),
    }
}

fn config(base: &str) -> OidcConfig {
    let end = EndCall {
        method: "POST".to_owned(),
        path: "/end?user={sub}&all=true".to_owned(),
        expected: Vec::new(),
    };
    OidcConfig::new("oidc", VendorConfig::new(base, Auth::None), end)
}

#[tokio::test]
async fn a_canary_that_dies_is_proof_and_nobody_elses_token_is_asked_about() {
    let server = Server::start(dialect).await;
    let mut with = config(&server.base);
    let mut call = SUBJECTS[1].call(Action::EndSessions, Verb::Probe);
    with.introspection = Some(Introspection {
        path: "/introspect".to_owned(),
        tokens: BTreeMap::from([(call.account.id.clone(), Secret::new(CANARY))]),
    });
    let target = Oidc::new(with).unwrap();
    let before = target.call(&call, NOW).await;
    assert_eq!(word(&before), "alive");
    assert!(!serde_json::to_string(&before).unwrap().contains("secret"), "{before:?}");
    let Answer::Before { snapshot, .. } = before.answer else { panic!("no state before") };
    call.snapshot = snapshot;
    call.verb = Verb::Execute;
    assert_eq!(word(&target.call(&call, NOW).await), "accepted");
    (call.verb, call.acknowledged_at) = (Verb::ReadBack, Some(NOW));
    assert_eq!(word(&target.call(&call, NOW).await), "too early");
    assert_eq!(word(&target.call(&call, LATER).await), "done");
    let asked = server.vendor.lock().unwrap().asked.len();
    call.account.id = "somebody else".to_owned();
    assert_eq!(word(&target.call(&call, LATER).await), "not provable");
    assert_eq!(server.vendor.lock().unwrap().asked.len(), asked);
}

#[tokio::test]
async fn without_list_and_canary_an_end_is_never_proven() {
    let server = Server::start(dialect).await;
    let target = Oidc::new(config(&server.base)).unwrap();
    assert!(!target.capabilities()[0].reads_back);
    let mut call = SUBJECTS[1].call(Action::EndSessions, Verb::Probe);
    assert_eq!(word(&target.call(&call, NOW).await), "not alive");
    call.verb = Verb::Execute;
    assert_eq!(word(&target.call(&call, NOW).await), "accepted");
    assert_eq!(
        server.vendor.lock().unwrap().effects,
        ["user=alice%40example.com%2F%C3%BC&all=true"]
    );
    (call.verb, call.acknowledged_at) = (Verb::ReadBack, Some(NOW));
    assert_eq!(word(&target.call(&call, LATER).await), "not provable");
}

#[tokio::test]
async fn odd_subjects_reach_no_vendor() {
    let server = Server::start(dialect).await;
    let target = Oidc::new(config(&server.base)).unwrap();
    for odd in ["", ".", "..", "a\nb", "a\u{0}", &"x".repeat(256)] {
        let mut call = SUBJECTS[1].call(Action::EndSessions, Verb::Execute);
        call.account.id = odd.to_owned();
        let outcome = target.call(&call, NOW).await;
        let refused = Answer::Fault { fault: Fault::BadRequest, retry_at: None };
        assert_eq!((outcome.answer, outcome.sent_at), (refused, None), "{odd:?}");
    }
    assert!(server.vendor.lock().unwrap().asked.is_empty());
}
