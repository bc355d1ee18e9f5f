//! Evidence: lets golang.org/x/mod/sumdb verify what we write (`tests/independent`), and checks
//! that it refuses what was altered. Never passes in silence where Go is missing: it says so.

#![expect(clippy::disallowed_methods, reason = "the foreign verifier is a program")]

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use data_encoding::BASE64;
use quell_evidence::Hash;
use quell_evidence::merkle::{LeafHashes, consistency_proof, inclusion_proof};
use quell_evidence::note::SignerKey;
use quell_evidence::tile::{grown, push_entry};
use serde_json::json;

use super::support::{Log, ORIGIN, reseal};

/// What the Go program says: its one line, and whether it accepted.
type Answer = (bool, String);

/// Alters one file of a published log.
type Change = Box<dyn Fn()>;

/// Builds the Go program once; `None` where that is not possible here, with the reason printed.
fn program() -> Option<&'static Path> {
    static PROGRAM: OnceLock<Option<PathBuf>> = OnceLock::new();
    PROGRAM.get_or_init(build).as_deref()
}

fn build() -> Option<PathBuf> {
    let go = |args: &[&str]| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/independent");
        Command::new("go").args(args).current_dir(source).output()
    };
    let Ok(version) = go(&["version"]) else {
        skip("go not installed");
        return None;
    };
    if !version.status.success() {
        skip("go is too old for golang.org/x/mod v0.42.0");
        return None;
    }
    if !go(&["mod", "download"]).unwrap().status.success() {
        skip("golang.org/x/mod v0.42.0 cannot be fetched");
        return None;
    }
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("independent");
    let built = go(&["build", "-o", target.to_str().unwrap(), "."]).unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    Some(target)
}

/// Says so on the real standard output, which the test harness does not swallow.
fn skip(reason: &str) {
    writeln!(std::io::stdout(), "\nskipped: {reason}").unwrap();
}

fn ask(program: &Path, args: &[&str]) -> Answer {
    let output = Command::new(program).args(args).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    (output.status.success(), said.trim_end().to_owned())
}

fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    if folder.exists() {
        fs::remove_dir_all(&folder).unwrap();
    }
    fs::create_dir_all(&folder).unwrap();
    folder
}

fn put(folder: &Path, name: &str, bytes: impl AsRef<[u8]>) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

/// Publishes a log as C2SP files, with both proofs for one entry and one older checkpoint.
fn publish(folder: &Path, log: &Log, index: usize, held: usize) {
    let hashes = log.leaf_hashes();
    let nodes = LeafHashes(&hashes);
    let size = u64::try_from(hashes.len()).unwrap();
    put(folder, "key.pub", format!("{}\n", log.key.verifier()));
    put(folder, "checkpoint", log.head());
    put(folder, "held", log.checkpoint(held));
    let mut records = log.records.iter();
    for tile in grown(0, size) {
        put(folder, &tile.path(), tile.bytes(&nodes).unwrap());
        if tile.level() == 0 {
            let mut bundle = Vec::new();
            for record in records.by_ref().take(usize::from(tile.width())) {
                let mut leaf = Vec::new();
                record.header.encode_leaf(&record.body.digest(), &mut leaf);
                push_entry(&mut bundle, &leaf).unwrap();
            }
            put(folder, &tile.entries_path(), bundle);
        }
    }
    let base64 = |proof: Vec<Hash>| -> Vec<String> {
        proof.iter().map(|hash| BASE64.encode(hash)).collect()
    };
    let at = u64::try_from(index).unwrap();
    let old = u64::try_from(held).unwrap();
    let proofs = json!({
        "index": at,
        "inclusion": base64(inclusion_proof(at, size, &nodes).unwrap()),
        "consistency": base64(consistency_proof(old, size, &nodes).unwrap()),
    });
    put(folder, "proofs.json", proofs.to_string());
}

#[test]
fn another_implementation_verifies_checkpoint_tiles_entries_and_proofs() {
    let Some(program) = program() else { return };
    let folder = folder("log");
    for (size, index, held) in [(1, 0, 1), (2, 1, 1), (255, 7, 254), (256, 0, 3), (600, 599, 257)] {
        publish(&folder, &Log::of(size), index, held);
        let said = format!("verified: {size} entries, entry {index}, from {held}");
        assert_eq!(ask(program, &["log", folder.to_str().unwrap()]), (true, said));
    }
}

