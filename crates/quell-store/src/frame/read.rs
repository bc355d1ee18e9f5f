//! Store: reading journal frames back. Any bytes give a frame or a typed error, never a panic,
//! and never more memory than a frame may hold.

use quell_core::id::Digest;
use quell_core::time::Time;
use thiserror::Error;

use super::{Body, Codec, FORMAT, Frame, MAX_BODY_BYTES, MAX_NONCE_BYTES, MAX_TENANT_BYTES};

/// A frame out of the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredFrame {
    /// Its number within the tenant, from 0 without a gap.
    pub seq: u64,
    /// The tenant whose input it was.
    pub tenant: String,
    /// Which input it is and how its body is encoded.
    pub kind: u16,
    /// When it was appended.
    pub at: Time,
    /// The pack that decoded it; zeros where no pack did.
    pub pack_digest: Digest,
    /// The rules that matched it; zeros where none did.
    pub rules_digest: Digest,
    /// The body, or what is left of it.
    pub content: Content,
}

/// What is left of a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// All of it, decompressed.
    Kept(Vec<u8>),
    /// Nothing; it was erased.
    Erased {
        /// How long it was.
        raw_bytes: u32,
    },
}

/// Why bytes are not a frame.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BadFrame {
    /// The bytes end inside the frame.
    #[error("the frame is cut off in its {0}")]
    Truncated(&'static str),
    /// Of a format that this version does not know.
    #[error("the frame has format `{0}`, newer than this program reads")]
    Format(u16),
    /// Of a codec that this version does not know.
    #[error("the frame has the unknown codec `{0}`")]
    Codec(u8),
    /// A nonce without a key, a key without a nonce, or one that is too long.
    #[error("the frame's nonce of {0} bytes does not fit its key")]
    Nonce(u8),
    /// Encrypted under a key that is not at hand.
    #[error("the frame is encrypted under key `{0}`, which is not at hand")]
    Encrypted(u32),
    /// Empty, too long or not UTF-8.
    #[error("the frame's tenant is not 1 to 128 bytes of UTF-8")]
    Tenant,
    /// A length that the codec or the cap forbids.
    #[error("the frame's body lengths `{raw}` and `{stored}` do not fit its codec")]
    Length {
        /// Bytes before compression, as the frame says.
        raw: u32,
        /// Bytes as stored, as the frame says.
        stored: u32,
    },
    /// The bytes are not those that were written.
    #[error("the frame's checksum is `{found:08x}`, not `{expected:08x}`: its bytes have changed")]
    Checksum {
        /// What the frame says.
        expected: u32,
        /// What its bytes give.
        found: u32,
    },
    /// The block does not decompress to what was packed.
    #[error("the frame's body does not decompress: {0}")]
    Lz4(String),
    /// More or fewer frames than the row says.
    #[error("the row holds {found} frames, not {expected}")]
    Count {
        /// What the row says.
        expected: u32,
        /// What its bytes hold, counted up to one more.
        found: u32,
    },
}

/// Reads one frame from the start of `bytes`; gives it, with number `seq`, and the bytes after.
///
/// # Errors
/// [`BadFrame`] unless the frame is whole, unchanged and of a known format.
pub fn read(seq: u64, bytes: &[u8]) -> Result<(StoredFrame, &[u8]), BadFrame> {
    let (parts, rest) = Parts::read(bytes)?;
    let content = match parts.codec {
        Codec::None => Content::Kept(parts.stored.to_vec()),
        Codec::Lz4 => Content::Kept(decompress(parts.stored, parts.raw_bytes)?),
        Codec::Erased => Content::Erased { raw_bytes: parts.raw_bytes },
    };
    let frame = StoredFrame {
        seq,
        tenant: parts.tenant.to_owned(),
        kind: parts.kind,
        at: parts.at,
        pack_digest: parts.pack_digest,
        rules_digest: parts.rules_digest,
        content,
    };
    Ok((frame, rest))
}

/// Reads the frames of one row, the first of which has number `seq`.
///
/// # Errors
/// [`BadFrame`] unless `bytes` are exactly `count` frames.
pub fn read_group(seq: u64, count: u32, bytes: &[u8]) -> Result<Vec<StoredFrame>, BadFrame> {
    let mut frames = Vec::new();
    let mut rest = bytes;
    for found in 0..count {
        if rest.is_empty() {
            return Err(BadFrame::Count { expected: count, found });
        }
        let (frame, after) = read(seq.saturating_add(u64::from(found)), rest)?;
        frames.push(frame);
        rest = after;
    }
    if rest.is_empty() {
        Ok(frames)
    } else {
        Err(BadFrame::Count { expected: count, found: count.saturating_add(1) })
    }
}

