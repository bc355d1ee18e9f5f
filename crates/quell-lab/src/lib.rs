//! Lab: the company, providers and attacks of the demonstration; never used against a real provider.
