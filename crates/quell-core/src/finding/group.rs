//! Findings, groups: what a correlation sees in candidates that agree in its keys, through the
//! correlations that it rests on. The words are those of docs/correlation.md, section 4.

use std::collections::{BTreeMap, BTreeSet};

use super::bench::{Bench, Candidate};
use crate::correlate::{self, Event};
use crate::rule::{Correlation, Measure, Member, RuleIdx};
use crate::signal::Signal;
use crate::time::Time;

/// Values of one key that one signal groups by, and groups that it belongs to; the least by text.
const VALUES_MAX: usize = 8;
const GROUPS_MAX: usize = 64;

/// Candidates as events of a correlation.
struct Sight<'a> {
    events: Vec<Event>,
    /// By event, its place among the candidates.
    places: Vec<usize>,
    /// The correlations that it rests on.
    inner: Vec<Inner<'a>>,
}

/// A correlation that another rests on: the n-th rule of that, as seen by its own groups.
struct Inner<'a> {
    bit: usize,
    node: &'a Correlation,
    parts: Vec<InnerPart<'a>>,
}

struct InnerPart<'a> {
    group: Vec<String>,
    sight: Sight<'a>,
    /// By event, the latest start of a window that holds and ends in it.
    starts: Vec<Option<i64>>,
}

impl InnerPart<'_> {
    /// The event that the candidate at this place is.
    fn event(&self, place: usize) -> Option<usize> {
        self.sight.places.binary_search(&place).ok()
    }

    fn start(&self, place: usize) -> Option<i64> {
        self.starts.get(self.event(place)?).copied().flatten()
    }

    /// When the first window began that ends in the candidate at this place, if one does.
    fn since(&self, place: usize, span: i64) -> Option<i64> {
        self.start(place)?;
        let end = self.sight.events.get(self.event(place)?)?.at.t;
        let first = self.sight.events.partition_point(|event| event.at.t < end.plus(-span));
        self.sight.events.get(first).map(|event| event.at.t.0)
    }
}

impl<'a> Bench<'a> {
    /// What signals of these candidates can agree in, each once and sorted.
    pub(super) fn groups(
        &self,
        node: &Correlation,
        part: &[Candidate<'a>],
    ) -> BTreeSet<Vec<String>> {
        if node.keys.is_empty() {
            return BTreeSet::from([Vec::new()]);
        }
        let mut groups = BTreeSet::new();
        for member in &node.members {
            let mask = self.mask_of(member);
            for candidate in part.iter().filter(|candidate| candidate.mask & mask != 0) {
                groups.extend(groups_of(candidate.kept.signal(), member));
            }
        }
        groups
    }

    /// What the signals at hand agree in, as `group-by` names it.
    pub(super) fn named(&self) -> Vec<String> {
        let keys = self.correlation().map_or(&[][..], |correlation| &correlation.keys);
        keys.iter().zip(&self.group).map(|(key, value)| format!("{key}={value}")).collect()
    }

    /// The detections that a member rests on, as a mask of candidates.
    fn mask_of(&self, member: &Member) -> u64 {
        let nested = self.nested(member).map_or(&[][..], |nested| &nested.leaves);
        let rests = |leaf: &RuleIdx| *leaf == member.rule || nested.contains(leaf);
        let leaves = self.leaves.iter().enumerate().filter(|(_, leaf)| rests(leaf));
        leaves.fold(0, |mask, (bit, _)| mask | 1 << bit)
    }

    /// The correlation that a member is, if it is one.
    pub(super) fn nested(&self, member: &Member) -> Option<&'a Correlation> {
        self.view.rules.get(member.rule)?.correlation.as_deref()
    }

