//! What people and applications use of the provider: sign in, refresh, introspect, and a
//! protected resource that accepts a session cookie or an access token.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::Response;
use data_encoding::BASE64;
use quell_core::time::SECOND;
use serde::Deserialize;
use serde_json::json;

use super::world::Denied;
use super::{Lab, Shared, answer, error, now};
use crate::company::Place;
use crate::event::milliseconds;

/// The body of `POST /lab/sign-in`.
#[derive(Debug, Deserialize)]
pub(super) struct SignIn {
    login: String,
    ip: String,
    user_agent: String,
    device: String,
    /// False plays a wrong password.
    #[serde(default = "yes")]
    right: bool,
    /// With a second factor.
    #[serde(default)]
    strong: bool,
}

fn yes() -> bool {
    true
}

/// `POST /lab/sign-in`: stands for the whole sign-in flow of a browser and an application.
pub(super) async fn sign_in(State(shared): Lab, Json(asked): Json<SignIn>) -> Response {
    let cut = |text: &str| text.chars().take(256).collect::<String>();
    let from = Place {
        ip: cut(&asked.ip),
        user_agent: cut(&asked.user_agent),
        device: cut(&asked.device),
    };
    let asked_for_more = shared.world().user(&asked.login).is_some_and(|user| user.stepped_up);
    let right = asked.right && (asked.strong || !asked_for_more);
    let signed = shared.world().sign_in(&asked.login, &from, right, &shared.client_id, now());
    match signed {
        Ok(signed) => {
            let body = json!({
                "user": signed.user,
                "session": signed.cookie,
                "session_id": signed.session,
                "refresh_token": signed.refresh,
                "access_token": signed.access,
                "client_id": shared.client_id,
            });
            let mut response = answer(StatusCode::OK, &body);
            let cookie = format!("sid={}; Path=/; HttpOnly", signed.cookie);
            if let Ok(cookie) = HeaderValue::from_str(&cookie) {
                response.headers_mut().insert(header::SET_COOKIE, cookie);
            }
            response
        }
        Err(Denied::Refused | Denied::Unknown) => {
            error(StatusCode::UNAUTHORIZED, "E0000004", "Authentication failed")
        }
        Err(Denied::Full) => full(),
    }
}

/// `GET /api/v1/sessions/me`: the session of the cookie; 404 when there is none, as at Okta.
pub(super) async fn session_me(State(shared): Lab, headers: HeaderMap) -> Response {
    let world = shared.world();
    let session = cookie(&headers).and_then(|cookie| world.session(&cookie, now()));
    match session {
        Some(session) => {
            let login = world.user(&session.user).map_or("", |user| user.login.as_str());
            let body = json!({
                "id": session.id,
                "userId": session.user,
                "login": login,
                "status": "ACTIVE",
                "createdAt": milliseconds(session.created),
                "expiresAt": milliseconds(session.expires),
            });
            answer(StatusCode::OK, &body)
        }
        None => {
            error(StatusCode::NOT_FOUND, "E0000007", "Not found: Resource not found: me (Session)")
        }
    }
}

