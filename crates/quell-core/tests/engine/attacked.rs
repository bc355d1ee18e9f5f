//! Ways in which somebody tried to make the engine do, hide or undo what he may not; one scenario
//! each, as people would see it.

use expect_test::expect;
use quell_core::action::Action;
use quell_core::effect::{Input, TakeBack};
use quell_core::engine::Config;
use quell_core::identity::{Class, Identity};
use quell_core::order::{Answer, Verb};
use quell_core::signal::Kind;
use quell_core::time::{HOUR, MINUTE};

use super::closed::{Scene, own, with};
use super::company::*;

/// The company in which one more identity lists an account.
fn listed_twice(at: &str, account: &str) -> Vec<Identity> {
    let mut people = company();
    let mut other = person("other", &[account], &[]);
    let who = people.iter_mut().find(|who| who.key == at).unwrap();
    who.accounts.append(&mut other.accounts);
    people
}

/// An administrator whose suspension was approved and is verified.
fn suspended() -> Scene {
    let config = shipped();
    let mut scene = Scene::new(config);
    scene.at(6 * MINUTE).story(config, "bob").work();
    scene.reply(Action::Suspend, "officer", true);
    scene.work();
    scene
}

fn shadow() -> Config {
    with(&edited(armed_files(), "armed.toml", "mode = \"armed\"", "mode = \"shadow\""))
}

