//! The values of general settings, checked: time zones and e-mail domains.

use serde::Serialize;

use crate::text::{checked_text, shown_text};

/// An IANA time zone name that this build knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Timezone(String);

/// The text is no IANA time zone name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be an IANA time zone name such as `Europe/Paris`")]
pub struct UnknownTimezone;

impl TryFrom<&str> for Timezone {
    type Error = UnknownTimezone;

    fn try_from(text: &str) -> Result<Self, UnknownTimezone> {
        // The longest IANA name has 32 characters; the database also answers to other letter case.
        if text.len() > 64 {
            return Err(UnknownTimezone);
        }
        // The one entry of the database that is no place's time: that of a machine which nobody has set.
        if text.eq_ignore_ascii_case("Factory") {
            return Err(UnknownTimezone);
        }
        let zone = jiff::tz::db().get(text).map_err(|_| UnknownTimezone)?;
        zone.iana_name().map(|name| Self(name.to_owned())).ok_or(UnknownTimezone)
    }
}

/// A registrable domain (one label below a public suffix) in its ASCII form, lower case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EmailDomain(String);

/// Why a text is no e-mail domain of an organization.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDomain {
    /// Not a domain name at all, or not directly below a public suffix.
    #[error("must be a registrable domain such as `example.com`")]
    NotRegistrable,
    /// A domain at which anybody can have an address.
    #[error("public email domain: anybody can have an address at this domain")]
    Public,
}

/// Domains at which anybody can have an address: the large free mail providers.
const PUBLIC_MAIL_DOMAINS: &[&str] = &[
    "126.com",
    "163.com",
    "aol.com",
    "duck.com",
    "fastmail.com",
    "free.fr",
    "gmail.com",
    "gmx.com",
    "gmx.de",
    "gmx.net",
    "googlemail.com",
    "hey.com",
    "hotmail.com",
    "hotmail.co.uk",
    "hotmail.fr",
    "icloud.com",
    "laposte.net",
    "libero.it",
    "live.com",
    "mac.com",
    "mail.com",
    "mail.ru",
    "mailinator.com",
    "me.com",
    "msn.com",
    "naver.com",
    "orange.fr",
    "outlook.com",
    "pm.me",
    "proton.me",
    "protonmail.ch",
    "protonmail.com",
    "qq.com",
    "rediffmail.com",
    "seznam.cz",
    "t-online.de",
    "tutanota.com",
    "web.de",
    "yahoo.com",
    "yahoo.co.in",
    "yahoo.co.jp",
    "yahoo.co.uk",
    "yahoo.de",
    "yahoo.fr",
    "yandex.com",
    "yandex.ru",
    "ymail.com",
    "zoho.com",
];

impl TryFrom<&str> for EmailDomain {
    type Error = InvalidDomain;

    fn try_from(text: &str) -> Result<Self, InvalidDomain> {
        let ascii = idna::domain_to_ascii_strict(text).map_err(|_| InvalidDomain::NotRegistrable)?;
        if PUBLIC_MAIL_DOMAINS.contains(&ascii.as_str()) {
            return Err(InvalidDomain::Public);
        }
        let registrable = psl::domain(ascii.as_bytes())
            .is_some_and(|domain| domain.as_bytes() == ascii.as_bytes() && domain.suffix().is_known());
        if registrable { Ok(Self(ascii)) } else { Err(InvalidDomain::NotRegistrable) }
    }
}

checked_text!(Timezone, description = "An IANA time zone name.");
shown_text!(Timezone);
checked_text!(EmailDomain, description = "A registrable domain.");
shown_text!(EmailDomain);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_zone_is_known_and_spelled_as_iana_does() {
        assert_eq!(Timezone::try_from("Europe/Paris").unwrap().as_str(), "Europe/Paris");
        assert_eq!(Timezone::try_from("UTC").unwrap().as_str(), "UTC");
        for none in ["Mars/Olympus", "Factory"] {
            assert_eq!(Timezone::try_from(none), Err(UnknownTimezone));
        }
    }

    #[test]
    fn only_registrable_domains_that_are_not_everybodys_pass() {
        assert_eq!(EmailDomain::try_from("Example.COM").unwrap().as_str(), "example.com");
        assert_eq!(EmailDomain::try_from("bücher.de").unwrap().as_str(), "xn--bcher-kva.de");
        for text in [
            "com",
            "co.uk",
            "mail.example.com",
            "localhost",
            "a b.com",
            "",
            "127.0.0.1",
            "example.invalidtld",
        ] {
            assert_eq!(EmailDomain::try_from(text), Err(InvalidDomain::NotRegistrable), "{text}");
        }
        assert_eq!(EmailDomain::try_from("gmail.com"), Err(InvalidDomain::Public));
    }
}
