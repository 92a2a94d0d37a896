//! The kinds of values that options take: a size, a length of time, a URL, a mail server, a DNS server.

use std::convert::Infallible;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use crate::http::percent;
use crate::seal::Plain;

/// The URL under which users reach the server: `http` or `https`, a host, perhaps a port; no path, for the API
/// stands at the root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicUrl(String);

impl FromStr for PublicUrl {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str = "expected http:// or https://, a host, and perhaps a port";
        let url = text.strip_suffix('/').unwrap_or(text);
        let uri: hyper::Uri = url.parse().map_err(|_| EXPECTED)?;
        let plain = matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.host().is_some_and(|host| !host.is_empty())
            && uri.authority().is_some_and(|authority| !authority.as_str().contains('@'))
            && uri.path_and_query().is_none_or(|path| path.as_str() == "/");
        if plain && !url.ends_with('/') { Ok(Self(url.to_owned())) } else { Err(EXPECTED) }
    }
}

impl fmt::Display for PublicUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl PublicUrl {
    /// Its host, without the brackets of an IPv6 address.
    pub fn host(&self) -> String {
        let uri: hyper::Uri = self.0.parse().unwrap_or_default();
        uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned()
    }
}

/// A mail server's URL, `smtp://` or `smtps://`, as it was given.
///
/// Reading it never fails, for what fails is quoted by the parser of the command line, and it may hold a password. What
/// is wrong with it tells [`SmtpUrl::server`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SmtpUrl(Plain);

/// A mail server, and how to talk to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SmtpServer {
    /// How TLS comes about.
    pub tls: SmtpTls,
    /// Its name or address; certificates must be for it.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// A name and a password.
    pub credentials: Option<(String, Plain)>,
}

/// How TLS comes about with a mail server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SmtpTls {
    /// From the first byte.
    FromTheFirstByte,
    /// By STARTTLS; without it no mail is sent.
    Starttls,
    /// Not at all.
    None,
}

impl FromStr for SmtpUrl {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(Plain::from(text)))
    }
}

impl SmtpUrl {
    /// The server: `smtps` speaks TLS from the first byte, `smtp` by STARTTLS. To this machine `smtp` speaks without TLS,
    /// and `?tls=never` or `?tls=required` says otherwise.
    ///
    /// # Errors
    /// What is expected, without anything of the URL.
    pub fn server(&self) -> Result<SmtpServer, &'static str> {
        const EXPECTED: &str = "expected smtp:// or smtps://, perhaps a name and a password, a host, perhaps a port, \
            and perhaps ?tls=required or ?tls=never";
        let uri: hyper::Uri = self.0.as_str().map_err(|_| EXPECTED)?.parse().map_err(|_| EXPECTED)?;
        let (authority, host) = (uri.authority().ok_or(EXPECTED)?, uri.host().ok_or(EXPECTED)?);
        let host = host.trim_matches(['[', ']']);
        let is_here = host == "localhost" || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback());
        let (tls, port) = match (uri.scheme_str(), uri.query()) {
            (Some("smtps"), None) => (SmtpTls::FromTheFirstByte, 465),
            (Some("smtp"), None) if is_here => (SmtpTls::None, 25),
            (Some("smtp"), Some("tls=never")) => (SmtpTls::None, 25),
            (Some("smtp"), None | Some("tls=required")) => (SmtpTls::Starttls, 587),
            _ => return Err(EXPECTED),
        };
        if host.is_empty() || !matches!(uri.path(), "" | "/") {
            return Err(EXPECTED);
        }
        let decoded = |text| percent::decode(text).map(|text| text.into_owned()).map_err(|_| EXPECTED);
        let credentials = match authority.as_str().rsplit_once('@').map(|(user, _)| user.split_once(':')) {
            None => None,
            Some(Some((name, password))) => Some((decoded(name)?, Plain::from(decoded(password)?))),
            Some(None) => return Err(EXPECTED),
        };
        let port = authority.port_u16().unwrap_or(port);
        Ok(SmtpServer { tls, host: host.to_owned(), port, credentials })
    }
}

/// A DNS server: an IP address, and perhaps a port, `192.0.2.53` or `[2001:db8::53]:5353`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DnsServer(SocketAddr);

impl DnsServer {
    /// Where it is.
    pub fn address(self) -> SocketAddr {
        self.0
    }
}

impl FromStr for DnsServer {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        let alone = || text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 53));
        text.parse().or_else(|_| alone()).map(Self).map_err(|_| "expected an IP address, and perhaps a port")
    }
}

/// A length of time: `90s`, `15m`, `12h`, `30d`, or several of them, `1h30m`. Longer than nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(Duration);

impl Span {
    /// The length.
    pub fn duration(self) -> Duration {
        self.0
    }
}

impl FromStr for Span {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str = "expected a time such as 90s, 15m, 12h or 30d";
        let span: jiff::Span = text.parse().map_err(|_| EXPECTED)?;
        let exact = span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()).map_err(|_| EXPECTED)?;
        match Duration::try_from(exact) {
            Ok(duration) if !duration.is_zero() => Ok(Self(duration)),
            _ => Err(EXPECTED),
        }
    }
}

/// A number of bytes: `512`, `64KiB`, `16MiB`, `2GiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(u64);

impl Size {
    /// The number of bytes.
    pub fn bytes(self) -> u64 {
        self.0
    }
}

const UNITS: [(&str, u64); 4] = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("B", 1)];

