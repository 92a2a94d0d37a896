//! Which files of the folder go: histories beyond those that are kept, and keys that are old. The newest keys never go, since
//! every history is restored with them.

use std::fs;
use std::path::PathBuf;

use crate::clock::Timestamp;
use crate::private;
use crate::seal::keyring::snapshot::remove_keys;
use crate::snapshot::folder::{Listed, Listing};
use crate::snapshot::{HISTORY, SnapshotError, keys_of};

/// How long what is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// How many histories are kept; without, all are.
    pub histories: Option<usize>,
    /// How long keys are kept beside newer ones, in seconds.
    pub keys_seconds: i64,
}

/// The files that go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expired {
    /// Histories.
    pub histories: Vec<PathBuf>,
    /// Keys.
    pub keys: Vec<PathBuf>,
}

impl Retention {
    /// What of a folder goes now. Only what the folder's owner put there under its id counts, and is touched.
    pub fn expired(&self, listing: &Listing, now: Timestamp) -> Expired {
        let own: Vec<&Listed> = listing.data.iter().filter(|found| is_named_by_id(found)).collect();
        let kept = self.histories.unwrap_or(usize::MAX);
        let histories: Vec<PathBuf> = own.iter().rev().skip(kept).map(|found| found.path.clone()).collect();
        let with_keys = own.iter().rev().filter(|found| found.has_keys).skip(1);
        let is_old = |found: &&&Listed| now.seconds_since(found.taken_at) >= self.keys_seconds;
        let goes = |found: &&&Listed| is_old(found) || histories.contains(&found.path);
        let keys = with_keys.filter(goes).map(|found| keys_of(&found.path)).collect();
        Expired { histories, keys }
    }
}

fn is_named_by_id(found: &Listed) -> bool {
    found.path.file_name().is_some_and(|name| *name == *format!("{}.{HISTORY}", found.id))
}

impl Expired {
    /// Removes them; the keys' bytes are overwritten, for their root key goes on.
    ///
    /// # Errors
    /// With the first file that cannot be removed.
    pub fn remove(&self) -> Result<(), SnapshotError> {
        for path in &self.keys {
            remove_keys(path).map_err(SnapshotError::io("remove", path))?;
        }
        for path in &self.histories {
            fs::remove_file(path).map_err(SnapshotError::io("remove", path))?;
            let folder = path.parent().unwrap_or(path);
            private::sync_dir(folder).map_err(SnapshotError::io("sync", folder))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::DAY_SECONDS;
    use crate::given::{id, now};

    fn listed(number: u128, days_ago: i64, has_keys: bool) -> Listed {
        let snapshot = id(number);
        Listed {
            id: snapshot,
            path: format!("/snapshots/{snapshot}.settled").into(),
            taken_at: now().plus_seconds(-days_ago * DAY_SECONDS),
            store: id(9),
            epoch: "0".to_owned(),
            position: 7,
            events: 7,
            streams: 1,
            bytes: 1_000,
            has_keys,
        }
    }

    fn expired(histories: Option<usize>, data: Vec<Listed>) -> (usize, Vec<PathBuf>) {
        let retention = Retention { histories, keys_seconds: 30 * DAY_SECONDS };
        let expired = retention.expired(&Listing { data, unreadable: Vec::new() }, now());
        (expired.histories.len(), expired.keys)
    }

    #[test]
    fn old_keys_go_and_the_newest_never_do() {
        let data = vec![listed(1, 50, true), listed(2, 40, true), listed(3, 35, true)];
        let (histories, keys) = expired(None, data.clone());
        assert_eq!((histories, keys.len()), (0, 2));
        assert!(!keys.contains(&keys_of(&data[2].path)), "the newest, however old");
        let (_, keys) = expired(None, vec![listed(1, 50, true), listed(2, 40, true), listed(3, 1, false)]);
        assert_eq!(keys, [keys_of(&data[0].path)], "the newest that there are");
        assert_eq!(expired(None, vec![listed(1, 29, true), listed(2, 0, true)]), (0, Vec::new()));
    }

    #[test]
    fn histories_beyond_those_that_are_kept_go_with_their_keys() {
        let data = vec![listed(1, 3, true), listed(2, 2, true), listed(3, 1, true)];
        let (histories, keys) = expired(Some(2), data.clone());
        assert_eq!((histories, keys), (1, vec![keys_of(&data[0].path)]));
        assert_eq!(expired(Some(3), data), (0, Vec::new()));
    }

    #[test]
    fn what_somebody_named_otherwise_is_theirs() {
        let mut theirs = listed(1, 90, true);
        theirs.path = "/snapshots/before-the-move.settled".into();
        assert_eq!(expired(Some(1), vec![theirs, listed(2, 1, true)]), (0, Vec::new()));
    }
}
