//! Sources room: reads `events` of a pack: groups of event types and the rows that say what they
//! mean. Touches no record.

use quell_core::signal::{EntityKind, Kind, Use};
use serde_json::Value;

use super::super::read::{Entries, Problems, SEE, list, shown};
use super::super::{Field, Group, Otherwise, Row};
use super::fields::{self, Times};
use super::{Conditions, path, paths};
use crate::limits::{GROUPS_MAX, ROWS_MAX};

/// What all groups of a pack share.
pub(super) struct Shared<'s> {
    pub(super) times: Times,
    pub(super) entities: Vec<(EntityKind, Field)>,
    pub(super) subjects: &'s [&'s str],
}

const GROUP_KEYS: &[&str] =
    &["type", "each", "about", "times", "expects", "entities", "rows", "adjust", "otherwise"];

const ROW_KEYS: &[&str] =
    &["when", "kind", "use", "confidence", "withdraws", "happened", "anomaly", "goes_on"];

/// The groups, and each event type with the place of its group.
pub(super) fn read<'d>(
    root: &Entries<'d>,
    shared: &Shared<'_>,
    problems: &mut Problems<'d>,
) -> (Vec<Group>, Vec<(usize, &'d str)>) {
    let (mut groups, mut listed) = (Vec::new(), Vec::new());
    let Some(value) = root.need("events", problems) else { return (groups, listed) };
    let Some(entries) = Entries::open(value, &["events"], problems) else {
        return (groups, listed);
    };
    for (name, value) in entries.iter() {
        let at = entries.path_to(name);
        let Some(entry) = Entries::of(value, &at, GROUP_KEYS, problems) else { continue };
        entry.need("type", problems);
        let types = entry.texts("type", problems);
        listed.extend(types.into_iter().map(|event_type| (groups.len(), event_type)));
        groups.push(group(&entry, shared, problems));
    }
    if groups.len() > GROUPS_MAX {
        let what = format!("over the limit of {GROUPS_MAX} groups");
        problems.at(&["events"], what, "list several types in one group");
    }
    (groups, listed)
}

fn group<'d>(entry: &Entries<'d>, shared: &Shared<'_>, problems: &mut Problems<'d>) -> Group {
    let mut conditions = Conditions::default();
    let own = fields::times(entry, problems);
    let pick = |own: Vec<_>, shared: &Vec<_>| if own.is_empty() { shared.clone() } else { own };
    let happened = pick(own.happened, &shared.times.happened);
    if happened.is_empty() {
        problems.at(entry.path(), "no path for the time `happened`", "add it to `times`");
    }
    let rows = rows(entry, &mut conditions, problems);
    let adjust = adjust(entry, &mut conditions, problems);
    let mut entities = shared.entities.clone();
    entities.extend(fields::entities(entry, problems));
    Group {
        each: entry.get("each").and_then(|p| path(p, &entry.path_to("each"), problems)),
        about: about(entry, shared.subjects, problems),
        happened,
        judged: pick(own.judged, &shared.times.judged),
        written: pick(own.written, &shared.times.written),
        expects: paths(entry, "expects", problems),
        entities,
        conditions: conditions.compile(problems),
        rows,
        adjust,
        otherwise: match entry.text("otherwise", problems) {
            None | Some("detection") => Otherwise::Detection,
            Some("unlisted") => Otherwise::Unlisted,
            Some(_) => {
                let what = "`otherwise` must be `detection` or `unlisted`";
                problems.at(&entry.path_to("otherwise"), what, SEE);
                Otherwise::Detection
            }
        },
    }
}

/// The places of the named subjects.
fn about<'d>(entry: &Entries<'d>, subjects: &[&str], problems: &mut Problems<'d>) -> Vec<usize> {
    let mut about = Vec::new();
    for name in entry.texts("about", problems) {
        match subjects.iter().position(|subject| *subject == name) {
            Some(place) => about.push(place),
            None => {
                let at = [entry.path(), &["about", name]].concat();
                let help = format!("use one of `{}`", subjects.join("`, `"));
                problems.at(&at, format!("unknown subject `{}`", shown(name)), help);
            }
        }
    }
    about
}

fn rows<'d>(
    entry: &Entries<'d>,
    conditions: &mut Conditions<'d>,
    problems: &mut Problems<'d>,
) -> Vec<Row> {
    let at = entry.path_to("rows");
    let mut rows = Vec::new();
    for value in entry.need("rows", problems).map(list).unwrap_or_default() {
        rows.extend(row(value, &at, conditions, problems));
    }
    if rows.len() > ROWS_MAX {
        problems.at(&at, format!("over the limit of {ROWS_MAX} rows"), "split the group");
    }
    let unconditional = rows.iter().position(|row| row.when.is_none() && !row.goes_on);
    if unconditional.is_some_and(|place| place + 1 < rows.len()) {
        let what = "a row below one without `when` can never hold";
        problems.at(&at, what, "put the row without `when` last, or give it `goes_on: true`");
    }
    rows
}

fn row<'d>(
    value: &'d Value,
    at: &[&'d str],
    conditions: &mut Conditions<'d>,
    problems: &mut Problems<'d>,
) -> Option<Row> {
    let entry = Entries::of(value, at, ROW_KEYS, problems)?;
    entry.need("kind", problems);
    entry.need("use", problems);
    let kind = entry.named::<Kind>("kind", problems);
    let usage = entry.named::<Use>("use", problems);
    let withdraws = entry.named::<EntityKind>("withdraws", problems);
    let confidence = entry.number("confidence", 1..=100, problems);
    let (kind, usage) = (kind?, usage?);
    let place = [at, &[kind.name()]].concat();
    match (usage, confidence) {
        (Use::Fact, Some(_)) => problems.at(&place, "a fact has no `confidence`", "remove it"),
        (Use::Alone | Use::Join, None) => {
            problems.at(&place, "`confidence` is missing", "add a number from 1 to 100");
        }
        _ => {}
    }
    if withdraws.is_some() && usage != Use::Undo {
        problems.at(&place, "only an `undo` withdraws", "remove `withdraws`");
    }
    let goes_on = entry.get("goes_on");
    if goes_on.is_some_and(|value| !value.is_boolean()) {
        problems.at(&entry.path_to("goes_on"), "`goes_on` must be true or false", SEE);
    }
    Some(Row {
        when: entry.get("when").map(|when| conditions.add(when, entry.path_to("when"))),
        kind,
        usage,
        confidence: confidence.and_then(|number| u8::try_from(number).ok()),
        withdraws,
        happened: paths(&entry, "happened", problems),
        anomaly: entry.named("anomaly", problems),
        goes_on: goes_on.and_then(Value::as_bool).unwrap_or(false),
    })
}

/// `adjust`: what to add to the confidence of every signal of the group, where a condition holds.
fn adjust<'d>(
    entry: &Entries<'d>,
    conditions: &mut Conditions<'d>,
    problems: &mut Problems<'d>,
) -> Vec<(usize, i16)> {
    let at = entry.path_to("adjust");
    let mut adjust = Vec::new();
    for value in entry.get("adjust").map(list).unwrap_or_default() {
        let known: &[&str] = &["when", "add"];
        let Some(item) = Entries::of(value, &at, known, problems) else { continue };
        let (Some(when), Some(_)) = (item.need("when", problems), item.need("add", problems))
        else {
            continue;
        };
        let place = conditions.add(when, item.path_to("when"));
        adjust.extend(item.number("add", -100..=100, problems).map(|add| (place, add)));
    }
    adjust
}
