//! Binary room, tests from outside: the built `quell` as a process, its HTTP and its command line,
//! against providers that hold real sessions. They reach into nothing private of the binary.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test by panicking")]
#![expect(clippy::panic, reason = "a helper of a test fails the test by panicking")]

mod api;
mod authority;
mod cli;
mod common;
mod door;
mod encrypted;
mod entra;
mod erased;
mod intake;
mod oidc;
mod people;
