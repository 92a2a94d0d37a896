//! What was measured, as it is printed and written down.

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::Result;
use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use super::Row;
use super::machine::Machine;
use super::measure::Series;
use super::ratio::Summary;
use crate::run::{root, target};

/// A run.
#[derive(Debug, Serialize)]
pub struct Report {
    /// On what it ran.
    pub machine: Machine,
    /// The command that ran it.
    pub command: String,
    /// How often each row was measured.
    pub rounds: u32,
    /// How many events a long history has.
    pub events: u64,
    /// How many seconds a load lasted.
    pub load_seconds: u32,
    /// A row each.
    pub rows: Vec<Line>,
}

/// One row's outcome.
#[derive(Debug, Serialize)]
pub struct Line {
    /// What was measured.
    pub name: &'static str,
    /// What it was held against.
    pub reference: &'static str,
    /// The ratio that it is to reach; 0 is none.
    pub goal: f64,
    /// What keeps it from more.
    pub limit: &'static str,
    /// Settled first, then its peers.
    pub series: Vec<Series>,
}

impl Line {
    /// Of a row, after it was measured.
    pub fn of(row: &dyn Row, series: Vec<Series>) -> Self {
        let (name, reference) = (row.name(), row.reference_name());
        Self { name, reference, goal: row.goal(), limit: row.limit(), series }
    }

    /// Whether the goal is reached, and no peer is ahead; where neither can be said, why not.
    pub fn verdict(&self) -> &'static str {
        let Some((settled, peers)) = self.series.split_first() else { return "not measured" };
        let ahead = |peer: &Series| peer.failed.is_none() && peer.ratio.median > settled.ratio.median;
        match (settled.failed.is_some(), settled.ratio.median >= self.goal, peers.iter().any(ahead)) {
            (true, _, _) => "failed",
            (_, false, _) => "below",
            (_, _, true) => "behind a peer",
            _ if self.goal == 0.0 => "",
            _ => "met",
        }
    }
}

impl Report {
    /// Whether anything could not be measured.
    pub fn failed(&self) -> bool {
        self.rows.iter().flat_map(|line| &line.series).any(|series| series.failed.is_some())
    }

    /// The table: a line each for a row and for each of its peers, ratios with two digits after the point.
    pub fn table(&self) -> Table {
        let mut table = Table::new();
        table.load_style(presets::ASCII_MARKDOWN);
        table.set_header(["work", "by", "held against", "min", "median", "max", "goal", ""]);
        for line in &self.rows {
            for (at, series) in line.series.iter().enumerate() {
                let [min, median, max] = ratios(series);
                let goal = if at == 0 && line.goal > 0.0 { shown(line.goal) } else { String::new() };
                let verdict = match at {
                    0 => line.verdict(),
                    _ if series.failed.is_some() => "failed",
                    _ => "",
                };
                let (name, reference) = if at == 0 { (line.name, line.reference) } else { ("", "") };
                table.add_row([name, &series.name, reference, &min, &median, &max, &goal, verdict]);
            }
        }
        for column in table.column_iter_mut().skip(3).take(4) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        table
    }

    /// The page `BENCHMARKS.md`.
    pub fn page(&self) -> String {
        let mut page = String::new();
        // Writing into a string cannot fail.
        let _infallible = self.write_page(&mut page);
        page
    }

    fn write_page(&self, page: &mut String) -> std::fmt::Result {
        writeln!(page, "# Benchmarks\n")?;
        writeln!(
            page,
            "Written by `{}`. Every number in the table is a ratio: a work over the mean of what it is held \
             against, measured just before and just after it, over {} interleaved rounds, a load of {} s each. More is \
             better. Absolute numbers, further below, are this machine's and compare with nothing.\n",
            self.command, self.rounds, self.load_seconds
        )?;
        writeln!(page, "## Machine\n\n{}", self.machine.shown())?;
        writeln!(page, "A long history has {} events.\n", self.events)?;
        writeln!(page, "## Ratios\n\n{}\n", self.table())?;
        writeln!(page, "## What limits each\n")?;
        for line in &self.rows {
            writeln!(page, "- **{}**: {}.", line.name, line.limit)?;
        }
        writeln!(page, "\n## What was seen beside\n")?;
        for line in &self.rows {
            writeln!(page, "### {}\n", line.name)?;
            for series in &line.series {
                let seen = match &series.failed {
                    Some(failed) => format!("failed: {}", failed.lines().next().unwrap_or_default()),
                    None => series.details.join("; "),
                };
                writeln!(page, "- {}: {seen}", series.name)?;
            }
            writeln!(page)?;
        }
        write!(page, "{}", include_str!("method.md"))
    }

