//! The conformance suite of targets, one binary: every target, every verb, every fault, against a
//! real server on loopback whose state tells what happened. Reaches no other machine.

#[cfg(test)]
mod echo;
#[cfg(test)]
mod entra;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod life;
#[cfg(test)]
mod oidc;
#[cfg(test)]
mod pager;
#[cfg(test)]
mod server;
#[cfg(test)]
mod subjects;
