//! The pure crates do no I/O, read no clock, draw no random number and start nothing: everything
//! enters as an argument. Replay and proof rest on it.

use serde_json::Value;

use super::edges::{array, members, packages, text};
use super::{Exception, Finding, excuse};
use crate::rust::{Source, has_word, is_test_path, names_path};
use crate::tree::Tree;

/// The pure crates, each with the crates of others that were reviewed for it.
pub(super) const PURE: &[(&str, &[&str])] = &[
    (
        "quell-core",
        &[
            "cedar-policy",
            "data-encoding",
            "minicbor",
            "serde",
            "serde_json",
            "sha2",
            "thiserror",
            "toml",
        ],
    ),
    (
        "quell-evidence",
        &["data-encoding", "ed25519-dalek", "serde", "serde_json", "sha2", "thiserror"],
    ),
    (
        "quell-rules",
        &[
            "regex",
            "rsigma-eval",
            "rsigma-parser",
            "serde",
            "serde_json",
            "sha2",
            "thiserror",
            "yaml_serde",
        ],
    ),
];

/// Paths that their code must not name, as parent and child. Addresses of `std::net` are plain
/// values; what opens a socket or asks a resolver is not.
const PATHS: &[(&str, &str)] = &[
    ("net", "TcpListener"),
    ("net", "TcpStream"),
    ("net", "ToSocketAddrs"),
    ("net", "UdpSocket"),
    ("std", "env"),
    ("std", "fs"),
    ("std", "os"),
    ("std", "process"),
    ("Instant", "now"),
    ("thread", "spawn"),
];

/// Words that their code must not hold.
const WORDS: &[&str] =
    &[".await", "SystemTime", "async", "getrandom", "rand::", "reqwest", "tokio", "tracing"];

/// Code that may name one of these all the same.
const EXCEPTIONS: &[Exception] = &[];

/// The pure crates depend on reviewed crates alone.
pub(super) fn dependencies(metadata: &Value) -> Vec<Finding> {
    let ours = members(metadata);
    let mut findings = Vec::new();
    for package in packages(metadata) {
        let name = text(package, "name");
        let Some((_, reviewed)) = PURE.iter().find(|(pure, _)| *pure == name) else { continue };
        for dependency in array(package, "dependencies") {
            let to = text(dependency, "name");
            let shipped = text(dependency, "kind") != "dev";
            if shipped && !ours.contains(&to) && !reviewed.contains(&to) {
                let why = format!("depends on `{to}`, which was not reviewed for a pure crate");
                findings.push(Finding::about(name, why));
            }
        }
    }
    findings
}

/// The pure crates name no clock, file, socket, environment, thread or source of randomness.
pub(super) fn tokens(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in pure_files(tree) {
        let source = Source::read(path, text);
        let code: Vec<(usize, &str)> = source.shipped().collect();
        // A use group may span lines, so paths are looked for in the whole and then located.
        let whole: String = code.iter().map(|(_, line)| format!("{line}\n")).collect();
        for (parent, child) in PATHS.iter().filter(|(p, c)| names_path(&whole, p, c)) {
            let at = code.iter().find(|(_, line)| names_path(line, parent, child));
            let line = at.map_or(0, |(line, _)| *line);
            findings.push(Finding::at(path, line, format!("names `{parent}::{child}`")));
        }
        for (line, code) in code {
            for word in WORDS.iter().filter(|word| has_word(code, word)) {
                findings.push(Finding::at(path, line, format!("names `{word}`")));
            }
        }
    }
    excuse(findings, EXCEPTIONS)
}

/// In the core a hash map needs a reason on its line, or in an `expect` of clippy's ban above it:
/// its order differs from run to run, and the same journal must give the same bytes.
pub(super) fn maps(tree: &Tree) -> Vec<Finding> {
    let core = pure_files(tree).filter(|(path, _)| path.starts_with("crates/quell-core/"));
    let mut findings = Vec::new();
    for (path, text) in core {
        let source = Source::read(path, text);
        let raw: Vec<&str> = text.lines().collect();
        for (line, code) in source.shipped() {
            let named = ["HashMap", "HashSet"].into_iter().find(|name| has_word(code, name));
            let commented = raw.get(line - 1).is_some_and(|raw| {
                raw.rsplit_once("//").is_some_and(|(_, reason)| reason.trim().len() > 10)
            });
            let expected = |raw: &&str| raw.contains("clippy::disallowed_types");
            let reasoned = commented || raw.iter().take(line).any(expected);
            if let (Some(name), false) = (named, reasoned) {
                let why = format!("`{name}` without a reason on its line; use a sorted one");
                findings.push(Finding::at(path, line, why));
            }
        }
    }
    findings
}

