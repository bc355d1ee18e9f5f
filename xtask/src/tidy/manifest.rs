//! The manifests: every dependency stands under the reason why it is there, and every crate takes
//! the lints of the workspace.

use toml::Table;

use super::Finding;
use crate::tree::Tree;

/// Each dependency on a crate of others stands under a one-line reason: in the root, or in the one
/// crate that uses it. A reason may stand over a family: lines that follow and begin with the first
/// one's name.
pub(super) fn reasons(tree: &Tree) -> Vec<Finding> {
    manifests(tree).flat_map(|(path, text)| unreasoned(path, text)).collect()
}

/// A crate takes the lints of the workspace, and names its dependencies where they can be read.
pub(super) fn members(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in manifests(tree).filter(|(path, _)| *path != ROOT) {
        let table: Table = match text.parse() {
            Ok(table) => table,
            Err(error) => {
                findings.push(Finding::about(path, format!("cannot be read: {}", error.message())));
                continue;
            }
        };
        if table.contains_key("target") {
            findings.push(Finding::about(path, "dependencies by target escape these checks"));
        }
        let lints = table.get("lints").and_then(|value| value.get("workspace"));
        if lints.and_then(|value| value.as_bool()) != Some(true) {
            findings.push(Finding::about(path, "does not take the lints of the workspace"));
        }
    }
    findings
}

fn unreasoned(path: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut inside = false;
    let mut reason = false;
    let mut family = String::new();
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if let Some(section) = line.strip_prefix('[') {
            inside = SECTIONS.iter().any(|name| section == format!("{name}]"));
            if SECTIONS.iter().any(|name| section.starts_with(&format!("{name}."))) {
                findings.push(Finding::at(path, at + 1, "write a dependency on one line"));
            }
        }
        let name = line.split(['=', '.', ' ']).next().unwrap_or_default();
        if !inside || line.is_empty() || line.starts_with('[') {
            reason = false;
            family.clear();
        } else if let Some(text) = line.strip_prefix('#') {
            reason = text.trim().contains(' ');
            family.clear();
        } else if is_entry(line) && !is_ours(name) && !is_inherited(line) {
            let covered = !family.is_empty() && name.starts_with(&family);
            if !reason && !covered {
                let why = format!("`{name}` has no line above it that says why it is there");
                findings.push(Finding::at(path, at + 1, why));
            }
            if reason {
                family = name.to_owned();
            }
            reason = false;
        }
    }
    findings
}

fn manifests(tree: &Tree) -> impl Iterator<Item = (&str, &str)> {
    tree.texts().filter(|(path, _)| {
        let member = path.starts_with("crates/") && path.ends_with("/Cargo.toml");
        member || matches!(*path, ROOT | "xtask/Cargo.toml")
    })
}

/// Clippy reads the nearest `clippy.toml` and does not merge: each pure crate has the same strict
/// file, and it repeats all that the root bans.
pub(super) fn clippy(tree: &Tree) -> Vec<Finding> {
    let root = tree.text(CLIPPY).unwrap_or_default();
    let mut findings = Vec::new();
    let mut first: Option<&str> = None;
    for (name, _) in super::purity::PURE {
        let path = format!("crates/{name}/{CLIPPY}");
        let Some(text) = tree.text(&path) else {
            findings.push(Finding::about(&path, "is missing"));
            continue;
        };
        if *first.get_or_insert(text) != text {
            findings.push(Finding::about(&path, "differs from that of another pure crate"));
        }
        let settings = root.lines().filter(|line| line.contains('='));
        for line in settings.filter(|line| !text.lines().any(|own| own == *line)) {
            findings.push(Finding::about(&path, format!("lacks a line of the root: {line}")));
        }
    }
    findings
}

fn is_entry(line: &str) -> bool {
    line.contains('=') && line.starts_with(|c: char| c.is_ascii_alphabetic())
}

fn is_inherited(line: &str) -> bool {
    line.split_whitespace().collect::<String>().contains("workspace=true")
}

