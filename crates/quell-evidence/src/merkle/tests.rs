//! Evidence: tests of the Merkle tree against published vectors and another implementation;
//! nothing here is used outside tests.

use ct_merkle::mem_backed_tree::MemoryBackedTree;
use ct_merkle::{ConsistencyProof, InclusionProof, RootHash};
use data_encoding::HEXLOWER;
use proptest::prelude::*;
use sha2::Sha256;

use super::*;

/// The eight leaves of the Certificate Transparency reference tree, as in `testonly` of
/// github.com/transparency-dev/merkle.
const LEAVES: [&str; 8] = [
    "",
    "00",
    "10",
    "2021",
    "3031",
    "40414243",
    "5051525354555657",
    "606162636465666768696a6b6c6d6e6f",
];

/// Its roots with 0 to 8 leaves.
const ROOTS: [&str; 9] = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];

/// Published inclusion proofs of that tree: index, size, hashes.
const INCLUSION: [(u64, u64, &[&str]); 5] = [
    (0, 1, &[]),
    (0, 2, &["96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7"]),
    (2, 3, &["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"]),
    (
        1,
        5,
        &[
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        ],
    ),
    (
        5,
        8,
        &[
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ],
    ),
];

/// Published consistency proofs of that tree: old size, new size, hashes.
const CONSISTENCY: [(u64, u64, &[&str]); 4] = [
    (1, 1, &[]),
    (
        1,
        8,
        &[
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ],
    ),
    (
        2,
        5,
        &[
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        ],
    ),
    (
        6,
        8,
        &[
            "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ],
    ),
];

fn hash(hex: &str) -> Hash {
    HEXLOWER.decode(hex.as_bytes()).unwrap().try_into().unwrap()
}

fn hashes(hex: &[&str]) -> Vec<Hash> {
    hex.iter().map(|one| hash(one)).collect()
}

fn reference_leaves() -> Vec<Hash> {
    LEAVES.iter().map(|hex| leaf_hash(&HEXLOWER.decode(hex.as_bytes()).unwrap())).collect()
}

/// Leaf contents `0`, `1`, ... and their hashes.
fn numbered(size: usize) -> (Vec<Vec<u8>>, Vec<Hash>) {
    let leaves: Vec<Vec<u8>> = (0..size).map(|n| n.to_string().into_bytes()).collect();
    let hashes = leaves.iter().map(|leaf| leaf_hash(leaf)).collect();
    (leaves, hashes)
}

fn grown(hashes: &[Hash]) -> Appender {
    let mut tree = Appender::new();
    hashes.iter().for_each(|hash| tree.append(*hash));
    tree
}

/// The same tree in the other implementation.
fn other(leaves: &[Vec<u8>]) -> MemoryBackedTree<Sha256, Vec<u8>> {
    let mut tree = MemoryBackedTree::new();
    leaves.iter().for_each(|leaf| tree.push(leaf.clone()));
    tree
}

fn other_root(root: Hash, size: usize) -> RootHash<Sha256> {
    RootHash::new(root.into(), u64::try_from(size).unwrap())
}

#[test]
fn roots_are_those_of_the_reference_tree() {
    let leaves = reference_leaves();
    let mut tree = Appender::new();
    for (size, root) in ROOTS.iter().enumerate() {
        assert_eq!(tree.root(), hash(root), "{size} leaves, appended");
        let size_u64 = u64::try_from(size).unwrap();
        assert_eq!(root_at(size_u64, &LeafHashes(&leaves)), Ok(hash(root)), "{size} leaves");
        if let Some(leaf) = leaves.get(size) {
            tree.append(*leaf);
        }
    }
}

#[test]
fn proofs_are_those_of_the_reference_tree() {
    let leaves = reference_leaves();
    let root = |size: u64| hash(ROOTS[usize::try_from(size).unwrap()]);
    for (index, size, expected) in INCLUSION {
        let proof = inclusion_proof(index, size, &LeafHashes(&leaves)).unwrap();
        assert_eq!(proof, hashes(expected), "leaf {index} of {size}");
        let leaf = leaves[usize::try_from(index).unwrap()];
        assert_eq!(verify_inclusion(&leaf, index, size, &proof, &root(size)), Ok(()));
    }
    for (old, new, expected) in CONSISTENCY {
        let proof = consistency_proof(old, new, &LeafHashes(&leaves)).unwrap();
        assert_eq!(proof, hashes(expected), "from {old} to {new}");
        assert_eq!(verify_consistency(old, &root(old), new, &root(new), &proof), Ok(()));
    }
}

#[test]
fn every_small_tree_proves_every_leaf_and_every_beginning() {
    let (_, hashes) = numbered(40);
    let nodes = LeafHashes(&hashes);
    for size in 0..=40_u64 {
        let root = root_at(size, &nodes).unwrap();
        for index in 0..size {
            let proof = inclusion_proof(index, size, &nodes).unwrap();
            let leaf = hashes[usize::try_from(index).unwrap()];
            assert_eq!(verify_inclusion(&leaf, index, size, &proof, &root), Ok(()));
        }
        for old in 0..=size {
            let proof = consistency_proof(old, size, &nodes).unwrap();
            let old_root = root_at(old, &nodes).unwrap();
            assert_eq!(verify_consistency(old, &old_root, size, &root, &proof), Ok(()));
        }
    }
}

#[test]
fn what_lies_beyond_the_tree_is_refused() {
    let (_, hashes) = numbered(4);
    let nodes = LeafHashes(&hashes);
    let root = root_at(4, &nodes).unwrap();
    assert_eq!(inclusion_proof(4, 4, &nodes), Err(ProveError::Range { part: 4, size: 4 }));
    assert_eq!(inclusion_proof(0, 0, &nodes), Err(ProveError::Range { part: 0, size: 0 }));
    assert_eq!(consistency_proof(5, 4, &nodes), Err(ProveError::Range { part: 5, size: 4 }));
    assert_eq!(root_at(5, &nodes), Err(ProveError::Nodes(NoNode { height: 0, index: 4 })));
    assert!(root_at(u64::MAX, &nodes).is_err());
    assert!(inclusion_proof(0, u64::MAX, &nodes).is_err());
    assert!(consistency_proof(1, u64::MAX, &nodes).is_err());
    assert!(nodes.node(64, 0).is_err());
    assert!(nodes.node(63, u64::MAX).is_err());
    assert!(nodes.node(0, u64::MAX).is_err());

    let refused = Err(NotProved::Range { part: 4, size: 4 });
    assert_eq!(verify_inclusion(&hashes[3], 4, 4, &[], &root), refused);
    let refused = Err(NotProved::Range { part: 5, size: 4 });
    assert_eq!(verify_consistency(5, &root, 4, &root, &[]), refused);
    let endless = vec![[0; 32]; 1_000];
    let (max, length) = (u64::MAX, Err(NotProved::Length));
    assert_eq!(verify_inclusion(&root, max - 1, max, &endless, &root), length);
    assert_eq!(verify_consistency(max - 1, &root, max, &root, &endless), length);
    assert_eq!(verify_consistency(1 << 63, &root, max, &root, &[]), length);
}

#[test]
fn trivial_consistency_takes_no_hash_and_still_compares_roots() {
    let (root, extra) = ([1; 32], [[2; 32]]);
    let empty = empty_root();
    assert_eq!(verify_consistency(0, &empty, 3, &root, &[]), Ok(()));
    assert_eq!(verify_consistency(0, &root, 3, &root, &[]), Err(NotProved::Root));
    assert_eq!(verify_consistency(0, &empty, 3, &root, &extra), Err(NotProved::Length));
    assert_eq!(verify_consistency(0, &empty, 0, &empty, &[]), Ok(()));
    assert_eq!(verify_consistency(0, &root, 0, &root, &[]), Err(NotProved::Root));
    assert_eq!(verify_consistency(3, &root, 3, &root, &[]), Ok(()));
    assert_eq!(verify_consistency(3, &root, 3, &empty, &[]), Err(NotProved::Root));
    assert_eq!(verify_consistency(3, &root, 3, &root, &extra), Err(NotProved::Length));
}

#[test]
fn an_edge_must_fit_its_size() {
    let edge = |size: u64, hashes: usize| Appender::from_parts(size, vec![[0; 32]; hashes]);
    assert!(edge(0, 0).is_ok());
    assert!(edge(6, 2).is_ok());
    assert_eq!(edge(6, 3), Err(NotAnEdge::Hashes { size: 6, expected: 2, given: 3 }));
    assert_eq!(edge(1, 0), Err(NotAnEdge::Hashes { size: 1, expected: 1, given: 0 }));
    assert_eq!(edge(MAX_SIZE + 1, 1), Err(NotAnEdge::Size(MAX_SIZE + 1)));
    assert_eq!(
        edge(6, 3).unwrap_err().to_string(),
        "a tree of `6` leaves has an edge of 2 hashes, not 3"
    );
}

/// A size, and a leaf or an older size within it.
fn part_and_size() -> impl Strategy<Value = (usize, usize)> {
    (1_usize..300).prop_flat_map(|size| (0..size, Just(size)))
}

fn u(number: usize) -> u64 {
    u64::try_from(number).unwrap()
}

proptest! {
    #[test]
    fn the_tree_agrees_with_another_implementation((part, size) in part_and_size()) {
        let (leaves, hashes) = numbered(size);
        let nodes = LeafHashes(&hashes);
        let theirs = other(&leaves);
        let root = grown(&hashes).root();
        let their_root = theirs.root();
        prop_assert_eq!(root.as_slice(), their_root.as_bytes().as_slice());

        let proof = inclusion_proof(u(part), u(size), &nodes).unwrap();
        let their_proof = theirs.prove_inclusion(part);
        prop_assert_eq!(proof.concat(), their_proof.as_bytes());
        let ours = InclusionProof::<Sha256>::try_from_bytes(proof.concat()).unwrap();
        let accepted = other_root(root, size).verify_inclusion(&leaves[part], u(part), &ours);
        prop_assert!(accepted.is_ok());

        let old = part + 1;
        let proof = consistency_proof(u(old), u(size), &nodes).unwrap();
        let their_proof = theirs.prove_consistency(size - old);
        prop_assert_eq!(proof.concat(), their_proof.as_bytes());
        let ours = ConsistencyProof::<Sha256>::try_from_bytes(proof.concat()).unwrap();
        let old_root = other_root(grown(&hashes[..old]).root(), old);
        prop_assert!(other_root(root, size).verify_consistency(&old_root, &ours).is_ok());
    }

    #[test]
    fn a_tree_taken_up_again_grows_as_if_never_put_down((cut, size) in part_and_size()) {
        let (_, hashes) = numbered(size);
        let before = grown(&hashes[..cut]);
        let mut after = Appender::from_parts(before.size(), before.hashes().to_vec()).unwrap();
        hashes[cut..].iter().for_each(|hash| after.append(*hash));
        prop_assert_eq!(after, grown(&hashes));
    }

    #[test]
    fn no_other_leaf_index_size_or_root_is_included(
        (index, size) in part_and_size(),
        place: prop::sample::Index,
        bit in 0_u8..8,
    ) {
        let (_, hashes) = numbered(size);
        let nodes = LeafHashes(&hashes);
        let root = root_at(u(size), &nodes).unwrap();
        let proof = inclusion_proof(u(index), u(size), &nodes).unwrap();
        let leaf = hashes[index];
        let holds = |leaf: &Hash, at: u64, proof: &[Hash], root: &Hash| {
            verify_inclusion(leaf, at, u(size), proof, root).is_ok()
        };
        prop_assert!(holds(&leaf, u(index), &proof, &root));

        let flip = |hash: &Hash| {
            let mut flipped = *hash;
            flipped[place.index(32)] ^= 1 << bit;
            flipped
        };
        prop_assert!(!holds(&flip(&leaf), u(index), &proof, &root));
        prop_assert!(!holds(&leaf, u(index), &proof, &flip(&root)));
        for other in (0..u(size)).filter(|other| *other != u(index)) {
            prop_assert!(!holds(&leaf, other, &proof, &root));
        }
        for step in 0..proof.len() {
            let mut bent = proof.clone();
            bent[step] = flip(&bent[step]);
            prop_assert!(!holds(&leaf, u(index), &bent, &root));
            let mut short = proof.clone();
            short.remove(step);
            prop_assert!(!holds(&leaf, u(index), &short, &root));
        }
        let mut long = proof;
        long.push(leaf);
        prop_assert!(!holds(&leaf, u(index), &long, &root));
    }

    #[test]
    fn no_other_past_is_consistent(
        (old, size) in part_and_size(),
        changed: prop::sample::Index,
    ) {
        let old = old + 1;
        let (_, hashes) = numbered(size);
        let nodes = LeafHashes(&hashes);
        let root = root_at(u(size), &nodes).unwrap();
        let proof = consistency_proof(u(old), u(size), &nodes).unwrap();

        // Whoever holds the old root sees any change of what it covers, whatever proof he gets.
        let mut past = hashes[..old].to_vec();
        past[changed.index(old)] = [0xff; 32];
        let held = grown(&past).root();
        prop_assert!(verify_consistency(u(old), &held, u(size), &root, &proof).is_err());
        let honest = root_at(u(old), &nodes).unwrap();
        for step in 0..proof.len() {
            let mut bent = proof.clone();
            bent[step][0] ^= 1;
            prop_assert!(verify_consistency(u(old), &honest, u(size), &root, &bent).is_err());
            let mut short = proof.clone();
            short.remove(step);
            prop_assert!(verify_consistency(u(old), &honest, u(size), &root, &short).is_err());
        }
        let mut long = proof;
        long.push(root);
        prop_assert!(verify_consistency(u(old), &honest, u(size), &root, &long).is_err());
    }

    #[test]
    fn no_proof_panics(
        a: u64, b: u64, root: Hash,
        proof in prop::collection::vec(any::<Hash>(), 0..80),
    ) {
        // A chance hit would be a collision of SHA-256.
        prop_assert!(verify_inclusion(&root, a, b, &proof, &root).is_err() || b == 1);
        prop_assert!(verify_consistency(a, &root, b, &root, &proof).is_err() || a == b);
    }
}
