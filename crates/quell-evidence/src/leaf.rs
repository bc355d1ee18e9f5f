//! Evidence: one record, its leaf and the leaf hash. Never looks into a record's body.
//!
//! A leaf is the canonical JSON of `{v, tenant, seq, type, at, prev, body}`, where `body` is the
//! digest of the salted body. Erasing salt and body leaves the leaf, and so the proof, intact.

use std::borrow::Cow;

use serde_json::Value;
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::canonical::{self, NotCanonical, Sink, put_integer, put_string};
use crate::digest::{self, Hash, NotDigest};

/// The version of the leaf format.
pub const VERSION: u64 = 1;

/// What stands for the record before the first one.
pub const FIRST_PREV: Hash = [0; 32];

/// The greatest sequence number, which every reader of JSON can hold.
pub const MAX_SEQ: u64 = canonical::MAX_INTEGER;

/// Bytes of a tenant's name.
pub const MAX_TENANT_BYTES: usize = 128;

/// Bytes of a record's type.
pub const MAX_TYPE_BYTES: usize = 64;

/// The secret 32 bytes that keep a body from being guessed from its digest.
pub type Salt = [u8; 32];

/// What a leaf says in clear about a record.
///
/// *Invariant*: every field has the form that [`Header::new`] demands, so that its leaf always
/// has an encoding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header<'a> {
    tenant: Cow<'a, str>,
    seq: u64,
    record_type: Cow<'a, str>,
    at: Cow<'a, str>,
    prev: Hash,
}

/// A record's body, or what is left of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body<'a> {
    /// The salt and the canonical JSON of the body.
    Kept {
        /// The salt that was made for this record alone.
        salt: Salt,
        /// The canonical JSON.
        bytes: Cow<'a, [u8]>,
    },
    /// Salt and body are gone; the digest still stands in the leaf.
    Erased {
        /// What [`body_digest`] gave when the record was written.
        digest: Hash,
    },
}

/// One evidence record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record<'a> {
    /// What the leaf says in clear.
    pub header: Header<'a>,
    /// What the leaf commits to.
    pub body: Body<'a>,
}

/// Why a header cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BadHeader {
    /// Empty, too long or with control characters.
    #[error("the tenant `{}` is not 1 to 128 bytes without control characters", .0.escape_debug())]
    Tenant(String),
    /// Beyond [`MAX_SEQ`].
    #[error("the sequence number `{0}` is beyond 2^53 - 1")]
    Seq(u64),
    /// Not a name.
    #[error("the record type `{}` is not 1 to 64 of `a-z`, `0-9`, `_` and `.`", .0.escape_debug())]
    Type(String),
    /// Not the one form of a time.
    #[error("the time `{}` is not of the form `2026-01-31T23:59:59.000000Z`", .0.escape_debug())]
    At(String),
}

