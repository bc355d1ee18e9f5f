//! Findings: what the rules state about one subject, as a function of the set of signals in
//! force. The order of arrival does not enter here.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::action::Tier;
use crate::correlate::{self, Event, Shape};
use crate::history::{Attribution, Bounds, Kept, Timeline};
use crate::id::{Digest, FindingId, SignalId};
use crate::resolve::{Resolution, Subject};
use crate::rule::{Rule, RuleIdx, Rules};
use crate::signal::{Anomaly, Entity, Kind, Provenance, Reach, Use};
use crate::time::Time;

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
    /// What else it names.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub entities: Vec<Entity>,
    /// Digest of its record.
    pub record: Digest,
    /// True when the finding does not hold without it.
    pub necessary: bool,
}

/// What a rule states about one subject.
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
    /// The lower of the rule's confidence and of its weakest necessary signal's.
    pub confidence: u8,
    /// The earliest cited signal by (event time, signal id).
    pub anchor: SignalId,
    /// The anchor's time.
    pub first_at: Time,
    /// The latest cited signal's time.
    pub last_at: Time,
    /// The episode, by (event time, signal id), at most [`CITED_MAX`].
    pub signals: Vec<Cited>,
    /// True when it rests on a history of too few sign-ins.
    pub cold: bool,
    /// True when entries of its key were evicted by a bound.
    pub capped: bool,
}

/// How many signals a finding cites at most: the earliest ones and the last.
pub const CITED_MAX: usize = 64;

/// Everything that the findings of one subject depend on.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// The tenant.
    pub tenant: &'a str,
    /// The subject.
    pub subject: &'a Subject,
    /// How it was resolved.
    pub resolution: &'a Resolution,
    /// Its timeline.
    pub timeline: &'a Timeline,
    /// The rules in force.
    pub rules: &'a Rules,
    /// The bounds in force.
    pub bounds: Bounds,
    /// Which entries are in force: not withdrawn, not revised.
    pub in_force: &'a dyn Fn(&Kept) -> bool,
}

impl std::fmt::Debug for View<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("View").field("subject", self.subject).finish_non_exhaustive()
    }
}

/// An entry that can take part, with what its history says.
struct Candidate<'a> {
    kept: &'a Kept,
    mask: u64,
    cold: bool,
}

/// The findings of one rule for one subject, in order of their anchors.
pub fn findings(view: View<'_>, idx: RuleIdx) -> Vec<Finding> {
    let Some(rule) = view.rules.get(idx) else { return Vec::new() };
    let Some((asked, _)) = rule.ask else { return Vec::new() };
    let (shape, members) = match &rule.correlation {
        Some((shape, members)) => (*shape, members.clone()),
        None => (Shape { ordered: false, rules: 1, need: 1, span: 0 }, vec![idx]),
    };
    let present = members.iter().filter(|m| view.timeline.count(**m) > 0).count();
    if present < shape.need {
        return Vec::new();
    }
    let alone = rule.correlation.is_none();
    let candidates = candidates(view, &members, alone);
    let events: Vec<Event> = candidates.iter().map(event).collect();
    let episodes = if alone {
        (0..events.len()).map(|i| vec![i]).collect()
    } else {
        correlate::episodes(&events, shape)
    };
    let make = |episode: Vec<usize>| {
        let part: Vec<&Candidate<'_>> = episode.iter().filter_map(|i| candidates.get(*i)).collect();
        finding(view, rule, asked, shape, &part)
    };
    episodes.into_iter().filter_map(make).collect()
}

/// The tier at which a finding still holds when only `accepted` signals count; none when it
/// does not hold. A weak source never borrows the authority of a strong one.
pub fn holds(view: View<'_>, finding: &Finding, accepted: &BTreeSet<SignalId>) -> Option<Tier> {
    let idx = view.rules.idx(&finding.rule)?;
    let cited: BTreeSet<SignalId> = finding.signals.iter().map(|c| c.signal).collect();
    let both = |kept: &Kept| {
        let id = kept.signal().id;
        cited.contains(&id) && accepted.contains(&id) && (view.in_force)(kept)
    };
    let narrowed = View { in_force: &both, ..view };
    findings(narrowed, idx).into_iter().map(|f| f.tier).max()
}

