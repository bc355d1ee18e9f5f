//! `quell arm SOURCE ACTION`: ends shadow mode for one pair, by editing `policy/armed.toml`.

use std::path::Path;

use clap::Args;
use quell_core::action::Action;
use quell_core::policy::Armed;

use super::say;
use crate::config::Place;
use crate::fault::Fault;

/// Let signals of a source trigger an action for real, where policy permits it.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  quell arm proofpoint_tap end_sessions")]
pub(crate) struct Arm {
    /// The source, as `quell.toml` names it.
    source: String,
    /// The action, e.g. `end_sessions`.
    action: String,
}

impl Arm {
    pub(crate) fn run(&self, config: Option<&Path>) -> Result<(), Fault> {
        let place = Place::find(config)?;
        let action: Action = self.action.parse().map_err(|e: quell_core::UnknownName| {
            let all: Vec<&str> = Action::ALL.iter().map(|action| action.name()).collect();
            Fault::input(e.to_string(), format!("one of {}", all.join(", ")))
        })?;
        if !place.settings.source.iter().any(|source| source.name == self.source) {
            let known: Vec<&str> =
                place.settings.source.iter().map(|source| source.name.as_str()).collect();
            let near = quell_core::nearest(&self.source, known.iter().copied());
            let help =
                near.map_or("add it to quell.toml".to_owned(), |n| format!("did you mean `{n}`?"));
            return Err(Fault::input(format!("there is no source `{}`", self.source), help));
        }
        let path = place.path(&place.settings.paths.policy).join("armed.toml");
        let text = std::fs::read_to_string(&path).map_err(|e| Fault::file(&path, &e))?;
        let new = Armed::arm(&text, &self.source, action)
            .map_err(|e| Fault::config(e.to_string(), e.remedy))?;
        if new == text {
            return say(&format!("`{}` was armed for `{action}` before", self.source));
        }
        replace(&path, &new)?;
        say(&format!(
            "armed `{}` for `{action}`; restart `quell serve` to put it in force",
            self.source
        ))
    }
}

/// Replaces a file so that a crash leaves the old or the new text, never a part. What a crash may
/// leave beside it is hidden, so that no policy folder is refused for it.
fn replace(path: &Path, text: &str) -> Result<(), Fault> {
    use std::io::Write;
    let new = path.with_file_name(".armed.toml.new");
    let mut file = std::fs::File::create(&new).map_err(|e| Fault::file(&new, &e))?;
    file.write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .and_then(|()| std::fs::rename(&new, path))
        .map_err(|e| Fault::file(path, &e))
}
