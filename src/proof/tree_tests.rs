//! The tree against the published vectors of RFC 6962, and every proof of every tree up to 600 leaves.

use sha2::{Digest, Sha256};

use crate::log::segment::tree::{Hash, node_hash, root};
use crate::proof::tree::{Node, Span, consistency, inclusion, is_consistent, root_by_inclusion};

/// More than two of the subtrees of 256 leaves of which the lowest hash is kept.
const LEAVES: u64 = 600;

/// A tree with all its hashes: level by level, complete subtrees alone.
struct Tree(Vec<Vec<Hash>>);

impl Tree {
    fn new(leaves: Vec<Hash>) -> Self {
        let mut levels = vec![leaves];
        while let Some(above) = levels.last().filter(|level| level.len() > 1) {
            let above = above.as_chunks::<2>().0.iter().map(|[left, right]| node_hash(left, right));
            levels.push(above.collect());
        }
        Self(levels)
    }

    fn numbered(count: u64) -> Self {
        Self::new((0..count).map(|number| Sha256::digest(number.to_be_bytes()).into()).collect())
    }

    fn leaf(&self, leaf: u64) -> Hash {
        self.0[0][usize::try_from(leaf).unwrap()]
    }

    fn hash(&self, span: Span) -> Hash {
        let node = |Node { level, index }| self.0[level as usize][usize::try_from(index).unwrap()];
        root(&span.nodes().into_iter().map(node).collect::<Vec<_>>()).unwrap()
    }

    fn root(&self, size: u64) -> Hash {
        self.hash(Span::whole(size))
    }

    fn hashes(&self, spans: &[Span]) -> Vec<Hash> {
        spans.iter().map(|span| self.hash(*span)).collect()
    }
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

/// The eight leaves that implementations of RFC 6962 share as their vectors (google/certificate-transparency).
const DATA: [&str; 8] =
    ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"];

fn published() -> Tree {
    let leaf = |data: &&str| Sha256::digest([&[0][..], &hex(data)].concat()).into();
    Tree::new(DATA.iter().map(leaf).collect())
}

#[test]
fn the_published_roots_are_reached() {
    let roots = [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];
    let tree = published();
    for (size, root) in (1..).zip(roots) {
        assert_eq!(tree.root(size).to_vec(), hex(root), "{size}");
    }
}

#[test]
fn the_published_proofs_are_made() {
    let tree = published();
    let check = |spans: Vec<Span>, published: &[&str]| {
        let published: Vec<Hash> = published.iter().map(|hash| hex(hash).try_into().unwrap()).collect();
        assert_eq!(tree.hashes(&spans), published);
    };
    check(
        inclusion(0, 8),
        &[
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ],
    );
    check(
        inclusion(5, 8),
        &[
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ],
    );
    check(inclusion(2, 3), &["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"]);
    check(
        consistency(1, 8),
        &[
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ],
    );
    check(
        consistency(6, 8),
        &[
            "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ],
    );
    check(
        consistency(2, 5),
        &[
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        ],
    );
}

#[test]
fn every_leaf_of_every_tree_is_included_and_at_no_other_place() {
    let tree = Tree::numbered(LEAVES);
    for size in 1..=LEAVES {
        let root = tree.root(size);
        for leaf in 0..size {
            let path = tree.hashes(&inclusion(leaf, size));
            let hash = tree.leaf(leaf);
            assert_eq!(root_by_inclusion(&hash, leaf, size, &path), Some(root), "{leaf} of {size}");
            let elsewhere = (leaf + 1) % size;
            if elsewhere != leaf {
                assert_ne!(root_by_inclusion(&hash, elsewhere, size, &path), Some(root), "{leaf} of {size}");
            }
        }
    }
}

#[test]
fn a_path_of_another_length_leads_nowhere() {
    let tree = Tree::numbered(LEAVES);
    for size in [1, 2, 3, 255, 256, 257, 511, 512, 513, LEAVES] {
        for leaf in [0, size / 2, size - 1] {
            let mut path = tree.hashes(&inclusion(leaf, size));
            path.push([7; 32]);
            assert_eq!(root_by_inclusion(&tree.leaf(leaf), leaf, size, &path), None, "{leaf} of {size}");
            path.pop();
            if path.pop().is_some() {
                assert_eq!(root_by_inclusion(&tree.leaf(leaf), leaf, size, &path), None, "{leaf} of {size}");
            }
        }
    }
    assert_eq!(root_by_inclusion(&tree.leaf(0), 5, 5, &[]), None);
    assert_eq!(inclusion(5, 5), []);
}

#[test]
fn every_tree_is_the_beginning_of_every_later_one_and_of_no_other() {
    let tree = Tree::numbered(LEAVES);
    let roots: Vec<Hash> = (1..=LEAVES).map(|size| tree.root(size)).collect();
    let root = |size: u64| &roots[usize::try_from(size - 1).unwrap()];
    for to in 1..=LEAVES {
        for from in 1..=to {
            let proof = tree.hashes(&consistency(from, to));
            assert!(is_consistent((from, root(from)), (to, root(to)), &proof), "{from} to {to}");
            assert!(!is_consistent((from, &[7; 32]), (to, root(to)), &proof), "{from} to {to}: another past");
            assert!(!is_consistent((from, root(from)), (to, &[7; 32]), &proof), "{from} to {to}: a fork");
            if from > 1 {
                assert!(!is_consistent((from - 1, root(from)), (to, root(to)), &proof), "{from} to {to}");
            }
            if let Some((_, shorter)) = proof.split_last() {
                assert!(!is_consistent((from, root(from)), (to, root(to)), shorter), "{from} to {to}");
            }
        }
    }
    assert!(!is_consistent((2, root(2)), (1, root(1)), &[]), "a tree does not shrink");
    assert!(!is_consistent((0, root(1)), (1, root(1)), &[]), "nothing is no tree with a root");
    assert_eq!((consistency(0, 5), consistency(5, 5), consistency(6, 5)), (vec![], vec![], vec![]));
}

/// Samples where the stored hashes of a million events are: across 256 leaves and across a segment.
#[test]
fn proofs_in_a_tree_of_a_million_leaves() {
    const SIZE: u64 = 1_000_000;
    let tree = Tree::numbered(SIZE);
    let root = tree.root(SIZE);
    for leaf in [0, 1, 255, 256, 65_535, 65_536, 524_287, 524_288, 999_935, 999_936, SIZE - 1] {
        let path = tree.hashes(&inclusion(leaf, SIZE));
        assert!(path.len() <= 20);
        assert_eq!(root_by_inclusion(&tree.leaf(leaf), leaf, SIZE, &path), Some(root), "{leaf}");
    }
    for from in [1, 2, 255, 256, 257, 65_535, 65_536, 65_537, 524_288, 999_936, SIZE - 1] {
        let proof = tree.hashes(&consistency(from, SIZE));
        assert!(is_consistent((from, &tree.root(from)), (SIZE, &root), &proof), "{from}");
    }
}
