//! Room on the store's disk: whether writes may go on, and the ballast that makes a little where there is none.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::data_dir::{DataDir, free_bytes, give_up_ballast, keep_ballast};

/// How many times the room that writes need must be free for derived files to be written.
const DERIVED_ROOM: u64 = 2;

/// The room on the disk of an open store.
#[derive(Debug)]
pub struct Room {
    root: PathBuf,
    keep_free_bytes: u64,
    ballast_bytes: u64,
    /// Whether the ballast is not whole, so that it is made again once there is room.
    spent: AtomicBool,
}

impl Room {
    /// Makes the ballast if there is room, and watches over it.
    pub fn new(dir: &DataDir, keep_free_bytes: u64, ballast_bytes: u64) -> Self {
        let whole = dir.keep_ballast(keep_free_bytes).unwrap_or_else(|error| {
            tracing::warn!(%error, "the ballast file could not be written");
            false
        });
        Self { root: dir.root().to_owned(), keep_free_bytes, ballast_bytes, spent: AtomicBool::new(!whole) }
    }

    /// Whether so much is free that writes may go on. Where almost nothing is, half of the ballast makes room for
    /// what must go on all the same; the other half stays, without which the store could not be opened again.
    pub fn is_left(&self) -> bool {
        // A disk that does not say is not a full one: the write itself will fail, and end the process.
        let left = free_bytes(&self.root).map_or(true, |free| free >= self.keep_free_bytes);
        if !left {
            self.give_up(self.ballast_bytes / 2);
        } else if self.spent.swap(false, Ordering::Relaxed) {
            let whole = keep_ballast(&self.root, self.ballast_bytes, self.keep_free_bytes);
            self.spent.store(!matches!(whole, Ok(true)), Ordering::Relaxed);
        }
        left
    }

    /// Whether so much is free that derived files may be written: they stop long before writes do.
    pub fn is_left_for_derived(&self) -> bool {
        free_bytes(&self.root).is_ok_and(|free| free >= self.keep_free_bytes.saturating_mul(DERIVED_ROOM))
    }

    /// Gives up all of the ballast if need be: a clean stop writes sled's page table.
    pub fn make_for_stop(&self) {
        self.give_up(0);
    }

    fn give_up(&self, keep_bytes: u64) {
        match give_up_ballast(&self.root, keep_bytes) {
            Ok(false) => {}
            Ok(true) => {
                self.spent.store(true, Ordering::Relaxed);
                tracing::warn!("the disk is full; ballast was given up. Make room on it");
            }
            Err(error) => {
                tracing::warn!(%error, "the disk is full, and the ballast could not be given up");
            }
        }
    }
}
