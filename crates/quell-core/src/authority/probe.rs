//! The widest answer that the policies can give to one kind of question, over all facts that are
//! not fixed. A search over the conditions of the text; Cedar confirms what it finds.

use std::collections::{BTreeMap, BTreeSet};

use cedar_policy::Effect;

use super::logic::{Cond, Dim, Known, Val, condition};
use super::{Question, Resource, Set, Slice, Verdict, words};
use crate::action::{Action, Tier};
use crate::identity::Class;
use crate::policy::Mode;
use crate::signal::{Anomaly, Entity, EntityKind, Kind, Provenance, Use};

/// Facts tried in one search at most; beyond it the answer is taken to be the widest.
const TRIES_MAX: u32 = 20_000;

/// The most sources that one finding can cite: one for each of its signals.
const SOURCES_MAX: i64 = 64;

/// A year and more: no fact is older.
const AGE_MAX: i64 = 4_000_000_000;

/// An event may lie some minutes ahead of us.
const AGE_MIN: i64 = -3_600;

/// The kinds of entity that can be watched.
const WATCHED: [EntityKind; 4] =
    [EntityKind::Sender, EntityKind::Domain, EntityKind::Url, EntityKind::OauthApp];

/// One policy as conditions.
#[derive(Clone, Debug)]
pub(super) struct Form {
    pub(super) id: String,
    pub(super) cond: Cond,
    dims: u64,
}

impl Form {
    /// True when it asks about this.
    pub(super) fn asks(&self, dim: Dim) -> bool {
        self.dims & dim.bit() != 0
    }
}

/// The policies that can apply to one action.
#[derive(Debug)]
pub(super) struct Sheet {
    pub(super) action: Action,
    pub(super) permits: Vec<Form>,
    pub(super) forbids: Vec<Form>,
    edges: BTreeMap<Dim, BTreeSet<i64>>,
    rules: BTreeSet<String>,
    named: BTreeSet<(bool, String)>,
}

/// A way in which it is permitted.
#[derive(Clone, Debug)]
pub(super) struct Way {
    /// The facts of the best case.
    pub(super) known: Known,
    /// False where the text could not be followed, and it is taken to permit.
    pub(super) exact: bool,
    /// Ids of the determining policies, sorted.
    pub(super) policies: Vec<String>,
    /// The shortest `@ttl` among them, microseconds.
    pub(super) ttl: Option<i64>,
}

impl Sheet {
    /// Reads the policies of an action.
    pub(super) fn of(action: Action, slice: &Slice) -> Self {
        let mut sheet = Self {
            action,
            permits: Vec::new(),
            forbids: Vec::new(),
            edges: BTreeMap::new(),
            rules: BTreeSet::new(),
            named: BTreeSet::new(),
        };
        let mut policies: Vec<_> = slice.policies.policies().collect();
        policies.sort_by_key(|policy| policy.id().to_string());
        for policy in policies {
            let cond = match policy.to_pst() {
                Ok(syntax) => condition(syntax.body(), action),
                Err(_) => Cond::Opaque,
            };
            sheet.note(&cond);
            let form = Form { id: policy.id().to_string(), dims: cond.dims(), cond };
            match policy.effect() {
                Effect::Permit => sheet.permits.push(form),
                Effect::Forbid => sheet.forbids.push(form),
            }
        }
        sheet
    }

    /// Remembers what a condition compares with.
    fn note(&mut self, cond: &Cond) {
        cond.each(&mut |cond| match cond {
            Cond::Within(dim, from, to) => {
                let edges = self.edges.entry(*dim).or_default();
                for edge in [*from, *to].into_iter().filter(|n| *n != i64::MIN && *n != i64::MAX) {
                    edges.extend([edge.saturating_sub(1), edge, edge.saturating_add(1)]);
                }
            }
            Cond::Word(Dim::Rule, rules) => self.rules.extend(rules.iter().cloned()),
            Cond::Named(list) => self.named.extend(list.iter().cloned()),
            _ => {}
        });
    }

