//! Binary room, HTTP: two listeners, intake and control. Neither decides anything.

pub(crate) mod control;
pub(crate) mod intake;

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// An answer that is no success: a code and one sentence.
pub(crate) fn refuse(status: StatusCode, message: &str) -> Response {
    (status, Json(json!({ "error": message }))).into_response()
}
