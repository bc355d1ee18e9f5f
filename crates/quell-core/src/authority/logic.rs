//! What one policy's text says while only some facts are known: true, false or open. It decides
//! nothing for the engine: Cedar alone does.

use std::collections::BTreeSet;

use super::words;
use crate::signal::Anomaly;

mod read;

pub(super) use read::condition;

/// One thing that a policy can ask about; the order is that in which a search tries them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Dim {
    Source,
    Class,
    Kind,
    Reach,
    Usage,
    Approvals,
    Tier,
    Resource,
    Sources,
    FindingConfidence,
    Confidence,
    Late,
    Cold,
    DirectoryAge,
    SignalAge,
    Watched,
    CaseState,
    Mode,
    Provenance,
    Precision,
    Rule,
    AttributionWeak,
    KnownScanner,
    MissingMember,
    Dialect,
    Clock,
    LateVerdict,
    UnknownValue,
}

impl Dim {
    pub(super) const ALL: [Self; 28] = [
        Self::Source,
        Self::Class,
        Self::Kind,
        Self::Reach,
        Self::Usage,
        Self::Approvals,
        Self::Tier,
        Self::Resource,
        Self::Sources,
        Self::FindingConfidence,
        Self::Confidence,
        Self::Late,
        Self::Cold,
        Self::DirectoryAge,
        Self::SignalAge,
        Self::Watched,
        Self::CaseState,
        Self::Mode,
        Self::Provenance,
        Self::Precision,
        Self::Rule,
        Self::AttributionWeak,
        Self::KnownScanner,
        Self::MissingMember,
        Self::Dialect,
        Self::Clock,
        Self::LateVerdict,
        Self::UnknownValue,
    ];

    /// The anomalies, the engine's own among them.
    pub(super) const ANOMALIES: [Self; 7] = [
        Self::AttributionWeak,
        Self::KnownScanner,
        Self::MissingMember,
        Self::Dialect,
        Self::Clock,
        Self::LateVerdict,
        Self::UnknownValue,
    ];

    /// Its word in policies: an attribute of the context, or an anomaly.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Class => "class",
            Self::Kind => "kind",
            Self::Reach => "reach",
            Self::Usage => "usage",
            Self::Approvals => "approvals",
            Self::Tier => "tier",
            Self::Resource => "resource",
            Self::Sources => "sources",
            Self::FindingConfidence => "finding_confidence",
            Self::Confidence => "confidence",
            Self::Late => "late",
            Self::Cold => "cold",
            Self::DirectoryAge => "directory_age_s",
            Self::SignalAge => "signal_age_s",
            Self::Watched => "watched",
            Self::CaseState => "case_state",
            Self::Mode => "mode",
            Self::Provenance => "provenance",
            Self::Precision => "precision",
            Self::Rule => "rule",
            Self::AttributionWeak => words::ATTRIBUTION_WEAK,
            Self::KnownScanner => Anomaly::KnownScanner.name(),
            Self::MissingMember => Anomaly::MissingMember.name(),
            Self::Dialect => Anomaly::Dialect.name(),
            Self::Clock => Anomaly::Clock.name(),
            Self::LateVerdict => Anomaly::LateVerdict.name(),
            Self::UnknownValue => Anomaly::UnknownValue.name(),
        }
    }

    fn of_context(name: &str) -> Option<Self> {
        let outside = |dim: &Self| matches!(dim, Self::Source | Self::Class | Self::Resource);
        let mut all = Self::ALL.into_iter().filter(|dim| !outside(dim) && !dim.is_anomaly());
        all.find(|dim| dim.word() == name)
    }

    fn anomaly(name: &str) -> Option<Self> {
        Self::ANOMALIES.into_iter().find(|dim| dim.word() == name)
    }

    pub(super) fn is_anomaly(self) -> bool {
        Self::ANOMALIES.contains(&self)
    }

    pub(super) fn is_number(self) -> bool {
        matches!(
            self,
            Self::Approvals
                | Self::Sources
                | Self::FindingConfidence
                | Self::Confidence
                | Self::DirectoryAge
                | Self::SignalAge
                | Self::Precision
        )
    }

    pub(super) fn is_flag(self) -> bool {
        matches!(self, Self::Late | Self::Cold | Self::Watched) || self.is_anomaly()
    }

    /// Its place in a set of such things.
    pub(super) fn bit(self) -> u64 {
        1_u64 << (self as u32)
    }
}

/// What one thing is.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Val {
    Word(String),
    Number(i64),
    Flag(bool),
    /// `precision` that nothing measured.
    Absent,
    /// An identity that no policy names.
    Person,
    /// An identity or an entity that a policy names: true for an entity.
    Named(bool, String),
    /// An entity of this kind that no policy names.
    Entity(&'static str),
}

/// The facts that are known.
#[derive(Clone, Debug)]
pub(super) struct Known([Option<Val>; 28]);

impl Known {
    pub(super) fn new() -> Self {
        Self([const { None }; 28])
    }

    pub(super) fn with(mut self, dim: Dim, val: Val) -> Self {
        self.set(dim, val);
        self
    }

    pub(super) fn set(&mut self, dim: Dim, val: Val) {
        if let Some(slot) = self.0.get_mut(dim as usize) {
            *slot = Some(val);
        }
    }

