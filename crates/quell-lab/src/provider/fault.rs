//! Faults on request: for each path a queue of what goes wrong, before or after the effect. The
//! connection is really cut, so that a client sees what it would see.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::connect_info::{ConnectInfo, Connected};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use axum::serve::IncomingStream;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

use super::{BadPath, Lab, error};

/// What goes wrong. `after_effect` says whether the request is carried out first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "fault", rename_all = "snake_case")]
pub enum Fault {
    /// An error status, in Okta's shape.
    Answer {
        /// The status.
        status: u16,
        /// `Retry-After` in seconds.
        #[serde(default)]
        retry_after: Option<u32>,
        /// The request is carried out first.
        #[serde(default)]
        after_effect: bool,
    },
    /// Status 200 with a body that is no JSON.
    Garbage {
        /// The request is carried out first.
        #[serde(default)]
        after_effect: bool,
    },
    /// The connection is cut without an answer.
    Drop {
        /// The request is carried out first.
        #[serde(default)]
        after_effect: bool,
    },
    /// No answer for as long as the client waits.
    Hang {
        /// The request is carried out first.
        #[serde(default)]
        after_effect: bool,
    },
    /// The answer comes, but late.
    Delay {
        /// Milliseconds, at most 60,000.
        millis: u64,
    },
}

/// A fault, and which requests meet it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Injected {
    /// Only this method.
    #[serde(default)]
    pub method: Option<String>,
    /// Every path that begins so (the query does not count).
    pub path: String,
    /// How many requests meet it.
    #[serde(default = "once")]
    pub times: u32,
    /// What goes wrong.
    #[serde(flatten)]
    pub fault: Fault,
}

impl Injected {
    /// One fault for the next request of a method to a path.
    pub fn once(method: &str, path: &str, fault: Fault) -> Self {
        Self { method: Some(method.to_owned()), path: path.to_owned(), times: 1, fault }
    }
}

fn once() -> u32 {
    1
}

/// Faults that are waiting.
#[derive(Debug, Default)]
pub(crate) struct Faults(Mutex<VecDeque<Injected>>);

/// Most faults that wait at a time.
const FAULTS_MAX: usize = 10_000;

impl Faults {
    pub(crate) fn push(&self, injected: Injected) -> Result<(), BadPath> {
        if !injected.path.starts_with('/') || injected.path.len() > 512 {
            return Err(BadPath(injected.path.chars().take(80).collect()));
        }
        let mut queue = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if injected.times > 0 && queue.len() < FAULTS_MAX {
            queue.push_back(injected);
        }
        Ok(())
    }

    pub(crate) fn pending(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn take(&self, method: &str, path: &str) -> Option<Fault> {
        let mut queue = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let place = queue.iter().position(|injected| {
            injected.method.as_deref().is_none_or(|m| m == method)
                && path.starts_with(&injected.path)
        })?;
        let injected = queue.get_mut(place)?;
        injected.times = injected.times.saturating_sub(1);
        let fault = injected.fault.clone();
        if injected.times == 0 {
            queue.remove(place);
        }
        Some(fault)
    }
}

/// Stands around every handler.
pub(super) async fn around(
    State(shared): Lab,
    ConnectInfo(cut): ConnectInfo<Cut>,
    request: Request,
    next: Next,
) -> Response {
    stand(&shared.faults, &cut, request, next, failed).await
}

/// Lets a request through, or go wrong as the next fault for it says; `failed` is an error status
/// in the dialect of the provider.
pub(crate) async fn stand(
    faults: &Faults,
    cut: &Cut,
    request: Request,
    next: Next,
    failed: fn(u16, Option<u32>) -> Response,
) -> Response {
    let control = request.uri().path().starts_with("/lab/faults");
    let fault =
        if control { None } else { faults.take(request.method().as_str(), request.uri().path()) };
    let Some(fault) = fault else { return next.run(request).await };
    let first = match fault {
        Fault::Answer { after_effect, .. }
        | Fault::Garbage { after_effect }
        | Fault::Drop { after_effect }
        | Fault::Hang { after_effect } => after_effect,
        Fault::Delay { millis } => {
            let late = Duration::from_millis(millis.min(60_000));
            let _over = tokio::time::timeout(late, std::future::pending::<()>()).await;
            true
        }
    };
    let done = if first { Some(next.run(request).await) } else { None };
    match (fault, done) {
        (Fault::Answer { status, retry_after, .. }, _) => failed(status, retry_after),
        (Fault::Garbage { .. }, _) => (StatusCode::OK, "<html>not what you asked").into_response(),
        (Fault::Hang { .. }, _) => std::future::pending().await,
        (Fault::Delay { .. }, Some(response)) => response,
        (Fault::Drop { .. } | Fault::Delay { .. }, _) => {
            cut.cut();
            Response::new(Body::empty())
        }
    }
}

fn failed(status: u16, retry_after: Option<u32>) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let (code, summary) = match status.as_u16() {
        401 => ("E0000011", "Invalid token provided"),
        403 => ("E0000006", "You do not have permission to perform the requested action"),
        404 => ("E0000007", "Not found: Resource not found"),
        429 => ("E0000047", "API call exceeded rate limit due to too many requests."),
        _ => ("E0000009", "Internal Server Error"),
    };
    let mut response = error(status, code, summary);
    if let Some(seconds) = retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    if status == StatusCode::TOO_MANY_REQUESTS {
        response.headers_mut().insert("x-rate-limit-remaining", HeaderValue::from(0));
    }
    response
}

/// Cuts one connection.
#[derive(Debug, Clone)]
pub(crate) struct Cut(Arc<AtomicBool>);

impl Cut {
    fn cut(&self) {
        self.0.store(true, Ordering::Release);
    }

    fn check(&self) -> io::Result<()> {
        if self.0.load(Ordering::Acquire) {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        Ok(())
    }
}

impl Connected<IncomingStream<'_, Listener>> for Cut {
    fn connect_info(stream: IncomingStream<'_, Listener>) -> Self {
        stream.io().cut.clone()
    }
}

/// A listener whose connections can be cut from within.
#[derive(Debug)]
pub(crate) struct Listener(pub(crate) TcpListener);

impl axum::serve::Listener for Listener {
    type Io = Line;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Line, SocketAddr) {
        let (stream, address) = axum::serve::Listener::accept(&mut self.0).await;
        // small answers leave at once; a socket that refuses this still works
        let _unimportant = stream.set_nodelay(true);
        (Line { stream, cut: Cut(Arc::default()) }, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Line {
    stream: TcpStream,
    cut: Cut,
}

impl AsyncRead for Line {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.cut.check()?;
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Line {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.cut.check()?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.cut.check()?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
