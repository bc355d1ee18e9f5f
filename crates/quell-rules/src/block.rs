//! Rules room: checks one Sigma `detection` block and has rsigma compile it.
//! Everything that rsigma would misread in silence is refused here, before it sees the block.

mod condition;
mod item;

pub use item::MODIFIERS;

use std::collections::BTreeSet;

use rsigma_eval::CompiledRule;
use rsigma_parser::Detections;
use serde_json::{Value, json};

use crate::canon;
use crate::error::{Fault, Problem};

/// What a block may say, which differs between rules on signals and packs on vendor records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// Rules: only the fields of a signal, no keywords, no array selectors.
    Signal,
    /// Packs: any field path, keywords, and the array selectors `[any]`, `[all]`, `[N]`.
    Record,
}

/// A block that can be evaluated.
#[derive(Debug, Clone)]
pub(crate) struct Block {
    pub(crate) compiled: CompiledRule,
    pub(crate) detections: Detections,
    pub(crate) literals: Vec<Literal>,
    /// How many regular expressions and values with wildcards it has.
    pub(crate) regexes: usize,
}

/// A plain text that a field is compared with, for checks against lists that others own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Literal {
    pub(crate) field: String,
    pub(crate) value: String,
    pub(crate) path: Vec<String>,
}

impl Block {
    /// Checks and compiles a `detection` mapping; `path` leads to it from the document.
    pub(crate) fn compile(
        value: &Value,
        dialect: Dialect,
        path: &[&str],
    ) -> Result<Self, Vec<Problem>> {
        let mut check = Check { dialect, problems: Vec::new(), literals: Vec::new(), regexes: 0 };
        check.block(value, path);
        if !check.problems.is_empty() {
            return Err(check.problems);
        }
        let (compiled, detections) =
            build(value, dialect).map_err(|refusal| vec![refusal.problem(path)])?;
        Ok(Self { compiled, detections, literals: check.literals, regexes: check.regexes })
    }

    /// Whether the event satisfies a condition of the block.
    pub(crate) fn matches(&self, event: &impl rsigma_eval::Event) -> bool {
        let mut selections = Vec::new();
        self.compiled.conditions.iter().any(|condition| {
            rsigma_eval::compiler::eval_condition(
                condition,
                &self.compiled.detections,
                event,
                &mut selections,
            )
        })
    }
}

/// The state of checking one block.
struct Check {
    dialect: Dialect,
    problems: Vec<Problem>,
    literals: Vec<Literal>,
    regexes: usize,
}

impl Check {
    fn problem(&mut self, path: &[&str], fault: Fault, help: impl Into<String>) {
        self.problems.push(Problem::new(path, fault, help));
    }

    fn block(&mut self, value: &Value, path: &[&str]) {
        let Some(map) = value.as_object().filter(|map| !map.is_empty()) else {
            let fault = Fault::WrongValue {
                key: path.last().copied().unwrap_or("detection").to_owned(),
                expected: "a mapping of selections and a condition".to_owned(),
            };
            return self.problem(path, fault, SELECTION_HELP);
        };
        let mut names = BTreeSet::new();
        for (name, selection) in map {
            let path = [path, &[name.as_str()]].concat();
            match name.as_str() {
                "condition" => {}
                "timeframe" => self.problem(
                    &path,
                    Fault::NoEffect(name.clone()),
                    "write a correlation rule with a `timespan`",
                ),
                _ if !condition::is_name(name) => self.problem(
                    &path,
                    Fault::WrongValue {
                        key: name.clone(),
                        expected: "a name of letters, digits, `_` and `-` that is no word of \
                                   conditions"
                            .to_owned(),
                    },
                    "rename the selection, for example to `selection`",
                ),
                _ => {
                    names.insert(name.as_str());
                    self.selection(selection, &path);
                }
            }
        }
        if names.is_empty() {
            return self.problem(path, Fault::MissingKey("selection"), SELECTION_HELP);
        }
        match map.get("condition") {
            None => self.problem(
                path,
                Fault::MissingKey("condition"),
                "add for example `condition: selection`",
            ),
            Some(value) => {
                let path = [path, &["condition"]].concat();
                self.problems.extend(condition::check(value, &names, &path));
            }
        }
    }

    fn selection(&mut self, value: &Value, path: &[&str]) {
        let name = path.last().copied().unwrap_or_default();
        match value {
            Value::Object(map) if !map.is_empty() => {
                for (key, value) in map {
                    let path = [path, &[key.as_str()]].concat();
                    self.item(key, value, &path);
                }
            }
            Value::Array(parts) if !parts.is_empty() => {
                if parts.iter().all(Value::is_object) {
                    for part in parts {
                        self.selection(part, path);
                    }
                } else if parts.iter().any(|part| part.is_object() || part.is_array()) {
                    let fault = Fault::WrongValue {
                        key: name.to_owned(),
                        expected: "a mapping, or a list of mappings only".to_owned(),
                    };
                    self.problem(path, fault, SELECTION_HELP);
                } else {
                    self.keywords(parts, path);
                }
            }
            Value::Object(_) | Value::Array(_) => {
                let fault = Fault::WrongValue {
                    key: name.to_owned(),
                    expected: "a mapping of fields to values that is not empty".to_owned(),
                };
                self.problem(path, fault, SELECTION_HELP);
            }
            keyword => self.keywords(std::slice::from_ref(keyword), path),
        }
    }
}

const SELECTION_HELP: &str = "write for example `selection:` with `kind: sign_in` below it";

/// Hands the checked block to rsigma, in canonical form and without anything around it.
fn build(value: &Value, dialect: Dialect) -> Result<(CompiledRule, Detections), Refusal> {
    let sigma_version = match dialect {
        Dialect::Signal => 2,
        Dialect::Record => 3,
    };
    let document = json!({ "title": "block", "sigma-version": sigma_version, "detection": value });
    let collection = rsigma_parser::parse_sigma_yaml(&canon::text(&document))
        .map_err(|error| Refusal::sigma(&error.to_string()))?;
    if let Some(error) = collection.errors.first() {
        return Err(Refusal::sigma(error));
    }
    let Some(rule) = collection.rules.into_iter().next() else {
        return Err(Refusal::sigma("no detection in the document"));
    };
    let compiled = rsigma_eval::compile_rule(&rule)
        .map_err(|error| Refusal { why: one_line(&error.to_string()), pattern: true })?;
    Ok((compiled, rule.detection))
}

/// Why rsigma refuses a block.
struct Refusal {
    why: String,
    pattern: bool,
}

impl Refusal {
    fn sigma(error: &str) -> Self {
        Self { why: one_line(error), pattern: false }
    }

    fn problem(self, path: &[&str]) -> Problem {
        let key = path.last().copied().unwrap_or_default().to_owned();
        let fault = if self.pattern {
            Fault::Unmatchable { key, why: self.why }
        } else {
            Fault::Sigma(self.why)
        };
        Problem::new(path, fault, "see `docs/rules.md` for fields, modifiers and values")
    }
}

/// An outside message as one bounded line that starts in lower case.
pub(crate) fn one_line(message: &str) -> String {
    let words: Vec<&str> = message.split_whitespace().collect();
    let line = words.join(" ");
    let mut chars = line.chars().filter(|c| !c.is_control()).take(200);
    chars.next().into_iter().flat_map(char::to_lowercase).chain(chars).collect()
}
