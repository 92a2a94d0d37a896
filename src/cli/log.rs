//! `settled log export`: events exactly as recorded, one JSON object a line.

use clap::{Args, Subcommand};

use crate::cli::exit::Exit;
use crate::cli::output;
use crate::cli::target::{Target, close, failed};
use crate::ids::StreamId;
use crate::log::frame::Frame;
use crate::log::sled::open::HeadPolicy;
use crate::log::{EventLog as _, Position};
use crate::open::OpenDir;

/// `settled log`.
#[derive(Debug, Subcommand)]
pub enum Log {
    /// Print events exactly as recorded, one JSON object a line; sealed fields are ciphertext
    Export(Export),
}

/// `settled log export`.
#[derive(Args, Debug)]
pub struct Export {
    #[command(flatten)]
    target: Target,
    /// Only this stream: `platform`, or an organization's id
    #[arg(long)]
    stream: Option<StreamId>,
    /// Only events after this version of their stream
    #[arg(long, default_value_t = 0)]
    after: u64,
}

impl Log {
    /// Runs it.
    pub fn run(&self) -> Exit {
        let Self::Export(export) = self;
        match export.target.open(HeadPolicy::Require) {
            Err(error) => failed(&error),
            Ok(opened) => {
                let exit = match export.print(&opened) {
                    Ok(()) => Exit::Fine,
                    Err(error) => failed(&*error),
                };
                close(&opened, exit)
            }
        }
    }
}

impl Export {
    fn print(&self, opened: &OpenDir) -> Result<(), Box<dyn std::error::Error>> {
        let mut after = Position(0);
        loop {
            let frames = opened.log.read(after)?;
            let Some((last, _)) = frames.last() else { return Ok(()) };
            after = *last;
            for (_, bytes) in frames {
                let frame = Frame::parse(bytes)?;
                let header = frame.header();
                if self.stream.is_some_and(|stream| stream != header.stream) {
                    continue;
                }
                for (json, version) in frame.jsons().zip(header.first_version..) {
                    if version > self.after {
                        output::json(&json?);
                    }
                }
            }
        }
    }
}
