//! Checkpoints: how many events a stream has, and the root of its tree over them, signed. A C2SP checkpoint exactly
//! (c2sp.org/tlog-checkpoint), so that witnesses and verifiers of others read it.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::ids::OrganizationId;
use crate::log::segment::tree::Hash;
use crate::proof::note::{self, NoteError, VerifierKey};
use crate::seal::signing::Signer;

/// Whose tree it is: `<host>/<organization>/<epoch>`. After an operator restored a snapshot the epoch is another one, and
/// with it the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    host: String,
    organization: OrganizationId,
    epoch: String,
}

/// The head of a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Whose tree.
    pub origin: Origin,
    /// How many leaves it has: the version of the stream.
    pub size: u64,
    /// The root over them.
    pub root: Hash,
}

/// Why a checkpoint is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// As a note.
    #[error("the checkpoint: {0}")]
    Note(#[from] NoteError),
    /// The signed text is not that of a checkpoint.
    #[error("the checkpoint: {0}")]
    Malformed(&'static str),
    /// It is of another organization, another host or another epoch than the keys are.
    #[error("the checkpoint is of {origin}, and the key is of {key}")]
    Another {
        /// Whose it is.
        origin: String,
        /// Whose the keys are.
        key: String,
    },
}

impl Origin {
    /// The origin of an organization's tree.
    pub fn new(host: impl Into<String>, organization: OrganizationId, epoch: impl Into<String>) -> Self {
        Self { host: host.into(), organization, epoch: epoch.into() }
    }

    /// Under what the server is reached: a host, perhaps with a port.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Whose events they are.
    pub fn organization(&self) -> OrganizationId {
        self.organization
    }

    /// The epoch of the store.
    pub fn epoch(&self) -> &str {
        &self.epoch
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.host, self.organization, self.epoch)
    }
}

/// The most events that a stream can have: versions are integers that every JSON reader takes exactly.
const SIZE_MAX: u64 = (1 << 53) - 1;

impl FromStr for Origin {
    type Err = CheckpointError;

    fn from_str(text: &str) -> Result<Self, CheckpointError> {
        const MALFORMED: CheckpointError =
            CheckpointError::Malformed("its origin is not <host>/<organization>/<epoch>");
        let (rest, epoch) = text.rsplit_once('/').ok_or(MALFORMED)?;
        let (host, organization) = rest.rsplit_once('/').ok_or(MALFORMED)?;
        let organization = organization.parse().map_err(|_| MALFORMED)?;
        // An epoch is letters and digits by chance: nothing that a reader could take for another one.
        let is_epoch = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        if !note::is_key_name(host) || epoch.is_empty() || !epoch.bytes().all(is_epoch) {
            return Err(MALFORMED);
        }
        Ok(Self::new(host, organization, epoch))
    }
}

impl Checkpoint {
    /// Signs it, under its origin as the key's name.
    pub fn sign(&self, signer: &Signer) -> String {
        note::sign(&self.text(), &self.origin.to_string(), signer)
    }

