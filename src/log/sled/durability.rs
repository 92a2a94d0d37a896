//! What makes a commit durable: the calls that reach the disk, in one place that a test can stand in for.

use std::fs::File;
use std::io;

/// The steps of a commit, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The last batch's keys are read, so that the pages which they fell into split and merge now.
    Settle,
    /// The batch is handed to the engine.
    Apply,
    /// The engine writes its buffers to its file.
    Flush,
    /// The file is synced.
    Sync,
    /// The head file is written.
    Head,
}

/// The calls that reach the disk. Outside of tests a log that is in use has [`Disk`]; they let it fail, lie or be slow, to
/// show that each of these calls is needed and that each failure is noticed.
pub trait Durability: Send + Sync + 'static {
    /// Called before a step of a commit. An error stands for the failure of that step, which then is left out.
    ///
    /// # Errors
    /// Those of the step.
    fn before(&self, step: Step) -> io::Result<()> {
        let _ = step;
        Ok(())
    }

    /// Brings what was written to the engine's file onto the disk.
    ///
    /// # Errors
    /// Those of the system.
    fn sync_log(&self, file: &File) -> io::Result<()> {
        file.sync_data()
    }

    /// Brings what was written to the head file onto the disk.
    ///
    /// # Errors
    /// Those of the system.
    fn sync_head(&self, file: &File) -> io::Result<()> {
        file.sync_data()
    }

    /// Brings onto the disk what the system still holds of one of the engine's files. After a stop that was not a
    /// clean one, before the engine opens.
    ///
    /// # Errors
    /// Those of the system.
    fn sync_left(&self, file: &File) -> io::Result<()> {
        file.sync_data()
    }

    /// Makes the system forget its copy of a file, so that what is read next comes from the disk.
    ///
    /// # Errors
    /// Those of the system.
    fn forget(&self, file: &File) -> io::Result<()> {
        Ok(rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed)?)
    }

    /// Whether commits reach the disk when the log is closed, and not before.
    fn is_deferred(&self) -> bool {
        false
    }

    /// Whether readers of the engine wait while a commit is under way. A reader splits and merges pages: what it
    /// writes between a batch and its sync can cost the whole store at a power cut.
    fn readers_wait(&self) -> bool {
        true
    }
}

/// The disk itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct Disk;

impl Durability for Disk {}

/// The disk, once the log is closed: for a log that is being filled out of another, and that nobody names before it is whole.
/// A power cut before then can cost all of it, so it must never be put in use without having been closed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Deferred;

impl Durability for Deferred {
    fn sync_head(&self, _: &File) -> io::Result<()> {
        Ok(())
    }

    fn is_deferred(&self) -> bool {
        true
    }
}
