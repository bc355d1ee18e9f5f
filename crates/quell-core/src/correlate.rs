//! Event-time correlation: the episodes of a set of events, whatever the order of arrival.
//! The words are those of `docs/correlation.md`; this file knows no signals, only events.

use crate::id::SignalId;
use crate::time::Moment;

/// An event that matches some of a correlation's rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// When it happened.
    pub at: Moment,
    /// Which signal it is.
    pub id: SignalId,
    /// Bit n is set when it matches the n-th referenced rule; never zero.
    pub mask: u64,
}

/// The shape of a correlation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// True for `temporal_ordered`: the rules must match in the order listed.
    pub ordered: bool,
    /// How many rules it references, 1 to 64.
    pub rules: usize,
    /// How many different rules must match; all of them for `temporal_ordered`.
    pub need: usize,
    /// The window, microseconds, closed at both ends.
    pub span: i64,
}

/// A stretch of the timeline in which the correlation holds: indices into the events, sorted.
pub type Episode = Vec<usize>;

/// The episodes of `events`, which must be sorted by (time, id). Every event that takes part in
/// at least one satisfying window belongs to exactly one episode; windows that overlap in time
/// are one episode. For an ordered shape these are the tightest windows: for each event and
/// place, from the latest start of a chain that leads to it to the earliest end of one that
/// leads on from it.
pub fn episodes(events: &[Event], shape: Shape) -> Vec<Episode> {
    let spans = if shape.ordered { ordered(events, shape) } else { unordered(events, shape) };
    let mut parts: Vec<(i64, i64, usize)> = spans
        .into_iter()
        .enumerate()
        .filter_map(|(index, span)| span.map(|(low, high)| (low, high, index)))
        .collect();
    parts.sort_unstable();
    let mut all: Vec<(i64, Episode)> = Vec::new();
    for (low, high, index) in parts {
        match all.last_mut() {
            Some((reach, episode)) if low <= *reach => {
                *reach = high.max(*reach);
                episode.push(index);
            }
            _ => all.push((high, vec![index])),
        }
    }
    all.into_iter()
        .map(|(_, mut episode)| {
            episode.sort_unstable();
            episode
        })
        .collect()
}

/// For each event the hull of the satisfying windows that it is part of, if any.
type Spans = Vec<Option<(i64, i64)>>;

fn unordered(events: &[Event], shape: Shape) -> Spans {
    let mut spans: Spans = vec![None; events.len()];
    let mut counts = vec![0_usize; shape.rules];
    let mut present = 0_usize;
    let mut covered = 0;
    let mut end = 0;
    let bits = |mask: u64| (0..shape.rules).filter(move |bit| mask >> bit & 1 == 1);
    for (start, first) in events.iter().enumerate() {
        while let Some(event) = events.get(end)
            && event.at.t.since(first.at.t) <= shape.span
        {
            for bit in bits(event.mask) {
                if let Some(count) = counts.get_mut(bit) {
                    present += usize::from(*count == 0);
                    *count += 1;
                }
            }
            end += 1;
        }
        if present >= shape.need {
            let last = events.get(end - 1).map_or(first.at.t, |event| event.at.t);
            let from = covered.max(start);
            for (index, span) in spans.iter_mut().enumerate().take(end).skip(from) {
                let here = events.get(index).map_or(first.at.t, |event| event.at.t);
                *span = Some((first.at.t.0.min(here.0), last.0));
            }
            // Events before `covered` got a window that reaches at least to the last one's start.
            if let Some(Some((_, high))) = spans.get_mut(start) {
                *high = (*high).max(last.0);
            }
            covered = covered.max(end);
        }
        for bit in bits(first.mask) {
            if let Some(count) = counts.get_mut(bit) {
                *count -= 1;
                present -= usize::from(*count == 0);
            }
        }
    }
    spans
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
                hull = Some((low.min(start).min(end), high.max(end).max(start)));
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
        // the limit of each event: everything with t < t_i + precision_i may precede it.
        let mut limits: Vec<(i64, usize)> = events
            .iter()
            .enumerate()
            .map(|(index, e)| (e.at.t.0.saturating_add(e.at.precision.micros()), index))
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
            let value = if position == 0 { Some(event.at.t.0) } else { best.without(index) };
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
    let mut by_end: Vec<(i64, usize)> = events
        .iter()
        .enumerate()
        .map(|(index, e)| (e.at.t.0.saturating_add(e.at.precision.micros()), index))
        .collect();
    by_end.sort_unstable();
    let mut all: Vec<Vec<Option<i64>>> = vec![Vec::new(); shape.rules];
    for position in (0..shape.rules).rev() {
        let after = all.get(position + 1).cloned();
        let mut here = vec![None; events.len()];
        let mut best = Best::default();
        let mut left = by_end.len();
        for (index, event) in events.iter().enumerate().rev() {
            // Everything whose t + precision lies after this event's t may follow it.
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

/// Events that satisfy the shape together, sorted: of the first satisfying window, one for each
/// rule. None when nothing satisfies it.
pub fn witness(events: &[Event], shape: Shape) -> Option<Vec<usize>> {
    let mut found = if shape.ordered { chain(events, shape)? } else { window(events, shape)? };
    found.sort_unstable();
    found.dedup();
    Some(found)
}

/// The first window with enough different rules: the first event of each, as many as needed.
fn window(events: &[Event], shape: Shape) -> Option<Vec<usize>> {
    let mut next: Vec<Option<usize>> = vec![None; shape.rules];
    let mut found = None;
    // From the end, so that `next` holds the first event of each rule at or after the start.
    for (start, first) in events.iter().enumerate().rev() {
        for (bit, slot) in next.iter_mut().enumerate() {
            if first.mask >> bit & 1 == 1 {
                *slot = Some(start);
            }
        }
        let within = |index: &usize| {
            events.get(*index).is_some_and(|event| event.at.t.since(first.at.t) <= shape.span)
        };
        let mut inside: Vec<usize> = next.iter().flatten().copied().filter(within).collect();
        inside.sort_unstable();
        inside.truncate(shape.need);
        if inside.len() == shape.need {
            found = Some(inside);
        }
    }
    found
}

/// The first chain of all rules in order that fits the window.
fn chain(events: &[Event], shape: Shape) -> Option<Vec<usize>> {
    let ends = earliest_ends(events, shape);
    let end = |position: usize, index: usize| ends.get(position)?.get(index).copied().flatten();
    let fits = |(index, event): (usize, &Event)| {
        let goal = end(0, index)?;
        (goal.saturating_sub(event.at.t.0) <= shape.span).then_some((index, goal))
    };
    let (first, goal) = events.iter().enumerate().find_map(fits)?;
    let mut found = vec![first];
    for position in 1..shape.rules {
        let last = *found.last()?;
        let before = events.get(last)?;
        let follows = |(index, event): &(usize, &Event)| {
            *index != last
                && before.at.may_precede(event.at)
                && event.mask >> position & 1 == 1
                && end(position, *index) == Some(goal)
        };
        found.push(events.iter().enumerate().find(follows)?.0);
    }
    Some(found)
}

#[cfg(test)]
mod tests;