    /// Finds facts under which it is permitted, the likeliest first; none when there are none.
    pub(super) fn find(&self, set: &Set, tiers: &[Tier], fixed: &Known) -> Option<Way> {
        let mut known = fixed.clone();
        let mut left = TRIES_MAX;
        let followed = self.search(tiers, &mut known, &mut left)?;
        self.fill(tiers, &mut known);
        let verdict = self.confirm(set, &known);
        let (exact, policies, ttl) = match verdict {
            Some(Verdict::Permit { ttl, policies, .. }) => (followed, policies, ttl),
            _ => (false, self.open_permits(fixed), None),
        };
        Some(Way { known, exact, policies, ttl })
    }

    /// The same policies with one permit, and those forbids alone that ask about approvals.
    pub(super) fn alone(&self, permit: &Form) -> Self {
        let forbids = self.forbids.iter().filter(|form| form.asks(Dim::Approvals));
        Self {
            action: self.action,
            permits: vec![permit.clone()],
            forbids: forbids.cloned().collect(),
            edges: self.edges.clone(),
            rules: self.rules.clone(),
            named: self.named.clone(),
        }
    }

    /// True when some facts permit it, as far as the text tells: false where it is unclear.
    pub(super) fn can(&self, fixed: &Known) -> Option<bool> {
        self.search(Tier::ALL, &mut fixed.clone(), &mut { TRIES_MAX })
    }

    /// True when the facts permit it; none while that is open.
    fn answer(&self, known: &Known) -> Option<bool> {
        let permit = any(&self.permits, known);
        let forbid = any(&self.forbids, known);
        match (permit, forbid) {
            (Some(false), _) | (_, Some(true)) => Some(false),
            (Some(true), Some(false)) => Some(true),
            _ => None,
        }
    }

    /// True when every policy could be followed; `known` then holds what matters.
    fn search(&self, tiers: &[Tier], known: &mut Known, left: &mut u32) -> Option<bool> {
        match self.answer(known) {
            Some(true) => return Some(true),
            Some(false) => return None,
            None => {}
        }
        let open = |forms: &[Form], known: &Known| {
            let open = forms.iter().filter(|form| form.cond.eval(known).is_none());
            open.fold(0, |bits, form| bits | form.dims)
        };
        let next = |bits: u64, known: &Known| {
            let mut dims = Dim::ALL.into_iter().filter(|dim| bits & dim.bit() != 0);
            dims.find(|dim| known.get(*dim).is_none())
        };
        let permitted = any(&self.permits, known) == Some(true);
        let by_permits = if permitted { None } else { next(open(&self.permits, known), known) };
        let Some(dim) = by_permits.or_else(|| next(open(&self.forbids, known), known)) else {
            return Some(false);
        };
        for val in self.vals(dim, tiers, known) {
            if *left == 0 {
                return Some(false);
            }
            *left -= 1;
            known.set(dim, val);
            if let Some(followed) = self.search(tiers, known, left) {
                return Some(followed);
            }
        }
        known.clear(dim);
        None
    }

    /// Gives every fact that does not matter its likeliest value.
    fn fill(&self, tiers: &[Tier], known: &mut Known) {
        for dim in Dim::ALL {
            if known.get(dim).is_none()
                && let Some(val) = self.vals(dim, tiers, known).into_iter().next()
            {
                known.set(dim, val);
            }
        }
    }

    /// What Cedar itself says to these facts.
    fn confirm(&self, set: &Set, known: &Known) -> Option<Verdict> {
        let question = question(self.action, known)?;
        let slice = set.slices.get(&self.action)?;
        let prepared = slice.prepare(&question, set.schema.as_ref()?).ok()?;
        let approvals = match known.get(Dim::Approvals)? {
            Val::Number(number) => u8::try_from(*number).ok()?,
            _ => return None,
        };
        Some(set.ask_with(slice, &prepared, &question, approvals))
    }

