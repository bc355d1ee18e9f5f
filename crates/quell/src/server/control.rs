//! Binary room, the control listener: what people and the command line ask of a running engine.
//! The table of routes says who may ask; only hashes of tokens are known here.

use std::sync::{Arc, Mutex, PoisonError};

use axum::Json;
use axum::Router;
use axum::body::{Bytes, HttpBody as _};
use axum::extract::{FromRequestParts as _, Query, RawPathParams, Request};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::on;
use quell_core::case::Disposition;
use quell_core::effect::{Closing, Freeze, Input, Reply, TakeBack};
use quell_core::precision::{CASES_MIN, Precision};
use quell_core::time::MINUTE;
use quell_run::{Clock, Handle};
use quell_store::views::{Pick, StateRows, Views};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Number, Value, json};

use super::body::{Budget, Whole};
use super::guard::Guard;
use super::intake::Origin;
use super::listen::Peer;
use super::metrics::{self, Metrics};
use super::routes::{self, Listener, Name, Route, Takes, Who};
use super::{erase, no_method, nothing, openapi, refuse, soon};
use crate::vigil::Vigil;

/// What the control listener works with.
#[derive(Clone)]
pub(crate) struct Control {
    pub(crate) tenant: String,
    pub(crate) handle: Handle,
    pub(crate) clock: Clock,
    pub(crate) guard: Arc<Guard>,
    pub(crate) views: Arc<Mutex<Box<dyn Views + Send>>>,
    pub(crate) verifier: String,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) budget: Budget,
    /// The sources, for what their doors counted.
    pub(crate) doors: Arc<Vec<Arc<Origin>>>,
    pub(crate) vigil: Vigil,
}

/// Bytes that a control request may have; directories come this way.
const BODY_MAX: usize = 64 << 20;
/// The longest freeze: a week.
const FREEZE_MINUTES_MAX: i64 = 7 * 24 * 60;
/// A freeze that does not say how long it lasts.
const FREEZE_MINUTES: i64 = 240;
/// Rows of one answer.
const ROWS_MAX: usize = 1000;
/// The greatest number of a record that JSON carries exactly.
const SEQ_MAX: u64 = (1 << 53) - 1;

/// The routes.
pub(crate) fn router(control: &Control) -> Router {
    let mut router = Router::new();
    for route in routes::of(Listener::Control) {
        let control = control.clone();
        let handler = move |request: Request| {
            let control = control.clone();
            async move { control.answer(route, request).await }
        };
        router = router.route(route.path, on(route.verb.filter(), handler));
    }
    router.fallback(nothing).method_not_allowed_fallback(no_method)
}

/// A request that was let in.
pub(super) struct Asked {
    /// The principal of its token; empty where none is needed.
    pub(super) by: String,
    /// The parameter of its path; empty where there is none.
    pub(super) item: String,
    uri: Uri,
    pub(super) body: Whole,
}

pub(super) type Answer = Result<Response, Box<Response>>;

impl Control {
    async fn answer(&self, route: &'static Route, request: Request) -> Response {
        let answer = match self.admit(route, request).await {
            Ok(asked) => self.call(route.name, &asked).await,
            Err(refusal) => Err(refusal),
        };
        let response = answer.unwrap_or_else(|refusal| *refusal);
        self.metrics.answered(route, response.status());
        response
    }

    /// Who asks, and what; the body is read last, from who may do what the route does.
    async fn admit(&self, route: &Route, request: Request) -> Result<Asked, Box<Response>> {
        let (mut parts, body) = request.into_parts();
        let peer = parts.extensions.get::<Peer>().map(|peer| peer.0);
        let now = (self.clock)();
        let by = match route.who {
            Who::Token(least) => self.guard.admit(&parts.headers, least, peer, now)?,
            Who::Anybody | Who::Source => {
                self.guard.stranger(peer, now)?;
                String::new()
            }
        };
        let params = RawPathParams::from_request_parts(&mut parts, &()).await;
        let bad = |_| Box::new(refuse(StatusCode::BAD_REQUEST, "the path is not UTF-8"));
        let item = params.map_err(bad)?.iter().next().map(|(_, value)| value.to_owned());
        let body = match route.takes {
            Takes::Nothing => Whole::empty(),
            Takes::PerhapsJson(_) if body.size_hint().exact() == Some(0) => Whole::empty(),
            Takes::Json(_) | Takes::PerhapsJson(_) | Takes::Records => {
                is_json(&parts.headers)?;
                let whole = Whole::read(body, BODY_MAX, &self.budget).await;
                whole.map_err(|unread| Box::new(unread.answer()))?
            }
        };
        Ok(Asked { by, item: item.unwrap_or_default(), uri: parts.uri, body })
    }

