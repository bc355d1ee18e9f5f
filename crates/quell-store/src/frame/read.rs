//! Store: reading journal frames back. Any bytes give a frame or a typed error, never a panic,
//! and never more memory than a frame may hold.

use std::borrow::Cow;

use quell_core::id::Digest;
use quell_core::time::Time;
use thiserror::Error;

use super::{
    Body, Codec, FORMAT, Frame, MAX_BODY_BYTES, MAX_NONCE_BYTES, MAX_TENANT_BYTES, frame_place,
};
use crate::commit::WriteError;
use crate::seal::{Keys, NoKey, Nonce, Seal, TAG_BYTES};

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
    /// Encrypted under a key that cannot be had.
    #[error("the frame cannot be decrypted: {0}")]
    Key(NoKey),
    /// The ciphertext is not the one that was written here.
    #[error(
        "the frame does not open under key `{0}`: its bytes have changed or are another frame's"
    )]
    Forged(u32),
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
/// [`BadFrame`] unless the frame is whole, unchanged, of a known format, and its key is at hand.
pub(crate) fn read<'a>(
    seq: u64,
    bytes: &'a [u8],
    keys: &dyn Keys,
) -> Result<(StoredFrame, &'a [u8]), BadFrame> {
    let (parts, rest) = Parts::read(bytes)?;
    let content = match parts.codec {
        Codec::None => Content::Kept(parts.packed(seq, keys)?.into_owned()),
        Codec::Lz4 => Content::Kept(decompress(&parts.packed(seq, keys)?, parts.raw_bytes)?),
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
pub(crate) fn read_group(
    seq: u64,
    count: u32,
    bytes: &[u8],
    keys: &dyn Keys,
) -> Result<Vec<StoredFrame>, BadFrame> {
    let mut frames = Vec::new();
    let mut rest = bytes;
    for found in 0..count {
        if rest.is_empty() {
            return Err(BadFrame::Count { expected: count, found });
        }
        let (frame, after) = read(seq.saturating_add(u64::from(found)), rest, keys)?;
        frames.push(frame);
        rest = after;
    }
    if rest.is_empty() {
        Ok(frames)
    } else {
        Err(BadFrame::Count { expected: count, found: count.saturating_add(1) })
    }
}

/// What is to be left of a frame.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Remains<'a> {
    /// A tombstone.
    Nothing,
    /// Another body, in which something is left out.
    Body(&'a Body),
}

/// Why a row is not written again.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum Unwritten {
    /// It cannot be read.
    #[error(transparent)]
    Bad(#[from] BadFrame),
    /// It cannot be encrypted.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// Writes the row that begins with number `first` again, with less of frame `seq`; true if
/// anything changed. A tombstone stays one.
///
/// Its number, time, kind and digests stay; of a tombstone the former length too.
pub(crate) fn rewrite(
    (first, count): (u64, u32),
    bytes: &[u8],
    seq: u64,
    remains: Remains<'_>,
    seal: &mut Seal,
) -> Result<(Vec<u8>, bool), Unwritten> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    let mut changed = false;
    for number in (first..).take(usize::try_from(count).unwrap_or(usize::MAX)) {
        let (parts, after) = Parts::read(rest)?;
        if number == seq && parts.codec != Codec::Erased {
            parts.with(remains).encode(parts.tenant, number, seal, &mut out)?;
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
    /// All fields before the checksum.
    head: &'a [u8],
    kind: u16,
    codec: Codec,
    key: u32,
    nonce: &'a [u8],
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
        let nonce = cursor.take(usize::from(nonce), "nonce")?;
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
        let tag = if key == 0 { 0 } else { u32::try_from(TAG_BYTES).unwrap_or(u32::MAX) };
        let fits = match codec {
            Codec::None => Some(raw_bytes) == length.checked_sub(tag),
            Codec::Lz4 => length > tag,
            Codec::Erased => length == 0,
        };
        let capped = usize::try_from(raw_bytes).is_ok_and(|raw| raw <= MAX_BODY_BYTES);
        if !fits || !capped {
            return Err(BadFrame::Length { raw: raw_bytes, stored: length });
        }
        let parts = Self {
            head,
            kind,
            codec,
            key,
            nonce,
            at,
            tenant,
            pack_digest,
            rules_digest,
            raw_bytes,
            stored,
        };
        Ok((parts, cursor.rest))
    }

    /// The body in clear, as it was packed.
    fn packed(&self, seq: u64, keys: &dyn Keys) -> Result<Cow<'a, [u8]>, BadFrame> {
        if self.key == 0 {
            return Ok(Cow::Borrowed(self.stored));
        }
        let key = keys.key(self.key).map_err(|error| match error {
            NoKey::NotAtHand(id) => BadFrame::Encrypted(id),
            other => BadFrame::Key(other),
        })?;
        let length = u8::try_from(self.nonce.len()).unwrap_or(u8::MAX);
        let nonce: &Nonce = self.nonce.try_into().map_err(|_| BadFrame::Nonce(length))?;
        let plain = key.open(nonce, &frame_place(seq, self.head), self.stored);
        plain.map(Cow::Owned).ok_or(BadFrame::Forged(self.key))
    }

    fn with(&self, remains: Remains<'_>) -> Frame {
        let body = match remains {
            Remains::Nothing => {
                Body { codec: Codec::Erased, raw_bytes: self.raw_bytes, stored: Vec::new() }
            }
            Remains::Body(body) => body.clone(),
        };
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
