//! `cargo xtask counts`: the instructions that each hot path takes, held to what is committed.
//!
//! Instructions depend on the code and the compiler, hardly on the machine and not at all on what else runs on it, so
//! CI can hold them to a few percent, which it could not do with times. Valgrind counts them, in an example that goes
//! a path so and so often; two numbers of times, so that what is done before the path cancels out.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Context as _, Result, bail, ensure};

use crate::install;
use crate::run::{program, root, run as run_program, say, target};

/// The options of `cargo xtask counts`.
#[derive(clap::Args)]
pub struct Options {
    /// Write what is counted to `tools/instruction-counts.toml`: do so after a change that is meant to change it
    #[arg(long)]
    bless: bool,
}

/// A count may be off by one of so many parts of what is committed.
const PARTS: u64 = 20;

/// A hot path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Path {
    /// Packing an event, with its leaf hash, unpacking it, and applying it.
    Event,
    /// Decoding a frame of 64 events.
    Frame,
    /// The canonical JSON of an event, and its leaf hash.
    Leaf,
    /// A read of a configuration value, through the router.
    Read,
    /// A write of a configuration value, over the log in memory.
    Write,
    /// A page of the audit log, through the router.
    AuditPage,
}

impl Path {
    /// All of them, each with its name and with how often it is gone: the less it does, the more often.
    const ALL: [(Self, &'static str, u64); 6] = [
        (Self::Event, "event", 1_600),
        (Self::Frame, "frame", 100),
        (Self::Leaf, "leaf", 4_000),
        (Self::Read, "read", 1_000),
        (Self::Write, "write", 1_000),
        (Self::AuditPage, "audit_page", 40),
    ];
}

impl FromStr for Path {
    type Err = anyhow::Error;

    fn from_str(name: &str) -> Result<Self> {
        let found = Self::ALL.iter().find(|(_, named, _)| *named == name);
        found.map(|(path, _, _)| *path).with_context(|| format!("there is no path `{name}`"))
    }
}

type Counts = BTreeMap<String, u64>;

/// Counts, and compares with what is committed.
///
/// # Errors
/// When something cannot be counted, or is too far from what is committed.
pub fn check() -> Result<()> {
    run(&Options { bless: false })
}

/// Counts, and compares with what is committed or writes it.
///
/// # Errors
/// When something cannot be counted, or is too far from what is committed.
pub fn run(options: &Options) -> Result<()> {
    install::valgrind()?;
    build()?;
    let mut counts = Counts::new();
    for (_, name, times) in Path::ALL {
        // What a path does once, such as a first allocation, is in both.
        let (fewer, more) = (instructions(name, times / 10)?, instructions(name, times + times / 10)?);
        counts.insert(name.to_owned(), more.saturating_sub(fewer) / times);
        say(&format!("{name}: {} instructions", counts[name]));
    }
    let path = root().join("tools/instruction-counts.toml");
    if options.bless {
        std::fs::write(&path, written(&counts))?;
        say(&format!("written to {}", path.display()));
        return Ok(());
    }
    let committed = read(&std::fs::read_to_string(&path)?)?;
    let complaints = complaints(&committed, &counts);
    ensure!(
        complaints.is_empty(),
        "{}\nif that is meant, run `cargo xtask counts --bless` and commit the file",
        complaints.join("\n")
    );
    Ok(())
}

/// Builds the example with the workspace's own crates optimized, so that what is counted is much like the release, and
/// with the dependencies of the development build, which are optimized anyway and need not be built again.
fn build() -> Result<()> {
    let mut build = program("cargo build --workspace --locked --example counted");
    for package in ["settled", "tools"] {
        for setting in ["opt-level=3", "codegen-units=1", "debug-assertions=false", "overflow-checks=false"] {
            build.args(["--config", &format!("profile.dev.package.{package}.{setting}")]);
        }
    }
    // Parts that are compiled apart are inlined otherwise.
    build.env("CARGO_INCREMENTAL", "0");
    run_program(build)
}

fn example() -> PathBuf {
    target().join("debug/examples/counted")
}

/// The instructions of a whole run.
fn instructions(path: &str, times: u64) -> Result<u64> {
    let mut valgrind = program("valgrind --tool=callgrind --callgrind-out-file=/dev/null");
    valgrind.arg(example()).arg(path).arg(times.to_string());
    let output = valgrind.output().context("valgrind could not be started")?;
    let text = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "`counted {path}` failed: {text}");
    collected(&text)
}

/// What Callgrind says at the end: `==1234== Collected : 567890`.
fn collected(text: &str) -> Result<u64> {
    let after = text.lines().find_map(|line| line.split("Collected :").nth(1));
    let number = after.with_context(|| format!("valgrind says no count: {text}"))?;
    Ok(number.trim().parse()?)
}

/// Every path that is too far from what is committed, in either direction: what got cheaper is to be kept so.
fn complaints(committed: &Counts, counts: &Counts) -> Vec<String> {
    let mut complaints = Vec::new();
    for (name, count) in counts {
        let Some(before) = committed.get(name) else {
            complaints.push(format!("{name}: {count} instructions, and nothing is committed"));
            continue;
        };
        if count.abs_diff(*before) * PARTS > *before {
            complaints.push(format!("{name}: {before} instructions are now {count}"));
        }
    }
    complaints
}

fn written(counts: &Counts) -> String {
    let mut text = "# Instructions of the hot paths, written by `cargo xtask counts --bless`.\n".to_owned();
    for (name, count) in counts {
        text.push_str(&format!("{name} = {count}\n"));
    }
    text
}

/// The lines that [`written`] wrote.
fn read(text: &str) -> Result<Counts> {
    let mut counts = Counts::new();
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let Some((name, count)) = line.split_once(" = ") else { bail!("`{line}` is no count") };
        counts.insert(name.to_owned(), count.parse()?);
    }
    Ok(counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(read: u64) -> Counts {
        Counts::from([("read".to_owned(), read)])
    }

    #[test]
    fn a_count_may_differ_by_a_twentieth_and_no_more_in_either_direction() {
        for count in [9_500, 10_000, 10_500] {
            assert_eq!(complaints(&counts(10_000), &counts(count)), Vec::<String>::new(), "{count}");
        }
        for count in [9_499, 10_501] {
            assert_eq!(complaints(&counts(10_000), &counts(count)).len(), 1, "{count}");
        }
        assert_eq!(complaints(&Counts::new(), &counts(1)).len(), 1, "what is not committed is found");
    }

    #[test]
    fn what_is_written_is_read() {
        assert_eq!(read(&written(&counts(7))).unwrap(), counts(7));
        assert!(read("read: 7").is_err());
    }

    #[test]
    fn what_valgrind_says_is_read() {
        assert_eq!(collected("==12== Events    : Ir\n==12== Collected : 1234567\n").unwrap(), 1_234_567);
        assert!(collected("Killed").is_err());
    }

    #[test]
    fn every_path_is_known_by_its_name() {
        for (path, name, _) in Path::ALL {
            assert_eq!(name.parse::<Path>().unwrap(), path);
        }
        assert!("elsewhere".parse::<Path>().is_err());
    }
}
