//! The provider's own log of effecting calls: what arrived and happened, kept where no caller can
//! change it.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use quell_core::time::Time;
use serde::{Deserialize, Serialize};

/// One effecting call that arrived and happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Effect {
    /// When it was accepted.
    pub at: Time,
    /// The method.
    pub method: String,
    /// Path and query as they arrived.
    pub path: String,
    /// The immutable id of the user.
    pub user: String,
    /// The caller's user agent, at most 256 characters.
    pub user_agent: String,
}

#[derive(Debug, Default)]
pub(crate) struct Effects {
    kept: Mutex<(Vec<Effect>, Option<File>)>,
}

impl Effects {
    pub(crate) fn open(path: Option<PathBuf>) -> std::io::Result<Self> {
        let file = match path {
            Some(path) => Some(OpenOptions::new().create(true).append(true).open(path)?),
            None => None,
        };
        Ok(Self { kept: Mutex::new((Vec::new(), file)) })
    }

    /// Writes one down; the caller is answered only afterwards.
    ///
    /// *Crash*: what the provider held is gone with it; the file tells what was answered.
    pub(crate) fn happened(&self, effect: Effect) -> std::io::Result<()> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let (effects, file) = &mut *kept;
        if let Some(file) = file {
            let mut line = serde_json::to_vec(&effect)?;
            line.push(b'\n');
            file.write_all(&line)?;
            file.flush()?;
        }
        effects.push(effect);
        Ok(())
    }

    pub(crate) fn all(&self) -> Vec<Effect> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).0.clone()
    }
}
