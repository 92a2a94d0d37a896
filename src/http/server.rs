//! Connections: accepting them, serving HTTP/1.1 on them within the limits, and ending them at a stop.
//!
//! One loop for TCP and for the operator's socket. What a request means is the router's.

use std::io;
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use rustix::fs::Mode;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tower::ServiceExt as _;

use crate::http::client::Peer;
use crate::http::limits::Limits;
use crate::http::timed::{Phase, Timed};
use crate::metrics::Metrics;

/// Where connections come from.
#[derive(Debug)]
pub enum Listener {
    /// A TCP port.
    Tcp(TcpListener),
    /// A socket file.
    Unix(UnixListener),
}

/// How long accepting pauses when the process has no file descriptor left, instead of spinning.
const BREATHER: Duration = Duration::from_millis(100);

/// How many refused connections at once are closed politely, and for how long each: closing while the
/// client still sends would reset the connection, and the 503 would be lost.
const FAREWELLS: usize = 64;
const FAREWELL: Duration = Duration::from_secs(1);

const TOO_MANY: &str = "{\"type\":\"urn:settled:overloaded\",\"title\":\"Service Unavailable\",\"status\":503,\
    \"detail\":\"too many connections are open; try again later\",\"code\":\"overloaded\"}";

/// Binds a socket file of mode 0600. A file left behind by a process that ended is replaced.
///
/// # Errors
/// `AddrInUse` where a process listens on it or where it is no socket; those of the system.
pub fn bind_unix(path: &Path) -> io::Result<Listener> {
    match std::fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => return Err(io::ErrorKind::AddrInUse.into()),
        Ok(_) => match std::os::unix::net::UnixStream::connect(path) {
            Ok(_) => return Err(io::ErrorKind::AddrInUse.into()),
            Err(_) => std::fs::remove_file(path)?,
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    // Before binding: the file takes the mode of the socket, so at no time may others connect.
    rustix::fs::fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    rustix::net::bind(&socket, &SocketAddrUnix::new(path)?)?;
    rustix::net::listen(&socket, 128)?;
    UnixListener::from_std(socket.into()).map(Listener::Unix)
}

/// Serves `router` on `listener` until `stop`, then lets what is in flight end, for [`Limits::drain`] at
/// most. Each request has its [`Peer`] as an extension. Gives the number of connections that were cut off.
pub async fn serve(
    listener: Listener,
    router: Router,
    limits: Arc<Limits>,
    metrics: Metrics,
    stop: impl Future<Output = ()>,
) -> usize {
    let graceful = GracefulShutdown::new();
    let permits = Arc::new(Semaphore::new(limits.connections));
    let farewells = Arc::new(Semaphore::new(FAREWELLS));
    let mut tasks = JoinSet::new();
    let mut stop = std::pin::pin!(stop);
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut stop => break,
            Some(_) = tasks.join_next(), if !tasks.is_empty() => continue,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(target: "settled::http", %error, "cannot accept a connection");
                tokio::time::sleep(BREATHER).await;
                continue;
            }
        };
        let Ok(permit) = Arc::clone(&permits).try_acquire_owned() else {
            metrics.connection_refused();
            if let Ok(farewell) = Arc::clone(&farewells).try_acquire_owned() {
                tasks.spawn(async move {
                    refuse(stream).await;
                    drop(farewell);
                });
            }
            continue;
        };
        let open = metrics.connection();
        let served = connection(stream, peer, router.clone(), &limits, graceful.watcher());
        tasks.spawn(async move {
            served.await;
            drop((open, permit));
        });
    }
    drop(listener);
    let _timed_out = tokio::time::timeout(limits.drain, graceful.shutdown()).await;
    let mut cut = 0;
    while let Some(ended) = tasks.try_join_next() {
        drop(ended);
    }
    cut += tasks.len();
    tasks.shutdown().await;
    cut
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

impl Listener {
    async fn accept(&self) -> io::Result<(Box<dyn Stream>, Peer)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                // Answers are written whole, so there is nothing to gather; waiting would cost 40 ms.
                stream.set_nodelay(true)?;
                Ok((Box::new(stream), Peer::Tcp(peer)))
            }
            Self::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                Ok((Box::new(stream), Peer::Unix))
            }
        }
    }

    /// The address of a TCP listener, with the port that the system chose.
    ///
    /// # Errors
    /// Those of the system; `Unsupported` for a socket file.
    pub fn local_addr(&self) -> io::Result<std::net::SocketAddr> {
        match self {
            Self::Tcp(listener) => listener.local_addr(),
            Self::Unix(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}

fn connection(
    stream: Box<dyn Stream>,
    peer: Peer,
    router: Router,
    limits: &Limits,
    watcher: Watcher,
) -> impl Future<Output = ()> + use<> {
    let phase = Phase::default();
    let (begun, answered) = (phase.clone(), phase.clone());
    let service = router
        .map_request(move |mut request: Request<Incoming>| {
            begun.answering();
            request.extensions_mut().insert(peer);
            request.map(Body::new)
        })
        .map_response(move |response| {
            answered.answered();
            response
        });
    let io = TokioIo::new(Timed::new(stream, phase, limits));
    let connection = http1::Builder::new()
        // `Timed` has the timeouts: hyper's one makes no difference between waiting and reading.
        .header_read_timeout(None)
        .max_header_size(limits.header_bytes)
        .serve_connection(io, TowerToHyperService::new(service));
    let connection = watcher.watch(connection);
    async move {
        if let Err(error) = connection.await {
            // A client that went away or was too slow: nobody's fault, so not a warning.
            tracing::debug!(target: "settled::http", %error, "a connection ended early");
        }
    }
}

/// Answers 503 without reading the request.
async fn refuse(mut stream: Box<dyn Stream>) {
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/problem+json\r\n\
         cache-control: no-store\r\nretry-after: 1\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{TOO_MANY}",
        TOO_MANY.len(),
    );
    let farewell = async {
        stream.write_all(answer.as_bytes()).await?;
        stream.shutdown().await?;
        let mut rest = [0; 1024];
        while stream.read(&mut rest).await? > 0 {}
        io::Result::Ok(())
    };
    let _gone_or_slow = tokio::time::timeout(FAREWELL, farewell).await;
}

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;