/// Writes the row again with the frame at `position` as a tombstone; true if it was not one.
///
/// Its number, time, kind, digests and former length stay; nothing of its body does.
pub(crate) fn tombstone(
    count: u32,
    bytes: &[u8],
    position: u64,
) -> Result<(Vec<u8>, bool), BadFrame> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    let mut changed = false;
    for at in 0..count {
        let (parts, after) = Parts::read(rest)?;
        if u64::from(at) == position && parts.codec != Codec::Erased {
            parts.erased().encode(parts.tenant, &mut out);
            changed = true;
        } else {
            let length = rest.len().saturating_sub(after.len());
            out.extend_from_slice(rest.get(..length).unwrap_or_default());
        }
        rest = after;
    }
    Ok((out, changed))
}

/// A frame whose lengths and checksum hold, its body still packed.
struct Parts<'a> {
    kind: u16,
    codec: Codec,
    at: Time,
    tenant: &'a str,
    pack_digest: Digest,
    rules_digest: Digest,
    raw_bytes: u32,
    stored: &'a [u8],
}

impl<'a> Parts<'a> {
    fn read(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), BadFrame> {
        let mut cursor = Cursor { rest: bytes };
        let format = u16::from_le_bytes(cursor.array("format")?);
        if format != FORMAT {
            return Err(BadFrame::Format(format));
        }
        let kind = u16::from_le_bytes(cursor.array("kind")?);
        let [codec] = cursor.array("codec")?;
        let codec = match codec {
            0 => Codec::None,
            1 => Codec::Lz4,
            255 => Codec::Erased,
            other => return Err(BadFrame::Codec(other)),
        };
        let key = u32::from_le_bytes(cursor.array("key")?);
        let [nonce] = cursor.array("nonce")?;
        if (key == 0) != (nonce == 0) || usize::from(nonce) > MAX_NONCE_BYTES {
            return Err(BadFrame::Nonce(nonce));
        }
        cursor.take(usize::from(nonce), "nonce")?;
        let at = Time(i64::from_le_bytes(cursor.array("time")?));
        let [tenant] = cursor.array("tenant")?;
        let tenant = cursor.take(usize::from(tenant), "tenant")?;
        let tenant = std::str::from_utf8(tenant).map_err(|_| BadFrame::Tenant)?;
        if tenant.is_empty() || tenant.len() > MAX_TENANT_BYTES {
            return Err(BadFrame::Tenant);
        }
        let pack_digest = Digest(cursor.array("pack digest")?);
        let rules_digest = Digest(cursor.array("rules digest")?);
        let raw_bytes = u32::from_le_bytes(cursor.array("length")?);
        let length = u32::from_le_bytes(cursor.array("length")?);
        let head = bytes.get(..bytes.len() - cursor.rest.len()).unwrap_or_default();
        let expected = u32::from_le_bytes(cursor.array("checksum")?);
        let stored = usize::try_from(length).ok();
        let stored = cursor.take(stored.unwrap_or(usize::MAX), "body")?;
        let found = crc32c::crc32c_append(crc32c::crc32c(head), stored);
        if found != expected {
            return Err(BadFrame::Checksum { expected, found });
        }
        let fits = match codec {
            Codec::None => raw_bytes == length,
            Codec::Lz4 => length > 0,
            Codec::Erased => length == 0,
        };
        let capped = usize::try_from(raw_bytes).is_ok_and(|raw| raw <= MAX_BODY_BYTES);
        if key != 0 {
            return Err(BadFrame::Encrypted(key));
        }
        if !fits || !capped {
            return Err(BadFrame::Length { raw: raw_bytes, stored: length });
        }
        let parts = Self { kind, codec, at, tenant, pack_digest, rules_digest, raw_bytes, stored };
        Ok((parts, cursor.rest))
    }

    fn erased(&self) -> Frame {
        let body = Body { codec: Codec::Erased, raw_bytes: self.raw_bytes, stored: Vec::new() };
        Frame {
            kind: self.kind,
            at: self.at,
            pack_digest: self.pack_digest,
            rules_digest: self.rules_digest,
            body,
        }
    }
}

struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    fn take(&mut self, count: usize, part: &'static str) -> Result<&'a [u8], BadFrame> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(BadFrame::Truncated(part))?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, part: &'static str) -> Result<[u8; N], BadFrame> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(BadFrame::Truncated(part))?;
        self.rest = rest;
        Ok(*taken)
    }
}

/// Decompresses one LZ4 block to exactly `raw_bytes`.
pub(crate) fn decompress(stored: &[u8], raw_bytes: u32) -> Result<Vec<u8>, BadFrame> {
    let length = usize::try_from(raw_bytes).unwrap_or(usize::MAX);
    let raw = lz4_flex::block::decompress(stored, length)
        .map_err(|error| BadFrame::Lz4(error.to_string()))?;
    if raw.len() == length {
        Ok(raw)
    } else {
        Err(BadFrame::Lz4(format!("{} bytes instead of {length}", raw.len())))
    }
}
