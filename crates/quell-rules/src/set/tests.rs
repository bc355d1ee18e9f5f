//! Rules room: tests of reading whole sets.

use expect_test::{Expect, expect};

use super::RuleSet;
use crate::rule::Rule;

/// A detection with the given id and name whose other lines are `rest`.
fn detection(id: &str, rest: &str) -> String {
    format!(
        "title: {id}\nid: {id}\nlogsource:\n  product: quell\n\
         detection:\n  selection:\n    kind: sign_in\n  condition: selection\n{rest}"
    )
}

fn correlation(id: &str, body: &str) -> String {
    format!("title: {id}\nid: {id}\ncorrelation:\n{body}{ASK}")
}

const ASK: &str = "quell:\n  tier: contain\n  confidence: 80\n  subject: identity\n  \
                   rationale: because\n";

const TEMPORAL: &str =
    "  type: temporal\n  rules: [a, b]\n  group-by: [identity]\n  timespan: 60m\n";

fn parse(texts: &[&str]) -> (RuleSet, String) {
    let names: Vec<String> = (0..texts.len()).map(|i| format!("{i}.yml")).collect();
    let files: Vec<(&str, &str)> =
        names.iter().map(String::as_str).zip(texts.iter().copied()).collect();
    let (set, errors) = RuleSet::parse(&files);
    let shown = errors.iter().map(|e| format!("{e}; {}\n", e.help())).collect();
    (set, shown)
}

fn check_errors(texts: &[&str], expected: &Expect) {
    expected.assert_eq(&parse(texts).1);
}

