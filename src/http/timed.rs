//! A connection that does not wait for ever: for a header, for the next request, for its bytes to be taken.

#![expect(
    clippy::disallowed_methods,
    reason = "a connection's waits are the runtime's, whose time tests pause"
)]

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use crate::http::limits::Limits;
use crate::http::raw_answer;

/// Where a connection is between two requests. A clone is the same phase.
#[derive(Clone, Debug)]
pub struct Phase(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    phase: AtomicU8,
    /// Whether the answer is a stream that has not ended.
    streaming: AtomicBool,
    /// The turn at which it was last without a request; [`BUSY`] while it has one.
    free_since: AtomicU64,
    turns: Turns,
}

/// Counts how often connections were without a request, over all that share it: who was first has the lowest turn.
#[derive(Clone, Debug, Default)]
pub struct Turns(Arc<AtomicU64>);

/// Nothing of a request has come.
const WAITING: u8 = 0;
/// A part of a header has come.
const HEADER: u8 = 1;
/// The handler has the request, and its time is not the connection's to bound.
const ANSWERING: u8 = 2;
/// The answer has begun.
const ANSWERED: u8 = 3;

/// No turn: there is a request.
const BUSY: u64 = u64::MAX;

/// An answer is a stream that has not ended, as long as this lives.
#[must_use]
pub struct Streaming(Phase);

impl Phase {
    /// Of a connection that was just accepted.
    pub fn new(turns: &Turns) -> Self {
        let this = Self(Arc::new(Inner { turns: turns.clone(), ..Inner::default() }));
        this.free();
        this
    }

    /// A request's header has come whole.
    pub fn answering(&self) {
        self.0.free_since.store(BUSY, Ordering::Relaxed);
        self.set(ANSWERING);
    }

    /// The handler has answered.
    pub fn answered(&self) {
        self.set(ANSWERED);
    }

    /// The answer's body is still being made, and may pause.
    pub fn streaming(&self) -> Streaming {
        self.0.streaming.store(true, Ordering::Relaxed);
        Streaming(self.clone())
    }

    /// The turn at which it was last without a request; `None` while it has one, until its answer has left.
    pub fn free_since(&self) -> Option<u64> {
        let turn = self.0.free_since.load(Ordering::Relaxed);
        (turn != BUSY).then_some(turn)
    }

    /// All that was written has left.
    fn flushed(&self) {
        let is_answered = matches!(self.get(), ANSWERED | WAITING) && self.free_since().is_none();
        if is_answered && !self.0.streaming.load(Ordering::Relaxed) {
            self.free();
        }
    }

    fn free(&self) {
        let turn = self.0.turns.0.fetch_add(1, Ordering::Relaxed);
        self.0.free_since.store(turn, Ordering::Relaxed);
    }

    // Relaxed: one task writes it, and what another one reads is only which connection to ask to leave.
    fn get(&self) -> u8 {
        self.0.phase.load(Ordering::Relaxed)
    }

    fn set(&self, phase: u8) {
        self.0.phase.store(phase, Ordering::Relaxed);
    }
}

impl Drop for Streaming {
    fn drop(&mut self) {
        self.0.0.streaming.store(false, Ordering::Relaxed);
    }
}

/// A stream with the limits of a connection.
pub struct Timed<T> {
    stream: T,
    phase: Phase,
    header_read: Duration,
    idle: Duration,
    write_stall: Duration,
    /// Until when the phase may last; looked at while waiting or in a header.
    deadline: Instant,
    reading: Pin<Box<Sleep>>,
    writing: Option<Pin<Box<Sleep>>>,
    /// What is sent in place of hyper's own answer, of which nothing is; the last of a connection.
    instead: Option<Bytes>,
}

impl<T> Timed<T> {
    /// A stream that was just opened.
    pub fn new(stream: T, phase: Phase, limits: &Limits) -> Self {
        let deadline = Instant::now() + limits.header_read;
        Self {
            stream,
            phase,
            header_read: limits.header_read,
            idle: limits.idle,
            write_stall: limits.write_stall,
            deadline,
            reading: Box::pin(tokio::time::sleep_until(deadline)),
            writing: None,
            instead: None,
        }
    }

