//! Rules as the engine uses them: a view over `quell-rules`, and the one place where a signal
//! becomes the event that rules match.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use quell_rules::{
    Category, CorrelationKind, Event, Field, Matcher, Need, Rule as Parsed, RuleSet,
};

use crate::action::Tier;
use crate::correlate::{Form, Shape};
use crate::finding::CITED_MAX;
use crate::history::Kinds;
use crate::id::Digest;
use crate::signal::{EntityKind, Family, Reach, Signal, Use};

pub use quell_rules::Measure;
pub use quell_rules::NovelTrait as Novel;
pub use quell_rules::RuleIdx;

/// One rule.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The Sigma `id`.
    pub id: String,
    /// One line for people.
    pub title: String,
    /// The tier and confidence that it asks for; none for a building block.
    pub ask: Option<(Tier, u8)>,
    /// Why the response is proportionate.
    pub rationale: String,
    /// Items of published frameworks: framework, then items.
    pub frameworks: BTreeMap<String, Vec<String>>,
    /// Traits that must all be unseen for the identity before the event.
    pub novel: Vec<Novel>,
    /// True when what the person's sign-ins show can change its findings: it asks for unseen
    /// traits, or may match a lure, which counts as far as it is the person's.
    pub history: bool,
    /// What a correlation looks for; none for a detection.
    pub correlation: Option<Arc<Correlation>>,
}

/// What a correlation looks for among the signals of one identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Correlation {
    /// What must be in a window.
    pub shape: Shape,
    /// The referenced rules in the order listed, 1 to 64.
    pub members: Vec<Member>,
    /// What signals must agree in beside the identity, as `group-by` names it.
    pub keys: Vec<String>,
    /// For a `value_count`, what it counts the different values of.
    pub measure: Option<Measure>,
    /// The detections that it rests on, through other correlations too; each once, 1 to 64.
    pub leaves: Vec<RuleIdx>,
    /// The kinds of entity that hold its first key in all of its signals, so that a signal can only
    /// change findings of the values that it names; nothing where there is no such key.
    pub first: Vec<EntityKind>,
}

/// One rule that a correlation references.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The rule.
    pub rule: RuleIdx,
    /// What holds the key in its signals: one for each of the correlation's keys.
    pub keys: Vec<EntityKind>,
}

/// A rule set in force.
#[derive(Clone, Debug)]
pub struct Rules {
    rules: Vec<Rule>,
    referencing: Vec<Vec<RuleIdx>>,
    set: Arc<RuleSet>,
    matcher: Arc<Matcher>,
    /// The kinds of entity that hold first keys of correlations.
    pub keyed: Kinds,
    /// SHA-256 over the canonical sorted content.
    pub digest: Digest,
}

/// Why a well-formed rule cannot be used by this engine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {what}")]
pub struct Unusable {
    /// The file.
    pub file: String,
    /// The line of the rule's first key, from 1.
    pub line: u32,
    /// Why, with the remedy.
    pub what: String,
}

