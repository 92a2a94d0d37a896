//! Tokens: credentials that are shown once and kept as their SHA-256.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::Commitment;

/// A token in the clear: 256 random bits as 43 characters of base64url. Without `Display`, and its `Debug` shows
/// nothing: it is exposed by name only.
#[derive(Clone)]
pub struct PlainToken(Zeroizing<String>);

impl PlainToken {
    /// A new token.
    pub fn draw() -> Self {
        let bytes = Zeroizing::new(rand::random::<[u8; 32]>());
        Self(Zeroizing::new(URL_SAFE_NO_PAD.encode(*bytes)))
    }

    /// A new token that tells whoever holds it, beside what is secret, where it belongs: 64 characters.
    pub fn draw_marked(mark: [u8; 16]) -> Self {
        let mut bytes = Zeroizing::new([0; 48]);
        bytes[..32].copy_from_slice(&rand::random::<[u8; 32]>());
        bytes[32..].copy_from_slice(&mark);
        Self(Zeroizing::new(URL_SAFE_NO_PAD.encode(*bytes)))
    }

    /// Where a token belongs that was drawn with a mark, or was made to look as if it had been.
    pub fn mark(&self) -> Option<[u8; 16]> {
        let bytes = Zeroizing::new(URL_SAFE_NO_PAD.decode(self.0.as_bytes()).ok()?);
        let bytes: &[u8; 48] = bytes.as_slice().try_into().ok()?;
        bytes[32..].try_into().ok()
    }

    /// A token that somebody presented; whether it is one tells only its hash.
    pub fn presented(text: &str) -> Self {
        Self(Zeroizing::new(text.to_owned()))
    }

    /// The token, to be shown to its owner once.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What is kept of it. Unsalted: the token has 256 bits, so there is nothing to guess.
    pub fn hash(&self) -> Commitment {
        Commitment(Sha256::digest(self.0.as_bytes()).into())
    }
}

impl fmt::Debug for PlainToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PlainToken")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marked_token_says_where_it_belongs_and_another_says_nothing() {
        let token = PlainToken::draw_marked([7; 16]);
        assert_eq!(PlainToken::presented(token.expose()).mark(), Some([7; 16]));
        assert_ne!(token.hash(), PlainToken::draw_marked([7; 16]).hash());
        for other in [PlainToken::draw(), PlainToken::presented(""), PlainToken::presented("ü")] {
            assert_eq!(other.mark(), None);
        }
    }
}