    fn open_permits(&self, known: &Known) -> Vec<String> {
        let open = self.permits.iter().filter(|form| form.cond.eval(known) != Some(false));
        open.map(|form| form.id.clone()).collect()
    }

    /// The forbids that hold, or may hold, whatever else is true.
    pub(super) fn forbids_at(&self, known: &Known, answer: Option<bool>) -> Vec<&str> {
        let holding = self.forbids.iter().filter(|form| form.cond.eval(known) == answer);
        holding.map(|form| form.id.as_str()).collect()
    }

    /// True when some permit may apply.
    pub(super) fn may_permit(&self, known: &Known) -> bool {
        any(&self.permits, known) != Some(false)
    }

    /// What each fact that matters must be, with the others as they are: the values that keep the
    /// permission and those that lose it, both in their order.
    pub(super) fn conditions(
        &self,
        tiers: &[Tier],
        way: &Known,
        fixed: &Known,
    ) -> Vec<(Dim, Vec<Val>, Vec<Val>)> {
        let live = self.permits.iter().chain(&self.forbids);
        let live = live.filter(|form| form.cond.eval(fixed) != Some(false));
        let bits = live.fold(0, |bits, form| bits | form.dims);
        let mut all = Vec::new();
        for dim in Dim::ALL {
            if bits & dim.bit() == 0 || fixed.get(dim).is_some() {
                continue;
            }
            let (mut kept, mut lost) = (Vec::new(), Vec::new());
            for val in self.vals(dim, tiers, way) {
                let other = way.clone().with(dim, val.clone());
                if self.answer(&other) == Some(false) { lost.push(val) } else { kept.push(val) }
            }
            if !lost.is_empty() {
                kept.sort();
                lost.sort();
                all.push((dim, kept, lost));
            }
        }
        all
    }

    /// The values that tell every condition apart, the likeliest first.
    fn vals(&self, dim: Dim, tiers: &[Tier], known: &Known) -> Vec<Val> {
        let usage = match known.get(Dim::Usage) {
            Some(Val::Word(word)) => word.as_str(),
            _ => "",
        };
        let word = |word: &str| Val::Word(word.to_owned());
        match dim {
            Dim::Sources => self.numbers(dim, 1, SOURCES_MAX, 2, false),
            Dim::FindingConfidence => self.numbers(dim, 0, 100, 100, true),
            Dim::Confidence if usage == Use::Fact.name() => vec![Val::Number(0)],
            Dim::Confidence if usage == Use::Stop.name() => self.numbers(dim, 0, 100, 100, true),
            Dim::Confidence => self.numbers(dim, 1, 100, 100, true),
            Dim::DirectoryAge | Dim::SignalAge => self.numbers(dim, AGE_MIN, AGE_MAX, 0, false),
            Dim::Precision => {
                let mut all = vec![Val::Absent];
                all.extend(self.numbers(dim, 0, 100, 100, true));
                all
            }
            Dim::Tier => tiers.iter().map(|tier| word(tier.name())).collect(),
            Dim::Rule => {
                let other = std::iter::once(word("any"));
                other.chain(self.rules.iter().map(|rule| word(rule))).collect()
            }
            Dim::Resource => self.resources(),
            Dim::CaseState | Dim::Provenance | Dim::Mode => {
                let mut list = words::known(dim.word()).unwrap_or_default();
                let likely = ["open", Provenance::Polled.name(), Mode::Armed.name()];
                list.sort_by_key(|item| !likely.contains(item));
                list.into_iter().map(word).collect()
            }
            _ if dim.is_flag() => vec![Val::Flag(false), Val::Flag(true)],
            // Fixed for every search.
            _ => Vec::new(),
        }
    }

