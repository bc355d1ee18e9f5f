//! Vendors that echo what they were sent: nothing that is kept of their words holds a credential.

use quell_core::action::Action;
use quell_core::order::Verb;
use quell_targets::{Auth, Secret, Target, VendorConfig};
use serde_json::{Value, json};

use crate::server::{Asked, Server, Vendor};
use crate::subjects::{CREDENTIAL, NOW, SUBJECTS, Subject};

/// What the client sent to prove itself.
fn sent(asked: &Asked) -> &str {
    asked.headers["authorization"].to_str().unwrap()
}

/// A token is what Entra ID is shown; it is the credential here, so that the same is looked for.
fn token(asked: &Asked) -> Option<(u16, Value)> {
    let body = json!({ "expires_in": 3600, "access_token": CREDENTIAL });
    asked.path.ends_with("/token").then_some((200, body))
}

/// Errors in which the credential stands whole, in two by a character that nobody sees, and at the
/// place where the text is cut.
fn errors(vendor: &mut Vendor, asked: &Asked) -> (u16, Value) {
    if let Some(token) = token(asked) {
        return token;
    }
    let sent = sent(asked);
    let word = sent.split(' ').next_back().unwrap();
    let (head, tail) = word.split_at(word.len() / 2);
    let filled = "x".repeat(160 - head.len());
    let summaries =
        [format!("`{sent}` is not known"), format!("{head}\u{200b}{tail}"), filled + word];
    let summary = &summaries[vendor.asked.len() % 3];
    (400, json!({ "errorCode": word, "errorSummary": summary }))
}

/// Answers in which it stands where states, kinds of events and next pages do.
fn answers(vendor: &mut Vendor, asked: &Asked) -> (u16, Value) {
    if let Some(token) = token(asked) {
        return token;
    }
    let word = sent(asked).split(' ').next_back().unwrap().to_owned();
    vendor.request_id = Some(format!("req-{word}"));
    let host = asked.headers["host"].to_str().unwrap();
    vendor.next = Some(format!("http://{host}{}?after={word}", asked.path));
    let account = SUBJECTS[0].account;
    let body = match asked.path.rsplit('/').next().unwrap() {
        "logs" => json!([
            {
                "eventType": "user.session.clear", "published": NOW,
                "outcome": { "result": "SUCCESS" }, "target": [{ "id": account }],
                "client": { "userAgent": { "rawUserAgent": word } },
            },
            {
                "eventType": format!("app.oauth2.{word}.token.grant"), "published": NOW,
                "outcome": { "result": "SUCCESS" }, "actor": { "id": word },
            },
        ]),
        "clients" | "tokens" | "sessions" | "groups" => json!([]),
        "checkMemberGroups" => json!({ "value": [word] }),
        id if id == crate::entra::USER => json!({
            "id": id, "accountEnabled": true, "riskState": word, "userType": word,
            "signInSessionsValidFromDateTime": word,
        }),
        _ => json!({ "id": account, "status": word }),
    };
    (200, body)
}

/// The target with one way to prove itself, and what must not be seen.
fn ways(subject: Subject, base: &str) -> Vec<(Box<dyn Target>, Vec<String>)> {
    let secret = || Secret::new(CREDENTIAL);
    let user = "client-of-quell".to_owned();
    let header = Auth::Header {
        name: "authorization".to_owned(),
        value: Secret::new(format!("SSWS {CREDENTIAL}")),
    };
    let all = [
        Auth::Bearer(secret()),
        Auth::Ssws(secret()),
        Auth::Basic { user, password: secret() },
        header,
    ];
    let pair = data_encoding::BASE64.encode(format!("client-of-quell:{CREDENTIAL}").as_bytes());
    let half = |text: &str| text.chars().take(text.len() / 2).collect::<String>();
    let seen = vec![half(CREDENTIAL), half(&pair)];
    let target = |auth| (subject.build)(VendorConfig::new(base, auth), &[]);
    all.into_iter().map(|auth| (target(auth), seen.clone())).collect()
}

#[tokio::test]
async fn what_a_vendor_echoes_is_not_kept() {
    let mut redacted = 0;
    for subject in SUBJECTS {
        for dialect in [errors, answers] {
            let server = Server::start(dialect).await;
            for (target, unseen) in ways(subject, &server.base) {
                for capability in target.capabilities() {
                    for verb in Verb::ALL {
                        let mut call = subject.call(capability.action, *verb);
                        call.sent_at = Some(NOW);
                        let outcome = target.call(&call, NOW).await;
                        let kept = serde_json::to_string(&outcome).unwrap();
                        for text in &unseen {
                            assert!(!kept.contains(text), "{kept}");
                        }
                        redacted += kept.matches("(redacted)").count();
                    }
                }
                let refused = target.check(NOW).await.err().map(|r| format!("{r:?}"));
                let refused = refused.unwrap_or_default();
                assert!(unseen.iter().all(|text| !refused.contains(text)), "{refused}");
            }
        }
    }
    assert!(redacted > 0, "no vendor echoed anything");
}

#[tokio::test]
async fn an_id_of_the_vendors_own_is_kept() {
    for subject in SUBJECTS {
        let server = Server::start(subject.dialect).await;
        let own = "req-1:2/3";
        server.vendor.lock().unwrap().request_id = Some(own.to_owned());
        let (target, _) = ways(subject, &server.base).remove(0);
        let outcome = target.call(&subject.call(Action::EndSessions, Verb::Execute), NOW).await;
        assert_eq!(outcome.vendor_request.as_deref(), Some(own));
    }
}
