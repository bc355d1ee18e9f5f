//! Binary room, the control listener: what people and the command line ask of a running engine.
//! Every route but health wants a token; only hashes of tokens are known here.

use std::sync::{Arc, Mutex, PoisonError};

use axum::Json;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use quell_core::effect::{Freeze, Input, Reply, TakeBack};
use quell_core::id::Digest;
use quell_core::time::MINUTE;
use quell_run::{Clock, Handle};
use quell_store::views::{Pick, StateRows, Views};
use serde::Deserialize;
use serde_json::{Value, json};
use subtle::ConstantTimeEq;

use super::refuse;
use crate::config::{Role, Token};

/// What the control listener works with.
#[derive(Clone)]
pub(crate) struct Control {
    pub(crate) tenant: String,
    pub(crate) handle: Handle,
    pub(crate) clock: Clock,
    pub(crate) tokens: Arc<Vec<Token>>,
    pub(crate) views: Arc<Mutex<Box<dyn Views + Send>>>,
    pub(crate) verifier: String,
}

/// Bytes that a control request may have; directories come this way.
const BODY_MAX: usize = 64 << 20;
/// The longest freeze: a week.
const FREEZE_MINUTES_MAX: i64 = 7 * 24 * 60;
/// Rows of one answer.
const ROWS_MAX: usize = 1000;

/// The routes.
pub(crate) fn router(control: Control) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/v1/cases", get(cases))
        .route("/v1/orders", get(orders))
        .route("/v1/orders/{id}/approve", post(approve))
        .route("/v1/orders/{id}/deny", post(deny))
        .route("/v1/orders/{id}/undo", post(undo))
        .route("/v1/freeze", get(frozen).post(freeze))
        .route("/v1/directory", post(directory))
        .route("/v1/watchlists/{kind}", get(watchlist))
        .route("/v1/records", get(records))
        .route("/v1/explain/{id}", get(explain))
        .route("/v1/evidence/checkpoint", get(checkpoint))
        .route("/v1/evidence/bundle", get(bundle))
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .with_state(control)
}

impl Control {
    /// The principal of a request, if its token may do what the role may.
    fn principal(&self, headers: &HeaderMap, least: Role) -> Result<String, Box<Response>> {
        let given = headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok());
        let token = given.and_then(|v| v.strip_prefix("Bearer ")).unwrap_or_default();
        let hash = Digest::of(token.as_bytes()).to_string();
        let mut found: Option<&Token> = None;
        for known in self.tokens.iter() {
            if bool::from(known.hash.as_bytes().ct_eq(hash.as_bytes())) {
                found = Some(known);
            }
        }
        match found {
            None => Err(Box::new(refuse(StatusCode::UNAUTHORIZED, "no valid token"))),
            Some(_) if token.is_empty() => {
                Err(Box::new(refuse(StatusCode::UNAUTHORIZED, "no valid token")))
            }
            Some(token) if token.role < least => {
                let message = "the token's role may not do this";
                Err(Box::new(refuse(StatusCode::FORBIDDEN, message)))
            }
            Some(token) => Ok(token.name.clone()),
        }
    }

    fn read<T>(
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

type Answer = Result<Response, Box<Response>>;

fn answer(result: Answer) -> Response {
    result.unwrap_or_else(|refusal| *refusal)
}

async fn ready(State(control): State<Control>) -> Response {
    if control.handle.is_ready() {
        "ready\n".into_response()
    } else {
        refuse(StatusCode::SERVICE_UNAVAILABLE, "the store does not commit")
    }
}

/// Newest first, at most [`ROWS_MAX`].
fn listed(mut rows: Vec<Value>, time: &str) -> Response {
    rows.sort_by_key(|row| std::cmp::Reverse(row.get(time).map(Value::to_string)));
    rows.truncate(ROWS_MAX);
    Json(rows).into_response()
}

async fn cases(State(control): State<Control>, headers: HeaderMap) -> Response {
    answer((|| {
        control.principal(&headers, Role::Viewer)?;
        Ok(listed(control.rows("case")?, "opened_at"))
    })())
}

async fn orders(State(control): State<Control>, headers: HeaderMap) -> Response {
    answer((|| {
        control.principal(&headers, Role::Viewer)?;
        Ok(listed(control.rows("order")?, "planned_at"))
    })())
}

/// The body of an answer or undo.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Why {
    #[serde(default)]
    why: String,
}

