//! Tests of the episodes: examples, and a naive reference that tries every window.

use super::*;
use crate::time::{Precision, SECOND, Time};
use proptest::prelude::*;

fn event(t: i64, n: usize, mask: u64, precision: Precision) -> Event {
    let n = u8::try_from(n).unwrap();
    let at = Moment { t: Time(t), precision };
    let (starts, values) = (Vec::new(), Vec::new());
    Event { at, id: SignalId([n; 16]), mask, starts, since: t, values }
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
    let form = if ordered { Form::Ordered } else { Form::Any(rules) };
    told(Shape { form, rules, span: span * SECOND }, &events, text, want);
}

fn told(shape: Shape, events: &[Event], text: &str, want: &str) {
    let got: Vec<String> = episodes(events, shape)
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
    let shape = Shape { form: Form::Ordered, rules: 2, span: SECOND };
    assert_eq!(episodes(&events, shape), vec![vec![0, 1]]);
}

#[test]
fn events_and_values_are_counted() {
    let count = |n, span: i64, text: &str, want: &str| {
        let shape = Shape { form: Form::Events(n), rules: 2, span: span * SECOND };
        told(shape, &parse(text), text, want);
    };
    count(3, 60, "a@0 b@30 a@60", "0,30,60");
    count(3, 60, "a@0 a@30 a@61", "");
    count(2, 10, "a@0 ab@10 a@100 a@105 a@111", "0,10 | 100,105,111");
    // one event is one, whatever it matches
    count(2, 10, "ab@0", "");
    let values = |n, text: &str, want: &str| {
        let mut events = parse(text);
        for event in &mut events {
            event.values = bits(event.mask).map(|bit| u32::try_from(bit).unwrap()).collect();
            event.mask = 1;
        }
        let shape = Shape { form: Form::Values(n), rules: 1, span: 10 * SECOND };
        told(shape, &events, text, want);
    };
    values(2, "a@0 a@5 b@10", "0,5,10");
    values(2, "a@0 a@5 b@16", "");
    values(2, "ab@0", "0");
    values(3, "a@0 b@5 a@9 c@12", "5,9,12");
}

/// Two denials of rule a, then a match of b: what the engine hands on for a nested correlation.
#[test]
fn what_began_in_the_window_counts() {
    let mut events = parse("a@0 a@5 b@8 b@20");
    events[0].mask = 0;
    events[1].starts = vec![0, 5 * SECOND];
    let told = |span: i64, want: &str| {
        let shape = Shape { form: Form::Ordered, rules: 2, span: span * SECOND };
        super::tests::told(shape, &events, "nested", want);
    };
    told(8, "0,5,8");
    told(7, "");
    told(20, "0,5,8,20");
    let shape = Shape { form: Form::Events(2), rules: 1, span: 5 * SECOND };
    let ends: Vec<Option<i64>> = completions(&parse("a@0 a@5 a@5 a@11"), shape);
    assert_eq!(ends, [None, Some(5 * SECOND), Some(5 * SECOND), None]);
}

