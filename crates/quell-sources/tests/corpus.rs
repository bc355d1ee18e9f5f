//! Sources room, tests: real vendor records against results that were written down before the
//! packs.
//! The corpus lies outside the repository; without it the tests say so and pass.

#![cfg(test)]

#[path = "corpus/check.rs"]
mod check;
#[path = "corpus/expected.rs"]
mod expected;
#[path = "corpus/unwrap.rs"]
mod unwrap;

use expected::{Expected, Line};
use quell_core::signal::{Kind, RejectReason};
use serde_json::Value;
use unwrap::Item;

const DEFENDER: &str = include_str!("corpus/expected-microsoft_defender.tsv");
const ENTRA: &str = include_str!("corpus/expected-entra_id.tsv");
const M365: &str = include_str!("corpus/expected-m365_audit.tsv");
const OKTA: &str = include_str!("corpus/expected-okta.tsv");
const PROOFPOINT: &str = include_str!("corpus/expected-proofpoint_tap.tsv");

/// Kinds joined by `+`, sorted, or a reason to reject; nothing for a record that is left out.
fn is_result(line: &Line) -> bool {
    let kinds: Vec<&str> = line.result.split('+').collect();
    let sorted = kinds.is_sorted() && kinds.iter().all(|kind| kind.parse::<Kind>().is_ok());
    let rejected = line.result.parse::<RejectReason>().is_ok();
    if line.left_out { line.result == "left_out" } else { sorted || rejected }
}

/// Every record has one expected result, keyed by its digest, and no line is stale.
fn check_complete(items: &[Item], text: &str) {
    let expected = Expected::read(text);
    let mut wrong = Vec::new();
    for item in items {
        assert!(serde_json::from_slice::<Value>(&item.body()).is_ok(), "{}", item.locator);
        match expected.get(&item.locator) {
            Some(line) if line.digest == item.digest() => {}
            _ => wrong.push(format!("{}\t{}", item.locator, item.digest())),
        }
    }
    for line in expected.lines() {
        if !is_result(line) {
            wrong.push(format!("no result: {} {} {}", line.locator, line.event_type, line.result));
        }
        if !items.iter().any(|item| item.locator == line.locator) {
            wrong.push(format!("not in the corpus: {}", line.locator));
        }
    }
    assert!(wrong.is_empty(), "no expected result for:\n{}", wrong.join("\n"));
}

#[test]
fn every_defender_record_has_an_expected_result() {
    let Some(corpus) = unwrap::folder() else { return println!("skipped: the corpus is absent") };
    check_complete(&unwrap::defender(&corpus), DEFENDER);
}

#[test]
fn every_entra_record_has_an_expected_result() {
    let Some(corpus) = unwrap::folder() else { return println!("skipped: the corpus is absent") };
    check_complete(&unwrap::entra_id(&corpus), ENTRA);
}

#[test]
fn every_m365_record_has_an_expected_result() {
    let Some(corpus) = unwrap::folder() else { return println!("skipped: the corpus is absent") };
    check_complete(&unwrap::m365_audit(&corpus), M365);
}

#[test]
fn every_okta_record_has_an_expected_result() {
    let Some(corpus) = unwrap::folder() else { return println!("skipped: the corpus is absent") };
    check_complete(&unwrap::okta(&corpus), OKTA);
}

#[test]
fn every_proofpoint_record_has_an_expected_result() {
    let Some(corpus) = unwrap::folder() else { return println!("skipped: the corpus is absent") };
    check_complete(&unwrap::proofpoint(&corpus), PROOFPOINT);
}

#[test]
fn defender_records_give_what_is_expected() {
    let Some(corpus) = unwrap::folder() else { return println!("skipped: the corpus is absent") };
    check::check("microsoft_defender", &unwrap::defender(&corpus), DEFENDER);
}

#[test]
fn entra_records_give_what_is_expected() {
    let Some(corpus) = unwrap::folder() else { return println!("skipped: the corpus is absent") };
    check::check("entra_id", &unwrap::entra_id(&corpus), ENTRA);
}

#[test]
fn m365_records_give_what_is_expected() {
    let Some(corpus) = unwrap::folder() else { return println!("skipped: the corpus is absent") };
    check::check("m365_audit", &unwrap::m365_audit(&corpus), M365);
}

#[test]
fn okta_records_give_what_is_expected() {
    let Some(corpus) = unwrap::folder() else { return println!("skipped: the corpus is absent") };
    check::check("okta", &unwrap::okta(&corpus), OKTA);
}

#[test]
fn proofpoint_records_give_what_is_expected() {
    let Some(corpus) = unwrap::folder() else { return println!("skipped: the corpus is absent") };
    check::check("proofpoint_tap", &unwrap::proofpoint(&corpus), PROOFPOINT);
}
