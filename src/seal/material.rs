//! 64 secret bytes, and the one place that calls the cipher: AES-256-SIV (RFC 5297) under separate headers.
//!
//! Root, stream and data keys are all made of this; what each may do is said by its own type, not here.

use std::fmt;

use aes_siv::siv::Aes256Siv;
use aes_siv::{Key, KeyInit};
use rand::TryRng;
use rand::rngs::SysRng;
use sha2::{Digest, Sha256};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// The bytes of a key: half of it for S2V, half for the cipher.
pub(super) const KEY_BYTES: usize = 64;

/// The bytes of a wrapped key: the tag and the ciphertext.
pub(super) const WRAPPED_BYTES: usize = TAG_BYTES + KEY_BYTES;

/// The bytes of SIV's tag, which stands before the ciphertext.
pub(super) const TAG_BYTES: usize = 16;

/// Secret bytes. Boxed, so that moving the owner leaves no copy behind.
#[derive(Clone, ZeroizeOnDrop)]
pub(super) struct KeyMaterial(Box<[u8; KEY_BYTES]>);

impl KeyMaterial {
    /// Fresh bytes of the operating system's generator.
    pub(super) fn random() -> Self {
        let mut bytes = Box::new([0; KEY_BYTES]);
        fill_random(&mut *bytes);
        Self(bytes)
    }

    /// A copy of `bytes`, if there are exactly as many as a key has.
    pub(super) fn copied(bytes: &[u8]) -> Option<Self> {
        let mut own = Box::new([0; KEY_BYTES]);
        if bytes.len() != own.len() {
            return None;
        }
        own.copy_from_slice(bytes);
        Some(Self(own))
    }

    /// The bytes themselves.
    pub(super) fn bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }

    /// tag ‖ ciphertext of `plaintext` under the headers, each a separate S2V item.
    pub(super) fn encrypt(&self, headers: &[&[u8]], plaintext: &[u8]) -> Vec<u8> {
        self.cipher().encrypt(headers, plaintext).expect("fewer than SIV's 126 headers")
    }

    /// The inverse of [`KeyMaterial::encrypt`]; `None` if anything is not what was encrypted.
    pub(super) fn decrypt(&self, headers: &[&[u8]], data: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        self.cipher().decrypt(headers, data).ok().map(Zeroizing::new)
    }

    /// Another key, encrypted under this one: [`WRAPPED_BYTES`].
    pub(super) fn wrap(&self, headers: &[&[u8]], inner: &Self) -> Vec<u8> {
        self.encrypt(headers, &inner.0[..])
    }

    /// The inverse of [`KeyMaterial::wrap`].
    pub(super) fn unwrap(&self, headers: &[&[u8]], wrapped: &[u8]) -> Option<Self> {
        Self::copied(&self.decrypt(headers, wrapped)?)
    }

    /// SHA-256(label ‖ key). Reveals nothing of a key, whose 512 bits nobody can try.
    pub(super) fn digest(&self, label: &[u8]) -> [u8; 32] {
        Sha256::new().chain_update(label).chain_update(&self.0[..]).finalize().into()
    }

    fn cipher(&self) -> Aes256Siv {
        let mut key = Key::<Aes256Siv>::default();
        key.copy_from_slice(&self.0[..]);
        let cipher = Aes256Siv::new(&key);
        key.as_mut_slice().zeroize();
        cipher
    }
}

impl fmt::Debug for KeyMaterial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyMaterial")
    }
}

/// Fills `bytes` from the operating system's generator.
pub(super) fn fill_random(bytes: &mut [u8]) {
    SysRng.try_fill_bytes(bytes).expect("the operating system gives random bytes once it has booted");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text
            .chars()
            .filter(|digit| !digit.is_whitespace())
            .map(|digit| u8::try_from(digit.to_digit(16).expect("a hex digit")).expect("under 16"))
            .collect();
        digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
    }

    /// RFC 5297 has vectors for 32-byte keys only; they prove the construction that the 64-byte one shares.
    #[test]
    fn the_vectors_of_rfc_5297_hold() {
        use aes_siv::siv::Aes128Siv;

        let key = hex("fffefdfc fbfaf9f8 f7f6f5f4 f3f2f1f0 f0f1f2f3 f4f5f6f7 f8f9fafb fcfdfeff");
        let header = hex("10111213 14151617 18191a1b 1c1d1e1f 20212223 24252627");
        let plaintext = hex("11223344 55667788 99aabbcc ddee");
        let sealed = hex("85632d07 c6e8f37f 950acd32 0a2ecc93 40c02b96 90c4dc04 daef7f6a fe5c");
        let mut cipher = Aes128Siv::new_from_slice(&key).expect("32 bytes");
        assert_eq!(cipher.encrypt([&header], &plaintext).expect("one header"), sealed);
        assert_eq!(cipher.decrypt([&header], &sealed).expect("authentic"), plaintext);

        let key = hex("7f7e7d7c 7b7a7978 77767574 73727170 40414243 44454647 48494a4b 4c4d4e4f");
        let headers = [
            hex("00112233 44556677 8899aabb ccddeeff deaddada deaddada ffeeddcc bbaa9988 77665544 33221100"),
            hex("10203040 50607080 90a0"),
            hex("09f91102 9d74e35b d84156c5 635688c0"),
        ];
        let plaintext = hex("74686973 20697320 736f6d65 20706c61 696e7465 78742074 6f20656e
            63727970 74207573 696e6720 5349562d 414553");
        let sealed = hex("7bdb6e3b 432667eb 06f4d14b ff2fbd0f cb900f2f ddbe4043 26601965 c889bf17
            dba77ceb 094fa663 b7a3f748 ba8af829 ea64ad54 4a272e9c 485b62a3 fd5c0d");
        let mut cipher = Aes128Siv::new_from_slice(&key).expect("32 bytes");
        assert_eq!(cipher.encrypt(&headers, &plaintext).expect("three headers"), sealed);
        assert_eq!(cipher.decrypt(&headers, &sealed).expect("authentic"), plaintext);
    }

    #[test]
    fn headers_are_separate_items_and_never_one_string() {
        let key = KeyMaterial::random();
        let sealed = key.encrypt(&[b"ab", b"c"], b"value");
        assert!(key.decrypt(&[b"a", b"bc"], &sealed).is_none());
        assert!(key.decrypt(&[b"abc"], &sealed).is_none());
        assert!(key.decrypt(&[b"ab", b"c", b""], &sealed).is_none());
        assert!(key.decrypt(&[b"ab", b"c"], &sealed).is_some());
    }

    #[test]
    fn a_wrapped_key_is_the_same_key_again() {
        let (outer, inner) = (KeyMaterial::random(), KeyMaterial::random());
        let wrapped = outer.wrap(&[b"header"], &inner);
        assert_eq!(wrapped.len(), WRAPPED_BYTES);
        let again = outer.unwrap(&[b"header"], &wrapped).expect("authentic");
        assert_eq!(again.bytes(), inner.bytes());
        assert!(outer.unwrap(&[b"other"], &wrapped).is_none());
        assert!(inner.unwrap(&[b"header"], &wrapped).is_none());
    }
}
