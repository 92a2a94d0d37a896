//! The real server over stores of the mix, each in a folder of its own and on a port of its own.

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use settled::clock::{Clock, Timestamp};
use tempfile::TempDir;

use super::access::crowded;
use super::customers::Served;
use super::history::SEED;
use super::programs::{Programmed, with_keys};
use super::reference::Noop;
use super::{count, scratch, seconds};
use crate::install;
use crate::mix::customers::Customers;
use crate::mix::generate::{Filled, Size, beginning, fill};
use crate::mix::store::OpenStore;
use crate::run::say;

/// How long a start, or a stop, may take.
const PATIENCE: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_millis(1);

/// What the rows over HTTP share, each started when it is first asked for.
pub struct Servers {
    binary: PathBuf,
    settled: RefCell<HashMap<Size, Rc<Server>>>,
    crowded: OnceCell<Rc<Server>>,
    programs: OnceCell<Rc<Programmed>>,
    customers: OnceCell<Rc<Served>>,
    noop: OnceCell<Noop>,
}

impl Servers {
    /// With the real server's program.
    pub fn of(binary: PathBuf) -> Self {
        Self {
            binary,
            settled: RefCell::default(),
            crowded: OnceCell::new(),
            programs: OnceCell::new(),
            customers: OnceCell::new(),
            noop: OnceCell::new(),
        }
    }

    /// The real server over a store of a size.
    ///
    /// # Errors
    /// When it cannot be filled or started, or `wrk` cannot be installed.
    pub fn settled(&self, size: Size) -> Result<Rc<Server>> {
        if let Some(server) = self.settled.borrow().get(&size) {
            return Ok(Rc::clone(server));
        }
        install::wrk()?;
        let server = Rc::new(Server::start(&self.binary, size)?);
        self.settled.borrow_mut().insert(size, Rc::clone(&server));
        Ok(server)
    }

    /// Another, for a row that adds so much to its history that others would measure another one.
    ///
    /// # Errors
    /// As for [`Servers::settled`].
    pub fn of_its_own(&self, size: Size) -> Result<Server> {
        install::wrk()?;
        Server::start(&self.binary, size)
    }

    /// The real server over a store of one large organization.
    ///
    /// # Errors
    /// As for [`Servers::settled`].
    pub fn crowded(&self) -> Result<Rc<Server>> {
        if let Some(server) = self.crowded.get() {
            return Ok(Rc::clone(server));
        }
        install::wrk()?;
        let server = Rc::new(crowded(&self.binary)?);
        Ok(Rc::clone(self.crowded.get_or_init(|| server)))
    }

    /// The real server over a small store with environments that programs read.
    ///
    /// # Errors
    /// As for [`Servers::settled`].
    pub fn programs(&self) -> Result<Rc<Programmed>> {
        if let Some(programs) = self.programs.get() {
            return Ok(Rc::clone(programs));
        }
        install::wrk()?;
        let programs = Rc::new(Programmed::start(&self.binary)?);
        Ok(Rc::clone(self.programs.get_or_init(|| programs)))
    }

    /// The real server over a store of one organization with so many customers and executions, the same for all rows.
    ///
    /// # Errors
    /// As for [`Servers::settled`].
    pub fn with_customers(&self, size: Customers) -> Result<Rc<Served>> {
        if let Some(served) = self.customers.get() {
            return Ok(Rc::clone(served));
        }
        install::wrk()?;
        let served = Rc::new(self.customers_apart(size)?);
        Ok(Rc::clone(self.customers.get_or_init(|| served)))
    }

    /// As [`Servers::with_customers`], for one row alone.
    ///
    /// # Errors
    /// As for [`Servers::settled`].
    pub fn customers_apart(&self, size: Customers) -> Result<Served> {
        Served::start(&self.binary, size)
    }

    /// The real server over a store of a size whose organizations have so many API keys between them beside, for one
    /// row alone.
    ///
    /// # Errors
    /// As for [`Servers::settled`].
    pub fn with_keys(&self, size: Size, keys: usize) -> Result<Server> {
        with_keys(&self.binary, size, keys)
    }

    /// The real program with a subcommand.
    pub fn program(&self, words: &[&str]) -> Command {
        let mut program = Command::new(&self.binary);
        program.args(words);
        program
    }

    /// The no-op.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn noop(&self) -> Result<&Noop> {
        if let Some(noop) = self.noop.get() {
            return Ok(noop);
        }
        let noop = Noop::start()?;
        Ok(self.noop.get_or_init(|| noop))
    }
}

/// The machine's time.
pub fn now() -> Timestamp {
    Clock::system().now()
}

/// The real server over a filled store, serving; stopped by its process id when dropped.
pub struct Server {
    binary: PathBuf,
    running: RefCell<Running>,
    /// What the store is filled with.
    pub organizations: Vec<Filled>,
    filled_with: f64,
    /// Gone after the process.
    dir: TempDir,
}

impl Server {
    /// Fills a store and starts a server over it.
    ///
    /// # Errors
    /// When the store cannot be filled, or the server does not start.
    pub fn start(binary: &Path, size: Size) -> Result<Self> {
        Ok(Self::filled(binary, size, async |_, _| Ok(()))?.0)
    }

