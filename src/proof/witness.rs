//! What a witness knows elsewhere: the last checkpoint that was proved of every epoch, and each later one that it saw and that is
//! not proved yet. A server that shows two people two histories is found out by either.

use serde::{Deserialize, Serialize};

use crate::log::segment::tree::Hash;
use crate::proof::checkpoint::{Checkpoint, CheckpointError, Origin};
use crate::proof::note::VerifierKey;
use crate::proof::tree::is_consistent;

/// How many checkpoints may wait for their proof before no further one is looked at: each has to be kept.
pub const UNPROVED_MAX: usize = 1_000;

/// What a witness saw, oldest first.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    entries: Vec<Entry>,
}

/// A checkpoint, as it was signed.
#[derive(Clone, Debug)]
struct Entry {
    signed: String,
    checkpoint: Checkpoint,
    proved: bool,
}

/// A line of a witness's file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    checkpoint: String,
    proved: bool,
}

/// A file that no witness wrote.
#[derive(Debug, thiserror::Error)]
#[error("line {line} is none that a witness wrote")]
pub struct InvalidLine {
    /// Its number.
    pub line: usize,
}

/// What a further checkpoint is beside what was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// Nothing new.
    Same,
    /// The first of all.
    First,
    /// A tree of more events, of which the last proved one has to be the beginning: that is to be proved.
    Grown,
    /// A tree of another epoch: an operator restored a snapshot, and said so by that.
    Restored {
        /// The epoch before.
        after: String,
        /// How many events were signed for in it.
        size: u64,
        /// How many of these were proved to go on from what was seen first; nobody proves the others any more.
        proved: u64,
    },
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
    /// It has more, and those that were seen are not its beginning.
    #[error(
        "FORK: the {size} events that were signed for are not the first of the {now} that were signed for later"
    )]
    Inconsistent {
        /// How many were seen.
        size: u64,
        /// How many there are.
        now: u64,
    },
    /// It is of an epoch that had ended.
    #[error("FORK: epoch {epoch} had ended, and is shown again")]
    Returned {
        /// The epoch.
        epoch: String,
    },
    /// It is of another host or another organization.
    #[error("the checkpoint is of {now}, and those that were kept are of {kept}: they cannot be compared")]
    Another {
        /// Whose was seen.
        kept: String,
        /// Whose there is.
        now: String,
    },
}

/// Two checkpoints that cannot both be true, as they were signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{fork}")]
pub struct Contradiction {
    /// What is wrong.
    pub fork: Fork,
    /// What was seen before.
    pub seen: String,
    /// What was shown then.
    pub shown: String,
}

impl Seen {
    /// Reads what [`Seen::to_text`] gave.
    ///
    /// # Errors
    /// With the first line that is none, or that nothing proves; where there is no line at all, too.
    pub fn parse(text: &str) -> Result<Self, InvalidLine> {
        let entry = |(number, line): (usize, &str)| {
            let invalid = InvalidLine { line: number + 1 };
            let Ok(Line { checkpoint: signed, proved }) = serde_json::from_str(line) else {
                return Err(invalid);
            };
            let checkpoint = Checkpoint::unverified(&signed).map_err(|_| invalid)?;
            Ok(Entry { signed, checkpoint, proved })
        };
        let entries: Vec<Entry> = text.lines().enumerate().map(entry).collect::<Result<_, _>>()?;
        let epoch = |number: usize| entries.get(number).map(|entry| entry.checkpoint.origin.epoch());
        let begins = |number: usize| number == 0 || epoch(number - 1) != epoch(number);
        // The first of an epoch is what later ones are proved from. Without any, whatever is shown would be taken.
        match (0..entries.len()).find(|number| begins(*number) && !entries[*number].proved) {
            Some(number) => Err(InvalidLine { line: number + 1 }),
            None if entries.is_empty() => Err(InvalidLine { line: 1 }),
            None => Ok(Self { entries }),
        }
    }

    /// A line of JSON for each checkpoint: `checkpoint`, the signed note, and whether it is `proved`.
    pub fn to_text(&self) -> String {
        let line = |entry: &Entry| {
            let line = Line { checkpoint: entry.signed.clone(), proved: entry.proved };
            serde_json::to_string(&line).expect("text and a boolean") + "\n"
        };
        self.entries.iter().map(line).collect()
    }

