//! The Okta target end to end against the lab's provider: what it says is what the resource sees.

use std::time::Duration;

use crate::common::{ALIVE, Access, DEAD, Lab, id, person};
use quell_core::action::Action;
use quell_core::id::{CaseId, OrderId};
use quell_core::identity::Account;
use quell_core::order::{Answer, Call, Fault, Outcome, Verb};
use quell_core::time::{SECOND, Time};
use quell_lab::{Fault as Strike, Injected, Options, Person, attack};
use quell_targets::okta::{Okta, OktaConfig};
use quell_targets::{Auth, Secret, Target, VendorConfig};

pub(crate) fn now() -> Time {
    Time(jiff::Timestamp::now().as_microsecond())
}

fn target(lab: &Lab, token: &str, change: impl FnOnce(&mut OktaConfig)) -> Okta {
    let auth = Auth::Ssws(Secret::new(token));
    let vendor = VendorConfig::new(lab.provider.base_url(), auth);
    let mut config = OktaConfig::new("okta", vendor);
    config.quiet = SECOND;
    change(&mut config);
    Okta::new(config).unwrap()
}

/// One order's calls, with what the engine carries from outcome to call.
pub(crate) struct Order {
    pub(crate) call: Call,
}

impl Order {
    fn new(person: &Person, action: Action) -> Self {
        Self::on(person.account().unwrap().clone(), action)
    }

    pub(crate) fn on(account: Account, action: Action) -> Self {
        let case = CaseId([7; 16]);
        let order = OrderId::of("default", case, action.name(), &account.to_string(), 0);
        Self {
            call: Call {
                order,
                verb: Verb::Probe,
                attempt: 1,
                due: Time(0),
                action,
                account,
                snapshot: None,
                acknowledged_at: None,
                sent_at: None,
            },
        }
    }

    pub(crate) async fn say(&mut self, target: &dyn Target, verb: Verb, now: Time) -> Outcome {
        self.call.verb = verb;
        let outcome = target.call(&self.call, now).await;
        match (&outcome.answer, verb) {
            (Answer::Before { snapshot, .. }, _) => self.call.snapshot.clone_from(snapshot),
            (_, Verb::Execute) => {
                self.call.sent_at = outcome.sent_at;
                if matches!(outcome.answer, Answer::Accepted { .. }) {
                    self.call.acknowledged_at = Some(now);
                }
            }
            _ => {}
        }
        outcome
    }

    /// Reads back as of a time at which the quiet is over, until the log's lag is over too.
    pub(crate) async fn proven(&mut self, target: &dyn Target, at: Time) -> Outcome {
        let mut rounds = 0;
        loop {
            let outcome = self.say(target, Verb::ReadBack, at).await;
            if outcome.answer != (Answer::Seen { done: false, conclusive: false }) {
                return outcome;
            }
            rounds += 1;
            assert!(rounds < 100_000, "{outcome:?}");
        }
    }
}

pub(crate) fn seen(done: bool, conclusive: bool) -> Answer {
    Answer::Seen { done, conclusive }
}

async fn attacked(lab: &Lab) -> (Person, Access) {
    let alice = person("alice");
    let access = lab.sign_in(&alice, &attack::attacker()).await.unwrap();
    (alice, access)
}

#[tokio::test]
async fn a_session_is_alive_then_ended_then_verified() {
    let lab = Lab::start(Options::default()).await;
    let (alice, access) = attacked(&lab).await;
    let okta = target(&lab, lab.provider.token(), |_| {});
    assert_eq!(okta.check(now()).await, Ok(()));
    let mut order = Order::new(&alice, Action::EndSessions);
    let before = order.say(&okta, Verb::Probe, now()).await;
    assert!(
        matches!(before.answer, Answer::Before { alive: true, already: false, .. }),
        "{before:?}"
    );
    let executed = order.say(&okta, Verb::Execute, now()).await;
    assert_eq!(executed.answer, Answer::Accepted { already: false }, "{executed:?}");
    assert_eq!(executed.status, Some(204));
    let path = format!("/api/v1/users/{}/sessions?oauthTokens=true&forgetDevices=true", id(&alice));
    assert_eq!(executed.request, format!("DELETE {path}"));
    assert!(executed.vendor_request.is_some() && executed.response.is_some());
    // the answer is no proof: the provider is not done yet, and the log lags
    let sent = order.call.sent_at.unwrap();
    let early = order.say(&okta, Verb::ReadBack, sent).await;
    assert!(matches!(early.answer, Answer::Seen { done: false, .. }), "{early:?}");
    lab.until(&access, DEAD).await;
    let late = order.proven(&okta, sent.plus(4 * SECOND)).await;
    assert_eq!(late.answer, seen(true, true), "{late:?}");
    // the provider's own log names the order
    let effects = lab.provider.effects();
    assert_eq!(effects.len(), 1);
    assert!(effects[0].user_agent.contains(&order.call.order.to_string()), "{effects:?}");
    // no secret anywhere in what is kept
    let kept = serde_json::to_string(&[before, executed, late]).unwrap();
    assert!(!kept.contains(lab.provider.token()));
}

