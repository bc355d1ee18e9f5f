//! Texts for people and for request lines: cleaned, cut and percent-encoded. Pure.

use std::fmt::Write as _;

/// Longest detail sentence, in characters.
pub(crate) const DETAIL_MAX: usize = 240;

/// Removes control and bidirectional characters and cuts to `max` characters.
pub(crate) fn clean(text: &str, max: usize) -> String {
    let hidden = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{2069}' | '\u{feff}')
    };
    text.chars().filter(|c| !hidden(*c)).take(max).collect()
}

/// Percent-encodes everything but the unreserved characters of RFC 3986 section 2.3.
pub(crate) fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte));
            }
            _ => {
                // writing to a String cannot fail
                let _infallible = write!(encoded, "%{byte:02X}");
            }
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn cleans_and_encodes() {
        assert_eq!(clean("a\u{202e}b\n\u{7}c", 240), "abc");
        assert_eq!(clean("abcdef", 3), "abc");
        assert_eq!(encode("alice@example.com"), "alice%40example.com");
        assert_eq!(encode("a/../b?x#y\n"), "a%2F..%2Fb%3Fx%23y%0A");
        assert_eq!(encode("é"), "%C3%A9");
    }

    proptest! {
        #[test]
        fn an_encoded_segment_holds_no_structure(text in "\\PC{0,40}") {
            let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~%".contains(&b);
            prop_assert!(encode(&text).bytes().all(plain));
        }
    }
}
