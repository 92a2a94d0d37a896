//! HTTPS by certificate and key files: served, read again when they change, and refused where they cannot be used.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};

use crate::process::{Server, Start};

/// A certificate for `localhost` that signs itself.
struct Certificate {
    certificate: String,
    key: String,
    der: CertificateDer<'static>,
}

impl Certificate {
    fn new() -> Self {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let (certificate, der) = (made.cert.pem(), made.cert.der().clone());
        Self { certificate, key: made.signing_key.serialize_pem(), der }
    }
}

/// The two files.
struct Files {
    certificate: PathBuf,
    key: PathBuf,
}

impl Files {
    fn in_folder(folder: &Path) -> Self {
        Self { certificate: folder.join("cert.pem"), key: folder.join("key.pem") }
    }

    /// As renewals do it: a file written beside, and renamed.
    fn put(&self, pair: &Certificate) {
        for (path, text) in [(&self.certificate, &pair.certificate), (&self.key, &pair.key)] {
            let beside = path.with_extension("new");
            std::fs::write(&beside, text).unwrap();
            std::fs::rename(beside, path).unwrap();
        }
    }

    fn start(&self, folder: &Path) -> Start {
        let (certificate, key) = (self.certificate.to_str().unwrap(), self.key.to_str().unwrap());
        Start::on(folder.join("data")).with(&["--tls-cert", certificate, "--tls-key", key])
    }
}

fn address(server: &Server) -> SocketAddr {
    server.url.strip_prefix("https://").expect("it says that it serves HTTPS").parse().unwrap()
}

/// Shakes hands, trusting this certificate alone.
async fn connect(
    server: &Server,
    trusted: &Certificate,
    version: &'static SupportedProtocolVersion,
    alpn: &[&str],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.der.clone()).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    let stream = TcpStream::connect(address(server)).await?;
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

