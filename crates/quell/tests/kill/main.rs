//! The kill test: the real binary is killed (SIGKILL) at random moments while signals arrive and a
//! provider misbehaves; afterwards nothing accepted is missing and nothing was done twice without
//! ground. Nothing here reaches another machine.
//!
//! `QUELL_KILLS` sets how often (200), `QUELL_KILL_SEED` repeats a run's random moments; what the
//! scheduler does in between is not repeated.

#[cfg(test)]
mod engine;
#[cfg(test)]
mod judge;
#[cfg(test)]
mod people;
#[cfg(test)]
mod run;
#[cfg(test)]
mod story;