fn event(candidate: &Candidate<'_>) -> Event {
    let signal = candidate.kept.signal();
    Event { at: signal.times.happened, id: signal.id, mask: candidate.mask }
}

/// The entries that match a member and may take part, in order of (time, id).
fn candidates<'a>(view: View<'a>, members: &[RuleIdx], alone: bool) -> Vec<Candidate<'a>> {
    let mut all = Vec::new();
    for kept in view.timeline.entries() {
        let signal = kept.signal();
        let usable = match signal.usage {
            Use::Undo => false,
            Use::Fact => !alone,
            Use::Alone | Use::Join | Use::Stop => true,
        };
        if !usable || kept.rules.is_empty() || signal.attributes.contains_key("self") {
            continue;
        }
        let mut mask = 0_u64;
        let mut cold = false;
        for (bit, member) in members.iter().enumerate() {
            if kept.rules.binary_search(member).is_err() {
                continue;
            }
            let traits = view.rules.get(*member).map(|r| r.novel.as_slice()).unwrap_or_default();
            if !traits.is_empty() {
                if !view.timeline.is_novel(kept, traits, view.bounds) {
                    continue;
                }
                cold |= view.timeline.is_cold(signal.times.happened.t, view.bounds);
            }
            mask |= 1 << bit;
        }
        if mask == 0 || !(view.in_force)(kept) {
            continue;
        }
        if signal.kind.reach() == Reach::Lure {
            match view.timeline.attribution(kept, view.bounds) {
                Attribution::Weak => continue,
                Attribution::Cold => cold = true,
                Attribution::Familiar => {}
            }
        }
        all.push(Candidate { kept, mask, cold });
    }
    all
}

