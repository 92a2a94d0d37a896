//! What bodies are refused, in which order, and where each fault is said to be.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::http::{HeaderValue, StatusCode};
use serde_json::value::RawValue;

use super::*;
use crate::http::patch::Patch;
use crate::ids::UserId;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only how it is read is tested")]
struct Form {
    name: Name,
    #[serde(default)]
    mode: Option<Mode>,
    #[serde(default)]
    users: Vec<UserId>,
    #[serde(default)]
    limit: Option<u8>,
    #[serde(default)]
    nested: Option<Nested>,
    #[serde(default)]
    config: BTreeMap<String, Patch<Box<RawValue>>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only how it is read is tested")]
struct Nested {
    a: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Mode {
    Test,
    Live,
}

#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
#[expect(dead_code, reason = "only how it is read is tested")]
struct Name(String);

impl TryFrom<String> for Name {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "leaky" => Err("leaky is not good".into()),
            "long" => Err("too long: at most 3 characters".into()),
            _ => Ok(Self(text)),
        }
    }
}

fn raw(text: &str) -> RawBody {
    RawBody::from_bytes(Bytes::copy_from_slice(text.as_bytes())).expect("strict JSON")
}

/// The pointer, code and message of the only error of a refused body.
fn refused(text: &str) -> (String, String, String) {
    let problem = raw(text).parse::<Form>().expect_err("a refusal");
    assert_eq!(problem.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let [error] = problem.errors() else { panic!("one error, not {:?}", problem.errors()) };
    (error.pointer.clone().expect("a pointer"), error.code.to_string(), error.message.to_string())
}

fn at(text: &str) -> (String, String) {
    let (pointer, code, _) = refused(text);
    (pointer, code)
}

fn place(pointer: &str, code: &str) -> (String, String) {
    (pointer.into(), code.into())
}

#[test]
fn each_fault_is_named_by_pointer_and_code() {
    assert_eq!(at("{}"), place("/name", "missing"));
    assert_eq!(at(r#"{"name": 1}"#), place("/name", "wrong_type"));
    assert_eq!(at(r#"{"name": null}"#), place("/name", "wrong_type"));
    assert_eq!(at(r#"{"name": "a", "emial": 1}"#), place("/emial", "unknown_field"));
    assert_eq!(at(r#"{"name": "a", "nested": {"a": "b", "c": 1}}"#), place("/nested/c", "unknown_field"));
    assert_eq!(at(r#"{"name": "a", "nested": {}}"#), place("/nested/a", "missing"));
    assert_eq!(at(r#"{"name": "a", "mode": "prod"}"#), place("/mode", "unknown_value"));
    assert_eq!(at(r#"{"name": "a", "mode": 1}"#), place("/mode", "wrong_type"));
    assert_eq!(at(r#"{"name": "a", "limit": 300}"#), place("/limit", "invalid"));
    assert_eq!(at(r#"{"name": "a", "limit": 1e999}"#), place("/limit", "invalid"));
    assert_eq!(at(r#"{"name": "a", "users": ["usr_1"]}"#), place("/users/0", "invalid"));
    assert_eq!(at(r#"{"name": "a", "users": [[]]}"#), place("/users/0", "wrong_type"));
    assert_eq!(at(r#"{"name": "a", "nested": 1}"#), place("/nested", "wrong_type"));
    assert_eq!(at(r#"{"name": "a", "nested": []}"#), place("/nested", "wrong_type"));
    assert_eq!(at("[]"), place("", "wrong_type"));
    assert_eq!(at("null"), place("", "wrong_type"));
}

#[test]
fn a_types_refusal_gives_its_own_code() {
    assert_eq!(
        refused(r#"{"name": "long"}"#),
        ("/name".into(), "too_long".into(), "at most 3 characters".into())
    );
}

#[test]
fn no_message_repeats_the_input() {
    assert_eq!(refused(r#"{"name": "leaky"}"#).2, "not valid");
    assert_eq!(refused(r#"{"name": "a", "nested": "Hunter2"}"#).2, "expected an object");
    assert_eq!(refused(r#"{"name": "a", "mode": "Hunter2"}"#).2, "expected `test` or `live`");
    assert_eq!(at(r#"{"name": "a", "Hunter 2": 1}"#), place("", "unknown_field"));
    assert_eq!(at(r#"{"name": "a", "nested": {"Hunter/2": 1}}"#), place("/nested", "unknown_field"));
}

#[test]
fn raw_values_keep_their_text() {
    let form: Form =
        raw(r#"{"name": "a", "config": {"A": 9007199254740993.10, "B": null}}"#).parse().expect("valid");
    assert!(matches!(form.config["B"], Patch::Null));
    let Patch::Value(value) = &form.config["A"] else { panic!("a value") };
    assert_eq!(value.get(), "9007199254740993.10");
}

#[test]
fn an_empty_body_is_an_empty_object() {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Nothing {}
    assert!(RawBody::default().parse::<Nothing>().is_ok());
}

async fn read(
    headers: &[(&'static str, &'static str)],
    body: impl Into<Body>,
) -> Result<RawBody, StatusCode> {
    let headers = headers
        .iter()
        .map(|(name, value)| (name.parse().expect("a name"), HeaderValue::from_static(value)))
        .collect::<HeaderMap>();
    let limits = Limits { body_bytes: 16, body_read: Duration::from_millis(50), ..Limits::default() };
    let memory = BodyMemory::new(limits.body_memory);
    RawBody::read(&headers, body.into(), &limits, &memory).await.map_err(|problem| problem.status())
}

const JSON: (&str, &str) = ("content-type", "application/json");

#[tokio::test]
async fn the_media_type_must_be_json_in_utf8() {
    for good in ["application/json", "Application/JSON; charset=UTF-8", "application/json;charset=\"utf-8\""]
    {
        assert!(read(&[("content-type", good)], "{}").await.is_ok(), "{good}");
    }
    for bad in
        ["text/plain", "application/json; charset=latin1", "application/jsonx", "application/json; a", ""]
    {
        assert_eq!(
            read(&[("content-type", bad)], "{}").await.err(),
            Some(StatusCode::UNSUPPORTED_MEDIA_TYPE),
            "{bad}"
        );
    }
    assert_eq!(read(&[], "{}").await.err(), Some(StatusCode::UNSUPPORTED_MEDIA_TYPE));
    let zipped = [JSON, ("content-encoding", "gzip")];
    assert_eq!(read(&zipped, "{}").await.err(), Some(StatusCode::UNSUPPORTED_MEDIA_TYPE));
    assert!(read(&[], "").await.is_ok());
}

#[tokio::test]
async fn too_long_a_body_is_refused_before_anything_else() {
    let declared = [("content-length", "17"), ("content-type", "text/plain")];
    assert_eq!(read(&declared, "").await.err(), Some(StatusCode::PAYLOAD_TOO_LARGE));
    let chunks = futures_chunks(vec!["{\"a\":12345", "67890123456}"]);
    assert_eq!(
        read(&[("content-type", "text/plain")], chunks).await.err(),
        Some(StatusCode::PAYLOAD_TOO_LARGE)
    );
    assert!(read(&[JSON], r#"{"a":"12345678"}"#).await.is_ok());
}

/// A body of so many chunks of so many bytes, and what was seen of them.
async fn gathered(limit: usize, chunks: usize, chunk_bytes: usize) -> (Option<Bytes>, Seen) {
    let seen = Arc::new(Mutex::new(Seen::default()));
    let body = Watched { left: chunks, chunk_bytes, seen: Arc::clone(&seen) };
    let mut share = BodyMemory::new(1 << 30).share(0).expect("there is room");
    let gathered = match gather(&mut Body::new(body), limit, &mut share).await {
        Ok(gathered) => Some(gathered),
        Err(problem) => {
            assert_eq!(problem.status(), StatusCode::PAYLOAD_TOO_LARGE);
            None
        }
    };
    let seen = *seen.lock().expect("nobody panicked");
    (gathered, seen)
}

fn memory_of(body: Bytes) -> usize {
    body.try_into_mut().expect("nobody else has it").capacity()
}

#[tokio::test]
async fn a_body_in_tiny_chunks_takes_no_more_memory_than_one_in_large_ones() {
    for chunk_bytes in [1, 1_000, 1 << 16] {
        let limit = 1 << 18;
        let (body, seen) = gathered(limit, limit / chunk_bytes, chunk_bytes).await;
        assert_eq!(
            seen.most_held, 0,
            "chunks of {chunk_bytes} bytes are let go before the next is asked for"
        );
        assert!(memory_of(body.expect("it fits")) <= 2 * limit, "chunks of {chunk_bytes} bytes");
    }
}

#[tokio::test]
async fn a_body_is_given_up_where_it_passes_the_limit() {
    let (body, seen) = gathered(10_000, 1_000, 300).await;
    assert_eq!((body, seen.given), (None, 34));
    let (body, _) = gathered(10_200, 34, 300).await;
    assert_eq!(body.map(|body| body.len()), Some(10_200));
}

#[tokio::test]
async fn a_body_takes_memory_for_what_has_come_of_it_only() {
    let (body, _) = gathered(1 << 20, 1, 10).await;
    assert!(memory_of(body.expect("it fits")) < 1_000);
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let never = Body::new(Never);
    assert_eq!(read(&[JSON], never).await.err(), Some(StatusCode::REQUEST_TIMEOUT));
}

#[tokio::test]
async fn who_declares_too_much_and_sends_nothing_is_answered() {
    let headers = HeaderMap::from_iter([(CONTENT_LENGTH, HeaderValue::from_static("17"))]);
    let limits = Limits { body_bytes: 16, body_read: Duration::from_secs(3_600), ..Limits::default() };
    let memory = BodyMemory::new(limits.body_memory);
    let read = RawBody::read(&headers, Body::new(Never), &limits, &memory);
    let read = tokio::time::timeout(Duration::from_secs(60), read).await.expect("in time");
    assert_eq!(read.err().map(|problem| problem.status()), Some(StatusCode::PAYLOAD_TOO_LARGE));
}

#[tokio::test]
async fn what_is_not_strict_json_is_a_bad_request() {
    for bad in ["{", "{\"a\":1,\"a\":1}", "{} {}"] {
        assert_eq!(read(&[JSON], bad).await.err(), Some(StatusCode::BAD_REQUEST), "{bad}");
    }
    assert_eq!(read(&[JSON], &b"\"\xff\""[..]).await.err(), Some(StatusCode::BAD_REQUEST));
}

fn futures_chunks(chunks: Vec<&'static str>) -> Body {
    Body::new(Chunks(chunks))
}

struct Chunks(Vec<&'static str>);

impl http_body::Body for Chunks {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
        let next = if self.0.is_empty() { None } else { Some(self.0.remove(0)) };
        std::task::Poll::Ready(
            next.map(|chunk| Ok(http_body::Frame::data(Bytes::from_static(chunk.as_bytes())))),
        )
    }
}

/// What a body saw of its chunks.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    given: usize,
    /// How many chunks somebody still held when the next was asked for, at most.
    most_held: usize,
    held: usize,
}

struct Watched {
    left: usize,
    chunk_bytes: usize,
    seen: Arc<Mutex<Seen>>,
}

struct Chunk(Vec<u8>, Arc<Mutex<Seen>>);

impl AsRef<[u8]> for Chunk {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        self.1.lock().expect("nobody panicked").held -= 1;
    }
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
        let mut seen = self.seen.lock().expect("nobody panicked");
        seen.most_held = seen.most_held.max(seen.held);
        if self.left == 0 {
            return std::task::Poll::Ready(None);
        }
        seen.given += 1;
        seen.held += 1;
        drop(seen);
        self.left -= 1;
        let chunk = Chunk(vec![b' '; self.chunk_bytes], Arc::clone(&self.seen));
        std::task::Poll::Ready(Some(Ok(http_body::Frame::data(Bytes::from_owner(chunk)))))
    }
}

struct Never;

impl http_body::Body for Never {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
        std::task::Poll::Pending
    }
}
