//! Sources room: what a pack is once it is loaded. Holds compiled paths and conditions; reads no
//! file, and nothing here runs until a record comes.

mod glob;
mod load;
mod path;
mod read;

use std::collections::{BTreeMap, BTreeSet};

use quell_core::id::Digest;
use quell_core::identity::Scheme;
use quell_core::signal::{Anomaly, EntityKind, Kind, Use};
use quell_rules::SelectionSet;

use crate::body::ListPath;
use glob::Glob;
pub(crate) use path::{Near, Path};
pub use read::PackError;

/// What one vendor's records mean: `packs/NAME/pack.yml`, compiled.
///
/// The format is described in `docs/packs.md`; `version: 1`, fields are only added.
#[derive(Debug, Clone)]
pub struct Pack {
    pub(crate) name: String,
    pub(crate) title: String,
    pub(crate) provider: Option<String>,
    pub(crate) digest: Digest,
    pub(crate) lists: Vec<ListPath>,
    pub(crate) dialects: Choice<Vec<(String, String)>>,
    pub(crate) types: Vec<TypeRule>,
    pub(crate) type_conditions: SelectionSet,
    pub(crate) keys: Vec<Vec<Path>>,
    pub(crate) own: Vec<Path>,
    pub(crate) ignore: Vec<String>,
    pub(crate) without_zone: bool,
    pub(crate) derived: Vec<(String, Derive)>,
    pub(crate) anomalies: Choice<Anomaly>,
    pub(crate) attributes: Vec<(String, Field)>,
    pub(crate) subjects: Vec<Subject>,
    pub(crate) groups: Vec<Group>,
    exact: BTreeMap<String, usize>,
    globs: Vec<(Glob, usize)>,
}

impl Pack {
    /// Reads and compiles the text of a `pack.yml`; `file` is only shown in errors.
    ///
    /// # Errors
    /// Every problem that was found, sorted by line; there is no pack with only some of its parts.
    pub fn load(file: &str, text: &str) -> Result<Self, Vec<PackError>> {
        load::load(file, text)
    }

    /// The pack's name: letters, digits and `_`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The vendor's product, for people to read.
    pub fn title(&self) -> &str {
        &self.title
    }

    /// The identity provider that account ids and logins belong to, where there is one.
    pub fn provider(&self) -> Option<&str> {
        self.provider.as_deref()
    }

    /// The digest of the pack's text.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The event types that the pack lists, as written, sorted; `*` stands for any characters.
    pub fn event_types(&self) -> Vec<&str> {
        let globs = self.globs.iter().map(|(glob, _)| glob.as_str());
        let mut types: Vec<&str> = self.exact.keys().map(String::as_str).chain(globs).collect();
        types.sort_unstable();
        types
    }

    /// Every kind that the mapping can state, with the uses that it states it for.
    pub fn states(&self) -> BTreeMap<Kind, BTreeSet<Use>> {
        let mut all: BTreeMap<Kind, BTreeSet<Use>> = BTreeMap::new();
        for group in &self.groups {
            for row in &group.rows {
                all.entry(row.kind).or_default().insert(row.usage);
            }
            if group.otherwise == Otherwise::Detection {
                all.entry(Kind::Detection).or_default().insert(Use::Join);
            }
        }
        all
    }

    /// The group of rows for an event type; a type written out goes before one with `*`.
    pub(crate) fn group(&self, event_type: &str) -> Option<&Group> {
        let by_glob = || self.globs.iter().find(|(glob, _)| glob.matches(event_type));
        let at = self.exact.get(event_type).or_else(|| by_glob().map(|(_, at)| at))?;
        self.groups.get(*at)
    }
}

/// Conditions, each with what it stands for.
#[derive(Debug, Clone)]
pub(crate) struct Choice<T> {
    pub(crate) conditions: SelectionSet,
    pub(crate) means: Vec<T>,
}

/// One way to tell the event type.
#[derive(Debug, Clone)]
pub(crate) enum TypeRule {
    /// The text at a path.
    From(Path),
    /// A name, for records that satisfy the condition at this place of `type_conditions`.
    Is(String, usize),
}

/// A value that conditions see as `_.NAME`.
#[derive(Debug, Clone)]
pub(crate) enum Derive {
    /// The first group of the first pattern that matches a text.
    Capture(Vec<(Path, regex::Regex)>),
    /// Whether two paths lead to one text.
    Same(Path, Path),
}

/// The first of several paths that leads to a value.
#[derive(Debug, Clone)]
pub(crate) struct Field {
    pub(crate) paths: Vec<Path>,
    pub(crate) shape: Shape,
}

/// What to take of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// The text as it stands.
    Text,
    /// The text in lower case.
    Lower,
    /// The host of a URL.
    Host,
}

/// Whom a signal is about.
#[derive(Debug, Clone)]
pub(crate) struct Subject {
    pub(crate) name: String,
    pub(crate) when: Option<SelectionSet>,
    /// One subject for each value here; without it the record itself.
    pub(crate) each: Option<Path>,
    /// Identifiers, strongest first, relative to `each`.
    pub(crate) ids: Vec<(Scheme, Path)>,
    /// Entities that belong to this subject's own doing, read off the record.
    pub(crate) entities: Vec<(EntityKind, Field)>,
}

/// Event types that are read alike.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    /// One view of the record for each value here, which conditions see as `_.item`.
    pub(crate) each: Option<Path>,
    /// Places in [`Pack::subjects`]; the first that names somebody.
    pub(crate) about: Vec<usize>,
    pub(crate) happened: Vec<Path>,
    pub(crate) judged: Vec<Path>,
    pub(crate) written: Vec<Path>,
    pub(crate) expects: Vec<Path>,
    pub(crate) entities: Vec<(EntityKind, Field)>,
    /// The conditions of the rows, then those of `adjust`.
    pub(crate) conditions: SelectionSet,
    pub(crate) rows: Vec<Row>,
    /// What to add to a confidence when a condition holds.
    pub(crate) adjust: Vec<(usize, i16)>,
    pub(crate) otherwise: Otherwise,
}

/// One statement that a record may make.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    /// The place of its condition in the group; none means always.
    pub(crate) when: Option<usize>,
    pub(crate) kind: Kind,
    pub(crate) usage: Use,
    pub(crate) confidence: Option<u8>,
    pub(crate) withdraws: Option<EntityKind>,
    /// Where the statement happened, when not where its event did.
    pub(crate) happened: Vec<Path>,
    pub(crate) anomaly: Option<Anomaly>,
    /// The rows below are asked too.
    pub(crate) goes_on: bool,
}

/// What a record of a listed type means when no row holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Otherwise {
    /// `detection` with confidence 30 and the anomaly `unknown_value`.
    Detection,
    /// A reject: the pack lists other values of this type only.
    Unlisted,
}

#[cfg(test)]
mod tests;
