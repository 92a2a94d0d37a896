//! Which files of the folder go: histories beyond those that are kept, and keys that are old. The newest keys never go, since
//! every history is restored with them. Stores that share a place have theirs each: one server touches nothing of another's.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::clock::Timestamp;
use crate::ids::{SnapshotId, StoreId};
use crate::snapshot::listing::{Listed, Listing, Orphan};
use crate::snapshot::place::{Located, Place};
use crate::snapshot::{HISTORY, SnapshotError, keys_of};

/// How long what is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// How many histories are kept of each store; without, all are.
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
    /// What of a store's snapshots in a place goes now, in the epoch that it is in. Only what it put there under its id counts,
    /// and is touched: those of other stores are their own affair, also those of the store that this one was restored from.
    pub fn expired(
        &self,
        store: StoreId,
        epoch: &str,
        listing: &Listing,
        orphans: &[Orphan],
        now: Timestamp,
    ) -> Expired {
        let is_own = |found: &&Listed| found.store == store && is_named(&found.path, found.id);
        let mut own: Vec<&Listed> = listing.data.iter().filter(is_own).collect();
        own.sort_by_key(|found| found.order(epoch));
        let kept = self.histories.unwrap_or(usize::MAX);
        let histories: Vec<PathBuf> = own.iter().rev().skip(kept).map(|found| found.path.clone()).collect();
        let with_keys = own.iter().rev().filter(|found| found.has_keys).skip(1);
        let is_old = |at: Timestamp| now.seconds_since(at) >= self.keys_seconds;
        let goes = |found: &&&Listed| is_old(found.taken_at) || histories.contains(&found.path);
        let newest = own.iter().rev().find(|found| found.has_keys).map(|found| found.taken_at);
        let gone = orphans.iter().filter(|keys| keys.store == store);
        let gone = gone.filter(|keys| is_named(keys.keys.history().path(), keys.snapshot));
        let gone = gone.filter(|keys| is_old(keys.at) && newest.is_some_and(|newest| keys.at < newest));
        let keys = with_keys.filter(goes).map(|found| keys_of(&found.path));
        let keys = keys.chain(gone.map(|keys| keys.keys.path().to_owned())).collect();
        Expired { histories, keys }
    }
}

/// Whether a history is called by its id.
fn is_named(history: &Path, snapshot: SnapshotId) -> bool {
    history.file_name().is_some_and(|name| *name == *format!("{snapshot}.{HISTORY}"))
}

impl Expired {
    /// Removes them from their place; the keys' bytes are overwritten where they lie in a folder, for their root key goes on.
    ///
    /// # Errors
    /// With the first file that cannot be removed.
    pub fn remove(&self, place: &Arc<dyn Place>) -> Result<(), SnapshotError> {
        for path in self.keys.iter().chain(&self.histories) {
            Located::new(place, path.file_name().unwrap_or_default()).remove()?;
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
            position: u64::try_from(number).unwrap(),
            events: 7,
            streams: 1,
            bytes: 1_000,
            has_keys,
        }
    }

    fn expired(histories: Option<usize>, data: Vec<Listed>) -> (usize, Vec<PathBuf>) {
        let retention = Retention { histories, keys_seconds: 30 * DAY_SECONDS };
        let listing = Listing { data, unreadable: Vec::new() };
        let expired = retention.expired(id(9), "0", &listing, &[], now());
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
    fn old_keys_without_their_history_go_once_there_are_newer_ones() {
        let retention = Retention { histories: None, keys_seconds: 30 * DAY_SECONDS };
        let orphan = |number: u128, days_ago: i64| {
            let Listed { id: snapshot, path, store, taken_at: at, .. } = listed(number, days_ago, true);
            Orphan { keys: Located::from(&*keys_of(&path)), snapshot, store, at }
        };
        let orphans = [orphan(1, 40), orphan(2, 29)];
        let of = |data| {
            let listing = Listing { data, unreadable: Vec::new() };
            retention.expired(id(9), "0", &listing, &orphans, now()).keys
        };
        assert_eq!(of(vec![listed(3, 1, true)]), [orphans[0].keys.path().to_owned()]);
        assert_eq!(
            of(vec![listed(3, 1, false)]),
            Vec::<PathBuf>::new(),
            "they are the newest that there are"
        );
    }

    #[test]
    fn what_another_store_has_in_the_place_stays_and_says_nothing_of_this_ones() {
        let others = |number, days_ago| Listed { store: id(8), ..listed(number, days_ago, true) };
        let data = vec![others(1, 60), listed(2, 50, true), others(3, 40), listed(4, 1, true)];
        let own = data[1].path.clone();
        assert_eq!(expired(Some(1), data), (1, vec![keys_of(&own)]));
    }

    #[test]
    fn one_that_was_taken_while_the_clock_was_ahead_is_no_newer_than_those_that_followed() {
        let data = vec![listed(1, 3, true), listed(3, 1, true), listed(2, -30, true)];
        let gone = [&data[0].path, &data[2].path].map(Clone::clone);
        let retention = Retention { histories: Some(1), keys_seconds: 30 * DAY_SECONDS };
        let listing = Listing { data, unreadable: Vec::new() };
        let mut expired = retention.expired(id(9), "0", &listing, &[], now()).histories;
        expired.sort();
        assert_eq!(expired, gone);
    }

    #[test]
    fn what_is_of_an_epoch_before_is_older_whatever_its_position() {
        let before = Listed { epoch: "0".to_owned(), ..listed(9, 2, true) };
        let now_in = |number, days_ago| Listed { epoch: "k3x9".to_owned(), ..listed(number, days_ago, true) };
        let (path, data) = (before.path.clone(), vec![before, now_in(4, 1), now_in(5, 0)]);
        let retention = Retention { histories: Some(2), keys_seconds: 30 * DAY_SECONDS };
        let listing = Listing { data, unreadable: Vec::new() };
        assert_eq!(retention.expired(id(9), "k3x9", &listing, &[], now()).histories, [path]);
    }

    #[test]
    fn what_somebody_named_otherwise_is_theirs() {
        let mut theirs = listed(1, 90, true);
        theirs.path = "/snapshots/before-the-move.settled".into();
        assert_eq!(expired(Some(1), vec![theirs, listed(2, 1, true)]), (0, Vec::new()));
    }
}
