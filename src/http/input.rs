//! Bodies: [`RawBody`] is read and found to be strict JSON before anybody is authenticated; the handler
//! then reads it as a type, with every fault named by a JSON Pointer. No fault repeats the input.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, EXPECT};
use axum::http::request::Parts;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use serde::Deserialize;
use serde_path_to_error::Segment;

use crate::http::body_memory::{BodyMemory, NoRoom, Share};
use crate::http::complaint::{Complaint, is_nameable};
use crate::http::json;
use crate::http::limits::Limits;
use crate::http::problem::{InputError, Problem};

/// How much of a body that is too large is read to be thrown away, in bytes.
const DISCARDED_MAX: usize = 8 * 1024 * 1024;
/// Who writes nothing of it for so long is answered.
const SILENCE: Duration = Duration::from_secs(1);

/// A body that is strict JSON in UTF-8, or empty.
#[derive(Clone, Default)]
pub struct RawBody {
    bytes: Bytes,
    /// Given back when the request's last copy of the body goes.
    _share: Option<Arc<Share>>,
}

/// A body without fields.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

impl RawBody {
    /// Reads the body of a request with these headers.
    ///
    /// # Errors
    /// 413, 503, 408, 415, 400, in this order.
    pub async fn read(
        headers: &HeaderMap,
        body: Body,
        limits: &Limits,
        memory: &BodyMemory,
    ) -> Result<Self, Problem> {
        let (bytes, share) = collect(headers, body, limits, memory).await?;
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        if !is_json(headers) {
            return Err(Problem::unsupported_media_type());
        }
        Ok(Self { _share: share.kept(), ..Self::from_bytes(bytes)? })
    }

    /// Takes bytes that are already in memory.
    ///
    /// # Errors
    /// 400: not UTF-8, or not strict JSON.
    pub fn from_bytes(bytes: Bytes) -> Result<Self, Problem> {
        let text = std::str::from_utf8(&bytes)
            .map_err(|_| Problem::bad_request("invalid_utf8", "the body is not valid UTF-8"))?;
        match json::check(text) {
            Ok(()) => Ok(Self { bytes, _share: None }),
            Err(json::NotStrict::Syntax) => {
                Err(Problem::bad_request("invalid_json", "the body is not valid JSON"))
            }
            Err(json::NotStrict::Trailing) => {
                Err(Problem::bad_request("invalid_json", "the body holds more than one JSON value"))
            }
            Err(json::NotStrict::DuplicateKey) => {
                Err(Problem::bad_request("duplicate_key", "an object in the body has the same key twice"))
            }
            Err(json::NotStrict::TooDeep) => {
                Err(Problem::bad_request("too_deep", "arrays and objects are nested more than 64 deep"))
            }
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The bytes as sent, for the fingerprint of an idempotent request.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Reads the body as a type; an empty one as `{}`.
    ///
    /// The type denies unknown fields, and the texts of its own refusals are constants (see
    /// `complaint.rs` for how they become codes).
    ///
    /// # Errors
    /// 422 with one error: its pointer, its code (`missing`, `unknown_field`, `wrong_type`,
    /// `unknown_value`, `invalid`, or a type's own) and its message.
    pub fn parse<'de, T: Deserialize<'de>>(&'de self) -> Result<T, Problem> {
        let bytes: &[u8] = if self.bytes.is_empty() { b"{}" } else { self.bytes.trim_ascii_start() };
        // serde reads structs from arrays as well, which is no contract of ours.
        if bytes.first() != Some(&b'{') {
            return Err(Problem::invalid_field("", "wrong_type", "expected an object"));
        }
        let mut deserializer = serde_json::Deserializer::from_slice(bytes);
        serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
            let text = error.inner().to_string();
            let text = match text.rfind(" at line ") {
                Some(at) => &text[..at],
                None => &text,
            };
            // The body is JSON: what serde_json cannot read further is of another form than the type's.
            let is_form = error.inner().is_data() || text.starts_with("number out of range");
            let text = if is_form { text } else { "wrong type: not of the expected type" };
            Problem::unprocessable(vec![self.locate(pointer(error.path()), text)])
        })
    }

    fn locate(&self, mut pointer: String, text: &str) -> InputError {
        match Complaint::of(text) {
            Complaint::Missing(name) => {
                push(&mut pointer, name);
                InputError::at(pointer, "missing", "this field is required")
            }
            Complaint::Unknown(name) => {
                let mut named = String::new();
                push(&mut named, name);
                let parent = pointer.strip_suffix(&named).unwrap_or(&pointer).to_owned();
                let pointer = if is_nameable(name) { parent + &named } else { parent };
                InputError::at(pointer, "unknown_field", "there is no such field")
            }
            Complaint::Value(code, message) => {
                let message = if self.holds(&pointer, &message) { "not valid".to_owned() } else { message };
                InputError::at(pointer, code, message)
            }
        }
    }

