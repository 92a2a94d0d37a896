//! Where a request comes from: the peer of its connection, or what a trusted proxy says.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use axum::http::header::USER_AGENT;
use axum::http::{HeaderMap, HeaderName};
use ipnet::IpNet;

use crate::ids::{SessionId, StreamId};
use crate::seal::{DataKey, Plain, Sealed};
use crate::settings::sessions::{ip_field, user_agent_field};

/// The longest user agent that is recorded, in characters.
const USER_AGENT_MAX_CHARS: usize = 256;
/// The list that proxies append to.
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The other end of a connection; an extension of every request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A TCP connection.
    Tcp(SocketAddr),
    /// The operator's socket. Whoever may open that file is the operator.
    Unix,
}

/// The client's address; none over the operator's socket.
///
/// It is the peer's, unless that is a trusted proxy: then the right-most address of `X-Forwarded-For` that
/// is not a trusted proxy itself. What stands left of it, anybody may have written. Where an entry cannot be
/// read, or all are trusted, it is the last proxy that could be followed.
pub fn client_address(peer: Peer, headers: &HeaderMap, trusted: &[IpNet]) -> Option<IpAddr> {
    let Peer::Tcp(peer) = peer else { return None };
    let is_trusted = |address: IpAddr| trusted.iter().any(|net| net.contains(&address));
    let mut address = peer.ip().to_canonical();
    if !is_trusted(address) {
        return Some(address);
    }
    let lines: Vec<_> = headers.get_all(X_FORWARDED_FOR).iter().collect();
    let entries = lines.iter().rev().flat_map(|line| line.to_str().unwrap_or("").rsplit(','));
    for entry in entries {
        let Some(forwarded) = entry_address(entry.trim()) else { break };
        address = forwarded;
        if !is_trusted(address) {
            break;
        }
    }
    Some(address)
}

/// From where a session is opened: sealed into the event that opens it.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    /// The client's address.
    pub ip: Option<IpAddr>,
    user_agent: Option<String>,
}

impl Origin {
    /// Of a request.
    pub fn of(headers: &HeaderMap, ip: Option<IpAddr>) -> Self {
        let user_agent = headers
            .get(USER_AGENT)
            .and_then(|value| value.to_str().ok())
            .map(|text| text.chars().take(USER_AGENT_MAX_CHARS).collect());
        Self { ip, user_agent }
    }

    /// Address and user agent as a session of a stream records them.
    pub fn seal(
        &self,
        under: &DataKey,
        stream: StreamId,
        session: SessionId,
    ) -> (Option<Sealed>, Option<Sealed>) {
        let id = session.to_string();
        let ip = self.ip.map(|ip| under.seal(&ip_field(stream, &id), &Plain::from(ip.to_string())));
        let user_agent = self.user_agent.as_deref();
        let user_agent =
            user_agent.map(|text| under.seal(&user_agent_field(stream, &id), &Plain::from(text)));
        (ip, user_agent)
    }
}

/// The network of a client: its /24 or /64, the least that one customer of a provider commonly holds. A /32 would let
/// whoever rents a few neighbouring servers count as many, and a single IPv6 host has 2^64 addresses.
pub fn network(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(Ipv4Addr::from_bits(address.to_bits() & !0xff)),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
    }
}

/// Proxies write `192.0.2.1`, `192.0.2.1:4711`, `2001:db8::1`, `[2001:db8::1]` or `[2001:db8::1]:4711`.
fn entry_address(entry: &str) -> Option<IpAddr> {
    let bare = entry.strip_prefix('[').and_then(|entry| entry.strip_suffix(']')).unwrap_or(entry);
    let address = bare.parse::<IpAddr>().or_else(|_| entry.parse::<SocketAddr>().map(|address| address.ip()));
    address.ok().map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn address(peer: &str, lines: &[&'static str]) -> String {
        let trusted = ["10.0.0.0/8".parse().expect("a network"), "fd00::/8".parse().expect("a network")];
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(X_FORWARDED_FOR, HeaderValue::from_static(line));
        }
        let peer = Peer::Tcp(peer.parse().expect("an address"));
        client_address(peer, &headers, &trusted).expect("an address").to_string()
    }

    #[test]
    fn a_stranger_cannot_claim_another_address() {
        assert_eq!(address("192.0.2.1:5", &["198.51.100.7"]), "192.0.2.1");
        assert_eq!(address("[::ffff:192.0.2.1]:5", &["198.51.100.7"]), "192.0.2.1");
    }

    #[test]
    fn behind_proxies_it_is_the_right_most_untrusted_address() {
        assert_eq!(address("10.0.0.1:5", &["1.2.3.4, 198.51.100.7"]), "198.51.100.7");
        assert_eq!(address("10.0.0.1:5", &["1.2.3.4, 198.51.100.7, 10.0.0.2"]), "198.51.100.7");
        assert_eq!(address("10.0.0.1:5", &["1.2.3.4, 198.51.100.7", "10.0.0.2"]), "198.51.100.7");
        assert_eq!(address("[fd00::1]:5", &["[2001:db8::1]:80"]), "2001:db8::1");
        assert_eq!(address("[::ffff:10.0.0.1]:5", &["198.51.100.7:4711"]), "198.51.100.7");
    }

    #[test]
    fn where_the_list_ends_it_is_the_last_proxy_that_was_followed() {
        assert_eq!(address("10.0.0.1:5", &[]), "10.0.0.1");
        assert_eq!(address("10.0.0.1:5", &["10.0.0.3, 10.0.0.2"]), "10.0.0.3");
        assert_eq!(address("10.0.0.1:5", &["198.51.100.7, unknown, 10.0.0.2"]), "10.0.0.2");
    }

    #[test]
    fn the_operators_socket_has_no_address() {
        assert_eq!(client_address(Peer::Unix, &HeaderMap::new(), &[]), None);
    }
}
