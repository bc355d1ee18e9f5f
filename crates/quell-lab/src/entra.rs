//! The lab's identity provider in the dialect of Entra ID and Microsoft Graph: an HTTP server on
//! loopback that holds real sessions and tokens in memory, with real delays. Login host and Graph
//! are one address. It must never be reachable from another machine.

mod graph;
mod login;
mod world;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::connect_info::ConnectInfo;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::{get, post};
use quell_core::time::Time;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::company::Company;
use crate::event::uuid;
use crate::provider::effects::{Effect, Effects};
use crate::provider::fault::{Cut, Faults, Injected, Listener, stand};
use crate::provider::{BadPath, StartError, answer, now};
use world::World;

/// How the provider behaves.
#[derive(Debug, Clone)]
pub struct EntraOptions {
    /// From a revocation until it takes effect.
    pub effect_delay: Duration,
    /// From a change until reads show it.
    pub read_lag: Duration,
    /// From the effect until a resource that listens to events refuses access tokens; none for one
    /// that does not listen, where they live on until they expire.
    pub cae_delay: Option<Duration>,
    /// The application permissions that are granted.
    pub permissions: Vec<String>,
    /// How long an application's token lives.
    pub token_life: Duration,
    /// A certificate that proves the application, beside the secret.
    pub certificate: Option<Certificate>,
    /// The group of which a stronger sign-in is asked.
    pub group: String,
    /// Where effecting calls are written down, one JSON object a line, before they are answered.
    pub effects_file: Option<PathBuf>,
}

/// What the login host knows of an application's certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// `x5t#S256`.
    pub thumbprint: String,
    /// The RSA public key (PKCS#1, DER).
    pub public_key: Vec<u8>,
}

impl Default for EntraOptions {
    /// Everything that Quell's target needs is granted.
    fn default() -> Self {
        let permissions = [
            "User.Read.All",
            "User.RevokeSessions.All",
            "User.EnableDisableAccount.All",
            "GroupMember.ReadWrite.All",
            "IdentityRiskyUser.ReadWrite.All",
            "AuditLog.Read.All",
        ];
        Self {
            effect_delay: Duration::from_millis(40),
            read_lag: Duration::from_millis(150),
            cae_delay: Some(Duration::from_millis(40)),
            permissions: permissions.iter().map(|name| (*name).to_owned()).collect(),
            token_life: Duration::from_secs(3599),
            certificate: None,
            group: uuid(&["group", "step-up"]),
            effects_file: None,
        }
    }
}

/// Starts providers.
#[derive(Debug)]
pub struct Entra;

impl Entra {
    /// Starts on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(
        company: &Company,
        options: EntraOptions,
    ) -> Result<RunningEntra, StartError> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let listen = |cause| StartError::Listen { address, cause };
        let listener = TcpListener::bind(address).await.map_err(listen)?;
        let base_url = format!("http://{}", listener.local_addr().map_err(listen)?);
        let effects = Effects::open(options.effects_file.clone()).map_err(|cause| {
            StartError::Effects { path: options.effects_file.clone().unwrap_or_default(), cause }
        })?;
        let mut world = World::new(company, &options, now());
        let secret = world.fresh("lab~");
        let shared = Arc::new(Shared {
            base_url,
            tenant: uuid(&["tenant", company.domain]),
            client_id: uuid(&["client", "quell"]),
            client_secret: secret,
            options,
            effects,
            faults: Faults::default(),
            world: Mutex::new(world),
        });
        let service = router(&shared).into_make_service_with_connect_info::<Cut>();
        let task = tokio::spawn(async move {
            // ends only with the process or when this is dropped
            let _ended = axum::serve(Listener(listener), service).await;
        });
        Ok(RunningEntra { shared, task })
    }
}

/// A provider that is up; it goes down when this is dropped.
#[derive(Debug)]
pub struct RunningEntra {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl RunningEntra {
    /// `http://127.0.0.1:PORT`, of Graph and of the login host.
    pub fn base_url(&self) -> &str {
        &self.shared.base_url
    }

    /// The tenant's id.
    pub fn tenant(&self) -> &str {
        &self.shared.tenant
    }

    /// The application: client id and secret.
    pub fn client(&self) -> (&str, &str) {
        (&self.shared.client_id, &self.shared.client_secret)
    }

    /// The group of which a stronger sign-in is asked.
    pub fn group(&self) -> &str {
        &self.shared.options.group
    }

