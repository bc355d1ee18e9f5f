//! Engine room, books: what the engine looks things up by. Each is bounded; none decides.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::history::Key;
use crate::id::{Digest, OrderId, SignalId};
use crate::order::{On, Order, State};
use crate::resolve::Subject;
use crate::signal::{EntityKind, Signal};
use crate::time::{HOUR, MINUTE, Time};

/// Records of which the revision in force is known; the oldest written are forgotten first.
const RECORDS_MAX: usize = 4_000_000;
/// Kept signals of accounts that the directory does not resolve: anybody outside can name as
/// many as he likes. The oldest hours are dropped first.
const CROWD_MAX: u64 = 1_000_000;
/// Records forgotten in one step at most.
const FORGET_MAX: usize = 1_024;

/// The revision of a record that is in force, and where its signals stand.
#[derive(Clone, Debug)]
pub(super) struct Revision {
    pub(super) written: Time,
    pub(super) digest: Digest,
    pub(super) placed: Vec<Placed>,
}

/// Where a signal stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Placed {
    /// On a timeline or in its history.
    Timeline(Subject, Key),
    /// Among the undos of a threat.
    Undo(ThreatKey, Time, SignalId),
    /// Nowhere: it was dealt with.
    Heard(SignalId),
}

/// The revisions in force.
#[derive(Debug, Default)]
pub(super) struct Records {
    by_id: BTreeMap<[u8; 16], Revision>,
    by_written: BTreeSet<(Time, [u8; 16])>,
}

impl Records {
    /// What a signal's revision is to the one known: none when it is a lesser one; else what the
    /// lesser one had placed, which must be taken back.
    pub(super) fn admit(&mut self, id: [u8; 16], signal: &Signal) -> Option<Vec<Placed>> {
        let (written, digest) = (signal.times.written, signal.record);
        let fresh = Revision { written, digest, placed: Vec::new() };
        let Some(known) = self.by_id.get_mut(&id) else {
            self.by_written.insert((written, id));
            self.by_id.insert(id, fresh);
            return Some(Vec::new());
        };
        match (known.written, known.digest).cmp(&(written, digest)) {
            std::cmp::Ordering::Greater => None,
            std::cmp::Ordering::Equal => Some(Vec::new()),
            std::cmp::Ordering::Less => {
                self.by_written.remove(&(known.written, id));
                self.by_written.insert((written, id));
                Some(std::mem::replace(known, fresh).placed)
            }
        }
    }

    /// Notes where a signal of the revision in force stands; false when that was known.
    pub(super) fn note(&mut self, id: [u8; 16], placed: Placed) -> bool {
        let Some(revision) = self.by_id.get_mut(&id) else { return false };
        let new = !revision.placed.contains(&placed);
        if new {
            revision.placed.push(placed);
        }
        new
    }

    /// Forgets places on timelines: every kept signal is about to be placed again.
    pub(super) fn clear_places(&mut self) {
        for revision in self.by_id.values_mut() {
            revision.placed.retain(|placed| !matches!(placed, Placed::Timeline(..)));
        }
    }

    /// The next record that is too old or too many, with what it had placed.
    pub(super) fn forget(&mut self, oldest: Time) -> Vec<Revision> {
        let mut out = Vec::new();
        while out.len() < FORGET_MAX
            && let Some((written, id)) = self.by_written.first().copied()
            && (written < oldest || self.by_id.len() > RECORDS_MAX)
        {
            self.by_written.pop_first();
            out.extend(self.by_id.remove(&id));
        }
        out
    }
}

/// What an undo of a source refers to.
pub(super) type ThreatKey = (String, EntityKind, String);

/// Undos, and how many kept signals of each subject they can reach.
#[derive(Clone, Debug, Default)]
pub(super) struct Threat {
    pub(super) undos: BTreeSet<(Time, SignalId)>,
    pub(super) subjects: BTreeMap<Subject, u32>,
}

/// The entities through which an undo of the same source can reach a signal.
pub(super) fn links(signal: &Signal) -> impl Iterator<Item = (EntityKind, &str)> {
    use EntityKind as K;
    let linked = signal.entities.iter().filter(|e| matches!(e.kind, K::Threat | K::Message));
    linked.map(|e| (e.kind, e.value.as_str()))
}

/// How many signals of unresolved accounts are kept, by the hour in which they happened.
#[derive(Debug, Default)]
pub(super) struct Crowd {
    hours: BTreeMap<i64, u64>,
    total: u64,
    /// Signals of unresolved accounts that happened before are not kept.
    pub(super) floor: Option<Time>,
}

