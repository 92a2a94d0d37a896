//! `settled snapshot list`.

use clap::Args;

use super::SnapshotsDir;
use crate::cli::exit::Exit;
use crate::cli::output;
use crate::cli::target::{Target, failed};
use crate::snapshot::listing::{Listing, list};

/// `settled snapshot list`.
#[derive(Args, Debug)]
pub struct List {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    snapshots_dir: SnapshotsDir,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl List {
    /// The place is read as it is: whether a server runs makes no difference.
    pub(super) fn run(&self) -> Exit {
        let place = match self.snapshots_dir.place(&self.target.data_dir) {
            Ok(place) => place,
            Err(error) => return failed(&error),
        };
        output::note(format_args!("reading {}", place.root().display()));
        match list(&place) {
            Ok(listing) => self.print(&listing),
            Err(error) => failed(&error),
        }
    }

    fn print(&self, listing: &Listing) -> Exit {
        if self.json {
            output::json(listing);
        } else {
            let rows = listing.data.iter().map(|found| {
                vec![
                    found.id.to_string(),
                    found.taken_at.to_string(),
                    found.position.to_string(),
                    found.events.to_string(),
                    found.bytes.to_string(),
                    if found.has_keys { "yes" } else { "no" }.to_owned(),
                    found.path.display().to_string(),
                ]
            });
            output::table(&["SNAPSHOT", "TAKEN", "POSITION", "EVENTS", "BYTES", "KEYS", "FILE"], rows);
            for what in &listing.unreadable {
                output::line(what);
            }
        }
        if listing.unreadable.is_empty() { Exit::Fine } else { Exit::DoesNotHold }
    }
}
