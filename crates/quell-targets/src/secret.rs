//! A secret in memory: it never prints. Nothing here reads files or the environment; the caller
//! resolves the reference.

use std::fmt;

use crate::text::{clean, encode};

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
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// What must not be kept of a vendor's words: our credentials, in every form in which a request
/// carries them. A vendor may echo what it was sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Unspoken(Vec<Secret>);

impl Unspoken {
    /// Adds a text as it is sent, whole and each of its words, and as it stands in an address.
    pub(crate) fn add(&mut self, sent: &str) {
        // Shorter ones, such as `SSWS`, would be found in any text.
        let words = sent.split_whitespace().filter(|word| word.len() >= WORD_MIN);
        let forms = std::iter::once(sent).filter(|sent| sent.len() >= SECRET_MIN).chain(words);
        for form in forms {
            self.put(Secret(form.to_owned()));
            self.put(Secret(encode(form)));
        }
    }

    /// Takes in what another one knows.
    pub(crate) fn merge(&mut self, other: &Self) {
        other.0.iter().for_each(|secret| self.put(secret.clone()));
    }

    fn put(&mut self, form: Secret) {
        if !self.0.contains(&form) {
            self.0.push(form);
            // A longer form may hold a shorter one.
            self.0.sort_by_key(|form| std::cmp::Reverse(form.0.len()));
        }
    }

    /// True when a text holds one of them.
    pub(crate) fn is_in(&self, text: &str) -> bool {
        self.0.iter().any(|secret| text.contains(&secret.0))
    }

    /// A text for people: cleaned, without any of them, cut to `max` characters. In this order, so
    /// that neither a hidden character nor the cut leaves a part of one behind.
    pub(crate) fn people(&self, text: &str, max: usize) -> String {
        let mut text = clean(text, usize::MAX);
        for secret in &self.0 {
            if text.contains(&secret.0) {
                text = text.replace(&secret.0, "(redacted)");
            }
        }
        clean(&text, max)
    }
}

/// The shortest secret, and the shortest word of one, that are looked for, bytes.
const SECRET_MIN: usize = 4;
const WORD_MIN: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_prints_and_is_taken_out_of_texts() {
        let secret = Secret::new("00abcDEF");
        assert_eq!(format!("{secret:?}"), "Secret(..)");
        let mut unspoken = Unspoken::default();
        unspoken.add("SSWS 00abcDEF/+");
        assert_eq!(format!("{unspoken:?}").matches("Secret(..)").count(), 4);
        let check = |text: &str, max: usize, want: &str| {
            assert_eq!(unspoken.people(text, max), want, "{text}");
        };
        check("token 00abcDEF/+ is unknown", 240, "token (redacted) is unknown");
        check("SSWS 00abcDEF/+", 240, "(redacted)");
        check("?token=00abcDEF%2F%2B", 240, "?token=(redacted)");
        check("00ab\u{200b}cDEF/+", 240, "(redacted)");
        check("a 00abcDEF/+", 6, "a (red");
        check("SSWS is our scheme", 240, "SSWS is our scheme");
        assert_eq!(Unspoken::default().people("nothing", 240), "nothing");
    }
}
