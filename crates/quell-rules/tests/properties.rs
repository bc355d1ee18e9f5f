//! Rules room: properties over generated rules and events, against a second reading of Sigma that
//! is written here in the plainest way.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a helper of a test fails the test by panicking"
)]

mod generate;

use generate::{Rule, an_event, rules, to_event};
use proptest::prelude::*;
use quell_rules::{Matcher, RuleSet, SelectionSet, Value};

/// Splits rules into files: rule `i` goes to the file that `places` names.
fn files(rules: &[Rule], places: &[usize]) -> Vec<(String, String)> {
    let mut texts = vec![String::new(); 4];
    for (rule, place) in rules.iter().zip(places.iter().cycle()) {
        texts[place % 4] += &format!("---\n{}\n", rule.yaml());
    }
    texts.into_iter().enumerate().map(|(i, text)| (format!("{i}.yml"), text)).collect()
}

fn parse(files: &[(String, String)]) -> RuleSet {
    let files: Vec<(&str, &str)> = files.iter().map(|(n, t)| (n.as_str(), t.as_str())).collect();
    let (set, errors) = RuleSet::parse(&files);
    assert_eq!(errors, [], "{files:?}");
    set
}

fn matched(set: &RuleSet, event: &generate::Fields) -> Vec<String> {
    let matched = Matcher::new(set).match_event(&to_event(event));
    matched.iter().map(|idx| set.get(*idx).unwrap().id().to_owned()).collect()
}

/// A failing case is printed and becomes a test of its own; no file of seeds is kept.
fn config() -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..config() })]

    #[test]
    fn order_of_rules_and_files_does_not_matter(
        rules in rules(),
        event in an_event(),
        places in proptest::collection::vec(0_usize..4, 1..8),
        seed in any::<u64>(),
    ) {
        let one = parse(&files(&rules, &[0]));
        let mut shuffled = rules;
        let len = shuffled.len();
        for i in 0..len {
            let rotated = seed.rotate_left(u32::try_from(i).unwrap());
            let j = usize::try_from(rotated % 64).unwrap() % len;
            shuffled.swap(i, j);
        }
        let other = parse(&files(&shuffled, &places));
        prop_assert_eq!(one.digest(), other.digest());
        let ids = matched(&one, &event);
        prop_assert_eq!(&ids, &matched(&other, &event));
        prop_assert!(ids.is_sorted());
    }

    #[test]
    fn matches_what_the_plain_reading_matches(rules in rules(), event in an_event()) {
        let set = parse(&files(&rules, &[0]));
        let mut expected: Vec<String> =
            rules.iter().filter(|rule| rule.holds(&event)).map(|rule| rule.id.clone()).collect();
        expected.sort();
        prop_assert_eq!(matched(&set, &event), expected);
    }

    #[test]
    fn selections_on_records_match_the_same(rules in rules(), event in an_event()) {
        let blocks: Vec<serde_json::Value> = rules.iter().map(Rule::block).collect();
        let set = SelectionSet::parse(&blocks.iter().collect::<Vec<_>>()).unwrap();
        let expected: Vec<usize> =
            (0..rules.len()).filter(|i| rules[*i].holds(&event)).collect();
        prop_assert_eq!(set.matches(&generate::to_record(&event)), expected);
    }
}

#[test]
fn an_event_shows_what_was_pushed() {
    let fields = generate::Fields::from([("kind".to_owned(), vec!["a".to_owned()])]);
    let event = to_event(&fields);
    assert_eq!(event.fields(), &[(quell_rules::Field::Kind, Value::Text("a"))]);
}
