//! Strict reading of one TOML file: version, spans to lines, did-you-mean. It knows no fields.

use std::fmt::Display;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use toml::Spanned;

use super::{PolicyError, line_of};

/// A file that is being read, with what was found wrong so far.
pub(super) struct Reader<'a> {
    name: &'static str,
    text: &'a str,
    errors: Vec<PolicyError>,
}

#[derive(Deserialize)]
struct Head {
    version: Option<Spanned<toml::Value>>,
}

impl<'a> Reader<'a> {
    /// Checks the version and reads the file into `T`.
    pub(super) fn open<T: DeserializeOwned>(
        name: &'static str,
        text: &'a str,
    ) -> Result<(Self, T), Vec<PolicyError>> {
        let reader = Self { name, text, errors: Vec::new() };
        let head: Head = toml::from_str(text).map_err(|e| vec![reader.translate(&e)])?;
        match head.version {
            Some(version) if version.get_ref().as_integer() == Some(1) => {}
            Some(version) => {
                let message = format!("version `{}` is not known", version.get_ref());
                let line = Some(line_of(text, version.span().start));
                return Err(vec![PolicyError::new(name, line, message, "write `version = 1`")]);
            }
            None => {
                let remedy = "write `version = 1` as the first line";
                return Err(vec![PolicyError::new(name, Some(1), "`version` is missing", remedy)]);
            }
        }
        let value = toml::from_str(text).map_err(|e| vec![reader.translate(&e)])?;
        Ok((reader, value))
    }

    /// Notes an error at a span.
    pub(super) fn wrong<T>(
        &mut self,
        at: &Spanned<T>,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        let line = Some(line_of(self.text, at.span().start));
        self.errors.push(PolicyError::new(self.name, line, message, remedy));
    }

    /// Notes a name that is on no list, with the nearest one.
    pub(super) fn wrong_name<T>(&mut self, at: &Spanned<T>, error: &crate::UnknownName) {
        let (message, remedy) = words(&error.to_string());
        self.wrong(at, message, remedy);
    }

    /// A number within limits, else the lower limit and an error.
    pub(super) fn number(&mut self, name: &str, at: &Spanned<i64>, min: i64, max: i64) -> i64 {
        let number = *at.get_ref();
        if (min..=max).contains(&number) {
            return number;
        }
        let message = format!("`{name}` is {number}");
        self.wrong(at, message, format!("write a number from {min} to {max}"));
        min
    }

    /// The value, unless something was wrong.
    pub(super) fn close<T>(self, value: T) -> Result<T, Vec<PolicyError>> {
        if self.errors.is_empty() { Ok(value) } else { Err(self.errors) }
    }

    fn translate(&self, error: &toml::de::Error) -> PolicyError {
        let line = error.span().map(|span| line_of(self.text, span.start));
        let (message, remedy) = words(error.message());
        PolicyError::new(self.name, line, message, remedy)
    }
}

/// A parser's message in our words, and what to do about it.
fn words(message: &str) -> (String, String) {
    let message = message.trim().replace('\n', ", ");
    if let Some((what, near)) = message.split_once(": did you mean `") {
        let near = near.trim_end_matches("`?");
        return (what.to_owned(), format!("did you mean `{near}`?"));
    }
    let mut quoted = message.split('`').skip(1).step_by(2);
    let subject = quoted.next().unwrap_or_default();
    let known: Vec<&str> = quoted.collect();
    if message.starts_with("unknown field") || message.starts_with("unknown variant") {
        let kind = if message.starts_with("unknown field") { "field" } else { "value" };
        let remedy = match crate::nearest(subject, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("known here: {}", list(&known)),
        };
        return (format!("unknown {kind} `{subject}`"), remedy);
    }
    if message.starts_with("missing field") {
        return (format!("`{subject}` is missing"), format!("add `{subject} = ..`"));
    }
    if message.contains("is not a known") {
        return (message, "see docs/authority.md for the names that are known".into());
    }
    (message, "see docs/authority.md for the form of this file".into())
}

/// Names for people: each in backticks, comma between.
pub(super) fn list<T: Display>(names: &[T]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    quoted.join(", ")
}
