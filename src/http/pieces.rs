//! Answers made piece by piece: the next piece is made once the system has taken the one before from us, so that a
//! client that does not read holds one piece and no thread, however long the answer is.

use axum::body::{Body, Bytes};
use futures_util::stream::try_unfold;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::http::ndjson::BrokenOff;

/// A body of pieces: `next` makes each from a state and gives the state for the one behind it, or `None` at the end.
/// An error breaks the answer off; the client sees a connection that ends too early, never a whole answer.
///
/// Dropped with its connection, it stops at the next await of `next`.
pub fn body<S, B, F>(state: S, next: impl Fn(S) -> F + Clone + Send + 'static) -> Body
where
    S: Send + 'static,
    B: AsRef<[u8]> + Send + 'static,
    F: Future<Output = Result<Option<(B, S)>, BrokenOff>> + Send + 'static,
{
    let turns = std::sync::Arc::new(Semaphore::new(1));
    Body::from_stream(try_unfold(state, move |state| {
        let (turns, next) = (turns.clone(), next.clone());
        async move {
            // hyper buffers hundreds of KiB of whatever is ready; a stalled connection then holds them.
            let turn = turns.acquire_owned().await.map_err(|_| BrokenOff)?;
            let made = next(state).await?;
            Ok::<_, BrokenOff>(
                made.map(|(bytes, state)| (Bytes::from_owner(Piece { bytes, _turn: turn }), state)),
            )
        }
    }))
}

/// A piece that is not yet written; dropped, as hyper does once it is, it lets the next one be made.
struct Piece<B> {
    bytes: B,
    _turn: OwnedSemaphorePermit,
}

impl<B: AsRef<[u8]>> AsRef<[u8]> for Piece<B> {
    fn as_ref(&self) -> &[u8] {
        self.bytes.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use http_body_util::BodyExt as _;

    use super::*;

    /// What a body holds and whether it is whole. Each piece is dropped before the next one is waited for.
    async fn read(mut body: Body) -> (Vec<u8>, bool) {
        let mut bytes = Vec::new();
        while let Some(frame) = body.frame().await {
            match frame {
                Ok(frame) => bytes.extend_from_slice(&frame.into_data().expect("data")),
                Err(_) => return (bytes, false),
            }
        }
        (bytes, true)
    }

    #[tokio::test]
    async fn the_next_piece_is_made_when_the_one_before_has_gone() {
        let made = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&made);
        let mut body = body(0u8, move |number| {
            let made = Arc::clone(&counted);
            async move {
                made.fetch_add(1, Ordering::Relaxed);
                Ok((number < 3).then(|| (vec![number], number + 1)))
            }
        });
        let first = body.frame().await.expect("a piece").expect("a whole answer");
        let waiting = tokio::time::timeout(std::time::Duration::from_millis(20), body.frame()).await;
        assert!(waiting.is_err() && made.load(Ordering::Relaxed) == 1, "a second piece does not wait");
        assert_eq!(first.into_data().expect("data")[..], [0]);
        assert_eq!(read(body).await, (vec![1, 2], true));
    }

    #[tokio::test]
    async fn an_error_breaks_the_answer_off() {
        let body = body(
            0u8,
            async |number| {
                if number < 2 { Ok(Some((vec![number], number + 1))) } else { Err(BrokenOff) }
            },
        );
        assert_eq!(read(body).await, (vec![0, 1], false));
    }
}
