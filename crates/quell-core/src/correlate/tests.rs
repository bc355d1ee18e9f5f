//! Tests of the episodes: examples, and a naive reference that tries every window.

use super::*;
use crate::time::{Precision, SECOND, Time};
use proptest::prelude::*;

fn event(t: i64, n: usize, mask: u64, precision: Precision) -> Event {
    let n = u8::try_from(n).unwrap();
    Event { at: Moment { t: Time(t), precision }, id: SignalId([n; 16]), mask }
}

/// `a@10 b@20` with times in seconds and masks by letter.
fn parse(text: &str) -> Vec<Event> {
    let parts = text.split_whitespace().enumerate().map(|(n, part)| {
        let (letters, t) = part.split_once('@').unwrap();
        let mask = letters.bytes().fold(0, |m, b| m | 1 << (b - b'a'));
        event(t.parse::<i64>().unwrap() * SECOND, n, mask, Precision::Micro)
    });
    let mut events: Vec<Event> = parts.collect();
    events.sort_by_key(|e| (e.at.t, e.id));
    events
}

fn check(ordered: bool, rules: usize, span: i64, text: &str, want: &str) {
    let events = parse(text);
    let shape = Shape { ordered, rules, need: rules, span: span * SECOND };
    let got: Vec<String> = episodes(&events, shape)
        .iter()
        .map(|ep| {
            let times = ep.iter().map(|i| (events[*i].at.t.0 / SECOND).to_string());
            times.collect::<Vec<_>>().join(",")
        })
        .collect();
    assert_eq!(got.join(" | "), want, "{text}");
}

#[test]
fn windows_are_closed_at_both_ends() {
    check(false, 2, 60, "a@0 b@60", "0,60");
    check(false, 2, 60, "a@0 b@61", "");
    check(true, 2, 60, "a@0 b@60", "0,60");
    check(true, 2, 60, "a@0 b@61", "");
}

#[test]
fn order_counts_only_where_it_is_asked_for() {
    check(false, 2, 60, "b@0 a@10", "0,10");
    check(true, 2, 60, "b@0 a@10", "");
    check(true, 3, 60, "a@0 c@5 b@10 c@20", "0,10,20");
}

#[test]
fn overlapping_windows_are_one_episode() {
    check(true, 2, 60, "a@0 b@50 a@45 b@100", "0,45,50,100");
    check(true, 2, 60, "a@0 b@50 a@200 b@210", "0,50 | 200,210");
    check(false, 2, 60, "a@0 b@50 a@100", "0,50,100");
}

#[test]
fn one_event_cannot_be_two_steps_of_an_order() {
    check(true, 2, 60, "ab@0", "");
    check(false, 2, 60, "ab@0", "0");
}

#[test]
fn overlapping_precision_counts_as_in_order() {
    let events = [event(500_000, 1, 2, Precision::Second), event(900_000, 2, 1, Precision::Milli)];
    let shape = Shape { ordered: true, rules: 2, need: 2, span: SECOND };
    assert_eq!(episodes(&events, shape), vec![vec![0, 1]]);
}

