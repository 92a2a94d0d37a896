//! `cargo xtask bench`: rows of ratios, each of a work and of a reference that was measured just before and just
//! after it, so that a machine that slows down slows both. Rounds are interleaved: every row once, then again.
//!
//! What is measured is in the rows, one file each; how it is measured is in `measure.rs`, what others come to on the
//! same reference in `peers/`, what comes of it all in `report.rs`.

use std::path::PathBuf;
use std::rc::Rc;
use std::time::Instant;

use anyhow::{Result, ensure};
use tempfile::TempDir;

use self::access::{Authorise, LargeOrganization};
use self::append::AppendInProcess;
use self::as_of::AsOf;
use self::audit::{AuditAtSize, AuditPage, Filter};
use self::ctx::{Against, Ctx};
use self::customers::{CustomersCtx, CustomersMemory, ManyCustomers};
use self::disk::DiskPerEvent;
use self::history::History;
use self::keys_memory::KeysMemory;
use self::machine::Machine;
use self::measure::measure;
use self::memory::Memory;
use self::peers::{Peers, Work};
use self::proof::{BesideCheckpoints, Inclusion, VerifyBundle};
use self::read::Read;
use self::replay::Replay;
use self::report::{Line, Report};
use self::server::Servers;
use self::snapshot::{Beside, Growth, Snapshot, Writes};
use self::start::Start;
use self::write::DurableWrite;
use crate::mix::generate::Size;
use crate::run::{self, program, say, target};

pub mod access;
pub mod append;
pub mod as_of;
pub mod audit;
pub mod ctx;
pub mod customers;
pub mod disk;
pub mod history;
pub mod keys_memory;
pub mod load;
pub mod machine;
pub mod measure;
pub mod memory;
pub mod peers;
pub mod programs;
pub mod proof;
pub mod ratio;
pub mod read;
pub mod reference;
pub mod replay;
pub mod report;
pub mod server;
pub mod snapshot;
pub mod start;
pub mod write;

/// The options of `cargo xtask bench`.
#[derive(Clone, clap::Args)]
pub struct Options {
    /// How often each row is measured
    #[arg(long, default_value = "5", value_parser = clap::value_parser!(u32).range(1..))]
    pub rounds: u32,
    /// Measure each for a second instead of three, and over a tenth of the work
    #[arg(long)]
    pub quick: bool,
    /// How many events a long history has
    #[arg(long, value_name = "N", default_value = "1000000")]
    #[arg(value_parser = clap::value_parser!(u64).range(100_000..))]
    pub events: u64,
    /// Beside it PostgreSQL, SQLite, etcd and OpenBao, which are installed where they are missing
    #[arg(long)]
    pub peers: bool,
    /// Put the load on this build of the server, to compare two [default: the release build]
    #[arg(long, value_name = "FILE")]
    pub binary: Option<PathBuf>,
    /// Only the rows whose names contain this; may be repeated
    #[arg(long, value_name = "ROW")]
    pub only: Vec<String>,
}

impl Options {
    /// Whether what comes of it is fit to be published: every row and every peer. The page says how long each was
    /// measured.
    fn is_whole(&self) -> bool {
        self.only.is_empty() && self.peers && self.binary.is_none()
    }

    fn length(&self) -> Length {
        if self.quick { Length::Quick } else { Length::Full }
    }

    fn names(&self, row: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| row.contains(only.as_str()))
    }
}

/// One line of the table: a work, held against a reference.
pub trait Row {
    /// What is measured, in a few words.
    fn name(&self) -> &'static str;

    /// What it is held against.
    fn reference_name(&self) -> &'static str;

    /// The ratio that the work is to reach; a larger ratio is better, and 0 is none.
    fn goal(&self) -> f64;

    /// What keeps the ratio from being larger, without a full stop.
    fn limit(&self) -> &'static str;

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

    /// What else was seen since the last call: absolute numbers, which compare with nothing.
    fn details(&mut self) -> Vec<String> {
        Vec::new()
    }

