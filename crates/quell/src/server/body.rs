//! Binary room, bodies of requests: read under a cap, a deadline and a common budget of memory.
//! Looks at no byte of them.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody as _};
use axum::http::StatusCode;
use axum::response::Response;
use http_body_util::BodyExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{refuse, soon};

/// The longest pause between two parts of a body.
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// The longest that a body may take as a whole.
const WHOLE_MAX: Duration = Duration::from_secs(60);
/// Bytes that all bodies of one listener may hold at once while they are read and worked on.
const BYTES_MAX: usize = 256 << 20;
/// What the budget counts in.
const UNIT: usize = 1024;

/// The memory that the bodies of one listener share.
#[derive(Debug, Clone)]
pub(crate) struct Budget(Arc<Semaphore>);

impl Default for Budget {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(BYTES_MAX / UNIT)))
    }
}

/// A body as it came; its share of the budget is free again when it is dropped.
#[derive(Debug)]
pub(crate) struct Whole {
    pub(crate) bytes: Bytes,
    _held: Option<OwnedSemaphorePermit>,
}

/// Why a body was not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unread {
    /// Over the cap.
    TooLarge,
    /// It did not come in time.
    Slow,
    /// It broke off.
    Broken,
    /// Other bodies hold all the memory that there is for them.
    Busy,
}

impl Unread {
    /// What the sender is told.
    pub(crate) fn answer(self) -> Response {
        match self {
            Self::TooLarge => refuse(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large"),
            Self::Slow => refuse(StatusCode::REQUEST_TIMEOUT, "the body did not come in time"),
            Self::Broken => refuse(StatusCode::BAD_REQUEST, "the body did not arrive whole"),
            Self::Busy => soon(refuse(StatusCode::SERVICE_UNAVAILABLE, "busy: try again"), 1),
        }
    }
}

impl Whole {
    /// No body.
    pub(crate) fn empty() -> Self {
        Self { bytes: Bytes::new(), _held: None }
    }

    /// Reads a body of at most so many bytes. One whose length is announced and too great is
    /// refused before it is read.
    pub(crate) async fn read(body: Body, most: usize, budget: &Budget) -> Result<Self, Unread> {
        if body.size_hint().lower() > u64::try_from(most).unwrap_or(u64::MAX) {
            return Err(Unread::TooLarge);
        }
        let read = read(body, most, budget, PAUSE_MAX);
        tokio::time::timeout(WHOLE_MAX, read).await.unwrap_or(Err(Unread::Slow))
    }
}

async fn read(
    mut body: Body,
    most: usize,
    budget: &Budget,
    pause: Duration,
) -> Result<Whole, Unread> {
    let mut held: Option<OwnedSemaphorePermit> = None;
    let mut bytes = Vec::new();
    loop {
        let next = tokio::time::timeout(pause, body.frame()).await;
        let frame = match next.map_err(|_| Unread::Slow)? {
            None => return Ok(Whole { bytes: bytes.into(), _held: held }),
            Some(frame) => frame.map_err(|_| Unread::Broken)?,
        };
        // Trailers say nothing here.
        let Ok(data) = frame.into_data() else { continue };
        if data.len() > most.saturating_sub(bytes.len()) {
            return Err(Unread::TooLarge);
        }
        let units = u32::try_from(data.len() / UNIT + 1).map_err(|_| Unread::TooLarge)?;
        let more = Arc::clone(&budget.0).try_acquire_many_owned(units);
        let more = more.map_err(|_| Unread::Busy)?;
        match &mut held {
            Some(held) => held.merge(more),
            None => held = Some(more),
        }
        bytes.extend_from_slice(&data);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn length(body: Body, most: usize, budget: &Budget) -> Result<usize, Unread> {
        Whole::read(body, most, budget).await.map(|whole| whole.bytes.len())
    }

    #[tokio::test]
    async fn bodies_are_capped_one_by_one_and_together() {
        let budget = Budget::default();
        assert_eq!(length(Body::empty(), 0, &budget).await, Ok(0));
        assert_eq!(length(Body::from("12345"), 5, &budget).await, Ok(5));
        assert_eq!(length(Body::from("123456"), 5, &budget).await, Err(Unread::TooLarge));
        let small = Budget(Arc::new(Semaphore::new(3)));
        let held = Whole::read(Body::from(vec![0; 2 * UNIT]), 9 * UNIT, &small).await.unwrap();
        assert_eq!(length(Body::from("1"), 5, &small).await, Err(Unread::Busy));
        drop(held);
        assert_eq!(length(Body::from("1"), 5, &small).await, Ok(1));
    }

    #[tokio::test]
    async fn a_body_that_does_not_come_is_given_up() {
        let never = read(Body::new(Never), 5, &Budget::default(), Duration::from_millis(1)).await;
        assert_eq!(never.unwrap_err(), Unread::Slow);
    }

    /// A body of which nothing ever comes.
    struct Never;

    impl axum::body::HttpBody for Never {
        type Data = Bytes;
        type Error = std::io::Error;

        fn poll_frame(
            self: std::pin::Pin<&mut Self>,
            _context: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<hyper::body::Frame<Bytes>, std::io::Error>>> {
            std::task::Poll::Pending
        }
    }
}
