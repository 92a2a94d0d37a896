//! What a workflow's author needs of a server: an environment with settings, and a key that reads them.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::process::{Ended, Login, Server, Start, command, run, text};

/// A server with the live environment `prod`, its Owner, and a key.
pub struct Workflow {
    pub server: Server,
    pub login: Login,
    pub key: String,
}

impl Workflow {
    /// With a key of a role.
    pub async fn start(start: &Start, role: &str) -> Self {
        let server = start.serve();
        let login = server.set_up().await;
        let key = server.key(&login, role).await;
        Self { server, login, key }
    }

    /// Sets a configuration value.
    pub async fn configure(&self, name: &str, value: Value) {
        let path = format!("/v1/environments/prod/config/{name}");
        let (status, body) = self.server.call(&self.login, "PUT", &path, Some(json!({"value": value}))).await;
        assert!(status == 200 || status == 201, "{body}");
    }

    /// Makes a secret of the environment; its path.
    pub async fn secret(&self, name: &str, value: &str) -> String {
        let body = json!({"name": name, "value": value, "environment": "prod"});
        let (status, body) = self.server.call(&self.login, "POST", "/v1/secrets", Some(body)).await;
        assert_eq!(status, 201, "{body}");
        format!("/v1/secrets/{}", text(&body["id"]))
    }

    /// Gives a secret another value.
    pub async fn change(&self, secret: &str, value: &str) {
        let (status, body) =
            self.server.call(&self.login, "PATCH", secret, Some(json!({"value": value}))).await;
        assert_eq!(status, 200, "{body}");
    }

    /// The binary as a program with the key runs it.
    pub fn client(&self, args: &[&str]) -> Command {
        let mut client = command(args);
        client.env("SETTLED_URL", &self.server.url).env("SETTLED_API_KEY", &self.key);
        client
    }

    /// `settled run` with further options, of a shell's script.
    pub fn script(&self, options: &[&str], script: &str) -> Command {
        self.client(&[&["run", "--environment", "prod"], options, &["--", "sh", "-c", script]].concat())
    }

    /// `settled run` with further options, of a Perl program that handles signals: one process, where a shell that
    /// forks may lose the signal that comes meanwhile.
    pub fn program(&self, options: &[&str], program: &str) -> Command {
        let program = format!("$| = 1; {program}");
        self.client(&[&["run", "--environment", "prod"], options, &["--", "perl", "-e", &program]].concat())
    }

    /// Runs a script to its end.
    pub fn ran(&self, script: &str) -> Ended {
        run(self.script(&[], script))
    }
}

impl Server {
    /// Makes an API key for live environments.
    pub async fn key(&self, login: &Login, role: &str) -> String {
        let body = json!({"name": role, "mode": "live", "role": role});
        let (status, body) = self.call(login, "POST", "/v1/api-keys", Some(body)).await;
        assert_eq!(status, 201, "{body}");
        text(&body["key"])
    }
}

/// A command under way whose output goes to files; killed with its group when dropped.
pub struct Started {
    child: Child,
    folder: tempfile::TempDir,
}

impl Started {
    pub fn new(mut command: Command) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = |name: &str| std::fs::File::create(folder.path().join(name)).expect("a file in it");
        let child = command.stdin(Stdio::null()).stdout(file("out")).stderr(file("err")).spawn();
        Self { child: child.expect("the binary starts"), folder }
    }

    pub fn out(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("out")).expect("made above")
    }

    pub fn err(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("err")).expect("made above")
    }

    /// Waits until its output is as it should be.
    pub fn until(&self, holds: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let out = self.out();
            if holds(&out) {
                return out;
            }
            assert!(Instant::now() < deadline, "{out}\n{}", self.err());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn pid(&self) -> rustix::process::Pid {
        rustix::process::Pid::from_child(&self.child)
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(self.pid(), signal).expect("the process is ours");
    }

    /// Waits for its end; its exit code.
    pub fn code(&mut self) -> Option<i32> {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                return status.code();
            }
            assert!(Instant::now() < deadline, "it does not end: {}\n{}", self.out(), self.err());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            // Asked first, so that it ends what it started, too.
            let _ended = rustix::process::kill_process(self.pid(), rustix::process::Signal::TERM);
            std::thread::sleep(Duration::from_millis(200));
            let _ended_already = self.child.kill();
            let _status = self.child.wait();
        }
    }
}
