//! Sources room: one parsed record with what Quell adds to it under `_`, and how fields are read
//! off it. Decides nothing about meaning.

use std::collections::{BTreeMap, BTreeSet};

use quell_core::id::Digest;
use quell_core::identity::{Identifier, Scheme};
use quell_core::signal::{Anomaly, Entity, EntityKind, RejectReason};
use serde_json::{Map, Value};

use super::value;
use crate::body::BodyFault;
use crate::limits::{ATTRIBUTE_BYTES_MAX, ENTITY_BYTES_MAX, IDENTIFIER_BYTES_MAX, KEY_BYTES_MAX};
use crate::pack::{Derive, Field, Group, Near, Pack, Path, Shape, Subject, TypeRule};

/// The member under which conditions and paths see what Quell adds.
const ADDED: &str = "_";

/// One record of a listed type.
pub(super) struct Record<'p> {
    pub(super) value: Value,
    pub(super) group: Option<&'p Group>,
    pub(super) anomalies: BTreeSet<Anomaly>,
}

impl<'p> Record<'p> {
    /// A record as an object, its dialect put right.
    pub(super) fn new(pack: &Pack, value: Value, list: Option<&str>) -> Result<Self, BodyFault> {
        if !value.is_object() {
            let detail = "a record must be an object".to_owned();
            return Err(BodyFault::new(RejectReason::Unparsable, detail));
        }
        let mut anomalies = BTreeSet::new();
        let spoken = match pack.dialects.means.is_empty() {
            true => Vec::new(),
            false => pack.dialects.conditions.matches(&value),
        };
        let mut record = Self { value, group: None, anomalies: BTreeSet::new() };
        if let Some(members) = record.value.as_object_mut() {
            for renames in spoken.iter().filter_map(|place| pack.dialects.means.get(*place)) {
                anomalies.insert(Anomaly::Dialect);
                rename(members, renames);
            }
            // a condition would take a member named `_.x` for the `x` that Quell adds
            if members.keys().any(|name| name.starts_with("_.")) {
                members.retain(|name, _| !name.starts_with("_."));
            }
            let mut added = Map::new();
            if let Some(list) = list {
                added.insert("list".to_owned(), Value::from(list));
            }
            members.insert(ADDED.to_owned(), Value::Object(added));
        }
        record.anomalies = anomalies;
        Ok(record)
    }

    /// The event type by the first rule of the pack that tells one.
    pub(super) fn event_type(&self, pack: &Pack) -> Option<String> {
        let mut met = None;
        pack.types.iter().find_map(|rule| match rule {
            TypeRule::From(path) => path.first(&self.value).and_then(value::text),
            TypeRule::Is(name, place) => {
                let met = met.get_or_insert_with(|| pack.type_conditions.matches(&self.value));
                met.binary_search(place).is_ok().then(|| name.clone())
            }
        })
    }

    /// Takes the group and adds what the pack derives.
    pub(super) fn enter(&mut self, pack: &Pack, group: &'p Group) {
        self.group = Some(group);
        for (name, derive) in &pack.derived {
            let derived = match derive {
                Derive::Capture(ways) => ways.iter().find_map(|(path, pattern)| {
                    let text = path.first(&self.value)?.as_str()?;
                    let found = pattern.captures(text)?.get(1)?;
                    Some(Value::from(found.as_str()))
                }),
                Derive::Same(one, other) => {
                    let read = |path: &Path| path.first(&self.value).and_then(value::text);
                    let both = read(one).zip(read(other));
                    both.map(|(one, other)| Value::from(one == other))
                }
            };
            if let Some(derived) = derived {
                self.add(name, derived);
            }
        }
    }

    /// Sets `_.NAME`.
    pub(super) fn add(&mut self, name: &str, value: Value) {
        if let Some(added) = self.value.get_mut(ADDED).and_then(Value::as_object_mut) {
            added.insert(name.to_owned(), value);
        }
    }

    /// The first key of which all parts are there, else the digest of the record. A key of several
    /// parts is a JSON array; a long one is replaced by its digest.
    pub(super) fn key(&self, pack: &Pack, digest: Digest) -> String {
        let read = |path: &Path| {
            let text = path.first(&self.value).and_then(value::text)?;
            (!is_ignored(pack, &text)).then_some(text)
        };
        let mut keys = pack.keys.iter().filter_map(|parts| {
            let texts: Option<Vec<String>> = parts.iter().map(read).collect();
            texts.filter(|texts| !texts.is_empty())
        });
        let key = match keys.next() {
            None => return digest.to_string(),
            Some(texts) => match <[String; 1]>::try_from(texts) {
                Ok([only]) => only,
                Err(several) => Value::from(several).to_string(),
            },
        };
        if key.len() > KEY_BYTES_MAX { Digest::of(key.as_bytes()).to_string() } else { key }
    }

    /// The texts of a field: those at the first of its paths that leads to any.
    fn texts(&self, pack: &Pack, field: &Field) -> Vec<String> {
        let mut texts = Vec::new();
        for path in &field.paths {
            path.each(&self.value, &mut |node| {
                value::flat(node, &mut |item| {
                    texts.extend(value::text(item).filter(|text| !is_ignored(pack, text)));
                });
            });
            if !texts.is_empty() {
                break;
            }
        }
        match field.shape {
            Shape::Text => texts,
            Shape::Lower => texts.iter().map(|text| text.to_lowercase()).collect(),
            Shape::Host => texts.iter().filter_map(|text| value::host(text)).collect(),
        }
    }

