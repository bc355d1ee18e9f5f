//! Rules room: no text and no record makes the crate panic or overflow, and errors stay readable.

#![expect(clippy::disallowed_methods, reason = "the shipped rules are files")]
#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test by panicking")]

use std::path::Path;

use proptest::prelude::*;
use quell_rules::{Category, Event, Field, Matcher, RuleSet, SelectionSet, yaml};
use serde_json::Value;

/// Parses, matches one event, and checks what every answer must be.
fn survive(text: &str) -> Result<(), TestCaseError> {
    let (set, errors) = RuleSet::parse(&[("a.yml", text)]);
    let lines = u32::try_from(text.lines().count().max(1)).unwrap();
    for error in &errors {
        prop_assert!((1..=lines).contains(&error.line()), "{error}");
        prop_assert!(!error.help().is_empty() && !error.help().contains('\n'), "{error}");
        let shown = error.to_string();
        prop_assert!(!shown.contains('\n') || error.file().contains('\n'), "{shown:?}");
        prop_assert!(shown.len() < 4096, "{shown}");
    }
    let event = Event::new(Category::Any)
        .with(Field::Kind, "url_click")
        .with(Field::Confidence, 80_u8)
        .with(Field::Subject, text);
    let matched = Matcher::new(&set).match_event(&event);
    prop_assert!(matched.is_sorted());
    Ok(())
}

fn shipped() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../rules");
    std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap())
        .collect()
}

/// Pieces that a slip or a malicious hand may put anywhere.
const PIECES: &[&str] = &[
    "|",
    ":",
    "- ",
    "\n",
    "\t",
    "[",
    "]",
    "{",
    "}",
    "'",
    "\"",
    "#",
    "*",
    "&a ",
    "*a",
    "!t ",
    "|re",
    "|cidr",
    "|all",
    "|exists",
    "|gte",
    "not ",
    "(",
    ")",
    "1 of ",
    "them",
    "all of x*",
    "condition",
    "quell:",
    "tier: ",
    "---\n",
    "...\n",
    "null",
    "~",
    "1e999",
    "-1",
    "0x",
    "é",
    "\u{2028}",
    "\u{0}",
    "\u{feff}",
    "<<: ",
    "? ",
    "%",
    "@",
    "`",
    "a{1000000}",
    "\\",
    "\\p{L}{999}",
    "10.0.0.0/99",
];

/// A failing case is printed and becomes a test of its own; no file of seeds is kept.
fn config() -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_500, ..config() })]

    #[test]
    fn mangled_rules(
        which in any::<proptest::sample::Index>(),
        edits in proptest::collection::vec(
            (any::<proptest::sample::Index>(), 0_usize..12, proptest::sample::select(PIECES)),
            1..6,
        ),
    ) {
        let texts = shipped();
        let mut text: Vec<char> = which.get(&texts).chars().collect();
        for (at, remove, piece) in edits {
            let at = at.index(text.len().max(1));
            let end = (at + remove).min(text.len());
            text.splice(at..end, piece.chars());
        }
        survive(&text.into_iter().collect::<String>())?;
    }

    #[test]
    fn any_text(text in any::<String>()) {
        survive(&text)?;
    }

    #[test]
    fn pieces_alone(pieces in proptest::collection::vec(proptest::sample::select(PIECES), 0..40)) {
        survive(&pieces.concat())?;
    }

    #[test]
    fn any_condition_and_key(
        condition in "[a-z0-9_*() \\-]{0,60}",
        key in "[a-z.|\\[\\]\\\\0-9]{0,30}",
    ) {
        let block = serde_json::json!({"a": {key: ["x*", "1"]}, "condition": condition});
        let text = serde_json::json!({
            "title": "x", "id": "x", "logsource": {"product": "quell"}, "detection": block,
        });
        survive(&text.to_string())?;
        if let Ok(set) = SelectionSet::parse(&[&block]) {
            set.matches(&serde_json::json!({"a": [{"b": "x"}, ["x", {"c": 1}]], "x": null}));
        }
    }

    #[test]
    fn any_record(record in any_value()) {
        let blocks = serde_json::json!([
            {"a": {"a.b": "x", "c[0].d|exists": true}, "condition": "a"},
            {"a": {"a[any]": {"b|re": "^x", "c": null}}, "b": ["x"], "condition": "a or not b"},
            {"a": {"a[none]": {"n": {"b": "x"}, "condition": "not n"}}, "condition": "a"},
            {"a": {"a|gte": 3, "b|cidr": "192.0.2.0/24"}, "condition": "not a"},
        ]);
        let blocks: Vec<&Value> = blocks.as_array().unwrap().iter().collect();
        let set = SelectionSet::parse(&blocks).unwrap();
        prop_assert!(set.matches(&record).is_sorted());
    }
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "x|192\\.0\\.2\\.1|.{0,4}".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 48, 5, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            proptest::collection::btree_map("[abcd]", inner, 0..5)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// A rule whose `detection` is `detection`.
fn rule(detection: &str) -> String {
    format!("title: x\nid: x\nlogsource: {{product: quell}}\ndetection:\n{detection}")
}

