//! Evidence: how SHA-256 digests are made and written. Never decides what is hashed.

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};
use thiserror::Error;

/// One SHA-256 digest, 32 bytes.
pub type Hash = [u8; 32];

/// Length in bytes of a written digest: `sha256:` and 64 hexadecimal digits.
pub const WRITTEN_BYTES: usize = 71;

const PREFIX: &str = "sha256:";

/// Why a text is not a digest.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("not a digest: expected `sha256:` and 64 lower-case hexadecimal digits")]
pub struct NotDigest;

/// Digests `bytes`.
#[must_use]
pub fn sha256(bytes: &[u8]) -> Hash {
    Sha256::digest(bytes).into()
}

/// Writes a digest as `sha256:<hex>`, the only form that Quell stores or shows.
#[must_use]
pub fn show(hash: &Hash) -> String {
    let mut text = String::with_capacity(WRITTEN_BYTES);
    text.push_str(PREFIX);
    HEXLOWER.encode_append(hash, &mut text);
    text
}

/// Reads a digest that [`show`] wrote.
///
/// # Errors
/// [`NotDigest`] for another prefix, another length or upper-case digits.
pub fn parse(text: &str) -> Result<Hash, NotDigest> {
    let hex = text.strip_prefix(PREFIX).ok_or(NotDigest)?;
    let mut hash = [0; 32];
    if hex.len() != 64 {
        return Err(NotDigest);
    }
    match HEXLOWER.decode_mut(hex.as_bytes(), &mut hash) {
        Ok(32) => Ok(hash),
        _ => Err(NotDigest),
    }
}

/// Writes a digest as [`show`] does, into a fixed buffer.
pub(crate) fn written(hash: &Hash) -> [u8; WRITTEN_BYTES] {
    let mut out = [0; WRITTEN_BYTES];
    let (prefix, hex) = out.split_at_mut(PREFIX.len());
    prefix.copy_from_slice(PREFIX.as_bytes());
    HEXLOWER.encode_mut(hash, hex);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_read_only_as_they_are_written() {
        let hash = sha256(b"abc");
        let text = show(&hash);
        assert_eq!(text, "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(written(&hash).as_slice(), text.as_bytes());
        assert_eq!(parse(&text), Ok(hash));
        let hex = text.strip_prefix("sha256:").unwrap();
        for bad in [
            String::new(),
            "sha256:".to_owned(),
            hex.to_owned(),
            text.to_uppercase(),
            format!("sha256:{}", hex.to_uppercase()),
            format!("{text}0"),
            format!("{text} "),
            text.replace("ba78", "ba7g"),
            format!("sha256:{}", hex.strip_prefix("ba").unwrap()),
        ] {
            assert_eq!(parse(&bad), Err(NotDigest), "{bad}");
        }
    }
}
