//! Store: where the salts of evidence records come from. The one place that asks for randomness.

use quell_evidence::leaf::Salt;
use sha2::{Digest as _, Sha256};
use thiserror::Error;

/// Gives salts, each used for one record alone.
pub trait Salts: Send {
    /// The next salt.
    ///
    /// # Errors
    /// [`NoSalt`]; the commit that asked does not happen.
    fn next(&mut self) -> Result<Salt, NoSalt>;
}

/// The operating system gives no random bytes.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the operating system gives no random bytes: {0}")]
pub struct NoSalt(pub String);

/// Salts from the operating system; what every real store uses.
#[derive(Debug, Clone, Copy, Default)]
pub struct OsSalts;

/// Salts that follow from a seed, for simulations only: bodies can be guessed from them.
#[derive(Debug, Clone)]
pub struct SeededSalts {
    seed: u64,
    given: u64,
}

impl SeededSalts {
    /// The same seed gives the same salts.
    pub fn new(seed: u64) -> Self {
        Self { seed, given: 0 }
    }
}

impl Salts for OsSalts {
    fn next(&mut self) -> Result<Salt, NoSalt> {
        let mut salt = Salt::default();
        getrandom::fill(&mut salt).map_err(|error| NoSalt(error.to_string()))?;
        Ok(salt)
    }
}

impl Salts for SeededSalts {
    fn next(&mut self) -> Result<Salt, NoSalt> {
        let mut hash = Sha256::new();
        hash.update(self.seed.to_be_bytes());
        hash.update(self.given.to_be_bytes());
        self.given = self.given.wrapping_add(1);
        Ok(hash.finalize().into())
    }
}
