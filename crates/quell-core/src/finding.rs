//! Findings: what the rules state about one subject, as a function of the set of signals in
//! force. The order of arrival does not enter here. The words are those of docs/correlation.md.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::action::Tier;
use crate::correlate::{self, Event, Shape};
use crate::history::{Attribution, Bounds, Kept, Key, Timeline};
use crate::id::{Digest, FindingId, SignalId};
use crate::resolve::{Resolution, Subject};
use crate::rule::{Rule, RuleIdx, Rules};
use crate::signal::{Anomaly, Entity, EntityKind, Kind, Provenance, Reach, Use};
use crate::time::{SECOND, Time};

mod contained;
mod diff;
mod tier;

pub use contained::Containment;
pub use diff::{Change, diff};

/// A signal as a finding cites it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Cited {
    /// The signal.
    pub signal: SignalId,
    /// Its source.
    pub source: String,
    /// What it states.
    pub kind: Kind,
    /// What it may be used for.
    #[serde(rename = "use")]
    pub usage: Use,
    /// 1 to 100; none for facts.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub confidence: Option<u8>,
    /// When it happened.
    pub at: Time,
    /// How the source proved who it is.
    pub provenance: Provenance,
    /// What was odd about it.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub anomalies: Vec<Anomaly>,
    /// What else it names, bounded.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub entities: Vec<Entity>,
    /// Digest of its record.
    pub record: Digest,
    /// True when the finding does not hold without it.
    pub necessary: bool,
}

/// What a rule states about one subject. One that is `contained` is not in force.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Finding {
    /// See [`FindingId::of`].
    pub id: FindingId,
    /// The rule's Sigma id.
    pub rule: String,
    /// The rule's title.
    pub title: String,
    /// Who it is about.
    pub subject: Subject,
    /// How sure that is.
    pub resolution: Resolution,
    /// The tier that the rule asks for.
    pub asked: Tier,
    /// The tier that is left after the caps.
    pub tier: Tier,
    /// Why the tier was lowered, in a fixed order.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub caps: Vec<String>,
    /// The lower of the rule's confidence and of the greatest that its signals still hold it at:
    /// that of the weakest necessary one where each is necessary.
    pub confidence: u8,
    /// The earliest signal of the episode by (event time, signal id) that no containment bars.
    pub anchor: SignalId,
    /// The anchor's time.
    pub first_at: Time,
    /// The latest cited signal's time.
    pub last_at: Time,
    /// The episode, by (event time, signal id); of a long one [`CITED_MAX`] signals.
    pub signals: Vec<Cited>,
    /// True when it does not hold without signals judged on a history of too few sign-ins.
    pub cold: bool,
    /// True when a bound left something out: entries of its key, signals or entities that it
    /// would cite, or findings of the same rule.
    pub capped: bool,
    /// True when all of it lies before a verified containment that it did not lead to: it is on
    /// record and asks for nothing.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub contained: bool,
}

/// How many signals a finding cites at most.
pub const CITED_MAX: usize = 64;

/// How many findings of one rule about one subject are in force at most.
pub const FINDINGS_MAX: usize = 64;

/// How many entities of one kind a cited signal keeps, and their bytes in one finding.
const ENTITIES_MAX: usize = 8;
const ENTITY_BYTES_MAX: usize = 64 << 10;

/// Event times of a chain may step back by their precision: at most so far in all.
const SLACK: i64 = 64 * SECOND;

/// Everything that the findings of one subject depend on.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// The tenant.
    pub tenant: &'a str,
    /// The subject.
    pub subject: &'a Subject,
    /// Its timeline.
    pub timeline: &'a Timeline,
    /// The rules in force.
    pub rules: &'a Rules,
    /// The bounds in force.
    pub bounds: Bounds,
    /// What happened before is history, never part of a finding.
    pub floor: Time,
    /// The verified containments of the subject.
    pub contained: &'a [Containment],
    /// Which entries are in force: not withdrawn.
    pub in_force: &'a dyn Fn(&Kept) -> bool,
}

