//! One subject's timeline: the signals that rules or history can use, in event-time order, and
//! what an identity's own sign-ins say about a network, a device or a client. It decides nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::id::{Digest, SignalId};
use crate::identity::Identifier;
use crate::resolve::Resolution;
use crate::rule::{Novel, RuleIdx};
use crate::signal::{Anomaly, EntityKind, Kind, Reach, Signal};
use crate::time::Time;

/// The place of a signal: event time, then id. Every order among signals is this one.
pub type Key = (Time, SignalId);

/// A signal in a timeline.
#[derive(Clone, Debug)]
pub struct Kept {
    /// The signal.
    pub signal: Arc<Signal>,
    /// The detection rules that it matches, by index, sorted.
    pub rules: Vec<RuleIdx>,
    /// How its names were resolved.
    pub resolution: Resolution,
    /// Its record, see [`crate::id::record_id`].
    pub record: [u8; 16],
    traits: Traits,
}

impl Kept {
    /// Prepares a signal for a timeline.
    pub fn new(
        signal: Arc<Signal>,
        rules: Vec<RuleIdx>,
        resolution: Resolution,
        record: [u8; 16],
    ) -> Self {
        let traits = Traits::of(&signal);
        Self { signal, rules, resolution, record, traits }
    }

    /// The signal.
    pub fn signal(&self) -> &Signal {
        &self.signal
    }

    /// The network of its address, if it has one that can be read.
    pub fn network(&self) -> Option<u64> {
        Some(self.traits.network).filter(|network| *network != 0)
    }

    /// Its place.
    pub fn key(&self) -> Key {
        (self.signal.times.happened.t, self.signal.id)
    }
}

/// What a sign-in can be recognised by, shortened; none is zero.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Traits {
    network: u64,
    device: [u8; 16],
    client: [u8; 16],
}

impl Traits {
    fn of(signal: &Signal) -> Self {
        let client = signal.entity(EntityKind::UserAgent);
        // Where the provider names no device, the client stands for it.
        let device = signal.entity(EntityKind::Device).or(client);
        Self {
            network: signal.entity(EntityKind::Ip).and_then(network).unwrap_or_default(),
            device: device.map(short).unwrap_or_default(),
            client: client.map(short).unwrap_or_default(),
        }
    }

    fn has(&self, novel: Novel) -> bool {
        match novel {
            Novel::Network => self.network != 0,
            Novel::Device => self.device != [0; 16],
            Novel::Client => self.client != [0; 16],
        }
    }

    fn same(&self, other: &Self, novel: Novel) -> bool {
        match novel {
            Novel::Network => self.network == other.network,
            Novel::Device => self.device == other.device,
            Novel::Client => self.client == other.client,
        }
    }
}

/// The first half of a SHA-256: nobody can make another text look seen.
fn short(text: &str) -> [u8; 16] {
    let mut half = [0; 16];
    half.iter_mut().zip(Digest::of(text.as_bytes()).0).for_each(|(to, from)| *to = from);
    half
}

/// The network of an address: /24 for IPv4, /48 for IPv6, with the family in the top byte.
pub fn network(ip: &str) -> Option<u64> {
    let ip: core::net::IpAddr = ip.parse().ok()?;
    Some(match ip.to_canonical() {
        core::net::IpAddr::V4(v4) => 4 << 56 | u64::from(u32::from(v4) >> 8),
        core::net::IpAddr::V6(v6) => {
            let top = (u128::from(v6) >> 80).to_be_bytes();
            let low = top.iter().rev().take(6).rev().fold(0_u64, |n, b| n << 8 | u64::from(*b));
            6 << 56 | low
        }
    })
}

/// A successful sign-in as history keeps it, with what resolving it again needs.
#[derive(Clone, Debug)]
pub struct Past {
    /// The source that told of it.
    pub source: Arc<str>,
    /// Who it is about.
    pub about: Arc<[Identifier]>,
    /// Its record, of which another revision may take it back.
    pub record: [u8; 16],
    traits: Traits,
}

/// How well a click can be attributed to the person whose link it was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Attribution {
    /// From a network of the person's own sign-ins.
    Familiar,
    /// The history is too short to say.
    Cold,
    /// From an unfamiliar network, without an address, or by a known scanner: cannot anchor.
    Weak,
}

