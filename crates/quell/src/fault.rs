//! Binary room, errors of commands: a code with a page in `docs/errors/`, a sentence, a remedy.

use std::fmt;

/// Why a command failed. Shown as `quell: CODE: message`, with the help apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    /// The page in `docs/errors/`.
    pub(crate) code: &'static str,
    /// One sentence, lower case, no full stop, the user's words in backticks.
    pub(crate) message: String,
    /// What to do.
    pub(crate) help: String,
}

/// What the process exits with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done.
    Ok = 0,
    /// It failed for a reason told.
    Failed = 1,
    /// The configuration is not valid.
    Config = 3,
    /// No running engine answers.
    Unreachable = 4,
    /// What was to be proved is not so.
    NotProven = 5,
}

impl Fault {
    /// A fault with its code.
    pub(crate) fn new(
        code: &'static str,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> Self {
        Self { code, message: message.into(), help: help.into() }
    }

    /// The configuration cannot be read or is not valid.
    pub(crate) fn config(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self::new("Q0001", message, help)
    }

    /// A file cannot be read or written.
    pub(crate) fn file(path: &std::path::Path, cause: &dyn fmt::Display) -> Self {
        let message = format!("`{}`: {cause}", path.display());
        Self::new("Q0002", message, "look at the path and its permissions")
    }

    /// The store does not open or answer.
    pub(crate) fn store(cause: &dyn fmt::Display) -> Self {
        let help = "is another `quell serve` running on the same folder? is the disk full?";
        Self::new("Q0003", cause.to_string(), help)
    }

    /// The store is encrypted, and its key is not the one at hand.
    pub(crate) fn store_key(cause: &dyn fmt::Display, help: &str) -> Self {
        Self::new("Q0003", cause.to_string(), help)
    }

    /// No running engine.
    pub(crate) fn unreachable(cause: &dyn fmt::Display) -> Self {
        let help = "start it with `quell serve`, or name its folder with --config";
        Self::new("Q0004", cause.to_string(), help)
    }

    /// The engine said no.
    pub(crate) fn refused(message: impl Into<String>) -> Self {
        Self::new("Q0005", message, "see `quell case` and `quell explain` for where it stands")
    }

    /// Evidence does not verify.
    pub(crate) fn evidence(message: impl Into<String>) -> Self {
        let help = "keep the file: it shows what was changed; compare with a held checkpoint";
        Self::new("Q0006", message, help)
    }

    /// A demonstration or benchmark did not show what it should.
    pub(crate) fn shown(message: impl Into<String>) -> Self {
        Self::new("Q0007", message, "run it again with --keep DIR and look at the records")
    }

    /// What the user gave cannot be used.
    pub(crate) fn input(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self::new("Q0008", message, help)
    }

    /// What was expected is not so.
    pub(crate) fn unexpected(message: impl Into<String>) -> Self {
        let help = "correct the configuration, or what is expected of it";
        Self::new("Q0012", message, help)
    }

    /// What the process exits with.
    pub(crate) fn exit(&self) -> Exit {
        match self.code {
            "Q0001" => Exit::Config,
            "Q0004" => Exit::Unreachable,
            "Q0006" | "Q0007" => Exit::NotProven,
            _ => Exit::Failed,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "quell: {}: {}", self.code, self.message)?;
        if self.help.is_empty() { Ok(()) } else { write!(f, "\n  help: {}", self.help) }
    }
}

impl std::error::Error for Fault {}
