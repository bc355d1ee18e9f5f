//! `quell approve|deny|undo ORDER` and `quell order`: people's part in orders. What the engine
//! refuses ends with 1 and the reason.

use std::path::Path;

use clap::Args;
use quell_core::id::OrderId;
use serde_json::{Value, json};

use super::{say, say_json};
use crate::client::Client;
use crate::config::Place;
use crate::fault::Fault;

/// What is done to an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Approve,
    Deny,
    Undo,
}

impl Verb {
    fn name(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Deny => "deny",
            Self::Undo => "undo",
        }
    }
}

/// Answer an approval request, or take an order back.
#[derive(Debug, Args)]
pub(crate) struct Answer {
    /// The order: `ord_…`, from the page or `quell order`.
    order: String,
    /// Why, for the record.
    #[arg(long, default_value = "")]
    why: String,
    /// One JSON object.
    #[arg(long)]
    json: bool,
}

impl Answer {
    pub(crate) fn run(&self, config: Option<&Path>, verb: Verb) -> Result<(), Fault> {
        let order: OrderId = self.order.parse().map_err(|e: quell_core::id::InvalidId| {
            Fault::input(e.to_string(), "see `quell order` for ids")
        })?;
        let client = Client::new(&Place::find(config)?)?;
        let path = format!("/v1/orders/{order}/{}", verb.name());
        let row = client.post(&path, &json!({ "why": self.why }))?;
        if self.json { say_json(&row) } else { say(&line(&row)) }
    }
}

/// List orders, newest first.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  quell order --state awaiting_approval")]
pub(crate) struct List {
    /// Only orders in this state.
    #[arg(long)]
    state: Option<String>,
    /// One JSON array.
    #[arg(long)]
    json: bool,
}

impl List {
    pub(crate) fn run(&self, config: Option<&Path>) -> Result<(), Fault> {
        let client = Client::new(&Place::find(config)?)?;
        let rows = client.get("/v1/orders")?;
        let rows: Vec<Value> = rows
            .as_array()
            .into_iter()
            .flatten()
            .filter(|row| {
                let state = row.get("state").and_then(Value::as_str);
                self.state.as_deref().is_none_or(|wanted| state == Some(wanted))
            })
            .cloned()
            .collect();
        if self.json {
            return say_json(&rows);
        }
        rows.iter().try_for_each(|row| say(&line(row)))
    }
}

/// One order in one line.
fn line(row: &Value) -> String {
    let text = |pointer: &str| row.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let on = match text("/on/account/provider") {
        "" => format!("{} {}", text("/on/entity/kind"), text("/on/entity/value")),
        provider => format!("{provider}:{}", text("/on/account/id")),
    };
    format!(
        "{}  {} on {on}: {} ({})",
        text("/id"),
        text("/action"),
        text("/state"),
        text("/reason")
    )
}
