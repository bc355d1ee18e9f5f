//! The one binary: configuration, HTTP listeners and command line.
fn main() {}
