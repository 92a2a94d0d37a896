//! Turns at refreshing: how many are at providers at once, so that no provider, and no organization whatever providers it
//! names, keeps others waiting.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::ids::StreamId;

/// The most refreshes that are at providers at once.
const AT_ONCE_MAX: usize = 64;
/// The most of them that are one organization's: however many providers it names, it leaves room for others.
const OF_ORGANIZATION_MAX: usize = 16;
/// The most of those that are at one provider: one that is slow leaves room for others.
const AT_ONE_HOST_MAX: usize = 8;
/// How many hosts, or organizations, are remembered before those that nobody is at or waits for are forgotten.
const REMEMBERED_MAX: usize = 1_000;

/// All turns.
pub struct Turns {
    at_all: Arc<Semaphore>,
    of_organizations: Each<StreamId>,
    at_hosts: Each<(StreamId, String)>,
}

/// A turn: at a host, of an organization, and at all. It ends when it is dropped.
pub struct Turn {
    _held: [OwnedSemaphorePermit; 3],
}

impl Default for Turns {
    fn default() -> Self {
        Self {
            at_all: Arc::new(Semaphore::new(AT_ONCE_MAX)),
            of_organizations: Each::new(OF_ORGANIZATION_MAX),
            at_hosts: Each::new(AT_ONE_HOST_MAX),
        }
    }
}

impl Turns {
    /// A turn of an organization at a host, once there is one. Taken in this order, so that whoever waits for a slow host
    /// has nothing that others wait for.
    pub async fn turn(&self, stream: StreamId, host: String) -> Turn {
        let at_host = self.at_hosts.turn((stream, host)).await;
        let of_organization = self.of_organizations.turn(stream).await;
        let at_all = Arc::clone(&self.at_all).acquire_owned().await;
        Turn { _held: [at_host, of_organization, at_all.expect("nobody closes the semaphore")] }
    }
}

/// So many turns of each.
struct Each<K> {
    at_once: usize,
    of: Mutex<HashMap<K, Arc<Semaphore>>>,
}

impl<K: Eq + Hash> Each<K> {
    fn new(at_once: usize) -> Self {
        Self { at_once, of: Mutex::default() }
    }

    async fn turn(&self, of: K) -> OwnedSemaphorePermit {
        let turns = {
            let mut all = self.of.lock().unwrap_or_else(PoisonError::into_inner);
            if all.len() >= REMEMBERED_MAX {
                all.retain(|_, turns| Arc::strong_count(turns) > 1);
            }
            Arc::clone(all.entry(of).or_insert_with(|| Arc::new(Semaphore::new(self.at_once))))
        };
        turns.acquire_owned().await.expect("nobody closes the semaphore")
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;
    use crate::given::id;

    #[test]
    fn an_organization_leaves_turns_to_others_however_many_hosts_it_names() {
        let turns = Turns::default();
        let turn = |stream: StreamId, host: usize| turns.turn(stream, host.to_string()).now_or_never();
        let [greedy, other] = [1, 2].map(|number| StreamId::Organization(id(number)));
        let at_one: Vec<_> = (0..20).filter_map(|_| turn(greedy, 0)).collect();
        assert_eq!(at_one.len(), AT_ONE_HOST_MAX);
        let at_many: Vec<_> = (1..20).filter_map(|host| turn(greedy, host)).collect();
        assert_eq!(at_one.len() + at_many.len(), OF_ORGANIZATION_MAX);
        assert!(turn(other, 0).is_some());
        drop(at_one);
        assert!(turn(greedy, 0).is_some());
    }
}
