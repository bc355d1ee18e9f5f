//! Sources room, tests: reads the expected results of the corpus records.
//! Holds locators, digests and kinds only, never the content of a record.

use quell_core::id::Digest;

/// One line: what one record of the corpus must give.
pub(crate) struct Line {
    /// The path within the corpus, `#`, and where in the file.
    pub(crate) locator: String,
    /// The digest of the record's bytes.
    pub(crate) digest: Digest,
    /// The event type, as the vendor names it.
    pub(crate) event_type: String,
    /// Kinds joined by `+`, sorted, or the reason of the reject.
    pub(crate) result: String,
    /// The line left the record out: it is not of the vendor's event format.
    pub(crate) left_out: bool,
}

/// The expected results of one vendor.
pub(crate) struct Expected(Vec<Line>);

impl Expected {
    /// Reads tab-separated lines; `#` starts a comment, `#-` a record that is left out.
    pub(crate) fn read(text: &str) -> Self {
        let content = |line: &&str| !line.trim().is_empty() && !line.starts_with("# ");
        Self(text.lines().filter(content).map(Line::read).collect())
    }

    pub(crate) fn get(&self, locator: &str) -> Option<&Line> {
        self.0.iter().find(|line| line.locator == locator)
    }

    pub(crate) fn lines(&self) -> &[Line] {
        &self.0
    }
}

impl Line {
    fn read(text: &str) -> Self {
        let (left_out, text) = match text.strip_prefix("#-\t") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let cells: Vec<&str> = text.split('\t').collect();
        let [locator, digest, event_type, result] = cells[..] else {
            panic!("four cells expected: `{text}`")
        };
        Self {
            locator: locator.to_owned(),
            digest: digest.parse().unwrap(),
            event_type: event_type.to_owned(),
            result: result.to_owned(),
            left_out,
        }
    }
}
