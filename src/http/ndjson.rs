//! Answers of many lines of JSON, made by a thread while the client reads them: the thread waits for a slow client,
//! so that memory stays bounded however long the answer is.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Bytes;
use http_body::Frame;
use tokio::sync::mpsc;

/// The media type of lines of JSON.
pub const MEDIA_TYPE: &str = "application/x-ndjson";

/// Lines are gathered into pieces of some such size, of which a few wait for the client.
const PIECE_BYTES: usize = 64 << 10;
const PIECES: usize = 4;

/// The answer was broken off; the client sees a connection that ends too early, never a whole answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the answer was broken off")]
pub struct BrokenOff;

/// The end that lines are written to. Dropped without [`Lines::end`], as in a panic, it breaks the answer off.
pub struct Lines {
    piece: Vec<u8>,
    pieces: mpsc::Sender<Piece>,
}

/// The end that is answered with.
pub struct LinesBody {
    pieces: mpsc::Receiver<Piece>,
    ended: bool,
}

enum Piece {
    Lines(Bytes),
    End,
}

/// Both ends.
pub fn channel() -> (Lines, LinesBody) {
    let (pieces, receiver) = mpsc::channel(PIECES);
    (Lines { piece: Vec::with_capacity(PIECE_BYTES), pieces }, LinesBody { pieces: receiver, ended: false })
}

impl Lines {
    /// Adds a line; blocks while the client is behind. False once it has gone away.
    pub fn push(&mut self, line: &str) -> bool {
        self.piece.extend_from_slice(line.as_bytes());
        self.piece.push(b'\n');
        self.piece.len() < PIECE_BYTES || self.send()
    }

    /// The answer is whole.
    pub fn end(mut self) {
        if self.piece.is_empty() || self.send() {
            // A client that has gone away needs no telling.
            let _gone = self.pieces.blocking_send(Piece::End);
        }
    }

    fn send(&mut self) -> bool {
        let piece = std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE_BYTES));
        self.pieces.blocking_send(Piece::Lines(piece.into())).is_ok()
    }
}

impl http_body::Body for LinesBody {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        self.pieces.poll_recv(cx).map(|piece| match piece {
            Some(Piece::Lines(lines)) => Some(Ok(Frame::data(lines))),
            Some(Piece::End) => {
                self.ended = true;
                None
            }
            None => Some(Err(BrokenOff)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt as _;

    #[tokio::test]
    async fn all_lines_arrive_and_only_a_few_pieces_wait() {
        let (mut lines, mut body) = channel();
        let line = "x".repeat(PIECE_BYTES / 4 - 1);
        let writer = tokio::task::spawn_blocking(move || {
            for _ in 0..100 {
                assert!(lines.push(&line));
            }
            lines.end();
        });
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        assert!(!writer.is_finished(), "100 lines are more than what may wait");
        let mut bytes = 0;
        while let Some(frame) = body.frame().await {
            bytes += frame.expect("the answer is whole").into_data().expect("data").len();
        }
        assert_eq!(bytes, 100 * PIECE_BYTES / 4);
        writer.await.expect("the writer ends");
    }

    #[tokio::test]
    async fn an_answer_whose_writer_dies_ends_with_an_error() {
        let (mut lines, body) = channel();
        tokio::task::spawn_blocking(move || {
            assert!(lines.push("{}"));
            drop(lines);
        });
        assert!(body.collect().await.is_err());
    }

    #[tokio::test]
    async fn the_writer_learns_that_the_client_has_gone() {
        let (mut lines, body) = channel();
        drop(body);
        let gone = tokio::task::spawn_blocking(move || (0..PIECE_BYTES).any(|_| !lines.push("{}")));
        assert!(gone.await.expect("the writer ends"));
    }
}
