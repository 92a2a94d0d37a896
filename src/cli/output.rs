//! What a subcommand prints: a table for people, or JSON for programs, from the same value.

use std::io::{self, Write};

use comfy_table::{Table, presets};
use serde::Serialize;

use super::OutputArgs;

/// An empty table with these headings.
pub fn table<const COLUMNS: usize>(headings: [&str; COLUMNS]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(headings);
    table
}

/// Writes `value` as one JSON document, or as the table that `draw` makes of it.
///
/// # Errors
/// When it cannot be written.
pub fn show<T: Serialize>(
    to: &mut impl Write,
    args: OutputArgs,
    value: &T,
    draw: impl FnOnce(&T) -> Table,
) -> io::Result<()> {
    if args.json {
        serde_json::to_writer_pretty(&mut *to, value)?;
        writeln!(to)
    } else {
        writeln!(to, "{}", draw(value).trim_fmt())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(json: bool) -> String {
        let mut written = Vec::new();
        let draw = |rows: &Vec<(&str, u64)>| {
            let mut table = table(["STREAM", "EVENTS"]);
            for (stream, events) in rows {
                table.add_row([(*stream).to_owned(), events.to_string()]);
            }
            table
        };
        show(&mut written, OutputArgs { json }, &vec![("platform", 3)], draw).unwrap();
        String::from_utf8(written).unwrap()
    }

    #[test]
    fn a_table_has_its_headings_and_json_its_values() {
        let table = shown(false);
        let words: Vec<_> = table.split_whitespace().collect();
        assert_eq!(words, ["STREAM", "EVENTS", "platform", "3"]);
        assert_eq!(shown(true), "[\n  [\n    \"platform\",\n    3\n  ]\n]\n");
    }
}
