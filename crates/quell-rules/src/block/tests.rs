//! Rules room: tests of `block`.
