//! One cell explained: which policies speak of it, under which conditions, where they stand, and
//! what would have to change. For people; it decides nothing.

use serde::Serialize;

use super::super::describe::say;
use super::super::logic::{Cond, Dim, Known};
use super::super::probe::Form;
use super::{APPROVALS_MAX, Cell, Court, Place, Stated, class_name, fixed, matrix};
use crate::action::Action;
use crate::identity::Class;
use crate::policy::Policy;
use crate::signal::{Kind, Use};

/// What one policy says to a cell.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Said {
    /// Its id.
    pub policy: String,
    /// The file's name without folder.
    pub file: String,
    /// From 1.
    pub line: Option<u32>,
    /// Its `@reason`.
    pub reason: String,
    /// `permit` or `forbid`.
    pub effect: &'static str,
    /// What must hold beside the source, kind, class and action; none when it always applies.
    pub when: Vec<String>,
    /// What of it this cell does not meet; none when it can apply.
    pub unmet: Vec<String>,
}

/// A cell with all that speaks of it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Why {
    /// The cell.
    pub cell: Cell,
    /// Policies that can permit it.
    pub permits: Vec<Said>,
    /// Policies that forbid it, always or sometimes.
    pub forbids: Vec<Said>,
    /// Permits that fall short by the least, where none can permit it.
    pub near: Vec<Said>,
    /// What would have to change for it to be wider.
    pub change: Vec<String>,
}

/// Permits that are shown as near at most.
const NEAR_MAX: usize = 3;

/// Explains one cell; none where the source does not state the kind.
pub fn why(
    policy: &Policy,
    stated: &[Stated],
    source: &str,
    kind: Kind,
    class: Option<Class>,
    action: Action,
) -> Option<Why> {
    let own = stated.iter().find(|stated| stated.source == source)?;
    let uses = own.kinds.get(&kind)?;
    let cells = matrix(policy, stated);
    let same = |cell: &&Cell| {
        (cell.source.as_str(), cell.kind, cell.class, cell.action)
            == (source, kind, class_name(class), action)
    };
    let cell = cells.iter().find(same)?.clone();
    let court = Court::of(policy);
    let sheet = court.sheets.get(&action);
    let place = Place { source, kind, class, action };
    let usage = uses.iter().find(|usage| **usage != Use::Undo).or(uses.first())?;
    let known = fixed(place, *usage);
    let known = sheet.map_or(known.clone(), |sheet| sheet.settled(known));
    let all = |forms: &[Form], effect| -> Vec<Said> {
        forms.iter().map(|form| said(policy, form, effect, &known)).collect()
    };
    let (permits, forbids) = match sheet {
        Some(sheet) => (all(&sheet.permits, "permit"), all(&sheet.forbids, "forbid")),
        None => (Vec::new(), Vec::new()),
    };
    let (permits, mut near): (Vec<Said>, Vec<Said>) =
        permits.into_iter().partition(|said| said.unmet.is_empty());
    let forbids: Vec<Said> = forbids.into_iter().filter(|said| said.unmet.is_empty()).collect();
    near.sort_by_key(|said| (said.unmet.len(), said.policy.clone()));
    near.truncate(if permits.is_empty() { NEAR_MAX } else { 0 });
    let change = change(&cell, &permits, &forbids, &near);
    Some(Why { cell, permits, forbids, near, change })
}

fn said(policy: &Policy, form: &Form, effect: &'static str, known: &Known) -> Said {
    let authority = &policy.authority;
    let (file, line) = authority.place(&form.id).unwrap_or(("*.cedar", None));
    let parts = form.cond.parts();
    let parts: Vec<(Option<bool>, String)> =
        parts.into_iter().map(|part| (part.eval(known), say(&left(part, known)))).collect();
    let of = |answer: Option<bool>| -> Vec<String> {
        let some = parts.iter().filter(|(eval, _)| *eval == answer);
        some.map(|(_, text)| text.clone()).collect()
    };
    Said {
        policy: form.id.clone(),
        file: file.to_owned(),
        line,
        reason: authority.reason(&form.id).unwrap_or_default().to_owned(),
        effect,
        when: of(None),
        unmet: of(Some(false)),
    }
}

/// The condition without the alternatives that cannot hold here.
fn left(cond: &Cond, known: &Known) -> Cond {
    match cond {
        Cond::Any(list) if cond.eval(known).is_none() => {
            let open = list.iter().filter(|part| part.eval(known) != Some(false));
            Cond::Any(open.map(|part| left(part, known)).collect())
        }
        Cond::All(list) if cond.eval(known).is_none() => {
            let open = list.iter().filter(|part| part.eval(known) != Some(true));
            Cond::All(open.map(|part| left(part, known)).collect())
        }
        Cond::Not(inner) => Cond::Not(Box::new(left_within_not(inner, known))),
        other => other.clone(),
    }
}

/// The same under a `not`.
fn left_within_not(cond: &Cond, known: &Known) -> Cond {
    match cond {
        Cond::Any(list) | Cond::All(list) if cond.eval(known).is_none() => {
            let open = list.iter().filter(|part| part.eval(known).is_none());
            let open = open.map(|part| left(part, known)).collect();
            if matches!(cond, Cond::Any(_)) { Cond::Any(open) } else { Cond::All(open) }
        }
        other => other.clone(),
    }
}

/// What would have to change for the cell to be wider.
fn change(cell: &Cell, permits: &[Said], forbids: &[Said], near: &[Said]) -> Vec<String> {
    let mut all = Vec::new();
    if cell.width() == 0 {
        return all;
    }
    for said in forbids.iter().filter(|said| said.when.is_empty()) {
        all.push(format!("`{}` ({}) would have to go", said.policy, at(said)));
    }
    if permits.is_empty() {
        let near: Vec<String> = near
            .iter()
            .map(|said| {
                let unmet = said.unmet.join("; ");
                format!("`{}` ({}) would have to do without: {unmet}", said.policy, at(said))
            })
            .collect();
        all.push(match near.as_slice() {
            [] => "somebody would have to write a permit for it".to_owned(),
            near => format!("a permit of its own, or {}", near.join(", or ")),
        });
    } else if cell.width() <= APPROVALS_MAX {
        for said in permits.iter().filter(|said| cell.policies.contains(&said.policy)) {
            let approvals = said.when.iter().filter(|text| text.starts_with(Dim::Approvals.word()));
            for text in approvals {
                let place = at(said);
                let id = &said.policy;
                all.push(format!("`{id}` ({place}) would have to do without: {text}"));
            }
        }
    }
    let outside = |reason: &&String| reason.contains("tiers.toml") || reason.contains("own guard");
    for reason in cell.reasons.iter().filter(outside) {
        all.push(format!("and there is: {reason}"));
    }
    all
}

/// File and line.
fn at(said: &Said) -> String {
    match said.line {
        Some(line) => format!("{}:{line}", said.file),
        None => said.file.clone(),
    }
}
