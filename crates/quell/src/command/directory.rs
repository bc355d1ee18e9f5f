//! `quell directory import FILE`: people, accounts and classes into the running engine.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::Value;

use super::{say, say_json};
use crate::client::Client;
use crate::config::Place;
use crate::fault::Fault;
use crate::people;

/// The directory of identities.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  quell directory import people.csv")]
pub(crate) struct Directory {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Replace the directory by a CSV or JSON file; one without identities is refused.
    Import {
        /// The file.
        file: PathBuf,
        /// One JSON object.
        #[arg(long)]
        json: bool,
    },
}

impl Directory {
    pub(crate) fn run(&self, config: Option<&Path>) -> Result<(), Fault> {
        let What::Import { file, json } = &self.what;
        let place = Place::find(config)?;
        let import = people::read(&place.settings.tenant, file)?;
        if import.identities.is_empty() {
            let message = format!("`{}` holds 0 identities", file.display());
            let help = "an empty file would make everybody unknown; give the whole directory";
            return Err(Fault::input(message, help));
        }
        let client = Client::new(&place)?;
        let body = serde_json::to_value(&import).map_err(|e| Fault::store(&e))?;
        let told = client.post("/v1/directory", &body)?;
        if *json {
            return say_json(&told);
        }
        let count = told.get("identities").and_then(Value::as_u64).unwrap_or_default();
        say(&format!("imported {count} identities"))
    }
}