/// The status of an answer; the connection stays open.
async fn status(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> String {
    stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let mut answer = vec![0; 4096];
    let count = stream.read(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer[..count]).lines().next().unwrap_or_default().to_owned()
}

const OK: &str = "HTTP/1.1 200 OK";

/// Whether new connections are shown this certificate.
async fn shows(server: &Server, certificate: &Certificate) -> bool {
    match connect(server, certificate, &TLS13, &[]).await {
        Ok(mut stream) => status(&mut stream).await == OK,
        Err(_) => false,
    }
}

async fn eventually_shows(server: &Server, certificate: &Certificate) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !shows(server, certificate).await {
        assert!(Instant::now() < deadline, "{}", server.process.last_lines());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn https_is_served_and_nothing_else_on_that_port() {
    let folder = tempfile::tempdir().unwrap();
    let (files, pair) = (Files::in_folder(folder.path()), Certificate::new());
    files.put(&pair);
    let server = files.start(folder.path()).serve();
    for version in [&TLS12, &TLS13] {
        let mut stream = connect(&server, &pair, version, &["h2", "http/1.1"]).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
        for _ in 0..2 {
            assert_eq!(status(&mut stream).await, OK);
        }
    }
    assert!(connect(&server, &pair, &TLS13, &["h2"]).await.is_err(), "another protocol is refused");
    assert!(connect(&server, &Certificate::new(), &TLS13, &[]).await.is_err(), "the test would see another");

    let mut plain = TcpStream::connect(address(&server)).await.unwrap();
    plain.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _reset = plain.read_to_end(&mut answer).await;
    assert!(!String::from_utf8_lossy(&answer).contains("HTTP"), "{answer:?}");

    assert!(server.operator("/v1/operator/status").contains("\"ready\":true"));
    assert_eq!(server.stop().and_then(|status| status.code()), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_certificate_is_served_and_a_broken_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let (files, first) = (Files::in_folder(folder.path()), Certificate::new());
    files.put(&first);
    let server = files.start(folder.path()).serve();
    let mut before = connect(&server, &first, &TLS13, &[]).await.unwrap();
    assert_eq!(status(&mut before).await, OK);

    // Nobody tells the server.
    let second = Certificate::new();
    files.put(&second);
    eventually_shows(&server, &second).await;
    assert!(!shows(&server, &first).await);
    assert_eq!(status(&mut before).await, OK, "an open connection goes on");

    // The certificate of one, the key of another; then no certificate at all.
    let third = Certificate::new();
    let refusals = |count: u32| format!("settled_certificates_refused_total {count}\n");
    std::fs::write(&files.certificate, &third.certificate).unwrap();
    for (count, says) in [(1, "does not belong to the certificate"), (2, "holds no certificate as PEM")] {
        let deadline = Instant::now() + Duration::from_secs(30);
        // What is refused stays refused, and is counted once.
        for _ in 0..3 {
            server.process.signal(Signal::HUP);
        }
        while !server.operator("/metrics").contains(&refusals(count)) {
            assert!(Instant::now() < deadline, "{}", server.process.last_lines());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(server.process.log_lines().contains(says), "{}", server.process.last_lines());
        assert!(shows(&server, &second).await, "the one before it stays");
        std::fs::write(&files.certificate, "-----BEGIN NONSENSE-----\n").unwrap();
    }
    assert!(!server.process.log_lines().contains("BEGIN"));

    // What never ends and what never begins are no files.
    for (count, source) in [(3, "/dev/zero"), (4, "pipe")] {
        std::fs::remove_file(&files.certificate).unwrap();
        if source == "pipe" {
            let made = std::process::Command::new("mkfifo").arg(&files.certificate).status().unwrap();
            assert!(made.success());
        } else {
            std::os::unix::fs::symlink(source, &files.certificate).unwrap();
        }
        let deadline = Instant::now() + Duration::from_secs(30);
        while !server.operator("/metrics").contains(&refusals(count)) {
            assert!(Instant::now() < deadline, "{source}: {}", server.process.last_lines());
            server.process.signal(Signal::HUP);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(shows(&server, &second).await, "{source}: the one before it stays");
    }
    std::fs::remove_file(&files.certificate).unwrap();

    files.put(&third);
    server.process.signal(Signal::HUP);
    eventually_shows(&server, &third).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handshake_that_does_not_come_is_cut_and_keeps_nobody_waiting() {
    let folder = tempfile::tempdir().unwrap();
    let (files, pair) = (Files::in_folder(folder.path()), Certificate::new());
    files.put(&pair);
    let server = files.start(folder.path()).with(&["--header-timeout", "2s"]).serve();
    let mut slow = TcpStream::connect(address(&server)).await.unwrap();
    let begun = Instant::now();
    // The beginning of a client's first record, a byte at a time.
    for byte in [0x16, 0x03, 0x01, 0x02] {
        slow.write_all(&[byte]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(shows(&server, &pair).await);
    let mut answer = Vec::new();
    let _reset = tokio::time::timeout(Duration::from_secs(20), slow.read_to_end(&mut answer)).await;
    let took = begun.elapsed();
    assert!(
        answer.is_empty() && took > Duration::from_millis(1500) && took < Duration::from_secs(10),
        "{took:?}"
    );
}

#[test]
fn files_that_cannot_be_served_stop_the_start_with_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let files = Files::in_folder(folder.path());
    let (one, other) = (Certificate::new(), Certificate::new());
    let refused = |start: Start, says: &str| {
        let ended = start.refused();
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.stderr.contains(says), "{says}: {}", ended.stderr);
        assert!(!ended.stderr.contains("PRIVATE KEY"), "{}", ended.stderr);
        assert!(!start.dir.exists(), "nothing was made: {says}");
    };
    let start = || files.start(folder.path());
    refused(start(), "could not read");
    files.put(&one);
    std::fs::write(&files.key, &other.key).unwrap();
    refused(start(), "does not belong to the certificate");
    std::fs::write(&files.key, "not a key\n").unwrap();
    refused(start(), "key.pem holds no private key as PEM");
    std::fs::write(&files.key, &one.key).unwrap();
    std::fs::write(&files.certificate, &one.key).unwrap();
    refused(start(), "cert.pem holds no certificate as PEM");
    std::fs::write(&files.certificate, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
        .unwrap();
    refused(start(), "cannot be served");
    let alone = Start::on(folder.path().join("data"));
    refused(alone.clone().with(&["--tls-key", "key.pem"]), "give tls-cert and tls-key together");
    refused(alone.env("SETTLED_TLS_CERT", "cert.pem"), "give tls-cert and tls-key together");
}
