//! Simulation for tests only: simulated clock, disk, providers and faults, with a reference model
//! and an oracle.
