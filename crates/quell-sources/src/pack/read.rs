//! Sources room: reads the keys of a pack with typed problems that name file, line and remedy.
//! Knows no key by name.

use std::fmt::Display;

use quell_rules::nearest;
use quell_rules::yaml::Document;
use serde_json::{Map, Value};
use thiserror::Error;

/// One problem of a pack.
///
/// The text is `file:line: what is wrong`; the remedy is apart.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Error)]
#[error("{file}:{line}: {what}")]
pub struct PackError {
    file: String,
    line: u32,
    what: String,
    help: String,
}

impl PackError {
    pub(crate) fn new(file: &str, line: u32, what: impl Display, help: impl Into<String>) -> Self {
        let what = what.to_string();
        Self { file: file.to_owned(), line, what, help: help.into() }
    }

    /// The file's name as the caller gave it.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The line, from 1, of the offending key, as far as it can be told.
    pub fn line(&self) -> u32 {
        self.line
    }

    /// What is wrong.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// What to do about it.
    pub fn help(&self) -> &str {
        &self.help
    }
}

/// Collects the problems of one pack.
pub(crate) struct Problems<'d> {
    pub(crate) file: &'d str,
    pub(crate) document: &'d Document,
    pub(crate) found: Vec<PackError>,
}

impl Problems<'_> {
    /// Notes a problem at the key or value that `path` leads to.
    pub(crate) fn at(&mut self, path: &[&str], what: impl Display, help: impl Into<String>) {
        let line = self.document.line_of(path);
        self.found.push(PackError::new(self.file, line, what, help));
    }
}

/// A mapping of a pack at its path.
#[derive(Clone)]
pub(crate) struct Entries<'d> {
    map: &'d Map<String, Value>,
    path: Vec<&'d str>,
}

impl<'d> Entries<'d> {
    /// A mapping whose every key is in `known`; anything else is a problem.
    pub(crate) fn of(
        value: &'d Value,
        path: &[&'d str],
        known: &[&'static str],
        problems: &mut Problems<'d>,
    ) -> Option<Self> {
        let this = Self::open(value, path, problems)?;
        for key in this.map.keys().filter(|key| !known.contains(&key.as_str())) {
            let path = this.path_to(key);
            let what = format!("unknown key `{}`", shown(key));
            problems.at(&path, what, did_you_mean(key, known));
        }
        Some(this)
    }

    /// A mapping whose keys are names that the pack chooses.
    pub(crate) fn open(
        value: &'d Value,
        path: &[&'d str],
        problems: &mut Problems<'d>,
    ) -> Option<Self> {
        let Some(map) = value.as_object() else {
            let key = path.last().copied().unwrap_or("the pack");
            problems.at(path, format!("`{key}` must be a mapping"), SEE);
            return None;
        };
        Some(Self { map, path: path.to_vec() })
    }

    pub(crate) fn path(&self) -> &[&'d str] {
        &self.path
    }

    pub(crate) fn path_to(&self, key: &'d str) -> Vec<&'d str> {
        [self.path.as_slice(), &[key]].concat()
    }

    pub(crate) fn get(&self, key: &str) -> Option<&'d Value> {
        self.map.get(key).filter(|value| !value.is_null())
    }

    /// Key and value of every entry.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&'d str, &'d Value)> + use<'d> {
        self.map.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// A value that must be there.
    pub(crate) fn need(&self, key: &'d str, problems: &mut Problems<'d>) -> Option<&'d Value> {
        let value = self.get(key);
        if value.is_none() {
            problems.at(&self.path, format!("`{key}` is missing"), SEE);
        }
        value
    }

    /// A text, if the key is there.
    pub(crate) fn text(&self, key: &'d str, problems: &mut Problems<'d>) -> Option<&'d str> {
        let value = self.get(key)?;
        let text = value.as_str().filter(|text| !text.trim().is_empty());
        if text.is_none() {
            let what = format!("`{key}` must be a text that is not empty");
            problems.at(&self.path_to(key), what, "quote it if it looks like something else");
        }
        text
    }

    /// Texts, if the key is there; a single text is a list of one.
    pub(crate) fn texts(&self, key: &'d str, problems: &mut Problems<'d>) -> Vec<&'d str> {
        let Some(value) = self.get(key) else { return Vec::new() };
        texts(value, &self.path_to(key), problems)
    }

    /// A value of a closed list, if the key is there.
    pub(crate) fn named<T: std::str::FromStr<Err: Display>>(
        &self,
        key: &'d str,
        problems: &mut Problems<'d>,
    ) -> Option<T> {
        let text = self.text(key, problems)?;
        match text.parse() {
            Ok(named) => Some(named),
            Err(error) => {
                problems.at(&[self.path.as_slice(), &[text]].concat(), error, SEE);
                None
            }
        }
    }

    /// A whole number in a range, if the key is there.
    pub(crate) fn number(
        &self,
        key: &'d str,
        range: std::ops::RangeInclusive<i16>,
        problems: &mut Problems<'d>,
    ) -> Option<i16> {
        let value = self.get(key)?;
        let number = value.as_i64().and_then(|n| i16::try_from(n).ok());
        let number = number.filter(|number| range.contains(number));
        if number.is_none() {
            let (from, to) = (range.start(), range.end());
            let what = format!("`{key}` must be a whole number from {from} to {to}");
            problems.at(&self.path_to(key), what, SEE);
        }
        number
    }
}

/// Where the pack format is described.
pub(crate) const SEE: &str = "see `docs/packs.md`";

/// Texts of a list; a single text is a list of one.
pub(crate) fn texts<'d>(
    value: &'d Value,
    path: &[&'d str],
    problems: &mut Problems<'d>,
) -> Vec<&'d str> {
    let key = path.last().copied().unwrap_or_default();
    let mut read = Vec::new();
    for item in list(value) {
        match item.as_str().filter(|text| !text.trim().is_empty()) {
            Some(text) => read.push(text),
            None => problems.at(path, format!("`{key}` must be a list of texts"), SEE),
        }
    }
    read
}

/// The items of a list; any other value is a list of one.
pub(crate) fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice)
}

/// A remedy that names the nearest known word, else the whole list.
pub(crate) fn did_you_mean(word: &str, known: &[&'static str]) -> String {
    match nearest(word, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("use one of `{}`", known.join("`, `")),
    }
}

/// A text of the pack's author, short enough for an error.
pub(crate) fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(100).collect()
}
