//! The client against a server that says what a test wants, at the moments at which a real one cannot be made to.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::header::{ETAG, IF_NONE_MATCH, LOCATION};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::causes::with_causes;
use crate::client::Ctx;
use crate::client::api::Api;
use crate::client::error::ClientError;
use crate::clock::{Clock, Hands, Timestamp};

const KEY: &str = "fastn_live_hunter3";

/// What is answered to a request for the values.
#[derive(Clone, Copy)]
enum Says {
    Version(&'static str),
    Status(u16, &'static str),
}

#[derive(Clone)]
struct Stub(Arc<Mutex<Told>>);

struct Told {
    says: Says,
    asked: Vec<(String, Option<HeaderValue>)>,
    /// The ends of the streams that are open, and what the next ones answer instead of beginning.
    streams: Vec<UnboundedSender<Bytes>>,
    refusals: VecDeque<u16>,
}

impl Stub {
    async fn start() -> (Self, String) {
        let told = Told {
            says: Says::Version("v1"),
            asked: Vec::new(),
            streams: Vec::new(),
            refusals: VecDeque::new(),
        };
        let stub = Self(Arc::new(Mutex::new(told)));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(answer).with_state(stub.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        (stub, url)
    }

    fn says(&self, says: Says) {
        self.0.lock().unwrap().says = says;
    }

    /// Tells every open stream something; those that are gone are forgotten.
    fn tell(&self, text: &'static str) {
        self.0
            .lock()
            .unwrap()
            .streams
            .retain(|stream| stream.send(Bytes::from_static(text.as_bytes())).is_ok());
    }

    async fn until_streams_are(&self, count: usize) {
        for _ in 0..1_000 {
            if self.0.lock().unwrap().streams.len() == count {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("{} streams", self.0.lock().unwrap().streams.len());
    }

    fn asked(&self) -> Vec<(String, Option<HeaderValue>)> {
        std::mem::take(&mut self.0.lock().unwrap().asked)
    }
}

async fn answer(State(stub): State<Stub>, request: Request) -> Response {
    let mut told = stub.0.lock().unwrap();
    assert_eq!(request.headers()["x-fastn-api-key"], KEY);
    let known = request.headers().get(IF_NONE_MATCH).cloned();
    told.asked.push((request.uri().to_string(), known.clone()));
    match request.uri().path() {
        "/v1/ctx" => match told.says {
            Says::Version(version) => {
                let tag = HeaderValue::from_str(&format!("\"0-{version}\"")).unwrap();
                if known.as_ref() == Some(&tag) {
                    return StatusCode::NOT_MODIFIED.into_response();
                }
                let body = format!(
                    r#"{{"version": "{version}", "config": {{}}, "secrets": {{"KEY": "of {version}"}}}}"#
                );
                ([(ETAG, tag)], body).into_response()
            }
            Says::Status(status, body) => {
                let elsewhere = [(LOCATION, "/v1/elsewhere")];
                (StatusCode::from_u16(status).unwrap(), elsewhere, body).into_response()
            }
        },
        "/v1/ctx/watch" => {
            if let Some(status) = told.refusals.pop_front() {
                return StatusCode::from_u16(status).unwrap().into_response();
            }
            let (sender, receiver) = unbounded_channel();
            told.streams.push(sender);
            Body::from_stream(stream::unfold(receiver, piece)).into_response()
        }
        "/v1/ctx/secrets/A%2FB" => r#"{"name": "A/B", "value": "alone", "value_version": 3}"#.into_response(),
        path => panic!("{path}"),
    }
}

async fn piece(
    mut receiver: UnboundedReceiver<Bytes>,
) -> Option<(Result<Bytes, Infallible>, UnboundedReceiver<Bytes>)> {
    receiver.recv().await.map(|piece| (Ok(piece), receiver))
}

fn manual(url: &str) -> (Ctx, Hands) {
    let (clock, hands) = Clock::manual(Timestamp::EPOCH);
    let mut api = Api::new(url, KEY).unwrap();
    api.clock = clock;
    (Ctx::new(api, "production"), hands)
}

#[tokio::test]
async fn what_has_not_changed_is_not_sent_again() {
    let (stub, url) = Stub::start().await;
    let ctx = Ctx::new(Api::new(&url, KEY).unwrap(), "a b").of_customer("cus_1");
    let first = ctx.fetch().await.unwrap();
    assert_eq!(first.secret("KEY").unwrap().as_str(), Ok("of v1"));
    let again = ctx.clone().fetch().await.unwrap();
    assert_eq!((again.version(), again.unconfirmed_for()), ("v1", None));
    assert!(std::ptr::eq(first.secret("KEY").unwrap(), again.secret("KEY").unwrap()));
    stub.says(Says::Version("v2"));
    assert_eq!(ctx.fetch().await.unwrap().version(), "v2");
    let path = "/v1/ctx?environment=a%20b&customer=cus_1".to_owned();
    let tag = Some(HeaderValue::from_static("\"0-v1\""));
    assert_eq!(stub.asked(), [(path.clone(), None), (path.clone(), tag.clone()), (path, tag)]);
    assert_eq!(ctx.secret("A/B").await.unwrap().value_version, 3);
}

#[tokio::test]
async fn while_the_server_is_away_its_last_word_counts_for_a_bounded_time() {
    let (stub, url) = Stub::start().await;
    let (ctx, hands) = manual(&url);
    let ctx = ctx.last_known_for(Duration::from_secs(60));
    stub.says(Says::Status(503, "starting"));
    assert!(ctx.fetch().await.unwrap_err().is_passing(), "nothing is known yet");
    stub.says(Says::Version("v1"));
    ctx.fetch().await.unwrap();
    stub.says(Says::Status(502, "<html>"));
    hands.advance(Duration::from_secs(59));
    let known = ctx.fetch().await.unwrap();
    assert_eq!((known.version(), known.unconfirmed_for()), ("v1", Some(Duration::from_secs(59))));
    hands.advance(Duration::from_secs(1));
    assert!(ctx.fetch().await.unwrap_err().is_passing(), "a minute has passed");
    stub.says(Says::Version("v1"));
    assert_eq!(ctx.fetch().await.unwrap().unconfirmed_for(), None);
    assert_eq!(stub.asked().last().unwrap().1, None, "what was too old was forgotten");
}

#[tokio::test]
async fn what_one_forgets_another_that_may_use_it_longer_keeps() {
    let (stub, url) = Stub::start().await;
    let (ctx, _) = manual(&url);
    let strict = ctx.clone().last_known_for(Duration::ZERO);
    for ctx in [&ctx, &strict] {
        ctx.fetch().await.unwrap();
    }
    stub.says(Says::Status(503, ""));
    assert!(strict.fetch().await.unwrap_err().is_passing());
    assert_eq!(ctx.fetch().await.unwrap().version(), "v1");
}

#[tokio::test]
async fn what_the_server_refuses_is_not_used_any_longer() {
    const REVOKED: &str = r#"{"type": "urn:settled:api_key_revoked", "title": "Unauthorized", "status": 401,
        "detail": "the key was revoked", "code": "api_key_revoked"}"#;
    let (stub, url) = Stub::start().await;
    let (ctx, _) = manual(&url);
    ctx.fetch().await.unwrap();
    stub.says(Says::Status(401, REVOKED));
    let refused = ctx.fetch().await.unwrap_err();
    assert_eq!(refused.problem().unwrap().code, "api_key_revoked");
    stub.says(Says::Status(503, ""));
    assert!(ctx.fetch().await.is_err(), "its last word was the refusal");
}

#[tokio::test]
async fn no_error_quotes_an_answer_or_the_key() {
    let (stub, url) = Stub::start().await;
    let (ctx, _) = manual(&url);
    let wrong = r#"{"version": "v", "config": {}, "secrets": {"A": "hunter2", "B": ["hunter2"]}}"#;
    for status in [200, 302, 400, 500] {
        stub.says(Says::Status(status, wrong));
        let error = ctx.fetch().await.unwrap_err();
        assert!(matches!(error, ClientError::Unreadable { status: said, .. } if said == status), "{error:?}");
        let said = format!("{} {error:?} {ctx:?}", with_causes(&error));
        assert!(!said.contains("hunter"), "{said}");
    }
    let said = format!("{:?} {:?}", Api::new("http://a", "hunter\n2"), Api::new("http://u:hunter2@a", KEY));
    assert!(said.contains("InvalidKey") && said.contains("InvalidUrl") && !said.contains("hunter"), "{said}");
}

#[tokio::test]
async fn a_watcher_is_given_what_changed_and_nothing_else() {
    let (stub, url) = Stub::start().await;
    let (ctx, _) = manual(&url);
    let mut watch = ctx.watch(&ctx.fetch().await.unwrap());
    let waiting = tokio::spawn(async move { (watch.next().await.unwrap().version().to_owned(), watch) });
    stub.until_streams_are(1).await;
    stub.tell("retry: 2000\nid: 0-7\n\n");
    stub.tell("id: 0-8\nevent: change\ndata: {}\n\n");
    stub.says(Says::Version("v2"));
    stub.tell("id: 0-9\nevent: change\ndata: {}\n\n");
    let (version, mut watch) = waiting.await.unwrap();
    assert_eq!(version, "v2");
    // What changes between two streams is found when the second begins.
    stub.0.lock().unwrap().streams.clear();
    stub.says(Says::Version("v3"));
    assert_eq!(watch.next().await.unwrap().version(), "v3");
}

#[tokio::test]
async fn a_watcher_comes_back_after_refusals_that_pass_and_after_silence() {
    let (stub, url) = Stub::start().await;
    let (ctx, hands) = manual(&url);
    let mut watch = ctx.watch(&ctx.fetch().await.unwrap());
    stub.0.lock().unwrap().refusals.extend([503, 429]);
    let waiting = tokio::spawn(async move { watch.next().await });
    let pass = async |span: Duration, streams: usize| {
        for _ in 0..1_000 {
            if stub.0.lock().unwrap().streams.len() == streams {
                return;
            }
            hands.advance(span);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("it does not come back");
    };
    pass(Duration::from_millis(100), 1).await;
    // The stub keeps the first stream open, and says nothing.
    pass(Duration::from_secs(10), 2).await;
    stub.says(Says::Version("v2"));
    stub.tell("data: {}\n\n");
    assert_eq!(waiting.await.unwrap().unwrap().version(), "v2");
}

#[tokio::test]
async fn a_watcher_ends_with_a_refusal_that_stays() {
    let (stub, url) = Stub::start().await;
    let (ctx, _) = manual(&url);
    let mut watch = ctx.watch(&ctx.fetch().await.unwrap());
    stub.0.lock().unwrap().refusals.push_back(403);
    assert!(!watch.next().await.unwrap_err().is_passing());
}
