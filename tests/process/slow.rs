//! Clients that hold what they do not use: a good client does not notice them.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpSocket;
use tokio::task::JoinSet;

use crate::process::{Login, Server, Start};
use crate::unmoved::Pairs;

const SLOW: usize = 2_000;
const EVERY: Duration = Duration::from_secs(3);
const REQUESTS: usize = 1_000;

/// A connection that sends a byte of a header every three seconds, and comes again when it is cut. They come one after
/// the other over those three seconds: all at once every three seconds would measure the crowd's own processor time.
async fn slow_client(server: SocketAddr, number: usize, open: Arc<AtomicUsize>) {
    tokio::time::sleep(EVERY * u32::try_from(number).unwrap() / u32::try_from(SLOW).unwrap()).await;
    loop {
        let socket = TcpSocket::new_v4().unwrap();
        // One network, as of one attacker; not that of the good client.
        let from: SocketAddr = format!("127.0.9.{}:0", 1 + number % 250).parse().unwrap();
        socket.bind(from).unwrap();
        if let Ok(mut stream) = socket.connect(server).await {
            open.fetch_add(1, Ordering::Relaxed);
            let mut buffer = [0; 64];
            for byte in b"GET /v1/general HTTP/1.1\r\nx-slow: ".iter().chain(std::iter::repeat(&b'a')) {
                if stream.write_all(&[*byte]).await.is_err() {
                    break;
                }
                let closed = tokio::time::timeout(EVERY, stream.read(&mut buffer)).await;
                if matches!(closed, Ok(Ok(0) | Err(_))) {
                    break;
                }
            }
            open.fetch_sub(1, Ordering::Relaxed);
        }
        tokio::time::sleep(EVERY).await;
    }
}

/// The time within which 99 % of a good client's requests were answered, each on a connection of its own.
async fn p99(server: &Server, login: &Login) -> Duration {
    let client = settled::client::http::plain().pool_max_idle_per_host(0).build().unwrap();
    let url = format!("{}/v1/general", server.url);
    let mut took = Vec::new();
    for _ in 0..REQUESTS {
        let began = Instant::now();
        let answer = client.get(&url).bearer_auth(&login.token).send().await.expect("the server answers");
        assert_eq!(answer.status(), 200);
        answer.bytes().await.expect("the whole answer comes");
        took.push(began.elapsed());
    }
    took.sort();
    took[REQUESTS * 99 / 100]
}

#[test]
fn more_files_than_the_system_allows_by_itself_may_be_open() {
    let dir = tempfile::tempdir().unwrap();
    let serve = Start::on(dir.path().join("data")).command();
    let mut command = Command::new("sh");
    command
        .args(["-c", "ulimit -Sn 256; exec \"$0\" \"$@\""])
        .arg(serve.get_program())
        .args(serve.get_args());
    let mut child = command.current_dir("/").stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains(" serves ")));
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", child.id())).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    let files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let words: Vec<_> = files.split_whitespace().collect();
    assert_eq!(words[3], words[4], "{files}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_slow_connections_do_not_slow_a_good_client() {
    let dir = tempfile::tempdir().unwrap();
    let server = Start::on(dir.path().join("data")).serve();
    let login = server.set_up().await;
    let address: SocketAddr = server.url.strip_prefix("http://").unwrap().parse().unwrap();
    p99(&server, &login).await;

    let open = Arc::new(AtomicUsize::new(0));
    let mut slow = JoinSet::new();
    let mut pairs = Pairs::of("2,000 slow connections");
    while pairs.go_on() {
        let without = p99(&server, &login).await;
        for number in 0..SLOW {
            slow.spawn(slow_client(address, number, Arc::clone(&open)));
        }
        tokio::time::sleep(Duration::from_secs(4)).await;
        assert!(open.load(Ordering::Relaxed) > 200, "the attack has not begun");
        let with = p99(&server, &login).await;
        pairs.add(without, with);
        let metrics = server.operator("/metrics");
        assert!(!metrics.contains("settled_connections_gave_way_total 0\n"), "{metrics}");
        slow.shutdown().await;
        open.store(0, Ordering::Relaxed);
    }
}