impl std::fmt::Debug for View<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("View").field("subject", self.subject).finish_non_exhaustive()
    }
}

/// An entry that can take part, with what its history says.
#[derive(Clone, Copy)]
struct Candidate<'a> {
    kept: &'a Kept,
    mask: u64,
    cold: bool,
}

impl Candidate<'_> {
    fn event(&self) -> Event {
        let signal = self.kept.signal();
        Event { at: signal.times.happened, id: signal.id, mask: self.mask }
    }

    /// What anybody outside can cause comes last, then by place.
    fn weight(&self) -> (Reach, Key) {
        (self.kept.signal().kind.reach(), self.kept.key())
    }
}

/// One rule over one subject.
struct Bench<'a> {
    view: View<'a>,
    rule: &'a Rule,
    asked: Tier,
    confidence: u8,
    shape: Shape,
    members: Vec<RuleIdx>,
}

/// The findings of one rule for one subject, in order of their anchors.
pub fn findings(view: View<'_>, idx: RuleIdx) -> Vec<Finding> {
    let Some(bench) = Bench::of(view, idx) else { return Vec::new() };
    let near = bench.near();
    let candidates = bench.candidates(near.iter().filter_map(|key| view.timeline.get(*key)));
    let (episodes, more) = bench.episodes(&candidates);
    episodes.into_iter().filter_map(|part| bench.finding(&part, more)).collect()
}

/// The tier at which a finding still holds when only `accepted` signals count; none when it
/// does not hold. A weak source never borrows the authority of a strong one.
pub fn holds(view: View<'_>, finding: &Finding, accepted: &BTreeSet<SignalId>) -> Option<Tier> {
    let bench = Bench::of(view, view.rules.idx(&finding.rule)?)?;
    let cited = finding.signals.iter().filter(|cited| accepted.contains(&cited.signal));
    let kept = cited.filter_map(|cited| view.timeline.get((cited.at, cited.signal)));
    let candidates = bench.candidates(kept);
    let (episodes, more) = bench.episodes(&candidates);
    episodes.into_iter().filter_map(|part| bench.finding(&part, more)).map(|f| f.tier).max()
}

impl<'a> Bench<'a> {
    fn of(view: View<'a>, idx: RuleIdx) -> Option<Self> {
        let rule = view.rules.get(idx)?;
        let (asked, confidence) = rule.ask?;
        let (shape, members) = match &rule.correlation {
            Some((shape, members)) => (*shape, members.clone()),
            None => (Shape { ordered: false, rules: 1, need: 1, span: 0 }, vec![idx]),
        };
        Some(Self { view, rule, asked, confidence, shape, members })
    }

    fn alone(&self) -> bool {
        self.rule.correlation.is_none()
    }

    /// The places of the entries that may be part of a window: those of the members, near the
    /// rarest one where all are needed. Sorted.
    fn near(&self) -> BTreeSet<Key> {
        let timeline = self.view.timeline;
        let present = self.members.iter().filter(|m| timeline.count(**m) > 0).count();
        if present < self.shape.need {
            return BTreeSet::new();
        }
        let all = || self.members.iter().flat_map(|member| timeline.of_rule(*member)).collect();
        if self.shape.need < self.members.len() || self.alone() {
            return all();
        }
        let rarest = self.members.iter().min_by_key(|member| timeline.count(**member));
        let Some(rarest) = rarest else { return BTreeSet::new() };
        let reach = self.shape.span.saturating_add(SLACK);
        let mut near = BTreeSet::new();
        let mut done = Time(i64::MIN);
        for (t, _) in timeline.of_rule(*rarest) {
            let from = t.plus(-reach).max(done);
            done = t.plus(reach);
            for member in &self.members {
                near.extend(timeline.of_rule_within(*member, from, done));
            }
        }
        near
    }

