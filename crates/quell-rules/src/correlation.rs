//! Rules room: correlation rules, as the engine evaluates them by event time. Nothing of rsigma's
//! own correlation is used: its windows follow arrival order, and it lets a `temporal` rule without
//! a condition fire on one of its rules alone.

use std::collections::BTreeMap;

use rsigma_parser::Timespan;
use serde_json::{Value, json};

use crate::block::one_line;
use crate::canon;
use crate::error::{Fault, Problem, did_you_mean};
use crate::limits::{MAX_CORRELATED, MAX_TIMESPAN_US};
use crate::quell::QuellBlock;
use crate::reader::Reader;
use crate::rule::Meta;
use crate::set::RuleIdx;
use crate::vocab::{CorrelationKind, EntityKind, Subject};

/// A rule about several signals together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Correlation {
    /// What the rule says about itself.
    pub meta: Meta,
    /// What it asks for; a correlation always asks.
    pub quell: QuellBlock,
    /// Only [`CorrelationKind::Temporal`] and [`CorrelationKind::TemporalOrdered`] in this version.
    pub kind: CorrelationKind,
    /// The correlated rules, in the order of the file; no rule stands twice.
    pub members: Vec<Member>,
    /// The entries of `group-by` as written: `identity`, `entity.<kind>` or an alias.
    pub group_by: Vec<String>,
    /// The longest time between the first and the last signal, both ends included, in microseconds;
    /// above 0, at most [`crate::limits::MAX_TIMESPAN_US`].
    pub timespan_us: i64,
    /// How many of the members must match. Sigma's rule without a `condition` needs all of them.
    pub need: Need,
}

/// One rule that a correlation lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The rule's Sigma `id`, whichever way the file refers to it.
    pub id: String,
    /// The rule's place in the set.
    pub idx: RuleIdx,
    /// What to group its signals by: one for each entry of `group_by`, aliases resolved.
    pub keys: Vec<Subject>,
}

/// How many of a correlation's members must match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// All of them.
    All,
    /// At least so many different ones, 1 or more and fewer than all.
    AtLeast(usize),
}

/// The `correlation:` of a document, before its references are resolved.
#[derive(Debug)]
pub(crate) struct Wish {
    pub(crate) kind: CorrelationKind,
    pub(crate) rules: Vec<String>,
    pub(crate) group_by: Vec<String>,
    pub(crate) timespan_us: i64,
    pub(crate) need: Need,
    /// Alias, then rule reference as written, to the field.
    pub(crate) aliases: BTreeMap<String, BTreeMap<String, Subject>>,
}

/// Reads the `correlation:` of a document.
pub(crate) fn read(document: &Reader<'_>, problems: &mut Vec<Problem>) -> Option<Wish> {
    let before = problems.len();
    let body = document.under("correlation", problems)?;
    body.only(KEYS, problems);
    let kind = kind(&body, problems);
    let rules = rules(&body, problems);
    let timespan_us = timespan(&body, problems);
    let aliases = aliases(&body, &rules, problems);
    let group_by = group_by(&body, &aliases, problems);
    let need = need(&body, kind?, rules.len(), problems);
    if problems.len() > before {
        return None;
    }
    if let Err(why) = sigma_agrees(document) {
        let help = "see the Sigma correlation rules specification, version 2";
        problems.push(Problem::new(&["correlation"], Fault::Sigma(why), help));
        return None;
    }
    let rules = rules.into_iter().map(str::to_owned).collect();
    Some(Wish { kind: kind?, rules, group_by, timespan_us: timespan_us?, need, aliases })
}

fn kind(body: &Reader<'_>, problems: &mut Vec<Problem>) -> Option<CorrelationKind> {
    if body.get("type").is_none() {
        problems.push(body.missing("type", "use `temporal` or `temporal_ordered`"));
    }
    let kind = body.name("type", CorrelationKind::NAMES, CorrelationKind::from_name, problems)?;
    if !kind.is_supported() {
        let fault = Fault::UnsupportedCorrelation(kind.as_str().to_owned());
        problems.push(body.problem("type", fault, "use `temporal` or `temporal_ordered`"));
        return None;
    }
    Some(kind)
}

fn rules<'v>(body: &Reader<'v>, problems: &mut Vec<Problem>) -> Vec<&'v str> {
    let before = problems.len();
    let rules = body.texts("rules", problems);
    if rules.len() < 2 && problems.len() == before {
        problems.push(body.wrong("rules", "a list of two or more ids or names of rules"));
    }
    if rules.len() > MAX_CORRELATED {
        let fault = Fault::OverLimit { what: "the number of rules", max: MAX_CORRELATED };
        problems.push(body.problem("rules", fault, "correlate fewer"));
    }
    rules
}

