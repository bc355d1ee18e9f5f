//! `quell test`: a team's tests from files, each with what goes in and what must come out. They run
//! in a real engine in memory; nothing is sent and nothing is kept.

mod case;
mod diff;
mod outcome;
mod yaml;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use super::{say, say_json};
use crate::assemble::{self, Brain, Folders};
use crate::config::Place;
use crate::fault::Fault;
use crate::junit::{self, Checked};
use case::{Case, File};

/// Run a team's tests: records or signals in; findings, plan, decisions and reasons out.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  quell test\n  quell test tests/phishing.yml --update\n  \
                        quell test --junit quell.xml")]
pub(crate) struct Test {
    /// Files or folders; by default the folder `tests` beside `quell.toml`.
    paths: Vec<PathBuf>,
    /// Write what came out into the files that do not hold, for review.
    #[arg(long)]
    update: bool,
    /// Write the results for a build server.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// One JSON object.
    #[arg(long)]
    json: bool,
}

/// Test files that one run may read, and folders inside each other.
const FILES_MAX: usize = 10_000;
const DEPTH_MAX: usize = 16;

impl Test {
    pub(crate) fn run(&self, config: Option<&Path>) -> Result<(), Fault> {
        let place = if Place::exists(config) { Some(Place::find(config)?) } else { None };
        let mut files = Vec::new();
        for path in self.folders(place.as_ref()) {
            walk(&path, 0, &mut files)?;
        }
        if files.is_empty() {
            return Err(Fault::input("there is no test", "see docs/testing.md for a first one"));
        }
        let mut brains = Brains { place, known: BTreeMap::new() };
        let (mut all, mut written) = (Vec::new(), 0);
        for path in &files {
            let mut file = File::read(path)?;
            let mut changed = false;
            for at in 0..file.cases.len() {
                let Some(case) = file.cases.get(at) else { break };
                let came = brains.run(path, case)?;
                let (name, line) = (format!("{} (line {})", case.name, case.line), case.line);
                let mut failure = diff::failure(case.expect.as_ref(), &came);
                if failure.is_some() && self.update {
                    file.put(line, &came);
                    (changed, failure) = (true, None);
                    written += 1;
                }
                all.push(Checked { file: path.display().to_string(), name, failure });
            }
            if changed {
                std::fs::write(path, file.text()).map_err(|e| Fault::file(path, &e))?;
            }
        }
        self.tell(&all, written)
    }

    fn folders(&self, place: Option<&Place>) -> Vec<PathBuf> {
        if !self.paths.is_empty() {
            return self.paths.clone();
        }
        let folder = Path::new("tests");
        vec![place.map_or_else(|| folder.to_owned(), |place| place.path(folder))]
    }

    fn tell(&self, all: &[Checked], written: usize) -> Result<(), Fault> {
        if let Some(path) = &self.junit {
            junit::write(path, "quell test", all)?;
        }
        let failed: Vec<&Checked> = all.iter().filter(|c| c.failure.is_some()).collect();
        if self.json {
            let failures: Vec<Value> = failed
                .iter()
                .map(|c| json!({ "file": c.file, "name": c.name, "failure": c.failure }))
                .collect();
            let told = json!({ "tests": all.len(), "written": written, "failures": failures });
            say_json(&told)?;
        } else {
            for Checked { file, name, failure } in &failed {
                let failure = failure.as_deref().unwrap_or_default();
                say(&format!("{file}: {name}\n{}", failure.trim_end()))?;
            }
        }
        if !failed.is_empty() {
            let message = format!("{} of {} tests fail", failed.len(), all.len());
            return Err(Fault::unexpected(message));
        }
        match (self.json, written) {
            (true, _) => Ok(()),
            (false, 0) => say(&format!("ok: {} tests", all.len())),
            (false, n) => say(&format!("ok: {} tests, {n} written: review them", all.len())),
        }
    }
}

/// The test files under a path, sorted; a file that is named is taken whatever its ending.
fn walk(path: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Result<(), Fault> {
    if !path.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(path).map_err(|e| Fault::file(path, &e))? {
        entries.push(entry.map_err(|e| Fault::file(path, &e))?.path());
    }
    entries.sort();
    for entry in entries {
        let hidden = entry.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        let yaml = entry.extension().is_some_and(|e| e == "yml" || e == "yaml");
        if hidden || files.len() >= FILES_MAX || depth >= DEPTH_MAX {
            continue;
        }
        if entry.is_dir() {
            walk(&entry, depth + 1, files)?;
        } else if yaml {
            files.push(entry);
        }
    }
    Ok(())
}

/// What is in force, read once for each set of folders.
struct Brains {
    place: Option<Place>,
    known: BTreeMap<[Option<PathBuf>; 3], Brain>,
}

impl Brains {
    /// What comes out of a test.
    fn run(&mut self, path: &Path, case: &Case) -> Result<Value, Fault> {
        let beside = |folder: &Option<PathBuf>| {
            let parent = path.parent().unwrap_or(Path::new("."));
            folder.as_ref().map(|folder| parent.join(folder))
        };
        let named = case.folders.clone().unwrap_or_default();
        let folders = Folders {
            rules: beside(&named.rules),
            policy: beside(&named.policy),
            packs: beside(&named.packs),
        };
        let key = [folders.rules.clone(), folders.policy.clone(), folders.packs.clone()];
        if !self.known.contains_key(&key) {
            let brain = Brain::load_with(self.place.as_ref(), &folders);
            let brain = brain.map_err(|problems| assemble::fault(&problems))?;
            self.known.insert(key.clone(), brain);
        }
        let Some(brain) = self.known.get(&key) else {
            return Err(Fault::input("the folders of the test cannot be read", ""));
        };
        let place = format!("{}:{}", path.display(), case.line);
        outcome::of(brain, self.place.as_ref(), path, case)
            .map_err(|fault| Fault { message: format!("{place}: {}", fault.message), ..fault })
    }
}