impl FromStr for Size {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str = "expected a size such as 4096, 64KiB, 16MiB or 2GiB";
        let (number, unit) = UNITS
            .iter()
            .find_map(|(name, unit)| text.strip_suffix(name).map(|number| (number, *unit)))
            .unwrap_or((text, 1));
        let number: u64 = number.parse().map_err(|_| EXPECTED)?;
        number.checked_mul(unit).map(Self).ok_or(EXPECTED)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact =
            UNITS.iter().rev().skip(1).find(|(_, unit)| self.0 >= *unit && self.0.is_multiple_of(*unit));
        match exact {
            Some((name, unit)) => write!(f, "{}{name}", self.0 / unit),
            None => write!(f, "{}B", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dns_server_is_an_address_and_perhaps_a_port() {
        let read = |text: &str| DnsServer::from_str(text).map(|server| server.address().to_string());
        assert_eq!(read("192.0.2.53").as_deref(), Ok("192.0.2.53:53"));
        assert_eq!(read("[2001:db8::53]:5353").as_deref(), Ok("[2001:db8::53]:5353"));
        assert_eq!(read("2001:db8::53").as_deref(), Ok("[2001:db8::53]:53"));
        for text in ["", "dns.example.com", "192.0.2.53:", "192.0.2.53:65536"] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_size_is_read_and_written_in_binary_units() {
        for (text, bytes, shown) in [
            ("0", 0, "0B"),
            ("4096", 4096, "4KiB"),
            ("1500B", 1500, "1500B"),
            ("64KiB", 65_536, "64KiB"),
            ("16MiB", 16 << 20, "16MiB"),
            ("2GiB", 2 << 30, "2GiB"),
        ] {
            let size: Size = text.parse().unwrap();
            assert_eq!((size.0, size.to_string().as_str()), (bytes, shown), "{text}");
        }
    }

    #[test]
    fn a_size_without_a_number_or_beyond_64_bits_is_refused() {
        for text in ["", "MiB", "1.5MiB", "-1", "16MB", "99999999999GiB"] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_length_of_time_counts_days_as_24_hours() {
        for (text, seconds) in [("90s", 90), ("12h", 43_200), ("30d", 2_592_000), ("1h30m", 5_400)] {
            assert_eq!(text.parse::<Span>().unwrap().0.as_secs(), seconds, "{text}");
        }
    }

    #[test]
    fn no_time_at_all_or_one_without_a_unit_is_refused() {
        for text in ["", "0s", "-5s", "90", "1mo", "soon"] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
    }

    fn smtp(text: &str) -> Result<SmtpServer, &'static str> {
        text.parse::<SmtpUrl>().unwrap().server()
    }

    #[test]
    fn a_mail_server_is_spoken_to_with_tls_unless_it_is_here() {
        use SmtpTls::{FromTheFirstByte, None as Never, Starttls};
        for (text, tls, host, port) in [
            ("smtps://mail.example.org", FromTheFirstByte, "mail.example.org", 465),
            ("smtps://mail.example.org:4650", FromTheFirstByte, "mail.example.org", 4650),
            ("smtp://mail.example.org", Starttls, "mail.example.org", 587),
            ("smtp://mail.example.org:25/", Starttls, "mail.example.org", 25),
            ("smtp://relay:25?tls=never", Never, "relay", 25),
            ("smtp://localhost", Never, "localhost", 25),
            ("smtp://127.0.0.1:2525", Never, "127.0.0.1", 2525),
            ("smtp://[::1]:2525", Never, "::1", 2525),
            ("smtp://localhost:587?tls=required", Starttls, "localhost", 587),
        ] {
            let server = SmtpServer { tls, host: host.to_owned(), port, credentials: None };
            assert_eq!(smtp(text), Ok(server), "{text}");
        }
    }

    #[test]
    fn a_mail_servers_password_may_hold_anything_and_is_shown_by_nothing() {
        let url: SmtpUrl = "smtps://settled%40example.org:a%3Ab%2Fc%40d@mail.example.org".parse().unwrap();
        let (name, password) = url.server().unwrap().credentials.unwrap();
        assert_eq!((name.as_str(), password.as_str()), ("settled@example.org", Ok("a:b/c@d")));
        assert_eq!(format!("{url:?}"), "SmtpUrl(Plain)");
    }

    #[test]
    fn what_is_no_mail_servers_url_is_refused_without_being_quoted() {
        for text in [
            "",
            "mail.example.org",
            "http://mail.example.org",
            "smtp://",
            "smtp://hunter2@mail.example.org",
            "smtp://a:%zz@mail.example.org",
            "smtp://mail.example.org/inbox",
            "smtps://mail.example.org?tls=never",
            "smtp://mail.example.org?tls=maybe",
        ] {
            let why = smtp(text).unwrap_err();
            assert!(why.starts_with("expected smtp://") && !why.contains("hunter2"), "{text}: {why}");
        }
    }

    #[test]
    fn a_public_url_is_a_scheme_and_an_authority() {
        for text in ["http://localhost:7373", "https://settings.example.org", "https://[::1]:7373"] {
            assert_eq!(text.parse::<PublicUrl>().unwrap().to_string(), text);
        }
        for (text, host) in [("http://localhost:7373", "localhost"), ("https://[::1]:7373", "::1")] {
            assert_eq!(text.parse::<PublicUrl>().unwrap().host(), host);
        }
        assert_eq!("https://a.example/".parse::<PublicUrl>().unwrap().to_string(), "https://a.example");
        for text in [
            "",
            "example.org",
            "ftp://a",
            "https://",
            "https://a/b",
            "https://a?b",
            "https://u:p@a",
            "https://a//",
        ] {
            assert!(text.parse::<PublicUrl>().is_err(), "{text}");
        }
    }
}
