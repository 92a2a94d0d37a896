//! E-mail addresses, checked by their form.

use std::fmt;
use std::str::FromStr;

use utoipa::openapi::{KnownFormat, SchemaFormat};

use crate::text::checked_text;

/// The longest address, in bytes (RFC 5321 §4.5.3.1.3, less the angle brackets).
const EMAIL_MAX_BYTES: usize = 254;

/// An e-mail address that mail can be sent to: before the `@` ASCII without quotes, as typed; behind it a host name in its
/// ASCII form, lower case, however it was typed. Of two that look alike there is one. Addresses compare as [`folded`].
#[derive(Clone, PartialEq, Eq)]
pub struct EmailAddress(String);

/// The text is no e-mail address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be an e-mail address")]
pub struct InvalidEmail;

impl TryFrom<&str> for EmailAddress {
    type Error = InvalidEmail;

    fn try_from(text: &str) -> Result<Self, InvalidEmail> {
        let options = email_address::Options::default()
            .with_required_tld()
            .without_display_text()
            .without_domain_literal();
        if text.len() > EMAIL_MAX_BYTES {
            return Err(InvalidEmail);
        }
        let (local, typed) = text.rsplit_once('@').ok_or(InvalidEmail)?;
        // RFC 6531 would take letters that nobody sees and that look like others, and few servers take them.
        if !local.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"') {
            return Err(InvalidEmail);
        }
        let domain = idna::domain_to_ascii_strict(typed).map_err(|_| InvalidEmail)?;
        let address = format!("{local}@{domain}");
        let is_one = email_address::EmailAddress::parse_with_options(&address, options).is_ok();
        if is_one && address.len() <= EMAIL_MAX_BYTES { Ok(Self(address)) } else { Err(InvalidEmail) }
    }
}

/// For the command line.
impl FromStr for EmailAddress {
    type Err = InvalidEmail;

    fn from_str(text: &str) -> Result<Self, InvalidEmail> {
        Self::try_from(text)
    }
}

/// The form in which two spellings of an address are the same: for whoever looks one up, and for whoever counts attempts
/// at one. Letters beyond ASCII are compared as they are: some have lower-case forms in ASCII and are of another address.
pub fn folded(address: &str) -> String {
    address.to_ascii_lowercase()
}

/// The domain of an address as the domain of an organization is written: in its ASCII form, lower case.
pub fn domain_of(address: &str) -> Option<String> {
    let (_, domain) = address.rsplit_once('@')?;
    idna::domain_to_ascii_strict(domain).ok()
}

/// Shows nothing: an address is personal.
impl fmt::Debug for EmailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EmailAddress")
    }
}

checked_text!(
    EmailAddress,
    format = SchemaFormat::KnownFormat(KnownFormat::Email),
    max_length = EMAIL_MAX_BYTES
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_domain_of_an_address_is_in_ascii_and_whole() {
        assert_eq!(domain_of("Ada@Example.COM").as_deref(), Some("example.com"));
        assert_eq!(domain_of("ada@mail.example.com").as_deref(), Some("mail.example.com"));
        assert_eq!(domain_of("\"a@b\"@bücher.de").as_deref(), Some("xn--bcher-kva.de"));
        assert_eq!(domain_of("ada"), None);
    }

    #[test]
    fn addresses_pass_and_other_text_does_not() {
        for (text, address) in [
            ("ada@example.com", "ada@example.com"),
            ("Ada.Lovelace+x@Mail.Example.co.uk", "Ada.Lovelace+x@mail.example.co.uk"),
            ("eve@b\u{fc}cher.de", "eve@xn--bcher-kva.de"),
            ("eve@example.\u{ff44}e", "eve@example.de"),
            ("eve@\u{17f}ample.de", "eve@sample.de"),
        ] {
            assert_eq!(EmailAddress::try_from(text).map(|address| address.0).as_deref(), Ok(address));
        }
        let long = format!("{}@example.com", "a".repeat(250));
        for text in [
            "",
            "ada",
            "ada@",
            "@example.com",
            "ada@localhost",
            "Ada <ada@example.com>",
            "a@[127.0.0.1]",
            "\u{3000}ada@example.com",
            "a\u{a0}da@example.com",
            "ada@example.com ",
            "mi\u{212a}e@example.com",
            "ada\u{200b}@example.com",
            "\u{202e}ada@example.com",
            "\"ada\"@example.com",
            "\"a@b\"@example.com",
            "ada@example.com?subject=x",
            "ada@example/c.com",
            "ada@example.com.",
            "ada@-example.com",
            &long,
        ] {
            assert!(EmailAddress::try_from(text).is_err(), "{text}");
        }
    }
}
