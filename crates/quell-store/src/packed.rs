//! Store: a blob in its stored form. Gives nothing back whose digest is not the one asked for.

use std::borrow::Cow;

use quell_core::id::Digest;

use crate::commit::WriteError;
use crate::frame;
use crate::store::MAX_BLOB_BYTES;

/// A blob as it is stored, compressed where that helps.
#[derive(Debug, Clone)]
pub(crate) struct PackedBlob<'a> {
    pub(crate) digest: Digest,
    /// 0 as it is, 1 one LZ4 block.
    pub(crate) codec: u8,
    pub(crate) raw_bytes: u32,
    pub(crate) bytes: Cow<'a, [u8]>,
}

impl<'a> PackedBlob<'a> {
    pub(crate) fn new(raw: &'a [u8]) -> Result<Self, WriteError> {
        let length = u32::try_from(raw.len()).ok().filter(|_| raw.len() <= MAX_BLOB_BYTES);
        let Some(raw_bytes) = length else {
            let cause = format!("a blob of {} bytes is longer than {MAX_BLOB_BYTES}", raw.len());
            return Err(WriteError::Failed(cause));
        };
        let packed = lz4_flex::block::compress(raw);
        let digest = Digest::of(raw);
        if packed.len() < raw.len() {
            Ok(Self { digest, codec: 1, raw_bytes, bytes: Cow::Owned(packed) })
        } else {
            Ok(Self { digest, codec: 0, raw_bytes, bytes: Cow::Borrowed(raw) })
        }
    }

    /// The same, borrowing nothing.
    pub(crate) fn into_owned(self) -> PackedBlob<'static> {
        let Self { digest, codec, raw_bytes, bytes } = self;
        PackedBlob { digest, codec, raw_bytes, bytes: Cow::Owned(bytes.into_owned()) }
    }

    /// The bytes, if they are those of the digest.
    pub(crate) fn unpack(self) -> Result<Vec<u8>, String> {
        let capped = usize::try_from(self.raw_bytes).is_ok_and(|raw| raw <= MAX_BLOB_BYTES);
        let raw = match (self.codec, capped) {
            (0, _) => self.bytes.into_owned(),
            (1, true) => frame::decompress(&self.bytes, self.raw_bytes)
                .map_err(|_| format!("blob {} does not decompress", self.digest))?,
            (codec, _) => return Err(format!("blob {} has codec `{codec}`", self.digest)),
        };
        if Digest::of(&raw) == self.digest {
            Ok(raw)
        } else {
            Err(format!("blob {} has other bytes", self.digest))
        }
    }
}
