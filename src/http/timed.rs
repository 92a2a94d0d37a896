//! A connection that does not wait for ever: for a header, for the next request, for its bytes to be taken.

#![expect(
    clippy::disallowed_methods,
    reason = "a connection's waits are the runtime's, whose time tests pause"
)]

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use crate::http::limits::Limits;

/// Where a connection is between two requests. A clone is the same phase.
#[derive(Clone, Debug, Default)]
pub struct Phase(Arc<AtomicU8>);

/// Nothing of a request has come.
const WAITING: u8 = 0;
/// A part of a header has come.
const HEADER: u8 = 1;
/// The handler has the request, and its time is not the connection's to bound.
const ANSWERING: u8 = 2;
/// The answer has begun.
const ANSWERED: u8 = 3;

impl Phase {
    /// A request's header has come whole.
    pub fn answering(&self) {
        self.set(ANSWERING);
    }

    /// The handler has answered.
    pub fn answered(&self) {
        self.set(ANSWERED);
    }

    // Relaxed: one task reads and writes it.
    fn get(&self) -> u8 {
        self.0.load(Ordering::Relaxed)
    }

    fn set(&self, phase: u8) {
        self.0.store(phase, Ordering::Relaxed);
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
}

impl<T> Timed<T> {
    /// A stream that was just accepted.
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

impl<T: AsyncWrite + Unpin> AsyncWrite for Timed<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
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
        match Pin::new(&mut self.stream).poll_write_vectored(cx, slices) {
            Poll::Ready(result) => self.written(result),
            Poll::Pending => self.poll_stalled(cx).map(Err),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