    async fn call(&self, name: Name, asked: &Asked) -> Answer {
        match name {
            Name::Alive => Ok("ok\n".into_response()),
            Name::Ready if self.handle.is_ready() => Ok("ready\n".into_response()),
            Name::Ready => {
                Err(Box::new(refuse(StatusCode::SERVICE_UNAVAILABLE, "the store does not commit")))
            }
            Name::OpenApi => Ok(Json(openapi::description()).into_response()),
            Name::Metrics => metrics::answer(self),
            Name::Cases => Ok(listed(self.rows("case")?, "opened_at")),
            Name::CloseCase => close(self, asked).await,
            Name::Precision => precision(self),
            Name::Orders => Ok(listed(self.rows("order")?, "planned_at")),
            Name::Approve => decide(self, asked, true).await,
            Name::Deny => decide(self, asked, false).await,
            Name::Undo => undo(self, asked).await,
            Name::Frozen => Ok(Json(self.rows("freeze")?.pop()).into_response()),
            Name::Freeze => freeze(self, asked).await,
            Name::Directory => directory(self, asked).await,
            Name::Watchlist => watchlist(self, &asked.item),
            Name::Records => records(self, &asked.uri),
            Name::Explain => explain(self, &asked.item),
            Name::Checkpoint => Ok(self.checkpoint().await?.into_response()),
            Name::Bundle => bundle(self).await,
            Name::Erase => erase::ask(self, asked).await,
            Name::Erasure => erase::look(self, &asked.item).await,
            Name::IntakeAlive | Name::Take | Name::Challenge => Ok(nothing().await),
        }
    }

    async fn checkpoint(&self) -> Result<String, Box<Response>> {
        let note = self.handle.checkpoint().await;
        note.map_err(|e| Box::new(refuse(StatusCode::SERVICE_UNAVAILABLE, &e)))
    }

    /// Reads the store.
    pub(crate) fn read<T>(
        &self,
        read: impl FnOnce(&dyn Views) -> Result<T, quell_store::ReadError>,
    ) -> Result<T, Box<Response>> {
        let views = self.views.lock().unwrap_or_else(PoisonError::into_inner);
        read(views.as_ref())
            .map_err(|e| Box::new(refuse(StatusCode::SERVICE_UNAVAILABLE, &e.to_string())))
    }

    fn rows(&self, table: &'static str) -> Result<Vec<Value>, Box<Response>> {
        self.read(|views| {
            let rows = StateRows::new(views, &self.tenant, table);
            let values = rows.map(|row| {
                row.map(|(_, value)| serde_json::from_slice(&value).unwrap_or(Value::Null))
            });
            values.collect()
        })
    }
}

/// Refuses a body that does not say that it is JSON.
fn is_json(headers: &HeaderMap) -> Result<(), Box<Response>> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let kind = kind.and_then(|kind| kind.split(';').next()).unwrap_or_default().trim();
    if kind.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    let message = "the body must come as `application/json`";
    Err(Box::new(refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, message)))
}

pub(super) fn bad(message: impl std::fmt::Display) -> Box<Response> {
    Box::new(refuse(StatusCode::BAD_REQUEST, &message.to_string()))
}

/// A body as the object that it must be: a list in the order of the fields is none.
pub(super) fn object<T: DeserializeOwned>(body: &Bytes) -> Result<T, Box<Response>> {
    let invalid = |e: serde_json::Error| bad(format!("the body is not valid: {e}"));
    let is_object = body.trim_ascii_start().first() == Some(&b'{');
    if !is_object {
        serde_json::from_slice::<Map<String, Value>>(body).map_err(invalid)?;
    }
    serde_json::from_slice(body).map_err(invalid)
}

/// Newest first, at most [`ROWS_MAX`].
fn listed(mut rows: Vec<Value>, time: &str) -> Response {
    rows.sort_by_key(|row| std::cmp::Reverse(row.get(time).map(Value::to_string)));
    rows.truncate(ROWS_MAX);
    Json(rows).into_response()
}

