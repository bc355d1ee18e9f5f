//! `quell authority`, the table: kinds that fare alike are one row, classes that fare alike are one
//! line, and what never happens is left out. For people; it decides nothing.

use std::collections::BTreeMap;

use quell_core::action::Action;
use quell_core::authority::matrix::{Cell, Decision};
use quell_core::signal::Kind;

use super::{View, decision};

/// So wide is a screen.
const COLUMNS: usize = 98;

/// So many cells are shown one by one, with their reasons.
const SINGLE_MAX: usize = 12;

/// What one class may suffer: by decision the actions.
type Fare = BTreeMap<(Decision, u8), Vec<Action>>;

/// One source and its kinds, those that fare alike together.
type Rows<'a> = Vec<(Vec<Kind>, Vec<(&'a str, Fare)>)>;

/// One kind, and what each class may suffer.
type Kinds<'a> = Vec<(Kind, Vec<(&'a str, Fare)>)>;

/// Cells folded by source, in the order given.
pub(super) fn folded<'a>(cells: &[&'a Cell]) -> Vec<(&'a str, Rows<'a>)> {
    let mut all: Vec<(&str, Kinds<'_>)> = Vec::new();
    for cell in cells {
        if all.last().is_none_or(|(source, _)| *source != cell.source) {
            all.push((&cell.source, Vec::new()));
        }
        let Some((_, kinds)) = all.last_mut() else { continue };
        if kinds.last().is_none_or(|(kind, _)| *kind != cell.kind) {
            kinds.push((cell.kind, Vec::new()));
        }
        let Some((_, classes)) = kinds.last_mut() else { continue };
        if classes.last().is_none_or(|(class, _)| *class != cell.class) {
            classes.push((cell.class, Fare::new()));
        }
        let Some((_, fare)) = classes.last_mut() else { continue };
        if cell.decision != Decision::Never {
            fare.entry((cell.decision, cell.approvals)).or_default().push(cell.action);
        }
    }
    let join = |kinds: Kinds<'a>| {
        let mut rows: Rows<'a> = Vec::new();
        for (kind, classes) in kinds {
            match rows.iter_mut().find(|(_, same)| *same == classes) {
                Some((kinds, _)) => kinds.push(kind),
                None => rows.push((vec![kind], classes)),
            }
        }
        rows
    };
    all.into_iter().map(|(source, kinds)| (source, join(kinds))).collect()
}

/// The cells for people.
pub(super) fn table(view: &View, cells: &[&Cell]) -> String {
    let mut out = String::new();
    if cells.is_empty() {
        return "no cell: no source states this kind\n".to_owned();
    }
    if cells.len() <= SINGLE_MAX {
        cells.iter().for_each(|cell| single(&mut out, cell));
        return out;
    }
    for (source, rows) in folded(cells) {
        putln!(out, "{source}");
        for (kinds, classes) in rows {
            let kinds: Vec<&str> = kinds.iter().map(|kind| kind.name()).collect();
            wrapped(&mut out, "  ", "  ", &kinds.join(", "));
            let mut lines: Vec<(Vec<&str>, &Fare)> = Vec::new();
            for (class, fare) in &classes {
                match lines.iter_mut().find(|(_, same)| *same == fare) {
                    Some((classes, _)) => classes.push(class),
                    None => lines.push((vec![class], fare)),
                }
            }
            for (classes, fare) in lines {
                wrapped(
                    &mut out,
                    "    ",
                    "      ",
                    &format!("{}: {}", classes.join(", "), told(fare)),
                );
            }
        }
        out.push('\n');
    }
    let count = |wanted| cells.iter().filter(|cell| cell.decision == wanted).count();
    putln!(
        out,
        "{} cells: {} autonomous, {} with approval, {} never; what is not named is never",
        cells.len(),
        count(Decision::Autonomous),
        count(Decision::Approval),
        count(Decision::Never),
    );
    putln!(
        out,
        "each is the widest that can happen: `quell authority why SOURCE KIND CLASS ACTION` tells \
         when"
    );
    putln!(
        out,
        "mode {}: what is sent stands in armed.toml; {} protected accounts are never acted on",
        view.policy.armed.mode,
        view.policy.protected.accounts().len(),
    );
    out
}

/// One cell with its reasons.
pub(super) fn single(out: &mut String, cell: &Cell) {
    let Cell { source, kind, class, action, .. } = cell;
    putln!(out, "{source} {kind} on {class}: {action} {}", decision(cell));
    for reason in &cell.reasons {
        wrapped(out, "  ", "    ", reason);
    }
}

/// `autonomous watch, end_sessions; 1 approval suspend`.
pub(super) fn told(fare: &Fare) -> String {
    let parts = fare.iter().map(|((decision, approvals), actions)| {
        let actions: Vec<&str> = actions.iter().map(|action| action.name()).collect();
        let word = match approvals {
            0 => decision.name().to_owned(),
            1 => "1 approval".to_owned(),
            n => format!("{n} approvals"),
        };
        format!("{word} {}", actions.join(", "))
    });
    let parts: Vec<String> = parts.collect();
    if parts.is_empty() { "never".to_owned() } else { parts.join("; ") }
}

/// Text in lines that fit a screen.
pub(super) fn wrapped(out: &mut String, first: &str, next: &str, text: &str) {
    let mut line = first.to_owned();
    let mut empty = true;
    for word in text.split(' ') {
        let long = line.chars().count() + word.chars().count() + 1;
        if !empty && long > COLUMNS {
            putln!(out, "{}", line.trim_end());
            line = next.to_owned();
            empty = true;
        }
        if !empty {
            line.push(' ');
        }
        line.push_str(word);
        empty = false;
    }
    putln!(out, "{}", line.trim_end());
}