fn why(body: &Bytes) -> Result<String, Box<Response>> {
    if body.is_empty() {
        return Ok(String::new());
    }
    let bad = |e: serde_json::Error| {
        Box::new(refuse(StatusCode::BAD_REQUEST, &format!("the body is not valid: {e}")))
    };
    let why: Why = serde_json::from_slice(body).map_err(bad)?;
    Ok(why.why.chars().take(240).collect())
}

async fn approve(
    State(control): State<Control>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    answer(decide(control, id, headers, body, true).await)
}

async fn deny(
    State(control): State<Control>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    answer(decide(control, id, headers, body, false).await)
}

async fn decide(
    control: Control,
    id: String,
    headers: HeaderMap,
    body: Bytes,
    approve: bool,
) -> Answer {
    let by = control.principal(&headers, Role::Approver)?;
    let order = parse(&id)?;
    let reply = Reply { order, by, approve, why: why(&body)? };
    let receipt = control.handle.input(Input::Answer(reply)).await.map_err(busy)?;
    match receipt.refused {
        Some(why) => Err(Box::new(refuse(StatusCode::CONFLICT, &why))),
        None => Ok(Json(one(&control, &id)?).into_response()),
    }
}

fn parse(id: &str) -> Result<quell_core::id::OrderId, Box<Response>> {
    id.parse().map_err(|e: quell_core::id::InvalidId| {
        Box::new(refuse(StatusCode::BAD_REQUEST, &e.to_string()))
    })
}

fn busy(_: quell_run::Busy) -> Box<Response> {
    let mut response = refuse(StatusCode::SERVICE_UNAVAILABLE, "busy: try again");
    response.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static("1"));
    Box::new(response)
}

fn one(control: &Control, id: &str) -> Result<Value, Box<Response>> {
    let row = control.read(|views| views.state_row(&control.tenant, "order", id))?;
    let row = row.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    row.ok_or_else(|| Box::new(refuse(StatusCode::NOT_FOUND, "there is no such order")))
}

async fn undo(
    State(control): State<Control>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    answer(
        async {
            let by = control.principal(&headers, Role::Approver)?;
            let order = parse(&id)?;
            one(&control, &id)?;
            let take_back = TakeBack { order, by, why: why(&body)? };
            let receipt = control.handle.input(Input::TakeBack(take_back)).await.map_err(busy)?;
            match receipt.refused {
                Some(why) => Err(Box::new(refuse(StatusCode::CONFLICT, &why))),
                None => Ok(Json(one(&control, &id)?).into_response()),
            }
        }
        .await,
    )
}

/// The body of a freeze.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FreezeBody {
    on: bool,
    #[serde(default)]
    minutes: Option<u32>,
    #[serde(default)]
    why: String,
}

async fn freeze(State(control): State<Control>, headers: HeaderMap, body: Bytes) -> Response {
    answer(
        async {
            let by = control.principal(&headers, Role::Responder)?;
            let bad = |e: serde_json::Error| {
                Box::new(refuse(StatusCode::BAD_REQUEST, &format!("not valid: {e}")))
            };
            let body: FreezeBody = serde_json::from_slice(&body).map_err(bad)?;
            let minutes = i64::from(body.minutes.unwrap_or(240));
            if !(1..=FREEZE_MINUTES_MAX).contains(&minutes) {
                let message = format!("`minutes` is {minutes}: 1 to {FREEZE_MINUTES_MAX}");
                return Err(Box::new(refuse(StatusCode::BAD_REQUEST, &message)));
            }
            let until = body.on.then(|| (control.clock)().plus(minutes * MINUTE));
            let why = body.why.chars().take(240).collect();
            let freeze = Freeze { on: body.on, until, by, why };
            control.handle.input(Input::Freeze(freeze)).await.map_err(busy)?;
            Ok(Json(json!({ "frozen": body.on, "until": until })).into_response())
        }
        .await,
    )
}

