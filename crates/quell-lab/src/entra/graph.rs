//! Graph v1.0 as far as the lab speaks it: users, groups, Identity Protection, the audit log.
//! Codes, statuses and traps are Graph's; what a caller may do is what its application was granted.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use quell_core::time::Time;
use serde_json::{Value, json};

use super::world::User;
use super::{Lab, Shared, error, happened};
use crate::event::milliseconds;
use crate::provider::{answer, now};

/// The request as the handlers need it.
type Parts = (Method, Uri, HeaderMap);

const READ: &[&str] = &["User.Read.All", "User.ReadWrite.All"];
const REVOKE: &[&str] = &["User.RevokeSessions.All", "User.ReadWrite.All"];
const ENABLE: &[&str] = &["User.EnableDisableAccount.All", "User.ReadWrite.All"];
const MEMBERS: &[&str] = &["GroupMember.ReadWrite.All", "Group.ReadWrite.All"];
const RISK: &[&str] = &["IdentityRiskyUser.ReadWrite.All"];
const AUDIT: &[&str] = &["AuditLog.Read.All"];
const DELETE: &[&str] = &["User.ReadWrite.All"];

pub(super) async fn no_such_thing() -> Response {
    error(StatusCode::NOT_FOUND, "Request_ResourceNotFound", "Resource not found for the segment.")
}

/// `GET /v1.0/users`
pub(super) async fn users(State(shared): Lab, headers: HeaderMap) -> Response {
    if let Err(refused) = may(&shared, &headers, READ) {
        return *refused;
    }
    let t = now();
    let world = shared.world();
    let users: Vec<Value> = world.users().iter().map(|user| user_json(user, t)).collect();
    answer(StatusCode::OK, &json!({ "value": users }))
}

/// `GET /v1.0/users/{id}`
pub(super) async fn user(
    State(shared): Lab,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    if let Err(refused) = may(&shared, &headers, READ) {
        return *refused;
    }
    let found = shared.world().user(&id).map(|user| user_json(user, now()));
    found.map_or_else(no_object, |user| answer(StatusCode::OK, &user))
}

/// `GET /v1.0/directoryObjects/{id}`: a user or the group.
pub(super) async fn directory_object(
    State(shared): Lab,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    if let Err(refused) = may(&shared, &headers, READ) {
        return *refused;
    }
    if id == shared.options.group {
        let group = json!({ "\u{40}odata.type": "#microsoft.graph.group", "id": id });
        return answer(StatusCode::OK, &group);
    }
    let found = shared.world().user(&id).map(|user| {
        let kind = "#microsoft.graph.user";
        json!({ "\u{40}odata.type": kind, "id": user.id, "displayName": user.name })
    });
    found.map_or_else(no_object, |object| answer(StatusCode::OK, &object))
}

/// `PATCH /v1.0/users/{id}`: `accountEnabled` alone.
pub(super) async fn patch_user(
    State(shared): Lab,
    Path(id): Path<String>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: String,
) -> Response {
    if let Err(refused) = may(&shared, &headers, ENABLE) {
        return *refused;
    }
    let body: Value = serde_json::from_str(&body).unwrap_or_default();
    let members = body.as_object().map_or(0, serde_json::Map::len);
    let enabled = body.get("accountEnabled").and_then(Value::as_bool).filter(|_| members == 1);
    let Some(enabled) = enabled else {
        return bad("Invalid value specified for property 'accountEnabled' of resource 'User'.");
    };
    let Some(user) = shared.world().user(&id).map(|user| user.id.clone()) else {
        return no_object();
    };
    let t = now();
    shared.world().change(&user, t, |state| state.enabled = enabled);
    let activity = if enabled { "Enable account" } else { "Disable account" };
    done(&shared, &(method, uri, headers), activity, &user, t)
}

/// `POST /v1.0/users/{id}/revokeSignInSessions`
pub(super) async fn revoke(
    State(shared): Lab,
    Path(id): Path<String>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    if let Err(refused) = may(&shared, &headers, REVOKE) {
        return *refused;
    }
    if !headers.contains_key(header::CONTENT_LENGTH) {
        return error(StatusCode::LENGTH_REQUIRED, "lengthRequired", "Length Required");
    }
    let Some(user) = shared.world().user(&id).map(|user| user.id.clone()) else {
        return no_object();
    };
    let t = now();
    shared.world().revoke(&user, t);
    let told = done(&shared, &(method, uri, headers), "Update StsRefreshTokenValidFrom", &user, t);
    match told.status() {
        StatusCode::NO_CONTENT => answer(StatusCode::OK, &json!({ "value": true })),
        _ => told,
    }
}

