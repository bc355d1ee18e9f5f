//! The scripted vendor: an axum server that carries requests out by a subject's dialect, and goes
//! wrong as told, before or after the effect.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use axum::Router;
use axum::body::Body;
use axum::extract::connect_info::{ConnectInfo, Connected};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::Response;
use axum::serve::IncomingStream;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wrong {
    Status(u16),
    Garbage,
    Closed,
    Silence,
    Redirect(u16),
    Huge,
}

impl Wrong {
    pub(crate) const ALL: [Self; 14] = [
        Self::Status(400),
        Self::Status(401),
        Self::Status(403),
        Self::Status(404),
        Self::Status(429),
        Self::Status(500),
        Self::Status(502),
        Self::Status(503),
        Self::Garbage,
        Self::Closed,
        Self::Silence,
        Self::Redirect(302),
        Self::Redirect(307),
        Self::Huge,
    ];

    pub(crate) fn name(self) -> String {
        match self {
            Self::Status(status) | Self::Redirect(status) => status.to_string(),
            Self::Garbage => "garbage".to_owned(),
            Self::Closed => "closed".to_owned(),
            Self::Silence => "silence".to_owned(),
            Self::Huge => "huge".to_owned(),
        }
    }
}

/// Which requests go wrong.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) wrong: Wrong,
    /// The request is carried out first.
    pub(crate) happens: bool,
    pub(crate) strikes: fn(&Asked) -> bool,
}

/// A request as the dialect sees it.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

/// The vendor's state, the same for every dialect.
#[derive(Debug, Default)]
pub(crate) struct Vendor {
    /// Sessions and tokens live.
    pub(crate) alive: bool,
    pub(crate) suspended: bool,
    /// User agents of the clearings.
    pub(crate) cleared: Vec<String>,
    /// Effecting requests that were carried out.
    pub(crate) effects: Vec<String>,
    /// Everything that arrived.
    pub(crate) asked: Vec<Asked>,
    pub(crate) plan: Option<Plan>,
    /// Where lists say that they go on.
    pub(crate) next: Option<String>,
    /// The clock that answers carry, as an HTTP date; the machine's when there is none.
    pub(crate) date: Option<&'static str>,
    /// The id of the request that answers carry.
    pub(crate) request_id: Option<String>,
}

/// How a vendor speaks: status and body for a request that it carries out.
pub(crate) type Dialect = fn(&mut Vendor, &Asked) -> (u16, Value);

#[derive(Debug, Clone)]
struct Script {
    vendor: Arc<Mutex<Vendor>>,
    dialect: Dialect,
}

/// A server that is up.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) base: String,
    pub(crate) vendor: Arc<Mutex<Vendor>>,
    task: JoinHandle<()>,
}

impl Server {
    pub(crate) async fn start(dialect: Dialect) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let vendor = Arc::new(Mutex::new(Vendor { alive: true, ..Vendor::default() }));
        let script = Script { vendor: Arc::clone(&vendor), dialect };
        let router = Router::new().fallback(answer).with_state(script);
        let service = router.into_make_service_with_connect_info::<Cut>();
        let task = tokio::spawn(async move {
            axum::serve(Lines(listener), service).await.unwrap();
        });
        Self { base, vendor, task }
    }

    pub(crate) fn plan(&self, plan: Option<Plan>) {
        self.vendor.lock().unwrap().plan = plan;
    }

    pub(crate) fn effects(&self) -> usize {
        self.vendor.lock().unwrap().effects.len()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(
    State(script): State<Script>,
    ConnectInfo(cut): ConnectInfo<Cut>,
    request: Request,
) -> Response {
    let (head, body) = request.into_parts();
    let asked = Asked {
        method: head.method,
        path: head.uri.path().to_owned(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        headers: head.headers,
        body: axum::body::to_bytes(body, 1 << 20).await.unwrap().to_vec(),
    };
    let (plan, carried) = {
        let mut vendor = script.vendor.lock().unwrap();
        vendor.asked.push(asked.clone());
        let plan = vendor.plan.filter(|plan| (plan.strikes)(&asked));
        let happens = plan.is_none_or(|plan| plan.happens);
        let carried = happens.then(|| (script.dialect)(&mut vendor, &asked));
        let head = (vendor.next.clone(), vendor.request_id.clone(), vendor.date);
        (plan, carried.map(|(status, body)| (status, body, head)))
    };
    match (plan.map(|plan| plan.wrong), carried) {
        (None, Some((status, body, (next, id, date)))) => {
            let mut response = Response::builder().status(status);
            if let Some(date) = date {
                response = response.header("date", date);
            }
            if let Some(id) = id {
                response = response.header("x-request-id", id);
            }
            if let Some(next) = next {
                response = response.header("link", format!("<{next}>; rel=\"next\""));
            }
            let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
            response.body(body).unwrap()
        }
        (Some(wrong), _) => go_wrong(wrong, &cut).await,
        (None, None) => Response::builder().status(599).body(Body::empty()).unwrap(),
    }
}

async fn go_wrong(wrong: Wrong, cut: &Cut) -> Response {
    let response = |status: u16| Response::builder().status(status);
    match wrong {
        Wrong::Status(429) => {
            let body = r#"{"errorCode":"E0000047","errorSummary":"too many requests"}"#;
            response(429).header("retry-after", "30").body(Body::from(body)).unwrap()
        }
        Wrong::Status(status) => {
            let body = r#"{"errorCode":"E0000999","errorSummary":"as told"}"#;
            response(status).body(Body::from(body)).unwrap()
        }
        Wrong::Garbage => response(200).body(Body::from("<html>sign in to the proxy")).unwrap(),
        Wrong::Redirect(status) => {
            response(status).header("location", "/elsewhere").body(Body::empty()).unwrap()
        }
        // valid JSON, so that only the cap can refuse it
        Wrong::Huge => {
            response(200).body(Body::from(format!("[{}]", " ".repeat(BODY_MAX * 2)))).unwrap()
        }
        Wrong::Silence => std::future::pending().await,
        Wrong::Closed => {
            cut.0.store(true, Ordering::Release);
            response(StatusCode::OK.as_u16()).body(Body::empty()).unwrap()
        }
    }
}

/// The cap of the clients under test, bytes.
pub(crate) const BODY_MAX: usize = 32 << 10;

#[derive(Debug, Clone)]
struct Cut(Arc<AtomicBool>);

impl Cut {
    fn check(&self) -> std::io::Result<()> {
        match self.0.load(Ordering::Acquire) {
            true => Err(std::io::ErrorKind::ConnectionAborted.into()),
            false => Ok(()),
        }
    }
}

impl Connected<IncomingStream<'_, Lines>> for Cut {
    fn connect_info(stream: IncomingStream<'_, Lines>) -> Self {
        stream.io().1.clone()
    }
}

/// A listener whose connections can be cut from within.
struct Lines(TcpListener);

impl axum::serve::Listener for Lines {
    type Io = Line;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Line, SocketAddr) {
        let (stream, address) = axum::serve::Listener::accept(&mut self.0).await;
        (Line(stream, Cut(Arc::default())), address)
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

struct Line(TcpStream, Cut);

impl AsyncRead for Line {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        self.1.check()?;
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Line {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        self.1.check()?;
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        self.1.check()?;
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
