//! Resolution: from the names in a signal to one identity as of the event, or the reason why
//! not. Never guesses; an open question goes to a person.

use serde::{Deserialize, Serialize};

use crate::directory::Directory;
use crate::id::IdentityId;
use crate::identity::{Identifier, Scheme};
use crate::signal::Signal;
use crate::time::Time;

/// Who a signal or a finding is about.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// One identity of the directory.
    Identity(IdentityId),
    /// An account that the directory does not resolve: its own subject until it does.
    Account {
        /// The source that named it.
        source: String,
        /// The strongest name given.
        name: Identifier,
    },
}

impl std::fmt::Display for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Identity(id) => write!(f, "{id}"),
            Self::Account { source, name } => write!(f, "{source}/{name}"),
        }
    }
}

/// How the resolution ended.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "resolution", content = "why")]
pub enum Resolution {
    /// One identity.
    Resolved,
    /// Several could be meant.
    Ambiguous(String),
    /// Nobody known.
    Unknown(String),
}

/// The subject of a signal as of its event time; none when the signal names no account.
pub fn resolve(directory: &Directory, signal: &Signal) -> Option<(Subject, Resolution)> {
    resolve_names(directory, &signal.source, &signal.about, signal.times.happened.t)
}

/// The subject of names that a source gave for an event at `t`; none without a name.
pub fn resolve_names(
    directory: &Directory,
    source: &str,
    about: &[Identifier],
    t: Time,
) -> Option<(Subject, Resolution)> {
    let first = about.first()?;
    let own = || Subject::Account { source: source.to_owned(), name: first.clone() };
    let mut found: Option<(IdentityId, &Identifier)> = None;
    for name in about {
        let holders = holders(directory, name, t);
        match (holders.as_slice(), found) {
            ([], _) => {}
            ([id], None) => {
                if name.scheme == Scheme::AccountId {
                    return Some((Subject::Identity(*id), Resolution::Resolved));
                }
                found = Some((*id, name));
            }
            ([id], Some((before, _))) if *id == before => {}
            ([_], Some((_, by))) => {
                let why = format!("`{by}` and `{name}` belong to different identities");
                return Some((own(), Resolution::Ambiguous(why)));
            }
            (several, _) => {
                let why = format!("`{name}` belongs to {} identities", several.len());
                return Some((own(), Resolution::Ambiguous(why)));
            }
        }
    }
    match found {
        Some((id, _)) => Some((Subject::Identity(id), Resolution::Resolved)),
        None => {
            let why = if directory.is_empty() {
                "no directory has been imported".to_owned()
            } else {
                format!("`{first}` is not in the directory at the time of the event")
            };
            Some((own(), Resolution::Unknown(why)))
        }
    }
}

/// Those who held the name at `t`. An address also finds a login of the same text and the
/// reverse, since providers use addresses as logins; a plus part is dropped when the whole
/// address is unknown.
pub(crate) fn holders(directory: &Directory, name: &Identifier, t: Time) -> Vec<IdentityId> {
    let direct = directory.holders(name, t);
    if !direct.is_empty() || !matches!(name.scheme, Scheme::Address | Scheme::Login) {
        return direct;
    }
    let address =
        |value: &str| directory.holders(&Identifier::new(Scheme::Address, None, value), t);
    let other = address(&name.value);
    if !other.is_empty() {
        return other;
    }
    let Some((local, domain)) = name.value.split_once('@') else { return Vec::new() };
    match local.split_once('+') {
        Some((base, _)) if !base.is_empty() => address(&format!("{base}@{domain}")),
        _ => Vec::new(),
    }
}
