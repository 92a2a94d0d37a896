//! `settled replay`: folds the log from zero, and holds the result against what a running server serves, or one would
//! from the derived files.

use clap::Args;
use hyper::Method;

use crate::cli::exit::Exit;
use crate::cli::target::{Holder, Target, answered, close, failed};
use crate::cli::{output, socket};
use crate::log::EventLog as _;
use crate::log::sled::open::HeadPolicy;
use crate::store::replay::{ReplayReport, replay};

/// `settled replay`.
#[derive(Args, Debug)]
pub struct Replay {
    #[command(flatten)]
    target: Target,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Replay {
    /// Runs it.
    pub fn run(&self) -> Exit {
        match self.target.find(HeadPolicy::Require) {
            Err(error) => failed(&error),
            Ok(Holder::Server(path)) => {
                let spinner = output::waiting("the server replays");
                let answer = socket::call(&path, Method::POST, "/v1/operator/replay");
                spinner.finish_and_clear();
                match answered::<ReplayReport>(answer) {
                    Ok(report) => self.print(&report, "as served"),
                    Err(exit) => exit,
                }
            }
            Ok(Holder::Us(opened)) => {
                let bar = output::progress("replaying");
                bar.set_length(opened.log.end().0);
                let replayed = replay(&*opened.log, &opened.derived, |position| bar.set_position(position.0));
                bar.finish_and_clear();
                let exit = match replayed {
                    Ok(report) => self.print(&report, "as it would be served"),
                    Err(error) => failed(&error),
                };
                close(&opened, exit)
            }
        }
    }

    fn print(&self, report: &ReplayReport, same: &str) -> Exit {
        if self.json {
            output::json(report);
        } else {
            let rows = report.streams.iter().map(|stream| {
                let served = match stream.served {
                    None => String::new(),
                    Some(true) => same.to_owned(),
                    Some(false) => format!("NOT {same}"),
                };
                vec![stream.stream.clone(), stream.version.to_string(), stream.digest.clone(), served]
            });
            output::table(&["STREAM", "VERSION", "DIGEST", ""], rows);
        }
        let holds = report.streams.iter().all(|stream| stream.served != Some(false));
        if holds { Exit::Fine } else { Exit::DoesNotHold }
    }
}
