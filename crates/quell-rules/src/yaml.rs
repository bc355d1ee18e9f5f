//! Rules room: reads YAML text with caps into plain values and tells the line of a key.
//! Knows nothing about rules; reads no file.

mod locate;
mod value;

use std::sync::Arc;

use serde::de::DeserializeSeed as _;
use serde_json::Value;

use crate::error::Fault;
use crate::limits::{MAX_DOCUMENTS, MAX_FILE_BYTES, MAX_OPENINGS};
use value::{Budget, Seed};

/// One document of a YAML text.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    value: Value,
    source: Arc<Source>,
}

/// The text of a document, kept to tell lines when there is something to tell.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Source {
    text: String,
    line: u32,
}

impl Source {
    pub(crate) fn line_of<S: AsRef<str>>(&self, path: &[S]) -> u32 {
        self.line.saturating_add(locate::line_of(&self.text, path))
    }
}

/// Why a document of a YAML text could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct YamlError {
    /// The line in the text, from 1.
    pub line: u32,
    /// What is wrong.
    pub fault: Fault,
    /// What to do about it.
    pub help: String,
}

impl Document {
    /// The document's value: keys are texts, no key stands twice, aliases are expanded.
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// The line, from 1, of the first key.
    pub fn line(&self) -> u32 {
        self.line_of::<&str>(&[])
    }

    /// The line, from 1, of the key that `path` leads to.
    ///
    /// The last segment may also be an item of a list. Where a segment cannot be found, the line of
    /// the one before it is the answer; the answer is a help for people, nothing depends on it.
    pub fn line_of<S: AsRef<str>>(&self, path: &[S]) -> u32 {
        self.source.line_of(path)
    }

    pub(crate) fn source(&self) -> Arc<Source> {
        Arc::clone(&self.source)
    }
}

/// Reads every document of `text`, in order; empty documents are left out.
///
/// Documents are separated by a line that starts with `---`. A document that cannot be read is an
/// error in its place and does not hide the others.
///
/// Caps: [`crate::limits::MAX_FILE_BYTES`], [`crate::limits::MAX_DOCUMENTS`],
/// [`crate::limits::MAX_NESTING`], [`crate::limits::MAX_NODES`], [`crate::limits::MAX_OPENINGS`].
pub fn documents(text: &str) -> Vec<Result<Document, YamlError>> {
    if text.len() > MAX_FILE_BYTES {
        let fault = Fault::OverLimit { what: "the size of the file in bytes", max: MAX_FILE_BYTES };
        return vec![Err(YamlError { line: 1, fault, help: "split the file".to_owned() })];
    }
    let mut read = Vec::new();
    for (line, chunk) in chunks(text) {
        if read.len() == MAX_DOCUMENTS {
            let fault = Fault::OverLimit {
                what: "the number of documents in the file",
                max: MAX_DOCUMENTS,
            };
            read.push(Err(YamlError { line, fault, help: "split the file".to_owned() }));
            break;
        }
        match document(line, chunk) {
            Ok(document) if document.value.is_null() => {}
            other => read.push(other),
        }
    }
    read
}

/// Cuts the text before each line that starts a document; `---` at the first column can stand
/// inside no scalar (YAML 1.2.2, 9.1.2 and production `c-forbidden`).
fn chunks(text: &str) -> Vec<(u32, &str)> {
    let mut chunks = Vec::new();
    let (mut start, mut start_line, mut at) = (0, 1, 0);
    for (line, content) in (1..).zip(text.split_inclusive('\n')) {
        let marks = content
            .strip_prefix("---")
            .is_some_and(|rest| rest.chars().next().is_none_or(char::is_whitespace));
        if marks && at > start {
            chunks.push((start_line, text.get(start..at).unwrap_or_default()));
            (start, start_line) = (at, line);
        }
        at += content.len();
    }
    chunks.push((start_line, text.get(start..).unwrap_or_default()));
    chunks.retain(|(_, chunk)| !is_blank(chunk));
    chunks
}

fn is_blank(chunk: &str) -> bool {
    chunk.lines().all(|line| {
        let line = line.trim_start_matches('\u{feff}');
        let line = line.strip_prefix("---").unwrap_or(line).trim();
        line.is_empty() || line.starts_with('#') || line == "..."
    })
}

fn document(line: u32, chunk: &str) -> Result<Document, YamlError> {
    if chunk.bytes().filter(|byte| matches!(byte, b'[' | b'{')).count() > MAX_OPENINGS {
        let what = "the number of `[` and `{` in the document";
        let help = "write lists and mappings in lines, or split the document".to_owned();
        return Err(YamlError { line, fault: Fault::OverLimit { what, max: MAX_OPENINGS }, help });
    }
    let budget = Budget::default();
    let mut readers = yaml_serde::Deserializer::from_str(chunk);
    let value = match readers.next() {
        None => Value::Null,
        Some(reader) => Seed::root(&budget)
            .deserialize(reader)
            .map_err(|error| yaml_error(line, chunk, &error, &budget))?,
    };
    if readers.next().is_some() {
        let fault = Fault::Yaml("a second document without a line `---` before it".to_owned());
        let help = "start each document with a line `---`".to_owned();
        return Err(YamlError { line, fault, help });
    }
    Ok(Document { value, source: Arc::new(Source { text: chunk.to_owned(), line }) })
}

fn yaml_error(line: u32, chunk: &str, error: &yaml_serde::Error, budget: &Budget) -> YamlError {
    // the reader may point behind the last line, and counts breaks that editors do not
    let within = error.location().map_or(1, |location| location.line());
    let within = within.min(chunk.lines().count());
    let line = line.saturating_add(u32::try_from(within.saturating_sub(1)).unwrap_or(0));
    if let Some((fault, help)) = budget.fault.take() {
        return YamlError { line, fault: fault.tidied(), help: help.to_owned() };
    }
    // the library appends the place within the document, which is not the place in the file
    let text = error.to_string();
    let text = text.split(" at line ").next().unwrap_or_default();
    let fault = Fault::Yaml(text.to_owned());
    YamlError { line, fault: fault.tidied(), help: "check indentation and quotes".to_owned() }
}

#[cfg(test)]
mod tests;