impl Rules {
    /// Takes a parsed set; the caller has refused sets with parse errors.
    ///
    /// # Errors
    /// [`Unusable`] for each rule whose shape the engine does not evaluate, and for values of
    /// `kind` that are not on the closed list.
    pub fn new(set: RuleSet) -> Result<Self, Vec<Unusable>> {
        let kinds: Vec<&str> = crate::signal::Kind::ALL.iter().map(|k| k.name()).collect();
        let mut errors: Vec<Unusable> = set
            .unknown_values("kind", &kinds)
            .into_iter()
            .map(|e| {
                let what = format!("{}: {}", e.fault(), e.help());
                Unusable { file: e.file().to_owned(), line: e.line(), what }
            })
            .collect();
        let mut rules = Vec::new();
        let mut referencing = Vec::new();
        for (idx, parsed) in set.iter() {
            referencing.push(resting(&set, idx));
            match view(&set, idx, parsed) {
                Ok(rule) => rules.push(rule),
                Err(what) => {
                    let meta = parsed.meta();
                    errors.push(Unusable { file: meta.file.clone(), line: meta.line, what });
                }
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let mut keyed = Kinds::default();
        let firsts = rules.iter().filter_map(|rule: &Rule| rule.correlation.as_ref());
        firsts.flat_map(|c| &c.first).for_each(|kind| keyed.add(*kind));
        let digest = Digest(set.digest());
        let matcher = Arc::new(Matcher::new(&set));
        Ok(Self { rules, referencing, set: Arc::new(set), matcher, keyed, digest })
    }

    /// One rule.
    pub fn get(&self, idx: RuleIdx) -> Option<&Rule> {
        self.rules.get(idx.index())
    }

    /// The place of a rule by its id.
    pub fn idx(&self, id: &str) -> Option<RuleIdx> {
        self.set.idx_of_id(id)
    }

    /// The correlations that rest on a rule, directly or through others, sorted.
    pub fn referencing(&self, idx: RuleIdx) -> &[RuleIdx] {
        self.referencing.get(idx.index()).map(Vec::as_slice).unwrap_or_default()
    }

    /// Every rule with its place, in id order.
    pub fn iter(&self) -> impl Iterator<Item = (RuleIdx, &Rule)> {
        self.set.iter().zip(&self.rules).map(|((idx, _), rule)| (idx, rule))
    }

    /// The places of the detections that a signal matches, sorted. Pure; runs on any core.
    pub fn matches(&self, signal: &Signal) -> Vec<RuleIdx> {
        self.matcher.match_event(&event(signal))
    }

    /// The same as ids, for the journal.
    pub fn match_ids(&self, signal: &Signal) -> Vec<String> {
        let places = self.matches(signal);
        places.iter().filter_map(|idx| self.get(*idx)).map(|rule| rule.id.clone()).collect()
    }
}

fn view(set: &RuleSet, idx: RuleIdx, parsed: &Parsed) -> Result<Rule, String> {
    let quell = parsed.quell();
    let ask = quell.ask.as_ref().map(|ask| (tier(ask.tier), ask.confidence));
    let correlation = match parsed {
        Parsed::Detection(_) => None,
        Parsed::Correlation(parsed) => Some(Arc::new(correlation(set, idx, parsed)?)),
    };
    let items = [
        ("attack", &quell.frameworks.attack),
        ("csf", &quell.frameworks.csf),
        ("nhi", &quell.frameworks.nhi),
        ("maestro", &quell.frameworks.maestro),
    ];
    let frameworks = items
        .into_iter()
        .filter(|(_, list)| !list.is_empty())
        .map(|(name, list)| {
            let text = |item: &quell_rules::FrameworkItem| {
                format!("{} {}", item.id, item.wording).trim().to_owned()
            };
            (name.to_owned(), list.iter().map(text).collect())
        })
        .collect();
    Ok(Rule {
        id: parsed.id().to_owned(),
        title: parsed.meta().title.clone(),
        ask,
        rationale: quell.rationale.clone(),
        frameworks,
        novel: quell.novel.clone(),
        history: asks_history(set, parsed),
        correlation,
    })
}

fn asks_history(set: &RuleSet, rule: &Parsed) -> bool {
    match rule {
        Parsed::Detection(detection) => {
            let lure = |kind: &String| {
                let kind = kind.parse::<crate::signal::Kind>();
                kind.is_ok_and(|kind| kind.reach() == Reach::Lure)
            };
            let kinds = detection.kinds.as_ref();
            !detection.quell.novel.is_empty() || kinds.is_none_or(|kinds| kinds.iter().any(lure))
        }
        Parsed::Correlation(correlation) => {
            let mut members = correlation.members.iter().filter_map(|m| set.get(m.idx));
            members.any(|member| asks_history(set, member))
        }
    }
}

/// The correlations that rest on a rule, directly or through others, sorted.
fn resting(set: &RuleSet, idx: RuleIdx) -> Vec<RuleIdx> {
    let mut found: BTreeSet<RuleIdx> = BTreeSet::new();
    let mut open = vec![idx];
    while let Some(next) = open.pop() {
        open.extend(set.referencing(next).iter().filter(|idx| found.insert(**idx)));
    }
    found.into_iter().collect()
}

/// The detections that a rule rests on, in the order listed, each once; and how many signals are
/// enough to make it true. None where more than `depth` correlations rest on each other.
fn leaves(set: &RuleSet, idx: RuleIdx, depth: usize, found: &mut Vec<RuleIdx>) -> Option<usize> {
    let Some(Parsed::Correlation(parsed)) = set.get(idx) else {
        if !found.contains(&idx) {
            found.push(idx);
        }
        return Some(1);
    };
    let depth = depth.checked_sub(1)?;
    let each = parsed.members.iter().map(|m| leaves(set, m.idx, depth, found));
    let each: Vec<usize> = each.collect::<Option<_>>()?;
    let most = each.iter().copied().max().unwrap_or(1);
    Some(match parsed.need {
        Need::All => each.iter().fold(0, |sum, each| each.saturating_add(sum)),
        Need::AtLeast(n) | Need::Events(n) | Need::Values(_, n) => n.saturating_mul(most),
    })
}

fn correlation(
    set: &RuleSet,
    idx: RuleIdx,
    parsed: &quell_rules::Correlation,
) -> Result<Correlation, String> {
    let identity = parsed.group_by.iter().position(|key| key == "identity");
    let Some(identity) = identity else {
        return Err("signals of strangers would join: add `identity` to `group-by`".to_owned());
    };
    let others = |n: &usize| *n != identity;
    let keys = (0..parsed.group_by.len()).filter(others);
    let keys: Vec<String> = keys.filter_map(|n| parsed.group_by.get(n).cloned()).collect();
    let mut members = Vec::new();
    for member in &parsed.members {
        let mut own = Vec::new();
        for key in (0..member.keys.len()).filter(others).filter_map(|n| member.keys.get(n)) {
            match key {
                quell_rules::Subject::Entity(kind) => own.push(own_kind(*kind)),
                quell_rules::Subject::Identity => {
                    return Err("`identity` stands twice in `group-by`".to_owned());
                }
            }
        }
        members.push(Member { rule: member.idx, keys: own });
    }
    let mut all = Vec::new();
    let Some(signals) = leaves(set, idx, DEPTH_MAX, &mut all) else {
        return Err(format!("more than {DEPTH_MAX} correlations rest on each other: chain fewer"));
    };
    let (form, measure) = match &parsed.need {
        Need::All if parsed.kind == CorrelationKind::TemporalOrdered => (Form::Ordered, None),
        Need::All => (Form::Any(members.len()), None),
        Need::AtLeast(n) => (Form::Any(*n), None),
        Need::Events(n) => (Form::Events(*n), None),
        Need::Values(measure, n) => (Form::Values(*n), Some(measure.clone())),
    };
    if all.len() > LEAVES_MAX || members.len() > LEAVES_MAX {
        return Err(format!("it rests on more than {LEAVES_MAX} detections: correlate fewer"));
    }
    if signals > CITED_MAX {
        return Err(format!(
            "it needs {signals} signals at once, and a finding cites {CITED_MAX}: count fewer"
        ));
    }
    let shape = Shape { form, rules: members.len(), span: parsed.timespan_us };
    let first = first_kinds(set, parsed).unwrap_or_default();
    Ok(Correlation { shape, members, keys, measure, leaves: all, first })
}

/// The kinds that hold the first key beside the identity, where the correlations that it rests on
/// have the same one.
fn first_kinds(set: &RuleSet, parsed: &quell_rules::Correlation) -> Option<Vec<EntityKind>> {
    let place = parsed.group_by.iter().position(|key| key != "identity")?;
    let mut all: BTreeSet<EntityKind> = BTreeSet::new();
    for member in &parsed.members {
        let Some(quell_rules::Subject::Entity(kind)) = member.keys.get(place) else { return None };
        let kind = own_kind(*kind);
        if let Some(Parsed::Correlation(nested)) = set.get(member.idx)
            && first_kinds(set, nested)? != [kind]
        {
            return None;
        }
        all.insert(kind);
    }
    Some(all.into_iter().collect())
}

/// How many correlations may rest on each other, the outermost counted: each is evaluated within
/// the next, so that their work multiplies.
const DEPTH_MAX: usize = 4;

/// How many detections one correlation may rest on.
const LEAVES_MAX: usize = 64;

/// The kind of entity that rules name so.
pub(crate) fn own_kind(kind: quell_rules::EntityKind) -> EntityKind {
    use quell_rules::EntityKind as K;
    match kind {
        K::Sender => EntityKind::Sender,
        K::Domain => EntityKind::Domain,
        K::Url => EntityKind::Url,
        K::Ip => EntityKind::Ip,
        K::Session => EntityKind::Session,
        K::Device => EntityKind::Device,
        K::Message => EntityKind::Message,
        K::OauthApp => EntityKind::OauthApp,
        K::UserAgent => EntityKind::UserAgent,
        K::Threat => EntityKind::Threat,
        K::Campaign => EntityKind::Campaign,
    }
}

fn tier(tier: quell_rules::Tier) -> Tier {
    match tier {
        quell_rules::Tier::Observe => Tier::Observe,
        quell_rules::Tier::Challenge => Tier::Challenge,
        quell_rules::Tier::Contain => Tier::Contain,
        quell_rules::Tier::Evict => Tier::Evict,
    }
}

/// The event that rules match: the signal's own fields, no context.
fn event(signal: &Signal) -> Event<'_> {
    let mut event = Event::new(match signal.kind.family() {
        Family::Mail => Category::Mail,
        Family::Identity => Category::Identity,
        Family::NonHuman => Category::NonHuman,
        Family::Any => Category::Any,
    });
    event.push(Field::Kind, signal.kind.name());
    event.push(Field::Use, signal.usage.name());
    event.push(Field::Source, signal.source.as_str());
    if let Some(confidence) = signal.confidence.filter(|_| signal.usage != Use::Fact) {
        event.push(Field::Confidence, confidence);
    }
    if let Some(about) = signal.about.first() {
        event.push(Field::Subject, about.value.as_str());
    }
    for anomaly in &signal.anomalies {
        event.push(Field::Anomaly, anomaly.name());
    }
    for entity in &signal.entities {
        event.push(Field::Entity(entity_kind(entity.kind)), entity.value.as_str());
    }
    for (name, value) in &signal.attributes {
        event.push(Field::Attr(name), value.as_str());
    }
    event
}

fn entity_kind(kind: EntityKind) -> quell_rules::EntityKind {
    use quell_rules::EntityKind as K;
    match kind {
        EntityKind::Sender => K::Sender,
        EntityKind::Domain => K::Domain,
        EntityKind::Url => K::Url,
        EntityKind::Ip => K::Ip,
        EntityKind::Session => K::Session,
        EntityKind::Device => K::Device,
        EntityKind::Message => K::Message,
        EntityKind::OauthApp => K::OauthApp,
        EntityKind::UserAgent => K::UserAgent,
        EntityKind::Threat => K::Threat,
        EntityKind::Campaign => K::Campaign,
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    /// A chain of so many correlations, each over the two rules before it: every step multiplies
    /// the ways down to the two detections at its end.
    fn check(steps: usize, expected: &Expect) {
        let rule = |n: usize, body: &str| {
            format!(
                "---\ntitle: Step {n}\nid: 00000000-0000-4000-8000-{n:012}\nname: step_{n}\n\
                 status: test\ndescription: d\nauthor: Quell\ndate: 2026-11-25\nlevel: low\n{body}"
            )
        };
        let click = "logsource:\n  product: quell\ndetection:\n  selection:\n    \
                     kind: url_click\n  condition: selection\n";
        let chain = |n: usize| {
            format!(
                "correlation:\n  type: temporal\n  rules:\n    - step_{}\n    - step_{}\n  \
                 group-by:\n    - identity\n  timespan: 1h\n  condition:\n    gte: 1\n\
                 quell:\n  tier: observe\n  confidence: 1\n  subject: identity\n  rationale: r\n",
                n - 1,
                n - 2
            )
        };
        let ends = [rule(0, click), rule(1, click)];
        let text: String =
            ends.into_iter().chain((2..steps + 2).map(|n| rule(n, &chain(n)))).collect();
        let (set, errors) = RuleSet::parse(&[("chain.yml", &text)]);
        assert!(errors.is_empty(), "{errors:?}");
        let said = match Rules::new(set) {
            Ok(rules) => format!("{} rules", rules.iter().count()),
            Err(errors) => {
                let whats: BTreeSet<&str> = errors.iter().map(|e| e.what.as_str()).collect();
                let whats: Vec<&str> = whats.into_iter().collect();
                format!("{} refused: {}", errors.len(), whats.join("; "))
            }
        };
        expected.assert_eq(&said);
    }

    /// Each correlation is evaluated within the next, so that a long chain would never come to an
    /// end, neither at load nor at work.
    #[test]
    fn few_correlations_rest_on_each_other() {
        check(4, &expect!["6 rules"]);
        check(
            5,
            &expect![[r#"
            1 refused: more than 4 correlations rest on each other: chain fewer"#]],
        );
        check(
            40,
            &expect![[r#"
            36 refused: more than 4 correlations rest on each other: chain fewer"#]],
        );
    }
}
