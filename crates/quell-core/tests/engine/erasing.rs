//! Forgetting a person: what the state keeps of the closing of his cases, and of what findings
//! about others agree in.

use std::collections::BTreeMap;

use expect_test::expect;
use quell_core::case::Disposition;
use quell_core::effect::{Closing, Effect, Input};
use quell_core::engine::Engine;
use quell_core::erase::Erase;
use quell_core::signal::Kind;
use quell_core::time::{DAY, MINUTE, Time};
use serde_json::{Value, json};

use super::company::*;

/// The rows of the state, by table and key.
type Rows = BTreeMap<(String, String), Vec<u8>>;

fn step(engine: &mut Engine, rows: &mut Rows, at: i64, input: &Input) -> Vec<&'static str> {
    let mut told = Vec::new();
    for effect in engine.step(Time(T0 + at), input) {
        match effect {
            Effect::Put { table, key, value } => drop(rows.insert((table.to_owned(), key), value)),
            Effect::Delete { table, key } => drop(rows.remove(&(table.to_owned(), key))),
            Effect::Record { kind, .. } => told.push(kind),
            _ => {}
        }
    }
    told
}

/// Two people whose cases were closed as false: of the one who is forgotten no row stays that
/// says which of his signals were withdrawn.
#[test]
fn what_was_withdrawn_of_him_goes_and_that_of_others_stays() {
    let config = shipped();
    let (mut engine, mut rows) = (Engine::new(config.clone()), Rows::new());
    step(&mut engine, &mut rows, -MINUTE, &import(company()));
    for who in ["alice@example.com", "bob@example.com"] {
        let leaked = Sig::new("okta", Kind::CredentialLeaked, who, T0);
        step(&mut engine, &mut rows, 0, &signals(vec![leaked.matched(config)]));
    }
    let cases: Vec<_> = engine.cases().map(|case| case.id).collect();
    for case in cases {
        let (by, why) = ("officer".to_owned(), "looked at".to_owned());
        let closing = Closing { case, disposition: Disposition::False, by, why };
        step(&mut engine, &mut rows, MINUTE, &Input::Close(closing));
    }
    let kept = |rows: &Rows| {
        let of = |table: &str| rows.keys().filter(|(known, _)| known == table).count();
        format!("{} dismissed, {} cases, {} days", of("dismissed"), of("case"), of("precision"))
    };
    let before = kept(&rows);
    let (by, why) = ("officer".to_owned(), "asked on paper".to_owned());
    let ask = Erase { identity: idn("alice"), by, why, force: false, done: None };
    let told = step(&mut engine, &mut rows, 2 * MINUTE, &Input::Erase(ask));
    expect![[r#"
        2 dismissed, 2 cases, 1 days
        erasure_asked
        1 dismissed, 1 cases, 1 days"#]]
    .assert_eq(&format!("{before}\n{}\n{}", told.join(" "), kept(&rows)));
    // Another life knows the same: his signal is none of ours, that of the other counts no more.
    let all = rows.iter();
    let all = all.map(|((table, key), value)| (table.as_str(), key.as_str(), &**value));
    let mut again = Engine::load(config.clone(), all).unwrap();
    for engine in [&mut engine, &mut again] {
        let leaked = |who| Sig::new("okta", Kind::CredentialLeaked, who, T0).matched(config);
        let both = vec![leaked("alice@example.com"), leaked("bob@example.com")];
        engine.step(Time(T0 + DAY), &signals(both));
        let subjects: Vec<String> = engine.findings().map(|f| f.subject.to_string()).collect();
        assert!(!subjects.contains(&idn("bob").to_string()), "{subjects:?}");
        assert!(!subjects.contains(&idn("alice").to_string()), "{subjects:?}");
    }
}

/// A finding about another whose signals agree in her name keeps the key alone.
#[test]
fn what_findings_about_others_agree_in_names_nobody_who_is_forgotten() {
    let config = shipped();
    let (mut engine, mut rows) = (Engine::new(config.clone()), Rows::new());
    step(&mut engine, &mut rows, -MINUTE, &import(company()));
    let leaked = Sig::new("okta", Kind::CredentialLeaked, "bob@example.com", T0);
    step(&mut engine, &mut rows, 0, &signals(vec![leaked.matched(config)]));
    let group = json!(["entity.sender=Alice@example.com", "entity.ip=192.0.2.1"]);
    for ((_, _), value) in rows.iter_mut().filter(|((table, _), _)| table == "finding") {
        let mut finding: Value = serde_json::from_slice(value).unwrap();
        finding["group"] = group.clone();
        *value = serde_json::to_vec(&finding).unwrap();
    }
    let all = rows.iter();
    let all = all.map(|((table, key), value)| (table.as_str(), key.as_str(), &**value));
    let mut engine = Engine::load(config.clone(), all).unwrap();
    let (by, why) = ("officer".to_owned(), "asked on paper".to_owned());
    let ask = Erase { identity: idn("alice"), by, why, force: false, done: None };
    step(&mut engine, &mut rows, 2 * MINUTE, &Input::Erase(ask));
    let found: Vec<String> = engine.findings().map(|f| f.group.join(" ")).collect();
    expect!["entity.sender=erased entity.ip=192.0.2.1"].assert_eq(&found.join("\n"));
    let row = rows.iter().find(|((table, _), _)| table == "finding").unwrap().1;
    let row: Value = serde_json::from_slice(row).unwrap();
    assert_eq!(row["group"], json!(["entity.sender=erased", "entity.ip=192.0.2.1"]));
}
