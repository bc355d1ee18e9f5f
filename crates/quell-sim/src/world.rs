//! Simulation room, world: everything of one seed, and the choice of what happens next. All that
//! happens follows from the seed.

mod choose;
mod engine;
mod people;
mod settle;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use quell_core::effect::CallId;
use quell_core::time::{DAY, HOUR, Time};
use quell_evidence::note::SignerKey;
use quell_store::mem::MemDisk;

use crate::company::{Company, GATEWAY, OKTA};
use crate::disk::Faults;
use crate::ledger::Ledger;
use crate::oracle;
use crate::process::Process;
use crate::provider::Providers;
use crate::rng::Rng;
use crate::source::Source;
use crate::stats::Stats;
use crate::story::{Arrival, STORIES, Story, Teller};
use crate::wire::Wire;

/// When every world begins.
pub(crate) const BEGIN: Time = Time(1_780_000_000_000_000);
/// The log's name and its key, the same in every world.
pub(crate) const ORIGIN: &str = "quell.example/simulation";

/// How long a world lives before it settles: well within the retention of the shipped limits, so
/// that nothing is forgotten and the law of arrival can be tested.
const LIFE_MAX: i64 = 6 * DAY;

/// What is wrong with the engine on purpose, to see that the oracle finds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sabotage {
    /// Nothing.
    #[default]
    None,
    /// Dispatch sends without a claim.
    SkipsClaim,
    /// Dispatch sends again by itself when no answer came.
    RepeatsUnknown,
    /// The door answers before the commit.
    AnswersEarly,
    /// The engine keeps an outcome to itself.
    ForgetsOutcome,
    /// Dispatch does not look whether a freeze came between claim and send.
    IgnoresFreeze,
}

/// How a world is run.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Steps before everything is left to settle.
    pub steps: u64,
    /// What is wrong on purpose.
    pub sabotage: Sabotage,
    /// How many of the last steps a failure tells.
    pub trail: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { steps: 500, sabotage: Sabotage::None, trail: 80 }
    }
}

/// A world in which the engine did not keep its word.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("seed {seed}, step {step}, {at}: {what}\nthe last steps:\n  {}", .trail.join("\n  "))]
pub struct Failure {
    /// The seed; the same seed fails again.
    pub seed: u64,
    /// The step at which it was found.
    pub step: u64,
    /// The simulated time.
    pub at: Time,
    /// What does not hold.
    pub what: String,
    /// The last steps before.
    pub trail: Vec<String>,
}

/// Everything of one seed.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) seed: u64,
    pub(crate) now: Time,
    pub(crate) stats: Stats,
    pub(crate) company: Company,
    pub(crate) disk: MemDisk,
    pub(crate) process: Option<Process>,
    pub(crate) providers: Providers,
    pub(crate) sources: Vec<Source>,
    pub(crate) ledger: Ledger,
    /// Checkpoints that were given to somebody outside, who keeps them.
    pub(crate) held: Vec<String>,
    /// How many of them the oracle has looked at.
    pub(crate) looked_at: usize,
    /// Ids of the pages that reached people.
    pub(crate) delivered: BTreeSet<String>,
    /// A freeze is in force, and whoever asked for it may know.
    pub(crate) frozen: bool,
    /// How often each effecting call was sent.
    pub(crate) sends: BTreeMap<CallId, u32>,
    /// Signals of what our credential did without us.
    pub(crate) foreign: BTreeSet<String>,
    pub(crate) key: SignerKey,
    pub(crate) sabotage: Sabotage,
    rng: Rng,
    faults: Faults,
    wire: Wire,
    arrivals: Vec<Arrival>,
    /// People of whom there is a history.
    known: Vec<String>,
    number: u64,
    step: u64,
    life: u64,
    settling: bool,
    /// How often the engine dies.
    deadly: u64,
    trail: VecDeque<String>,
    trail_max: usize,
}

/// Runs the world of a seed and gives what happened in it.
///
/// # Errors
/// [`Failure`]: the first thing that does not hold.
pub fn run(seed: u64, options: &Options) -> Result<Stats, Failure> {
    let nothing = |what: String| Failure { seed, step: 0, at: BEGIN, what, trail: Vec::new() };
    let mut world = World::new(seed, options).map_err(nothing)?;
    let lived = world.live(options.steps);
    lived.map_err(|what| Failure {
        seed,
        step: world.step,
        at: world.now,
        what,
        trail: world.trail.iter().cloned().collect(),
    })?;
    world.stats.seeds = 1;
    world.stats.steps = world.step;
    Ok(world.stats)
}

