//! Evidence: tests of tiles; nothing here is used outside tests.

use std::cell::RefCell;
use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::merkle::{
    Appender, LeafHashes, consistency_proof, inclusion_proof, leaf_hash, root_at,
    verify_consistency, verify_inclusion,
};

fn leaves(size: u64) -> Vec<Hash> {
    (0..size).map(|n| leaf_hash(&n.to_be_bytes())).collect()
}

fn tile(level: u8, index: u64, width: u16) -> Tile {
    Tile::new(level, index, width).unwrap()
}

/// All files that a log has written which was sequenced up to each of these sizes.
fn files(sizes: &[u64], hashes: &[Hash]) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut old = 0;
    for new in sizes {
        for tile in grown(old, *new) {
            files.insert(tile.path(), tile.bytes(&LeafHashes(hashes)).unwrap());
        }
        old = *new;
    }
    files
}

/// A reader of these files that refuses what was never written.
fn reader(
    size: u64,
    files: &BTreeMap<String, Vec<u8>>,
) -> TileNodes<impl Fn(Tile) -> Result<Vec<u8>, String>> {
    TileNodes::new(size, |tile: Tile| files.get(&tile.path()).cloned().ok_or(tile.path()))
}

#[test]
fn paths_are_those_of_the_specification() {
    for (tile, path, entries) in [
        (tile(0, 0, 256), "tile/0/000", "tile/entries/000"),
        (tile(0, 1_234_067, 256), "tile/0/x001/x234/067", "tile/entries/x001/x234/067"),
        (tile(1, 1_234, 17), "tile/1/x001/234.p/17", "tile/entries/x001/234.p/17"),
        (tile(63, 999, 1), "tile/63/999.p/1", "tile/entries/999.p/1"),
        (tile(2, 1_000, 255), "tile/2/x001/000.p/255", "tile/entries/x001/000.p/255"),
    ] {
        assert_eq!(tile.path(), path);
        assert_eq!(tile.entries_path(), entries);
        assert_eq!(Path::parse(path), Ok(Path::Hashes(tile)));
        if tile.level() == 0 {
            assert_eq!(Path::parse(entries), Ok(Path::Entries(tile)));
        }
    }
}

#[test]
fn every_other_form_of_a_path_is_refused() {
    for path in [
        "",
        "tile",
        "tile/0",
        "tile/0/",
        "tile/0/0",
        "tile/0/00",
        "tile/0/0000",
        "/tile/0/000",
        "tile/0/000/",
        "tile//000",
        "tile/00/000",
        "tile/+0/000",
        "tile/-1/000",
        "tile/64/000",
        "tile/data/000",
        "tile/0/x000",
        "tile/0/x000/000",
        "tile/0/001/234",
        "tile/0/xx001/234",
        "tile/0/x001/x234",
        "tile/0/+01",
        "tile/0/000.p",
        "tile/0/000.p/",
        "tile/0/000.p/0",
        "tile/0/000.p/01",
        "tile/0/000.p/+1",
        "tile/0/000.p/256",
        "tile/0/000.p/1/1",
        "tile/0/../000",
        "tile/0/x999/x999/x999/x999/x999/999",
        "tile/0/x999/x999/x999/x999/x999/x999/x999/x999/x999/x999/x999/x999/999",
        "tile/entries/0",
        "tile/Entries/000",
    ] {
        assert_eq!(Path::parse(path), Err(BadTile::Path), "{path}");
    }
    assert!(Tile::new(64, 0, 1).is_err());
    assert!(Tile::new(0, 0, 0).is_err());
    assert!(Tile::new(0, 0, 257).is_err());
    assert!(Tile::new(0, MAX_SIZE + 1, 1).is_err());
}

