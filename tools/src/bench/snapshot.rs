//! Snapshots beside the backups of databases that hold the same events: taken while a server serves, and restored into a
//! new folder. They are measured where peers are, since what they are held against is a peer.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

use super::load::load;
use super::memory::MIB;
use super::server::{Server, Servers};
use super::write::values;
use super::{Length, Peer, Row, count, scratch, seconds};
use crate::mix::generate::Size;

/// From how many connections others write.
const CONNECTIONS: u32 = 64;

/// How many events there are, of a long history.
pub fn events(long: u64, length: Length) -> u64 {
    length.of(usize::try_from(long).unwrap_or(usize::MAX)) as u64
}

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// A snapshot is taken of a running server.
    Take,
    /// A store is made of one.
    Restore,
}

/// Takes or restores snapshots, by the program.
pub struct Snapshot {
    servers: Rc<Servers>,
    what: What,
    size: Size,
    /// What a restore is of; taken when it is first asked for.
    taken: Option<Taken>,
    held_against: Box<dyn Peer>,
    details: Vec<String>,
    peers: Vec<Box<dyn Peer>>,
}

impl Snapshot {
    /// Of so many events, held against the first of the peers; `None` without any.
    pub fn new(
        servers: &Rc<Servers>,
        what: What,
        events: u64,
        mut peers: Vec<Box<dyn Peer>>,
    ) -> Option<Self> {
        if peers.is_empty() {
            return None;
        }
        let (servers, size) = (Rc::clone(servers), Size { events, organizations: 1_000 });
        let held_against = peers.remove(0);
        Some(Self { servers, what, size, taken: None, held_against, details: Vec::new(), peers })
    }

    fn server(&self) -> Result<Rc<Server>> {
        self.servers.settled(self.size)
    }

    fn restore(&mut self) -> Result<f64> {
        let server = self.server()?;
        if self.taken.is_none() {
            self.taken = Some(Taken::of(&self.servers, &server)?);
        }
        let taken = self.taken.as_ref().context("taken just now")?;
        let dir = scratch()?;
        let mut restore = self.servers.program(&["snapshot", "restore"]);
        restore.arg(taken.history()).arg("--data-dir").arg(dir.path().join("data"));
        restore.arg("--root-key-file").arg(server.data_dir().join("root.key"));
        seconds_on_a_quiet_disk(|| run(restore))
    }
}

impl Row for Snapshot {
    fn name(&self) -> &'static str {
        match self.what {
            What::Take => "taking a snapshot",
            What::Restore => "restoring a snapshot",
        }
    }

    fn reference_name(&self) -> &'static str {
        match self.what {
            What::Take => "SQLite's online backup, synced",
            What::Restore => "PostgreSQL's restore, by two jobs",
        }
    }

    fn goal(&self) -> f64 {
        match self.what {
            What::Take => 1.0 / 1.5,
            What::Restore => 1.0 / 0.3,
        }
    }

    fn limit(&self) -> &'static str {
        match self.what {
            What::Take => {
                "reading every frame out of the engine, checking and hashing it; pages of SQLite are copied"
            }
            What::Restore => {
                "decoding and hashing every event, by all cores, beside the engine, which takes each frame as a log does"
            }
        }
    }

    fn reference(&mut self) -> Result<f64> {
        self.held_against.work()
    }

    fn work(&mut self) -> Result<f64> {
        let (took, memory) = match self.what {
            What::Take => {
                let taken = Taken::of(&self.servers, &*self.server()?)?;
                (taken.seconds, format!(", memory + {:.1} MiB", (taken.highest - taken.before) / MIB))
            }
            What::Restore => (self.restore()?, String::new()),
        };
        let events = self.size.events;
        self.details.push(format!("{events} events in {took:.2} s{memory}"));
        Ok(count(usize::try_from(events)?) / took)
    }

    fn details(&mut self) -> Vec<String> {
        let held_against = self.held_against.name().to_owned();
        let seen = self.held_against.details().into_iter().map(|seen| format!("{held_against}: {seen}"));
        std::mem::take(&mut self.details).into_iter().chain(seen).collect()
    }

    fn peers(&mut self) -> &mut [Box<dyn Peer>] {
        &mut self.peers
    }

    fn process(&self) -> Result<u32> {
        Ok(self.server()?.process())
    }
}