fn is_ours(name: &str) -> bool {
    name == "quell" || name.starts_with("quell-")
}

const CLIPPY: &str = "clippy.toml";
const ROOT: &str = "Cargo.toml";
const SECTIONS: &[&str] =
    &["workspace.dependencies", "dependencies", "dev-dependencies", "build-dependencies"];

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<usize> {
        reasons(&Tree::sample(&[(ROOT, text)])).iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn a_dependency_under_its_reason_passes() {
        let good = "[workspace]\nmembers = []\n[workspace.dependencies]\nquell-core = { path = \
                    \"x\" }\n# JSON in and out\nserde = \"1\"\nserde_json = \"1\"\n# one error \
                    type\nthiserror = \"2\"\n[profile.dev]\ndebug = 1\n";
        assert_eq!(lines(good), [0; 0]);
    }

    #[test]
    fn a_dependency_without_a_reason_is_found() {
        assert_eq!(lines("[workspace.dependencies]\nserde = \"1\"\n"), [2]);
        assert_eq!(
            lines("[workspace.dependencies]\n# JSON in\nserde = \"1\"\nsha2 = \"1\"\n"),
            [4]
        );
        assert_eq!(lines("[workspace.dependencies]\n# JSON in\n\nserde = \"1\"\n"), [4]);
        assert_eq!(lines("[workspace.dependencies]\n#\nserde.version = \"1\"\n"), [3]);
    }

    #[test]
    fn a_dependency_of_one_crate_needs_a_reason_too() {
        let check = |text: &str| {
            let findings = reasons(&Tree::sample(&[("crates/a/Cargo.toml", text)]));
            findings.iter().map(|finding| finding.line).collect::<Vec<_>>()
        };
        let good = "[dependencies]\nserde.workspace = true\nsha2 = { workspace = true }\n\
                    [dev-dependencies]\n# another tree to compare with\nct-merkle = \"1\"\n";
        assert_eq!(check(good), [0; 0]);
        assert_eq!(check(&good.replace("# another tree to compare with\n", "")), [5]);
        assert_eq!(check("[build-dependencies]\ncc = \"1\"\n"), [2]);
        assert_eq!(check("[dependencies.serde]\nversion = \"1\"\n"), [1]);
        assert_eq!(check("[package]\nname = \"a\"\n"), [0; 0]);
    }

    #[test]
    fn a_crate_takes_the_lints_of_the_workspace() {
        let check = |text: &str| members(&Tree::sample(&[("crates/a/Cargo.toml", text)])).len();
        let good = "[lints]\nworkspace = true\n[dependencies]\nserde.workspace = true\n";
        assert_eq!(check(good), 0);
        assert_eq!(check(&good.replace("[lints]\nworkspace = true\n", "")), 1);
        assert_eq!(check(&format!("{good}[target.x.dependencies]\nb = \"1\"\n")), 1);
        assert_eq!(check("[dependencies\n"), 1);
    }

    #[test]
    fn the_strict_files_are_one_and_repeat_the_root() {
        let strict = "a = 1\nb = [\n    { path = \"x\" },\n    { path = \"y\" },\n]\n";
        let check = |root: &str, odd: &str| {
            let files = [
                ("clippy.toml", root),
                ("crates/quell-core/clippy.toml", strict),
                ("crates/quell-evidence/clippy.toml", strict),
                ("crates/quell-rules/clippy.toml", odd),
            ];
            clippy(&Tree::sample(&files)).len()
        };
        let root = "# why\na = 1\nb = [\n    { path = \"x\" },\n]\n";
        assert_eq!(check(root, strict), 0);
        assert_eq!(check(&root.replace("a = 1", "a = 2"), strict), 3);
        assert_eq!(check(root, &strict.replace("    { path = \"y\" },\n", "")), 1);
        assert_eq!(check(root, &strict.replace("    { path = \"x\" },\n", "")), 2);
        assert_eq!(clippy(&Tree::sample(&[("clippy.toml", root)])).len(), 3);
    }
}