#[tokio::test]
async fn a_survivor_is_seen_and_the_repetition_ends_it() {
    let options = Options {
        effect_delay: Duration::from_millis(200),
        survives_in_flight: true,
        ..Options::default()
    };
    let lab = Lab::start(options).await;
    let (alice, first) = attacked(&lab).await;
    let okta = target(&lab, lab.provider.token(), |_| {});
    let mut order = Order::new(&alice, Action::EndSessions);
    order.say(&okta, Verb::Probe, now()).await;
    order.say(&okta, Verb::Execute, now()).await;
    // the attacker gets in between the answer and the effect
    let second = lab.sign_in(&alice, &attack::attacker()).await.unwrap();
    lab.until(&first, DEAD).await;
    let sent = order.call.sent_at.unwrap();
    let outcome = order.proven(&okta, sent.plus(4 * SECOND)).await;
    assert_eq!(outcome.answer, seen(false, true), "{outcome:?}");
    assert_eq!(lab.alive(&second).await, ALIVE);
    order.call.attempt = 2;
    order.say(&okta, Verb::Execute, now()).await;
    lab.until(&second, DEAD).await;
    let sent = order.call.sent_at.unwrap();
    let outcome = order.proven(&okta, sent.plus(4 * SECOND)).await;
    assert_eq!(outcome.answer, seen(true, true), "{outcome:?}");
}

#[tokio::test]
async fn without_a_positive_control_nothing_is_proven() {
    let lab = Lab::start(Options::default()).await;
    let dario = person("dario");
    let okta = target(&lab, lab.provider.token(), |_| {});
    let mut order = Order::new(&dario, Action::EndSessions);
    let before = order.say(&okta, Verb::Probe, now()).await;
    assert!(matches!(before.answer, Answer::Before { alive: false, already: false, .. }));
    order.say(&okta, Verb::Execute, now()).await;
    let sent = order.call.sent_at.unwrap();
    let outcome = order.proven(&okta, sent.plus(4 * SECOND)).await;
    assert_eq!(outcome.answer, seen(true, false), "{outcome:?}");
}

#[tokio::test]
async fn an_unreadable_log_proves_nothing() {
    let lab = Lab::start(Options::default()).await;
    let (alice, access) = attacked(&lab).await;
    let okta = target(&lab, lab.provider.token(), |_| {});
    let refused = Strike::Answer { status: 403, retry_after: None, after_effect: false };
    let injected = Injected { method: None, path: "/api/v1/logs".into(), times: 9, fault: refused };
    lab.provider.inject(injected).unwrap();
    let mut order = Order::new(&alice, Action::EndSessions);
    let before = order.say(&okta, Verb::Probe, now()).await;
    // the refresh token is listed all the same
    assert!(matches!(before.answer, Answer::Before { alive: true, .. }), "{before:?}");
    order.say(&okta, Verb::Execute, now()).await;
    lab.until(&access, DEAD).await;
    let sent = order.call.sent_at.unwrap();
    let outcome = order.say(&okta, Verb::ReadBack, sent.plus(4 * SECOND)).await;
    assert_eq!(outcome.answer, seen(true, false), "{outcome:?}");
    assert_eq!(okta.check(now()).await.unwrap_err().fault, Fault::NoPermission);
}

