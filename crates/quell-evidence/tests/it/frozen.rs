//! Evidence: fixtures of format version 1, which stay for ever. A change that breaks one of
//! these tests breaks evidence that exists: never update a fixture, write a new version.

use std::fmt::Write as _;

use quell_evidence::bundle::{self, verify_each};
use quell_evidence::checkpoint::Checkpoint;
use quell_evidence::leaf::{self, Record};
use quell_evidence::merkle::{LeafHashes, leaf_hash, verify_inclusion};
use quell_evidence::note::VerifierKey;
use quell_evidence::tile::{self, Path};
use quell_evidence::{Hash, digest};

const BUNDLE: &[u8] = include_bytes!("../fixtures/v1/evidence.bundle");
const KEY: &str = include_str!("../fixtures/v1/key.pub");
const CHECKPOINT: &[u8] = include_bytes!("../fixtures/v1/checkpoint");
const HELD: &[u8] = include_bytes!("../fixtures/v1/checkpoint.held");
const LEAF: &[u8] = include_bytes!("../fixtures/v1/leaf");
const PROOF: &str = include_str!("../fixtures/v1/leaf.proof");
const TILE: &[u8] = include_bytes!("../fixtures/v1/tile/0/000.p/5");
const ENTRIES: &[u8] = include_bytes!("../fixtures/v1/tile/entries/000.p/5");

/// Which record [`LEAF`] belongs to.
const INDEX: u64 = 2;

fn key() -> VerifierKey {
    KEY.trim_end().parse().unwrap()
}

fn records() -> Vec<Record<'static>> {
    let mut records = Vec::new();
    verify_each(BUNDLE, &key(), None, |_, record| records.push(record.clone())).unwrap();
    records
}

#[test]
fn the_bundle_of_version_1_verifies() {
    for held in [None, Some(HELD), Some(CHECKPOINT)] {
        let proved = bundle::verify(BUNDLE, &key(), held).unwrap();
        assert_eq!(proved.origin, "log.example.com/quell/default");
        assert_eq!(proved.tenant, "default");
        assert_eq!((proved.size, proved.records, proved.erased), (5, 5, 1));
        assert_eq!(proved.first_at.as_deref(), Some("2026-03-02T07:59:58.000001Z"));
        assert_eq!(proved.last_at.as_deref(), Some("2026-03-02T08:00:03.250000Z"));
    }
}

#[test]
fn the_bundle_of_version_1_is_written_the_same_way() {
    let again = bundle::write(CHECKPOINT, &key(), "default", records()).unwrap();
    assert!(again == BUNDLE, "{}", String::from_utf8_lossy(&again));
}

#[test]
fn the_checkpoints_of_version_1_open() {
    let checkpoint = Checkpoint::open(CHECKPOINT, &key()).unwrap();
    let held = Checkpoint::open(HELD, &key()).unwrap();
    assert_eq!((checkpoint.size(), held.size()), (5, 3));
    assert_eq!(
        digest::show(checkpoint.root()),
        "sha256:876edde1572e8a06862fdfc2d87241b1593a2929ebe1f11c83f4a7d9b448decc"
    );
}

#[test]
fn the_leaf_of_version_1_is_read_and_included() {
    let (header, body) = leaf::parse(LEAF).unwrap();
    assert_eq!((header.seq(), header.record_type()), (INDEX, "order_permitted"));
    assert_eq!(header.leaf_hash(&body), leaf_hash(LEAF));
    assert_eq!(
        digest::show(&leaf_hash(LEAF)),
        "sha256:caefc472de3edad8b3ec8f607d8440d8354b693b1b4242e830b7026a7d1c34cb"
    );
    let proof: Vec<Hash> = PROOF.lines().map(|line| digest::parse(line).unwrap()).collect();
    let checkpoint = Checkpoint::open(CHECKPOINT, &key()).unwrap();
    let (size, root) = (checkpoint.size(), checkpoint.root());
    assert_eq!(verify_inclusion(&leaf_hash(LEAF), INDEX, size, &proof, root), Ok(()));
}

#[test]
fn the_tiles_of_version_1_are_those_of_the_records() {
    let Ok(Path::Hashes(hashes)) = Path::parse("tile/0/000.p/5") else { panic!("no tile") };
    let leaves: Vec<Hash> = records().iter().map(Record::leaf_hash).collect();
    assert_eq!(hashes.hashes(TILE), Ok(leaves.clone()));
    assert_eq!(hashes.bytes(&LeafHashes(&leaves)).unwrap(), TILE);
    let entries = tile::entries(ENTRIES, 5).unwrap();
    assert_eq!(entries.iter().map(|entry| leaf_hash(entry)).collect::<Vec<_>>(), leaves);
    assert_eq!(entries[2], LEAF);
}

#[test]
fn no_fixture_was_exchanged() {
    let mut shown = String::new();
    for (name, bytes) in [
        ("evidence.bundle", BUNDLE),
        ("key.pub", KEY.as_bytes()),
        ("checkpoint.held", HELD),
        ("leaf.proof", PROOF.as_bytes()),
    ] {
        writeln!(shown, "{} {name}", digest::show(&digest::sha256(bytes))).unwrap();
    }
    assert_eq!(shown, include_str!("../fixtures/v1/sums"));
}
