//! `quell freeze`: stops new orders at once; intake, read-back and undo go on.

use std::path::Path;

use clap::Args;
use serde_json::json;

use super::{say, say_json};
use crate::client::Client;
use crate::config::Place;
use crate::fault::Fault;

/// Stop or resume new orders.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  quell freeze --minutes 60 --why \"vendor sends garbage\"\n  \
                  quell freeze --off")]
pub(crate) struct FreezeArgs {
    /// Resume.
    #[arg(long)]
    off: bool,
    /// Say whether a freeze is in force.
    #[arg(long, conflicts_with = "off")]
    status: bool,
    /// After how many minutes it ends by itself, loudly: 1 to 10080, a week.
    #[arg(long, default_value_t = 240, value_parser = clap::value_parser!(u32).range(1..=10_080))]
    minutes: u32,
    /// Why, for the record.
    #[arg(long, default_value = "")]
    why: String,
    /// One JSON object.
    #[arg(long)]
    json: bool,
}

impl FreezeArgs {
    pub(crate) fn run(&self, config: Option<&Path>) -> Result<(), Fault> {
        let client = Client::new(&Place::find(config)?)?;
        let told = if self.status {
            client.get("/v1/freeze")?
        } else {
            let body = json!({ "on": !self.off, "minutes": self.minutes, "why": self.why });
            client.post("/v1/freeze", &body)?
        };
        if self.json {
            return say_json(&told);
        }
        match (self.status, self.off) {
            (true, _) if told.is_null() => say("not frozen"),
            (true, _) => say(&format!("frozen: {told}")),
            (false, true) => say("new orders go out again; held ones are judged anew"),
            (false, false) => say(&format!("frozen for {} minutes: no new orders", self.minutes)),
        }
    }
}
