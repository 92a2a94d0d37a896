//! Proof: what an auditor checks who trusts nobody here. Each stream is a Merkle tree (RFC 6962) of its events, a
//! checkpoint is the tree's root signed (C2SP), and a bundle is events with all that it takes to check them against one.
//!
//! Everything but `http` is pure, and none of it needs a store: `settled verify` is made of these files alone.

pub mod blame;
pub mod bundle;
pub mod checkpoint;
pub mod http;
pub mod note;
pub mod tree;
pub mod verify;
pub mod witness;

#[cfg(test)]
mod tree_tests;
