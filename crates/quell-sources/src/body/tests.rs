//! Sources room: tests of cutting bodies into records.

use super::*;
use proptest::prelude::*;

fn lists() -> Vec<ListPath> {
    let list = |members: &[&str], name: &str| {
        ListPath::new(members.iter().map(|m| (*m).to_owned()).collect(), name)
    };
    vec![list(&["clicks"], "c"), list(&["data", "events"], "e"), list(&["data", "more"], "m")]
}

fn show(body: &[u8]) -> String {
    let lists = lists();
    match split(body, &lists) {
        Err(fault) => format!("{}: {}", fault.reason, fault.detail),
        Ok(parts) => {
            let shown = parts.iter().map(|part| {
                assert_eq!(&body[range(body, part.raw)], part.raw.as_bytes());
                format!("{}{}", part.list.map(|l| format!("{l}:")).unwrap_or_default(), part.raw)
            });
            shown.collect::<Vec<_>>().join(" | ")
        }
    }
}

#[test]
fn bodies_are_cut_into_the_bytes_of_their_records() {
    let check = |body: &str, want: &str| assert_eq!(show(body.as_bytes()), want, "{body}");
    check(r#"{"a":1}"#, r#"{"a":1}"#);
    check("\u{feff} {\n \"a\" : 1 }\n", "{\n \"a\" : 1 }");
    check(r#"[ {"a": 1} , {"b":2},3 ]"#, r#"{"a": 1} | {"b":2} | 3"#);
    check("[]", "");
    check("{\"a\":1}\n\n {\"b\":2} \n", "{\"a\":1} | {\"b\":2}");
    check("{\"a\":1}\nbroken\n{\"b\":2}", "{\"a\":1} | broken | {\"b\":2}");
    check(r#"{"clicks":[{"a":1},{"b":2}],"x":[9]}"#, r#"c:{"a":1} | c:{"b":2}"#);
    check(r#"{"clicks":[],"data":{"events":[{"a":1}],"more":[2]}}"#, r#"e:{"a":1} | m:2"#);
    check(r#"{"clicks":[]}"#, "");
    check(r#"{"clicks":{"a":1}}"#, r#"{"clicks":{"a":1}}"#);
    check("{\"clicks\":[1]}\n{\"data\":{\"events\":[2]}}", "c:1 | e:2");
    check(r#"[{"clicks":[1]}]"#, r#"{"clicks":[1]}"#);
}

#[test]
fn broken_bodies_have_one_reason() {
    let check = |body: &[u8], want: &str| assert_eq!(show(body), want);
    check(b"", "unparsable: an empty body");
    check(b" \n ", "unparsable: an empty body");
    check(b"{\"a\":\xff}", "unparsable: not UTF-8 after byte 5");
    check(b"{\"a\":1", "unparsable: cut off JSON at line 1 column 6");
    check(b"[{\"a\":1},]", "unparsable: broken JSON at line 1 column 10");
    check(b"{\"a\":1} trailing", "unparsable: broken JSON at line 1 column 9");
    check(b"hello", "unparsable: broken JSON at line 1 column 1");
    let deep = "[".repeat(100_000);
    check(deep.as_bytes(), "unparsable: cut off JSON at line 1 column 100000");
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    check(deep.as_bytes(), "too_large: nesting over the limit of 64 levels");
    let many = format!("[{}1]", "1,".repeat(RECORDS_MAX));
    check(many.as_bytes(), "too_large: over the limit of 10000 records in a body");
    let many = format!("{{\"clicks\":[{}1]}}", "1,".repeat(RECORDS_MAX));
    check(many.as_bytes(), "too_large: over the limit of 10000 records in a body");
    let many = "{}\n".repeat(RECORDS_MAX + 1);
    check(many.as_bytes(), "too_large: over the limit of 10000 records in a body");
}

#[test]
fn depth_counts_brackets_outside_of_strings() {
    let check = |text: &str, levels, want| assert_eq!(is_deeper_than(text, levels), want, "{text}");
    check("[[]]", 2, false);
    check("[[[]]]", 2, true);
    check(r#"{"a":"[[[[","b":[1]}"#, 2, false);
    check(r#"["\"[[[", []]"#, 2, false);
    check("[[],[],[]]", 2, false);
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
        let lists = lists();
        let _parts = split(&body, &lists);
    }

    #[test]
    fn no_json_like_text_makes_it_panic(body in r#"[\[\]{}",:a1\n \\]{0,80}"#) {
        let lists = lists();
        if let Ok(parts) = split(body.as_bytes(), &lists) {
            for part in parts {
                let range = range(body.as_bytes(), part.raw);
                prop_assert_eq!(body.get(range), Some(part.raw));
            }
        }
    }
}
