//! Rules room: checks the `condition` of a block before rsigma's recursive parser sees it.

use std::collections::BTreeSet;

use rsigma_parser::ConditionExpr;
use serde_json::Value;

use super::one_line;
use crate::error::{Fault, Problem, did_you_mean};
use crate::limits::{
    MAX_CONDITION_BYTES, MAX_CONDITION_NESTING, MAX_CONDITION_NOTS, MAX_NAME_BYTES, MAX_VALUES,
};

/// Whether a selection of this name can be named by a condition.
pub(super) fn is_name(name: &str) -> bool {
    let reserved = ["and", "or", "not", "all", "any", "of", "them"];
    let is_char = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    !name.is_empty()
        && name.len() <= MAX_NAME_BYTES
        && name.bytes().all(is_char)
        && !reserved.contains(&name)
}

/// Checks one `condition`: a text, or a list of texts of which one must hold.
pub(super) fn check(value: &Value, names: &BTreeSet<&str>, path: &[&str]) -> Vec<Problem> {
    let texts: Vec<&Value> = match value {
        Value::Array(items) if !items.is_empty() && items.len() <= MAX_VALUES => {
            items.iter().collect()
        }
        single => vec![single],
    };
    let mut problems = Vec::new();
    let mut used = BTreeSet::new();
    for text in texts {
        let read = match text.as_str() {
            Some(text) => read(text),
            None => Err((
                Fault::WrongValue {
                    key: "condition".to_owned(),
                    expected: "a text or a list of texts".to_owned(),
                },
                CONDITION_HELP.to_owned(),
            )),
        };
        match read {
            Ok(condition) => references(&condition, names, &mut used, path, &mut problems),
            Err((fault, help)) => problems.push(Problem::new(path, fault, help)),
        }
    }
    if problems.is_empty() {
        for name in names.iter().filter(|name| !used.contains(**name)) {
            let path = [path.split_last().map_or(path, |(_, above)| above), &[*name]].concat();
            let fault = Fault::UnusedSelection((*name).to_owned());
            let help = "name it in the `condition` or remove it";
            problems.push(Problem::new(&path, fault, help));
        }
    }
    problems
}

/// Reads one condition within caps; rsigma's own parser overflows the stack at some thousand
/// parentheses or `not` in a row.
fn read(text: &str) -> Result<ConditionExpr, (Fault, String)> {
    let over = |what, max| Err((Fault::OverLimit { what, max }, "write it shorter".to_owned()));
    if text.len() > MAX_CONDITION_BYTES {
        return over("the size of the condition in bytes", MAX_CONDITION_BYTES);
    }
    let (mut open, mut deepest) = (0_usize, 0);
    for byte in text.bytes() {
        match byte {
            b'(' => open += 1,
            b')' => open = open.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(open);
    }
    if deepest > MAX_CONDITION_NESTING {
        return over("the nesting of the condition", MAX_CONDITION_NESTING);
    }
    let words = text.split(|c: char| c.is_whitespace() || c == '(' || c == ')');
    if words.filter(|word| *word == "not").count() > MAX_CONDITION_NOTS {
        return over("the number of `not` in the condition", MAX_CONDITION_NOTS);
    }
    rsigma_parser::parse_condition(text).map_err(|error| {
        let why = match error.location() {
            Some(place) => format!("at column {}", place.col),
            None => one_line(&error.to_string()),
        };
        let condition = one_line(text);
        (Fault::Condition { condition, why }, CONDITION_HELP.to_owned())
    })
}

/// Resolves the names of a condition against the selections.
fn references(
    condition: &ConditionExpr,
    names: &BTreeSet<&str>,
    used: &mut BTreeSet<String>,
    path: &[&str],
    problems: &mut Vec<Problem>,
) {
    match condition {
        ConditionExpr::Identifier(name) if names.contains(name.as_str()) => {
            used.insert(name.clone());
        }
        ConditionExpr::Identifier(name) => {
            let help = did_you_mean(name, names.iter().copied());
            problems.push(Problem::new(path, Fault::UnknownSelection(name.clone()), help));
        }
        ConditionExpr::And(parts) | ConditionExpr::Or(parts) => {
            for part in parts {
                references(part, names, used, path, problems);
            }
        }
        ConditionExpr::Not(part) => references(part, names, used, path, problems),
        ConditionExpr::Selector { pattern, .. } => {
            let matched = names.iter().filter(|name| pattern.matches_detection_name(name));
            let matched: Vec<&&str> = matched.collect();
            used.extend(matched.iter().map(|name| (**name).to_owned()));
            if matched.is_empty() {
                // rsigma takes `all of` nothing for true
                let help = did_you_mean(&pattern.to_string(), names.iter().copied());
                let fault = Fault::UnknownSelection(pattern.to_string());
                problems.push(Problem::new(path, fault, help));
            }
        }
    }
}

const CONDITION_HELP: &str =
    "combine names of selections by `and`, `or`, `not`, `1 of name_*`, `all of them`";
