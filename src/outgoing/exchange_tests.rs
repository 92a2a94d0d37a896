//! One request and what may come back: a provider that redirects, answers hugely, slowly, or with something else.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

use crate::clock::{Clock, Hands};
use crate::dns::Dns;
use crate::outgoing::connect::{Boxed, Connect, Stream};
use crate::outgoing::endpoint::Endpoint;
use crate::outgoing::exchange::{ANSWER_BYTES_MAX, Answer, Form};
use crate::outgoing::{Guard, LONGEST, Outgoing, OutgoingError};

/// A provider at the other end of a pipe: what it says, and what it was asked, over how many connections.
struct Provider {
    says: Vec<u8>,
    /// Whether it hangs up afterwards.
    ends: bool,
    asked: Mutex<Vec<String>>,
    open: Mutex<Vec<DuplexStream>>,
}

impl Connect for Arc<Provider> {
    fn connect(&self, _address: SocketAddr) -> Boxed<'_, io::Result<Box<dyn Stream>>> {
        let provider = Arc::clone(self);
        Box::pin(async move {
            let (ours, mut theirs) = duplex(1 << 20);
            tokio::spawn(async move {
                let mut asked = vec![0; 16 << 10];
                let mut length = 0;
                // All tests' forms end in this.
                while !asked[..length].ends_with(b"end=here") {
                    length += theirs.read(&mut asked[length..]).await.unwrap();
                }
                provider.asked.lock().unwrap().push(String::from_utf8_lossy(&asked[..length]).into_owned());
                // Whoever asked may have seen enough.
                let _heard = theirs.write_all(&provider.says).await;
                if !provider.ends {
                    provider.open.lock().unwrap().push(theirs);
                }
            });
            Ok(Box::new(ours) as Box<dyn Stream>)
        })
    }
}

struct Asking {
    provider: Arc<Provider>,
    outgoing: Outgoing,
    hands: Hands,
}

impl Asking {
    fn of(says: impl Into<Vec<u8>>, ends: bool) -> Self {
        let (asked, open) = (Mutex::default(), Mutex::default());
        let provider = Arc::new(Provider { says: says.into(), ends, asked, open });
        let (clock, hands) = Clock::manual(crate::given::now());
        let connector = Arc::new(Arc::clone(&provider));
        let dns = Arc::new(Dns::new(None, clock.clone()));
        let outgoing = Outgoing::through(Guard::PublicOrLoopback, clock, dns, connector);
        Self { provider, outgoing, hands }
    }

    async fn post(&self, form: Form) -> Result<Answer, OutgoingError> {
        let endpoint = Endpoint::parse("http://127.0.0.1:4000/token?tenant=a", Guard::PublicOrLoopback);
        self.outgoing.post(&endpoint.unwrap(), form.field("end", "here")).await
    }

    async fn error(&self) -> OutgoingError {
        self.post(Form::default()).await.unwrap_err()
    }

    fn asked(&self) -> Vec<String> {
        self.provider.asked.lock().unwrap().clone()
    }
}

#[tokio::test]
async fn a_form_is_posted_and_its_answer_read() {
    let asking = Asking::of("HTTP/1.1 400 Bad Request\r\ncontent-length: 2\r\n\r\n{}", false);
    let form = Form::default().field("code", "a b&c=d").basic("client:1", "s cret/");
    let answer = asking.post(form).await.unwrap();
    assert_eq!((answer.status, answer.body.as_bytes()), (400, &b"{}"[..]));
    let [asked] = &asking.asked()[..] else { panic!("one request") };
    let (head, body) = asked.split_once("\r\n\r\n").unwrap();
    assert_eq!(body, "code=a+b%26c%3Dd&end=here");
    let lines: Vec<&str> = head.lines().collect();
    assert_eq!(lines[0], "POST /token?tenant=a HTTP/1.1");
    assert!(lines.contains(&"host: 127.0.0.1:4000"), "{head}");
    // base64 of `client%3A1:s+cret%2F`.
    assert!(lines.contains(&"authorization: Basic Y2xpZW50JTNBMTpzK2NyZXQlMkY="), "{head}");
    assert!(!head.contains("cookie"), "{head}");
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_is_not_followed() {
    for status in [301, 302, 303, 307, 308] {
        let location = "http://169.254.169.254/latest/meta-data/";
        let says = format!("HTTP/1.1 {status} Moved\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n");
        let asking = Asking::of(says, false);
        assert_eq!(asking.post(Form::default()).await.unwrap().status, status);
        assert_eq!(asking.asked().len(), 1, "one request over one connection");
    }
}

#[tokio::test]
async fn a_huge_answer_is_cut_off() {
    let body = vec![b'a'; ANSWER_BYTES_MAX];
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
    let whole = Asking::of([head.as_bytes(), &body].concat(), false).post(Form::default()).await.unwrap();
    assert_eq!(whole.body.as_bytes().len(), ANSWER_BYTES_MAX);
    // Whether it says how much there is, or goes on for ever.
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", 10_u64 << 30);
    assert_eq!(
        Asking::of([head.as_bytes(), &body, b"a"].concat(), false).error().await,
        OutgoingError::TooLarge
    );
    let head = "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n";
    assert_eq!(
        Asking::of([head.as_bytes(), &body, b"a"].concat(), false).error().await,
        OutgoingError::TooLarge
    );
    let fields = "a: b\r\n".repeat(1_000);
    let says = format!("HTTP/1.1 200 OK\r\n{fields}\r\n");
    assert_eq!(Asking::of(says, false).error().await, OutgoingError::TooLarge);
    let says = format!("HTTP/1.1 200 OK\r\na: {}\r\n\r\n", "b".repeat(64 << 10));
    assert_eq!(Asking::of(says, false).error().await, OutgoingError::TooLarge);
}

#[tokio::test]
async fn what_is_not_http_is_malformed() {
    for says in ["220 smtp.example.com ESMTP\r\n", "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nshort", ""] {
        assert_eq!(Asking::of(says, true).error().await, OutgoingError::Malformed, "{says}");
    }
}

#[tokio::test]
async fn a_slow_answer_has_ten_seconds_in_all() {
    // A byte now and then keeps nobody waiting any longer.
    let asking = Arc::new(Asking::of("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nslow", false));
    let posting = tokio::spawn({
        let asking = Arc::clone(&asking);
        async move { asking.error().await }
    });
    asking.hands.sleeping(1).await;
    asking.hands.advance(LONGEST - Duration::from_millis(1));
    tokio::task::yield_now().await;
    assert!(!posting.is_finished());
    asking.hands.advance(Duration::from_millis(1));
    assert_eq!(posting.await.unwrap(), OutgoingError::TimedOut);
}
