//! Rules room: tests of reading YAML with caps.

use expect_test::{Expect, expect};

use super::documents;

fn check(text: &str, expected: &Expect) {
    let mut shown = String::new();
    for read in documents(text) {
        match read {
            Ok(document) => {
                shown +=
                    &format!("{}: {}\n", document.line(), crate::canon::text(document.value()));
            }
            Err(error) => {
                shown += &format!("{}: error: {}; {}\n", error.line, error.fault, error.help);
            }
        }
    }
    expected.assert_eq(&shown);
}

#[test]
fn reads_documents_with_their_lines() {
    check(
        "# head\n\n---\na: 1\n---\n# only a comment\n--- # b\nb: [x, 'y']\n...\n---\n",
        &expect![[r#"
            4: {"a": 1}
            8: {"b": ["x", "y"]}
        "#]],
    );
    check("", &expect![""]);
    check(
        "a: |\n  ---\n  b: 1\nc: 2\n",
        &expect![[r#"
        1: {"a": "---\U0000000Ab: 1\U0000000A", "c": 2}
    "#]],
    );
}

#[test]
fn one_broken_document_does_not_hide_the_others() {
    check(
        "a: 1\n---\nb: [\n---\nc: 3\nc: 4\n---\nd: 5\n",
        &expect![[r#"
            1: {"a": 1}
            3: error: yaml: did not find expected node content; check indentation and quotes
            5: error: yaml: key `c` stands twice; remove or rename one of them
            8: {"d": 5}
        "#]],
    );
}

#[test]
fn refuses_what_a_rule_never_needs() {
    check(
        "1: a\n",
        &expect![[r#"
        1: error: yaml: a key that is not a text; quote the key
    "#]],
    );
    check(
        "a: .nan\n",
        &expect![[r#"
        1: error: yaml: a float that is no number; quote it, or write a number
    "#]],
    );
    check(
        "a: !tag b\n",
        &expect![[r#"
        1: error: yaml: a: invalid type: enum, expected a text, a number, true, false, a list or a mapping; check indentation and quotes
    "#]],
    );
    check(
        "a: *b\n",
        &expect![[r#"
        1: error: yaml: unknown anchor; check indentation and quotes
    "#]],
    );
    check(
        "a: 1\n...\nb: 2\n",
        &expect![[r#"
        1: error: yaml: a second document without a line `---` before it; start each document with a line `---`
    "#]],
    );
    check(
        "%YAML 1.2\n---\na: 1\n",
        &expect![[r#"
            1: error: yaml: did not find expected <document start>; check indentation and quotes
            3: {"a": 1}
        "#]],
    );
    check(
        "a: \u{1}\n",
        &expect![[r#"
        1: error: yaml: control characters are not allowed at position 3; check indentation and quotes
    "#]],
    );
}

#[test]
fn holds_its_caps() {
    check(
        &"a".repeat(256 * 1024 + 1),
        &expect![[r#"
        1: error: the size of the file in bytes is over the limit of 262144; split the file
    "#]],
    );
    let read = documents(&"--- 1\n".repeat(65));
    assert_eq!(read.iter().filter(|read| read.is_ok()).count(), 64);
    let last = read.last().unwrap().as_ref().unwrap_err();
    expect!["65: the number of documents in the file is over the limit of 64"]
        .assert_eq(&format!("{}: {}", last.line, last.fault));
    check(
        &format!("a: {}\n", "[".repeat(40)),
        &expect![[r#"
        1: error: the nesting of the document is over the limit of 32; write it flatter
    "#]],
    );
    check(
        &format!("a: {}{}\n", "[".repeat(32), "]".repeat(32)),
        &expect![[r#"
        1: error: the nesting of the document is over the limit of 32; write it flatter
    "#]],
    );
    check(
        &format!("a: {}{}\n", "[".repeat(31), "]".repeat(31)),
        &expect![[r#"
        1: {"a": [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]}
    "#]],
    );
    let many = "x,".repeat(200);
    let aliases = "*a,".repeat(200);
    check(
        &format!("a: &a [{many}]\nb: [{aliases}]\n"),
        &expect![[r#"
        1: error: the number of values in the document is over the limit of 32768; write fewer values, and no alias of an alias
    "#]],
    );
}

#[test]
fn tells_the_line_of_a_key() {
    let text = "\
# head
title: x
description: |
  selection: not here
  kind: nor here
detection:
  # a comment
  selection:
    kind: url_click

    use|contains:
      - alone
      - join
  other:
  - kind: a
    use: b
  - source: c
  flow: {kind: x, use: y}
  condition: selection
rules: [a, b]
list:
- one
- two
";
    let documents = documents(text);
    let document = documents[0].as_ref().unwrap();
    let check = |path: &[&str], line: u32| assert_eq!(document.line_of(path), line, "{path:?}");
    check(&[], 2);
    check(&["title"], 2);
    check(&["detection"], 6);
    check(&["detection", "selection"], 8);
    check(&["detection", "selection", "kind"], 9);
    check(&["detection", "selection", "use|contains"], 11);
    check(&["detection", "selection", "use|contains", "join"], 13);
    check(&["detection", "other", "use"], 16);
    check(&["detection", "other", "source"], 17);
    check(&["detection", "flow", "use"], 18);
    check(&["detection", "condition"], 19);
    check(&["detection", "absent", "kind"], 6);
    check(&["rules", "b"], 20);
    check(&["list", "two"], 23);
    check(&["absent"], 2);
}
