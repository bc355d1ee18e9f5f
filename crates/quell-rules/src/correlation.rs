//! Rules room: correlation rules, as the engine evaluates them by event time. Nothing of rsigma's
//! own correlation is used: its windows follow arrival order, and it lets a `temporal` rule without
//! a condition fire on one of its rules alone.

use std::collections::BTreeMap;

use rsigma_parser::Timespan;
use serde_json::{Value, json};

use crate::block::one_line;
use crate::canon;
use crate::error::{Fault, Problem, did_you_mean};
use crate::limits::{MAX_CORRELATED, MAX_COUNT, MAX_TIMESPAN_US};
use crate::quell::QuellBlock;
use crate::reader::Reader;
use crate::rule::Meta;
use crate::set::RuleIdx;
use crate::vocab::{CorrelationKind, EntityKind, FIELDS, Measure, Subject};

/// A rule about several signals together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Correlation {
    /// What the rule says about itself.
    pub meta: Meta,
    /// What it asks for; one that asks for nothing is listed by another.
    pub quell: QuellBlock,
    /// One that this version evaluates, see [`CorrelationKind::is_supported`].
    pub kind: CorrelationKind,
    /// The correlated rules, in the order of the file; no rule stands twice.
    pub members: Vec<Member>,
    /// The entries of `group-by` as written: `identity`, `entity.<kind>` or an alias.
    pub group_by: Vec<String>,
    /// The longest time between the first and the last signal, both ends included, in microseconds;
    /// above 0, at most [`crate::limits::MAX_TIMESPAN_US`].
    pub timespan_us: i64,
    /// What must be in the window. A temporal rule without a `condition` needs all its members.
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

/// What must be in the window of a correlation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Need {
    /// A match of each member.
    All,
    /// Matches of at least so many different members, 1 or more and fewer than all.
    AtLeast(usize),
    /// At least so many matches of any member, 1 to [`MAX_COUNT`].
    Events(usize),
    /// Matches with at least so many different values, 1 to [`MAX_COUNT`].
    Values(Measure, usize),
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
    let least = if kind.is_some_and(counts) { 1 } else { 2 };
    let rules = rules(&body, least, problems);
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
        problems.push(body.missing("type", TYPE_HELP));
    }
    let kind = body.name("type", CorrelationKind::NAMES, CorrelationKind::from_name, problems)?;
    if !kind.is_supported() {
        let fault = Fault::UnsupportedCorrelation(kind.as_str().to_owned());
        problems.push(body.problem("type", fault, TYPE_HELP));
        return None;
    }
    Some(kind)
}

/// True for the types that count, which may do so over one rule alone.
const fn counts(kind: CorrelationKind) -> bool {
    matches!(kind, CorrelationKind::EventCount | CorrelationKind::ValueCount)
}

fn rules<'v>(body: &Reader<'v>, least: usize, problems: &mut Vec<Problem>) -> Vec<&'v str> {
    let before = problems.len();
    let rules = body.texts("rules", problems);
    if rules.len() < least && problems.len() == before {
        let number = if least == 1 { "one" } else { "two" };
        let expected = format!("a list of {number} or more ids or names of rules");
        problems.push(body.wrong("rules", &expected));
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
    if counts(kind) {
        return counted(body, kind, problems);
    }
    let Some(value) = body.get("condition") else { return Need::All };
    let count = value.as_object().filter(|map| map.len() == 1).and_then(least);
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

/// The number in `gte: N` or `gt: N`. What must *not* happen is never known while records may
/// still arrive, so there is no `lt`, `lte`, `eq` or `neq`.
fn least(condition: &serde_json::Map<String, Value>) -> Option<usize> {
    let number = |key: &str| condition.get(key).and_then(Value::as_u64);
    let count = match (number("gte"), number("gt")) {
        (Some(count), None) => count,
        (None, Some(count)) => count.checked_add(1)?,
        _ => return None,
    };
    usize::try_from(count).ok()
}

/// The condition of `event_count` and `value_count`.
fn counted(body: &Reader<'_>, kind: CorrelationKind, problems: &mut Vec<Problem>) -> Need {
    let values = kind == CorrelationKind::ValueCount;
    let before = problems.len();
    let Some(condition) = body.under("condition", problems) else {
        if problems.len() == before {
            let example = if values { "`field: entity.ip` and `gte: 3`" } else { "`gte: 3`" };
            problems.push(body.missing("condition", &format!("add for example {example}")));
        }
        return Need::All;
    };
    for key in ["lt", "lte", "eq", "neq"].into_iter().filter(|key| condition.get(key).is_some()) {
        let help = "use `gte` or `gt`: that no more came is never known, records may be late";
        problems.push(condition.problem(key, Fault::UnknownKey(key.to_owned()), help));
    }
    let known: &[&str] = if values { &["field", "gte", "gt"] } else { &["gte", "gt"] };
    if problems.len() == before {
        condition.only(known, problems);
    }
    let count = body.get("condition").and_then(Value::as_object).and_then(least);
    let count = count.filter(|count| (1..=MAX_COUNT).contains(count));
    if count.is_none() && problems.len() == before {
        let expected = format!("`gte:` or `gt:` and a number, counting up to {MAX_COUNT}");
        problems.push(body.wrong("condition", &expected));
    }
    let count = count.unwrap_or(1);
    if !values {
        return Need::Events(count);
    }
    let field = condition.text("field", problems);
    if field.is_none() && problems.len() == before {
        problems.push(condition.missing("field", "add for example `field: entity.ip`"));
    }
    let measure = field.map(|field| (field, Measure::from_name(field)));
    if let Some((field, None)) = measure {
        let known = FIELDS.iter().copied().chain(["network"]);
        let known: Vec<&str> = known.filter(|name| Measure::from_name(name).is_some()).collect();
        let help = did_you_mean(field, known.iter().copied());
        problems.push(condition.problem("field", Fault::UnknownField(field.to_owned()), help));
    }
    Need::Values(measure.and_then(|(_, measure)| measure).unwrap_or(Measure::Network), count)
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

const TYPE_HELP: &str = "use `temporal`, `temporal_ordered`, `event_count` or `value_count`";

const KEYS: &[&str] =
    &["type", "rules", "group-by", "timespan", "timeframe", "condition", "aliases"];
