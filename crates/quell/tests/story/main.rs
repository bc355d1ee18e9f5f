//! The story of the corpus's audit log sample: `quell replay` with all that ships must tell what is
//! in `expected.tsv`, of nobody else and nothing more, whatever the order of the records.
//!
//! The corpus lies outside the repository; without it the test says so and passes.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use quell_core::id::Digest;
use quell_core::time::{MINUTE, Time};
use serde_json::Value;

const EXPECTED: &str = include_str!("expected.tsv");
const SAMPLE: &str = "mixed/microsoft-365/invictus-ual/ual_2021-03-23_to_2021-05-31.jsonl";

/// One line of `expected.tsv`.
#[derive(Debug)]
struct Line {
    as_of: String,
    person: String,
    rule: String,
    first: Time,
    tier: String,
}

fn sample() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent()?.parent()?.parent()?;
    let file = root.join("shared/corpus").join(SAMPLE);
    file.exists().then_some(file)
}

fn time(text: &str) -> Time {
    Time::parse(text).unwrap().t
}

fn expected() -> Vec<Line> {
    let lines = EXPECTED.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let cells: Vec<&str> = line.split('\t').collect();
            let cell = |n: usize| cells.get(n).copied().unwrap().to_owned();
            let first = time(&cell(3));
            Line { as_of: cell(0), person: cell(1), rule: cell(2), first, tier: cell(4) }
        })
        .collect()
}

/// Everybody whom the records name, with the object ids that stand beside a login: the directory
/// that the tenant would have had.
fn people(records: &[Value]) -> String {
    let mut known: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let login = |text: &str| {
        let text = text.to_lowercase();
        (text.contains('@') && !text.contains([' ', ':', ','])).then_some(text)
    };
    for record in records {
        known.extend(record["UserId"].as_str().and_then(login).map(|l| (l, BTreeSet::new())));
    }
    for list in records.iter().flat_map(|r| [&r["Actor"], &r["Target"]]) {
        let ids = list.as_array().into_iter().flatten().filter_map(|part| part["ID"].as_str());
        let ids: Vec<&str> = ids.collect();
        let Some(name) = ids.iter().find_map(|id| login(id)) else { continue };
        let object = ids.iter().find_map(|id| id.strip_prefix("User_"));
        known.entry(name).or_default().extend(object.map(str::to_owned));
    }
    let mut csv = "key,classes,accounts,addresses\n".to_owned();
    for (login, ids) in known {
        let accounts: Vec<String> = ids.iter().map(|id| format!("entra_id:{id}:{login}")).collect();
        csv.push_str(&format!("{login},human,{},{login}\n", accounts.join(";")));
    }
    csv
}

/// The findings as (person, rule's name, first signal, tier).
fn told(
    folder: &Path,
    file: &Path,
    as_of: &str,
    names: &BTreeMap<String, String>,
) -> Vec<(String, String, Time, String)> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quell"));
    command.current_dir(folder).args(["replay", "--pack", "m365_audit"]).arg(file);
    let out = command.args(["--as-of", as_of, "--directory", "people.csv"]).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let text = String::from_utf8(out.stdout).unwrap();
    let rows = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let mut all: Vec<_> = rows
        .filter(|row| row["type"] == "finding")
        .map(|row| {
            let person = row
                .get("identity")
                .and_then(Value::as_str)
                .unwrap_or("nobody whom the directory knows");
            let person = Digest::of(person.as_bytes()).to_string();
            let person = person.trim_start_matches("sha256:").chars().take(16).collect();
            let text =
                |name: &str| row.pointer(&format!("/finding/{name}")).and_then(Value::as_str);
            let rule = names.get(text("rule").unwrap()).unwrap().clone();
            let first = time(text("first_at").unwrap());
            (person, rule, first, text("tier").unwrap().to_owned())
        })
        .collect();
    all.sort();
    all
}

/// The `name` of each shipped rule by its id.
fn rule_names() -> BTreeMap<String, String> {
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../rules");
    let mut names = BTreeMap::new();
    for file in std::fs::read_dir(rules).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        let mut id = String::new();
        for line in text.lines() {
            if let Some(value) = line.strip_prefix("id: ") {
                id = value.to_owned();
            }
            if let Some(value) = line.strip_prefix("name: ") {
                names.insert(id.clone(), value.to_owned());
            }
        }
    }
    names
}

/// Every shipped rule has samples that raise it and samples that must not.
#[test]
fn the_samples_of_every_rule_hold() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let names = |folder: &str| {
        let files = std::fs::read_dir(root.join(folder)).unwrap();
        let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
        names.collect::<BTreeSet<_>>()
    };
    assert_eq!(names("rules"), names("tests/rules"));
    for name in names("tests/rules") {
        let text = std::fs::read_to_string(root.join("tests/rules").join(&name)).unwrap();
        assert!(text.contains("positive: ") && text.contains("negative: "), "{name}");
    }
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_quell"));
    let out = command.current_dir(folder.path()).arg("test").arg(root.join("tests/rules")).output();
    let out = out.unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stdout));
}

#[test]
fn the_sample_tells_its_story_in_any_order() {
    let Some(file) = sample() else { return println!("skipped: the corpus is absent") };
    let text = std::fs::read_to_string(file).unwrap();
    let lines: Vec<&str> = text.lines().filter(|line| !line.is_empty()).collect();
    let records: Vec<Value> = lines.iter().map(|l| serde_json::from_str(l).unwrap()).collect();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("people.csv"), people(&records)).unwrap();
    // As exported (newest first, nearly), the other way round, and shuffled by digest.
    let mut shuffled = lines.clone();
    shuffled.sort_by_key(|line| Digest::of(line.as_bytes()));
    let orders = [lines.clone(), lines.iter().rev().copied().collect(), shuffled];
    let names = rule_names();
    let expected = expected();
    let mut times: BTreeSet<&str> = expected.iter().map(|line| line.as_of.as_str()).collect();
    times.insert("2021-06-01T00:00:00Z");
    for as_of in times {
        let mut first = None;
        for (n, order) in orders.iter().enumerate() {
            let name = format!("{n}.ndjson");
            std::fs::write(folder.path().join(&name), order.join("\n")).unwrap();
            let told = told(folder.path(), Path::new(&name), as_of, &names);
            let known = first.get_or_insert_with(|| told.clone());
            assert_eq!(*known, told, "order {n} at {as_of}");
        }
        let told = first.unwrap_or_default();
        let wanted: Vec<&Line> = expected.iter().filter(|line| line.as_of == as_of).collect();
        let fits = |line: &Line, (person, rule, at, tier): &(String, String, Time, String)| {
            let near = (at.0 - line.first.0).abs() <= 5 * MINUTE;
            near && (&line.person, &line.rule, &line.tier) == (person, rule, tier)
        };
        let missing: Vec<_> =
            wanted.iter().filter(|line| !told.iter().any(|t| fits(line, t))).collect();
        let beyond: Vec<_> =
            told.iter().filter(|t| !wanted.iter().any(|line| fits(line, t))).collect();
        assert!(missing.is_empty() && beyond.is_empty(), "at {as_of}: {missing:?}, {beyond:?}");
    }
}
