//! Binary room, start: store, engine, listeners, pollers and pager as one running whole, used by
//! `serve`, the demonstration and the benchmark alike.

mod fronts;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use quell_core::directory::{Directory, Head, Import};
use quell_core::effect::{Input, Notice};
use quell_core::id::Digest;
use quell_core::policy::Classes;
use quell_core::time::Time;
use quell_evidence::note::SignerKey;
use quell_run::{Clock, Handle, Keeper, Opener, Parts};
use quell_store::sqlite::OpenError;
use quell_store::{KeySigner, Options, OuterKey, SqliteStore, SqliteViews, Views};
use quell_targets::Target;
use tokio::sync::mpsc;

use crate::assemble::{self, Brain};
use crate::config::{Place, Token};
use crate::fault::Fault;
use crate::secret;
use crate::server::body::Budget;
use crate::server::control::{self, Control};
use crate::server::guard::Guard;
use crate::server::intake::{self, Intakes, Origin, Shared};
use crate::server::listen::listen;
use crate::server::metrics::Metrics;
use crate::vigil::{self, Vigil};

pub(crate) use fronts::Fronts;

/// Everything that a running engine is made of.
pub(crate) struct Ingredients {
    pub(crate) tenant: String,
    pub(crate) store: std::path::PathBuf,
    /// The key under which the store is encrypted.
    pub(crate) store_key: Option<OuterKey>,
    pub(crate) brain: Brain,
    pub(crate) targets: BTreeMap<String, Arc<dyn Target>>,
    pub(crate) key: SignerKey,
    pub(crate) tokens: Vec<Token>,
    pub(crate) intakes: Intakes,
    pub(crate) intake: SocketAddr,
    pub(crate) control: SocketAddr,
    pub(crate) merge_delay: Duration,
    pub(crate) holder: String,
    /// Imported at start when it is not the directory in force.
    pub(crate) directory: Option<Import>,
}

/// A running engine.
pub(crate) struct Running {
    pub(crate) handle: Handle,
    pub(crate) intake: SocketAddr,
    pub(crate) control: SocketAddr,
    pub(crate) pages: mpsc::UnboundedReceiver<Notice>,
    pub(crate) verifier: String,
    pub(crate) shared: Arc<Shared>,
    pub(crate) origins: BTreeMap<String, Arc<Origin>>,
    pub(crate) cursors: BTreeMap<String, Vec<u8>>,
    pub(crate) polled: Arc<AtomicUsize>,
    store: std::path::PathBuf,
    store_key: Option<OuterKey>,
    pub(crate) tenant: String,
    maintain: std::sync::mpsc::Sender<()>,
    fronts: Fronts,
}

/// The system's clock in microseconds.
pub(crate) fn clock() -> Clock {
    Arc::new(|| {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        Time(since.map_or(0, |d| i64::try_from(d.as_micros()).unwrap_or(i64::MAX)))
    })
}

/// Starts everything on loopback, in clear; both listeners are bound when it returns.
pub(crate) async fn start(parts: Ingredients) -> Result<Running, Fault> {
    start_behind(parts, Fronts::default()).await
}

