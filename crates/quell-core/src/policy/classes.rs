//! `classes.toml`: which directory groups give which class. It never takes a class away.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use toml::Spanned;

use super::PolicyError;
use super::file::Reader;
use crate::identity::Class;

/// Which directory groups give which class; group names are compared without regard to case.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Classes {
    groups: BTreeMap<String, BTreeSet<Class>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(rename = "version")]
    _version: i64,
    #[serde(default)]
    class: Vec<Row>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    class: Class,
    groups: Vec<Spanned<String>>,
}

impl Classes {
    /// Reads the text of `classes.toml`.
    ///
    /// # Errors
    /// Each thing that is wrong, with its line.
    pub fn parse(text: &str) -> Result<Self, Vec<PolicyError>> {
        let (mut reader, file) = Reader::open::<File>("classes.toml", text)?;
        let mut groups: BTreeMap<String, BTreeSet<Class>> = BTreeMap::new();
        for row in file.class {
            for group in row.groups {
                let name = group.get_ref().trim().to_lowercase();
                if name.is_empty() {
                    reader.wrong(&group, "a group without a name", "name a directory group");
                }
                groups.entry(name).or_default().insert(row.class);
            }
        }
        reader.close(Self { groups })
    }

    /// The classes that count: those of the directory as they are, and those that groups give.
    pub fn of(&self, directory: &BTreeSet<Class>, groups: &BTreeSet<String>) -> BTreeSet<Class> {
        let mut classes = directory.clone();
        for group in groups {
            let given = self.groups.get(&group.trim().to_lowercase());
            classes.extend(given.into_iter().flatten());
        }
        classes
    }
}
