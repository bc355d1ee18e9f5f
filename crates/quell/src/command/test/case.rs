//! `quell test`, files: what a test is, where it stands, and how what came out is written back. It
//! runs nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use quell_core::identity::Scheme;
use quell_core::signal::{Anomaly, EntityKind, Kind, Use};
use serde::Deserialize;
use serde_json::Value;

use super::yaml;
use crate::fault::Fault;

/// One test.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Case {
    /// What it shows, for people.
    pub(super) name: String,
    /// When all of it is looked at; by default the greatest time that a vendor wrote.
    #[serde(default)]
    pub(super) at: Option<String>,
    /// Identities as in a JSON directory, or a file; by default the configured directory.
    #[serde(default)]
    pub(super) directory: Option<Directory>,
    /// When the directory was true; by default at `at`.
    #[serde(default)]
    pub(super) directory_as_of: Option<String>,
    /// Folders in place of the configured ones, relative to the file.
    #[serde(default)]
    pub(super) folders: Option<Named>,
    /// What comes in, in this order.
    pub(super) given: Vec<Given>,
    /// What must come out; what is not written is not compared.
    #[serde(default)]
    pub(super) expect: Option<Value>,
    /// The first line, from 1.
    #[serde(skip)]
    pub(super) line: u32,
}

/// Folders of a configuration.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Named {
    pub(super) rules: Option<PathBuf>,
    pub(super) policy: Option<PathBuf>,
    pub(super) packs: Option<PathBuf>,
}

/// A directory file, or its identities.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Directory {
    File(PathBuf),
    List(Vec<Value>),
}

/// One arrival.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Given {
    /// The pack that decodes the records; the source's own when unset.
    #[serde(default)]
    pub(super) pack: Option<String>,
    /// The source; the configured one of the pack, or its name, when unset.
    #[serde(default)]
    pub(super) source: Option<String>,
    /// A file with records, relative to the test.
    #[serde(default)]
    pub(super) file: Option<PathBuf>,
    /// Records as the vendor writes them.
    #[serde(default)]
    pub(super) records: Vec<Value>,
    /// Signals, as if a pack had made them.
    #[serde(default)]
    pub(super) signals: Vec<Said>,
}

/// One signal in short.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Said {
    pub(super) kind: Kind,
    #[serde(rename = "use")]
    pub(super) usage: Use,
    #[serde(default)]
    pub(super) confidence: Option<u8>,
    /// By scheme: `address: ada@example.com`.
    pub(super) about: BTreeMap<Scheme, String>,
    /// When it happened.
    pub(super) at: String,
    /// When the vendor wrote it; when it happened, when unset.
    #[serde(default)]
    pub(super) written: Option<String>,
    #[serde(default)]
    pub(super) entities: BTreeMap<EntityKind, Texts>,
    #[serde(default)]
    pub(super) attributes: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) anomalies: Vec<Anomaly>,
    #[serde(default)]
    pub(super) withdraws: Option<EntityKind>,
}

/// One text or several.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Texts {
    One(String),
    Many(Vec<String>),
}

impl Texts {
    pub(super) fn list(&self) -> &[String] {
        match self {
            Self::One(text) => std::slice::from_ref(text),
            Self::Many(texts) => texts,
        }
    }
}

/// A file with its tests.
pub(super) struct File {
    lines: Vec<String>,
    /// In the order of the file.
    pub(super) cases: Vec<Case>,
}

impl File {
    pub(super) fn read(path: &Path) -> Result<Self, Fault> {
        let text = super::super::decode::read(path)?;
        let text = String::from_utf8(text).map_err(|e| Fault::file(path, &e))?;
        let name = path.display();
        let mut cases = Vec::new();
        for document in quell_rules::yaml::documents(&text) {
            let document = document
                .map_err(|e| Fault::input(format!("{name}:{}: {}", e.line, e.fault), e.help))?;
            let line = document.line();
            let case: Case = serde_json::from_value(document.value().clone()).map_err(|e| {
                let help = "see docs/testing.md for the form of a test";
                Fault::input(format!("{name}:{line}: {e}"), help)
            })?;
            cases.push(Case { line, ..case });
        }
        if cases.is_empty() {
            let message = format!("`{name}` holds no test");
            return Err(Fault::input(message, "see docs/testing.md for a first one"));
        }
        Ok(Self { lines: text.lines().map(str::to_owned).collect(), cases })
    }

