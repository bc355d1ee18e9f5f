//! The fault table: every target, action and verb against every way to go wrong; for effecting
//! verbs both "failed and did not happen" and "failed but did happen".

use std::time::Duration;

use expect_test::expect_file;
use quell_core::action::Action;
use quell_core::order::{Answer, Fault, Verb};
use quell_targets::{Auth, Secret, VendorConfig};

use crate::server::{Plan, Server, Wrong};
use crate::subjects::{CREDENTIAL, LATER, NOW, SUBJECTS, Subject, word};

/// Long enough for a busy machine; short where no answer is meant to come.
const PATIENT: Duration = Duration::from_secs(60);
const IMPATIENT: Duration = Duration::from_millis(1_500);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_fault_table() {
    let mut rows = Vec::new();
    for subject in SUBJECTS {
        let capabilities = subject.target("http://127.0.0.1:9", PATIENT).capabilities();
        for capability in capabilities {
            for verb in Verb::ALL {
                let undo = matches!(verb, Verb::Undo | Verb::ReadBackUndo);
                if !undo || capability.undoes {
                    rows.push(tokio::spawn(row(subject, capability.action, *verb)));
                }
            }
        }
    }
    let mut table = String::new();
    for row in rows {
        table.push_str(&row.await.unwrap());
    }
    expect_file!["fault_table.txt"].assert_eq(&table);
}

async fn row(subject: Subject, action: Action, verb: Verb) -> String {
    let effecting = matches!(verb, Verb::Execute | Verb::Undo);
    let mut text = format!("{} {action} {verb}\n", subject.name);
    let cells = Wrong::ALL.map(|wrong| tokio::spawn(cell(subject, action, verb, wrong, effecting)));
    for (wrong, cell) in Wrong::ALL.iter().zip(cells) {
        text.push_str(&format!("  {:8} {}\n", wrong.name(), cell.await.unwrap()));
    }
    text
}

async fn cell(
    subject: Subject,
    action: Action,
    verb: Verb,
    wrong: Wrong,
    effecting: bool,
) -> String {
    let without = strike(subject, action, verb, wrong, false).await;
    if !effecting {
        return without;
    }
    let with = strike(subject, action, verb, wrong, true).await;
    format!("{without:24} | {with}")
}

/// Brings an order to the verb, lets it go wrong there, and sees whether the read-back finds out
/// what happened.
async fn strike(
    subject: Subject,
    action: Action,
    verb: Verb,
    wrong: Wrong,
    happens: bool,
) -> String {
    let server = Server::start(subject.dialect).await;
    let target = subject.target(&server.base, PATIENT);
    let mut call = subject.call(action, Verb::Probe);
    let before = target.call(&call, NOW).await;
    let Answer::Before { snapshot, .. } = before.answer else { panic!("{before:?}") };
    call.snapshot = snapshot;
    if verb != Verb::Probe && verb != Verb::Execute {
        call.verb = Verb::Execute;
        let executed = target.call(&call, NOW).await;
        assert_eq!(word(&executed), "accepted", "{executed:?}");
        (call.sent_at, call.acknowledged_at) = (executed.sent_at, Some(NOW));
    }
    let effects = server.effects();
    let asked = server.vendor.lock().unwrap().asked.len();
    server.plan(Some(Plan { wrong, happens, strikes: subject.strikes(verb) }));
    let patience = if wrong == Wrong::Silence { IMPATIENT } else { PATIENT };
    call.verb = verb;
    let outcome = subject.target(&server.base, patience).call(&call, NOW).await;
    server.plan(None);
    let told = word(&outcome);
    kept_is_clean(&serde_json::to_string(&outcome).unwrap());
    assert!(outcome.detail.chars().count() <= 240);
    assert_eq!(outcome.sent_at, Some(NOW));
    // nothing is repeated in here, and no redirect is followed
    let vendor = server.vendor.lock().unwrap().asked[asked..].to_vec();
    assert!(vendor.iter().all(|asked| asked.path != "/elsewhere"), "{vendor:?}");
    let struck = vendor.iter().filter(|asked| (subject.strikes(verb))(asked)).count();
    if matches!(verb, Verb::Execute | Verb::Undo) {
        // a token that is refused was not looked at any further: another one is tried, once
        let again = subject.renews && wrong == Wrong::Status(401);
        assert!(struck == 1 || (again && struck == 2), "{vendor:?}");
        let happened = server.effects() > effects && subject_happened(&server, verb);
        assert_eq!(happened, happens, "{told}");
        honest(&told, wrong, happens);
        let back = if verb == Verb::Undo { Verb::ReadBackUndo } else { Verb::ReadBack };
        call.verb = back;
        call.sent_at = Some(NOW);
        let seen = target.call(&call, LATER).await;
        let want = if happens { "done" } else { "absent" };
        assert_eq!(word(&seen), want, "{told}, then {seen:?}");
    }
    told
}

