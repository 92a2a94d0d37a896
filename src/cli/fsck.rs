//! `settled fsck`: checks the whole log, the keys, the checkpoints, the ledger and the derived files, and lists what is wrong instead of
//! skipping it.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use hyper::Method;

use crate::cli::exit::Exit;
use crate::cli::root_key::RootKeyOptions;
use crate::cli::target::{Holder, Target, answered, close, failed};
use crate::cli::unopened::{Unopened, print_key_files};
use crate::cli::{output, socket};
use crate::clock::Clock;
use crate::data_dir::DataDirError;
use crate::data_dir::SNAPSHOTS;
use crate::fsck::{Parts, Report, check_store};
use crate::log::EventLog;
use crate::log::sled::open::HeadPolicy;
use crate::open::{DirError, OpenDir};
use crate::seal::keyring::{KeyRing, files};
use crate::seal::root::{RootKey, RootKeyError};
use crate::snapshot::SnapshotError;
use crate::snapshot::history::History;
use crate::snapshot::newest_keys::newest_keys;
use crate::snapshot::place::url::FileName;
use crate::snapshot::repair::{Means, RepairError, Repaired, repair};
use crate::store::check::DerivedReport;
use crate::store::check_checkpoints::CheckpointsReport;
use crate::store::check_keys::DataKeysReport;
use crate::store::check_ledger::LedgerReport;

