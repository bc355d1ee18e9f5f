//! Judging a step: one question for each cited signal and class, the finding computed again from
//! the accepted signals alone, then the guards. Pure: the same state gives the same ruling.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::action::{Action, Tier};
use crate::authority::{Pending, Permit, Question, Resource, Ruling, Verdict, reach_cap};
use crate::desire::{self, Desire};
use crate::directory::Directory;
use crate::finding::{self, Cited, Finding, View};
use crate::id::{FindingId, SignalId};
use crate::identity::{Class, Identity};
use crate::order::On;
use crate::policy::Policy;
use crate::precision::Precision;
use crate::resolve::Resolution;
use crate::signal::{Reach, Signal, Use};
use crate::time::{HOUR, SECOND, Time};

/// Everything that a ruling depends on.
#[derive(Clone)]
pub struct Court<'a> {
    /// The policy in force.
    pub policy: &'a Policy,
    /// The directory in force.
    pub directory: &'a Directory,
    /// Now.
    pub at: Time,
    /// The state of the case, by name.
    pub case_state: &'a str,
    /// The subject stands on a watchlist.
    pub watched: bool,
    /// What closed cases say of sources and kinds.
    pub precision: &'a Precision,
    /// The sources that may have missed something.
    pub blind: BTreeSet<&'a str>,
}

impl std::fmt::Debug for Court<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Court").field("at", &self.at).finish_non_exhaustive()
    }
}

/// What came out, with the ground for the evidence.
#[derive(Debug)]
pub struct Judgement {
    /// The outcome.
    pub sentence: Sentence,
    /// Why, one sentence.
    pub reason: String,
    /// The findings that carry it, sorted.
    pub findings: Vec<FindingId>,
    /// Sources whose signals were accepted: all must be armed.
    pub sources: BTreeSet<String>,
    /// The classes that were asked for.
    pub classes: BTreeSet<Class>,
    /// Questions and verdicts, for the evidence record.
    pub ground: Value,
}

/// What may be done.
#[derive(Debug)]
pub enum Sentence {
    /// It may be done now.
    Permitted(Permit),
    /// It may be done when people approved.
    NeedsApproval(Pending),
    /// It may not be done.
    Refused,
}

/// How many findings are judged for one step at most.
const DOCKET_MAX: usize = 64;

/// Judges one step over the findings that ask for it: the mildest ruling wins.
pub fn judge(
    court: &Court<'_>,
    view: View<'_>,
    findings: &BTreeMap<FindingId, &Finding>,
    action: Action,
    on: &On,
    desire: &Desire,
) -> Judgement {
    let mut best: Option<Judgement> = None;
    let all = desire.findings.iter().filter_map(|id| findings.get(id).copied());
    for finding in docket(all) {
        if best.as_ref().is_some_and(|best| rank(&best.sentence) == 0) {
            break;
        }
        let mut judgement = match guard(court, finding, action, on) {
            Some(why) => refused(why, finding, desire::classes(court.directory, finding)),
            None => ask(court, view, finding, action, on, desire.floor > 0),
        };
        judgement.findings = vec![finding.id];
        best = Some(match best {
            None => judgement,
            Some(old) if rank(&old.sentence) <= rank(&judgement.sentence) => old,
            Some(_) => judgement,
        });
    }
    let mut judgement = best.unwrap_or_else(Judgement::baseless);
    if let Some(source) = blind(court, view, findings, &judgement)
        && action.group() > Tier::Observe
    {
        judgement = demand(judgement, 1, &format!("blind({source}): it may have missed something"));
    }
    if desire.floor > 0 && action.group() > Tier::Observe {
        let why: Vec<&str> = desire.why.iter().map(String::as_str).collect();
        judgement = demand(judgement, desire.floor, &why.join("; "));
    }
    judgement
}

/// A source that the judged findings need and that may have missed something: one that speaks in
/// them, or for a rule on unseen traits one that tells of the person's sign-ins.
fn blind<'a>(
    court: &Court<'a>,
    view: View<'_>,
    findings: &BTreeMap<FindingId, &Finding>,
    judgement: &Judgement,
) -> Option<&'a str> {
    if court.blind.is_empty() {
        return None;
    }
    let findings = judgement.findings.iter().filter_map(|id| findings.get(id));
    let mut needed: BTreeSet<&str> = BTreeSet::new();
    for finding in findings {
        needed.extend(finding.signals.iter().map(|cited| cited.source.as_str()));
        if finding::asks_unseen(view.rules, &finding.rule) {
            needed.extend(view.timeline.sign_in_sources());
        }
    }
    court.blind.iter().copied().find(|source| needed.contains(source))
}

impl Judgement {
    /// Of a step that no finding in force asks for.
    pub fn baseless() -> Self {
        Self {
            sentence: Sentence::Refused,
            reason: "no finding in force asks for it".to_owned(),
            findings: Vec::new(),
            sources: BTreeSet::new(),
            classes: BTreeSet::new(),
            ground: Value::Null,
        }
    }
}

