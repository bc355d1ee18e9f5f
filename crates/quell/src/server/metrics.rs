//! Binary room, metrics: figures for Prometheus. Orders and pages are counted from the evidence
//! records, so that the figures say what the records say. No label holds anything of a person.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use quell_core::effect::Intake;
use quell_core::signal::{Kind, RejectReason, Use};
use quell_core::time::Time;
use quell_run::Handle;
use quell_sources::door::DoorCounts;
use quell_store::StoredRecord;
use quell_store::views::{Pick, ReadError, Views};
use serde_json::Value;

use super::control::Control;
use super::refuse;
use super::routes::Route;
use crate::vigil::Vigil;

type Labels = Vec<(&'static str, String)>;
type Counts = Family<Labels, Counter>;
type Ages = Family<Labels, Gauge<f64, AtomicU64>>;
type Levels = Family<Labels, Gauge>;
type Stages = Family<Labels, Histogram, fn() -> Histogram>;

/// Evidence records that one request for figures reads; the rest is read by the next.
const RECORDS_MAX: usize = 50_000;
/// Records read at once.
const PAGE: usize = 1000;

/// Upper bounds of the histograms, in seconds: from a commit to a day.
const BOUNDS: [f64; 20] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
    300.0, 900.0, 3600.0, 14_400.0, 86_400.0,
];

/// What one body or page held.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    signals: BTreeMap<(Kind, Use), u64>,
    rejects: BTreeMap<RejectReason, u64>,
    happened: Vec<Time>,
    newest: Option<Time>,
}

impl Tally {
    pub(crate) fn of(intake: &Intake) -> Self {
        let mut tally = Self::default();
        for matched in &intake.matched {
            let signal = &matched.signal;
            *tally.signals.entry((signal.kind, signal.usage)).or_default() += 1;
            tally.happened.push(signal.times.happened.t);
            tally.newest = tally.newest.max(Some(signal.times.written));
        }
        for reject in &intake.rejects {
            *tally.rejects.entry(reject.reason).or_default() += 1;
        }
        tally
    }

    /// When the vendor wrote the newest of its records that gave a signal.
    pub(crate) fn newest(&self) -> Option<Time> {
        self.newest
    }
}

/// All figures.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    stages: Stages,
    signals: Counts,
    rejects: Counts,
    requests: Counts,
    refused: Counts,
    doors: Counts,
    orders: Counts,
    pages: Counts,
    polls: Counts,
    poll_lag: Ages,
    heard: Ages,
    degraded: Levels,
    queue: Levels,
    ready: Gauge,
    frozen: Gauge,
    failed_commits: Counter,
    stored: Levels,
    ages: Ages,
    /// When each poller was last caught up, or began.
    caught_up: Mutex<BTreeMap<String, Time>>,
    /// The number of the next record to count.
    next_record: Mutex<u64>,
}

fn histogram() -> Histogram {
    Histogram::new(BOUNDS)
}

fn one(name: &'static str, value: &str) -> Labels {
    vec![(name, value.to_owned())]
}

fn seconds(later: Time, earlier: Time) -> f64 {
    let micros = later.since(earlier).max(0);
    std::time::Duration::from_micros(micros.unsigned_abs()).as_secs_f64()
}

