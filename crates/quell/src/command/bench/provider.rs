//! The benchmark's provider: answers at once and writes down when each request came. It holds no
//! sessions; its read-backs say that everything is done.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use quell_core::time::Time;
use serde_json::json;
use tokio::net::TcpListener;

use crate::fault::Fault;

/// When the first call and the first effecting call for a user came.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Seen {
    pub(super) first: Option<Time>,
    pub(super) effecting: Option<Time>,
}

/// The provider.
#[derive(Clone, Default)]
pub(super) struct Recorder {
    seen: Arc<Mutex<BTreeMap<String, Seen>>>,
}

impl Recorder {
    /// Listens on a free port of loopback.
    pub(super) async fn start(&self) -> Result<SocketAddr, Fault> {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let listener = TcpListener::bind(any).await.map_err(|e| Fault::store(&e))?;
        let address = listener.local_addr().map_err(|e| Fault::store(&e))?;
        let router = axum::Router::new().fallback(answer).with_state(self.clone());
        tokio::spawn(async move { drop(axum::serve(listener, router).await) });
        Ok(address)
    }

    /// What was seen so far.
    pub(super) fn seen(&self) -> BTreeMap<String, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn answer(State(recorder): State<Recorder>, request: Request) -> Response {
    let now = (crate::start::clock())();
    let path = request.uri().path().to_owned();
    let effecting = request.method() == Method::DELETE;
    let user = path.strip_prefix("/api/v1/users/").and_then(|rest| rest.split('/').next());
    if let Some(user) = user {
        let mut all = recorder.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = all.entry(user.to_owned()).or_default();
        seen.first = seen.first.or(Some(now));
        if effecting {
            seen.effecting = seen.effecting.or(Some(now));
        }
    }
    match (effecting, path.as_str()) {
        (true, _) => StatusCode::NO_CONTENT.into_response(),
        (false, _) => Json(json!([])).into_response(),
    }
}
