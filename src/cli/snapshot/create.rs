//! `settled snapshot create`.

use std::error::Error;
use std::path::PathBuf;

use clap::Args;
use zeroize::Zeroizing;

use super::{SnapshotsDir, answered, with_store};
use crate::actor::Actor;
use crate::cli::exit::Exit;
use crate::cli::root_key::RootKeyOptions;
use crate::cli::target::{Holder, Target, close, failed};
use crate::cli::{output, socket};
use crate::log::sled::open::HeadPolicy;
use crate::open::OpenDir;
use crate::snapshot::folder::Listed;
use crate::snapshot::keys_of;

/// `settled snapshot create`.
#[derive(Args, Debug)]
pub struct Create {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    root_key: RootKeyOptions,
    #[command(flatten)]
    snapshots_dir: SnapshotsDir,
    /// The history; its keys go beside it [default: in the folder of the snapshots, under the snapshot's id]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Create {
    pub(super) fn run(&self) -> Exit {
        match self.target.find(HeadPolicy::Require) {
            Err(error) => failed(&error),
            Ok(Holder::Server(path)) => {
                let output = match self.output.as_deref().map(std::path::absolute).transpose() {
                    Ok(output) => output,
                    Err(error) => return failed(&error),
                };
                let body = match output {
                    None => serde_json::json!({}),
                    Some(output) => serde_json::json!({ "output": output }),
                };
                let spinner = output::waiting("the server takes a snapshot");
                let answer = socket::post(&path, "/v1/operator/snapshots", Zeroizing::new(body.to_string()));
                spinner.finish_and_clear();
                match answer.map(|body| serde_json::from_slice::<Listed>(&body)) {
                    Ok(Ok(taken)) => self.print(&taken),
                    Ok(Err(error)) => failed(&error),
                    Err(error) => answered(&error),
                }
            }
            Ok(Holder::Us(opened)) => {
                let exit = match self.take(&opened) {
                    Ok(taken) => self.print(&taken),
                    Err(error) => failed(&*error),
                };
                close(&opened, exit)
            }
        }
    }

    fn take(&self, opened: &OpenDir) -> Result<Listed, Box<dyn Error>> {
        let bar = output::progress("taking a snapshot");
        let shown = bar.clone();
        let taken = with_store(opened, &self.root_key, &self.snapshots_dir, async |store, snapshots| {
            let progress = output::shown_by(shown);
            snapshots.take(store, self.output.clone(), Actor::OPERATOR, progress).await
        });
        bar.finish_and_clear();
        taken
    }

    fn print(&self, taken: &Listed) -> Exit {
        if self.json {
            output::json(taken);
        } else {
            output::line(format_args!(
                "{}: {} events of {} streams, up to position {}, {} bytes",
                taken.path.display(),
                taken.events,
                taken.streams,
                taken.position,
                taken.bytes
            ));
            output::line(format_args!(
                "{}: its keys, which the root key alone opens; only the newest such file is needed",
                keys_of(&taken.path).display()
            ));
        }
        Exit::Fine
    }
}
