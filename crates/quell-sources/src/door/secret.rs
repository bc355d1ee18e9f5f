//! Sources room: secrets that sources share with Quell. Never shown, never compared early.

use std::fmt;

use data_encoding::{BASE64, BASE64_NOPAD};
use thiserror::Error;

/// Bytes that a secret must have at least: 128 bits, if they are random.
pub const SECRET_BYTES_MIN: usize = 16;
/// Bytes that a secret may have.
pub const SECRET_BYTES_MAX: usize = 1024;

/// A secret; its bytes show nowhere.
#[derive(Clone)]
pub struct Secret(Vec<u8>);

/// Why a text is no secret. Never says what the text was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SecretError {
    /// Shorter than 16 bytes.
    #[error("a secret of fewer than {SECRET_BYTES_MIN} bytes")]
    TooShort,
    /// Longer than 1,024 bytes.
    #[error("a secret of more than {SECRET_BYTES_MAX} bytes")]
    TooLong,
    /// After `whsec_` comes no base64.
    #[error("no base64 after `whsec_`")]
    NoBase64,
}

impl Secret {
    /// A secret from its configured text: `whsec_` and base64 as in Standard Webhooks, else the
    /// bytes of the text. Spaces and line ends around it do not count.
    ///
    /// # Errors
    /// When it is shorter or longer than a secret may be, or broken after `whsec_`.
    pub fn new(text: &str) -> Result<Self, SecretError> {
        let text = text.trim();
        let bytes = match text.strip_prefix("whsec_") {
            Some(encoded) => {
                let decoded = BASE64.decode(encoded.as_bytes());
                let decoded = decoded.or_else(|_| BASE64_NOPAD.decode(encoded.as_bytes()));
                decoded.map_err(|_| SecretError::NoBase64)?
            }
            None => text.as_bytes().to_vec(),
        };
        match bytes.len() {
            0..SECRET_BYTES_MIN => Err(SecretError::TooShort),
            SECRET_BYTES_MIN..=SECRET_BYTES_MAX => Ok(Self(bytes)),
            _ => Err(SecretError::TooLong),
        }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}
