//! Binary room, the intake listener: bodies of sources in, results after the commit out. Trusts
//! nothing before the door of the source did.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::extract::{FromRequestParts as _, RawPathParams, Request};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::on;
use quell_core::effect::{Input, Intake};
use quell_core::id::{Digest, SignalId};
use quell_core::signal::{Matched, Provenance, Reject, RejectReason, Signal};
use quell_core::time::Time;
use quell_run::{Busy, Clock, Handle, Submission};
use quell_sources::door::{Door, DoorCounts, Refusal};
use quell_sources::limits::{BODY_BYTES_MAX, BODY_SIGNALS_MAX};
use quell_sources::{DecodeContext, Decoded, Pack};
use serde::Serialize;
use serde_json::json;
use tokio::sync::Semaphore;

use super::body::{Budget, Whole};
use super::metrics::{Metrics, Tally};
use super::routes::{self, Listener, Name, Route};
use super::{no_method, nothing, refuse, soon};
use crate::assemble::Brain;
use crate::vigil::Vigil;

/// One configured source.
#[derive(Debug)]
pub(crate) struct Origin {
    pub(crate) name: String,
    pub(crate) pack: Arc<Pack>,
    /// None for a source that is only polled.
    pub(crate) doors: Doors,
    pub(crate) own_principals: Vec<String>,
    pub(crate) domains: Vec<String>,
    /// Minutes of silence after which it counts as degraded, if ever.
    pub(crate) silent_after: Option<u32>,
}

/// The ways in which a source may prove who it is.
#[derive(Debug, Default)]
pub(crate) struct Doors {
    pub(crate) signed: Option<Door>,
    pub(crate) webhook: Option<Door>,
    pub(crate) bearer: Option<Door>,
}

impl Doors {
    /// The door that a request's headers knock at.
    fn choose(&self, headers: &HeaderMap) -> Option<&Door> {
        if headers.contains_key("x-quell-signature") {
            self.signed.as_ref()
        } else if headers.contains_key("webhook-signature") {
            self.webhook.as_ref()
        } else {
            self.bearer.as_ref()
        }
    }

    /// What they turned away, together.
    pub(crate) fn counts(&self) -> DoorCounts {
        let doors = [&self.signed, &self.webhook, &self.bearer];
        doors.into_iter().flatten().map(Door::counts).fold(DoorCounts::default(), |all, one| {
            DoorCounts {
                unproven: all.unproven + one.unproven,
                stale: all.stale + one.stale,
                too_large: all.too_large + one.too_large,
                too_fast: all.too_fast + one.too_fast,
                unreadable: all.unreadable + one.unreadable,
                repeated: all.repeated + one.repeated,
            }
        })
    }

    fn is_empty(&self) -> bool {
        self.signed.is_none() && self.webhook.is_none() && self.bearer.is_none()
    }
}

/// The configured sources by name.
#[derive(Debug, Default)]
pub(crate) struct Intakes {
    pub(crate) origins: BTreeMap<String, Arc<Origin>>,
}

/// What every intake shares.
pub(crate) struct Shared {
    tenant: String,
    brain: Brain,
    handle: Handle,
    clock: Clock,
    decoding: Arc<Semaphore>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) vigil: Vigil,
}

/// Bodies that are decoded at once.
const DECODING_MAX: usize = 8;

/// What the listener works with.
#[derive(Clone)]
struct Wired {
    origins: Arc<BTreeMap<String, Arc<Origin>>>,
    shared: Arc<Shared>,
    budget: Budget,
}

/// The routes.
pub(crate) fn router(origins: BTreeMap<String, Arc<Origin>>, shared: Arc<Shared>) -> Router {
    let wired = Wired { origins: Arc::new(origins), shared, budget: Budget::default() };
    let mut router = Router::new();
    for route in routes::of(Listener::Intake) {
        let wired = wired.clone();
        let handler = move |request: Request| {
            let wired = wired.clone();
            async move { wired.answer(route, request).await }
        };
        router = router.route(route.path, on(route.verb.filter(), handler));
    }
    router.fallback(nothing).method_not_allowed_fallback(no_method)
}

impl Wired {
    async fn answer(&self, route: &'static Route, request: Request) -> Response {
        let (mut parts, body) = request.into_parts();
        let params = RawPathParams::from_request_parts(&mut parts, &()).await;
        let name = match &params {
            Ok(params) => params.iter().next().map_or("", |(_, value)| value),
            Err(_) => return refuse(StatusCode::BAD_REQUEST, "the path is not UTF-8"),
        };
        let origin = self.origins.get(name);
        let response = match route.name {
            Name::IntakeAlive => "ok\n".into_response(),
            Name::Challenge => challenge(origin, &parts.headers),
            Name::Take => self.take(origin, &parts.headers, body).await,
            _ => nothing().await,
        };
        self.shared.metrics.answered(route, response.status());
        if route.name == Name::Take {
            self.shared.metrics.refused(origin.map(|o| o.name.as_str()), response.status());
        }
        response
    }
}