fn finding(
    view: View<'_>,
    rule: &Rule,
    asked: Tier,
    shape: Shape,
    part: &[&Candidate<'_>],
) -> Option<Finding> {
    let rule_confidence = rule.ask.map(|(_, confidence)| confidence)?;
    let part = cite(part);
    let (first, last) = (part.first()?, part.last()?);
    let events: Vec<Event> = part.iter().map(|c| event(c)).collect();
    let alone = rule.correlation.is_none();
    let still = |keep: &dyn Fn(usize) -> bool| {
        let rest: Vec<Event> =
            events.iter().enumerate().filter(|(i, _)| keep(*i)).map(|(_, e)| *e).collect();
        if alone { !rest.is_empty() } else { !correlate::episodes(&rest, shape).is_empty() }
    };
    let cited: Vec<Cited> = part
        .iter()
        .enumerate()
        .map(|(n, candidate)| cited(candidate, !still(&|i| i != n)))
        .collect();
    let weakest = cited.iter().filter(|c| c.necessary).filter_map(|c| c.confidence).min();
    let cold = part.iter().any(|c| c.cold);
    let unstopped = |i: usize| part.get(i).is_some_and(|c| c.kept.signal().usage != Use::Stop);
    let stopped = !still(&unstopped);
    let joined = alone && first.kept.signal().usage == Use::Join;
    let (tier, caps) = capped(asked, &cited, cold, stopped, joined);
    let subject = view.subject.to_string();
    let anchor = first.kept.signal().id;
    Some(Finding {
        id: FindingId::of(view.tenant, &rule.id, &subject, anchor),
        rule: rule.id.clone(),
        title: rule.title.clone(),
        subject: view.subject.clone(),
        resolution: view.resolution.clone(),
        asked,
        tier,
        caps,
        confidence: weakest.unwrap_or(rule_confidence).min(rule_confidence),
        anchor,
        first_at: first.kept.signal().times.happened.t,
        last_at: last.kept.signal().times.happened.t,
        signals: cited,
        cold,
        capped: view.timeline.evicted > 0 || part.len() == CITED_MAX,
    })
}

/// The signals that are cited: all, or the earliest and the last.
fn cite<'a, 'b>(part: &[&'a Candidate<'b>]) -> Vec<&'a Candidate<'b>> {
    match part.split_last() {
        Some((last, rest)) if part.len() > CITED_MAX => {
            rest.iter().take(CITED_MAX - 1).chain([last]).copied().collect()
        }
        _ => part.to_vec(),
    }
}

fn cited(candidate: &Candidate<'_>, necessary: bool) -> Cited {
    let signal = candidate.kept.signal();
    Cited {
        signal: signal.id,
        source: signal.source.clone(),
        kind: signal.kind,
        usage: signal.usage,
        confidence: signal.confidence,
        at: signal.times.happened.t,
        provenance: signal.provenance,
        anomalies: signal.anomalies.clone(),
        entities: signal.entities.clone(),
        record: signal.record,
        necessary,
    }
}

/// Lowers the tier to what the signals can bear, whatever the rule asks for.
fn capped(
    asked: Tier,
    cited: &[Cited],
    cold: bool,
    stopped: bool,
    joined: bool,
) -> (Tier, Vec<String>) {
    let reach =
        |reach: Reach| cited.iter().any(|c| c.usage != Use::Stop && c.kind.reach() == reach);
    let (by_reach, why) = if reach(Reach::Access) {
        (Tier::Evict, "")
    } else if reach(Reach::Lure) {
        (Tier::Challenge, "no cited signal takes the person's credential, session or grant")
    } else {
        (Tier::Observe, "an outsider alone can cause every cited signal")
    };
    let limits = [
        (by_reach, why),
        (if cold { Tier::Challenge } else { Tier::Evict }, "the sign-in history is cold"),
        (if stopped { Tier::Observe } else { Tier::Evict }, "the vendor already stopped it"),
        (if joined { Tier::Observe } else { Tier::Evict }, "the signal may only join others"),
    ];
    let mut tier = asked;
    let mut caps = Vec::new();
    for (limit, why) in limits {
        if limit < asked {
            caps.push(format!("{why}: at most {limit}"));
            tier = tier.min(limit);
        }
    }
    (tier, caps)
}

/// How a finding changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// A new finding.
    Raised(Finding),
    /// The same finding with other content.
    Amended(Finding),
    /// It stands no longer: another one of the same rule took its signals over.
    Superseded(FindingId, FindingId),
    /// It stands no longer.
    Withdrawn(FindingId),
}

/// Compares the findings of one rule and subject in force with those just computed. Findings
/// older than `floor`, whose signals may have left the timeline, stay as they are.
pub fn diff(before: &[&Finding], now: Vec<Finding>, floor: Time) -> Vec<Change> {
    let frozen: Vec<&&Finding> = before.iter().filter(|f| f.first_at < floor).collect();
    let shares = |a: &Finding, b: &Finding| {
        a.signals.iter().any(|s| b.signals.iter().any(|t| t.signal == s.signal))
    };
    let mut changes = Vec::new();
    let now: Vec<Finding> =
        now.into_iter().filter(|f| !frozen.iter().any(|old| shares(old, f))).collect();
    for old in before.iter().filter(|f| f.first_at >= floor) {
        if now.iter().any(|f| f.id == old.id) {
            continue;
        }
        changes.push(match now.iter().find(|f| shares(old, f)) {
            Some(new) => Change::Superseded(old.id, new.id),
            None => Change::Withdrawn(old.id),
        });
    }
    for new in now {
        match before.iter().find(|old| old.id == new.id) {
            Some(old) if **old == new => {}
            Some(_) => changes.push(Change::Amended(new)),
            None => changes.push(Change::Raised(new)),
        }
    }
    changes
}
