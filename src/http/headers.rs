//! The headers of our own: `Settled-Version`, `Settled-Min-Version`, `Settled-Reason`, `Idempotency-Key`.

use axum::http::{HeaderMap, HeaderName, HeaderValue};

use crate::event::Version;
use crate::http::percent;
use crate::http::problem::Problem;
use crate::text::check_characters;

/// Out: the version of the organization's stream that an answer is about.
pub const SETTLED_VERSION: HeaderName = HeaderName::from_static("settled-version");
/// In: the least version that an answer may be about.
pub const SETTLED_MIN_VERSION: HeaderName = HeaderName::from_static("settled-min-version");
/// Out: the version that a read of the past is about.
pub const SETTLED_AS_OF_VERSION: HeaderName = HeaderName::from_static("settled-as-of-version");
/// In: why, recorded with the event.
pub const SETTLED_REASON: HeaderName = HeaderName::from_static("settled-reason");
/// In: equal keys are one request.
pub const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Out: the answer is that of an earlier request with this key.
const IDEMPOTENCY_REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// The longest `Settled-Reason`, in characters after decoding.
pub const LONGEST_REASON: usize = 500;
/// The longest `Idempotency-Key`, in characters.
pub const LONGEST_IDEMPOTENCY_KEY: usize = 255;

/// Says that an answer is that of an earlier request with the same key.
pub fn mark_replayed(headers: &mut HeaderMap) {
    headers.insert(IDEMPOTENCY_REPLAYED, HeaderValue::from_static("true"));
}

/// A version as a header's value.
pub fn version_value(version: Version) -> HeaderValue {
    HeaderValue::from(version)
}

/// `Settled-Min-Version`: the least version that the caller wants to see.
///
/// # Errors
/// 422 unless it is one whole number.
pub fn min_version(headers: &HeaderMap) -> Result<Option<Version>, Problem> {
    let invalid =
        || Problem::invalid_parameter("Settled-Min-Version", "invalid", "expected a stream's version");
    let Some(value) = single(headers, &SETTLED_MIN_VERSION, "Settled-Min-Version")? else { return Ok(None) };
    let digits = value.to_str().ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    digits.and_then(|text| text.parse().ok()).map(Some).ok_or_else(invalid)
}

/// Whether a server whose stream is at `version` may answer. A malformed header says nothing: it is refused in its
/// turn, with the query.
///
/// # Errors
/// 503 `not_yet` with `Retry-After` while the stream is behind.
pub fn check_min_version(headers: &HeaderMap, version: Version) -> Result<(), Problem> {
    match min_version(headers) {
        Ok(Some(wanted)) if wanted > version => Err(Problem::unavailable("not_yet", 1)),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// `Settled-Reason`, decoded; an empty one is none.
///
/// # Errors
/// 422 unless it is one value of percent-encoded UTF-8 of at most 500 characters, as a name's.
pub fn reason(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    const NAME: &str = "Settled-Reason";
    let Some(value) = single(headers, &SETTLED_REASON, NAME)? else { return Ok(None) };
    let encoding = || Problem::invalid_parameter(NAME, "invalid_encoding", "expected percent-encoded UTF-8");
    let text = percent::decode(value.to_str().map_err(|_| encoding())?).map_err(|_| encoding())?;
    if text.chars().count() > LONGEST_REASON {
        return Err(Problem::invalid_parameter(NAME, "too_long", "at most 500 characters"));
    }
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    check_characters(text, false)
        .map_err(|error| Problem::invalid_parameter(NAME, "invalid", error.to_string()))?;
    Ok(Some(text.to_owned()))
}

/// `Idempotency-Key`.
///
/// # Errors
/// 422 unless it is one value of 1 to 255 visible ASCII characters.
pub fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    const NAME: &str = "Idempotency-Key";
    let Some(value) = single(headers, &IDEMPOTENCY_KEY, NAME)? else { return Ok(None) };
    let bytes = value.as_bytes();
    if bytes.len() > LONGEST_IDEMPOTENCY_KEY {
        return Err(Problem::invalid_parameter(NAME, "too_long", "at most 255 characters"));
    }
    match value.to_str() {
        Ok(text) if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic()) => {
            Ok(Some(text.to_owned()))
        }
        _ => Err(Problem::invalid_parameter(NAME, "invalid", "expected 1 to 255 visible ASCII characters")),
    }
}

/// The only value of a header.
fn single<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
    shown: &'static str,
) -> Result<Option<&'a HeaderValue>, Problem> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (value, None) => Ok(value),
        _ => Err(Problem::invalid_parameter(shown, "duplicate_parameter", "this header may stand once")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: &HeaderName, values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name, HeaderValue::from_bytes(value.as_bytes()).expect("a value"));
        }
        headers
    }

    fn code<T>(result: Result<T, Problem>) -> Option<String> {
        result.err().map(|problem| problem.errors()[0].code.to_string())
    }

    #[test]
    fn a_reason_is_decoded_and_bounded() {
        let read = |value: &str| reason(&with(&SETTLED_REASON, &[value]));
        assert_eq!(read("gr%C3%BCn%21").ok(), Some(Some("grün!".into())));
        assert_eq!(read("").ok(), Some(None));
        assert_eq!(
            read(&"%C3%BC".repeat(500)).map(|text| text.map(|text| text.chars().count())).ok(),
            Some(Some(500))
        );
        assert_eq!(code(read(&"a".repeat(501))).as_deref(), Some("too_long"));
        assert_eq!(code(read("%zz")).as_deref(), Some("invalid_encoding"));
        assert_eq!(code(read("grün")).as_deref(), Some("invalid_encoding"));
        for bad in ["a%00", "a%0Ab", "a%E2%80%AEb", "%E2%80%8B"] {
            assert_eq!(code(read(bad)).as_deref(), Some("invalid"), "{bad}");
        }
        assert_eq!(code(reason(&with(&SETTLED_REASON, &["a", "b"]))).as_deref(), Some("duplicate_parameter"));
    }

    #[test]
    fn an_idempotency_key_is_visible_ascii() {
        let read = |value: &str| idempotency_key(&with(&IDEMPOTENCY_KEY, &[value]));
        assert_eq!(read("a-1").ok(), Some(Some("a-1".into())));
        assert!(read(&"a".repeat(255)).is_ok());
        assert_eq!(code(read(&"a".repeat(256))).as_deref(), Some("too_long"));
        for bad in ["", "a b", "ä"] {
            assert_eq!(code(read(bad)).as_deref(), Some("invalid"), "{bad}");
        }
    }

    #[test]
    fn a_server_that_is_behind_says_not_yet() {
        let headers = with(&SETTLED_MIN_VERSION, &["7"]);
        assert!(check_min_version(&headers, 7).is_ok());
        assert_eq!(check_min_version(&headers, 6).err().map(|problem| problem.code()), Some("not_yet"));
        for bad in ["-1", "+1", "x", "", "99999999999999999999"] {
            assert_eq!(
                code(min_version(&with(&SETTLED_MIN_VERSION, &[bad]))).as_deref(),
                Some("invalid"),
                "{bad}"
            );
        }
    }
}
