//! Evidence: verifies a bundle. Never believes what it reads before the signature, the chain,
//! the root and the held checkpoint agree.

use std::borrow::Cow;

use data_encoding::BASE64;
use serde_json::{Map, Value};

use super::chain::Chain;
use super::{Broken, FORMAT, LAST_LINE_BYTES, LINE_CAPS};
use crate::canonical::{self, NotCanonical};
use crate::checkpoint::Checkpoint;
use crate::digest::{self, sha256};
use crate::leaf::{self, Body, Record, Salt, body_digest, is_tenant};
use crate::note::VerifierKey;

/// What a bundle proves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// The log that signed it. Compare it with the one that you expect.
    pub origin: String,
    /// The tenant of all records. Compare it with the one that you expect.
    pub tenant: String,
    /// How many leaves the checkpoint covers.
    pub size: u64,
    /// How many records are in the bundle.
    pub records: u64,
    /// How many of them have no body any more. Whoever holds a bundle can take bodies out of it,
    /// never change one.
    pub erased: u64,
    /// The time of the first record.
    pub first_at: Option<String>,
    /// The time of the last record.
    pub last_at: Option<String>,
}

/// Verifies a bundle with the public key alone.
///
/// Without `held`, a checkpoint of the same log that was kept elsewhere, whoever has the log's
/// key could have rewritten everything and signed it anew. With it, the records up to its size
/// are those that it was signed for.
///
/// # Errors
/// [`Broken`] with the first reason why the bundle proves nothing.
pub fn verify(bundle: &[u8], key: &VerifierKey, held: Option<&[u8]>) -> Result<Verified, Broken> {
    verify_each(bundle, key, held, |_, _| {})
}

