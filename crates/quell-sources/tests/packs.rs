//! Sources room, tests: finds every pack in `packs/` and holds its samples against their expected
//! signals and rejects. A new pack needs no line here.

#![cfg(test)]

use std::fs;
use std::path::{Path, PathBuf};

use expect_test::expect_file;
use quell_core::signal::Provenance;
use quell_core::time::Time;
use quell_sources::{DecodeContext, EMBEDDED, Pack};

/// The receive time of every sample.
const NOW: &str = "2026-03-05T12:00:00Z";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn sorted(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

/// One line for each signal and each reject of a body.
fn lines(pack: &Pack, body: &[u8]) -> String {
    let ctx = DecodeContext {
        tenant: "default",
        source: pack.name(),
        provenance: Provenance::File,
        now: Time::parse(NOW).unwrap().t,
        provider: None,
        own_principals: &["00TquellExample".to_owned()],
        allowed_domains: &[],
    };
    let decoded = pack.decode(&ctx, body);
    let mut out = String::new();
    let mut line = |text: serde_json::Result<String>| out.push_str(&(text.unwrap() + "\n"));
    for record in &decoded.records {
        record.signals.iter().for_each(|signal| line(serde_json::to_string(signal)));
        record.reject.iter().for_each(|reject| line(serde_json::to_string(reject)));
        assert_eq!(record.signals.is_empty(), record.reject.is_some());
    }
    decoded.fault.iter().for_each(|fault| line(serde_json::to_string(fault)));
    out
}

#[test]
fn samples_give_their_expected_signals() {
    let mut packs = 0;
    for folder in sorted(&root().join("packs")) {
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        let file = folder.join("pack.yml");
        let text = fs::read_to_string(&file).unwrap();
        let pack = match Pack::load(&format!("packs/{name}/pack.yml"), &text) {
            Ok(pack) => pack,
            Err(errors) => {
                let shown: Vec<String> =
                    errors.iter().map(|e| format!("{e}; {}", e.help())).collect();
                panic!("{}", shown.join("\n"));
            }
        };
        assert_eq!(pack.name(), name, "the pack has the name of its folder");
        let page = root().join("docs/sources").join(format!("{name}.md"));
        assert!(page.is_file(), "{} is missing", page.display());
        let samples = sorted(&folder.join("samples"));
        assert!(!samples.is_empty(), "{name} has no samples");
        for sample in &samples {
            let stem = sample.file_stem().unwrap().to_string_lossy().into_owned();
            let got = lines(&pack, &fs::read(sample).unwrap());
            expect_file![folder.join("expected").join(format!("{stem}.ndjson"))].assert_eq(&got);
        }
        let expected = sorted(&folder.join("expected")).len();
        assert_eq!(expected, samples.len(), "{name}: an expected file without its sample");
        packs += 1;
    }
    assert_eq!(packs, EMBEDDED.len(), "every pack is embedded");
}

#[test]
fn embedded_packs_are_those_of_the_folder() {
    for (name, text) in EMBEDDED {
        let file = root().join("packs").join(name).join("pack.yml");
        assert_eq!(fs::read_to_string(file).unwrap(), *text, "{name}");
    }
    assert!(EMBEDDED.is_sorted_by_key(|(name, _)| *name));
}
