//! Run: the loop, dispatch, retry and timers as state machines, used by the binary and by the
//! simulation alike. Reads no attacker's bytes and holds no credential.

pub mod keeper;
pub mod dispatch;
mod queue;
pub mod shell;

pub use keeper::{KeepError, Keeper, Opener, Outputs, Receipt, Submission, TooLong};
pub use shell::{Busy, Clock, Depths, Handle, Parts, StartError, start, timer};