fn timespan(body: &Reader<'_>, problems: &mut Vec<Problem>) -> Option<i64> {
    let help = "write a number and one of `s`, `m`, `h`, `d`, `w`, up to `31d`, as in `60m`";
    if body.get("timespan").is_some() && body.get("timeframe").is_some() {
        let fault = Fault::NoEffect("timeframe".to_owned());
        problems.push(body.problem("timeframe", fault, "keep `timespan` only"));
        return None;
    }
    let key = if body.get("timeframe").is_some() { "timeframe" } else { "timespan" };
    let Some(value) = body.get(key) else {
        problems.push(body.missing("timespan", help));
        return None;
    };
    let shown = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let microseconds = value
        .as_str()
        // months and years have no fixed length
        .filter(|text| !text.ends_with(['M', 'y']))
        .and_then(|text| Timespan::parse(text).ok())
        .and_then(|timespan| i64::try_from(timespan.seconds).ok())
        .and_then(|seconds| seconds.checked_mul(1_000_000))
        .filter(|span| (1..=MAX_TIMESPAN_US).contains(span));
    if microseconds.is_none() {
        let fault = Fault::Timespan(shown);
        problems.push(body.problem(key, fault, help));
    }
    microseconds
}

fn aliases(
    body: &Reader<'_>,
    rules: &[&str],
    problems: &mut Vec<Problem>,
) -> BTreeMap<String, BTreeMap<String, Subject>> {
    let mut aliases = BTreeMap::new();
    let Some(listed) = body.under("aliases", problems) else { return aliases };
    for alias in listed.keys() {
        let Some(Value::Object(map)) = listed.get(alias) else {
            problems.push(listed.wrong(alias, "a mapping of rules to fields"));
            continue;
        };
        let fields = Reader::new(map, &listed.path_to(alias));
        let mut mapping = BTreeMap::new();
        for rule in fields.keys() {
            let Some(field) = fields.text(rule, problems) else { continue };
            if !rules.contains(&rule) {
                let help = did_you_mean(rule, rules.iter().copied());
                problems.push(fields.problem(rule, Fault::UnknownRule(rule.to_owned()), help));
            } else if let Some(subject) = Subject::from_group_by(field) {
                mapping.insert(rule.to_owned(), subject);
            } else {
                let fault = Fault::UnknownField(field.to_owned());
                problems.push(fields.problem(rule, fault, group_help(field)));
            }
        }
        for rule in rules.iter().filter(|rule| fields.get(rule).is_none()) {
            let expected = format!("a mapping of every listed rule; `{rule}` is not in it");
            problems.push(listed.wrong(alias, &expected));
        }
        aliases.insert(alias.to_owned(), mapping);
    }
    aliases
}

fn group_by(
    body: &Reader<'_>,
    aliases: &BTreeMap<String, BTreeMap<String, Subject>>,
    problems: &mut Vec<Problem>,
) -> Vec<String> {
    let fields = body.texts("group-by", problems);
    if body.get("group-by").is_none() {
        let help = "add `group-by: [identity]`; without it signals of strangers would join";
        problems.push(body.missing("group-by", help));
    }
    for field in &fields {
        if Subject::from_group_by(field).is_none() && !aliases.contains_key(*field) {
            let fault = Fault::UnknownField((*field).to_owned());
            problems.push(body.problem("group-by", fault, group_help(field)));
        }
    }
    fields.into_iter().map(str::to_owned).collect()
}

fn need(
    body: &Reader<'_>,
    kind: CorrelationKind,
    rules: usize,
    problems: &mut Vec<Problem>,
) -> Need {
    let Some(value) = body.get("condition") else { return Need::All };
    let gte = value.as_object().filter(|map| map.len() == 1).and_then(|map| map.get("gte"));
    let count = gte.and_then(Value::as_u64).and_then(|count| usize::try_from(count).ok());
    match count {
        Some(count) if count == rules => Need::All,
        Some(count) if (1..rules).contains(&count) && kind == CorrelationKind::Temporal => {
            Need::AtLeast(count)
        }
        _ => {
            let expected = if kind == CorrelationKind::Temporal {
                format!("`gte:` and a number from 1 to {rules} in this version")
            } else {
                "left out for `temporal_ordered`, which needs all its rules".to_owned()
            };
            problems.push(body.wrong("condition", &expected));
            Need::All
        }
    }
}

/// Has rsigma read the same correlation, so that no file is accepted that other tools refuse.
fn sigma_agrees(document: &Reader<'_>) -> Result<(), String> {
    let document = json!({
        "title": "correlation",
        "correlation": document.get("correlation"),
    });
    let read = rsigma_parser::parse_sigma_yaml(&canon::text(&document));
    let collection = read.map_err(|error| one_line(&error.to_string()))?;
    match collection.errors.first() {
        Some(error) => Err(one_line(error)),
        None if collection.correlations.len() == 1 => Ok(()),
        None => Err("no correlation in the document".to_owned()),
    }
}

fn group_help(field: &str) -> String {
    let known: Vec<String> =
        EntityKind::NAMES.iter().map(|kind| format!("entity.{kind}")).collect();
    let known: Vec<&str> =
        std::iter::once("identity").chain(known.iter().map(String::as_str)).collect();
    did_you_mean(field, known.iter().copied())
}

const KEYS: &[&str] =
    &["type", "rules", "group-by", "timespan", "timeframe", "condition", "aliases"];