/// `settled fsck`.
#[derive(Args, Debug)]
pub struct Fsck {
    #[command(flatten)]
    target: Target,
    /// Take what the log holds without a gap for the whole log, cut the rest, and write the head file anew. What it
    /// accepts is said. Only after a snapshot could not help
    #[arg(long)]
    accept_head: bool,
    #[command(flatten)]
    root_key: RootKeyOptions,
    /// The folder of the ledger of what was destroyed [default: snapshots in the data folder]
    #[arg(long, env = "SETTLED_SNAPSHOTS_DIR", value_name = "DIR")]
    snapshots_dir: Option<PathBuf>,
    /// Bring back what is damaged or missing from a snapshot of this store: a file, or s3://BUCKET/PREFIX/NAME. Where both
    /// have something it must be the same, and nothing is made up. The repaired store is a new one; the damaged one stays
    /// beside it
    #[arg(long, value_name = "SNAPSHOT", conflicts_with = "accept_head")]
    repair_from: Option<FileName>,
    /// The keys [default: the newest file of keys beside SNAPSHOT that knows all of it]
    #[arg(long, value_name = "FILE", requires = "repair_from")]
    keys: Option<FileName>,
    /// Only look what would be brought back; exits with 1 where that is anything
    #[arg(long, requires = "repair_from")]
    dry_run: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Fsck {
    /// Runs it.
    pub fn run(&self) -> Exit {
        let root = match self.root_key() {
            Ok(root) => root,
            Err(error) => return failed(&error),
        };
        if let Some(history) = &self.repair_from {
            return match self.repair(history, root) {
                Ok(repaired) => self.print_repaired(&repaired),
                Err(error) => {
                    let exit = failed(&*error);
                    match error.downcast_ref() {
                        Some(RepairError::Snapshot(SnapshotError::Damaged { .. })) => Exit::DoesNotHold,
                        _ => exit,
                    }
                }
            };
        }
        if self.accept_head {
            return match self.target.open(HeadPolicy::Accept) {
                Err(error) => self.unopened(&error, root.as_ref()),
                Ok(opened) => {
                    let exit = self.check(&opened, root.as_ref());
                    close(&opened, exit)
                }
            };
        }
        match self.target.find(HeadPolicy::Require) {
            Err(error) => self.unopened(&error, root.as_ref()),
            Ok(Holder::Server(path)) => {
                let spinner = output::waiting("the server checks");
                let answer = socket::call(&path, Method::POST, "/v1/operator/fsck");
                spinner.finish_and_clear();
                match answered::<Report>(answer) {
                    Ok(report) => self.print(&report),
                    Err(exit) => exit,
                }
            }
            Ok(Holder::Us(opened)) => {
                let exit = self.check(&opened, root.as_ref());
                close(&opened, exit)
            }
        }
    }

    fn repair(&self, history: &FileName, root: Option<RootKey>) -> Result<Repaired, Box<dyn Error>> {
        let needed = "the root key is needed: say where it is with --root-key-file, --root-key-env or --root-key-command";
        let root = root.ok_or(needed)?;
        let dir = self.target.lock()?;
        output::note(format_args!("looking at the store in {}", self.target.data_dir.display()));
        let notes = self.snapshots_dir.clone().unwrap_or_else(|| self.target.data_dir.join(SNAPSHOTS));
        let history = history.locate(&notes)?;
        let keys = self.keys.as_ref().map(|keys| keys.locate(&notes)).transpose()?;
        let here = dir.store_ids()?;
        let newest =
            || newest_keys(&History::open(&history)?, root.fingerprint(), &here).map(|newest| newest.keys);
        let keys = keys.map_or_else(newest, Ok)?;
        let means = Means { history: &history, keys: &keys, root: &root };
        let spinner = output::waiting("repairing");
        let repaired = repair(&dir, &means, self.dry_run);
        spinner.finish_and_clear();
        Ok(repaired?)
    }

    fn print_repaired(&self, repaired: &Repaired) -> Exit {
        if self.json {
            output::json(repaired);
        } else {
            let were = if self.dry_run { "would be" } else { "were" };
            for (count, what) in [(repaired.frames, "frames"), (repaired.data_keys, "data keys")] {
                if count > 0 {
                    output::line(format_args!("{count} {what} {were} brought back"));
                }
            }
            for stream in &repaired.key_files {
                output::line(format_args!("the key of {stream}: its file is brought back"));
            }
            match repaired.store {
                Some(store) => output::line(format_args!(
                    "{store} is in use, up to position {}; the damaged store lies beside it",
                    repaired.position
                )),
                None if !repaired.is_anything() => {
                    output::line("nothing is damaged that a snapshot could bring back")
                }
                None => {}
            }
        }
        for key in &repaired.lost {
            output::note(format_args!("WARNING: data key {key} is neither here nor in the snapshot"));
        }
        let is_found = !repaired.lost.is_empty() || self.dry_run && repaired.is_anything();
        if is_found { Exit::DoesNotHold } else { Exit::Fine }
    }

    /// The root key, if it is at hand: to see whether it unwraps the key files, and for a repair.
    fn root_key(&self) -> Result<Option<RootKey>, RootKeyError> {
        let dir = &self.target.data_dir;
        let at_hand = self.root_key.is_given() || dir.join("root.key").exists();
        at_hand.then(|| self.root_key.read(dir)).transpose()
    }

    fn check(&self, opened: &OpenDir, root: Option<&RootKey>) -> Exit {
        let snapshots = self.snapshots_dir.clone().unwrap_or_else(|| self.target.data_dir.join(SNAPSHOTS));
        let ledger = match opened.ledger(&snapshots) {
            Ok(ledger) => ledger,
            Err(error) => return failed(&error),
        };
        let log: Arc<dyn EventLog> = Arc::clone(&opened.log) as Arc<dyn EventLog>;
        // What is wrong with a root key that opens nothing is told with the key files.
        let ring = root.and_then(|root| KeyRing::open(opened.store.keys(), root.clone(), log).ok());
        let parts = Parts {
            log: &*opened.log,
            ring: ring.as_ref(),
            ledger: Some(&ledger),
            derived: Some(&opened.derived),
            epoch: opened.epoch.as_str(),
            now: Clock::system().now(),
        };
        let bar = output::progress("checking");
        let key_files = |streams: &[_]| files::check(&opened.store.keys(), root, Some(streams));
        let report = check_store(&parts, key_files, |at, end| {
            bar.set_length(end);
            bar.set_position(at);
        });
        bar.finish_and_clear();
        self.print(&report)
    }

    /// Lists what can be said of a store that does not open.
    fn unopened(&self, error: &DirError, root: Option<&RootKey>) -> Exit {
        let exit = failed(error);
        if matches!(error, DirError::NoStore { .. } | DirError::Dir(DataDirError::InUse { .. })) {
            return exit;
        }
        match self.target.lock() {
            Ok(dir) => {
                let unopened = Unopened::look(error, &dir, root);
                if self.json {
                    output::json(&unopened);
                } else {
                    unopened.print();
                }
            }
            Err(error) => output::error(&error),
        }
        exit
    }

    fn print(&self, report: &Report) -> Exit {
        if self.json {
            output::json(report);
        } else {
            for defect in &report.log.defects {
                output::line(defect);
            }
            if report.log.more_defects {
                output::line("and more");
            }
            print_key_files("", &report.key_files);
            print_data_keys(&report.data_keys);
            print_checkpoints(&report.checkpoints);
            print_ledger(&report.ledger);
            print_derived(&report.derived);
            if !report.is_sound() {
                output::line(
                    "keep a copy of the data folder, then bring back what is damaged with `settled fsck --repair-from` and \
                     the newest snapshot, or restore that with `settled snapshot restore`",
                );
            }
            output::line(format_args!(
                "{} frames, {} events, {} bytes: {}",
                report.log.frames,
                report.log.events,
                report.log.bytes,
                if report.is_clean() { "clean" } else { "NOT clean" }
            ));
        }
        if report.is_clean() { Exit::Fine } else { Exit::DoesNotHold }
    }
}

fn print_data_keys(report: &DataKeysReport) {
    for defect in &report.defects {
        output::line(defect);
    }
    for stream in &report.unchecked {
        output::line(format_args!("its data keys are unchecked, since the log cannot be read: {stream}"));
    }
    let how = if report.unwrapped { "" } else { ", no root key at hand to unwrap them" };
    let unused = match report.unused {
        0 => String::new(),
        keys => format!(", {keys} that nothing uses"),
    };
    output::line(format_args!(
        "{} data keys are there and {} destroyed, as history says{unused}{how}",
        report.whole, report.destroyed
    ));
}

fn print_checkpoints(report: &CheckpointsReport) {
    for defect in &report.defects {
        output::line(defect);
    }
    for stream in &report.unchecked {
        output::line(format_args!("its checkpoint is unchecked, since the log cannot be read: {stream}"));
    }
    let before = match report.of_before {
        0 => String::new(),
        checkpoints => format!(", {checkpoints} of an epoch before say nothing of it"),
    };
    output::line(format_args!("{} checkpoints are of this history{before}", report.whole));
}

fn print_ledger(report: &LedgerReport) {
    for defect in &report.defects {
        output::line(defect);
    }
    if report.unfinished > 0 {
        output::line(format_args!(
            "note: what {} lines of the ledger say is unfinished; a start finishes it",
            report.unfinished
        ));
    }
    if report.torn {
        output::line("note: the ledger's last line was cut off by a crash; nothing rests on it");
    }
    let others = match report.of_others {
        0 => String::new(),
        lines => format!(", {lines} are of stores elsewhere"),
    };
    output::line(format_args!("{} lines of the ledger are as the log says{others}", report.whole));
}

fn print_derived(report: &DerivedReport) {
    for defect in &report.defects {
        output::line(defect);
    }
    for stream in &report.unchecked {
        output::line(format_args!("its derived files are unchecked, since the log cannot be read: {stream}"));
    }
    if !report.defects.is_empty() {
        output::line("derived files are made of the log alone: what is served is right without them");
    }
    let outdated = match report.outdated {
        0 => String::new(),
        files => format!(", {files} are another build's and not read"),
    };
    output::line(format_args!("{} derived files are what the log gives{outdated}", report.whole));
}
