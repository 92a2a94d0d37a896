//! Connections: accepting them, serving HTTP/1.1 on them within the limits, and ending them at a stop.
//!
//! One loop for TCP and for the operator's socket. What a request means is the router's.

use std::convert::Infallible;
use std::io;
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use rustix::fs::Mode;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tower::{Service, ServiceExt as _};

use crate::http::client::Peer;
use crate::http::connections::Connections;
use crate::http::limits::Limits;
use crate::http::problem::Problem;
use crate::http::raw_answer;
use crate::http::timed::{Phase, Timed, Turns};
use crate::http::tls::Tls;
use crate::metrics::Metrics;

/// Where connections come from.
#[derive(Debug)]
pub enum Listener {
    /// A TCP port.
    Tcp(TcpListener),
    /// A TCP port on which TLS is spoken.
    Tls(TcpListener, Tls),
    /// A socket file.
    Unix(UnixListener),
}

/// How long accepting pauses when the process has no file descriptor left, instead of spinning.
const BREATHER: Duration = Duration::from_millis(100);

/// How many refused connections at once are closed politely, and for how long each: closing while the
/// client still sends would reset the connection, and the 503 would be lost.
const FAREWELLS: usize = 64;
const FAREWELL: Duration = Duration::from_secs(1);

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
    let mut connections = Connections::new(Arc::clone(&limits));
    let turns = Turns::default();
    let farewells = Arc::new(Semaphore::new(FAREWELLS));
    let mut tasks = JoinSet::new();
    let mut stop = std::pin::pin!(stop);
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut stop => break,
            Some(ended) = tasks.join_next_with_id(), if !tasks.is_empty() => {
                connections.ended(ended.map_or_else(|panicked| panicked.id(), |(id, ())| id));
                continue;
            }
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
        let Some(place) = connections.place(peer) else {
            metrics.connection_refused();
            if let Ok(farewell) = Arc::clone(&farewells).try_acquire_owned() {
                tasks.spawn(async move {
                    let _gone_or_slow = timeout(FAREWELL, refuse(stream)).await;
                    drop(farewell);
                });
            }
            continue;
        };
        if place.given {
            metrics.connection_gave_way();
        }
        let (open, phase, leave) = (metrics.connection(), Phase::new(&turns), Arc::new(Notify::new()));
        let served = connection(stream, peer, router.clone(), &limits, phase.clone(), Arc::clone(&leave));
        let timed_out = metrics.clone();
        let task = tasks.spawn(async move {
            if served.await == Ended::TimedOut {
                timed_out.connection_timed_out();
            }
            drop(open);
        });
        connections.opened(task.id(), place, phase, leave);
    }
    drop(listener);
    connections.leave();
    let all_left = async { while tasks.join_next().await.is_some() {} };
    let _timed_out = timeout(limits.drain, all_left).await;
    let cut = tasks.len();
    tasks.shutdown().await;
    cut
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// A connection just accepted.
enum Accepted {
    Plain(Box<dyn Stream>),
    /// Before the handshake, which the loop that accepts does not wait for.
    Tls(TcpStream, Tls),
}

impl Accepted {
    async fn open(self) -> io::Result<Box<dyn Stream>> {
        match self {
            Self::Plain(stream) => Ok(stream),
            Self::Tls(stream, tls) => Ok(Box::new(tls.accept(stream).await?)),
        }
    }
}

