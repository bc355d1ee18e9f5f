//! The lab's identity provider in the Okta dialect: an HTTP server on loopback that holds real
//! sessions, refresh tokens and access tokens in memory, with real delays. It knows nothing of
//! who calls it; it must never be reachable from another machine.

mod admin;
pub(crate) mod effects;
pub(crate) mod fault;
mod filter;
mod groups;
mod log;
pub(crate) mod portal;
pub(crate) mod world;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::{Query, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{delete, get, post, put};
use quell_core::time::{MINUTE, SECOND, Time};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::company::{Company, okta_id};
use effects::{Effect, Effects};
use fault::{Cut, Faults, Injected, Listener};
use world::World;

/// How the provider behaves.
#[derive(Debug, Clone)]
pub struct Options {
    /// The administrator's API token; made up when none is given.
    pub token: Option<String>,
    /// From a positive answer to an end of sessions until it takes effect.
    pub effect_delay: Duration,
    /// From an event until the System Log shows it.
    pub log_lag: Duration,
    /// Tokens that were issued between the answer and the effect live on, as a refresh in flight
    /// does at some providers.
    pub survives_in_flight: bool,
    /// Requests a minute for each family of paths.
    pub rate_limit: u32,
    /// Where effecting calls are written down, one JSON object a line, before they are answered.
    pub effects_file: Option<PathBuf>,
    /// System Log events of earlier days.
    pub history: Vec<Value>,
    /// The id of the group of which a stronger sign-in is asked.
    pub step_up_group: String,
    /// What links in answers begin with, where a proxy stands in front.
    pub public_url: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            token: None,
            effect_delay: Duration::from_millis(40),
            log_lag: Duration::from_millis(150),
            survives_in_flight: false,
            rate_limit: 6_000,
            effects_file: None,
            history: Vec::new(),
            step_up_group: okta_id("00g", "step-up"),
            public_url: None,
        }
    }
}

/// Why the provider did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Only loopback addresses are served.
    #[error("`{0}` is not on loopback: the lab is for this machine alone")]
    NotLoopback(SocketAddr),
    /// The address is taken, or the like.
    #[error("no listener on `{address}`: {cause}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The system's word.
        cause: std::io::Error,
    },
    /// The file for the effects cannot be written.
    #[error("effects cannot be written to `{path}`: {cause}")]
    Effects {
        /// The file.
        path: PathBuf,
        /// The system's word.
        cause: std::io::Error,
    },
    /// An event of the history has no time.
    #[error("event {0} of the history has no `published`")]
    History(usize),
}

/// A fault was to be injected at something that is no path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no path: it begins with `/` and has at most 512 characters")]
pub struct BadPath(pub String);

/// Starts providers.
#[derive(Debug)]
pub struct Provider;

impl Provider {
    /// Starts on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(company: &Company, options: Options) -> Result<Running, StartError> {
        Self::serve(company, options, SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await
    }

    /// Starts on a given loopback address, for a process of its own: [`Running::wait`] then.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn serve(
        company: &Company,
        options: Options,
        address: SocketAddr,
    ) -> Result<Running, StartError> {
        if !address.ip().is_loopback() {
            return Err(StartError::NotLoopback(address));
        }
        let listen = |cause| StartError::Listen { address, cause };
        let listener = TcpListener::bind(address).await.map_err(listen)?;
        let local = listener.local_addr().map_err(listen)?;
        let host = match local.ip() {
            IpAddr::V4(ip) => ip.to_string(),
            IpAddr::V6(ip) => format!("[{ip}]"),
        };
        let base_url = format!("http://{host}:{}", local.port());
        let effects = Effects::open(options.effects_file.clone()).map_err(|cause| {
            StartError::Effects { path: options.effects_file.clone().unwrap_or_default(), cause }
        })?;
        let world = World::new(company, &options, &base_url)?;
        let shared = Arc::new(Shared {
            token: world.secret("token", options.token.as_deref()),
            viewer_token: world.secret("viewer", None),
            client_id: okta_id("0oa", "portal"),
            client_secret: world.secret("client", None),
            rate_limit: options.rate_limit.max(1),
            step_up_group: options.step_up_group.clone(),
            public_url: options.public_url.clone().unwrap_or_else(|| base_url.clone()),
            base_url,
            effects,
            faults: Faults::default(),
            windows: Mutex::default(),
            world: Mutex::new(world),
        });
        let service = router(&shared).into_make_service_with_connect_info::<Cut>();
        let task = tokio::spawn(async move {
            // ends only with the process or with `stop`
            let _ended = axum::serve(Listener(listener), service).await;
        });
        Ok(Running { shared, task })
    }
}

/// A provider that is up; it goes down when this is dropped.
#[derive(Debug)]
pub struct Running {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl Running {
    /// `http://127.0.0.1:PORT`.
    pub fn base_url(&self) -> &str {
        &self.shared.base_url
    }

    /// The administrator's API token (`Authorization: SSWS ..`).
    pub fn token(&self) -> &str {
        &self.shared.token
    }

    /// An API token that may read and change nothing.
    pub fn viewer_token(&self) -> &str {
        &self.shared.viewer_token
    }

    /// The OAuth client of the lab's portal: id and secret.
    pub fn client(&self) -> (&str, &str) {
        (&self.shared.client_id, &self.shared.client_secret)
    }

    /// The group of which a stronger sign-in is asked.
    pub fn step_up_group(&self) -> &str {
        &self.shared.step_up_group
    }

    /// Every effecting call that arrived and happened, in order.
    pub fn effects(&self) -> Vec<Effect> {
        self.shared.effects.all()
    }

