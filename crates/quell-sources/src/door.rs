//! Sources room: doors through which strangers' bytes come in. A door proves who sends and
//! unpacks the body; it reads no record, stores nothing and knows no HTTP server.

mod bearer;
mod challenge;
mod rate;
mod replay;
mod secret;
mod signed;
mod unpack;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use quell_core::id::Digest;
use quell_core::signal::{Provenance, Reject, RejectReason};
use quell_core::time::Time;
use thiserror::Error;

use crate::limits::{BODY_BYTES_MAX, UNPACKED_BYTES_MAX};
use bearer::BearerScheme;
pub use challenge::verification_answer;
pub use rate::{BURST_SECONDS, Bucket, REQUESTS_PER_SECOND, REQUESTS_PER_SECOND_MAX};
use replay::Memory;
pub use secret::{SECRET_BYTES_MAX, SECRET_BYTES_MIN, Secret, SecretError};
use signed::SignedScheme;

/// Headers as a list of name and value; names compare without regard to case.
pub type Headers<'h> = [(&'h str, &'h [u8])];

/// How a source proves who it is, and what the door remembers about it.
///
/// One door for each configured source. A door may be used by many threads.
#[derive(Debug)]
pub struct Door {
    source: String,
    scheme: Scheme,
    replay: Mutex<Memory>,
    bucket: Mutex<Bucket>,
    counts: Counts,
}

#[derive(Debug)]
enum Scheme {
    Signed(SignedScheme),
    Bearer(BearerScheme),
}

/// An authenticated body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// The body, unpacked.
    pub body: Vec<u8>,
    /// How the source proved who it is.
    pub provenance: Provenance,
    /// The same request was already taken in: answer as for the first time and store nothing.
    pub repeated: bool,
    /// By what the door knows the request again.
    mark: Digest,
}

/// Why a request is not taken in. The text is for the log; the sender is told the status only.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refusal {
    /// A header of the scheme is missing, stands twice or cannot be read.
    #[error("header `{0}` is missing or cannot be read")]
    Header(&'static str),
    /// The timestamp is more than 5 minutes away.
    #[error("the timestamp is more than 5 minutes away")]
    Stale,
    /// No secret of the source fits.
    #[error("no secret of the source fits")]
    Proof,
    /// The body is over the cap, on the wire or unpacked.
    #[error("the body is over the limit of {0} bytes")]
    TooLarge(usize),
    /// The source sends faster than its rate allows.
    #[error("the source sends too fast, retry after {retry_after_s} s")]
    TooFast {
        /// Seconds until the next request is taken.
        retry_after_s: u32,
    },
    /// The sender is known, but the body cannot be unpacked. The reject is kept, bounded.
    #[error("the body cannot be unpacked: {}", .0.detail)]
    Body(Box<Reject>),
}

impl Refusal {
    /// The HTTP status of the answer: 400, 401, 413 or 429. Only 400 comes with a reject to store.
    pub fn status(&self) -> u16 {
        match self {
            Self::Header(_) | Self::Stale | Self::Proof => 401,
            Self::TooLarge(_) => 413,
            Self::TooFast { .. } => 429,
            Self::Body(_) => 400,
        }
    }
}

/// How often a door refused, since the program started.
#[derive(Debug, Default)]
struct Counts {
    unproven: AtomicU64,
    stale: AtomicU64,
    too_large: AtomicU64,
    too_fast: AtomicU64,
    unreadable: AtomicU64,
    repeated: AtomicU64,
}

/// What a door counted, at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DoorCounts {
    /// Requests without a proof that fits: 401.
    pub unproven: u64,
    /// Requests with a timestamp too far away: 401.
    pub stale: u64,
    /// Bodies over a cap: 413.
    pub too_large: u64,
    /// Requests over the rate: 429.
    pub too_fast: u64,
    /// Authenticated bodies that could not be unpacked: 400.
    pub unreadable: u64,
    /// Requests that were taken in before.
    pub repeated: u64,
}

impl Door {
    /// A door for Standard Webhooks 1.0: `webhook-id`, `webhook-timestamp`, `webhook-signature`.
    pub fn standard_webhooks(source: &str, secrets: [Option<Secret>; 2]) -> Self {
        Self::new(source, Scheme::Signed(SignedScheme::standard(secrets)))
    }

    /// A door for `X-Quell-Signature: sha256=HEX` over `TIMESTAMP.BODY`, with the timestamp in
    /// seconds since 1970 in `X-Quell-Timestamp`.
    pub fn quell_signature(source: &str, secrets: [Option<Secret>; 2]) -> Self {
        Self::new(source, Scheme::Signed(SignedScheme::quell(secrets)))
    }

    /// A door for a static secret in a header. In `authorization` the word `Bearer` may stand
    /// before it.
    pub fn bearer(source: &str, header: &str, secrets: [Option<Secret>; 2]) -> Self {
        Self::new(source, Scheme::Bearer(BearerScheme::new(header, secrets)))
    }

