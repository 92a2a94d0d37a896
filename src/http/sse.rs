//! Server-sent events (WHATWG HTML §9.2): how they are written, and where a client goes on after a drop.
//!
//! What they tell, and to whom, is the area's.

use std::fmt::Write as _;

use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderName};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::event::Version;
use crate::http::conditional::version_of;
use crate::http::problem::Problem;
use crate::log::head::Epoch;

/// How often a stream without news says that it is there.
pub const COMMENT_EVERY: std::time::Duration = std::time::Duration::from_secs(15);

/// In: the id of the last event that the client got.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Where a stream begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// With what happens from now on.
    Now,
    /// Behind a version.
    After(Version),
    /// The client knows a version of another epoch or of another stream: it has to read all anew.
    Reset,
}

impl Start {
    /// `Last-Event-ID`, else `?after=`. The latter has no epoch: in a store that was restored nobody knows of which it is.
    ///
    /// # Errors
    /// 422 unless the header is an id that a stream gave.
    pub fn of(headers: &HeaderMap, after: Option<Version>, epoch: &str) -> Result<Self, Problem> {
        let mut ids = headers.get_all(LAST_EVENT_ID).iter();
        let Some(last) = ids.next() else {
            return Ok(match after {
                None => Self::Now,
                Some(version) if Epoch::default().as_str() == epoch => Self::After(version),
                Some(_) => Self::Reset,
            });
        };
        let only = Some(last).filter(|_| ids.next().is_none());
        let id = only.and_then(|last| last.to_str().ok()).and_then(|id| id.rsplit_once('-'));
        let id = id.filter(|(of, _)| !of.is_empty() && of.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        match id.and_then(|(of, version)| Some((of, version_of(version)?))) {
            Some((of, version)) if of == epoch => Ok(Self::After(version)),
            Some(_) => Ok(Self::Reset),
            None => {
                Err(Problem::invalid_parameter("Last-Event-ID", "invalid", "expected the id of an event"))
            }
        }
    }
}

/// Text of a stream.
#[derive(Clone, Debug, Default)]
pub struct Text(String);

impl Text {
    /// How a stream begins: how long to wait after a drop, and the id to go on from, which a client keeps although
    /// this is no event.
    pub fn opening(epoch: &str, version: Version) -> Self {
        Self(format!("retry: 2000\nid: {epoch}-{version}\n\n"))
    }

    /// That the stream is there.
    pub fn comment() -> Self {
        Self(":\n\n".to_owned())
    }

    /// Adds an event.
    pub fn push(&mut self, epoch: &str, version: Version, event: &str, data: &impl Serialize) {
        // serde_json's compact form is one line: it escapes what ends lines.
        let data = serde_json::to_string(data).expect("what is told is plain data with text keys");
        write!(self.0, "id: {epoch}-{version}\nevent: {event}\ndata: {data}\n\n")
            .expect("writing to a string does not fail");
    }

    /// How many bytes it has.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Its bytes, in no more room than they take.
    pub fn into_bytes(mut self) -> Vec<u8> {
        self.0.shrink_to_fit();
        self.0.into_bytes()
    }
}

/// The answer that a stream is.
pub fn response(body: Body) -> Response {
    // nginx gathers answers unless it is told not to.
    let headers = [(CONTENT_TYPE, "text/event-stream"), (HeaderName::from_static("x-accel-buffering"), "no")];
    (headers, body).into_response()
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn start(last: Option<&str>, after: Option<Version>) -> Option<Start> {
        let mut headers = HeaderMap::new();
        if let Some(last) = last {
            headers.insert(LAST_EVENT_ID, HeaderValue::from_str(last).unwrap());
        }
        Start::of(&headers, after, "0").ok()
    }

    #[test]
    fn a_stream_begins_now_or_behind_what_the_client_has() {
        assert_eq!(start(None, None), Some(Start::Now));
        assert_eq!(start(None, Some(7)), Some(Start::After(7)));
        assert_eq!(start(Some("0-9"), Some(7)), Some(Start::After(9)), "a browser repeats the query");
        assert_eq!(start(Some("x1-9"), None), Some(Start::Reset));
        let restored = |after| Start::of(&HeaderMap::new(), after, "x1").ok();
        assert_eq!((restored(None), restored(Some(7))), (Some(Start::Now), Some(Start::Reset)));
        for wrong in ["", "9", "0-", "0-09", "0-x", "0--1"] {
            assert_eq!(start(Some(wrong), None), None, "{wrong}");
        }
    }

    #[test]
    fn an_event_has_one_line_of_data() {
        let mut text = Text::default();
        text.push("0", 7, "entry", &serde_json::json!({"reason": "two\nlines\r"}));
        let text = String::from_utf8(text.into_bytes()).unwrap();
        assert_eq!(text, "id: 0-7\nevent: entry\ndata: {\"reason\":\"two\\nlines\\r\"}\n\n");
    }
}
