//! The management API of the provider: users, their sessions, tokens and life-cycle, the System
//! Log; and the lab's own control calls. Answers, codes and headers are Okta's.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use quell_core::time::{DAY, Time};
use serde_json::{Value, json};

use super::effects::Effect;
use super::fault::Injected;
use super::filter::Filter;
use super::log::{Ask, Cursor};
use super::world::{Caller, User};
use super::{Lab, Parameters, Shared, answer, error, now};
use crate::event::milliseconds;

/// `GET /api/v1/users?limit=&after=`
pub(super) async fn users(
    State(shared): Lab,
    Query(asked): Parameters,
    headers: HeaderMap,
) -> Response {
    if let Err(refused) = reads(&shared, &headers) {
        return *refused;
    }
    let limit = asked.get("limit").and_then(|n| n.parse().ok()).unwrap_or(200_usize).clamp(1, 200);
    let world = shared.world();
    let after = asked.get("after");
    let start = after.and_then(|id| world.users().iter().position(|user| user.id == *id));
    let rest = world.users().iter().skip(start.map_or(0, |place| place + 1));
    let page: Vec<&User> = rest.take(limit).collect();
    let body = page.iter().map(|user| user_json(user)).collect();
    let mut response = answer(StatusCode::OK, &Value::Array(body));
    let last = page.last().filter(|last| world.users().last().is_some_and(|end| end.id != last.id));
    if let Some(last) = last {
        let link = format!("{}/api/v1/users?after={}&limit={limit}", shared.public_url, last.id);
        link_header(&mut response, &link, "next");
    }
    response
}

/// `GET /api/v1/users/{id}`
pub(super) async fn user(
    State(shared): Lab,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    if let Err(refused) = reads(&shared, &headers) {
        return *refused;
    }
    match shared.world().user(&id) {
        Some(user) => answer(StatusCode::OK, &user_json(user)),
        None => no_user(&id),
    }
}

/// `DELETE /api/v1/users/{id}/sessions?oauthTokens=&forgetDevices=`
pub(super) async fn end_sessions(
    State(shared): Lab,
    Path(id): Path<String>,
    Query(asked): Parameters,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    if let Err(refused) = writes(&shared, &headers) {
        return *refused;
    }
    let flag = |name: &str| match asked.get(name).map(String::as_str) {
        None | Some("false") => Some(false),
        Some("true") => Some(true),
        Some(_) => None,
    };
    let (Some(tokens), Some(_)) = (flag("oauthTokens"), flag("forgetDevices")) else {
        return error(StatusCode::BAD_REQUEST, "E0000001", "Api validation failed: flag");
    };
    let Some(user) = shared.world().user(&id).map(|user| user.id.clone()) else {
        return no_user(&id);
    };
    let t = now();
    shared.world().end_sessions(&user, tokens, &caller(&uri, &headers), t);
    match happened(&shared, "DELETE", &uri, &user, &headers, t) {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(response) => *response,
    }
}

/// `POST /api/v1/users/{id}/lifecycle/suspend`
pub(super) async fn suspend(
    lab: Lab,
    path: Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    life_cycle(&lab.0, &path.0, true, &uri, &headers)
}

/// `POST /api/v1/users/{id}/lifecycle/unsuspend`
pub(super) async fn unsuspend(
    lab: Lab,
    path: Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    life_cycle(&lab.0, &path.0, false, &uri, &headers)
}

fn life_cycle(
    shared: &Arc<Shared>,
    id: &str,
    suspended: bool,
    uri: &Uri,
    headers: &HeaderMap,
) -> Response {
    if let Err(refused) = writes(shared, headers) {
        return *refused;
    }
    let Some(user) = shared.world().user(id).cloned() else { return no_user(id) };
    let t = now();
    // one lock: of two callers at once, one finds it done already
    if !shared.world().suspend(&user.id, suspended, &caller(uri, headers), t) {
        let summary = match suspended {
            true => "Cannot suspend a user that is not active",
            false => "Cannot unsuspend a user that is not suspended",
        };
        return error(StatusCode::BAD_REQUEST, "E0000001", summary);
    }
    match happened(shared, "POST", uri, &user.id, headers, t) {
        Ok(()) => answer(StatusCode::OK, &json!({})),
        Err(response) => *response,
    }
}

