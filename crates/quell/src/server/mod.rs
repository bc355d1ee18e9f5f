//! Binary room, HTTP: two listeners, intake and control, and what they share. None of it decides
//! anything.

pub(crate) mod routes;
pub(crate) mod openapi;
pub(crate) mod tls;
pub(crate) mod listen;
pub(crate) mod guard;
pub(crate) mod body;
pub(crate) mod intake;
pub(crate) mod control;
pub(crate) mod erase;
pub(crate) mod metrics;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// An answer that is no success: a code and one sentence.
pub(crate) fn refuse(status: StatusCode, message: &str) -> Response {
    let mut response = (status, Json(json!({ "error": message }))).into_response();
    if status == StatusCode::UNAUTHORIZED {
        let scheme = HeaderValue::from_static("Bearer");
        response.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
    }
    response
}

/// The same, with the seconds after which another attempt is worth it.
pub(crate) fn soon(mut response: Response, seconds: u32) -> Response {
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    response
}

/// For a path that is not there.
pub(crate) async fn nothing() -> Response {
    refuse(StatusCode::NOT_FOUND, "there is nothing here")
}

/// For a method that the path does not have.
pub(crate) async fn no_method() -> Response {
    refuse(StatusCode::METHOD_NOT_ALLOWED, "this path has no such method")
}