/// `GET /lab/resource`: 200 with a session cookie or access token that lives, else 401.
pub(super) async fn resource(State(shared): Lab, headers: HeaderMap) -> Response {
    let t = now();
    let world = shared.world();
    let by_cookie = cookie(&headers)
        .and_then(|cookie| world.session(&cookie, t).map(|s| (s.user.clone(), "session")));
    let bearer = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "));
    let by_token =
        bearer.and_then(|token| world.access(token, t).map(|g| (g.user.clone(), "access_token")));
    match by_cookie.or(by_token) {
        Some((user, by)) => answer(StatusCode::OK, &json!({ "user": user, "by": by })),
        None => {
            let mut response =
                answer(StatusCode::UNAUTHORIZED, &json!({ "error": "invalid_token" }));
            let challenge = HeaderValue::from_static("Bearer error=\"invalid_token\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
            response
        }
    }
}

/// `POST /oauth2/v1/token`, grant type `refresh_token` (RFC 6749 section 6); the refresh token
/// stays the same.
pub(super) async fn token(State(shared): Lab, headers: HeaderMap, body: String) -> Response {
    let form = form(&body);
    if !is_client(&shared, &headers, &form) {
        return oauth_error(StatusCode::UNAUTHORIZED, "invalid_client");
    }
    if form.get("grant_type").map(String::as_str) != Some("refresh_token") {
        return oauth_error(StatusCode::BAD_REQUEST, "unsupported_grant_type");
    }
    let Some(refresh) = form.get("refresh_token") else {
        return oauth_error(StatusCode::BAD_REQUEST, "invalid_request");
    };
    let access = shared.world().refresh(refresh, &shared.client_id, now());
    match access {
        Some(access) => {
            let body = json!({
                "token_type": "Bearer",
                "expires_in": 3600,
                "access_token": access,
                "refresh_token": refresh,
                "scope": "openid offline_access",
            });
            answer(StatusCode::OK, &body)
        }
        None => oauth_error(StatusCode::BAD_REQUEST, "invalid_grant"),
    }
}

/// `POST /oauth2/v1/introspect` (RFC 7662).
pub(super) async fn introspect(State(shared): Lab, headers: HeaderMap, body: String) -> Response {
    let form = form(&body);
    if !is_client(&shared, &headers, &form) {
        return oauth_error(StatusCode::UNAUTHORIZED, "invalid_client");
    }
    let world = shared.world();
    let grant = form.get("token").and_then(|token| world.token(token, now()));
    let body = match grant {
        Some(grant) => json!({
            "active": true,
            "client_id": grant.client,
            "uid": grant.user,
            "username": world.user(&grant.user).map(|user| user.login.clone()),
            "scope": "openid offline_access",
            "token_type": "Bearer",
            "iss": world.issuer(),
            "jti": grant.id,
            "iat": grant.created.0.div_euclid(SECOND),
            "exp": grant.expires.0.div_euclid(SECOND),
        }),
        None => json!({ "active": false }),
    };
    answer(StatusCode::OK, &body)
}

fn is_client(shared: &Shared, headers: &HeaderMap, form: &BTreeMap<String, String>) -> bool {
    let basic = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Basic "))
        .and_then(|value| BASE64.decode(value.as_bytes()).ok())
        .and_then(|bytes| String::from_utf8(bytes).ok());
    if let Some((id, secret)) = basic.as_deref().and_then(|pair| pair.split_once(':')) {
        return id == shared.client_id && secret == shared.client_secret;
    }
    let given = |name: &str| form.get(name).map(String::as_str);
    given("client_id") == Some(shared.client_id.as_str())
        && given("client_secret") == Some(shared.client_secret.as_str())
}

/// The members of a form body; an unreadable one has none.
pub(crate) fn form(body: &str) -> BTreeMap<String, String> {
    let uri = format!("/?{body}").parse::<Uri>();
    let query = uri.ok().and_then(|uri| Query::try_from_uri(&uri).ok());
    query.map_or_else(BTreeMap::new, |Query(form)| form)
}

pub(crate) fn cookie(headers: &HeaderMap) -> Option<String> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|value| value.split(';'));
    pairs.find_map(|pair| pair.trim().strip_prefix("sid=").map(str::to_owned))
}

fn oauth_error(status: StatusCode, code: &str) -> Response {
    let sentence = match code {
        "invalid_grant" => "The refresh token is invalid or expired.",
        "invalid_client" => "The client secret supplied for a confidential client is invalid.",
        _ => "The request is not supported.",
    };
    answer(status, &json!({ "error": code, "error_description": sentence }))
}

fn full() -> Response {
    error(StatusCode::SERVICE_UNAVAILABLE, "E0000009", "the lab holds too many sessions")
}
