//! OpenBao: one node of raft storage, unsealed, its audit log in a file, and KV version 2.

use std::cell::OnceCell;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::child::{Running, free_address};
use crate::bench::load::{Body, Request, load};
use crate::bench::write::VALUE_BYTES;
use crate::bench::{Length, Peer, scratch};
use crate::install;

const PATIENCE: Duration = Duration::from_secs(60);
/// How often the node is asked whether it leads itself by now.
const TRIES: u32 = 100;

/// The one node, started when it is first asked for.
#[derive(Default)]
pub(super) struct Shared {
    node: OnceCell<Node>,
}

struct Node {
    running: Running,
    token: String,
}

impl Shared {
    fn node(&self) -> Result<&Node> {
        if let Some(node) = self.node.get() {
            return Ok(node);
        }
        let node = Node::start()?;
        Ok(self.node.get_or_init(|| node))
    }
}

impl Node {
    fn start() -> Result<Self> {
        let dir = scratch()?;
        let (address, cluster) = (free_address()?, free_address()?);
        let raft = dir.path().join("raft");
        std::fs::create_dir(&raft)?;
        let config = dir.path().join("bao.hcl");
        std::fs::write(&config, configuration(&dir.path().display().to_string(), address, cluster))?;
        let mut server = Command::new(install::openbao()?);
        server.arg("server").arg(format!("-config={}", config.display()));
        let running = Running::start(server, address, dir)?;
        let mut node = Self { running, token: String::new() };
        node.set_up()?;
        Ok(node)
    }

    fn set_up(&mut self) -> Result<()> {
        let keys = self.send("PUT", "/v1/sys/init", &json!({ "secret_shares": 1, "secret_threshold": 1 }))?;
        self.token = keys["root_token"].as_str().context("it has a root token")?.to_owned();
        self.send("PUT", "/v1/sys/unseal", &json!({ "key": keys["keys"][0] }))?;
        let mount = json!({ "type": "kv", "options": { "version": "2" } });
        let mut mounted = self.send("POST", "/v1/sys/mounts/settings", &mount);
        for _ in 0..TRIES {
            if mounted.is_ok() {
                break;
            }
            std::thread::sleep(PATIENCE / 2 / TRIES);
            mounted = self.send("POST", "/v1/sys/mounts/settings", &mount);
        }
        mounted?;
        let value = json!({ "data": { "value": "as it was" } });
        let mut written = self.send("POST", "/v1/settings/data/SETTING_0", &value);
        for _ in 0..TRIES {
            if written.is_ok() {
                break;
            }
            // A new mount takes a moment to be made ready.
            std::thread::sleep(PATIENCE / 2 / TRIES);
            written = self.send("POST", "/v1/settings/data/SETTING_0", &value);
        }
        written?;
        Ok(())
    }

    fn send(&self, method: &str, path: &str, body: &Value) -> Result<Value> {
        let body = body.to_string();
        let mut stream = TcpStream::connect(self.running.address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        write!(
            stream,
            "{method} {path} HTTP/1.0\r\nhost: {}\r\nx-vault-token: {}\r\ncontent-length: {}\r\n\r\n{body}",
            self.running.address,
            self.token,
            body.len()
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").context("an answer has a head")?;
        let success = head.split(' ').nth(1).is_some_and(|status| status.starts_with('2'));
        ensure!(success, "{method} {path} was answered {head}\n{body}");
        Ok(serde_json::from_str(body).unwrap_or_default())
    }

    fn request(&self, method: &'static str, path: &str, body: Option<Body>) -> Request {
        Request {
            method,
            base: format!("http://{}", self.running.address),
            paths: vec![path.to_owned()],
            header: "X-Vault-Token: ",
            tokens: vec![self.token.clone()],
            headers: Vec::new(),
            body,
        }
    }
}

fn configuration(dir: &str, address: SocketAddr, cluster: SocketAddr) -> String {
    format!(
        r#"
storage "raft" {{
  path    = "{dir}/raft"
  node_id = "one"
}}
listener "tcp" {{
  address         = "{address}"
  cluster_address = "{cluster}"
  tls_disable     = true
}}
audit "file" "to-file" {{
  options {{
    file_path = "{dir}/audit.log"
  }}
}}
api_addr      = "http://{address}"
cluster_addr  = "http://{cluster}"
disable_mlock = true
"#
    )
}

const BODY: Body = Body { template: r#"{"data": {"value": "%v"}}"#, value_bytes: VALUE_BYTES };

/// Writes versions of settings.
pub(super) struct Write {
    shared: Rc<Shared>,
    connections: u32,
    length: Length,
    seed: u32,
    details: Vec<String>,
}

impl Write {
    pub(super) fn new(shared: &Rc<Shared>, connections: u32, length: Length) -> Self {
        Self { shared: Rc::clone(shared), connections, length, seed: 0, details: Vec::new() }
    }
}

impl Peer for Write {
    fn name(&self) -> &str {
        "OpenBao KV"
    }

    fn work(&mut self) -> Result<f64> {
        self.seed += 1;
        let request = self.shared.node()?.request("POST", "/v1/settings/data/SETTING_%d", Some(BODY));
        let measured = load(&request, self.connections, self.length.seconds(), self.seed)?;
        self.details.push(format!("{:.0} writes/s, {}", measured.per_second, measured.times()));
        Ok(measured.per_second)
    }

    fn details(&mut self) -> Vec<String> {
        std::mem::take(&mut self.details)
    }
}

/// Reads a setting.
pub(super) struct Read {
    shared: Rc<Shared>,
    length: Length,
    details: Vec<String>,
}

impl Read {
    pub(super) fn new(shared: &Rc<Shared>, length: Length) -> Self {
        Self { shared: Rc::clone(shared), length, details: Vec::new() }
    }
}

impl Peer for Read {
    fn name(&self) -> &str {
        "OpenBao KV"
    }

    fn work(&mut self) -> Result<f64> {
        let request = self.shared.node()?.request("GET", "/v1/settings/data/SETTING_0", None);
        let measured = load(&request, 64, self.length.seconds(), 0)?;
        self.details.push(format!("{:.0} reads/s, {}", measured.per_second, measured.times()));
        Ok(measured.per_second)
    }

    fn details(&mut self) -> Vec<String> {
        std::mem::take(&mut self.details)
    }
}