    /// Others who do the same work.
    fn peers(&mut self) -> &mut [Box<dyn Peer>] {
        &mut []
    }

    /// The process that does the work, started if need be: a server, or this one.
    ///
    /// # Errors
    /// When it does not start.
    fn process(&self) -> Result<u32> {
        Ok(std::process::id())
    }
}

/// Somebody else who does a row's work, held against the same reference.
pub trait Peer {
    /// Who.
    fn name(&self) -> &str;

    /// Measures the work once, in the unit of the row's reference; starts what it needs.
    ///
    /// # Errors
    /// When it cannot be measured.
    fn work(&mut self) -> Result<f64>;

    /// What else was seen since the last call.
    fn details(&mut self) -> Vec<String> {
        Vec::new()
    }
}

/// How long a measurement takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// Long enough for one round to mean something.
    Full,
    /// Long enough where there are several rounds.
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

/// A small store of one organization: what reads and writes are measured on where size is not the point.
pub const ONE: Size = Size { events: 1_000, organizations: 1 };

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

/// A count as a number to divide by.
fn count(number: usize) -> f64 {
    f64::from(u32::try_from(number).unwrap_or(u32::MAX))
}

/// Every row there is. A row is a file of its own beside this one, named after its work.
pub fn rows(options: &Options) -> Result<Vec<Box<dyn Row>>> {
    let length = options.length();
    let binary = options.binary.clone().unwrap_or_else(|| target().join("release/settled"));
    let servers = Rc::new(Servers::of(binary));
    let history = Rc::new(History::of(replay::events(length)));
    let peers = Peers::new(options, length, &history)?;
    let many = Size { events: options.events, organizations: 1_000 };
    let read = |what| Box::new(Read::new(&servers, what, length, peers.of(Work::Read(what)))) as Box<dyn Row>;
    let ctx = |what, against| {
        let peers = match against {
            Against::Noop => peers.of(Work::Ctx(what)),
            Against::Read(_) => Vec::new(),
        };
        Box::new(Ctx::new(&servers, what, against, length, peers)) as Box<dyn Row>
    };
    let write_of = |what| {
        Box::new(DurableWrite::of(&servers, what, length, peers.of(Work::WriteOf(what)))) as Box<dyn Row>
    };
    let page = |filter| {
        let peers = peers.of(Work::Audit(filter));
        Box::new(AuditPage::new(&servers, filter, options.events, length, peers)) as Box<dyn Row>
    };
    let large = |what| Box::new(LargeOrganization::new(&servers, what, length)) as Box<dyn Row>;
    let of_customers = |what| Box::new(ManyCustomers::new(&servers, what, length)) as Box<dyn Row>;
    let as_of = |what| Box::new(AsOf::new(&servers, what, options.events, length)) as Box<dyn Row>;
    let disk = |events| {
        Box::new(DiskPerEvent::new(&history, events, length, peers.of(Work::Disk(events)))) as Box<dyn Row>
    };
    let mut rows: Vec<Box<dyn Row>> = vec![
        Box::new(DurableWrite::new(&servers, 1, length, peers.of(Work::Write(1)))),
        Box::new(DurableWrite::new(&servers, 64, length, peers.of(Work::Write(64)))),
        Box::new(DurableWrite::to_many(&servers, length, Vec::new())),
        write_of(write::What::Secret),
        write_of(write::What::Key),
        read(read::What::General),
        read(read::What::Value),
        read(read::What::List),
        Box::new(Authorise::new(&servers, length)),
        large(access::What::Matrix),
        large(access::What::Lists),
        large(access::What::Everybody),
        large(access::What::Search),
        of_customers(customers::What::List),
        of_customers(customers::What::Search),
        of_customers(customers::What::Filter),
        of_customers(customers::What::Executions),
        of_customers(customers::What::Failed),
        Box::new(CustomersCtx::new(&servers, length)),
        ctx(ctx::What::Secret, Against::Noop),
        ctx(ctx::What::SecretOfMany, Against::Read(ctx::What::Secret)),
        ctx(ctx::What::Environment, Against::Noop),
        ctx(ctx::What::Unchanged, Against::Noop),
        ctx(ctx::What::Unchanged, Against::Read(ctx::What::Environment)),
        Box::new(AppendInProcess::new(&history, length, peers.of(Work::Append))),
        page(Filter::User),
        page(Filter::ActionAndWeek),
        page(Filter::UserActionOutcome),
        Box::new(AuditAtSize::new(&servers, options.events, length)),
        as_of(as_of::What::Value),
        as_of(as_of::What::List),
        Box::new(Replay::new(&history, length, peers.of(Work::Scan))),
        Box::new(VerifyBundle::new(&servers, Replay::new(&history, length, Vec::new()), length)),
        Box::new(Inclusion::new(&servers, options.events, length)),
        Box::new(BesideCheckpoints::new(&servers, length)),
        Box::new(Writes::new(Beside::Snapshots, &servers, options.events, length)),
        Box::new(Writes::new(Beside::Drills, &servers, options.events, length)),
        Box::new(Growth::new(&servers, options.events, length)),
        Box::new(Memory::new(&servers, many, length, peers.of(Work::Memory))),
        Box::new(KeysMemory::new(&servers)),
        Box::new(CustomersMemory::new(&servers, length)),
        Box::new(Start::new(&servers, many)),
        disk(disk::EVENTS),
        disk(1),
    ];
    for what in [snapshot::What::Take, snapshot::What::Restore] {
        let (events, peers) = (snapshot::events(options.events, length), peers.of(Work::Backup(what)));
        rows.extend(Snapshot::new(&servers, what, events, peers).map(|row| Box::new(row) as Box<dyn Row>));
    }
    rows.retain(|row| options.names(row.name()));
    ensure!(!rows.is_empty(), "there is no such row");
    Ok(rows)
}

