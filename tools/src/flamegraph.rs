//! `cargo xtask flamegraph ROW`: where the time of a row of the benches goes, as a flame graph and as the ten functions
//! that take most of it.
//!
//! `perf` samples the process that does the row's work (the server, or this one) while it does it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};

use crate::bench::{self, as_release, rows};
use crate::install;
use crate::run::{program, say, target};

/// The options of `cargo xtask flamegraph`.
#[derive(clap::Args)]
pub struct Options {
    /// The row of `cargo xtask bench`: the first whose name contains this
    row: String,
    /// How many events a long history has
    #[arg(long, value_name = "N", default_value = "1000000")]
    #[arg(value_parser = clap::value_parser!(u64).range(100_000..))]
    events: u64,
}

/// Samples a second: a prime number, so that it falls in step with nothing that is done at fixed times.
const FREQUENCY: &str = "499";
/// How long `perf` takes to attach.
const ATTACHING: Duration = Duration::from_millis(500);

/// Does a row's work once to warm up and once more under `perf`; writes `target/bench/<row>.svg`.
///
/// # Errors
/// When there is no such row, it fails, or nothing is sampled.
pub fn run(options: &Options) -> Result<()> {
    if as_release(false)? {
        return Ok(());
    }
    let inferno = install::perf()?;
    let mut rows = rows(&bench::Options {
        rounds: 1,
        quick: false,
        events: options.events,
        peers: false,
        binary: None,
        only: vec![options.row.clone()],
    })?;
    let row = rows.first_mut().context("there is a row")?;
    say(&format!("warming up: {}", row.name()));
    row.reference()?;
    row.work()?;
    let name: String =
        row.name().chars().map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '-' }).collect();
    let folder = target().join("bench");
    let data = folder.join(format!("{name}.perf"));
    let recording = Recording::start(row.process()?, &data)?;
    row.work()?;
    recording.stop()?;
    let folded = folded(&data, &inferno, &folder.join(format!("{name}.folded")))?;
    let drawn = draw(&folded, &inferno, row.name(), &folder.join(format!("{name}.svg")))?;
    print(&std::fs::read_to_string(&folded)?)?;
    say(&format!("written to {}", drawn.display()));
    Ok(())
}

/// `perf` at work.
struct Recording(Child);

impl Recording {
    fn start(process: u32, data: &Path) -> Result<Self> {
        // Stacks are unwound from what the compiler says of frames: the release build keeps no frame pointers.
        let mut perf = program("perf record -q -e cpu-clock --call-graph dwarf,16384 -F");
        perf.arg(FREQUENCY).arg("-p").arg(process.to_string()).arg("-o").arg(data);
        let recording = Self(perf.spawn().context("perf could not be started")?);
        std::thread::sleep(ATTACHING);
        Ok(recording)
    }

    fn stop(mut self) -> Result<()> {
        let pid = Pid::from_raw(i32::try_from(self.0.id())?).context("a process has an id")?;
        kill_process(pid, Signal::INT)?;
        // It ends by the signal that it was told to end by, after it has written everything.
        self.0.wait()?;
        Ok(())
    }
}

/// One line for each stack, with its number of samples.
fn folded(data: &Path, inferno: &Path, path: &Path) -> Result<PathBuf> {
    let mut script = program("perf script --no-inline -i");
    // What it cannot resolve it says for each module, once a stack.
    script.arg(data).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut script = script.spawn().context("perf could not be started")?;
    let output = script.stdout.take().context("its output is piped")?;
    let collapsed = Command::new(inferno.join("inferno-collapse-perf"))
        .stdin(output)
        .stdout(std::fs::File::create(path)?)
        .stderr(Stdio::null())
        .status()?;
    script.wait()?;
    ensure!(collapsed.success(), "inferno-collapse-perf failed: {collapsed}");
    Ok(path.to_owned())
}

fn draw(folded: &Path, inferno: &Path, title: &str, path: &Path) -> Result<PathBuf> {
    let drawn = Command::new(inferno.join("inferno-flamegraph"))
        .args(["--title", title])
        .stdin(std::fs::File::open(folded)?)
        .stdout(std::fs::File::create(path)?)
        .status()?;
    ensure!(drawn.success(), "inferno-flamegraph failed: {drawn}");
    Ok(path.to_owned())
}

/// The functions in which most samples were taken, with their share; not what they call.
fn hottest(folded: &str, count: usize) -> Result<Vec<(String, f64)>> {
    let mut samples = HashMap::<&str, f64>::new();
    let mut all = 0.0;
    for line in folded.lines() {
        let (stack, number) = line.rsplit_once(' ').context("a stack has a number")?;
        let number: f64 = number.parse()?;
        let innermost = stack.rsplit(';').next().unwrap_or_default();
        *samples.entry(innermost).or_default() += number;
        all += number;
    }
    ensure!(all > 0.0, "nothing was sampled");
    let mut hottest: Vec<_> =
        samples.into_iter().map(|(name, number)| (name.to_owned(), number / all)).collect();
    hottest.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    hottest.truncate(count);
    Ok(hottest)
}

#[expect(clippy::print_stdout, reason = "the list is what the command is for")]
fn print(folded: &str) -> Result<()> {
    for (name, share) in hottest(folded, 10)? {
        println!("{:5.1} %  {name}", 100.0 * share);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hottest_functions_are_those_with_most_samples_of_their_own() {
        let folded = "settled;serve;hash 6\nsettled;serve;hash;compress 3\nsettled;write;hash 1\n";
        let expected = [("hash".to_owned(), 0.7), ("compress".to_owned(), 0.3)];
        assert_eq!(hottest(folded, 10).unwrap(), expected);
        assert_eq!(hottest(folded, 1).unwrap(), expected[..1]);
    }

    #[test]
    fn no_samples_are_no_profile() {
        assert!(hottest("", 10).is_err());
    }
}
