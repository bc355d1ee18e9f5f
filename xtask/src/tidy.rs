//! Tidy: the list of checks, and what they have in common. Each check is a function from what was
//! read to findings, with a test that it passes on a good sample and fails on a bad one.

mod docs;
mod edges;
mod fixtures;
mod manifest;
mod purity;
mod shape;
mod source;

use std::fmt;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::tree::{Tree, root};

/// Something that is not as it must be.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Finding {
    path: String,
    line: usize,
    text: String,
}

impl Finding {
    /// A finding at a line, numbered from 1.
    fn at(path: &str, line: usize, text: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, text: text.into() }
    }

    /// A finding about a whole file or folder.
    fn about(path: &str, text: impl Into<String>) -> Self {
        Self::at(path, 0, text)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.path, self.text),
            line => write!(f, "{}:{line}: {}", self.path, self.text),
        }
    }
}

/// Runs every check on this workspace.
///
/// # Errors
/// When the workspace cannot be read; then nothing was checked.
pub fn workspace() -> Result<Vec<Finding>, String> {
    let tree = Tree::workspace()?;
    let metadata = metadata(&root())?;
    Ok(check(&tree, &metadata))
}

/// The findings as lines for a person.
pub fn report(findings: &[Finding]) -> String {
    let lines: String = findings.iter().map(|finding| format!("{finding}\n")).collect();
    format!("{lines}tidy: {} findings\n", findings.len())
}

fn check(tree: &Tree, metadata: &Value) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(edges::edges(metadata));
    findings.extend(edges::folders(metadata));
    findings.extend(purity::dependencies(metadata));
    findings.extend(purity::tokens(tree));
    findings.extend(purity::maps(tree));
    findings.extend(manifest::reasons(tree));
    findings.extend(manifest::members(tree));
    findings.extend(manifest::clippy(tree));
    findings.extend(shape::heads(tree));
    findings.extend(shape::columns(tree));
    findings.extend(shape::sizes(tree));
    findings.extend(source::markers(tree));
    findings.extend(source::attributes(tree));
    findings.extend(source::sleeps(tree));
    findings.extend(docs::architecture(tree, &edges::members(metadata)));
    findings.extend(docs::glossary(tree));
    findings.extend(docs::errors(tree));
    findings.extend(docs::headings(tree));
    findings.extend(fixtures::packs(tree));
    findings.extend(fixtures::blobs(tree));
    findings.extend(fixtures::machine_paths(tree));
    findings.extend(fixtures::addresses(tree));
    findings.extend(fixtures::networks(tree));
    findings.sort();
    findings
}

/// What cargo says about the members of the workspace; needs no network.
fn metadata(root: &Path) -> Result<Value, String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(root).args(["metadata", "--no-deps", "--format-version", "1"]);
    let out = command.arg("--offline").output();
    let out = out.map_err(|error| format!("cannot run `cargo metadata`: {error}"))?;
    if !out.status.success() {
        let why = String::from_utf8_lossy(&out.stderr).trim().to_owned();
        return Err(format!("`cargo metadata` failed: {why}"));
    }
    serde_json::from_slice(&out.stdout).map_err(|error| format!("`cargo metadata`: {error}"))
}

/// An exception, with its reason. One that excuses nothing is a finding itself.
struct Exception {
    path: &'static str,
    what: &'static str,
    reason: &'static str,
}

/// Removes excused findings, and reports exceptions that excused nothing or give no reason. A
/// finding is excused when its path is the exception's and its text holds the exception's words.
fn excuse(findings: Vec<Finding>, exceptions: &[Exception]) -> Vec<Finding> {
    let excuses = |e: &Exception, f: &Finding| f.path == e.path && f.text.contains(e.what);
    let unused = exceptions.iter().filter(|e| !findings.iter().any(|f| excuses(e, f)));
    let mut rest: Vec<Finding> = unused
        .map(|e| Finding::about(e.path, format!("the exception for `{}` is not needed", e.what)))
        .collect();
    let silent = exceptions.iter().filter(|e| e.reason.trim().is_empty());
    rest.extend(silent.map(|e| Finding::about(e.path, "an exception gives no reason")));
    rest.extend(findings.into_iter().filter(|f| !exceptions.iter().any(|e| excuses(e, f))));
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_workspace_is_tidy() {
        let findings = workspace().expect("the workspace can be read");
        assert!(findings.is_empty(), "\n{}", report(&findings));
    }

    #[test]
    fn an_exception_excuses_its_finding_and_must_be_needed() {
        let finding = Finding::at("a.rs", 3, "`f` has 80 lines");
        let good = [Exception { path: "a.rs", what: "`f` has", reason: "one table" }];
        assert_eq!(excuse(vec![finding.clone()], &good), []);
        assert_eq!(excuse(Vec::new(), &good).len(), 1);
        let other = [Exception { path: "b.rs", what: "`f` has", reason: "one table" }];
        assert_eq!(excuse(vec![finding.clone()], &other).len(), 2);
        let silent = [Exception { path: "a.rs", what: "`f` has", reason: " " }];
        assert_eq!(excuse(vec![finding], &silent).len(), 1);
    }

    #[test]
    fn a_report_names_file_line_and_count() {
        let findings = [Finding::about("a", "is b"), Finding::at("c", 7, "is d")];
        assert_eq!(report(&findings), "a: is b\nc:7: is d\ntidy: 2 findings\n");
    }
}
