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
