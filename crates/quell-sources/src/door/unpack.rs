//! Sources room: unpacks gzip bodies under a cap. Looks at no byte of what comes out.

use std::io::Read as _;

use flate2::read::MultiGzDecoder;

use super::{Headers, text};
use crate::limits::UNPACKED_BYTES_MAX;

/// Why a body cannot be unpacked.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fault {
    TooLarge,
    Unreadable(String),
}

/// The body, unpacked when `Content-Encoding` says `gzip`.
pub(super) fn unpack(headers: &Headers<'_>, body: &[u8]) -> Result<Vec<u8>, Fault> {
    let named = headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-encoding"));
    let encoding = text(headers, "content-encoding");
    match encoding.map(str::to_ascii_lowercase).as_deref() {
        None if named => Err(Fault::Unreadable("more than one content encoding".to_owned())),
        None | Some("identity" | "") => Ok(body.to_vec()),
        Some("gzip" | "x-gzip") => gunzip(body),
        Some(_) => Err(Fault::Unreadable("a content encoding other than gzip".to_owned())),
    }
}

fn gunzip(body: &[u8]) -> Result<Vec<u8>, Fault> {
    let cap = u64::try_from(UNPACKED_BYTES_MAX).unwrap_or(u64::MAX);
    let mut unpacked = Vec::new();
    let read = MultiGzDecoder::new(body).take(cap.saturating_add(1)).read_to_end(&mut unpacked);
    if unpacked.len() > UNPACKED_BYTES_MAX {
        return Err(Fault::TooLarge);
    }
    match read {
        Ok(_) => Ok(unpacked),
        Err(_) => Err(Fault::Unreadable("broken gzip".to_owned())),
    }
}