#[test]
fn a_break_glass_account_at_another_identity() {
    let config = shipped();
    let mut scene = Scene::of(config, listed_twice("alice", "okta:00u9"));
    scene.at(6 * MINUTE).story(config, "alice").work();
    scene.is(expect![[r#"
        000h end_sessions oidc:alice: verified (the read-back agrees, and it saw the state before)
        000h end_sessions okta:00u1: verified (the read-back agrees, and it saw the state before)
        000h end_sessions okta:00u9: refused (`okta:00u9` is a break-glass account: never acted on)
        pages: break_glass"#]]);
}

#[test]
fn an_account_at_two_identities() {
    let config = shipped();
    let mut scene = Scene::of(config, listed_twice("alice", "okta:00u3"));
    scene.at(6 * MINUTE).story(config, "alice").work();
    scene.is(expect![[r#"
        000h end_sessions oidc:alice: verified (the read-back agrees, and it saw the state before)
        000h end_sessions okta:00u1: verified (the read-back agrees, and it saw the state before)
        000h end_sessions okta:00u3: manual (`okta:00u3` stands at several identities: a person must look)
        pages: order_needs_people"#]]);
}

#[test]
fn shadow_mode_comes_before_the_call_leaves() {
    let mut scene = Scene::new(shipped());
    scene.at(6 * MINUTE).story(shipped(), "carol");
    scene.engine.configure(shadow());
    scene.work();
    scene.is(expect![[r#"
        000h end_sessions okta:00u3: shadowed (`okta` is not armed for `end_sessions`: nothing is sent)
        pages: "#]]);
}

#[test]
fn a_class_that_needs_more_approvals_comes_after_the_approval() {
    let config = shipped();
    let mut scene = Scene::new(config);
    scene.at(6 * MINUTE).story(config, "bob").work();
    scene.reply(Action::Suspend, "officer", true);
    let mut people = company();
    let bob = people.iter_mut().find(|who| who.key == "bob").unwrap();
    bob.classes.insert(Class::HighValue);
    scene.tell(import(people));
    scene.work();
    scene.is(expect![[r#"
        000h end_sessions okta:00u2: verified (the read-back agrees, and it saw the state before)
        000h suspend okta:00u2: awaiting_approval (evict-high-value-access, evict-high-value-click, evict-person-access, evict-person-click ask for 2 approval(s))
        pages: approval_needed"#]]);
}

#[test]
fn a_failed_sign_in_at_our_own_login() {
    let mut scene = Scene::new(shipped());
    scene.at(6 * MINUTE).tell(own(Kind::SignInFailed, "okta:00u5", 5 * MINUTE));
    assert!(scene.engine.freeze().is_none());
    scene.is(expect!["pages: "]);
    // somebody is in: that is another matter
    scene.tell(own(Kind::SignIn, "okta:00u5", 6 * MINUTE));
    assert!(scene.engine.freeze().is_some());
}

#[test]
fn our_own_audit_event_is_no_positive_control() {
    let config = shipped();
    let mut scene = Scene::new(config);
    scene.at(6 * MINUTE).story(config, "carol");
    let probe = scene.outbox.remove(0);
    assert_eq!(probe.verb, Verb::Probe);
    let dead = Answer::Before { alive: false, already: false, snapshot: None };
    let told = outcome(&probe, dead, scene.now);
    scene.tell(told);
    scene.work();
    scene.tell(own(Kind::SessionRevoked, "okta:00u3", 6 * MINUTE));
    scene.is(expect![[r#"
        000h end_sessions okta:00u3: not_provable (the read-back agrees, but the same probe did not see it alive before)
        pages: "#]]);
}

#[test]
fn a_block_that_somebody_lifts_with_our_credential() {
    let mut scene = suspended();
    scene.tell(own(Kind::AccountEnabled, "okta:00u2", 7 * MINUTE));
    assert!(scene.engine.freeze().is_some());
    scene.is(expect![[r#"
        000h end_sessions okta:00u2: verified (the read-back agrees, and it saw the state before)
        000h suspend okta:00u2: verified (the read-back agrees, and it saw the state before)
        pages: approval_needed own_credential_misuse"#]]);
}

#[test]
fn the_suspended_lifts_his_own_suspension() {
    let mut scene = suspended();
    let order = scene.order(Action::Suspend);
    let mut said = String::new();
    for by in ["bob@example.com", "okta:00u2", "00u2", "bob"] {
        let back = TakeBack { order, by: by.to_owned(), why: "it was me".to_owned() };
        let unfit = scene.engine.unfit_undo(&back).unwrap_or_else(|| "counts".to_owned());
        said.push_str(&format!("{by}: {unfit}\n"));
        scene.at(HOUR).tell(Input::TakeBack(back));
    }
    expect![[r#"
        bob@example.com: nobody decides on himself
        okta:00u2: nobody decides on himself
        00u2: nobody decides on himself
        bob: nobody decides on himself
    "#]]
    .assert_eq(&said);
    scene.work();
    scene.is(expect![[r#"
        000h end_sessions okta:00u2: verified (the read-back agrees, and it saw the state before)
        000h suspend okta:00u2: verified (the read-back agrees, and it saw the state before)
        pages: approval_needed"#]]);
}

/// A probe that the provider puts off must not hold up the act.
#[test]
fn a_provider_that_throttles_the_look_before_the_act() {
    use quell_core::order::Fault;
    let config = shipped();
    let mut scene = Scene::new(config);
    scene.at(6 * MINUTE).story(config, "carol");
    let probe = scene.outbox.remove(0);
    let retry_at = Some(scene.now.plus(HOUR));
    let told = outcome(&probe, Answer::Fault { fault: Fault::Throttled, retry_at }, scene.now);
    scene.tell(told);
    let next = scene.outbox.first().unwrap();
    assert_eq!((next.verb, next.due), (Verb::Execute, scene.now));
    scene.work();
    scene.is(expect![[r#"
        000h end_sessions okta:00u3: not_provable (the read-back agrees, but the same probe did not see it alive before)
        pages: "#]]);
}

/// The end of sessions before an undo is the undo's own, whoever else asks for it meanwhile.
#[test]
fn a_finding_joins_the_end_before_an_undo() {
    let config = shipped();
    let mut scene = suspended();
    let order = scene.order(Action::Suspend);
    let (by, why) = ("officer".to_owned(), "cleared".to_owned());
    scene.at(30 * HOUR).tell(Input::TakeBack(TakeBack { order, by, why }));
    let leaked = Sig::new("okta", Kind::CredentialLeaked, "bob@example.com", T0 + 30 * HOUR);
    scene.sig(config, &leaked).freeze(true, None).work();
    scene.is(expect![[r#"
        000h end_sessions okta:00u2: verified (the read-back agrees, and it saw the state before)
        000h suspend okta:00u2: undone (the read-back finds access restored)
        030h end_sessions okta:00u2: verified (the read-back agrees, and it saw the state before)
        pages: approval_needed"#]]);
}