/// Why bytes are not a leaf.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BadLeaf {
    /// Not canonical JSON.
    #[error("not a leaf: {0}")]
    NotCanonical(#[from] NotCanonical),
    /// Not exactly the members of a leaf, or one of another type.
    #[error("not a leaf: expected the members at, body, prev, seq, tenant, type and v")]
    Members,
    /// Another version of the format.
    #[error("not a leaf that this version reads: its version is `{0}`")]
    Version(u64),
    /// A member with a wrong value.
    #[error("not a leaf: {0}")]
    Header(#[from] BadHeader),
    /// `prev` or `body` is not a digest.
    #[error("not a leaf: {0}")]
    Digest(#[from] NotDigest),
}

/// Digests a body under its salt: SHA-256(salt ‖ body).
#[must_use]
pub fn body_digest(salt: &Salt, body: &[u8]) -> Hash {
    let mut hasher = Sha256::new();
    hasher.update(salt);
    hasher.update(body);
    hasher.finalize().into()
}

/// Reads the bytes of a leaf: its header and the digest of its body.
///
/// # Errors
/// [`BadLeaf`] unless [`Header::encode_leaf`] would write exactly these bytes.
pub fn parse(bytes: &[u8]) -> Result<(Header<'static>, Hash), BadLeaf> {
    from_value(&canonical::parse_canonical(bytes)?)
}

impl<'a> Header<'a> {
    /// Makes a header; `prev` is the leaf hash of the record before, or [`FIRST_PREV`].
    ///
    /// # Errors
    /// [`BadHeader`] where a field has not the form that the format gives it.
    pub fn new(
        tenant: impl Into<Cow<'a, str>>,
        seq: u64,
        record_type: impl Into<Cow<'a, str>>,
        at: impl Into<Cow<'a, str>>,
        prev: Hash,
    ) -> Result<Self, BadHeader> {
        let (tenant, record_type, at) = (tenant.into(), record_type.into(), at.into());
        if !is_tenant(&tenant) {
            return Err(BadHeader::Tenant(tenant.into_owned()));
        }
        if seq > MAX_SEQ {
            return Err(BadHeader::Seq(seq));
        }
        if !is_type(&record_type) {
            return Err(BadHeader::Type(record_type.into_owned()));
        }
        if !is_time(at.as_bytes()) {
            return Err(BadHeader::At(at.into_owned()));
        }
        Ok(Self { tenant, seq, record_type, at, prev })
    }

    /// The tenant whose record it is.
    #[must_use]
    pub fn tenant(&self) -> &str {
        &self.tenant
    }

    /// The record's number within the tenant, from 0 without a gap.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// What kind of record it is.
    #[must_use]
    pub fn record_type(&self) -> &str {
        &self.record_type
    }

    /// When it was recorded: RFC 3339, UTC, six digits of a second.
    #[must_use]
    pub fn at(&self) -> &str {
        &self.at
    }

    /// The leaf hash of the record before.
    #[must_use]
    pub fn prev(&self) -> &Hash {
        &self.prev
    }

    /// Appends the bytes of the leaf to `out`.
    pub fn encode_leaf(&self, body: &Hash, out: &mut Vec<u8>) {
        self.put_leaf(body, out);
    }

    /// The RFC 6962 hash of the leaf, computed without an allocation.
    #[must_use]
    pub fn leaf_hash(&self, body: &Hash) -> Hash {
        let mut hasher = Sha256::new();
        hasher.update([0x00]);
        self.put_leaf(body, &mut hasher);
        hasher.finalize().into()
    }

    /// The same header, borrowing nothing.
    #[must_use]
    pub fn into_owned(self) -> Header<'static> {
        Header {
            tenant: Cow::Owned(self.tenant.into_owned()),
            seq: self.seq,
            record_type: Cow::Owned(self.record_type.into_owned()),
            at: Cow::Owned(self.at.into_owned()),
            prev: self.prev,
        }
    }

    fn put_leaf(&self, body: &Hash, out: &mut impl Sink) {
        out.put(br#"{"at":"#);
        put_string(&self.at, out);
        out.put(br#","body":""#);
        out.put(&digest::written(body));
        out.put(br#"","prev":""#);
        out.put(&digest::written(&self.prev));
        out.put(br#"","seq":"#);
        put_integer(self.seq, out);
        out.put(br#","tenant":"#);
        put_string(&self.tenant, out);
        out.put(br#","type":"#);
        put_string(&self.record_type, out);
        out.put(br#","v":"#);
        put_integer(VERSION, out);
        out.put(b"}");
    }
}

impl Body<'_> {
    /// The digest that the leaf carries.
    #[must_use]
    pub fn digest(&self) -> Hash {
        match self {
            Body::Kept { salt, bytes } => body_digest(salt, bytes),
            Body::Erased { digest } => *digest,
        }
    }
}

impl Record<'_> {
    /// The RFC 6962 hash of the record's leaf.
    #[must_use]
    pub fn leaf_hash(&self) -> Hash {
        self.header.leaf_hash(&self.body.digest())
    }
}

/// Reads a leaf out of a value that was parsed strictly.
pub(crate) fn from_value(value: &Value) -> Result<(Header<'static>, Hash), BadLeaf> {
    let members = value.as_object().filter(|m| m.len() == 7).ok_or(BadLeaf::Members)?;
    let text = |name: &str| members.get(name).and_then(Value::as_str).ok_or(BadLeaf::Members);
    let number = |name: &str| members.get(name).and_then(Value::as_u64).ok_or(BadLeaf::Members);
    let version = number("v")?;
    if version != VERSION {
        return Err(BadLeaf::Version(version));
    }
    let (tenant, record_type, at) = (text("tenant")?, text("type")?, text("at")?);
    let prev = digest::parse(text("prev")?)?;
    let body = digest::parse(text("body")?)?;
    let header = Header::new(tenant, number("seq")?, record_type, at, prev)?;
    Ok((header.into_owned(), body))
}

/// Whether `text` can name a tenant.
pub(crate) fn is_tenant(text: &str) -> bool {
    (1..=MAX_TENANT_BYTES).contains(&text.len()) && !text.chars().any(char::is_control)
}

fn is_type(text: &str) -> bool {
    (1..=MAX_TYPE_BYTES).contains(&text.len())
        && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.'))
}

/// Whether `text` is a real moment written as `YYYY-MM-DDTHH:MM:SS.ffffffZ`.
fn is_time(text: &[u8]) -> bool {
    const SHAPE: &[u8; 27] = b"0000-00-00T00:00:00.000000Z";
    let shaped = text.len() == SHAPE.len()
        && text.iter().zip(SHAPE).all(|(byte, shape)| match shape {
            b'0' => byte.is_ascii_digit(),
            other => byte == other,
        });
    let number = |from: usize, to: usize| {
        let digits = text.get(from..to).unwrap_or_default();
        digits.iter().fold(0_u32, |sum, digit| sum * 10 + u32::from(digit & 0x0f))
    };
    let year = number(0, 4);
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let days = match number(5, 7) {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => 0,
    };
    shaped
        && (1..=days).contains(&number(8, 10))
        && number(11, 13) < 24
        && number(14, 16) < 60
        && number(17, 19) < 60
}

#[cfg(test)]
mod tests;
