//! Binary room, configuration: `quell.toml` and the folder around it, strictly parsed. Secrets
//! are references here, never values.

mod listen;

mod target;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use quell_core::id::Digest;
use quell_store::OuterKey;

use crate::fault::Fault;

use crate::secret;
pub(crate) use listen::{Listen, TlsFiles};
pub(crate) use target::{AuthScheme, TargetKind, TargetSettings};

/// The file's name.
pub(crate) const FILE: &str = "quell.toml";

/// The whole file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    /// Always 1.
    pub(crate) version: u32,
    /// The tenant; `default` when unset.
    #[serde(default = "tenant")]
    pub(crate) tenant: String,
    /// Where rules, policy, packs and the store are, relative to the file.
    #[serde(default)]
    pub(crate) paths: Paths,
    /// The two listeners.
    #[serde(default)]
    pub(crate) listen: Listen,
    /// How logs are written.
    #[serde(default)]
    pub(crate) log: Log,
    /// Tokens of the control listener.
    #[serde(default)]
    pub(crate) token: Vec<Token>,
    /// The command line's own token, by reference.
    #[serde(default)]
    pub(crate) cli_token: Option<String>,
    /// The log's key and name.
    #[serde(default)]
    pub(crate) evidence: Evidence,
    /// How the store is kept.
    #[serde(default)]
    pub(crate) store: StoreSettings,
    /// Origins of signals.
    #[serde(default)]
    pub(crate) source: Vec<Source>,
    /// Systems that carry out orders.
    #[serde(default)]
    pub(crate) target: Vec<TargetSettings>,
    /// Where pages go.
    #[serde(default)]
    pub(crate) notify: Option<Notify>,
}

/// Folders.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Paths {
    pub(crate) rules: PathBuf,
    pub(crate) policy: PathBuf,
    pub(crate) packs: PathBuf,
    pub(crate) store: PathBuf,
    /// Imported at start when it is newer than the directory in force.
    pub(crate) directory: Option<PathBuf>,
}

impl Default for Paths {
    fn default() -> Self {
        Self {
            rules: "rules".into(),
            policy: "policy".into(),
            packs: "packs".into(),
            store: "store".into(),
            directory: None,
        }
    }
}

/// How logs are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Log {
    /// Lines for people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// A token of the control listener: only its hash is kept.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Token {
    /// The principal: records say who approved. A login or address makes it a person.
    pub(crate) name: String,
    /// What it may do.
    pub(crate) role: Role,
    /// `sha256:<hex>` of the token.
    pub(crate) hash: String,
}

/// Roles, each includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Role {
    /// Reads figures and nothing else: for whoever scrapes them.
    Metrics,
    /// Reads everything but whole exports.
    Viewer,
    /// Freezes and ends a freeze.
    Responder,
    /// Approves, denies and takes back.
    Approver,
    /// Imports the directory and exports the evidence.
    Admin,
}

impl Role {
    /// As it is written in `quell.toml`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Metrics => "metrics",
            Self::Viewer => "viewer",
            Self::Responder => "responder",
            Self::Approver => "approver",
            Self::Admin => "admin",
        }
    }
}

/// The transparency log.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Evidence {
    /// Reference to the signing key.
    pub(crate) key: String,
    /// The longest that a record waits for a signed checkpoint, milliseconds.
    pub(crate) merge_delay_ms: u64,
}

impl Default for Evidence {
    fn default() -> Self {
        Self { key: "file:log.key".into(), merge_delay_ms: 1000 }
    }
}

/// The store on its disk; where it is, `paths` says.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct StoreSettings {
    /// Reference to the key under which it is encrypted; in clear when unset.
    pub(crate) key: Option<String>,
}

/// An origin of signals.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Source {
    /// Never reused for another origin.
    pub(crate) name: String,
    /// The pack that decodes it; its name when unset.
    #[serde(default)]
    pub(crate) pack: Option<String>,
    /// References to bearer secrets; two during rotation.
    #[serde(default)]
    pub(crate) bearer: Vec<String>,
    /// References to HMAC-SHA256 secrets; two during rotation.
    #[serde(default)]
    pub(crate) hmac: Vec<String>,
    /// Poll it as well.
    #[serde(default)]
    pub(crate) poll: Option<Poll>,
    /// Ids of our own principals at the provider.
    #[serde(default)]
    pub(crate) own_principals: Vec<String>,
    /// Mail domains for which it may speak; empty is any.
    #[serde(default)]
    pub(crate) domains: Vec<String>,
    /// Requests that it may push in a second, for each way of proving itself.
    #[serde(default = "rate")]
    pub(crate) requests_per_second: u32,
    /// Minutes without a new record after which it counts as degraded; 0 is never. Unset, it is
    /// never for a source that pushes and a day for one that is polled.
    #[serde(default)]
    pub(crate) silent_after_minutes: Option<u32>,
}

impl Source {
    /// Minutes of silence after which it counts as degraded, if ever.
    pub(crate) fn silent_after(&self) -> Option<u32> {
        let polled = self.poll.as_ref().map(|_| SILENT_AFTER_MINUTES);
        self.silent_after_minutes.or(polled).filter(|minutes| *minutes > 0)
    }
}

/// A polled source that had nothing new for so long counts as degraded.
const SILENT_AFTER_MINUTES: u32 = 24 * 60;

fn rate() -> u32 {
    quell_sources::door::REQUESTS_PER_SECOND
}

/// Polling of one source.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Poll {
    /// `https://example.okta.com`.
    pub(crate) url: String,
    /// Reference to the token.
    pub(crate) token: String,
    /// Seconds between polls that found nothing.
    #[serde(default = "ten")]
    pub(crate) every_s: u64,
    /// How many hours back the first poll looks.
    #[serde(default = "day")]
    pub(crate) first_hours: u64,
}

