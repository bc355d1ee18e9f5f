//! Tidy and other checks of the workspace; run by the tests, never shipped.
fn main() {}
