//! A server of somebody else's: in a folder of its own, on ports of the system's choice, ended by its process id.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// How long a start may take.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(50);
/// How long an orderly end may take.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// A running server; stopped when dropped, before its folder goes.
pub(super) struct Running {
    child: Child,
    pub(super) address: SocketAddr,
    pub(super) dir: TempDir,
}

impl Running {
    /// Starts a server and waits until it listens.
    pub(super) fn start(mut command: Command, address: SocketAddr, dir: TempDir) -> Result<Self> {
        let log = std::fs::File::create(dir.path().join("log"))?;
        let name = command.get_program().to_string_lossy().into_owned();
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("{name} could not be started"))?;
        let mut running = Self { child, address, dir };
        for _ in 0..PATIENCE.as_millis() / PAUSE.as_millis() {
            if TcpStream::connect(address).is_ok() {
                return Ok(running);
            }
            if let Some(status) = running.child.try_wait()? {
                bail!("{name} ended with {status}: {}", running.log());
            }
            std::thread::sleep(PAUSE);
        }
        bail!("{name} did not listen within {PATIENCE:?}: {}", running.log())
    }

    /// The process's id.
    pub(super) fn process(&self) -> u32 {
        self.child.id()
    }

    /// What it said last.
    fn log(&self) -> String {
        let text = std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(5)..].join("\n")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // An orderly end first: what it shares with its children is cleaned up. Then it ends in any case.
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _told = kill_process(pid, Signal::INT);
        }
        for _ in 0..LAST_WORDS.as_millis() / PAUSE.as_millis() {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(PAUSE);
        }
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}

/// A port that nobody listens on, on 127.0.0.1.
pub(super) fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}
