//! Signing keys: what checkpoints and snapshots are signed with, so that whoever has a public key can tell that they are
//! this server's. One is current; those before it stay listed, for what they signed stays signed.
//!
//! The private halves are data keys of the platform's stream; how they come to be is in `store/signing.rs`.

pub mod command;
pub mod event;
pub mod projection;
