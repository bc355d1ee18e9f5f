//! Sources room: reads the parts of a pack that name values: times, subjects, entities, attributes.
//! Touches no record.

use quell_core::identity::Scheme;
use quell_core::signal::EntityKind;
use serde_json::Value;

use super::super::read::{Entries, Problems, SEE, list};
use super::super::{Field, Path, Shape, Subject};
use super::{Conditions, path, paths};
use crate::limits::ATTRIBUTES_MAX;

/// Where the times of a record stand.
#[derive(Clone, Default)]
pub(super) struct Times {
    pub(super) happened: Vec<Path>,
    pub(super) judged: Vec<Path>,
    pub(super) written: Vec<Path>,
}

/// `times` of a pack or of a group.
pub(super) fn times<'d>(entries: &Entries<'d>, problems: &mut Problems<'d>) -> Times {
    let known = &["happened", "judged", "written", "without_zone"];
    let at = entries.path_to("times");
    let Some(value) = entries.get("times") else { return Times::default() };
    let Some(times) = Entries::of(value, &at, known, problems) else { return Times::default() };
    Times {
        happened: paths(&times, "happened", problems),
        judged: paths(&times, "judged", problems),
        written: paths(&times, "written", problems),
    }
}

/// `times.without_zone: utc`: a time without a zone is one in UTC, and a dialect.
pub(super) fn without_zone<'d>(root: &Entries<'d>, problems: &mut Problems<'d>) -> bool {
    let zone = root.get("times").and_then(|times| times.get("without_zone"));
    if zone.is_some_and(|zone| zone != "utc") {
        problems.at(&["times", "without_zone"], "`without_zone` must be `utc`", SEE);
    }
    zone.is_some()
}

/// `subjects`: whom a signal can be about, by name.
pub(super) fn subjects<'d>(root: &Entries<'d>, problems: &mut Problems<'d>) -> Vec<Subject> {
    let Some(value) = root.get("subjects") else { return Vec::new() };
    let Some(entries) = Entries::open(value, &["subjects"], problems) else { return Vec::new() };
    let mut subjects = Vec::new();
    for (name, value) in entries.iter() {
        let at = entries.path_to(name);
        let known = &["when", "each", "ids", "entities"];
        let Some(entry) = Entries::of(value, &at, known, problems) else { continue };
        let when = entry.get("when").map(|when| {
            let mut conditions = Conditions::default();
            conditions.add(when, entry.path_to("when"));
            conditions.compile(problems)
        });
        let each = entry.get("each").and_then(|each| path(each, &entry.path_to("each"), problems));
        let ids = entry.need("ids", problems).map(|ids| identifiers(ids, &entry, problems));
        let ids = ids.unwrap_or_default();
        let entities = entities(&entry, problems);
        subjects.push(Subject { name: name.to_owned(), when, each, ids, entities });
    }
    subjects
}

/// A list of `SCHEME: PATH`, strongest first.
fn identifiers<'d>(
    value: &'d Value,
    entry: &Entries<'d>,
    problems: &mut Problems<'d>,
) -> Vec<(Scheme, Path)> {
    let at = entry.path_to("ids");
    let mut ids = Vec::new();
    for item in list(value) {
        let Some(pairs) = Entries::open(item, &at, problems) else { continue };
        for (scheme, value) in pairs.iter() {
            let at = pairs.path_to(scheme);
            match scheme.parse::<Scheme>() {
                Ok(known) => ids.extend(path(value, &at, problems).map(|path| (known, path))),
                Err(error) => problems.at(&at, error, SEE),
            }
        }
    }
    ids
}

/// `entities` of a pack, a group or a subject: a list of `KIND: FIELD`.
pub(super) fn entities<'d>(
    entries: &Entries<'d>,
    problems: &mut Problems<'d>,
) -> Vec<(EntityKind, Field)> {
    let at = entries.path_to("entities");
    let mut entities = Vec::new();
    for item in entries.get("entities").map(list).unwrap_or_default() {
        let Some(pairs) = Entries::open(item, &at, problems) else { continue };
        for (kind, value) in pairs.iter() {
            let at = pairs.path_to(kind);
            match kind.parse::<EntityKind>() {
                Ok(known) => entities.extend(field(value, &at, problems).map(|f| (known, f))),
                Err(error) => problems.at(&at, error, SEE),
            }
        }
    }
    entities
}

/// `attributes`: `NAME: FIELD`.
pub(super) fn attributes<'d>(
    root: &Entries<'d>,
    problems: &mut Problems<'d>,
) -> Vec<(String, Field)> {
    let Some(value) = root.get("attributes") else { return Vec::new() };
    let Some(entries) = Entries::open(value, &["attributes"], problems) else { return Vec::new() };
    let mut attributes = Vec::new();
    for (name, value) in entries.iter() {
        let at = entries.path_to(name);
        let plain = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        if !plain || name == "self" {
            let what = format!("`{name}` cannot be the name of an attribute");
            problems.at(&at, what, "use a-z, 0-9 and `_`; `self` is Quell's own");
        }
        attributes.extend(field(value, &at, problems).map(|field| (name.to_owned(), field)));
    }
    let place =
        |field: &Field| field.paths.first().and_then(|path| path.place().map(<[_]>::to_vec));
    attributes.sort_by_cached_key(|(_, field)| place(field));
    if attributes.len() > ATTRIBUTES_MAX {
        let what = format!("over the limit of {ATTRIBUTES_MAX} attributes");
        problems.at(&["attributes"], what, "name what rules match");
    }
    attributes
}

/// A path, a list of paths of which the first with a value counts, or either with `as`.
fn field<'d>(value: &'d Value, at: &[&'d str], problems: &mut Problems<'d>) -> Option<Field> {
    let (from, shape) = if value.is_object() {
        let entry = Entries::of(value, at, &["path", "as"], problems)?;
        let shape = match entry.text("as", problems) {
            None => Shape::Text,
            Some("lower") => Shape::Lower,
            Some("host") => Shape::Host,
            Some(_) => {
                problems.at(&entry.path_to("as"), "`as` must be `lower` or `host`", SEE);
                return None;
            }
        };
        (entry.need("path", problems)?, shape)
    } else {
        (value, Shape::Text)
    };
    let paths: Vec<Path> = list(from).iter().filter_map(|item| path(item, at, problems)).collect();
    (!paths.is_empty()).then_some(Field { paths, shape })
}