#[test]
fn what_would_stall_or_overflow_is_an_error() {
    let check = |text: &str, expected: &str| {
        let (set, errors) = RuleSet::parse(&[("a.yml", text)]);
        assert!(set.is_empty());
        let shown: Vec<String> = errors.iter().map(|e| e.fault().to_string()).collect();
        assert_eq!(shown, [expected]);
    };
    let condition =
        |condition: &str| rule(&format!("  s: {{kind: a}}\n  condition: {condition}\n"));
    let value = |value: &str| rule(&format!("  s:\n    {value}\n  condition: s\n"));
    let openings = "the number of `[` and `{` in the document is over the limit of 8192";
    let nesting = "the nesting of the document is over the limit of 32";
    check(&"{a: ".repeat(64_000), openings);
    check(&"[".repeat(256 * 1024), openings);
    check(&"{a: ".repeat(8_192), nesting);
    check(&"- ".repeat(100_000), nesting);
    check(
        &condition(&format!("{}s{}", "(".repeat(17), ")".repeat(17))),
        "the nesting of the condition is over the limit of 16",
    );
    check(
        &condition(&format!("{}s", "not ".repeat(65))),
        "the number of `not` in the condition is over the limit of 64",
    );
    check(
        &condition(&format!("s{}", " or s".repeat(410))),
        "the size of the condition in bytes is over the limit of 2048",
    );
    check(
        &value("subject|re: '((((a{30}){30}){30}){30})'"),
        "the compiled size of the pattern in bytes is over the limit of 1048576",
    );
    check(
        &value(&format!("subject: '{}'", "a*".repeat(17))),
        "the number of wildcards in the value is over the limit of 16",
    );
    check(
        &value(&format!("subject|contains: {}", "a".repeat(1025))),
        "the size of the value in bytes is over the limit of 1024",
    );
    check(
        &value(&format!("subject|contains: [{}]", "a, ".repeat(1025))),
        "the number of values is over the limit of 1024",
    );
    check(
        &value(&format!("subject: [{}]", "'a*', ".repeat(65))),
        "the number of patterns in the rule is over the limit of 64",
    );
}

#[test]
fn deep_records_and_blocks_do_not_overflow() {
    let mut deep = Value::from("x");
    for _ in 0..10_000 {
        deep = Value::Array(vec![deep]);
    }
    let errors = SelectionSet::parse(&[&deep]).unwrap_err();
    assert_eq!(errors.len(), 1);
    // serde_json drops nested values recursively; that is the caller's, who caps what it parses
    while let Value::Array(items) = deep {
        deep = items.into_iter().next().unwrap();
    }
    assert!(yaml::documents(&"\"a\": [".repeat(9_000))[0].is_err());
}