/// The body of an answer or undo.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Why {
    #[serde(default)]
    why: String,
}

fn why(body: &Bytes) -> Result<String, Box<Response>> {
    let why = if body.is_empty() { Why::default() } else { object(body)? };
    Ok(why.why.chars().take(240).collect())
}

async fn decide(control: &Control, asked: &Asked, approve: bool) -> Answer {
    let order = parse(&asked.item)?;
    let reply = Reply { order, by: asked.by.clone(), approve, why: why(&asked.body.bytes)? };
    one(control, "order", &asked.item)?;
    let receipt = control.handle.input(Input::Answer(reply)).await.map_err(busy)?;
    match receipt.refused {
        Some(why) => Err(Box::new(refuse(StatusCode::CONFLICT, &why))),
        None => Ok(Json(one(control, "order", &asked.item)?).into_response()),
    }
}

fn parse(id: &str) -> Result<quell_core::id::OrderId, Box<Response>> {
    id.parse().map_err(|e: quell_core::id::InvalidId| bad(e))
}

pub(super) fn busy(_: quell_run::Busy) -> Box<Response> {
    Box::new(soon(refuse(StatusCode::SERVICE_UNAVAILABLE, "busy: try again"), 1))
}

/// One row of a table: `order` or `case`.
fn one(control: &Control, table: &'static str, id: &str) -> Result<Value, Box<Response>> {
    let row = control.read(|views| views.state_row(&control.tenant, table, id))?;
    let row = row.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let none = || Box::new(refuse(StatusCode::NOT_FOUND, &format!("there is no such {table}")));
    row.ok_or_else(none)
}

/// The body of a closing.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CloseBody {
    #[serde(rename = "as")]
    disposition: Disposition,
    #[serde(default)]
    why: String,
}

async fn close(control: &Control, asked: &Asked) -> Answer {
    let case = asked.item.parse().map_err(|e: quell_core::id::InvalidId| bad(e))?;
    let body: CloseBody = object(&asked.body.bytes)?;
    one(control, "case", &asked.item)?;
    let why = body.why.chars().take(240).collect();
    let closing = Closing { case, disposition: body.disposition, by: asked.by.clone(), why };
    let receipt = control.handle.input(Input::Close(closing)).await.map_err(busy)?;
    match receipt.refused {
        Some(why) => Err(Box::new(refuse(StatusCode::CONFLICT, &why))),
        None => Ok(Json(one(control, "case", &asked.item)?).into_response()),
    }
}

fn precision(control: &Control) -> Answer {
    let known = control.read(|views| {
        let mut known = Precision::default();
        for row in StateRows::new(views, &control.tenant, "precision") {
            let (key, value) = row?;
            if let Ok(tally) = serde_json::from_slice(&value) {
                known.load(&key, tally);
            }
        }
        Ok(known)
    })?;
    let rows = known.all((control.clock)()).map(|(source, kind, measured)| {
        let (percent, cases) = (measured.percent, measured.cases);
        let counts = cases >= CASES_MIN;
        json!({
            "source": source, "kind": kind, "percent": percent, "cases": cases, "counts": counts,
        })
    });
    Ok(Json(rows.collect::<Vec<_>>()).into_response())
}

async fn undo(control: &Control, asked: &Asked) -> Answer {
    let order = parse(&asked.item)?;
    let take_back = TakeBack { order, by: asked.by.clone(), why: why(&asked.body.bytes)? };
    one(control, "order", &asked.item)?;
    let receipt = control.handle.input(Input::TakeBack(take_back)).await.map_err(busy)?;
    match receipt.refused {
        Some(why) => Err(Box::new(refuse(StatusCode::CONFLICT, &why))),
        None => Ok(Json(one(control, "order", &asked.item)?).into_response()),
    }
}

/// The body of a freeze.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FreezeBody {
    on: bool,
    #[serde(default)]
    minutes: Option<Number>,
    #[serde(default)]
    why: String,
}

/// A whole number, however it is written: to JSON Schema `5.0` is one as well.
fn whole(number: &Number) -> Option<i64> {
    let text = number.to_string();
    let text = text.split_once('.').filter(|(_, rest)| rest.bytes().all(|b| b == b'0'));
    text.map_or_else(|| number.as_i64(), |(whole, _)| whole.parse().ok())
}

