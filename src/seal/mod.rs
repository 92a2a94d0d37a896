//! Sealing: what of a record is ciphertext, and the one type that plaintext lives in.
//!
//! A [`Sealed`] value names its [`DataKey`]; where the key comes from is the business of [`keyring`]. Nothing
//! here writes a file or a log line, and no key and no plaintext is in any error.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use utoipa::openapi::{KnownFormat, ObjectBuilder, RefOr, Schema, SchemaFormat};
use utoipa::{PartialSchema, ToSchema};
use zeroize::Zeroizing;

use crate::event::ResourceType;
use crate::ids::{DataKeyId, StreamId};
use crate::seal::material::{KeyMaterial, TAG_BYTES, fill_random};

pub mod api_key;
pub mod core_dump;
mod key_file;
pub mod keyring;
mod material;
mod overwriting;
mod padding;
mod recent;
pub mod root;
mod root_rotation;
pub mod signing;
pub mod token;

/// A sealed value as recorded: `{"sealed": key id, "data": format ‖ nonce ‖ tag ‖ ciphertext}`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Sealed {
    /// The data key that opens it.
    #[serde(rename = "sealed")]
    pub key: DataKeyId,
    /// The ciphertext, base64url without padding in JSON and in MessagePack.
    #[schema(value_type = String)]
    pub data: SealedBytes,
}

/// A name as it is recorded where nobody is to read it: what it is found by, and itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlindName {
    /// Its [blind id](DataKey::blind_id).
    pub id: String,
    /// The name, under the same key.
    pub sealed: Sealed,
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealed({})", self.key)
    }
}

/// Bytes that are base64url without padding as text.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedBytes(pub Box<[u8]>);

impl Serialize for SealedBytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&URL_SAFE_NO_PAD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for SealedBytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        let bytes = URL_SAFE_NO_PAD.decode(text.as_bytes()).map_err(serde::de::Error::custom)?;
        Ok(Self(bytes.into_boxed_slice()))
    }
}

/// SHA-256(label ‖ data key): SIV does not commit to its key, so the event that first uses one does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Commitment(pub [u8; 32]);

impl fmt::Debug for Commitment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl FromStr for Commitment {
    type Err = base64::DecodeSliceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; 32];
        let length = URL_SAFE_NO_PAD.decode_slice(text, &mut bytes)?;
        if length == bytes.len() {
            Ok(Self(bytes))
        } else {
            Err(base64::DecodeError::InvalidLength(length).into())
        }
    }
}

impl Serialize for Commitment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl<'de> Deserialize<'de> for Commitment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Plaintext: wiped when dropped, without `Serialize`, `Display` and a `Debug` that shows anything.
///
/// It compares in constant time (for equal lengths).
#[derive(Clone, Default)]
pub struct Plain(Zeroizing<Vec<u8>>);

/// The bytes are not UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a sealed text is not UTF-8")]
pub struct NotText;

impl Plain {
    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The text.
    ///
    /// # Errors
    /// When the bytes are not UTF-8.
    pub fn as_str(&self) -> Result<&str, NotText> {
        std::str::from_utf8(&self.0).map_err(|_| NotText)
    }
}

impl From<String> for Plain {
    /// Takes the buffer over, without a copy.
    fn from(text: String) -> Self {
        Self(Zeroizing::new(text.into_bytes()))
    }
}

impl From<&str> for Plain {
    fn from(text: &str) -> Self {
        Self::from(text.as_bytes())
    }
}

impl From<Vec<u8>> for Plain {
    /// Takes the buffer over, without a copy.
    fn from(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }
}

impl From<&[u8]> for Plain {
    fn from(bytes: &[u8]) -> Self {
        Self(Zeroizing::new(bytes.to_vec()))
    }
}

impl PartialEq for Plain {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Plain {}

impl fmt::Debug for Plain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Plain")
    }
}

/// From text, for the bodies of requests. There is no way back.
impl<'de> Deserialize<'de> for Plain {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::from)
    }
}

impl PartialSchema for Plain {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(utoipa::openapi::schema::Type::String)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::Password)))
            .into()
    }
}

impl ToSchema for Plain {}

/// Where a sealed value stands: the headers that follow from its event and its field.
///
/// Moved to another stream, resource or field, the ciphertext does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealedField<'a> {
    /// The stream.
    pub stream: StreamId,
    /// The kind of resource that the value belongs to.
    pub resource_type: ResourceType,
    /// The resource's id.
    pub resource_id: &'a str,
    /// The field's path within the event's data, such as `email`.
    pub field: &'a str,
}

/// A sealed value that did not open. Says nothing of what is inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The value names another key: the caller looked up the wrong one.
    #[error("the value is sealed under {named}, not under {given}")]
    OtherKey {
        /// The key that the value names.
        named: DataKeyId,
        /// The key that it was tried with.
        given: DataKeyId,
    },
    /// Sealed in a format that this version does not know.
    #[error("the value under {key} is sealed in format {format}: written by a newer Settled?")]
    UnknownFormat {
        /// The key that the value names.
        key: DataKeyId,
        /// The format byte.
        format: u8,
    },
    /// The ciphertext was changed, cut or moved, or the key is not the one that sealed it.
    #[error("the value under {key} does not open: it was changed, or moved from another place")]
    NotAuthentic {
        /// The key that the value names.
        key: DataKeyId,
    },
    /// Authentic, but the length or the padding inside is not what sealing writes.
    #[error("the value under {key} is padded wrongly")]
    Padding {
        /// The key that the value names.
        key: DataKeyId,
    },
}

