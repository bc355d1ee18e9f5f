//! One subject's timeline: the signals that rules or history can use, in event-time order, and
//! what an identity's own sign-ins say about a network, a device or a client.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::id::SignalId;
use crate::rule::{Novel, RuleIdx};
use crate::signal::{Anomaly, EntityKind, Kind, Matched, Signal};
use crate::time::Time;

/// A signal in a timeline.
#[derive(Clone, Debug)]
pub struct Kept {
    /// The signal with its matches.
    pub matched: Arc<Matched>,
    /// The detection rules that it matches, by index, sorted.
    pub rules: Vec<RuleIdx>,
    /// Its network: IPv4 /24 or IPv6 /48.
    pub network: Option<u64>,
}

impl Kept {
    /// Prepares a signal for a timeline.
    pub fn new(matched: Arc<Matched>, rules: Vec<RuleIdx>) -> Self {
        let network = matched.signal.entity(EntityKind::Ip).and_then(network);
        Self { matched, rules, network }
    }

    /// The signal.
    pub fn signal(&self) -> &Signal {
        &self.matched.signal
    }

    /// The device that it names; where the provider names none, the client stands for it.
    fn device(&self) -> Option<&str> {
        let device = self.signal().entity(EntityKind::Device);
        device.or_else(|| self.signal().entity(EntityKind::UserAgent))
    }
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
    /// Entries kept for one subject; the oldest are evicted.
    pub entries: usize,
    /// Under how many sign-ins a history is cold.
    pub cold: usize,
    /// How far back sign-ins count, microseconds.
    pub seen: i64,
}

/// The timeline of one subject.
#[derive(Clone, Debug, Default)]
pub struct Timeline {
    entries: BTreeMap<(Time, SignalId), Kept>,
    counts: BTreeMap<RuleIdx, u32>,
    /// How many entries the cap pushed out.
    pub evicted: u64,
}

impl Timeline {
    /// Adds a signal; when the cap is passed the oldest by (event time, signal id) goes, so that
    /// what stays does not depend on the order of arrival. Returns false when nothing changed.
    pub fn insert(&mut self, kept: Kept, cap: usize) -> bool {
        let key = (kept.signal().times.happened.t, kept.signal().id);
        if self.entries.contains_key(&key) {
            return false;
        }
        for rule in &kept.rules {
            let count = self.counts.entry(*rule).or_default();
            *count = count.saturating_add(1);
        }
        self.entries.insert(key, kept);
        if self.entries.len() > cap {
            let oldest = self.entries.keys().next().copied();
            oldest.into_iter().for_each(|key| self.take(key));
            self.evicted = self.evicted.saturating_add(1);
        }
        true
    }

    /// Removes a signal.
    pub fn remove(&mut self, t: Time, id: SignalId) {
        self.take((t, id));
    }

    /// Drops everything that happened before `t`.
    pub fn forget_before(&mut self, t: Time) {
        while let Some(key) = self.entries.keys().next().copied()
            && key.0 < t
        {
            self.take(key);
        }
    }

    fn take(&mut self, key: (Time, SignalId)) {
        let Some(kept) = self.entries.remove(&key) else { return };
        for rule in &kept.rules {
            if let Some(count) = self.counts.get_mut(rule) {
                *count = count.saturating_sub(1);
            }
        }
    }

    /// True when no entry is left.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many entries match a rule.
    pub fn count(&self, rule: RuleIdx) -> u32 {
        self.counts.get(&rule).copied().unwrap_or_default()
    }

    /// The rules that some entry matches, sorted.
    pub fn rules(&self) -> impl Iterator<Item = RuleIdx> {
        self.counts.iter().filter(|(_, count)| **count > 0).map(|(rule, _)| *rule)
    }

    /// Every entry in order of (event time, signal id).
    pub fn entries(&self) -> impl Iterator<Item = &Kept> {
        self.entries.values()
    }

    /// The successful sign-ins in `[t - seen, t)`.
    fn sign_ins(&self, t: Time, bounds: Bounds) -> impl Iterator<Item = &Kept> {
        let from = (t.plus(-bounds.seen), SignalId([0; 16]));
        let range = self.entries.range(from..(t, SignalId([0; 16])));
        range.map(|(_, kept)| kept).filter(|kept| kept.signal().kind == Kind::SignIn)
    }

    /// True when the history before `t` is too short to call anything unseen.
    pub fn is_cold(&self, t: Time, bounds: Bounds) -> bool {
        self.sign_ins(t, bounds).take(bounds.cold).count() < bounds.cold
    }

    /// True when every named trait is known for the signal and not seen before it.
    pub fn is_novel(&self, kept: &Kept, traits: &[Novel], bounds: Bounds) -> bool {
        let t = kept.signal().times.happened.t;
        traits.iter().all(|novel| match novel {
            Novel::Network => kept.network.is_some_and(|network| {
                !self.sign_ins(t, bounds).any(|before| before.network == Some(network))
            }),
            Novel::Device => kept.device().is_some_and(|device| {
                !self.sign_ins(t, bounds).any(|before| before.device() == Some(device))
            }),
            Novel::Client => kept.signal().entity(EntityKind::UserAgent).is_some_and(|client| {
                let agent = |k: &Kept| k.signal().entity(EntityKind::UserAgent) == Some(client);
                !self.sign_ins(t, bounds).any(agent)
            }),
        })
    }

    /// How well a click can be attributed.
    pub fn attribution(&self, click: &Kept, bounds: Bounds) -> Attribution {
        if click.signal().anomalies.contains(&Anomaly::KnownScanner) {
            return Attribution::Weak;
        }
        let Some(network) = click.network else { return Attribution::Weak };
        let t = click.signal().times.happened.t;
        if self.sign_ins(t, bounds).any(|before| before.network == Some(network)) {
            Attribution::Familiar
        } else if self.is_cold(t, bounds) {
            Attribution::Cold
        } else {
            Attribution::Weak
        }
    }
}
