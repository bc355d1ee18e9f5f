//! The life of an order at every target when nothing goes wrong, and what no target may do.

use std::time::Duration;

use quell_core::action::Action;
use quell_core::order::{Answer, Fault, Repeat, Verb};
use quell_targets::{Auth, VendorConfig};

use crate::server::Server;
use crate::subjects::{LATER, NOW, SUBJECTS, word};

const PATIENT: Duration = Duration::from_secs(60);

#[tokio::test]
async fn every_action_is_probed_done_and_proven() {
    let mut lines = String::new();
    for subject in SUBJECTS {
        let capabilities = subject.target("http://127.0.0.1:9", PATIENT).capabilities();
        for capability in capabilities {
            let server = Server::start(subject.dialect).await;
            let target = subject.target(&server.base, PATIENT);
            assert!(target.check(NOW).await.is_ok());
            let mut call = subject.call(capability.action, Verb::Probe);
            let mut words = Vec::new();
            let undo: &[Verb] = match capability.undoes {
                true => &[Verb::ReadBackUndo, Verb::Undo, Verb::ReadBackUndo],
                false => &[],
            };
            let verbs = [Verb::Probe, Verb::ReadBack, Verb::Execute, Verb::ReadBack, Verb::Execute];
            for verb in verbs.iter().chain(undo) {
                call.verb = *verb;
                let read = !matches!(verb, Verb::Execute | Verb::Undo);
                let effects = server.effects();
                let at = if read && *verb != Verb::Probe { LATER } else { NOW };
                let outcome = target.call(&call, at).await;
                assert_eq!((outcome.order, outcome.verb), (call.order, *verb));
                assert!(!(read && server.effects() > effects), "a read changed something");
                if let Answer::Before { snapshot, .. } = &outcome.answer {
                    call.snapshot.clone_from(snapshot);
                    assert!(snapshot.as_ref().is_some_and(|s| s.len() <= 4_096));
                }
                if *verb == Verb::Execute {
                    call.attempt += 1;
                    (call.sent_at, call.acknowledged_at) = (Some(NOW), Some(NOW));
                }
                words.push(word(&outcome));
            }
            let line = format!(
                "{} {} ({}, {} effects)\n  {}\n",
                subject.name,
                capability.action,
                capability.repeat,
                server.effects(),
                words.join(" > ")
            );
            lines.push_str(&line);
        }
    }
    expect_test::expect![[r#"
        okta end_sessions (safe, 2 effects)
          alive > absent > accepted > done > accepted
        okta force_reauth (safe, 2 effects)
          alive > absent > accepted > done > accepted
        okta suspend (after_read_back, 2 effects)
          alive > absent > accepted > done > accepted > absent > accepted > done
        okta step_up (after_read_back, 3 effects)
          alive > absent > accepted > done > accepted > absent > accepted > done
        oidc end_sessions (safe, 2 effects)
          alive > absent > accepted > done > accepted
        entra_id end_sessions (safe, 2 effects)
          alive > absent > accepted > done > accepted
        entra_id force_reauth (safe, 2 effects)
          alive > absent > accepted > done > accepted
        entra_id step_up (after_read_back, 2 effects)
          alive > absent > accepted > done > accepted > absent > accepted > done
        entra_id confirm_compromised (safe, 3 effects)
          alive > absent > accepted > done > accepted > absent > accepted > done
        entra_id suspend (after_read_back, 3 effects)
          alive > absent > accepted > done > accepted > absent > accepted > done
    "#]]
    .assert_eq(&lines);
}

#[tokio::test]
async fn protected_accounts_and_foreign_actions_reach_no_vendor() {
    for subject in SUBJECTS {
        let server = Server::start(subject.dialect).await;
        let vendor = VendorConfig::new(&server.base, Auth::None);
        let target = (subject.build)(vendor, &[subject.account]);
        for capability in target.capabilities() {
            for verb in Verb::ALL {
                let outcome = target.call(&subject.call(capability.action, *verb), NOW).await;
                let effecting = matches!(verb, Verb::Execute | Verb::Undo);
                if effecting {
                    let refused = Answer::Fault { fault: Fault::Unsupported, retry_at: None };
                    assert_eq!((outcome.answer, outcome.sent_at), (refused, None));
                }
            }
        }
        assert_eq!(server.effects(), 0);
        let asked = server.vendor.lock().unwrap().asked.len();
        for action in [Action::Watch, Action::RotateCredential, Action::ResetPassword] {
            for verb in Verb::ALL {
                let outcome = target.call(&subject.call(action, *verb), NOW).await;
                let refused = Answer::Fault { fault: Fault::Unsupported, retry_at: None };
                assert_eq!((outcome.answer, outcome.sent_at), (refused, None));
            }
        }
        assert_eq!(server.vendor.lock().unwrap().asked.len(), asked);
    }
}

#[test]
fn capabilities_are_possible() {
    for subject in SUBJECTS {
        let capabilities = subject.target("http://127.0.0.1:9", PATIENT).capabilities();
        assert!(!capabilities.is_empty());
        for capability in capabilities {
            // never repeated and never seen would be done blindly
            assert!(capability.reads_back || capability.repeat == Repeat::Safe, "{capability:?}");
            assert!(capability.effective_after >= 0 && capability.quiet >= 0);
            assert!(capability.read_back_lag >= 0);
        }
    }
}
