//! A stream of server-sent events (WHATWG HTML §9.2), of which only that there was one matters: what changed is
//! asked for afterwards.

use std::time::Duration;

use reqwest::Response;

use crate::client::api::Api;
use crate::client::error::ClientError;

/// A server that is well says at least a comment every 15 s: after three of them the connection is dead.
const SILENCE_MAX: Duration = Duration::from_secs(45);

/// An open stream.
pub(super) struct Events {
    response: Response,
    scan: Scan,
    /// Events that have come and were not given yet.
    come: usize,
}

impl Events {
    /// Opens the stream at a path.
    pub(super) async fn open(api: &Api, path: &str) -> Result<Self, ClientError> {
        Ok(Self { response: api.stream(path).await?, scan: Scan::default(), come: 0 })
    }

    /// Waits for an event; all that have come count as one. Can be cancelled without losing any.
    pub(super) async fn next(&mut self, api: &Api) -> Result<(), ClientError> {
        while self.come == 0 {
            let piece = api.piece(&mut self.response, SILENCE_MAX).await?;
            self.come += self.scan.take(&piece);
        }
        self.come = 0;
        Ok(())
    }
}

const DATA: &[u8; 5] = b"data:";

/// Finds the ends of events, whatever the pieces are that they come in.
#[derive(Default)]
struct Scan {
    /// How a line begins,
    begin: [u8; DATA.len()],
    /// and how long it is so far, as far as that matters.
    length: usize,
    has_data: bool,
}

impl Scan {
    /// Takes a piece in; how many events end in it.
    fn take(&mut self, piece: &[u8]) -> usize {
        let mut ended = 0;
        for byte in piece {
            match byte {
                b'\r' => {}
                b'\n' if self.length == 0 => ended += usize::from(std::mem::take(&mut self.has_data)),
                b'\n' => {
                    self.has_data |= self.length >= DATA.len() && self.begin == *DATA;
                    self.length = 0;
                }
                byte => {
                    if let Some(place) = self.begin.get_mut(self.length) {
                        *place = *byte;
                        self.length += 1;
                    }
                }
            }
        }
        ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_a_block_with_data_however_it_is_cut() {
        let text = "retry: 2000\nid: 0-7\n\n:\n\nid: 0-8\nevent: change\ndata: {}\n\nevent: x\r\ndata:1\r\n\r\n:\n\ndat\n\n";
        assert_eq!(Scan::default().take(text.as_bytes()), 2);
        for size in 1..9 {
            let mut scan = Scan::default();
            let ended: usize = text.as_bytes().chunks(size).map(|piece| scan.take(piece)).sum();
            assert_eq!(ended, 2, "in pieces of {size}");
        }
    }

    #[test]
    fn an_event_that_has_not_ended_is_none_yet() {
        let mut scan = Scan::default();
        assert_eq!(scan.take(b"data: {}\n"), 0);
        assert_eq!(scan.take(b"\n"), 1);
        assert_eq!(scan.take(b"\n\n"), 0);
    }
}