    /// The same, with more in the store; answers what came of that, too.
    pub(super) fn filled<T>(
        binary: &Path,
        size: Size,
        more: impl AsyncFnOnce(&OpenStore, &[Filled]) -> Result<T>,
    ) -> Result<(Self, T)> {
        let dir = scratch()?;
        say(&format!("filling a store: {} events, {} organizations", size.events, size.organizations));
        let end = now();
        let open = OpenStore::in_directory(&dir.path().join("data"), beginning(end))?;
        let organizations = fill(&open, size, SEED, end)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let came = runtime.block_on(more(&open, &organizations))?;
        open.close()?;
        let filled_with = count(usize::try_from(size.events)?);
        let running = RefCell::new(Running::start(binary, dir.path())?);
        Ok((Self { binary: binary.to_owned(), running, organizations, filled_with, dir }, came))
    }

    /// `http://127.0.0.1:PORT`.
    pub fn base(&self) -> String {
        format!("http://{}", self.running.borrow().address)
    }

    /// The tokens of the Owners' sessions, an organization each.
    pub fn tokens(&self) -> Vec<String> {
        self.organizations.iter().map(|filled| filled.token.clone()).collect()
    }

    /// The first organization.
    ///
    /// # Errors
    /// When the store is empty.
    pub fn first(&self) -> Result<&Filled> {
        self.organizations.first().context("the store has no organization")
    }

    /// Where the store lies.
    pub fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// How many events there are: those that it was filled with, and those that it has recorded since it was started.
    ///
    /// # Errors
    /// When the server does not tell.
    pub fn events(&self) -> Result<f64> {
        let mut metrics = Vec::new();
        let socket = self.data_dir().join("operator.sock");
        settled::cli::socket::stream(&socket, "/metrics", |piece| {
            metrics.extend_from_slice(piece);
            true
        })?;
        let metrics = String::from_utf8(metrics)?;
        let sum = metrics.lines().find_map(|line| line.strip_prefix("settled_batch_events_sum "));
        let recorded: f64 = sum.context("it says nothing of events")?.parse()?;
        Ok(self.filled_with + recorded)
    }

    /// The process's id.
    pub fn process(&self) -> u32 {
        self.running.borrow().child.id()
    }

    /// Stops it cleanly and starts it again; how long the start took, up to the first answer that it is ready, in
    /// seconds.
    ///
    /// # Errors
    /// When it does not stop or start.
    pub fn restart(&self) -> Result<f64> {
        let mut running = self.running.borrow_mut();
        running.stop()?;
        seconds(|| {
            *running = Running::start(&self.binary, self.dir.path())?;
            running.ready()
        })
    }

    /// Asks once; the answer as it came, its head included.
    ///
    /// # Errors
    /// When there is none.
    pub fn get(&self, path: &str, headers: &[String]) -> Result<String> {
        self.running.borrow().get(path, headers)
    }

    /// The memory that it holds, in bytes.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn resident_bytes(&self) -> Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("it has no VmRSS")?;
        let kib: f64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(1_024.0 * kib)
    }

    /// Does something, and looks meanwhile what memory it holds at most: whatever is let go right after a load ends still
    /// counts.
    ///
    /// # Errors
    /// When the work fails, or the system does not tell.
    pub fn highest_resident_bytes<T: Send>(
        &self,
        work: impl FnOnce() -> Result<T> + Send,
    ) -> Result<(T, f64)> {
        std::thread::scope(|scope| {
            let working = scope.spawn(work);
            let mut highest = 0.0_f64;
            while !working.is_finished() {
                highest = highest.max(self.resident_bytes()?);
                std::thread::sleep(Duration::from_millis(50));
            }
            Ok((working.join().ok().context("the thread that works panicked")??, highest))
        })
    }
}

/// A process of it.
struct Running {
    child: Child,
    address: SocketAddr,
}

impl Running {
    fn start(binary: &Path, dir: &Path) -> Result<Self> {
        let data = dir.join("data");
        // That of a process that was killed would be taken for this one's.
        let _gone = std::fs::remove_file(data.join("server.json"));
        let log = std::fs::File::create(dir.join("log"))?;
        let child = Command::new(binary)
            .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(&data)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("the server could not be started")?;
        let mut running = Self { child, address: SocketAddr::from(([127, 0, 0, 1], 0)) };
        running.address = running.listening(&data)?;
        Ok(running)
    }

    fn listening(&mut self, data: &Path) -> Result<SocketAddr> {
        for _ in 0..PATIENCE.as_millis() / PAUSE.as_millis() {
            if let Ok(text) = std::fs::read(data.join("server.json"))
                && let Ok(note) = serde_json::from_slice::<Value>(&text)
                && let Some(address) = note["listen"].as_str()
            {
                return Ok(address.parse()?);
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("the server ended with {status}");
            }
            std::thread::sleep(PAUSE);
        }
        bail!("the server did not start within {PATIENCE:?}")
    }

    /// Waits for the first answer that it is ready: the port is bound a moment before.
    fn ready(&self) -> Result<()> {
        let answer = self.get("/readyz", &[])?;
        ensure!(answer.starts_with("HTTP/1.1 200"), "the server is not ready: {answer}");
        Ok(())
    }

    fn get(&self, path: &str, headers: &[String]) -> Result<String> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let lines: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
        let host = self.address;
        write!(stream, "GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n{lines}\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    fn stop(&mut self) -> Result<()> {
        let pid = Pid::from_raw(i32::try_from(self.child.id())?).context("a process has an id")?;
        kill_process(pid, Signal::TERM)?;
        let status = self.child.wait()?;
        ensure!(status.success(), "the server stopped with {status}");
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // SIGKILL: the folder goes with it. One that has been waited for is not sent anything.
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}
