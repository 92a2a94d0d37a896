//! Whether there is room for what a snapshot, a restore or a drill is going to write. It is looked at before anything is written;
//! whoever runs out of room all the same leaves nothing half behind.

use std::path::Path;

use crate::data_dir::free_bytes;
use crate::ids::StoreId;
use crate::snapshot::SnapshotError;
use crate::snapshot::listing::Listing;

/// What a restored store takes for each byte of its history, which is compressed more densely: pages of sled that are half
/// full, and what its log writes twice before it is settled.
const STORE_TO_HISTORY: u64 = 4;
/// What a small store takes, and what is left to whoever else writes there.
const AT_LEAST_BYTES: u64 = 16 << 20;

/// What the store of a history of so many bytes takes.
pub fn of_store(history_bytes: u64) -> u64 {
    history_bytes.saturating_mul(STORE_TO_HISTORY).saturating_add(AT_LEAST_BYTES)
}

/// What the next snapshot of a store takes: somewhat more than its newest.
pub fn of_next(listing: &Listing, store: StoreId) -> u64 {
    let newest =
        listing.data.iter().rev().find(|found| found.store == store).map_or(0, |newest| newest.bytes);
    newest.saturating_add(newest / 4).saturating_add(AT_LEAST_BYTES)
}

/// Refuses what takes more bytes than are free below a folder.
///
/// # Errors
/// `NoRoom`, or when the system does not say.
pub fn look_for(needed: u64, folder: &Path) -> Result<(), SnapshotError> {
    let free = free_bytes(folder).map_err(SnapshotError::io("ask for the free space of", folder))?;
    refuse(needed, Some(free), folder)
}

/// Refuses what takes more bytes than are free in a place; `None` is no bound.
///
/// # Errors
/// `NoRoom`.
pub fn refuse(needed: u64, free: Option<u64>, place: &Path) -> Result<(), SnapshotError> {
    match free {
        Some(free) if free < needed => Err(SnapshotError::NoRoom { path: place.to_owned(), needed, free }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::given::id;

    #[test]
    fn what_does_not_fit_is_refused_with_both_numbers() {
        let place = Path::new("/snapshots");
        for fits in [Some(100), Some(101), None] {
            refuse(100, fits, place).expect("there is room");
        }
        let error = refuse(100, Some(99), place).expect_err("there is not").to_string();
        assert_eq!(error, "there is no room at /snapshots: some 100 bytes are needed, and 99 are free");
        assert_eq!(of_next(&Listing::default(), id(9)), AT_LEAST_BYTES);
        assert_eq!(of_store(u64::MAX), u64::MAX);
        look_for(u64::MAX, Path::new("/")).expect_err("no disk is so large");
    }
}
