//! The lab's tests over HTTP, one binary. Nothing here reaches another machine.

#[cfg(test)]
mod common;
#[cfg(test)]
mod entra_target;
#[cfg(test)]
mod okta_target;
#[cfg(test)]
mod prism;
#[cfg(test)]
mod provider;
