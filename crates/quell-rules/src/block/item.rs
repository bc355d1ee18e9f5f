//! Rules room: checks one `field|modifier: value` of a selection.

use std::str::FromStr as _;

use regex::RegexBuilder;
use rsigma_parser::Modifier;
use serde_json::{Value, json};

use super::{Check, Dialect, Literal, build};
use crate::error::{Fault, did_you_mean};
use crate::limits::{
    MAX_NAME_BYTES, MAX_PATTERN_BYTES, MAX_REGEX_BYTES, MAX_REGEXES, MAX_VALUES, MAX_WILDCARDS,
};
use crate::vocab::{ENTITY_PREFIX, EntityKind, FIELDS, Field, Use};

/// The field modifiers that are evaluated.
///
/// Not among them: encodings (`base64`, `wide`, ..), which a signal has no use for; `windash`,
/// which multiplies its value up to 390,625 times; `expand` and `fieldref`, which let one field's
/// text
/// choose what another is compared with; and parts of a timestamp, which belong to correlation.
pub const MODIFIERS: &[&str] = &[
    "contains",
    "startswith",
    "endswith",
    "all",
    "re",
    "i",
    "m",
    "s",
    "cidr",
    "cased",
    "exists",
    "gt",
    "gte",
    "lt",
    "lte",
    "neq",
];

impl Check {
    /// A selection that is a text or a list of texts, to be found anywhere in the event.
    pub(super) fn keywords(&mut self, values: &[Value], path: &[&str]) {
        if self.dialect == Dialect::Signal {
            let name = path.last().copied().unwrap_or_default().to_owned();
            let help = "write `field: value` below it";
            return self.problem(path, Fault::Keywords(name), help);
        }
        let key = path.last().copied().unwrap_or_default();
        self.values(key, &[], values, path);
    }

    /// One entry of a selection's mapping.
    pub(super) fn item(&mut self, key: &str, value: &Value, path: &[&str]) {
        let before = self.problems.len();
        let mut parts = key.split('|');
        let field = parts.next().unwrap_or_default();
        self.field(field, path);
        let modifiers: Vec<&str> = parts.collect();
        self.modifiers(&modifiers, path);
        match value {
            Value::Object(map) if self.dialect == Dialect::Record && field.contains('[') => {
                if map.contains_key("condition") {
                    self.block(value, path);
                } else {
                    self.selection(value, path);
                }
            }
            Value::Object(_) => {
                let fault = Fault::WrongValue {
                    key: key.to_owned(),
                    expected: "a value or a list of values".to_owned(),
                };
                self.problem(path, fault, "join nested names by dots, as in `entity.ip`");
            }
            Value::Array(values) => self.values(key, &modifiers, values, path),
            single => self.values(key, &modifiers, std::slice::from_ref(single), path),
        }
        if self.problems.len() == before {
            self.compiles(key, value, path);
            self.keep_literals(field, &modifiers, value, path);
        }
    }

    fn field(&mut self, field: &str, path: &[&str]) {
        if self.dialect == Dialect::Record {
            let segments = field.split('.').count();
            if field.is_empty() {
                self.problem(path, Fault::UnknownField(String::new()), "name the field");
            } else if field.len() > 2 * MAX_NAME_BYTES || segments > FIELD_SEGMENTS_MAX {
                let fault =
                    Fault::OverLimit { what: "the path of a field", max: FIELD_SEGMENTS_MAX };
                self.problem(path, fault, "name a field nearer to the top");
            }
            return;
        }
        if field.len() <= MAX_NAME_BYTES && Field::parse(field).is_some() {
            return;
        }
        let help = match field.strip_prefix(ENTITY_PREFIX) {
            Some(kind) => {
                did_you_mean(kind, EntityKind::NAMES.iter().copied()).replacen('`', "`entity.", 1)
            }
            None if field.starts_with("attr") => {
                "write `attr.` and a name of letters, digits, `_`, `-` and `.`".to_owned()
            }
            None => did_you_mean(field, FIELDS.iter().copied()),
        };
        self.problem(path, Fault::UnknownField(field.to_owned()), help);
    }

    fn modifiers(&mut self, modifiers: &[&str], path: &[&str]) {
        for modifier in modifiers {
            if MODIFIERS.contains(modifier) {
                continue;
            }
            let shown = (*modifier).to_owned();
            if Modifier::from_str(modifier).is_ok() {
                let listed = MODIFIERS.join("`, `");
                let help = format!("use one of `{listed}`");
                self.problem(path, Fault::UnsupportedModifier(shown), help);
            } else if *modifier == "not" {
                let help = "write the selection without it and `not` in the `condition`";
                self.problem(path, Fault::UnknownModifier(shown), help);
            } else {
                let help = did_you_mean(modifier, MODIFIERS.iter().copied());
                self.problem(path, Fault::UnknownModifier(shown), help);
            }
        }
    }

