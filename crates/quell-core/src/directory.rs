//! The directory: which identifiers and accounts belong to which identity, as of when.
//! It is an input like any other; nothing here fetches it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::id::{Digest, IdentityId};
use crate::identity::{Account, Class, Held, Identifier, Identity, Scheme};
use crate::time::Time;

/// One whole import; replaces the directory before it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Import {
    /// Where it came from, for people: a file name or a connector.
    pub origin: String,
    /// When the data was true, if the origin says so; else the import's own `at`.
    pub as_of: Option<Time>,
    /// Every identity.
    pub identities: Vec<Identity>,
}

/// Classes that an identity held until a change of the directory.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Former {
    until: Time,
    classes: BTreeSet<Class>,
}

/// The directory in force.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Directory {
    /// Counts imports from 1; 0 is the empty directory.
    pub version: u64,
    /// When its data was true.
    pub as_of: Time,
    /// SHA-256 over the identities in order.
    pub digest: Option<Digest>,
    identities: BTreeMap<IdentityId, Identity>,
    former: BTreeMap<IdentityId, Vec<Former>>,
    #[serde(skip)]
    names: BTreeMap<Identifier, Vec<(IdentityId, Held)>>,
}

/// How many former class sets are remembered for one identity.
const FORMER_MAX: usize = 16;

impl Directory {
    /// Takes an import in; classes that changed are remembered with the time until which they
    /// held, so that authority can use the union of then and now.
    pub fn import(&mut self, at: Time, import: Import) {
        let mut old = std::mem::take(&mut self.identities);
        for mut identity in import.identities {
            identity.accounts.sort();
            identity.accounts.dedup();
            if let Some(before) = old.remove(&identity.id)
                && before.classes != identity.classes
            {
                let former = self.former.entry(identity.id).or_default();
                former.push(Former { until: at, classes: before.classes });
                if former.len() > FORMER_MAX {
                    former.remove(0);
                }
            }
            self.identities.insert(identity.id, identity);
        }
        self.version = self.version.saturating_add(1);
        self.as_of = import.as_of.unwrap_or(at);
        let all: Vec<&Identity> = self.identities.values().collect();
        self.digest = serde_json::to_vec(&all).ok().map(|bytes| Digest::of(&bytes));
        self.index();
    }

    /// Rebuilds the look-up by name; to be called after loading from the store.
    pub fn index(&mut self) {
        self.names.clear();
        for identity in self.identities.values() {
            for held in names_of(identity) {
                let who = self.names.entry(held.identifier.clone()).or_default();
                who.push((identity.id, held));
            }
        }
    }

    /// How many identities it holds.
    pub fn len(&self) -> usize {
        self.identities.len()
    }

    /// True for the empty directory.
    pub fn is_empty(&self) -> bool {
        self.identities.is_empty()
    }

    /// Every identity, by id.
    pub fn identities(&self) -> impl Iterator<Item = &Identity> {
        self.identities.values()
    }

    /// One identity.
    pub fn identity(&self, id: IdentityId) -> Option<&Identity> {
        self.identities.get(&id)
    }

    /// The identity that owns an account now.
    pub fn owner(&self, account: &Account) -> Option<&Identity> {
        let identifier = Identifier::new(Scheme::AccountId, Some(&account.provider), &account.id);
        let held = self.names.get(&identifier)?;
        held.first().and_then(|(id, _)| self.identities.get(id))
    }

    /// Everyone who held the name at `t`, without repetition, in id order.
    pub fn holders(&self, identifier: &Identifier, t: Time) -> Vec<IdentityId> {
        let held = self.names.get(identifier).map(Vec::as_slice).unwrap_or_default();
        let mut ids: Vec<_> = held.iter().filter(|(_, h)| h.at(t)).map(|(id, _)| *id).collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// The union of the classes held at `then` and now.
    pub fn classes(&self, id: IdentityId, then: Time) -> BTreeSet<Class> {
        let now = self.identities.get(&id).map(|i| i.classes.clone()).unwrap_or_default();
        let former = self.former.get(&id).map(Vec::as_slice).unwrap_or_default();
        let before = former.iter().filter(|f| then < f.until).flat_map(|f| &f.classes);
        now.into_iter().chain(before.copied()).collect()
    }
}

/// Every name of an identity: the accounts' own and the listed ones.
fn names_of(identity: &Identity) -> Vec<Held> {
    let always = |identifier| Held { identifier, from: None, until: None };
    let mut all = Vec::new();
    for account in &identity.accounts {
        let provider = Some(account.provider.as_str());
        all.push(always(Identifier::new(Scheme::AccountId, provider, &account.id)));
        if let Some(login) = &account.login {
            all.push(always(Identifier::new(Scheme::Login, provider, login)));
            if login.contains('@') {
                all.push(always(Identifier::new(Scheme::Address, None, login)));
            }
        }
    }
    all.extend(identity.names.iter().cloned());
    all.sort();
    all.dedup();
    all
}