/// All lists of indices with one event for each rule from `from` up to `end`, in order.
fn chains(events: &[Event], from: usize, end: usize) -> Vec<Vec<usize>> {
    if from == end {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for chain in chains(events, from, end - 1) {
        for (i, event) in events.iter().enumerate() {
            let follows =
                chain.last().is_none_or(|l| *l != i && events[*l].at.may_precede(event.at));
            if event.mask >> (end - 1) & 1 == 1 && follows {
                all.push([chain.as_slice(), &[i]].concat());
            }
        }
    }
    all
}

/// The satisfying windows with their events, straight from the words of docs/correlation.md.
fn windows(events: &[Event], shape: Shape) -> Vec<(i64, i64, Vec<usize>)> {
    let t = |i: &usize| events[*i].at.t.0;
    let mut all = Vec::new();
    if !shape.ordered {
        for first in events {
            let low = first.at.t.0;
            let inside: Vec<usize> = (0..events.len())
                .filter(|i| t(i) >= low && t(i) - low <= shape.span && events[*i].mask != 0)
                .collect();
            let has = |bit: &usize| inside.iter().any(|i| events[*i].mask >> bit & 1 == 1);
            if (0..shape.rules).filter(has).count() >= shape.need {
                let high = inside.iter().map(t).max().unwrap();
                all.push((low, high, inside));
            }
        }
        return all;
    }
    for (i, event) in events.iter().enumerate() {
        for place in (0..shape.rules).filter(|place| event.mask >> place & 1 == 1) {
            let to = chains(events, 0, place + 1).into_iter().filter(|c| c.last() == Some(&i));
            let start = to.map(|c| t(&c[0])).max();
            let mut end: Option<i64> = None;
            for chain in chains(events, place, shape.rules) {
                if chain[0] == i {
                    let last = t(chain.last().unwrap());
                    end = Some(end.map_or(last, |end| end.min(last)));
                }
            }
            if let (Some(start), Some(end)) = (start, end)
                && end - start <= shape.span
            {
                let at = event.at.t.0;
                all.push((start.min(end).min(at), start.max(end).max(at), vec![i]));
            }
        }
    }
    all
}

/// Windows that overlap are one episode; windows of one event are one window.
fn naive(events: &[Event], shape: Shape) -> Vec<Vec<usize>> {
    let mut parts = windows(events, shape);
    loop {
        let touch = |a: &(i64, i64, Vec<usize>), b: &(i64, i64, Vec<usize>)| {
            a.0 <= b.1 && b.0 <= a.1 || a.2.iter().any(|i| b.2.contains(i))
        };
        let pair = (0..parts.len())
            .flat_map(|a| (a + 1..parts.len()).map(move |b| (a, b)))
            .find(|(a, b)| touch(&parts[*a], &parts[*b]));
        let Some((a, b)) = pair else { break };
        let other = parts.remove(b);
        let part = &mut parts[a];
        *part = (part.0.min(other.0), part.1.max(other.1), [part.2.clone(), other.2].concat());
    }
    let mut episodes: Vec<Vec<usize>> = parts
        .into_iter()
        .map(|(_, _, mut episode)| {
            episode.sort_unstable();
            episode.dedup();
            episode
        })
        .collect();
    episodes.sort();
    episodes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]
    #[test]
    fn agrees_with_the_naive_reference(
        raw in prop::collection::vec((0_i64..30, 1_u64..8, 0_u8..3), 0..8),
        ordered: bool,
        rules in 1_usize..4,
        need in 1_usize..4,
        span in 0_i64..20,
    ) {
        let mut events: Vec<Event> = raw
            .iter()
            .enumerate()
            .map(|(n, (t, mask, precise))| {
                let precision = [Precision::Micro, Precision::Milli, Precision::Second];
                let mask = mask & ((1 << rules) - 1);
                event(t * SECOND / 2, n, mask, precision[usize::from(*precise)])
            })
            .collect();
        events.retain(|e| e.mask != 0);
        events.sort_by_key(|e| (e.at.t, e.id));
        let need = if ordered { rules } else { need.min(rules) };
        let shape = Shape { ordered, rules, need, span: span * SECOND / 2 };
        let mut got = episodes(&events, shape);
        got.sort();
        prop_assert_eq!(&got, &naive(&events, shape));
        match witness(&events, shape) {
            None => prop_assert!(got.is_empty()),
            Some(found) => {
                prop_assert!(found.len() <= shape.need);
                prop_assert!(got.iter().any(|ep| found.iter().all(|i| ep.contains(i))));
                let alone: Vec<Event> = found.iter().map(|i| events[*i]).collect();
                prop_assert!(!episodes(&alone, shape).is_empty());
            }
        }
    }
}
