//! A read of several steps, which waits for a slow writer once at most.
//!
//! Each step takes a turn of its own, so that the writer never waits for more than one. But where a commit takes
//! seconds, as on a disk in trouble, a read would wait for one at each of its steps. So a step that had to wait long
//! keeps its turn until the whole read is over.

use std::any::Any;
use std::cell::RefCell;

thread_local! {
    /// The read of this thread and the turn that it keeps; nothing outside of one.
    static READING: RefCell<Option<Kept>> = const { RefCell::new(None) };
}

type Kept = Option<(usize, Box<dyn Any>)>;

/// Runs a read, which is to wait for a slow writer once at most. Nothing in it may wait for the writer of its log.
pub fn as_one<T>(read: impl FnOnce() -> T) -> T {
    /// Ends the read on a panic, too: the thread may be used again.
    struct Ends;
    impl Drop for Ends {
        fn drop(&mut self) {
            READING.take();
        }
    }
    if READING.with_borrow(Option::is_some) {
        return read();
    }
    READING.set(Some(None));
    let _ends = Ends;
    read()
}

/// Whether the read of this thread keeps a turn of a log, which is named by a number of its own.
pub(super) fn keeps(log: usize) -> bool {
    READING.with_borrow(|reading| matches!(reading, Some(Some((of, _))) if *of == log))
}

/// Keeps a turn until the read of this thread is over; gives it back where there is none, or it keeps another one.
pub(super) fn keep<T: Any>(log: usize, turn: T) -> Option<T> {
    READING.with_borrow_mut(|reading| match reading {
        Some(kept @ None) => {
            *kept = Some((log, Box::new(turn)));
            None
        }
        _ => Some(turn),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_is_kept_until_the_outermost_read_is_over() {
        assert_eq!(keep(1, "turn"), Some("turn"), "there is no read");
        as_one(|| {
            as_one(|| assert_eq!(keep(1, "turn"), None));
            assert!(keeps(1) && !keeps(2));
            assert_eq!(keep(2, "turn"), Some("turn"), "it keeps one already");
        });
        assert!(!keeps(1));
        let panicked = std::panic::catch_unwind(|| {
            as_one(|| {
                keep(1, "turn");
                panic!("in the midst of a read");
            });
        });
        assert!(panicked.is_err() && !keeps(1));
    }
}
