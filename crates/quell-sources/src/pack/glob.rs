//! Sources room: event types with `*`, which stands for any characters. Knows nothing else.

/// A text with `*` in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Glob(String);

impl Glob {
    pub(crate) fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// True when the whole of `text` matches. Linear in the text for each piece of the glob.
    pub(crate) fn matches(&self, text: &str) -> bool {
        let mut pieces = self.0.split('*');
        let first = pieces.next().unwrap_or_default();
        let Some(mut rest) = text.strip_prefix(first) else { return false };
        let mut pieces = pieces.peekable();
        while let Some(piece) = pieces.next() {
            if pieces.peek().is_none() {
                return rest.ends_with(piece);
            }
            let Some((_, after)) = rest.split_once(piece) else { return false };
            rest = after;
        }
        rest.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_characters() {
        let check = |glob: &str, text: &str, want: bool| {
            assert_eq!(Glob::new(glob).matches(text), want, "{glob} {text}");
        };
        check("a.*", "a.b.c", true);
        check("a.*", "a.", true);
        check("a.*", "a", false);
        check("*.b", "a.b", true);
        check("*.b", "a.bc", false);
        check("a.*.token.*", "a.x.token.y", true);
        check("a.*.token.*", "a.token.y", false);
        check("a*b*c", "abbc", true);
        check("a*b*c", "acb", false);
        check("a*a", "a", false);
        check("plain", "plain", true);
        check("plain", "plainer", false);
        check("*", "", true);
    }
}
