//! `settled log export`: events exactly as recorded, one line of canonical JSON each.

use std::io::{self, BufWriter, Write};

use clap::{Args, Subcommand};

use crate::cli::exit::Exit;
use crate::cli::target::{Holder, Target, close, failed};
use crate::cli::{output, socket};
use crate::ids::StreamId;
use crate::log::export::{Selection, export};
use crate::log::sled::open::HeadPolicy;
use crate::open::OpenDir;

/// `settled log`.
#[derive(Debug, Subcommand)]
pub enum Log {
    /// Print events exactly as recorded, oldest first, one line of canonical JSON each; sealed fields are ciphertext
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
    #[arg(long, value_name = "VERSION", default_value_t = 0)]
    after: u64,
}

impl Log {
    /// Runs it.
    pub fn run(&self) -> Exit {
        let Self::Export(command) = self;
        let mut out = BufWriter::new(io::stdout().lock());
        match command.target.find(HeadPolicy::Require) {
            Err(error) => failed(&error),
            Ok(Holder::Server(path)) => {
                let streamed = socket::stream(&path, &command.path(), |chunk| out.write_all(chunk).is_ok());
                match streamed {
                    Ok(()) => ended(out),
                    Err(error) => failed(&error),
                }
            }
            Ok(Holder::Us(opened)) => {
                let exit = command.print(&opened, &mut out);
                close(&opened, if exit == Exit::Fine { ended(out) } else { exit })
            }
        }
    }
}

impl Export {
    fn path(&self) -> String {
        let stream = self.stream.map(|stream| format!("&stream={stream}")).unwrap_or_default();
        format!("/v1/operator/log/export?after={}{stream}", self.after)
    }

    fn print(&self, opened: &OpenDir, out: &mut impl Write) -> Exit {
        let bar = output::progress_beside_output("exporting");
        let selection = Selection { stream: self.stream, after: self.after };
        let exported = export(&*opened.log, selection, |line, position, end| {
            bar.set_length(end.0);
            bar.set_position(position.0);
            out.write_all(line.as_bytes()).and_then(|()| out.write_all(b"\n")).is_ok()
        });
        bar.finish_and_clear();
        match exported {
            Ok(()) => Exit::Fine,
            Err(error) => failed(&error),
        }
    }
}

/// A reader that has had enough (`| head`) is no failure; a full disk under a redirected output is one.
fn ended(mut out: impl Write) -> Exit {
    match out.flush() {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => failed(&error),
        _ => Exit::Fine,
    }
}
