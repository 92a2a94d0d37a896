//! Answers that are not a success: RFC 9457 problem details, one constructor for each kind.
//!
//! A problem never repeats what the client sent, and a 5xx says nothing but its kind: what went wrong
//! stands in the log, under the request's id.

use std::borrow::Cow;

use axum::http::header::{ALLOW, CONNECTION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::http::request_id::RequestId;

/// The media type of every problem.
pub const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");

/// An answer that is not a success.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem(Box<Parts>);

#[derive(Clone, Debug, PartialEq)]
struct Parts {
    status: StatusCode,
    code: &'static str,
    detail: Cow<'static, str>,
    errors: Vec<InputError>,
    headers: Vec<(HeaderName, HeaderValue)>,
    members: serde_json::Map<String, serde_json::Value>,
}

/// The code of a problem, kept beside the rendered answer for the access log and for metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProblemCode(pub &'static str);

/// One thing that is wrong with a request, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InputError {
    /// Where in the body: a JSON Pointer (RFC 6901).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pointer: Option<String>,
    /// Which query parameter, path parameter or header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameter: Option<Cow<'static, str>>,
    /// What is wrong, for programs.
    pub code: Cow<'static, str>,
    /// What is wrong, for people. Never holds what was sent.
    pub message: Cow<'static, str>,
}

impl InputError {
    /// An error at a place in the body, a JSON Pointer.
    pub fn at(
        pointer: impl Into<String>,
        code: impl Into<Cow<'static, str>>,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self { pointer: Some(pointer.into()), parameter: None, code: code.into(), message: message.into() }
    }

    /// An error in a query parameter, path parameter or header of this name.
    pub fn parameter(
        name: impl Into<Cow<'static, str>>,
        code: impl Into<Cow<'static, str>>,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self { pointer: None, parameter: Some(name.into()), code: code.into(), message: message.into() }
    }
}

/// A problem as answered (RFC 9457, with members of our own).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemBody {
    /// `urn:settled:` and the code.
    #[serde(rename = "type")]
    #[schema(example = "urn:settled:not_found")]
    pub kind: String,
    /// The status in words.
    pub title: Cow<'static, str>,
    /// The status.
    pub status: u16,
    /// What happened and what to do, for people.
    pub detail: Cow<'static, str>,
    /// What happened, for programs.
    pub code: Cow<'static, str>,
    /// The request's id, as in `x-request-id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// With 422: each thing that is wrong, and where.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<InputError>,
    /// What some codes add.
    #[serde(flatten)]
    #[schema(value_type = Object)]
    pub members: serde_json::Map<String, serde_json::Value>,
}

