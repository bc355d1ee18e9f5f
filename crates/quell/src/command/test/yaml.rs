//! `quell test`, YAML: a value in lines that are the same for the same value. It reads nothing.

use serde_json::Value;

/// Writes a mapping or list, indented by twice `depth` spaces.
pub(super) fn write(out: &mut String, value: &Value, depth: usize) {
    let pad = "  ".repeat(depth);
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (key, value) in map {
                put!(out, "{pad}{}:", scalar(&Value::String(key.clone())));
                below(out, value, depth);
            }
        }
        Value::Array(list) if !list.is_empty() => {
            for item in list {
                match item {
                    Value::Object(map) if !map.is_empty() => {
                        let mut text = String::new();
                        write(&mut text, item, depth + 1);
                        let own = text.get(pad.len() + 2..).unwrap_or_default();
                        put!(out, "{pad}- {own}");
                    }
                    other => {
                        put!(out, "{pad}-");
                        below(out, other, depth);
                    }
                }
            }
        }
        other => {
            putln!(out, "{pad}{}", scalar(other));
        }
    }
}

/// What stands behind a key or a dash.
fn below(out: &mut String, value: &Value, depth: usize) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            out.push('\n');
            write(out, value, depth + 1);
        }
        Value::Array(list) if !list.is_empty() => {
            out.push('\n');
            write(out, value, depth + 1);
        }
        other => {
            putln!(out, " {}", scalar(other));
        }
    }
}

/// One value on its line: plain where no reader can take it for something else, else as JSON writes
/// it, which YAML reads as well.
fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) if is_plain(text) => text.clone(),
        other => other.to_string(),
    }
}

fn is_plain(text: &str) -> bool {
    const WORDS: [&str; 9] = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    let begins = text.starts_with(|c: char| c.is_ascii_alphabetic());
    let holds = |c: char| c.is_ascii_alphanumeric() || "_-./@ ".contains(c);
    let word = text.to_lowercase();
    begins && !text.ends_with(' ') && text.chars().all(holds) && !WORDS.contains(&word.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn a_value_is_written_for_people() {
        let value = json!({
            "findings": [{ "title": "a: b", "tier": "contain", "caps": [] }],
            "plan": [{ "on": "okta:00u1", "n": 1, "more": { "x": ["no", "it's", ""] } }, 7],
            "none": [],
        });
        let mut text = String::new();
        write(&mut text, &value, 0);
        expect![[r#"
            findings:
              - title: "a: b"
                tier: contain
                caps: []
            plan:
              - "on": "okta:00u1"
                "n": 1
                more:
                  x:
                    - "no"
                    - "it's"
                    - ""
              - 7
            none: []
        "#]]
        .assert_eq(&text);
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            "[ -~\u{a0}-\u{ff}\n\t]{0,12}".prop_map(Value::String),
            any::<i32>().prop_map(|n| json!(n)),
            any::<bool>().prop_map(Value::Bool),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
                prop::collection::btree_map("[a-z:# ]{1,6}", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(value in values()) {
            let value = json!({ "expect": value });
            let mut text = String::new();
            write(&mut text, &value, 0);
            let read = quell_rules::yaml::documents(&text);
            let read = read.into_iter().next().unwrap().unwrap();
            prop_assert_eq!(read.value(), &value, "{}", text);
        }
    }
}