    /// The edges within the bounds and the bounds themselves, beginning with `likely`.
    fn numbers(&self, dim: Dim, from: i64, to: i64, likely: i64, falling: bool) -> Vec<Val> {
        let mut all: BTreeSet<i64> = self.edges.get(&dim).cloned().unwrap_or_default();
        all.extend([from, to, likely]);
        let mut all: Vec<i64> = all.into_iter().filter(|n| (from..=to).contains(n)).collect();
        if falling {
            all.reverse();
        }
        all.sort_by_key(|n| *n != likely);
        all.into_iter().map(Val::Number).collect()
    }

    /// The facts, and whom or what it is done to where that is no question.
    pub(super) fn settled(&self, fixed: Known) -> Known {
        match self.resources().as_slice() {
            [one] => fixed.with(Dim::Resource, one.clone()),
            _ => fixed,
        }
    }

    /// Whom or what it can be done to.
    fn resources(&self) -> Vec<Val> {
        let watch = self.action == Action::Watch;
        let named = self.named.iter().filter(|(entity, _)| watch || !entity);
        let named = named.map(|(entity, id)| Val::Named(*entity, id.clone()));
        let kinds = WATCHED.iter().filter(|_| watch).map(|kind| Val::Entity(kind.name()));
        std::iter::once(Val::Person).chain(kinds).chain(named).collect()
    }
}

/// True when one applies, none when that is open.
fn any(forms: &[Form], known: &Known) -> Option<bool> {
    let mut open = false;
    for form in forms {
        match form.cond.eval(known) {
            Some(true) => return Some(true),
            Some(false) => {}
            None => open = true,
        }
    }
    (!open).then_some(false)
}

/// The question of these facts; none where one is missing or no word of its list.
fn question(action: Action, known: &Known) -> Option<Question> {
    let word = |dim| match known.get(dim) {
        Some(Val::Word(word)) => Some(word.as_str()),
        _ => None,
    };
    let number = |dim| match known.get(dim) {
        Some(Val::Number(number)) => Some(*number),
        _ => None,
    };
    let flag = |dim| known.get(dim) == Some(&Val::Flag(true));
    let byte = |dim| number(dim).and_then(|n| u8::try_from(n).ok());
    let usage: Use = word(Dim::Usage)?.parse().ok()?;
    let anomalies = Anomaly::ALL.iter().copied();
    let resource = match known.get(Dim::Resource)? {
        Val::Named(false, id) => Resource::Identity(id.clone()),
        Val::Named(true, key) => {
            let (kind, value) = key.split_once('=')?;
            let kind = kind.parse().ok()?;
            Resource::Entity(Entity { kind, value: value.to_owned() })
        }
        Val::Entity(kind) => {
            Resource::Entity(Entity { kind: kind.parse().ok()?, value: "any".to_owned() })
        }
        _ => Resource::Identity("any".to_owned()),
    };
    Some(Question {
        source: word(Dim::Source)?.to_owned(),
        action,
        resource,
        class: word(Dim::Class)?.parse::<Class>().ok(),
        kind: word(Dim::Kind)?.parse::<Kind>().ok()?,
        usage,
        confidence: byte(Dim::Confidence).filter(|n| *n > 0),
        provenance: word(Dim::Provenance)?.parse().ok()?,
        anomalies: anomalies
            .filter(|a| Dim::ANOMALIES.iter().any(|dim| dim.word() == a.name() && flag(*dim)))
            .collect(),
        attribution_weak: flag(Dim::AttributionWeak),
        rule: word(Dim::Rule)?.to_owned(),
        tier: word(Dim::Tier)?.parse().ok()?,
        finding_confidence: byte(Dim::FindingConfidence),
        sources: number(Dim::Sources).and_then(|n| u32::try_from(n).ok())?,
        signal_age_s: number(Dim::SignalAge)?,
        directory_age_s: number(Dim::DirectoryAge)?,
        watched: flag(Dim::Watched),
        case_state: word(Dim::CaseState)?.to_owned(),
        mode: word(Dim::Mode)?.parse().ok()?,
        cold: flag(Dim::Cold),
        late: flag(Dim::Late),
        precision: byte(Dim::Precision),
    })
}