/// Measures, prints the table, and writes `target/bench/ratios.json` and, of a whole run, `BENCHMARKS.md`.
///
/// # Errors
/// When nothing is to be measured, or something could not be.
pub fn run(options: &Options) -> Result<()> {
    if as_release(options.peers)? {
        return Ok(());
    }
    let machine = Machine::here()?;
    let mut rows = rows(options)?;
    let measured = measure(&mut rows, options.rounds);
    let lines = rows.iter().zip(measured).map(|(row, series)| Line::of(&**row, series)).collect();
    let words: Vec<_> = std::env::args().skip(1).collect();
    let command = format!("cargo xtask {}", words.join(" "));
    let (rounds, events, load_seconds) = (options.rounds, options.events, options.length().seconds());
    let report = Report { machine, command, rounds, events, load_seconds, rows: lines };
    print(&report);
    say(&format!("written to {}", report.write_json()?.display()));
    if options.is_whole() {
        say(&format!("written to {}", report.write_page_file()?.display()));
    }
    ensure!(!report.failed(), "not everything could be measured");
    Ok(())
}

/// Runs the same command again by a release build with what it needs, if this is none: half of the rows run in this
/// process, and the drivers of peers are not built for anything else. Whether it did.
///
/// # Errors
/// When it cannot be built, or fails.
pub fn as_release(peers: bool) -> Result<bool> {
    if !cfg!(debug_assertions) && (!peers || cfg!(feature = "peers")) {
        return Ok(false);
    }
    let mut build = program("cargo build --release --locked -p settled -p tools");
    if peers {
        build.args(["--features", "tools/peers"]);
    }
    run::run(build)?;
    let mut again = std::process::Command::new(target().join("release/xtask"));
    again.args(std::env::args_os().skip(1));
    run::run(again)?;
    Ok(true)
}

#[expect(clippy::print_stdout, reason = "the table is what the command is for")]
fn print(report: &Report) {
    println!("{}", report.table());
    for line in &report.rows {
        println!("\n{}", line.name);
        for series in &line.series {
            let seen = series.failed.as_deref().map_or_else(|| series.details.join("; "), str::to_owned);
            println!("  {}: {seen}", series.name);
        }
    }
}
