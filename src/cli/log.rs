//! `settled log`: events exactly as recorded, as `export` writes them out and `tail` shows the newest. The witness has a
//! file of its own.

use std::io::{self, BufWriter, Write};

use clap::{Args, Subcommand};
use serde_json::Value;

use crate::cli::exit::Exit;
use crate::cli::target::{Holder, Target, close, failed};
use crate::cli::witness::WatchCheckpoints;
use crate::cli::{output, socket};
use crate::clock::Timestamp;
use crate::ids::StreamId;
use crate::log::export::{ExportError, Selection, export};
use crate::log::sled::open::HeadPolicy;
use crate::log::{Position, tail};
use crate::open::OpenDir;

/// `settled log`.
#[derive(Debug, Subcommand)]
pub enum Log {
    /// Print events exactly as recorded, oldest first, one line of canonical JSON each; sealed fields are ciphertext
    Export(Export),
    /// Show the newest events, or those after a position, each on a line with its position; sealed fields are not shown
    Tail(Tail),
    /// Keep the newest checkpoint of an organization, and end with 1 where a further one contradicts it
    WatchCheckpoints(WatchCheckpoints),
}

/// `settled log export`.
#[derive(Args, Debug)]
pub struct Export {
    #[command(flatten)]
    target: Target,
    /// Only this stream: `platform`, or an organization's id
    #[arg(long, visible_alias = "organization")]
    stream: Option<StreamId>,
    /// Only events after this version of their stream
    #[arg(long, value_name = "VERSION", default_value_t = 0)]
    after: u64,
    /// Only events from this time on, as 2026-03-01T00:00:00Z
    #[arg(long, value_name = "TIME")]
    from: Option<Timestamp>,
    /// Only events before this time
    #[arg(long, value_name = "TIME")]
    to: Option<Timestamp>,
}

/// `settled log tail`.
#[derive(Args, Debug)]
pub struct Tail {
    #[command(flatten)]
    target: Target,
    /// Only this stream: `platform`, or an organization's id
    #[arg(long, visible_alias = "organization")]
    stream: Option<StreamId>,
    /// Only events after this position, instead of the newest few. Events that were appended at once share a position
    #[arg(long, value_name = "POSITION")]
    after: Option<u64>,
    /// Go on with what is appended, until the server stops
    #[arg(long, short)]
    follow: bool,
    /// One JSON object a line: the position, and the event exactly as recorded, sealed fields as ciphertext
    #[arg(long)]
    json: bool,
}

impl Log {
    /// Runs it.
    pub fn run(&self) -> Exit {
        match self {
            Self::Export(command) => command.run(),
            Self::Tail(command) => command.run(),
            Self::WatchCheckpoints(command) => command.run(),
        }
    }
}

impl Export {
    fn run(&self) -> Exit {
        let mut out = BufWriter::new(io::stdout().lock());
        match self.target.find(HeadPolicy::Require) {
            Err(error) => failed(&error),
            Ok(Holder::Server(path)) => {
                let streamed = socket::stream(&path, &self.path(), |chunk| out.write_all(chunk).is_ok());
                match streamed {
                    Ok(()) => output::ended(out.flush()),
                    Err(error) => failed(&error),
                }
            }
            Ok(Holder::Us(opened)) => {
                let exit = self.print(&opened, &mut out);
                close(&opened, if exit == Exit::Fine { output::ended(out.flush()) } else { exit })
            }
        }
    }

    fn path(&self) -> String {
        let stream = self.stream.map(|stream| format!("&stream={stream}")).unwrap_or_default();
        let from = self.from.map(|from| format!("&from={from}")).unwrap_or_default();
        let to = self.to.map(|to| format!("&to={to}")).unwrap_or_default();
        format!("/v1/operator/log/export?after={}{stream}{from}{to}", self.after)
    }

    fn print(&self, opened: &OpenDir, out: &mut impl Write) -> Exit {
        let bar = output::progress_beside_output("exporting");
        let Self { stream, after, from, to, .. } = *self;
        let selection = Selection { stream, after, from, to };
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

impl Tail {
    fn run(&self) -> Exit {
        let mut lines = Lines { json: self.json, rest: Vec::new(), out: io::stdout().lock() };
        match self.target.find(HeadPolicy::Require) {
            Err(error) => failed(&error),
            Ok(Holder::Server(path)) => {
                match socket::stream(&path, &self.path(), |chunk| lines.take(chunk)) {
                    Ok(()) => output::ended(lines.out.flush()),
                    Err(error) => failed(&error),
                }
            }
            Ok(Holder::Us(opened)) => {
                let exit = match self.print(&opened, &mut lines) {
                    Ok(()) => output::ended(lines.out.flush()),
                    Err(error) => failed(&error),
                };
                if self.follow {
                    output::note("no server is running: nothing is appended that could be followed");
                }
                close(&opened, exit)
            }
        }
    }

    fn path(&self) -> String {
        let stream = self.stream.map(|stream| format!("&stream={stream}")).unwrap_or_default();
        let after = self.after.map(|after| format!("&after={after}")).unwrap_or_default();
        format!("/v1/operator/log/tail?follow={}{stream}{after}", self.follow)
    }

    fn print(&self, opened: &OpenDir, lines: &mut Lines<impl Write>) -> Result<(), ExportError> {
        let log = &*opened.log;
        let mut after = match self.after {
            Some(position) => Position(position),
            None => tail::before_last(log, self.stream, tail::NEWEST_FRAMES)?,
        };
        loop {
            let news = tail::after(log, self.stream, after)?;
            match news.next {
                Some(next) if lines.take(&news.lines) => after = next,
                Some(_) | None => return Ok(()),
            }
        }
    }
}

/// Lines of JSON as they come in, in pieces of any length, shown as they are or for people.
struct Lines<W> {
    json: bool,
    rest: Vec<u8>,
    out: W,
}

impl<W: Write> Lines<W> {
    /// Shows what is whole; false once nobody reads it any more.
    fn take(&mut self, piece: &[u8]) -> bool {
        self.rest.extend_from_slice(piece);
        let Some(end) = self.rest.iter().rposition(|byte| *byte == b'\n') else { return true };
        let rest = self.rest.split_off(end + 1);
        let whole = std::mem::replace(&mut self.rest, rest);
        let shown = if self.json { self.out.write_all(&whole) } else { self.show(&whole) };
        // Whoever follows a log does not want to wait for a full buffer.
        shown.and_then(|()| self.out.flush()).is_ok()
    }

    fn show(&mut self, lines: &[u8]) -> io::Result<()> {
        for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let line: Value = serde_json::from_slice(line)?;
            let event = &line["event"];
            let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            writeln!(
                self.out,
                "{} {} {} {} {} {} by {} on {}",
                line["position"],
                word(&event["at"]),
                word(&event["stream"]),
                event["version"],
                word(&event["action"]),
                word(&event["outcome"]),
                word(&event["actor"]["id"]),
                word(&event["resource"]["id"]),
            )?;
        }
        Ok(())
    }
}
