//! Groups of the provider: the one of which a stronger sign-in is asked, and who is in it. Answers
//! and codes are Okta's.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

use super::admin::{caller, happened, no_user, reads, writes};
use super::{Lab, Shared, answer, error, now};

/// `GET /api/v1/users/{id}/groups`
pub(super) async fn of_user(
    State(shared): Lab,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    if let Err(refused) = reads(&shared, &headers) {
        return *refused;
    }
    let member = shared.world().user(&id).map(|user| user.stepped_up);
    match member {
        None => no_user(&id),
        Some(false) => answer(StatusCode::OK, &json!([])),
        Some(true) => answer(StatusCode::OK, &json!([group_json(&shared)])),
    }
}

/// `GET /api/v1/groups/{group}`
pub(super) async fn group(
    State(shared): Lab,
    Path(group): Path<String>,
    headers: HeaderMap,
) -> Response {
    if let Err(refused) = reads(&shared, &headers) {
        return *refused;
    }
    match group == shared.step_up_group {
        true => answer(StatusCode::OK, &group_json(&shared)),
        false => no_group(),
    }
}

/// `PUT /api/v1/groups/{group}/users/{id}`
pub(super) async fn add(
    lab: Lab,
    path: Path<(String, String)>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    change(&lab.0, &path.0, true, &uri, &headers)
}

/// `DELETE /api/v1/groups/{group}/users/{id}`
pub(super) async fn remove(
    lab: Lab,
    path: Path<(String, String)>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    change(&lab.0, &path.0, false, &uri, &headers)
}

fn change(
    shared: &Arc<Shared>,
    (group, id): &(String, String),
    member: bool,
    uri: &Uri,
    headers: &HeaderMap,
) -> Response {
    if let Err(refused) = writes(shared, headers) {
        return *refused;
    }
    if *group != shared.step_up_group {
        return no_group();
    }
    let Some(user) = shared.world().user(id).map(|user| user.id.clone()) else {
        return no_user(id);
    };
    let t = now();
    shared.world().step_up(&user, member, &caller(uri, headers), t);
    let method = if member { "PUT" } else { "DELETE" };
    match happened(shared, method, uri, &user, headers, t) {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(response) => *response,
    }
}

fn group_json(shared: &Shared) -> Value {
    json!({
        "id": shared.step_up_group,
        "type": "OKTA_GROUP",
        "objectClass": ["okta:user_group"],
        "profile": { "name": "Step-up", "description": null },
    })
}

fn no_group() -> Response {
    error(StatusCode::NOT_FOUND, "E0000007", "Not found: Resource not found (Group)")
}