    pub(super) fn clear(&mut self, dim: Dim) {
        if let Some(slot) = self.0.get_mut(dim as usize) {
            *slot = None;
        }
    }

    pub(super) fn get(&self, dim: Dim) -> Option<&Val> {
        self.0.get(dim as usize)?.as_ref()
    }
}

/// A condition over the facts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Cond {
    Just(bool),
    /// It is written in a way that cannot be followed: it may hold or not.
    Opaque,
    Not(Box<Cond>),
    All(Vec<Cond>),
    Any(Vec<Cond>),
    If(Box<[Cond; 3]>),
    /// The word is one of these; of `Class` only where the resource is an identity.
    Word(Dim, BTreeSet<String>),
    /// The number lies within, both ends included.
    Within(Dim, i64, i64),
    Holds(Dim),
    /// A precision was measured.
    Measured,
    /// The resource is an identity.
    Person,
    /// The resource is one of these: true for an entity.
    Named(BTreeSet<(bool, String)>),
    /// The resource is an entity of one of these kinds.
    EntityKind(BTreeSet<String>),
}

impl Cond {
    /// The answer, or none while it is open.
    pub(super) fn eval(&self, known: &Known) -> Option<bool> {
        match self {
            Self::Just(answer) => Some(*answer),
            Self::Opaque => None,
            Self::Not(cond) => cond.eval(known).map(|answer| !answer),
            Self::All(conds) => all(conds, known, true),
            Self::Any(conds) => all(conds, known, false),
            Self::If(parts) => {
                let [cond, then, other] = &**parts;
                match cond.eval(known) {
                    Some(true) => then.eval(known),
                    Some(false) => other.eval(known),
                    None => {
                        let (then, other) = (then.eval(known)?, other.eval(known)?);
                        (then == other).then_some(then)
                    }
                }
            }
            Self::Word(Dim::Class, classes) => {
                let named = match known.get(Dim::Class)? {
                    Val::Word(class) => classes.contains(class),
                    _ => return None,
                };
                if named { Self::Person.eval(known) } else { Some(false) }
            }
            Self::Word(dim, list) => match known.get(*dim)? {
                Val::Word(word) => Some(list.contains(word)),
                _ => None,
            },
            Self::Within(dim, from, to) => match known.get(*dim)? {
                Val::Number(number) => Some(from <= number && number <= to),
                Val::Absent => Some(false),
                _ => None,
            },
            Self::Holds(dim) => match known.get(*dim)? {
                Val::Flag(flag) => Some(*flag),
                _ => None,
            },
            Self::Measured => known.get(Dim::Precision).map(|val| *val != Val::Absent),
            Self::Person => match known.get(Dim::Resource)? {
                Val::Person => Some(true),
                Val::Named(entity, _) => Some(!entity),
                _ => Some(false),
            },
            Self::Named(list) if list.is_empty() => Some(false),
            Self::Named(list) => match known.get(Dim::Resource)? {
                Val::Named(entity, id) => Some(list.iter().any(|(e, i)| e == entity && i == id)),
                _ => Some(false),
            },
            Self::EntityKind(kinds) => match known.get(Dim::Resource)? {
                Val::Entity(kind) => Some(kinds.contains(*kind)),
                Val::Named(true, key) => {
                    let kind = key.split_once('=').map_or("", |(kind, _)| kind);
                    Some(kinds.contains(kind))
                }
                _ => Some(false),
            },
        }
    }

    /// Calls with every condition in it, itself first.
    pub(super) fn each<'a>(&'a self, see: &mut impl FnMut(&'a Cond)) {
        see(self);
        match self {
            Self::Not(cond) => cond.each(see),
            Self::All(conds) | Self::Any(conds) => conds.iter().for_each(|cond| cond.each(see)),
            Self::If(parts) => parts.iter().for_each(|cond| cond.each(see)),
            _ => {}
        }
    }

    /// What it asks about.
    pub(super) fn dims(&self) -> u64 {
        let mut bits = 0;
        self.each(&mut |cond| {
            bits |= match cond {
                Self::Word(Dim::Class, _) => Dim::Class.bit() | Dim::Resource.bit(),
                Self::Word(dim, _) | Self::Within(dim, _, _) | Self::Holds(dim) => dim.bit(),
                Self::Measured => Dim::Precision.bit(),
                Self::Person | Self::Named(_) | Self::EntityKind(_) => Dim::Resource.bit(),
                _ => 0,
            }
        });
        bits
    }

    /// The parts that must all hold, flattened.
    pub(super) fn parts(&self) -> Vec<&Cond> {
        match self {
            Self::All(conds) => conds.iter().flat_map(Self::parts).collect(),
            other => vec![other],
        }
    }
}

/// And where `unit`, or where not: the answer that decides ends it, an open part leaves it open.
fn all(conds: &[Cond], known: &Known, unit: bool) -> Option<bool> {
    let mut open = false;
    for cond in conds {
        match cond.eval(known) {
            Some(answer) if answer != unit => return Some(answer),
            Some(_) => {}
            None => open = true,
        }
    }
    (!open).then_some(unit)
}
