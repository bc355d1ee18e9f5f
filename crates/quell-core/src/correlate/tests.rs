//! Tests of the episodes: examples, and a naive reference that tries every window.

use super::*;
use crate::time::{Precision, SECOND};
use proptest::prelude::*;

fn event(t: i64, n: u8, mask: u64, precision: Precision) -> Event {
    Event { at: Moment { t: Time(t), precision }, id: SignalId([n; 16]), mask }
}

/// `a@10 b@20` with times in seconds and masks by letter.
fn parse(text: &str) -> Vec<Event> {
    let parts = text.split_whitespace().enumerate().map(|(n, part)| {
        let (letters, t) = part.split_once('@').unwrap();
        let mask = letters.bytes().fold(0, |m, b| m | 1 << (b - b'a'));
        event(t.parse::<i64>().unwrap() * SECOND, n as u8, mask, Precision::Micro)
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

/// Every event that is part of a chain, by trying all chains.
fn naive(events: &[Event], shape: Shape) -> Vec<usize> {
    fn chains(events: &[Event], shape: Shape, chain: &mut Vec<usize>, hit: &mut Vec<usize>) {
        if chain.len() == shape.rules {
            let times = || chain.iter().map(|i| events[*i].at.t.0);
            let (first, last) = (times().next().unwrap(), times().last().unwrap());
            let wide = if shape.ordered {
                last - first
            } else {
                times().max().unwrap() - times().min().unwrap()
            };
            if wide <= shape.span {
                hit.extend(chain.iter());
            }
            return;
        }
        for (i, event) in events.iter().enumerate() {
            if event.mask >> chain.len() & 1 == 0 {
                continue;
            }
            if shape.ordered {
                let last = chain.last().copied();
                if last == Some(i) || last.is_some_and(|l| !events[l].at.may_precede(event.at)) {
                    continue;
                }
            }
            chain.push(i);
            chains(events, shape, chain, hit);
            chain.pop();
        }
    }
    let mut hit = Vec::new();
    chains(events, shape, &mut Vec::new(), &mut hit);
    if !shape.ordered {
        // A satisfying window takes in everything that matches a rule and lies within it.
        let base = events.to_vec();
        let extra: Vec<usize> = (0..base.len())
            .filter(|i| {
                let near = |from: i64| {
                    let inside: Vec<&Event> = base
                        .iter()
                        .filter(|e| e.at.t.0 >= from && e.at.t.0 - from <= shape.span)
                        .collect();
                    let all =
                        (0..shape.rules).all(|bit| inside.iter().any(|e| e.mask >> bit & 1 == 1));
                    all && inside.iter().any(|e| e.id == base[*i].id)
                };
                base[*i].mask != 0 && base.iter().any(|e| near(e.at.t.0))
            })
            .collect();
        hit = extra;
    }
    hit.sort_unstable();
    hit.dedup();
    hit
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn agrees_with_the_naive_reference(
        raw in prop::collection::vec((0_i64..30, 1_u64..4, 0_u8..2), 0..9),
        ordered: bool,
        span in 0_i64..20,
    ) {
        let mut events: Vec<Event> = raw
            .iter()
            .enumerate()
            .map(|(n, (t, mask, precise))| {
                let precision = if *precise == 0 { Precision::Micro } else { Precision::Second };
                event(t * SECOND / 2, n as u8, *mask, precision)
            })
            .collect();
        events.sort_by_key(|e| (e.at.t, e.id));
        let shape = Shape { ordered, rules: 2, need: 2, span: span * SECOND / 2 };
        let mut got: Vec<usize> = episodes(&events, shape).concat();
        got.sort_unstable();
        prop_assert_eq!(got, naive(&events, shape));
    }
}
