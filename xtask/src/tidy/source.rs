//! What must not stand in any file: unfinished work, tests that do not run, and waits by the clock.

use super::{Exception, Finding, excuse};
use crate::rust::{Source, has_word, names_path};
use crate::tree::Tree;

/// Marks of unfinished work. They are put together here, so that this file passes itself.
const MARKERS: &[&str] =
    &[concat!("TO", "DO"), concat!("FIX", "ME"), concat!("X", "XX"), concat!("un", "implemented!")];
const TODO_MACRO: &str = concat!("to", "do!");

/// Files that people write and that the marks are looked for in.
const WRITTEN: &[&str] =
    &[".rs", ".md", ".mjs", ".sh", ".toml", ".yml", ".yaml", ".cedar", ".cedarschema"];

/// Where waiting by the clock is the thing itself.
const SLEEPS: &[Exception] = &[Exception {
    path: "crates/quell-run/src/shell.rs",
    what: "`time::sleep`",
    reason: "the one timer of the shell, which dispatch waits on for due times",
}];

/// Nothing is left for later: it is done, or it is an issue.
pub(super) fn markers(tree: &Tree) -> Vec<Finding> {
    let written = |path: &str| {
        WRITTEN.iter().any(|end| path.ends_with(end)) || matches!(path, "test" | ".ci/run")
    };
    let mut findings = Vec::new();
    for (path, text) in tree.texts().filter(|(path, _)| written(path)) {
        for (at, line) in text.lines().enumerate() {
            let mut marks = MARKERS.iter().chain([&TODO_MACRO]);
            if let Some(mark) = marks.find(|mark| has_word(line, mark)) {
                let why = format!("`{mark}`: finish it or file an issue");
                findings.push(Finding::at(path, at + 1, why));
            }
        }
    }
    findings
}

/// Every test runs, and says itself what must happen.
pub(super) fn attributes(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.rust() {
        for (line, code) in Source::read(path, text).lines() {
            for attribute in ["ignore", "should_panic"] {
                let inside = code.contains("#[") && has_word(code, attribute);
                if inside && is_attribute(code, attribute) {
                    let why = format!("`#[{attribute}]` is not allowed");
                    findings.push(Finding::at(path, line, why));
                }
            }
        }
    }
    findings
}

/// Nothing waits by the clock; it waits for an event or a timer of the loop.
pub(super) fn sleeps(tree: &Tree) -> Vec<Finding> {
    excuse(sleeping(tree), SLEEPS)
}

fn sleeping(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.rust() {
        let source = Source::read(path, text);
        for (line, code) in source.lines() {
            for parent in ["thread", "time"] {
                if names_path(code, parent, "sleep") {
                    let why = format!("`{parent}::sleep`: wait for an event or a timer");
                    findings.push(Finding::at(path, line, why));
                }
            }
        }
    }
    findings
}

/// Whether the name is used as an attribute, directly or by `cfg_attr`.
fn is_attribute(code: &str, name: &str) -> bool {
    let squeezed: String = code.split_whitespace().collect();
    let ends = [']', '(', '=', ','];
    let direct = ends.iter().any(|end| squeezed.contains(&format!("#[{name}{end}")));
    let by_cfg = ends.iter().any(|end| squeezed.contains(&format!(",{name}{end}")))
        || squeezed.contains(&format!(",{name})"));
    direct || (squeezed.contains("cfg_attr(") && by_cfg)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(text: &str) -> Tree {
        Tree::sample(&[("crates/a/src/lib.rs", text)])
    }

    #[test]
    fn every_mark_is_found_in_code_comments_and_papers() {
        assert_eq!(markers(&sample("// to do, mastodon, XXXX, todo\n")), []);
        for mark in MARKERS.iter().chain([&TODO_MACRO]) {
            let text = format!("// a {mark} b\n");
            for path in ["crates/a/src/lib.rs", "README.md", "test", "rules/a.yml"] {
                assert_eq!(markers(&Tree::sample(&[(path, &text)])).len(), 1, "{path} {mark}");
            }
            assert_eq!(markers(&Tree::sample(&[("Cargo.lock", &text)])), []);
        }
    }

    #[test]
    fn tests_that_do_not_run_or_that_panic_are_found() {
        let good = "//! #[ignore]\n#[test]\nfn ignore() { a(\"#[ignore]\", ignore); }\n";
        assert_eq!(attributes(&sample(good)), []);
        for bad in [
            "#[ignore]",
            "#[ignore = \"slow\"]",
            "#[should_panic]",
            "#[ should_panic(expected = \"x\") ]",
            "#[cfg_attr(unix, ignore)]",
            "#[cfg_attr(unix, ignore = \"slow\")]",
        ] {
            assert_eq!(attributes(&sample(bad)).len(), 1, "{bad}");
        }
    }

    #[test]
    fn sleeps_are_found_in_tests_too() {
        let good = "//! thread::sleep\nsleep_until(t);\ntokio::time::sleep_until(t);\nx.sleep();\n";
        assert_eq!(sleeping(&sample(good)), []);
        for bad in [
            "std::thread::sleep(d);",
            "use std::thread::{self, sleep};",
            "tokio::time::sleep(d).await;",
            "use tokio::time::{Instant, sleep};",
            "#[cfg(test)]\nmod tests { fn a() { std::thread::sleep(d) } }",
        ] {
            assert_eq!(sleeping(&sample(bad)).len(), 1, "{bad}");
        }
    }
}