impl World {
    fn new(seed: u64, options: &Options) -> Result<Self, String> {
        let mut rng = Rng::new(seed.wrapping_mul(0x2545_f491_4f6c_dd1d).wrapping_add(1));
        let company = Company::new(&mut rng);
        let providers = Providers::new(&company, BEGIN, &mut rng);
        let disk = MemDisk::new();
        let faults = Faults::install(&disk, &mut rng);
        let sources =
            vec![Source::new(OKTA, true, &mut rng), Source::new(GATEWAY, false, &mut rng)];
        let wire = Wire::new(&mut rng);
        let deadly = rng.pick(&[1, 3, 10]).copied().unwrap_or_default();
        let key = SignerKey::from_seed(ORIGIN, &[7; 32]).map_err(|e| e.to_string())?;
        let mut world = Self {
            seed,
            now: BEGIN,
            stats: Stats::default(),
            company,
            disk,
            process: None,
            providers,
            sources,
            ledger: Ledger::default(),
            held: Vec::new(),
            looked_at: 0,
            delivered: BTreeSet::new(),
            frozen: false,
            sends: BTreeMap::new(),
            foreign: BTreeSet::new(),
            key,
            sabotage: options.sabotage,
            rng,
            faults,
            wire,
            arrivals: Vec::new(),
            known: Vec::new(),
            number: 0,
            step: 0,
            life: 0,
            settling: false,
            deadly,
            trail: VecDeque::new(),
            trail_max: options.trail,
        };
        world.write_stories()?;
        Ok(world)
    }

    /// Some people, each with a history and some stories within half a day.
    fn write_stories(&mut self) -> Result<(), String> {
        for _ in 0..self.rng.span(1, 3) {
            let who = self.victim();
            let mut teller = self.teller();
            teller.history(&who, BEGIN)?;
            let arrivals = teller.arrivals;
            self.arrivals.extend(arrivals);
            for _ in 0..self.rng.span(1, 3) {
                let at = BEGIN.plus(self.rng.span(0, 12 * HOUR));
                self.write_story(&who, at)?;
            }
            self.known.push(who);
        }
        Ok(())
    }

    /// Anybody; one whose accounts may be blocked is preferred.
    fn victim(&mut self) -> String {
        let preferred = |key: &&String| key.starts_with("admin") || *key == "payroll";
        let keys: Vec<String> = self.company.people.iter().map(|p| p.key.clone()).collect();
        let some: Vec<String> = keys.iter().filter(preferred).cloned().collect();
        let from = if self.rng.chance(400) { &some } else { &keys };
        self.rng.pick(from).cloned().unwrap_or_default()
    }

    /// Somebody meets something; mostly one of whom there is a history.
    fn meet(&mut self, at: Time) -> Result<(), String> {
        let known = self.rng.pick(&self.known).cloned();
        let who = match known.filter(|_| self.rng.chance(700)) {
            Some(who) => who,
            None => self.victim(),
        };
        self.write_story(&who, at)
    }

    fn write_story(&mut self, who: &str, at: Time) -> Result<(), String> {
        let story = self.rng.pick(&STORIES).copied().unwrap_or(Story::Phished);
        let story = if self.rng.chance(50) { Story::Scanned } else { story };
        self.note(|| format!("story {story:?} of {who} at {at}"));
        let mut teller = self.teller();
        teller.tell(story, who, at)?;
        let arrivals = teller.arrivals;
        self.arrivals.extend(arrivals);
        Ok(())
    }

    fn teller(&mut self) -> Teller<'_> {
        Teller { rng: &mut self.rng, number: &mut self.number, arrivals: Vec::new() }
    }

    fn live(&mut self, steps: u64) -> Result<(), String> {
        for _ in 0..steps {
            if self.now.since(BEGIN) > LIFE_MAX {
                break;
            }
            self.one_step()?;
        }
        self.settle()?;
        oracle::at_end(self)
    }

    /// Keeps the last steps for whoever looks for a fault.
    fn note(&mut self, text: impl FnOnce() -> String) {
        let line = format!("{} {}: {}", self.step, self.now, text());
        if self.trail.len() >= self.trail_max {
            self.trail.pop_front();
        }
        self.trail.push_back(line);
    }
}
