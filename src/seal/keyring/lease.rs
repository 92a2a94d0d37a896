//! Which generations of stream keys the data keys were minted under that are still on their way into the log.
//!
//! A generation may only go when nothing can be appended under it any more; a data key that was minted before the next
//! one came, and is appended after this one went, would be lost.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::ids::StreamId;

/// How many leases of which generation are open.
#[derive(Default)]
pub(super) struct Leases {
    open: Mutex<HashMap<(StreamId, u32), usize>>,
    ended: Condvar,
}

/// One minted data key, until it is in the log or given up.
pub(super) struct Lease {
    leases: Arc<Leases>,
    of: (StreamId, u32),
}

impl Leases {
    /// Notes that a data key is minted under a generation.
    pub(super) fn take(self: &Arc<Self>, stream: StreamId, generation: u32) -> Arc<Lease> {
        let of = (stream, generation);
        *self.open().entry(of).or_default() += 1;
        Arc::new(Lease { leases: Arc::clone(self), of })
    }

    /// Waits until nothing is on its way under a generation; `false` if that does not come in time.
    pub(super) fn wait_for_end(&self, stream: StreamId, generation: u32, at_most: Duration) -> bool {
        let is_open = |open: &mut HashMap<_, _>| open.contains_key(&(stream, generation));
        let waited = self.ended.wait_timeout_while(self.open(), at_most, is_open);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    fn open(&self) -> MutexGuard<'_, HashMap<(StreamId, u32), usize>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut open = self.leases.open();
        if let Some(count) = open.get_mut(&self.of) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.of);
                self.leases.ended.notify_all();
            }
        }
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lease({} of {})", self.of.1, self.of.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLATFORM: StreamId = StreamId::Platform;

    #[test]
    fn a_generation_ends_when_its_last_lease_does() {
        let leases = Arc::new(Leases::default());
        let (one, two) = (leases.take(PLATFORM, 1), leases.take(PLATFORM, 1));
        assert!(leases.wait_for_end(PLATFORM, 2, Duration::ZERO), "another generation's are no matter");
        drop(one);
        assert!(!leases.wait_for_end(PLATFORM, 1, Duration::from_millis(1)));
        let waiting = std::thread::spawn({
            let leases = Arc::clone(&leases);
            move || leases.wait_for_end(PLATFORM, 1, Duration::from_secs(60))
        });
        drop(two);
        assert!(waiting.join().expect("it ends"));
        assert!(leases.open().is_empty());
    }
}
