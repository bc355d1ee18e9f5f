//! Findings, the bench: one rule over one subject, from the entries that may take part to the
//! findings that they make. Never asks what was in force before.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use super::{CITED_MAX, Cited, FINDINGS_MAX, Finding, Scope, View};
use crate::action::Tier;
use crate::correlate::Form;
use crate::history::{Attribution, Kept, Key};
use crate::id::FindingId;
use crate::rule::{Correlation, Member, Rule, RuleIdx};
use crate::signal::{EntityKind, Reach, Use};
use crate::time::{SECOND, Time};

/// How many entities of one kind a cited signal keeps, and their bytes in one finding.
const ENTITIES_MAX: usize = 8;
const ENTITY_BYTES_MAX: usize = 64 << 10;

/// Event times of a chain may step back by their precision: at most so far in all.
const SLACK: i64 = 64 * SECOND;

/// An entry that can take part, with what its history says.
#[derive(Clone, Copy)]
pub(super) struct Candidate<'a> {
    pub(super) kept: &'a Kept,
    pub(super) mask: u64,
    pub(super) cold: bool,
}

impl Candidate<'_> {
    /// What anybody outside can cause comes last, then by place.
    fn weight(&self) -> (Reach, Key) {
        (self.kept.signal().kind.reach(), self.kept.key())
    }
}

/// One rule over one subject.
#[derive(Clone)]
pub(super) struct Bench<'a> {
    pub(super) view: View<'a>,
    pub(super) rule: &'a Rule,
    pub(super) asked: Tier,
    confidence: u8,
    /// The detections that the rule rests on; bit n of a candidate's mask is the n-th.
    pub(super) leaves: Cow<'a, [RuleIdx]>,
    /// What the signals at hand agree in beside the subject, by the correlation's keys.
    pub(super) group: Vec<String>,
}

/// An episode with the bench of its group.
type Part<'a> = (Bench<'a>, Vec<Candidate<'a>>);

impl<'a> Bench<'a> {
    pub(super) fn of(view: View<'a>, idx: RuleIdx) -> Option<Self> {
        let rule = view.rules.get(idx)?;
        let (asked, confidence) = rule.ask?;
        let leaves = match &rule.correlation {
            Some(correlation) => Cow::Borrowed(correlation.leaves.as_slice()),
            None => Cow::Owned(vec![idx]),
        };
        Some(Self { view, rule, asked, confidence, leaves, group: Vec::new() })
    }

    pub(super) fn alone(&self) -> bool {
        self.rule.correlation.is_none()
    }

