//! The ledger: a line for everything that is taken away for good (data keys destroyed, API keys revoked, or rotated without a
//! grace), kept beside the snapshots, so that a store which is restored from an old one does not bring it back. Stores may share
//! one: a restore heeds all lines, a start finishes those of the stores of its own data directory. One that was restored elsewhere,
//! for practice, say, takes away nothing here.
//!
//! The writer makes a line durable between deciding and appending. So a crash may leave a line without its event, never an
//! event without its line; at start what such a line says is finished. How far a store has held the ledger against its
//! log it remembers, or each start would read all of it.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use self::lines::{DestroyedKeys, Lines, Noted, end_of_last};
use crate::event::Recorded;
use crate::ids::StoreId;
use crate::private;

mod appending;
pub mod lines;

/// The file's name in the folder of the snapshots.
const NAME: &str = "ledger";
/// A start after a crash reads this much at most of what was noted before it.
pub(super) const REMEMBERED_EVERY_BYTES: u64 = 64 << 10;

/// The store that a ledger is opened for.
#[derive(Clone, Debug)]
pub struct Keeper {
    /// The store.
    pub store: StoreId,
    /// The stores beside it in its data directory: it was restored from one of them, or may have been gone back to.
    pub beside: BTreeSet<StoreId>,
    /// Where it remembers how far it has held the ledger against its log.
    pub mark: PathBuf,
    /// The epoch that it is in.
    pub epoch: String,
}

/// The ledger of a store.
#[derive(Debug)]
pub struct Ledger {
    path: PathBuf,
    keeper: Keeper,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// What an earlier process noted and nobody has held against the log yet.
    left: Range<u64>,
    /// The file, once this process noted something.
    file: Option<File>,
    /// Where the last line ends that this process knows of.
    end: u64,
    /// Whether another store wrote lines since this process opened it, which it has not held against its log.
    is_shared: bool,
    /// Up to here every line has its event in the log.
    appended: u64,
    /// Up to here that is remembered.
    remembered: u64,
}

/// How far a store has held the ledger against its log.
#[derive(Debug, Serialize, Deserialize)]
struct Mark {
    /// The epoch that it was in: an operator who puts back the log puts back what was held, too.
    epoch: String,
    /// How many bytes of the ledger.
    bytes: u64,
}

impl Ledger {
    /// The ledger in a folder of snapshots. Nothing is written or made.
    ///
    /// # Errors
    /// When the ledger or the mark is there and cannot be read.
    pub fn open(snapshots: &Path, keeper: Keeper) -> io::Result<Self> {
        let path = snapshots.join(NAME);
        let checked = read_mark(&keeper)?;
        let (end, length) = match private::options().read(true).open(&path) {
            Ok(file) => (end_of_last(&file)?, file.metadata()?.len()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => (0, 0),
            Err(error) => return Err(error),
        };
        let ledger = path.display();
        if length > end {
            tracing::warn!(%ledger, "the ledger's last line was cut off by a crash; nothing rests on it");
        }
        let is_cut = checked.is_some_and(|checked| checked > end);
        if is_cut {
            tracing::error!(
                %ledger,
                "the ledger of what was destroyed is missing, or shorter than it was: put it back, or a restore from an \
                 older snapshot could bring back what was destroyed"
            );
        }
        // One that was cut is another one: all of it is looked at.
        let from = checked.filter(|_| !is_cut).unwrap_or(0);
        let state = State {
            left: from..end,
            file: None,
            end,
            is_shared: false,
            appended: from,
            remembered: checked.unwrap_or(0),
        };
        Ok(Self { path, keeper, state: Mutex::new(state) })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The store that it is opened for.
    pub fn keeper(&self) -> &Keeper {
        &self.keeper
    }

    /// Whether a store is this one or lies beside it, in one data directory. Any other may go on by itself.
    pub fn is_ours(&self, store: StoreId) -> bool {
        store == self.keeper.store || self.keeper.beside.contains(&store)
    }

    /// Whether what a line says is for this store to finish: it stands where the store does that wrote it, or nobody knows.
    pub fn is_for_us(&self, noted: &Noted) -> bool {
        noted.store.is_none_or(|wrote| self.is_ours(wrote))
    }

    /// How many bytes of it this store has held against its log and remembers; `None` if it never did in this epoch.
    ///
    /// # Errors
    /// When the mark cannot be read.
    pub fn checked(&self) -> io::Result<Option<u64>> {
        read_mark(&self.keeper)
    }

    /// The next lines of a part of it, some at a time; none where there is no ledger yet.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn read(&self, part: Range<u64>) -> io::Result<Lines> {
        lines::read(&self.path, part)
    }

    /// All data keys that the ledger in a folder of snapshots says were destroyed; `None` where there is no ledger.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn destroyed_keys_in(snapshots: &Path) -> io::Result<Option<DestroyedKeys>> {
        let path = snapshots.join(NAME);
        if path.try_exists()? { lines::destroyed_keys(&path, |_| true).map(Some) } else { Ok(None) }
    }

