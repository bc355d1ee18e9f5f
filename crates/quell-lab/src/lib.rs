//! Lab: the company, providers and attacks of the demonstration; never used against a real
//! provider. Knows the core's identities and nothing of the engine, the targets or the sources.
//!
//! Reading order: [`mod@company`] (invented people), [`attack`] (records in the vendors' own
//! shapes), then the identity providers that hold real sessions: [`Provider`] in the Okta dialect,
//! [`entra::Entra`] in that of Microsoft Graph.

pub mod attack;
pub mod company;
pub mod entra;
mod event;
mod provider;

pub use company::{Company, Person, Place, company};
pub use provider::effects::Effect;
pub use provider::fault::{Fault, Injected};
pub use provider::{BadPath, Options, Provider, Running, StartError};
