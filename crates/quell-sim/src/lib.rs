//! Simulation for tests only: simulated clock, disk, providers, sources and people with faults, a
//! reference model and an oracle. Uses no system clock, no randomness and no network.
//!
//! In reading order: [`run`] lives the world of one seed; `world` chooses what happens next;
//! `process` is one life of the engine, driven as the shell drives it; `wire`, `provider`,
//! `source`, `disk` and `story` are what lies around it; `ledger` is what the evidence alone says;
//! `oracle` says what must hold. `docs/simulation.md` tells the same for people.

mod rng;

mod stats;

mod company;

mod story;

mod provider;

mod wire;

mod source;

mod disk;

mod process;

mod ledger;

mod world;

mod oracle;

pub use stats::{CASES, Stats};
pub use world::{Failure, Options, Sabotage, run};
