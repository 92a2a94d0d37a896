//! `settled organizations delete`.

use std::error::Error;
use std::path::Path;

use clap::Args;
use hyper::Method;
use hyper::body::Bytes;
use serde::{Deserialize, Serialize};

use super::PATH;
use crate::cli::exit::Exit;
use crate::cli::root_key::RootKeyOptions;
use crate::cli::snapshot::SnapshotsDir;
use crate::cli::socket::SocketError;
use crate::cli::target::Target;
use crate::cli::{older_keys, output, socket};
use crate::clock::Clock;
use crate::ids::OrganizationId;
use crate::open::OpenDir;
use crate::snapshot::operating::Snapshots;
use crate::store::organizations::DeletionError;

/// `settled organizations delete`.
#[derive(Args, Debug)]
pub struct Delete {
    /// Which one
    #[arg(value_name = "ORGANIZATION")]
    organization: OrganizationId,
    /// That it is meant: nothing brings it back
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    root_key: RootKeyOptions,
    #[command(flatten)]
    snapshots_dir: SnapshotsDir,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// What was deleted.
#[derive(Debug, Serialize, Deserialize)]
struct Deleted {
    organization: OrganizationId,
    /// Why copies of its keys beside snapshots may open it still, where they could not be rewritten yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

impl Delete {
    pub(super) fn run(&self) -> Exit {
        if !self.yes {
            output::note(format_args!("settled: nothing brings {} back: say --yes", self.organization));
            return Exit::Usage;
        }
        let ask = |socket: &Path| {
            let spinner = output::waiting("the server deletes it");
            let deleted = self.asked(socket);
            spinner.finish_and_clear();
            deleted
        };
        match self.target.have_done(ask, |opened| self.delete(opened)) {
            Ok(deleted) => self.print(deleted.as_ref()),
            Err(exit) => exit,
        }
    }

    /// What a running server answered, as what is printed.
    fn asked(&self, socket: &Path) -> Result<Bytes, SocketError> {
        let path = format!("{PATH}/{}", self.organization);
        let deleted = match socket::call(socket, Method::DELETE, &path) {
            Err(SocketError::Refused { status, .. }) if status.as_u16() == 404 => None,
            answer => {
                answer?;
                Some(Deleted { organization: self.organization, problem: older_keys::problem(socket) })
            }
        };
        Ok(serde_json::to_vec(&deleted).expect("plain data with text keys").into())
    }

    /// As a server does: after what was left open, with a line in the ledger, and the keys of older snapshots with it.
    fn delete(&self, opened: &OpenDir) -> Result<Option<Deleted>, Box<dyn Error>> {
        let folder = self.snapshots_dir.of(opened.dir.root());
        let place = self.snapshots_dir.place(opened.dir.root())?;
        let ledger = opened.ledger(&folder)?;
        let store = self.root_key.open_store(opened, Clock::system(), Some(ledger))?;
        store.resume_clock();
        let snapshots = Snapshots::new(folder, opened.store.id).in_place(place);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let deleted = runtime.block_on(async {
            store.finish_ledger().await;
            store.finish_intents().await;
            match store.delete_organization(self.organization).await {
                Err(DeletionError::NotFound(_)) => Ok(None),
                Err(error) => Err(error),
                Ok(()) => {
                    snapshots.renew_keys(&store).await;
                    Ok(Some(Deleted { organization: self.organization, problem: snapshots.problem() }))
                }
            }
        });
        store.stop();
        Ok(deleted?)
    }

    fn print(&self, deleted: Option<&Deleted>) -> Exit {
        let Some(deleted) = deleted else {
            output::error(&DeletionError::NotFound(self.organization));
            return Exit::DoesNotHold;
        };
        if self.json {
            output::json(deleted);
        } else {
            output::line(format_args!(
                "{} is deleted: nobody is let in any more, and nothing in this store opens what it sealed",
                deleted.organization
            ));
        }
        if let Some(problem) = &deleted.problem {
            output::note(format_args!("WARNING: {problem}"));
        }
        Exit::Fine
    }
}
