//! `quell watch KIND`: a watchlist as feeds show it.

use std::path::Path;

use clap::Args;
use serde_json::Value;

use super::{say, say_json};
use crate::client::Client;
use crate::config::Place;
use crate::fault::Fault;

/// Print a watchlist: user, sender, domain, url or oauth_app.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  quell watch url")]
pub(crate) struct Watch {
    /// What kind of thing.
    #[arg(value_parser = ["user", "sender", "domain", "url", "oauth_app"])]
    kind: String,
    /// One JSON array.
    #[arg(long)]
    json: bool,
}

impl Watch {
    pub(crate) fn run(&self, config: Option<&Path>) -> Result<(), Fault> {
        let client = Client::new(&Place::find(config)?)?;
        let rows = client.get(&format!("/v1/watchlists/{}", self.kind))?;
        if self.json {
            return say_json(&rows);
        }
        for row in rows.as_array().into_iter().flatten() {
            let text = |name: &str| row.get(name).and_then(Value::as_str).unwrap_or_default();
            let value = quell_core::engine::plain(text("value"));
            say(&format!("`{value}`  until {}  {}", text("until"), text("case")))?;
        }
        Ok(())
    }
}
