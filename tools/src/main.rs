//! `cargo xtask`: what a contributor and CI run, one file per subcommand.
//!
//! Nothing here is part of the product: `tools` uses the library as anybody could.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tools::run::say;
use tools::{bench, ci, counts, demo, dictionary, fill, flamegraph, schemas, soak, test};

/// Tests, CI, generated files and benches of Settled.
#[derive(Parser)]
#[command(name = "cargo xtask")]
struct Xtask {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Install what the tests need and run all of them
    Test(test::Options),
    /// Check format, lints, licences and generated files, then run what `test` runs
    Ci,
    /// Write the JSON Schemas of the events and the OpenAPI document, or compare them with what is committed
    Schemas(schemas::Options),
    /// Measure, against references in the same run
    Bench(bench::Options),
    /// Make a data directory with a year of organizations' history
    Fill(fill::Options),
    /// Write the demo organization's snapshot into snapshots/ anew
    Demo,
    /// Train a dictionary that the log compresses events with
    Dictionary(dictionary::Options),
    /// Draw where the time of a row of the benches goes
    Flamegraph(flamegraph::Options),
    /// Put a mixed load on a server for minutes, and draw whether anything grows
    Soak(soak::Options),
    /// Count the instructions of the hot paths, and compare them with what is committed
    Counts(counts::Options),
}

fn main() -> ExitCode {
    let ended = match Xtask::parse().command {
        Command::Test(options) => test::run(&options),
        Command::Ci => ci::run(),
        Command::Schemas(options) => schemas::run(&options),
        Command::Bench(options) => bench::run(&options),
        Command::Fill(options) => fill::run(&options),
        Command::Demo => demo::run(),
        Command::Dictionary(options) => dictionary::run(&options),
        Command::Flamegraph(options) => flamegraph::run(&options),
        Command::Soak(options) => soak::run(&options),
        Command::Counts(options) => counts::run(&options),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("failed: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
