//! `settled serve` as a process of its own, with all that it prints.

use std::io::{BufRead as _, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;

/// A running server; killed when it is dropped.
pub struct Process {
    pub base: String,
    pub data: PathBuf,
    child: Child,
    lines: Arc<Mutex<String>>,
    readers: Vec<JoinHandle<()>>,
}

impl Process {
    /// Starts a server over a data directory and waits until it listens.
    #[expect(clippy::disallowed_methods, reason = "a deadline of the test, beside the server's own clock")]
    pub fn start(data: &Path, options: &[&str]) -> Self {
        let server_file = data.join("server.json");
        let mut child = Command::new(env!("CARGO_BIN_EXE_settled"))
            .arg("serve")
            .arg("--data-dir")
            .arg(data)
            .args(["--listen", "127.0.0.1:0", "--password-memory", "8KiB", "--password-passes", "1"])
            .args(["--ballast", "4KiB", "--min-free-disk", "1MiB"])
            .args(options)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let lines = Arc::new(Mutex::new(String::new()));
        let stdout = child.stdout.take().expect("standard output is a pipe");
        let stderr = child.stderr.take().expect("standard error is a pipe");
        let readers = vec![collect(stdout, &lines), collect(stderr, &lines)];
        let deadline = Instant::now() + Duration::from_secs(60);
        let base = loop {
            let note = std::fs::read_to_string(&server_file).unwrap_or_default();
            if let Ok(note) = serde_json::from_str::<Value>(&note)
                && note["pid"] == child.id()
                && let Some(listen) = note["listen"].as_str()
            {
                break format!("http://{listen}");
            }
            let ended = child.try_wait().expect("the child can be waited for");
            assert!(ended.is_none() && Instant::now() < deadline, "it did not start: {:?}", lines.lock());
            std::thread::sleep(Duration::from_millis(20));
        };
        Self { base, data: data.to_owned(), child, lines, readers }
    }

    /// Its id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its arguments, as everybody on the machine sees them, and the environment that it was started with.
    pub fn told_by_the_system(&self) -> [String; 2] {
        ["cmdline", "environ"].map(|file| {
            let bytes = std::fs::read(format!("/proc/{}/{file}", self.id())).expect("the process runs");
            String::from_utf8_lossy(&bytes).into_owned()
        })
    }

    /// Stops it with SIGTERM and gives all that it printed.
    pub fn stop(mut self) -> String {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("the process runs");
        let status = self.child.wait().expect("the child can be waited for");
        for reader in self.readers.drain(..) {
            reader.join().expect("a reader does not panic");
        }
        let lines = self.lines.lock().expect("no reader panicked").clone();
        assert!(status.success(), "{status}: {lines}");
        lines
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

fn collect(pipe: impl Read + Send + 'static, lines: &Arc<Mutex<String>>) -> JoinHandle<()> {
    let lines = Arc::clone(lines);
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            let mut lines = lines.lock().expect("the other reader does not panic");
            lines.push_str(&line);
            lines.push('\n');
        }
    })
}
