//! The wall: no single source locks an administrator or an executive out without a person. What
//! would let it is refused by `quell check`; it stands whatever tiers ask for.

use std::collections::{BTreeMap, BTreeSet};

use super::super::logic::{Dim, Known, Val};
use super::super::probe::{Form, Sheet};
use super::{Court, Stated, class_name};
use crate::action::{Action, Tier};
use crate::identity::Class;
use crate::policy::{Policy, PolicyError};
use crate::signal::{Kind, Use};

/// Whom the wall protects.
const PROTECTED: [Class; 2] = [Class::Privileged, Class::HighValue];

/// The uses in which a signal can carry a step.
const USES: [Use; 3] = [Use::Alone, Use::Join, Use::Fact];

/// What one policy would let through.
#[derive(Default)]
struct Breach {
    sources: BTreeSet<String>,
    kinds: BTreeSet<Kind>,
    classes: BTreeSet<Class>,
    actions: BTreeSet<Action>,
    unclear: bool,
}

/// Every permit that lets the signals of one source alone trigger an action of group `evict` on a
/// privileged or high-value identity, without approval: file, line and remedy, sorted.
///
/// Each permit is looked at by itself, with those forbids alone that ask about approvals, and for
/// every kind, whether or not a pack states it: what else keeps it from applying today may go
/// tomorrow, and nobody would think of this permit then.
pub fn walls(policy: &Policy, stated: &[Stated]) -> Vec<PolicyError> {
    let court = Court::of(policy);
    let mut sources = policy.authority.sources();
    sources.extend(stated.iter().map(|stated| stated.source.clone()));
    let mut breaches: BTreeMap<String, Breach> = BTreeMap::new();
    let evict = court.sheets.values().filter(|sheet| sheet.action.group() == Tier::Evict);
    for sheet in evict {
        for permit in &sheet.permits {
            look(&sheet.alone(permit), permit, &sources, &mut breaches);
        }
    }
    let mut errors: Vec<PolicyError> =
        breaches.iter().map(|(id, breach)| error(policy, id, breach)).collect();
    errors.sort();
    errors
}

/// Looks at one permit.
fn look(
    sheet: &Sheet,
    permit: &Form,
    sources: &BTreeSet<String>,
    breaches: &mut BTreeMap<String, Breach>,
) {
    let word = |word: &str| Val::Word(word.to_owned());
    for source in sources {
        for class in PROTECTED {
            let known = sheet
                .settled(Known::new())
                .with(Dim::Source, word(source))
                .with(Dim::Class, word(class.name()))
                .with(Dim::Approvals, Val::Number(0))
                .with(Dim::Sources, Val::Number(1));
            for kind in Kind::ALL {
                let known = known
                    .clone()
                    .with(Dim::Kind, word(kind.name()))
                    .with(Dim::Reach, word(kind.reach().name()));
                if permit.cond.eval(&known) == Some(false) {
                    continue;
                }
                let uses = USES.iter().map(|u| known.clone().with(Dim::Usage, word(u.name())));
                let Some(clear) = uses.filter_map(|known| sheet.can(&known)).max() else {
                    continue;
                };
                let breach = breaches.entry(permit.id.clone()).or_default();
                breach.sources.insert(source.clone());
                breach.kinds.insert(*kind);
                breach.classes.insert(class);
                breach.actions.insert(sheet.action);
                breach.unclear |= !clear;
            }
        }
    }
}

fn error(policy: &Policy, id: &str, breach: &Breach) -> PolicyError {
    let quoted = |names: Vec<&str>| {
        let shown: Vec<String> = names.iter().take(4).map(|name| format!("`{name}`")).collect();
        match names.len().checked_sub(shown.len()).filter(|more| *more > 0) {
            Some(more) => format!("{} and {more} more", shown.join(", ")),
            None => shown.join(", "),
        }
    };
    let sources = quoted(breach.sources.iter().map(String::as_str).collect());
    let kinds = quoted(breach.kinds.iter().map(|kind| kind.name()).collect());
    let actions = quoted(breach.actions.iter().map(|action| action.name()).collect());
    let classes = quoted(breach.classes.iter().map(|c| class_name(Some(*c))).collect());
    let lets = if breach.unclear { "may let (it cannot be followed)" } else { "lets" };
    let message = format!(
        "`{id}` {lets} {sources} alone do {actions} to {classes} identities on {kinds}, and \
         nobody has to approve"
    );
    let remedy = "ask in it for a person, `context.approvals >= 1`, or for a second source, \
                  `context.sources >= 2`, or take these classes out";
    let (file, line) = policy.authority.place(id).unwrap_or(("*.cedar", None));
    PolicyError::new(file, line, message, remedy)
}
