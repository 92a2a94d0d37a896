//! Signing: Ed25519 (RFC 8032) under keys that are derived from data keys, and checking such signatures.
//!
//! What is signed, and in which form, is the business of whoever signs; what verifies needs no key ring.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signature as DalekSignature, Signer as _, SigningKey, VerifyingKey};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::ToSchema;

use crate::seal::DataKey;

/// The bytes of a public key.
pub const PUBLIC_KEY_BYTES: usize = 32;
/// The bytes of a signature.
pub const SIGNATURE_BYTES: usize = 64;

const SEED_LABEL: &str = "ed25519 seed";

/// What signs: the private half of a key pair, wiped when dropped and shown by nothing.
pub struct Signer(SigningKey);

/// The public half: what a signature is checked with. As text base64url without padding.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ToSchema)]
#[schema(value_type = String)]
pub struct PublicKey(pub [u8; PUBLIC_KEY_BYTES]);

/// A signature. It says nothing of who made it: that is what a [`PublicKey`] is asked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature(pub [u8; SIGNATURE_BYTES]);

/// The text is no public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not 32 bytes in base64url")]
pub struct InvalidPublicKey;

impl DataKey {
    /// The key pair of a data key: the same each time, and different from that of every other data key.
    pub fn signer(&self) -> Signer {
        Signer(SigningKey::from_bytes(&self.subkey(SEED_LABEL)))
    }
}

impl Signer {
    /// Signs a message. The same message gives the same signature.
    pub fn sign(&self, message: &[u8]) -> Signature {
        Signature(self.0.sign(message).to_bytes())
    }

    /// The public half.
    pub fn public_key(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({})", self.public_key())
    }
}

impl PublicKey {
    /// Whether the private half of this key signed the message. Strict: of the encodings that some verifiers take and
    /// others do not, none is taken, so that everybody comes to the same answer.
    pub fn verifies(&self, message: &[u8], signature: &Signature) -> bool {
        VerifyingKey::from_bytes(&self.0)
            .and_then(|key| key.verify_strict(message, &DalekSignature::from_bytes(&signature.0)))
            .is_ok()
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for PublicKey {
    type Err = InvalidPublicKey;

    fn from_str(text: &str) -> Result<Self, InvalidPublicKey> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| InvalidPublicKey)?;
        bytes.try_into().map(Self).map_err(|_| InvalidPublicKey)
    }
}

impl Serialize for PublicKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

#[cfg(test)]
impl Signer {
    /// The key pair of a seed all of whose bytes are this one.
    pub(crate) fn of_seed(byte: u8) -> Self {
        Self(SigningKey::from_bytes(&[byte; 32]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::given::id;
    use crate::seal::material::KeyMaterial;

    /// The key pair of a data key all of whose bytes are this one.
    fn signer(byte: u8) -> Signer {
        DataKey::new(id(1), KeyMaterial::copied(&[byte; 64]).unwrap()).signer()
    }

    #[test]
    fn a_signature_holds_for_its_message_and_its_key_alone() {
        let (signer, other) = (signer(1), signer(2));
        let signature = signer.sign(b"message");
        assert!(signer.public_key().verifies(b"message", &signature));
        assert!(!signer.public_key().verifies(b"messag", &signature));
        assert!(!other.public_key().verifies(b"message", &signature));
        for byte in 0..SIGNATURE_BYTES {
            let mut altered = signature;
            altered.0[byte] ^= 1;
            assert!(!signer.public_key().verifies(b"message", &altered), "byte {byte}");
        }
    }

    /// What is on disk for ever: the public key of a data key whose bytes are all 1.
    #[test]
    fn the_pair_of_a_data_key_stays_the_same() {
        assert_eq!(signer(1).public_key().to_string(), "rzJmRncZ6DaVmVa4ZChluT0uvSK_ZynWMOMZ_dkqma8");
    }

    /// RFC 8032, section 7.1, the second test.
    #[test]
    fn the_vectors_of_rfc_8032_verify() {
        let key = PublicKey(*b"\x3d\x40\x17\xc3\xe8\x43\x89\x5a\x92\xb7\x0a\xa7\x4d\x1b\x7e\xbc\x9c\x98\x2c\xcf\x2e\xc4\x96\x8c\xc0\xcd\x55\xf1\x2a\xf4\x66\x0c");
        let signature = Signature(*b"\x92\xa0\x09\xa9\xf0\xd4\xca\xb8\x72\x0e\x82\x0b\x5f\x64\x25\x40\xa2\xb2\x7b\x54\x16\x50\x3f\x8f\xb3\x76\x22\x23\xeb\xdb\x69\xda\x08\x5a\xc1\xe4\x3e\x15\x99\x6e\x45\x8f\x36\x13\xd0\xf1\x1d\x8c\x38\x7b\x2e\xae\xb4\x30\x2a\xee\xb0\x0d\x29\x16\x12\xbb\x0c\x00");
        assert!(key.verifies(b"\x72", &signature));
        assert!(!key.verifies(b"\x73", &signature));
    }

    #[test]
    fn a_public_key_as_text_is_read_back() {
        let key = signer(3).public_key();
        assert_eq!(key.to_string().parse(), Ok(key));
        assert_eq!("AAAA".parse::<PublicKey>(), Err(InvalidPublicKey));
        assert_eq!("not base64!".parse::<PublicKey>(), Err(InvalidPublicKey));
    }
}