/// Header names and values as the doors take them.
fn plain(headers: &HeaderMap) -> Vec<(&str, &[u8])> {
    headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect()
}

/// Okta's one-time verification of an event hook.
fn challenge(origin: Option<&Arc<Origin>>, headers: &HeaderMap) -> Response {
    let known = origin.is_some_and(|origin| !origin.doors.is_empty());
    match quell_sources::door::verification_answer(&plain(headers)).ok().filter(|_| known) {
        Some(answer) => Json(json!({ "verification": answer })).into_response(),
        None => refuse(StatusCode::NOT_FOUND, "there is nothing here"),
    }
}

impl Wired {
    async fn take(
        &self,
        origin: Option<&Arc<Origin>>,
        headers: &HeaderMap,
        body: axum::body::Body,
    ) -> Response {
        let shared = Arc::clone(&self.shared);
        let Some((origin, door)) =
            origin.and_then(|origin| origin.doors.choose(headers).map(|door| (origin, door)))
        else {
            return refuse(StatusCode::UNAUTHORIZED, "not authenticated");
        };
        if let Err(refusal) = door.admits(&plain(headers)) {
            shared.vigil.unproven(&origin.name, (shared.clock)());
            return turned_away(&shared, origin, refusal).await;
        }
        let whole = match Whole::read(body, BODY_BYTES_MAX, &self.budget).await {
            Ok(whole) => whole,
            Err(unread) => return unread.answer(),
        };
        let now = (shared.clock)();
        let body = &whole.bytes;
        let envelope = match door.authenticate(&plain(headers), body, now) {
            Ok(envelope) => envelope,
            Err(refusal) => {
                // 401, 413 and 429 store nothing; the door has counted.
                if refusal.status() == 401 {
                    shared.vigil.unproven(&origin.name, now);
                }
                return turned_away(&shared, origin, refusal).await;
            }
        };
        shared.vigil.proven(&origin.name);
        if envelope.repeated {
            let body = json!({ "repeated": true });
            return (StatusCode::ACCEPTED, Json(body)).into_response();
        }
        let from = Arc::clone(origin);
        // What is being decoded is bounded: beyond that the body waits as it came.
        let place = shared.decoding.clone().acquire_owned().await;
        let ready = tokio::task::spawn_blocking(move || {
            let _place = place;
            let prepared = shared.prepare(&from, envelope.provenance, now, &envelope.body);
            (prepared, envelope)
        });
        match ready.await {
            Ok((prepared, envelope)) => {
                let response = finish(&self.shared, origin, prepared, now).await;
                if response.status() == StatusCode::ACCEPTED {
                    door.remember(&envelope, now);
                }
                response
            }
            Err(_) => refuse(StatusCode::INTERNAL_SERVER_ERROR, "the body could not be decoded"),
        }
    }
}

/// The answer to a request that no door let in.
async fn turned_away(shared: &Shared, origin: &Origin, refusal: Refusal) -> Response {
    let status = StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::BAD_REQUEST);
    match refusal {
        Refusal::Body(reject) => shared.bad(origin, *reject).await,
        Refusal::TooFast { retry_after_s } => soon(refuse(status, "too fast"), retry_after_s),
        Refusal::TooLarge(_) => refuse(status, "the body is too large"),
        _ => refuse(status, "not authenticated"),
    }
}

async fn finish(shared: &Shared, origin: &Origin, prepared: Prepared, came: Time) -> Response {
    let Prepared { submission, results, fault, tally } = prepared;
    let submission = match submission {
        Ok(submission) => submission,
        Err(too_long) => return refuse(StatusCode::PAYLOAD_TOO_LARGE, &too_long),
    };
    match shared.handle.submit(submission).await {
        Err(Busy) => soon(refuse(StatusCode::SERVICE_UNAVAILABLE, "busy: try again"), 1),
        Ok(_) if fault.is_some() => {
            shared.taken(&origin.name, &tally, came);
            let body = json!({ "error": fault });
            (StatusCode::BAD_REQUEST, Json(body)).into_response()
        }
        Ok(receipt) => {
            shared.taken(&origin.name, &tally, came);
            let body = Accepted { seq: receipt.seq, at: receipt.at, records: results };
            (StatusCode::ACCEPTED, Json(body)).into_response()
        }
    }
}

/// Why a polled page is not in the journal.
#[derive(Debug)]
pub(crate) enum NotPaged {
    /// Try the same page again later.
    Busy,
    /// Its frame would be over the cap: ask for fewer records.
    TooLong(String),
}

/// The answer to a body that was taken in.
#[derive(Serialize)]
struct Accepted {
    seq: u64,
    at: Time,
    records: Vec<Told>,
}

/// What became of one record.
#[derive(Serialize)]
#[serde(untagged)]
enum Told {
    Kept { signals: Vec<SignalId> },
    Turned { reject: RejectReason, detail: String },
}

/// A body on its way to the engine.
pub(crate) struct Prepared {
    submission: Result<Submission, String>,
    results: Vec<Told>,
    fault: Option<String>,
    tally: Tally,
}