/// The bounds of a timeline, from `limits.toml`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Entries kept for one subject, and sign-ins of its history.
    pub entries: usize,
    /// Under how many sign-ins a history is cold.
    pub cold: usize,
    /// How far back sign-ins count, microseconds.
    pub seen: i64,
    /// The kinds of entity by which entries are found, see [`Timeline::of_value`].
    pub keyed: Kinds,
}

/// A set of kinds of entity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kinds(u16);

impl Kinds {
    fn bit(kind: EntityKind) -> u16 {
        let place = EntityKind::ALL.iter().position(|known| *known == kind).unwrap_or_default();
        1 << (place % 16)
    }

    /// Adds a kind.
    pub fn add(&mut self, kind: EntityKind) {
        self.0 |= Self::bit(kind);
    }

    /// True when the kind is in it.
    pub fn holds(self, kind: EntityKind) -> bool {
        self.0 & Self::bit(kind) != 0
    }
}

/// What an insertion did.
#[derive(Debug, Default)]
pub struct Inserted {
    /// The timeline or its history is another one now.
    pub changed: bool,
    /// It can change how later entries are seen: a sign-in with entries after it.
    pub rewrites: bool,
    /// The entry stands in the timeline.
    pub entered: bool,
    /// What the cap pushed out for it.
    pub evicted: Option<Kept>,
}

/// The timeline of one subject.
#[derive(Clone, Debug, Default)]
pub struct Timeline {
    entries: BTreeMap<Key, Kept>,
    by_rule: BTreeMap<RuleIdx, BTreeSet<Key>>,
    /// By a number made of kind and value of an entity; two may share one.
    by_value: BTreeMap<u64, BTreeSet<Key>>,
    outsiders: BTreeSet<Key>,
    sign_ins: BTreeMap<Key, Past>,
    /// The greatest key that the cap pushed out: of outsiders, of others, of the history.
    gone: [Option<Key>; 3],
    /// How many entries the cap pushed out.
    pub evicted: u64,
}

const OUTSIDER: usize = 0;
const OTHER: usize = 1;
const HISTORY: usize = 2;

impl Timeline {
    /// Adds a signal that happened at or after `floor`; a sign-in that happened before it joins
    /// the history alone.
    ///
    /// When the cap is passed, what anybody outside can cause goes first, then the oldest: the
    /// greatest by (reach, event time, id) stay, whatever the order of arrival.
    pub fn insert(&mut self, kept: Kept, floor: Time, bounds: Bounds) -> Inserted {
        let key = kept.key();
        let mut inserted = Inserted::default();
        if kept.signal().kind == Kind::SignIn {
            let past = self.past(&kept);
            if self.remember(key, past, bounds) {
                inserted.changed = true;
                inserted.rewrites = self.has_after(key.0);
            }
        }
        if key.0 < floor || self.entries.contains_key(&key) {
            return inserted;
        }
        let rank = rank(&kept);
        if self.gone.get(rank).copied().flatten().is_some_and(|gone| key <= gone) {
            self.evicted = self.evicted.saturating_add(1);
            return inserted;
        }
        for rule in &kept.rules {
            self.by_rule.entry(*rule).or_default().insert(key);
        }
        if rank == OUTSIDER {
            self.outsiders.insert(key);
        }
        for entity in kept.signal().entities.iter().filter(|e| bounds.keyed.holds(e.kind)) {
            let number = number(entity.kind, &entity.value);
            self.by_value.entry(number).or_default().insert(key);
        }
        self.entries.insert(key, kept);
        inserted.changed = true;
        inserted.evicted = self.make_room(bounds.entries);
        inserted.entered = inserted.evicted.as_ref().is_none_or(|out| out.key() != key);
        inserted
    }

    /// Adds a sign-in to the history alone.
    pub fn remember(&mut self, key: Key, past: Past, bounds: Bounds) -> bool {
        let gone = self.gone.get(HISTORY).copied().flatten();
        if self.sign_ins.contains_key(&key) || gone.is_some_and(|gone| key <= gone) {
            return false;
        }
        self.sign_ins.insert(key, past);
        if self.sign_ins.len() > bounds.entries
            && let Some((oldest, _)) = self.sign_ins.pop_first()
        {
            self.raise_gone(HISTORY, oldest);
        }
        true
    }

