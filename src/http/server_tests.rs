//! Connections over real sockets: who is cut, when, and what a stop leaves time for.

#![expect(clippy::disallowed_methods, reason = "tests measure how long real connections last")]

use std::os::unix::fs::PermissionsExt as _;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::Extension;
use axum::routing::get;
use tokio::net::{TcpSocket, TcpStream, UnixStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::*;

struct Server {
    address: std::net::SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<usize>,
    metrics: Metrics,
}

fn quick() -> Limits {
    Limits {
        connections: 4,
        header_read: Duration::from_millis(300),
        idle: Duration::from_millis(600),
        write_stall: Duration::from_millis(300),
        header_bytes: 4096,
        drain: Duration::from_millis(800),
        ..Limits::default()
    }
}

fn router() -> Router {
    Router::new()
        .route("/", get(async |Extension(peer): Extension<Peer>| format!("{peer:?}")))
        .route("/slow", get(async || tokio::time::sleep(Duration::from_millis(400)).await))
        .route("/never", get(async || tokio::time::sleep(Duration::from_secs(60)).await))
        .route("/stream", get(async || Body::new(NeverEnds)))
        .route("/large", get(async || vec![b'x'; 64 << 20]))
}

/// A body that begins and never ends.
struct NeverEnds;

impl http_body::Body for NeverEnds {
    type Data = bytes::Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<bytes::Bytes>, Infallible>>> {
        Poll::Pending
    }
}

async fn start(limits: Limits) -> Server {
    let listener = Listener::Tcp(TcpListener::bind("127.0.0.1:0").await.expect("a port"));
    let address = listener.local_addr().expect("an address");
    let (stop, stopped) = oneshot::channel();
    let metrics = Metrics::new();
    let stopped = async move {
        stopped.await.ok();
    };
    let task = tokio::spawn(serve(listener, router(), Arc::new(limits), metrics.clone(), stopped));
    Server { address, stop, task, metrics }
}

impl Server {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("the server accepts")
    }

    /// A connection from another address of this machine.
    async fn connect_from(&self, from: &str) -> TcpStream {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind(format!("{from}:0").parse().expect("an address")).expect("an address of this machine");
        socket.connect(self.address).await.expect("the server accepts")
    }

    /// A connection that has sent a request for this path.
    async fn asked(&self, path: &str) -> TcpStream {
        let mut stream = self.connect().await;
        send(&mut stream, &format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n")).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        stream
    }

    /// Asks it to stop; gives how many connections were cut and after how long.
    async fn stop(self) -> (usize, Duration) {
        let started = Instant::now();
        self.stop.send(()).expect("it runs");
        (self.task.await.expect("no panic"), started.elapsed())
    }
}

async fn send(stream: &mut (impl AsyncWrite + Unpin), text: &str) {
    stream.write_all(text.as_bytes()).await.expect("the server reads");
}

/// What comes until the server closes, within 5 s.
async fn rest(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut bytes = Vec::new();
    let read = timeout(Duration::from_secs(5), stream.read_to_end(&mut bytes)).await;
    assert!(read.is_ok(), "the server does not close; so far {}", String::from_utf8_lossy(&bytes));
    String::from_utf8(bytes).expect("ASCII")
}

async fn one_answer(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut text = String::new();
    let mut buffer = [0; 4096];
    while !text.contains("\r\n\r\n") {
        let count =
            timeout(Duration::from_secs(5), stream.read(&mut buffer)).await.expect("in time").expect("bytes");
        assert!(count > 0, "closed after {text}");
        text.push_str(std::str::from_utf8(&buffer[..count]).expect("ASCII"));
    }
    text
}

const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";

#[tokio::test]
async fn a_connection_serves_many_requests_and_closes_when_idle() {
    let server = start(quick()).await;
    let mut stream = server.connect().await;
    for _ in 0..3 {
        send(&mut stream, GET).await;
        assert!(one_answer(&mut stream).await.starts_with("HTTP/1.1 200"));
        // Longer than a header may take: what is between two requests is idle time.
        tokio::time::sleep(Duration::from_millis(400)).await;
    }
    let started = Instant::now();
    assert_eq!(rest(&mut stream).await, "");
    assert!(started.elapsed() < Duration::from_millis(500), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_client_that_sends_its_header_slowly_is_cut() {
    let server = start(quick()).await;
    let mut stream = server.connect().await;
    let started = Instant::now();
    for piece in ["GET / HT", "TP/1.1\r\n", "host: a\r\n", "a: b\r\n", "c: d\r\n", "e: f\r\n", "g: h\r\n"] {
        if stream.write_all(piece.as_bytes()).await.is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let mut bytes = Vec::new();
    timeout(Duration::from_secs(5), stream.read_to_end(&mut bytes)).await.expect("it is closed").ok();
    assert!(bytes.is_empty() && started.elapsed() < Duration::from_millis(1500));
    // A slow second request is cut as well.
    let mut stream = server.connect().await;
    send(&mut stream, GET).await;
    one_answer(&mut stream).await;
    send(&mut stream, "GET / HT").await;
    let started = Instant::now();
    assert_eq!(rest(&mut stream).await, "");
    assert!(started.elapsed() < Duration::from_millis(550), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_client_that_sends_nothing_is_cut() {
    let server = start(quick()).await;
    let started = Instant::now();
    assert_eq!(rest(&mut server.connect().await).await, "");
    assert!((250..1500).contains(&started.elapsed().as_millis()));
}

#[tokio::test]
async fn a_slow_handler_is_not_cut() {
    let server = start(quick()).await;
    let mut stream = server.connect().await;
    send(&mut stream, "GET /slow HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert!(one_answer(&mut stream).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_client_that_reads_nothing_is_cut() {
    let server = start(quick()).await;
    let mut stream = server.connect().await;
    send(&mut stream, "GET /large HTTP/1.1\r\nhost: a\r\n\r\n").await;
    tokio::time::sleep(Duration::from_millis(1000)).await;
    let mut bytes = Vec::new();
    timeout(Duration::from_secs(5), stream.read_to_end(&mut bytes)).await.expect("it is closed").ok();
    assert!(bytes.len() < 64 << 20, "{} bytes", bytes.len());
}

#[tokio::test]
async fn too_large_a_header_is_431() {
    let server = start(quick()).await;
    let mut stream = server.connect().await;
    send(&mut stream, &format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "a".repeat(5000))).await;
    let answer = rest(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 431") && answer.contains("header_too_large"), "{answer}");
}

#[tokio::test]
async fn what_is_not_http_is_a_problem_also_after_other_requests() {
    let server = start(quick()).await;
    for before in ["", GET, "GET /slow HTTP/1.1\r\nhost: a\r\n\r\n"] {
        for apart in [false, true] {
            let mut stream = server.connect().await;
            if apart && !before.is_empty() {
                send(&mut stream, before).await;
                assert!(one_answer(&mut stream).await.starts_with("HTTP/1.1 200"));
                send(&mut stream, "NOT\r\n\r\n").await;
            } else {
                send(&mut stream, &format!("{before}NOT\r\n\r\n")).await;
            }
            let answer = rest(&mut stream).await;
            let last = answer.rsplit("HTTP/1.1 ").next().expect("an answer");
            assert!(last.starts_with("400") && last.contains("malformed_request"), "{answer}");
            assert_eq!(
                answer.matches("HTTP/1.1 200").count(),
                usize::from(!apart && !before.is_empty()),
                "{answer}"
            );
        }
    }
}

#[tokio::test]
async fn a_connection_too_many_is_told_so() {
    let server = start(quick()).await;
    let mut streams = Vec::new();
    // A handler at work, and an answer that goes on, are requests.
    for path in ["/never", "/never", "/stream", "/stream"] {
        streams.push(server.asked(path).await);
    }
    let mut further = server.connect().await;
    send(&mut further, GET).await;
    let answer = rest(&mut further).await;
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("retry-after: 1\r\n"), "{answer}");
    let body = answer.split_once("\r\n\r\n").expect("a body").1;
    assert!(answer.contains(&format!("content-length: {}\r\n", body.len())), "{answer}");
    assert!(serde_json::from_str::<serde_json::Value>(body).is_ok());
    assert!(server.metrics.encode().contains("settled_connections_refused_total 1\n"));
    drop(streams);
    tokio::time::sleep(Duration::from_millis(100)).await;
    let mut stream = server.connect().await;
    send(&mut stream, GET).await;
    assert!(one_answer(&mut stream).await.contains("127.0.0.1"));
}

#[tokio::test]
async fn the_connection_that_is_idle_the_longest_gives_way() {
    let server = start(quick()).await;
    let mut idle = Vec::new();
    for _ in 0..3 {
        let mut stream = server.asked("/").await;
        one_answer(&mut stream).await;
        idle.push(stream);
    }
    let mut at_work = server.asked("/slow").await;
    // The first is used again, so the second is idle the longest.
    send(&mut idle[0], GET).await;
    one_answer(&mut idle[0]).await;
    let mut further = server.asked("/").await;
    one_answer(&mut further).await;
    assert_eq!(rest(&mut idle[1]).await, "");
    assert!(server.metrics.encode().contains("settled_connections_gave_way_total 1\n"));
    for stream in [&mut idle[0], &mut further] {
        send(stream, GET).await;
        one_answer(stream).await;
    }
    assert!(one_answer(&mut at_work).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_header_that_does_not_come_gives_way() {
    let limits = Limits { header_read: Duration::from_secs(60), idle: Duration::from_secs(60), ..quick() };
    let server = start(limits).await;
    let mut slow = Vec::new();
    for begun in ["", "GET / HT", "GET / HTTP/1.1\r\nhost: a\r\n", "GET / HTTP/1.1\r\nhost: a\r\n\r\nGET / H"]
    {
        let mut stream = server.connect().await;
        send(&mut stream, begun).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        slow.push(stream);
    }
    one_answer(&mut slow[3]).await;
    let mut further = Vec::new();
    for stream in &mut slow {
        let mut next = server.asked("/").await;
        one_answer(&mut next).await;
        further.push(next);
        assert_eq!(rest(stream).await, "");
    }
}

#[tokio::test]
async fn one_network_does_not_take_all_connections() {
    let limits = Limits { connections_per_network: 2, ..quick() };
    let server = start(limits.clone()).await;
    let ask = async |server: &Server, from: &str, path: &str| {
        let mut stream = server.connect_from(from).await;
        send(&mut stream, &format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n")).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        stream
    };
    let mut idle = ask(&server, "127.0.1.1", "/").await;
    one_answer(&mut idle).await;
    let _at_work = ask(&server, "127.0.1.2", "/never").await;
    // Within a network it is its own idle connection that gives way, and then none is left.
    let _at_work = ask(&server, "127.0.1.3", "/never").await;
    assert_eq!(rest(&mut idle).await, "");
    let refused = rest(&mut ask(&server, "127.0.1.4", "/").await).await;
    assert!(refused.starts_with("HTTP/1.1 503"), "{refused}");
    assert!(one_answer(&mut ask(&server, "127.0.2.1", "/").await).await.starts_with("HTTP/1.1 200"));

    // Behind a proxy stand many.
    let proxies = vec!["127.0.1.0/24".parse().expect("a network")];
    let server = start(Limits { proxies, ..limits }).await;
    let mut open = Vec::new();
    for from in ["127.0.1.1", "127.0.1.2"] {
        open.push(ask(&server, from, "/never").await);
    }
    assert!(one_answer(&mut ask(&server, "127.0.1.3", "/").await).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_stop_lets_requests_in_flight_end() {
    let server = start(quick()).await;
    let address = server.address;
    let mut idle = server.connect().await;
    send(&mut idle, GET).await;
    one_answer(&mut idle).await;
    let mut stream = server.connect().await;
    send(&mut stream, "GET /slow HTTP/1.1\r\nhost: a\r\n\r\n").await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let stopping = tokio::spawn(server.stop());
    assert!(rest(&mut stream).await.starts_with("HTTP/1.1 200"));
    assert_eq!(rest(&mut idle).await, "");
    let (cut, took) = stopping.await.expect("no panic");
    assert!(cut == 0 && took < Duration::from_millis(700), "{cut} {took:?}");
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_stop_does_not_wait_for_ever() {
    let server = start(quick()).await;
    let mut stream = server.connect().await;
    send(&mut stream, "GET /never HTTP/1.1\r\nhost: a\r\n\r\n").await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let (cut, took) = server.stop().await;
    assert!(cut == 1 && (800..1500).contains(&took.as_millis()), "{cut} {took:?}");
}

#[tokio::test]
async fn the_operators_socket_is_private_and_a_stale_one_is_replaced() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("operator.sock");
    drop(bind_unix(&path).expect("a socket"));
    assert!(path.exists(), "the stale file is still there");
    let listener = bind_unix(&path).expect("the stale file is replaced");
    assert_eq!(std::fs::metadata(&path).expect("a file").permissions().mode() & 0o777, 0o600);
    assert_eq!(bind_unix(&path).err().map(|error| error.kind()), Some(io::ErrorKind::AddrInUse));

    let (stop, stopped) = oneshot::channel::<()>();
    let stopped = async move {
        stopped.await.ok();
    };
    let task = tokio::spawn(serve(listener, router(), Arc::new(quick()), Metrics::new(), stopped));
    let mut stream = UnixStream::connect(&path).await.expect("it listens");
    send(&mut stream, GET).await;
    assert!(one_answer(&mut stream).await.ends_with("Unix"));
    stop.send(()).expect("it runs");
    assert_eq!(task.await.expect("no panic"), 0);
}

#[tokio::test]
async fn a_file_that_is_no_socket_is_left_alone() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("operator.sock");
    std::fs::write(&path, "mine").expect("a file");
    assert!(bind_unix(&path).is_err());
    assert_eq!(std::fs::read_to_string(&path).ok().as_deref(), Some("mine"));
}