    fn sight(&self, node: &'a Correlation, part: &[Candidate<'a>], group: &[String]) -> Sight<'a> {
        let t = |candidate: &Candidate<'a>| candidate.kept.key().0;
        let mut masks = vec![0_u64; part.len()];
        let mut starts: Vec<Vec<i64>> = vec![Vec::new(); part.len()];
        let mut sinces: Vec<i64> = part.iter().map(|candidate| t(candidate).0).collect();
        let mut inner = Vec::new();
        for (bit, member) in node.members.iter().enumerate() {
            let nested = self.nested(member).map(|nested| Inner {
                bit,
                node: nested,
                parts: self.parts(nested, part),
            });
            let own = self.mask_of(member);
            for (place, candidate) in part.iter().enumerate() {
                if candidate.mask & own == 0 || !agrees(candidate.kept.signal(), member, group) {
                    continue;
                }
                if let Some(nested) = &nested {
                    let start = nested.parts.iter().filter_map(|part| part.start(place)).max();
                    let (Some(start), Some(cell)) = (start, starts.get_mut(place)) else {
                        continue;
                    };
                    cell.resize(node.members.len(), t(candidate).0);
                    cell.get_mut(bit).into_iter().for_each(|cell| *cell = start);
                    let span = nested.node.shape.span;
                    let since =
                        nested.parts.iter().filter_map(|part| part.since(place, span)).min();
                    if let (Some(since), Some(cell)) = (since, sinces.get_mut(place)) {
                        *cell = since.min(*cell);
                    }
                }
                masks.get_mut(place).into_iter().for_each(|mask| *mask |= 1 << bit);
            }
            inner.extend(nested);
        }
        let mut values = Values::default();
        let mut sight = Sight { events: Vec::new(), places: Vec::new(), inner: Vec::new() };
        let leads = leads(&inner, &masks, &starts, part);
        for (place, candidate) in part.iter().enumerate() {
            let mut mask = masks.get(place).copied().unwrap_or_default();
            let values = match &node.measure {
                Some(measure) if mask != 0 => values.of(candidate, measure),
                _ => Vec::new(),
            };
            if node.measure.is_some() && values.is_empty() {
                mask = 0;
            }
            if mask == 0 && !leads.contains(&place) {
                continue;
            }
            let (at, id) = (candidate.kept.signal().times.happened, candidate.kept.key().1);
            let starts = starts.get_mut(place).map(std::mem::take).unwrap_or_default();
            let since = sinces.get(place).copied().unwrap_or(at.t.0);
            sight.events.push(Event { at, id, mask, starts, since, values });
            sight.places.push(place);
        }
        sight.inner = inner;
        sight
    }

    /// What a correlation that another rests on makes of the candidates, group by group.
    fn parts(&self, node: &'a Correlation, part: &[Candidate<'a>]) -> Vec<InnerPart<'a>> {
        let groups = self.groups(node, part).into_iter();
        groups
            .map(|group| {
                let sight = self.sight(node, part, &group);
                let starts = correlate::completions(&sight.events, node.shape);
                InnerPart { group, sight, starts }
            })
            .collect()
    }

    /// The episodes of the candidates of this bench's group, as their places.
    pub(super) fn episodes(&self, part: &[Candidate<'a>]) -> Vec<Vec<usize>> {
        let Some(node) = self.correlation() else { return Vec::new() };
        let sight = self.sight(node, part, &self.group);
        let place = |event: usize| sight.places.get(event).copied();
        let episodes = correlate::episodes(&sight.events, node.shape).into_iter();
        episodes.map(|episode| episode.into_iter().filter_map(place).collect()).collect()
    }

    /// The places of the candidates that are part of some episode, sorted.
    pub(super) fn within(&self, part: &[Candidate<'a>]) -> Vec<usize> {
        let mut within = self.episodes(part).concat();
        within.sort_unstable();
        within
    }

    /// True when some window of these candidates holds.
    pub(super) fn holds(&self, part: &[Candidate<'a>]) -> bool {
        let Some(node) = self.correlation() else { return false };
        let sight = self.sight(node, part, &self.group);
        correlate::witness(&sight.events, node.shape).is_some()
    }

    /// The places of candidates that make a window hold, as few as it needs, sorted; nothing where
    /// none holds.
    pub(super) fn witness(&self, part: &[Candidate<'a>]) -> Vec<usize> {
        let Some(node) = self.correlation() else { return Vec::new() };
        let mut found = BTreeSet::new();
        self.prove(node, part, &self.group, &mut found);
        found.into_iter().collect()
    }

    fn prove(
        &self,
        node: &'a Correlation,
        part: &[Candidate<'a>],
        group: &[String],
        found: &mut BTreeSet<usize>,
    ) {
        let sight = self.sight(node, part, group);
        for index in correlate::witness(&sight.events, node.shape).unwrap_or_default() {
            let (event, place) = (sight.events.get(index), sight.places.get(index).copied());
            let (Some(event), Some(place)) = (event, place) else { continue };
            found.insert(place);
            for inner in sight.inner.iter().filter(|inner| event.mask >> inner.bit & 1 == 1) {
                let start = event.start(inner.bit);
                let holds = |part: &&InnerPart<'a>| part.start(place) == Some(start);
                let Some(of) = inner.parts.iter().find(holds) else { continue };
                let window = |place: &usize| {
                    let t = part.get(*place).map(|candidate| candidate.kept.key().0);
                    t.is_some_and(|t| Time(start) <= t && t <= event.at.t)
                };
                let places: Vec<usize> = of.sight.places.iter().copied().filter(window).collect();
                let sub: Vec<Candidate<'a>> =
                    places.iter().filter_map(|place| part.get(*place).copied()).collect();
                let mut proof = BTreeSet::new();
                self.prove(inner.node, &sub, &of.group, &mut proof);
                found.extend(proof.into_iter().filter_map(|n| places.get(n).copied()));
            }
        }
    }
}

/// The places of the candidates that lead to a match of a correlation which another rests on: those
/// of its windows, from the first start to the end.
fn leads(
    inner: &[Inner<'_>],
    masks: &[u64],
    starts: &[Vec<i64>],
    part: &[Candidate<'_>],
) -> BTreeSet<usize> {
    let mut leads = BTreeSet::new();
    let t = |place: usize| part.get(place).map(|candidate| candidate.kept.key().0.0);
    for inner in inner {
        let span = inner.node.shape.span;
        for of in &inner.parts {
            let counts = |place: &usize| {
                let own = masks.get(*place).is_some_and(|mask| mask >> inner.bit & 1 == 1);
                let start = starts.get(*place).and_then(|starts| starts.get(inner.bit)).copied();
                own && of.start(*place) == start
            };
            let ends = of.sight.places.iter().copied().filter(counts);
            // By end, the earliest start of the windows that end then or later.
            let mut windows: Vec<(i64, i64)> =
                ends.filter_map(|place| Some((t(place)?, of.since(place, span)?))).collect();
            let mut earliest = i64::MAX;
            for (_, start) in windows.iter_mut().rev() {
                earliest = earliest.min(*start);
                *start = earliest;
            }
            for place in of.sight.places.iter().copied() {
                let Some(here) = t(place) else { continue };
                let from = windows.partition_point(|(end, _)| *end < here);
                if windows.get(from).is_some_and(|(_, start)| *start <= here) {
                    leads.insert(place);
                }
            }
        }
    }
    leads
}

/// The groups that a signal belongs to as one of the member's.
fn groups_of(signal: &Signal, member: &Member) -> Vec<Vec<String>> {
    let mut groups: Vec<Vec<String>> = vec![Vec::new()];
    for kind in &member.keys {
        let values = signal.entities.iter().filter(|entity| entity.kind == *kind);
        let values: BTreeSet<&str> = values.map(|entity| entity.value.as_str()).collect();
        let values: Vec<&str> = values.into_iter().take(VALUES_MAX).collect();
        groups = groups
            .into_iter()
            .flat_map(|group| {
                let longer = |value: &&str| [group.as_slice(), &[(*value).to_owned()]].concat();
                values.iter().map(longer).collect::<Vec<_>>()
            })
            .take(GROUPS_MAX)
            .collect();
    }
    groups
}

/// True when a signal of the member's belongs to the group.
fn agrees(signal: &Signal, member: &Member, group: &[String]) -> bool {
    group.iter().zip(&member.keys).all(|(value, kind)| {
        signal.entities.iter().any(|entity| entity.kind == *kind && entity.value == *value)
    })
}

/// Values as numbers, in the order in which they are met.
#[derive(Default)]
struct Values {
    known: BTreeMap<String, u32>,
}

impl Values {
    fn of(&mut self, candidate: &Candidate<'_>, measure: &Measure) -> Vec<u32> {
        let signal = candidate.kept.signal();
        let texts: Vec<String> = match measure {
            Measure::Network => {
                candidate.kept.network().map(|n| n.to_string()).into_iter().collect()
            }
            Measure::Kind => vec![signal.kind.name().to_owned()],
            Measure::Source => vec![signal.source.clone()],
            Measure::Subject => {
                signal.about.first().map(|id| id.value.clone()).into_iter().collect()
            }
            Measure::Entity(kind) => {
                let kind = crate::rule::own_kind(*kind);
                let entities = signal.entities.iter().filter(|entity| entity.kind == kind);
                entities.map(|entity| entity.value.clone()).collect()
            }
            Measure::Attr(name) => signal.attributes.get(name).cloned().into_iter().collect(),
        };
        let mut numbers: Vec<u32> = Vec::new();
        for text in texts {
            let next = u32::try_from(self.known.len()).unwrap_or(u32::MAX);
            numbers.push(*self.known.entry(text).or_insert(next));
        }
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    }
}
