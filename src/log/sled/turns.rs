//! A lock that serves strictly in the order of arrival: many readers, or the writer alone.
//!
//! The standard library's lock lets a writer that comes back at once overtake readers for ever; here a reader
//! waits for one commit at most, and the writer only for the readers that came before it.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The lock.
#[derive(Debug, Default)]
pub(super) struct Turns {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    next_ticket: u64,
    serving: u64,
    readers: usize,
}

/// A reader's turn; it ends when dropped.
#[must_use]
pub(super) struct Shared(Arc<Turns>);

/// The writer's turn; it ends when dropped.
#[must_use]
pub(super) struct Alone<'a>(&'a Turns);

impl Turns {
    /// Waits for a reader's turn; with how long that took.
    #[expect(clippy::disallowed_methods, reason = "how long a thread waited is not a time that is kept")]
    pub(super) fn shared(self: &Arc<Self>) -> (Shared, Duration) {
        let began = Instant::now();
        let mut state = self.state();
        let ticket = state.ticket();
        state = self.wait(state, |state| state.serving == ticket);
        state.readers += 1;
        state.serving += 1;
        self.changed.notify_all();
        (Shared(Arc::clone(self)), began.elapsed())
    }

    /// A reader's turn, if nobody is to be waited for.
    pub(super) fn try_shared(self: &Arc<Self>) -> Option<Shared> {
        let mut state = self.state();
        if state.serving != state.next_ticket {
            return None;
        }
        state.next_ticket += 1;
        state.serving += 1;
        state.readers += 1;
        Some(Shared(Arc::clone(self)))
    }

    /// Waits for the writer's turn.
    pub(super) fn alone(&self) -> Alone<'_> {
        let mut state = self.state();
        let ticket = state.ticket();
        drop(self.wait(state, |state| state.serving == ticket && state.readers == 0));
        Alone(self)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(
        &self,
        state: MutexGuard<'a, State>,
        until: impl Fn(&State) -> bool,
    ) -> MutexGuard<'a, State> {
        self.changed.wait_while(state, |state| !until(state)).unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn ticket(&mut self) -> u64 {
        self.next_ticket += 1;
        self.next_ticket - 1
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.0.state().readers -= 1;
        self.0.changed.notify_all();
    }
}

impl Drop for Alone<'_> {
    fn drop(&mut self) {
        self.0.state().serving += 1;
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    #[test]
    fn the_writer_is_alone_and_readers_are_together() {
        let turns = Arc::new(Turns::default());
        let (readers, writers) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let mut threads = Vec::new();
        for thread in 0..4 {
            let (turns, readers, writers) = (turns.clone(), readers.clone(), writers.clone());
            threads.push(std::thread::spawn(move || {
                for _ in 0..500 {
                    if thread == 0 {
                        let _turn = turns.alone();
                        assert_eq!(writers.fetch_add(1, Ordering::SeqCst), 0);
                        assert_eq!(readers.load(Ordering::SeqCst), 0);
                        writers.fetch_sub(1, Ordering::SeqCst);
                    } else {
                        let (_turn, _) = turns.shared();
                        readers.fetch_add(1, Ordering::SeqCst);
                        assert_eq!(writers.load(Ordering::SeqCst), 0);
                        readers.fetch_sub(1, Ordering::SeqCst);
                    }
                }
            }));
        }
        for thread in threads {
            thread.join().expect("no turn overlapped another");
        }
    }

    #[test]
    fn a_reader_that_would_have_to_wait_is_told_so() {
        let turns = Arc::new(Turns::default());
        let (one, other) = (turns.try_shared(), turns.try_shared());
        assert!(one.is_some() && other.is_some());
        std::thread::scope(|scope| {
            scope.spawn(|| drop(turns.alone()));
            while turns.state().next_ticket < 3 {
                std::thread::yield_now();
            }
            assert!(turns.try_shared().is_none(), "the writer waits already");
            drop((one, other));
        });
        let writer = turns.alone();
        assert!(turns.try_shared().is_none());
        drop(writer);
        assert!(turns.try_shared().is_some());
    }

    #[test]
    fn a_busy_writer_does_not_starve_a_reader() {
        let turns = Arc::new(Turns::default());
        let stop = Arc::new(AtomicBool::new(false));
        let writer = std::thread::spawn({
            let (turns, stop) = (turns.clone(), stop.clone());
            move || {
                let mut written = 0_u64;
                while !stop.load(Ordering::SeqCst) {
                    let _turn = turns.alone();
                    std::thread::sleep(Duration::from_millis(1));
                    written += 1;
                }
                written
            }
        });
        for _ in 0..20 {
            drop(turns.shared());
        }
        stop.store(true, Ordering::SeqCst);
        let written = writer.join().expect("the writer ends");
        assert!(written <= 25, "20 reads waited for {written} commits");
    }
}