/// What a server may grow by while it takes snapshots.
const GROWTH_ALLOWED_BYTES: f64 = 32.0 * MIB;

/// How many snapshots are taken one after another: what each of them left behind would add up.
const TAKEN: u32 = 4;

/// By how much a server grows at most while it takes snapshots and 64 connections write, beyond what it is while they write alone.
pub struct Growth(Writes);

impl Growth {
    /// Of so many events of as many organizations as [`Snapshot`] has.
    pub fn new(servers: &Rc<Servers>, events: u64, length: Length) -> Self {
        Self(Writes::new(Beside::Snapshots, servers, events, length))
    }
}

impl Row for Growth {
    fn name(&self) -> &'static str {
        "growth of memory while snapshots are taken, 1,000 organizations"
    }

    fn reference_name(&self) -> &'static str {
        "32 MiB"
    }

    fn goal(&self) -> f64 {
        1.0
    }

    fn limit(&self) -> &'static str {
        "the engine's cache, which has pages of all streams then; the chunks on their way, and what packs them"
    }

    fn reference(&mut self) -> Result<f64> {
        Ok(1.0 / GROWTH_ALLOWED_BYTES)
    }

    fn work(&mut self) -> Result<f64> {
        let server = self.0.server()?;
        server.restart()?;
        let (_, alone) = self.0.writes(&server)?;
        let one = self.0.on("create", &server);
        let highest = std::thread::scope(|scope| {
            let working = scope.spawn(move || -> Result<()> {
                let dir = scratch()?;
                (0..TAKEN).try_for_each(|number| run(next(&one, dir.path(), number)))
            });
            let mut highest = alone;
            while !working.is_finished() {
                highest = highest.max(self.0.writes(&server)?.1);
            }
            working.join().ok().context("the thread that takes snapshots panicked")??;
            anyhow::Ok(highest)
        })?;
        let (more, beyond) = ((highest - alone) / MIB, alone / MIB);
        self.0.details.push(format!("{more:.1} MiB beyond {beyond:.1} MiB over {TAKEN} snapshots"));
        Ok(1.0 / (highest - alone).max(1.0))
    }

    fn details(&mut self) -> Vec<String> {
        self.0.details()
    }

    fn process(&self) -> Result<u32> {
        self.0.process()
    }
}

/// The same command that takes a snapshot, into a file of its own.
fn next(one: &Command, dir: &Path, number: u32) -> Command {
    let mut next = Command::new(one.get_program());
    next.args(one.get_args()).arg("--output").arg(dir.join(format!("{number}.settled")));
    next
}

/// What goes on beside writes.
#[derive(Clone, Copy, Debug)]
pub enum Beside {
    /// One snapshot after another is taken.
    Snapshots,
    /// One is restored for practice again and again.
    Drills,
}

/// Writes from 64 connections while the server works on snapshots, held against writes without: the time within which 99 of 100
/// are answered.
pub struct Writes {
    what: Beside,
    servers: Rc<Servers>,
    size: Size,
    length: Length,
    seed: u32,
    /// Of its own: what is written here is as much as there was.
    server: Option<Rc<Server>>,
    details: Vec<String>,
}

impl Writes {
    /// Of so many events of as many organizations as [`Snapshot`] has.
    pub fn new(what: Beside, servers: &Rc<Servers>, events: u64, length: Length) -> Self {
        let (servers, size) = (Rc::clone(servers), Size { events, organizations: 1_000 });
        // Other values than those of any other row's writes.
        Self { what, servers, size, length, seed: 9_000_000, server: None, details: Vec::new() }
    }

    fn server(&mut self) -> Result<Rc<Server>> {
        if self.server.is_none() {
            let server = self.servers.of_its_own(self.size)?;
            if matches!(self.what, Beside::Drills) {
                run(self.on("create", &server))?;
            }
            self.server = Some(Rc::new(server));
        }
        self.server.clone().context("started just now")
    }

    /// A command about snapshots, which asks a server.
    fn on(&self, command: &str, server: &Server) -> Command {
        let mut on = self.servers.program(&["snapshot", command]);
        on.arg("--data-dir").arg(server.data_dir());
        on
    }