/// Verifies a bundle and shows each record as it goes.
///
/// What was shown counts only if the answer is `Ok`: the root is compared at the end.
///
/// # Errors
/// Those of [`verify`].
pub fn verify_each(
    bundle: &[u8],
    key: &VerifierKey,
    held: Option<&[u8]>,
    mut each: impl FnMut(u64, &Record<'static>),
) -> Result<Verified, Broken> {
    let mut lines = checked_lines(bundle)?;
    let head = Head::parse(lines.next().unwrap_or_default())?;
    let checkpoint = head.checkpoint(key)?;
    let held = held.map(|note| Checkpoint::open(note, key).map_err(Broken::Held)).transpose()?;
    let mut chain = Chain::new(&head.tenant, &checkpoint, held.as_ref())?;
    let mut verified = Verified {
        origin: checkpoint.origin().to_owned(),
        tenant: head.tenant.clone(),
        size: checkpoint.size(),
        records: 0,
        erased: 0,
        first_at: None,
        last_at: None,
    };
    for line in lines {
        let index = chain.size();
        let (record, body) = parse_record(line, index)?;
        chain.push(&record.header, &body)?;
        verified.count(&record);
        each(index, &record);
    }
    chain.finish()?;
    Ok(verified)
}

/// The first line, parsed.
struct Head {
    checkpoint: String,
    key: String,
    origin: String,
    records: u64,
    tenant: String,
}

impl Head {
    fn parse(line: &[u8]) -> Result<Self, Broken> {
        let value = parse_line(line, 1)?;
        let members = value.as_object().ok_or(Broken::Head)?;
        let text = |name: &str| {
            members.get(name).and_then(Value::as_str).map(str::to_owned).ok_or(Broken::Head)
        };
        // The format goes first: a later version may have other members.
        let format = text("format")?;
        if format != FORMAT {
            return Err(Broken::Format(format));
        }
        let records = members.get("records").and_then(Value::as_u64).ok_or(Broken::Head)?;
        let head = Self {
            checkpoint: text("checkpoint")?,
            key: text("key")?,
            origin: text("origin")?,
            records,
            tenant: text("tenant")?,
        };
        if members.len() != 6 {
            return Err(Broken::Head);
        }
        if !is_tenant(&head.tenant) {
            return Err(Broken::Tenant(head.tenant));
        }
        Ok(head)
    }

    /// Opens the checkpoint and compares it with what the head says besides.
    fn checkpoint(&self, key: &VerifierKey) -> Result<Checkpoint, Broken> {
        if self.key != key.short() {
            return Err(Broken::Key { expected: key.short(), named: self.key.clone() });
        }
        let checkpoint =
            Checkpoint::open(self.checkpoint.as_bytes(), key).map_err(Broken::Checkpoint)?;
        if checkpoint.origin() != self.origin {
            return Err(Broken::Origin {
                named: self.origin.clone(),
                found: checkpoint.origin().to_owned(),
            });
        }
        if checkpoint.size() != self.records {
            return Err(Broken::Count { covered: checkpoint.size(), found: self.records });
        }
        Ok(checkpoint)
    }
}

impl Verified {
    fn count(&mut self, record: &Record<'_>) {
        self.records += 1;
        if matches!(record.body, Body::Erased { .. }) {
            self.erased += 1;
        }
        let at = record.header.at();
        self.first_at.get_or_insert_with(|| at.to_owned());
        self.last_at = Some(at.to_owned());
    }
}

/// Checks the last line and gives the lines before it.
fn checked_lines(bundle: &[u8]) -> Result<impl Iterator<Item = &[u8]>, Broken> {
    let at = bundle.len().checked_sub(LAST_LINE_BYTES).ok_or(Broken::End)?;
    let (before, last) = bundle.split_at_checked(at).ok_or(Broken::End)?;
    let last = last.strip_suffix(b"\n").ok_or(Broken::End)?;
    let last = std::str::from_utf8(last).map_err(|_| Broken::End)?;
    let digest = digest::parse(last).map_err(|_| Broken::End)?;
    if sha256(before) != digest {
        return Err(Broken::Digest);
    }
    let lines = before.strip_suffix(b"\n").ok_or(Broken::End)?;
    Ok(lines.split(|byte| *byte == b'\n'))
}

fn parse_line(line: &[u8], number: u64) -> Result<Value, Broken> {
    canonical::parse_capped(line, LINE_CAPS).map_err(|cause| Broken::Line { line: number, cause })
}

/// Reads the line of the record at `index`: the record, and the digest of its body.
fn parse_record(line: &[u8], index: u64) -> Result<(Record<'static>, digest::Hash), Broken> {
    let value = parse_line(line, index.saturating_add(2))?;
    let members = value.as_object().ok_or(Broken::Record(index))?;
    let place = members.get("index").and_then(Value::as_u64).ok_or(Broken::Record(index))?;
    if place != index {
        return Err(Broken::Index(index));
    }
    let leaf = members.get("leaf").ok_or(Broken::Record(index))?;
    let (header, digest) = leaf::from_value(leaf).map_err(|cause| Broken::Leaf { index, cause })?;
    let body = match (members.get("salt"), members.get("body"), members.len()) {
        (None, None, 2) => Body::Erased { digest },
        (Some(salt), Some(_), 4) => {
            let salt = salt.as_str().and_then(parse_salt).ok_or(Broken::Salt(index))?;
            let bytes = body_bytes(members).map_err(|cause| Broken::Body { index, cause })?;
            if body_digest(&salt, &bytes) != digest {
                return Err(Broken::OtherBody(index));
            }
            Body::Kept { salt, bytes: Cow::Owned(bytes) }
        }
        _ => return Err(Broken::Record(index)),
    };
    Ok((Record { header, body }, digest))
}

fn parse_salt(text: &str) -> Option<Salt> {
    BASE64.decode(text.as_bytes()).ok()?.try_into().ok()
}

/// The bytes of the body, which are those on the line because the line is canonical.
fn body_bytes(members: &Map<String, Value>) -> Result<Vec<u8>, NotCanonical> {
    canonical::encode(members.get("body").unwrap_or(&Value::Null))
}
