//! Evidence: signed notes (c2sp.org/signed-note) with Ed25519. Never makes a key: the caller
//! brings the 32 secret bytes. What a note says means nothing before [`Note::verify`].

mod key;

use data_encoding::BASE64;
use thiserror::Error;

pub use key::{BadKey, SignerKey, VerifierKey};

/// Bytes of a whole note; 16 post-quantum signatures of 5 kB fit.
pub const MAX_BYTES: usize = 256 * 1024;

/// Signatures of one note; the specification demands at least 16.
pub const MAX_SIGNATURES: usize = 64;

/// Bytes of a key's name.
pub const MAX_NAME_BYTES: usize = 255;

const LINE_START: &str = "\u{2014} ";

/// A text and the signatures below it, none of them verified yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    text: String,
    signatures: Vec<Signature>,
}

/// One signature line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    name: String,
    id: [u8; 4],
    bytes: Vec<u8>,
}

/// Why bytes are not a note, or a note is not what it claims.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BadNote {
    /// Longer than [`MAX_BYTES`].
    #[error("a note of `{0}` bytes is longer than 262144")]
    Long(usize),
    /// Not UTF-8, or with control characters other than newline.
    #[error("a note is UTF-8 text without control characters other than newline")]
    Text,
    /// No text, no blank line, or no signature.
    #[error("a note is a text, a blank line and signature lines")]
    Shape,
    /// Not `— <name> <base64>`.
    #[error("signature line {0} is not an em dash, a key name and base64 without slack")]
    Line(usize),
    /// More than [`MAX_SIGNATURES`].
    #[error("more than {0} signatures")]
    Signatures(usize),
    /// The same key signs twice.
    #[error("`{0}` signs more than once")]
    Twice(String),
    /// No signature is by the trusted key.
    #[error("no signature by `{0}`")]
    NotSigned(String),
    /// The trusted key did not sign this text.
    #[error("the signature by `{0}` is not for this text")]
    WrongSignature(String),
}

impl Note {
    /// Starts a note without a signature.
    ///
    /// # Errors
    /// [`BadNote`] unless the text ends in a newline and can stand in a note.
    pub fn new(text: impl Into<String>) -> Result<Self, BadNote> {
        let text = text.into();
        if text.len() > MAX_BYTES {
            return Err(BadNote::Long(text.len()));
        }
        if text.chars().any(|c| c < ' ' && c != '\n') {
            return Err(BadNote::Text);
        }
        if !text.ends_with('\n') {
            return Err(BadNote::Shape);
        }
        Ok(Self { text, signatures: Vec::new() })
    }

    /// Reads a note. Nothing is verified.
    ///
    /// # Errors
    /// [`BadNote`] unless [`Note::to_text`] would write exactly these bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self, BadNote> {
        if bytes.len() > MAX_BYTES {
            return Err(BadNote::Long(bytes.len()));
        }
        let all = std::str::from_utf8(bytes).map_err(|_| BadNote::Text)?;
        let (text, lines) = all.rsplit_once("\n\n").ok_or(BadNote::Shape)?;
        let mut note = Self::new(format!("{text}\n"))?;
        let lines = lines.strip_suffix('\n').ok_or(BadNote::Shape)?;
        for (position, line) in lines.split('\n').enumerate() {
            if position == MAX_SIGNATURES {
                return Err(BadNote::Signatures(MAX_SIGNATURES));
            }
            let signature = Signature::parse(line).ok_or(BadNote::Line(position + 1))?;
            note.push(signature)?;
        }
        Ok(note)
    }

    /// The text, with its last newline.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The signatures in their order.
    #[must_use]
    pub fn signatures(&self) -> &[Signature] {
        &self.signatures
    }

    /// Signs the text with one more key.
    ///
    /// # Errors
    /// [`BadNote::Twice`] where this key has signed already; [`BadNote::Signatures`].
    pub fn sign(&mut self, key: &SignerKey) -> Result<(), BadNote> {
        let verifier = key.verifier();
        let bytes = key.sign(self.text.as_bytes()).to_vec();
        self.push(Signature { name: verifier.name().to_owned(), id: verifier.id(), bytes })
    }

    /// Adds a signature that another made, for example a witness.
    ///
    /// # Errors
    /// [`BadNote::Twice`] where its key has signed already; [`BadNote::Signatures`].
    pub fn push(&mut self, signature: Signature) -> Result<(), BadNote> {
        if self.signatures.len() >= MAX_SIGNATURES {
            return Err(BadNote::Signatures(MAX_SIGNATURES));
        }
        let same = |other: &Signature| other.name == signature.name && other.id == signature.id;
        if self.signatures.iter().any(same) {
            return Err(BadNote::Twice(signature.name));
        }
        self.signatures.push(signature);
        Ok(())
    }

    /// Checks the signature by this key; signatures by other keys are passed over.
    ///
    /// # Errors
    /// [`BadNote::NotSigned`] and [`BadNote::WrongSignature`].
    pub fn verify(&self, key: &VerifierKey) -> Result<(), BadNote> {
        let by_key = |one: &&Signature| one.name == key.name() && one.id == key.id();
        let Some(signature) = self.signatures.iter().find(by_key) else {
            return Err(BadNote::NotSigned(key.short()));
        };
        if key.verify(self.text.as_bytes(), &signature.bytes) {
            Ok(())
        } else {
            Err(BadNote::WrongSignature(key.short()))
        }
    }

    /// Writes the note. A note without a signature is written too, but never read back.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut out = self.text.clone();
        out.push('\n');
        for signature in &self.signatures {
            let mut bytes = signature.id.to_vec();
            bytes.extend_from_slice(&signature.bytes);
            out.push_str(LINE_START);
            out.push_str(&signature.name);
            out.push(' ');
            BASE64.encode_append(&bytes, &mut out);
            out.push('\n');
        }
        out
    }
}

impl Signature {
    /// The name of the key.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The id of the key.
    #[must_use]
    pub fn id(&self) -> [u8; 4] {
        self.id
    }

    /// Reads one signature line without its newline, as a witness answers it.
    #[must_use]
    pub fn parse(line: &str) -> Option<Self> {
        let (name, base64) = line.strip_prefix(LINE_START)?.split_once(' ')?;
        if !key::is_name(name) || line.len() > MAX_BYTES {
            return None;
        }
        let decoded = BASE64.decode(base64.as_bytes()).ok()?;
        let (id, bytes) = decoded.split_first_chunk::<4>()?;
        if bytes.is_empty() {
            return None;
        }
        Some(Self { name: name.to_owned(), id: *id, bytes: bytes.to_vec() })
    }
}

#[cfg(test)]
mod tests;