    /// One over the p99 of a load, and the highest resident memory while it lasted.
    fn writes(&mut self, server: &Server) -> Result<(f64, f64)> {
        self.seed += 1;
        let (request, seconds, seed) = (values(server), self.length.seconds().max(SECONDS_MIN), self.seed);
        let (measured, highest) =
            server.highest_resident_bytes(|| load(&request, CONNECTIONS, seconds, seed))?;
        self.details.push(format!("{}, {:.0} MiB", measured.times(), highest / MIB));
        Ok((1.0 / measured.p99.as_secs_f64().max(1e-6), highest))
    }
}

impl Row for Writes {
    fn name(&self) -> &'static str {
        match self.what {
            Beside::Snapshots => "p99 of durable writes, 64 connections, while snapshots are taken",
            Beside::Drills => "p99 of durable writes, 64 connections, while snapshots are drilled",
        }
    }

    fn reference_name(&self) -> &'static str {
        "the same without snapshots"
    }

    fn goal(&self) -> f64 {
        0.5
    }

    fn limit(&self) -> &'static str {
        match self.what {
            Beside::Snapshots => {
                "a snapshot packs and hashes on one of the cores, and its reads of the engine take turns with commits"
            }
            Beside::Drills => {
                "a drill fills another log, and folds both, on the cores that serve; what it writes goes to the same disk"
            }
        }
    }

    fn reference(&mut self) -> Result<f64> {
        let server = self.server()?;
        Ok(self.writes(&server)?.0)
    }

    fn work(&mut self) -> Result<f64> {
        let server = self.server()?;
        let (what, done) = (self.what, AtomicBool::new(false));
        let one = match what {
            Beside::Snapshots => self.on("create", &server),
            Beside::Drills => self.on("drill", &server),
        };
        let ((quickness, _), times) = std::thread::scope(|scope| {
            let (dir, done) = (scratch()?, &done);
            let working = scope.spawn(move || -> Result<u32> {
                let mut times = 0;
                while !done.load(Ordering::Relaxed) {
                    times += 1;
                    run(match what {
                        Beside::Snapshots => next(&one, dir.path(), times),
                        Beside::Drills => {
                            let mut drill = Command::new(one.get_program());
                            drill.args(one.get_args());
                            drill
                        }
                    })?;
                }
                Ok(times)
            });
            let measured = self.writes(&server);
            done.store(true, Ordering::Relaxed);
            let times = working.join().ok().context("the thread that works on snapshots panicked")??;
            anyhow::Ok((measured?, times))
        })?;
        self.details.push(format!("{times} begun meanwhile"));
        Ok(quickness)
    }

    fn details(&mut self) -> Vec<String> {
        std::mem::take(&mut self.details)
    }

    fn process(&self) -> Result<u32> {
        Ok(self.server.as_ref().context("the reference started it")?.process())
    }
}

/// A second, as a quick run has it, is no longer than one stall of a disk.
const SECONDS_MIN: u32 = 3;

/// A snapshot in a folder of its own; gone when dropped.
struct Taken {
    dir: TempDir,
    /// How long it took.
    seconds: f64,
    /// The server's resident memory before, in bytes.
    before: f64,
    /// The most that it was meanwhile.
    highest: f64,
}

impl Taken {
    /// Of a running server, by its socket.
    fn of(servers: &Servers, server: &Server) -> Result<Self> {
        let mut taken =
            Self { dir: scratch()?, seconds: 0.0, before: server.resident_bytes()?, highest: 0.0 };
        let mut create = servers.program(&["snapshot", "create"]);
        create.arg("--output").arg(taken.history()).arg("--data-dir").arg(server.data_dir());
        (taken.seconds, taken.highest) =
            server.highest_resident_bytes(|| seconds_on_a_quiet_disk(|| run(create)))?;
        ensure!(taken.history().exists(), "there is no snapshot");
        Ok(taken)
    }

    fn history(&self) -> PathBuf {
        self.dir.path().join("taken.settled")
    }
}

/// How long something takes that syncs, in seconds: what others have written before is on the disk by then.
pub fn seconds_on_a_quiet_disk(work: impl FnOnce() -> Result<()>) -> Result<f64> {
    run(Command::new("sync"))?;
    seconds(work)
}

/// Runs a command and keeps what it prints, for when it fails.
pub fn run(mut command: Command) -> Result<()> {
    let output = command.stdin(Stdio::null()).output().context("it could not be started")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{:?} ended with {}: {said}", command.get_program(), output.status);
    Ok(())
}
