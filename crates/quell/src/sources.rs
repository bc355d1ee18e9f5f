//! Binary room, sources: doors, pollers and the pager of a folder, wired to the running engine.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use quell_core::time::{HOUR, Time};
use quell_sources::door::{Door, Secret as DoorSecret};
use quell_sources::okta_poll::{OktaCredential, OktaPoll, PAGE_RECORDS_MAX, PAGE_RECORDS_MIN};
use quell_sources::poll::{Cursor, NextStep, PageState, Poll, PollFault, SecretRef};
use quell_store::{Notice, SqliteViews, Views};
use quell_targets::Secret;
use quell_targets::webhook::{Pager, PagerConfig, gap};

use crate::assemble::Brain;
use crate::config::Place;
use crate::fault::Fault;
use crate::secret;
use crate::server::intake::{Doors, Intakes, NotPaged, Origin, Shared};
use crate::start::Running;

/// The sources of a folder.
pub(crate) fn origins(place: &Place, brain: &Brain) -> Result<Intakes, Fault> {
    let mut all = BTreeMap::new();
    for source in &place.settings.source {
        let name = source.pack.as_ref().unwrap_or(&source.name);
        let pack = brain.packs.get(name).cloned().ok_or_else(|| {
            Fault::config(format!("there is no pack `{name}`"), "`quell check` lists what is wrong")
        })?;
        let secrets = |references: &[String]| -> Result<Option<[Option<DoorSecret>; 2]>, Fault> {
            let mut read = references.iter().map(|reference| {
                let text = secret::resolve(&place.folder, reference)?;
                DoorSecret::new(&text).map_err(|e| {
                    Fault::config(format!("source `{}`: {e}", source.name), "use a long random one")
                })
            });
            match (read.next().transpose()?, read.next().transpose()?) {
                (None, _) => Ok(None),
                (first, second) => Ok(Some([first, second])),
            }
        };
        let name = source.name.as_str();
        let paced = |door: Door| door.with_rate(source.requests_per_second);
        let doors = Doors {
            signed: secrets(&source.hmac)?.map(|s| paced(Door::quell_signature(name, s))),
            webhook: secrets(&source.hmac)?.map(|s| paced(Door::standard_webhooks(name, s))),
            bearer: secrets(&source.bearer)?.map(|s| paced(Door::bearer(name, "authorization", s))),
        };
        let origin = Origin {
            name: source.name.clone(),
            pack,
            doors,
            own_principals: source.own_principals.clone(),
            domains: source.domains.iter().map(|domain| domain.to_lowercase()).collect(),
            silent_after: source.silent_after(),
        };
        all.insert(source.name.clone(), Arc::new(origin));
    }
    Ok(Intakes { origins: all })
}

/// The two shipped packs behind one bearer secret, for the demonstration and the benchmark.
pub(crate) fn demo_origins(brain: &Brain, token: &str) -> Result<Intakes, Fault> {
    let mut all = BTreeMap::new();
    for name in ["okta", "proofpoint_tap"] {
        let pack = brain.packs.get(name).cloned();
        let pack = pack.ok_or_else(|| Fault::config(format!("there is no pack `{name}`"), ""))?;
        let secret = DoorSecret::new(token).map_err(|e| Fault::config(e.to_string(), ""))?;
        let door = Door::bearer(name, "authorization", [Some(secret), None]);
        let origin = Origin {
            name: name.to_owned(),
            pack,
            doors: Doors { bearer: Some(door), ..Doors::default() },
            own_principals: Vec::new(),
            domains: Vec::new(),
            silent_after: None,
        };
        all.insert(name.to_owned(), Arc::new(origin));
    }
    Ok(Intakes { origins: all })
}

