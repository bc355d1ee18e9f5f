//! Fixtures and other files: invented people and networks only, nothing of one machine, nothing
//! large, and every pack complete.

use std::net::Ipv4Addr;

use super::{Exception, Finding, excuse};
use crate::tree::Tree;

/// A file of the project is read by people; what is larger belongs elsewhere.
const BYTES_MAX: usize = 256 * 1024;

/// The only domains of invented people, and what lies below them (RFC 2606: kept for
/// documentation). `example` is a whole top level.
const INVENTED: &[&str] = &["example.com", "example.net", "example.org", "example"];

/// Folders of one machine. They are put together here, so that this file passes itself.
const MACHINE: &[&str] = &[
    concat!("/", "work/"),
    concat!("/", "root/"),
    concat!("/", "home/"),
    concat!("/", "tmp/"),
    concat!("/", "Users/"),
];
const TEMPORARY: &str = concat!("/", "tmp/");

/// Files whose addresses are not those of people.
const ADDRESSES: &[Exception] = &[];

/// Every pack has samples, what they must decode to, and a page; every page has a pack.
pub(super) fn packs(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    let names: Vec<&str> = tree.names_under("packs/").into_iter().filter(is_folder).collect();
    for name in &names {
        let folder = format!("packs/{name}");
        let mut need = |there: bool, what: &str| {
            if !there {
                findings.push(Finding::about(&folder, format!("has no {what}")));
            }
        };
        need(tree.text(&format!("{folder}/pack.yml")).is_some(), "`pack.yml`");
        need(tree.has_under(&format!("{folder}/samples/")), "`samples/`");
        need(tree.has_under(&format!("{folder}/expected/")), "`expected/`");
        let page = format!("docs/sources/{name}.md");
        need(tree.text(&page).is_some(), &format!("page `{page}`"));
    }
    for page in tree.names_under("docs/sources/").into_iter().filter(|name| *name != "README.md") {
        if !names.iter().any(|name| page == format!("{name}.md")) {
            let path = format!("docs/sources/{page}");
            findings.push(Finding::about(&path, "is a page without a pack"));
        }
    }
    findings
}

/// No file is large; the lock file is not written by people.
pub(super) fn blobs(tree: &Tree) -> Vec<Finding> {
    let large = tree.all().filter(|(path, file)| file.bytes > BYTES_MAX && *path != "Cargo.lock");
    let why = |bytes: usize| format!("{bytes} bytes, {BYTES_MAX} are allowed");
    large.map(|(path, file)| Finding::about(path, why(file.bytes))).collect()
}

/// No file names a folder of one machine; a script may, where it makes a temporary one.
pub(super) fn machine_paths(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.texts() {
        let makes = text.contains("mktemp");
        for (at, line) in text.lines().enumerate() {
            let folder = MACHINE.iter().find(|folder| begins_path(line, folder));
            if let Some(folder) = folder.filter(|folder| !(makes && **folder == TEMPORARY)) {
                findings.push(Finding::at(path, at + 1, format!("names `{folder}`")));
            }
        }
    }
    findings
}

/// Every mail address is invented.
pub(super) fn addresses(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.texts().filter(|(path, _)| holds_people(path)) {
        for (at, line) in text.lines().enumerate() {
            for domain in domains(line).into_iter().filter(|domain| !is_invented(domain)) {
                let why = format!("an address at `{domain}`, not at example.com, .net or .org");
                findings.push(Finding::at(path, at + 1, why));
            }
        }
    }
    excuse(findings, ADDRESSES)
}

/// Every public network in a fixture is one for documentation (RFC 5737).
pub(super) fn networks(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.texts().filter(|(path, _)| is_fixture(path)) {
        for (at, line) in text.lines().enumerate() {
            for ip in networks_of(line).into_iter().filter(|ip| !may_be_shown(*ip)) {
                let why = format!("`{ip}` is not an address for documentation");
                findings.push(Finding::at(path, at + 1, why));
            }
        }
    }
    findings
}

fn is_folder(name: &&str) -> bool {
    !name.contains('.')
}

fn holds_people(path: &str) -> bool {
    let rooms = ["crates/", "docs/", "packs/", "policy/", "rules/", "tests/"];
    rooms.iter().any(|room| path.starts_with(room)) && !path.ends_with("package-lock.json")
}

fn is_fixture(path: &str) -> bool {
    let mut parts = path.split('/');
    holds_people(path) && parts.any(|part| matches!(part, "samples" | "expected" | "fixtures"))
}

/// Whether a path that begins with the folder stands in the line; the path of a web address and a
/// folder below another one do not count.
fn begins_path(line: &str, folder: &str) -> bool {
    let before = |at: usize| line.get(..at).and_then(|text| text.chars().next_back());
    let path =
        |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | '/' | '}' | '~' | '*');
    line.match_indices(folder).any(|(at, _)| !before(at).is_some_and(path))
}

/// The domains of what looks like a mail address, in lower case.
fn domains(line: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in line.match_indices('@') {
        let local = line.get(..at).and_then(|text| text.chars().next_back());
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
        let rest = line.get(at + 1..).unwrap_or_default();
        let end = rest.find(|c| !allowed(c)).unwrap_or(rest.len());
        let domain = rest.get(..end).unwrap_or_default().trim_matches(['.', '-']);
        let top = domain.rsplit_once('.').map_or("", |(_, top)| top);
        let named = top.len() >= 2 && top.chars().all(|c| c.is_ascii_alphabetic());
        let mailbox = |c: char| c.is_ascii_alphanumeric() || "._%+-}\"".contains(c);
        if named && local.is_some_and(mailbox) {
            found.push(domain.to_ascii_lowercase());
        }
    }
    found
}

