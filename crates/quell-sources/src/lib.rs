//! Sources: doors that authenticate attackers' bytes, packs that decode them to signals, pollers;
//! holds no administrator's credential.
//!
//! - [`Pack`] says what a vendor's records mean; [`Pack::decode`] turns a body into signals and
//!   rejects. Pure: no I/O, no clock, the same bytes and context always give the same answer.
//! - [`door::Door`] proves who sends a body and unpacks it.
//! - [`poll::Poll`] asks a vendor for what is new; [`okta_poll::OktaPoll`] is one.
//! - [`EMBEDDED`] holds the packs that Quell ships.

pub mod limits;

mod body;
mod decode;
pub mod door;
mod embedded;
pub mod okta_poll;
mod pack;
pub mod poll;

pub use decode::{DecodeContext, Decoded, DecodedRecord};
pub use embedded::EMBEDDED;
pub use pack::{Pack, PackError};
