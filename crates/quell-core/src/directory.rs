//! The directory: which identifiers and accounts belong to which identity, as of when.
//! It is an input like any other; nothing here fetches it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::id::{Digest, IdentityId};
use crate::identity::{Account, Class, Held, Identifier, Identity, Scheme};
use crate::policy::Classes;
use crate::time::{DAY, Time};

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

/// Classes that an identity held until a change of the directory or of the policy.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Former {
    until: Time,
    classes: BTreeSet<Class>,
}

/// One identity with its past; the state row of table `identity`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Entry {
    /// The identity with the classes that count; none when it left the directory.
    identity: Option<Identity>,
    /// The classes that the import itself stated.
    stated: BTreeSet<Class>,
    former: Vec<Former>,
}

/// What an import says of itself; the state row of table `directory`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Head {
    /// Counts imports from 1; 0 is the empty directory.
    pub version: u64,
    /// When its data was true.
    pub as_of: Time,
    /// SHA-256 over the identities as imported, in the order of ids.
    pub digest: Option<Digest>,
}

/// The directory in force.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Directory {
    head: Head,
    entries: BTreeMap<IdentityId, Entry>,
    names: BTreeMap<Identifier, Vec<(IdentityId, Held)>>,
    /// Every provider that some name belongs to.
    providers: BTreeSet<String>,
    present: usize,
}

/// How many former class sets are remembered for one identity.
const FORMER_MAX: usize = 16;
/// How long an identity that left is remembered with its classes.
const FORMER_AGE: i64 = 500 * DAY;

impl Directory {
    /// Takes an import in and gives the identities whose row changed, an absent one first.
    ///
    /// Groups give classes by `classes`; what an identity held before is remembered with the
    /// time until which it held, so that authority can use the union of then and now.
    pub fn import(&mut self, at: Time, import: Import, classes: &Classes) -> BTreeSet<IdentityId> {
        let mut hash = Sha256::new();
        let mut left: BTreeSet<IdentityId> = self.entries.keys().copied().collect();
        let mut changed = BTreeSet::new();
        let new: BTreeMap<IdentityId, Identity> =
            import.identities.into_iter().map(|identity| (identity.id, identity)).collect();
        for (id, mut identity) in new {
            identity.accounts.sort();
            identity.accounts.dedup();
            hash.update(serde_json::to_vec(&identity).unwrap_or_default());
            left.remove(&id);
            let stated = std::mem::take(&mut identity.classes);
            identity.classes = classes.of(&stated, &identity.groups);
            if self.change(at, id, Some(identity), stated) {
                changed.insert(id);
            }
        }
        for id in left {
            if self.change(at, id, None, BTreeSet::new()) {
                changed.insert(id);
            }
        }
        let forgotten = |entry: &Entry| {
            entry.identity.is_none() && entry.former.iter().all(|f| f.until < at.plus(-FORMER_AGE))
        };
        let gone: Vec<IdentityId> =
            self.entries.iter().filter(|(_, e)| forgotten(e)).map(|(id, _)| *id).collect();
        for id in gone {
            self.entries.remove(&id);
            changed.insert(id);
        }
        self.head = Head {
            version: self.head.version.saturating_add(1),
            as_of: import.as_of.unwrap_or(at),
            digest: Some(Digest(hash.finalize().into())),
        };
        self.index();
        changed
    }

    /// Gives classes by other groups, as if imported again; the version stays.
    pub fn reclass(&mut self, at: Time, classes: &Classes) -> BTreeSet<IdentityId> {
        let all: Vec<(IdentityId, Identity, BTreeSet<Class>)> = self
            .entries
            .iter()
            .filter_map(|(id, e)| Some((*id, e.identity.clone()?, e.stated.clone())))
            .collect();
        let mut changed = BTreeSet::new();
        for (id, mut identity, stated) in all {
            identity.classes = classes.of(&stated, &identity.groups);
            if self.change(at, id, Some(identity), stated) {
                changed.insert(id);
            }
        }
        changed
    }

    /// Puts one identity into its place; true when its row changed.
    fn change(
        &mut self,
        at: Time,
        id: IdentityId,
        identity: Option<Identity>,
        stated: BTreeSet<Class>,
    ) -> bool {
        let entry = self.entries.entry(id).or_default();
        if entry.identity == identity && entry.stated == stated {
            return false;
        }
        let now = identity.as_ref().map(|i| &i.classes);
        if let Some(before) = entry.identity.as_ref().map(|i| &i.classes)
            && Some(before) != now
        {
            entry.former.push(Former { until: at, classes: before.clone() });
            if entry.former.len() > FORMER_MAX {
                entry.former.remove(0);
            }
        }
        entry.identity = identity;
        entry.stated = stated;
        true
    }

