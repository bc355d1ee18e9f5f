//! The matrix: which source, with which kind of signal, may trigger which action on which class,
//! and after how many approvals. A view for people: nothing is decided by it.
//!
//! A cell is the widest answer that the policy in force and the program's own guard can ever give
//! to a signal of that source and kind, in the best case that can happen; its reasons say what the
//! best case rests on. docs/authority.md describes it.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::logic::{Dim, Known, Val};
use super::probe::{Sheet, Way};
use super::{APPROVALS_MAX, describe, reach_cap, words};
use crate::action::{Action, Tier};
use crate::identity::Class;
use crate::policy::Policy;
use crate::signal::{Kind, Reach, Use};
use crate::time::{HOUR, MINUTE};

mod asks;
mod wall;
mod why;

use asks::{Ask, Asks};
pub use wall::walls;
pub use why::{Said, Why, why};

/// A source and what its pack's mapping can state.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stated {
    /// The source's name, as policies write it.
    pub source: String,
    /// Every kind, with the uses that the pack states it for.
    pub kinds: BTreeMap<Kind, BTreeSet<Use>>,
}

/// What may happen.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// Without asking anybody.
    Autonomous,
    /// After approvals.
    Approval,
    /// Not at all.
    Never,
}

impl Decision {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Autonomous => "autonomous",
            Self::Approval => "approval",
            Self::Never => "never",
        }
    }
}

/// One cell of the matrix.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Cell {
    /// The source.
    pub source: String,
    /// What it states.
    pub kind: Kind,
    /// The class, or `unknown`.
    pub class: &'static str,
    /// The action.
    pub action: Action,
    /// The widest that can happen.
    pub decision: Decision,
    /// How many different people must approve; 0 for `autonomous` and `never`.
    pub approvals: u8,
    /// Ids of the policies that say so, sorted.
    pub policies: Vec<String>,
    /// Why, and what it rests on.
    pub reasons: Vec<String>,
}

impl Cell {
    /// How wide it is: 0 to 2 approvals, one more for never.
    pub fn width(&self) -> u8 {
        match self.decision {
            Decision::Autonomous => 0,
            Decision::Approval => self.approvals,
            Decision::Never => APPROVALS_MAX.saturating_add(1),
        }
    }
}

/// The classes of the matrix: all, and the one that stands for none.
pub fn classes() -> Vec<Option<Class>> {
    Class::ALL.iter().copied().map(Some).chain([None]).collect()
}

/// The name of a class or of what stands for none.
pub fn class_name(class: Option<Class>) -> &'static str {
    class.map_or(words::UNKNOWN, Class::name)
}

/// Every cell, by source, kind, class and action in the order of their lists.
///
/// Measured with five packs and the shipped policies: see docs/authority.md.
pub fn matrix(policy: &Policy, stated: &[Stated]) -> Vec<Cell> {
    let court = Court::of(policy);
    let mut drafts = Vec::new();
    for stated in stated {
        for (kind, uses) in &stated.kinds {
            for class in classes() {
                for action in Action::ALL {
                    let place =
                        Place { source: &stated.source, kind: *kind, class, action: *action };
                    drafts.push(court.draft(place, uses));
                }
            }
        }
    }
    let beside = Beside::of(&drafts);
    drafts.into_iter().map(|draft| court.cell(&draft, &beside)).collect()
}

/// Where a cell stands.
#[derive(Clone, Copy, Debug)]
struct Place<'a> {
    source: &'a str,
    kind: Kind,
    class: Option<Class>,
    action: Action,
}

/// The policies in force, read.
struct Court<'a> {
    policy: &'a Policy,
    sheets: BTreeMap<Action, Sheet>,
    asks: Asks,
}

/// How one use of a kind fares.
struct Found {
    usage: Use,
    /// What signals of this kind and use bear by themselves.
    bears: Tier,
    /// The fewest approvals and the way to them.
    way: Option<(u8, Way)>,
    /// What holds whatever else is true.
    fixed: Known,
    tiers: Vec<Tier>,
}

/// A cell before it is known what other signals it may stand beside.
struct Draft<'a> {
    place: Place<'a>,
    found: Vec<Found>,
    /// Why it cannot happen, whatever the policies say.
    barred: Option<String>,
}

impl<'a> Court<'a> {
    fn of(policy: &'a Policy) -> Self {
        let slices = policy.authority.policies.slices.iter();
        let sheets = slices.map(|(action, slice)| (*action, Sheet::of(*action, slice))).collect();
        Self { policy, sheets, asks: Asks::of(&policy.tiers) }
    }

