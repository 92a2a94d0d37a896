//! Signed notes and the keys that verify them, exactly as C2SP has them (c2sp.org/signed-note): a text, an empty line, and
//! a line a signature.
//!
//! Ed25519 alone: of other kinds of signatures a reader knows no key, and ignores them as the specification says.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use crate::seal::signing::{PUBLIC_KEY_BYTES, PublicKey, SIGNATURE_BYTES, Signature, Signer};

/// The kind of signature that is an Ed25519 signature over the note's text.
const ED25519: u8 = 0x01;
/// The bytes of a key's id.
const KEY_ID_BYTES: usize = 4;
/// The longest note that is read: a checkpoint is some 250 bytes, and signatures of others may stand below.
pub const NOTE_MAX_BYTES: usize = 64 << 10;
const SIGNATURE_BEGINS: &str = "— ";

/// What a note is checked with: a name and a public key. As text `<name>+<id, hexadecimal>+<kind ‖ key, base64>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    public_key: PublicKey,
}

/// The text is no verifier key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKey {
    /// It is not three parts with a plus between them.
    #[error("expected `<name>+<id>+<key>`, as `/v1/proof/keys` answers it")]
    Form,
    /// The key is not of a kind that is known.
    #[error("the key is not an Ed25519 key")]
    Kind,
    /// The id is not that of the name and the key: one of the three was altered.
    #[error("the key's id is not that of its name and key: it was altered")]
    Id,
}

/// Why a note is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// It is no note.
    #[error("not a signed note: {0}")]
    Malformed(&'static str),
    /// No signature is of a key that was given.
    #[error("it is not signed by {0}")]
    Unsigned(Wanted),
    /// A signature that claims to be of a known key is not.
    #[error("the signature of {0} does not hold: the text or the signature was altered")]
    Forged(String),
}

/// Whom a signature was wanted of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted(Vec<String>);

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0[..] {
            [] => f.write_str("anybody, for no key was given"),
            [name] => f.write_str(name),
            names => write!(f, "any of {}", names.join(", ")),
        }
    }
}

impl VerifierKey {
    /// A key by the name that it signs under.
    pub fn new(name: impl Into<String>, public_key: PublicKey) -> Self {
        Self { name: name.into(), public_key }
    }

    /// The name that it signs under.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The public key itself.
    pub fn public_key(&self) -> PublicKey {
        self.public_key
    }

    /// The key's id: the first bytes of SHA-256(name ‖ newline ‖ kind ‖ key).
    pub fn id(&self) -> [u8; KEY_ID_BYTES] {
        let mut hasher = Sha256::new();
        hasher.update(self.name.as_bytes());
        hasher.update(b"\n");
        hasher.update(self.encoded());
        let [a, b, c, d, ..] = <[u8; 32]>::from(hasher.finalize());
        [a, b, c, d]
    }

    fn encoded(&self) -> Vec<u8> {
        [&[ED25519][..], &self.public_key.0].concat()
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = u32::from_be_bytes(self.id());
        write!(f, "{}+{id:08x}+{}", self.name, STANDARD.encode(self.encoded()))
    }
}

impl FromStr for VerifierKey {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(InvalidKey::Form);
        };
        if !is_key_name(name) {
            return Err(InvalidKey::Form);
        }
        let key = STANDARD.decode(key).map_err(|_| InvalidKey::Form)?;
        let Some((&ED25519, key)) = key.split_first() else { return Err(InvalidKey::Kind) };
        let key: [u8; PUBLIC_KEY_BYTES] = key.try_into().map_err(|_| InvalidKey::Kind)?;
        let key = Self::new(name, PublicKey(key));
        if format!("{:08x}", u32::from_be_bytes(key.id())) == id { Ok(key) } else { Err(InvalidKey::Id) }
    }
}

/// Verifier keys, one a line; empty lines and those that begin with `#` are passed over.
///
/// # Errors
/// The number of the first line that is no key, from 1, and why.
pub fn read_keys(text: &str) -> Result<Vec<VerifierKey>, (usize, InvalidKey)> {
    let lines = (1..).zip(text.lines().map(str::trim));
    let meant = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    meant.map(|(number, line)| line.parse().map_err(|error| (number, error))).collect()
}

/// Whether signatures can be made under a name.
pub fn is_key_name(name: &str) -> bool {
    !name.is_empty() && !name.chars().any(|c| c.is_whitespace() || c.is_control() || c == '+')
}

/// A text that ends with a newline, as a note signed under a name.
pub fn sign(text: &str, name: &str, signer: &Signer) -> String {
    let key = VerifierKey::new(name, signer.public_key());
    let signature = [&key.id()[..], &signer.sign(text.as_bytes()).0].concat();
    format!("{text}\n{SIGNATURE_BEGINS}{name} {}\n", STANDARD.encode(signature))
}

