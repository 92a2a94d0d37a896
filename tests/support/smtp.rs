//! A real mail server, `smtp.py` over aiosmtpd, and the mails that it got.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use serde_json::Value;

/// A mail server that runs; killed when dropped.
pub struct MailServer {
    pub port: u16,
    child: Child,
    lines: mpsc::Receiver<String>,
}

/// The Python that has aiosmtpd: `cargo xtask test` installs it, and says where by the environment variable.
fn python() -> PathBuf {
    if let Some(path) = std::env::var_os("SETTLED_AIOSMTPD") {
        return path.into();
    }
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools");
    let folders = std::fs::read_dir(&tools).into_iter().flatten().map_while(Result::ok);
    let is_it =
        |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("aiosmtpd-"));
    let mut found = folders.map(|entry| entry.path()).filter(is_it).map(|path| path.join("bin/python"));
    found.next().expect("aiosmtpd is not installed: run `cargo xtask test`, which installs it")
}

impl MailServer {
    /// Starts one, on a free port unless the options name one.
    pub fn start(options: &[&str]) -> Self {
        let mut child = Command::new(python())
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/smtp.py"))
            .args(options)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python starts");
        let stdout = child.stdout.take().expect("piped above");
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _nobody_listens = sender.send(line);
            }
        });
        let port = lines.recv_timeout(Duration::from_secs(60)).expect("it says its port");
        Self { port: port.parse().expect("a port"), child, lines }
    }

    /// The next mail that arrives within a minute.
    pub fn next(&self) -> Value {
        let line = self.lines.recv_timeout(Duration::from_secs(60)).expect("a mail arrives");
        serde_json::from_str(&line).expect("a line is JSON")
    }

    /// Whether no mail is here yet.
    pub fn is_empty(&self) -> bool {
        self.lines.try_recv().is_err()
    }
}

impl Drop for MailServer {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}
