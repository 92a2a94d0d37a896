//! API keys as text: a prefix, 30 random characters and a checksum. Shown once and kept as their SHA-256; a mistyped
//! one is told apart before anything is looked up.

use std::fmt;

use rand::RngExt as _;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::seal::Commitment;

/// How many random characters a key has: 30 of base62 are 178 bits.
const RANDOM_CHARS: usize = 30;
/// How many characters the checksum has: 6 of base62 hold a CRC-32.
const CHECKSUM_CHARS: usize = 6;
/// The digits of base62, least first.
const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// An API key in the clear. Without `Display`, and its `Debug` shows nothing: it is exposed by name only.
#[derive(Clone)]
pub struct PlainKey(Zeroizing<String>);

impl PlainKey {
    /// A new key with this prefix.
    pub fn draw(prefix: &str) -> Self {
        // With room for all of it: a buffer that grows leaves its old bytes behind.
        let mut text = Zeroizing::new(String::with_capacity(prefix.len() + RANDOM_CHARS + CHECKSUM_CHARS));
        text.push_str(prefix);
        let mut random = rand::rng();
        for _ in 0..RANDOM_CHARS {
            text.push(char::from(DIGITS[random.random_range(0..DIGITS.len())]));
        }
        for digit in checksum(text.as_bytes()) {
            text.push(char::from(digit));
        }
        Self(text)
    }

    /// A key that somebody presented, if its form and checksum are those of a key with one of these prefixes. Whether
    /// there is such a key tells only its hash.
    pub fn presented(text: &str, prefixes: &[&str]) -> Option<Self> {
        let rest = prefixes.iter().find_map(|prefix| text.strip_prefix(prefix))?;
        let is_formed =
            rest.len() == RANDOM_CHARS + CHECKSUM_CHARS && rest.bytes().all(|byte| DIGITS.contains(&byte));
        let (checked, sum) = text.split_at_checked(text.len().checked_sub(CHECKSUM_CHARS)?)?;
        (is_formed && checksum(checked.as_bytes()) == sum.as_bytes())
            .then(|| Self(Zeroizing::new(text.to_owned())))
    }

    /// The key, to be shown to its maker once.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Its last four characters, by which people tell keys apart: of the checksum, so they say little of the key.
    pub fn last4(&self) -> &str {
        &self.0[self.0.len() - 4..]
    }

    /// What is kept of it. Unsalted: the key has 178 random bits, so there is nothing to guess.
    pub fn hash(&self) -> Commitment {
        Commitment(Sha256::digest(self.0.as_bytes()).into())
    }
}

impl fmt::Debug for PlainKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PlainKey")
    }
}

/// The CRC-32 (IEEE) of a text as six digits of base62, most significant first.
fn checksum(text: &[u8]) -> [u8; CHECKSUM_CHARS] {
    let mut rest = crc32fast::hash(text);
    let mut digits = [0; CHECKSUM_CHARS];
    for digit in digits.iter_mut().rev() {
        *digit = DIGITS[(rest % 62) as usize];
        rest /= 62;
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    const PREFIXES: &[&str] = &["fastn_test_", "fastn_live_"];

    #[test]
    fn a_key_is_its_prefix_random_characters_and_their_checksum() {
        for prefix in PREFIXES {
            let key = PlainKey::draw(prefix);
            assert_eq!(key.expose().len(), 47);
            assert!(key.expose().starts_with(prefix));
            let again = PlainKey::presented(key.expose(), PREFIXES).unwrap();
            assert_eq!((again.hash(), again.last4()), (key.hash(), key.last4()));
            assert_ne!(PlainKey::draw(prefix).hash(), key.hash());
        }
    }

    #[test]
    fn the_checksum_is_that_of_the_contract() {
        // By zlib's crc32 and a table of digits, in another language.
        let text = "fastn_test_0123456789ABCDEFGHIJKLMNOPQRST";
        assert_eq!(&checksum(text.as_bytes()), b"2ygPLV");
        assert!(PlainKey::presented(&format!("{text}2ygPLV"), PREFIXES).is_some());
    }

    #[test]
    fn any_changed_character_is_told() {
        let key = PlainKey::draw("fastn_live_");
        for at in 0..key.expose().len() {
            let mut changed = key.expose().as_bytes().to_vec();
            changed[at] = if changed[at] == b'x' { b'y' } else { b'x' };
            let changed = String::from_utf8(changed).unwrap();
            assert!(PlainKey::presented(&changed, PREFIXES).is_none(), "{at}");
        }
        for text in ["", "fastn_live_", "fastn_live_é", &key.expose()[..46], &format!("{}0", key.expose())] {
            assert!(PlainKey::presented(text, PREFIXES).is_none(), "{text}");
        }
        assert!(PlainKey::presented(key.expose(), &["fastn_test_"]).is_none());
    }
}
