//! `quell replay --pack P FILE…`: what would be in force and planned, had these records arrived in
//! this order. Sends nothing and keeps nothing.

use std::path::{Path, PathBuf};

use clap::{ArgMatches, Args};
use quell_core::effect::{Input, Intake};
use quell_core::engine::Engine;
use quell_core::finding::Finding;
use quell_core::resolve::Subject;
use quell_core::signal::{Matched, Signal};
use quell_core::time::Time;
use serde_json::json;

use super::decode::{bodies, brain, decode, find_pack, parse_time, read};
use super::say_json;
use crate::config::Place;
use crate::fault::Fault;
use crate::people;

/// Print the findings in force and the plan after feeding records in the given order.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  quell replay --pack proofpoint_tap clicks.json --pack okta \
                        log.ndjson --directory people.csv\n\nEach --pack holds for the files \
                        after it.")]
pub(crate) struct Replay {
    /// The pack of the files that follow; may stand several times.
    #[arg(long, required = true)]
    pack: Vec<String>,
    /// Files with records.
    #[arg(required = true)]
    files: Vec<PathBuf>,
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
    /// NDJSON is the only form; accepted for symmetry.
    #[arg(long)]
    json: bool,
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
        let brain = brain(config)?;
        let place = if Place::exists(config) { Some(Place::find(config)?) } else { None };
        let parts = self.parts(matches);
        let source_of = |pack: &str| {
            let sources = place.iter().flat_map(|p| &p.settings.source);
            let mut named = sources.filter(|s| s.pack.as_ref().unwrap_or(&s.name) == pack);
            named.next().map_or_else(|| pack.to_owned(), |s| s.name.clone())
        };
        let mut files = Vec::new();
        for (pack, file) in &parts {
            files.push((find_pack(&brain, pack)?, read(file)?));
        }
        let far = Time(i64::MAX / 4);
        let as_of = match &self.as_of {
            Some(text) => parse_time(text)?,
            None => {
                let mut written = None;
                for (pack, body) in &files {
                    for part in bodies(body) {
                        let records = decode(pack, pack.name(), far, &part)?.records;
                        let times = records.iter().flat_map(|r| &r.signals);
                        written = written.max(times.map(|s| s.times.written).max());
                    }
                }
                written.unwrap_or_default()
            }
        };
        let mut records: Vec<(String, Vec<Signal>)> = Vec::new();
        for (pack, body) in &files {
            let source = source_of(pack.name());
            for part in bodies(body) {
                let decoded = decode(pack, &source, as_of, &part)?;
                if let Some(reject) = decoded.fault {
                    let help = "one object, a list of objects, or NDJSON";
                    return Err(Fault::input(reject.detail, help));
                }
                for record in decoded.records {
                    records.push((source.clone(), record.signals));
                }
            }
        }
        let mut engine = Engine::new(brain.config("default", Default::default()));
        let directory = self.directory.clone().or_else(|| {
            let place = place.as_ref()?;
            place.settings.paths.directory.as_ref().map(|path| place.path(path))
        });
        if let Some(path) = directory {
            engine.step(as_of, &Input::Directory(people::read("default", &path)?));
        }
        self.feed(&mut engine, as_of, records);
        print(&engine)
    }

    fn feed(&self, engine: &mut Engine, as_of: Time, records: Vec<(String, Vec<Signal>)>) {
        let rules = engine.config().rules.clone();
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
            let matched = signals.into_iter().map(|signal| {
                let rules = rules.match_ids(&signal);
                Matched { signal: signal.into(), rules }
            });
            intake.matched.extend(matched);
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