#[test]
fn a_tree_of_70_000_has_the_tiles_of_the_specification() {
    let tiles: Vec<Tile> = grown(0, 70_000).collect();
    let count = |level: u8, full: bool| {
        let wanted = |tile: &&Tile| tile.level() == level && (tile.width() == FULL) == full;
        tiles.iter().filter(wanted).count()
    };
    assert_eq!([count(0, true), count(1, true), count(2, true)], [273, 1, 0]);
    assert_eq!([count(0, false), count(1, false), count(2, false)], [1, 1, 1]);
    assert!(tiles.contains(&tile(0, 273, 112)));
    assert!(tiles.contains(&tile(1, 1, 17)));
    assert!(tiles.contains(&tile(2, 0, 1)));

    let tiles: Vec<Tile> = grown(0, 256).collect();
    assert_eq!(tiles, [tile(0, 0, 256), tile(1, 0, 1)]);
    assert_eq!(grown(256, 256).count(), 0);
    assert_eq!(grown(300, 200).count(), 0);
    assert_eq!(grown(0, 0).count(), 0);
    assert_eq!(
        grown(255, 257).collect::<Vec<_>>(),
        [tile(0, 0, 256), tile(0, 1, 1), tile(1, 0, 1)]
    );
    assert!(grown(MAX_SIZE - 1, MAX_SIZE).count() <= usize::from(LEVELS));
}

#[test]
fn the_appender_fills_the_tiles_that_the_tree_has_across_three_levels() {
    let hashes = leaves(66_000);
    let mut filling = TileAppender::new();
    let mut made = Vec::new();
    hashes.iter().for_each(|hash| filling.append(*hash, &mut made));
    made.extend(filling.partial());
    made.sort();
    let expected: Vec<(Tile, Vec<u8>)> =
        grown(0, 66_000).map(|tile| (tile, tile.bytes(&LeafHashes(&hashes)).unwrap())).collect();
    assert_eq!(made.len(), expected.len());
    assert!(made == expected);

    let files: BTreeMap<String, Vec<u8>> =
        expected.into_iter().map(|(tile, bytes)| (tile.path(), bytes)).collect();
    let nodes = reader(66_000, &files);
    let whole = LeafHashes(&hashes);
    let root = root_at(66_000, &nodes).unwrap();
    assert_eq!(root, root_at(66_000, &whole).unwrap());
    for index in [0, 255, 256, 65_535, 65_536, 65_999] {
        let proof = inclusion_proof(index, 66_000, &nodes).unwrap();
        assert_eq!(proof, inclusion_proof(index, 66_000, &whole).unwrap());
    }
    let resumed =
        TileAppender::resume(66_000, |tile| files.get(&tile.path()).cloned().ok_or(tile.path()));
    assert_eq!(resumed.unwrap(), filling);
}

#[test]
fn a_missing_or_cut_tile_is_named() {
    let hashes = leaves(300);
    let mut files = files(&[300], &hashes);
    files.remove("tile/0/001.p/44");
    let error = root_at(300, &reader(300, &files)).unwrap_err();
    assert_eq!(error.to_string(), "a hash of the tree is missing: tile/0/001.p/44");

    files.insert("tile/0/001.p/44".to_owned(), vec![0; 44 * 32 - 1]);
    let error = root_at(300, &reader(300, &files)).unwrap_err();
    let expected = "a hash of the tree is missing: `tile/0/001.p/44`: a tile of `44` hashes \
                    has not `1407` bytes";
    assert_eq!(error.to_string(), expected);
    let error = TileAppender::resume(300, |tile| files.get(&tile.path()).cloned().ok_or("none"));
    assert!(matches!(error, Err(NoTile::Bad { .. })));

    files.insert("tile/0/001.p/44".to_owned(), vec![0; 44 * 32]);
    let nodes = reader(300, &files);
    for (height, index) in
        [(0, 300), (8, 1), (16, 0), (64, 0), (600, 0), (u32::MAX, 0), (0, u64::MAX)]
    {
        let refused = nodes.node(height, index).unwrap_err();
        assert_eq!(refused, NoTile::Node { height, index });
    }
}

