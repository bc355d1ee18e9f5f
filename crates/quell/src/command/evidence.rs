//! `quell evidence export|verify`: a bundle that an auditor checks offline with the public key.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use quell_evidence::bundle;
use quell_evidence::note::VerifierKey;
use serde_json::json;

use super::{say, say_json};
use crate::client::Client;
use crate::config::Place;
use crate::fault::Fault;
use crate::start;

/// Export and verify evidence.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  quell evidence export evidence.bundle\n  quell evidence verify evidence.bundle --key key.pub"
)]
pub(crate) struct Evidence {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Write everything up to a fresh checkpoint to one file.
    Export {
        /// The file.
        file: PathBuf,
        /// Read a store that no engine runs on, up to its last checkpoint.
        #[arg(long, requires = "key")]
        store: Option<PathBuf>,
        /// The public key, with --store.
        #[arg(long)]
        key: Option<PathBuf>,
        /// The key of that store by reference, where it is encrypted: `env:NAME` or `file:PATH`.
        #[arg(long, requires = "store")]
        store_key: Option<String>,
        /// One JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Verify a bundle with the public key alone; exit 5 when anything is wrong.
    Verify {
        /// The bundle.
        file: PathBuf,
        /// The public key.
        #[arg(long)]
        key: PathBuf,
        /// A checkpoint held elsewhere: the bundle must continue it.
        #[arg(long)]
        checkpoint: Option<PathBuf>,
        /// One JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Print a fresh signed checkpoint, to be held elsewhere.
    Checkpoint,
}

impl Evidence {
    pub(crate) fn run(&self, config: Option<&Path>) -> Result<(), Fault> {
        match &self.what {
            What::Export { file, store, key, store_key, json } => {
                let bytes = match (store, key) {
                    (Some(store), Some(key)) => {
                        let views = start::read_store(store, store_key.as_deref(), config)?;
                        crate::bundle::export(&views, "default", &text(key)?)?
                    }
                    _ => Client::new(&Place::find(config)?)?.bytes("/v1/evidence/bundle")?,
                };
                std::fs::write(file, &bytes).map_err(|e| Fault::file(file, &e))?;
                let told = json!({ "file": file, "bytes": bytes.len() });
                if *json {
                    return say_json(&told);
                }
                say(&format!("wrote {} bytes to `{}`", bytes.len(), file.display()))
            }
            What::Verify { file, key, checkpoint, json } => {
                verify(file, key, checkpoint.as_deref(), *json)
            }
            What::Checkpoint => {
                let client = Client::new(&Place::find(config)?)?;
                let note = client.bytes("/v1/evidence/checkpoint")?;
                say(String::from_utf8_lossy(&note).trim_end())
            }
        }
    }
}

fn text(path: &Path) -> Result<String, Fault> {
    std::fs::read_to_string(path).map_err(|e| Fault::file(path, &e))
}

fn verify(file: &Path, key: &Path, held: Option<&Path>, json: bool) -> Result<(), Fault> {
    let bytes = std::fs::read(file).map_err(|e| Fault::file(file, &e))?;
    let key: VerifierKey = text(key)?
        .trim_end()
        .parse()
        .map_err(|_| Fault::evidence(format!("`{}` is no verifier key", key.display())))?;
    let held =
        held.map(|path| std::fs::read(path).map_err(|e| Fault::file(path, &e))).transpose()?;
    match bundle::verify(&bytes, &key, held.as_deref()) {
        Ok(seen) => {
            let told = json!({
                "verified": true, "origin": seen.origin, "tenant": seen.tenant,
                "records": seen.records, "erased": seen.erased,
                "first_at": seen.first_at, "last_at": seen.last_at,
            });
            if json {
                return say_json(&told);
            }
            say(&format!(
                "verified: {} records of tenant `{}`, log `{}`, {} erased",
                seen.records, seen.tenant, seen.origin, seen.erased
            ))
        }
        Err(broken) => {
            if json {
                say_json(&json!({ "verified": false, "why": broken.to_string() }))?;
            }
            Err(Fault::evidence(format!("`{}`: {broken}", file.display())))
        }
    }
}
