//! Evidence: tests of the canonical encoding; nothing here is used outside tests.

use expect_test::{Expect, expect};
use proptest::prelude::*;
use serde_json::json;

use super::*;

/// Encodes the JSON in `input` and shows the bytes or the error.
fn check(input: &str, expected: &Expect) {
    let value: Value = serde_json::from_str(input).unwrap();
    let shown = match encode(&value) {
        Ok(bytes) => String::from_utf8(bytes).unwrap(),
        Err(error) => format!("error: {error}"),
    };
    expected.assert_eq(&shown);
}

/// Parses `input` strictly and shows `ok` or the error.
fn check_strict(input: &str, expected: &Expect) {
    let shown = match parse_canonical(input.as_bytes()) {
        Ok(_) => "ok".to_owned(),
        Err(error) => format!("error: {error}"),
    };
    expected.assert_eq(&shown);
}

fn nested(levels: usize) -> Value {
    (1..levels).fold(json!([]), |inner, _| json!([inner]))
}

#[test]
fn values_are_written_by_rfc_8785() {
    check("null", &expect!["null"]);
    check("[true, false, null]", &expect!["[true,false,null]"]);
    check("[ ]", &expect!["[]"]);
    check("{ }", &expect!["{}"]);
    check("[0, -1, 10, 1234567890]", &expect!["[0,-1,10,1234567890]"]);
    check("9007199254740991", &expect!["9007199254740991"]);
    check("-9007199254740991", &expect!["-9007199254740991"]);
    check(
        "9007199254740992",
        &expect!["error: `9007199254740992` is beyond 2^53 - 1: write it as a string"],
    );
    check(
        "-9007199254740992",
        &expect!["error: `-9007199254740992` is beyond 2^53 - 1: write it as a string"],
    );
    check(
        "-9223372036854775808",
        &expect!["error: `-9223372036854775808` is beyond 2^53 - 1: write it as a string"],
    );
    check("1.5", &expect!["error: `1.5` is not an integer: write it as a string"]);
    check(r#"{"é": 1}"#, &expect!["error: the member name `é` is not ASCII"]);
    check(r#"{"b":1,"a":2,"B":3,"":4,"aa":5}"#, &expect![[r#"{"":4,"B":3,"a":2,"aa":5,"b":1}"#]]);
}

#[test]
fn strings_have_the_escapes_of_rfc_8785_and_no_others() {
    // The string of RFC 8785, section 3.2.2.
    check(
        r#"["\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/"]"#,
        &expect![[r#"["€$\u000f\nA'B\"\\\\\"/"]"#]],
    );
    check(
        r#"["\u0000\u0001\u0008\u0009\u000a\u000b\u000c\u000d\u001f\u007f\u2028é😀"]"#,
        &expect![[r#"["\u0000\u0001\b\t\n\u000b\f\r\u001f é😀"]"#]],
    );
}

#[test]
fn members_are_sorted_whatever_the_map_does() {
    let mut forward = Map::new();
    let mut backward = Map::new();
    for key in ["a", "z", "A", "_", "0"] {
        forward.insert(key.to_owned(), json!(key));
    }
    for key in ["0", "_", "A", "z", "a"] {
        backward.insert(key.to_owned(), json!(key));
    }
    let one = encode(&Value::Object(forward)).unwrap();
    let other = encode(&Value::Object(backward)).unwrap();
    assert_eq!(one, other);
    assert_eq!(one, br#"{"0":"0","A":"A","_":"_","a":"a","z":"z"}"#);
}

#[test]
fn names_of_the_json_library_are_refused() {
    let value = json!({"$serde_json::private::Number": "1"});
    let error = encode(&value).unwrap_err();
    assert_eq!(error.to_string(), "the member name `$serde_json::private::Number` is reserved");
    for text in
        [r#"{"$serde_json::private::Number":"1"}"#, r#"{"$serde_json::private::RawValue":"1"}"#]
    {
        assert!(parse_canonical(text.as_bytes()).is_err(), "{text}");
    }
}

#[test]
fn depth_and_length_are_capped() {
    assert!(encode(&nested(MAX_DEPTH)).is_ok());
    assert_eq!(encode(&nested(MAX_DEPTH + 1)), Err(NotCanonical::Deep(MAX_DEPTH)));
    let deep = "[".repeat(100_000);
    assert!(matches!(parse_canonical(deep.as_bytes()), Err(NotCanonical::NotJson(_))));

    let fits = "x".repeat(MAX_BYTES - 2);
    assert!(encode(&json!(fits)).is_ok());
    let long = "x".repeat(MAX_BYTES - 1);
    assert_eq!(encode(&json!(long)), Err(NotCanonical::Long(MAX_BYTES)));
    assert_eq!(
        parse_canonical(format!("\"{long}\"").as_bytes()),
        Err(NotCanonical::Long(MAX_BYTES))
    );
}

#[test]
fn an_error_leaves_the_buffer_as_it_was() {
    let mut out = b"kept".to_vec();
    encode_capped(&json!(["written", 1.5]), Caps::DEFAULT, &mut out).unwrap_err();
    assert_eq!(out, b"kept");
}

#[test]
fn only_the_canonical_form_is_read() {
    check_strict(r#"{"a":1,"b":[true,null,"x"]}"#, &expect!["ok"]);
    check_strict(r#"{"a": 1}"#, &expect!["error: not in canonical form from byte 5 on"]);
    check_strict("1\n", &expect!["error: not in canonical form from byte 1 on"]);
    check_strict(r#"{"b":1,"a":2}"#, &expect!["error: not in canonical form from byte 2 on"]);
    check_strict(r#"{"a":1,"a":1}"#, &expect!["error: not in canonical form from byte 6 on"]);
    check_strict(r#"{"a":1,"a":2}"#, &expect!["error: not in canonical form from byte 5 on"]);
    check_strict(r#""\u0041""#, &expect!["error: not in canonical form from byte 1 on"]);
    check_strict(r#""\/""#, &expect!["error: not in canonical form from byte 1 on"]);
    check_strict(r#""\u001F""#, &expect!["error: not in canonical form from byte 6 on"]);
    check_strict("1.0", &expect!["error: `1.0` is not an integer: write it as a string"]);
    check_strict("01", &expect!["error: not JSON: invalid number at line 1 column 2"]);
    check_strict("", &expect!["error: not JSON: EOF while parsing a value at line 1 column 0"]);
    check_strict("1 2", &expect!["error: not JSON: trailing characters at line 1 column 3"]);
}

#[test]
fn numbers_written_another_way_are_refused() {
    for text in ["-0", "-0.0", "1e2", "1E2", "1e400", "0.1", "18446744073709551616", "+1", "0x1"] {
        assert!(parse_canonical(text.as_bytes()).is_err(), "{text}");
    }
}

#[test]
fn broken_utf8_is_refused() {
    assert!(matches!(parse_canonical(b"\"\xff\""), Err(NotCanonical::NotJson(_))));
}

/// Any value that has a canonical form.
fn values() -> impl Strategy<Value = Value> {
    let max = i64::try_from(MAX_INTEGER).unwrap();
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-max..=max).prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map("[ -~]{0,6}", inner, 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_encoded_is_read_back(value in values()) {
        let bytes = encode(&value).unwrap();
        prop_assert_eq!(parse_canonical(&bytes).unwrap(), value);
    }

    #[test]
    fn what_is_read_is_encoded_back(text in r#"[\[\]{}",:0-9a-c\\ntrue-]{0,24}"#) {
        if let Ok(value) = parse_canonical(text.as_bytes()) {
            prop_assert_eq!(encode(&value).unwrap(), text.as_bytes());
        }
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        if let Ok(value) = parse_canonical(&bytes) {
            prop_assert_eq!(encode(&value).unwrap(), bytes);
        }
    }

    #[test]
    fn integers_are_written_in_decimal(number: u64) {
        let mut out = Vec::new();
        put_integer(number, &mut out);
        prop_assert_eq!(out, number.to_string().into_bytes());
    }
}