impl Metrics {
    /// Nothing counted yet; records before this number count as counted.
    pub(crate) fn new(next_record: u64) -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("quell"),
            stages: Stages::new_with_constructor(histogram),
            signals: Counts::default(),
            rejects: Counts::default(),
            requests: Counts::default(),
            refused: Counts::default(),
            doors: Counts::default(),
            orders: Counts::default(),
            pages: Counts::default(),
            polls: Counts::default(),
            poll_lag: Ages::default(),
            heard: Ages::default(),
            degraded: Levels::default(),
            queue: Levels::default(),
            ready: Gauge::default(),
            frozen: Gauge::default(),
            failed_commits: Counter::default(),
            stored: Levels::default(),
            ages: Ages::default(),
            caught_up: Mutex::default(),
            next_record: Mutex::new(next_record),
        };
        metrics.register();
        metrics
    }

    fn register(&mut self) {
        let all = &mut self.registry;
        all.register("stage_seconds", "Time from event to proof, by stage", self.stages.clone());
        all.register("signals", "Signals that were committed", self.signals.clone());
        all.register("rejects", "Records that gave no signal", self.rejects.clone());
        all.register("requests", "Answers of both listeners", self.requests.clone());
        all.register("refused", "Requests to sources that were refused", self.refused.clone());
        let help = "What the doors turned away since the start";
        all.register("door_turned_away", help, self.doors.clone());
        all.register("orders", "Orders that came into a state", self.orders.clone());
        all.register("pages", "Pages to people", self.pages.clone());
        all.register("polls", "Polls by what came of them", self.polls.clone());
        let help = "Seconds since the poller had everything that the vendor had";
        all.register("poll_lag_seconds", help, self.poll_lag.clone());
        let help = "Seconds since a source was last heard, by receipt and by the vendor's time";
        all.register("source_heard_age_seconds", help, self.heard.clone());
        all.register("source_degraded", "1 where a source is degraded", self.degraded.clone());
        all.register("waiting", "What waits, by where", self.queue.clone());
        all.register("ready", "1 while the store commits", self.ready.clone());
        all.register("frozen", "1 while a freeze is in force", self.frozen.clone());
        let help = "Groups that could not be committed since the start";
        all.register("failed_commits", help, self.failed_commits.clone());
        all.register("stored", "What the store holds, by what", self.stored.clone());
        all.register(
            "age_seconds",
            "Age of the directory and of the checkpoint",
            self.ages.clone(),
        );
    }

    /// An answer of either listener.
    pub(crate) fn answered(&self, route: &Route, status: StatusCode) {
        let labels = vec![
            ("listener", route.listener.name().to_owned()),
            ("method", route.verb.name().to_owned()),
            ("route", route.path.to_owned()),
            ("status", status.as_u16().to_string()),
        ];
        self.requests.get_or_create(&labels).inc();
    }

    /// An answer to a source, counted where it is a refusal. Names that are not configured share
    /// one label.
    pub(crate) fn refused(&self, source: Option<&str>, status: StatusCode) {
        if status.is_success() {
            return;
        }
        let source = source.unwrap_or("unknown").to_owned();
        let labels = vec![("source", source), ("status", status.as_u16().to_string())];
        self.refused.get_or_create(&labels).inc();
    }

    /// A body or page is committed.
    pub(crate) fn taken(&self, source: &str, tally: &Tally, came: Time, now: Time) {
        for ((kind, usage), count) in &tally.signals {
            let labels = vec![
                ("source", source.to_owned()),
                ("kind", kind.name().to_owned()),
                ("use", usage.name().to_owned()),
            ];
            self.signals.get_or_create(&labels).inc_by(*count);
        }
        for (reason, count) in &tally.rejects {
            let labels = vec![("source", source.to_owned()), ("reason", reason.name().to_owned())];
            self.rejects.get_or_create(&labels).inc_by(*count);
        }
        if !tally.happened.is_empty() {
            let stage = self.stages.get_or_create(&one("stage", "event_to_received"));
            tally.happened.iter().for_each(|t| stage.observe(seconds(came, *t)));
        }
        self.stage("received_to_committed", now, Some(came));
    }

    fn stage(&self, stage: &str, later: Time, earlier: Option<Time>) {
        if let Some(earlier) = earlier {
            self.stages.get_or_create(&one("stage", stage)).observe(seconds(later, earlier));
        }
    }

    /// What came of a poll.
    pub(crate) fn polled(&self, source: &str, result: &str) {
        let labels = vec![("source", source.to_owned()), ("result", result.to_owned())];
        self.polls.get_or_create(&labels).inc();
    }

    /// A poller begins, or has everything that the vendor has.
    pub(crate) fn caught_up(&self, source: &str, now: Time) {
        let mut all = self.caught_up.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(source.to_owned(), now);
    }

    /// Counts the evidence records that are new.
    fn count_records(&self, views: &dyn Views, tenant: &str) -> Result<(), ReadError> {
        let mut next = self.next_record.lock().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..RECORDS_MAX / PAGE {
            let records = views.records(tenant, Pick::All, *next, PAGE)?;
            let Some(last) = records.last() else { return Ok(()) };
            *next = last.seq.saturating_add(1);
            records.iter().for_each(|record| self.count_record(record));
        }
        Ok(())
    }

    fn count_record(&self, record: &StoredRecord) {
        let Some((_, bytes)) = &record.body else { return };
        match record.record_type.as_str() {
            "order" => {
                let body = serde_json::from_slice(bytes).unwrap_or(Value::Null);
                self.count_order(&body, record.at);
            }
            "page" => {
                let body = serde_json::from_slice(bytes).unwrap_or(Value::Null);
                self.pages.get_or_create(&one("kind", text(&body, "kind"))).inc();
            }
            _ => {}
        }
    }

    /// An order came into a state; the stages end with it. What waited for people is told apart.
    fn count_order(&self, body: &Value, at: Time) {
        let (from, to) = (text(body, "from"), text(body, "to"));
        let labels = vec![("action", text(body, "action").to_owned()), ("state", to.to_owned())];
        self.orders.get_or_create(&labels).inc();
        let time = |name: &str| Time::parse(text(body, name)).map(|moment| moment.t);
        match to {
            "awaiting_approval" => {
                self.stage("committed_to_asked", at, time("received_at"));
            }
            "dispatched" if from == "permitted" => {
                self.stage("committed_to_dispatched", at, time("received_at"));
            }
            "acknowledged" => {
                self.stage("dispatched_to_acknowledged", at, time("sent_at"));
            }
            "verified" => {
                self.stage("acknowledged_to_verified", at, time("acknowledged_at"));
                self.stage("event_to_verified", at, time("signal_at"));
            }
            _ => {}
        }
    }

    /// What is asked for at the moment.
    fn look(&self, now: Time, handle: &Handle, vigil: &Vigil, doors: &[(String, DoorCounts)]) {
        let level = |family: &Levels, name, value: &str, count: u64| {
            let gauge = family.get_or_create_owned(&one(name, value));
            gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
        };
        let depths = handle.depths();
        for (place, count) in [
            ("control_inputs", depths.control),
            ("intakes", depths.signals),
            ("intake_bytes", depths.signals_bytes),
            ("calls_due", depths.calls_waiting),
            ("calls_running", depths.calls_running),
        ] {
            level(&self.queue, "place", place, u64::try_from(count).unwrap_or(u64::MAX));
        }
        self.ready.set(i64::from(handle.is_ready()));
        self.frozen.set(i64::from(handle.is_frozen()));
        set(&self.failed_commits, handle.failed_commits());
        for (source, counts) in doors {
            for (reason, count) in [
                ("unproven", counts.unproven),
                ("stale", counts.stale),
                ("too_large", counts.too_large),
                ("too_fast", counts.too_fast),
                ("unreadable", counts.unreadable),
                ("repeated", counts.repeated),
            ] {
                let labels = vec![("source", source.clone()), ("reason", reason.to_owned())];
                set(&self.doors.get_or_create(&labels), count);
            }
        }
        let caught_up = self.caught_up.lock().unwrap_or_else(PoisonError::into_inner);
        for (source, at) in caught_up.iter() {
            self.poll_lag.get_or_create(&one("source", source)).set(seconds(now, *at));
        }
        for state in vigil.states() {
            let degraded = u64::from(state.degraded);
            level(&self.degraded, "source", &state.source, degraded);
            let ages = [("received", Some(state.heard)), ("written", state.written)];
            for (by, at) in ages {
                let Some(at) = at else { continue };
                let labels = vec![("source", state.source.clone()), ("by", by.to_owned())];
                self.heard.get_or_create(&labels).set(seconds(now, at));
            }
        }
    }

    /// What the store says.
    fn look_at_store(&self, views: &dyn Views, tenant: &str, now: Time) -> Result<(), ReadError> {
        self.count_records(views, tenant)?;
        let counts = views.counts(tenant)?;
        for (what, count) in [
            ("frames", counts.frames),
            ("records", counts.records),
            ("watched", counts.watch),
            ("pages_waiting", counts.notices),
            ("outbox", counts.outbox_waiting.saturating_add(counts.outbox_claimed)),
        ] {
            let gauge = self.stored.get_or_create_owned(&one("what", what));
            gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
        }
        if let Some(head) = views.state_row(tenant, "directory", "current")? {
            let head: Value = serde_json::from_slice(&head).unwrap_or(Value::Null);
            if let Some(as_of) = Time::parse(text(&head, "as_of")) {
                self.ages.get_or_create(&one("of", "directory")).set(seconds(now, as_of.t));
            }
        }
        if let Some(checkpoint) = views.checkpoint(tenant, None)? {
            self.ages.get_or_create(&one("of", "checkpoint")).set(seconds(now, checkpoint.at));
        }
        Ok(())
    }
}

/// A counter that somebody else keeps.
fn set(counter: &Counter, count: u64) {
    counter.inner().store(count, Ordering::Relaxed);
}

fn text<'v>(body: &'v Value, name: &str) -> &'v str {
    body.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// The answer to a request for figures. Where the store cannot be read, the others still come: it
/// is then that they are needed.
pub(crate) fn answer(control: &Control) -> Result<Response, Box<Response>> {
    let (metrics, now) = (&control.metrics, (control.clock)());
    let doors = control.doors.iter().map(|origin| (origin.name.clone(), origin.doors.counts()));
    let doors: Vec<(String, DoorCounts)> = doors.collect();
    metrics.look(now, &control.handle, &control.vigil, &doors);
    if control.read(|views| metrics.look_at_store(views, &control.tenant, now)).is_err() {
        tracing::warn!("figures of the store could not be read");
    }
    let mut text = String::new();
    encode(&mut text, &metrics.registry)
        .map_err(|e| Box::new(refuse(StatusCode::SERVICE_UNAVAILABLE, &e.to_string())))?;
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
}
