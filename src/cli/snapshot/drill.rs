//! `settled snapshot drill`.

use std::error::Error;
use std::path::Path;

use clap::Args;
use hyper::Method;

use super::{SnapshotsDir, with_store};
use crate::actor::Actor;
use crate::cli::exit::Exit;
use crate::cli::root_key::RootKeyOptions;
use crate::cli::target::Target;
use crate::cli::{output, socket};
use crate::ids::SnapshotId;
use crate::open::OpenDir;
use crate::snapshot::drill::DrillReport;

/// `settled snapshot drill`.
#[derive(Args, Debug)]
pub struct Drill {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    root_key: RootKeyOptions,
    #[command(flatten)]
    snapshots_dir: SnapshotsDir,
    /// Which one of the folder or bucket [default: the newest]
    #[arg(value_name = "SNAPSHOT")]
    snapshot: Option<SnapshotId>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Drill {
    pub(super) fn run(&self) -> Exit {
        let ask = |socket: &Path| {
            let which = self.snapshot.map_or("newest".to_owned(), |snapshot| snapshot.to_string());
            let spinner = output::waiting("the server drills");
            let answer = socket::call(socket, Method::POST, &format!("/v1/operator/snapshots/{which}/drill"));
            spinner.finish_and_clear();
            answer
        };
        match self.target.have_done(ask, |opened| self.drill(opened)) {
            Ok(report) => self.print(&report),
            Err(exit) => exit,
        }
    }

    fn drill(&self, opened: &OpenDir) -> Result<DrillReport, Box<dyn Error>> {
        let bar = output::progress("drilling");
        let shown = bar.clone();
        let report = with_store(opened, &self.root_key, &self.snapshots_dir, async |store, snapshots| {
            snapshots.drill(store, self.snapshot, Actor::OPERATOR, output::shown_by(shown)).await
        });
        bar.finish_and_clear();
        report
    }

    fn print(&self, report: &DrillReport) -> Exit {
        if self.json {
            output::json(report);
        } else {
            self.tell(report);
        }
        if report.is_sound() { Exit::Fine } else { Exit::DoesNotHold }
    }

    fn tell(&self, report: &DrillReport) {
        if let Some(failure) = &report.failure {
            output::line(format_args!("{} did not come back: {failure}", report.snapshot));
            return;
        }
        for stream in &report.different {
            output::line(format_args!("{stream} came out otherwise than it is here"));
        }
        output::line(format_args!(
            "{} restored up to position {}: {} streams, {}",
            report.snapshot,
            report.position,
            report.streams,
            if report.different.is_empty() { "each as it was here then" } else { "NOT as it was here then" }
        ));
        if report.missing_keys > 0 {
            let lost = match report.lost_keys {
                Some(lost) => format!("of {lost} nothing says that they were destroyed"),
                None => {
                    "nobody knows whether they were destroyed, for there is no ledger in the folder of the snapshots: \
                     name that by --snapshots-dir"
                        .to_owned()
                }
            };
            output::line(format_args!(
                "{} data keys of its history are not among its keys; {lost}",
                report.missing_keys
            ));
        }
    }
}
