//! `settled snapshot create`.

use std::error::Error;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;
use zeroize::Zeroizing;

use super::{SnapshotsDir, with_store};
use crate::actor::Actor;
use crate::cli::exit::Exit;
use crate::cli::root_key::RootKeyOptions;
use crate::cli::target::{Target, failed};
use crate::cli::{output, socket};
use crate::open::OpenDir;
use crate::snapshot::keys_of;
use crate::snapshot::listing::Listed;

/// `settled snapshot create`.
#[derive(Args, Debug)]
pub struct Create {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    root_key: RootKeyOptions,
    #[command(flatten)]
    snapshots_dir: SnapshotsDir,
    /// The history; its keys go beside it [default: in the folder or bucket of the snapshots, under the snapshot's id]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Create {
    pub(super) fn run(&self) -> Exit {
        let output = match self.output.as_deref().map(std::path::absolute).transpose() {
            Ok(output) => output,
            Err(error) => return failed(&error),
        };
        let ask = |socket: &Path| {
            let body = output.map_or_else(|| json!({}), |output| json!({ "output": output }));
            let spinner = output::waiting("the server takes a snapshot");
            let answer = socket::post(socket, "/v1/operator/snapshots", Zeroizing::new(body.to_string()));
            spinner.finish_and_clear();
            answer
        };
        match self.target.have_done(ask, |opened| self.take(opened)) {
            Ok(taken) => self.print(&taken),
            Err(exit) => exit,
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