    /// The text that is signed.
    fn text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, STANDARD.encode(self.root))
    }

    /// What a signed checkpoint says, if one of these keys signed it as a key of its very origin.
    ///
    /// # Errors
    /// See [`CheckpointError`].
    pub fn open(signed: &str, keys: &[VerifierKey]) -> Result<Self, CheckpointError> {
        let checkpoint = Self::unverified(signed)?;
        let origin = checkpoint.origin.to_string();
        let own: Vec<VerifierKey> = keys.iter().filter(|key| key.name() == origin).cloned().collect();
        if let (true, Some(key)) = (own.is_empty(), keys.first()) {
            return Err(CheckpointError::Another { origin, key: key.name().to_owned() });
        }
        note::open(signed, &own)?;
        Ok(checkpoint)
    }

    /// What a checkpoint says, whoever signed it: of one that we kept ourselves, or to say whose it claims to be.
    ///
    /// # Errors
    /// When it is none.
    pub fn unverified(signed: &str) -> Result<Self, CheckpointError> {
        let text = note::text(signed)?;
        let mut lines = text.split_terminator('\n');
        let (Some(origin), Some(size), Some(root), None) =
            (lines.next(), lines.next(), lines.next(), lines.next())
        else {
            return Err(CheckpointError::Malformed("its text is not three lines"));
        };
        let size = size.parse().ok().filter(|size| *size <= SIZE_MAX);
        let size = size.ok_or(CheckpointError::Malformed("its size is no number of events"))?;
        let root = STANDARD.decode(root).ok().and_then(|root| root.try_into().ok());
        let root = root.ok_or(CheckpointError::Malformed("its root is not 32 bytes"))?;
        let checkpoint = Self { origin: origin.parse()?, size, root };
        // A number has more than one text, an id perhaps: only the one that was signed is taken.
        if checkpoint.text() == text {
            Ok(checkpoint)
        } else {
            Err(CheckpointError::Malformed("it is not written as checkpoints are"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::given::id;

    fn checkpoint() -> Checkpoint {
        Checkpoint { origin: Origin::new("settled.example:8080", id(1), "0"), size: 7, root: [9; 32] }
    }

    fn key_of(origin: &Origin, signer: &Signer) -> VerifierKey {
        VerifierKey::new(origin.to_string(), signer.public_key())
    }

    #[test]
    fn a_signed_checkpoint_opens_with_its_key_alone() {
        let (checkpoint, own, other) = (checkpoint(), Signer::of_seed(1), Signer::of_seed(2));
        let signed = checkpoint.sign(&own);
        let key = key_of(&checkpoint.origin, &own);
        assert_eq!(Checkpoint::open(&signed, std::slice::from_ref(&key)), Ok(checkpoint.clone()));
        let another = key_of(&checkpoint.origin, &other);
        assert!(matches!(Checkpoint::open(&signed, &[another]), Err(CheckpointError::Note(_))));
        assert!(Checkpoint::open(&signed, &[]).is_err());
    }

    #[test]
    fn a_key_of_another_origin_opens_none() {
        let (checkpoint, own) = (checkpoint(), Signer::of_seed(1));
        let signed = checkpoint.sign(&own);
        for origin in [
            Origin::new("settled.example:8080", id(2), "0"),
            Origin::new("settled.example:8080", id(1), "1"),
            Origin::new("settled.example", id(1), "0"),
        ] {
            let opened = Checkpoint::open(&signed, &[key_of(&origin, &own)]);
            assert!(matches!(opened, Err(CheckpointError::Another { .. })), "{origin}");
        }
    }

    #[test]
    fn what_no_stream_can_have_is_no_checkpoint() {
        let signer = Signer::of_seed(1);
        let signed = |checkpoint: &Checkpoint| Checkpoint::unverified(&checkpoint.sign(&signer));
        assert!(signed(&Checkpoint { size: SIZE_MAX, ..checkpoint() }).is_ok());
        assert!(signed(&Checkpoint { size: SIZE_MAX + 1, ..checkpoint() }).is_err());
        assert!(signed(&Checkpoint { size: u64::MAX, ..checkpoint() }).is_err());
        for epoch in ["", "X7", "\u{660}", "0\u{200b}"] {
            let origin = Origin::new("settled.example", id(1), epoch);
            assert!(signed(&Checkpoint { origin, ..checkpoint() }).is_err(), "{epoch:?}");
        }
    }

    #[test]
    fn another_text_for_the_same_checkpoint_is_none() {
        let signer = Signer::of_seed(1);
        let text = checkpoint().text();
        let name = checkpoint().origin.to_string();
        let opens = |text: &str| Checkpoint::unverified(&note::sign(text, &name, &signer)).is_ok();
        assert!(opens(&text));
        for other in [
            text.replace("\n7\n", "\n07\n"),
            text.replace("\n7\n", "\n+7\n"),
            text.replace("\n7\n", "\n-7\n"),
            format!("{text}more\n"),
            text.replace("/0\n", "/\n"),
            text.to_uppercase(),
        ] {
            assert!(!opens(&other), "{other}");
        }
    }

    /// Ed25519 signs the same text to the same signature: what is on record stays what it is.
    #[test]
    fn a_checkpoint_looks_as_c2sp_has_it() {
        let signed = checkpoint().sign(&Signer::of_seed(1));
        let (text, signature) = signed.split_once("\n\n").unwrap();
        assert_eq!(
            text,
            format!(
                "settled.example:8080/{}/0\n7\nCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQk=",
                id::<OrganizationId>(1)
            )
        );
        assert!(signature.starts_with(&format!("— {} ", checkpoint().origin)) && signature.ends_with('\n'));
    }
}
