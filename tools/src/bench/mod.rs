//! `cargo xtask bench`: rows of ratios, each of a work and of a reference that was measured just before and just
//! after it, so that a machine that slows down slows both. Rounds are interleaved: every row once, then again.
//!
//! What is measured is in the rows, one file each; how ratios are drawn from it is in `ratio.rs`.

use std::path::PathBuf;
use std::rc::Rc;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;
use tempfile::TempDir;

use self::append::AppendInProcess;
use self::disk::DiskPerEvent;
use self::ratio::{Cell, Summary};
use self::read::Read;
use self::replay::Replay;
use self::server::Servers;
use self::write::DurableWrite;
use crate::run::{self, program, say, target};

pub mod append;
pub mod disk;
pub mod events;
pub mod load;
pub mod ratio;
pub mod read;
pub mod replay;
pub mod server;
pub mod write;

/// The options of `cargo xtask bench`.
#[derive(clap::Args)]
pub struct Options {
    /// How often each row is measured
    #[arg(long, default_value = "5", value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Measure each for a moment only: whether it runs, not how fast
    #[arg(long)]
    quick: bool,
    /// Put the load on this build of the server, to compare two [default: the release build]
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// Only the rows whose names contain this
    filter: Option<String>,
}

/// One line of the table: a work, held against a reference.
pub trait Row {
    /// What is measured, in a few words.
    fn name(&self) -> &'static str;

    /// What it is held against.
    fn reference_name(&self) -> &'static str;

    /// The ratio that the work is to reach; a larger ratio is better.
    fn goal(&self) -> f64;

    /// Measures the reference once: work per second, or any other number of which more is better.
    ///
    /// # Errors
    /// When it cannot be measured.
    fn reference(&mut self) -> Result<f64>;

    /// Measures the work once, in the unit of [`Row::reference`].
    ///
    /// # Errors
    /// When it cannot be measured.
    fn work(&mut self) -> Result<f64>;

    /// What else was seen since the last call, a line each: absolute numbers, which compare with nothing.
    fn details(&mut self) -> Vec<String> {
        Vec::new()
    }
}

/// How long a measurement takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// Long enough to mean something.
    Full,
    /// Long enough to see that it runs.
    Quick,
}

impl Length {
    /// The seconds of a load.
    fn seconds(self) -> u32 {
        match self {
            Self::Full => 3,
            Self::Quick => 1,
        }
    }

    /// How often to do what is done so often in a full measurement.
    fn of(self, full: usize) -> usize {
        match self {
            Self::Full => full,
            Self::Quick => full.div_ceil(10),
        }
    }
}

/// A folder on the disk that is built on, so never one in memory; gone when dropped.
fn scratch() -> Result<TempDir> {
    let folder = target().join("bench");
    std::fs::create_dir_all(&folder)?;
    Ok(tempfile::Builder::new().prefix("scratch-").tempdir_in(folder)?)
}

/// How long something takes, in seconds.
#[expect(clippy::disallowed_methods, reason = "measuring time is what a bench is for")]
fn seconds<E>(work: impl FnOnce() -> std::result::Result<(), E>) -> std::result::Result<f64, E> {
    let began = Instant::now();
    work()?;
    Ok(began.elapsed().as_secs_f64())
}

/// Every row there is. A row is a file of its own beside this one, named after its work.
fn rows(options: &Options) -> Vec<Box<dyn Row>> {
    let length = if options.quick { Length::Quick } else { Length::Full };
    let binary = options.binary.clone().unwrap_or_else(|| target().join("release/settled"));
    let servers = Rc::new(Servers::of(binary));
    vec![
        Box::new(DurableWrite::new(&servers, 1, length)),
        Box::new(DurableWrite::new(&servers, 64, length)),
        Box::new(Read::general(&servers, length)),
        Box::new(Read::config_value(&servers, length)),
        Box::new(AppendInProcess::new(length)),
        Box::new(Replay::new(length)),
        Box::new(DiskPerEvent::batched(length)),
        Box::new(DiskPerEvent::single(length)),
    ]
}

/// Measures, prints the table and writes `target/bench/<table>.json`.
///
/// # Errors
/// When nothing is to be measured or something cannot be.
pub fn run(options: &Options) -> Result<()> {
    if cfg!(debug_assertions) {
        return as_release();
    }
    let mut rows = rows(options);
    rows.retain(|row| options.filter.as_ref().is_none_or(|filter| row.name().contains(filter)));
    ensure!(!rows.is_empty(), "there is no such row");
    let report = measure(&mut rows, options.rounds)?;
    print(&report);
    let path = report.write()?;
    say(&format!("written to {}", path.display()));
    Ok(())
}

/// The same command by a release build: half of the rows run in this process.
fn as_release() -> Result<()> {
    run::run(program("cargo build --release --locked -p settled -p tools"))?;
    let mut again = std::process::Command::new(target().join("release/xtask"));
    again.args(std::env::args_os().skip(1));
    run::run(again)
}

