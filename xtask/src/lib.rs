//! Checks of the workspace that the compiler and clippy cannot make. They read files and
//! `cargo metadata`; they change nothing and need no network.

pub mod tidy;

mod rust;
mod tree;
