//! The law of DESIGN.md, section 5: any permutation, duplication or re-batching of the inputs
//! gives the same findings in force and the same plan at one `as_of`, directory version and
//! configuration. Verified containments are inputs of the set.

use std::cell::Cell;

use proptest::prelude::*;
use quell_core::finding::Finding;

use super::company::{Dice, runner};
use super::world::*;

/// On how many cases the law is tried in all; they are tried in four parts side by side.
const CASES: u32 = 10_000;

fn arrival_does_not_matter() {
    let (with_findings, with_plan, unsorted) = (Cell::new(0), Cell::new(0), Cell::new(0));
    let (with_contained, moved) = (Cell::new(0), Cell::new(0));
    let mut runner = runner(CASES / 4);
    let result = runner.run(&story_strategy(), |story| {
        let (config, at) = (story.config(), story.at());
        let (engine, inversions) = tell(config, at, story.containments(), &story.sorted());
        prop_assert_eq!(inversions, 0);
        let one = end(&engine);
        let mut contained = story.containments();
        Dice::new(story.seed).shuffle(&mut contained);
        let (engine, inversions) = tell(config, at, contained, &story.inputs());
        let other = end(&engine);
        unsorted.set(unsorted.get() + u32::from(inversions > 0));
        with_findings.set(with_findings.get() + u32::from(!one.findings.is_empty()));
        with_plan.set(with_plan.get() + u32::from(!one.plan.is_empty()));
        let is_moved = |f: &Finding| f.signals.iter().any(|cited| cited.at < f.first_at);
        with_contained.set(with_contained.get() + u32::from(!one.contained.is_empty()));
        moved.set(moved.get() + u32::from(one.findings.iter().any(is_moved)));
        prop_assert_eq!(&one.findings, &other.findings);
        prop_assert_eq!(&one.contained, &other.contained);
        prop_assert_eq!(&one.plan, &other.plan);
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
    // A law over nothing would hold too, and over sorted input.
    let (tried, findings, plan) = (runner.config().cases, with_findings.get(), with_plan.get());
    let unsorted = unsorted.get();
    assert!(unsorted * 4 > tried * 3, "{unsorted} of {tried} cases are out of event order");
    assert!(findings * 2 > tried, "{findings} of {tried} cases have a finding");
    assert!(plan * 3 > tried, "{plan} of {tried} cases have a plan");
    let (contained, moved) = (with_contained.get(), moved.get());
    assert!(contained * 8 > tried, "{contained} of {tried} cases have something contained");
    // About one case in two hundred.
    assert!(tried < 2_000 || moved > 0, "in no case of {tried} a containment moves an anchor");
}

#[test]
fn arrival_does_not_matter_first_part() {
    arrival_does_not_matter();
}

#[test]
fn arrival_does_not_matter_second_part() {
    arrival_does_not_matter();
}

#[test]
fn arrival_does_not_matter_third_part() {
    arrival_does_not_matter();
}

#[test]
fn arrival_does_not_matter_fourth_part() {
    arrival_does_not_matter();
}
