//! The provider's System Log: events become visible after a lag, in commit order, and are read by
//! polling or by a bounded query as at Okta. Pure: the time of a query is an argument.

use quell_core::time::Time;
use serde_json::Value;

use super::filter::Filter;

/// Events that are kept; beyond that the oldest go.
const EVENTS_MAX: usize = 200_000;

/// The log.
#[derive(Debug, Default)]
pub(super) struct Log {
    entries: Vec<Entry>,
    count: u64,
}

#[derive(Debug)]
struct Entry {
    place: Place,
    published: Time,
    event: Value,
}

/// An event's place in commit order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    visible: Time,
    number: u64,
}

/// A query, as its parameters say.
#[derive(Debug, Clone, Default)]
pub(super) struct Ask {
    pub(super) since: Option<Time>,
    pub(super) until: Option<Time>,
    pub(super) after: Option<Cursor>,
    pub(super) limit: usize,
    pub(super) descending: bool,
    pub(super) filter: Option<Filter>,
}

/// Where the next page begins; opaque to callers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cursor {
    after: Place,
    since: Time,
}

/// One page.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) events: Vec<Value>,
    /// Always there for a polling query, else only while there is more.
    pub(super) next: Option<Cursor>,
}

impl Log {
    /// Adds an event that was published at a time and becomes visible at another.
    pub(super) fn write(&mut self, event: Value, published: Time, visible: Time) {
        self.count += 1;
        let place = Place { visible, number: self.count };
        let at = self.entries.partition_point(|entry| entry.place < place);
        self.entries.insert(at, Entry { place, published, event });
        if self.entries.len() > EVENTS_MAX {
            self.entries.remove(0);
        }
    }

    /// One page as seen at a time.
    pub(super) fn read(&self, ask: &Ask, t: Time) -> Page {
        let since = ask.after.map_or(ask.since, |cursor| Some(cursor.since)).unwrap_or(Time(0));
        // strictly before: whatever is written later is visible later, so nothing slips in behind
        let visible = self.entries.iter().filter(|entry| entry.place.visible < t);
        let wanted = visible.filter(|entry| {
            entry.published >= since
                && ask.until.is_none_or(|until| entry.published < until)
                && ask.filter.as_ref().is_none_or(|filter| filter.matches(&entry.event))
        });
        let mut wanted: Vec<&Entry> = wanted.collect();
        let key = |entry: &Entry| match ask.until {
            Some(_) => Place { visible: entry.published, number: entry.place.number },
            None => entry.place,
        };
        wanted.sort_by_key(|entry| key(entry));
        if ask.descending {
            wanted.reverse();
        }
        if let Some(cursor) = ask.after {
            wanted.retain(|entry| match ask.descending {
                true => key(entry) < cursor.after,
                false => key(entry) > cursor.after,
            });
        }
        let more = wanted.len() > ask.limit;
        wanted.truncate(ask.limit);
        let start = Place { visible: Time(i64::MIN), number: 0 };
        let last = wanted.last().map(|entry| key(entry));
        let after = last.or(ask.after.map(|cursor| cursor.after)).unwrap_or(start);
        let polling = ask.until.is_none() && !ask.descending;
        let next = (polling || more).then_some(Cursor { after, since });
        Page { events: wanted.into_iter().map(|entry| entry.event.clone()).collect(), next }
    }
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}_{}_{}", self.after.visible.0, self.after.number, self.since.0)
    }
}

impl std::str::FromStr for Cursor {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.split('_');
        let mut part = || parts.next().ok_or(());
        let visible = Time(part()?.parse().map_err(|_| ())?);
        let number = part()?.parse().map_err(|_| ())?;
        let since = Time(part()?.parse().map_err(|_| ())?);
        match parts.next() {
            None => Ok(Self { after: Place { visible, number }, since }),
            Some(_) => Err(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn names(page: &Page) -> Vec<&str> {
        page.events.iter().map(|e| e.as_str().unwrap()).collect()
    }

    fn log() -> Log {
        let mut log = Log::default();
        log.write(json!("a"), Time(10), Time(15));
        // published earlier, committed later
        log.write(json!("late"), Time(11), Time(40));
        log.write(json!("b"), Time(20), Time(25));
        log
    }

    #[test]
    fn polling_follows_commit_order_and_always_has_a_next_page() {
        let log = log();
        let first = log.read(&Ask { limit: 10, ..Ask::default() }, Time(30));
        assert_eq!(names(&first), ["a", "b"]);
        let ask = Ask { limit: 10, after: first.next, ..Ask::default() };
        let empty = log.read(&ask, Time(30));
        assert_eq!((names(&empty).len(), empty.next), (0, first.next));
        assert_eq!(names(&log.read(&ask, Time(50))), ["late"]);
    }

    #[test]
    fn pages_and_bounds() {
        let log = log();
        let one = log.read(&Ask { limit: 1, ..Ask::default() }, Time(50));
        assert_eq!(names(&one), ["a"]);
        let bounded = Ask { limit: 10, until: Some(Time(20)), ..Ask::default() };
        let page = log.read(&bounded, Time(50));
        assert_eq!((names(&page), page.next), (vec!["a", "late"], None));
        let newest = Ask { limit: 1, descending: true, ..Ask::default() };
        let page = log.read(&newest, Time(50));
        assert_eq!(names(&page), ["late"]);
        let ask = Ask { after: page.next, ..newest };
        assert_eq!(names(&log.read(&ask, Time(50))), ["b"]);
        let since = Ask { limit: 10, since: Some(Time(11)), ..Ask::default() };
        assert_eq!(names(&log.read(&since, Time(50))), ["b", "late"]);
    }

    #[test]
    fn cursors_round_trip() {
        let page = log().read(&Ask { limit: 1, ..Ask::default() }, Time(50));
        let cursor = page.next.unwrap();
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
        assert_eq!("1_2".parse::<Cursor>(), Err(()));
        assert_eq!("1_2_3_4".parse::<Cursor>(), Err(()));
    }
}