/// `GET /api/v1/users/{id}/clients`: clients that hold refresh tokens of the user.
pub(super) async fn clients(
    State(shared): Lab,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    if let Err(refused) = reads(&shared, &headers) {
        return *refused;
    }
    let world = shared.world();
    let Some(user) = world.user(&id) else { return no_user(&id) };
    let mut clients: Vec<&str> =
        world.refresh_tokens(&user.id, now()).iter().map(|grant| grant.client.as_str()).collect();
    clients.sort_unstable();
    clients.dedup();
    let client = |id: &&str| {
        json!({
            "client_id": id,
            "client_name": "portal",
            "client_uri": null,
            "logo_uri": null,
        })
    };
    answer(StatusCode::OK, &Value::Array(clients.iter().map(client).collect()))
}

/// `GET /api/v1/users/{id}/clients/{client}/tokens`
pub(super) async fn tokens(
    State(shared): Lab,
    Path((id, client)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    if let Err(refused) = reads(&shared, &headers) {
        return *refused;
    }
    let world = shared.world();
    let Some(user) = world.user(&id) else { return no_user(&id) };
    let grants = world.refresh_tokens(&user.id, now());
    let token = |grant: &&super::world::Grant| {
        json!({
            "id": grant.id,
            "status": "ACTIVE",
            "created": milliseconds(grant.created),
            "lastUpdated": milliseconds(grant.created),
            "expiresAt": milliseconds(grant.expires),
            "issuer": world.issuer(),
            "clientId": grant.client,
            "userId": grant.user,
            "scopes": ["offline_access", "openid"],
        })
    };
    let listed = grants.iter().filter(|grant| grant.client == client).map(token).collect();
    answer(StatusCode::OK, &Value::Array(listed))
}

/// `GET /api/v1/logs?since=&until=&after=&limit=&filter=&sortOrder=`
pub(super) async fn logs(
    State(shared): Lab,
    Query(asked): Parameters,
    headers: HeaderMap,
) -> Response {
    if let Err(refused) = reads(&shared, &headers) {
        return *refused;
    }
    let t = now();
    let ask = match log_query(&asked, t) {
        Ok(ask) => ask,
        Err(response) => return *response,
    };
    let page = shared.world().log.read(&ask, t);
    let mut response = answer(StatusCode::OK, &Value::Array(page.events));
    let link = |after: Option<Cursor>| {
        let mut parts = Vec::new();
        for (name, value) in &asked {
            let replaced = name == "after" || (after.is_some() && name == "since");
            if !replaced {
                parts.push(format!("{name}={}", encode(value)));
            }
        }
        match (after, asked.get("after")) {
            (Some(cursor), _) => parts.push(format!("after={cursor}")),
            (None, Some(given)) => parts.push(format!("after={}", encode(given))),
            (None, None) => {}
        }
        format!("{}/api/v1/logs?{}", shared.public_url, parts.join("&"))
    };
    link_header(&mut response, &link(None), "self");
    if let Some(cursor) = page.next {
        link_header(&mut response, &link(Some(cursor)), "next");
    }
    response
}

fn log_query(asked: &BTreeMap<String, String>, t: Time) -> Result<Ask, Box<Response>> {
    let bad = |code: &str, summary: &str| Box::new(error(StatusCode::BAD_REQUEST, code, summary));
    let time = |name: &str| match asked.get(name) {
        None => Ok(None),
        Some(text) => match Time::parse(text) {
            Some(moment) => Ok(Some(moment.t)),
            None => Err(bad("E0000001", &format!("Api validation failed: {name}"))),
        },
    };
    let (since, until) = (time("since")?, time("until")?);
    let after = match asked.get("after").map(|text| text.parse::<Cursor>()) {
        None => None,
        Some(Ok(cursor)) => Some(cursor),
        Some(Err(())) => return Err(bad("E0000001", "Api validation failed: after")),
    };
    if after.is_some() && since.is_some() {
        return Err(bad("E0000053", "after cannot be used together with since"));
    }
    let limit = match asked.get("limit").map(|n| n.parse::<usize>()) {
        None => 100,
        Some(Ok(limit)) if limit <= 1_000 => limit,
        Some(_) => return Err(bad("E0000001", "Api validation failed: limit")),
    };
    let filter = match asked.get("filter").map(|text| Filter::parse(text)) {
        None => None,
        Some(Ok(filter)) => Some(filter),
        Some(Err(refused)) => return Err(bad(refused.0, &refused.1)),
    };
    let descending = match asked.get("sortOrder").map(String::as_str) {
        None | Some("ASCENDING") => false,
        Some("DESCENDING") => true,
        Some(_) => return Err(bad("E0000001", "Api validation failed: sortOrder")),
    };
    let since = since.or_else(|| after.is_none().then(|| until.unwrap_or(t).plus(-7 * DAY)));
    Ok(Ask { since, until, after, limit, descending, filter })
}

/// `GET /lab/effects`: every effecting call that arrived and happened.
pub(super) async fn effects(State(shared): Lab, headers: HeaderMap) -> Response {
    if let Err(refused) = reads(&shared, &headers) {
        return *refused;
    }
    Json(shared.effects.all()).into_response()
}

/// `POST /lab/faults`: queues a fault, as [`Injected`] in JSON.
pub(super) async fn inject(
    State(shared): Lab,
    headers: HeaderMap,
    Json(injected): Json<Injected>,
) -> Response {
    if let Err(refused) = writes(&shared, &headers) {
        return *refused;
    }
    match shared.faults.push(injected) {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(bad) => error(StatusCode::BAD_REQUEST, "E0000001", &bad.to_string()),
    }
}

/// The caller may read.
pub(super) fn reads(shared: &Shared, headers: &HeaderMap) -> Result<(), Box<Response>> {
    if is(headers, &shared.token) || is(headers, &shared.viewer_token) {
        return Ok(());
    }
    Err(Box::new(error(StatusCode::UNAUTHORIZED, "E0000011", "Invalid token provided")))
}

/// The caller may change something.
pub(super) fn writes(shared: &Shared, headers: &HeaderMap) -> Result<(), Box<Response>> {
    reads(shared, headers)?;
    if is(headers, &shared.token) {
        return Ok(());
    }
    let summary = "You do not have permission to perform the requested action";
    Err(Box::new(error(StatusCode::FORBIDDEN, "E0000006", summary)))
}

fn is(headers: &HeaderMap, token: &str) -> bool {
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    given.and_then(|given| given.strip_prefix("SSWS ")).is_some_and(|given| given == token)
}

pub(super) fn happened(
    shared: &Shared,
    method: &str,
    uri: &Uri,
    user: &str,
    headers: &HeaderMap,
    t: Time,
) -> Result<(), Box<Response>> {
    let effect = Effect {
        at: t,
        method: method.to_owned(),
        path: uri.path_and_query().map_or_else(String::new, |path| path.to_string()),
        user: user.to_owned(),
        user_agent: caller(uri, headers).user_agent,
    };
    shared.effects.happened(effect).map_err(|_| {
        let summary = "Internal Server Error";
        Box::new(error(StatusCode::INTERNAL_SERVER_ERROR, "E0000009", summary))
    })
}

pub(super) fn caller(uri: &Uri, headers: &HeaderMap) -> Caller {
    let agent = headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok());
    let user_agent = agent.unwrap_or_default().chars().take(256).collect();
    Caller { user_agent, uri: uri.path().to_owned() }
}

