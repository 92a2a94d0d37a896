//! The audit log exported: all rows that a filter means, newest first, as CSV or as lines of JSON, page by page.

use std::borrow::Cow;
use std::sync::Arc;

use csv::{Terminator, WriterBuilder};
use serde::Serialize;

use crate::audit::ocsf;
use crate::audit::row::{Row, Rows};
use crate::event::Version;
use crate::http::ndjson;
use crate::log::filter::Filter;
use crate::store::Store;
use crate::store::exports::Form;
use crate::store::history::HistoryError;
use crate::store::resident::{Handle, View};

/// How many rows are read and sent at a time: some 100 KiB.
const PAGE_ROWS: usize = 256;

/// CSV's first line. The names in capitals are those of the columns that an auditor sees.
const COLUMNS: [&str; 13] = [
    "TIMESTAMP",
    "USER",
    "ACTION",
    "RESOURCE",
    "OUTCOME",
    "id",
    "version",
    "user_id",
    "resource_type",
    "resource_id",
    "count",
    "reason",
    "ip",
];

/// The media type of a form.
pub fn media_type(form: Form) -> &'static str {
    match form {
        Form::Csv => "text/csv; charset=utf-8; header=present",
        Form::Ndjson | Form::Ocsf | Form::Events | Form::Bundle => ndjson::MEDIA_TYPE,
    }
}

/// An export under way.
pub struct Export {
    store: Store,
    handle: Arc<Handle>,
    view: Arc<View>,
    filter: Filter,
    form: Form,
    rows: Rows,
    /// Where the next page begins; `None` behind the last.
    next: Option<Page>,
}

#[derive(Clone, Copy)]
enum Page {
    First,
    Before(Version),
}

impl Export {
    /// An export of what a view has, whatever is appended meanwhile.
    pub fn begin(store: &Store, handle: &Arc<Handle>, view: &Arc<View>, filter: Filter, form: Form) -> Self {
        Self {
            store: store.clone(),
            handle: Arc::clone(handle),
            view: Arc::clone(view),
            filter,
            form,
            rows: Rows::new(store, handle, view),
            next: Some(Page::First),
        }
    }

    /// The next page as text; `None` behind the last. Blocks.
    ///
    /// # Errors
    /// When the history cannot be read.
    pub fn next_piece(&mut self) -> Result<Option<Vec<u8>>, HistoryError> {
        let Some(page) = self.next else { return Ok(None) };
        let before = match page {
            Page::First => None,
            Page::Before(version) => Some(version),
        };
        let upto = before.unwrap_or(Version::MAX);
        let versions = self.store.versions_before(&self.handle, &self.view, &self.filter, upto, PAGE_ROWS)?;
        let rows = self.rows.of(&versions)?;
        self.next = versions.last().filter(|_| versions.len() == PAGE_ROWS).copied().map(Page::Before);
        Ok(Some(match self.form {
            Form::Csv => csv_lines(&rows, before.is_none()),
            Form::Ocsf => json_lines(rows.iter().map(ocsf::event)),
            Form::Ndjson | Form::Events | Form::Bundle => json_lines(&rows),
        }))
    }
}

fn json_lines(rows: impl IntoIterator<Item = impl Serialize>) -> Vec<u8> {
    let mut lines = Vec::new();
    for row in rows {
        serde_json::to_writer(&mut lines, &row).expect("a row is plain data with text keys");
        lines.push(b'\n');
    }
    lines
}

/// RFC 4180.
fn csv_lines(rows: &[Row], with_header: bool) -> Vec<u8> {
    let mut lines = WriterBuilder::new().terminator(Terminator::CRLF).from_writer(Vec::new());
    let mut write = |cells: &[Cow<'_, str>]| {
        lines.write_record(cells.iter().map(|cell| cell.as_bytes())).expect("every line has as many cells");
    };
    if with_header {
        write(&COLUMNS.map(Cow::Borrowed));
    }
    for row in rows {
        let (user, resource) = (&row.user, &row.resource);
        write(&[
            row.timestamp.to_string().into(),
            cell(user.name.as_ref().unwrap_or(&user.id)),
            cell(&row.action),
            cell(resource.name.as_ref().unwrap_or(&resource.id)),
            row.outcome.name().into(),
            row.id.to_string().into(),
            row.version.to_string().into(),
            cell(&user.id),
            resource.kind.name().into(),
            cell(&resource.id),
            row.count.map(|count| count.to_string()).unwrap_or_default().into(),
            cell(row.reason.as_deref().unwrap_or_default()),
            cell(row.ip.as_deref().unwrap_or_default()),
        ]);
    }
    lines.into_inner().expect("writing to memory does not fail")
}

/// A cell that people's words are in: a spreadsheet would run what begins like a formula (OWASP, "CSV Injection").
fn cell(text: &str) -> Cow<'_, str> {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{text}").into() } else { text.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_spreadsheet_would_run_is_text() {
        for formula in ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"] {
            assert_eq!(cell(formula), format!("'{formula}"));
        }
        for text in ["", "1=1", "a@b", " =1", "'=1"] {
            assert_eq!(cell(text), text);
        }
    }
}
