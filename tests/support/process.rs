//! The `settled` binary as a process: started, talked to, killed. What a test writes to it stands in `journal.rs`.
//!
//! Whatever is started here is ended here, by its process id.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// The binary under test.
pub const SETTLED: &str = env!("CARGO_BIN_EXE_settled");

/// How long a start may take on a busy machine.
const START_MAX: Duration = Duration::from_secs(90);

/// How much of the long tests to run: 1 is a sample for CI, 10 is all.
pub fn scale() -> u32 {
    std::env::var("SETTLED_TEST_SCALE")
        .map_or(1, |text| text.parse().expect("SETTLED_TEST_SCALE is a number"))
}

/// The binary without any option from this process's environment, in a folder without a `settled.toml`.
pub fn command(args: &[&str]) -> Command {
    let mut command = Command::new(SETTLED);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("SETTLED_") {
            command.env_remove(name);
        }
    }
    command.args(args).current_dir("/").stdin(Stdio::null());
    command
}

/// How a command ended.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ended {
    /// The one JSON object that was printed.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// Runs a command to its end.
pub fn run(mut command: Command) -> Ended {
    let output = command.output().expect("the binary runs");
    Ended {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Runs the binary to its end.
pub fn settled(args: &[&str]) -> Ended {
    run(command(args))
}

/// Runs the binary on a data directory to its end.
pub fn settled_on(dir: &Path, args: &[&str]) -> Ended {
    let dir = dir.to_str().expect("the tests' paths are text");
    settled(&[args, &["--data-dir", dir]].concat())
}

/// How a server is to be started.
#[derive(Clone, Debug)]
pub struct Start {
    pub dir: PathBuf,
    log: PathBuf,
    args: Vec<String>,
    envs: Vec<(String, String)>,
}

impl Start {
    /// On a data directory, on a free port, with passwords that are cheap to hash.
    pub fn on(dir: impl Into<PathBuf>) -> Self {
        let args = ["--listen", "127.0.0.1:0", "--password-memory", "64KiB", "--password-passes", "1"];
        let dir = dir.into();
        let log = dir.with_extension("stderr");
        Self { dir, log, args: args.map(str::to_owned).to_vec(), envs: Vec::new() }
    }

    /// With passwords that take as long to hash as they do where nobody configures it.
    pub fn with_dear_passwords(mut self) -> Self {
        self.args.drain(2..6);
        self
    }

    /// On the port that a server had before, where its clients come back.
    pub fn listening(mut self, at: &str) -> Self {
        at.clone_into(&mut self.args[1]);
        self
    }

    /// Puts its log lines elsewhere than beside the data directory, whose disk may be going to fail.
    pub fn logging_to(mut self, log: impl Into<PathBuf>) -> Self {
        self.log = log.into();
        self
    }

    pub fn with(mut self, args: &[&str]) -> Self {
        self.args.extend(args.iter().map(|arg| (*arg).to_owned()));
        self
    }

    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.envs.push((name.to_owned(), value.into()));
        self
    }

    pub fn command(&self) -> Command {
        let mut command = command(&["serve"]);
        command.arg("--data-dir").arg(&self.dir).args(&self.args).envs(self.envs.iter().cloned());
        command
    }

    /// Starts it without waiting. Its log lines go to a file.
    pub fn spawn(&self) -> Process {
        self.spawn_as(self.command())
    }

    /// The same of a command line of one's own.
    pub fn spawn_as(&self, mut command: Command) -> Process {
        let stderr = File::create(&self.log).expect("the log file can be made");
        let mut child = command.stdout(Stdio::piped()).stderr(stderr).spawn().expect("the binary starts");
        let stdout = child.stdout.take().expect("piped above");
        let (sender, lines) = mpsc::channel();
        // Reads to the end, so that the server never waits for a full pipe.
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _nobody_listens = sender.send(line);
            }
        });
        Process { child, log: self.log.clone(), lines, dir: self.dir.clone() }
    }

    /// Starts it and waits until it serves.
    pub fn serve(&self) -> Server {
        self.spawn().served().unwrap_or_else(|(status, log)| panic!("no start ({status:?}):\n{log}"))
    }

    /// Starts it and waits until it gave up.
    pub fn refused(&self) -> Ended {
        run(self.command())
    }
}

/// A started process; killed when dropped.
pub struct Process {
    child: Child,
    log: PathBuf,
    lines: mpsc::Receiver<String>,
    dir: PathBuf,
}

