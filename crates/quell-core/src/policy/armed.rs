//! `armed.toml`: which pairs of source and action are sent, and the edit that arms one. It
//! permits nothing: authority has to permit an armed pair all the same.

use std::collections::BTreeSet;
use std::ops::Range;

use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::PolicyError;
use super::file::Reader;
use crate::action::Action;
use crate::name::names;

const FILE: &str = "armed.toml";

names! {
    /// Whether anything is sent at all.
    Mode {
        /// Everything runs, nothing is sent.
        Shadow = "shadow",
        /// Armed pairs are sent.
        Armed = "armed",
    }
}

/// One source and one action that it may trigger for real.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pair {
    /// The configured source.
    pub source: String,
    /// The action.
    pub action: Action,
}

/// What is sent and what only recorded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Armed {
    /// Whether anything is sent at all.
    pub mode: Mode,
    /// The pairs; they count only when the mode is armed.
    pub pairs: BTreeSet<Pair>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(rename = "version")]
    _version: i64,
    mode: Spanned<Mode>,
    #[serde(default)]
    pairs: Option<Spanned<Vec<Spanned<Pair>>>>,
}

impl Armed {
    /// Reads the text of `armed.toml`.
    ///
    /// # Errors
    /// Each thing that is wrong, with its line.
    pub fn parse(text: &str) -> Result<Self, Vec<PolicyError>> {
        let (mut reader, file) = Reader::open::<File>(FILE, text)?;
        let mut pairs = BTreeSet::new();
        for pair in file.pairs.map(Spanned::into_inner).unwrap_or_default() {
            if !is_source(&pair.get_ref().source) {
                let message = format!("`{}` is no name of a source", pair.get_ref().source);
                reader.wrong(&pair, message, "write it as it stands in quell.toml");
            }
            if !pairs.insert(pair.get_ref().clone()) {
                reader.wrong(&pair, "this pair is listed twice", "keep one of the two");
            }
        }
        reader.close(Self { mode: file.mode.into_inner(), pairs })
    }

    /// True when the mode is armed and the pair is listed.
    pub fn is_armed(&self, source: &str, action: Action) -> bool {
        self.mode == Mode::Armed
            && self.pairs.iter().any(|pair| pair.source == source && pair.action == action)
    }

    /// Adds a pair to the text of `armed.toml` and sets the mode to armed; comments and everything
    /// else stay as they are. Pairs that were listed before are then in force too.
    ///
    /// # Errors
    /// When the text is not valid, the source is no name, or the form of `pairs` is one that
    /// cannot be edited safely; the text is then to be edited by hand.
    pub fn arm(text: &str, source: &str, action: Action) -> Result<String, PolicyError> {
        let first = |errors: Vec<PolicyError>| {
            let none = PolicyError::new(FILE, None, "cannot be read", "correct it first");
            errors.into_iter().next().unwrap_or(none)
        };
        let before = Self::parse(text).map_err(first)?;
        if !is_source(source) {
            let remedy = "write the source as it stands in quell.toml";
            return Err(PolicyError::new(FILE, None, format!("`{source}` is no source"), remedy));
        }
        let (_, file) = Reader::open::<File>(FILE, text).map_err(first)?;
        let mut wanted = Self { mode: Mode::Armed, pairs: before.pairs };
        let pair = format!("{{ source = \"{source}\", action = \"{action}\" }}");
        let mut edits = vec![(file.mode.span(), "\"armed\"".to_owned())];
        if wanted.pairs.insert(Pair { source: source.to_owned(), action }) {
            edits.push(match &file.pairs {
                Some(pairs) => into_list(text, pairs, &pair),
                None => {
                    // After the mode's line and its comment.
                    let end = line_end(text, file.mode.span().end);
                    (end..end, format!("\npairs = [\n  {pair},\n]"))
                }
            });
        }
        if text.contains("\r\n") {
            edits.iter_mut().for_each(|(_, new)| *new = new.replace('\n', "\r\n"));
        }
        let edited = apply(text, edits);
        match edited.as_deref().map(Self::parse) {
            Some(Ok(after)) if after == wanted => Ok(edited.unwrap_or_default()),
            _ => {
                let remedy = format!("set `mode = \"armed\"` and add {pair} to `pairs` by hand");
                Err(PolicyError::new(FILE, None, "the form of `pairs` cannot be edited", remedy))
            }
        }
    }
}

/// Names of sources: lower case letters, digits, `_`, `-` and `.`, at most 64.
fn is_source(name: &str) -> bool {
    let form = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-.".contains(&b);
    !name.is_empty() && name.len() <= 64 && name.bytes().all(form)
}

/// Where and what to write so that an array gets one more element.
fn into_list(
    text: &str,
    pairs: &Spanned<Vec<Spanned<Pair>>>,
    pair: &str,
) -> (Range<usize>, String) {
    let close = pairs.span().end.saturating_sub(1);
    let Some(last) = pairs.get_ref().last() else {
        // Comments may stand in an empty list: the element goes on a line of its own at its end.
        let before = text.get(..close).unwrap_or_default();
        let line = if before.ends_with('\n') { "" } else { "\n" };
        return (close..close, format!("{line}  {pair},\n"));
    };
    let after = last.span().end;
    let rest = text.get(after..close).unwrap_or_default();
    let on_one_line = !text.get(pairs.span()).unwrap_or_default().contains('\n');
    let comma = comma(rest).map(|at| after + at + 1);
    match (on_one_line, comma) {
        (true, None) => (after..after, format!(", {pair}")),
        (true, Some(at)) => (at..at, format!(" {pair},")),
        // The comma goes behind the last element, the pair behind the comment of its line.
        (false, None) => {
            let end = line_end(text, after).min(close);
            let kept = text.get(after..end).unwrap_or_default();
            (after..end, format!(",{kept}\n  {pair},"))
        }
        (false, Some(at)) => {
            let end = line_end(text, at).min(close);
            (end..end, format!("\n  {pair},"))
        }
    }
}

/// The first comma outside comments.
fn comma(rest: &str) -> Option<usize> {
    let mut in_comment = false;
    rest.bytes().position(|b| {
        in_comment = (in_comment || b == b'#') && b != b'\n';
        !in_comment && b == b','
    })
}

fn line_end(text: &str, from: usize) -> usize {
    let rest = text.get(from..).unwrap_or_default();
    let end = rest.find(['\r', '\n']).unwrap_or(rest.len());
    from + end
}

/// Replaces ranges that do not overlap; none when one does not lie on characters.
fn apply(text: &str, mut edits: Vec<(Range<usize>, String)>) -> Option<String> {
    edits.sort_by_key(|(range, _)| range.start);
    let mut out = String::new();
    let mut at = 0;
    for (range, new) in edits {
        out.push_str(text.get(at..range.start)?);
        out.push_str(&new);
        at = range.end;
    }
    out.push_str(text.get(at..)?);
    Some(out)
}
