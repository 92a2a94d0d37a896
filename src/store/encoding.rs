//! States as bytes: the digest that tells two apart, and the sections that they are saved in.
//!
//! Only derived data is made of this; the record format is `log/codec.rs`.

use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use crate::area::{Fold, Section};

/// SHA-256, in hex, of a state in MessagePack with named fields. States hold only ordered collections, so the bytes
/// are a function of the events alone: equal states, and only those, have equal digests.
pub fn digest(state: &impl Serialize) -> String {
    let bytes = rmp_serde::to_vec_named(state).expect("a state is plain data, written to memory");
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A state in MessagePack without names: what its fields are follows from its type and its PROJECTION number.
pub fn encode(state: &impl Serialize) -> Vec<u8> {
    rmp_serde::to_vec(state).expect("a state is plain data, written to memory")
}

/// How many bytes [`encode`] gives, without keeping them.
pub fn encoded_bytes(state: &impl Serialize) -> usize {
    struct Counted(usize);

    impl std::io::Write for Counted {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    let mut counted = Counted(0);
    rmp_serde::encode::write(&mut counted, state).expect("a state is plain data, and counting never fails");
    counted.0
}

/// The bytes are not an encoded state of this type. What the decoder says of them is left out: it may quote them.
#[derive(Debug, thiserror::Error)]
#[error("the bytes are not a saved state of this kind")]
pub struct DecodeError;

/// The state that was encoded.
///
/// # Errors
/// If the bytes are anything else.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    let mut rest = bytes;
    let state = rmp_serde::from_read(&mut rest).map_err(|_| DecodeError)?;
    if rest.is_empty() { Ok(state) } else { Err(DecodeError) }
}

/// A fold's state, to be saved.
pub fn section<F: Fold>(state: &F) -> Section {
    Section { name: F::NAME, projection: F::PROJECTION, bytes: encode(state) }
}

/// A fold's saved state, looked up by its name and PROJECTION number.
pub fn from_section<F: Fold>(find: &mut impl FnMut(&'static str, u32) -> Option<Vec<u8>>) -> Option<F> {
    decode(&find(F::NAME, F::PROJECTION)?).ok()
}