/// All lists of indices with one event for each rule from `from` up to `end`, in order.
fn chains(events: &[Event], from: usize, end: usize) -> Vec<Vec<usize>> {
    if from == end {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for chain in chains(events, from, end - 1) {
        for (i, event) in events.iter().enumerate() {
            let begins = event.start(end - 1) + event.at.precision.micros();
            let follows = chain.last().is_none_or(|l| *l != i && events[*l].at.t.0 < begins);
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
    if shape.form != Form::Ordered {
        for first in events {
            let low = first.at.t.0;
            let inside: Vec<usize> =
                (0..events.len()).filter(|i| t(i) >= low && t(i) - low <= shape.span).collect();
            let brought = inside.iter().flat_map(|i| {
                let event = &events[*i];
                let begun = bits(event.mask).filter(|bit| event.start(*bit) >= low);
                let latest = bits(event.mask).map(|bit| event.start(bit)).max();
                let begun: Vec<usize> = match shape.form {
                    Form::Any(_) | Form::Ordered => begun.collect(),
                    _ if latest.is_none_or(|latest| latest < low) => Vec::new(),
                    Form::Events(_) => vec![*i],
                    Form::Values(_) => event.values.iter().map(|v| *v as usize).collect(),
                };
                begun
            });
            if brought.collect::<std::collections::BTreeSet<_>>().len() >= shape.need() {
                let high = inside.iter().map(t).max().unwrap();
                all.push((low, high, inside));
            }
        }
        return all;
    }
    for (i, event) in events.iter().enumerate() {
        for place in (0..shape.rules).filter(|place| event.mask >> place & 1 == 1) {
            let to = chains(events, 0, place + 1).into_iter().filter(|c| c.last() == Some(&i));
            let start = to.map(|c| events[c[0]].start(0)).max();
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

/// The latest start of a window that holds and ends in the event, straight from the words.
fn completion(events: &[Event], shape: Shape, end: usize) -> Option<i64> {
    let t = |i: usize| events[i].at.t.0;
    if events[end].mask == 0 {
        return None;
    }
    if shape.form == Form::Ordered {
        let chains = chains(events, 0, shape.rules).into_iter();
        let starts = chains.filter(|c| c.last() == Some(&end)).map(|c| events[c[0]].start(0));
        let start = starts.max()?;
        return (t(end) - start <= shape.span).then_some(start.min(t(end)));
    }
    let lows = (0..events.len()).map(t).filter(|low| *low <= t(end) && t(end) - low <= shape.span);
    lows.filter(|low| {
        let part: Vec<Event> =
            events.iter().filter(|e| e.at.t.0 >= *low && e.at.t.0 <= t(end)).cloned().collect();
        let shape = Shape { span: t(end) - low, ..shape };
        windows(&part, shape).iter().any(|(from, _, _)| from == low)
    })
    .max()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]
    #[test]
    fn agrees_with_the_naive_reference(
        raw in prop::collection::vec(
            (0_i64..30, 0_u64..8, 0_u8..3, prop::collection::vec(0_usize..8, 0..3)),
            0..8,
        ),
        form in 0_u8..4,
        rules in 1_usize..4,
        need in 1_usize..4,
        span in 0_i64..20,
        nested: bool,
    ) {
        let precision = [Precision::Micro, Precision::Milli, Precision::Second];
        let mut events: Vec<Event> = raw
            .iter()
            .enumerate()
            .map(|(n, (t, mask, precise, _))| {
                let mask = mask & ((1 << rules) - 1);
                event(t * SECOND / 2, n, mask, precision[usize::from(*precise)])
            })
            .collect();
        events.sort_by_key(|e| (e.at.t, e.id));
        let times: Vec<i64> = events.iter().map(|e| e.at.t.0).collect();
        for (index, (_, _, _, extra)) in raw.iter().enumerate() {
            let values: Vec<u32> = extra.iter().map(|v| u32::try_from(v % 4).unwrap()).collect();
            let mut values = values;
            values.sort_unstable();
            values.dedup();
            events[index].values = values;
            if nested {
                events[index].starts = extra.iter().map(|v| times[v % (index + 1)]).collect();
            }
        }
        if form == 3 {
            events.iter_mut().filter(|e| e.values.is_empty()).for_each(|e| e.mask = 0);
        }
        if !nested {
            events.retain(|e| e.mask != 0);
        }
        let form = match form {
            0 => Form::Any(need.min(rules)),
            1 => Form::Ordered,
            2 => Form::Events(need),
            _ => Form::Values(need),
        };
        let shape = Shape { form, rules, span: span * SECOND / 2 };
        for (index, start) in completions(&events, shape).into_iter().enumerate() {
            prop_assert_eq!(start, completion(&events, shape, index), "event {}", index);
        }
        let mut got = episodes(&events, shape);
        got.sort();
        if form == Form::Ordered && nested {
            // Those that only lead to a match join by their place; the rest is the reference's.
            got.iter_mut().for_each(|ep| ep.retain(|i| events[*i].mask != 0));
        }
        prop_assert_eq!(&got, &naive(&events, shape));
        match witness(&events, shape) {
            None => prop_assert!(got.is_empty()),
            Some(found) => {
                prop_assert!(found.len() <= shape.need());
                prop_assert!(got.iter().any(|ep| found.iter().all(|i| ep.contains(i))));
                if !nested {
                    let alone: Vec<Event> = found.iter().map(|i| events[*i].clone()).collect();
                    prop_assert!(!episodes(&alone, shape).is_empty());
                }
            }
        }
    }
}
