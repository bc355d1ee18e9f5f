//! Targets: carry out orders at providers and read back; the only room that holds administrators' credentials.
