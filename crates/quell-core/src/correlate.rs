//! Event-time correlation: the episodes of a set of events, whatever the order of arrival.
//! The words are those of `docs/correlation.md`; this file knows no signals, only events.

use std::collections::{BTreeMap, BTreeSet};

use crate::id::SignalId;
use crate::time::{Moment, Time};

/// An event that matches some of a correlation's rules, or leads to a match of one that is a
/// correlation itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When it happened.
    pub at: Moment,
    /// Which signal it is.
    pub id: SignalId,
    /// Bit n is set when it matches the n-th referenced rule. Zero for one that only leads to a
    /// match of a referenced correlation.
    pub mask: u64,
    /// By rule, when what it matches began: for a detection the event's own t, which also stands
    /// where the list ends; for a correlation the latest start of a window that ends here.
    pub starts: Vec<i64>,
    /// When the first window began that ends here, of the correlations that it matches; its own t
    /// where there is none. What lies between belongs to the episode.
    pub since: i64,
    /// For [`Form::Values`]: its values as numbers, each once.
    pub values: Vec<u32>,
}

impl Event {
    /// When what it matches of the n-th rule began.
    pub fn start(&self, rule: usize) -> i64 {
        self.starts.get(rule).copied().unwrap_or(self.at.t.0)
    }

    /// The latest start of anything that it matches.
    fn latest(&self) -> i64 {
        bits(self.mask).map(|bit| self.start(bit)).max().unwrap_or(self.at.t.0)
    }
}

fn bits(mask: u64) -> impl Iterator<Item = usize> {
    (0..64).filter(move |bit| mask >> bit & 1 == 1)
}

/// What must be in a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `temporal`: matches of at least so many different rules.
    Any(usize),
    /// `temporal_ordered`: a match of each rule, in the order listed.
    Ordered,
    /// `event_count`: at least so many events.
    Events(usize),
    /// `value_count`: events with at least so many different values.
    Values(usize),
}

/// The shape of a correlation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// What must be in a window.
    pub form: Form,
    /// How many rules it references, 1 to 64.
    pub rules: usize,
    /// The window, microseconds, closed at both ends.
    pub span: i64,
}

impl Shape {
    /// How many tokens a window needs.
    const fn need(self) -> usize {
        match self.form {
            Form::Any(need) | Form::Events(need) | Form::Values(need) => need,
            Form::Ordered => self.rules,
        }
    }

    /// What an event brings into a window, and since when: the rules that it matches, itself, or
    /// its values. A window needs so many different ones.
    fn tokens(self, event: &Event, index: usize) -> Vec<(u64, i64)> {
        let token = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        match self.form {
            Form::Any(_) | Form::Ordered => {
                bits(event.mask).map(|bit| (token(bit), event.start(bit))).collect()
            }
            Form::Events(_) if event.mask != 0 => vec![(token(index), event.latest())],
            Form::Values(_) if event.mask != 0 => {
                let start = event.latest();
                event.values.iter().map(|value| (u64::from(*value), start)).collect()
            }
            Form::Events(_) | Form::Values(_) => Vec::new(),
        }
    }
}

/// A stretch of the timeline in which the correlation holds: indices into the events, sorted.
pub type Episode = Vec<usize>;

