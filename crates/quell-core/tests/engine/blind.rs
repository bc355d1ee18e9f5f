//! A source that may have missed something: what needs it goes to a person, and comes back to
//! authority alone when the source is well again.

use expect_test::expect;
use quell_core::action::Action;
use quell_core::effect::Input;
use quell_core::signal::{Kind, Use};
use quell_core::time::SECOND;

use super::closed::Scene;
use super::company::*;

/// A word of `by` about a source.
fn word(by: &'static str, about: &str, state: &str, blind: &str, t: i64) -> Input {
    let mut signal = Sig::new(by, Kind::SourceDegraded, "", T0 + t).usage(Use::Fact).signal();
    signal.about.clear();
    let pairs = [("source", about), ("state", state), ("blind", blind), ("why", "silent")];
    signal.attributes = pairs.map(|(name, text)| (name.to_owned(), text.to_owned())).into();
    let rules = Vec::new();
    signals(vec![quell_core::signal::Matched { signal: signal.into(), rules }])
}

/// The end of sessions after these words, and what was said.
fn check(words: &[Input]) -> String {
    let config = shipped();
    let mut scene = Scene::new(config);
    scene.at(-SECOND);
    words.iter().for_each(|word| scene.tell(word.clone()));
    scene.at(0).story(config, "alice");
    let order = scene.order(Action::EndSessions);
    let order = scene.engine.order(order).unwrap();
    format!("{}: {}", order.state, order.reason)
}

#[test]
fn what_a_finding_needs_must_have_been_heard() {
    let down = || word("quell", "okta", "degraded", "true", -10);
    let told = [
        ("the source of the sign-ins", check(&[down()])),
        (
            "the source of the click",
            check(&[word("quell", "proofpoint_tap", "degraded", "true", -10)]),
        ),
        ("another source", check(&[word("quell", "entra_id", "degraded", "true", -10)])),
        ("strangers in its name", check(&[word("quell", "okta", "degraded", "false", -10)])),
        ("a source about another", check(&[word("entra_id", "okta", "degraded", "true", -10)])),
        ("well again", check(&[down(), word("quell", "okta", "well", "false", -5)])),
        ("in the other order", check(&[word("quell", "okta", "well", "false", -5), down()])),
    ];
    let lines: Vec<String> = told.iter().map(|(what, is)| format!("{what}: {is}")).collect();
    expect![[r#"
        the source of the sign-ins: awaiting_approval: blind(okta): it may have missed something: 1 approval(s) needed
        the source of the click: awaiting_approval: blind(proofpoint_tap): it may have missed something: 1 approval(s) needed
        another source: permitted: permitted by contain-access, contain-click
        strangers in its name: permitted: permitted by contain-access, contain-click
        a source about another: permitted: permitted by contain-access, contain-click
        well again: permitted: permitted by contain-access, contain-click
        in the other order: permitted: permitted by contain-access, contain-click"#]].assert_eq(&lines.join("\n"));
}

#[test]
fn well_again_lets_what_waited_go() {
    let config = shipped();
    let mut scene = Scene::new(config);
    scene.at(-SECOND);
    scene.tell(word("quell", "okta", "degraded", "true", -10));
    scene.at(0).story(config, "alice");
    let order = scene.order(Action::EndSessions);
    let before = scene.engine.order(order).unwrap().state;
    scene.at(30 * SECOND);
    scene.tell(word("quell", "okta", "well", "false", 20 * SECOND));
    let after = scene.engine.order(order).unwrap().state;
    expect!["awaiting_approval, then permitted"].assert_eq(&format!("{before}, then {after}"));
}
