//! Store, tests only: the tree holds every record in order, and only heads of it are signed.

use quell_evidence::checkpoint::Checkpoint;
use quell_evidence::merkle;
use quell_evidence::note::SignerKey;
use quell_evidence::tile::{self, Tile};

use super::{Bench, Make, T, signer, time};
use crate::store::CheckpointSigner;
use crate::views::{StoredCheckpoint, Tree};
use crate::{KeySigner, Pick, SequenceError};

fn checkpoint(bench: &mut Bench<'_>, now: i64) -> StoredCheckpoint {
    let epoch = bench.epoch;
    bench.store().checkpoint(T, epoch, time(now), &signer()).unwrap()
}

pub(crate) fn grows_in_order(make: &mut dyn Make) {
    let mut bench = Bench::new(make);
    bench.records(300, false);
    let epoch = bench.epoch;
    assert_eq!(bench.store().integrate(T, epoch, 7).unwrap(), 7);
    assert_eq!(bench.views().tree_size(T).unwrap(), 7);
    assert_eq!(bench.store().integrate(T, epoch, 250).unwrap(), 257);
    bench.reopen();
    let epoch = bench.epoch;
    assert_eq!(bench.store().integrate(T, epoch, 10_000).unwrap(), 300);
    assert_eq!(bench.store().integrate(T, epoch, 10_000).unwrap(), 300);
    assert_eq!(bench.audit().leaves, 300);
    let views = bench.views();
    let leaves = views.nodes(T, 0, 250, 20).unwrap();
    let records = views.records(T, Pick::All, 250, 20).unwrap();
    assert_eq!(leaves, records.iter().map(|record| record.leaf).collect::<Vec<_>>());
    assert_eq!(views.nodes(T, 1, 0, 256).unwrap().len(), 1);
    assert_eq!(views.nodes(T, 0, 290, 256).unwrap().len(), 10, "cut at the tree's end");
    assert_eq!(views.nodes(T, 2, 0, 256).unwrap(), Vec::<[u8; 32]>::new());
    assert!(views.nodes(T, 8, 0, 1).is_err());
}

pub(crate) fn signs_only_what_grew(make: &mut dyn Make) {
    let mut bench = Bench::new(make);
    let empty = checkpoint(&mut bench, 0);
    assert_eq!((empty.size, empty.root), (0, merkle::empty_root()));
    bench.records(5, false);
    let first = checkpoint(&mut bench, 10);
    assert_eq!(first.size, 5);
    assert_eq!(checkpoint(&mut bench, 20), first);
    bench.reopen();
    assert_eq!(checkpoint(&mut bench, 30), first);
    bench.records(1, false);
    let second = checkpoint(&mut bench, 40);
    assert_eq!((second.size, second.at), (6, time(40)));
    let signed = Checkpoint::open(second.note.as_bytes(), signer().key.verifier()).unwrap();
    assert_eq!((signed.size(), *signed.root()), (6, second.root));
    let views = bench.views();
    let at = |size| views.checkpoint(T, size).unwrap().map(|head| head.size);
    assert_eq!(
        (at(None), at(Some(5)), at(Some(4)), at(Some(9))),
        (Some(6), Some(5), Some(0), Some(6))
    );
    assert_eq!(bench.audit().checkpoints, 3);
}

pub(crate) fn proves_inclusion_and_consistency(make: &mut dyn Make) {
    let mut bench = Bench::new(make);
    bench.records(600, false);
    checkpoint(&mut bench, 1);
    let views = bench.views();
    let tree = Tree::new(&*views, T);
    let roots: Vec<_> =
        [1, 255, 256, 257, 512, 600].map(|size| (size, tree.root(size).unwrap())).into();
    for (size, root) in &roots {
        for seq in [0, 1, 254, 255, 256, 511, 599].into_iter().filter(|seq| seq < size) {
            let proof = tree.inclusion(seq, *size).unwrap();
            let leaf = views.records(T, Pick::All, seq, 1).unwrap()[0].leaf;
            merkle::verify_inclusion(&leaf, seq, *size, &proof, root).unwrap();
        }
        for (old, old_root) in roots.iter().filter(|(old, _)| old <= size) {
            let proof = tree.consistency(*old, *size).unwrap();
            merkle::verify_consistency(*old, old_root, *size, root, &proof).unwrap();
        }
    }
    assert!(tree.inclusion(600, 600).is_err());
    assert!(tree.inclusion(0, 601).is_err());
    assert!(tree.consistency(5, 601).is_err());
    assert!(tree.root(601).is_err());
}

