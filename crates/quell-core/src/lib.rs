//! The engine and its types: every input is an argument, every consequence an effect; no I/O,
//! clock, randomness, async or logging. Read the modules in the order below.

pub mod id;
mod name;
pub mod time;
pub mod signal;
pub mod identity;
pub mod directory;
pub mod resolve;
pub mod rule;
pub mod history;
pub mod correlate;
pub mod finding;
pub mod action;
pub mod policy;
pub mod authority;
pub mod desire;
pub mod judge;
pub mod order;
pub mod precision;
pub mod progress;
pub mod case;
pub mod effect;
pub mod erase;
pub mod engine;
pub mod replay;

pub use name::UnknownName;
pub use quell_rules::nearest;
