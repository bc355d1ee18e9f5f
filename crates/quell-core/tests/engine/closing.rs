//! Closing cases: what an analyst's word withdraws, and what is learned from it.

use expect_test::{Expect, expect};
use quell_core::case::{CaseState, Disposition};
use quell_core::effect::{Closing, Effect, Input};
use quell_core::engine::Engine;
use quell_core::id::CaseId;
use quell_core::signal::Kind;
use quell_core::time::{DAY, HOUR, MINUTE, Time};

use super::closed::Scene;
use super::company::*;
use super::drive::Store;

fn close(scene: &mut Scene, case: CaseId, disposition: Disposition, by: &str) -> Vec<String> {
    let (by, why) = (by.to_owned(), "looked at".to_owned());
    let input = Input::Close(Closing { case, disposition, by, why });
    let effects = scene.engine.step(scene.now, &input);
    scene.pages.extend(pages(&effects));
    let told = effects.iter().filter_map(|effect| match effect {
        Effect::Record { kind, .. } => Some((*kind).to_owned()),
        _ => None,
    });
    told.collect()
}

fn case_of(engine: &Engine) -> CaseId {
    engine.cases().filter(|case| case.is_live()).map(|case| case.id).next().unwrap()
}

/// A contained person's case, closed in this way; then what is in force and what was said.
fn check(disposition: Disposition, want: &Expect) {
    let config = shipped();
    let mut scene = Scene::new(config);
    scene.at(0).story(config, "alice").work();
    let case = case_of(&scene.engine);
    scene.pages.clear();
    let mut told = close(&mut scene, case, disposition, "officer");
    told.retain(|kind| kind != "page");
    // What belongs to the episode and comes late opens nothing again.
    scene.story(config, "alice").tick();
    let live = scene.engine.cases().filter(|case| case.is_live()).count();
    let state = scene.engine.cases().find(|known| known.id == case).unwrap();
    assert_eq!((state.state, state.disposition), (CaseState::Closed, Some(disposition)));
    let findings = scene.engine.findings().count();
    let pages = scene.pages.join(" ");
    let text =
        format!("{}\nfindings {findings}, live cases {live}, pages: {pages}", told.join(" "));
    want.assert_eq(&text);
}

#[test]
fn a_false_case_withdraws_what_it_cites_and_proposes_the_undo() {
    check(
        Disposition::False,
        &expect![[r#"
        case_closed finding_withdrawn order
        findings 0, live cases 0, pages: "#]],
    );
    check(
        Disposition::Benign,
        &expect![[r#"
        case_closed finding_withdrawn order
        findings 0, live cases 0, pages: "#]],
    );
}

#[test]
fn a_true_case_keeps_its_findings_and_is_over() {
    check(
        Disposition::True,
        &expect![[r#"
        case_closed order
        findings 1, live cases 0, pages: "#]],
    );
    check(
        Disposition::Unsure,
        &expect![[r#"
        case_closed order
        findings 1, live cases 0, pages: "#]],
    );
}

#[test]
fn a_new_attack_after_a_false_case_is_another_case() {
    let config = shipped();
    let mut scene = Scene::new(config);
    scene.at(0).story(config, "alice").work();
    let case = case_of(&scene.engine);
    close(&mut scene, case, Disposition::False, "officer");
    assert_eq!(scene.engine.findings().count(), 0);
    scene.at(6 * HOUR);
    let again: Vec<Sig> = story("alice@example.com")
        .into_iter()
        .map(|sig| Sig { t: sig.t + 6 * HOUR, key: format!("{}-again", sig.key), ..sig })
        // From where nobody has called the person familiar yet.
        .map(|sig| if sig.place == 7 { sig.at(9) } else { sig })
        .collect();
    scene.tell(told(config, &again));
    assert!(scene.engine.findings().count() > 0);
    assert_eq!(scene.engine.cases().filter(|case| case.is_live()).count(), 1);
}

#[test]
fn who_may_not_close_changes_nothing() {
    let config = shipped();
    let mut scene = Scene::new(config);
    scene.at(0).story(config, "alice");
    let case = case_of(&scene.engine);
    let mut refused = |case: CaseId, by: &str| {
        let (by, why) = (by.to_owned(), String::new());
        let closing = Closing { case, disposition: Disposition::False, by, why };
        let why = scene.engine.unfit_to_close(&closing);
        let told = close(&mut scene, case, Disposition::False, &closing.by);
        format!("{}: {}", why.unwrap_or_default(), told.join(" "))
    };
    let himself = refused(case, "alice@example.com");
    let nobody = refused(CaseId([7; 16]), "officer");
    expect![[r#"
        nobody decides on himself: case_close_refused
        there is no case `cas_a4dqobyha4dqobyha4dqobyha4`: case_close_refused"#]]
    .assert_eq(&format!("{himself}\n{nobody}"));
    assert!(scene.engine.findings().count() > 0);
}

/// Twenty closed cases make a figure, which survives a restart; it may lower authority alone.
#[test]
fn precision_lowers_authority_and_never_raises_it() {
    let raising = r#"
@id("if-precise") @reason("a source that was mostly right may block at once")
permit (principal == Source::"okta", action == Action::"suspend", resource in Class::"human")
when { context.kind == "credential_leaked" && context has precision && context.precision >= 0 };
"#;
    let mut files = armed_files();
    files.0.insert("raising.cedar".to_owned(), raising.to_owned());
    let config = config(shipped().rules.clone(), policy(&files));
    let mut scene = Scene::new(&config);
    let mut store = Store::default();
    let ask = |scene: &mut Scene, store: &mut Store, n: i64, as_true: bool| {
        scene.at(n * DAY);
        let t = T0 + n * DAY - MINUTE;
        let sig = Sig::new("okta", Kind::CredentialLeaked, "alice@example.com", t);
        let input = signals(vec![sig.matched(&config)]);
        let effects = scene.engine.step(scene.now, &input);
        store.commit(scene.now, &input, &effects);
        let case = case_of(&scene.engine);
        let mut steps: Vec<String> = scene
            .engine
            .plan()
            .iter()
            .filter(|row| row.action.group() > quell_core::action::Tier::Observe)
            .map(|row| format!("{} {}", row.action, serde_json::to_value(row).unwrap()["decision"]))
            .collect();
        let disposition = if as_true { Disposition::True } else { Disposition::False };
        let (by, why) = ("officer".to_owned(), String::new());
        let input = Input::Close(Closing { case, disposition, by, why });
        let effects = scene.engine.step(scene.now, &input);
        store.commit(scene.now, &input, &effects);
        steps.dedup();
        steps.join(", ")
    };
    let first = ask(&mut scene, &mut store, 0, false);
    for n in 1..20 {
        ask(&mut scene, &mut store, n, n % 4 == 0);
    }
    let last = ask(&mut scene, &mut store, 20, true);
    let all: Vec<String> = scene
        .engine
        .precision()
        .all(Time(T0 + 20 * DAY))
        .map(|(source, kind, known)| {
            format!("{source} {kind} {}% of {}", known.percent, known.cases)
        })
        .collect();
    expect![[r#"
        end_sessions "autonomous"
        end_sessions "approval"
        okta credential_leaked 23% of 21"#]]
    .assert_eq(&format!("{first}\n{last}\n{}", all.join("\n")));
    let again = store.load(&config);
    assert_eq!(again.precision(), scene.engine.precision());
}
