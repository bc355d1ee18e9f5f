//! `quell init DIR`: writes a commented starter folder in shadow mode, with the log's key and an
//! administrator's token of its own.

use std::path::PathBuf;

use clap::Args;
use quell_core::id::Digest;
use quell_evidence::note::SignerKey;

use super::say;
use crate::fault::Fault;
use crate::{secret, shipped};

/// Write a commented starter folder: everything runs, nothing is sent.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  quell init company && cd company && quell check")]
pub(crate) struct Init {
    /// The folder, made where there is none; must not hold a `quell.toml`.
    dir: PathBuf,
    /// The name under which the evidence log is signed; the same for ever.
    #[arg(long, default_value = "quell.example.com/default")]
    origin: String,
}

impl Init {
    pub(crate) fn run(&self) -> Result<(), Fault> {
        let settings = self.dir.join(crate::config::FILE);
        if settings.exists() {
            let message = format!("`{}` is there already", settings.display());
            return Err(Fault::input(message, "name another folder"));
        }
        for folder in ["rules", "policy", "packs", "tests"] {
            let folder = self.dir.join(folder);
            std::fs::create_dir_all(&folder).map_err(|e| Fault::file(&folder, &e))?;
        }
        let token = secret::random_hex(32)?;
        let hash = Digest::of(token.as_bytes()).to_string();
        let text = shipped::SETTINGS.replace("@HASH@", &hash);
        secret::write_new(&self.dir.join("admin.token"), &format!("{token}\n"))?;
        let key = new_key(&self.origin)?;
        secret::write_new(&self.dir.join("log.key"), &format!("{}\n", key.expose()))?;
        let mut files = vec![
            (settings, text),
            (self.dir.join("directory.csv"), shipped::DIRECTORY.to_owned()),
            (self.dir.join("key.pub"), format!("{}\n", key.verifier())),
            (self.dir.join("tests").join(shipped::TEST.0), shipped::TEST.1.to_owned()),
            (self.dir.join(".gitignore"), "store/\n*.token\n*.key\n".to_owned()),
        ];
        for (name, text) in shipped::RULES {
            files.push((self.dir.join("rules").join(name), (*text).to_owned()));
        }
        for (name, text) in shipped::policy().0 {
            files.push((self.dir.join("policy").join(name), text));
        }
        for (name, text) in quell_sources::EMBEDDED {
            let folder = self.dir.join("packs").join(name);
            std::fs::create_dir_all(&folder).map_err(|e| Fault::file(&folder, &e))?;
            files.push((folder.join("pack.yml"), (*text).to_owned()));
        }
        for (path, text) in &files {
            std::fs::write(path, text).map_err(|e| Fault::file(path, &e))?;
        }
        say(&format!(
            "wrote {} files to `{}`, in shadow mode",
            files.len() + 2,
            self.dir.display()
        ))?;
        say("next: edit quell.toml and directory.csv, then `quell check` and `quell serve` there")
    }
}

/// A new log key from the operating system's randomness.
pub(crate) fn new_key(origin: &str) -> Result<SignerKey, Fault> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|e| Fault::store(&e))?;
    SignerKey::from_seed(origin, &seed)
        .map_err(|e| Fault::input(format!("`{origin}`: {e}"), "a name without spaces or `+`"))
}