async fn frozen(State(control): State<Control>, headers: HeaderMap) -> Response {
    answer((|| {
        control.principal(&headers, Role::Viewer)?;
        let row = control.rows("freeze")?.pop();
        Ok(Json(row.unwrap_or(Value::Null)).into_response())
    })())
}

async fn directory(State(control): State<Control>, headers: HeaderMap, body: Bytes) -> Response {
    answer(
        async {
            control.principal(&headers, Role::Admin)?;
            let bad = |e: &dyn std::fmt::Display| {
                Box::new(refuse(StatusCode::BAD_REQUEST, &format!("not valid: {e}")))
            };
            let import: quell_core::directory::Import =
                serde_json::from_slice(&body).map_err(|e| bad(&e))?;
            let count = import.identities.len();
            if count == 0 {
                let message = "a directory of 0 identities would make everybody unknown";
                return Err(Box::new(refuse(StatusCode::BAD_REQUEST, message)));
            }
            control.handle.input(Input::Directory(import)).await.map_err(busy)?;
            Ok(Json(json!({ "identities": count })).into_response())
        }
        .await,
    )
}

async fn watchlist(
    State(control): State<Control>,
    Path(kind): Path<String>,
    headers: HeaderMap,
) -> Response {
    answer((|| {
        control.principal(&headers, Role::Viewer)?;
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
    })())
}

/// Which records.
#[derive(Deserialize)]
struct RecordsQuery {
    #[serde(default, rename = "ref")]
    reference: Option<String>,
    #[serde(default, rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    from: u64,
}

async fn records(
    State(control): State<Control>,
    Query(query): Query<RecordsQuery>,
    headers: HeaderMap,
) -> Response {
    answer((|| {
        control.principal(&headers, Role::Viewer)?;
        let pick = match (&query.reference, &query.kind) {
            (Some(id), _) => Pick::Ref(id),
            (None, Some(kind)) => Pick::Type(kind),
            (None, None) => Pick::All,
        };
        let rows =
            control.read(|views| views.records(&control.tenant, pick, query.from, ROWS_MAX))?;
        let rows: Vec<Value> = rows.iter().map(crate::explain::record).collect();
        Ok(Json(rows).into_response())
    })())
}

async fn explain(
    State(control): State<Control>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    answer((|| {
        control.principal(&headers, Role::Viewer)?;
        let told = control.read(|views| crate::explain::explain(views, &control.tenant, &id))?;
        match told {
            Some(told) => Ok(Json(told).into_response()),
            None => Err(Box::new(refuse(StatusCode::NOT_FOUND, "no record names this id"))),
        }
    })())
}

async fn checkpoint(State(control): State<Control>, headers: HeaderMap) -> Response {
    answer(
        async {
            control.principal(&headers, Role::Viewer)?;
            let note = control
                .handle
                .checkpoint()
                .await
                .map_err(|e| Box::new(refuse(StatusCode::SERVICE_UNAVAILABLE, &e)))?;
            Ok(note.into_response())
        }
        .await,
    )
}

async fn bundle(State(control): State<Control>, headers: HeaderMap) -> Response {
    answer(
        async {
            control.principal(&headers, Role::Admin)?;
            control
                .handle
                .checkpoint()
                .await
                .map_err(|e| Box::new(refuse(StatusCode::SERVICE_UNAVAILABLE, &e)))?;
            let views = Arc::clone(&control.views);
            let (tenant, verifier) = (control.tenant.clone(), control.verifier.clone());
            let made = tokio::task::spawn_blocking(move || {
                let views = views.lock().unwrap_or_else(PoisonError::into_inner);
                crate::bundle::export(views.as_ref(), &tenant, &verifier)
            });
            let made = made
                .await
                .map_err(|e| Box::new(refuse(StatusCode::INTERNAL_SERVER_ERROR, &e.to_string())))?;
            let bytes =
                made.map_err(|e| Box::new(refuse(StatusCode::SERVICE_UNAVAILABLE, &e.message)))?;
            let kind = [(header::CONTENT_TYPE, "application/octet-stream")];
            Ok((kind, bytes).into_response())
        }
        .await,
    )
}