    fn make_room(&mut self, cap: usize) -> Option<Kept> {
        if self.entries.len() <= cap {
            return None;
        }
        let oldest = self.outsiders.first().or_else(|| self.entries.keys().next()).copied()?;
        let out = self.take(oldest)?;
        self.raise_gone(rank(&out), oldest);
        self.evicted = self.evicted.saturating_add(1);
        Some(out)
    }

    fn raise_gone(&mut self, rank: usize, key: Key) {
        if let Some(gone) = self.gone.get_mut(rank) {
            *gone = (*gone).max(Some(key));
        }
    }

    /// True when the history has a sign-in at this place.
    pub fn is_past(&self, key: Key) -> bool {
        self.sign_ins.contains_key(&key)
    }

    /// Removes a signal, from the history too.
    pub fn remove(&mut self, key: Key) -> Option<Kept> {
        self.sign_ins.remove(&key);
        self.take(key)
    }

    /// Drops what happened before `floor`, and sign-ins that no entry can look back to.
    pub fn forget(&mut self, floor: Time, bounds: Bounds) -> Vec<Kept> {
        let mut out = Vec::new();
        while let Some(key) = self.entries.keys().next().copied()
            && key.0 < floor
        {
            out.extend(self.take(key));
        }
        let oldest = floor.plus(-bounds.seen);
        while self.sign_ins.first_key_value().is_some_and(|(key, _)| key.0 < oldest) {
            self.sign_ins.pop_first();
        }
        for (rank, gone) in self.gone.iter_mut().enumerate() {
            let until = if rank == HISTORY { oldest } else { floor };
            if gone.is_some_and(|(t, _)| t < until) {
                *gone = None;
            }
        }
        out
    }

    fn take(&mut self, key: Key) -> Option<Kept> {
        let kept = self.entries.remove(&key)?;
        self.outsiders.remove(&key);
        for entity in &kept.signal().entities {
            let number = number(entity.kind, &entity.value);
            if let Some(keys) = self.by_value.get_mut(&number) {
                keys.remove(&key);
                if keys.is_empty() {
                    self.by_value.remove(&number);
                }
            }
        }
        for rule in &kept.rules {
            if let Some(keys) = self.by_rule.get_mut(rule) {
                keys.remove(&key);
                if keys.is_empty() {
                    self.by_rule.remove(rule);
                }
            }
        }
        Some(kept)
    }

    /// The sign-in as history keeps it; names repeat, so they are shared.
    fn past(&self, kept: &Kept) -> Past {
        let signal = kept.signal();
        let last = self.sign_ins.last_key_value().map(|(_, past)| past);
        let source = match last {
            Some(last) if *last.source == *signal.source => last.source.clone(),
            _ => signal.source.as_str().into(),
        };
        let about = match last {
            Some(last) if *last.about == *signal.about => last.about.clone(),
            _ => signal.about.as_slice().into(),
        };
        Past { source, about, record: kept.record, traits: kept.traits }
    }

    /// True when an entry happened after `t`: it may look back to it, by as much as `seen` and the
    /// span of a window together.
    fn has_after(&self, t: Time) -> bool {
        let after = (t.plus(1), SignalId([0; 16]));
        self.entries.range(after..).next().is_some()
    }

    /// True when removing a sign-in at `t` can change how later entries are seen.
    pub fn rewrites(&self, kept: &Kept) -> bool {
        kept.signal().kind == Kind::SignIn && self.has_after(kept.key().0)
    }