    /// All data keys that it says were destroyed, wherever.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn destroyed_keys(&self) -> io::Result<DestroyedKeys> {
        lines::destroyed_keys(&self.path, |_| true)
    }

    /// Those that were destroyed in this store, or in one beside it.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn keys_destroyed_here(&self) -> io::Result<DestroyedKeys> {
        lines::destroyed_keys(&self.path, |noted| self.is_for_us(noted))
    }

    /// Notes events that are about to be appended; durable before this returns. Other stores may do the same, in other
    /// processes: they come one after the other.
    ///
    /// # Errors
    /// Those of the file system, and `WouldBlock` where another store is at it for too long. What was written of it is taken
    /// back, as far as that can be.
    pub fn note<'a>(&self, events: impl IntoIterator<Item = &'a Recorded>) -> io::Result<()> {
        self.note_as(events.into_iter().map(|event| (Some(self.keeper.store), event)))
    }

    /// Notes what another ledger or a history told of, as of the store that did it.
    ///
    /// # Errors
    /// As those of [`Ledger::note`].
    pub fn note_told<'a>(&self, told: impl IntoIterator<Item = &'a Noted>) -> io::Result<()> {
        self.note_as(told.into_iter().map(|noted| (noted.store, &noted.event)))
    }

    fn note_as<'a>(
        &self,
        events: impl IntoIterator<Item = (Option<StoreId>, &'a Recorded)>,
    ) -> io::Result<()> {
        let mut text = Vec::new();
        for (store, event) in events {
            lines::write(store, event, &mut text)?;
        }
        if text.is_empty() {
            return Ok(());
        }
        let mut state = self.state();
        let mut file = state.file.take().map_or_else(|| appending::open(&self.path), Ok)?;
        if !self.is(&file) {
            let ledger = self.path.display();
            tracing::error!(%ledger, "another file has taken the ledger's place, or none: what it had is not in it");
            file = appending::open(&self.path)?;
            state.end = end_of_last(&file)?;
        }
        let Range { start, end } = appending::append(&file, &text)?;
        // What another store wrote in between is held against the log at the next start.
        state.is_shared |= start > state.end;
        (state.end, state.file) = (end, Some(file));
        Ok(())
    }

    /// All that was noted is in the log now.
    pub(super) fn appended(&self) {
        let mut state = self.state();
        if state.left.is_empty() && !state.is_shared {
            state.appended = state.end;
        }
    }

    /// Remembers how far all is in the log, if that is so much further than what is remembered that another start would
    /// have to read more than this.
    ///
    /// # Errors
    /// Those of the file system.
    pub(super) fn remember(&self, unless_within: u64) -> io::Result<()> {
        let (appended, remembered) = {
            let state = self.state();
            (state.appended, state.remembered)
        };
        if appended == remembered || appended.abs_diff(remembered) < unless_within {
            return Ok(());
        }
        let mark = Mark { epoch: self.keeper.epoch.clone(), bytes: appended };
        private::write(&self.keeper.mark, &serde_json::to_vec(&mark)?)?;
        self.state().remembered = appended;
        Ok(())
    }

    /// What an earlier process noted and nobody has held against the log yet.
    pub(super) fn left(&self) -> Range<u64> {
        self.state().left.clone()
    }

    /// Up to there it is held against the log.
    pub(super) fn held(&self, until: u64) {
        let mut state = self.state();
        state.left.start = until;
        state.appended = until;
    }

    /// Whether a file is the one under the ledger's name still. Whoever copies the folder or edits the ledger may put another
    /// one there.
    fn is(&self, file: &File) -> bool {
        let same = || Ok::<_, io::Error>((file.metadata()?, std::fs::symlink_metadata(&self.path)?));
        same().is_ok_and(|(open, named)| (open.dev(), open.ino()) == (named.dev(), named.ino()))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many bytes of the ledger a store has held in the epoch that it is in; a mark that is none counts as none.
fn read_mark(keeper: &Keeper) -> io::Result<Option<u64>> {
    match std::fs::read(&keeper.mark) {
        Ok(bytes) => {
            let mark = serde_json::from_slice::<Mark>(&bytes).ok();
            Ok(mark.filter(|mark| mark.epoch == keeper.epoch).map(|mark| mark.bytes))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
