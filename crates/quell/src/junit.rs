//! Binary room, JUnit: the results of checks as the XML that build servers read. Decides nothing.

use std::path::Path;

use crate::fault::Fault;

/// One check.
#[derive(Debug, Clone)]
pub(crate) struct Checked {
    /// The file that asks for it.
    pub(crate) file: String,
    /// Its name within the file.
    pub(crate) name: String,
    /// What is not as expected; none when all is.
    pub(crate) failure: Option<String>,
}

/// Writes one suite.
pub(crate) fn write(path: &Path, suite: &str, all: &[Checked]) -> Result<(), Fault> {
    std::fs::write(path, text(suite, all)).map_err(|e| Fault::file(path, &e))
}

fn text(suite: &str, all: &[Checked]) -> String {
    let failures = all.iter().filter(|checked| checked.failure.is_some()).count();
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let counts = format!("tests=\"{}\" failures=\"{failures}\" errors=\"0\"", all.len());
    putln!(out, "<testsuites {counts}>");
    putln!(out, "  <testsuite name=\"{}\" {counts}>", escape(suite));
    for Checked { file, name, failure } in all {
        let (file, name) = (escape(file), escape(name));
        let open = format!("    <testcase classname=\"{file}\" name=\"{name}\" file=\"{file}\"");
        match failure {
            None => putln!(out, "{open}/>"),
            Some(text) => {
                let first = escape(text.lines().next().unwrap_or_default());
                let text = escape(text);
                putln!(
                    out,
                    "{open}>\n      <failure message=\"{first}\">{text}</failure>\n    </testcase>"
                )
            }
        };
    }
    out.push_str("  </testsuite>\n</testsuites>\n");
    out
}

/// Text for XML and HTML: markup is escaped, and what XML 1.0 cannot hold is shown as `?`.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\t' => out.push(c),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push('?'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn hostile_names_stay_text() {
        let all = [
            Checked { file: "a.yml".into(), name: "holds".into(), failure: None },
            Checked {
                file: "<b>.yml".into(),
                name: "\"it's\u{0}\"".into(),
                failure: Some("- a & b\n+ ]]>".into()),
            },
        ];
        expect![[r#"
            <?xml version="1.0" encoding="UTF-8"?>
            <testsuites tests="2" failures="1" errors="0">
              <testsuite name="quell" tests="2" failures="1" errors="0">
                <testcase classname="a.yml" name="holds" file="a.yml"/>
                <testcase classname="&lt;b&gt;.yml" name="&quot;it&#39;s?&quot;" file="&lt;b&gt;.yml">
                  <failure message="- a &amp; b">- a &amp; b
            + ]]&gt;</failure>
                </testcase>
              </testsuite>
            </testsuites>
        "#]]
        .assert_eq(&text("quell", &all));
    }
}