fn is_invented(domain: &str) -> bool {
    let below = |base: &str| domain.strip_suffix(base).is_some_and(|rest| rest.ends_with('.'));
    INVENTED.iter().any(|base| domain == *base || below(base))
}

/// The IPv4 addresses that stand alone; what follows a slash is a version, as in a user agent.
fn networks_of(line: &str) -> Vec<Ipv4Addr> {
    let part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(rest) = line.get(from..) {
        let Some(start) = rest.find(part).map(|at| from + at) else { break };
        let word = line.get(start..).unwrap_or_default();
        let end = start + word.find(|c| !part(c)).unwrap_or(word.len());
        let version =
            line.get(..start).is_some_and(|text| text.ends_with('/') && !text.ends_with("//"));
        let parsed = line.get(start..end).and_then(|word| word.trim_end_matches('.').parse().ok());
        if let (Some(ip), false) = (parsed, version) {
            found.push(ip);
        }
        from = end;
    }
    found
}

fn may_be_shown(ip: Ipv4Addr) -> bool {
    ip.is_documentation()
        || ip.is_private()
        || ip.is_loopback()
        || ip.is_unspecified()
        || ip.is_broadcast()
        || ip.is_link_local()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pack_is_complete_and_has_a_page() {
        let all = [
            ("packs/a/pack.yml", "version: 1"),
            ("packs/a/samples/1.json", "{}"),
            ("packs/a/expected/1.json", "{}"),
            ("docs/sources/a.md", "# A"),
            ("docs/sources/README.md", "# Sources"),
            ("packs/README.md", "# Packs"),
        ];
        assert_eq!(packs(&Tree::sample(&all)), []);
        for missing in 0..4 {
            let rest = all.iter().enumerate().filter(|(at, _)| *at != missing);
            let files: Vec<(&str, &str)> = rest.map(|(_, file)| *file).collect();
            assert_eq!(packs(&Tree::sample(&files)).len(), 1, "without {}", all[missing].0);
        }
        assert_eq!(packs(&Tree::sample(&[("docs/sources/b.md", "# B")])).len(), 1);
    }

    #[test]
    fn large_files_are_found() {
        let check = |path: &str, bytes: usize| blobs(&Tree::sample(&[(path, &"a".repeat(bytes))]));
        assert_eq!(check("docs/a.svg", BYTES_MAX), []);
        assert_eq!(check("docs/a.svg", BYTES_MAX + 1).len(), 1);
        assert_eq!(check("Cargo.lock", BYTES_MAX + 1), []);
        assert_eq!(check("tests/Cargo.lock", BYTES_MAX + 1).len(), 1);
    }

    #[test]
    fn folders_of_a_machine_are_found() {
        let check = |text: &str| machine_paths(&Tree::sample(&[("docs/a.md", text)])).len();
        for folder in MACHINE {
            assert_eq!(check(&format!("see {folder}a")), 1, "{folder}");
            assert_eq!(check(&format!("path=\"{folder}a\"")), 1, "{folder}");
            assert_eq!(check(&format!("https://example.com{folder}a and $x/y{folder}a")), 0);
        }
        assert_eq!(check(&format!("a=$(mktemp)\nb={TEMPORARY}a")), 0);
        assert_eq!(check(&format!("a=$(mktemp)\nb={}a", MACHINE[0])), 1);
    }

    #[test]
    fn addresses_of_real_domains_are_found() {
        let check = |path: &str, text: &str| addresses(&Tree::sample(&[(path, text)])).len();
        let at = |domain: &str| format!("{{\"user\":\"ana@{domain}\"}}");
        for domain in ["example.com", "Example.ORG", "mail.example.net", "localhost", "9.13.3"] {
            assert_eq!(check("packs/a/samples/1.json", &at(domain)), 0, "{domain}");
        }
        for domain in ["corp.com", "notexample.com", "example.com.evil.io", "example.co"] {
            assert_eq!(check("packs/a/samples/1.json", &at(domain)), 1, "{domain}");
            assert_eq!(check("SECURITY.md", &at(domain)), 0, "{domain}");
        }
        assert_eq!(check("crates/a/src/lib.rs", "#[derive(A)] @b.com git@ @"), 0);
        assert_eq!(check("crates/a/src/lib.rs", "ana@example.com, bo@corp.com"), 1);
    }

    #[test]
    fn real_networks_in_fixtures_are_found() {
        let check = |path: &str, text: &str| networks(&Tree::sample(&[(path, text)])).len();
        let samples = "packs/a/samples/1.json";
        assert_eq!(check(samples, "192.0.2.1 198.51.100.7, 203.0.113.9 10.0.0.1 127.0.0.1."), 0);
        assert_eq!(check(samples, "Chrome/120.0.0.0 v1.2.3.4 1.2.3 1.2.3.4.5 300.1.1.1"), 0);
        assert_eq!(check(samples, "\"8.8.8.8\" and http://9.9.9.9/a"), 2);
        assert_eq!(check("crates/a/src/lib.rs", "8.8.8.8"), 0);
        assert_eq!(check("crates/a/tests/fixtures/a.json", "8.8.8.8"), 1);
    }
}