/// `POST /v1.0/users/{id}/checkMemberGroups`
pub(super) async fn check_groups(
    State(shared): Lab,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: String,
) -> Response {
    if let Err(refused) = may(&shared, &headers, MEMBERS) {
        return *refused;
    }
    let body: Value = serde_json::from_str(&body).unwrap_or_default();
    let Some(asked) = body.get("groupIds").and_then(Value::as_array) else {
        return bad("The parameter 'groupIds' is missing.");
    };
    let found = shared.world().user(&id).map(|user| user.seen(now()).groups.clone());
    let Some(groups) = found else { return no_object() };
    let held = |id: &&Value| id.as_str().is_some_and(|id| groups.contains(id));
    let held: Vec<&Value> = asked.iter().filter(held).collect();
    answer(StatusCode::OK, &json!({ "value": held }))
}

/// `GET /v1.0/groups/{id}`
pub(super) async fn group(
    State(shared): Lab,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    if let Err(refused) = may(&shared, &headers, MEMBERS) {
        return *refused;
    }
    if id != shared.options.group {
        return no_object();
    }
    let group = json!({
        "id": id,
        "displayName": "Step-up",
        "groupTypes": [],
        "securityEnabled": true,
        "isAssignableToRole": false,
        "onPremisesSyncEnabled": null,
    });
    answer(StatusCode::OK, &group)
}

/// `GET /v1.0/groups/{id}/members` and `members/$ref`
pub(super) async fn members(
    State(shared): Lab,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    if let Err(refused) = may(&shared, &headers, MEMBERS) {
        return *refused;
    }
    if id != shared.options.group {
        return no_object();
    }
    let world = shared.world();
    let object = |user: &&User| {
        let at = format!("{}/v1.0/directoryObjects/{}", shared.base_url, user.id);
        json!({ "\u{40}odata.id": at, "\u{40}odata.type": "#microsoft.graph.user", "id": user.id })
    };
    let members: Vec<Value> = world.members(&id, now()).iter().map(object).collect();
    answer(StatusCode::OK, &json!({ "value": members }))
}

/// `POST /v1.0/groups/{id}/members/$ref`
pub(super) async fn add_member(
    State(shared): Lab,
    Path(id): Path<String>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: String,
) -> Response {
    if let Err(refused) = may(&shared, &headers, MEMBERS) {
        return *refused;
    }
    let body: Value = serde_json::from_str(&body).unwrap_or_default();
    let object = body.get("\u{40}odata.id").and_then(Value::as_str);
    // the host may be that of a proxy in front
    let user = object.and_then(|object| object.split_once("/v1.0/directoryObjects/"));
    let Some((_, user)) = user else {
        return bad("Invalid URL format specified in @odata.id for reference link.");
    };
    let found = shared.world().user(user).filter(|_| id == shared.options.group).cloned();
    let Some(found) = found else { return no_object() };
    if found.truth().groups.contains(&id) {
        return bad("One or more added object references already exist for: 'members'.");
    }
    let t = now();
    shared.world().change(user, t, |state| {
        state.groups.insert(id);
    });
    done(&shared, &(method, uri, headers), "Add member to group", user, t)
}

/// `DELETE /v1.0/groups/{id}/members/{user}/$ref`
pub(super) async fn remove_member(
    State(shared): Lab,
    Path((id, user)): Path<(String, String)>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    if let Err(refused) = may(&shared, &headers, MEMBERS) {
        return *refused;
    }
    let member = shared.world().user(&user).is_some_and(|u| u.truth().groups.contains(&id));
    if !member {
        return no_object();
    }
    let t = now();
    shared.world().change(&user, t, |state| {
        state.groups.remove(&id);
    });
    done(&shared, &(method, uri, headers), "Remove member from group", &user, t)
}

/// `DELETE /v1.0/groups/{id}/members/{user}`: without `/$ref` the user himself is deleted, where
/// the application may.
pub(super) async fn delete_member_object(
    State(shared): Lab,
    Path((_, user)): Path<(String, String)>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    if let Err(refused) = may(&shared, &headers, DELETE) {
        return *refused;
    }
    shared.world().delete(&user);
    done(&shared, &(method, uri, headers), "Delete user", &user, now())
}

/// `GET /v1.0/identityProtection/riskyUsers`
pub(super) async fn risky_users(State(shared): Lab, headers: HeaderMap) -> Response {
    if let Err(refused) = may(&shared, &headers, RISK) {
        return *refused;
    }
    let t = now();
    let world = shared.world();
    let users: Vec<Value> = world.users().iter().filter_map(|user| risk_json(user, t)).collect();
    answer(StatusCode::OK, &json!({ "value": users }))
}