pub(super) fn no_user(id: &str) -> Response {
    let id: String = id.chars().take(80).collect();
    let summary = format!("Not found: Resource not found: {id} (User)");
    error(StatusCode::NOT_FOUND, "E0000007", &summary)
}

fn user_json(user: &User) -> Value {
    let (first, last) = user.name.split_once(' ').unwrap_or((&user.name, ""));
    json!({
        "id": user.id,
        "status": if user.suspended { "SUSPENDED" } else { "ACTIVE" },
        "created": milliseconds(user.created),
        "activated": milliseconds(user.created),
        "statusChanged": milliseconds(user.status_changed),
        "lastLogin": user.last_login.map(milliseconds),
        "lastUpdated": milliseconds(user.status_changed),
        "passwordChanged": milliseconds(user.created),
        "type": { "id": "oty1lab" },
        "profile": {
            "firstName": first,
            "lastName": last,
            "login": user.login,
            "email": user.login,
            "secondEmail": null,
            "mobilePhone": null,
        },
        "credentials": { "provider": { "type": "OKTA", "name": "OKTA" } },
    })
}

fn link_header(response: &mut Response, url: &str, rel: &str) {
    if let Ok(value) = HeaderValue::from_str(&format!("<{url}>; rel=\"{rel}\"")) {
        response.headers_mut().append(header::LINK, value);
    }
}

/// Percent-encodes everything but unreserved characters.
fn encode(text: &str) -> String {
    let byte = |b: u8| match b {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
            char::from(b).to_string()
        }
        _ => format!("%{b:02X}"),
    };
    text.bytes().map(byte).collect()
}
