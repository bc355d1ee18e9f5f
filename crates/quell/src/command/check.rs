//! `quell check`: reads every file of the folder and names what is wrong: file, line, remedy.

use std::path::Path;

use clap::Args;
use serde_json::json;

use super::{say, say_json};
use crate::assemble::{self, Brain};
use crate::config::Place;
use crate::fault::Fault;
use crate::{people, secret};

/// Check settings, rules, policy, packs and directory; exit 3 when something is wrong.
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
        let mut note = |line: Option<u32>, fault: Fault| {
            problems.push(assemble::Problem {
                file: crate::config::FILE.into(),
                line,
                message: fault.message,
                remedy: fault.help,
            });
        };
        let mut people = 0;
        if let Some(directory) = &place.settings.paths.directory {
            match people::read(&place.settings.tenant, &place.path(directory)) {
                Ok(import) => people = import.identities.len(),
                Err(fault) => note(None, fault),
            }
        }
        for reference in references(&place) {
            if let Err(fault) = secret::resolve(&place.folder, reference) {
                note(place.line_with(reference), fault);
            }
        }
        if let Ok(brain) = &brain {
            for source in &place.settings.source {
                let pack = source.pack.as_ref().unwrap_or(&source.name);
                if !brain.packs.contains_key(pack) {
                    let known: Vec<&str> = brain.packs.keys().map(String::as_str).collect();
                    let near = quell_core::nearest(pack, &known);
                    let help = near.map_or(known.join(", "), |n| format!("did you mean `{n}`?"));
                    let line = place.line_with(pack);
                    note(line, Fault::config(format!("there is no pack `{pack}`"), help));
                }
            }
            if let Err(fault) = assemble::targets(&place, &brain.policy) {
                note(None, fault);
            }
        }
        let found = problems.len();
        if self.json {
            say_json(&json!({ "ok": found == 0, "problems": problems }))?;
        } else if let (0, Ok(brain)) = (found, &brain) {
            say(&format!(
                "ok: {} rules, {} packs, {} sources, {} targets, {people} identities, mode {}",
                brain.rules.iter().count(),
                brain.packs.len(),
                place.settings.source.len(),
                place.settings.target.len(),
                brain.policy.armed.mode,
            ))?;
        }
        match found {
            0 => Ok(()),
            _ if self.json => Err(Fault::config(format!("{found} problem(s)"), "")),
            _ => Err(Fault {
                help: "correct the files and check again".into(),
                ..assemble::fault(&problems)
            }),
        }
    }
}

/// Where the secrets of sources, log and pages are; those of targets are read with them.
fn references(place: &Place) -> impl Iterator<Item = &str> {
    let settings = &place.settings;
    let sources = settings.source.iter().flat_map(|source| {
        let poll = source.poll.iter().map(|poll| &poll.token);
        source.bearer.iter().chain(&source.hmac).chain(poll)
    });
    let notify = settings.notify.iter().map(|notify| &notify.secret);
    let own = settings.cli_token.iter().chain([&settings.evidence.key]);
    sources.chain(notify).chain(own).map(String::as_str)
}
