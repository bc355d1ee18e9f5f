//! `quell demo`: a company, its identity provider and an attack, all on this machine. Everything
//! shown is asked of the provider, not of Quell; exit 0 only if all of it is true.

mod scene;
mod show;

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::{say, say_json};
use crate::fault::Fault;
use scene::Scene;

/// Show a phishing click end a real session, with the reason and the proof.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  quell demo --keep kept\n  quell evidence verify \
                        kept/evidence.bundle --key kept/key.pub")]
pub(crate) struct Demo {
    /// One JSON object at the end, nothing else.
    #[arg(long)]
    json: bool,
    /// Leave the store, `evidence.bundle` and `key.pub` in this folder.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
}

/// What was shown.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Shown {
    /// The attacked person's session, refresh token and access token are refused.
    pub(crate) contained: bool,
    /// From the commit of the completing signal to the first byte of the provider request.
    pub(crate) signal_to_request_ms: f64,
    /// From the commit of the completing signal to the read-back that agrees.
    pub(crate) signal_to_verified_ms: f64,
    /// The exported bundle verifies, and one with a changed byte does not.
    pub(crate) evidence_verified: bool,
    /// The administrator's sessions ended at once.
    pub(crate) administrator_contained: bool,
    /// Her suspension waits for an approval.
    pub(crate) suspension_awaits_approval: bool,
    /// Nothing was done to the break-glass account, and people were paged.
    pub(crate) break_glass_left_alone: bool,
    /// What an outsider alone can cause stayed at observe.
    pub(crate) outsider_stayed_at_observe: bool,
    /// A click alone stayed at challenge.
    pub(crate) click_stayed_at_challenge: bool,
    /// Evidence records.
    pub(crate) records: u64,
    /// Seconds that the demonstration took.
    pub(crate) seconds: f64,
}

impl Shown {
    fn missing(&self) -> Vec<&'static str> {
        let claims = [
            (self.contained, "the person was not contained"),
            (self.signal_to_request_ms > 0.0, "no time from signal to request"),
            (self.signal_to_verified_ms > 0.0, "no time from signal to proof"),
            (self.evidence_verified, "the evidence does not verify"),
            (self.administrator_contained, "the administrator was not contained"),
            (self.suspension_awaits_approval, "the suspension does not wait for an approval"),
            (self.break_glass_left_alone, "the break-glass account was not left alone"),
            (self.outsider_stayed_at_observe, "an outsider caused more than observe"),
            (self.click_stayed_at_challenge, "a click alone did not stay at challenge"),
        ];
        claims.into_iter().filter(|(held, _)| !held).map(|(_, what)| what).collect()
    }
}

impl Demo {
    pub(crate) fn run(&self) -> Result<(), Fault> {
        let temporary = tempfile::tempdir().map_err(|e| Fault::store(&e))?;
        let folder = match &self.keep {
            Some(folder) => {
                if folder.join("store").exists() {
                    let message = format!("`{}` holds a store already", folder.display());
                    return Err(Fault::input(message, "name an empty folder"));
                }
                std::fs::create_dir_all(folder).map_err(|e| Fault::file(folder, &e))?;
                folder.clone()
            }
            None => temporary.path().to_path_buf(),
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .map_err(|e| Fault::store(&e))?;
        let json = self.json;
        let narrate = move |line: &str| if json { Ok(()) } else { say(line) };
        let shown = runtime.block_on(async {
            let scene = Scene::set(&folder).await?;
            show::play(scene, &folder, &narrate).await
        })?;
        if self.json {
            say_json(&shown)?;
        }
        match shown.missing().as_slice() {
            [] => Ok(()),
            missing => Err(Fault::shown(missing.join("; "))),
        }
    }
}
