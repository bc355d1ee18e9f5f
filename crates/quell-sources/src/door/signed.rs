//! Sources room: HMAC-SHA256 signatures over the raw body with a replay window. Reads no body.

use data_encoding::{BASE64, HEXLOWER_PERMISSIVE};
use hmac::{Hmac, KeyInit, Mac};
use quell_core::id::Digest;
use quell_core::time::{MINUTE, SECOND, Time};
use sha2::Sha256;

use super::{Headers, Refusal, Secret, text};

/// How far a timestamp may be away, in microseconds, in either direction (Standard Webhooks).
pub(super) const WINDOW: i64 = 5 * MINUTE;
/// Signatures in one header that are looked at.
const SIGNATURES_MAX: usize = 8;
/// Bytes of an id.
const ID_BYTES_MAX: usize = 256;

/// A way of signing, with two secrets during a rotation.
#[derive(Debug)]
pub(super) struct SignedScheme {
    form: Form,
    secrets: [Option<Secret>; 2],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// Standard Webhooks 1.0 (standardwebhooks.com).
    Standard,
    /// `X-Quell-Signature`.
    Quell,
}

impl SignedScheme {
    pub(super) fn standard(secrets: [Option<Secret>; 2]) -> Self {
        Self { form: Form::Standard, secrets }
    }

    pub(super) fn quell(secrets: [Option<Secret>; 2]) -> Self {
        Self { form: Form::Quell, secrets }
    }

    /// The mark by which the request is known again.
    pub(super) fn prove(
        &self,
        headers: &Headers<'_>,
        body: &[u8],
        now: Time,
    ) -> Result<Digest, Refusal> {
        let read = |name: &'static str| {
            let value = text(headers, name).filter(|value| !value.is_empty());
            value.ok_or(Refusal::Header(name))
        };
        let (id, timestamp, signatures) = match self.form {
            Form::Standard => {
                let id = read("webhook-id")?;
                if id.len() > ID_BYTES_MAX {
                    return Err(Refusal::Header("webhook-id"));
                }
                let signatures = standard_signatures(read("webhook-signature")?);
                (Some(id), read("webhook-timestamp")?, signatures)
            }
            Form::Quell => {
                let signatures = quell_signature(read("x-quell-signature")?);
                (None, read("x-quell-timestamp")?, signatures)
            }
        };
        let seconds: Option<i64> = timestamp.parse().ok();
        let sent = seconds.and_then(|s| s.checked_mul(SECOND)).ok_or(Refusal::Stale)?;
        if Time(sent).since(now).unsigned_abs() > WINDOW.unsigned_abs() {
            return Err(Refusal::Stale);
        }
        let prefix = match id {
            Some(id) => format!("{id}.{timestamp}."),
            None => format!("{timestamp}."),
        };
        if self.is_signed(prefix.as_bytes(), body, &signatures) {
            // a repetition by the sender has the same id, but may have a new timestamp
            let named = id.unwrap_or(timestamp);
            Ok(mark(named, body))
        } else {
            Err(Refusal::Proof)
        }
    }

    /// True when any signature fits any secret. Every pair is compared, in constant time.
    fn is_signed(&self, prefix: &[u8], body: &[u8], signatures: &[Vec<u8>]) -> bool {
        let mut fits = false;
        for secret in self.secrets.iter().flatten() {
            let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.bytes()) else { continue };
            mac.update(prefix);
            mac.update(body);
            for signature in signatures {
                fits |= mac.clone().verify_slice(signature).is_ok();
            }
        }
        fits
    }
}

/// The `v1` signatures of a list that is separated by spaces.
fn standard_signatures(header: &str) -> Vec<Vec<u8>> {
    let listed = header.split_ascii_whitespace().filter_map(|item| item.strip_prefix("v1,"));
    listed.filter_map(|s| BASE64.decode(s.as_bytes()).ok()).take(SIGNATURES_MAX).collect()
}

fn quell_signature(header: &str) -> Vec<Vec<u8>> {
    let hex = header.strip_prefix("sha256=");
    hex.and_then(|hex| HEXLOWER_PERMISSIVE.decode(hex.as_bytes()).ok()).into_iter().collect()
}

fn mark(name: &str, body: &[u8]) -> Digest {
    let body = Digest::of(body);
    Digest::of(&[name.as_bytes(), b"\n".as_slice(), body.0.as_slice()].concat())
}
