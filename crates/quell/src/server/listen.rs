//! Binary room, the listening itself: connections under a cap, with deadlines for handshake, head,
//! idleness and a reader that does not read. Knows no route.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_io_timeout::TimeoutStream;

use super::tls::Tls;
use crate::fault::Fault;

/// The longest that a TLS handshake may take.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// The longest that the head of a request may take, and that a connection may idle before it.
const HEAD_WAIT_MAX: Duration = Duration::from_secs(15);
/// The longest that an answer waits for its reader to take another part.
const WRITE_WAIT_MAX: Duration = Duration::from_secs(30);
/// Bytes of the head of a request.
pub(crate) const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Headers of a request.
pub(crate) const HEADERS_MAX: usize = 64;
/// What one connection buffers.
const BUFFER_MAX: usize = 64 * 1024;
/// What is read and thrown away after an answer that came before its request's end, so that the
/// answer arrives.
const LINGER_BYTES_MAX: u64 = 128 << 20;
const LINGER_MAX: Duration = Duration::from_secs(2);
/// The pause after the system gave no connection, for want of file descriptors for example.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Who sends; stands among the extensions of each request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) IpAddr);

/// How one listener takes connections.
#[derive(Debug, Clone)]
pub(crate) struct Front {
    /// None is HTTP in clear, on loopback.
    pub(crate) tls: Option<Arc<Tls>>,
    /// Connections at once.
    pub(crate) connections_max: usize,
    /// Connections at once from one address.
    pub(crate) per_address_max: usize,
}

/// Binds, and serves from then on; gives the address that was bound.
pub(crate) async fn listen(
    address: SocketAddr,
    router: Router,
    front: Front,
) -> Result<SocketAddr, Fault> {
    let bad = |e: std::io::Error| {
        let help = "is another engine running? choose another port in quell.toml";
        Fault::new("Q0009", format!("cannot listen on `{address}`: {e}"), help)
    };
    let listener = TcpListener::bind(address).await.map_err(bad)?;
    let bound = listener.local_addr().map_err(bad)?;
    tokio::spawn(accept(listener, router, front));
    Ok(bound)
}

async fn accept(listener: TcpListener, router: Router, front: Front) {
    let places = Arc::new(Semaphore::new(front.connections_max));
    let seats = Arc::new(Seats { most: front.per_address_max, taken: Mutex::default() });
    // The semaphore is never closed.
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        let (stream, peer) = match listener.accept().await {
            Ok(taken) => taken,
            Err(error) => {
                tracing::warn!(kind = %error.kind(), "a connection could not be taken");
                quell_run::timer(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Some(seat) = Seats::take(&seats, peer.ip()) else { continue };
        let (router, tls) = (router.clone(), front.tls.clone());
        tokio::spawn(async move {
            connection(stream, peer.ip(), router, tls).await;
            drop((place, seat));
        });
    }
}

/// One connection from its first byte to its last. What breaks it is nobody's fault here.
async fn connection(stream: TcpStream, peer: IpAddr, router: Router, tls: Option<Arc<Tls>>) {
    drop(stream.set_nodelay(true));
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(WRITE_WAIT_MAX));
    let stream = Box::pin(stream);
    match tls {
        None => converse(stream, peer, router).await,
        Some(tls) => {
            let shaken = tokio::time::timeout(HANDSHAKE_MAX, tls.acceptor().accept(stream)).await;
            match shaken {
                Ok(Ok(stream)) => converse(stream, peer, router).await,
                Ok(Err(error)) => tracing::debug!(kind = %error.kind(), "no TLS handshake"),
                Err(_) => tracing::debug!("a TLS handshake took too long"),
            }
        }
    }
}

async fn converse<S>(stream: S, peer: IpAddr, router: Router)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let inner = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(Peer(peer));
        inner.call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WAIT_MAX)
        .max_header_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .max_buf_size(BUFFER_MAX)
        .serve_connection(TokioIo::new(stream), service);
    // The end is by the peer, by a deadline or by what it sent: nothing is left to be answered.
    let Ok(parts) = connection.without_shutdown().await else { return };
    let mut stream = parts.io.into_inner();
    let linger = async {
        stream.shutdown().await?;
        tokio::io::copy(&mut stream.take(LINGER_BYTES_MAX), &mut tokio::io::sink()).await
    };
    drop(tokio::time::timeout(LINGER_MAX, linger).await);
}

/// How many connections each address has.
#[derive(Debug)]
struct Seats {
    most: usize,
    taken: Mutex<BTreeMap<IpAddr, usize>>,
}

/// One of them; free again when it is dropped.
#[derive(Debug)]
struct Seat {
    seats: Arc<Seats>,
    address: IpAddr,
}

impl Seats {
    fn take(seats: &Arc<Self>, address: IpAddr) -> Option<Seat> {
        let mut taken = seats.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let count = taken.entry(address).or_default();
        if *count >= seats.most {
            return None;
        }
        *count += 1;
        Some(Seat { seats: Arc::clone(seats), address })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&self.address) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                taken.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_so_many_seats_and_gets_them_back() {
        let seats = Arc::new(Seats { most: 2, taken: Mutex::default() });
        let [one, two] = ["192.0.2.1", "192.0.2.2"].map(|a| a.parse::<IpAddr>().unwrap());
        let held: Vec<Seat> = (0..2).map(|_| Seats::take(&seats, one).unwrap()).collect();
        assert!(Seats::take(&seats, one).is_none());
        assert!(Seats::take(&seats, two).is_some());
        drop(held);
        assert!(Seats::take(&seats, one).is_some());
        assert!(seats.taken.lock().unwrap().is_empty(), "nothing is remembered of who left");
    }
}