    fn values(&mut self, key: &str, modifiers: &[&str], values: &[Value], path: &[&str]) {
        let wrong = |expected: &str| Fault::WrongValue {
            key: key.to_owned(),
            expected: expected.to_owned(),
        };
        if values.is_empty() {
            return self.problem(path, wrong("a list that is not empty"), "list a value");
        }
        if values.len() > MAX_VALUES {
            let fault = Fault::OverLimit { what: "the number of values", max: MAX_VALUES };
            return self.problem(path, fault, "split the rule");
        }
        let has = |modifier: &str| modifiers.contains(&modifier);
        if has("neq") && !has("all") && values.len() > 1 {
            let fault = Fault::Unmatchable {
                key: key.to_owned(),
                why: "a value always differs from one of several".to_owned(),
            };
            let help = "add `|all`, or write a selection of its own and `not` in the `condition`";
            return self.problem(path, fault, help);
        }
        let compares = ["gt", "gte", "lt", "lte"].into_iter().any(has);
        for value in values {
            match value {
                Value::Array(_) | Value::Object(_) => {
                    let help = "join nested names by dots, as in `entity.ip`";
                    self.problem(path, wrong("a value or a list of values"), help);
                }
                Value::Bool(_) if !compares => {}
                _ if has("exists") => {
                    self.problem(path, wrong("true or false"), "write for example `|exists: true`");
                }
                Value::Number(_) if compares => {}
                _ if compares => self.problem(path, wrong("a number"), "write it without quotes"),
                Value::String(text) => self.text(key, text, modifiers, path),
                _ if has("re") => {
                    self.problem(path, wrong("a regular expression"), "quote the value");
                }
                _ => {}
            }
        }
    }

    fn text(&mut self, key: &str, text: &str, modifiers: &[&str], path: &[&str]) {
        let over = |what, max| Fault::OverLimit { what, max };
        if text.len() > MAX_PATTERN_BYTES {
            let fault = over("the size of the value in bytes", MAX_PATTERN_BYTES);
            return self.problem(path, fault, "compare with a shorter part of it");
        }
        let is_regex = modifiers.contains(&"re");
        let wildcards = text.bytes().filter(|byte| matches!(byte, b'*' | b'?')).count();
        if !is_regex && wildcards > MAX_WILDCARDS {
            let fault = over("the number of wildcards in the value", MAX_WILDCARDS);
            return self.problem(path, fault, "use `|re` or fewer wildcards");
        }
        if is_regex || wildcards > 0 {
            self.regexes += 1;
            if self.regexes == MAX_REGEXES + 1 {
                let fault = over("the number of patterns in the rule", MAX_REGEXES);
                self.problem(path, fault, "use `|contains`, `|startswith` or `|endswith`");
            }
        }
        if !is_regex {
            return;
        }
        let flag = |name: &str| modifiers.contains(&name);
        let built = RegexBuilder::new(text)
            .case_insensitive(flag("i"))
            .multi_line(flag("m"))
            .dot_matches_new_line(flag("s"))
            .size_limit(MAX_REGEX_BYTES)
            .build();
        match built {
            Ok(_) => {}
            Err(regex::Error::CompiledTooBig(_)) => {
                let fault = over("the compiled size of the pattern in bytes", MAX_REGEX_BYTES);
                self.problem(path, fault, "use smaller counts, or `[a-z0-9]` in place of `\\w`");
            }
            Err(error) => {
                let text = error.to_string();
                let why = text.lines().last().unwrap_or_default().replace("error: ", "");
                let fault = Fault::Unmatchable { key: key.to_owned(), why: super::one_line(&why) };
                self.problem(path, fault, "write the regular expression as the crate `regex` does");
            }
        }
    }

    /// Compiles the item alone, so that what rsigma refuses is told with its line.
    fn compiles(&mut self, key: &str, value: &Value, path: &[&str]) {
        let alone = json!({ "selection": { key: value }, "condition": "selection" });
        if let Err(refusal) = build(&alone, self.dialect) {
            self.problems.push(refusal.problem(path));
        }
    }

    fn keep_literals(&mut self, field: &str, modifiers: &[&str], value: &Value, path: &[&str]) {
        if !modifiers.iter().all(|modifier| matches!(*modifier, "cased" | "neq" | "all")) {
            return;
        }
        let values = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
        for text in values.iter().filter_map(Value::as_str) {
            if text.contains(['*', '?', '\\']) {
                continue;
            }
            let known = || Use::NAMES.iter().any(|name| name.eq_ignore_ascii_case(text));
            if self.dialect == Dialect::Signal && field == "use" && !known() {
                let help = did_you_mean(text, Use::NAMES.iter().copied());
                let fault = Fault::UnknownValue { what: "use", value: text.to_owned() };
                self.problem(path, fault, help);
            } else {
                self.literals.push(Literal {
                    field: field.to_owned(),
                    value: text.to_owned(),
                    path: path.iter().map(|segment| (*segment).to_owned()).collect(),
                });
            }
        }
    }
}

const FIELD_SEGMENTS_MAX: usize = 32;
