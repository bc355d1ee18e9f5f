//! What a verified containment means for signals before and after it (DESIGN.md, section 5):
//! earlier ones anchor nothing new and are never lost from sight; a repeat within a day asks for
//! the next tier by approval, never for the same step.

use std::cell::Cell;

use expect_test::expect;
use proptest::prelude::*;
use quell_core::action::Tier;
use quell_core::effect::{CallId, Effect, Input};
use quell_core::engine::{Config, Engine};
use quell_core::finding::Finding;
use quell_core::order::{Answer, Repeat, State, Verb};
use quell_core::signal::{Kind, Matched, Use};
use quell_core::time::{DAY, HOUR, MINUTE, SECOND, Time};

use super::closed::Scene;
use super::company::*;
use super::drive::*;

/// Findings in force and what is on record only, with the minutes of what they cite.
fn stands(engine: &Engine) -> String {
    let line = |mark: &str, f: &Finding| {
        let minute = |t: Time| (t.0 - T0).div_euclid(MINUTE);
        let cited: Vec<String> = f.signals.iter().map(|c| minute(c.at).to_string()).collect();
        let (tier, anchor) = (f.tier, minute(f.first_at));
        format!("{mark} {}: {tier}, anchor {anchor} of {}", f.title, cited.join(" "))
    };
    let mut all: Vec<String> = engine.findings().map(|f| line("in force", f)).collect();
    all.extend(engine.contained().map(|f| line("contained", f)));
    all.sort();
    all.join("\n")
}

fn leaked(minute: i64) -> Sig {
    Sig::new("okta", Kind::CredentialLeaked, "carol@example.com", T0 + minute * MINUTE)
}

/// Carol's credential is used at minute 6; her sessions end at minute 10.
fn contained(config: &Config) -> Scene {
    let mut scene = Scene::new(config);
    scene.at(10 * MINUTE).sig(config, &leaked(6)).work();
    scene
}

#[test]
fn what_led_to_a_containment_stays_in_force() {
    let config = shipped();
    let scene = contained(config);
    let mut all = scene.engine.containments();
    let (identity, one) = all.next().unwrap();
    assert_eq!(
        (identity, one.before, one.group),
        (idn("carol"), Time(T0 + 10 * MINUTE), Tier::Contain)
    );
    assert!(all.next().is_none());
    expect!["in force Breached credential used at a sign-in: contain, anchor 6 of 6"]
        .assert_eq(&stands(&scene.engine));
}