#[test]
fn another_implementation_refuses_an_altered_log() {
    let Some(program) = program() else { return };
    let folder = folder("altered-log");
    let log = Log::of(300);
    let mut rewritten = log.clone();
    rewritten.records.swap(3, 4);
    rewritten.chain_anew();
    let mut stranger = log.clone();
    stranger.key = SignerKey::from_seed(ORIGIN, &[8; 32]).unwrap();

    let replace = |name: &'static str, from: &'static str, to: &'static str| {
        let path = folder.join(name);
        move || {
            let text = fs::read_to_string(&path).unwrap();
            assert!(text.contains(from), "{text}");
            fs::write(&path, text.replacen(from, to, 1)).unwrap();
        }
    };
    let flip = |name: &'static str, at: usize| {
        let path = folder.join(name);
        move || {
            let mut bytes = fs::read(&path).unwrap();
            bytes[at] ^= 1;
            fs::write(&path, bytes).unwrap();
        }
    };
    let write = |name: &'static str, text: String| {
        let path = folder.join(name);
        move || fs::write(&path, &text).unwrap()
    };
    let changes: Vec<(&str, Change)> = vec![
        ("checkpoint: invalid signature", Box::new(replace("checkpoint", "\n300\n", "\n299\n"))),
        ("checkpoint: invalid signature", Box::new(replace("checkpoint", ".com", ".org"))),
        ("checkpoint: note has no verifiable", Box::new(write("checkpoint", stranger.head()))),
        ("tiles: downloaded inconsistent", Box::new(write("checkpoint", rewritten.head()))),
        ("tiles: downloaded inconsistent", Box::new(flip("tile/0/000", 100))),
        ("tiles: downloaded inconsistent", Box::new(flip("tile/0/001.p/44", 0))),
        ("tiles: downloaded inconsistent", Box::new(flip("tile/1/000.p/1", 31))),
        ("entry 0 has not the hash", Box::new(flip("tile/entries/000", 50))),
        ("entries: ", Box::new(flip("tile/entries/001.p/44", 0))),
        (
            "inclusion: invalid transparency proof",
            Box::new(replace("proofs.json", "\"index\":7", "\"index\":8")),
        ),
        (
            "consistency: invalid transparency proof",
            Box::new(write("held", rewritten.checkpoint(9))),
        ),
        ("consistency: invalid transparency proof", Box::new(write("held", log.checkpoint(10)))),
        ("held checkpoint: note has no verifiable", Box::new(write("held", stranger.head()))),
    ];
    for (number, (expected, change)) in changes.into_iter().enumerate() {
        publish(&folder, &log, 7, 9);
        let (accepted, said) = ask(program, &["log", folder.to_str().unwrap()]);
        assert!(accepted, "{said}");
        change();
        let (accepted, said) = ask(program, &["log", folder.to_str().unwrap()]);
        assert!(!accepted && said.starts_with(&format!("refused: {expected}")), "{number}: {said}");
    }
}

#[test]
fn another_implementation_verifies_a_bundle_and_refuses_an_altered_one() {
    let Some(program) = program() else { return };
    let folder = folder("bundle");
    let mut log = Log::of(20);
    log.erase(11);
    let bundle = log.bundle();
    put(&folder, "key.pub", format!("{}\n", log.key.verifier()));
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let verify = |bundle: &[u8]| {
        put(&folder, "evidence.bundle", bundle);
        ask(program, &["bundle", &path("evidence.bundle"), &path("key.pub")])
    };
    assert_eq!(verify(&bundle), (true, "verified: 20 records".to_owned()));

    let before = &bundle[..bundle.len() - 72];
    let text = std::str::from_utf8(before).unwrap();
    let sealed = |from: &str, to: &str| {
        assert!(text.contains(from), "{from}");
        reseal(text.replacen(from, to, 1).as_bytes())
    };
    let mut flipped = bundle.clone();
    flipped[500] ^= 1;
    for (altered, expected) in [
        (flipped, "refused: digest"),
        (sealed("\\n20\\n", "\\n21\\n"), "refused: checkpoint: invalid signature"),
        (sealed("maria.example", "mario.example"), "refused: record 0: body"),
        (sealed("\"seq\":3", "\"seq\":4"), "refused: record 3: out of order"),
        (sealed("00.000000Z", "00.000001Z"), "refused: record 1: out of order"),
        (sealed("19.000019Z", "19.000018Z"), "refused: root"),
    ] {
        let (accepted, said) = verify(&altered);
        assert!(!accepted && said.starts_with(expected), "{expected}: {said}");
    }
}

#[test]
fn another_implementation_verifies_the_bundle_of_version_1() {
    let Some(program) = program() else { return };
    let fixture = |name: &str| format!("{}/tests/fixtures/v1/{name}", env!("CARGO_MANIFEST_DIR"));
    let answer = ask(program, &["bundle", &fixture("evidence.bundle"), &fixture("key.pub")]);
    assert_eq!(answer, (true, "verified: 5 records".to_owned()));
}
