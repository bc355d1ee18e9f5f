//! Store: journal, state, outbox and evidence in one transaction; survives any crash, knows no vendor.
