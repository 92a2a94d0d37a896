//! What rows are held against beside the server itself: a route that does nothing, and the bare disk.

use std::io::{Seek as _, Write as _};
use std::net::SocketAddr;
use std::path::Path;

use anyhow::Result;
use serde_json::Value;

use super::{scratch, seconds};

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

    /// Where it listens; what is posted to `/noop/` and a number is answered.
    pub fn base(&self) -> String {
        format!("http://{}", self.address)
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