impl Process {
    /// Waits until it serves; gives its status and its log lines if it ended instead.
    pub fn served(self) -> Result<Server, (Option<ExitStatus>, String)> {
        let deadline = Instant::now() + START_MAX;
        let mut this = self;
        loop {
            match this.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    if let Some((_, url)) = line.split_once(" serves ") {
                        return Ok(Server { url: url.to_owned(), process: this });
                    }
                }
                Err(mpsc::RecvTimeoutError::Timeout) => return Err((None, this.log_lines())),
                Err(mpsc::RecvTimeoutError::Disconnected) => {
                    let status = this.wait(Duration::from_secs(30));
                    return Err((status, this.log_lines()));
                }
            }
        }
    }

    /// The next line that it prints; nothing once it has ended.
    pub fn next_line(&self) -> Option<String> {
        self.lines.recv_timeout(START_MAX).ok()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn log_lines(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// What it logged last, without the lines of requests.
    pub fn last_lines(&self) -> String {
        let log = self.log_lines();
        let lines: Vec<&str> = log.lines().filter(|line| !line.contains("settled::access")).collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    /// SIGKILL, and waits for the end.
    pub fn kill(&mut self) {
        let _ended_already = self.child.kill();
        self.child.wait().expect("a child can be waited for");
    }

    /// Sends a signal.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).expect("the process is ours");
    }

    /// Its status, if it ends in time.
    pub fn wait(&mut self, at_most: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + at_most;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                return Some(status);
            }
            if Instant::now() > deadline {
                return None;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A process that serves.
pub struct Server {
    pub process: Process,
    pub url: String,
}

/// Somebody who is logged in.
#[derive(Clone, Debug)]
pub struct Login {
    pub token: String,
    pub organization: String,
}

const EMAIL: &str = "ada@example.com";
const PASSWORD: &str = "a long walk by the sea";

impl Server {
    pub fn dir(&self) -> &Path {
        &self.process.dir
    }

    pub fn socket(&self) -> PathBuf {
        self.dir().join("operator.sock")
    }

    /// The set-up's answer; nothing if the server died on it.
    pub async fn try_set_up(&self) -> Option<(u16, Value)> {
        let token = std::fs::read_to_string(self.dir().join("setup-token")).unwrap_or_default();
        let body = json!({
            "setup_token": token.trim(),
            "organization": {"name": "Acme", "timezone": "Europe/Paris"},
            "person": {"email": EMAIL, "name": "Ada", "password": PASSWORD},
        });
        let request = settled::client::http::plain()
            .build()
            .unwrap()
            .post(format!("{}/v1/setup", self.url))
            .json(&body);
        let response = request.send().await.ok()?;
        Some((response.status().as_u16(), response.json().await.ok()?))
    }

    /// Sets the server up, and makes the environment `prod`.
    pub async fn set_up(&self) -> Login {
        let (status, body) = self.try_set_up().await.expect("the server answers");
        assert_eq!(status, 201, "{body}");
        let login =
            Login { token: text(&body["session"]["token"]), organization: text(&body["organization"]["id"]) };
        self.make_environment(&login).await;
        login
    }

    /// Makes the environment `prod`.
    pub async fn make_environment(&self, login: &Login) {
        let environment = json!({"name": "Prod", "slug": "prod", "mode": "live"});
        let (status, body) = self.call(login, "POST", "/v1/environments", Some(environment)).await;
        assert_eq!(status, 201, "{body}");
    }

    /// Logs in, a second session beside others.
    pub async fn log_in(&self) -> Login {
        self.log_in_by(json!({"email": EMAIL, "password": PASSWORD})).await
    }

    /// The same, to one of several organizations.
    pub async fn log_in_to(&self, organization: &str) -> Login {
        self.log_in_by(json!({"email": EMAIL, "password": PASSWORD, "organization": organization})).await
    }

    async fn log_in_by(&self, body: Value) -> Login {
        let request = settled::client::http::plain()
            .build()
            .unwrap()
            .post(format!("{}/v1/auth/login", self.url))
            .json(&body);
        let response = request.send().await.expect("the server answers");
        assert_eq!(response.status(), 200);
        let body: Value = response.json().await.expect("the answer is JSON");
        Login { token: text(&body["token"]), organization: text(&body["organization"]["id"]) }
    }

    /// A request, with a session's token or an API key, and its answer; null where that has no body.
    pub async fn call(&self, login: &Login, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        let method = method.parse().expect("a method");
        let request = settled::client::http::plain()
            .build()
            .unwrap()
            .request(method, format!("{}{path}", self.url))
            .timeout(Duration::from_secs(60));
        let mut request = match login.token.starts_with("fastn_") {
            true => request.header("x-fastn-api-key", &login.token),
            false => request.bearer_auth(&login.token),
        };
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await.expect("the server answers");
        let status = response.status().as_u16();
        let text = response.text().await.expect("the answer can be read");
        (status, serde_json::from_str(&text).unwrap_or(Value::Null))
    }

    /// A GET over the operator's socket.
    pub fn operator(&self, path: &str) -> String {
        let mut bytes = Vec::new();
        let gather = |piece: &[u8]| {
            bytes.extend_from_slice(piece);
            true
        };
        // On a thread of its own: the command line's client brings its own runtime.
        let socket = self.socket();
        let answered = std::thread::scope(|scope| {
            scope.spawn(|| settled::cli::socket::stream(&socket, path, gather)).join()
        });
        answered.expect("the client does not panic").expect("the socket answers");
        String::from_utf8(bytes).expect("the answer is text")
    }

    /// Asks for a clean stop and waits for it.
    pub fn stop(mut self) -> Option<ExitStatus> {
        self.process.signal(rustix::process::Signal::TERM);
        self.process.wait(Duration::from_secs(60))
    }
}

/// A JSON value that must be text.
pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is text")).to_owned()
}