    /// Takes in a checkpoint whose signature was checked. One that grew is unproved from here on, whatever becomes of the proof.
    ///
    /// # Errors
    /// [`Contradiction`] with what was seen; nothing has changed then.
    pub fn take(&mut self, signed: &str, now: Checkpoint) -> Result<News, Contradiction> {
        let news = self.compare(&now).map_err(|(fork, seen)| Contradiction {
            fork,
            seen: seen.signed.clone(),
            shown: signed.to_owned(),
        })?;
        if news != News::Same {
            let proved = news != News::Grown;
            self.entries.push(Entry { signed: signed.to_owned(), checkpoint: now, proved });
        }
        Ok(news)
    }

    fn compare(&self, now: &Checkpoint) -> Result<News, (Fork, &Entry)> {
        // Those of an epoch are in the order of their sizes, so the last one is the largest.
        let Some(last) = self.entries.last() else { return Ok(News::First) };
        let (seen, own) = (&last.checkpoint, &now.origin);
        if !is_of_one_log(&seen.origin, own) {
            return Err((Fork::Another { kept: seen.origin.to_string(), now: own.to_string() }, last));
        }
        if seen.origin.epoch() != own.epoch() {
            let before = self.entries.iter().rfind(|entry| entry.checkpoint.origin.epoch() == own.epoch());
            return match before {
                Some(before) => Err((Fork::Returned { epoch: own.epoch().to_owned() }, before)),
                None => {
                    let proved = self.entries.iter().rfind(|entry| entry.proved).unwrap_or(last);
                    let (after, proved) = (seen.origin.epoch().to_owned(), proved.checkpoint.size);
                    Ok(News::Restored { after, size: seen.size, proved })
                }
            };
        }
        match now.size {
            size if size < seen.size => Err((Fork::Shrunk { size: seen.size, now: size }, last)),
            size if size > seen.size => Ok(News::Grown),
            size if now.root != seen.root => Err((Fork::Rewritten { size }, last)),
            _ => Ok(News::Same),
        }
    }

    /// The sizes between which a proof is wanted next: the last proved one of the epoch, and the one seen after it.
    pub fn wanted(&self) -> Option<(u64, u64)> {
        let unproved = self.first_unproved()?;
        Some((self.entries[unproved - 1].checkpoint.size, self.entries[unproved].checkpoint.size))
    }

    /// Holds the proof that was wanted against both. From here on the later one stands for the earlier one, too.
    ///
    /// # Errors
    /// [`Contradiction`] where it proves nothing.
    pub fn prove(&mut self, proof: &[Hash]) -> Result<(), Contradiction> {
        let Some(unproved) = self.first_unproved() else { return Ok(()) };
        let (from, to) = (&self.entries[unproved - 1], &self.entries[unproved]);
        let (size, now) = (from.checkpoint.size, to.checkpoint.size);
        if !is_consistent((size, &from.checkpoint.root), (now, &to.checkpoint.root), proof) {
            let fork = Fork::Inconsistent { size, now };
            return Err(Contradiction { fork, seen: from.signed.clone(), shown: to.signed.clone() });
        }
        self.entries[unproved].proved = true;
        self.entries.remove(unproved - 1);
        Ok(())
    }

    /// Whether so many are unproved that no further one is looked at before.
    pub fn is_full(&self) -> bool {
        self.entries.len() - self.first_unproved().unwrap_or(self.entries.len()) >= UNPROVED_MAX
    }

