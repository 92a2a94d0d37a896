//! `settled snapshot restore`.

use std::error::Error;
use std::path::{Path, PathBuf};

use clap::Args;

use super::{SnapshotsDir, exit_of};
use crate::cli::exit::Exit;
use crate::cli::output;
use crate::cli::root_key::RootKeyOptions;
use crate::cli::target::failed;
use crate::clock::Clock;
use crate::data_dir::{DEFAULT_BALLAST_BYTES, DataDir};
use crate::snapshot::into::look_at;
use crate::snapshot::place::url::FileName;
use crate::snapshot::restore::{RestoreError, Restored, Wanted, restore};
use crate::snapshot::taken_away::HeldAgainst;
use crate::snapshot::verify::Until;

/// `settled snapshot restore`.
#[derive(Args, Debug)]
pub struct Restore {
    /// The history: a file, or s3://BUCKET/PREFIX/NAME
    #[arg(value_name = "FILE")]
    history: FileName,
    /// The data folder that the store is made in: a new one, or the one that it was taken of
    #[arg(long, env = "SETTLED_DATA_DIR", value_name = "DIR")]
    data_dir: PathBuf,
    #[command(flatten)]
    root_key: RootKeyOptions,
    #[command(flatten)]
    snapshots_dir: SnapshotsDir,
    /// Only what was recorded up to then
    #[arg(long, value_name = "TIME|POSITION")]
    until: Option<Until>,
    /// The keys: the newest file of keys there is, so that nothing comes back that was destroyed since
    /// [default: the newest one beside FILE that knows all of it]
    #[arg(long, value_name = "FILE")]
    keys: Option<FileName>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Restore {
    pub(super) fn run(&self) -> Exit {
        match self.restore() {
            Ok(restored) => self.print(&restored),
            Err(error) => {
                let exit = failed(&*error);
                match error.downcast_ref() {
                    Some(RestoreError::Snapshot(error)) => exit_of(error, exit),
                    _ => exit,
                }
            }
        }
    }

    fn restore(&self) -> Result<Restored, Box<dyn Error>> {
        let root = self.root_key.read(&self.data_dir)?;
        look_at(&self.data_dir)?;
        let dir = DataDir::open(&self.data_dir, DEFAULT_BALLAST_BYTES)?;
        output::note(format_args!("making a store in {}", self.data_dir.display()));
        let notes = self.snapshots_dir.of(&self.data_dir);
        let history = self.history.locate(&notes)?;
        let keys = self.keys.as_ref().map(|keys| keys.locate(&notes)).transpose()?;
        let wanted = Wanted { history, keys, until: self.until, root: &root };
        let bar = output::progress("restoring");
        let restored =
            restore(&dir, &wanted, &self.ledgers(), &Clock::system(), &mut output::shown_by(bar.clone()));
        bar.finish_and_clear();
        Ok(restored?)
    }

    /// Where the store goes on with its ledger, and where else one may lie: beside the history.
    fn ledgers(&self) -> Vec<PathBuf> {
        let mut folders = vec![self.snapshots_dir.of(&self.data_dir)];
        let FileName::Path(history) = &self.history else { return folders };
        let beside = history.parent().filter(|folder| !folder.as_os_str().is_empty());
        let beside = beside.unwrap_or(Path::new(".")).to_owned();
        let is_other = |a: &Path, b: &Path| a.canonicalize().ok() != b.canonicalize().ok();
        if is_other(&folders[0], &beside) {
            folders.push(beside);
        }
        folders
    }

    fn print(&self, restored: &Restored) -> Exit {
        if self.json {
            output::json(restored);
        } else {
            output::line(format_args!(
                "{} is in use in {}: {} events of {} streams, up to position {} of {}",
                restored.store,
                self.data_dir.display(),
                restored.events,
                restored.streams,
                restored.position,
                restored.snapshot
            ));
            output::line(format_args!(
                "the keys are those in {}, of {}",
                restored.keys.display(),
                restored.keys_of
            ));
            if let Some(replaced) = restored.replaced {
                output::line(format_args!(
                    "{replaced}, which was in use before, stays in {}/stores; `settled snapshot restore --help` says how \
                     to go back to it, and up to when",
                    self.data_dir.display()
                ));
            }
            output::line(format_args!(
                "its epoch is {}: every session has ended, and so have mailed links and idempotency keys",
                restored.epoch
            ));
            output::line(
                "all else is as it was then: who was removed or suspended, passwords and values of API keys that were \
                 changed since are to be changed again",
            );
            for HeldAgainst { ledger, lines, last_at, .. } in &restored.ledgers {
                let last = last_at.map(|at| format!(", the last of {at}")).unwrap_or_default();
                output::line(format_args!(
                    "held against {}: {lines} lines of this history{last}",
                    ledger.display()
                ));
            }
            if restored.absent > 0 {
                output::line(format_args!(
                    "{} data keys of this history are not among its keys, and are taken for destroyed: values of secrets \
                     are, and people are forgotten",
                    restored.absent
                ));
            }
            if restored.revoked > 0 {
                output::line(format_args!(
                    "{} API keys were revoked, for their values were revoked or rotated before the keys were written",
                    restored.revoked
                ));
            }
            if restored.taken_away > 0 {
                output::line(format_args!(
                    "{} things that were destroyed or revoked after it was taken were taken away again",
                    restored.taken_away
                ));
            }
        }
        if let Some(folder) = &restored.shared_ledger {
            output::note(format_args!(
                "WARNING: stores elsewhere have their ledger in {}, too: what is destroyed in this one is destroyed in theirs \
                 when they are restored; to practise, name a folder of its own by --snapshots-dir, for `serve` as well",
                folder.display()
            ));
        }
        for what in &restored.unknown {
            output::note(format_args!("WARNING: {what}"));
        }
        if restored.ledgers.iter().any(|held| held.damaged > 0) { Exit::DoesNotHold } else { Exit::Fine }
    }
}