    /// What the directory says of itself.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// The row of one identity; none when it is forgotten.
    pub fn entry(&self, id: IdentityId) -> Option<&Entry> {
        self.entries.get(&id)
    }

    /// Takes the rows of a store; [`Self::index`] must follow the last one.
    pub fn load_head(&mut self, head: Head) {
        self.head = head;
    }

    /// See [`Self::load_head`].
    pub fn load_entry(&mut self, id: IdentityId, entry: Entry) {
        self.entries.insert(id, entry);
    }

    /// Rebuilds the look-ups; to be called after loading from the store.
    pub fn index(&mut self) {
        self.names.clear();
        self.providers.clear();
        self.present = 0;
        for identity in self.entries.values().filter_map(|e| e.identity.as_ref()) {
            self.present += 1;
            for held in names_of(identity) {
                if let Some(provider) = &held.identifier.provider
                    && !self.providers.contains(provider.as_str())
                {
                    self.providers.insert(provider.to_string());
                }
                let who = self.names.entry(held.identifier.clone()).or_default();
                who.push((identity.id, held));
            }
        }
    }

    /// The names of an identity that no other one holds too.
    pub fn names_alone(&self, id: IdentityId) -> Vec<Held> {
        let alone = |name: &Identifier| {
            let held = self.names.get(name).map(Vec::as_slice).unwrap_or_default();
            held.iter().all(|(other, _)| *other == id)
        };
        let names = self.identity(id).map(names_of).unwrap_or_default();
        names.into_iter().filter(|held| alone(&held.identifier)).collect()
    }

    /// Takes an identity out with all its past; the version stays.
    pub fn erase(&mut self, id: IdentityId) {
        self.entries.remove(&id);
        self.index();
    }

    /// How many identities it holds.
    pub fn len(&self) -> usize {
        self.present
    }

    /// True for the empty directory.
    pub fn is_empty(&self) -> bool {
        self.present == 0
    }

    /// Every identity, by id.
    pub fn identities(&self) -> impl Iterator<Item = &Identity> {
        self.entries.values().filter_map(|entry| entry.identity.as_ref())
    }

    /// One identity.
    pub fn identity(&self, id: IdentityId) -> Option<&Identity> {
        self.entries.get(&id)?.identity.as_ref()
    }

    /// Every identity that the directory lists an account for, now or at another time, in id
    /// order. Only one is right; of several nobody knows which, so that all of them count.
    pub fn owners(&self, account: &Account) -> impl Iterator<Item = &Identity> {
        let identifier = Identifier::new(Scheme::AccountId, Some(&account.provider), &account.id);
        let held = self.names.get(&identifier).map(Vec::as_slice).unwrap_or_default();
        let ids: BTreeSet<IdentityId> = held.iter().map(|(id, _)| *id).collect();
        ids.into_iter().filter_map(|id| self.identity(id))
    }

    /// Whoever a text names, whatever kind of name it is, at any provider (or at the one that it
    /// names, as in `okta:00u1`) and at any time: those on whom its bearer must not decide.
    pub fn named(&self, text: &str) -> BTreeSet<IdentityId> {
        let free = [Identifier::new(Scheme::Address, None, text)];
        let bound = self.providers.iter().flat_map(|provider| {
            let rest = text.trim().strip_prefix(provider.as_str());
            let value = rest.and_then(|rest| rest.strip_prefix(':')).unwrap_or(text);
            [Scheme::Login, Scheme::AccountId, Scheme::Sam, Scheme::IssSub, Scheme::Client]
                .map(|scheme| Identifier::new(scheme, Some(provider), value))
        });
        let held = free.into_iter().chain(bound).filter_map(|name| self.names.get(&name));
        held.flatten().map(|(id, _)| *id).collect()
    }

    /// Everyone who held the name at `t`, without repetition, in id order.
    pub fn holders(&self, identifier: &Identifier, t: Time) -> Vec<IdentityId> {
        let held = self.names.get(identifier).map(Vec::as_slice).unwrap_or_default();
        let mut ids: Vec<_> = held.iter().filter(|(_, h)| h.at(t)).map(|(id, _)| *id).collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// The union of the classes held at `then` and since.
    pub fn classes(&self, id: IdentityId, then: Time) -> BTreeSet<Class> {
        let Some(entry) = self.entries.get(&id) else { return BTreeSet::new() };
        let now = entry.identity.iter().flat_map(|identity| &identity.classes);
        let before = entry.former.iter().filter(|f| then < f.until).flat_map(|f| &f.classes);
        now.chain(before).copied().collect()
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
