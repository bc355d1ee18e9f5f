//! `quell test`, differences: what is expected against what came out, line by line. It judges only
//! what was written down.

use serde_json::Value;

use super::yaml;

/// Lines that a difference may have; beyond them both sides are shown whole.
const LINES_MAX: usize = 2_000;

/// Why what came out is not what is expected; none when it is.
pub(super) fn failure(expected: Option<&Value>, came: &Value) -> Option<String> {
    let Some(expected) = expected else {
        return Some(
            "  nothing is expected: `quell test --update` writes what came out".to_owned(),
        );
    };
    let came = seen(expected, came);
    if came == *expected {
        return None;
    }
    let lines = |value: &Value| {
        let mut text = String::new();
        yaml::write(&mut text, value, 0);
        text.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    Some(compared(&lines(expected), &lines(&came)))
}

/// What came out, as far as the expectation speaks of it.
fn seen(expected: &Value, came: &Value) -> Value {
    match (expected, came) {
        (Value::Object(wanted), Value::Object(all)) => {
            let own = wanted
                .iter()
                .filter_map(|(key, wanted)| Some((key.clone(), seen(wanted, all.get(key)?))));
            Value::Object(own.collect())
        }
        (Value::Array(wanted), Value::Array(all)) => {
            let own = all.iter().enumerate().map(|(n, came)| match wanted.get(n) {
                Some(wanted) => seen(wanted, came),
                None => came.clone(),
            });
            Value::Array(own.collect())
        }
        _ => came.clone(),
    }
}

/// The lines of both, `-` before what is expected and `+` before what came.
fn compared(a: &[String], b: &[String]) -> String {
    let mut out = String::new();
    let mut line = |mark: char, text: &str| {
        out.push_str("  ");
        out.push(mark);
        out.push(' ');
        out.push_str(text);
        out.push('\n');
    };
    if a.len().max(b.len()) > LINES_MAX {
        a.iter().for_each(|text| line('-', text));
        b.iter().for_each(|text| line('+', text));
        return out;
    }
    let common = common(a, b);
    let at = |i: usize, j: usize| common.get(i).and_then(|row| row.get(j)).copied().unwrap_or(0);
    let (mut i, mut j) = (0, 0);
    loop {
        match (a.get(i), b.get(j)) {
            (None, None) => break,
            (Some(one), Some(other)) if one == other => {
                line(' ', one);
                (i, j) = (i + 1, j + 1);
            }
            (Some(one), other) if other.is_none() || at(i + 1, j) >= at(i, j + 1) => {
                line('-', one);
                i += 1;
            }
            (_, Some(other)) => {
                line('+', other);
                j += 1;
            }
            (Some(one), None) => {
                line('-', one);
                i += 1;
            }
        }
    }
    out
}

/// For each pair of places how many lines both have in common from there on.
fn common(a: &[String], b: &[String]) -> Vec<Vec<u32>> {
    let mut rows = vec![vec![0_u32; b.len() + 1]];
    for one in a.iter().rev() {
        let mut row = vec![0_u32; b.len() + 1];
        let below = rows.last().cloned().unwrap_or_default();
        for (j, other) in b.iter().enumerate().rev() {
            let get = |row: &[u32], j: usize| row.get(j).copied().unwrap_or_default();
            let value = if one == other {
                get(&below, j + 1) + 1
            } else {
                get(&below, j).max(get(&row, j + 1))
            };
            if let Some(slot) = row.get_mut(j) {
                *slot = value;
            }
        }
        rows.push(row);
    }
    rows.reverse();
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};
    use serde_json::json;

    fn check(expected: &Value, came: &Value, want: &Expect) {
        // A first line without indentation keeps that of the others.
        let told = failure(Some(expected), came).map(|text| format!("told:\n{text}"));
        want.assert_eq(&told.unwrap_or_default());
    }

    #[test]
    fn only_what_is_written_down_is_compared() {
        let came = json!({ "plan": [{ "action": "watch", "approvals": 0 }], "findings": [1] });
        check(&json!({ "plan": [{ "action": "watch" }] }), &came, &expect![[""]]);
        check(
            &json!({ "plan": [{ "action": "suspend" }] }),
            &came,
            &expect![[r#"
                told:
                    plan:
                  -   - action: suspend
                  +   - action: watch
            "#]],
        );
        check(
            &json!({ "plan": [], "nothing": 1 }),
            &came,
            &expect![[r#"
                told:
                  - plan: []
                  - nothing: 1
                  + plan:
                  +   - action: watch
                  +     approvals: 0
            "#]],
        );
        assert!(failure(None, &came).is_some());
    }
}
