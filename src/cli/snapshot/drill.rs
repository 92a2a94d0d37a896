//! `settled snapshot drill`.

use std::error::Error;
use std::path::PathBuf;

use clap::Args;
use hyper::Method;

use super::{SnapshotsDir, answered};
use crate::actor::Actor;
use crate::cli::exit::Exit;
use crate::cli::root_key::RootKeyOptions;
use crate::cli::target::{Holder, Target, close, failed};
use crate::cli::{output, socket};
use crate::clock::Clock;
use crate::ids::SnapshotId;
use crate::log::sled::open::HeadPolicy;
use crate::open::OpenDir;
use crate::snapshot::SnapshotError;
use crate::snapshot::drill::DrillReport;
use crate::snapshot::folder::{Folder, FolderError, list};

/// `settled snapshot drill`.
#[derive(Args, Debug)]
pub struct Drill {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    root_key: RootKeyOptions,
    #[command(flatten)]
    snapshots_dir: SnapshotsDir,
    /// Which one of the folder [default: the newest]
    #[arg(value_name = "SNAPSHOT")]
    snapshot: Option<SnapshotId>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Drill {
    pub(super) fn run(&self) -> Exit {
        let folder = self.snapshots_dir.of(&self.target.data_dir);
        let (snapshot, history) = match self.choose(&folder) {
            Ok(chosen) => chosen,
            Err(error) => return failed(&error),
        };
        match self.target.find(HeadPolicy::Require) {
            Err(error) => failed(&error),
            Ok(Holder::Server(path)) => {
                let spinner = output::waiting("the server drills");
                let answer =
                    socket::call(&path, Method::POST, &format!("/v1/operator/snapshots/{snapshot}/drill"));
                spinner.finish_and_clear();
                match answer.map(|body| serde_json::from_slice::<DrillReport>(&body)) {
                    Ok(Ok(report)) => self.print(&report),
                    Ok(Err(error)) => failed(&error),
                    Err(error) => answered(&error),
                }
            }
            Ok(Holder::Us(opened)) => {
                let exit = match self.drill(&opened, folder, (snapshot, history)) {
                    Ok(report) => self.print(&report),
                    Err(error) => {
                        failed(&*error);
                        Exit::DoesNotHold
                    }
                };
                close(&opened, exit)
            }
        }
    }

    fn choose(&self, folder: &std::path::Path) -> Result<(SnapshotId, PathBuf), FolderError> {
        let listing = list(folder)?;
        let chosen = match self.snapshot {
            Some(wanted) => listing.data.into_iter().find(|found| found.id == wanted),
            None => listing.data.into_iter().next_back(),
        };
        match (chosen, self.snapshot) {
            (Some(found), _) => Ok((found.id, found.path)),
            (None, Some(wanted)) => Err(FolderError::NoSuchSnapshot(wanted)),
            (None, None) => Err(SnapshotError::Io {
                action: "find a snapshot in",
                path: folder.to_owned(),
                source: std::io::ErrorKind::NotFound.into(),
            }
            .into()),
        }
    }

    fn drill(
        &self,
        opened: &OpenDir,
        path: PathBuf,
        (snapshot, history): (SnapshotId, PathBuf),
    ) -> Result<DrillReport, Box<dyn Error>> {
        let store = self.root_key.open_store(opened, Clock::system())?;
        store.resume_clock();
        let folder = Folder { path, store: opened.store.id };
        let bar = output::progress("drilling");
        let report = folder.drill(&store, &history, &mut |at, end| {
            bar.set_length(end.0);
            bar.set_position(at.0);
        });
        bar.finish_and_clear();
        let (position, sound) =
            report.as_ref().map_or((0, false), |report| (report.position, report.is_sound()));
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        let noted =
            runtime.block_on(Folder::note_drilled(&store, (snapshot, position), sound, Actor::OPERATOR));
        store.stop();
        let report = report?;
        noted?;
        Ok(report)
    }

    fn print(&self, report: &DrillReport) -> Exit {
        if self.json {
            output::json(report);
        } else {
            for stream in &report.different {
                output::line(format_args!("{stream} came out otherwise than it is here"));
            }
            output::line(format_args!(
                "{} restored up to position {}: {} streams, {}",
                report.snapshot,
                report.position,
                report.streams,
                if report.is_sound() { "each as it was here then" } else { "NOT as it was here then" }
            ));
            if report.missing_keys > 0 {
                output::line(format_args!(
                    "{} data keys of its history are not among its keys: destroyed since, or lost",
                    report.missing_keys
                ));
            }
        }
        if report.is_sound() { Exit::Fine } else { Exit::DoesNotHold }
    }
}
