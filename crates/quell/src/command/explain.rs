//! `quell explain ID`: the truth in ten lines, from the evidence records alone.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::Value;

use super::{say, say_json};
use crate::client::Client;
use crate::config::Place;
use crate::fault::Fault;

/// Explain a case, finding, order or signal.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  quell explain cas_…\n  quell explain --store kept/store ord_…")]
pub(crate) struct Explain {
    /// `cas_…`, `fnd_…`, `ord_…`, `sig_…` or `idn_…`.
    id: String,
    /// Read a store that no engine runs on.
    #[arg(long)]
    store: Option<PathBuf>,
    /// The key of that store by reference, where it is encrypted: `env:NAME` or `file:PATH`.
    #[arg(long, requires = "store")]
    store_key: Option<String>,
    /// One JSON object with the records.
    #[arg(long)]
    json: bool,
}

impl Explain {
    pub(crate) fn run(&self, config: Option<&Path>) -> Result<(), Fault> {
        let told = match &self.store {
            Some(folder) => {
                let key = self.store_key.as_deref();
                let views = crate::start::read_store(folder, key, config)?;
                let told = crate::explain::explain(&views, "default", &self.id);
                let told = told.map_err(|e| Fault::store(&e))?;
                let value = told.and_then(|told| serde_json::to_value(told).ok());
                value.ok_or_else(|| Fault::refused(format!("no record names `{}`", self.id)))?
            }
            None => {
                let client = Client::new(&Place::find(config)?)?;
                let id: String = self.id.chars().filter(char::is_ascii_graphic).collect();
                client.get(&format!("/v1/explain/{}", id.replace(['/', '?', '#', '%'], "")))?
            }
        };
        if self.json {
            return say_json(&told);
        }
        let lines = told.get("lines").and_then(Value::as_array);
        lines.into_iter().flatten().filter_map(Value::as_str).try_for_each(say)
    }
}
