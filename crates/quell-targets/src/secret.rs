//! A secret in memory: it never prints. Nothing here reads files or the environment; the caller
//! resolves the reference.

use std::fmt;

/// A credential. `Debug` shows `Secret(..)`; there is no `Display` and no serialisation.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a value that the caller has resolved from its reference.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value, for the one line that puts it into a header or a key.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }

    /// Takes the value out of a text that people will read.
    pub(crate) fn redact(&self, text: &str) -> String {
        if self.0.len() < 4 { text.to_owned() } else { text.replace(&self.0, "(secret)") }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_prints_and_is_taken_out_of_texts() {
        let secret = Secret::new("00abcDEF");
        assert_eq!(format!("{secret:?}"), "Secret(..)");
        assert_eq!(secret.redact("token 00abcDEF is unknown"), "token (secret) is unknown");
        assert_eq!(Secret::new("").redact("nothing"), "nothing");
    }
}