fn pure_files(tree: &Tree) -> impl Iterator<Item = (&str, &str)> {
    tree.rust().filter(|(path, _)| {
        let in_pure = PURE.iter().any(|(name, _)| path.starts_with(&format!("crates/{name}/")));
        in_pure && !is_test_path(path)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn reviewed_dependencies_pass_and_others_are_found() {
        let package = |name: &str, to: &str, kind: Value| {
            json!({ "packages": [
                { "name": name, "dependencies": [{ "name": to, "kind": kind }] },
                { "name": "quell-rules", "dependencies": [] },
            ]})
        };
        let none = Value::Null;
        assert_eq!(dependencies(&package("quell-core", "serde", none.clone())), []);
        assert_eq!(dependencies(&package("quell-core", "quell-rules", none.clone())), []);
        assert_eq!(dependencies(&package("quell-core", "tokio", json!("dev"))), []);
        assert_eq!(dependencies(&package("quell-store", "tokio", none.clone())), []);
        assert_eq!(dependencies(&package("quell-core", "tokio", none.clone())).len(), 1);
        assert_eq!(dependencies(&package("quell-core", "cc", json!("build"))).len(), 1);
        assert_eq!(dependencies(&package("quell-evidence", "cedar-policy", none)).len(), 1);
    }

    fn found(path: &str, text: &str) -> Vec<String> {
        tokens(&Tree::sample(&[(path, text)])).iter().map(Finding::to_string).collect()
    }

    #[test]
    fn pure_code_passes() {
        let text = "//! No std::fs, no tokio.\nlet a = \"SystemTime\";\nlet operand = b;\n\
                    use std::{fmt, net::{IpAddr, Ipv4Addr}, str};\n#[cfg(test)]\nmod tests {\n    use std::fs;\n}\n";
        assert_eq!(found("crates/quell-core/src/a.rs", text), [""; 0]);
        assert_eq!(found("crates/quell-core/tests/a.rs", "use std::fs;"), [""; 0]);
        assert_eq!(found("crates/quell-store/src/a.rs", "use std::fs;"), [""; 0]);
    }

    #[test]
    fn every_forbidden_name_is_found() {
        for (parent, child) in PATHS {
            let direct = format!("//! a\nlet a = {parent}::{child}::b;\n");
            assert_eq!(found("crates/quell-rules/src/a.rs", &direct).len(), 1, "{direct}");
            let group = format!("//! a\nuse {parent}::{{\n    a, {child},\n}};\n");
            assert_eq!(found("crates/quell-rules/src/a.rs", &group).len(), 1, "{group}");
        }
        for word in WORDS {
            let text = format!("//! a\nx {word} y\n");
            let expected = format!("crates/quell-evidence/src/a.rs:2: names `{word}`");
            assert_eq!(found("crates/quell-evidence/src/a.rs", &text), [expected]);
        }
    }

    #[test]
    fn a_hash_map_in_the_core_needs_a_reason() {
        let check = |path: &str, line: &str| maps(&Tree::sample(&[(path, line)])).len();
        let core = "crates/quell-core/src/a.rs";
        assert_eq!(check(core, "let a: BTreeMap<u8, u8>;"), 0);
        assert_eq!(check(core, "let a: HashMap<u8, u8>; // sorted before anything leaves"), 0);
        assert_eq!(check("crates/quell-store/src/a.rs", "let a: HashMap<u8, u8>;"), 0);
        assert_eq!(check(core, "let a: HashMap<u8, u8>;"), 1);
        assert_eq!(check(core, "let a: HashSet<u8>; // ok"), 1);
        let expect = "#[expect(clippy::disallowed_types, reason = \"the crate takes it\")]";
        assert_eq!(check(core, &format!("{expect}\nlet a: HashSet<u8>;")), 0);
        assert_eq!(check(core, &format!("let a: HashSet<u8>;\n{expect}")), 1);
    }
}
