//! The Merkle tree of RFC 6962: which hashes a proof is made of, and checking one. Pure: it never sees a leaf's content.
//!
//! Making a proof gives [`Span`]s, and each span's [`Node`]s; whoever has the tree looks their hashes up.

use crate::log::segment::tree::{Hash, node_hash};

/// Leaves that are next to each other and have one hash over them: a subtree as the RFC divides the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The first leaf, from 0.
    pub start: u64,
    /// The leaf after the last.
    pub end: u64,
}

/// A complete subtree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Node {
    /// It covers 2^level leaves.
    pub level: u32,
    /// Which of its level, from 0.
    pub index: u64,
}

impl Span {
    /// The whole tree of so many leaves.
    pub fn whole(size: u64) -> Self {
        Self { start: 0, end: size }
    }

    /// The complete subtrees that its hash is made of, the largest and oldest first: see
    /// [`root`](crate::log::segment::tree::root).
    pub fn nodes(self) -> Vec<Node> {
        let mut nodes = Vec::new();
        let mut at = self.start;
        while at < self.end {
            let level = (self.end - at).ilog2();
            nodes.push(Node { level, index: at >> level });
            at += 1 << level;
        }
        nodes
    }
}

/// The largest power of two below a number of leaves, of which there are two at least.
fn split(leaves: u64) -> u64 {
    1 << (leaves - 1).ilog2()
}

/// PATH of section 2.1.1: what stands beside a leaf on its way up to the root, the lowest first. Empty where the tree has
/// no such leaf.
pub fn inclusion(leaf: u64, size: u64) -> Vec<Span> {
    let mut path = Vec::new();
    let (mut start, mut end) = (0, size);
    while leaf < size && end - start > 1 {
        let middle = start + split(end - start);
        if leaf < middle {
            path.push(Span { start: middle, end });
            end = middle;
        } else {
            path.push(Span { start, end: middle });
            start = middle;
        }
    }
    path.reverse();
    path
}

/// PROOF of section 2.1.2: what shows that the tree of `from` leaves is the beginning of that of `to`, the lowest first.
/// Empty where the two are the same, and where there is nothing to show: `from` is 0 or above `to`.
pub fn consistency(from: u64, to: u64) -> Vec<Span> {
    let mut proof = Vec::new();
    if from == 0 || from >= to {
        return proof;
    }
    let (mut start, mut end) = (0, to);
    while end != from {
        let middle = start + split(end - start);
        if from <= middle {
            proof.push(Span { start: middle, end });
            end = middle;
        } else {
            proof.push(Span { start, end: middle });
            start = middle;
        }
    }
    // Where it is the whole of the earlier tree, whoever checks has its hash: that tree's root.
    if start > 0 {
        proof.push(Span { start, end });
    }
    proof.reverse();
    proof
}

/// The root that a leaf and its path lead to, as RFC 9162 section 2.1.3.2 goes; `None` if the path is not as long as that
/// of such a leaf in such a tree.
pub fn root_by_inclusion(leaf_hash: &Hash, leaf: u64, size: u64, path: &[Hash]) -> Option<Hash> {
    if leaf >= size {
        return None;
    }
    let (mut node, mut last) = (leaf, size - 1);
    let mut hash = *leaf_hash;
    for beside in path {
        if last == 0 {
            return None;
        }
        if node & 1 == 1 || node == last {
            hash = node_hash(beside, &hash);
            // On the right edge, levels without a neighbour are passed by.
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(&hash, beside);
        }
        node >>= 1;
        last >>= 1;
    }
    (last == 0).then_some(hash)
}

/// Whether a tree is the beginning of another, by their roots, as RFC 9162 section 2.1.4.2 goes.
pub fn is_consistent(from: (u64, &Hash), to: (u64, &Hash), proof: &[Hash]) -> bool {
    let ((size, root), (new_size, new_root)) = (from, to);
    if size == 0 || size > new_size {
        return false;
    }
    if size == new_size {
        return proof.is_empty() && root == new_root;
    }
    let (mut node, mut last) = (size - 1, new_size - 1);
    let passed = node.trailing_ones();
    node >>= passed;
    last >>= passed;
    // A complete earlier tree is itself the node that the proof begins at.
    let (first, rest) = if size.is_power_of_two() {
        (*root, proof)
    } else {
        let Some((first, rest)) = proof.split_first() else { return false };
        (*first, rest)
    };
    let (mut old, mut new) = (first, first);
    for beside in rest {
        if last == 0 {
            return false;
        }
        if node & 1 == 1 || node == last {
            old = node_hash(beside, &old);
            new = node_hash(beside, &new);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            new = node_hash(&new, beside);
        }
        node >>= 1;
        last >>= 1;
    }
    last == 0 && old == *root && new == *new_root
}