    /// The first one that is not proved, of the present epoch: its predecessor is. Nobody proves one of an epoch that has ended.
    fn first_unproved(&self) -> Option<usize> {
        let epoch = self.entries.last()?.checkpoint.origin.epoch();
        self.entries.iter().position(|entry| !entry.proved && entry.checkpoint.origin.epoch() == epoch)
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

    /// What came of each of these, one after the other.
    fn saw(seen: &mut Seen, shown: &[(&str, u64, u8)]) -> Vec<Result<News, Fork>> {
        let take = |(epoch, size, root): &(&str, u64, u8)| {
            let now = checkpoint(epoch, *size, *root);
            seen.take(&now.sign(&Signer::of_seed(1)), now).map_err(|contradiction| contradiction.fork)
        };
        shown.iter().map(take).collect()
    }

    #[test]
    fn a_history_that_goes_on_is_none_and_one_that_goes_back_is_a_fork() {
        let mut seen = Seen::default();
        let shown = saw(&mut seen, &[("0", 7, 1), ("0", 7, 1), ("0", 6, 1), ("0", 7, 2), ("0", 8, 2)]);
        let expected = [
            Ok(News::First),
            Ok(News::Same),
            Err(Fork::Shrunk { size: 7, now: 6 }),
            Err(Fork::Rewritten { size: 7 }),
            Ok(News::Grown),
        ];
        assert_eq!(shown, expected);
        assert_eq!(seen.prove(&[]).unwrap_err().fork, Fork::Inconsistent { size: 7, now: 8 });
    }

    #[test]
    fn what_is_not_proved_is_kept_and_nobody_goes_back_behind_it() {
        let mut seen = Seen::default();
        saw(&mut seen, &[("0", 7, 1), ("0", 9, 2), ("0", 12, 3)]);
        let mut seen = Seen::parse(&seen.to_text()).unwrap();
        assert_eq!(seen.wanted(), Some((7, 9)));
        let back = saw(&mut seen, &[("0", 7, 1), ("0", 9, 2), ("0", 10, 4), ("0", 12, 5)]);
        let shrunk = |now| Err(Fork::Shrunk { size: 12, now });
        assert_eq!(back, [shrunk(7), shrunk(9), shrunk(10), Err(Fork::Rewritten { size: 12 })]);
        assert_eq!(seen.to_text().lines().count(), 3);
    }

    #[test]
    fn a_restore_is_no_fork_and_an_epoch_that_ended_never_returns() {
        let mut seen = Seen::default();
        let shown = saw(&mut seen, &[("0", 7, 1), ("0", 9, 2), ("x7", 3, 2), ("0", 20, 1), ("x7", 3, 2)]);
        let restored = News::Restored { after: "0".to_owned(), size: 9, proved: 7 };
        let returned = Fork::Returned { epoch: "0".to_owned() };
        assert_eq!(shown, [Ok(News::First), Ok(News::Grown), Ok(restored), Err(returned), Ok(News::Same)]);
        assert_eq!(seen.wanted(), None, "nobody proves what was signed in an epoch that has ended");
        assert_eq!(seen.to_text().lines().count(), 3, "and it is kept all the same");
    }

    #[test]
    fn both_sides_of_a_contradiction_are_told_and_another_log_is_not_compared() {
        let mut seen = Seen::default();
        saw(&mut seen, &[("0", 7, 1)]);
        let (mut other, signer) = (checkpoint("0", 6, 9), Signer::of_seed(1));
        let contradiction = seen.take(&other.sign(&signer), other.clone()).unwrap_err();
        assert_eq!(contradiction.seen, checkpoint("0", 7, 1).sign(&signer));
        assert_eq!(contradiction.shown, other.sign(&signer));
        other.origin = Origin::new("settled.example", id(2), "0");
        assert!(matches!(seen.take("", other).unwrap_err().fork, Fork::Another { .. }));
    }

    #[test]
    fn so_many_wait_for_their_proof_and_no_more() {
        let mut seen = Seen::default();
        for size in 1..=UNPROVED_MAX as u64 {
            assert!(!seen.is_full());
            saw(&mut seen, &[("0", size, 1)]);
        }
        saw(&mut seen, &[("0", UNPROVED_MAX as u64 + 1, 1)]);
        assert!(seen.is_full());
    }

    #[test]
    fn a_file_that_is_none_is_refused_with_its_line() {
        let mut seen = Seen::default();
        saw(&mut seen, &[("0", 7, 1), ("0", 8, 1)]);
        let text = seen.to_text();
        for (other, line) in [
            (text.replacen("true", "1", 1), 1),
            (format!("{text}\n"), 3),
            (text.replacen("\\n7\\n", "\\n07\\n", 1), 1),
        ] {
            assert_ne!(other, text);
            assert_eq!(Seen::parse(&other).unwrap_err().line, line, "{other}");
        }
        assert_eq!(Seen::parse(&text).unwrap().to_text(), text);
        // Whoever empties the file, or takes away what the rest is proved from, would have anything trusted.
        let (proved, unproved) = text.split_once('\n').unwrap();
        assert_eq!(Seen::parse("").unwrap_err().line, 1);
        assert_eq!(Seen::parse(unproved).unwrap_err().line, 1, "the first is not proved");
        assert_eq!(Seen::parse(proved).unwrap().to_text().trim_end(), proved);
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