/// The findings that are judged: the strongest first, then the latest.
fn docket<'a>(findings: impl Iterator<Item = &'a Finding>) -> Vec<&'a Finding> {
    let mut all: Vec<&Finding> = findings.collect();
    all.sort_by_key(|f| std::cmp::Reverse((f.tier, f.confidence, f.last_at, f.id)));
    all.truncate(DOCKET_MAX);
    all
}

/// Turns leave to act into leave after approval.
pub fn demand(judgement: Judgement, approvals: u32, why: &str) -> Judgement {
    let least = u8::try_from(approvals).unwrap_or(u8::MAX).max(1);
    let pending = match judgement.sentence {
        Sentence::Permitted(permit) => Pending {
            action: permit.action(),
            on: permit.on().to_owned(),
            policies: permit.policies().to_vec(),
            digest: permit.digest(),
            approvals: least,
            ttl: permit.ttl(),
        },
        Sentence::NeedsApproval(pending) => {
            Pending { approvals: pending.approvals.max(least), ..pending }
        }
        Sentence::Refused => return judgement,
    };
    let reason = format!("{why}: {} approval(s) needed", pending.approvals);
    Judgement { sentence: Sentence::NeedsApproval(pending), reason, ..judgement }
}

fn rank(sentence: &Sentence) -> u8 {
    match sentence {
        Sentence::Permitted(_) => 0,
        Sentence::NeedsApproval(pending) => pending.approvals,
        Sentence::Refused => u8::MAX,
    }
}

/// What no policy can permit.
fn guard(court: &Court<'_>, finding: &Finding, action: Action, on: &On) -> Option<String> {
    let classes = desire::classes(court.directory, finding);
    if classes.contains(&Class::BreakGlass) {
        return Some("a break-glass account is never acted on".to_owned());
    }
    match on {
        On::Account(account) => {
            if let Some(why) = court.policy.protected.account(&account.provider, &account.id) {
                return Some(format!("`{account}` is protected: {why}"));
            }
            let glass = |owner: &Identity| {
                court.directory.classes(owner.id, finding.first_at).contains(&Class::BreakGlass)
            };
            if court.directory.owners(account).any(glass) {
                return Some(format!("`{account}` is a break-glass account: never acted on"));
            }
        }
        On::Entity(entity) => {
            if let Some(why) = court.policy.protected.entity(entity.kind, &entity.value) {
                return Some(format!("`{}` is protected: {why}", entity.value));
            }
        }
    }
    let resolved = finding.resolution == Resolution::Resolved;
    if !resolved && action.group() > Tier::Observe {
        return Some("it is not known whose account this is".to_owned());
    }
    let bears = reach_cap(finding.signals.iter().map(|c| (c.kind, c.usage == Use::Stop)));
    let most = if finding.caps.is_empty() { bears } else { finding.tier.min(bears) };
    if action.group() > most {
        return Some(format!("the cited signals bear `{most}` at most"));
    }
    None
}

fn refused(reason: String, finding: &Finding, classes: BTreeSet<Class>) -> Judgement {
    Judgement {
        sentence: Sentence::Refused,
        ground: json!({ "guard": reason }),
        reason,
        findings: vec![finding.id],
        sources: BTreeSet::new(),
        classes,
    }
}

/// Asks authority for one finding. How many sources speak in it is what the accepted signals make
/// true: where they are fewer than was said, it is asked again with fewer.
fn ask(
    court: &Court<'_>,
    view: View<'_>,
    finding: &Finding,
    action: Action,
    on: &On,
    escalated: bool,
) -> Judgement {
    let all: BTreeSet<&str> = finding.signals.iter().map(|c| c.source.as_str()).collect();
    let mut sources = all.len();
    loop {
        let judgement = ask_as(court, view, finding, action, on, escalated, sources);
        match judgement.sentence {
            Sentence::Permitted(_) | Sentence::NeedsApproval(_)
                if judgement.sources.len() < sources =>
            {
                sources = judgement.sources.len();
            }
            _ => return judgement,
        }
    }
}