    /// Writes every measurement to `target/bench/ratios.json`.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_json(&self) -> Result<PathBuf> {
        let folder = target().join("bench");
        std::fs::create_dir_all(&folder)?;
        let path = folder.join("ratios.json");
        std::fs::write(&path, serde_json::to_vec_pretty(self)?)?;
        Ok(path)
    }

    /// Writes `BENCHMARKS.md`.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_page_file(&self) -> Result<PathBuf> {
        let path = root().join("BENCHMARKS.md");
        std::fs::write(&path, self.page())?;
        Ok(path)
    }
}

fn ratios(series: &Series) -> [String; 3] {
    let Summary { min, median, max } = series.ratio;
    if series.cells.is_empty() { Default::default() } else { [min, median, max].map(shown) }
}

/// Two digits after the point, and of small numbers two that say something.
fn shown(ratio: f64) -> String {
    if ratio < 0.1 { format!("{ratio:.4}") } else { format!("{ratio:.2}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::ratio::Cell;

    fn series(name: &str, works: &[f64]) -> Series {
        let cells: Vec<_> = works.iter().map(|work| Cell::new(1.0, *work, 1.0).unwrap()).collect();
        let details = vec!["seen".to_owned()];
        Series { name: name.to_owned(), ratio: Summary::of(&cells), cells, details, failed: None }
    }

    fn line(goal: f64, series: Vec<Series>) -> Line {
        Line { name: "writing", reference: "nothing", goal, limit: "the disk", series }
    }

    fn report(rows: Vec<Line>) -> Report {
        let (machine, command) = (Machine::default(), "cargo xtask bench".to_owned());
        Report { machine, command, rounds: 3, events: 10, load_seconds: 1, rows }
    }

    #[test]
    fn a_row_meets_its_goal_or_is_below_it_or_behind_a_peer_or_failed() {
        let verdict = |goal, settled: f64, peer: f64| {
            line(goal, vec![series("Settled", &[settled]), series("peer", &[peer])]).verdict()
        };
        assert_eq!(verdict(0.5, 0.5, 0.4), "met");
        assert_eq!(verdict(0.5, 0.49, 0.4), "below");
        assert_eq!(verdict(0.5, 0.6, 0.7), "behind a peer");
        assert_eq!(verdict(0.0, 0.6, 0.5), "");
        let failed = Series { failed: Some("it broke".to_owned()), ..series("Settled", &[]) };
        assert_eq!(line(0.5, vec![failed]).verdict(), "failed");
    }

    #[test]
    fn the_table_shows_min_median_max_of_a_row_and_of_its_peers() {
        let settled = series("Settled", &[0.48, 0.49, 0.5]);
        let report = report(vec![line(0.5, vec![settled, series("peer", &[0.01, 0.02, 0.03])])]);
        let table = report.table().to_string();
        let cells = |line: &str| line.split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
        let lines: Vec<_> = table.lines().map(cells).collect();
        let settled = ["writing", "Settled", "nothing", "0.48", "0.49", "0.50", "0.50", "below"];
        assert_eq!(lines[2][1..9], settled);
        assert_eq!(lines[3][1..9], ["", "peer", "", "0.0100", "0.0200", "0.0300", "", ""]);
    }

    #[test]
    fn the_page_says_what_ran_what_limits_and_what_failed() {
        let failed = Series { failed: Some("it broke\nhere".to_owned()), ..series("peer", &[]) };
        let report = report(vec![line(0.5, vec![series("Settled", &[0.6]), failed])]);
        assert!(report.failed());
        let page = report.page();
        for text in [
            "`cargo xtask bench`",
            "- **writing**: the disk.",
            "- Settled: seen",
            "- peer: failed: it broke\n",
        ] {
            assert!(page.contains(text), "{text} is not in\n{page}");
        }
    }
}
