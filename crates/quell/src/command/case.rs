//! `quell case`: the cases, newest first; `quell case close`, and what closed cases say of sources.

use std::path::Path;

use clap::{Args, Subcommand};
use quell_core::case::Disposition;
use quell_core::id::CaseId;
use serde_json::{Value, json};

use super::{say, say_json};
use crate::client::Client;
use crate::config::Place;
use crate::fault::Fault;

/// List cases, newest first; close one; see what closed cases say of sources.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  quell case\n  quell explain cas_…\n  quell case close cas_… \
                        --as false --why \"it was she, from a hotel\"\n  quell case precision")]
pub(crate) struct Cases {
    /// One JSON array.
    #[arg(long)]
    json: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Close a case and say what it was
    Close(Close),
    /// Show how often cases of a source and kind were closed as true, over 90 days
    Precision(Precision),
}

/// What a case was. `false` and `benign` withdraw the signals that it cites.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  quell case close cas_… --as true --why \"rule removed, password \
                        changed\""
)]
struct Close {
    /// The case: `cas_…`, from a page or `quell case`.
    case: String,
    /// `true`: an attack. `false`: the detection was wrong. `benign`: real, but harmless or
    /// permitted. `unsure`: nobody knows.
    #[arg(long = "as", value_name = "true|false|benign|unsure")]
    disposition: String,
    /// Why, for the record.
    #[arg(long, default_value = "")]
    why: String,
    /// One JSON object.
    #[arg(long)]
    json: bool,
}

/// Authority sees a figure from 20 cases on; it may lower authority and never raises it.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  quell case precision --json")]
struct Precision {
    /// One JSON array.
    #[arg(long)]
    json: bool,
}

impl Cases {
    pub(crate) fn run(&self, config: Option<&Path>) -> Result<(), Fault> {
        let client = Client::new(&Place::find(config)?)?;
        match &self.command {
            Some(Command::Close(close)) => close.run(&client),
            Some(Command::Precision(precision)) => precision.run(&client),
            None => self.list(&client),
        }
    }

    fn list(&self, client: &Client) -> Result<(), Fault> {
        let rows = client.get("/v1/cases")?;
        if self.json {
            return say_json(&rows);
        }
        rows.as_array().into_iter().flatten().try_for_each(|row| say(&line(row)))
    }
}

impl Close {
    fn run(&self, client: &Client) -> Result<(), Fault> {
        let case: CaseId = self.case.parse().map_err(|e: quell_core::id::InvalidId| {
            Fault::input(e.to_string(), "see `quell case` for ids")
        })?;
        let disposition: Disposition =
            self.disposition.parse().map_err(|e: quell_core::UnknownName| {
                Fault::input(e.to_string(), "write `true`, `false`, `benign` or `unsure`")
            })?;
        let body = json!({ "as": disposition, "why": self.why });
        let row = client.post(&format!("/v1/cases/{case}/close"), &body)?;
        if self.json { say_json(&row) } else { say(&line(&row)) }
    }
}

impl Precision {
    fn run(&self, client: &Client) -> Result<(), Fault> {
        let rows = client.get("/v1/precision")?;
        if self.json {
            return say_json(&rows);
        }
        for row in rows.as_array().into_iter().flatten() {
            let text = |name: &str| row.get(name).and_then(Value::as_str).unwrap_or_default();
            let number = |name: &str| row.get(name).and_then(Value::as_u64).unwrap_or_default();
            let few = row.get("counts") != Some(&Value::Bool(true));
            let note = if few { " (too few to count)" } else { "" };
            let (source, kind) = (text("source"), text("kind"));
            let (percent, cases) = (number("percent"), number("cases"));
            say(&format!("{source} {kind}: {percent} % true of {cases} closed case(s){note}"))?;
        }
        Ok(())
    }
}

/// One case in one line.
fn line(row: &Value) -> String {
    let text = |pointer: &str| row.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let count = |pointer: &str| row.pointer(pointer).and_then(Value::as_array).map_or(0, Vec::len);
    let disposition = row.get("disposition").and_then(Value::as_str);
    let disposition = disposition.map(|was| format!(" as {was}")).unwrap_or_default();
    format!(
        "{}  {}{disposition}  opened {}  {} finding(s), {} order(s)",
        text("/id"),
        text("/state"),
        text("/opened_at"),
        count("/findings"),
        count("/orders"),
    )
}
