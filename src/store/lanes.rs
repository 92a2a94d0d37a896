//! Lanes: one at a time does something about the same thing, and whoever comes second finds what the first left.

use tokio::sync::{Mutex, MutexGuard};

/// How many things are told apart. Of two that are not, one waits for the other, which is seldom and short.
const LANES: usize = 64;

/// One at a time for a thing.
pub(in crate::store) struct Lanes([Mutex<()>; LANES]);

impl Default for Lanes {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Mutex::default()))
    }
}

impl Lanes {
    /// The lane of the thing with an id of these bytes, once nobody else is in it.
    pub(in crate::store) async fn of(&self, id: [u8; 16]) -> MutexGuard<'_, ()> {
        // The last bytes of an id are random.
        self.0[usize::from(id[15]) % LANES].lock().await
    }
}
