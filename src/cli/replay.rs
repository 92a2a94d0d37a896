//! `settled replay`: folds the log from zero, and holds the result against what a running server serves.

use clap::Args;
use hyper::Method;

use crate::cli::exit::Exit;
use crate::cli::target::{Holder, Target, close, failed};
use crate::cli::{output, socket};
use crate::log::EventLog as _;
use crate::log::sled::open::HeadPolicy;
use crate::store::load::fold;
use crate::store::replay::{ReplayReport, StreamReplay};

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
                match answer.map(|body| serde_json::from_slice::<ReplayReport>(&body)) {
                    Ok(Ok(report)) => self.print(&report),
                    Ok(Err(error)) => failed(&error),
                    Err(error) => failed(&error),
                }
            }
            Ok(Holder::Us(opened)) => {
                let bar = output::progress("replaying");
                bar.set_length(opened.log.end().0);
                let folded = fold(&*opened.log, |position| bar.set_position(position.0));
                bar.finish_and_clear();
                let exit = match folded {
                    Ok(views) => {
                        self.print(&ReplayReport::new(views.values().map(StreamReplay::of).collect()))
                    }
                    Err(error) => failed(&error),
                };
                close(&opened, exit)
            }
        }
    }

    fn print(&self, report: &ReplayReport) -> Exit {
        if self.json {
            output::json(report);
        } else {
            let rows = report.streams.iter().map(|stream| {
                let served = match stream.served {
                    None => "",
                    Some(true) => "as served",
                    Some(false) => "NOT as served",
                };
                vec![
                    stream.stream.clone(),
                    stream.version.to_string(),
                    stream.digest.clone(),
                    served.to_owned(),
                ]
            });
            output::table(&["STREAM", "VERSION", "DIGEST", ""], rows);
        }
        let holds = report.streams.iter().all(|stream| stream.served != Some(false));
        if holds { Exit::Fine } else { Exit::DoesNotHold }
    }
}
