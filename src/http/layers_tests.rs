//! What every answer has, whatever the handler does.

use std::io;
use std::sync::Mutex;

use axum::body::{Body, to_bytes};
use axum::http::StatusCode;
use axum::routing::{get, post};
use tower::ServiceExt as _;
use tracing_subscriber::fmt::MakeWriter;

use super::*;

fn app(metrics: Metrics) -> Router {
    let routes = Router::new()
        .route("/things/{id}", get(async || "a thing"))
        .route("/body", post(async |body: RawBody| format!("{} bytes", body.as_bytes().len())))
        .route("/panic", get(panics).post(panics_over));
    wrap(routes, metrics, Arc::new(Limits { body_bytes: 64, ..Limits::default() }))
}

async fn panics() -> &'static str {
    panic!("hunter2")
}

async fn panics_over(body: RawBody) -> &'static str {
    panic!("{}", String::from_utf8_lossy(body.as_bytes()))
}

async fn ask(request: axum::http::request::Builder, body: &'static str) -> Response {
    let request = request.header("host", "settled").body(Body::from(body)).expect("a request");
    app(Metrics::new()).oneshot(request).await.expect("routers do not fail")
}

async fn json(response: Response) -> serde_json::Value {
    let bytes = to_bytes(response.into_body(), usize::MAX).await.expect("a body");
    serde_json::from_slice(&bytes).expect("JSON")
}

#[tokio::test]
async fn a_sane_request_id_is_returned_and_any_other_is_replaced() {
    let response = ask(Request::get("/things/1").header("x-request-id", "a.B_c-1"), "").await;
    assert_eq!(response.headers()["x-request-id"], "a.B_c-1");
    for insane in ["", "a b", "ä", &"a".repeat(129)] {
        let response = ask(Request::get("/things/1").header("x-request-id", insane.as_bytes()), "").await;
        let id = response.headers()["x-request-id"].to_str().expect("ASCII");
        assert!(id.starts_with("req_") && id.len() == 30, "{id}");
    }
}

#[tokio::test]
async fn nothing_is_stored_by_caches() {
    for path in ["/things/1", "/nowhere", "/panic"] {
        assert_eq!(ask(Request::get(path), "").await.headers()["cache-control"], "no-store", "{path}");
    }
}

#[tokio::test]
async fn an_unknown_path_and_a_wrong_method_are_problems() {
    let response = ask(Request::get("/nowhere").header("x-request-id", "r1"), "").await;
    assert_eq!(response.status(), StatusCode::NOT_FOUND);
    let body = json(response).await;
    assert_eq!((&body["code"], &body["request_id"]), (&"not_found".into(), &"r1".into()));

    let response = ask(Request::delete("/things/1"), "").await;
    assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(response.headers()["allow"], "GET,HEAD");
    assert_eq!(json(response).await["code"], "method_not_allowed");
}

#[tokio::test]
async fn bodies_are_checked_before_the_handler() {
    let json_body = |text| ask(Request::post("/body").header("content-type", "application/json"), text);
    assert_eq!(json_body("{}").await.status(), StatusCode::OK);
    assert_eq!(json_body("{").await.status(), StatusCode::BAD_REQUEST);
    assert_eq!(ask(Request::post("/body"), "{}").await.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert_eq!(ask(Request::post("/body"), "").await.status(), StatusCode::OK);
    let long = Box::leak(format!("\"{}\"", "a".repeat(64)).into_boxed_str());
    assert_eq!(json_body(long).await.status(), StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn a_request_has_one_valid_host() {
    let with = async |version: Version, hosts: &[&str]| {
        let mut request = Request::get("/things/1").version(version);
        for host in hosts {
            request = request.header("host", *host);
        }
        let request = request.body(Body::empty()).expect("a request");
        app(Metrics::new()).oneshot(request).await.expect("routers do not fail").status()
    };
    for host in ["settled", "settled:7373", "[::1]:7373", "127.0.0.1", ""] {
        assert_eq!(with(Version::HTTP_11, &[host]).await, StatusCode::OK, "{host}");
    }
    assert_eq!(with(Version::HTTP_10, &[]).await, StatusCode::OK);
    for hosts in [&[][..], &["a", "a"], &["a", "b"], &["a@b"], &["a/b"], &["a b"]] {
        assert_eq!(with(Version::HTTP_11, hosts).await, StatusCode::BAD_REQUEST, "{hosts:?}");
    }
    assert_eq!(with(Version::HTTP_10, &["a", "a"]).await, StatusCode::BAD_REQUEST);
}

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Captured {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().expect("no panic").clone()).expect("UTF-8")
    }
}

impl io::Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no panic").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Captured {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn a_panic_is_a_constant_500_and_one_log_line_without_its_text() {
    let captured = Captured::default();
    let subscriber = tracing_subscriber::fmt()
        .json()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(captured.clone())
        .finish();
    let _default = tracing::subscriber::set_default(subscriber);
    let previous = std::panic::take_hook();
    crate::logging::panics_without_their_text();
    let got = ask(Request::get("/panic").header("x-request-id", "r2"), "").await;
    let sent = Request::post("/panic?value=hunter2").header("x-request-id", "r3");
    let sent = sent.header("content-type", "application/json").header("x-fastn-api-key", "hunter2");
    let sent = ask(sent, r#"{"value": "hunter2"}"#).await;
    std::panic::set_hook(previous);

    let log = captured.text();
    for (response, id) in [(got, "r2"), (sent, "r3")] {
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        let body = json(response).await;
        assert_eq!((&body["code"], &body["request_id"]), (&"internal".into(), &id.into()));
        assert!(!body.to_string().contains("hunter2"), "{body}");
        let is_told = |line: &&str| line.contains("settled::panic") && line.contains(id);
        let lines: Vec<_> = log.lines().filter(is_told).collect();
        assert!(lines.len() == 1 && lines[0].contains("layers_tests.rs"), "{log}");
    }
    assert!(!log.contains("hunter2"), "{log}");
}

#[tokio::test]
async fn the_access_log_and_the_metrics_name_templates_only() {
    let captured = Captured::default();
    let subscriber = tracing_subscriber::fmt()
        .json()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(captured.clone())
        .finish();
    let _default = tracing::subscriber::set_default(subscriber);
    let metrics = Metrics::new();
    for path in ["/things/hunter2?q=hunter2", "/hunter2"] {
        let request = Request::get(path)
            .header("host", "hunter2")
            .header("cookie", "hunter2")
            .body(Body::empty())
            .expect("a request");
        app(metrics.clone()).oneshot(request).await.expect("routers do not fail");
    }
    let request = Request::builder().method("HUNTER2").uri("/things/1").header("host", "hunter2");
    let request = request.body(Body::empty()).expect("a request");
    app(metrics.clone()).oneshot(request).await.expect("routers do not fail");

    let (log, text) = (captured.text(), metrics.encode());
    assert!(log.contains("\"route\":\"/things/{id}\"") && log.contains("\"route\":\"unmatched\""), "{log}");
    assert!(log.contains("\"code\":\"not_found\"") && log.contains("\"status\":404"), "{log}");
    for secret in ["hunter2", "HUNTER2"] {
        assert!(!log.contains(secret) && !text.contains(secret), "{log}\n{text}");
    }
    assert!(text.contains(r#"route="/things/{id}",status="2xx"} 1"#), "{text}");
}