/// The episodes of `events`, which must be sorted by (time, id). Every event that takes part in
/// at least one satisfying window belongs to exactly one episode; windows that overlap in time
/// are one episode. For an ordered shape these are the tightest windows: for each event and
/// place, from the latest start of a chain that leads to it to the earliest end of one that
/// leads on from it.
pub fn episodes(events: &[Event], shape: Shape) -> Vec<Episode> {
    let spans = match shape.form {
        Form::Ordered => ordered(events, shape),
        _ => unordered(events, shape),
    };
    let mut parts: Vec<(i64, i64, usize)> = spans
        .into_iter()
        .enumerate()
        .filter_map(|(index, span)| span.map(|(low, high)| (low, high, index)))
        .collect();
    parts.sort_unstable();
    let mut all: Vec<(i64, i64, Episode)> = Vec::new();
    for (low, high, index) in parts {
        match all.last_mut() {
            Some((_, reach, episode)) if low <= *reach => {
                *reach = high.max(*reach);
                episode.push(index);
            }
            _ => all.push((low, high, vec![index])),
        }
    }
    // What only leads to a match belongs to the episode that it lies in; where order does not
    // count, the windows hold it already.
    let ordered = shape.form == Form::Ordered;
    let leads = events.iter().enumerate().filter(|(_, event)| ordered && event.mask == 0);
    for (index, event) in leads {
        let t = event.at.t.0;
        let place = all.partition_point(|(_, high, _)| *high < t);
        if let Some((_, _, episode)) = all.get_mut(place).filter(|(low, _, _)| *low <= t) {
            episode.push(index);
        }
    }
    all.into_iter()
        .map(|(_, _, mut episode)| {
            episode.sort_unstable();
            episode
        })
        .collect()
}

/// For each event the hull of the satisfying windows that it is part of, if any.
type Spans = Vec<Option<(i64, i64)>>;

/// The tokens of a window that moves on: those whose matches began in it.
#[derive(Default)]
struct Window {
    live: BTreeSet<(i64, usize, u64)>,
    counts: BTreeMap<u64, usize>,
    end: usize,
}

impl Window {
    /// Moves the start to `low`: what began before leaves, what lies within `span` comes in.
    fn advance(&mut self, events: &[Event], shape: Shape, low: Time) {
        while let Some(first @ (start, _, token)) = self.live.first().copied()
            && start < low.0
        {
            self.live.remove(&first);
            if let Some(count) = self.counts.get_mut(&token) {
                *count -= 1;
                if *count == 0 {
                    self.counts.remove(&token);
                }
            }
        }
        while let Some(event) = events.get(self.end)
            && event.at.t.since(low) <= shape.span
        {
            for (token, start) in shape.tokens(event, self.end) {
                if start >= low.0 && self.live.insert((start, self.end, token)) {
                    *self.counts.entry(token).or_default() += 1;
                }
            }
            self.end += 1;
        }
    }

    fn holds(&self, shape: Shape) -> bool {
        self.counts.len() >= shape.need()
    }
}

fn unordered(events: &[Event], shape: Shape) -> Spans {
    let mut spans: Spans = vec![None; events.len()];
    let mut window = Window::default();
    let mut covered = 0;
    for (start, first) in events.iter().enumerate() {
        window.advance(events, shape, first.at.t);
        if !window.holds(shape) {
            continue;
        }
        let last = window.end.checked_sub(1).and_then(|last| events.get(last));
        let last = last.map_or(first.at.t, |event| event.at.t);
        let from = covered.max(start);
        for (index, span) in spans.iter_mut().enumerate().take(window.end).skip(from) {
            let here = events.get(index).map_or(first.at.t, |event| event.at.t);
            *span = Some((first.at.t.0.min(here.0), last.0));
        }
        // Events before `covered` got a window that reaches at least to the last one's start.
        if let Some(Some((_, high))) = spans.get_mut(start) {
            *high = (*high).max(last.0);
        }
        covered = covered.max(window.end);
    }
    spans
}