    /// The first text of a field.
    fn first_text<'v, 'f>(
        &'v self,
        pack: &Pack,
        field: &'f Field,
        near: &mut Near<'v, 'f>,
    ) -> Option<String> {
        for path in &field.paths {
            let mut found = None;
            path.each_near(&self.value, near, &mut |node| {
                value::flat(node, &mut |item| {
                    if found.is_none() {
                        found = value::text(item).filter(|text| !is_ignored(pack, text));
                    }
                });
            });
            if let Some(text) = found {
                return match field.shape {
                    Shape::Text => Some(text),
                    Shape::Lower => Some(text.to_lowercase()),
                    Shape::Host => value::host(&text),
                };
            }
        }
        None
    }

    /// The entities that the record names; what is no value of its kind or too long is left out and
    /// noted.
    pub(super) fn entities(
        &self,
        pack: &Pack,
        fields: &[(EntityKind, Field)],
        anomalies: &mut BTreeSet<Anomaly>,
    ) -> BTreeSet<Entity> {
        let mut entities = BTreeSet::new();
        for (kind, field) in fields {
            for text in self.texts(pack, field) {
                match value::entity(*kind, &text).filter(|v| v.len() <= ENTITY_BYTES_MAX) {
                    Some(value) => {
                        entities.insert(Entity { kind: *kind, value });
                    }
                    None => {
                        anomalies.insert(Anomaly::MissingMember);
                    }
                }
            }
        }
        entities
    }

    /// The attributes of the record; what is too long is left out and noted.
    pub(super) fn attributes(
        &self,
        pack: &Pack,
        anomalies: &mut BTreeSet<Anomaly>,
    ) -> BTreeMap<String, String> {
        let mut attributes = BTreeMap::new();
        let mut near = Near::default();
        for (name, field) in &pack.attributes {
            let Some(text) = self.first_text(pack, field, &mut near) else { continue };
            if text.len() > ATTRIBUTE_BYTES_MAX {
                anomalies.insert(Anomaly::MissingMember);
            } else {
                attributes.insert(name.clone(), text);
            }
        }
        attributes
    }

    /// The identifiers of everybody whom a subject names, in the order of the record.
    pub(super) fn people(
        &self,
        pack: &Pack,
        subject: &Subject,
        provider: Option<&str>,
        anomalies: &mut BTreeSet<Anomaly>,
    ) -> Vec<Vec<Identifier>> {
        if subject.when.as_ref().is_some_and(|when| when.matches(&self.value).is_empty()) {
            return Vec::new();
        }
        let mut nodes = Vec::new();
        match &subject.each {
            None => nodes.push(&self.value),
            Some(each) => {
                each.each(&self.value, &mut |node| value::flat(node, &mut |n| nodes.push(n)));
            }
        }
        let mut people: Vec<Vec<Identifier>> = Vec::new();
        for node in nodes {
            let mut ids = Vec::new();
            for (scheme, path) in &subject.ids {
                let text = path.first(node).and_then(value::text);
                let Some(text) = text.filter(|text| !is_ignored(pack, text)) else { continue };
                match identifier(*scheme, provider, &text) {
                    Some(id) => ids.push(id),
                    None => {
                        anomalies.insert(Anomaly::MissingMember);
                    }
                }
            }
            if !ids.is_empty() && !people.contains(&ids) {
                people.push(ids);
            }
        }
        people
    }

    /// True when one of Quell's own principals did it.
    pub(super) fn is_own(&self, pack: &Pack, own: &[String]) -> bool {
        if own.is_empty() {
            return false;
        }
        let mut found = false;
        for path in &pack.own {
            path.each(&self.value, &mut |node| {
                found |= value::text(node).is_some_and(|text| own.contains(&text));
            });
        }
        found
    }
}

/// An identifier in its normal form; none when it cannot be one.
fn identifier(scheme: Scheme, provider: Option<&str>, text: &str) -> Option<Identifier> {
    let text = if scheme == Scheme::Address { value::bare(text) } else { text };
    let fits = !text.is_empty() && text.len() <= IDENTIFIER_BYTES_MAX;
    let whole = scheme != Scheme::Address || text.contains('@');
    let id = (fits && whole).then(|| Identifier::new(scheme, provider, text))?;
    (id.value.len() <= IDENTIFIER_BYTES_MAX).then_some(id)
}

/// True for the words by which the vendor says that it does not know.
fn is_ignored(pack: &Pack, text: &str) -> bool {
    pack.ignore.iter().any(|word| word.eq_ignore_ascii_case(text))
}

/// Gives members their usual names; a usual name that is already there wins.
fn rename(members: &mut Map<String, Value>, renames: &[(String, String)]) {
    for (from, to) in renames {
        if members.contains_key(to) {
            continue;
        }
        if let Some(value) = members.remove(from) {
            members.insert(to.clone(), value);
        }
    }
}
