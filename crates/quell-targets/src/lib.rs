//! Targets: carry out orders at providers and read back; the only room that holds administrators'
//! credentials. Never touches stores, sources or rules, and has no clock: times are arguments.
//!
//! Reading order: [`Target`] (the interface and its life of a call), [`VendorClient`] (the one way
//! to a vendor), then one vendor a module: [`okta`], [`entra`], [`oidc`]. [`webhook`] is the page
//! to people.

mod classify;
mod secret;
mod step_up;
mod target;
mod text;
mod vendor;

pub mod entra;
pub mod oidc;
pub mod okta;
pub mod webhook;

pub use secret::Secret;
pub use target::{BoxFuture, Refusal, Said, Target, Trace};
pub use vendor::{Auth, BadConfig, VendorClient, VendorConfig};