/// For each event the latest start of a window that holds and ends in this event, if any.
pub fn completions(events: &[Event], shape: Shape) -> Vec<Option<i64>> {
    let fits = |event: &Event, start: i64| {
        let end = event.at.t.0;
        (end.saturating_sub(start) <= shape.span).then_some(start.min(end))
    };
    if shape.form == Form::Ordered {
        let last = latest_starts(events, shape).pop().unwrap_or_default();
        let starts = events.iter().zip(last);
        return starts.map(|(event, start)| fits(event, start?)).collect();
    }
    let mut all = vec![None; events.len()];
    let mut latest: BTreeMap<u64, i64> = BTreeMap::new();
    let mut order: BTreeSet<(i64, u64)> = BTreeSet::new();
    let mut seen = 0;
    for (index, event) in events.iter().enumerate() {
        // Events of one time stand in one window, whatever their ids.
        while let Some(other) = events.get(seen)
            && other.at.t <= event.at.t
        {
            for (token, start) in shape.tokens(other, seen) {
                let known = latest.get(&token).copied();
                if known.is_none_or(|known| known < start) {
                    known.map(|known| order.remove(&(known, token)));
                    latest.insert(token, start);
                    order.insert((start, token));
                }
            }
            seen += 1;
        }
        let nth = shape.need().checked_sub(1).and_then(|nth| order.iter().rev().nth(nth));
        if let (Some((start, _)), Some(cell)) = (nth, all.get_mut(index))
            && event.mask != 0
        {
            *cell = fits(event, *start);
        }
    }
    all
}

/// The best two values with their events, so that an event can be left out.
#[derive(Clone, Copy, Default)]
struct Best {
    first: Option<(i64, usize)>,
    second: Option<(i64, usize)>,
}

impl Best {
    fn offer(&mut self, value: i64, index: usize) {
        if self.first.is_none_or(|(best, _)| value > best) {
            self.second = self.first;
            self.first = Some((value, index));
        } else if self.second.is_none_or(|(best, _)| value > best) {
            self.second = Some((value, index));
        }
    }

    fn without(self, index: usize) -> Option<i64> {
        let first = self.first.filter(|(_, who)| *who != index);
        first.or(self.second).map(|(value, _)| value)
    }
}

fn ordered(events: &[Event], shape: Shape) -> Spans {
    let starts = latest_starts(events, shape);
    let ends = earliest_ends(events, shape);
    let span = |index: usize, event: &Event| {
        let mut hull: Option<(i64, i64)> = None;
        for (start, end) in starts.iter().zip(&ends) {
            let pair = start.get(index).copied().flatten().zip(end.get(index).copied().flatten());
            let Some((start, end)) = pair else { continue };
            if end.saturating_sub(start) <= shape.span {
                let (low, high) = hull.unwrap_or((event.at.t.0, event.at.t.0));
                hull = Some((low.min(start).min(end).min(event.since), high.max(end).max(start)));
            }
        }
        hull
    };
    events.iter().enumerate().map(|(index, event)| span(index, event)).collect()
}

/// By position and event: the latest start of a chain of the rules up to this position that
/// ends in this event.
fn latest_starts(events: &[Event], shape: Shape) -> Vec<Vec<Option<i64>>> {
    let mut all: Vec<Vec<Option<i64>>> = Vec::with_capacity(shape.rules);
    for position in 0..shape.rules {
        let before = position.checked_sub(1).and_then(|p| all.get(p));
        let mut here = vec![None; events.len()];
        let mut best = Best::default();
        let mut seen = 0;
        // Events sorted by t + precision would break the sweep's order, so the sweep goes over
        // the limit of each event: everything with t < start_i + precision_i may precede it.
        let mut limits: Vec<(i64, usize)> = events
            .iter()
            .enumerate()
            .map(|(index, e)| (e.start(position).saturating_add(e.at.precision.micros()), index))
            .collect();
        limits.sort_unstable();
        for (limit, index) in limits {
            while let Some(event) = events.get(seen)
                && event.at.t.0 < limit
            {
                if let Some(start) = before.and_then(|b| b.get(seen).copied().flatten()) {
                    best.offer(start, seen);
                }
                seen += 1;
            }
            let Some(event) = events.get(index) else { continue };
            if event.mask >> position & 1 == 0 {
                continue;
            }
            let value = if position == 0 { Some(event.start(0)) } else { best.without(index) };
            if let Some(cell) = here.get_mut(index) {
                *cell = value;
            }
        }
        all.push(here);
    }
    all
}

