//! What a witness does elsewhere: it keeps the last checkpoint that it saw, and holds each further one against it. A server
//! that shows two people two histories is found out by either.

use crate::log::segment::tree::Hash;
use crate::proof::checkpoint::{Checkpoint, CheckpointError, Origin};
use crate::proof::note::VerifierKey;
use crate::proof::tree::is_consistent;

/// What a further checkpoint is beside the last one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The same tree.
    Same,
    /// A tree of more events, of which the last one has to be the beginning: that is to be proved.
    Grown,
    /// A tree of another epoch: an operator restored a snapshot, and said so by that.
    Restored,
}

/// A history that is not the one that was seen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fork {
    /// It has fewer events than were signed for.
    #[error("FORK: {size} events were signed for, now there are {now}: events were taken back")]
    Shrunk {
        /// How many were seen.
        size: u64,
        /// How many there are.
        now: u64,
    },
    /// It has as many, and others.
    #[error("FORK: the {size} events that were signed for are others now")]
    Rewritten {
        /// How many were seen.
        size: u64,
    },
    /// It has more, and those that were seen are not its beginning, or that is not proved.
    #[error("FORK: the {size} events that were signed for are not the first of the {now} that there are now")]
    Inconsistent {
        /// How many were seen.
        size: u64,
        /// How many there are.
        now: u64,
    },
    /// It is of another host or another organization.
    #[error("the checkpoint is of {now}, and the one kept is of {kept}: they cannot be compared")]
    Another {
        /// Whose was seen.
        kept: String,
        /// Whose there is.
        now: String,
    },
}

/// What a checkpoint is beside the one before it.
///
/// # Errors
/// See [`Fork`].
pub fn step(kept: &Checkpoint, now: &Checkpoint) -> Result<Step, Fork> {
    if !is_of_one_log(&kept.origin, &now.origin) {
        return Err(Fork::Another { kept: kept.origin.to_string(), now: now.origin.to_string() });
    }
    if kept.origin.epoch() != now.origin.epoch() {
        return Ok(Step::Restored);
    }
    match now.size {
        size if size < kept.size => Err(Fork::Shrunk { size: kept.size, now: size }),
        size if size > kept.size => Ok(Step::Grown),
        size if now.root != kept.root => Err(Fork::Rewritten { size }),
        _ => Ok(Step::Same),
    }
}

/// Holds the proof of a step that grew against both.
///
/// # Errors
/// [`Fork::Inconsistent`].
pub fn prove(kept: &Checkpoint, now: &Checkpoint, proof: &[Hash]) -> Result<(), Fork> {
    if is_consistent((kept.size, &kept.root), (now.size, &now.root), proof) {
        Ok(())
    } else {
        Err(Fork::Inconsistent { size: kept.size, now: now.size })
    }
}

/// Opens a checkpoint with keys that are trusted in every epoch of their log: a restore takes the epoch from the store and
/// not the key.
///
/// # Errors
/// As [`Checkpoint::open`].
pub fn open_in_any_epoch(signed: &str, keys: &[VerifierKey]) -> Result<Checkpoint, CheckpointError> {
    let origin = Checkpoint::unverified(signed)?.origin;
    let in_this_epoch = |key: &VerifierKey| match key.name().parse::<Origin>() {
        Ok(own) if is_of_one_log(&own, &origin) => VerifierKey::new(origin.to_string(), key.public_key()),
        Ok(_) | Err(_) => key.clone(),
    };
    Checkpoint::open(signed, &keys.iter().map(in_this_epoch).collect::<Vec<_>>())
}

fn is_of_one_log(one: &Origin, other: &Origin) -> bool {
    one.host() == other.host() && one.organization() == other.organization()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::given::id;
    use crate::seal::signing::Signer;

    fn checkpoint(epoch: &str, size: u64, root: u8) -> Checkpoint {
        Checkpoint { origin: Origin::new("settled.example", id(1), epoch), size, root: [root; 32] }
    }

    #[test]
    fn a_history_that_goes_on_is_none_and_one_that_goes_back_is_a_fork() {
        let kept = checkpoint("0", 7, 1);
        assert_eq!(step(&kept, &checkpoint("0", 7, 1)), Ok(Step::Same));
        assert_eq!(step(&kept, &checkpoint("0", 8, 2)), Ok(Step::Grown));
        assert_eq!(step(&kept, &checkpoint("0", 6, 1)), Err(Fork::Shrunk { size: 7, now: 6 }));
        assert_eq!(step(&kept, &checkpoint("0", 7, 2)), Err(Fork::Rewritten { size: 7 }));
        assert_eq!(prove(&kept, &checkpoint("0", 8, 2), &[]), Err(Fork::Inconsistent { size: 7, now: 8 }));
    }

    #[test]
    fn a_restore_is_no_fork_and_another_log_is_not_compared() {
        let kept = checkpoint("0", 7, 1);
        assert_eq!(step(&kept, &checkpoint("x7", 3, 2)), Ok(Step::Restored));
        let mut other = checkpoint("0", 7, 1);
        other.origin = Origin::new("settled.example", id(2), "0");
        assert!(matches!(step(&kept, &other), Err(Fork::Another { .. })));
    }

    #[test]
    fn a_key_is_trusted_in_every_epoch_of_its_log_alone() {
        let (own, other) = (Signer::of_seed(1), Signer::of_seed(2));
        let key = VerifierKey::new(checkpoint("0", 1, 1).origin.to_string(), own.public_key());
        let keys = std::slice::from_ref(&key);
        assert!(open_in_any_epoch(&checkpoint("0", 1, 1).sign(&own), keys).is_ok());
        assert!(open_in_any_epoch(&checkpoint("x7", 1, 1).sign(&own), keys).is_ok());
        assert!(open_in_any_epoch(&checkpoint("x7", 1, 1).sign(&other), keys).is_err());
        let mut elsewhere = checkpoint("x7", 1, 1);
        elsewhere.origin = Origin::new("settled.example", id(2), "x7");
        assert!(open_in_any_epoch(&elsewhere.sign(&own), keys).is_err());
    }
}