    /// Writes what came out over what was expected by the test that begins at a line.
    pub(super) fn put(&mut self, line: u32, came: &Value) {
        let from = usize::try_from(line.saturating_sub(1)).unwrap_or_default();
        let ends = |line: &str| {
            let marks = |rest: &str| rest.is_empty() || rest.starts_with(char::is_whitespace);
            line.strip_prefix("---").is_some_and(marks) || line == "..."
        };
        let rest = self.lines.iter().enumerate().skip(from);
        let end = rest.clone().skip(1).find(|(_, line)| ends(line)).map(|(at, _)| at);
        let mut end = end.unwrap_or(self.lines.len());
        let key = rest.clone().take(end - from.min(end)).find(|(_, l)| l.starts_with("expect:"));
        let begin = key.map(|(at, _)| at);
        if let Some(at) = begin {
            let own = |line: &str| line.is_empty() || line.starts_with([' ', '#', '-']);
            let mut next = self.lines.iter().enumerate().take(end).skip(at + 1);
            end = next.find(|(_, line)| !own(line)).map_or(end, |(at, _)| at);
        }
        // Blank lines and comments before what follows belong to that.
        let foreign = |line: &String| line.trim().is_empty() || line.starts_with('#');
        while end > begin.unwrap_or(from) + 1 && self.lines.get(end - 1).is_some_and(foreign) {
            end -= 1;
        }
        let begin = begin.unwrap_or(end);
        let mut text = String::from("expect:\n");
        yaml::write(&mut text, came, 1);
        let new: Vec<String> = text.lines().map(str::to_owned).collect();
        let grown = new.len();
        self.lines.splice(begin..end, new);
        self.move_on(line, grown, end - begin);
    }

    /// The tests below stand on other lines now.
    fn move_on(&mut self, line: u32, grown: usize, gone: usize) {
        let grown = u32::try_from(grown).unwrap_or_default();
        let gone = u32::try_from(gone).unwrap_or_default();
        for case in self.cases.iter_mut().filter(|case| case.line > line) {
            case.line = case.line.saturating_add(grown).saturating_sub(gone);
        }
    }

    pub(super) fn text(&self) -> String {
        let mut text = self.lines.join("\n");
        text.push('\n');
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use serde_json::json;

    const TWO: &str = "\
# the first
name: one
given: []
expect:
  # goes with the old words
  plan:
    - action: suspend

# stays, it is about what follows
at: 2026-03-02T09:20:00Z
--- # the second
name: two
given: []

# stays as well
";

    #[test]
    fn only_what_is_expected_is_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("two.yml");
        std::fs::write(&path, TWO).unwrap();
        let mut file = File::read(&path).unwrap();
        for at in 0..2 {
            file.put(file.cases[at].line, &json!({ "plan": [{ "n": at, "on": "a:b" }] }));
        }
        expect![[r##"
            # the first
            name: one
            given: []
            expect:
              plan:
                - "n": 0
                  "on": "a:b"

            # stays, it is about what follows
            at: 2026-03-02T09:20:00Z
            --- # the second
            name: two
            given: []
            expect:
              plan:
                - "n": 1
                  "on": "a:b"

            # stays as well
        "##]]
        .assert_eq(&file.text());
        std::fs::write(&path, file.text()).unwrap();
        let mut again = File::read(&path).unwrap();
        let expected = |file: &File, at: usize| file.cases[at].expect.clone().unwrap();
        assert_eq!(expected(&again, 1), json!({ "plan": [{ "n": 1, "on": "a:b" }] }));
        again.put(again.cases[0].line, &expected(&again, 0));
        again.put(again.cases[1].line, &expected(&again, 1));
        assert_eq!(again.text(), file.text());
    }
}
