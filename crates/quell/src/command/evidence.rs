//! `quell evidence export|verify|erase`: a bundle that an auditor checks offline with the public
//! key, and the end of what names a person.

use std::io::{BufRead as _, IsTerminal as _, Read as _};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use quell_evidence::bundle;
use quell_evidence::note::VerifierKey;
use serde_json::{Value, json};

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
    /// Forget a person for ever: state, journal, evidence bodies; proofs stay valid.
    #[command(
        after_help = "Example:\n  quell evidence erase idn_… --why \"asked on paper, art. 17\"\n\n\
                            It cannot be undone. First take the person out of the directory's \
                            source, or the next import brings him back."
    )]
    Erase {
        /// `idn_…`, or a login, address, account id or key of the directory.
        who: String,
        /// Why, for the record; must not name the person.
        #[arg(long)]
        why: String,
        /// Cases that are still open, and orders that have not left, go with him.
        #[arg(long)]
        force: bool,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
        /// One JSON object.
        #[arg(long)]
        json: bool,
    },
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
            What::Erase { who, why, force, yes, json } => {
                if !yes {
                    confirm(who)?;
                }
                erase(&Client::new(&Place::find(config)?)?, who, why, *force, *json)
            }
        }
    }
}

/// Asks the person at the terminal; whoever is no terminal must say `--yes`.
fn confirm(who: &str) -> Result<(), Fault> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return Err(Fault::input("there is no terminal to ask at", "say --yes"));
    }
    say(&format!("`{who}` will be forgotten for ever: records, findings, cases, evidence bodies"))?;
    say("type `erase` to go on:")?;
    let mut line = String::new();
    stdin.lock().take(100).read_line(&mut line).map_err(|e| Fault::input(e.to_string(), ""))?;
    if line.trim() == "erase" { Ok(()) } else { Err(Fault::refused("nothing was erased")) }
}

/// Asks the engine and waits until it is done.
fn erase(client: &Client, who: &str, why: &str, force: bool, json: bool) -> Result<(), Fault> {
    let asked = client.post("/v1/erasures", &json!({ "who": who, "why": why, "force": force }))?;
    let id = asked.get("identity").and_then(Value::as_str).unwrap_or_default();
    let done = loop {
        let seen = client.get(&format!("/v1/erasures/{id}"))?;
        if seen.get("done") == Some(&Value::Bool(true)) {
            break seen;
        }
        if !json {
            say("searching journal and evidence …")?;
        }
    };
    if json {
        return say_json(&done);
    }
    let count = |at: &str| done.pointer(at).and_then(Value::as_u64).unwrap_or_default();
    say(&format!(
        "erased {id}: {} frames and a part of {} ({} signals, {} redacted, {} raw records), \
         {} evidence bodies ({} of them about others)",
        count("/erased/frames/count"),
        count("/erased/parts/count"),
        count("/erased/signals"),
        count("/erased/redacted"),
        count("/erased/raw"),
        count("/erased/records/count"),
        count("/erased/others"),
    ))?;
    say("backups, webhooks and the SIEM are yours to forget; so is the directory's source")
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
