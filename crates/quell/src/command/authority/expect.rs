//! `quell authority test`: what a team expects of the matrix, from files. It changes nothing.

use std::path::{Path, PathBuf};

use clap::Args;
use quell_core::authority::matrix::{self, Cell, Decision};
use serde::Deserialize;

use super::{From, View, actions, classes, decision, fits, kinds, known};
use crate::command::{say, say_json};
use crate::fault::Fault;
use crate::junit::{self, Checked};

/// Hold the matrix against expectations from files; exit 1 when one does not hold.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  quell authority test authority/*.yml --junit out.xml\n\nA \
                        file:\n  version: 1\n  expect:\n    - {source: proofpoint_tap, \
                        kind: \"*\", class: high_value, action: evict, at_most: approval}")]
pub(super) struct Test {
    /// YAML files.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    #[command(flatten)]
    from: From,
    /// Write the results for a build server.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// One JSON object.
    #[arg(long)]
    json: bool,
}

/// Cells that are shown for one expectation at most; the rest is counted.
const SHOWN_MAX: usize = 10;

/// Bytes that one file may have.
const FILE_MAX: u64 = 256 << 10;

/// One file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u64,
    expect: Vec<Expected>,
}

/// One expectation: every cell that fits must be so, and there must be one.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    source: Words,
    kind: Words,
    class: Words,
    action: Words,
    /// Exactly that.
    #[serde(default)]
    expect: Option<Wanted>,
    /// How many must approve, exactly.
    #[serde(default)]
    approvals: Option<u8>,
    /// That or narrower.
    #[serde(default)]
    at_most: Option<Wanted>,
    /// Why, for people.
    #[serde(default)]
    reason: Option<String>,
}