impl Listener {
    async fn accept(&self) -> io::Result<(Accepted, Peer)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = accept_tcp(listener).await?;
                Ok((Accepted::Plain(Box::new(stream)), peer))
            }
            Self::Tls(listener, tls) => {
                let (stream, peer) = accept_tcp(listener).await?;
                Ok((Accepted::Tls(stream, tls.clone()), peer))
            }
            Self::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                Ok((Accepted::Plain(Box::new(stream)), Peer::Unix))
            }
        }
    }

    /// The address of a TCP listener, with the port that the system chose.
    ///
    /// # Errors
    /// Those of the system; `Unsupported` for a socket file.
    pub fn local_addr(&self) -> io::Result<std::net::SocketAddr> {
        match self {
            Self::Tcp(listener) | Self::Tls(listener, _) => listener.local_addr(),
            Self::Unix(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}

async fn accept_tcp(listener: &TcpListener) -> io::Result<(TcpStream, Peer)> {
    let (stream, peer) = listener.accept().await?;
    // Answers are written whole, so there is nothing to gather; waiting would cost 40 ms.
    stream.set_nodelay(true)?;
    Ok((stream, Peer::Tcp(peer)))
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    /// Its client sent nothing of a request, or took nothing of an answer, for too long.
    TimedOut,
    Otherwise,
}

/// Whether it was [`Timed`] that ended a connection.
fn is_late(error: &hyper::Error) -> bool {
    let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<io::Error>());
    cause.is_some_and(|cause| cause.kind() == io::ErrorKind::TimedOut)
}

/// Serves a connection until it ends or is told to leave.
fn connection(
    stream: Accepted,
    peer: Peer,
    router: Router,
    limits: &Arc<Limits>,
    phase: Phase,
    leave: Arc<Notify>,
) -> impl Future<Output = Ended> + use<> {
    let limits = Arc::clone(limits);
    async move {
        let stream = tokio::select! {
            opened = timeout(limits.header_read, stream.open()) => opened,
            () = leave.notified() => return Ended::Otherwise,
        };
        let stream = match stream {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                tracing::debug!(target: "settled::http", %error, "a handshake failed");
                return Ended::Otherwise;
            }
            Err(_late) => return Ended::TimedOut,
        };
        let io = TokioIo::new(Timed::new(stream, phase.clone(), &limits));
        let connection = http1::Builder::new()
            // `Timed` has the timeouts: hyper's one makes no difference between waiting and reading.
            .header_read_timeout(None)
            .max_header_size(limits.header_bytes)
            .max_buf_size(limits.buffer_bytes)
            .serve_connection(io, TowerToHyperService::new(service(router, peer, phase.clone())));
        let mut connection = std::pin::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = leave.notified() => {
                connection.as_mut().graceful_shutdown();
                if phase.free_since().is_some() {
                    // An idle one closes when it is polled; one whose header is half there is dropped.
                    timeout(Duration::ZERO, connection.as_mut()).await.unwrap_or(Ok(()))
                } else {
                    connection.await
                }
            }
        };
        if let Err(error) = ended {
            // A client that went away or was too slow: nobody's fault, so not a warning.
            tracing::debug!(target: "settled::http", %error, "a connection ended early");
            if is_late(&error) {
                return Ended::TimedOut;
            }
        }
        Ended::Otherwise
    }
}

/// The router, which tells the connection's phase and learns its peer.
fn service(
    router: Router,
    peer: Peer,
    phase: Phase,
) -> impl Service<Request<Incoming>, Response = Response<Body>, Error = Infallible, Future: Send> + Clone + Send
{
    let begun = phase.clone();
    router
        .map_request(move |mut request: Request<Incoming>| {
            begun.answering();
            request.extensions_mut().insert(peer);
            request.map(Body::new)
        })
        .map_response(move |response: Response<Body>| {
            phase.answered();
            if response.body().size_hint().exact().is_some() {
                return response;
            }
            let streaming = phase.streaming();
            response.map(|body| {
                Body::new(body.map_frame(move |frame| {
                    let _until_the_end = &streaming;
                    frame
                }))
            })
        })
}

/// Answers 503 without reading the request.
async fn refuse(stream: Accepted) -> io::Result<()> {
    let mut stream = stream.open().await?;
    let answer = raw_answer::of(Problem::unavailable("overloaded", 1));
    stream.write_all(&answer).await?;
    stream.shutdown().await?;
    let mut rest = [0; 1024];
    while stream.read(&mut rest).await? > 0 {}
    Ok(())
}

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;
