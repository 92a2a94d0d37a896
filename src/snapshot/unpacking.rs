//! Frames unpacked by as many threads as there are cores, and handed on in their order: to decode and to hash an event is most of
//! reading a history, and no event waits for another.

use std::collections::VecDeque;
use std::num::NonZero;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, Scope};

use bytes::Bytes;

use crate::event::Recorded;
use crate::log::Position;
use crate::log::frame::Frame;
use crate::snapshot::priority::give_way;

/// What one thread takes at a time: so many bytes of frames, and the frame that goes beyond.
const BATCH_BYTES: usize = 64 << 10;

/// For each thread, so many batches are on their way: one that it unpacks, and one that it finds when it is done.
const BATCHES_EACH: usize = 2;

/// A frame with its events.
pub(super) struct Unpacked {
    pub(super) frame: Frame,
    /// The leaf hashes of its events, in order.
    pub(super) leaves: Vec<[u8; 32]>,
    /// Its events, in order.
    pub(super) events: Vec<Recorded>,
}

/// A frame at its position, or what is wrong with it.
pub(super) type Unpacking = (Position, Result<Unpacked, String>);

struct Job {
    frames: Vec<(Position, Bytes)>,
    done: SyncSender<Vec<Unpacking>>,
}

/// Threads that unpack. They end when this is dropped.
pub(super) struct Unpackers {
    jobs: Sender<Job>,
    /// What is on its way, in the order in which it was given.
    waiting: VecDeque<Receiver<Vec<Unpacking>>>,
    waiting_max: usize,
}

impl Unpackers {
    /// Runs what gives frames to such threads.
    pub(super) fn run<T>(work: impl FnOnce(&mut Self) -> T) -> T {
        let threads = thread::available_parallelism().map_or(1, NonZero::get);
        let (jobs, given) = channel();
        let given = Mutex::new(given);
        thread::scope(|scope| {
            (0..threads).for_each(|_| unpack_what_is_given(scope, &given));
            let waiting_max = threads * BATCHES_EACH;
            work(&mut Self { jobs, waiting: VecDeque::new(), waiting_max })
        })
    }

    /// Has frames unpacked, which follow those before, and gives `take` what of those before has become ready, in order.
    ///
    /// # Errors
    /// The first that `take` says; nothing is on its way then.
    pub(super) fn give<E>(
        &mut self,
        frames: Vec<(Position, Bytes)>,
        take: &mut impl FnMut(Unpacking) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut frames = frames.into_iter().peekable();
        while frames.peek().is_some() {
            let (mut batch, mut bytes) = (Vec::new(), 0);
            while bytes < BATCH_BYTES
                && let Some(next) = frames.next()
            {
                bytes += next.1.len();
                batch.push(next);
            }
            let (done, ready) = sync_channel(1);
            let job = Job { frames: batch, done };
            self.jobs.send(job).expect("the threads last as long as this");
            self.waiting.push_back(ready);
            self.take_down_to(self.waiting_max, take)?;
        }
        Ok(())
    }

    /// Gives `take` all that is on its way, in order.
    ///
    /// # Errors
    /// As those of [`Self::give`].
    pub(super) fn finish<E>(&mut self, take: &mut impl FnMut(Unpacking) -> Result<(), E>) -> Result<(), E> {
        self.take_down_to(0, take)
    }

    fn take_down_to<E>(
        &mut self,
        left: usize,
        take: &mut impl FnMut(Unpacking) -> Result<(), E>,
    ) -> Result<(), E> {
        while self.waiting.len() > left {
            let ready = self.waiting.pop_front().expect("more than none");
            let unpacked = ready.recv().expect("a thread that unpacks does not panic");
            if let Err(error) = unpacked.into_iter().try_for_each(&mut *take) {
                self.waiting.clear();
                return Err(error);
            }
        }
        Ok(())
    }
}

fn unpack_what_is_given<'scope>(scope: &'scope Scope<'scope, '_>, given: &'scope Mutex<Receiver<Job>>) {
    scope.spawn(|| {
        give_way();
        loop {
            let job = given.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok(Job { frames, done }) = job else { return };
            let unpacked = frames.into_iter().map(|(position, bytes)| (position, unpack(bytes))).collect();
            // Nobody waits for it any more once something before it was wrong.
            let _ = done.send(unpacked);
        }
    });
}

fn unpack(bytes: Bytes) -> Result<Unpacked, String> {
    let frame = Frame::parse(bytes).map_err(|error| error.to_string())?;
    let (mut leaves, mut events) = (Vec::with_capacity(frame.len()), Vec::with_capacity(frame.len()));
    for (at, version) in (0..frame.len()).zip(frame.header().first_version..) {
        let (event, leaf) = frame.hashed(at).map_err(|error| format!("version {version}: {error}"))?;
        leaves.push(leaf);
        events.push(event);
    }
    Ok(Unpacked { frame, leaves, events })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many bytes each, which are no frames: batches of many, of few, and of one.
    const SIZES: [usize; 3] = [100, 20 << 10, BATCH_BYTES + 1];

    fn given(count: u64, bytes: usize) -> Vec<(Position, Bytes)> {
        (1..=count).map(|position| (Position(position), Bytes::from(vec![0; bytes]))).collect()
    }

    #[test]
    fn what_was_given_comes_out_in_its_order_and_all_of_it() {
        for bytes in SIZES {
            let mut seen = Vec::new();
            let mut take = |(position, unpacked): Unpacking| {
                seen.push(position.0);
                if unpacked.is_err() { Ok(()) } else { Err("no frame is read out of zeros") }
            };
            let all = Unpackers::run(|unpackers| {
                unpackers.give(given(100, bytes), &mut take).and_then(|()| unpackers.finish(&mut take))
            });
            assert_eq!((all, seen), (Ok(()), (1..=100).collect()), "{bytes}");
        }
    }

    #[test]
    fn nothing_comes_out_after_the_first_that_is_refused() {
        let mut seen = Vec::new();
        let mut take = |(position, _): Unpacking| {
            seen.push(position.0);
            if position.0 < 7 { Ok(()) } else { Err("refused") }
        };
        let (given, finished) = Unpackers::run(|unpackers| {
            let given = unpackers.give(given(100, BATCH_BYTES), &mut take);
            (given, unpackers.finish(&mut take))
        });
        assert_eq!((given, finished, seen), (Err("refused"), Ok(()), (1..=7).collect()));
    }
}