    /// Every effecting call that arrived and happened, in order.
    pub fn effects(&self) -> Vec<Effect> {
        self.shared.effects.all()
    }

    /// Withdraws every token of the application; it has to ask for another.
    pub fn withdraw_tokens(&self) {
        self.shared.world().withdraw_app_tokens();
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
}

impl Drop for RunningEntra {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Debug)]
struct Shared {
    base_url: String,
    tenant: String,
    client_id: String,
    client_secret: String,
    options: EntraOptions,
    effects: Effects,
    faults: Faults,
    world: Mutex<World>,
}

impl Shared {
    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the handlers are given.
type Lab = State<Arc<Shared>>;

fn router(shared: &Arc<Shared>) -> Router {
    let member = get(graph::no_such_thing).delete(graph::delete_member_object);
    let reference = axum::routing::delete(graph::remove_member);
    Router::new()
        .route("/{tenant}/oauth2/v2.0/token", post(login::token))
        .route("/v1.0/users", get(graph::users))
        .route("/v1.0/users/{id}", get(graph::user).patch(graph::patch_user))
        .route("/v1.0/users/{id}/revokeSignInSessions", post(graph::revoke))
        .route("/v1.0/users/{id}/checkMemberGroups", post(graph::check_groups))
        .route("/v1.0/directoryObjects/{id}", get(graph::directory_object))
        .route("/v1.0/groups/{id}", get(graph::group))
        .route("/v1.0/groups/{id}/members", get(graph::members))
        .route("/v1.0/groups/{id}/members/$ref", get(graph::members).post(graph::add_member))
        .route("/v1.0/groups/{id}/members/{user}", member)
        .route("/v1.0/groups/{id}/members/{user}/$ref", reference)
        .route("/v1.0/identityProtection/riskyUsers", get(graph::risky_users))
        .route("/v1.0/identityProtection/riskyUsers/confirmCompromised", post(graph::confirm))
        .route("/v1.0/identityProtection/riskyUsers/dismiss", post(graph::dismiss))
        .route("/v1.0/identityProtection/riskyUsers/{id}", get(graph::risky_user))
        .route("/v1.0/auditLogs/directoryAudits", get(graph::audits))
        .route("/lab/sign-in", post(login::sign_in))
        .route("/lab/resource", get(login::resource))
        .fallback(graph::no_such_thing)
        .layer(from_fn_with_state(Arc::clone(shared), around))
        .layer(from_fn_with_state(Arc::clone(shared), dress))
        .with_state(Arc::clone(shared))
}

async fn around(
    State(shared): Lab,
    ConnectInfo(cut): ConnectInfo<Cut>,
    request: Request,
    next: Next,
) -> Response {
    stand(&shared.faults, &cut, request, next, failed).await
}

/// The id of the request, which Graph's answers carry.
async fn dress(State(shared): Lab, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let id = uuid(&["request", &shared.world().fresh("req")]);
    crate::provider::set(response.headers_mut(), "request-id", &id);
    response
}

/// An error body in Graph's shape.
fn error(status: StatusCode, code: &str, message: &str) -> Response {
    let inner = json!({ "date": now(), "request-id": uuid(&["error", message]) });
    let body = json!({ "error": { "code": code, "message": message, "innerError": inner } });
    answer(status, &body)
}

fn failed(status: u16, retry_after: Option<u32>) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let (code, message) = match status.as_u16() {
        401 => ("InvalidAuthenticationToken", "Access token is empty."),
        403 => {
            ("Authorization_RequestDenied", "Insufficient privileges to complete the operation.")
        }
        404 => ("Request_ResourceNotFound", "Resource does not exist."),
        429 => ("TooManyRequests", "Too many requests."),
        503 => ("serviceNotAvailable", "The service is temporarily unavailable."),
        _ => ("UnknownError", "An error occurred."),
    };
    let mut response = error(status, code, message);
    if let Some(seconds) = retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// Writes an effecting call down before it is answered.
fn happened(
    shared: &Shared,
    (method, path, user): (&str, &str, &str),
    agent: &str,
    t: Time,
) -> Result<(), Box<Response>> {
    let effect = Effect {
        at: t,
        method: method.to_owned(),
        path: path.to_owned(),
        user: user.to_owned(),
        user_agent: agent.chars().take(256).collect(),
    };
    shared.effects.happened(effect).map_err(|_| {
        Box::new(error(StatusCode::INTERNAL_SERVER_ERROR, "UnknownError", "An error occurred."))
    })
}
