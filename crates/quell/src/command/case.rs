//! `quell case`: the cases, newest first.

use std::path::Path;

use clap::Args;
use serde_json::Value;

use super::{say, say_json};
use crate::client::Client;
use crate::config::Place;
use crate::fault::Fault;

/// List cases, newest first.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  quell case\n  quell explain cas_…")]
pub(crate) struct Cases {
    /// One JSON array.
    #[arg(long)]
    json: bool,
}

impl Cases {
    pub(crate) fn run(&self, config: Option<&Path>) -> Result<(), Fault> {
        let client = Client::new(&Place::find(config)?)?;
        let rows = client.get("/v1/cases")?;
        if self.json {
            return say_json(&rows);
        }
        for row in rows.as_array().into_iter().flatten() {
            let text = |pointer: &str| row.pointer(pointer).and_then(Value::as_str);
            let count =
                |pointer: &str| row.pointer(pointer).and_then(Value::as_array).map_or(0, Vec::len);
            say(&format!(
                "{}  {}  opened {}  {} finding(s), {} order(s)",
                text("/id").unwrap_or_default(),
                text("/state").unwrap_or_default(),
                text("/opened_at").unwrap_or_default(),
                count("/findings"),
                count("/orders"),
            ))?;
        }
        Ok(())
    }
}