    fn begin(&mut self, phase: u8, lasting: Duration) {
        self.phase.set(phase);
        self.deadline = Instant::now() + lasting;
    }

    fn is_late(&self) -> bool {
        Instant::now() >= self.deadline
    }

    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.reading.deadline() != self.deadline {
            self.reading.as_mut().reset(self.deadline);
        }
        self.reading.as_mut().poll(cx)
    }

    fn poll_stalled(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let lasting = self.write_stall;
        let writing = self.writing.get_or_insert_with(|| Box::pin(tokio::time::sleep(lasting)));
        ready!(writing.as_mut().poll(cx));
        Poll::Ready(io::ErrorKind::TimedOut.into())
    }

    /// A write ended: the client takes what it is sent, and a streamed answer is not idle.
    fn written<R>(&mut self, result: R) -> Poll<R> {
        self.writing = None;
        if matches!(self.phase.get(), ANSWERED | WAITING) {
            let lasting = self.idle;
            self.begin(WAITING, lasting);
        }
        Poll::Ready(result)
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Timed<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        if let Poll::Ready(result) = Pin::new(&mut self.stream).poll_read(cx, buf) {
            if buf.filled().len() > before {
                match self.phase.get() {
                    WAITING | ANSWERED => {
                        let lasting = self.header_read;
                        self.begin(HEADER, lasting);
                    }
                    // Bytes may trickle in so steadily that there is never nothing to read.
                    HEADER if self.is_late() => {
                        return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
                    }
                    _ => {}
                }
            }
            return Poll::Ready(result);
        }
        if self.phase.get() == ANSWERED {
            let lasting = self.idle;
            self.begin(WAITING, lasting);
        }
        match self.phase.get() {
            // Read as the end of the stream: hyper closes without an error.
            WAITING => self.poll_deadline(cx).map(Ok),
            HEADER => self.poll_deadline(cx).map(|()| Err(io::ErrorKind::TimedOut.into())),
            _ => Poll::Pending,
        }
    }
}

impl<T: AsyncWrite + Unpin> Timed<T> {
    /// Whether these bytes are an answer that hyper gives by itself: all that was asked has been answered, and none
    /// of them is sent.
    fn takes_the_place_of(&mut self, bytes: &[u8]) -> bool {
        if self.instead.is_none() && self.phase.free_since().is_some() {
            self.instead = Some(raw_answer::in_place_of(bytes).into());
        }
        self.instead.is_some()
    }

    fn poll_instead(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(bytes) = self.instead.as_mut().filter(|bytes| !bytes.is_empty()) {
            let count = match Pin::new(&mut self.stream).poll_write(cx, bytes) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(count)) => count,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return self.poll_stalled(cx).map(Err),
            };
            bytes.advance(count);
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Timed<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.takes_the_place_of(bytes) {
            return Poll::Ready(Ok(bytes.len()));
        }
        match Pin::new(&mut self.stream).poll_write(cx, bytes) {
            Poll::Ready(result) => self.written(result),
            Poll::Pending => self.poll_stalled(cx).map(Err),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.takes_the_place_of(slices.first().map_or(&[], |slice| slice)) {
            return Poll::Ready(Ok(slices.iter().map(|slice| slice.len()).sum()));
        }
        match Pin::new(&mut self.stream).poll_write_vectored(cx, slices) {
            Poll::Ready(result) => self.written(result),
            Poll::Pending => self.poll_stalled(cx).map(Err),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_instead(cx))?;
        // Encrypted, bytes wait here for the client that does not take them.
        match Pin::new(&mut self.stream).poll_flush(cx) {
            Poll::Ready(result) => {
                self.writing = None;
                self.phase.flushed();
                Poll::Ready(result)
            }
            Poll::Pending => self.poll_stalled(cx).map(Err),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_instead(cx))?;
        match Pin::new(&mut self.stream).poll_shutdown(cx) {
            Poll::Ready(result) => Poll::Ready(result),
            Poll::Pending => self.poll_stalled(cx).map(Err),
        }
    }
}
