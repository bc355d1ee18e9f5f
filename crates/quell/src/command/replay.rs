//! `quell replay --pack P FILE…`: what would be in force and planned, had these records arrived in
//! this order, or in that of a journal; with `--against`, which steps another configuration would
//! add, drop or change. Sends nothing and keeps nothing.

mod against;
mod journal;

use std::path::{Path, PathBuf};

use clap::{ArgMatches, Args};
use quell_core::directory::Import;
use quell_core::effect::{Input, Intake};
use quell_core::engine::Engine;
use quell_core::finding::Finding;
use quell_core::resolve::Subject;
use quell_core::signal::Signal;
use quell_core::time::Time;
use serde_json::json;

use super::decode::{brain, find_pack, parse_time, read};
use super::say_json;
use crate::assemble::Brain;
use crate::config::Place;
use crate::fault::Fault;
use crate::{memory, people};

/// Print the findings in force and the plan after feeding records in the given order.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  quell replay --pack proofpoint_tap clicks.json --pack okta \
                        log.ndjson --directory people.csv\n  quell replay --pack okta log.ndjson \
                        --against ../proposed\n  quell replay --store\n  quell replay --store \
                        --against ../proposed\n\n\
                        Each --pack holds for the files after it. --against DIR compares the \
                        configuration here with the one in DIR: its rules/, policy/ and packs/, \
                        those that are there.")]
pub(crate) struct Replay {
    /// The pack of the files that follow; may stand several times.
    #[arg(long, required_unless_present = "store")]
    pack: Vec<String>,
    /// Files with records.
    #[arg(required_unless_present = "store")]
    files: Vec<PathBuf>,
    /// Print the steps that the configuration in DIR would add, drop or change.
    #[arg(long, value_name = "DIR")]
    against: Option<PathBuf>,
    /// Take what the journal of the configured store holds, instead of files, and say what of it is
    /// erased.
    #[arg(long, conflicts_with_all = ["pack", "files", "batch", "seed", "as_of", "directory"])]
    store: bool,
    /// Feed up to N records with one input; the sizes are drawn from the seed.
    #[arg(long, default_value_t = 1)]
    batch: usize,
    /// The seed of `--batch`.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// The `at` of every input; by default the greatest time that a vendor wrote.
    #[arg(long)]
    as_of: Option<String>,
    /// The directory; by default the one that `quell.toml` names.
    #[arg(long)]
    directory: Option<PathBuf>,
    /// NDJSON, the only form of findings and plan; one object with `--against`.
    #[arg(long)]
    json: bool,
}

/// What goes in.
struct Fed {
    as_of: Time,
    directory: Option<Import>,
    records: Vec<(String, Vec<Signal>)>,
}

/// One file with the pack that holds for it.
type Part = (String, PathBuf);

impl Replay {
    /// Which pack holds for which file, by their places on the command line.
    fn parts(&self, matches: &ArgMatches) -> Vec<Part> {
        let at = |id: &str| -> Vec<usize> {
            matches.indices_of(id).map(Iterator::collect).unwrap_or_default()
        };
        let packs: Vec<(usize, &String)> = at("pack").into_iter().zip(&self.pack).collect();
        let files = at("files").into_iter().zip(&self.files);
        files
            .filter_map(|(place, file)| {
                let before = packs.iter().rev().find(|(index, _)| *index < place);
                let pack = before.or(packs.first())?;
                Some((pack.1.clone(), file.clone()))
            })
            .collect()
    }

    pub(crate) fn run(&self, config: Option<&Path>, matches: &ArgMatches) -> Result<(), Fault> {
        let place = if Place::exists(config) { Some(Place::find(config)?) } else { None };
        if let Some(folder) = &self.against {
            return self.compare(config, place.as_ref(), folder, matches);
        }
        let brain = brain(config)?;
        if self.store {
            return journal::replay(&brain, configured(place.as_ref())?);
        }
        let fed = self.fed(&brain, place.as_ref(), matches)?;
        let mut engine = Engine::new(brain.config(memory::TENANT, Default::default()));
        if let Some(import) = fed.directory {
            engine.step(fed.as_of, &Input::Directory(import));
        }
        self.feed(&mut engine, &brain, fed.as_of, fed.records);
        print(&engine)
    }

    /// What goes in, as the packs of this configuration decode it.
    fn fed(
        &self,
        brain: &Brain,
        place: Option<&Place>,
        matches: &ArgMatches,
    ) -> Result<Fed, Fault> {
        let source_of = |pack: &str| {
            let sources = place.iter().flat_map(|p| &p.settings.source);
            let mut named = sources.filter(|s| s.pack.as_ref().unwrap_or(&s.name) == pack);
            named.next().map_or_else(|| pack.to_owned(), |s| s.name.clone())
        };
        let mut files = Vec::new();
        for (pack, file) in &self.parts(matches) {
            files.push((find_pack(brain, pack)?, read(file)?));
        }
        let decoded = |now: Time| -> Result<Vec<(String, Vec<Signal>)>, Fault> {
            let mut records = Vec::new();
            for (pack, body) in &files {
                records.extend(memory::records(pack, &source_of(pack.name()), now, body)?);
            }
            Ok(records)
        };
        let as_of = match &self.as_of {
            Some(text) => parse_time(text)?,
            None => memory::latest(&decoded(Time(i64::MAX / 4))?).unwrap_or_default(),
        };
        let records = decoded(as_of)?;
        let configured = || {
            let place = place?;
            place.settings.paths.directory.as_ref().map(|path| place.path(path))
        };
        let directory = self.directory.clone().or_else(configured);
        let directory = directory.map(|path| people::read(memory::TENANT, &path)).transpose()?;
        Ok(Fed { as_of, directory, records })
    }

    fn feed(
        &self,
        engine: &mut Engine,
        brain: &Brain,
        as_of: Time,
        records: Vec<(String, Vec<Signal>)>,
    ) {
        let mut state = self.seed ^ 0x9e37_79b9_7f4a_7c15;
        let mut size = || {
            // SplitMix64 (Steele, Lea, Flood 2014): only the sizes of batches come from it.
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            let drawn = usize::try_from((z ^ (z >> 31)) >> 33).unwrap_or_default();
            drawn % self.batch.max(1) + 1
        };
        let mut left = size();
        let mut intake = Intake::default();
        for (source, signals) in records {
            let one = memory::intake(brain, &source, signals.into_iter());
            intake.matched.extend(one.matched);
            intake.source = source;
            left -= 1;
            if left == 0 {
                engine.step(as_of, &Input::Signals(std::mem::take(&mut intake)));
                left = size();
            }
        }
        engine.step(as_of, &Input::Signals(intake));
    }
}

/// The configuration whose store is meant.
fn configured(place: Option<&Place>) -> Result<&Place, Fault> {
    place.ok_or_else(|| Fault::input("--store needs a configuration", "name it with --config"))
}

fn print(engine: &Engine) -> Result<(), Fault> {
    let mut findings: Vec<&Finding> = engine.findings().collect();
    findings.sort_by_key(|f| (f.first_at, f.id));
    for finding in findings {
        let identity = match &finding.subject {
            Subject::Identity(id) => engine.directory().identity(*id).map(|i| i.key.clone()),
            Subject::Account { .. } => None,
        };
        say_json(&json!({ "type": "finding", "identity": identity, "finding": finding }))?;
    }
    for row in engine.plan() {
        say_json(&json!({ "type": "step", "step": row }))?;
    }
    Ok(())
}