    /// What the policies say to each use.
    fn draft<'p>(&self, place: Place<'p>, uses: &BTreeSet<Use>) -> Draft<'p> {
        let asks = self.asks.of_cell(place.class, place.action);
        // What withdraws an earlier signal is never cited by a finding.
        let uses: Vec<Use> = uses.iter().copied().filter(|usage| *usage != Use::Undo).collect();
        let barred = if place.class == Some(Class::BreakGlass) {
            Some("the program's own guard: a break-glass account is never acted on".to_owned())
        } else if uses.is_empty() {
            Some("its pack states it only to withdraw an earlier signal".to_owned())
        } else if asks.is_empty() {
            let class = class_name(place.class);
            Some(format!("no tier asks for it on `{class}` (tiers.toml)"))
        } else {
            None
        };
        let any: Vec<Ask> = Tier::ALL.iter().map(|tier| Ask::plain(*tier)).collect();
        // Where no tier asks, it is still told what the policies alone would say.
        let asks = if asks.is_empty() { any.as_slice() } else { asks };
        let found = uses.into_iter().map(|usage| self.found(place, usage, asks)).collect();
        Draft { place, found, barred }
    }

    fn found(&self, place: Place<'_>, usage: Use, asks: &[Ask]) -> Found {
        let sheet = self.sheets.get(&place.action);
        let fixed = fixed(place, usage);
        let fixed = sheet.map_or(fixed.clone(), |sheet| sheet.settled(fixed));
        let bears = reach_cap([(place.kind, usage == Use::Stop)]);
        let tiers = |floor: u8| -> Vec<Tier> {
            asks.iter().filter(|ask| ask.floor == floor).map(|ask| ask.tier).collect()
        };
        let (plain, again) = (tiers(0), tiers(1));
        let mut found =
            Found { usage, bears, way: None, fixed: fixed.clone(), tiers: plain.clone() };
        let Some(sheet) = sheet else { return found };
        let set = &self.policy.authority.policies;
        if !sheet.may_permit(&fixed) {
            return found;
        }
        for least in 0..=APPROVALS_MAX {
            // After a verified containment the next tier is asked for, with one approval at least.
            let again_asked = (0..=least).rev().take(if least == 0 { 0 } else { 2 });
            let tries = std::iter::once((least, &plain)).chain(again_asked.map(|n| (n, &again)));
            for (approvals, tiers) in tries {
                if tiers.is_empty() {
                    continue;
                }
                let asked = fixed.clone().with(Dim::Approvals, Val::Number(i64::from(approvals)));
                if let Some(way) = sheet.find(set, tiers, &asked) {
                    found.way = Some((least, way));
                    found.tiers.clone_from(tiers);
                    found.fixed = asked;
                    return found;
                }
            }
        }
        found
    }

    fn cell(&self, draft: &Draft<'_>, beside: &Beside) -> Cell {
        let place = draft.place;
        let mut cell = Cell {
            source: place.source.to_owned(),
            kind: place.kind,
            class: class_name(place.class),
            action: place.action,
            decision: Decision::Never,
            approvals: 0,
            policies: Vec::new(),
            reasons: draft.barred.clone().into_iter().collect(),
        };
        let best = draft.found.iter().filter_map(|found| {
            let (own, way) = found.way.as_ref()?;
            let other = beside.other(place, found.bears);
            match other {
                None if found.bears < place.action.group() => None,
                other => {
                    let least = other.map_or(*own, |other| other.approvals.max(*own));
                    Some((least, found, way, other))
                }
            }
        });
        match best.min_by_key(|(least, ..)| *least) {
            _ if place.class == Some(Class::BreakGlass) => {
                self.refused(&mut cell, place, &draft.found);
            }
            Some((least, ..)) if draft.barred.is_some() => {
                let said = match least {
                    0 => "without approval".to_owned(),
                    n => format!("after {n} approval(s)"),
                };
                cell.reasons.push(format!("the policies alone would permit it {said}"));
            }
            Some((_, _, way, other)) if triggers_nothing(place.kind, place.action) => {
                cell.policies.clone_from(&way.policies);
                let text = "what anybody outside can cause triggers nothing beyond watching (the \
                            program's own guard)";
                cell.reasons.push(text.to_owned());
                if let Some(other) = other {
                    cell.reasons.push(format!(
                        "it counts, by {}, in a finding that a signal bears which triggers it, \
                         such as `{}` `{}`",
                        way.policies.join(", "),
                        other.source,
                        other.kind,
                    ));
                }
            }
            Some((least, found, way, other)) => {
                cell.approvals = least;
                cell.decision = if least == 0 { Decision::Autonomous } else { Decision::Approval };
                self.permitted(&mut cell, place, found, way, other);
            }
            None => self.refused(&mut cell, place, &draft.found),
        }
        cell
    }

    /// Why it may happen, and what that rests on.
    fn permitted(
        &self,
        cell: &mut Cell,
        place: Place<'_>,
        found: &Found,
        way: &Way,
        other: Option<&Other>,
    ) {
        cell.policies.clone_from(&way.policies);
        for id in &way.policies {
            let reason = self.policy.authority.reason(id).unwrap_or_default();
            cell.reasons.push(format!("{id}: {reason}"));
        }
        if !way.exact {
            let text = "a policy that can apply could not be followed: taken as the widest";
            cell.reasons.push(text.to_owned());
        } else if let Some(sheet) = self.sheets.get(&place.action) {
            let needs = sheet.conditions(&found.tiers, &way.known, &found.fixed);
            let needs = needs.iter().map(|(dim, kept, lost)| describe::need(*dim, kept, lost));
            cell.reasons.extend(needs);
        }
        if let Some(other) = other {
            let (source, kind) = (&other.source, other.kind);
            cell.reasons.push(format!(
                "only beside a signal that bears `{}` by itself, such as `{source}` `{kind}` \
                 (the program's own guard)",
                place.action.group(),
            ));
        }
        match found.usage {
            Use::Join => cell.reasons.push("only inside a correlation: stated as `join`".into()),
            Use::Fact => cell.reasons.push("only inside a correlation: stated as `fact`".into()),
            _ => {}
        }
        let asks = self.asks.of_cell(place.class, place.action);
        let asks = || asks.iter().filter(|ask| found.tiers.contains(&ask.tier));
        if asks().all(|ask| !ask.with.is_empty())
            && let Some(ask) = asks().next()
        {
            let with: Vec<&str> = ask.with.iter().map(|class| class.name()).collect();
            let text = format!("only where the identity is also `{}`", with.join("` and `"));
            cell.reasons.push(format!("{text}: else no tier asks for it"));
        }
        if let Some(ttl) = way.ttl {
            cell.reasons.push(format!("lasts at most {}", span(ttl)));
        }
    }

    /// Why it may not.
    fn refused(&self, cell: &mut Cell, place: Place<'_>, found: &[Found]) {
        let Some(sheet) = self.sheets.get(&place.action) else { return };
        let Some(first) = found.first() else { return };
        let broken = place.class == Some(Class::BreakGlass);
        if !broken && found.iter().any(|found| found.way.is_some()) {
            cell.reasons.push(format!(
                "signals of this kind bear `{}` at most by themselves, and no policy permits it \
                 on one that they could stand beside (the program's own guard)",
                first.bears,
            ));
            return;
        }
        let most = Val::Number(i64::from(APPROVALS_MAX));
        let asked = first.fixed.clone().with(Dim::Approvals, most);
        let asked = asked.with(Dim::Resource, Val::Person);
        let mut forbids = sheet.forbids_at(&asked, Some(true));
        let permitted = broken || sheet.may_permit(&first.fixed);
        if forbids.is_empty() && permitted && !broken {
            forbids = sheet.forbids_at(&asked, None);
        }
        for id in forbids {
            let reason = self.policy.authority.reason(id).unwrap_or_default();
            cell.policies.push(id.to_owned());
            cell.reasons.push(format!("{id}: {reason}"));
        }
        if !permitted {
            cell.reasons.push(super::NOBODY.to_owned());
        }
    }
}

