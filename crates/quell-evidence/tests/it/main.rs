//! Evidence: tests from outside, as an auditor would use the crate. Never reach into it.

#[cfg(test)]
mod support;

#[cfg(test)]
mod attacks;

#[cfg(test)]
mod frozen;

#[cfg(test)]
mod independent;
