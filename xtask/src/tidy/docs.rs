//! The papers: architecture, glossary and error pages say what the code says.

use super::Finding;
use crate::rust::Source;
use crate::tree::Tree;

const ARCHITECTURE: &str = "ARCHITECTURE.md";
const GLOSSARY: &str = "GLOSSARY.md";
const ERRORS: &str = "docs/errors/";

/// The words of the design; each is the first cell of a row of the glossary.
const WORDS: &[&str] = &[
    "account",
    "anomaly",
    "campaign",
    "case",
    "class",
    "entity",
    "episode",
    "evidence record",
    "finding",
    "identity",
    "kind",
    "order",
    "outcome",
    "permit",
    "plan",
    "record",
    "signal",
    "source",
    "step",
    "subject",
    "target",
    "tenant",
    "tier",
    "use",
];

/// The public types of the core that bear a word of the glossary; each stands in its row.
const TYPES: &[&str] = &[
    "Account",
    "Action",
    "Anomaly",
    "Attribution",
    "Case",
    "Cited",
    "Class",
    "Directory",
    "Disposition",
    "Entity",
    "Finding",
    "Freeze",
    "Identifier",
    "Identity",
    "Kind",
    "Order",
    "Outcome",
    "Provenance",
    "Reach",
    "Reject",
    "Repeat",
    "Resolution",
    "Rule",
    "Seen",
    "Signal",
    "SourceName",
    "Subject",
    "Tenant",
    "Tier",
    "Use",
    "WatchEntry",
];

/// The sections that an error page has.
const SECTIONS: &[&str] = &["## Cause", "## Remedy"];

/// Every crate has a section with at least one invariant.
pub(super) fn architecture(tree: &Tree, members: &[&str]) -> Vec<Finding> {
    let text = tree.text(ARCHITECTURE).unwrap_or_default();
    let mut findings = Vec::new();
    for member in members {
        match section(text, &format!("`{member}`")) {
            None => {
                let why = format!("has no section about `{member}`");
                findings.push(Finding::about(ARCHITECTURE, why));
            }
            Some(section) if !section.contains("Invariant:") => {
                let why = format!("the section about `{member}` has no `Invariant:`");
                findings.push(Finding::about(ARCHITECTURE, why));
            }
            Some(_) => {}
        }
    }
    findings
}

/// Every word of the design, and every type that bears one, stands in the glossary.
pub(super) fn glossary(tree: &Tree) -> Vec<Finding> {
    let text = tree.text(GLOSSARY).unwrap_or_default();
    let heads: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix('|')?.split('|').next())
        .flat_map(|cell| cell.split(','))
        .map(str::trim)
        .collect();
    let words = WORDS.iter().filter(|word| !heads.contains(word));
    let missing = words.map(|word| format!("has no row for the word `{word}`"));
    let types = TYPES.iter().filter(|name| !text.contains(&format!("`{name}`")));
    let unnamed = types.map(|name| format!("does not name the type `{name}`"));
    let stale = TYPES.iter().filter(|name| !is_declared(tree, name));
    let gone = stale.map(|name| format!("names the type `{name}`, which the core does not have"));
    missing.chain(unnamed).chain(gone).map(|why| Finding::about(GLOSSARY, why)).collect()
}

/// Whether the core declares the type, plainly or in its macro for closed lists.
fn is_declared(tree: &Tree, name: &str) -> bool {
    let core = tree.rust().filter(|(path, _)| path.starts_with("crates/quell-core/src/"));
    let plain = ["pub struct", "pub enum", "pub type"];
    let declares = |line: &str| {
        let line = line.trim();
        let rest = plain.iter().find_map(|head| line.strip_prefix(head)).map(str::trim_start);
        let own = rest.and_then(|rest| rest.strip_prefix(name));
        own.is_some_and(|tail| !tail.starts_with(|c: char| c.is_alphanumeric() || c == '_'))
            || line.strip_suffix('{').is_some_and(|head| head.trim_end() == name)
    };
    core.into_iter().any(|(_, text)| text.lines().any(declares))
}

/// Every error code has one page and every page has a code; a page has cause and remedy.
pub(super) fn errors(tree: &Tree) -> Vec<Finding> {
    let codes = codes(tree);
    let mut findings = Vec::new();
    for (code, path, line) in &codes {
        if tree.text(&format!("{ERRORS}{code}.md")).is_none() {
            let why = format!("`{code}` has no page `{ERRORS}{code}.md`");
            findings.push(Finding::at(path, *line, why));
        }
    }
    for name in tree.names_under(ERRORS).into_iter().filter(|name| *name != "README.md") {
        let path = format!("{ERRORS}{name}");
        let code = name.strip_suffix(".md").filter(|code| is_code(code));
        if !code.is_some_and(|code| codes.iter().any(|(known, ..)| known == code)) {
            findings.push(Finding::about(&path, "is a page for a code that no crate gives"));
        }
        let text = tree.text(&path).unwrap_or_default();
        let title = format!("# {}: ", code.unwrap_or("Q0000"));
        if !text.starts_with(&title) {
            findings.push(Finding::at(&path, 1, format!("does not begin with `{title}`")));
        }
        for section in SECTIONS.iter().filter(|s| !text.lines().any(|line| line == **s)) {
            findings.push(Finding::about(&path, format!("has no section `{section}`")));
        }
    }
    findings
}

/// Every paper has one title.
pub(super) fn headings(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.texts().filter(|(path, _)| path.ends_with(".md")) {
        let titles = unfenced(text).filter(|line| line.starts_with("# ")).count();
        if titles != 1 {
            findings.push(Finding::about(path, format!("has {titles} titles instead of one")));
        }
    }
    findings
}

