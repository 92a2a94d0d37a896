//! `settled snapshot create`.

use std::error::Error;
use std::path::PathBuf;

use clap::Args;
use zeroize::Zeroizing;

use super::{SnapshotsDir, answered};
use crate::actor::Actor;
use crate::cli::exit::Exit;
use crate::cli::root_key::RootKeyOptions;
use crate::cli::target::{Holder, Target, close, failed};
use crate::cli::{output, socket};
use crate::clock::Clock;
use crate::log::sled::open::HeadPolicy;
use crate::open::OpenDir;
use crate::snapshot::folder::{Folder, Listed};
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
                let body = serde_json::json!({ "output": output }).to_string();
                let spinner = output::waiting("the server takes a snapshot");
                let answer = socket::post(&path, "/v1/operator/snapshots", Zeroizing::new(body));
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
        let store = self.root_key.open_store(opened, Clock::system())?;
        store.resume_clock();
        let folder = Folder { path: self.snapshots_dir.of(opened.dir.root()), store: opened.store.id };
        let bar = output::progress("taking a snapshot");
        let taken = folder.take(&store, self.output.clone(), &mut |at, end| {
            bar.set_length(end.0);
            bar.set_position(at.0);
        });
        bar.finish_and_clear();
        let noted = taken.map_err(Box::<dyn Error>::from).and_then(|taken| {
            let runtime = tokio::runtime::Builder::new_current_thread().build()?;
            runtime.block_on(Folder::note_taken(&store, &taken, Actor::OPERATOR))?;
            Ok(taken)
        });
        store.stop();
        noted
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