    /// Queues a fault for requests to a path.
    ///
    /// # Errors
    /// [`BadPath`].
    pub fn inject(&self, injected: Injected) -> Result<(), BadPath> {
        self.shared.faults.push(injected)
    }

    /// Faults that were queued and not met yet.
    pub fn pending_faults(&self) -> usize {
        self.shared.faults.pending()
    }

    /// Waits for as long as the provider serves.
    pub async fn wait(mut self) {
        let _ended = (&mut self.task).await;
    }

    /// Takes it down at once; open connections are cut.
    pub fn stop(self) {
        self.task.abort();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Debug)]
struct Shared {
    base_url: String,
    public_url: String,
    token: String,
    viewer_token: String,
    client_id: String,
    client_secret: String,
    rate_limit: u32,
    step_up_group: String,
    effects: Effects,
    faults: Faults,
    windows: Mutex<BTreeMap<String, (Time, u32)>>,
    world: Mutex<World>,
}

impl Shared {
    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Requests left in this minute for a family of paths, or none; and when the minute ends.
    fn spend(&self, family: &str, t: Time) -> (Option<u32>, Time) {
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        let minute = Time(t.0.div_euclid(MINUTE).saturating_mul(MINUTE));
        if windows.len() >= FAMILIES_MAX {
            windows.retain(|_, window| window.0 == minute);
        }
        if windows.len() >= FAMILIES_MAX && !windows.contains_key(family) {
            return (None, minute.plus(MINUTE));
        }
        let window = windows.entry(family.to_owned()).or_insert((minute, 0));
        if window.0 != minute {
            *window = (minute, 0);
        }
        window.1 = window.1.saturating_add(1);
        (self.rate_limit.checked_sub(window.1), minute.plus(MINUTE))
    }
}

/// Families of paths that are counted in a minute.
const FAMILIES_MAX: usize = 1_000;

/// What the handlers are given.
type Lab = State<Arc<Shared>>;

/// The query of a request; the last of several wins.
type Parameters = Query<BTreeMap<String, String>>;

fn router(shared: &Arc<Shared>) -> Router {
    Router::new()
        .route("/api/v1/users", get(admin::users))
        .route("/api/v1/users/{id}", get(admin::user))
        .route("/api/v1/users/{id}/sessions", delete(admin::end_sessions))
        .route("/api/v1/users/{id}/lifecycle/suspend", post(admin::suspend))
        .route("/api/v1/users/{id}/lifecycle/unsuspend", post(admin::unsuspend))
        .route("/api/v1/users/{id}/groups", get(groups::of_user))
        .route("/api/v1/groups/{group}", get(groups::group))
        .route("/api/v1/groups/{group}/users/{id}", put(groups::add).delete(groups::remove))
        .route("/api/v1/users/{id}/clients", get(admin::clients))
        .route("/api/v1/users/{id}/clients/{client}/tokens", get(admin::tokens))
        .route("/api/v1/logs", get(admin::logs))
        .route("/api/v1/sessions/me", get(portal::session_me))
        .route("/oauth2/v1/token", post(portal::token))
        .route("/oauth2/v1/introspect", post(portal::introspect))
        .route("/lab/sign-in", post(portal::sign_in))
        .route("/lab/resource", get(portal::resource))
        .route("/lab/effects", get(admin::effects))
        .route("/lab/faults", post(admin::inject))
        .fallback(|| async { error(StatusCode::NOT_FOUND, "E0000022", "no such endpoint") })
        .layer(from_fn_with_state(Arc::clone(shared), fault::around))
        .layer(from_fn_with_state(Arc::clone(shared), dress))
        .with_state(Arc::clone(shared))
}

/// Request ids, the rate limit and its headers.
async fn dress(State(shared): Lab, request: Request, next: Next) -> Response {
    let t = now();
    let family: String = request.uri().path().split('/').take(4).collect::<Vec<_>>().join("/");
    let metered = family.starts_with("/api/");
    let (left, reset) = shared.spend(if metered { &family } else { "/" }, t);
    let mut response = match left {
        None if metered => {
            let summary = "API call exceeded rate limit due to too many requests.";
            error(StatusCode::TOO_MANY_REQUESTS, "E0000047", summary)
        }
        _ => next.run(request).await,
    };
    let id = shared.world().fresh("req");
    let headers = response.headers_mut();
    set(headers, "x-okta-request-id", &id);
    if metered {
        set(headers, "x-rate-limit-limit", &shared.rate_limit.to_string());
        set(headers, "x-rate-limit-remaining", &left.unwrap_or(0).to_string());
        set(headers, "x-rate-limit-reset", &reset.0.div_euclid(SECOND).to_string());
    }
    response
}

pub(crate) fn set(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        // a fault may have set its own
        headers.entry(name).or_insert(value);
    }
}

/// An error body in Okta's shape.
fn error(status: StatusCode, code: &str, summary: &str) -> Response {
    let body = json!({
        "errorCode": code,
        "errorSummary": summary,
        "errorLink": code,
        "errorId": okta_id("oae", summary),
        "errorCauses": [],
    });
    answer(status, &body)
}

pub(crate) fn answer(status: StatusCode, body: &Value) -> Response {
    let json = HeaderValue::from_static("application/json");
    (status, [(header::CONTENT_TYPE, json)], body.to_string()).into_response()
}

/// The system's clock: the lab is a real service.
pub(crate) fn now() -> Time {
    Time(jiff::Timestamp::now().as_microsecond())
}