/// `GET /v1.0/identityProtection/riskyUsers/{id}`
pub(super) async fn risky_user(
    State(shared): Lab,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    if let Err(refused) = may(&shared, &headers, RISK) {
        return *refused;
    }
    let found = shared.world().user(&id).and_then(|user| risk_json(user, now()));
    found.map_or_else(no_object, |risk| answer(StatusCode::OK, &risk))
}

/// `POST /v1.0/identityProtection/riskyUsers/confirmCompromised`
pub(super) async fn confirm(
    lab: Lab,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: String,
) -> Response {
    risk(&lab.0, "confirmedCompromised", &(method, uri, headers), &body)
}

/// `POST /v1.0/identityProtection/riskyUsers/dismiss`
pub(super) async fn dismiss(
    lab: Lab,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: String,
) -> Response {
    risk(&lab.0, "dismissed", &(method, uri, headers), &body)
}

fn risk(shared: &Arc<Shared>, state: &'static str, parts: &Parts, body: &str) -> Response {
    if let Err(refused) = may(shared, &parts.2, RISK) {
        return *refused;
    }
    let body: Value = serde_json::from_str(body).unwrap_or_default();
    let Some(ids) = body.get("userIds").and_then(Value::as_array) else {
        return bad("The parameter 'userIds' is missing.");
    };
    let t = now();
    for id in ids {
        let Some(user) = id.as_str().filter(|id| shared.world().user(id).is_some()) else {
            return no_object();
        };
        shared.world().change(user, t, |changed| changed.risk = Some(state));
        let told = done(shared, parts, state, user, t);
        if told.status() != StatusCode::NO_CONTENT {
            return told;
        }
    }
    StatusCode::NO_CONTENT.into_response()
}

/// `GET /v1.0/auditLogs/directoryAudits`, newest first.
pub(super) async fn audits(State(shared): Lab, headers: HeaderMap) -> Response {
    if let Err(refused) = may(&shared, &headers, AUDIT) {
        return *refused;
    }
    answer(StatusCode::OK, &json!({ "value": shared.world().audit() }))
}

/// The caller holds a token, and one of the permissions.
fn may(shared: &Shared, headers: &HeaderMap, any: &[&str]) -> Result<(), Box<Response>> {
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = bearer.and_then(|text| text.strip_prefix("Bearer ")).unwrap_or_default();
    if !shared.world().is_app_token(token, now()) {
        let why = "Access token has expired or is not yet valid.";
        return Err(Box::new(error(StatusCode::UNAUTHORIZED, "InvalidAuthenticationToken", why)));
    }
    let granted = &shared.options.permissions;
    if any.iter().any(|name| granted.iter().any(|held| held == name)) {
        return Ok(());
    }
    let why = "Insufficient privileges to complete the operation.";
    Err(Box::new(error(StatusCode::FORBIDDEN, "Authorization_RequestDenied", why)))
}

/// Writes down what happened, in the audit log and among the effects; 204.
fn done(shared: &Shared, parts: &Parts, activity: &str, user: &str, t: Time) -> Response {
    let (method, uri, headers) = parts;
    let head = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let agent = head("user-agent");
    shared.world().note(activity, user, (head("client-request-id"), agent), t);
    let path = uri.path_and_query().map_or_else(String::new, |path| path.to_string());
    match happened(shared, (method.as_str(), &path, user), agent, t) {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(response) => *response,
    }
}

fn user_json(user: &User, t: Time) -> Value {
    let seen = user.seen(t);
    json!({
        "id": user.id,
        "displayName": user.name,
        "userPrincipalName": user.login,
        "mail": user.login,
        "userType": "Member",
        "accountEnabled": seen.enabled,
        "onPremisesSyncEnabled": null,
        "signInSessionsValidFromDateTime": whole_seconds(seen.valid_from),
    })
}

fn risk_json(user: &User, t: Time) -> Option<Value> {
    let state = user.seen(t).risk?;
    let level = if state == "confirmedCompromised" { "high" } else { "none" };
    Some(json!({
        "id": user.id,
        "userPrincipalName": user.login,
        "riskState": state,
        "riskLevel": level,
        "isProcessing": false,
    }))
}

/// As Graph writes them: no fraction.
fn whole_seconds(t: Time) -> String {
    let text = milliseconds(t);
    text.split_once('.').map_or(text.clone(), |(head, _)| format!("{head}Z"))
}

fn bad(message: &str) -> Response {
    error(StatusCode::BAD_REQUEST, "Request_BadRequest", message)
}

fn no_object() -> Response {
    let why = "Resource does not exist or one of its queried reference-property objects is absent.";
    error(StatusCode::NOT_FOUND, "Request_ResourceNotFound", why)
}