/// True when the effect that the verb is after is in the vendor's state.
fn subject_happened(server: &Server, verb: Verb) -> bool {
    let vendor = server.vendor.lock().unwrap();
    match verb {
        Verb::Undo => !vendor.suspended,
        _ => vendor.suspended || !vendor.cleared.is_empty() || !vendor.alive,
    }
}

/// An answer that leaves open whether it happened is never told as something that may be sent
/// again without looking.
fn honest(told: &str, wrong: Wrong, happens: bool) {
    let open = matches!(
        wrong,
        Wrong::Status(500 | 502)
            | Wrong::Garbage
            | Wrong::Closed
            | Wrong::Silence
            | Wrong::Redirect(302)
            | Wrong::Huge
    );
    if open {
        assert_eq!(told, Fault::Indeterminate.name(), "{wrong:?} {happens}");
    } else {
        assert_ne!(told, "accepted", "{wrong:?} {happens}");
    }
}

fn kept_is_clean(kept: &str) {
    assert!(!kept.contains(CREDENTIAL), "{kept}");
}

#[tokio::test]
async fn a_refused_connection_was_never_sent() {
    // a port that was free a moment ago
    let port = {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap().port()
    };
    for subject in SUBJECTS {
        let target = subject.target(&format!("http://127.0.0.1:{port}"), PATIENT);
        for verb in [Verb::Probe, Verb::Execute, Verb::ReadBack] {
            let action = target.capabilities()[0].action;
            let outcome = target.call(&subject.call(action, verb), NOW).await;
            assert_eq!(word(&outcome), "transient", "{outcome:?}");
            assert_eq!((outcome.sent_at, outcome.status), (None, None));
            assert!(!outcome.request.is_empty());
        }
    }
}

#[tokio::test]
async fn a_next_page_on_another_host_is_not_followed() {
    let okta = SUBJECTS[0];
    let server = Server::start(okta.dialect).await;
    let stranger = Server::start(okta.dialect).await;
    let next = format!("{}/api/v1/logs?after=1", stranger.base);
    server.vendor.lock().unwrap().next = Some(next);
    let target = okta.target(&server.base, PATIENT);
    let outcome = target.call(&okta.call(Action::EndSessions, Verb::ReadBack), LATER).await;
    assert_eq!(outcome.answer, Answer::Fault { fault: Fault::Indeterminate, retry_at: None });
    assert!(outcome.detail.contains("another host"), "{outcome:?}");
    assert!(stranger.vendor.lock().unwrap().asked.is_empty());
}

#[test]
fn odd_configurations_are_refused() {
    let refuse = |base: &str, auth: Auth| {
        let vendor = VendorConfig::new(base, auth);
        quell_targets::VendorClient::new(vendor).map(|_| ()).unwrap_err().to_string()
    };
    let texts = [
        refuse("http://example.com", Auth::None),
        refuse("ftp://127.0.0.1", Auth::None),
        refuse("not a url", Auth::None),
        refuse("https://a:b@example.com", Auth::None),
        refuse("https://example.com/?a=1", Auth::None),
        refuse("http://127.0.0.1.example.com", Auth::None),
        refuse("http://127.0.0.1", Auth::Bearer(Secret::new("a\nb"))),
        refuse(
            "http://127.0.0.1",
            Auth::Header { name: "no header".to_owned(), value: Secret::new("a") },
        ),
    ];
    expect_test::expect![[r#"
        `http://example.com` cannot be a base address: `http` is for loopback alone
        `ftp://127.0.0.1` cannot be a base address: it must begin with `https://`
        `not a url` cannot be a base address: it is no URL
        `..` cannot be a base address: it holds a credential
        `https://example.com/?a=1` cannot be a base address: it has a query or a fragment
        `http://127.0.0.1.example.com` cannot be a base address: `http` is for loopback alone
        `auth` is not usable: the secret holds characters that a header cannot carry
        `auth` is not usable: its header's name is none"#]]
    .assert_eq(&texts.join("\n"));
}
