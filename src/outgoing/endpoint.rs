//! A URL that may be asked, by its form and its literal address alone: what can never be reached is refused when it is set.

use std::fmt;
use std::net::IpAddr;

use url::{Host, Url};

use crate::outgoing::Guard;
use crate::outgoing::address::is_public;

/// The longest URL, in bytes.
pub const URL_MAX_BYTES: usize = 2_048;
/// The first port that anybody may open: below it only `https` has its own.
const FIRST_FREE_PORT: u16 = 1_024;
/// The port of `https`.
const HTTPS_PORT: u16 = 443;
/// Domains whose names are a network's own, or nobody's (RFC 6761, RFC 6762, RFC 7686, RFC 8375, and `internal` by ICANN's
/// resolution of July 2024). So are names of one label; one with a last dot no certificate has.
const OWN_DOMAINS: [&str; 8] = ["", "localhost", "local", "internal", "test", "invalid", "onion", "arpa"];

/// A URL that may be asked.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint {
    url: Url,
    scheme: Scheme,
    host: Host,
    port: u16,
}

/// How it is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// In the clear; only to this machine itself.
    Http,
    /// By TLS.
    Https,
}

/// Why a URL may not be asked, whatever its host's name means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidEndpoint {
    /// It is none, or is written in a way that several programs read differently.
    #[error("expected a URL: https://, a host, and a path")]
    Malformed,
    /// It is longer than [`URL_MAX_BYTES`].
    #[error("too long: must have at most {URL_MAX_BYTES} bytes")]
    TooLong,
    /// It is not `https`.
    #[error("expected https://")]
    NotHttps,
    /// It has a name or a password in it.
    #[error("a URL has no name and no password here")]
    Userinfo,
    /// It has a fragment, which no server is told (RFC 6749 §3.1, §3.2).
    #[error("a URL has no fragment here")]
    Fragment,
    /// Its port is another service's.
    #[error("expected port {HTTPS_PORT} or one of {FIRST_FREE_PORT} to 65535")]
    Port,
    /// Its host is no public one.
    #[error("expected a public host")]
    NotPublic,
}

impl Endpoint {
    /// The URL as it is read, if it may be asked.
    ///
    /// # Errors
    /// See [`InvalidEndpoint`].
    pub fn parse(text: &str, guard: Guard) -> Result<Self, InvalidEndpoint> {
        let endpoint = Self::read(text)?;
        match guard {
            Guard::Public => endpoint.check(false)?,
            Guard::PublicOrLoopback => endpoint.check(true)?,
            #[cfg(test)]
            Guard::Nothing => {}
        }
        Ok(endpoint)
    }

    /// How it is spoken to.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Its host: a name in ASCII, or an address.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The whole URL.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// The URL, whatever it leads to.
    fn read(text: &str) -> Result<Self, InvalidEndpoint> {
        if text.len() > URL_MAX_BYTES {
            return Err(InvalidEndpoint::TooLong);
        }
        // A parser drops or turns these where another does not.
        if text.chars().any(|c| c == '\\' || c.is_control() || c.is_whitespace()) {
            return Err(InvalidEndpoint::Malformed);
        }
        let url = Url::parse(text).map_err(|_| InvalidEndpoint::Malformed)?;
        let scheme = match url.scheme() {
            "https" => Scheme::Https,
            "http" => Scheme::Http,
            _ => return Err(InvalidEndpoint::NotHttps),
        };
        let host = url.host().ok_or(InvalidEndpoint::Malformed)?.to_owned();
        let port = url.port_or_known_default().ok_or(InvalidEndpoint::Malformed)?;
        Ok(Self { url, scheme, host, port })
    }

    fn check(&self, allows_loopback: bool) -> Result<(), InvalidEndpoint> {
        let is_here = self.is_loopback();
        if self.scheme == Scheme::Http && !(allows_loopback && is_here) {
            return Err(InvalidEndpoint::NotHttps);
        }
        if !self.url.username().is_empty() || self.url.password().is_some() {
            return Err(InvalidEndpoint::Userinfo);
        }
        if self.url.fragment().is_some() {
            return Err(InvalidEndpoint::Fragment);
        }
        if self.port != HTTPS_PORT && self.port < FIRST_FREE_PORT {
            return Err(InvalidEndpoint::Port);
        }
        let may_be = (is_here && allows_loopback) || self.may_be_public();
        if may_be { Ok(()) } else { Err(InvalidEndpoint::NotPublic) }
    }

