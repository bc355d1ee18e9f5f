//! Simulation room: many seeds, each a world of its own, and the proof that the oracle can fail.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use quell_sim::{Failure, Options, Sabotage, Stats, run};

/// Seeds of a plain `cargo test`; `SIM_SEEDS` sets another number.
const SEEDS: u64 = 1000;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

/// Runs seeds on all cores until one fails.
fn many(first: u64, count: u64, options: Options) -> Result<Stats, Box<Failure>> {
    let next = AtomicU64::new(first);
    let all = Mutex::new((Stats::default(), None::<Failure>));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + count {
                        return;
                    }
                    let result = run(seed, &options);
                    let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
                    match result {
                        Ok(stats) => all.0.add(&stats),
                        Err(failure) => {
                            next.store(first + count, Ordering::Relaxed);
                            all.1.get_or_insert(failure);
                        }
                    }
                }
            });
        }
    });
    let (stats, failure) = all.into_inner().unwrap_or_else(PoisonError::into_inner);
    failure.map_or(Ok(stats), |failure| Err(Box::new(failure)))
}

#[test]
fn the_engine_keeps_its_word() {
    let one = number("SIM_SEED");
    let first = one.unwrap_or(0);
    let count = one.map_or(number("SIM_SEEDS").unwrap_or(SEEDS), |_| 1);
    let mut options = Options::default();
    if one.is_some() {
        options.trail = 100_000;
    }
    let stats = many(first, count, options).unwrap_or_else(|failure| {
        panic!("{failure}\nreproduce with SIM_SEED={} cargo test -p quell-sim", failure.seed)
    });
    println!(
        "simulation: seeds {first}..{}, {} steps, {} crashes, {} faults",
        first + count,
        stats.steps,
        stats.crashes,
        stats.faults
    );
    for (name, count) in &stats.counts {
        println!("  {count:>8} {name}");
    }
    if count >= 500 {
        assert_eq!(stats.missing(), Vec::<&str>::new(), "never happened");
    }
}

#[test]
fn the_same_seed_gives_the_same_world() {
    for seed in 0..5 {
        assert_eq!(run(seed, &Options::default()), run(seed, &Options::default()));
    }
}

/// A dispatcher or a door that breaks its word is found out.
#[test]
fn the_oracle_finds_what_is_wrong() {
    for (sabotage, words) in [
        (Sabotage::SkipsClaim, "without a recorded permit and claim"),
        (Sabotage::RepeatsUnknown, "leaves a second time"),
        (Sabotage::AnswersEarly, "was accepted and is lost"),
        (Sabotage::ForgetsOutcome, "does not come to rest"),
        (Sabotage::IgnoresFreeze, "leaves during a freeze"),
    ] {
        let options = Options { sabotage, ..Options::default() };
        let failure = many(0, 400, options).expect_err("the oracle saw nothing");
        assert!(failure.what.contains(words), "{sabotage:?}: {failure}");
    }
}