    /// Whether a message repeats the text at a place: a last guard against a type whose refusal quotes it.
    fn holds(&self, pointer: &str, message: &str) -> bool {
        let root: Option<serde_json::Value> = serde_json::from_slice(&self.bytes).ok();
        let value = root.as_ref().and_then(|root| root.pointer(pointer)).and_then(|value| value.as_str());
        value.is_some_and(|text| text.len() >= 4 && message.contains(text))
    }
}

impl<S: Sync> FromRequestParts<S> for RawBody {
    type Rejection = std::convert::Infallible;

    /// The body that [`crate::http::layers::wrap`] has read; empty where there was none.
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(parts.extensions.get::<Self>().cloned().unwrap_or_default())
    }
}

async fn collect(
    headers: &HeaderMap,
    mut body: Body,
    limits: &Limits,
    memory: &BodyMemory,
) -> Result<(Bytes, Share), Problem> {
    let (limit, within) = (limits.body_bytes, limits.body_read);
    let declared = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    let declared = declared.unwrap_or(0);
    let share = if declared > limit {
        Err(Problem::payload_too_large(limit))
    } else {
        memory.share(declared).map_err(no_room)
    };
    let mut share = match share {
        Ok(share) => share,
        Err(problem) => {
            // Whoever waits for `100 Continue` has not begun to send.
            if !headers.contains_key(EXPECT) {
                discard(&mut body, within).await;
            }
            return Err(problem);
        }
    };
    if http_body::Body::is_end_stream(&body) {
        return Ok((Bytes::new(), share));
    }
    match tokio::time::timeout(within, gather(&mut body, limit, &mut share)).await {
        Ok(Ok(bytes)) => Ok((bytes, share)),
        Ok(Err(problem)) => {
            discard(&mut body, within).await;
            Err(problem)
        }
        Err(_) => Err(Problem::request_timeout()),
    }
}

/// The body as one piece. Chunks are copied together as they come: kept as they are, each of one byte would cost a
/// stranger's request a hundred times its length.
async fn gather(body: &mut Body, limit: usize, share: &mut Share) -> Result<Bytes, Problem> {
    let mut gathered = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Problem::bad_request("incomplete_body", "the body ended too early"))?;
        if let Ok(data) = frame.into_data() {
            let length = gathered.len() + data.len();
            if length > limit {
                return Err(Problem::payload_too_large(limit));
            }
            share.cover(length).map_err(no_room)?;
            gathered.extend_from_slice(&data);
        }
    }
    Ok(gathered.freeze())
}

fn no_room(_: NoRoom) -> Problem {
    Problem::unavailable("overloaded", 1)
}

/// Reads on for a while: a connection that is closed while its client still writes is reset, and the client never
/// sees the answer. Whoever does not write is answered.
async fn discard(body: &mut Body, within: Duration) {
    let read = async {
        let mut bytes = 0;
        while let Ok(Some(Ok(frame))) = tokio::time::timeout(SILENCE, body.frame()).await {
            bytes += frame.data_ref().map_or(0, Bytes::len);
            if bytes > DISCARDED_MAX {
                break;
            }
        }
    };
    let _in_time = tokio::time::timeout(within, read).await;
}

fn is_json(headers: &HeaderMap) -> bool {
    if headers.contains_key(CONTENT_ENCODING) {
        return false;
    }
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let (Some(Ok(value)), None) = (values.next().map(|value| value.to_str()), values.next()) else {
        return false;
    };
    let mut parts = value.split(';').map(str::trim);
    parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case("application/json"))
        && parts.filter(|part| !part.is_empty()).all(|part| {
            part.split_once('=').is_some_and(|(name, value)| {
                name.eq_ignore_ascii_case("charset") && value.trim_matches('"').eq_ignore_ascii_case("utf-8")
            })
        })
}

/// The place of an error. A key that does not look like a name or a map's key ends the pointer early.
fn pointer(path: &serde_path_to_error::Path) -> String {
    let mut pointer = String::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => push(&mut pointer, &index.to_string()),
            // A key that a client chose may be a value that slipped into its place: it is not repeated.
            Segment::Map { key } if is_nameable(key) => push(&mut pointer, key),
            Segment::Enum { .. } => {}
            Segment::Map { .. } | Segment::Unknown => break,
        }
    }
    pointer
}

/// The JSON pointer to a member whose name a client chose; to the whole where it may be a value that slipped into its place.
pub fn member(name: &str) -> String {
    let mut pointer = String::new();
    if is_nameable(name) {
        push(&mut pointer, name);
    }
    pointer
}

fn push(pointer: &mut String, token: &str) {
    pointer.push('/');
    pointer.push_str(&token.replace('~', "~0").replace('/', "~1"));
}

#[cfg(test)]
#[path = "input_tests.rs"]
mod tests;
