//! Sources room: a static secret in a header, two of them during a rotation. Reads no body.

use quell_core::id::Digest;
use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConstantTimeEq};

use super::{Headers, Refusal, Secret, header};

/// A header and the digests of the secrets that may stand in it.
#[derive(Debug)]
pub(super) struct BearerScheme {
    header: String,
    digests: [Option<[u8; 32]>; 2],
}

impl BearerScheme {
    pub(super) fn new(header: &str, secrets: [Option<Secret>; 2]) -> Self {
        let digests = secrets.map(|secret| secret.map(|s| Sha256::digest(s.bytes()).into()));
        Self { header: header.to_owned(), digests }
    }

    /// The mark of the request. Digests of equal length are compared, all of them, in constant
    /// time.
    pub(super) fn prove(&self, headers: &Headers<'_>, body: &[u8]) -> Result<Digest, Refusal> {
        let value = header(headers, &self.header).ok_or(Refusal::Header("authorization"))?;
        let value = value.trim_ascii();
        let given: [u8; 32] = Sha256::digest(self.without_word(value)).into();
        let whole: [u8; 32] = Sha256::digest(value).into();
        let mut fits = Choice::from(0);
        for digest in self.digests.iter().flatten() {
            fits |= digest.ct_eq(&given) | digest.ct_eq(&whole);
        }
        if bool::from(fits) { Ok(Digest::of(body)) } else { Err(Refusal::Proof) }
    }

    /// Without the word `Bearer` (RFC 6750) in front.
    fn without_word<'v>(&self, value: &'v [u8]) -> &'v [u8] {
        if !self.header.eq_ignore_ascii_case("authorization") {
            return value;
        }
        match value.split_at_checked(7) {
            Some((word, rest)) if word.eq_ignore_ascii_case(b"bearer ") => rest.trim_ascii(),
            _ => value,
        }
    }
}
