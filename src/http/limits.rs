//! Every limit of the HTTP side, with its default. What an organization may use is a quota, not here.

use std::time::Duration;

/// Limits of connections and requests. Each bounds what one client can hold of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections served at once on one listener; a further one is answered 503 and closed. 1,024.
    pub connections: usize,
    /// From the first byte of a request, or from accepting the connection, to the end of a header. 10 s.
    pub header_read: Duration,
    /// Between two requests of a connection. 75 s: longer than the 60 s after which common proxies drop
    /// an idle connection of their own, so that it is the proxy that closes. A streamed answer that
    /// sends nothing for so long ends too.
    pub idle: Duration,
    /// From the end of the header to the end of the body. 30 s.
    pub body_read: Duration,
    /// How long a client may take no byte of an answer that waits for it. 30 s.
    pub write_stall: Duration,
    /// The size of a request's line and header fields, in bytes; more is 431. 32 KiB. (Their number is
    /// hyper's, 100: another one would cost an allocation for each request.)
    pub header_bytes: usize,
    /// The size of a request's body, in bytes; more is 413. 1 MiB.
    pub body_bytes: usize,
    /// How long requests in flight may still take when the server stops. 8 s, so that all of a stop
    /// stays under 10 s.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1024,
            header_read: Duration::from_secs(10),
            idle: Duration::from_secs(75),
            body_read: Duration::from_secs(30),
            write_stall: Duration::from_secs(30),
            header_bytes: 32 * 1024,
            body_bytes: 1024 * 1024,
            drain: Duration::from_secs(8),
        }
    }
}
