//! Reading very many data keys once, as whoever opens all customers does, without keeping them.

use std::sync::Arc;

use crate::ids::{DataKeyId, StreamId};
use crate::seal::keyring::{Held, KeyError, KeyRing};
use crate::seal::{Commitment, DataKey};

impl KeyRing {
    /// As [`KeyRing::data_key`], by whoever asks for very many once: it pushes none out of memory that others use.
    ///
    /// # Errors
    /// As [`KeyRing::data_key`].
    pub fn data_key_in_passing(
        &self,
        stream: StreamId,
        id: DataKeyId,
        commitment: Option<Commitment>,
    ) -> Result<Arc<DataKey>, KeyError> {
        let held = self.cache().data_keys.peek(&(stream, id));
        let opened = held.map_or_else(|| self.read_data_key(stream, id), Ok)?;
        committed(stream, opened, commitment)
    }
}

/// A key that is the one that was committed to, where the caller knows that.
pub(super) fn committed(
    stream: StreamId,
    (key, actual): Held,
    commitment: Option<Commitment>,
) -> Result<Arc<DataKey>, KeyError> {
    match commitment {
        Some(expected) if expected != actual => Err(KeyError::Swapped { stream, id: key.id() }),
        Some(_) | None => Ok(key),
    }
}
