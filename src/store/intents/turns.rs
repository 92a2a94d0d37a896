//! Turns at deciding memberships to be. Two may finish the same intent at once, whoever asked for it and the scheduler: the
//! second has its turn when the first has closed it, and finds it decided.

use tokio::sync::{Mutex, MutexGuard};

use crate::ids::UserId;

/// How many people's turns are told apart. Of two that are not, one waits for the other, which is seldom and short.
const LANES: usize = 64;

/// Turns, one at a time for a person to be.
pub(in crate::store) struct Turns([Mutex<()>; LANES]);

impl Default for Turns {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Mutex::default()))
    }
}

impl Turns {
    /// The turn of a person to be, once nobody else has it.
    pub(in crate::store) async fn of(&self, person: UserId) -> MutexGuard<'_, ()> {
        // The last bytes of an id are random.
        let lane = usize::from(person.uuid().as_bytes()[15]) % LANES;
        self.0[lane].lock().await
    }
}