/// What holds for every question of a cell.
fn fixed(place: Place<'_>, usage: Use) -> Known {
    let word = |word: &str| Val::Word(word.to_owned());
    Known::new()
        .with(Dim::Source, word(place.source))
        .with(Dim::Class, word(class_name(place.class)))
        .with(Dim::Kind, word(place.kind.name()))
        .with(Dim::Reach, word(place.kind.reach().name()))
        .with(Dim::Usage, word(usage.name()))
}

/// A signal that another may stand beside.
#[derive(Clone, Debug)]
struct Other {
    approvals: u8,
    source: String,
    kind: Kind,
}

/// True for what anybody outside can cause and an action beyond watching.
fn triggers_nothing(kind: Kind, action: Action) -> bool {
    kind.reach() == Reach::Outsider && action.group() > Tier::Observe
}

/// For each class and action the signal that bears it by itself with the fewest approvals.
struct Beside(BTreeMap<(Option<Class>, Action), Other>);

impl Beside {
    fn of(drafts: &[Draft<'_>]) -> Self {
        let mut all: BTreeMap<(Option<Class>, Action), Other> = BTreeMap::new();
        for draft in drafts {
            let Place { source, kind, class, action } = draft.place;
            for found in draft.found.iter().filter(|found| found.bears >= action.group()) {
                let Some((approvals, _)) = found.way.as_ref() else { continue };
                let best = all.get(&(class, action));
                if best.is_none_or(|best| *approvals < best.approvals) {
                    let other = Other { approvals: *approvals, source: source.to_owned(), kind };
                    all.insert((class, action), other);
                }
            }
        }
        Self(all)
    }

    /// None where the signal bears the action by itself, or where there is no such signal.
    fn other(&self, place: Place<'_>, bears: Tier) -> Option<&Other> {
        if bears >= place.action.group() { None } else { self.0.get(&(place.class, place.action)) }
    }
}

/// A time to live for people.
fn span(ttl: i64) -> String {
    if ttl % HOUR == 0 { format!("{} h", ttl / HOUR) } else { format!("{} min", ttl / MINUTE) }
}

#[cfg(test)]
mod tests;
