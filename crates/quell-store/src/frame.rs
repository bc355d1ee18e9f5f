//! Store: the journal frame, one input of the engine as stored bytes. The layout is frozen in
//! `docs/formats.md`; it never looks into a body and never writes one in another format.

mod read;

use lz4_flex::block;
use quell_core::id::Digest;
use quell_core::time::Time;
use thiserror::Error;

use crate::commit::WriteError;
use crate::seal::{NONCE_BYTES, Seal, TAG_BYTES, place};

pub use read::{BadFrame, Content, StoredFrame};
pub(crate) use read::{Remains, decompress, read_group, rewrite};

/// The format that this version writes.
pub const FORMAT: u16 = 1;

/// Bytes of one body before compression: 64 MiB, which holds the largest body that a door takes
/// together with its signals.
pub const MAX_BODY_BYTES: usize = 64 << 20;

/// Bytes of the frames of one commit, as stored: more than the largest frame.
pub const MAX_GROUP_BYTES: usize = 128 << 20;

/// Bytes of a tenant's name.
pub const MAX_TENANT_BYTES: usize = quell_evidence::leaf::MAX_TENANT_BYTES;

/// Bytes of a nonce that the format has room for; what is written has as many.
const MAX_NONCE_BYTES: usize = NONCE_BYTES;

/// Below this, compression costs more than it saves.
const MIN_PACKED_BYTES: usize = 64;

/// How a body is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Codec {
    /// As it is.
    None = 0,
    /// One LZ4 block; its length before compression stands in the frame.
    Lz4 = 1,
    /// Nothing is left of it.
    Erased = 255,
}

/// A body, compressed where that helps.
///
/// Making one is the costly part of a frame and needs nothing of the store: do it on any core.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body {
    codec: Codec,
    raw_bytes: u32,
    stored: Vec<u8>,
}

/// One input of the engine on its way into the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Which input it is and how its body is encoded; the caller's numbers.
    pub kind: u16,
    /// When it was appended; never earlier than the frame before it.
    pub at: Time,
    /// The pack that decoded it; zeros where no pack did.
    pub pack_digest: Digest,
    /// The rules that matched it; zeros where none did.
    pub rules_digest: Digest,
    /// What the caller encoded.
    pub body: Body,
}

/// A body longer than [`MAX_BODY_BYTES`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("a journal body of {0} bytes is longer than {MAX_BODY_BYTES}")]
pub struct BodyTooLong(pub usize);

impl Body {
    /// Compresses `raw`, or keeps it as it is where that is no longer.
    ///
    /// # Errors
    /// [`BodyTooLong`].
    pub fn pack(raw: &[u8]) -> Result<Self, BodyTooLong> {
        let too_long = || BodyTooLong(raw.len());
        if raw.len() > MAX_BODY_BYTES {
            return Err(too_long());
        }
        let raw_bytes = u32::try_from(raw.len()).map_err(|_| too_long())?;
        if raw.len() >= MIN_PACKED_BYTES {
            let mut stored = block::compress(raw);
            if stored.len() < raw.len() {
                stored.shrink_to_fit();
                return Ok(Self { codec: Codec::Lz4, raw_bytes, stored });
            }
        }
        Ok(Self { codec: Codec::None, raw_bytes, stored: raw.to_vec() })
    }

    /// Bytes before compression.
    pub fn raw_bytes(&self) -> u32 {
        self.raw_bytes
    }

    /// Bytes that will be stored.
    pub fn stored_bytes(&self) -> usize {
        self.stored.len()
    }
}

impl Frame {
    /// Appends the bytes of the frame with number `seq` to `out`, encrypted where `seal` does.
    ///
    /// *Invariant*: `tenant` is 1 to [`MAX_TENANT_BYTES`] bytes; the commit has seen to it.
    pub(crate) fn encode(
        &self,
        tenant: &str,
        seq: u64,
        seal: &mut Seal,
        out: &mut Vec<u8>,
    ) -> Result<(), WriteError> {
        let start = out.len();
        let sealed = seal.frame().filter(|_| self.body.codec != Codec::Erased);
        let stored = self.body.stored.len() + sealed.as_ref().map_or(0, |_| TAG_BYTES);
        out.reserve(stored + 256);
        out.extend_from_slice(&FORMAT.to_le_bytes());
        out.extend_from_slice(&self.kind.to_le_bytes());
        out.push(self.body.codec as u8);
        match &sealed {
            Some((key, nonce)) => {
                out.extend_from_slice(&key.id.to_le_bytes());
                out.push(u8::try_from(nonce.len()).unwrap_or(u8::MAX));
                out.extend_from_slice(nonce);
            }
            None => {
                out.extend_from_slice(&0_u32.to_le_bytes());
                out.push(0);
            }
        }
        out.extend_from_slice(&self.at.0.to_le_bytes());
        out.push(u8::try_from(tenant.len()).unwrap_or(u8::MAX));
        out.extend_from_slice(tenant.as_bytes());
        out.extend_from_slice(&self.pack_digest.0);
        out.extend_from_slice(&self.rules_digest.0);
        out.extend_from_slice(&self.body.raw_bytes.to_le_bytes());
        let length = u32::try_from(stored).unwrap_or(u32::MAX);
        out.extend_from_slice(&length.to_le_bytes());
        let end = out.len();
        let head = out.get(start..end).unwrap_or_default();
        let crc = crc32c::crc32c(head);
        let bound = sealed.as_ref().map(|_| frame_place(seq, head)).unwrap_or_default();
        out.extend_from_slice(&[0; 4]);
        match &sealed {
            Some((key, nonce)) => key.seal_into(nonce, &bound, &self.body.stored, out)?,
            None => out.extend_from_slice(&self.body.stored),
        }
        let body = out.get(end + 4..).unwrap_or_default();
        let crc = crc32c::crc32c_append(crc, body).to_le_bytes();
        out.iter_mut().skip(end).zip(crc).for_each(|(to, from)| *to = from);
        Ok(())
    }

    /// Bytes that [`Frame::encode`] will append in clear.
    pub(crate) fn encoded_bytes(&self, tenant: &str) -> usize {
        95 + tenant.len() + self.body.stored.len()
    }
}

/// What the ciphertext of a frame is bound to: its number and all its fields before the checksum.
fn frame_place(seq: u64, head: &[u8]) -> Vec<u8> {
    place("quell/frame/v1", &[&seq.to_be_bytes(), head])
}

#[cfg(test)]
mod tests;
