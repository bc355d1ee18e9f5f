//! Sources room: cuts a body into the exact bytes of its records. Knows no vendor and no meaning;
//! never changes a byte.

use std::fmt;
use std::ops::Range;

use quell_core::signal::RejectReason;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::limits::{DEPTH_MAX, RECORDS_MAX};

/// A member of an answer that holds a list of records.
#[derive(Debug, Clone)]
pub(crate) struct ListPath {
    /// The members that lead to the list.
    pub(crate) members: Vec<String>,
    /// The list's name, which conditions and types see as `_.list`.
    pub(crate) name: String,
    /// The last member as it stands in a text, quoted.
    quoted: String,
}

impl ListPath {
    pub(crate) fn new(members: Vec<String>, name: &str) -> Self {
        let quoted = format!("\"{}\"", members.last().map(String::as_str).unwrap_or_default());
        Self { members, name: name.to_owned(), quoted }
    }

    /// False when the text surely has no such list; saves the look inside.
    fn may_be_in(&self, text: &str) -> bool {
        text.contains(&self.quoted)
    }
}

/// One record's bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Part<'b> {
    /// The record, or the line that should have been one.
    pub(crate) raw: &'b str,
    /// The name of the list that it came in.
    pub(crate) list: Option<&'b str>,
}

/// Why a body holds no records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BodyFault {
    pub(crate) reason: RejectReason,
    pub(crate) detail: String,
}

impl BodyFault {
    pub(crate) fn new(reason: RejectReason, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into() }
    }
}

/// Cuts `body` into records: an array of records, one object, or one object a line (NDJSON). Such
/// an object may be an answer that holds its records in lists.
///
/// A line that is no JSON becomes a part of its own, which no decoder can read; a body of which not
/// even the first line is JSON is a fault.
pub(crate) fn split<'b>(body: &'b [u8], lists: &'b [ListPath]) -> Result<Vec<Part<'b>>, BodyFault> {
    let text = std::str::from_utf8(body).map_err(|error| {
        let at = error.valid_up_to();
        BodyFault::new(RejectReason::Unparsable, format!("not UTF-8 after byte {at}"))
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text).trim();
    if text.is_empty() {
        return Err(BodyFault::new(RejectReason::Unparsable, "an empty body"));
    }
    let mut parts = Vec::new();
    if text.starts_with('[') {
        let items: Items<'b> = serde_json::from_str(text).map_err(|e| unparsable(&e))?;
        let records = items.kept()?.into_iter();
        parts.extend(records.map(|item| Part { raw: item.get(), list: None }));
    } else if is_lines(text) {
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            unwrap(line, lists, &mut parts)?;
        }
    } else {
        let whole: &'b RawValue = serde_json::from_str(text).map_err(|e| unparsable(&e))?;
        unwrap(whole.get(), lists, &mut parts)?;
    }
    if let [only] = parts.as_slice()
        && is_deeper_than(only.raw, DEPTH_MAX)
    {
        let detail = format!("nesting over the limit of {DEPTH_MAX} levels");
        return Err(BodyFault::new(RejectReason::TooLarge, detail));
    }
    Ok(parts)
}

/// The place of a part in the body that it was cut from.
pub(crate) fn range(body: &[u8], part: &str) -> Range<usize> {
    let start = part.as_ptr().addr().saturating_sub(body.as_ptr().addr());
    start..start.saturating_add(part.len())
}

