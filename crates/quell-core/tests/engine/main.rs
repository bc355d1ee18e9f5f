//! Properties of the engine as a whole (DESIGN.md, sections 3 to 7): the law of arrival, the
//! ceilings by reach, the states of orders, crash and resume, determinism, closed failure, and
//! what hostile input can do. It reaches into nothing private.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a helper of a test fails by panicking, and prints its seed"
)]

mod company;
mod world;
mod law;
mod sorted;
mod reach;
mod matrix;
mod states;
mod drive;
mod walk;
mod repeats;
mod crash;
mod attacked;
mod closed;
mod blind;
mod closing;
mod erasing;
mod contained;
mod fixtures;