/// One word or several; `*` stands for any characters.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum Words {
    One(String),
    Many(Vec<String>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Wanted {
    Autonomous,
    Approval,
    Never,
}

impl Wanted {
    fn decision(self) -> Decision {
        match self {
            Self::Autonomous => Decision::Autonomous,
            Self::Approval => Decision::Approval,
            Self::Never => Decision::Never,
        }
    }
}

impl Words {
    fn list(&self) -> &[String] {
        match self {
            Self::One(word) => std::slice::from_ref(word),
            Self::Many(words) => words,
        }
    }

    fn fits(&self, names: &[&str]) -> bool {
        self.list().iter().any(|pattern| names.iter().any(|name| fits(pattern, name)))
    }
}

impl Test {
    pub(super) fn run(&self, config: Option<&Path>) -> Result<(), Fault> {
        let view = View::load(config, &self.from)?;
        let cells = matrix::matrix(&view.policy, &view.stated);
        let mut all = Vec::new();
        for path in &self.files {
            for (line, expected) in read(path, &view)? {
                all.push(expected.check(path, line, &cells));
            }
        }
        if let Some(path) = &self.junit {
            junit::write(path, "quell authority", &all)?;
        }
        let failed = all.iter().filter(|checked| checked.failure.is_some()).count();
        if self.json {
            let failures: Vec<_> = all
                .iter()
                .filter_map(|c| {
                    Some(serde_json::json!({
                        "file": c.file, "name": c.name, "failure": c.failure.as_ref()?,
                    }))
                })
                .collect();
            say_json(&serde_json::json!({ "expectations": all.len(), "failures": failures }))?;
        } else {
            for Checked { file, name, failure } in &all {
                if let Some(failure) = failure {
                    say(&format!("{file}: {name}\n{}", failure.trim_end()))?;
                }
            }
        }
        if failed > 0 {
            return Err(Fault::unexpected(format!("{failed} of {} expectations fail", all.len())));
        }
        if self.json { Ok(()) } else { say(&format!("ok: {} expectations hold", all.len())) }
    }
}

/// The expectations of a file with their lines.
fn read(path: &Path, view: &View) -> Result<Vec<(u32, Expected)>, Fault> {
    let size = std::fs::metadata(path).map_err(|e| Fault::file(path, &e))?.len();
    if size > FILE_MAX {
        return Err(Fault::input(format!("`{}` is too long", path.display()), "split it"));
    }
    let text = std::fs::read_to_string(path).map_err(|e| Fault::file(path, &e))?;
    let help = "see docs/authority.md for the form of expectations";
    let mut all = Vec::new();
    for document in quell_rules::yaml::documents(&text) {
        let document = document.map_err(|e| {
            Fault::input(format!("{}:{}: {}", path.display(), e.line, e.fault), e.help)
        })?;
        let at = |line: u32, what: &dyn std::fmt::Display| {
            Fault::input(format!("{}:{line}: {what}", path.display()), help)
        };
        // Each expectation is read by itself, so that an error names its line.
        let lines = lines(&text, document.line());
        let file: File = serde_json::from_value(document.value().clone())
            .map_err(|e| at(document.line(), &e))?;
        if file.version != 1 {
            return Err(at(document.line(), &"`version` is not 1"));
        }
        for (n, expected) in file.expect.into_iter().enumerate() {
            let line = lines.get(n).copied().unwrap_or(document.line());
            expected.valid(view).map_err(|e| at(line, &e))?;
            all.push((line, expected));
        }
    }
    Ok(all)
}

/// The lines on which the items of a document's list begin.
fn lines(text: &str, from: u32) -> Vec<u32> {
    let mut all = Vec::new();
    for (number, line) in (1_u32..).zip(text.lines()).filter(|(number, _)| *number >= from) {
        let begins = line.trim_start().starts_with("- ");
        let indent = line.len() - line.trim_start().len();
        if line.starts_with("---") && number > from {
            break;
        }
        if begins {
            all.push((indent, number));
        }
    }
    let least = all.iter().map(|(indent, _)| *indent).min().unwrap_or_default();
    all.into_iter().filter(|(indent, _)| *indent == least).map(|(_, number)| number).collect()
}

impl Expected {
    fn valid(&self, view: &View) -> Result<(), String> {
        let told = |fault: Fault| match fault.help.is_empty() {
            true => fault.message,
            false => format!("{}: {}", fault.message, fault.help),
        };
        known("source", self.source.list(), &view.sources()).map_err(told)?;
        known("kind", self.kind.list(), &kinds()).map_err(told)?;
        known("class", self.class.list(), &classes()).map_err(told)?;
        known("action", self.action.list(), &actions()).map_err(told)?;
        match (self.expect, self.at_most, self.approvals) {
            (None, None, None) => Err("neither `expect`, `at_most` nor `approvals`".to_owned()),
            (Some(_), Some(_), _) => Err("both `expect` and `at_most`".to_owned()),
            (_, _, Some(n)) if n > 2 => Err("`approvals` is more than 2".to_owned()),
            _ => Ok(()),
        }
    }

    fn takes(&self, cell: &Cell) -> bool {
        self.source.fits(&[&cell.source])
            && self.kind.fits(&[cell.kind.name()])
            && self.class.fits(&[cell.class])
            && self.action.fits(&[cell.action.name(), cell.action.group().name()])
    }

    fn holds(&self, cell: &Cell) -> bool {
        self.expect.is_none_or(|wanted| wanted.decision() == cell.decision)
            && self.at_most.is_none_or(|most| most.decision() <= cell.decision)
            && self.approvals.is_none_or(|wanted| wanted == cell.approvals)
    }

    fn wanted(&self) -> String {
        let name = |wanted: Wanted| wanted.decision().name();
        let mut text = match (self.expect, self.at_most) {
            (Some(wanted), _) => name(wanted).to_owned(),
            (_, Some(most)) => format!("at most {}", name(most)),
            _ => String::new(),
        };
        if let Some(approvals) = self.approvals {
            put!(text, " with {approvals} approval(s)");
        }
        text.trim_start().to_owned()
    }

    fn check(&self, path: &Path, line: u32, cells: &[Cell]) -> Checked {
        let words = |words: &Words| words.list().join("|");
        let mut name = format!(
            "line {line}: {} {} {} {} is {}",
            words(&self.source),
            words(&self.kind),
            words(&self.class),
            words(&self.action),
            self.wanted(),
        );
        if let Some(reason) = &self.reason {
            put!(name, " ({reason})");
        }
        let own: Vec<&Cell> = cells.iter().filter(|cell| self.takes(cell)).collect();
        let wrong: Vec<&&Cell> = own.iter().filter(|cell| !self.holds(cell)).collect();
        let mut failure = String::new();
        if own.is_empty() {
            failure.push_str("  no cell fits: no source states such a kind\n");
        }
        for cell in wrong.iter().take(SHOWN_MAX) {
            let Cell { source, kind, class, action, policies, .. } = cell;
            let by = if policies.is_empty() {
                cell.reasons.first().cloned().unwrap_or_default()
            } else {
                policies.join(", ")
            };
            putln!(failure, "  {source} {kind} {class} {action}");
            putln!(failure, "    - {}\n    + {} by {by}", self.wanted(), decision(cell));
        }
        if let Some(more) = wrong.len().checked_sub(SHOWN_MAX).filter(|more| *more > 0) {
            putln!(failure, "  and {more} more cells");
        }
        let failure = (!failure.is_empty()).then_some(failure);
        Checked { file: path.display().to_string(), name, failure }
    }
}