#[test]
fn a_late_verdict_about_the_time_before_is_on_record_and_asks_for_nothing() {
    let config = shipped();
    let mut scene = contained(config);
    let late = leaked(7).matched(config);
    let now = Time(T0 + 20 * MINUTE);
    let effects = scene.engine.step(now, &signals(vec![late.clone()]));
    let kinds: Vec<&str> = effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Record { kind, .. } => Some(*kind),
            _ => None,
        })
        .collect();
    expect!["finding_contained"].assert_eq(&kinds.join(" "));
    expect![[r#"
        contained Breached credential used at a sign-in: contain, anchor 7 of 7
        in force Breached credential used at a sign-in: contain, anchor 6 of 6"#]]
    .assert_eq(&stands(&scene.engine));
    // It is told once, stands in the case, and gives no order.
    assert!(scene.engine.step(now, &signals(vec![late])).is_empty());
    let case = scene.engine.cases().next().unwrap();
    assert_eq!(case.findings.len(), 2);
    scene.is(expect![[r#"
        000h end_sessions okta:00u3: verified (the read-back agrees, and it saw the state before)
        pages: "#]]);
}

#[test]
fn a_late_verdict_that_asks_for_more_than_was_done_pages() {
    let text = [detection(1, "changed", &[Kind::MfaMethodAdded]) + &ask(Tier::Evict, 90)].join("");
    let mut files = SHIPPED.to_vec();
    files.push(("evict.yml", &text));
    let config = config(rules(&files), policy(&armed_files()));
    let mut scene = contained(&config);
    let added =
        |minute| Sig::new("okta", Kind::MfaMethodAdded, "carol@example.com", T0 + minute * MINUTE);
    scene.at(20 * MINUTE).sig(&config, &added(9)).work();
    scene.is(expect![[r#"
        000h end_sessions okta:00u3: verified (the read-back agrees, and it saw the state before)
        pages: contained_before"#]]);
    // What happens after the containment asks for it.
    scene.at(31 * MINUTE).sig(&config, &added(30)).work();
    scene.is(expect![[r#"
        000h end_sessions okta:00u3: verified (the read-back agrees, and it saw the state before)
        000h suspend okta:00u3: awaiting_approval (evict-high-value-access ask for 2 approval(s))
        pages: contained_before attacked_again approval_needed"#]]);
}

#[test]
fn an_undone_signal_that_led_to_it_comes_back_as_it_was() {
    let config = shipped();
    let mut scene = contained(config);
    let led = leaked(6).matched(config);
    let gone = |written: i64, kind: Kind| {
        let mut sig = leaked(6);
        (sig.written, sig.kind) = (T0 + written * MINUTE, kind);
        let mut matched = sig.matched(config);
        let signal = std::sync::Arc::make_mut(&mut matched.signal);
        signal.record_key.clone_from(&led.signal.record_key);
        matched
    };
    // A greater revision of the record says something harmless, and a still greater one what the
    // first one said.
    scene.at(20 * MINUTE).tell(signals(vec![gone(11, Kind::MessageRemoved)]));
    expect![""].assert_eq(&stands(&scene.engine));
    scene.tell(signals(vec![gone(12, Kind::CredentialLeaked)]));
    expect!["in force Breached credential used at a sign-in: contain, anchor 6 of 6"]
        .assert_eq(&stands(&scene.engine));
}

#[test]
fn an_earlier_signal_is_cited_but_the_anchor_lies_after_the_containment() {
    let config = shipped();
    let who = "carol@example.com";
    let mut scene = Scene::new(config);
    let mut history = story(who);
    let (sign_in, click) = (history.pop().unwrap(), history.pop().unwrap());
    scene.at(0).tell(told(config, &history));
    scene.at(MINUTE).sig(config, &leaked(1)).work();
    // The click happened before the containment, the sign-in after it.
    scene.at(6 * MINUTE).sig(config, &sign_in).sig(config, &click).work();
    expect![[r#"
        in force Breached credential used at a sign-in: contain, anchor 1 of 1
        in force Phishing click followed by a sign-in from a new network and device: contain, anchor 5 of 0 5"#]]
    .assert_eq(&stands(&scene.engine));
    scene.is(expect![[r#"
        000h end_sessions okta:00u3: verified (the read-back agrees, and it saw the state before)
        000h suspend okta:00u3: awaiting_approval (the same person is attacked again after a verified containment: 2 approval(s) needed)
        pages: approval_needed"#]]);
}

#[test]
fn a_repeat_within_a_day_asks_for_the_next_tier_and_after_it_for_the_same_step() {
    let config = shipped();
    for minute in [11, 24 * 60 + 10] {
        let mut scene = contained(config);
        scene.at(minute * MINUTE + SECOND).sig(config, &leaked(minute)).work();
        let lines = scene.show();
        assert_eq!(lines.matches("end_sessions").count(), 1, "{lines}");
        assert!(lines.contains("suspend okta:00u3: awaiting_approval"), "{lines}");
    }
    let mut scene = contained(config);
    let minute = 24 * 60 + 12;
    scene.at(minute * MINUTE).sig(config, &leaked(minute)).work();
    scene.is(expect![[r#"
        000h end_sessions okta:00u3: verified (the read-back agrees, and it saw the state before)
        024h end_sessions okta:00u3: verified (the read-back agrees, and it saw the state before)
        pages: "#]]);
}

#[test]
fn a_repeat_in_another_case_does_not_repeat_the_step_either() {
    let files = edited(armed_files(), "limits.toml", "case_gap_hours = 72", "case_gap_hours = 1");
    let config = config(rules(&SHIPPED), policy(&files));
    let mut scene = contained(&config);
    scene.at(5 * HOUR).sig(&config, &leaked(4 * 60)).work();
    assert_eq!(scene.engine.cases().count(), 2);
    scene.is(expect![[r#"
        000h end_sessions okta:00u3: verified (the read-back agrees, and it saw the state before)
        005h suspend okta:00u3: awaiting_approval (the same person is attacked again after a verified containment: 2 approval(s) needed)
        pages: approval_needed"#]]);
}

#[test]
fn a_repeat_while_the_call_is_on_its_way_is_not_lost() {
    let config = shipped();
    let mut scene = Scene::new(config);
    scene.at(10 * MINUTE).sig(config, &leaked(6)).work();
    let order =
        scene.engine.orders().find(|o| o.state == State::Verified && o.claimed_at.is_some());
    let (called, verified) = order.map(|o| (o.claimed_at, o.verified_at)).unwrap();
    let between = called.unwrap().plus(SECOND / 2);
    assert!(Some(between) < verified);
    let mut sig = leaked(0);
    (sig.t, sig.key) = (between.0, "between".to_owned());
    scene.at(11 * MINUTE).sig(config, &sig).work();
    assert!(scene.show().contains("suspend okta:00u3: awaiting_approval"), "{}", scene.show());
}

/// One account that nobody closed keeps the identity open.
#[test]
fn an_identity_is_contained_when_each_of_its_accounts_is() {
    let config = shipped();
    let mut scene = Scene::new(config);
    scene.at(6 * MINUTE).story(config, "alice");
    let mut calls = scene.outbox.clone();
    let mut seen = Vec::new();
    while let Some(call) = calls.pop() {
        scene.outbox = vec![call];
        scene.now = scene.now.plus(MINUTE);
        scene.work();
        seen.push(scene.engine.containments().map(|(_, c)| c.orders.len()).collect::<Vec<_>>());
    }
    assert_eq!(seen, [vec![], vec![2]]);
    let before = scene.engine.containments().map(|(_, c)| c.before).next().unwrap();
    let claims = scene.engine.orders().filter_map(|order| order.claimed_at);
    assert_eq!(Some(before), claims.min());
    // A provider that no target speaks to leaves it open.
    let mut bare = config.clone();
    bare.capabilities.remove("oidc");
    let mut scene = Scene::new(&bare);
    scene.at(6 * MINUTE).story(&bare, "alice").work();
    assert_eq!(scene.engine.containments().count(), 0);
}

/// The read-back agrees, but nothing was seen alive before.
#[test]
fn what_is_not_proved_contains_nobody() {
    let config = shipped();
    let mut scene = Scene::new(config);
    scene.at(10 * MINUTE).sig(config, &leaked(6));
    while let Some(call) = scene.outbox.pop() {
        scene.now = scene.now.max(call.due);
        let id = CallId { order: call.order, verb: call.verb, attempt: call.attempt };
        if call.verb == Verb::Execute {
            scene.tell(Input::Claim(id));
        }
        let answer = match call.verb {
            Verb::Probe => Answer::Before { alive: false, already: false, snapshot: None },
            Verb::Execute => Answer::Accepted { already: false },
            _ => Answer::Seen { done: true, conclusive: true },
        };
        let input = outcome(&call, answer, scene.now);
        scene.tell(input);
    }
    assert!(scene.engine.orders().any(|order| order.state == State::NotProvable));
    assert_eq!(scene.engine.containments().count(), 0);
}

/// Containments that come about midway, wherever the signals stand in the order of arrival: an
/// engine that is given them first, and then the same signals in another order, finds the same.
#[test]
fn the_law_holds_for_containments_that_come_about() {
    let (cases, some, late) = (Cell::new(0), Cell::new(0), Cell::new(0));
    let mut runner = runner(400);
    let result = runner.run(&any::<u64>(), |seed| {
        let config = with_target(shipped(), Repeat::AfterReadBack, true);
        let mut driver = Driver::new(config.clone(), seed);
        driver.crashes = seed % 2 == 0;
        // What people dismissed is no containment.
        driver.closings = false;
        for _ in 0..250 {
            driver.anything();
        }
        // Records that come late, of times before and after.
        let mut dice = Dice::new(seed);
        let minutes = usize::try_from(driver.now.since(Time(T0)) / MINUTE).unwrap();
        for n in 0..6 {
            let who = ["alice@example.com", "bob@example.com", "carol@example.com"];
            let t = T0 + i64::try_from(dice.below(minutes)).unwrap() * MINUTE;
            let kinds = [Kind::CredentialLeaked, Kind::CredentialLeaked, Kind::UrlClick];
            let mut late = Sig::new("okta", *dice.pick(&kinds), dice.pick::<&str>(&who), t).at(1);
            late.key = format!("late-{n}");
            driver.step(signals(vec![late.matched(&config)]));
        }
        let mut all: Vec<Matched> = Vec::new();
        for (_, input, _) in &driver.log {
            if let Input::Signals(intake) = input {
                all.extend(intake.matched.iter().cloned());
            }
        }
        dice.shuffle(&mut all);
        let mut other = Engine::new(config);
        other.step(driver.now, &import(company()));
        for (identity, one) in driver.engine.containments() {
            other.assume(identity, one.clone());
        }
        for some in all.chunks(1 + dice.below(9)) {
            other.step(driver.now, &signals(some.to_vec()));
        }
        let list = |engine: &Engine| -> Vec<Finding> {
            engine.findings().chain(engine.contained()).cloned().collect()
        };
        prop_assert_eq!(list(&driver.engine), list(&other));
        cases.set(cases.get() + 1);
        some.set(some.get() + usize::from(driver.engine.containments().count() > 0));
        late.set(late.get() + usize::from(driver.engine.contained().count() > 0));
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
    let (cases, some, late) = (cases.get(), some.get(), late.get());
    assert!(some * 8 > cases, "{some} of {cases} stories contain somebody");
    assert!(late * 20 > cases, "{late} of {cases} stories have something contained");
}

/// A containment bars anchors, not what is known of a person.
#[test]
fn a_fact_before_a_containment_is_still_history() {
    let config = shipped();
    let mut scene = contained(config);
    for n in 0..12 {
        let usual = Sig::new("okta", Kind::SignIn, "carol@example.com", T0 - n * HOUR).at(1);
        scene.at(20 * MINUTE).sig(config, &usual.usage(Use::Fact));
    }
    let who = "carol@example.com";
    let click = Sig::new("proofpoint_tap", Kind::UrlClick, who, T0 + DAY).at(1);
    scene.at(DAY + MINUTE).sig(config, &click.threat(1)).work();
    let sure = scene.engine.findings().find(|f| f.title.contains("click")).unwrap();
    assert!(!sure.cold && sure.tier == Tier::Challenge, "{sure:?}");
}