/// Starts the pollers of a folder.
pub(crate) fn poll(place: &Place, running: &Running) -> Result<(), Fault> {
    for source in &place.settings.source {
        let Some(poll) = &source.poll else { continue };
        // Read once here, so that a missing secret stops the start and not the first poll.
        secret::resolve(&place.folder, &poll.token)?;
        let (folder, reference) = (place.folder.clone(), poll.token.clone());
        let token = SecretRef::new(move || {
            secret::resolve(&folder, &reference).map_err(|fault| fault.message)
        });
        let hours = i64::try_from(poll.first_hours.min(90 * 24)).unwrap_or(24);
        let since = running.shared.now().plus(-hours * HOUR);
        let every = Duration::from_secs(poll.every_s.clamp(1, 3600));
        poll_okta(running, &source.name, &poll.url, token, every, since)?;
    }
    Ok(())
}

/// Starts a poller of an Okta System Log; it goes on from the cursor in the store.
pub(crate) fn poll_okta(
    running: &Running,
    name: &str,
    url: &str,
    token: SecretRef,
    every: Duration,
    since: Time,
) -> Result<(), Fault> {
    let origin = running.origins.get(name).cloned();
    let origin = origin.ok_or_else(|| Fault::config(format!("there is no source `{name}`"), ""))?;
    let poller = OktaPoll::new(url, OktaCredential::ApiToken(token)).map_err(|e| {
        Fault::config(format!("source `{name}`: {e}"), "write the organisation's URL")
    })?;
    let stored = running.cursors.get(name).map(Vec::as_slice).unwrap_or_default();
    let cursor: Cursor = serde_json::from_slice(stored).unwrap_or_else(|_| Cursor::starting(since));
    let (shared, polled) = (Arc::clone(&running.shared), Arc::clone(&running.polled));
    tokio::spawn(async move {
        let polling = Polling { shared, origin, every, pause: every, failed: 0 };
        polling.run(poller, cursor, polled).await;
    });
    Ok(())
}

/// The longest pause between polls that fail.
const PAUSE_MAX: Duration = Duration::from_secs(300);

/// After so many failures in a row people are told that the source is degraded.
const FAILED_MAX: u32 = 3;

/// One poller at work.
struct Polling {
    shared: Arc<Shared>,
    origin: Arc<Origin>,
    every: Duration,
    pause: Duration,
    /// Polls without an answer in a row.
    failed: u32,
}

impl Polling {
    async fn run(
        mut self,
        poller: OktaPoll,
        mut cursor: Cursor,
        polled: Arc<std::sync::atomic::AtomicUsize>,
    ) {
        self.shared.metrics.caught_up(&self.origin.name, self.shared.now());
        loop {
            let now = self.shared.now();
            let wait = match poller.next(&cursor, now).await {
                Ok(page) => {
                    let next = serde_json::to_vec(&page.next).unwrap_or_default();
                    // The cursor is committed with its page: what was not committed is asked again.
                    match self.shared.page(&self.origin, &page.body, next).await {
                        Err(NotPaged::Busy) => {
                            self.count("busy");
                            self.every
                        }
                        Err(NotPaged::TooLong(why)) => {
                            match cursor.with_fewer(PAGE_RECORDS_MAX, PAGE_RECORDS_MIN) {
                                Some(fewer) => {
                                    cursor = fewer;
                                    Duration::ZERO
                                }
                                None => {
                                    self.count("too_long");
                                    self.degrade(&why);
                                    PAUSE_MAX
                                }
                            }
                        }
                        Ok(records) => {
                            polled.fetch_add(records, Ordering::Relaxed);
                            cursor = page.next;
                            self.pause = self.every;
                            self.failed = 0;
                            self.count("page");
                            self.mend(page.state);
                            let until = page.not_before.map(|t| micros(t.since(now)));
                            let idle = page.state != PageState::More;
                            until.unwrap_or(if idle { self.every } else { Duration::ZERO })
                        }
                    }
                }
                Err(fault) => {
                    self.failed(&fault);
                    match fault.next_step() {
                        NextStep::WaitUntil(t) => micros(t.since(now)),
                        NextStep::AskWith(other) => {
                            cursor = *other;
                            Duration::ZERO
                        }
                        NextStep::Degraded => PAUSE_MAX,
                        NextStep::BackOff => {
                            self.pause = (self.pause * 2).min(PAUSE_MAX);
                            self.failed += 1;
                            if self.failed >= FAILED_MAX {
                                self.degrade(&fault.to_string());
                            }
                            self.pause
                        }
                    }
                }
            };
            quell_run::timer(wait).await;
        }
    }

