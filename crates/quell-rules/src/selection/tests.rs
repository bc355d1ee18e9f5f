//! Rules room: tests of selections on vendor records.

use expect_test::expect;
use serde_json::{Value, json};

use super::SelectionSet;

fn parse(text: &str) -> Result<SelectionSet, String> {
    let documents = crate::yaml::documents(text);
    let document = documents[0].as_ref().unwrap();
    let blocks: Vec<&Value> = document.value().as_array().unwrap().iter().collect();
    SelectionSet::parse(&blocks).map_err(|errors| {
        let show = |e: &super::SelectionError| {
            format!(
                "{} {:?}: {}; {}\n",
                e.block,
                e.problem.path(),
                e.problem.fault(),
                e.problem.help()
            )
        };
        errors.iter().map(show).collect()
    })
}

#[test]
fn tells_which_blocks_a_record_satisfies() {
    let set = parse(
        r"
- {s: {eventType: user.session.start, outcome.result: SUCCESS}, condition: s}
- {s: {eventType: user.session.start}, f: {outcome.result: SUCCESS}, condition: s and not f}
- {s: {eventType: [a, user.mfa.deny]}, condition: s}
- {s: {target.type: User}, condition: s}
- {s: {'target[any]': {type: User, id: '2'}}, condition: s}
- {s: {'target[any]': {type: User, id: '1'}}, condition: s}
- {s: {'target[0].id': '1'}, condition: s}
- {s: {debug.flags|contains: high}, condition: s}
- {s: {eventType|startswith: user.}, condition: s}
- {s: [Ada], condition: s}
- {s: {'target[any]': {a: {type: User}, b: {id: '1'}, condition: b and not a}}, condition: s}
",
    )
    .unwrap();
    let matches = |record: Value| set.matches(&record);
    let target = json!([{"type": "App", "id": "1"}, {"type": "User", "id": "2"}]);
    assert_eq!(
        matches(json!({
            "eventType": "user.session.start",
            "outcome": {"result": "SUCCESS"},
            "target": target,
            "debug": {"flags": ["low", "high"]},
            "actor": {"name": "ada"},
        })),
        [0, 3, 4, 6, 7, 8, 9, 10],
    );
    assert_eq!(matches(json!({"eventType": "USER.session.start", "outcome": 3})), [1, 8]);
    assert_eq!(matches(json!({"eventType": ["b", "a"]})), [2]);
    assert_eq!(matches(json!("text")), [0_usize; 0]);
    assert_eq!(matches(json!([1, null, {}])), [0_usize; 0]);
}

#[test]
fn tells_problems_with_their_place() {
    let errors = parse(
        r"
- {s: {a|startwith: x}, condition: s}
- {s: {a|re: '('}, condition: t}
- {s: {a: {b: c}}, condition: s}
- {s: {'a[some]': x}, condition: s}
- {s: {'a[any]': {b: {c: 1}}}, condition: s}
- {s: {a|cidr: nonsense}, condition: s}
- {s: {'': x}, condition: s}
- x
- {condition: s}
- {s: {'a[any]': {b: {c: 1}, condition: d}}, condition: s}
",
    )
    .unwrap_err();
    expect![[r#"
        0 ["s", "a|startwith"]: unknown modifier `startwith`; did you mean `startswith`?
        1 ["s", "a|re"]: `a|re` cannot be matched: unclosed group; write the regular expression as the crate `regex` does
        1 ["condition"]: the condition names `t`, which is no selection of this rule; did you mean `s`?
        2 ["s", "a"]: `a` must be a value or a list of values; join nested names by dots, as in `entity.ip`
        3 ["s", "a[some]"]: sigma: invalid field specification: unknown array selector '[some]' in field 'a[some]'; only [any], [all], [all_or_empty], [none], and an integer index [N] (negative counts from the end) are supported; escap; see `docs/rules.md` for fields, modifiers and values
        4 ["s", "a[any]", "b"]: `b` must be a value or a list of values; join nested names by dots, as in `entity.ip`
        5 ["s", "a|cidr"]: `a|cidr` cannot be matched: invalid CIDR: invalid IP address syntax; see `docs/rules.md` for fields, modifiers and values
        6 ["s", ""]: unknown field ``; name the field
        7 []: `detection` must be a mapping of selections and a condition; write for example `selection:` with `kind: sign_in` below it
        8 []: `selection` is missing; write for example `selection:` with `kind: sign_in` below it
        9 ["s", "a[any]", "condition"]: the condition names `d`, which is no selection of this rule; did you mean `b`?
    "#]].assert_eq(&errors);
}