    /// True when nothing is left, not even history.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.sign_ins.is_empty()
    }

    /// True when the cap pushed something out that would still count.
    pub fn is_capped(&self) -> bool {
        self.gone.iter().any(Option::is_some)
    }

    /// True when the cap pushed this entry out, or would have.
    pub fn is_gone(&self, key: Key, reach: Reach) -> bool {
        let rank = if reach == Reach::Outsider { OUTSIDER } else { OTHER };
        self.gone.get(rank).copied().flatten().is_some_and(|gone| key <= gone)
    }

    /// Keeps what another timeline of the same subject knows to be missing.
    pub fn miss_as(&mut self, other: &Self) {
        for (mine, theirs) in self.gone.iter_mut().zip(other.gone) {
            *mine = (*mine).max(theirs);
        }
        self.evicted = self.evicted.max(other.evicted);
    }

    /// How many entries match a rule.
    pub fn count(&self, rule: RuleIdx) -> usize {
        self.by_rule.get(&rule).map_or(0, BTreeSet::len)
    }

    /// The places of the entries that match a rule.
    pub fn of_rule(&self, rule: RuleIdx) -> impl DoubleEndedIterator<Item = Key> + '_ {
        self.by_rule.get(&rule).into_iter().flatten().copied()
    }

    /// The places of the entries that match a rule, from `from` to `to`, both included.
    pub fn of_rule_within(
        &self,
        rule: RuleIdx,
        from: Time,
        to: Time,
    ) -> impl DoubleEndedIterator<Item = Key> + '_ {
        let range = (from, SignalId([0; 16]))..=(to.max(from), SignalId([255; 16]));
        self.by_rule.get(&rule).into_iter().flat_map(move |keys| keys.range(range.clone())).copied()
    }

    /// The places of the entries that name an entity of a keyed kind, and maybe of a few others.
    pub fn of_value(&self, kind: EntityKind, value: &str) -> impl Iterator<Item = Key> + '_ {
        self.by_value.get(&number(kind, value)).into_iter().flatten().copied()
    }

    /// The rules that some entry matches, sorted.
    pub fn rules(&self) -> impl Iterator<Item = RuleIdx> + '_ {
        self.by_rule.keys().copied()
    }

    /// One entry.
    pub fn get(&self, key: Key) -> Option<&Kept> {
        self.entries.get(&key)
    }

    /// Every entry in order of (event time, signal id).
    pub fn entries(&self) -> impl Iterator<Item = &Kept> {
        self.entries.values()
    }

    /// The entries that happened at or after `t`.
    pub fn since(&self, t: Time) -> impl Iterator<Item = &Kept> {
        self.entries.range((t, SignalId([0; 16]))..).map(|(_, kept)| kept)
    }

    /// The sign-ins that are history alone.
    pub fn past_alone(&self) -> impl Iterator<Item = (Key, &Past)> {
        let alone = self.sign_ins.iter().filter(|(key, _)| !self.entries.contains_key(*key));
        alone.map(|(key, past)| (*key, past))
    }

    /// The successful sign-ins in `[t - seen, t)`.
    fn before(&self, t: Time, bounds: Bounds) -> impl Iterator<Item = &Traits> {
        let from = (t.plus(-bounds.seen.max(0)), SignalId([0; 16]));
        self.sign_ins.range(from..(t, SignalId([0; 16]))).map(|(_, past)| &past.traits)
    }

    /// The sources that tell of the person's sign-ins.
    pub fn sign_in_sources(&self) -> BTreeSet<&str> {
        self.sign_ins.values().map(|past| &*past.source).collect()
    }

    /// True when the history before `t` is too short to call anything unseen.
    pub fn is_cold(&self, t: Time, bounds: Bounds) -> bool {
        self.before(t, bounds).take(bounds.cold).count() < bounds.cold
    }

    /// True when every named trait is known for the signal and not seen before `t`.
    pub fn is_novel(&self, kept: &Kept, t: Time, traits: &[Novel], bounds: Bounds) -> bool {
        let own = &kept.traits;
        traits.iter().all(|novel| own.has(*novel))
            && !self.before(t, bounds).any(|b| traits.iter().any(|novel| own.same(b, *novel)))
    }

    /// How well a click can be attributed.
    pub fn attribution(&self, click: &Kept, bounds: Bounds) -> Attribution {
        let own = &click.traits;
        let known = click.signal().anomalies.contains(&Anomaly::KnownScanner);
        if known || !own.has(Novel::Network) {
            return Attribution::Weak;
        }
        let t = click.key().0;
        if self.before(t, bounds).any(|before| own.same(before, Novel::Network)) {
            Attribution::Familiar
        } else if self.is_cold(t, bounds) {
            Attribution::Cold
        } else {
            Attribution::Weak
        }
    }
}

/// FNV-1a (Fowler, Noll, Vo) of kind and value: who makes two values share a number gains nothing,
/// since what is found is compared again.
fn number(kind: EntityKind, value: &str) -> u64 {
    let bytes = kind.name().bytes().chain([0]).chain(value.bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

fn rank(kept: &Kept) -> usize {
    if kept.signal().kind.reach() == Reach::Outsider { OUTSIDER } else { OTHER }
}
