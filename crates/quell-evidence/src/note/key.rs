//! Evidence: the Ed25519 keys of signed notes and their one-line forms. Never shows a secret
//! unless [`SignerKey::expose`] is called.

use std::fmt;
use std::str::FromStr;

use data_encoding::{BASE64, HEXLOWER};
use ed25519_dalek::{Signer as _, SigningKey, VerifyingKey};
use thiserror::Error;

use super::MAX_NAME_BYTES;
use crate::digest::sha256;

/// The signature type of Ed25519 in c2sp.org/signed-note.
const ED25519: u8 = 0x01;

const SECRET_PREFIX: &str = "PRIVATE+KEY+";

/// A public key with its name, written `<name>+<id in hex>+<base64(0x01 ‖ key)>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    id: [u8; 4],
    key: VerifyingKey,
}

/// A secret key with its name; its bytes are wiped when it is dropped.
#[derive(Clone)]
pub struct SignerKey {
    key: SigningKey,
    verifier: VerifierKey,
}

/// Why a text is not a key. The text itself is never repeated, since it may be a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum BadKey {
    /// Empty, too long, or with white space, control characters or `+`.
    #[error("a key name is 1 to 255 bytes without white space, control characters or `+`")]
    Name,
    /// Not the three parts of a verifier key.
    #[error("a verifier key is `<name>+<id>+<base64>`")]
    Verifier,
    /// Not the parts of a signer key.
    #[error("a signer key is `PRIVATE+KEY+<name>+<id>+<base64>`")]
    Signer,
    /// Not eight hexadecimal digits.
    #[error("a key id is eight lower-case hexadecimal digits")]
    Id,
    /// Not base64 of 33 bytes.
    #[error("the key is not canonical base64 of 33 bytes")]
    Base64,
    /// Not Ed25519.
    #[error("the key is not of type 1, Ed25519")]
    Type,
    /// The id is that of another name or key.
    #[error("the key id does not belong to this name and key")]
    WrongId,
    /// Not a point of the curve in its one form, or one of its weak points.
    #[error("the key is not a usable Ed25519 public key")]
    Weak,
}

impl VerifierKey {
    /// Makes a key from its name and the 32 bytes of RFC 8032.
    ///
    /// # Errors
    /// [`BadKey::Name`], [`BadKey::Weak`].
    pub fn from_bytes(name: &str, bytes: &[u8; 32]) -> Result<Self, BadKey> {
        if !is_name(name) {
            return Err(BadKey::Name);
        }
        let key = VerifyingKey::from_bytes(bytes).map_err(|_| BadKey::Weak)?;
        let canonical = key.to_edwards().compress().to_bytes() == *bytes;
        if key.is_weak() || !canonical {
            return Err(BadKey::Weak);
        }
        Ok(Self { name: name.to_owned(), id: key_id(name, &key), key })
    }

    /// The name that stands in signature lines.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The first four bytes of SHA-256(name ‖ 0x0A ‖ 0x01 ‖ key).
    #[must_use]
    pub fn id(&self) -> [u8; 4] {
        self.id
    }

    /// The 32 bytes of RFC 8032.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 32] {
        self.key.to_bytes()
    }

    /// `<name>+<id>`, which is enough to tell keys apart, not to trust one.
    #[must_use]
    pub fn short(&self) -> String {
        format!("{}+{}", self.name, HEXLOWER.encode(&self.id))
    }

    /// Whether the signature is this key's for the text; weak points are refused.
    pub(super) fn verify(&self, text: &[u8], signature: &[u8]) -> bool {
        let Ok(signature) = ed25519_dalek::Signature::from_slice(signature) else {
            return false;
        };
        self.key.verify_strict(text, &signature).is_ok()
    }
}

impl SignerKey {
    /// Makes a key from its name and 32 secret bytes out of the system's random source.
    ///
    /// # Errors
    /// [`BadKey::Name`].
    pub fn from_seed(name: &str, seed: &[u8; 32]) -> Result<Self, BadKey> {
        let key = SigningKey::from_bytes(seed);
        let verifier = VerifierKey::from_bytes(name, key.verifying_key().as_bytes())?;
        Ok(Self { key, verifier })
    }

    /// The public half.
    #[must_use]
    pub fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    /// Writes the secret as `PRIVATE+KEY+<name>+<id>+<base64(0x01 ‖ seed)>`, for a file of
    /// mode 0600 and nowhere else.
    #[must_use]
    pub fn expose(&self) -> String {
        written(SECRET_PREFIX, &self.verifier, self.key.as_bytes())
    }

    pub(super) fn sign(&self, text: &[u8]) -> [u8; 64] {
        self.key.sign(text).to_bytes()
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&written("", self, self.key.as_bytes()))
    }
}

impl FromStr for VerifierKey {
    type Err = BadKey;

    /// Reads what [`fmt::Display`] writes, and nothing else.
    fn from_str(text: &str) -> Result<Self, BadKey> {
        let (name, id, bytes) = parts(text, BadKey::Verifier)?;
        let key = Self::from_bytes(name, &bytes)?;
        if key.id == id { Ok(key) } else { Err(BadKey::WrongId) }
    }
}

impl fmt::Debug for SignerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignerKey").field("verifier", &self.verifier).finish_non_exhaustive()
    }
}

impl FromStr for SignerKey {
    type Err = BadKey;

    /// Reads what [`SignerKey::expose`] writes, and nothing else.
    fn from_str(text: &str) -> Result<Self, BadKey> {
        let rest = text.strip_prefix(SECRET_PREFIX).ok_or(BadKey::Signer)?;
        let (name, id, seed) = parts(rest, BadKey::Signer)?;
        let key = Self::from_seed(name, &seed)?;
        if key.verifier.id == id { Ok(key) } else { Err(BadKey::WrongId) }
    }
}

/// Whether a text can name a key.
pub(super) fn is_name(name: &str) -> bool {
    let forbidden = |c: char| c.is_whitespace() || c.is_control() || c == '+';
    (1..=MAX_NAME_BYTES).contains(&name.len()) && !name.chars().any(forbidden)
}

fn key_id(name: &str, key: &VerifyingKey) -> [u8; 4] {
    let mut bytes = name.as_bytes().to_vec();
    bytes.extend_from_slice(&[b'\n', ED25519]);
    bytes.extend_from_slice(key.as_bytes());
    let [a, b, c, d, ..] = sha256(&bytes);
    [a, b, c, d]
}

fn written(prefix: &str, verifier: &VerifierKey, key: &[u8; 32]) -> String {
    let mut bytes = [ED25519; 33];
    let (_, rest) = bytes.split_at_mut(1);
    rest.copy_from_slice(key);
    format!("{prefix}{}+{}", verifier.short(), BASE64.encode(&bytes))
}

/// Takes `<name>+<id>+<base64(0x01 ‖ key)>` apart.
fn parts(text: &str, shape: BadKey) -> Result<(&str, [u8; 4], [u8; 32]), BadKey> {
    let (name, rest) = text.split_once('+').ok_or(shape)?;
    let (id, base64) = rest.split_once('+').ok_or(shape)?;
    let id = HEXLOWER.decode(id.as_bytes()).map_err(|_| BadKey::Id)?;
    let id: [u8; 4] = id.try_into().map_err(|_| BadKey::Id)?;
    let bytes = BASE64.decode(base64.as_bytes()).map_err(|_| BadKey::Base64)?;
    let bytes: [u8; 33] = bytes.try_into().map_err(|_| BadKey::Base64)?;
    let [ED25519, key @ ..] = bytes else {
        return Err(BadKey::Type);
    };
    Ok((name, id, key))
}
