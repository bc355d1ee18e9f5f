//! `quell serve`: runs the engine of a folder until it is told to stop.

use std::path::Path;
use std::time::Duration;

use clap::Args;
use quell_core::effect::Notice;
use quell_core::policy::Mode;
use quell_evidence::note::SignerKey;

use super::{say, say_json};
use crate::assemble::{self, Brain};
use crate::config::{Listen, Log, Place, TlsFiles};
use crate::fault::Fault;
use crate::start::{self, Fronts, Ingredients, Running};
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
        let place = Place::find(config)?;
        logs(place.settings.log);
        let brain = Brain::load(&place).map_err(|problems| assemble::fault(&problems))?;
        let targets = assemble::targets(&place, &brain.policy)?;
        let key: SignerKey = secret::resolve(&place.folder, &place.settings.evidence.key)?
            .parse()
            .map_err(|_| Fault::config("the log key is not valid", "see `quell init`"))?;
        let intakes = sources::origins(&place, &brain)?;
        let fronts = Fronts::load(&place)?;
        let settings = &place.settings;
        let mode = brain.policy.armed.mode;
        let directory = settings.paths.directory.as_ref();
        let directory =
            directory.map(|file| people::read(&settings.tenant, &place.path(file))).transpose()?;
        let parts = Ingredients {
            tenant: settings.tenant.clone(),
            store: place.path(&settings.paths.store),
            store_key: place.store_key()?,
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
            // Heard all the time: one that came between two looks would be lost for ever.
            let mut stop = std::pin::pin!(stopped());
            let mut running = start::start_behind(parts, fronts).await?;
            sources::poll(&place, &running)?;
            sources::page(&place, &running)?;
            self.say_where(&running, &place.settings.listen, mode)?;
            loop {
                tokio::select! {
                    notice = running.pages.recv() => match notice {
                        Some(notice) => show(&notice, place.settings.log),
                        None => break,
                    },
                    () = hangups.next() => tracing::warn!(
                        certificates = running.renew(),
                        "SIGHUP: certificates are read again; restart to put other configuration \
                         in force"
                    ),
                    () = &mut stop => break,
                }
            }
            let fault = running.handle.fault().map(|why| Fault::store(&why));
            running.stop().await;
            fault.map_or(Ok(()), Err)
        })
    }
}

impl Serve {
    fn say_where(&self, running: &Running, listen: &Listen, mode: Mode) -> Result<(), Fault> {
        if self.json {
            return say_json(&serde_json::json!({
                "intake": running.intake.to_string(), "control": running.control.to_string(),
                "mode": mode.name(), "log": running.verifier,
            }));
        }
        let scheme = |tls: &Option<TlsFiles>| if tls.is_some() { "https" } else { "http" };
        say(&format!(
            "intake {}://{}, control {}://{}, mode {mode}",
            scheme(&listen.intake_tls),
            running.intake,
            scheme(&listen.control_tls),
            running.control
        ))
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

/// A page on the console. In structured logs, which go elsewhere, it is its ids alone: the text
/// names people by the directory's keys.
fn show(notice: &Notice, log: Log) {
    let Notice { id, kind, case, order, text, .. } = notice;
    match log {
        Log::Text => tracing::warn!(kind, id, "page: {text}"),
        Log::Json => {
            let (case, order) = (case.map(|c| c.to_string()), order.map(|o| o.to_string()));
            tracing::warn!(kind, id, case, order, "page");
        }
    }
}

/// Logs to standard error; `QUELL_LOG` sets the level, `info` when unset.
pub(crate) fn logs(log: Log) {
    let filter = tracing_subscriber::EnvFilter::try_from_env("QUELL_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second start in one process keeps the first one's logs.
    drop(match log {
        Log::Text => logs.try_init(),
        Log::Json => logs.json().flatten_event(true).try_init(),
    });
}
