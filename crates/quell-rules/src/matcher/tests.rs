//! Rules room: tests of matching one event.

use expect_test::{Expect, expect};

use super::Matcher;
use crate::event::Event;
use crate::set::RuleSet;
use crate::vocab::{Category, EntityKind, Field};

fn click(category: Category) -> Event<'static> {
    Event::new(category)
        .with(Field::Kind, "url_click")
        .with(Field::Use, "join")
        .with(Field::Source, "proofpoint_tap")
        .with(Field::Confidence, 70_u8)
        .with(Field::Subject, "ada@example.com")
        .with(Field::Entity(EntityKind::Ip), "192.0.2.7")
        .with(Field::Entity(EntityKind::Url), "https://login.example.org/a")
        .with(Field::Entity(EntityKind::Url), "https://b.example.org/")
        .with(Field::Attr("classification"), "PHISH")
        .with(Field::Attr("count"), 3_i64)
}

/// One rule per line of `name: detection in flow style`; shows the names of those that match.
fn check(rules: &[(&str, &str)], event: &Event<'_>, expected: &Expect) {
    let text: String = rules
        .iter()
        .map(|(id, detection)| {
            format!(
                "---\ntitle: {id}\nid: {id}\nlogsource: {{product: quell}}\ndetection: {detection}\n"
            )
        })
        .collect();
    let (set, errors) = RuleSet::parse(&[("rules.yml", &text)]);
    assert_eq!(errors, []);
    let matched = Matcher::new(&set).match_event(event);
    let ids: Vec<&str> = matched.iter().map(|idx| set.get(*idx).unwrap().id()).collect();
    expected.assert_eq(&ids.join(" "));
}

#[test]
fn compares_fields_as_sigma_does() {
    let rules = [
        ("a-exact", "{s: {kind: url_click}, condition: s}"),
        ("b-case", "{s: {kind: URL_Click}, condition: s}"),
        ("c-cased", "{s: {attr.classification|cased: phish}, condition: s}"),
        ("d-gte", "{s: {confidence|gte: 70}, condition: s}"),
        ("e-gt", "{s: {confidence|gt: 70}, condition: s}"),
        ("f-list", "{s: {use: [alone, join]}, condition: s}"),
        ("g-cidr", "{s: {entity.ip|cidr: 192.0.2.0/24}, condition: s}"),
        ("h-any-url", "{s: {entity.url|startswith: 'https://b.'}, condition: s}"),
        ("i-all-urls", "{s: {entity.url|contains|all: [login, b.example]}, condition: s}"),
        ("j-wildcard", "{s: {entity.url: '*example.org/?'}, condition: s}"),
        ("k-re", "{s: {subject|re: '^[a-z]+@example\\.com$'}, condition: s}"),
        ("l-exists", "{s: {anomaly|exists: false}, condition: s}"),
        ("m-null", "{s: {entity.device: null}, condition: s}"),
        ("n-neq", "{s: {source|neq: okta}, condition: s}"),
        ("o-neq-absent", "{s: {entity.device|neq: x}, condition: s}"),
        ("p-not", "{s: {kind: url_click}, f: {source: proofpoint_tap}, condition: s and not f}"),
        ("q-int", "{s: {attr.count: 3}, condition: s}"),
        ("r-maps", "{s: [{kind: sign_in}, {use: join}], condition: s}"),
        ("s-them", "{s: {kind: url_click}, t: {use: fact}, condition: 1 of them}"),
        ("t-of", "{s_a: {kind: url_click}, s_b: {use: fact}, condition: all of s_*}"),
        ("u-two", "{s: {kind: url_click}, condition: [not s, s]}"),
    ];
    check(
        &rules,
        &click(Category::Mail),
        &expect![[r#"
            a-exact b-case d-gte f-list g-cidr h-any-url i-all-urls j-wildcard k-re l-exists m-null n-neq q-int r-maps s-them u-two"#]],
    );
}

#[test]
fn an_index_loses_no_match() {
    // the shapes of which rsigma's own index loses matches
    let rules = [
        ("a", "{s: {kind: sign_in}, condition: not s}"),
        ("b", "{s: [{kind: sign_in}, {use|startswith: jo}], condition: s}"),
        ("c", "{s: {kind: [sign_in, 'url_*']}, condition: s}"),
        ("d", "{s: {kind: sign_in}, t: {use: join}, condition: s or t}"),
        ("e", "{s: {kind: sign_in}, t: {use: join}, condition: 1 of them}"),
        ("f", "{s: {kind|neq: sign_in}, condition: s}"),
    ];
    check(&rules, &click(Category::Mail), &expect!["a b c d e f"]);
}

#[test]
fn a_category_limits_a_rule() {
    let rule = |id: &str, category: &str| {
        format!(
            "---\ntitle: {id}\nid: {id}\nlogsource: {{product: quell{category}}}\n\
             detection: {{s: {{kind: url_click}}, condition: s}}\n"
        )
    };
    let text = rule("a", "")
        + &rule("b", ", category: any")
        + &rule("c", ", category: mail")
        + &rule("d", ", category: identity");
    let (set, errors) = RuleSet::parse(&[("rules.yml", &text)]);
    assert_eq!(errors, []);
    let matcher = Matcher::new(&set);
    let ids = |category| {
        let matched = matcher.match_event(&click(category));
        matched.iter().map(|idx| set.get(*idx).unwrap().id()).collect::<String>()
    };
    assert_eq!(ids(Category::Mail), "abc");
    assert_eq!(ids(Category::Identity), "abd");
    assert_eq!(ids(Category::NonHuman), "ab");
    assert_eq!(ids(Category::Any), "abcd");
}