pub(crate) fn serves_tiles_and_entries(make: &mut dyn Make) {
    let mut bench = Bench::new(make);
    bench.records(600, false);
    checkpoint(&mut bench, 1);
    let views = bench.views();
    let tree = Tree::new(&*views, T);
    let mut paths = Vec::new();
    for tile in tile::grown(0, 600) {
        assert_eq!(tree.tile(tile).unwrap(), tile.bytes(&tree).unwrap());
        paths.push(tile.path());
    }
    assert_eq!(paths, ["tile/0/000", "tile/0/001", "tile/0/002.p/88", "tile/1/000.p/2"]);
    let last = Tile::new(0, 2, 88).unwrap();
    let bundle = tree.entries(last).unwrap();
    let entries = tile::entries(&bundle, 88).unwrap();
    let record = &views.records(T, Pick::All, 599, 1).unwrap()[0];
    assert_eq!(merkle::leaf_hash(entries[87]), record.leaf);
    for (level, index, width) in [(0, 2, 89), (0, 3, 1), (1, 0, 3), (2, 0, 1)] {
        let tile = Tile::new(level, index, width).unwrap();
        assert!(tree.tile(tile).is_err() && tree.entries(tile).is_err());
    }
}

pub(crate) fn exports_a_bundle_that_verifies(make: &mut dyn Make) {
    let mut bench = Bench::new(make);
    let key = signer().key.verifier().clone();
    let export = |bench: &mut Bench<'_>| {
        let mut bytes = Vec::new();
        let views = bench.views();
        crate::views::export(&*views, T, &key, |part| {
            bytes.extend_from_slice(part);
            Ok(())
        })
        .map(|()| bytes)
    };
    let error = export(&mut bench).unwrap_err();
    expect_test::expect!["the log of tenant `default` has no checkpoint yet"]
        .assert_eq(&error.to_string());
    bench.records(300, false);
    let erasures = vec![crate::Erasure::Record { seq: 7 }];
    bench.commit(vec![], crate::Effects { erasures, ..Default::default() });
    checkpoint(&mut bench, 1);
    bench.records(5, false);
    let bytes = export(&mut bench).unwrap();
    let verified = quell_evidence::bundle::verify(&bytes, &key, None).unwrap();
    assert_eq!((verified.size, verified.records, verified.erased), (300, 300, 1));
    let views = bench.views();
    let full = crate::views::export(&*views, T, &key, |_| Err("no space".to_owned()));
    assert_eq!(full.unwrap_err().to_string(), "the bundle cannot be written: no space");
    let other = SignerKey::from_seed("quell.example.org/default", &[9; 32]).unwrap();
    assert!(crate::views::export(&*views, T, other.verifier(), |_| Ok(())).is_err());
}

pub(crate) fn keeps_its_origin(make: &mut dyn Make) {
    let mut bench = Bench::new(make);
    bench.records(1, false);
    checkpoint(&mut bench, 1);
    bench.records(1, false);
    let other = KeySigner { origin: "other.example.org".to_owned(), ..signer() };
    let epoch = bench.epoch;
    let error = bench.store().checkpoint(T, epoch, time(2), &other).unwrap_err();
    expect_test::expect![
        "the log of tenant `default` is `quell.example.org/default`, it cannot become `other.example.org`"
    ]
    .assert_eq(&error.to_string());
    // A new key under the same origin is no other log.
    let key = SignerKey::from_seed("quell.example.org/next", &[8; 32]).unwrap();
    let next = KeySigner { key, ..signer() };
    bench.store().checkpoint(T, epoch, time(2), &next).unwrap();
    let nameless = KeySigner { origin: String::new(), ..signer() };
    assert_eq!(nameless.origin(), "");
    let epoch = bench.store().acquire("other", "test").unwrap();
    let error = bench.store().checkpoint("other", epoch, time(2), &nameless).unwrap_err();
    assert!(matches!(error, SequenceError::Sign { .. }), "{error}");
}

pub(crate) fn measures_the_merge_delay(make: &mut dyn Make) {
    let mut bench = Bench::new(make);
    // Records of times 0, 1, 2 seconds.
    bench.records(3, false);
    assert_eq!(checkpoint(&mut bench, 10).merge_delay, 10_000_000);
    bench.records(3, true);
    assert_eq!(checkpoint(&mut bench, 5).merge_delay, 5_000_000);
    bench.records(1, true);
    assert_eq!(checkpoint(&mut bench, -5).merge_delay, 0, "a clock that went back");
}
