//! The kinds of values that options take: a size, a length of time, a URL.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

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

    #[test]
    fn a_public_url_is_a_scheme_and_an_authority() {
        for text in ["http://localhost:7373", "https://settings.example.org", "https://[::1]:7373"] {
            assert_eq!(text.parse::<PublicUrl>().unwrap().to_string(), text);
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
