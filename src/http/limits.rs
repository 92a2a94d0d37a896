//! Every limit of the HTTP side, with its default. What an organization may use is a quota, not here.

use std::time::Duration;

use ipnet::IpNet;

/// Limits of connections and requests. Each bounds what one client can hold of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections served at once on one listener. One without a request gives way to a further one; where there is
    /// none, that is answered 503 and closed. 1,024.
    pub connections: usize,
    /// As [`Limits::connections`], of one network of clients. 256: an office behind one address has enough, and
    /// four networks are needed to take all.
    pub connections_per_network: usize,
    /// Peers behind which many clients stand, so that they are not counted by network. None.
    pub proxies: Vec<IpNet>,
    /// From the first byte of a request to the end of its header; also for a TLS handshake, and from there to the
    /// first byte. 10 s.
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
    /// How much of what is read or written a connection may gather, in bytes. 64 KiB, where hyper's own would be
    /// 400 KiB.
    pub buffer_bytes: usize,
    /// The size of a request's body, in bytes; more is 413. 1 MiB.
    pub body_bytes: usize,
    /// How much memory all bodies may take together, beyond 16 KiB of each, in bytes; more is 503. 64 MiB.
    pub body_memory: usize,
    /// How long requests in flight may still take when the server stops. 8 s, so that all of a stop
    /// stays under 10 s.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1024,
            connections_per_network: 256,
            proxies: Vec::new(),
            header_read: Duration::from_secs(10),
            idle: Duration::from_secs(75),
            body_read: Duration::from_secs(30),
            write_stall: Duration::from_secs(30),
            header_bytes: 32 * 1024,
            buffer_bytes: 64 * 1024,
            body_bytes: 1024 * 1024,
            body_memory: 64 * 1024 * 1024,
            drain: Duration::from_secs(8),
        }
    }
}