/// The codes that the crates give, each once, with the first place.
fn codes(tree: &Tree) -> Vec<(String, String, usize)> {
    let mut codes: Vec<(String, String, usize)> = Vec::new();
    for (path, text) in tree.rust().filter(|(path, _)| path.starts_with("crates/")) {
        let source = Source::read(path, text);
        for (at, line) in text.lines().enumerate() {
            if source.test.get(at).copied().unwrap_or(false) || line.trim_start().starts_with("//")
            {
                continue;
            }
            for part in line.split('"').filter(|part| is_code(part)) {
                if !codes.iter().any(|(code, ..)| code == part) {
                    codes.push((part.to_owned(), path.to_owned(), at + 1));
                }
            }
        }
    }
    codes
}

fn is_code(text: &str) -> bool {
    let digits = text.strip_prefix('Q').unwrap_or_default();
    digits.len() == 4 && digits.bytes().all(|b| b.is_ascii_digit())
}

/// The text under the first heading that holds the name, up to the next heading.
fn section(text: &str, name: &str) -> Option<String> {
    let mut lines =
        unfenced(text).skip_while(|line| !(line.starts_with('#') && line.contains(name)));
    lines.next()?;
    Some(lines.take_while(|line| !line.starts_with('#')).map(|line| format!("{line}\n")).collect())
}

/// The lines that are not inside a fenced block.
fn unfenced(text: &str) -> impl Iterator<Item = &str> {
    let mut fenced = false;
    text.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_crate_has_a_section_with_an_invariant() {
        let check = |text: &str| architecture(&Tree::sample(&[(ARCHITECTURE, text)]), &["quell-a"]);
        assert_eq!(check("# A\n### `quell-a`\nwords\n\nInvariant: it never b.\n").len(), 0);
        assert_eq!(check("# A\n### `quell-a`\nwords\n### `b`\nInvariant: c\n").len(), 1);
        assert_eq!(check("# A\n`quell-a` Invariant: c\n").len(), 1);
        assert_eq!(architecture(&Tree::sample(&[]), &["quell-a"]).len(), 1);
    }

    #[test]
    fn every_word_and_type_is_in_the_glossary() {
        let rows: String = WORDS.iter().map(|word| format!("| {word}, other | a |\n")).collect();
        let types: String = TYPES.iter().map(|name| format!("`{name}`\n")).collect();
        let core: String = TYPES
            .iter()
            .map(|name| match *name {
                "Kind" => "names! {\n    Kind {\n    }\n}\n".to_owned(),
                "Tenant" => "pub type Tenant = String;\n".to_owned(),
                name => format!("pub struct {name}(u8);\n"),
            })
            .collect();
        let with = |core: &str, text: &str| {
            let files = [("crates/quell-core/src/a.rs", core), (GLOSSARY, text)];
            glossary(&Tree::sample(&files)).len()
        };
        let check = |text: &str| with(&core, text);
        assert_eq!(check(&format!("{rows}{types}")), 0);
        assert_eq!(with(&core.replace("Signal(", "Signals("), &format!("{rows}{types}")), 1);
        assert_eq!(check(&format!("{}{types}", rows.replace("| tenant,", "| lodger,"))), 1);
        assert_eq!(check(&format!("{rows}{}", types.replace("`Signal`", "Signal"))), 1);
        assert_eq!(check(""), WORDS.len() + TYPES.len());
    }

    #[test]
    fn codes_and_pages_are_one_to_one() {
        let code = ("crates/a/src/lib.rs", "//! \"Q0002\"\nlet a = \"Q0001\";\nlet b = \"Q01\";\n");
        let page = ("docs/errors/Q0001.md", "# Q0001: it is so\n\n## Cause\n\n## Remedy\n");
        let readme = ("docs/errors/README.md", "# Errors\n");
        let texts = |files: &[(&str, &str)]| {
            let findings = errors(&Tree::sample(files));
            findings.iter().map(Finding::to_string).collect::<Vec<_>>()
        };
        assert_eq!(texts(&[code, page, readme]), [""; 0]);
        let missing = "crates/a/src/lib.rs:2: `Q0001` has no page `docs/errors/Q0001.md`";
        assert_eq!(texts(&[code, readme]), [missing]);
        let stray = "docs/errors/Q0001.md: is a page for a code that no crate gives";
        assert_eq!(texts(&[page, readme]), [stray]);
        let tests = ("crates/a/tests/a.rs", "let a = \"Q0001\";\n");
        assert_eq!(texts(&[tests, page]), [stray]);
        let thin = ("docs/errors/Q0001.md", "# Q0001: it is so\n## Cause\n");
        assert_eq!(texts(&[code, thin]), ["docs/errors/Q0001.md: has no section `## Remedy`"]);
        let other = ("docs/errors/Q0001.md", "# Q0002: it is so\n## Cause\n## Remedy\n");
        assert_eq!(
            texts(&[code, other]),
            ["docs/errors/Q0001.md:1: does not begin with `# Q0001: `"]
        );
    }

    #[test]
    fn a_paper_has_one_title() {
        let check = |text: &str| headings(&Tree::sample(&[("docs/a.md", text)])).len();
        assert_eq!(check("# A\n## B\n```\n# not a title\n```\n#no\n"), 0);
        assert_eq!(check("# A\n# B\n"), 1);
        assert_eq!(check("## A\n"), 1);
    }
}
