//! The login host in the Graph dialect, and what people use of it: tokens for the application and
//! for people, a sign-in, a resource that accepts a session cookie or an access token.

use std::collections::{BTreeMap, BTreeSet};

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use quell_core::time::SECOND;
use serde::Deserialize;
use serde_json::{Value, json};

use super::world::Denied;
use super::{Lab, Shared};
use crate::provider::portal::{cookie, form};
use crate::provider::world::micros;
use crate::provider::{answer, now};

/// `POST /{tenant}/oauth2/v2.0/token`: `client_credentials` by a secret or an assertion, and
/// `refresh_token`.
pub(super) async fn token(
    State(shared): Lab,
    Path(tenant): Path<String>,
    body: String,
) -> Response {
    let form = form(&body);
    let given = |name: &str| form.get(name).map_or("", String::as_str);
    if tenant != shared.tenant {
        return refused(StatusCode::BAD_REQUEST, "invalid_request", "AADSTS90002: no such tenant");
    }
    match given("grant_type") {
        "client_credentials" => application(&shared, &form),
        "refresh_token" => {
            let again = shared.world().refresh(given("refresh_token"), now());
            match again {
                Ok((refresh, access)) => answer(
                    StatusCode::OK,
                    &json!({
                        "token_type": "Bearer",
                        "expires_in": 3599,
                        "access_token": access,
                        "refresh_token": refresh,
                    }),
                ),
                Err(Denied::StepUp) => step_up(),
                Err(_) => refused(
                    StatusCode::BAD_REQUEST,
                    "invalid_grant",
                    "AADSTS50173: The provided grant has expired due to it being revoked",
                ),
            }
        }
        _ => refused(StatusCode::BAD_REQUEST, "unsupported_grant_type", "AADSTS70003"),
    }
}

fn application(shared: &Shared, form: &BTreeMap<String, String>) -> Response {
    let given = |name: &str| form.get(name).map_or("", String::as_str);
    // the host of Graph may be that of a proxy in front
    if !given("scope").ends_with("/.default") {
        return refused(StatusCode::BAD_REQUEST, "invalid_scope", "AADSTS1002012");
    }
    let proven = match form.get("client_assertion") {
        Some(assertion) => is_ours(shared, assertion, given("client_assertion_type")),
        None => given("client_secret") == shared.client_secret,
    };
    if given("client_id") != shared.client_id || !proven {
        let why = "AADSTS7000215: Invalid client secret provided.";
        return refused(StatusCode::UNAUTHORIZED, "invalid_client", why);
    }
    let t = now();
    let life = micros(shared.options.token_life);
    let mut world = shared.world();
    let claims = json!({
        "aud": shared.base_url,
        "appid": shared.client_id,
        "roles": shared.options.permissions,
        "exp": t.plus(life).0.div_euclid(SECOND),
    });
    let claims = data_encoding::BASE64URL_NOPAD.encode(claims.to_string().as_bytes());
    let token = format!("e30.{claims}.{}", world.fresh("sig"));
    world.issue_app_token(&token, t.plus(life));
    let body = json!({
        "token_type": "Bearer",
        "expires_in": life.div_euclid(SECOND),
        "access_token": token,
    });
    answer(StatusCode::OK, &body)
}

/// The assertion names the certificate, is signed with its key, made out to this very endpoint and
/// not out of date (RFC 7523 section 3).
fn is_ours(shared: &Shared, assertion: &str, kind: &str) -> bool {
    let Some(certificate) = &shared.options.certificate else { return false };
    let Ok(head) = jsonwebtoken::decode_header(assertion) else { return false };
    let mut validation = Validation::new(Algorithm::PS256);
    validation.set_audience(&[format!("{}/{}/oauth2/v2.0/token", shared.base_url, shared.tenant)]);
    validation.set_issuer(&[&shared.client_id]);
    validation.sub = Some(shared.client_id.clone());
    validation.validate_nbf = true;
    validation.required_spec_claims =
        ["aud", "iss", "sub", "exp", "nbf"].map(str::to_owned).into_iter().collect();
    let key = DecodingKey::from_rsa_der(&certificate.public_key);
    kind == "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
        && head.x5t_s256.as_ref() == Some(&certificate.thumbprint)
        && jsonwebtoken::decode::<Value>(assertion, &key, &validation).is_ok()
}

/// The body of `POST /lab/sign-in`.
#[derive(Debug, Deserialize)]
pub(super) struct SignIn {
    login: String,
    /// With a second factor.
    #[serde(default)]
    strong: bool,
}

/// `POST /lab/sign-in`: stands for the whole sign-in flow of a browser and an application.
pub(super) async fn sign_in(State(shared): Lab, Json(asked): Json<SignIn>) -> Response {
    let signed = shared.world().sign_in(&asked.login, asked.strong, now());
    match signed {
        Ok(signed) => answer(
            StatusCode::OK,
            &json!({
                "user": signed.user,
                "session": signed.cookie,
                "refresh_token": signed.refresh,
                "access_token": signed.access,
            }),
        ),
        Err(Denied::StepUp) => step_up(),
        Err(Denied::Full) => {
            refused(StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable", "")
        }
        Err(_) => refused(StatusCode::UNAUTHORIZED, "invalid_grant", "AADSTS50057"),
    }
}

/// `GET /lab/resource`: 200 with a session cookie or access token that lives, else 401.
pub(super) async fn resource(State(shared): Lab, headers: HeaderMap) -> Response {
    let t = now();
    let world = shared.world();
    let bearer = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "));
    let mut ways = BTreeSet::new();
    if let Some(user) = cookie(&headers).and_then(|c| world.session(&c, t).map(str::to_owned)) {
        ways.insert(("session", user));
    }
    if let Some(user) = bearer.and_then(|token| world.access(token, t)) {
        ways.insert(("access_token", user.to_owned()));
    }
    match ways.pop_last() {
        Some((by, user)) => answer(StatusCode::OK, &json!({ "user": user, "by": by })),
        None => {
            let mut response =
                answer(StatusCode::UNAUTHORIZED, &json!({ "error": "invalid_token" }));
            let challenge = HeaderValue::from_static("Bearer error=\"invalid_token\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
            response
        }
    }
}

fn step_up() -> Response {
    let why = "AADSTS50076: you must use multi-factor authentication";
    refused(StatusCode::BAD_REQUEST, "interaction_required", why)
}

fn refused(status: StatusCode, code: &str, why: &str) -> Response {
    answer(status, &json!({ "error": code, "error_description": why }))
}
