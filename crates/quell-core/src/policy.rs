//! Policy: the owner's files, parsed strictly into one value with one digest. It reads texts, not
//! files: no I/O; what a step may do is judged in `authority`.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::authority::Authority;
use crate::id::Digest;

pub mod armed;
pub mod classes;
mod file;
pub mod limits;
pub mod protected;
pub mod tiers;

pub use armed::{Armed, Mode, Pair};
pub use classes::Classes;
pub use limits::{Budget, Counter, Floor, Limits, Role, Total};
pub use protected::{Protected, ProtectedAccount, Why};
pub use tiers::Tiers;

/// The Cedar schema's file name.
pub const SCHEMA: &str = "quell.cedarschema";

/// Bytes that one file of the policy may have.
pub const FILE_MAX: usize = 1 << 20;

/// The TOML files that must be there.
const TOMLS: [&str; 5] =
    ["classes.toml", "tiers.toml", "limits.toml", "protected.toml", "armed.toml"];

/// The texts of the policy folder, by file name without folder.
///
/// Files that are neither `*.toml`, `*.cedar` nor `*.cedarschema` are left out of account.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PolicyFiles(pub BTreeMap<String, String>);

impl PolicyFiles {
    /// What Quell ships; `quell init` writes it out. Its mode is shadow.
    pub fn shipped() -> Self {
        let files = [
            (SCHEMA, include_str!("../../../policy/quell.cedarschema")),
            ("default.cedar", include_str!("../../../policy/default.cedar")),
            ("classes.toml", include_str!("../../../policy/classes.toml")),
            ("tiers.toml", include_str!("../../../policy/tiers.toml")),
            ("limits.toml", include_str!("../../../policy/limits.toml")),
            ("protected.toml", include_str!("../../../policy/protected.toml")),
            ("armed.toml", include_str!("../../../policy/armed.toml")),
        ];
        Self(files.map(|(name, text)| (name.to_owned(), text.to_owned())).into())
    }

    /// SHA-256 over name and content of every policy file, sorted by name, each with its length
    /// before it as u64 big-endian.
    pub fn digest(&self) -> Digest {
        let mut bytes = Vec::new();
        for (name, text) in self.0.iter().filter(|(name, _)| is_policy_file(name)) {
            for part in [name.as_bytes(), text.as_bytes()] {
                let length = u64::try_from(part.len()).unwrap_or(u64::MAX);
                bytes.extend_from_slice(&length.to_be_bytes());
                bytes.extend_from_slice(part);
            }
        }
        Digest::of(&bytes)
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

/// Everything that the owner of authority decided, as one value.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Which directory groups give which class.
    pub classes: Classes,
    /// What a tier asks for, by class.
    pub tiers: Tiers,
    /// Budgets, floors and times.
    pub limits: Limits,
    /// Whom and what nothing touches.
    pub protected: Protected,
    /// What is sent and what only recorded.
    pub armed: Armed,
    /// Which source may trigger which action on which class.
    pub authority: Authority,
    /// See [`PolicyFiles::digest`].
    pub digest: Digest,
}

impl Policy {
    /// Reads all files; a policy is in force whole or not at all.
    ///
    /// # Errors
    /// Every error of every file, sorted by file and line; never empty.
    pub fn load(files: &PolicyFiles) -> Result<Self, Vec<PolicyError>> {
        let mut errors = unexpected(files);
        let digest = files.digest();
        let classes = part(files, "classes.toml", Classes::parse, &mut errors);
        let tiers = part(files, "tiers.toml", Tiers::parse, &mut errors);
        let limits = part(files, "limits.toml", Limits::parse, &mut errors);
        let protected = part(files, "protected.toml", Protected::parse, &mut errors);
        let armed = part(files, "armed.toml", Armed::parse, &mut errors);
        let authority = Authority::load(files).map_err(|more| errors.extend(more)).ok();
        match (classes, tiers, limits, protected, armed, authority) {
            (
                Some(classes),
                Some(tiers),
                Some(limits),
                Some(protected),
                Some(armed),
                Some(authority),
            ) if errors.is_empty() => {
                Ok(Self { classes, tiers, limits, protected, armed, authority, digest })
            }
            _ => {
                errors.sort();
                errors.dedup();
                Err(errors)
            }
        }
    }

    /// Reads what Quell ships.
    ///
    /// # Errors
    /// None as shipped: a test holds it.
    pub fn shipped() -> Result<Self, Vec<PolicyError>> {
        Self::load(&PolicyFiles::shipped())
    }
}

/// What is wrong in a policy file, where, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, thiserror::Error)]
pub struct PolicyError {
    /// The file's name without folder.
    pub file: String,
    /// From 1; none when the whole file is meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// What is wrong, in the user's words.
    pub message: String,
    /// What to do.
    pub remedy: String,
}

impl PolicyError {
    pub(crate) fn new(
        file: &str,
        line: Option<u32>,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { file: file.to_owned(), line, message: message.into(), remedy: remedy.into() }
    }
}

impl std::fmt::Display for PolicyError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.file, self.message),
            None => write!(f, "{}: {}", self.file, self.message),
        }
    }
}

/// The line of a byte offset, from 1.
pub(crate) fn line_of(text: &str, offset: usize) -> u32 {
    let breaks = text.bytes().take(offset).filter(|b| *b == b'\n').count();
    u32::try_from(breaks).unwrap_or(u32::MAX).saturating_add(1)
}

fn is_policy_file(name: &str) -> bool {
    [".toml", ".cedar", ".cedarschema"].iter().any(|end| name.ends_with(end))
}

/// Files that are misnamed or too large.
fn unexpected(files: &PolicyFiles) -> Vec<PolicyError> {
    let mut errors = Vec::new();
    for (name, text) in files.0.iter().filter(|(name, _)| is_policy_file(name)) {
        if text.len() > FILE_MAX {
            let message = format!("larger than {FILE_MAX} bytes");
            errors.push(PolicyError::new(
                name,
                None,
                message,
                "split it or remove what is not used",
            ));
        }
        let (known, kind): (&[&str], _) = if name.ends_with(".toml") {
            (&TOMLS, "TOML file of the policy")
        } else if name.ends_with(".cedarschema") {
            (&[SCHEMA], "Cedar schema of Quell")
        } else {
            continue;
        };
        if !known.contains(&name.as_str()) {
            let remedy = match crate::nearest(name, known.iter().copied()) {
                Some(near) => format!("rename it to `{near}`"),
                None => format!("move it away; known here: `{}`", known.join("`, `")),
            };
            errors.push(PolicyError::new(name, None, format!("no known {kind}"), remedy));
        }
    }
    errors
}

/// One TOML file; a missing one is an error.
fn part<T>(
    files: &PolicyFiles,
    name: &str,
    parse: impl FnOnce(&str) -> Result<T, Vec<PolicyError>>,
    errors: &mut Vec<PolicyError>,
) -> Option<T> {
    let Some(text) = files.text(name) else {
        errors.push(PolicyError::new(
            name,
            None,
            "the file is missing",
            "write the shipped one with `quell init` and edit it",
        ));
        return None;
    };
    if text.len() > FILE_MAX {
        return None;
    }
    parse(text).map_err(|more| errors.extend(more)).ok()
}