    /// Whether it is this machine itself by its form: an address of the loopback, or `localhost` (RFC 6761 §6.3).
    pub fn is_loopback(&self) -> bool {
        match &self.host {
            Host::Ipv4(address) => address.is_loopback(),
            Host::Ipv6(address) => address.is_loopback(),
            Host::Domain(name) => name == "localhost",
        }
    }

    fn may_be_public(&self) -> bool {
        match &self.host {
            Host::Ipv4(address) => is_public(IpAddr::V4(*address)),
            Host::Ipv6(address) => is_public(IpAddr::V6(*address)),
            // Of a name with a last dot the last label is empty.
            Host::Domain(name) => name.rsplit_once('.').is_some_and(|(_, last)| !OWN_DOMAINS.contains(&last)),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.url.fmt(f)
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({})", self.url)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(text: &str, guard: Guard) -> Result<(), InvalidEndpoint> {
        Endpoint::parse(text, guard).map(|_| ())
    }

    #[test]
    fn a_url_is_https_to_a_public_host() {
        for (text, expected) in [
            ("https://example.com/token", Ok(())),
            ("https://example.com:8443/token?tenant=1", Ok(())),
            ("https://8.8.8.8/token", Ok(())),
            ("https://b\u{fc}cher.example/token", Ok(())),
            ("http://example.com/token", Err(InvalidEndpoint::NotHttps)),
            ("ftp://example.com/token", Err(InvalidEndpoint::NotHttps)),
            ("https:example.com", Ok(())),
            ("example.com", Err(InvalidEndpoint::Malformed)),
            ("https://", Err(InvalidEndpoint::Malformed)),
            ("https://exa mple.com", Err(InvalidEndpoint::Malformed)),
            ("https://example.com\\@10.0.0.1", Err(InvalidEndpoint::Malformed)),
            ("https://user@example.com", Err(InvalidEndpoint::Userinfo)),
            ("https://:pass@example.com", Err(InvalidEndpoint::Userinfo)),
            ("https://example.com/#a", Err(InvalidEndpoint::Fragment)),
            ("https://example.com:22", Err(InvalidEndpoint::Port)),
            ("https://example.com:0", Err(InvalidEndpoint::Port)),
            ("https://10.0.0.1", Err(InvalidEndpoint::NotPublic)),
            ("https://intranet", Err(InvalidEndpoint::NotPublic)),
            ("https://example.com.", Err(InvalidEndpoint::NotPublic)),
            ("https://metadata.google.internal", Err(InvalidEndpoint::NotPublic)),
            ("https://localhost", Err(InvalidEndpoint::NotPublic)),
        ] {
            assert_eq!(checked(text, Guard::Public), expected, "{text}");
        }
        let long = format!("https://example.com/{}", "a".repeat(URL_MAX_BYTES));
        assert_eq!(checked(&long, Guard::Public), Err(InvalidEndpoint::TooLong));
    }

    #[test]
    fn http_is_for_this_machine_alone_and_only_where_it_may_be() {
        for text in ["http://127.0.0.1:3000/a", "http://[::1]:3000/a", "http://localhost:3000/a"] {
            assert_eq!(checked(text, Guard::PublicOrLoopback), Ok(()), "{text}");
            assert_eq!(checked(text, Guard::Public), Err(InvalidEndpoint::NotHttps), "{text}");
        }
        let loopback = |text| checked(text, Guard::PublicOrLoopback);
        assert_eq!(loopback("http://example.com/a"), Err(InvalidEndpoint::NotHttps));
        assert_eq!(loopback("http://10.0.0.1:3000/a"), Err(InvalidEndpoint::NotHttps));
        assert_eq!(loopback("https://10.0.0.1:3000/a"), Err(InvalidEndpoint::NotPublic));
        assert_eq!(loopback("http://127.0.0.1:22/a"), Err(InvalidEndpoint::Port));
    }
}