impl Shared {
    /// For a running engine.
    pub(crate) fn new(
        tenant: String,
        brain: Brain,
        handle: Handle,
        clock: Clock,
        metrics: Arc<Metrics>,
        vigil: Vigil,
    ) -> Self {
        let decoding = Arc::new(Semaphore::new(DECODING_MAX));
        Self { tenant, brain, handle, clock, decoding, metrics, vigil }
    }

    /// What was committed counts, and its source has spoken.
    fn taken(&self, source: &str, tally: &Tally, came: Time) {
        let now = (self.clock)();
        self.metrics.taken(source, tally, came, now);
        self.vigil.heard(source, tally.newest(), now);
    }

    /// Decodes and matches a body and encodes its frame; pure but for the CPU it takes.
    fn prepare(&self, origin: &Origin, provenance: Provenance, now: Time, body: &[u8]) -> Prepared {
        let context = DecodeContext {
            tenant: &self.tenant,
            source: &origin.name,
            provenance,
            now,
            provider: None,
            own_principals: &origin.own_principals,
            allowed_domains: &origin.domains,
        };
        let decoded = origin.pack.decode(&context, body);
        if decoded.too_many {
            let why =
                format!("more than {BODY_SIGNALS_MAX} signals in one body: send fewer records");
            let (results, tally) = (Vec::new(), Tally::default());
            return Prepared { submission: Err(why), results, fault: None, tally };
        }
        let (intake, results, fault) = self.intake(&origin.name, decoded, body);
        let tally = Tally::of(&intake);
        let submission = Submission::new(Input::Signals(intake), origin.pack.digest());
        Prepared { submission: submission.map_err(|e| e.to_string()), results, fault, tally }
    }

    fn intake(
        &self,
        source: &str,
        decoded: Decoded,
        body: &[u8],
    ) -> (Intake, Vec<Told>, Option<String>) {
        let mut intake = Intake { source: source.to_owned(), ..Intake::default() };
        let mut results = Vec::with_capacity(decoded.records.len());
        for record in decoded.records {
            results.push(match &record.reject {
                None => Told::Kept { signals: record.signals.iter().map(|s| s.id).collect() },
                Some(reject) => {
                    Told::Turned { reject: reject.reason, detail: reject.detail.clone() }
                }
            });
            intake.raw.extend(body.get(record.raw).map(<[u8]>::to_vec));
            intake.rejects.extend(record.reject);
            intake.matched.extend(record.signals.into_iter().map(|signal| {
                let rules = self.brain.rules.match_ids(&signal);
                Matched { signal: signal.into(), rules }
            }));
        }
        let fault = decoded.fault.as_ref().map(|reject| reject.detail.clone());
        intake.rejects.extend(decoded.fault);
        (intake, results, fault)
    }

    /// A body that an authenticated source sent and nobody can read: one bounded reject.
    async fn bad(&self, origin: &Origin, reject: Reject) -> Response {
        let fault = Some(reject.detail.clone());
        let source = origin.name.clone();
        let intake = Intake { source, rejects: vec![reject], ..Intake::default() };
        let tally = Tally::of(&intake);
        let submission = Submission::new(Input::Signals(intake), origin.pack.digest())
            .map_err(|e| e.to_string());
        let prepared = Prepared { submission, results: Vec::new(), fault, tally };
        finish(self, origin, prepared, self.now()).await
    }

    /// Hands a signal of the built-in source in.
    pub(crate) async fn own(&self, signal: Signal) -> Result<(), Busy> {
        let rules = self.brain.rules.match_ids(&signal);
        let source = signal.source.clone();
        let matched = vec![Matched { signal: signal.into(), rules }];
        let intake = Intake { source, matched, ..Intake::default() };
        let (tally, now) = (Tally::of(&intake), self.now());
        let submission = Submission::new(Input::Signals(intake), Digest([0; 32]));
        self.handle.submit(submission.map_err(|_| Busy)?).await?;
        self.metrics.taken("quell", &tally, now, self.now());
        Ok(())
    }

    /// Hands a polled page in, with the cursor that belongs to it; gives how many records it had.
    ///
    /// *Crash*: page and cursor are committed together or not at all.
    pub(crate) async fn page(
        &self,
        origin: &Origin,
        body: &[u8],
        cursor: Vec<u8>,
    ) -> Result<usize, NotPaged> {
        let now = (self.clock)();
        let prepared = self.prepare(origin, Provenance::Polled, now, body);
        let Prepared { submission, results, tally, .. } = prepared;
        let submission = submission.map_err(NotPaged::TooLong)?;
        let submission = submission.with_cursor(&origin.name, cursor);
        self.handle.submit(submission).await.map_err(|Busy| NotPaged::Busy)?;
        self.taken(&origin.name, &tally, now);
        Ok(results.len())
    }

    /// Whose engine it is.
    pub(crate) fn tenant(&self) -> &str {
        &self.tenant
    }

    /// Now.
    pub(crate) fn now(&self) -> Time {
        (self.clock)()
    }
}