    fn failed(&self, fault: &PollFault) {
        tracing::warn!(source = self.origin.name, %fault, "a poll failed");
        self.count("failed");
        if let Some(why) = fault.degraded() {
            self.degrade(&why);
        }
    }

    fn count(&self, result: &str) {
        self.shared.metrics.polled(&self.origin.name, result);
    }

    /// A page came: the source is well, unless records are missing before it. People are told of
    /// these, and the next page ends it.
    fn mend(&self, state: PageState) {
        let name = &self.origin.name;
        match state {
            PageState::Gap => self.degrade("records that the vendor no longer keeps are missing"),
            PageState::More | PageState::CaughtUp | PageState::Restarted => {
                self.shared.vigil.poll_works(name);
            }
        }
        if state != PageState::More {
            self.shared.metrics.caught_up(name, self.shared.now());
        }
    }

    /// The source cannot be relied upon: the journal is told once, and once when it can again.
    fn degrade(&self, why: &str) {
        self.shared.vigil.poll_fails(&self.origin.name, why);
    }
}

fn micros(span: i64) -> Duration {
    Duration::from_micros(u64::try_from(span).unwrap_or_default())
}

/// Starts the delivery of pages to the configured webhook.
pub(crate) fn page(place: &Place, running: &Running) -> Result<(), Fault> {
    let Some(notify) = &place.settings.notify else { return Ok(()) };
    let secret = Secret::new(secret::resolve(&place.folder, &notify.secret)?);
    let config = PagerConfig { url: notify.webhook.clone(), secrets: vec![secret] };
    let pager = Pager::new(&config)
        .map_err(|e| Fault::config(format!("notify: {e}"), "https, or http on this machine"))?;
    let views = running.views()?;
    let paging = Paging {
        pager,
        views,
        tenant: running.tenant.clone(),
        handle: running.handle.clone(),
        shared: Arc::clone(&running.shared),
        waits: BTreeMap::new(),
    };
    tokio::spawn(paging.run());
    Ok(())
}

/// How often the notices are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// The delivery of pages: at least once each, known by its id. What could not be delivered is put
/// back with a later due time, so that it stands in nobody's way.
struct Paging {
    pager: Pager,
    views: SqliteViews,
    tenant: String,
    handle: quell_run::Handle,
    shared: Arc<Shared>,
    /// How often a page was tried in vain, and when it is due again.
    waits: BTreeMap<String, (u32, Time)>,
}

impl Paging {
    async fn run(mut self) {
        loop {
            let now = self.shared.now();
            let due = self.views.notices(&self.tenant, now, 100).unwrap_or_default();
            let (mut done, mut later) = (Vec::new(), Vec::new());
            for notice in due {
                // Told to the engine's thread a moment ago, not written yet.
                if self.waits.get(&notice.id).is_some_and(|(_, next)| *next > now) {
                    continue;
                }
                match self.pager.deliver(&notice.id, &notice.body, now).await {
                    Ok(()) => done.push(notice.id),
                    Err(undelivered) => {
                        // The class alone: the sentence may hold the receiver's own words.
                        let fault = undelivered.fault.name();
                        tracing::warn!(id = notice.id, fault, "a page was not delivered");
                        let tries = self.waits.get(&notice.id).map_or(1, |(tries, _)| tries + 1);
                        let again = gap(&notice.id, tries).map(|gap| now.plus(gap));
                        match undelivered.retry_at.or(again) {
                            Some(due) => {
                                self.waits.insert(notice.id.clone(), (tries, due));
                                later.push(Notice { due, ..notice });
                            }
                            None => {
                                tracing::error!(id = notice.id, "a page is given up");
                                done.push(notice.id);
                            }
                        }
                    }
                }
            }
            if !done.is_empty() || !later.is_empty() {
                self.waits.retain(|id, _| !done.contains(id));
                self.handle.notices_tried(done, later);
            }
            quell_run::timer(LOOK_EVERY).await;
        }
    }
}
