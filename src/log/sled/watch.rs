//! Wakes a flush that sled would let wait for ever.
//!
//! sled writes full buffers on threads of its own. Where such a write fails after the last of a buffer's writers has
//! left it (`exit_reservation` in sled's `logger.rs`), it notes the error and wakes nobody: who waits for the buffer
//! in `flush` never hears of it, and the process stays up over a dead disk. Another flush finds the error noted, and
//! wakes all who wait.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use std::{io, thread};

use sled::Db;

use super::engine::guarded;

/// How long a flush may take before another one is sent after it. It is sent again after twice the time: what comes
/// after a flush that is only slow waits with it, and does no harm, but shall not become many.
const PATIENCE: Duration = Duration::from_secs(1);

/// Watches over flushes.
pub(super) struct Watch {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// How many flushes have begun.
    begun: u64,
    /// What is being flushed.
    under_way: Option<Db>,
    stop: bool,
}

impl Watch {
    /// Starts watching.
    pub(super) fn start() -> io::Result<Self> {
        let shared = Arc::<Shared>::default();
        let thread = thread::Builder::new().name("flush watch".to_owned()).spawn({
            let shared = Arc::clone(&shared);
            move || shared.watch()
        })?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Makes sled write its buffers to its file; gives how many bytes it had to write.
    pub(super) fn flush(&self, db: &Db) -> io::Result<usize> {
        {
            let mut state = self.shared.state();
            state.begun += 1;
            state.under_way = Some(db.clone());
        }
        let flushed = guarded(|| db.flush());
        self.shared.state().under_way = None;
        flushed
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.shared.state().stop = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            // It has no panic of its own.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn watch(&self) {
        let (mut flush, mut waited) = (0, 0_u32);
        let mut state = self.state();
        while !state.stop {
            let woken = self.changed.wait_timeout(state, PATIENCE);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
            let Some(db) = &state.under_way else { continue };
            if flush != state.begun {
                (flush, waited) = (state.begun, 0);
                continue;
            }
            waited += 1;
            if waited.is_power_of_two() {
                let db = db.clone();
                // Without a thread there is the next time.
                let _ = thread::Builder::new().spawn(move || guarded(|| db.flush()));
            }
        }
    }
}