    /// The correlation that the rule is, if it is one.
    pub(super) fn correlation(&self) -> Option<&'a Correlation> {
        self.rule.correlation.as_deref()
    }

    /// The places of the entries that may be part of a window: those of the detections in the
    /// scope, near the rarest one where all are needed. Sorted.
    pub(super) fn near(&self, scope: &Scope) -> BTreeSet<Key> {
        let timeline = self.view.timeline;
        let (from, to) = match scope {
            Scope::Stretch { from, to } => (*from, *to),
            Scope::All | Scope::Values(_) => (Time(i64::MIN), Time(i64::MAX)),
        };
        let all = |from: Time, to: Time| {
            let leaves = self.leaves.iter();
            leaves.flat_map(move |leaf| timeline.of_rule_within(*leaf, from, to))
        };
        let Some(correlation) = self.correlation() else { return all(from, to).collect() };
        if !self.possible(correlation) {
            return BTreeSet::new();
        }
        if let Scope::Values(values) = scope {
            return values.iter().flat_map(|e| timeline.of_value(e.kind, &e.value)).collect();
        }
        let plain = correlation.members.iter().all(|member| self.leaves.contains(&member.rule));
        let need = match correlation.shape.form {
            Form::Ordered => self.leaves.len(),
            Form::Any(need) => need,
            Form::Events(_) | Form::Values(_) => 1,
        };
        if !plain || need < self.leaves.len() || need < 2 {
            return all(from, to).collect();
        }
        let rarest = self.leaves.iter().min_by_key(|leaf| timeline.count(**leaf));
        let Some(rarest) = rarest else { return BTreeSet::new() };
        let reach = reach(correlation);
        let mut near = BTreeSet::new();
        let mut done = Time(i64::MIN);
        for (t, _) in timeline.of_rule_within(*rarest, from, to) {
            let start = t.plus(-reach).max(done);
            done = t.plus(reach);
            near.extend(all(start, done));
        }
        near
    }

    /// False when the timeline has too little of what a correlation needs, whatever the times.
    pub(super) fn possible(&self, correlation: &Correlation) -> bool {
        let member = |member: &Member| match self.nested(member) {
            Some(nested) => self.possible(nested),
            None => self.view.timeline.count(member.rule) > 0,
        };
        let all = || correlation.members.iter();
        match correlation.shape.form {
            Form::Ordered => all().all(member),
            Form::Any(need) => all().filter(|m| member(m)).count() >= need,
            Form::Events(need) => {
                let leaves = correlation.leaves.iter();
                leaves.map(|leaf| self.view.timeline.count(*leaf)).sum::<usize>() >= need
            }
            Form::Values(_) => all().any(member),
        }
    }

    /// The entries that may take part, in order of their places, as findings by group.
    pub(super) fn findings(
        &self,
        entries: impl Iterator<Item = &'a Kept>,
        scope: &Scope,
    ) -> Vec<Finding> {
        let matching: Vec<Candidate<'a>> = entries.filter_map(|kept| self.matching(kept)).collect();
        let mut parts: Vec<Part<'a>> = Vec::new();
        match self.correlation() {
            None => {
                let all = self.strongest(matching).into_iter();
                parts.extend(all.map(|candidate| (self.clone(), vec![candidate])));
            }
            Some(correlation) => {
                let groups = self.groups(correlation, &matching).into_iter();
                let inside = |group: &Vec<String>| {
                    group.first().is_none_or(|value| scope.holds_value(value))
                };
                let by_first = by_first(correlation, &matching);
                for group in groups.filter(inside) {
                    let own = group.first().and_then(|value| by_first.get(value.as_str()));
                    let bench = Self { group, ..self.clone() };
                    let candidates = bench.candidates(own.unwrap_or(&matching));
                    let episodes = bench.episodes(&candidates).into_iter();
                    let part = |index: usize| candidates.get(index).copied();
                    let episodes = episodes.map(|e| e.into_iter().filter_map(part).collect());
                    parts.extend(episodes.map(|episode| (bench.clone(), episode)));
                }
            }
        }
        let more = bound(&mut parts);
        parts.into_iter().filter_map(|(bench, part)| bench.finding(&part, more)).collect()
    }

    /// Those that may be in a window, as their history shows them. History is asked only about
    /// what would be in a window if history did not matter.
    fn candidates(&self, matching: &[Candidate<'a>]) -> Vec<Candidate<'a>> {
        let within = self.within(matching).into_iter();
        let within: Vec<Candidate<'a>> =
            within.filter_map(|index| matching.get(index).copied()).collect();
        let starts: Vec<Time> = within.iter().filter_map(|c| self.start(*c)).collect();
        let span = self.correlation().map_or(0, |correlation| correlation.shape.span);
        let asked = |c: Candidate<'a>| {
            let t = c.kept.key().0;
            let from = starts.partition_point(|start| *start < t.plus(-span));
            let as_of = starts.get(from).copied().filter(|start| *start <= t).unwrap_or(t);
            self.seen(c, as_of)
        };
        within.iter().filter_map(|candidate| asked(*candidate)).collect()
    }

    /// When a candidate happened that needs no history of traits: what the person's sign-ins show
    /// is asked as of the earliest such event of the window, since what came after it may be the
    /// attacker's own.
    fn start(&self, candidate: Candidate<'a>) -> Option<Time> {
        let plain = |member: &RuleIdx| {
            self.view.rules.get(*member).is_none_or(|rule| rule.novel.is_empty())
        };
        let bits = self.leaves.iter().enumerate();
        let mut own = bits.filter(|(bit, _)| candidate.mask >> bit & 1 == 1).map(|(_, m)| m);
        let t = candidate.kept.key().0;
        (own.any(plain) && self.seen(candidate, t).is_some()).then_some(t)
    }

    /// The strongest candidates of a rule that needs no other signal: by reach, then the latest;
    /// one more than are told, in order of their places.
    fn strongest(&self, mut matching: Vec<Candidate<'a>>) -> Vec<Candidate<'a>> {
        matching.sort_by_key(|candidate| std::cmp::Reverse(candidate.weight()));
        let seen = matching.into_iter().filter_map(|c| self.seen(c, c.kept.key().0));
        let mut all: Vec<Candidate<'a>> = seen.take(FINDINGS_MAX + 1).collect();
        all.sort_by_key(|candidate| candidate.kept.key());
        all
    }

    /// The entry, if it matches a member by itself and may be part of a finding.
    fn matching(&self, kept: &'a Kept) -> Option<Candidate<'a>> {
        let signal = kept.signal();
        let usable = match signal.usage {
            Use::Undo => false,
            Use::Fact => !self.alone(),
            Use::Alone | Use::Join | Use::Stop => true,
        };
        if !usable || kept.key().0 < self.view.floor {
            return None;
        }
        let bits = self.leaves.iter().enumerate();
        let mask = bits
            .filter(|(_, member)| kept.rules.binary_search(member).is_ok())
            .fold(0_u64, |mask, (bit, _)| mask | 1 << bit);
        (mask != 0 && (self.view.in_force)(kept)).then_some(Candidate { kept, mask, cold: false })
    }

    /// The candidate as its history before `as_of` shows it: without the members whose traits were
    /// seen by then; none for a lure that cannot be told to be this person's.
    fn seen(&self, candidate: Candidate<'a>, as_of: Time) -> Option<Candidate<'a>> {
        let (kept, timeline, bounds) = (candidate.kept, self.view.timeline, self.view.bounds);
        let (mut mask, mut cold) = (0_u64, false);
        for (bit, member) in self.leaves.iter().enumerate() {
            if candidate.mask >> bit & 1 == 0 {
                continue;
            }
            let rule = self.view.rules.get(*member);
            let traits = rule.map(|rule| rule.novel.as_slice()).unwrap_or_default();
            if !traits.is_empty() {
                if !timeline.is_novel(kept, as_of, traits, bounds) {
                    continue;
                }
                cold |= timeline.is_cold(as_of, bounds);
            }
            mask |= 1 << bit;
        }
        if mask != 0 && kept.signal().kind.reach() == Reach::Lure {
            match timeline.attribution(kept, bounds) {
                Attribution::Weak => return None,
                Attribution::Cold => cold = true,
                Attribution::Familiar => {}
            }
        }
        (mask != 0).then_some(Candidate { kept, mask, cold })
    }

    /// True when these candidates alone make a finding.
    fn satisfied(&self, part: &[Candidate<'a>]) -> bool {
        if self.alone() { !part.is_empty() } else { self.holds(part) }
    }

    /// The greatest confidence at or under the rule's at which the signals that have at least it,
    /// and facts, which have none, still make the finding: more weak signals never make a strong
    /// one.
    fn confidence(&self, part: &[Candidate<'a>]) -> u8 {
        let own = |c: &Candidate<'a>| c.kept.signal().confidence;
        let holds = |least: u8| {
            let strong = part.iter().filter(|c| own(c).is_none_or(|own| own >= least));
            self.satisfied(&strong.copied().collect::<Vec<_>>())
        };
        if holds(self.confidence) {
            return self.confidence;
        }
        let mut levels: Vec<u8> =
            part.iter().filter_map(own).filter(|level| *level < self.confidence).collect();
        levels.sort_unstable();
        levels.dedup();
        let from_below = levels.partition_point(|level| holds(*level));
        let greatest = from_below.checked_sub(1).and_then(|index| levels.get(index));
        greatest.copied().unwrap_or_default()
    }

    /// The signals that are cited: all; of a long episode those that make the finding at its
    /// confidence, the last that takes a credential, session or grant, then by reach the earliest.
    fn cite(&self, part: &[Candidate<'a>], confidence: u8) -> Vec<Candidate<'a>> {
        if part.len() <= CITED_MAX {
            return part.to_vec();
        }
        let strong: Vec<Candidate<'a>> = part
            .iter()
            .filter(|c| c.kept.signal().confidence.is_none_or(|own| own >= confidence))
            .copied()
            .collect();
        let witness = self.witness(&strong);
        let access = |c: &&Candidate<'a>| c.kept.signal().kind.reach() == Reach::Access;
        let mut order: Vec<Candidate<'a>> = part.to_vec();
        order.sort_by_key(|c| (std::cmp::Reverse(c.weight().0), c.kept.key()));
        let first = witness.iter().filter_map(|index| strong.get(*index)).copied();
        let first = first.chain(part.iter().rfind(access).copied());
        let mut chosen: BTreeMap<Key, Candidate<'a>> = BTreeMap::new();
        for candidate in first.chain(order) {
            if chosen.len() < CITED_MAX {
                chosen.entry(candidate.kept.key()).or_insert(candidate);
            }
        }
        chosen.into_values().collect()
    }

    fn finding(&self, part: &[Candidate<'a>], more: bool) -> Option<Finding> {
        let (anchor, contained) = self.anchor(part)?;
        let confidence = self.confidence(part);
        let cited = self.cite(part, confidence);
        let last_at = cited.last()?.kept.key().0;
        let necessary = |n: usize| {
            let rest = cited.iter().enumerate().filter(|(i, _)| *i != n).map(|(_, c)| *c);
            !self.satisfied(&rest.collect::<Vec<_>>())
        };
        let necessary: Vec<bool> = (0..cited.len()).map(necessary).collect();
        let (tier, caps) = self.tier(&cited);
        let warm: Vec<Candidate<'a>> = cited.iter().filter(|c| !c.cold).copied().collect();
        let cold = !self.satisfied(&warm);
        let resolution = cited.iter().map(|c| &c.kept.resolution).max()?.clone();
        let (signals, cut) = cite_all(&cited, &necessary);
        let view = self.view;
        let group = self.named();
        let mut key = view.subject.to_string();
        for part in &group {
            key.push('\u{1f}');
            key.push_str(part);
        }
        Some(Finding {
            id: FindingId::of(view.tenant, &self.rule.id, &key, anchor.1),
            rule: self.rule.id.clone(),
            title: self.rule.title.clone(),
            subject: view.subject.clone(),
            group,
            resolution,
            asked: self.asked,
            tier,
            caps,
            confidence,
            anchor: anchor.1,
            first_at: anchor.0,
            last_at,
            signals,
            cold,
            capped: more || cut || cited.len() < part.len() || view.timeline.is_capped(),
            contained,
        })
    }
}

/// The candidates by the values of the first key, where only those that name it can be in its
/// group.
fn by_first<'a>(
    correlation: &Correlation,
    matching: &[Candidate<'a>],
) -> BTreeMap<&'a str, Vec<Candidate<'a>>> {
    let mut all: BTreeMap<&'a str, Vec<Candidate<'a>>> = BTreeMap::new();
    for candidate in matching {
        let entities = candidate.kept.signal().entities.iter();
        let own = entities.filter(|entity| correlation.first.contains(&entity.kind));
        let values: BTreeSet<&'a str> = own.map(|entity| entity.value.as_str()).collect();
        values.into_iter().for_each(|value| all.entry(value).or_default().push(*candidate));
    }
    all
}

/// How far apart two events of one window can lie.
pub(super) fn reach(correlation: &Correlation) -> i64 {
    correlation.shape.span.saturating_add(SLACK)
}

/// Keeps at most [`FINDINGS_MAX`] episodes: those with the greatest reach, then the latest, in the
/// order of their anchors. True when there were more.
fn bound(parts: &mut Vec<Part<'_>>) -> bool {
    let more = parts.len() > FINDINGS_MAX;
    let first = |part: &Part<'_>| part.1.first().map(|c| c.kept.key());
    if more {
        parts.sort_by_key(|part| {
            let reach = part.1.iter().map(|c| c.kept.signal().kind.reach()).max();
            std::cmp::Reverse((reach, first(part), part.0.group.clone()))
        });
        parts.truncate(FINDINGS_MAX);
    }
    parts.sort_by_key(|part| (first(part), part.0.group.clone()));
    more
}

/// The candidates as they are cited; true when entities were left out.
fn cite_all(part: &[Candidate<'_>], necessary: &[bool]) -> (Vec<Cited>, bool) {
    let mut room = ENTITY_BYTES_MAX;
    let mut cut = false;
    let mut signals = Vec::with_capacity(part.len());
    for (candidate, necessary) in part.iter().zip(necessary) {
        let signal = candidate.kept.signal();
        let mut counts: BTreeMap<EntityKind, usize> = BTreeMap::new();
        let mut entities = Vec::new();
        for entity in &signal.entities {
            let count = counts.entry(entity.kind).or_default();
            *count += 1;
            if *count > ENTITIES_MAX || entity.value.len() > room {
                cut = true;
                continue;
            }
            room -= entity.value.len();
            entities.push(entity.clone());
        }
        signals.push(Cited {
            signal: signal.id,
            source: signal.source.clone(),
            kind: signal.kind,
            usage: signal.usage,
            confidence: signal.confidence,
            at: signal.times.happened.t,
            provenance: signal.provenance,
            anomalies: signal.anomalies.clone(),
            entities,
            record: signal.record,
            necessary: *necessary,
        });
    }
    (signals, cut)
}