#[tokio::test]
async fn forced_reauthentication_ends_the_cookie_alone() {
    let lab = Lab::start(Options::default()).await;
    let (alice, access) = attacked(&lab).await;
    let okta = target(&lab, lab.provider.token(), |_| {});
    let mut order = Order::new(&alice, Action::ForceReauth);
    let mut rounds = 0;
    loop {
        // the log shows the sign-in after its lag
        let before = order.say(&okta, Verb::Probe, now()).await;
        if matches!(before.answer, Answer::Before { alive: true, .. }) {
            break;
        }
        rounds += 1;
        assert!(rounds < 100_000, "{before:?}");
    }
    order.say(&okta, Verb::Execute, now()).await;
    lab.until(&access, [false, true, true, true]).await;
    // signing in again is what was asked for
    lab.sign_in(&alice, &alice.usual).await.unwrap();
    let sent = order.call.sent_at.unwrap();
    let outcome = order.proven(&okta, sent.plus(4 * SECOND)).await;
    assert_eq!(outcome.answer, seen(true, true), "{outcome:?}");
}

#[tokio::test]
async fn suspended_then_lifted_and_the_block_alone_ends_nothing() {
    let lab = Lab::start(Options::default()).await;
    let (alice, access) = attacked(&lab).await;
    let okta = target(&lab, lab.provider.token(), |_| {});
    let mut order = Order::new(&alice, Action::Suspend);
    let before = order.say(&okta, Verb::Probe, now()).await;
    assert!(matches!(before.answer, Answer::Before { alive: true, already: false, .. }));
    let read = order.say(&okta, Verb::ReadBack, now()).await;
    assert_eq!(read.answer, seen(false, true));
    let executed = order.say(&okta, Verb::Execute, now()).await;
    assert_eq!(executed.answer, Answer::Accepted { already: false });
    assert_eq!(order.say(&okta, Verb::ReadBack, now()).await.answer, seen(true, true));
    assert_eq!(order.say(&okta, Verb::ReadBackUndo, now()).await.answer, seen(false, true));
    // the block alone ended nothing
    assert_eq!(lab.alive(&access).await, ALIVE);
    let undone = order.say(&okta, Verb::Undo, now()).await;
    assert_eq!(undone.answer, Answer::Accepted { already: false }, "{undone:?}");
    assert_eq!(order.say(&okta, Verb::ReadBackUndo, now()).await.answer, seen(true, true));
    assert_eq!(lab.alive(&access).await, ALIVE);
    assert_eq!(lab.provider.effects().len(), 2);
    let again = order.say(&okta, Verb::Undo, now()).await;
    assert_eq!(again.answer, Answer::Accepted { already: true });
}

#[tokio::test]
async fn stepped_up_then_taken_back_and_a_weak_sign_in_is_refused_in_between() {
    let lab = Lab::start(Options::default()).await;
    let alice = person("alice");
    let group = lab.provider.step_up_group().to_owned();
    let okta = target(&lab, lab.provider.token(), |config| config.step_up_group = Some(group));
    assert_eq!(okta.check(now()).await, Ok(()));
    let mut order = Order::new(&alice, Action::StepUp);
    let before = order.say(&okta, Verb::Probe, now()).await;
    assert!(matches!(before.answer, Answer::Before { alive: true, already: false, .. }));
    let executed = order.say(&okta, Verb::Execute, now()).await;
    assert_eq!(executed.answer, Answer::Accepted { already: false }, "{executed:?}");
    assert_eq!(order.say(&okta, Verb::ReadBack, now()).await.answer, seen(true, true));
    assert!(lab.sign_in(&alice, &alice.usual).await.is_err());
    // somebody who is in it already, by another order
    let mut second = Order::new(&alice, Action::StepUp);
    let before = second.say(&okta, Verb::Probe, now()).await;
    assert!(matches!(before.answer, Answer::Before { alive: false, already: true, .. }));
    let refused = Answer::Fault { fault: Fault::Precondition, retry_at: None };
    assert_eq!(second.say(&okta, Verb::Undo, now()).await.answer, refused);
    let undone = order.say(&okta, Verb::Undo, now()).await;
    assert_eq!(undone.answer, Answer::Accepted { already: false }, "{undone:?}");
    assert_eq!(order.say(&okta, Verb::ReadBackUndo, now()).await.answer, seen(true, true));
    assert!(lab.sign_in(&alice, &alice.usual).await.is_ok());
    assert_eq!(lab.provider.effects().len(), 2);
}