/// The text of a note that one of these keys signed, with its newline at the end. What others signed below is ignored.
///
/// # Errors
/// See [`NoteError`]; then nothing of the note may be believed.
pub fn open<'a>(note: &'a str, keys: &[VerifierKey]) -> Result<&'a str, NoteError> {
    let (text, signatures) = parts(note)?;
    let mut signed = false;
    for line in signatures.split_terminator('\n') {
        let (name, id, signature) = signature(line)?;
        let Some(key) = keys.iter().find(|key| key.name == name && key.id() == id) else { continue };
        let holds = <[u8; SIGNATURE_BYTES]>::try_from(signature)
            .is_ok_and(|signature| key.public_key.verifies(text.as_bytes(), &Signature(signature)));
        if !holds {
            return Err(NoteError::Forged(name.to_owned()));
        }
        signed = true;
    }
    if signed {
        Ok(text)
    } else {
        Err(NoteError::Unsigned(Wanted(keys.iter().map(|key| key.name.clone()).collect())))
    }
}

/// The text of a note, whoever signed it: of one that we kept ourselves, or to say whose it claims to be.
///
/// # Errors
/// [`NoteError::Malformed`].
pub fn text(note: &str) -> Result<&str, NoteError> {
    Ok(parts(note)?.0)
}

fn parts(note: &str) -> Result<(&str, &str), NoteError> {
    if note.len() > NOTE_MAX_BYTES {
        return Err(NoteError::Malformed("it is too long"));
    }
    if note.bytes().any(|byte| byte < 0x20 && byte != b'\n') {
        return Err(NoteError::Malformed("it has control characters"));
    }
    let middle = note.rfind("\n\n").ok_or(NoteError::Malformed("it has no signatures"))?;
    let (text, signatures) = (&note[..=middle], &note[middle + 2..]);
    if signatures.is_empty() || !signatures.ends_with('\n') {
        return Err(NoteError::Malformed("it does not end with a line of a signature"));
    }
    Ok((text, signatures))
}

/// A line's name, key id and signature.
fn signature(line: &str) -> Result<(&str, [u8; KEY_ID_BYTES], Vec<u8>), NoteError> {
    const MALFORMED: NoteError = NoteError::Malformed("a line below the text is no signature");
    let (name, encoded) =
        line.strip_prefix(SIGNATURE_BEGINS).and_then(|rest| rest.split_once(' ')).ok_or(MALFORMED)?;
    let bytes = STANDARD.decode(encoded).map_err(|_| MALFORMED)?;
    let (id, signature) = bytes.split_first_chunk::<KEY_ID_BYTES>().ok_or(MALFORMED)?;
    if !is_key_name(name) || signature.is_empty() {
        return Err(MALFORMED);
    }
    Ok((name, *id, signature.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The key and the note of the documentation of golang.org/x/mod/sumdb/note, another implementation.
    const GO_KEY: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    const GO_NOTE: &str = "If you think cryptography is the answer to your problem,\n\
        then you don't know what your problem is.\n\
        \n\
        — PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";

    /// The note that c2sp.org/tlog-checkpoint shows, and the key of its log.
    #[test]
    fn a_note_of_another_implementation_opens() {
        let key: VerifierKey = GO_KEY.parse().unwrap();
        assert_eq!(key.to_string(), GO_KEY);
        assert_eq!(key.name(), "PeterNeumann");
        let text = open(GO_NOTE, &[key]).unwrap();
        assert!(text.starts_with("If you") && text.ends_with("problem is.\n"));
    }

    #[test]
    fn an_altered_note_does_not_open() {
        let key: VerifierKey = GO_KEY.parse().unwrap();
        let altered = GO_NOTE.replace("answer", "Answer");
        assert_eq!(
            open(&altered, std::slice::from_ref(&key)),
            Err(NoteError::Forged("PeterNeumann".to_owned()))
        );
        let other = GO_NOTE.replace("— PeterNeumann", "— Peter");
        assert!(matches!(open(&other, std::slice::from_ref(&key)), Err(NoteError::Unsigned(_))));
        for cut in 0..GO_NOTE.len() {
            if GO_NOTE.is_char_boundary(cut) {
                assert!(open(&GO_NOTE[..cut], std::slice::from_ref(&key)).is_err(), "{cut}");
            }
        }
        assert!(open(&GO_NOTE.replace('\n', "\r\n"), &[key]).is_err());
    }

    #[test]
    fn signatures_of_others_are_ignored() {
        let key: VerifierKey = GO_KEY.parse().unwrap();
        let both = format!(
            "{GO_NOTE}— EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLox33WWd1RvMc+QQ=\n"
        );
        assert!(open(&both, &[key]).is_ok());
        let root: VerifierKey =
            "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop".parse().unwrap();
        assert!(open(&both, &[root]).is_ok());
        assert!(matches!(open(&both, &[]), Err(NoteError::Unsigned(_))));
    }

    #[test]
    fn a_key_that_is_altered_anywhere_is_none() {
        for place in 0..GO_KEY.len() {
            let mut altered = GO_KEY.as_bytes().to_vec();
            altered[place] ^= 1;
            let altered = String::from_utf8(altered).unwrap();
            assert!(altered.parse::<VerifierKey>().is_err(), "{altered}");
        }
    }

    #[test]
    fn a_file_has_a_key_a_line() {
        let keys = read_keys(&format!("# those of the auditors\n{GO_KEY}\n\n{GO_KEY}\n")).unwrap();
        assert_eq!(keys.len(), 2);
        assert_eq!(read_keys(&format!("{GO_KEY}\nno key\n")), Err((2, InvalidKey::Form)));
    }
}