/// True when the text is nested deeper than `levels`. Reads no more than brackets and strings.
pub(crate) fn is_deeper_than(text: &str, levels: usize) -> bool {
    let opening = text.bytes().filter(|byte| matches!(byte, b'[' | b'{')).count();
    if opening <= levels {
        return false;
    }
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => {
                depth += 1;
                if depth > levels {
                    return true;
                }
            }
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

fn unparsable(error: &serde_json::Error) -> BodyFault {
    BodyFault::new(RejectReason::Unparsable, json_fault(error))
}

/// What is wrong with a text that should be JSON, without quoting any of it.
pub(crate) fn json_fault(error: &serde_json::Error) -> String {
    let what = match error.classify() {
        serde_json::error::Category::Eof => "cut off",
        _ => "broken",
    };
    format!("{what} JSON at line {} column {}", error.line(), error.column())
}

/// One object a line: the first line is a whole object by itself.
fn is_lines(text: &str) -> bool {
    let first = text.lines().next().unwrap_or_default().trim();
    first.starts_with('{') && serde_json::from_str::<IgnoredAny>(first).is_ok()
}

/// Takes the records out of the lists of an answer, or the text itself as the record.
fn unwrap<'b>(
    text: &'b str,
    lists: &'b [ListPath],
    parts: &mut Vec<Part<'b>>,
) -> Result<(), BodyFault> {
    let candidates: Vec<(&[String], &str)> = lists
        .iter()
        .filter(|list| list.may_be_in(text))
        .map(|list| (list.members.as_slice(), list.name.as_str()))
        .collect();
    let found = match candidates.is_empty() || !text.starts_with('{') {
        true => Vec::new(),
        false => find_lists(text, &candidates),
    };
    if found.is_empty() {
        parts.push(Part { raw: text, list: None });
    }
    for (list, items) in found {
        let records = items.kept()?.into_iter();
        parts.extend(records.map(|item| Part { raw: item.get(), list: Some(list) }));
    }
    if parts.len() > RECORDS_MAX { Err(too_many()) } else { Ok(()) }
}

fn too_many() -> BodyFault {
    let detail = format!("over the limit of {RECORDS_MAX} records in a body");
    BodyFault::new(RejectReason::TooLarge, detail)
}

/// The items of an array, of which no more are kept than a body may have.
struct Items<'b> {
    kept: Vec<&'b RawValue>,
    over: bool,
}

impl<'b> Items<'b> {
    fn kept(self) -> Result<Vec<&'b RawValue>, BodyFault> {
        if self.over { Err(too_many()) } else { Ok(self.kept) }
    }
}

impl<'b> Deserialize<'b> for Items<'b> {
    fn deserialize<D: Deserializer<'b>>(reader: D) -> Result<Self, D::Error> {
        reader.deserialize_seq(ItemsVisitor)
    }
}

struct ItemsVisitor;

impl<'b> Visitor<'b> for ItemsVisitor {
    type Value = Items<'b>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'b>>(self, mut items: A) -> Result<Items<'b>, A::Error> {
        let mut kept = Vec::new();
        while kept.len() < RECORDS_MAX {
            let Some(item) = items.next_element::<&'b RawValue>()? else {
                return Ok(Items { kept, over: false });
            };
            kept.push(item);
        }
        let mut over = false;
        while items.next_element::<IgnoredAny>()?.is_some() {
            over = true;
        }
        Ok(Items { kept, over })
    }
}

type Found<'b> = Vec<(&'b str, Items<'b>)>;

/// The lists among the members of an object, in the order of the text.
fn find_lists<'b>(text: &'b str, candidates: &[(&'b [String], &'b str)]) -> Found<'b> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let found = reader.deserialize_map(Lists { candidates });
    match (found, reader.end()) {
        (Ok(found), Ok(())) => found,
        _ => Vec::new(),
    }
}

struct Lists<'b, 'c> {
    candidates: &'c [(&'b [String], &'b str)],
}

impl<'b> Visitor<'b> for Lists<'b, '_> {
    type Value = Found<'b>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'b>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut found = Vec::new();
        while let Some(key) = members.next_key::<std::borrow::Cow<'b, str>>()? {
            let named = self.candidates.iter().filter_map(|(path, name)| {
                let (first, rest) = path.split_first()?;
                (*first == key).then_some((rest, *name))
            });
            let deeper: Vec<(&'b [String], &'b str)> = named.collect();
            if deeper.is_empty() {
                members.next_value::<IgnoredAny>()?;
                continue;
            }
            let value: &'b RawValue = members.next_value()?;
            match deeper.iter().find(|(rest, _)| rest.is_empty()) {
                Some((_, name)) => {
                    if let Ok(items) = serde_json::from_str::<Items<'b>>(value.get()) {
                        found.push((*name, items));
                    }
                }
                None => found.extend(find_lists(value.get(), &deeper)),
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests;