#[tokio::test]
async fn what_others_suspended_is_not_lifted() {
    let lab = Lab::start(Options::default()).await;
    let alice = person("alice");
    let path = format!("/api/v1/users/{}/lifecycle/suspend", id(&alice));
    lab.send(lab.http.post(lab.url(&path))).await;
    let okta = target(&lab, lab.provider.token(), |_| {});
    let mut order = Order::new(&alice, Action::Suspend);
    let before = order.say(&okta, Verb::Probe, now()).await;
    assert!(matches!(before.answer, Answer::Before { alive: false, already: true, .. }));
    let executed = order.say(&okta, Verb::Execute, now()).await;
    assert_eq!(executed.answer, Answer::Accepted { already: true }, "{executed:?}");
    let undone = order.say(&okta, Verb::Undo, now()).await;
    let refused = Answer::Fault { fault: Fault::Precondition, retry_at: None };
    assert_eq!((undone.answer, undone.sent_at), (refused, None));
    assert_eq!(lab.provider.effects().len(), 1);
}

#[tokio::test]
async fn refused_before_anything_is_sent() {
    let lab = Lab::start(Options::default()).await;
    let alice = person("alice");
    let protected = target(&lab, lab.provider.token(), |config| {
        config.protected.insert(id(&alice));
    });
    let check = async |order: &mut Order, okta: &Okta, verb, want: Fault, word: &str| {
        let outcome = order.say(okta, verb, now()).await;
        assert_eq!(outcome.answer, Answer::Fault { fault: want, retry_at: None });
        assert!(outcome.detail.contains(word), "{outcome:?}");
        assert_eq!((outcome.sent_at, outcome.request.as_str()), (None, ""));
    };
    let mut order = Order::new(&alice, Action::EndSessions);
    check(&mut order, &protected, Verb::Execute, Fault::Unsupported, "protected").await;
    let mut order = Order::new(&alice, Action::Suspend);
    check(&mut order, &protected, Verb::Undo, Fault::Unsupported, "protected").await;
    // reading is allowed
    assert!(matches!(
        order.say(&protected, Verb::Probe, now()).await.answer,
        Answer::Before { .. }
    ));
    let okta = target(&lab, lab.provider.token(), |_| {});
    let mut order = Order::new(&alice, Action::RotateCredential);
    check(&mut order, &okta, Verb::Execute, Fault::Unsupported, "cannot do").await;
    let mut order = Order::new(&alice, Action::EndSessions);
    check(&mut order, &okta, Verb::Undo, Fault::Unsupported, "no inverse").await;
    order.call.account.provider = "other".to_owned();
    check(&mut order, &okta, Verb::Execute, Fault::Unsupported, "no account").await;
    let mut order = Order::new(&alice, Action::EndSessions);
    for odd in ["", "..", "00u/../x", "00u%2f", "a b", "alice@example.com", "\" or id pr"] {
        order.call.account.id = odd.to_owned();
        check(&mut order, &okta, Verb::Execute, Fault::BadRequest, "no Okta user id").await;
    }
    assert!(lab.provider.effects().is_empty());
}

#[tokio::test]
async fn a_credential_that_may_only_read_is_told_apart() {
    let lab = Lab::start(Options::default()).await;
    let (alice, _) = attacked(&lab).await;
    let viewer = target(&lab, lab.provider.viewer_token(), |_| {});
    let mut order = Order::new(&alice, Action::EndSessions);
    let outcome = order.say(&viewer, Verb::Execute, now()).await;
    let refused = Answer::Fault { fault: Fault::NoPermission, retry_at: None };
    assert_eq!(outcome.answer, refused, "{outcome:?}");
    let wrong = target(&lab, "00wrong", |_| {});
    let outcome = order.say(&wrong, Verb::Probe, now()).await;
    let broken = Answer::Fault { fault: Fault::AuthBroken, retry_at: None };
    assert_eq!(outcome.answer, broken, "{outcome:?}");
    assert!(lab.provider.effects().is_empty());
}
