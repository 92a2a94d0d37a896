//! The way to a provider before anything is said: TLS with who proves to be the host and with who does not, and each step
//! that may never end.

use std::collections::BTreeMap;
use std::future::{pending, ready};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};

use crate::clock::{Clock, Hands};
use crate::outgoing::connect::{Boxed, Connect, Resolve, Stream};
use crate::outgoing::endpoint::Endpoint;
use crate::outgoing::exchange::{Answer, Form};
use crate::outgoing::{Guard, LONGEST, Outgoing, OutgoingError};

const HOST: &str = "idp.example.com";
const FIRST: &str = "8.8.8.8";
const SECOND: &str = "1.1.1.1";

/// What a name leads to; nobody says where it is `None`.
struct Names(Option<Vec<IpAddr>>);

impl Resolve for Names {
    fn resolve<'a>(&'a self, _name: &'a str) -> Boxed<'a, Vec<IpAddr>> {
        match self.0.clone() {
            Some(addresses) => Box::pin(ready(addresses)),
            None => Box::pin(pending()),
        }
    }
}

/// Who is at an address.
enum There {
    /// Somebody with a certificate.
    Certified(TlsAcceptor),
    /// Somebody who listens, and says nothing.
    Mute,
    /// Nobody answers.
    Silent,
}

/// All there are, and what they heard in the clear.
#[derive(Default)]
struct World {
    there: BTreeMap<IpAddr, There>,
    heard: Arc<Mutex<Vec<u8>>>,
    open: Mutex<Vec<DuplexStream>>,
}

impl Connect for World {
    fn connect(&self, address: SocketAddr) -> Boxed<'_, io::Result<Box<dyn Stream>>> {
        let (ours, theirs) = duplex(64 << 10);
        match self.there.get(&address.ip()) {
            Some(There::Certified(acceptor)) => {
                tokio::spawn(serve(acceptor.clone(), theirs, Arc::clone(&self.heard)));
            }
            Some(There::Mute) => self.open.lock().unwrap().push(theirs),
            Some(There::Silent) => return Box::pin(pending()),
            None => return Box::pin(ready(Err(io::ErrorKind::ConnectionRefused.into()))),
        }
        Box::pin(ready(Ok(Box::new(ours) as Box<dyn Stream>)))
    }
}

/// Answers one request, if the other side goes as far as to ask.
async fn serve(acceptor: TlsAcceptor, stream: DuplexStream, heard: Arc<Mutex<Vec<u8>>>) {
    let Ok(mut stream) = acceptor.accept(stream).await else { return };
    let mut read = vec![0; 16 << 10];
    let mut length = 0;
    while !read[..length].ends_with(b"code=secret") {
        match stream.read(&mut read[length..]).await {
            Ok(0) | Err(_) => break,
            Ok(more) => length += more,
        }
    }
    heard.lock().unwrap().extend_from_slice(&read[..length]);
    let _told = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").await;
    let _ended = stream.shutdown().await;
}

/// A certificate for a name, and whoever has its key.
fn certified(name: &str) -> (CertificateDer<'static>, There) {
    let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
    let certificate = made.cert.der().clone();
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()).into();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    (certificate, There::Certified(TlsAcceptor::from(Arc::new(config))))
}

fn trusting(certificates: impl IntoIterator<Item = CertificateDer<'static>>) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        roots.add(certificate).unwrap();
    }
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

struct Asking {
    outgoing: Outgoing,
    hands: Hands,
    heard: Arc<Mutex<Vec<u8>>>,
}

impl Asking {
    fn of(names: Option<&[&str]>, there: Vec<(&str, There)>, tls: ClientConfig) -> Self {
        let (clock, hands) = Clock::manual(crate::given::now());
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let names = Names(names.map(|names| names.iter().map(|name| address(name)).collect()));
        let there = there.into_iter().map(|(at, there)| (address(at), there)).collect();
        let world = World { there, ..World::default() };
        let heard = Arc::clone(&world.heard);
        let outgoing = Outgoing::through(Guard::Public, clock, Arc::new(names), Arc::new(world));
        Self { outgoing: outgoing.trusting(tls), hands, heard }
    }

    async fn post(&self) -> Result<Answer, OutgoingError> {
        let endpoint = Endpoint::parse(&format!("https://{HOST}/token"), Guard::Public).unwrap();
        self.outgoing.post(&endpoint, Form::default().field("code", "secret")).await
    }

    /// What comes of it where the time runs out at a step, and that it waits no longer.
    async fn late(self) -> OutgoingError {
        let asking = Arc::new(self);
        let posting = tokio::spawn({
            let asking = Arc::clone(&asking);
            async move { asking.post().await.unwrap_err() }
        });
        asking.hands.sleeping(1).await;
        asking.hands.advance(LONGEST);
        let error = posting.await.unwrap();
        assert_eq!(*asking.heard.lock().unwrap(), b"", "nobody heard the form");
        error
    }
}

#[tokio::test]
async fn who_proves_to_be_the_host_is_told_the_form() {
    let (certificate, there) = certified(HOST);
    let asking = Asking::of(Some(&[FIRST]), vec![(FIRST, there)], trusting([certificate]));
    assert_eq!(asking.post().await.unwrap().status, 200);
    let heard = String::from_utf8(asking.heard.lock().unwrap().clone()).unwrap();
    assert!(heard.starts_with("POST /token HTTP/1.1\r\nhost: idp.example.com\r\n"), "{heard}");
    assert!(heard.ends_with("code=secret"), "{heard}");
}

#[tokio::test]
async fn who_does_not_is_told_nothing() {
    // Nobody vouches for it.
    let (_, there) = certified(HOST);
    let unknown = Asking::of(Some(&[FIRST]), vec![(FIRST, there)], trusting([]));
    // It is vouched for, and is another.
    let (certificate, there) = certified("other.example.com");
    let other = Asking::of(Some(&[FIRST]), vec![(FIRST, there)], trusting([certificate]));
    for asking in [unknown, other] {
        assert_eq!(asking.post().await.unwrap_err(), OutgoingError::Insecure);
        assert_eq!(*asking.heard.lock().unwrap(), b"", "nobody heard the form");
    }
}

#[tokio::test]
async fn an_address_that_is_silent_leaves_time_for_the_next() {
    let (certificate, there) = certified(HOST);
    let there = vec![(FIRST, There::Silent), (SECOND, there)];
    let asking = Arc::new(Asking::of(Some(&[FIRST, SECOND]), there, trusting([certificate])));
    let posting = tokio::spawn({
        let asking = Arc::clone(&asking);
        async move { asking.post().await.map(|answer| answer.status) }
    });
    // The address's own, and that of all of it.
    asking.hands.sleeping(2).await;
    asking.hands.advance(Duration::from_secs(2));
    assert_eq!(posting.await.unwrap(), Ok(200));
}

#[tokio::test]
async fn each_step_before_the_form_ends_in_time_and_is_told_apart_from_what_may_have_been_read() {
    let nobody_says = Asking::of(None, vec![], trusting([]));
    assert_eq!(nobody_says.late().await, OutgoingError::Unreachable);
    let nobody_answers = Asking::of(Some(&[FIRST]), vec![(FIRST, There::Silent)], trusting([]));
    assert_eq!(nobody_answers.late().await, OutgoingError::Unreachable);
    let no_handshake = Asking::of(Some(&[FIRST]), vec![(FIRST, There::Mute)], trusting([]));
    assert_eq!(no_handshake.late().await, OutgoingError::Unreachable);
}