async fn freeze(control: &Control, asked: &Asked) -> Answer {
    let body: FreezeBody = object(&asked.body.bytes)?;
    let given = body.minutes.unwrap_or_else(|| FREEZE_MINUTES.into());
    let Some(minutes) = whole(&given).filter(|m| (1..=FREEZE_MINUTES_MAX).contains(m)) else {
        return Err(bad(format!("`minutes` is {given}: 1 to {FREEZE_MINUTES_MAX}")));
    };
    let until = body.on.then(|| (control.clock)().plus(minutes * MINUTE));
    let why = body.why.chars().take(240).collect();
    let freeze = Freeze { on: body.on, until, by: asked.by.clone(), why };
    control.handle.input(Input::Freeze(freeze)).await.map_err(busy)?;
    Ok(Json(json!({ "frozen": body.on, "until": until })).into_response())
}

async fn directory(control: &Control, asked: &Asked) -> Answer {
    let import: quell_core::directory::Import = object(&asked.body.bytes)?;
    let count = import.identities.len();
    if count == 0 {
        return Err(bad("a directory of 0 identities would make everybody unknown"));
    }
    control.handle.input(Input::Directory(import)).await.map_err(busy)?;
    Ok(Json(json!({ "identities": count })).into_response())
}

fn watchlist(control: &Control, kind: &str) -> Answer {
    let now = (control.clock)();
    let mut entries = Vec::new();
    let mut after: Option<(String, String)> = None;
    while entries.len() < ROWS_MAX {
        let page = control.read(|views| {
            let from = after.as_ref().map(|(k, v)| (k.as_str(), v.as_str()));
            views.watch(&control.tenant, now, from, ROWS_MAX)
        })?;
        let Some(last) = page.last() else { break };
        after = Some((last.kind.clone(), last.value.clone()));
        entries.extend(page.into_iter().filter(|entry| entry.kind == kind));
    }
    let rows: Vec<Value> = entries
        .iter()
        .map(|entry| serde_json::from_slice(&entry.body).unwrap_or(Value::Null))
        .collect();
    Ok(Json(rows).into_response())
}

/// Which records.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RecordsQuery {
    #[serde(default, rename = "ref")]
    reference: Option<String>,
    #[serde(default, rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    from: u64,
}

fn records(control: &Control, uri: &Uri) -> Answer {
    let Query(query) = Query::<RecordsQuery>::try_from_uri(uri).map_err(|e| bad(e.body_text()))?;
    if query.from > SEQ_MAX {
        return Err(bad(format!("`from` is {}: at most {SEQ_MAX}", query.from)));
    }
    let pick = match (&query.reference, &query.kind) {
        (Some(id), _) => Pick::Ref(id),
        (None, Some(kind)) => Pick::Type(kind),
        (None, None) => Pick::All,
    };
    let rows = control.read(|views| views.records(&control.tenant, pick, query.from, ROWS_MAX))?;
    let rows: Vec<Value> = rows.iter().map(crate::explain::record).collect();
    Ok(Json(rows).into_response())
}

fn explain(control: &Control, id: &str) -> Answer {
    let told = control.read(|views| crate::explain::explain(views, &control.tenant, id))?;
    match told {
        Some(told) => Ok(Json(told).into_response()),
        None => Err(Box::new(refuse(StatusCode::NOT_FOUND, "no record names this id"))),
    }
}

async fn bundle(control: &Control) -> Answer {
    control.checkpoint().await?;
    let views = Arc::clone(&control.views);
    let (tenant, verifier) = (control.tenant.clone(), control.verifier.clone());
    let made = tokio::task::spawn_blocking(move || {
        let views = views.lock().unwrap_or_else(PoisonError::into_inner);
        crate::bundle::export(views.as_ref(), &tenant, &verifier)
    });
    let not_made = |why: &str| Box::new(refuse(StatusCode::SERVICE_UNAVAILABLE, why));
    let made = made.await.map_err(|e| not_made(&e.to_string()))?;
    let bytes = made.map_err(|e| not_made(&e.message))?;
    let kind = [(header::CONTENT_TYPE, "application/octet-stream")];
    Ok((kind, bytes).into_response())
}
