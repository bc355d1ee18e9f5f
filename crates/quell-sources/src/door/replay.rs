//! Sources room: which signed requests were taken in within the replay window. Bounded; what it
//! forgets is taken in again and changes nothing, since signals have ids.

use std::collections::{BTreeMap, VecDeque};

use quell_core::id::Digest;
use quell_core::time::Time;

use super::signed::WINDOW;

/// Requests that are remembered at most: 64 Ki, about 5 MiB.
pub(super) const REMEMBERED_MAX: usize = 64 * 1024;

/// Requests by their marks, oldest first.
#[derive(Debug, Default)]
pub(super) struct Memory {
    since: BTreeMap<Digest, Time>,
    order: VecDeque<(Time, Digest)>,
}

impl Memory {
    /// True when the mark was remembered less than two windows ago: a timestamp may lie one window
    /// ahead when it is first seen, and is refused one window after its time.
    pub(super) fn holds(&mut self, mark: Digest, now: Time) -> bool {
        self.forget(now);
        self.since.contains_key(&mark)
    }

    pub(super) fn insert(&mut self, mark: Digest, now: Time) {
        self.forget(now);
        if self.since.insert(mark, now).is_none() {
            self.order.push_back((now, mark));
        }
        while self.order.len() > REMEMBERED_MAX {
            self.drop_oldest();
        }
    }

    fn forget(&mut self, now: Time) {
        while self.order.front().is_some_and(|(at, _)| now.since(*at) > 2 * WINDOW) {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        if let Some((_, mark)) = self.order.pop_front() {
            self.since.remove(&mark);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(n: usize) -> Digest {
        Digest::of(&n.to_be_bytes())
    }

    #[test]
    fn remembers_for_two_windows_and_no_more_than_its_size() {
        let mut memory = Memory::default();
        memory.insert(mark(0), Time(0));
        assert!(memory.holds(mark(0), Time(2 * WINDOW)));
        assert!(!memory.holds(mark(1), Time(0)));
        assert!(!memory.holds(mark(0), Time(2 * WINDOW + 1)));
        for n in 0..=REMEMBERED_MAX {
            memory.insert(mark(n), Time(0));
        }
        assert!(!memory.holds(mark(0), Time(0)));
        assert!(memory.holds(mark(1), Time(0)));
        assert_eq!((memory.since.len(), memory.order.len()), (REMEMBERED_MAX, REMEMBERED_MAX));
    }
}