/// Where pages go.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Notify {
    /// The receiver of Standard Webhooks.
    pub(crate) webhook: String,
    /// Reference to the signing secret.
    pub(crate) secret: String,
}

fn tenant() -> String {
    "default".to_owned()
}

fn ten() -> u64 {
    10
}

fn day() -> u64 {
    24
}

/// The configuration with its place.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// The folder of `quell.toml`.
    pub(crate) folder: PathBuf,
    /// What stands in it.
    pub(crate) settings: Settings,
    text: String,
}

impl Place {
    /// Finds the configuration: `--config` names the folder or its file; else the current folder.
    pub(crate) fn find(config: Option<&Path>) -> Result<Self, Fault> {
        let given = config.map_or_else(|| PathBuf::from("."), Path::to_path_buf);
        let file = if given.is_dir() { given.join(FILE) } else { given };
        let text = std::fs::read_to_string(&file).map_err(|e| {
            Fault::config(
                format!("`{}` cannot be read: {e}", file.display()),
                "run `quell init DIR`, or name the folder with --config",
            )
        })?;
        let settings = parse(&file, &text)?;
        let folder = file.parent().map(Path::to_path_buf).unwrap_or_default();
        let folder = if folder.as_os_str().is_empty() { PathBuf::from(".") } else { folder };
        Ok(Self { folder, settings, text })
    }

    /// The line on which a word first stands in quotes, from 1.
    pub(crate) fn line_with(&self, word: &str) -> Option<u32> {
        line_with(&self.text, word)
    }

    /// True when the current folder or `--config` holds a configuration.
    pub(crate) fn exists(config: Option<&Path>) -> bool {
        config.is_some() || Path::new(FILE).exists()
    }

    /// The key under which the store is encrypted, if there is one.
    pub(crate) fn store_key(&self) -> Result<Option<OuterKey>, Fault> {
        let reference = self.settings.store.key.as_ref();
        reference.map(|reference| secret::store_key(&self.folder, reference)).transpose()
    }

    /// A path of the settings, relative to the folder.
    pub(crate) fn path(&self, path: &Path) -> PathBuf {
        self.folder.join(path)
    }
}

/// Parses the text; errors name file and line.
pub(crate) fn parse(file: &Path, text: &str) -> Result<Settings, Fault> {
    let settings: Settings = toml::from_str(text).map_err(|e| {
        let line = e.span().map_or(1, |span| line_of(text, span.start));
        let message = e.message().replace('\n', " ");
        let message = format!("{}:{line}: {message}", file.display());
        Fault::config(message, "compare with the commented file that `quell init` writes")
    })?;
    let wrong = |message: String, help: &str| Err(Fault::config(message, help));
    if settings.version != 1 {
        let message = format!("{}: `version` is {}", file.display(), settings.version);
        return wrong(message, "write `version = 1`");
    }
    tokens(&settings.token)?;
    let mut names: BTreeMap<&str, u32> = BTreeMap::new();
    for source in &settings.source {
        *names.entry(&source.name).or_default() += 1;
        if source.name == "quell" {
            return wrong("source `quell` is the built-in one".into(), "choose another name");
        }
        if source.bearer.len() > 2 || source.hmac.len() > 2 {
            let message = format!("source `{}` has more than two secrets of a kind", source.name);
            return wrong(message, "keep the new one and, during a rotation, the old one");
        }
        if source.bearer.is_empty() && source.hmac.is_empty() && source.poll.is_none() {
            let message = format!("source `{}` has neither bearer, hmac nor poll", source.name);
            return wrong(message, "say how it proves who it is");
        }
        let (rate, max) =
            (source.requests_per_second, quell_sources::door::REQUESTS_PER_SECOND_MAX);
        if !(1..=max).contains(&rate) {
            let message = format!("source `{}`: requests_per_second is {rate}", source.name);
            return wrong(message, &format!("write a number from 1 to {max}"));
        }
    }
    if let Some((name, _)) = names.iter().find(|(_, n)| **n > 1) {
        return wrong(format!("source `{name}` stands twice"), "names are never reused");
    }
    settings.listen.check()?;
    Ok(settings)
}

/// Refuses hashes that are none, that anybody can meet, or that two tokens share.
fn tokens(tokens: &[Token]) -> Result<(), Fault> {
    let nothing = Digest::of(b"").to_string();
    let mut seen = std::collections::BTreeSet::new();
    for token in tokens {
        let wrong = |what: &str| {
            let message = format!("token `{}`: {what}", token.name);
            Err(Fault::config(message, "write `sha256:` and 64 hex digits: sha256sum of the token"))
        };
        if token.hash.parse::<Digest>().map(|digest| digest.to_string()) != Ok(token.hash.clone()) {
            return wrong("`hash` is no digest");
        }
        if token.hash == nothing {
            return wrong("`hash` is that of an empty token");
        }
        if !seen.insert(&token.hash) {
            return wrong("another token has the same hash");
        }
    }
    Ok(())
}

/// The line of a text on which a word first stands in quotes, from 1; comments do not count.
pub(crate) fn line_with(text: &str, word: &str) -> Option<u32> {
    let quoted = format!("\"{word}\"");
    let holds = |line: &str| !line.trim_start().starts_with('#') && line.contains(&quoted);
    let at = text.lines().position(holds)?;
    u32::try_from(at + 1).ok()
}

/// The line of a byte offset, from 1.
pub(crate) fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|b| *b == b'\n').count() + 1
}
