//! What commands print: lines, tables, JSON, errors with their causes, progress.

use std::error::Error;
use std::io::{IsTerminal as _, Write as _};

use comfy_table::Table;
use comfy_table::presets::NOTHING;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

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
    let mut text = format!("settled: {error}");
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.ends_with(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        cause = inner.source();
    }
    note(text);
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

/// A progress bar over positions of the log, on standard error where that is a terminal.
pub fn progress(verb: &'static str) -> ProgressBar {
    let target = if std::io::stderr().is_terminal() {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    };
    let style = ProgressStyle::with_template("{prefix} {wide_bar} {pos}/{len} frames, {eta} left")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::with_draw_target(Some(0), target).with_style(style).with_prefix(verb)
}
