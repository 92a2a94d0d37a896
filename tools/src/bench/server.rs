//! The real server, in a folder of its own and on a port of its own, set up over HTTP; and the no-op beside it.

use std::cell::OnceCell;
use std::io::{Read as _, Seek as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{scratch, seconds};
use crate::install;

/// How long a start, or a stop, may take.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(50);

/// What the rows over HTTP share, each started when it is first asked for.
pub struct Servers {
    binary: PathBuf,
    settled: OnceCell<Server>,
    noop: OnceCell<Noop>,
}

impl Servers {
    /// With the real server's program.
    pub fn of(binary: PathBuf) -> Self {
        Self { binary, settled: OnceCell::new(), noop: OnceCell::new() }
    }

    /// The real server.
    ///
    /// # Errors
    /// When it cannot be started, or `wrk` cannot be installed.
    pub fn settled(&self) -> Result<&Server> {
        if let Some(server) = self.settled.get() {
            return Ok(server);
        }
        install::wrk()?;
        let server = Server::start(&self.binary)?;
        Ok(self.settled.get_or_init(|| server))
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

/// The real server, serving; stopped by its process id when dropped.
pub struct Server {
    child: Child,
    address: SocketAddr,
    token: String,
    /// Gone after the process.
    _dir: TempDir,
}

impl Server {
    /// Starts it, sets it up, logs in, and makes an environment called `bench` with one value.
    ///
    /// # Errors
    /// When it does not start or answers something else than expected.
    pub fn start(binary: &Path) -> Result<Self> {
        let dir = scratch()?;
        let data = dir.path().join("data");
        let log = std::fs::File::create(dir.path().join("log"))?;
        let child = Command::new(binary)
            .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(&data)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("the server could not be started")?;
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut server = Self { child, address: nowhere, token: String::new(), _dir: dir };
        server.address = server.listening(&data)?;
        server.set_up(&data)?;
        Ok(server)
    }

    /// The URL of a path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The session's token.
    pub fn token(&self) -> String {
        self.token.clone()
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

    fn set_up(&mut self, data: &Path) -> Result<()> {
        let setup_token = std::fs::read_to_string(data.join("setup-token"))?;
        let (email, password) = ("ada@example.com", "a long walk by the sea");
        self.send(
            "POST",
            "/v1/setup",
            &json!({
                "setup_token": setup_token.trim(),
                "organization": { "name": "Acme", "timezone": "Europe/Paris" },
                "person": { "email": email, "name": "Ada", "password": password },
            }),
        )?;
        let session =
            self.send("POST", "/v1/auth/login", &json!({ "email": email, "password": password }))?;
        self.token = session["token"].as_str().context("a login answers with a token")?.to_owned();
        self.send("POST", "/v1/environments", &json!({ "name": "bench", "mode": "live" }))?;
        self.send("PUT", "/v1/environments/bench/config/SETTING_0", &json!({ "value": "as it was" }))?;
        Ok(())
    }

    fn send(&self, method: &str, path: &str, body: &Value) -> Result<Value> {
        let body = body.to_string();
        let authorization = if self.token.is_empty() {
            String::new()
        } else {
            format!("authorization: Bearer {}\r\n", self.token)
        };
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\ncontent-type: application/json\r\n\
             {authorization}content-length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").context("an answer has a head")?;
        ensure!(head.starts_with("HTTP/1.1 2"), "{method} {path} was answered {head}\n{body}");
        Ok(serde_json::from_str(body)?)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // SIGKILL: the folder goes with it.
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}

/// A server that answers each JSON POST with what was sent, and does nothing else: axum as it is, on a runtime like
/// the real server's. It ends with the process.
pub struct Noop {
    address: SocketAddr,
    _runtime: tokio::runtime::Runtime,
}

impl Noop {
    /// Starts it on a port of its own.
    ///
    /// # Errors
    /// When it cannot listen.
    pub fn start() -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))?;
        let address = listener.local_addr()?;
        let echo = axum::routing::post(async |body: axum::Json<Value>| body);
        let router = axum::Router::new().route("/noop/{number}", echo);
        runtime.spawn(async move { axum::serve(listener, router).await });
        Ok(Self { address, _runtime: runtime })
    }

    /// The URL to post to; `%d` is a number.
    pub fn url(&self) -> String {
        format!("http://{}/noop/%d", self.address)
    }
}

/// How often a second `bytes` bytes can be written and synced, one at a time, measured for about `for_seconds`.
///
/// # Errors
/// When the disk refuses.
pub fn syncs_per_second(bytes: usize, for_seconds: f64) -> Result<f64> {
    /// More than any disk syncs in the time; beyond it, the file grows and only gets slower.
    const MOST: usize = 65_536;
    let dir = scratch()?;
    let mut file = allocated_file(&dir.path().join("synced"), bytes * MOST)?;
    let buffer = vec![0x5a; bytes];
    let mut done = 0.0;
    let mut took = 0.0;
    while took < for_seconds {
        took += seconds(|| file.write_all(&buffer).and_then(|()| file.sync_data()))?;
        done += 1.0;
    }
    Ok(done / took)
}

/// A file whose blocks are on the disk already, open at its beginning. A file that grows makes each sync wait for the
/// file system's journal too, several times as long: no reference for an engine that makes room ahead.
///
/// # Errors
/// When the disk refuses.
pub fn allocated_file(path: &Path, bytes: usize) -> Result<std::fs::File> {
    let mut file = std::fs::File::create(path)?;
    file.write_all(&vec![0; bytes])?;
    file.sync_all()?;
    file.rewind()?;
    Ok(file)
}