/// By position and event: the earliest end of a chain of the rules from this position on that
/// begins in this event.
fn earliest_ends(events: &[Event], shape: Shape) -> Vec<Vec<Option<i64>>> {
    let mut all: Vec<Vec<Option<i64>>> = vec![Vec::new(); shape.rules];
    for position in (0..shape.rules).rev() {
        let after = all.get(position + 1).cloned();
        let begins = |e: &Event| e.start(position + 1).saturating_add(e.at.precision.micros());
        let mut by_end: Vec<(i64, usize)> =
            events.iter().enumerate().map(|(index, e)| (begins(e), index)).collect();
        by_end.sort_unstable();
        let mut here = vec![None; events.len()];
        let mut best = Best::default();
        let mut left = by_end.len();
        for (index, event) in events.iter().enumerate().rev() {
            // Everything whose start + precision lies after this event's t may follow it.
            while let Some((end, follower)) = left.checked_sub(1).and_then(|l| by_end.get(l))
                && *end > event.at.t.0
            {
                let value = after.as_ref().and_then(|a| a.get(*follower).copied().flatten());
                if let Some(value) = value {
                    best.offer(value.saturating_neg(), *follower);
                }
                left -= 1;
            }
            if event.mask >> position & 1 == 0 {
                continue;
            }
            let last = position + 1 == shape.rules;
            let follow = best.without(index).map(i64::saturating_neg);
            if let Some(cell) = here.get_mut(index) {
                *cell = if last { Some(event.at.t.0) } else { follow };
            }
        }
        if let Some(slot) = all.get_mut(position) {
            *slot = here;
        }
    }
    all
}

/// Events that satisfy the shape together, sorted: of the first window that holds, the first ones
/// that bring what it needs. None when nothing holds.
pub fn witness(events: &[Event], shape: Shape) -> Option<Vec<usize>> {
    let mut found = match shape.form {
        Form::Ordered => chain(events, shape)?,
        _ => first(events, shape)?,
    };
    found.sort_unstable();
    found.dedup();
    Some(found)
}

fn first(events: &[Event], shape: Shape) -> Option<Vec<usize>> {
    let mut window = Window::default();
    let (start, low) = events.iter().enumerate().find_map(|(start, first)| {
        window.advance(events, shape, first.at.t);
        window.holds(shape).then_some((start, first.at.t.0))
    })?;
    let mut brought: BTreeSet<u64> = BTreeSet::new();
    let mut found = Vec::new();
    for (index, event) in events.iter().enumerate().take(window.end).skip(start) {
        let fresh = shape.tokens(event, index).into_iter().filter(|(_, begun)| *begun >= low);
        let before = brought.len();
        brought.extend(fresh.map(|(token, _)| token));
        if brought.len() > before {
            found.push(index);
        }
        if brought.len() >= shape.need() {
            return Some(found);
        }
    }
    None
}

/// The first chain of all rules in order that fits the window.
fn chain(events: &[Event], shape: Shape) -> Option<Vec<usize>> {
    let ends = earliest_ends(events, shape);
    let end = |position: usize, index: usize| ends.get(position)?.get(index).copied().flatten();
    let fits = |(index, event): (usize, &Event)| {
        let goal = end(0, index)?;
        (goal.saturating_sub(event.start(0)) <= shape.span).then_some((index, goal))
    };
    let (first, goal) = events.iter().enumerate().find_map(fits)?;
    let mut found = vec![first];
    for position in 1..shape.rules {
        let last = *found.last()?;
        let before = events.get(last)?;
        let follows = |(index, event): &(usize, &Event)| {
            *index != last
                && before.at.t.0 < event.start(position).saturating_add(event.at.precision.micros())
                && event.mask >> position & 1 == 1
                && end(position, *index) == Some(goal)
        };
        found.push(events.iter().enumerate().find(follows)?.0);
    }
    Some(found)
}

#[cfg(test)]
mod tests;