/// [`ask`] as if so many sources spoke.
fn ask_as(
    court: &Court<'_>,
    view: View<'_>,
    finding: &Finding,
    action: Action,
    on: &On,
    escalated: bool,
    sources: usize,
) -> Judgement {
    let classes = match on {
        On::Account(_) => desire::classes(court.directory, finding),
        On::Entity(_) => BTreeSet::new(),
    };
    let all = desire::classes(court.directory, finding);
    let threat_alive = is_alive(finding, view, court.at);
    let authority = &court.policy.authority;
    let asked: Vec<(&Cited, Question, Verdict)> = finding
        .signals
        .iter()
        .map(|cited| {
            let question = question(court, finding, cited, action, on, threat_alive, sources);
            let verdict = authority.ask_classes(&question, &classes);
            (cited, question, verdict)
        })
        .collect();
    let ground = ground(&asked, court);
    let mut why = String::new();
    for approvals in 0..=crate::authority::APPROVALS_MAX {
        let within = |verdict: &Verdict| match verdict {
            Verdict::Permit { approvals: needed, .. } => *needed <= approvals,
            Verdict::Deny { .. } | Verdict::Error { .. } => false,
        };
        let accepted: BTreeSet<SignalId> =
            asked.iter().filter(|(_, _, v)| within(v)).map(|(c, _, _)| c.signal).collect();
        let tier = finding::holds(view, finding, &accepted);
        let bears = |tier: Tier| {
            let listed = court.policy.tiers.actions(tier, &all).contains(&action);
            let kinds = finding.signals.iter().filter(|c| accepted.contains(&c.signal));
            let reach = reach_cap(kinds.map(|c| (c.kind, c.usage == Use::Stop)));
            (listed || escalated && tier >= finding.tier) && action.group() <= reach
        };
        if !tier.is_some_and(bears) {
            why = match tier {
                None if accepted.is_empty() => denial(&asked),
                None => "without the signals that were not accepted the finding does not hold"
                    .to_owned(),
                Some(tier) => format!("the accepted signals bear `{tier}` at most"),
            };
            continue;
        }
        let questions: Vec<Question> = asked
            .iter()
            .filter(|(c, _, _)| accepted.contains(&c.signal))
            .map(|(_, q, _)| q.clone())
            .collect();
        let sources = questions.iter().map(|q| q.source.clone()).collect();
        let (sentence, reason) = sentence(authority.rule(&questions, &classes));
        let findings = vec![finding.id];
        return Judgement { sentence, reason, findings, sources, classes, ground };
    }
    Judgement {
        sentence: Sentence::Refused,
        reason: why,
        findings: vec![finding.id],
        sources: BTreeSet::new(),
        classes,
        ground,
    }
}

/// What a ruling means for the step, with its reason.
fn sentence(ruling: Ruling) -> (Sentence, String) {
    match ruling {
        Ruling::Permitted(permit) => {
            let reason = format!("permitted by {}", permit.policies().join(", "));
            (Sentence::Permitted(permit), reason)
        }
        Ruling::NeedsApproval(pending) => {
            let policies = pending.policies.join(", ");
            let reason = format!("{policies} ask for {} approval(s)", pending.approvals);
            (Sentence::NeedsApproval(pending), reason)
        }
        Ruling::Refused(verdict) => (Sentence::Refused, refusal(&verdict)),
    }
}

fn denial(asked: &[(&Cited, Question, Verdict)]) -> String {
    let first = asked.iter().map(|(_, _, verdict)| refusal(verdict)).next();
    first.unwrap_or_else(|| "nothing was asked".to_owned())
}

fn refusal(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Permit { .. } => "permitted".to_owned(),
        Verdict::Deny { reason, .. } => reason.clone(),
        Verdict::Error { message } => format!("authority could not judge: {message}"),
    }
}

fn ground(asked: &[(&Cited, Question, Verdict)], court: &Court<'_>) -> Value {
    let rows: Vec<Value> = asked
        .iter()
        .map(|(cited, question, verdict)| {
            json!({ "signal": cited.signal, "question": question, "verdict": verdict })
        })
        .collect();
    json!({ "asked": rows, "policy": court.policy.digest.to_string() })
}

fn question(
    court: &Court<'_>,
    finding: &Finding,
    cited: &Cited,
    action: Action,
    on: &On,
    threat_alive: bool,
    sources: usize,
) -> Question {
    let resource = match on {
        On::Account(_) => Resource::Identity(finding.subject.to_string()),
        On::Entity(entity) => Resource::Entity(entity.clone()),
    };
    let old = court.at.since(cited.at) > court.policy.limits.act_within;
    Question {
        source: cited.source.clone(),
        action,
        resource,
        class: None,
        kind: cited.kind,
        usage: cited.usage,
        confidence: cited.confidence,
        provenance: cited.provenance,
        anomalies: cited.anomalies.iter().copied().collect(),
        attribution_weak: false,
        rule: finding.rule.clone(),
        tier: finding.tier,
        finding_confidence: Some(finding.confidence),
        sources: u32::try_from(sources).unwrap_or(u32::MAX),
        signal_age_s: court.at.since(cited.at) / SECOND,
        directory_age_s: court.at.since(court.directory.head().as_of) / SECOND,
        watched: court.watched,
        case_state: court.case_state.to_owned(),
        mode: court.policy.armed.mode,
        cold: finding.cold,
        late: old && !threat_alive,
        precision: court.precision.of(&cited.source, cited.kind, court.at).map(|p| p.percent),
    }
}

/// True when a signal of the last hour came from the same session or address as an access
/// signal of the finding: then an old signal may still be acted on.
fn is_alive(finding: &Finding, view: View<'_>, at: Time) -> bool {
    use crate::signal::EntityKind as K;
    let trait_of = |kind: K| matches!(kind, K::Session | K::Ip);
    let held: BTreeSet<_> = finding
        .signals
        .iter()
        .filter(|c| c.kind.reach() == Reach::Access)
        .flat_map(|c| &c.entities)
        .filter(|e| trait_of(e.kind))
        .collect();
    let shares = |signal: &Signal| signal.entities.iter().any(|e| held.contains(e));
    let mut recent = view.timeline.since(at.plus(-HOUR)).map(|kept| kept.signal());
    recent.any(|signal| signal.kind.reach() == Reach::Access && shares(signal))
}