    /// The same door for another rate than [`REQUESTS_PER_SECOND`], 1 to
    /// [`REQUESTS_PER_SECOND_MAX`].
    #[must_use]
    pub fn with_rate(self, per_second: u32) -> Self {
        Self { bucket: Mutex::new(Bucket::full(per_second)), ..self }
    }

    fn new(source: &str, scheme: Scheme) -> Self {
        Self {
            source: source.to_owned(),
            scheme,
            replay: Mutex::default(),
            bucket: Mutex::new(Bucket::full(REQUESTS_PER_SECOND)),
            counts: Counts::default(),
        }
    }

    /// Whether the headers alone prove enough for the body to be read. A signed body proves itself
    /// once it is there, so that its headers are not asked.
    ///
    /// # Errors
    /// [`Refusal::Header`] and [`Refusal::Proof`]; it counts as if the body had been there.
    ///
    /// # Crash
    /// Nothing has happened.
    pub fn admits(&self, headers: &Headers<'_>) -> Result<(), Refusal> {
        let Scheme::Bearer(scheme) = &self.scheme else { return Ok(()) };
        let proven = scheme.prove(headers, b"");
        if proven.is_err() {
            self.counts.unproven.fetch_add(1, Ordering::Relaxed);
        }
        proven.map(|_| ())
    }

    /// Proves who sends, then unpacks the body.
    ///
    /// # Errors
    /// See [`Refusal`]; nothing but the reject inside [`Refusal::Body`] is to be stored.
    ///
    /// # Crash
    /// Nothing has happened: the door remembers a request only by [`Door::remember`].
    pub fn authenticate(
        &self,
        headers: &Headers<'_>,
        body: &[u8],
        now: Time,
    ) -> Result<Envelope, Refusal> {
        let result = self.try_authenticate(headers, body, now);
        let counter = match &result {
            Ok(envelope) if envelope.repeated => &self.counts.repeated,
            Ok(_) => return result,
            Err(Refusal::Header(_) | Refusal::Proof) => &self.counts.unproven,
            Err(Refusal::Stale) => &self.counts.stale,
            Err(Refusal::TooLarge(_)) => &self.counts.too_large,
            Err(Refusal::TooFast { .. }) => &self.counts.too_fast,
            Err(Refusal::Body(_)) => &self.counts.unreadable,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        result
    }

    /// Remembers a request whose records are committed, so that a repetition is known.
    ///
    /// A request that was taken in but not remembered is taken in again; its signals have the same
    /// ids and change nothing.
    pub fn remember(&self, envelope: &Envelope, now: Time) {
        if envelope.provenance == Provenance::Hmac {
            let mut memory = self.replay.lock().unwrap_or_else(PoisonError::into_inner);
            memory.insert(envelope.mark, now);
        }
    }

    /// What the door counted.
    pub fn counts(&self) -> DoorCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        DoorCounts {
            unproven: read(&self.counts.unproven),
            stale: read(&self.counts.stale),
            too_large: read(&self.counts.too_large),
            too_fast: read(&self.counts.too_fast),
            unreadable: read(&self.counts.unreadable),
            repeated: read(&self.counts.repeated),
        }
    }

    fn try_authenticate(
        &self,
        headers: &Headers<'_>,
        body: &[u8],
        now: Time,
    ) -> Result<Envelope, Refusal> {
        if body.len() > BODY_BYTES_MAX {
            return Err(Refusal::TooLarge(BODY_BYTES_MAX));
        }
        let (provenance, mark) = match &self.scheme {
            Scheme::Signed(scheme) => (Provenance::Hmac, scheme.prove(headers, body, now)?),
            Scheme::Bearer(scheme) => (Provenance::Bearer, scheme.prove(headers, body)?),
        };
        let repeated = {
            let mut memory = self.replay.lock().unwrap_or_else(PoisonError::into_inner);
            memory.holds(mark, now)
        };
        if repeated {
            return Ok(Envelope { body: Vec::new(), provenance, repeated, mark });
        }
        let taken = self.bucket.lock().unwrap_or_else(PoisonError::into_inner).take(now);
        taken.map_err(|retry_after_s| Refusal::TooFast { retry_after_s })?;
        let body = unpack::unpack(headers, body).map_err(|fault| match fault {
            unpack::Fault::TooLarge => Refusal::TooLarge(UNPACKED_BYTES_MAX),
            unpack::Fault::Unreadable(detail) => Refusal::Body(Box::new(Reject {
                source: self.source.clone(),
                reason: RejectReason::Unparsable,
                detail,
                record: Digest::of(body),
            })),
        })?;
        Ok(Envelope { body, provenance, repeated, mark })
    }
}

/// The one value of a header; none when it is missing or stands twice.
fn header<'h>(headers: &Headers<'h>, name: &str) -> Option<&'h [u8]> {
    let mut values = headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name));
    match (values.next(), values.next()) {
        (Some((_, value)), None) => Some(*value),
        _ => None,
    }
}

/// A header's value as text without spaces around it.
fn text<'h>(headers: &Headers<'h>, name: &str) -> Option<&'h str> {
    std::str::from_utf8(header(headers, name)?).ok().map(str::trim)
}

#[cfg(test)]
mod tests;