impl Problem {
    fn new(status: StatusCode, code: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Parts {
            status,
            code,
            detail: detail.into(),
            errors: Vec::new(),
            headers: Vec::new(),
            members: serde_json::Map::new(),
        }))
    }

    /// 400: the request cannot be read at all.
    pub fn bad_request(code: &'static str, detail: &'static str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, detail)
    }

    /// 400, 414 or 431: what came is no request that can be handed to a route.
    pub fn unreadable(status: StatusCode) -> Self {
        let (code, detail) = match status {
            StatusCode::URI_TOO_LONG => ("uri_too_long", "the request's target is too long"),
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => {
                ("header_too_large", "the request's header has too many or too long fields")
            }
            _ => ("malformed_request", "the request is not well-formed HTTP/1.1"),
        };
        Self::new(status, code, detail)
    }

    /// 401 `unauthenticated`: no credential, or one that is not valid, alike.
    pub fn unauthenticated() -> Self {
        Self::unauthenticated_because("unauthenticated", "a valid session token or API key is required")
    }

    /// 401 with a code of its own, for a caller that has proved to hold the credential.
    pub fn unauthenticated_because(code: &'static str, detail: &'static str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, code, detail)
            .header(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"settled\""))
    }

    /// 402 `quota_exceeded`, and of what. How much there may be is for members alone.
    pub fn quota_exceeded(quota: &str) -> Self {
        Self::new(StatusCode::PAYMENT_REQUIRED, "quota_exceeded", "a limit is reached").with("quota", quota)
    }

    /// 403 `forbidden`: the permission that is missing, such as `environment:manage`.
    pub fn forbidden(permission: &str) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", format!("the permission {permission} is required"))
            .with("permission", permission)
    }

    /// 403 for another cause than a missing permission.
    pub fn refused(code: &'static str, detail: &'static str) -> Self {
        Self::new(StatusCode::FORBIDDEN, code, detail)
    }

    /// 404 `not_found`: unknown, another organization's, or not readable to the caller, alike.
    pub fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", "there is nothing here that you may see")
    }

    /// 405 `method_not_allowed`, with `Allow` where the methods are given (`GET, HEAD`).
    pub fn method_not_allowed(allow: Option<HeaderValue>) -> Self {
        let problem = Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            "the header Allow names the methods of this resource",
        );
        match allow {
            Some(allow) => problem.header(ALLOW, allow),
            None => problem,
        }
    }

    /// 408 `request_timeout`: the body did not arrive in time. The connection is closed.
    pub fn request_timeout() -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "request_timeout", "the body did not arrive in time")
            .header(CONNECTION, HeaderValue::from_static("close"))
    }

    /// 409: what was asked for contradicts what is.
    pub fn conflict(code: &'static str, detail: &'static str) -> Self {
        Self::new(StatusCode::CONFLICT, code, detail)
    }

    /// 410 `cursor_expired`: the cursor is from before the store was restored.
    pub fn cursor_expired() -> Self {
        Self::new(StatusCode::GONE, "cursor_expired", "the store was restored since; begin the list again")
    }

    /// 412 `precondition_failed`: it changed since it was read.
    pub fn precondition_failed() -> Self {
        Self::new(StatusCode::PRECONDITION_FAILED, "precondition_failed", "it changed since; read it again")
    }

    /// 413 `payload_too_large`. The connection is closed, since the rest of the body is not read.
    pub fn payload_too_large(limit_bytes: usize) -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "payload_too_large",
            format!("a body has at most {limit_bytes} bytes"),
        )
        .header(CONNECTION, HeaderValue::from_static("close"))
    }

    /// 415 `unsupported_media_type`.
    pub fn unsupported_media_type() -> Self {
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            "a body is application/json in UTF-8, without a content encoding",
        )
    }

    /// 422 `invalid_request`; each error has a code of its own.
    pub fn unprocessable(errors: Vec<InputError>) -> Self {
        let mut problem =
            Self::unprocessable_because("invalid_request", "the request is not valid; see errors");
        problem.0.errors = errors;
        problem
    }

    /// 422 about one place in the body, a JSON Pointer.
    pub fn invalid_field(
        pointer: impl Into<String>,
        code: impl Into<Cow<'static, str>>,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self::unprocessable(vec![InputError::at(pointer, code, message)])
    }

    /// 422 about one query parameter, path parameter or header.
    pub fn invalid_parameter(
        name: impl Into<Cow<'static, str>>,
        code: impl Into<Cow<'static, str>>,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self::unprocessable(vec![InputError::parameter(name, code, message)])
    }

    /// 422 with a code of its own and no place, such as `too_large` or `idempotency_key_reused`.
    pub fn unprocessable_because(code: &'static str, detail: &'static str) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, detail)
    }

    /// 422 `invalid_token`: a mailed link that was used, is void, has ended, or never was, alike.
    pub fn invalid_link() -> Self {
        Self::invalid_field("/token", "invalid_token", "this link is good for nothing; ask for a new one")
    }

    /// 428 `precondition_required`: this needs `If-Match`.
    pub fn precondition_required() -> Self {
        Self::new(
            StatusCode::PRECONDITION_REQUIRED,
            "precondition_required",
            "the header If-Match is required",
        )
    }

    /// 429 `too_many_requests`, with `Retry-After` in seconds.
    pub fn too_many_requests(retry_after_seconds: u64) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", "try again after Retry-After seconds")
            .header(RETRY_AFTER, HeaderValue::from(retry_after_seconds))
    }

    /// 500 `internal`: a constant; the cause is in the log.
    pub fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "something went wrong; the log names it by this request's id",
        )
    }

    /// 503 with a code such as `not_yet`, `overloaded` or `clock_jumped`, with `Retry-After` in seconds.
    pub fn unavailable(code: &'static str, retry_after_seconds: u64) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code, "not possible at the moment; try again later")
            .header(RETRY_AFTER, HeaderValue::from(retry_after_seconds))
    }

    /// 507 `insufficient_storage`: the disk is nearly full.
    pub fn insufficient_storage() -> Self {
        Self::new(
            StatusCode::INSUFFICIENT_STORAGE,
            "insufficient_storage",
            "the server's disk is nearly full; reading and revoking go on",
        )
    }

    /// Adds a member of its own, such as the list that 409 `organization_selection_required` carries.
    #[must_use]
    pub fn with(mut self, member: &str, value: impl Into<serde_json::Value>) -> Self {
        self.0.members.insert(member.to_owned(), value.into());
        self
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.push((name, value));
        self
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        self.0.status
    }

    /// The code.
    pub fn code(&self) -> &'static str {
        self.0.code
    }

    /// What is wrong and where, with 422.
    pub fn errors(&self) -> &[InputError] {
        &self.0.errors
    }

    /// The body, with the id of the request that this task answers.
    pub fn body(&self) -> ProblemBody {
        let parts = &*self.0;
        ProblemBody {
            kind: format!("urn:settled:{}", parts.code),
            title: parts.status.canonical_reason().unwrap_or("Error").into(),
            status: parts.status.as_u16(),
            detail: parts.detail.clone(),
            code: parts.code.into(),
            request_id: RequestId::current().map(|id| id.as_str().to_owned()),
            errors: parts.errors.clone(),
            members: parts.members.clone(),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = serde_json::to_vec(&self.body()).expect("a problem has only strings and numbers");
        let mut response = Response::new(body.into());
        *response.status_mut() = self.0.status;
        response.extensions_mut().insert(ProblemCode(self.0.code));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, PROBLEM_JSON);
        headers.extend(self.0.headers);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::to_bytes;
    use axum::http::HeaderMap;

    async fn rendered(problem: Problem) -> (HeaderMap, serde_json::Value) {
        let response = problem.into_response();
        let headers = response.headers().clone();
        let body = to_bytes(response.into_body(), usize::MAX).await.expect("a body in memory");
        (headers, serde_json::from_slice(&body).expect("problems are JSON"))
    }

    #[tokio::test]
    async fn a_problem_has_all_members_of_the_contract() {
        let mut headers = HeaderMap::new();
        headers.insert("x-request-id", HeaderValue::from_static("abc-1"));
        let problem = Problem::invalid_field("/name", "too_long", "at most 100 characters");
        let (headers, body) = RequestId::of(&headers).scope(rendered(problem)).await;
        assert_eq!(headers[CONTENT_TYPE], "application/problem+json");
        assert_eq!(
            body,
            serde_json::json!({
                "type": "urn:settled:invalid_request",
                "title": "Unprocessable Entity",
                "status": 422,
                "detail": "the request is not valid; see errors",
                "code": "invalid_request",
                "request_id": "abc-1",
                "errors": [{"pointer": "/name", "code": "too_long", "message": "at most 100 characters"}],
            })
        );
    }

    #[tokio::test]
    async fn statuses_carry_the_header_that_tells_what_to_do() {
        let (headers, _) = rendered(Problem::unauthenticated()).await;
        assert_eq!(headers[WWW_AUTHENTICATE], "Bearer realm=\"settled\"");
        let (headers, _) = rendered(Problem::too_many_requests(7)).await;
        assert_eq!(headers[RETRY_AFTER], "7");
        let (headers, body) = rendered(Problem::unavailable("not_yet", 1)).await;
        assert_eq!((headers[RETRY_AFTER].as_bytes(), &body["code"]), (&b"1"[..], &"not_yet".into()));
        let (headers, _) = rendered(Problem::method_not_allowed(Some(HeaderValue::from_static("GET")))).await;
        assert_eq!(headers[ALLOW], "GET");
    }

    #[tokio::test]
    async fn a_missing_permission_and_a_quota_are_named() {
        let (_, body) = rendered(Problem::forbidden("environment:manage")).await;
        assert_eq!(body["permission"], "environment:manage");
        let (_, body) = rendered(Problem::quota_exceeded("environments")).await;
        assert_eq!(body["quota"], "environments");
    }
}
