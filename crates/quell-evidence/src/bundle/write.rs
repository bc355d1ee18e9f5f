//! Evidence: writes a bundle. Never writes one that would not verify.

use data_encoding::BASE64;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::chain::Chain;
use super::{Broken, FORMAT, LINE_CAPS};
use crate::canonical::{self, put_integer, put_string};
use crate::checkpoint::Checkpoint;
use crate::digest;
use crate::leaf::{Body, Record, is_tenant};
use crate::note::VerifierKey;

/// What a bundle is written for, opened once.
#[derive(Debug, Clone)]
pub struct Writer {
    tenant: String,
    key: String,
    note: String,
    checkpoint: Checkpoint,
}

/// Writes the bundle of all records that a checkpoint covers, in leaf order.
///
/// # Errors
/// [`Broken`] for whatever [`super::verify`] would refuse.
pub fn write<'r>(
    note: &[u8],
    key: &VerifierKey,
    tenant: &str,
    records: impl IntoIterator<Item = Record<'r>>,
) -> Result<Vec<u8>, Broken> {
    let mut out = Vec::new();
    Writer::new(note, key, tenant)?.write(records, |part| {
        out.extend_from_slice(part);
        Ok(())
    })?;
    Ok(out)
}

impl Writer {
    /// Opens the checkpoint that the bundle will end at.
    ///
    /// # Errors
    /// [`Broken::Checkpoint`], [`Broken::Tenant`].
    pub fn new(note: &[u8], key: &VerifierKey, tenant: &str) -> Result<Self, Broken> {
        let checkpoint = Checkpoint::open(note, key).map_err(Broken::Checkpoint)?;
        if !is_tenant(tenant) {
            return Err(Broken::Tenant(tenant.to_owned()));
        }
        let note = String::from_utf8_lossy(note).into_owned();
        Ok(Self { tenant: tenant.to_owned(), key: key.short(), note, checkpoint })
    }

    /// How many records the bundle must have.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.checkpoint.size()
    }

    /// Writes line after line to `sink`, so that no more than one record is in memory.
    ///
    /// Where it fails, what `sink` has got is no bundle: its last line is missing.
    ///
    /// # Errors
    /// [`Broken`] for whatever [`super::verify`] would refuse; what `sink` answers.
    pub fn write<'r, E: From<Broken>>(
        &self,
        records: impl IntoIterator<Item = Record<'r>>,
        mut sink: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut chain = Chain::new(&self.tenant, &self.checkpoint, None)?;
        let mut hasher = Sha256::new();
        let mut line = self.head()?;
        hasher.update(&line);
        sink(&line)?;
        for record in records {
            let index = chain.size();
            chain.push(&record.header, &record.body.digest())?;
            line.clear();
            put_record(&record, index, &mut line)?;
            hasher.update(&line);
            sink(&line)?;
        }
        chain.finish()?;
        let mut last = digest::show(&hasher.finalize().into());
        last.push('\n');
        sink(last.as_bytes())
    }

    fn head(&self) -> Result<Vec<u8>, Broken> {
        let head: Value = json!({
            "checkpoint": self.note,
            "format": FORMAT,
            "key": self.key,
            "origin": self.checkpoint.origin(),
            "records": self.checkpoint.size(),
            "tenant": self.tenant,
        });
        let mut line = Vec::new();
        canonical::encode_capped(&head, LINE_CAPS, &mut line)
            .map_err(|cause| Broken::Line { line: 1, cause })?;
        line.push(b'\n');
        Ok(line)
    }
}

/// Appends the line of one record, its members in canonical order.
fn put_record(record: &Record<'_>, index: u64, out: &mut Vec<u8>) -> Result<(), Broken> {
    out.push(b'{');
    if let Body::Kept { bytes, .. } = &record.body {
        canonical::parse_canonical(bytes).map_err(|cause| Broken::Body { index, cause })?;
        out.extend_from_slice(br#""body":"#);
        out.extend_from_slice(bytes);
        out.push(b',');
    }
    out.extend_from_slice(br#""index":"#);
    put_integer(index, out);
    out.extend_from_slice(br#","leaf":"#);
    record.header.encode_leaf(&record.body.digest(), out);
    if let Body::Kept { salt, .. } = &record.body {
        out.extend_from_slice(br#","salt":"#);
        put_string(&BASE64.encode(salt), out);
    }
    out.extend_from_slice(b"}\n");
    Ok(())
}
