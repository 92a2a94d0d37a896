//! `settled fsck`: checks the whole log and lists what is wrong instead of skipping it.

use clap::Args;
use hyper::Method;

use crate::cli::exit::Exit;
use crate::cli::target::{Holder, Target, close, failed};
use crate::cli::{output, socket};
use crate::log::check::{Report, check};
use crate::log::sled::open::HeadPolicy;

/// `settled fsck`.
#[derive(Args, Debug)]
pub struct Fsck {
    #[command(flatten)]
    target: Target,
    /// Take what the log holds without a gap for the whole log, cut the rest, and write the head file anew. What it
    /// accepts is said. Only after a snapshot could not help
    #[arg(long)]
    accept_head: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Fsck {
    /// Runs it.
    pub fn run(&self) -> Exit {
        if self.accept_head {
            return match self.target.open(HeadPolicy::Accept) {
                Err(error) => failed(&error),
                Ok(opened) => {
                    let exit = self.check(&opened);
                    close(&opened, exit)
                }
            };
        }
        match self.target.find(HeadPolicy::Require) {
            Err(error) => failed(&error),
            Ok(Holder::Server(path)) => {
                let spinner = output::waiting("the server checks");
                let answer = socket::call(&path, Method::POST, "/v1/operator/fsck");
                spinner.finish_and_clear();
                match answer.map(|body| serde_json::from_slice::<Report>(&body)) {
                    Ok(Ok(report)) => self.print(&report),
                    Ok(Err(error)) => failed(&error),
                    Err(error) => failed(&error),
                }
            }
            Ok(Holder::Us(opened)) => {
                let exit = self.check(&opened);
                close(&opened, exit)
            }
        }
    }

    fn check(&self, opened: &crate::open::OpenDir) -> Exit {
        let bar = output::progress("checking");
        let report = check(&*opened.log, |at, end| {
            bar.set_length(end.0);
            bar.set_position(at.0);
        });
        bar.finish_and_clear();
        self.print(&report)
    }

    fn print(&self, report: &Report) -> Exit {
        if self.json {
            output::json(report);
        } else {
            for defect in &report.defects {
                output::line(defect);
            }
            if report.more_defects {
                output::line("and more");
            }
            if !report.is_clean() {
                output::line(
                    "keep a copy of the data folder, then restore the newest snapshot with `settled snapshot restore`",
                );
            }
            output::line(format_args!(
                "{} frames, {} events, {} bytes: {}",
                report.frames,
                report.events,
                report.bytes,
                if report.is_clean() { "clean" } else { "NOT clean" }
            ));
        }
        if report.is_clean() { Exit::Fine } else { Exit::DoesNotHold }
    }
}