    /// Those entries that may take part, in order of their places.
    fn candidates(&self, entries: impl Iterator<Item = &'a Kept>) -> Vec<Candidate<'a>> {
        let matching: Vec<Candidate<'a>> = entries.filter_map(|kept| self.matching(kept)).collect();
        if self.alone() {
            return self.strongest(matching);
        }
        // History is asked only about what would be in a window if history did not matter.
        let events: Vec<Event> = matching.iter().map(Candidate::event).collect();
        let mut within: Vec<usize> = correlate::episodes(&events, self.shape).concat();
        within.sort_unstable();
        let within: Vec<Candidate<'a>> =
            within.into_iter().filter_map(|index| matching.get(index).copied()).collect();
        let starts: Vec<Time> = within.iter().filter_map(|c| self.start(*c)).collect();
        let asked = |c: Candidate<'a>| {
            let t = c.kept.key().0;
            let from = starts.partition_point(|start| *start < t.plus(-self.shape.span));
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
        let bits = self.members.iter().enumerate();
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
        let bits = self.members.iter().enumerate();
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
        for (bit, member) in self.members.iter().enumerate() {
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

    /// The episodes in order of their anchors, at most [`FINDINGS_MAX`]: those with the greatest
    /// reach, then the latest. True when there were more.
    fn episodes(&self, candidates: &[Candidate<'a>]) -> (Vec<Vec<Candidate<'a>>>, bool) {
        let mut all: Vec<Vec<Candidate<'a>>> = if self.alone() {
            candidates.iter().map(|candidate| vec![*candidate]).collect()
        } else {
            let events: Vec<Event> = candidates.iter().map(Candidate::event).collect();
            let episodes = correlate::episodes(&events, self.shape).into_iter();
            let part = |index: usize| candidates.get(index).copied();
            episodes.map(|episode| episode.into_iter().filter_map(part).collect()).collect()
        };
        let more = all.len() > FINDINGS_MAX;
        if more {
            all.sort_by_key(|part| {
                let reach = part.iter().map(|c| c.kept.signal().kind.reach()).max();
                std::cmp::Reverse((reach, part.first().map(|c| c.kept.key())))
            });
            all.truncate(FINDINGS_MAX);
            all.sort_by_key(|part| part.first().map(|c| c.kept.key()));
        }
        (all, more)
    }

    /// True when these candidates alone make a finding.
    fn satisfied<'b>(&self, part: impl Iterator<Item = &'b Candidate<'a>>) -> bool
    where
        'a: 'b,
    {
        let events: Vec<Event> = part.map(Candidate::event).collect();
        if self.alone() {
            !events.is_empty()
        } else {
            correlate::witness(&events, self.shape).is_some()
        }
    }

    /// The greatest confidence at or under the rule's at which the signals that have at least it,
    /// and facts, which have none, still make the finding: more weak signals never make a strong
    /// one.
    fn confidence(&self, part: &[Candidate<'a>]) -> u8 {
        let own = |c: &Candidate<'a>| c.kept.signal().confidence;
        let holds = |least: u8| {
            self.satisfied(part.iter().filter(|c| own(c).is_none_or(|own| own >= least)))
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
        let events: Vec<Event> = strong.iter().map(Candidate::event).collect();
        let witness = correlate::witness(&events, self.shape).unwrap_or_default();
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
            let rest = cited.iter().enumerate().filter(|(i, _)| *i != n).map(|(_, c)| c);
            !self.satisfied(rest)
        };
        let necessary: Vec<bool> = (0..cited.len()).map(necessary).collect();
        let (tier, caps) = self.tier(&cited);
        let cold = !self.satisfied(cited.iter().filter(|c| !c.cold));
        let resolution = cited.iter().map(|c| &c.kept.resolution).max()?.clone();
        let (signals, cut) = cite_all(&cited, &necessary);
        let view = self.view;
        let subject = view.subject.to_string();
        Some(Finding {
            id: FindingId::of(view.tenant, &self.rule.id, &subject, anchor.1),
            rule: self.rule.id.clone(),
            title: self.rule.title.clone(),
            subject: view.subject.clone(),
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
