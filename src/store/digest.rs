//! The digest of a state: equal states, and only those, have equal digests.

use serde::Serialize;
use sha2::{Digest, Sha256};

/// SHA-256, in hex, of a state in MessagePack with named fields. States hold only ordered collections, so the bytes
/// are a function of the events alone.
pub fn digest(state: &impl Serialize) -> String {
    let bytes = rmp_serde::to_vec_named(state).expect("a state is plain data, written to memory");
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
