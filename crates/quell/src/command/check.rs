//! `quell check`: reads every file of the folder and names what is wrong: file, line, remedy.
//! Warnings are told apart and fail nothing.

use std::path::Path;

use clap::Args;
use quell_core::directory::Import;
use serde_json::json;

use super::{say, say_json};
use crate::assemble::{self, Brain, Problem};
use crate::config::Place;
use crate::fault::Fault;
use crate::start::Fronts;
use crate::warn::{self, Facts};
use crate::{people, secret};

/// Check settings, rules, policy, packs and directory; exit 3 when something is wrong, 0 with
/// warnings alone.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  quell check --config company")]
pub(crate) struct Check {
    /// One JSON object.
    #[arg(long)]
    json: bool,
}

impl Check {
    pub(crate) fn run(&self, config: Option<&Path>) -> Result<(), Fault> {
        let place = Place::find(config)?;
        let brain = Brain::load(&place);
        let mut problems = brain.as_ref().err().cloned().unwrap_or_default();
        let people = people(&place, &mut problems);
        for reference in references(&place) {
            if let Err(fault) = secret::resolve(&place.folder, reference) {
                problems.push(problem(place.line_with(reference), fault));
            }
        }
        if let Err(fault) = Fronts::load(&place) {
            problems.push(problem(None, fault));
        }
        if let Err(fault) = place.store_key()
            && let Some(reference) = &place.settings.store.key
            && secret::resolve(&place.folder, reference).is_ok()
        {
            problems.push(problem(place.line_with(reference), fault));
        }
        let mut warnings = Vec::new();
        if let Ok(brain) = &brain {
            packs(&place, brain, &mut problems);
            if let Err(fault) = assemble::targets(&place, &brain.policy) {
                problems.push(problem(None, fault));
            }
            warnings = warned(&place, brain, people.as_ref())?;
        }
        if place.settings.store.key.is_none() {
            warnings.push(in_clear());
        }
        let found = problems.len();
        if self.json {
            let ok = found == 0;
            say_json(&json!({ "ok": ok, "problems": problems, "warnings": warnings }))?;
        } else {
            warnings.iter().try_for_each(|warning| say(&format!("warning: {warning}")))?;
        }
        match (found, &brain) {
            (0, Ok(brain)) if !self.json => {
                let people = people.map_or(0, |import| import.identities.len());
                say(&format!(
                    "ok: {} rules, {} packs, {} sources, {} targets, {people} identities, mode {}",
                    brain.rules.iter().count(),
                    brain.packs.len(),
                    place.settings.source.len(),
                    place.settings.target.len(),
                    brain.policy.armed.mode,
                ))
            }
            (0, _) => Ok(()),
            _ if self.json => Err(Fault::config(format!("{found} problem(s)"), "")),
            _ => Err(Fault {
                help: "correct the files and check again".into(),
                ..assemble::fault(&problems)
            }),
        }
    }
}

/// Nothing on the disk is encrypted.
fn in_clear() -> Problem {
    Problem {
        file: crate::config::FILE.into(),
        line: None,
        message: "the store has no key: whoever has its disk or a backup reads records and names"
            .into(),
        remedy: "write `[store]` with `key = \"env:QUELL_STORE_KEY\"`, see docs/store.md".into(),
    }
}

/// A problem of `quell.toml`.
fn problem(line: Option<u32>, fault: Fault) -> Problem {
    let Fault { message, help, .. } = fault;
    Problem { file: crate::config::FILE.into(), line, message, remedy: help }
}

/// The directory file, where one is configured and can be read.
fn people(place: &Place, problems: &mut Vec<Problem>) -> Option<Import> {
    let path = place.path(place.settings.paths.directory.as_ref()?);
    let read = people::read(&place.settings.tenant, &path);
    read.map_err(|fault| problems.push(problem(None, fault))).ok()
}

/// Sources whose pack does not exist.
fn packs(place: &Place, brain: &Brain, problems: &mut Vec<Problem>) {
    for source in &place.settings.source {
        let pack = source.pack.as_ref().unwrap_or(&source.name);
        if !brain.packs.contains_key(pack) {
            let known: Vec<&str> = brain.packs.keys().map(String::as_str).collect();
            let near = quell_core::nearest(pack, known.iter().copied());
            let help = near.map_or(known.join(", "), |n| format!("did you mean `{n}`?"));
            let fault = Fault::config(format!("there is no pack `{pack}`"), help);
            problems.push(problem(place.line_with(pack), fault));
        }
    }
}

/// What is valid and yet cannot do what is meant.
fn warned(place: &Place, brain: &Brain, people: Option<&Import>) -> Result<Vec<Problem>, Fault> {
    let settings = &place.settings;
    let (files, _) = assemble::policy_files(&place.path(&settings.paths.policy))?;
    let name = settings.paths.directory.as_ref().map(|path| path.display().to_string());
    Ok(warn::warnings(&Facts {
        policy: &brain.policy,
        files: &files,
        sources: settings.source.iter().map(|source| source.name.as_str()).collect(),
        targets: settings.target.iter().map(|target| target.provider.as_str()).collect(),
        own: settings.source.iter().flat_map(|s| &s.own_principals).map(String::as_str).collect(),
        directory: name.as_deref().zip(people),
    }))
}

/// Where the secrets of sources, log and pages are; those of targets are read with them.
fn references(place: &Place) -> impl Iterator<Item = &str> {
    let settings = &place.settings;
    let sources = settings.source.iter().flat_map(|source| {
        let poll = source.poll.iter().map(|poll| &poll.token);
        source.bearer.iter().chain(&source.hmac).chain(poll)
    });
    let notify = settings.notify.iter().map(|notify| &notify.secret);
    let own = settings.cli_token.iter().chain([&settings.evidence.key]).chain(&settings.store.key);
    sources.chain(notify).chain(own).map(String::as_str)
}
