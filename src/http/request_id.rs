//! The id of a request: the client's where it has a sane form, else a fresh one.
//!
//! It is returned as `x-request-id`, stands in every problem and log line, and is recorded with events.

use std::fmt;
use std::sync::Arc;

use axum::http::{HeaderMap, HeaderName, HeaderValue};

use crate::ids::{Fresh, HttpRequestId};

/// The header, in and out.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest id taken from a client, in characters.
const LONGEST: usize = 128;

/// The id of one request: `[A-Za-z0-9._-]{1,128}`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RequestId(Arc<str>);

tokio::task_local! {
    static CURRENT: RequestId;
}

impl RequestId {
    /// The id of the request with these headers: a single well-formed `x-request-id`, else a fresh one.
    pub fn of(headers: &HeaderMap) -> Self {
        let mut values = headers.get_all(X_REQUEST_ID).iter();
        match (values.next().and_then(|value| value.to_str().ok()), values.next()) {
            (Some(text), None) if is_well_formed(text) => Self(text.into()),
            _ => Self::fresh(),
        }
    }

    /// A new id: `req_` and a UUIDv7, so that log lines sort by it.
    fn fresh() -> Self {
        Self(Fresh.id::<HttpRequestId>().to_string().into())
    }

    /// The id of the request that this task answers, where it answers one.
    pub fn current() -> Option<Self> {
        CURRENT.try_with(Clone::clone).ok()
    }

    /// The id of the request that this task answers, as events record it.
    pub fn to_record() -> Option<String> {
        Self::current().map(|id| id.as_str().to_owned())
    }

    /// Runs `answer` with this id as the [`RequestId::current`] one.
    pub async fn scope<F: Future>(self, answer: F) -> F::Output {
        CURRENT.scope(self, answer).await
    }

    /// As [`RequestId::scope`], where nothing is waited for.
    pub fn sync_scope<R>(self, answer: impl FnOnce() -> R) -> R {
        CURRENT.sync_scope(self, answer)
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id as a header's value.
    pub fn header_value(&self) -> HeaderValue {
        HeaderValue::from_str(&self.0).expect("a request id has only letters, digits, dots, `_` and `-`")
    }
}

fn is_well_formed(text: &str) -> bool {
    (1..=LONGEST).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