impl Crowd {
    pub(super) fn add(&mut self, t: Time) {
        *self.hours.entry(t.0.div_euclid(HOUR)).or_default() += 1;
        self.total += 1;
        while self.total > CROWD_MAX
            && let Some((hour, count)) = self.hours.pop_first()
        {
            self.total -= count;
            let end = Time(hour.saturating_add(1).saturating_mul(HOUR));
            self.floor = self.floor.max(Some(end));
        }
    }

    pub(super) fn remove(&mut self, t: Time) {
        let hour = t.0.div_euclid(HOUR);
        if let Some(count) = self.hours.get_mut(&hour) {
            *count -= 1;
            self.total -= 1;
            if *count == 0 {
                self.hours.remove(&hour);
            }
        }
    }

    /// Nobody is counted any more; what was dropped stays dropped.
    pub(super) fn clear(&mut self) {
        self.hours.clear();
        self.total = 0;
    }
}

/// What a budget's counter holds: steps by the minute.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Spent {
    minutes: BTreeMap<i64, u32>,
    /// When people were last told that it is spent.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(super) told: Option<Time>,
}

impl Spent {
    /// Steps in the window that ends at `at`; a minute that lies in it in part counts whole.
    pub(super) fn used(&self, at: Time, per: i64) -> u64 {
        let from = at.plus(-per).0.div_euclid(MINUTE);
        self.minutes.range(from..).map(|(_, count)| u64::from(*count)).sum()
    }

    /// When the oldest steps of the window leave it.
    pub(super) fn frees_at(&self, at: Time, per: i64) -> Time {
        let from = at.plus(-per).0.div_euclid(MINUTE);
        let oldest = self.minutes.range(from..).next().map_or(at.0.div_euclid(MINUTE), |(m, _)| *m);
        Time(oldest.saturating_add(1).saturating_mul(MINUTE)).plus(per)
    }

    pub(super) fn spend(&mut self, at: Time, per: i64) {
        let from = at.plus(-per).0.div_euclid(MINUTE);
        self.minutes = self.minutes.split_off(&from);
        let count = self.minutes.entry(at.0.div_euclid(MINUTE)).or_default();
        *count = count.saturating_add(1);
    }
}

/// Orders by what they are looked up by.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// By the account that they act on, `provider:id`.
    on: BTreeMap<String, BTreeSet<OrderId>>,
    /// Held orders.
    pub(super) held: BTreeSet<OrderId>,
    /// Orders whose call was put aside by a freeze.
    pub(super) parked: BTreeSet<OrderId>,
    /// Orders whose effecting call is on its way.
    pub(super) claimed: BTreeSet<OrderId>,
    /// By the order that an undo waits for.
    waiting: BTreeMap<OrderId, BTreeSet<OrderId>>,
}

impl Index {
    pub(super) fn insert(&mut self, order: &Order) {
        if let On::Account(account) = &order.on {
            self.on.entry(account.to_string()).or_default().insert(order.id);
        }
        if let Some(first) = order.undo_after {
            self.waiting.entry(first).or_default().insert(order.id);
        }
        for (is, set) in [
            (order.state == State::Held, &mut self.held),
            (order.parked, &mut self.parked),
            (order.claimed.is_some(), &mut self.claimed),
        ] {
            if is {
                set.insert(order.id);
            }
        }
    }

    pub(super) fn remove(&mut self, order: &Order) {
        if let Some(first) = order.undo_after
            && let Some(all) = self.waiting.get_mut(&first)
        {
            all.remove(&order.id);
            if all.is_empty() {
                self.waiting.remove(&first);
            }
        }
        self.held.remove(&order.id);
        self.parked.remove(&order.id);
        self.claimed.remove(&order.id);
    }

    /// Takes an order out altogether.
    pub(super) fn forget(&mut self, order: &Order) {
        self.remove(order);
        if let On::Account(account) = &order.on {
            let account = account.to_string();
            if let Some(all) = self.on.get_mut(&account) {
                all.remove(&order.id);
                if all.is_empty() {
                    self.on.remove(&account);
                }
            }
        }
    }

    /// The orders on an account, by id.
    pub(super) fn on(&self, account: &str) -> impl Iterator<Item = OrderId> + '_ {
        self.on.get(account).into_iter().flatten().copied()
    }

    /// The undos that wait for an order.
    pub(super) fn waiting_for(&self, order: OrderId) -> Vec<OrderId> {
        self.waiting.get(&order).into_iter().flatten().copied().collect()
    }
}
