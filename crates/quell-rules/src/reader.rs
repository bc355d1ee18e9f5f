//! Rules room: reads the keys of a mapping with typed problems. Knows no key by name.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::error::{Fault, Problem, did_you_mean};
use crate::limits::{MAX_TEXT_BYTES, MAX_VALUES};

/// A mapping at a path, of which every key must be known.
pub(crate) struct Reader<'v> {
    map: &'v Map<String, Value>,
    path: Vec<&'v str>,
}

impl<'v> Reader<'v> {
    pub(crate) fn new(map: &'v Map<String, Value>, path: &[&'v str]) -> Self {
        Self { map, path: path.to_vec() }
    }

    /// The mapping under `key` of another mapping.
    pub(crate) fn under(
        &self,
        key: &'static str,
        problems: &mut Vec<Problem>,
    ) -> Option<Reader<'v>> {
        let value = self.map.get(key)?;
        let Some(map) = value.as_object() else {
            problems.push(self.wrong(key, "a mapping"));
            return None;
        };
        Some(Reader { map, path: self.path_to(key) })
    }

    pub(crate) fn path_to(&self, key: &'v str) -> Vec<&'v str> {
        let mut path = self.path.clone();
        path.push(key);
        path
    }

    pub(crate) fn problem(&self, key: &str, fault: Fault, help: impl Into<String>) -> Problem {
        let path = [self.path.as_slice(), &[key]].concat();
        Problem::new(&path, fault, help)
    }

    pub(crate) fn wrong(&self, key: &str, expected: &str) -> Problem {
        let fault = Fault::WrongValue { key: key.to_owned(), expected: expected.to_owned() };
        self.problem(key, fault, "see `docs/rules.md`")
    }

    pub(crate) fn missing(&self, key: &'static str, help: &str) -> Problem {
        Problem::new(&self.path, Fault::MissingKey(key), help)
    }

    pub(crate) fn get(&self, key: &str) -> Option<&'v Value> {
        self.map.get(key).filter(|value| !value.is_null())
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &'v str> {
        self.map.keys().map(String::as_str)
    }

    /// Every key that is not in `known` is a problem.
    pub(crate) fn only(&self, known: &[&'static str], problems: &mut Vec<Problem>) {
        for key in self.map.keys().filter(|key| !known.contains(&key.as_str())) {
            let help = did_you_mean(key, known.iter().copied());
            problems.push(self.problem(key, Fault::UnknownKey(key.clone()), help));
        }
    }

    /// A text; a text beyond the cap or another type is a problem.
    pub(crate) fn text(&self, key: &str, problems: &mut Vec<Problem>) -> Option<&'v str> {
        match self.get(key)? {
            Value::String(text) if text.len() > MAX_TEXT_BYTES => {
                let fault =
                    Fault::OverLimit { what: "the size of the text in bytes", max: MAX_TEXT_BYTES };
                problems.push(self.problem(key, fault, "write it shorter"));
                None
            }
            Value::String(text) if text.trim().is_empty() => {
                problems.push(self.wrong(key, "a text that is not empty"));
                None
            }
            Value::String(text) => Some(text),
            _ => {
                problems.push(self.wrong(key, "a text; quote it if it looks like something else"));
                None
            }
        }
    }

    /// A text of a closed list.
    pub(crate) fn name<T>(
        &self,
        key: &'static str,
        known: &[&'static str],
        from_name: impl Fn(&str) -> Option<T>,
        problems: &mut Vec<Problem>,
    ) -> Option<T> {
        let text = self.text(key, problems)?;
        let found = from_name(text);
        if found.is_none() {
            problems.push(self.unknown(key, text, known));
        }
        found
    }

    /// The problem of a value that is not in its closed list.
    pub(crate) fn unknown(
        &self,
        key: &'static str,
        value: &str,
        known: &[&'static str],
    ) -> Problem {
        let fault = Fault::UnknownValue { what: key, value: value.to_owned() };
        self.problem(key, fault, did_you_mean(value, known.iter().copied()))
    }

    /// A list of texts; a single text is a list of one. No text may stand twice.
    pub(crate) fn texts(&self, key: &str, problems: &mut Vec<Problem>) -> Vec<&'v str> {
        let Some(value) = self.get(key) else { return Vec::new() };
        let items = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
        if items.len() > MAX_VALUES {
            let fault = Fault::OverLimit { what: "the number of values", max: MAX_VALUES };
            problems.push(self.problem(key, fault, "list fewer"));
            return Vec::new();
        }
        let mut texts = Vec::with_capacity(items.len());
        let mut seen = BTreeSet::new();
        for item in items {
            match item.as_str() {
                Some(text) if text.trim().is_empty() || text.len() > MAX_TEXT_BYTES => {
                    problems.push(self.wrong(key, "a list of texts, none empty or very long"));
                }
                Some(text) if !seen.insert(text) => {
                    problems.push(self.wrong(key, &format!("a list without `{text}` twice")));
                }
                Some(text) => texts.push(text),
                None => {
                    let expected = "a list of texts; quote a text that contains `: `";
                    problems.push(self.wrong(key, expected));
                }
            }
        }
        texts
    }
}
