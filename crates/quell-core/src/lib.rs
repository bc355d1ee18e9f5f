//! The engine and its types: every input is an argument, every consequence an effect; no I/O, clock, randomness, async or logging.