#[test]
fn entry_bundles_are_read_as_they_are_written() {
    let mut bundle = Vec::new();
    let longest = vec![7; MAX_ENTRY_BYTES];
    for entry in [b"one".as_slice(), b"", &longest] {
        push_entry(&mut bundle, entry).unwrap();
    }
    assert_eq!(&bundle[..7], b"\x00\x03one\x00\x00");
    assert_eq!(entries(&bundle, 3).unwrap(), [b"one".as_slice(), b"", &longest]);
    assert_eq!(entries(&bundle, 2), Err(BadTile::Entries(2)));
    assert_eq!(entries(&bundle, 4), Err(BadTile::Entries(4)));
    assert_eq!(entries(&bundle[..bundle.len() - 1], 3), Err(BadTile::Entries(3)));
    bundle.push(0);
    assert_eq!(entries(&bundle, 3), Err(BadTile::Entries(3)));
    assert_eq!(entries(b"", 0), Ok(vec![]));

    let before = bundle.clone();
    assert_eq!(push_entry(&mut bundle, &vec![0; 65_536]), Err(BadTile::Entry(65_536)));
    assert_eq!(bundle, before);
}

proptest! {
    #[test]
    fn tiles_prove_what_leaves_prove(
        steps in prop::collection::vec(1_u64..400, 1..5),
        part: prop::sample::Index,
    ) {
        let sizes: Vec<u64> = (1..=steps.len()).map(|n| steps[..n].iter().sum()).collect();
        let size = *sizes.last().unwrap();
        let hashes = leaves(size);
        let files = files(&sizes, &hashes);
        let nodes = reader(size, &files);
        let index = part.index(hashes.len());
        let at = u64::try_from(index).unwrap();

        let root = root_at(size, &nodes).unwrap();
        let mut tree = Appender::new();
        hashes.iter().for_each(|hash| tree.append(*hash));
        prop_assert_eq!(root, tree.root());
        let proof = inclusion_proof(at, size, &nodes).unwrap();
        prop_assert!(verify_inclusion(&hashes[index], at, size, &proof, &root).is_ok());
        let proof = consistency_proof(at, size, &nodes).unwrap();
        let old_root = root_at(at, &nodes).unwrap();
        prop_assert!(verify_consistency(at, &old_root, size, &root, &proof).is_ok());
    }

    #[test]
    fn an_appender_taken_up_at_each_size_makes_every_tile_once(
        steps in prop::collection::vec(1_u64..400, 1..5),
    ) {
        let size: u64 = steps.iter().sum();
        let hashes = leaves(size);
        let files: RefCell<BTreeMap<String, Vec<u8>>> = RefCell::default();
        let mut done = 0;
        for step in &steps {
            let fetch = |tile: Tile| files.borrow().get(&tile.path()).cloned().ok_or(tile.path());
            let mut filling = TileAppender::resume(done, fetch).unwrap();
            prop_assert_eq!(filling.size(), done);
            let mut made = Vec::new();
            for index in done..done + step {
                filling.append(hashes[usize::try_from(index).unwrap()], &mut made);
            }
            made.extend(filling.partial());
            for (tile, bytes) in made {
                prop_assert_eq!(&bytes, &tile.bytes(&LeafHashes(&hashes)).unwrap());
                files.borrow_mut().insert(tile.path(), bytes);
            }
            done += step;
            for tile in grown(0, done) {
                prop_assert!(files.borrow().contains_key(&tile.path()), "{}", tile.path());
            }
        }
    }

    #[test]
    fn paths_are_read_as_they_are_written(
        level in 0..=MAX_LEVEL, index in 0..=MAX_SIZE, width in 1..=FULL, short in 0_u64..3_000,
    ) {
        for index in [index, short] {
            let tile = tile(level, index, width);
            prop_assert_eq!(Path::parse(&tile.path()), Ok(Path::Hashes(tile)));
        }
    }

    #[test]
    fn no_path_or_bundle_panics(path in "tile/[0-9x/.p]{0,30}", bytes: Vec<u8>, width: u16) {
        if let Ok(read) = Path::parse(&path) {
            prop_assert_eq!(read.to_text(), path);
        }
        if let Ok(found) = entries(&bytes, width) {
            let mut again = Vec::new();
            for entry in found {
                push_entry(&mut again, entry).unwrap();
            }
            prop_assert_eq!(again, bytes);
        }
    }
}