#[test]
fn reads_a_set_and_looks_rules_up() {
    let a = detection("a", "name: click\n");
    let b = detection("b", "quell:\n  novel: [device, network]\n");
    let c = correlation(
        "c",
        "  type: temporal_ordered\n  rules: [click, b]\n  group-by: identity\n  timespan: 1h\n",
    );
    let (set, errors) = parse(&[&c, &format!("{b}---\n{a}")]);
    assert_eq!(errors, "");
    let mut shown = String::new();
    for (idx, rule) in set.iter() {
        shown += &match rule {
            Rule::Detection(d) => format!(
                "{} {} {:?} kinds {:?} novel {:?} ask {:?}\n",
                idx.index(),
                rule.id(),
                d.category,
                d.kinds,
                d.quell.novel,
                d.quell.ask
            ),
            Rule::Correlation(c) => format!("{} {} {c:#?}\n", idx.index(), rule.id()),
        };
    }
    expect![[r#"
        0 a Any kinds Some(["sign_in"]) novel [] ask None
        1 b Any kinds Some(["sign_in"]) novel [Network, Device] ask None
        2 c Correlation {
            meta: Meta {
                id: "c",
                name: None,
                title: "c",
                status: None,
                level: None,
                description: "",
                false_positives: [],
                tags: [],
                references: [],
                file: "0.yml",
                line: 1,
            },
            quell: QuellBlock {
                ask: Some(
                    Ask {
                        tier: Contain,
                        confidence: 80,
                        subject: Identity,
                    },
                ),
                rationale: "because",
                novel: [],
                frameworks: Frameworks {
                    attack: [],
                    csf: [],
                    nhi: [],
                    maestro: [],
                },
            },
            kind: TemporalOrdered,
            members: [
                Member {
                    id: "a",
                    idx: RuleIdx(
                        0,
                    ),
                    keys: [
                        Identity,
                    ],
                },
                Member {
                    id: "b",
                    idx: RuleIdx(
                        1,
                    ),
                    keys: [
                        Identity,
                    ],
                },
            ],
            group_by: [
                "identity",
            ],
            timespan_us: 3600000000,
            need: All,
        }
    "#]]
    .assert_eq(&shown);
    let a = set.idx_of_name("click").unwrap();
    assert_eq!(set.idx_of_id("a"), Some(a));
    assert_eq!(set.by_id("c").unwrap().id(), "c");
    assert_eq!(set.referencing(a), &[set.idx_of_id("c").unwrap()]);
    assert_eq!(set.asking_alone().count(), 0);
    assert!(set.by_name("b").is_none());
}

#[test]
fn the_digest_covers_content_and_nothing_else() {
    let a = detection("a", "name: click\n");
    let b = detection("b", "");
    let digest = |texts: &[&str]| parse(texts).0.digest();
    let one = digest(&[&a, &b]);
    assert_eq!(one, digest(&[&b, &a]));
    assert_eq!(one, digest(&[&format!("# comment\n{b}---\n{a}\n")]));
    assert_eq!(one, digest(&[&a.replace("kind: sign_in", "\"kind\":   'sign_in'"), &b]));
    assert_ne!(one, digest(&[&a.replace("sign_in", "sign_out"), &b]));
    assert_ne!(one, digest(&[&a]));
    assert_ne!(one, digest(&[&a, &detection("b", "description: x\n")]));
}

#[test]
fn tells_typos_with_line_and_remedy() {
    check_errors(
        &[&detection("a", "levl: high\n")],
        &expect![[r#"
        0.yml:9: unknown key `levl`; did you mean `level`?
    "#]],
    );
    check_errors(
        &[&detection("a", "level: hihg\nstatus: 5\n")],
        &expect![[r#"
        0.yml:9: unknown level `hihg`; did you mean `high`?
        0.yml:10: `status` must be a text; quote it if it looks like something else; see `docs/rules.md`
    "#]],
    );
    check_errors(
        &[&detection("a", "").replace("kind: sign", "knd|startwith: sign")],
        &expect![[r#"
        0.yml:7: unknown field `knd`; did you mean `kind`?
        0.yml:7: unknown modifier `startwith`; did you mean `startswith`?
    "#]],
    );
    check_errors(
        &[&detection("a", "").replace("kind:", "entity.ipp:")],
        &expect![[r#"
        0.yml:7: unknown field `entity.ipp`; did you mean `entity.ip`?
    "#]],
    );
    check_errors(
        &[&detection("a", "").replace("kind:", "attr.a b:")],
        &expect![[r#"
        0.yml:7: unknown field `attr.a b`; write `attr.` and a name of letters, digits, `_`, `-` and `.`
    "#]],
    );
    check_errors(
        &[&detection("a", "").replace("kind:", "kind|base64:")],
        &expect![[r#"
        0.yml:7: modifier `base64` is not supported by this version; use one of `contains`, `startswith`, `endswith`, `all`, `re`, `i`, `m`, `s`, `cidr`, `cased`, `exists`, `gt`, `gte`, `lt`, `lte`, `neq`
    "#]],
    );
    check_errors(
        &[&detection("a", "").replace("kind:", "kind|not:")],
        &expect![[r#"
        0.yml:7: unknown modifier `not`; write the selection without it and `not` in the `condition`
    "#]],
    );
    check_errors(
        &[&detection("a", "").replace("condition: sel", "condition: sle")],
        &expect![[r#"
        0.yml:8: the condition names `sleection`, which is no selection of this rule; did you mean `selection`?
    "#]],
    );
    check_errors(
        &[&detection("a", "").replace("product: quell", "product: windows")],
        &expect![[r#"
        0.yml:4: unknown product `windows`; use one of `quell`
    "#]],
    );
    check_errors(
        &[&detection("a", "").replace("id: a", "")],
        &expect![[r#"
        0.yml:1: `id` is missing; add a new UUID; it stays for ever
    "#]],
    );
    check_errors(
        &[&detection("a", "quell:\n  teir: contain\n")],
        &expect![[r#"
        0.yml:10: unknown key `teir`; did you mean `tier`?
    "#]],
    );
    check_errors(
        &[&detection("a", "quell:\n  tier: contian\n")],
        &expect![[r#"
        0.yml:9: `confidence` is missing; add `quell:` with `tier`, `confidence`, `subject` and `rationale`, as `docs/rules.md` shows
        0.yml:9: `rationale` is missing; add `quell:` with `tier`, `confidence`, `subject` and `rationale`, as `docs/rules.md` shows
        0.yml:9: `subject` is missing; add `quell:` with `tier`, `confidence`, `subject` and `rationale`, as `docs/rules.md` shows
        0.yml:10: unknown tier `contian`; did you mean `contain`?
    "#]],
    );
    check_errors(
        &[&detection("a", "quell:\n  confidence: 101\n  novel: [netwrk]\n")],
        &expect![[r#"
        0.yml:10: `confidence` must be a whole number from 1 to 100; see `docs/rules.md`
        0.yml:10: `confidence` has no effect here; add `tier` if the rule should ask for a response, else remove it
        0.yml:11: unknown novel `netwrk`; did you mean `network`?
    "#]],
    );
    check_errors(
        &[&detection("a", &ASK.replace("identity", "idenity").replace("because", "''"))],
        &expect![[r#"
            0.yml:12: unknown subject `idenity`; did you mean `identity`?
            0.yml:13: `rationale` must be a text that is not empty; see `docs/rules.md`
        "#]],
    );
    let frameworks =
        "quell:\n  frameworks:\n    attack: [T15]\n    csf: [RS.MI-01: contained]\n    x: 1\n";
    check_errors(
        &[&detection("a", frameworks)],
        &expect![[r#"
        0.yml:11: `attack` must be a list of items such as `T1566.002 Spearphishing Link`; see `docs/rules.md`
        0.yml:12: `csf` must be a list of texts; quote a text that contains `: `; see `docs/rules.md`
        0.yml:13: unknown key `x`; use one of `attack`, `csf`, `nhi`, `maestro`
    "#]],
    );
    check_errors(
        &["- a\n", "filter:\n  rules: any\n", "a: [\n"],
        &expect![[r#"
            0.yml:1: yaml: the document is not a mapping; start it with `title: ...`
            1.yml:1: filter documents are not supported by this version; write each rule out in full
            2.yml:1: yaml: did not find expected node content; check indentation and quotes
        "#]],
    );
    check_errors(
        &[&detection("a", "sigma-version: 3\n")],
        &expect![[r#"
        0.yml:9: `sigma-version` must be 2; see `docs/rules.md`
    "#]],
    );
}

#[test]
fn tells_what_could_never_match_as_meant() {
    let check = |item: &str, expected: &Expect| {
        check_errors(&[&detection("a", "").replace("kind: sign_in", item)], expected);
    };
    check(
        "use: [alone, jion]",
        &expect![[r#"
        0.yml:7: unknown use `jion`; did you mean `join`?
    "#]],
    );
    check(
        "use|neq: [alone, join]",
        &expect![[r#"
        0.yml:7: `use|neq` cannot be matched: a value always differs from one of several; add `|all`, or write a selection of its own and `not` in the `condition`
    "#]],
    );
    check(
        "use|contains|startswith: a",
        &expect![[r#"
        0.yml:7: `use|contains|startswith` cannot be matched: invalid modifier combination: conflicting modifiers: at most one operator may be set per field; got |contains, |startswith; see `docs/rules.md` for fields, modifiers and values
    "#]],
    );
    check(
        "use|i: a",
        &expect![[r#"
        0.yml:7: `use|i` cannot be matched: invalid modifier combination: regex flag modifiers |i have no effect without |re; case sensitivity for substring or equality matching is controlled by |cased (or its absence, which keeps the default c; see `docs/rules.md` for fields, modifiers and values
    "#]],
    );
    check(
        "use|all: alone",
        &expect![[r#"
        0.yml:7: `use|all` cannot be matched: invalid modifier combination: |all modifier requires more than one value; see `docs/rules.md` for fields, modifiers and values
    "#]],
    );
    check(
        "confidence|gte: fifty",
        &expect![[r#"
            0.yml:7: `confidence|gte` must be a number; write it without quotes
        "#]],
    );
    check(
        "entity.ip|cidr: 192.0.2.0/99",
        &expect![[r#"
        0.yml:7: `entity.ip|cidr` cannot be matched: invalid CIDR: invalid IP address syntax; see `docs/rules.md` for fields, modifiers and values
    "#]],
    );
    check(
        "subject|re: 'a(?=b)'",
        &expect![[r#"
        0.yml:7: `subject|re` cannot be matched: look-around, including look-ahead and look-behind, is not supported; write the regular expression as the crate `regex` does
    "#]],
    );
    check(
        "subject|re: 5",
        &expect![[r#"
        0.yml:7: `subject|re` must be a regular expression; quote the value
    "#]],
    );
    check(
        "subject|exists: maybe",
        &expect![[r#"
        0.yml:7: `subject|exists` must be true or false; write for example `|exists: true`
    "#]],
    );
    check(
        "kind: []",
        &expect![[r#"
        0.yml:7: `kind` must be a list that is not empty; list a value
    "#]],
    );
    check(
        "kind: {a: b}",
        &expect![[r#"
        0.yml:7: `kind` must be a value or a list of values; join nested names by dots, as in `entity.ip`
    "#]],
    );
    check(
        "kind: [[a]]",
        &expect![[r#"
        0.yml:7: `kind` must be a value or a list of values; join nested names by dots, as in `entity.ip`
    "#]],
    );
    check(
        "'': a",
        &expect![[r#"
        0.yml:7: unknown field ``; use one of `kind`, `use`, `source`, `confidence`, `subject`, `anomaly`, `entity.sender`, `entity.domain`, `entity.url`, `entity.ip`, `entity.session`, `entity.device`, `entity.message`, `entity.oauth_app`, `entity.user_agent`, `entity.threat`, `entity.campaign`
    "#]],
    );
}

#[test]
fn conditions_and_selections_say_what_they_mean() {
    let check = |block: &str, expected: &Expect| {
        let text = "title: a\nid: a\nlogsource: {product: quell}\ndetection:\n";
        check_errors(&[&format!("{text}{block}")], expected);
    };
    check(
        "  s: {kind: a}\n  f: {kind: b}\n  condition: s\n",
        &expect![[r#"
        0.yml:6: selection `f` is not used by the condition; name it in the `condition` or remove it
    "#]],
    );
    check(
        "  s: {kind: a}\n  condition: all of t_*\n",
        &expect![[r#"
        0.yml:6: the condition names `t_*`, which is no selection of this rule; use one of `s`
    "#]],
    );
    check(
        "  s: {kind: a}\n  condition: s and\n",
        &expect![[r#"
        0.yml:6: condition `s and` cannot be read: at column 6; combine names of selections by `and`, `or`, `not`, `1 of name_*`, `all of them`
    "#]],
    );
    check(
        "  s: {kind: a}\n  condition: [s, 5]\n",
        &expect![[r#"
        0.yml:6: `condition` must be a text or a list of texts; combine names of selections by `and`, `or`, `not`, `1 of name_*`, `all of them`
    "#]],
    );
    check(
        "  s: {kind: a}\n  condition: ''\n",
        &expect![[r#"
        0.yml:6: condition `` cannot be read: at column 1; combine names of selections by `and`, `or`, `not`, `1 of name_*`, `all of them`
    "#]],
    );
    check(
        "  s: {kind: a}\n",
        &expect![[r#"
        0.yml:4: `condition` is missing; add for example `condition: selection`
    "#]],
    );
    check(
        "  condition: s\n",
        &expect![[r#"
        0.yml:4: `selection` is missing; write for example `selection:` with `kind: sign_in` below it
    "#]],
    );
    check(
        "  s: [phish, click]\n  condition: s\n",
        &expect![[r#"
        0.yml:5: selection `s` names no field; write `field: value` below it
    "#]],
    );
    check(
        "  s: phish\n  condition: s\n",
        &expect![[r#"
        0.yml:5: selection `s` names no field; write `field: value` below it
    "#]],
    );
    check(
        "  s: [{kind: a}, b]\n  condition: s\n",
        &expect![[r#"
        0.yml:5: `s` must be a mapping, or a list of mappings only; write for example `selection:` with `kind: sign_in` below it
    "#]],
    );
    check(
        "  s: {}\n  condition: s\n",
        &expect![[r#"
        0.yml:5: `s` must be a mapping of fields to values that is not empty; write for example `selection:` with `kind: sign_in` below it
    "#]],
    );
    check(
        "  not: {kind: a}\n  condition: not\n",
        &expect![[r#"
        0.yml:4: `selection` is missing; write for example `selection:` with `kind: sign_in` below it
        0.yml:5: `not` must be a name of letters, digits, `_` and `-` that is no word of conditions; rename the selection, for example to `selection`
    "#]],
    );
    check(
        "  s: {kind: a}\n  condition: s\n  timeframe: 5m\n",
        &expect![[r#"
        0.yml:7: `timeframe` has no effect here; write a correlation rule with a `timespan`
    "#]],
    );
    check(
        "  - s\n",
        &expect![[r#"
        0.yml:4: `detection` must be a mapping of selections and a condition; write for example `selection:` with `kind: sign_in` below it
    "#]],
    );
}

#[test]
fn rules_that_another_rule_forbids() {
    let a = detection("a", "name: x\n");
    check_errors(
        &[&a, &a],
        &expect![[r#"
        1.yml:2: id `a` is already taken by the rule at 0.yml:1; give the rule a new UUID; an id is never reused
    "#]],
    );
    check_errors(
        &[&a, &detection("b", "name: x\n")],
        &expect![[r#"
        1.yml:9: name `x` is already taken by the rule at 0.yml:1; give the rule another name
    "#]],
    );
    check_errors(
        &[&a, &detection("b", "name: a\n")],
        &expect![[r#"
        1.yml:9: name `a` is already taken by the rule at 0.yml:1; give the rule another name
    "#]],
    );
    check_errors(
        &[&detection("a", "name: b\n"), &detection("b", "")],
        &expect![[r#"
            0.yml:9: name `b` is already taken by the rule at 1.yml:1; give the rule another name
        "#]],
    );
}

#[test]
fn errors_do_not_hang_on_file_order() {
    let (one, other) = (detection("a", "name: x\n"), detection("a", "name: y\nlevel: high\n"));
    let forth = RuleSet::parse(&[("0.yml", &one), ("1.yml", &other)]);
    let back = RuleSet::parse(&[("1.yml", &other), ("0.yml", &one)]);
    assert_eq!(forth.1, back.1);
    assert_eq!(forth.1.len(), 1);
    assert_eq!(forth.0.digest(), back.0.digest());
}

#[test]
fn correlations_that_cannot_be_evaluated() {
    let check = |body: &str, expected: &Expect| {
        let a = detection("a", "name: click\n");
        let b = detection("b", "name: sign_in\n");
        let broken = detection("d", "name: broken\nlevl: x\n");
        check_errors(&[&a, &b, &correlation("c", body), &broken], expected);
    };
    check(
        &TEMPORAL.replace("[a, b]", "[a, clik]"),
        &expect![[r#"
        2.yml:5: unknown rule `clik`; did you mean `click`?
        3.yml:10: unknown key `levl`; did you mean `level`?
    "#]],
    );
    check(
        &TEMPORAL.replace("[a, b]", "[a, broken]"),
        &expect![[r#"
        2.yml:5: rule `broken` has an error of its own; correct that rule first
        3.yml:10: unknown key `levl`; did you mean `level`?
    "#]],
    );
    check(
        &TEMPORAL.replace("[a, b]", "[a, click]"),
        &expect![[r#"
        2.yml:5: `rules` must be a list without the rule `click` twice; list it once, by its `id` or its `name`
        3.yml:10: unknown key `levl`; did you mean `level`?
    "#]],
    );
    check(
        &TEMPORAL.replace("[a, b]", "[a]"),
        &expect![[r#"
        2.yml:5: `rules` must be a list of two or more ids or names of rules; see `docs/rules.md`
        3.yml:10: unknown key `levl`; did you mean `level`?
    "#]],
    );
    check(
        &TEMPORAL.replace("temporal", "value_sum"),
        &expect![[r#"
        2.yml:4: correlation type `value_sum` is not supported by this version; use `temporal`, `temporal_ordered`, `event_count` or `value_count`
        3.yml:10: unknown key `levl`; did you mean `level`?
    "#]],
    );
    check(
        &TEMPORAL.replace("temporal", "temprol"),
        &expect![[r#"
        2.yml:4: unknown type `temprol`; did you mean `temporal`?
        3.yml:10: unknown key `levl`; did you mean `level`?
    "#]],
    );
    check(
        &TEMPORAL.replace("60m", "60x"),
        &expect![[r#"
        2.yml:7: invalid timespan `60x`; write a number and one of `s`, `m`, `h`, `d`, `w`, up to `31d`, as in `60m`
        3.yml:10: unknown key `levl`; did you mean `level`?
    "#]],
    );
    check(
        &TEMPORAL.replace("60m", "0m"),
        &expect![[r#"
        2.yml:7: invalid timespan `0m`; write a number and one of `s`, `m`, `h`, `d`, `w`, up to `31d`, as in `60m`
        3.yml:10: unknown key `levl`; did you mean `level`?
    "#]],
    );
    check(
        &TEMPORAL.replace("60m", "32d"),
        &expect![[r#"
        2.yml:7: invalid timespan `32d`; write a number and one of `s`, `m`, `h`, `d`, `w`, up to `31d`, as in `60m`
        3.yml:10: unknown key `levl`; did you mean `level`?
    "#]],
    );
    check(
        &TEMPORAL.replace("60m", "1M"),
        &expect![[r#"
        2.yml:7: invalid timespan `1M`; write a number and one of `s`, `m`, `h`, `d`, `w`, up to `31d`, as in `60m`
        3.yml:10: unknown key `levl`; did you mean `level`?
    "#]],
    );
    check(
        &TEMPORAL.replace("timespan: 60m", "timespn: 60m"),
        &expect![[r#"
        2.yml:3: `timespan` is missing; write a number and one of `s`, `m`, `h`, `d`, `w`, up to `31d`, as in `60m`
        2.yml:7: unknown key `timespn`; did you mean `timespan`?
        3.yml:10: unknown key `levl`; did you mean `level`?
    "#]],
    );
    check(
        &TEMPORAL.replace("[identity]", "[user]"),
        &expect![[r#"
        2.yml:6: unknown field `user`; use one of `identity`, `entity.sender`, `entity.domain`, `entity.url`, `entity.ip`, `entity.session`, `entity.device`, `entity.message`, `entity.oauth_app`, `entity.user_agent`, `entity.threat`, `entity.campaign`
        3.yml:10: unknown key `levl`; did you mean `level`?
    "#]],
    );
    check(
        &TEMPORAL.replace("[identity]", "[entity.ip]"),
        &expect![[r#"
        2.yml:6: the subject `identity` is not among the `group-by` of every listed rule; group by the subject, or make what it groups by the subject
        3.yml:10: unknown key `levl`; did you mean `level`?
    "#]],
    );
    check(
        &TEMPORAL.replace("  group-by: [identity]\n", ""),
        &expect![[r#"
        2.yml:3: `group-by` is missing; add `group-by: [identity]`; without it signals of strangers would join
        3.yml:10: unknown key `levl`; did you mean `level`?
    "#]],
    );
    check(
        &format!("{TEMPORAL}  condition: a and not b\n"),
        &expect![[r#"
        2.yml:8: `condition` must be `gte:` and a number from 1 to 2 in this version; see `docs/rules.md`
        3.yml:10: unknown key `levl`; did you mean `level`?
    "#]],
    );
    check(
        &format!("{TEMPORAL}  condition:\n    gte: 3\n"),
        &expect![[r#"
        2.yml:8: `condition` must be `gte:` and a number from 1 to 2 in this version; see `docs/rules.md`
        3.yml:10: unknown key `levl`; did you mean `level`?
    "#]],
    );
    check(
        &format!("{TEMPORAL}  generate: true\n"),
        &expect![[r#"
        2.yml:8: unknown key `generate`; use one of `type`, `rules`, `group-by`, `timespan`, `timeframe`, `condition`, `aliases`
        3.yml:10: unknown key `levl`; did you mean `level`?
    "#]],
    );
    check(
        &format!("{TEMPORAL}  aliases:\n    who:\n      a: entity.url\n      bb: entity.urll\n"),
        &expect![[r#"
            2.yml:9: `who` must be a mapping of every listed rule; `b` is not in it; see `docs/rules.md`
            2.yml:11: unknown rule `bb`; did you mean `b`?
            3.yml:10: unknown key `levl`; did you mean `level`?
        "#]],
    );
}

#[test]
fn counting_says_what_and_how_many() {
    let check = |body: &str, expected: &Expect| {
        check_errors(&[&detection("a", ""), &correlation("c", body)], expected);
    };
    let count = TEMPORAL.replace("temporal", "event_count").replace("[a, b]", "[a]");
    let values = count.replace("event_count", "value_count");
    check(
        &count,
        &expect![[r#"
        1.yml:3: `condition` is missing; add for example `gte: 3`
    "#]],
    );
    check(
        &format!("{count}  condition:\n    gte: 0\n"),
        &expect![[r#"
        1.yml:8: `condition` must be `gte:` or `gt:` and a number, counting up to 64; see `docs/rules.md`
    "#]],
    );
    check(
        &format!("{count}  condition:\n    gte: 65\n"),
        &expect![[r#"
        1.yml:8: `condition` must be `gte:` or `gt:` and a number, counting up to 64; see `docs/rules.md`
    "#]],
    );
    check(
        &format!("{count}  condition:\n    lt: 3\n"),
        &expect![[r#"
            1.yml:9: unknown key `lt`; use `gte` or `gt`: that no more came is never known, records may be late
        "#]],
    );
    check(
        &format!("{count}  condition:\n    field: kind\n    gte: 3\n"),
        &expect![[r#"
        1.yml:9: unknown key `field`; use one of `gte`, `gt`
    "#]],
    );
    check(
        &format!("{values}  condition:\n    gte: 3\n"),
        &expect![[r#"
        1.yml:8: `field` is missing; add for example `field: entity.ip`
    "#]],
    );
    check(
        &format!("{values}  condition:\n    field: entity.ipp\n    gte: 3\n"),
        &expect![[r#"
        1.yml:9: unknown field `entity.ipp`; did you mean `entity.ip`?
    "#]],
    );
    check(
        &format!("{values}  condition:\n    field: confidence\n    gte: 3\n"),
        &expect![[r#"
        1.yml:9: unknown field `confidence`; use one of `kind`, `source`, `subject`, `entity.sender`, `entity.domain`, `entity.url`, `entity.ip`, `entity.session`, `entity.device`, `entity.message`, `entity.oauth_app`, `entity.user_agent`, `entity.threat`, `entity.campaign`, `network`
    "#]],
    );
    let need = |body: &str| {
        let (set, errors) = parse(&[&detection("a", ""), &correlation("c", body)]);
        assert_eq!(errors, "");
        format!("{:?}", set.correlations().next().unwrap().1.need)
    };
    assert_eq!(need(&format!("{count}  condition:\n    gte: 3\n")), "Events(3)");
    assert_eq!(need(&format!("{count}  condition:\n    gt: 3\n")), "Events(4)");
    let values =
        |field: &str| need(&format!("{values}  condition:\n    field: {field}\n    gte: 2\n"));
    assert_eq!(values("network"), "Values(Network, 2)");
    assert_eq!(values("entity.user_agent"), "Values(Entity(UserAgent), 2)");
    assert_eq!(values("attr.country"), "Values(Attr(\"country\"), 2)");
}

#[test]
fn a_correlation_asks_or_is_listed_and_needs_what_it_lists() {
    let a = detection("a", "");
    let b = detection("b", "");
    let silent = format!("title: c\nid: c\ncorrelation:\n{TEMPORAL}");
    check_errors(
        &[&a, &b, &silent],
        &expect![[r#"
            2.yml:3: `quell` is missing; add `quell:` with `tier`, `confidence`, `subject` and `rationale`, as `docs/rules.md` shows
        "#]],
    );
    check_errors(
        &[&a, &b, &format!("{silent}quell:\n  novel: [device]\n")],
        &expect![[r#"
            2.yml:9: `novel` has no effect here; write it in the detection rule
        "#]],
    );
    // One that another lists may ask for nothing.
    let outer = correlation("d", &TEMPORAL.replace("[a, b]", "[a, c]"));
    check_errors(&[&a, &b, &silent, &outer], &expect![[r#""#]]);
    let need = |condition: &str| {
        let c = correlation("c", &format!("{TEMPORAL}{condition}"));
        let (set, errors) = parse(&[&a, &b, &c]);
        assert_eq!(errors, "");
        let (_, correlation) = set.correlations().next().unwrap();
        format!("{:?}", correlation.need)
    };
    assert_eq!(need(""), "All");
    assert_eq!(need("  condition:\n    gte: 2\n"), "All");
    assert_eq!(need("  condition:\n    gte: 1\n"), "AtLeast(1)");
}

#[test]
fn aliases_resolve_to_what_each_rule_is_grouped_by() {
    let a = detection("a", "");
    let b = detection("b", "");
    let body = "  type: temporal\n  rules: [a, b]\n  group-by: [from, identity]\n  timespan: 1d\n  \
                aliases:\n    from:\n      a: entity.sender\n      b: entity.domain\n";
    let (set, errors) = parse(&[&a, &b, &correlation("c", body)]);
    assert_eq!(errors, "");
    let (_, correlation) = set.correlations().next().unwrap();
    let keys: Vec<_> = correlation.members.iter().map(|m| format!("{:?}", m.keys)).collect();
    expect![[r#"
        [
            "[Entity(Sender), Identity]",
            "[Entity(Domain), Identity]",
        ]
    "#]]
    .assert_debug_eq(&keys);
}

#[test]
fn circles_are_refused_and_what_relies_on_them_too() {
    let a = detection("a", "");
    let refer =
        |id: &str, to: &str| correlation(id, &TEMPORAL.replace("[a, b]", &format!("[a, {to}]")));
    let texts = [a, refer("x", "y"), refer("y", "z"), refer("z", "x"), refer("w", "x")];
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    check_errors(
        &texts,
        &expect![[r#"
        1.yml:5: correlations refer to each other in a circle: x -> y -> z -> x; break the circle
        2.yml:5: correlations refer to each other in a circle: y -> z -> x -> y; break the circle
        3.yml:5: correlations refer to each other in a circle: z -> x -> y -> z; break the circle
        4.yml:5: rule `x` has an error of its own; correct that rule first
    "#]],
    );
    check_errors(
        &[&refer("x", "x"), &detection("a", "")],
        &expect![[r#"
        0.yml:5: correlations refer to each other in a circle: x -> x; break the circle
    "#]],
    );
    let (set, _) = parse(&texts);
    assert_eq!(set.len(), 1);
}

#[test]
fn values_can_be_checked_against_lists_that_others_own() {
    let a = detection("a", "").replace("kind: sign_in", "kind: [sign_in, URL_clik, 'x*']");
    let (set, _) = parse(&[&a]);
    let errors = set.unknown_values("kind", &["sign_in", "url_click"]);
    let shown: String = errors.iter().map(|e| format!("{e}; {}\n", e.help())).collect();
    expect![[r#"
        0.yml:7: unknown value `URL_clik`; did you mean `url_click`?
    "#]]
    .assert_eq(&shown);
    assert!(set.unknown_values("source", &[]).is_empty());
}
