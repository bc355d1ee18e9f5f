//! `quell serve`: runs the engine of a folder until it is told to stop.

use std::path::Path;
use std::time::Duration;

use clap::Args;
use quell_evidence::note::SignerKey;

use super::{say, say_json};
use crate::assemble::{self, Brain};
use crate::config::Place;
use crate::fault::Fault;
use crate::start::{self, Ingredients};
use crate::{people, secret, sources};

/// Run the engine with its listeners, pollers and targets.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  quell serve --config company")]
pub(crate) struct Serve {
    /// Print where it listens as one JSON object.
    #[arg(long)]
    json: bool,
}

impl Serve {
    pub(crate) fn run(&self, config: Option<&Path>) -> Result<(), Fault> {
        logs();
        let place = Place::find(config)?;
        let brain = Brain::load(&place).map_err(|problems| assemble::fault(&problems))?;
        let targets = assemble::targets(&place, &brain.policy)?;
        let key: SignerKey = secret::resolve(&place.folder, &place.settings.evidence.key)?
            .parse()
            .map_err(|_| Fault::config("the log key is not valid", "see `quell init`"))?;
        let intakes = sources::origins(&place, &brain)?;
        let settings = &place.settings;
        let mode = brain.policy.armed.mode;
        let directory = settings.paths.directory.as_ref();
        let directory =
            directory.map(|file| people::read(&settings.tenant, &place.path(file))).transpose()?;
        let parts = Ingredients {
            tenant: settings.tenant.clone(),
            store: place.path(&settings.paths.store),
            brain,
            targets,
            key,
            tokens: settings.token.clone(),
            intakes,
            intake: settings.listen.intake,
            control: settings.listen.control,
            merge_delay: Duration::from_millis(settings.evidence.merge_delay_ms),
            holder: format!("pid {}", std::process::id()),
            directory,
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .map_err(|e| Fault::store(&e))?;
        runtime.block_on(async {
            let mut hangups = Hangups::heard();
            let mut running = start::start(parts).await?;
            sources::poll(&place, &running)?;
            sources::page(&place, &running)?;
            let told = serde_json::json!({
                "intake": running.intake.to_string(), "control": running.control.to_string(),
                "mode": mode.name(), "log": running.verifier,
            });
            if self.json {
                say_json(&told)?;
            } else {
                say(&format!(
                    "intake http://{}, control http://{}, mode {mode}",
                    running.intake, running.control
                ))?;
            }
            loop {
                tokio::select! {
                    notice = running.pages.recv() => match notice {
                        Some(notice) => tracing::warn!(kind = notice.kind, id = notice.id,
                            "page: {}", notice.text),
                        None => break,
                    },
                    () = hangups.next() => tracing::warn!(
                        "SIGHUP: reading the configuration again is not supported; restart to put \
                         it in force"
                    ),
                    () = stopped() => break,
                }
            }
            let fault = running.handle.fault().map(|why| Fault::store(&why));
            running.stop().await;
            fault.map_or(Ok(()), Err)
        })
    }
}

/// SIGHUP, which ends nothing here: not even a closed terminal stops the engine.
struct Hangups {
    #[cfg(unix)]
    signals: Option<tokio::signal::unix::Signal>,
}

impl Hangups {
    #[cfg(unix)]
    fn heard() -> Self {
        use tokio::signal::unix::{SignalKind, signal};
        Self { signals: signal(SignalKind::hangup()).ok() }
    }

    #[cfg(not(unix))]
    fn heard() -> Self {
        Self {}
    }

    /// Waits for the next one.
    async fn next(&mut self) {
        #[cfg(unix)]
        if let Some(signals) = &mut self.signals
            && signals.recv().await.is_some()
        {
            return;
        }
        std::future::pending().await
    }
}

/// Waits for SIGINT or SIGTERM.
async fn stopped() {
    let interrupt = tokio::signal::ctrl_c();
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        match signal(SignalKind::terminate()) {
            Ok(mut terminate) => {
                tokio::select! {
                    _ = interrupt => {}
                    _ = terminate.recv() => {}
                }
            }
            Err(_) => drop(interrupt.await),
        }
    }
    #[cfg(not(unix))]
    drop(interrupt.await);
}

/// Logs to standard error; `QUELL_LOG` sets the level, `info` when unset.
pub(crate) fn logs() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("QUELL_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second start in one process keeps the first one's logs.
    drop(logs.try_init());
}
