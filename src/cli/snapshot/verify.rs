//! `settled snapshot verify`.

use std::path::PathBuf;

use clap::Args;

use crate::cli::exit::Exit;
use crate::cli::output;
use crate::cli::root_key::RootKeyOptions;
use crate::cli::target::{Target, failed};
use crate::snapshot::keys_of;
use crate::snapshot::operating::{Verified, verify};

/// `settled snapshot verify`.
#[derive(Args, Debug)]
pub struct Verify {
    /// The history
    #[arg(value_name = "FILE")]
    history: PathBuf,
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    root_key: RootKeyOptions,
    /// Its keys [default: FILE.keys, where it is there]
    #[arg(long, value_name = "FILE")]
    keys: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Verify {
    pub(super) fn run(&self) -> Exit {
        output::note(format_args!("reading {}", self.history.display()));
        let keys = self.keys.clone().or_else(|| Some(keys_of(&self.history)).filter(|keys| keys.exists()));
        let root = match keys.as_ref().map(|_| self.root_key.read(&self.target.data_dir)).transpose() {
            Ok(root) => root,
            Err(error) if self.keys.is_none() && !self.root_key.is_given() => {
                output::note(format_args!("note: its keys are not looked at: {error}"));
                None
            }
            Err(error) => return failed(&error),
        };
        let bar = output::progress("verifying");
        let verified =
            verify(&self.history, keys.as_deref().zip(root.as_ref()), &mut output::shown_by(bar.clone()));
        bar.finish_and_clear();
        match verified {
            Ok(verified) => self.print(&verified),
            Err(error) => {
                failed(&error);
                Exit::DoesNotHold
            }
        }
    }

    fn print(&self, verified: &Verified) -> Exit {
        if self.json {
            output::json(verified);
            return Exit::Fine;
        }
        let Verified { snapshot, position, events, streams, data_keys, missing_keys } = verified;
        output::line(format_args!(
            "{snapshot} is whole: {events} events of {streams} streams, up to position {position}"
        ));
        output::line(match missing_keys {
            None => "its keys were not looked at".to_owned(),
            Some(0) => format!("all {data_keys} data keys of its history are there and open"),
            Some(missing) => format!(
                "{} of the {data_keys} data keys of its history are there and open; {missing} are not there, \
                 destroyed since or lost",
                data_keys - missing
            ),
        });
        Exit::Fine
    }
}
