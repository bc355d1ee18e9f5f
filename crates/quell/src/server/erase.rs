//! Binary room, erasures at the control listener: who is meant, and how far it came. A name comes
//! in a body, never in an address, and is not kept: what is journalled holds the identity's id.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use quell_core::directory::{Directory, Entry};
use quell_core::effect::Input;
use quell_core::erase::Erase;
use quell_core::id::IdentityId;
use quell_core::time::SECOND;
use quell_store::views::{Pick, Records, StateRows};
use serde::Deserialize;
use serde_json::{Value, json};

use super::control::{Answer, Asked, Control, bad, busy, object};
use super::refuse;

/// How long one question waits for the end, in microseconds.
const WAIT: i64 = 20 * SECOND;
/// How often it looks.
const LOOK_EVERY: std::time::Duration = std::time::Duration::from_millis(50);

/// Who is to be forgotten, and why.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ask {
    /// `idn_…`, or a login, address, account id or key of the directory.
    who: String,
    why: String,
    #[serde(default)]
    force: bool,
}

/// Begins it; the answer leaves after the ask is committed.
pub(super) async fn ask(control: &Control, asked: &Asked) -> Answer {
    let ask: Ask = object(&asked.body.bytes)?;
    let identity = resolve(control, &ask.who)?;
    let (by, why) = (asked.by.clone(), ask.why.chars().take(240).collect());
    let erase = Erase { identity, by, why, force: ask.force, done: None };
    let receipt = control.handle.input(Input::Erase(erase)).await.map_err(busy)?;
    match receipt.refused {
        Some(why) => Err(Box::new(refuse(StatusCode::CONFLICT, &why))),
        None => Ok((StatusCode::ACCEPTED, Json(json!({ "identity": identity }))).into_response()),
    }
}

/// The one identity that is meant.
fn resolve(control: &Control, who: &str) -> Result<IdentityId, Box<Response>> {
    if let Ok(id) = who.parse::<IdentityId>() {
        return Ok(id);
    }
    let mut directory = Directory::default();
    control.read(|views| {
        for row in StateRows::new(views, &control.tenant, "directory") {
            let (key, value) = row?;
            if let (Ok(id), Ok(entry)) = (key.parse(), serde_json::from_slice::<Entry>(&value)) {
                directory.load_entry(id, entry);
            }
        }
        Ok(())
    })?;
    directory.index();
    let mut ids = directory.named(who);
    ids.extend(directory.identities().filter(|i| i.key == who).map(|i| i.id));
    let one = ids.pop_first();
    match (one, ids.is_empty()) {
        (Some(id), true) => Ok(id),
        (Some(_), false) => {
            let message = "several identities have that name: say `idn_…`";
            Err(Box::new(refuse(StatusCode::CONFLICT, message)))
        }
        (None, _) => {
            Err(Box::new(refuse(StatusCode::NOT_FOUND, "the directory knows nobody by that name")))
        }
    }
}

/// Waits for the end of an erasure for a while, and tells what was erased.
pub(super) async fn look(control: &Control, id: &str) -> Answer {
    let id = id.parse::<IdentityId>().map_err(bad)?.to_string();
    let until = (control.clock)().plus(WAIT);
    while control.read(|views| views.state_row(&control.tenant, "erasure", &id))?.is_some() {
        if (control.clock)() >= until {
            return Ok(Json(json!({ "identity": id, "done": false })).into_response());
        }
        quell_run::timer(LOOK_EVERY).await;
    }
    let last = control.read(|views| {
        let mut last = None;
        for record in Records::new(views, &control.tenant, Pick::Ref(&id), 0) {
            let record = record?;
            if record.record_type == "identity_erased" {
                last = record.body.and_then(|(_, b)| serde_json::from_slice::<Value>(&b).ok());
            }
        }
        Ok(last)
    })?;
    let erased = last.as_ref().and_then(|body| body.get("erased"));
    match erased {
        Some(erased) => {
            Ok(Json(json!({ "identity": id, "done": true, "erased": erased })).into_response())
        }
        None => Err(Box::new(refuse(StatusCode::NOT_FOUND, "nobody asked for its erasure"))),
    }
}
