//! The engine and its types: every input is an argument, every consequence an effect; no I/O,
//! clock, randomness, async or logging.

pub mod action;
pub mod authority;
pub mod id;
pub mod identity;
mod name;
pub mod order;
pub mod policy;
pub mod signal;
pub mod time;

pub use name::{UnknownName, nearest};
