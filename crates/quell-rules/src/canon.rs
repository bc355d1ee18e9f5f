//! Rules room: one text for one meaning. Writes a value as a single line of flow YAML that is also
//! the input of the digest; never reads anything.

use std::fmt::Write as _;

use serde_json::Value;

/// Writes `value` in canonical form: keys sorted by bytes, one line, ASCII only.
///
/// The text is valid YAML 1.1 and 1.2 and means the same value, so rsigma compiles exactly what the
/// digest covers. Comments, key order, quoting and line breaks of the source do not show.
pub(crate) fn write(value: &Value, out: &mut String) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(flag) => out.push_str(if *flag { "true" } else { "false" }),
        Value::Number(number) => write_number(number, out),
        Value::String(text) => write_text(text, out),
        Value::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push_str(", ");
                }
                write(item, out);
            }
            out.push(']');
        }
        Value::Object(map) => {
            let mut entries: Vec<(&String, &Value)> = map.iter().collect();
            entries.sort_unstable_by_key(|(key, _)| *key);
            out.push('{');
            for (i, (key, item)) in entries.into_iter().enumerate() {
                if i > 0 {
                    out.push_str(", ");
                }
                write_text(key, out);
                out.push_str(": ");
                write(item, out);
            }
            out.push('}');
        }
    }
}

/// The canonical text of a value.
pub(crate) fn text(value: &Value) -> String {
    let mut out = String::new();
    write(value, &mut out);
    out
}

fn write_number(number: &serde_json::Number, out: &mut String) {
    let written = match (number.as_i64(), number.as_u64(), number.as_f64()) {
        (Some(int), _, _) => write!(out, "{int}"),
        (_, Some(int), _) => write!(out, "{int}"),
        // the exponent form keeps a float a float in YAML's core schema
        (_, _, Some(float)) => write!(out, "{float:?}"),
        _ => write!(out, "null"),
    };
    debug_assert!(written.is_ok(), "writing to a string does not fail");
}

fn write_text(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            ' '..='~' => out.push(c),
            _ => {
                let written = write!(out, "\\U{:08X}", u32::from(c));
                debug_assert!(written.is_ok(), "writing to a string does not fail");
            }
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::text;

    #[test]
    fn one_text_for_one_meaning() {
        let value = json!({"b": [1, -2, 1.5, 1e300, true], "a": {"z": "é\n\"\\", "y": ""}});
        let expected = expect![[
            r#"{"a": {"y": "", "z": "\U000000E9\U0000000A\"\\"}, "b": [1, -2, 1.5, 1e300, true]}"#
        ]];
        expected.assert_eq(&text(&value));
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                proptest::collection::btree_map(any::<String>(), inner, 0..6)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn yaml_reads_back_the_same_value(value in any_value()) {
            let read: Value = yaml_serde::from_str(&text(&value)).unwrap();
            prop_assert_eq!(read, value);
        }
    }
}
