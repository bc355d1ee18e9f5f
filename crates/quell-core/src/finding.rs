//! Findings: what the rules state about one subject, as a function of the set of signals in
//! force. The order of arrival does not enter here. The words are those of docs/correlation.md.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::action::Tier;
use crate::history::{Bounds, Kept, Timeline};
use crate::id::{Digest, FindingId, SignalId};
use crate::resolve::{Resolution, Subject};
use crate::rule::{RuleIdx, Rules};
use crate::signal::{Anomaly, Entity, Kind, Provenance, Use};
use crate::time::Time;

mod bench;
mod contained;
mod diff;
mod group;
mod scope;
mod tier;

use bench::{Bench, Candidate};
pub use contained::Containment;
pub use diff::{Change, diff};
pub use scope::{Around, Scope};

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
    /// What its signals agree in beside that, as `group-by` names it: `entity.ip=192.0.2.1`.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub group: Vec<String>,
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

/// The findings of one rule for one subject that lie in the scope, in order of their anchors.
pub fn findings(view: View<'_>, idx: RuleIdx, scope: &Scope) -> Vec<Finding> {
    let Some(bench) = Bench::of(view, idx) else { return Vec::new() };
    let near = bench.near(scope);
    bench.findings(near.iter().filter_map(|key| view.timeline.get(*key)), scope)
}

/// The tier at which a finding still holds when only `accepted` signals count; none when it
/// does not hold. A weak source never borrows the authority of a strong one.
pub fn holds(view: View<'_>, finding: &Finding, accepted: &BTreeSet<SignalId>) -> Option<Tier> {
    let bench = Bench::of(view, view.rules.idx(&finding.rule)?)?;
    let cited = finding.signals.iter().filter(|cited| accepted.contains(&cited.signal));
    let kept = cited.filter_map(|cited| view.timeline.get((cited.at, cited.signal)));
    bench.findings(kept, &Scope::All).into_iter().map(|finding| finding.tier).max()
}

/// True when a rule asks what was seen of the person before.
pub fn asks_unseen(rules: &Rules, rule: &str) -> bool {
    let Some(rule) = rules.idx(rule).and_then(|idx| rules.get(idx)) else { return false };
    let leaves = rule.correlation.iter().flat_map(|correlation| &correlation.leaves);
    let mut all = leaves.filter_map(|leaf| rules.get(*leaf)).chain([rule]);
    all.any(|rule| !rule.novel.is_empty())
}

/// What the findings of a rule can change by signals that came or went: outside of the scope they
/// stay as they are.
pub fn scope(view: View<'_>, idx: RuleIdx, around: Around<'_>) -> Scope {
    Bench::of(view, idx).map_or(Scope::All, |bench| bench.scope(around))
}
