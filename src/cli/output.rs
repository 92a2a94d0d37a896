//! What commands print: lines, tables, JSON, errors with their causes, progress.

use std::error::Error;
use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use comfy_table::Table;
use comfy_table::presets::NOTHING;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use crate::causes::with_causes;
use crate::cli::exit::Exit;
use crate::log::Position;

/// How often the time shown by [`waiting`] moves on.
const TICK: Duration = Duration::from_millis(200);

/// A line to standard output. That nobody reads it any more is not an error of ours.
pub fn line(text: impl std::fmt::Display) {
    let _closed = writeln!(std::io::stdout().lock(), "{text}");
}

/// A line to standard error.
pub fn note(text: impl std::fmt::Display) {
    let _closed = writeln!(std::io::stderr().lock(), "{text}");
}

/// An error with its causes.
pub fn error(error: &dyn Error) {
    note(format_args!("settled: {}", with_causes(error)));
}

/// A value as one line of JSON.
pub fn json(value: &impl Serialize) {
    line(serde_json::to_string(value).expect("what commands print is plain data with text keys"));
}

/// A table without borders.
pub fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(header.to_vec()).add_rows(rows);
    line(table);
}

/// How a command ends whose output ended so. A reader that has had enough (`| head`) is no failure; a full disk under a
/// redirected output is one.
pub fn ended(written: io::Result<()>) -> Exit {
    match written {
        Err(broken) if broken.kind() != io::ErrorKind::BrokenPipe => {
            error(&broken);
            Exit::Store
        }
        _ => Exit::Fine,
    }
}

/// A progress bar over positions of the log, on standard error where that is a terminal.
pub fn progress(verb: &'static str) -> ProgressBar {
    let style = ProgressStyle::with_template("{prefix} {wide_bar} {pos}/{len} frames, {eta} left")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::with_draw_target(Some(0), target(true)).with_style(style).with_prefix(verb)
}

/// What moves a progress bar on.
pub fn shown_by(bar: ProgressBar) -> impl FnMut(Position, Position) + Send + 'static {
    move |at, end| {
        bar.set_length(end.0);
        bar.set_position(at.0);
    }
}

/// The same for a command whose output is long: no bar is drawn into it, where both go to one terminal.
pub fn progress_beside_output(verb: &'static str) -> ProgressBar {
    let bar = progress(verb);
    bar.set_draw_target(target(!std::io::stdout().is_terminal()));
    bar
}

/// That a server is at work, whose progress is not told: the time that has passed.
pub fn waiting(what: &'static str) -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner} {prefix}, {elapsed}")
        .unwrap_or_else(|_| ProgressStyle::default_spinner());
    let spinner = ProgressBar::with_draw_target(None, target(true)).with_style(style).with_prefix(what);
    spinner.enable_steady_tick(TICK);
    spinner
}

fn target(wanted: bool) -> ProgressDrawTarget {
    if wanted && std::io::stderr().is_terminal() {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    }
}
