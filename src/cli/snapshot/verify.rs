//! `settled snapshot verify`.

use std::error::Error;

use clap::Args;

use super::exit_of;
use crate::cli::exit::Exit;
use crate::cli::output;
use crate::cli::root_key::RootKeyOptions;
use crate::cli::target::{Target, failed};
use crate::data_dir::SNAPSHOTS;
use crate::snapshot::operating::{Verified, verify};
use crate::snapshot::place::url::FileName;

/// `settled snapshot verify`.
#[derive(Args, Debug)]
pub struct Verify {
    /// The history: a file, or s3://BUCKET/PREFIX/NAME
    #[arg(value_name = "FILE")]
    history: FileName,
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    root_key: RootKeyOptions,
    /// Its keys [default: FILE.keys, where it is there]
    #[arg(long, value_name = "FILE")]
    keys: Option<FileName>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Verify {
    pub(super) fn run(&self) -> Exit {
        match self.verify() {
            Ok(verified) => self.print(&verified),
            Err(error) => {
                let exit = failed(&*error);
                error.downcast_ref().map_or(exit, |error| exit_of(error, exit))
            }
        }
    }

    fn verify(&self) -> Result<Verified, Box<dyn Error>> {
        let notes = self.target.data_dir.join(SNAPSHOTS);
        let history = self.history.locate(&notes)?;
        output::note(format_args!("reading {}", history.path().display()));
        let keys = match &self.keys {
            Some(keys) => Some(keys.locate(&notes)?),
            None => {
                let keys = history.keys();
                keys.exists()?.then_some(keys)
            }
        };
        let root = match keys.as_ref().map(|_| self.root_key.read(&self.target.data_dir)).transpose() {
            Err(error) if self.keys.is_none() && !self.root_key.is_given() => {
                output::note(format_args!("note: its keys are not looked at: {error}"));
                None
            }
            root => root?,
        };
        let bar = output::progress("verifying");
        let keys = keys.as_ref();
        let verified = verify(&history, keys.zip(root.as_ref()), &mut output::shown_by(bar.clone()));
        bar.finish_and_clear();
        Ok(verified?)
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