/// What was measured, as it is written down.
#[derive(Debug, Serialize)]
pub struct Report {
    /// How often each row was measured.
    pub rounds: u32,
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
    /// The ratio that it is to reach.
    pub goal: f64,
    /// Whether the median reaches it.
    pub reached: bool,
    /// Minimum, median and maximum of the ratios.
    pub ratio: Summary,
    /// Every measurement.
    pub cells: Vec<Cell>,
    /// What else was seen, in absolute numbers.
    pub details: Vec<String>,
}

/// Measures every row once a round: reference, work, reference.
///
/// # Errors
/// With the first measurement that fails.
pub fn measure(rows: &mut [Box<dyn Row>], rounds: u32) -> Result<Report> {
    let mut cells: Vec<Vec<Cell>> = rows.iter().map(|_| Vec::new()).collect();
    for round in 1..=rounds {
        for (row, cells) in rows.iter_mut().zip(&mut cells) {
            say(&format!("round {round} of {rounds}: {}", row.name()));
            let before = row.reference().with_context(|| row.reference_name())?;
            let work = row.work().with_context(|| row.name())?;
            let after = row.reference().with_context(|| row.reference_name())?;
            cells.push(Cell::new(before, work, after)?);
        }
    }
    let lines = rows.iter_mut().zip(cells).map(|(row, cells)| {
        let ratio = Summary::of(&cells);
        let (goal, details) = (row.goal(), row.details());
        let reached = ratio.median >= goal;
        Line { name: row.name(), reference: row.reference_name(), goal, reached, ratio, cells, details }
    });
    Ok(Report { rounds, rows: lines.collect() })
}

impl Report {
    /// The table that is printed: a row each, ratios with two digits after the point.
    pub fn table(&self) -> Table {
        let mut table = Table::new();
        table.load_style(presets::ASCII_MARKDOWN);
        table.set_header(["work", "held against", "min", "median", "max", "goal", ""]);
        for line in &self.rows {
            let Summary { min, median, max } = line.ratio;
            let reached = if line.reached { "" } else { "below" };
            let numbers = [min, median, max, line.goal].map(|number| format!("{number:.2}"));
            let [min, median, max, goal] = numbers.each_ref().map(String::as_str);
            table.add_row([line.name, line.reference, min, median, max, goal, reached]);
        }
        for column in table.column_iter_mut().skip(2).take(4) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        table
    }

    fn write(&self) -> Result<PathBuf> {
        let folder = target().join("bench");
        std::fs::create_dir_all(&folder)?;
        let path = folder.join("ratios.json");
        std::fs::write(&path, serde_json::to_vec_pretty(self)?)?;
        Ok(path)
    }
}

#[expect(clippy::print_stdout, reason = "the table is what the command is for")]
fn print(report: &Report) {
    println!("{}", report.table());
    for line in &report.rows {
        println!("\n{}", line.name);
        for detail in &line.details {
            println!("  {detail}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A work of 50 against references that rise by one at each measurement, from 99.
    struct Rising {
        name: &'static str,
        reference: f64,
        order: std::rc::Rc<std::cell::RefCell<Vec<String>>>,
    }

    impl Row for Rising {
        fn name(&self) -> &'static str {
            self.name
        }

        fn reference_name(&self) -> &'static str {
            "nothing"
        }

        fn goal(&self) -> f64 {
            0.49
        }

        fn reference(&mut self) -> Result<f64> {
            self.order.borrow_mut().push(format!("{} reference", self.name));
            self.reference += 1.0;
            Ok(self.reference)
        }

        fn work(&mut self) -> Result<f64> {
            self.order.borrow_mut().push(self.name.to_owned());
            Ok(50.0)
        }
    }

    fn measured(rounds: u32) -> (Report, Vec<String>) {
        let order = std::rc::Rc::default();
        let row = |name| {
            Box::new(Rising { name, reference: 98.0, order: std::rc::Rc::clone(&order) }) as Box<dyn Row>
        };
        let report = measure(&mut [row("a"), row("b")], rounds).unwrap();
        (report, order.take())
    }

    #[test]
    fn rounds_are_interleaved_and_references_stand_before_and_after_each_cell() {
        let (_, order) = measured(2);
        let round = ["a reference", "a", "a reference", "b reference", "b", "b reference"];
        assert_eq!(order, [round, round].concat());
    }

    #[test]
    fn a_ratio_is_held_against_the_mean_of_both_references() {
        let (report, _) = measured(1);
        let line = &report.rows[0];
        assert_eq!((line.cells[0].before, line.cells[0].after), (99.0, 100.0));
        assert!((line.ratio.median - 50.0 / 99.5).abs() < 1e-12);
        assert!(line.reached);
    }

    #[test]
    fn the_table_shows_min_median_max_and_what_is_below_its_goal() {
        let (mut report, _) = measured(3);
        report.rows[1].reached = false;
        let table = report.table().to_string();
        let lines: Vec<_> = table.lines().collect();
        let cells: Vec<_> = lines[3].split('|').map(str::trim).collect();
        assert_eq!(cells[1..8], ["b", "nothing", "0.48", "0.49", "0.50", "0.49", "below"]);
    }
}
