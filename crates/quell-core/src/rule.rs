//! Rules as the engine uses them: a view over `quell-rules`, and the one place where a signal
//! becomes the event that rules match.

use std::collections::BTreeMap;
use std::sync::Arc;

use quell_rules::{Category, Event, Field, Matcher, Need, Rule as Parsed, RuleSet};

use crate::action::Tier;
use crate::correlate::Shape;
use crate::id::Digest;
use crate::signal::{EntityKind, Family, Signal, Use};

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
    /// For a correlation: its shape and members in the order listed.
    pub correlation: Option<(Shape, Vec<RuleIdx>)>,
}

/// A rule set in force.
#[derive(Clone, Debug)]
pub struct Rules {
    rules: Vec<Rule>,
    referencing: Vec<Vec<RuleIdx>>,
    set: Arc<RuleSet>,
    matcher: Arc<Matcher>,
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
            referencing.push(set.referencing(idx).to_vec());
            match view(&set, parsed) {
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
        let digest = Digest(set.digest());
        let matcher = Arc::new(Matcher::new(&set));
        Ok(Self { rules, referencing, set: Arc::new(set), matcher, digest })
    }

    /// One rule.
    pub fn get(&self, idx: RuleIdx) -> Option<&Rule> {
        self.rules.get(idx.index())
    }

    /// The place of a rule by its id.
    pub fn idx(&self, id: &str) -> Option<RuleIdx> {
        self.set.idx_of_id(id)
    }

    /// The correlations that reference a rule.
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

fn view(set: &RuleSet, parsed: &Parsed) -> Result<Rule, String> {
    let quell = parsed.quell();
    let ask = quell.ask.as_ref().map(|ask| (tier(ask.tier), ask.confidence));
    let correlation = match parsed {
        Parsed::Detection(_) => None,
        Parsed::Correlation(c) => {
            if c.group_by != ["identity"] {
                return Err("this version groups by `identity` alone: write `group-by: \
                            [identity]`"
                    .to_owned());
            }
            let chained = c
                .members
                .iter()
                .find(|member| matches!(set.get(member.idx), Some(Parsed::Correlation(_))));
            if let Some(member) = chained {
                return Err(format!(
                    "this version does not chain correlations: `{}` is one itself",
                    member.id
                ));
            }
            let ordered = c.kind == quell_rules::CorrelationKind::TemporalOrdered;
            let rules = c.members.len();
            let need = match c.need {
                Need::All => rules,
                Need::AtLeast(n) if !ordered => n,
                Need::AtLeast(_) => {
                    return Err(
                        "`temporal_ordered` needs all its rules: remove `condition`".to_owned()
                    );
                }
            };
            if rules > 64 {
                return Err(format!("a correlation references at most 64 rules, not {rules}"));
            }
            let shape = Shape { ordered, rules, need, span: c.timespan_us };
            Some((shape, c.members.iter().map(|m| m.idx).collect()))
        }
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
        correlation,
    })
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