/// The only format of sealed values so far: AES-256-SIV, nonce of 16 bytes, padded.
const FORMAT: u8 = 1;
const NONCE_BYTES: usize = 16;
const COMMITMENT_LABEL: &[u8] = b"settled data key commitment 1\0";
const SUBKEY_LABEL: &[u8] = b"settled data key subkey 1\0";
/// The bytes of a blind id: so many that no two texts under a key ever have the same.
const BLIND_ID_BYTES: usize = 16;

/// A key that seals values: one per person, per version of a secret, and so on. Looked up by id, never tried.
pub struct DataKey {
    id: DataKeyId,
    material: KeyMaterial,
}

impl DataKey {
    fn new(id: DataKeyId, material: KeyMaterial) -> Self {
        Self { id, material }
    }

    /// The key's id.
    pub fn id(&self) -> DataKeyId {
        self.id
    }

    /// Seals a value under a fresh nonce: equal values never look equal.
    pub fn seal(&self, field: &SealedField<'_>, plain: &Plain) -> Sealed {
        let mut nonce = [0; NONCE_BYTES];
        fill_random(&mut nonce);
        self.seal_with(nonce, field, plain)
    }

    fn seal_with(&self, nonce: [u8; NONCE_BYTES], field: &SealedField<'_>, plain: &Plain) -> Sealed {
        let padded = padding::pad(plain.as_bytes());
        let ciphertext = self.with_headers(&nonce, field, |headers| self.material.encrypt(headers, &padded));
        let data = [&[FORMAT], &nonce[..], &ciphertext].concat();
        Sealed { key: self.id, data: SealedBytes(data.into_boxed_slice()) }
    }

    /// Opens a value that was sealed for this field.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(&self, field: &SealedField<'_>, sealed: &Sealed) -> Result<Plain, OpenError> {
        let key = sealed.key;
        if key != self.id {
            return Err(OpenError::OtherKey { named: key, given: self.id });
        }
        let (format, rest) = sealed.data.0.split_first().ok_or(OpenError::NotAuthentic { key })?;
        if *format != FORMAT {
            return Err(OpenError::UnknownFormat { key, format: *format });
        }
        let (nonce, ciphertext) =
            rest.split_first_chunk::<NONCE_BYTES>().ok_or(OpenError::NotAuthentic { key })?;
        if ciphertext.len() < TAG_BYTES {
            return Err(OpenError::NotAuthentic { key });
        }
        self.with_headers(nonce, field, |headers| self.material.decrypt(headers, ciphertext))
            .ok_or(OpenError::NotAuthentic { key })
            .and_then(|padded| padding::unpad(padded).map(Plain).ok_or(OpenError::Padding { key }))
    }

    /// SHA-256(label ‖ key), to be recorded with the event that first uses the key.
    pub fn commitment(&self) -> Commitment {
        Commitment(self.material.digest(COMMITMENT_LABEL))
    }

    /// A key for another purpose, derived by HMAC-SHA-256 from this one and the purpose's label.
    pub fn subkey(&self, label: &str) -> Zeroizing<[u8; 32]> {
        let mut hmac = keyed(self.material.bytes());
        hmac.update(SUBKEY_LABEL);
        hmac.update(label.as_bytes());
        Zeroizing::new(hmac.finalize().into_bytes().into())
    }

    /// HMAC-SHA-256 of items under the label's subkey. Each item is preceded by its length, so that no two lists
    /// of items look alike.
    pub fn fingerprint(&self, label: &str, items: &[&[u8]]) -> [u8; 32] {
        let mut hmac = keyed(&*self.subkey(label));
        for item in items {
            hmac.update(&u64::try_from(item.len()).expect("no target has more than 64 bits").to_be_bytes());
            hmac.update(item);
        }
        hmac.finalize().into_bytes().into()
    }

    /// What a text is found by where nobody is to read it: the first half of its fingerprint under the label, as 22
    /// characters of base64url. Once the key is gone, nothing leads from one to the other any more.
    pub fn blind_id(&self, label: &str, text: &str) -> String {
        URL_SAFE_NO_PAD.encode(&self.fingerprint(label, &[text.as_bytes()])[..BLIND_ID_BYTES])
    }

    /// Each header is an S2V item of its own: as one string, `a‖bc` and `ab‖c` would be the same.
    fn with_headers<T>(
        &self,
        nonce: &[u8; NONCE_BYTES],
        field: &SealedField<'_>,
        with: impl FnOnce(&[&[u8]]) -> T,
    ) -> T {
        let (stream, key) = (field.stream.to_string(), self.id.to_string());
        with(&[
            &[FORMAT],
            stream.as_bytes(),
            field.resource_type.name().as_bytes(),
            field.resource_id.as_bytes(),
            field.field.as_bytes(),
            key.as_bytes(),
            nonce,
        ])
    }
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes a key of any length")
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DataKey({})", self.id)
    }
}

#[cfg(test)]
mod tests;