/// Starts everything behind fronts of the user's; both listeners are bound when it returns.
pub(crate) async fn start_behind(parts: Ingredients, fronts: Fronts) -> Result<Running, Fault> {
    let clock = clock();
    let store = open_store(&parts.store, parts.store_key.clone())?;
    let maintain = maintain(&store)?;
    let capabilities = assemble::capabilities(&parts.targets);
    let config = parts.brain.config(&parts.tenant, capabilities);
    let configured = parts.brain.configured();
    let opener = opener(store, parts.store.clone(), parts.store_key.clone());
    let keeper = Keeper::open(opener, config, configured, &parts.holder, clock())
        .map_err(|e| Fault::store(&e))?;
    let head = keeper.engine().map(|engine| engine.directory().head().clone());
    let classes = &parts.brain.policy.classes;
    let news = |import: &Import| is_news(import, head.as_ref(), classes, clock());
    let directory = parts.directory.filter(news);
    let verifier = parts.key.verifier().to_string();
    let origin = parts.key.verifier().name().to_owned();
    let (pages, page_news) = mpsc::unbounded_channel();
    let handle = quell_run::start(Parts {
        keeper,
        targets: parts.targets,
        signer: Arc::new(KeySigner { origin, key: parts.key }),
        clock: Arc::clone(&clock),
        pages,
        merge_delay: parts.merge_delay,
    })
    .map_err(|e| Fault::store(&e))?;
    let views = SqliteViews::open_with(&parts.store, parts.store_key.clone());
    let views = views.map_err(|e| Fault::store(&e))?;
    let cursors = views.cursors(&parts.tenant).map_err(|e| Fault::store(&e))?.into_iter().collect();
    let origins = parts.intakes.origins;
    let vigil = keep_vigil(&origins, &views, &parts.tenant, clock())?;
    let counted = views.head(&parts.tenant).map_err(|e| Fault::store(&e))?.next_record;
    let metrics = Arc::new(Metrics::new(counted));
    let control = Control {
        tenant: parts.tenant.clone(),
        handle: handle.clone(),
        clock: Arc::clone(&clock),
        guard: Arc::new(Guard::new(parts.tokens, fronts.per_token, fronts.per_stranger)),
        views: Arc::new(Mutex::new(Box::new(views))),
        verifier: verifier.clone(),
        metrics: Arc::clone(&metrics),
        budget: Budget::default(),
        doors: Arc::new(origins.values().cloned().collect()),
        vigil: vigil.clone(),
    };
    let (tenant, engine) = (parts.tenant.clone(), handle.clone());
    let shared = Arc::new(Shared::new(tenant, parts.brain, engine, clock, metrics, vigil));
    import(&handle, directory).await?;
    let doors = intake::router(origins.clone(), Arc::clone(&shared));
    let intake = listen(parts.intake, doors, fronts.intake.clone()).await?;
    let control = listen(parts.control, control::router(&control), fronts.control.clone()).await?;
    tokio::spawn(watch_over(Arc::clone(&shared)));
    fronts.renew_by_themselves();
    Ok(Running {
        handle,
        intake,
        control,
        pages: page_news,
        verifier,
        shared,
        origins,
        cursors,
        polled: Arc::default(),
        store: parts.store,
        store_key: parts.store_key,
        tenant: parts.tenant,
        maintain,
        fronts,
    })
}

/// Watches over the sources from where an earlier run left them.
fn keep_vigil(
    origins: &BTreeMap<String, Arc<Origin>>,
    views: &SqliteViews,
    tenant: &str,
    now: Time,
) -> Result<Vigil, Fault> {
    let silences = origins.values().map(|o| (o.name.as_str(), o.silent_after));
    let vigil = Vigil::over(silences, now);
    vigil.remember(views, tenant).map_err(|e| Fault::store(&e))?;
    Ok(vigil)
}

/// Before anybody can speak: the first signal resolves by the directory of the folder.
async fn import(handle: &Handle, directory: Option<Import>) -> Result<(), Fault> {
    if let Some(import) = directory {
        let receipt = handle.input(Input::Directory(import)).await;
        receipt.map_err(|e| Fault::store(&e))?;
    }
    Ok(())
}

/// Tells the journal which sources are degraded, and which are well again.
async fn watch_over(shared: Arc<Shared>) {
    loop {
        let now = shared.now();
        for word in shared.vigil.words(now) {
            let signal = vigil::signal(shared.tenant(), &word, now);
            // What was not taken is said at the next look.
            if shared.own(signal).await.is_ok() {
                shared.vigil.told(&word);
            }
        }
        quell_run::timer(vigil::LOOK_EVERY).await;
    }
}

/// True for a directory that is not the one in force, and is one at all.
fn is_news(import: &Import, known: Option<&Head>, classes: &Classes, now: Time) -> bool {
    if import.identities.is_empty() {
        tracing::warn!(
            file = import.origin,
            "the directory file holds 0 identities: it is not imported, what was known stays"
        );
        return false;
    }
    let mut fresh = Directory::default();
    fresh.import(now, import.clone(), classes);
    let new = fresh.head();
    !known.is_some_and(|known| known.digest == new.digest && known.as_of == new.as_of)
}

/// The store makes its own folder, for its owner alone; what lies above it is made as usual.
pub(crate) fn open_store(folder: &Path, key: Option<OuterKey>) -> Result<SqliteStore, Fault> {
    if let Some(above) = folder.parent() {
        std::fs::create_dir_all(above).map_err(|e| Fault::file(above, &e))?;
    }
    if is_open_to_others(folder) {
        tracing::warn!(
            folder = %folder.display(),
            "others may look into the store's folder: run `chmod 700` on it"
        );
    }
    let options = Options { key, ..Options::default() };
    SqliteStore::open(folder, options).map_err(|error| match error {
        OpenError::NoKey => Fault::store_key(&error, "name its key in `[store] key`"),
        OpenError::OtherKey => {
            let help = "give the key that it was written with; \
                        `quell store rekey` changes it, nothing else does";
            Fault::store_key(&error, help)
        }
        other => Fault::store(&other),
    })
}

