//! What surrounds every route: the request's id, what is measured and logged of it, panics, and bodies.
//!
//! A log line never holds a path, a query, an address or anything that a client sent: routes are logged as
//! their templates.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{CACHE_CONTROL, HOST};
use axum::http::uri::Authority;
use axum::http::{HeaderValue, Method, Version};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use tokio::time::Instant;
use tracing::Instrument as _;

use crate::http::body_memory::BodyMemory;
use crate::http::input::RawBody;
use crate::http::limits::Limits;
use crate::http::problem::{Problem, ProblemCode};
use crate::http::request_id::{RequestId, X_REQUEST_ID};
use crate::metrics::{Metrics, UNMATCHED};

const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// Puts around a router with all its routes what every one of them needs.
///
/// Bodies are read and checked ([`RawBody`]) before the handler, so before anybody is authenticated.
pub fn wrap(router: Router, metrics: Metrics, limits: Arc<Limits>) -> Router {
    enclose(with_fallbacks(router), metrics, limits)
}

/// What a router answers where it has no route, or not of this method.
pub fn with_fallbacks(router: Router) -> Router {
    router
        .fallback(async || Problem::not_found())
        // axum adds `Allow`.
        .method_not_allowed_fallback(async || Problem::method_not_allowed(None))
}

/// As [`wrap`], around all that a router answers already.
pub fn enclose(router: Router, metrics: Metrics, limits: Arc<Limits>) -> Router {
    router.layer(from_fn_with_state(
        Around { metrics, memory: BodyMemory::new(limits.body_memory), limits },
        around,
    ))
}

/// What is needed around a route.
#[derive(Clone)]
struct Around {
    metrics: Metrics,
    limits: Arc<Limits>,
    memory: BodyMemory,
}

/// Gives the request its id and reads its body; measures, logs and, where it panics, makes its answer.
///
/// One layer, since each costs a request some 400 ns.
#[expect(clippy::disallowed_methods, reason = "how long a request took is measured, and decides nothing")]
async fn around(State(around): State<Around>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let id = RequestId::of(request.headers());
    let method = request.method().clone();
    let matched = request.extensions().get::<MatchedPath>().cloned();
    let span = tracing::info_span!(target: "settled::request", "request", id = %id);

    let is_matched = matched.is_some();
    let answer = async {
        match around.admit(request, is_matched).await {
            Ok(request) => next.run(request).await,
            Err(problem) => problem.into_response(),
        }
    };
    let answer = id.clone().scope(unless_it_panics(answer));
    let mut response = answer.instrument(span.clone()).await;

    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, NO_STORE);
    headers.insert(X_REQUEST_ID, id.header_value());

    let route = matched.as_ref().map_or(UNMATCHED, MatchedPath::as_str);
    let took = started.elapsed();
    around.metrics.request(&method, route, response.status(), took);
    log(&span, &method, route, &response, took);
    response
}

impl Around {
    /// What of a request must be right before anything of it is looked at; with its body, if it has one, for the handler
    /// to find as its [`RawBody`]. Whether the route takes one is for its row to say.
    async fn admit(&self, mut request: Request, is_matched: bool) -> Result<Request, Problem> {
        check_host(&request)?;
        if is_matched && !http_body::Body::is_end_stream(request.body()) {
            let body = std::mem::take(request.body_mut());
            let body = RawBody::read(request.headers(), body, &self.limits, &self.memory).await?;
            request.extensions_mut().insert(body);
        }
        Ok(request)
    }
}

/// RFC 9112 §3.2: exactly one `Host`, and a valid one; HTTP/1.0 may do without.
fn check_host(request: &Request) -> Result<(), Problem> {
    let mut hosts = request.headers().get_all(HOST).iter();
    let is_right = match (hosts.next(), hosts.next()) {
        (Some(host), None) => {
            host.is_empty()
                || Authority::try_from(host.as_bytes()).is_ok_and(|host| !host.as_str().contains('@'))
        }
        (None, _) => request.version() < Version::HTTP_11,
        (Some(_), Some(_)) => false,
    };
    if is_right {
        Ok(())
    } else {
        Err(Problem::bad_request("invalid_host", "a request has one header Host, a name or an address"))
    }
}

fn log(span: &tracing::Span, method: &Method, route: &str, response: &Response, took: std::time::Duration) {
    let status = response.status().as_u16();
    let code = response.extensions().get::<ProblemCode>().map(|code| code.0);
    let ms = took.as_secs_f64() * 1e3;
    // An unusual method is whatever the client made up.
    let method = if is_usual(method) { method.as_str() } else { "other" };
    // A failure of ours is worth a line by default; each request is for who asks for it.
    if status >= 500 {
        tracing::warn!(target: "settled::access", parent: span, method, route, status, code, ms);
    } else {
        tracing::debug!(target: "settled::access", parent: span, method, route, status, code, ms);
    }
}

fn is_usual(method: &Method) -> bool {
    matches!(
        *method,
        Method::GET
            | Method::HEAD
            | Method::POST
            | Method::PUT
            | Method::PATCH
            | Method::DELETE
            | Method::OPTIONS
    )
}

/// The answer, or a constant 500 if its handler panics. The log line is the panic hook's.
async fn unless_it_panics(answer: impl Future<Output = Response>) -> Response {
    let mut answer = pin!(answer);
    // Safe to go on: the future is never polled again, and what it shared is behind locks that the
    // domain does not hold across a panic's way, or poisons.
    let caught =
        std::future::poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| answer.as_mut().poll(cx))) {
            Ok(std::task::Poll::Pending) => std::task::Poll::Pending,
            Ok(std::task::Poll::Ready(response)) => std::task::Poll::Ready(Some(response)),
            Err(_) => std::task::Poll::Ready(None),
        });
    caught.await.unwrap_or_else(|| Problem::internal().into_response())
}

#[cfg(test)]
#[path = "layers_tests.rs"]
mod tests;
