//! `quell store rekey`: another key for the store, while no engine runs on it.

use std::path::Path;

use clap::{Args, Subcommand};
use serde_json::json;

use super::{say, say_json};
use crate::config::Place;
use crate::fault::Fault;
use crate::{secret, start};

/// Look after the store on its disk.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  openssl rand -base64 32 > new.key && chmod 600 new.key\n  quell store rekey --to file:new.key"
)]
pub(crate) struct StoreArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Wrap the data keys under another key; what they encrypt is not touched.
    Rekey {
        /// The new key by reference: `env:NAME` or `file:PATH`.
        #[arg(long)]
        to: String,
        /// One JSON object.
        #[arg(long)]
        json: bool,
    },
}

impl StoreArgs {
    pub(crate) fn run(&self, config: Option<&Path>) -> Result<(), Fault> {
        let What::Rekey { to, json } = &self.what;
        let place = Place::find(config)?;
        let before = place.store_key()?.ok_or_else(|| {
            let help = "write `[store]` with `key = \"…\"`: from then on it is encrypted";
            Fault::config("the store has no key to be changed", help)
        })?;
        let after = secret::store_key(&place.folder, to)?;
        let folder = place.path(&place.settings.paths.store);
        let mut store = start::open_store(&folder, Some(before))?;
        let keys = store.rekey(&after).map_err(|e| Fault::store(&e))?;
        let gone = store.purge().map_err(|e| Fault::store(&e))?;
        if *json {
            return say_json(&json!({ "data_keys": keys, "old_wrappings_gone": gone }));
        }
        say(&format!("{keys} data keys are wrapped under the new key"))?;
        if !gone {
            say("a reader stands in the way: the old wrappings go at the next start")?;
        }
        say(&format!("next: write `key = \"{to}\"` under `[store]` in quell.toml, then serve"))
    }
}