/// A reader of the configured store, with its key; an engine may run on it.
pub(crate) fn read_configured(place: &Place) -> Result<SqliteViews, Fault> {
    let folder = place.path(&place.settings.paths.store);
    SqliteViews::open_with(&folder, place.store_key()?).map_err(|e| Fault::store(&e))
}

/// A reader of a store that no engine need run on: with the key that is named, else with that of
/// the configuration, where there is one.
pub(crate) fn read_store(
    folder: &Path,
    key: Option<&str>,
    config: Option<&Path>,
) -> Result<SqliteViews, Fault> {
    let key = match key {
        Some(reference) => Some(secret::store_key(Path::new("."), reference)?),
        None if Place::exists(config) => Place::find(config)?.store_key()?,
        None => None,
    };
    SqliteViews::open_with(folder, key).map_err(|e| Fault::store(&e))
}

/// True for a folder that exists and is not its owner's alone.
#[cfg(unix)]
fn is_open_to_others(folder: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(folder).is_ok_and(|meta| meta.permissions().mode() & 0o077 != 0)
}

#[cfg(not(unix))]
fn is_open_to_others(_folder: &Path) -> bool {
    false
}

/// Gives the store that is open, and opens it again each time after.
fn opener(first: SqliteStore, folder: std::path::PathBuf, key: Option<OuterKey>) -> Opener {
    let mut first = Some(first);
    Box::new(move || {
        let store = match first.take() {
            Some(store) => store,
            None => {
                tracing::warn!("the store is opened again");
                let options = Options { key: key.clone(), ..Options::default() };
                SqliteStore::open(&folder, options).map_err(|e| e.to_string())?
            }
        };
        Ok(Box::new(store))
    })
}

/// Moves committed pages into the database on a thread of its own.
fn maintain(store: &SqliteStore) -> Result<std::sync::mpsc::Sender<()>, Fault> {
    let mut maintainer = store.maintainer().map_err(|e| Fault::store(&e))?;
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let every = Duration::from_millis(50);
    let body = move || {
        while stopped.recv_timeout(every) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            if let Err(error) = maintainer.maintain() {
                tracing::warn!(%error, "the write-ahead log was not moved");
            }
        }
    };
    let thread = std::thread::Builder::new().name("maintain".to_owned()).spawn(body);
    thread.map_err(|e| Fault::store(&e))?;
    Ok(stop)
}

impl Running {
    /// A reader of the store.
    pub(crate) fn views(&self) -> Result<SqliteViews, Fault> {
        SqliteViews::open_with(&self.store, self.store_key.clone()).map_err(|e| Fault::store(&e))
    }

    /// How many signals the pollers handed in.
    pub(crate) fn polled(&self) -> usize {
        self.polled.load(Ordering::Relaxed)
    }

    /// Reads the certificates of the listeners again, where there are any.
    pub(crate) fn renew(&self) -> usize {
        self.fronts.renew()
    }

    /// Stops the engine; what is queued is committed and signed before.
    pub(crate) async fn stop(self) {
        self.handle.stop().await;
        drop(self.maintain);
    }
}

/// `sha256:<hex>` of a token.
pub(crate) fn hash(token: &str) -> String {
    Digest::of(token.as_bytes()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_another_directory_is_news_and_an_empty_one_never() {
        let import = |text: &str| crate::people::json("default", "people.json", text).unwrap();
        let classes = quell_core::policy::Policy::shipped().unwrap().classes;
        let (one, two) = (import(r#"[{"key": "E1"}]"#), import(r#"[{"key": "E2"}]"#));
        let mut known = Directory::default();
        assert!(is_news(&one, None, &classes, Time(1)));
        assert!(is_news(&one, Some(known.head()), &classes, Time(1)));
        known.import(Time(1), Import { as_of: Some(Time(1)), ..one.clone() }, &classes);
        let again = Import { as_of: Some(Time(1)), ..one };
        assert!(!is_news(&again, Some(known.head()), &classes, Time(2)));
        assert!(is_news(&two, Some(known.head()), &classes, Time(2)));
        for known in [None, Some(known.head())] {
            assert!(!is_news(&import("[]"), known, &classes, Time(2)));
        }
    }

    #[cfg(unix)]
    #[test]
    fn the_stores_folder_is_its_owners_alone() {
        use std::os::unix::fs::PermissionsExt;
        let whole = tempfile::tempdir().unwrap();
        let folder = whole.path().join("above").join("store");
        let store = open_store(&folder, None).unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&folder), 0o700);
        assert!(!is_open_to_others(&folder));
        drop(store);
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o755)).unwrap();
        assert!(is_open_to_others(&folder));
        // It is told and not mended: whoever opened it may have had a reason.
        open_store(&folder, None).unwrap();
        assert_eq!(mode(&folder), 0o755);
    }
}
