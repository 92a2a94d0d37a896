//! The operator's socket: figures and status of a server that has worked.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::journal::Journal;
use crate::process::{Start, settled_on, text};

/// The value of the one line that begins with this.
pub fn figure(metrics: &str, begins: &str) -> f64 {
    let line = metrics.lines().find(|line| line.starts_with(begins));
    let line = line.unwrap_or_else(|| panic!("{begins} is not in\n{metrics}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn figures_and_status_tell_what_the_server_did() {
    let dir = tempfile::tempdir().unwrap();
    let server = Start::on(dir.path().join("data")).serve();
    let mode = std::fs::metadata(server.socket()).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    let status: Value = serde_json::from_str(&server.operator("/v1/operator/status")).unwrap();
    assert_eq!((&status["ready"], &status["position"]), (&json!(true), &json!(0)), "{status}");

    let login = server.set_up().await;
    let journal = Arc::new(Journal::default());
    let writers = journal.write(&server, &login, 8);
    tokio::time::sleep(Duration::from_millis(500)).await;
    drop(writers);
    let (status, _) = server.call(&login, "GET", "/v1/environments/prod/config/NOT_THERE", None).await;
    assert_eq!(status, 404);

    // What was on its way when its client left is decided still.
    let deadline = Instant::now() + Duration::from_secs(30);
    while figure(&server.operator("/metrics"), "settled_queue_length") > 0.0 {
        assert!(Instant::now() < deadline, "the queue does not empty");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let metrics = server.operator("/metrics");
    let put = r#"settled_request_seconds_count{method="PUT",route="/v1/environments/{env}/config/{key}",status="2xx"}"#;
    let acknowledged = journal.acknowledged() as f64;
    assert!(figure(&metrics, put) >= acknowledged, "{metrics}");
    let missing = r#"settled_request_seconds_count{method="GET",route="/v1/environments/{env}/config/{key}",status="4xx"}"#;
    assert_eq!(figure(&metrics, missing), 1.0);
    assert!(figure(&metrics, "settled_batch_events_sum") >= acknowledged);
    assert!(figure(&metrics, "settled_batch_commands_count") > 1.0);
    assert!(figure(&metrics, "settled_sync_seconds_count") > 1.0);
    assert!(figure(&metrics, "settled_sync_seconds_sum") > 0.0);
    assert_eq!(figure(&metrics, "settled_streams_in_memory"), 2.0);
    assert!(figure(&metrics, "settled_disk_free_bytes") > 1e6);
    assert!(figure(&metrics, "settled_process_resident_memory_bytes") > 1e6);
    assert!(metrics.ends_with("# EOF\n"));
    for private in [&login.token, &login.organization, "ada", "W0_"] {
        assert!(!metrics.contains(private), "{private} is in the figures");
    }

    let status: Value = serde_json::from_str(&server.operator("/v1/operator/status")).unwrap();
    assert_eq!((&status["ready"], &status["problems"]), (&json!(true), &json!([])), "{status}");
    assert!(status["position"].as_u64().unwrap() > 3, "{status}");
    assert_eq!(status["queue"], json!({"length": 0, "capacity": 1024}));
    assert_eq!((&status["streams"], &status["credentials"]), (&json!(2), &json!(1)), "{status}");
    assert!(status["newest_event_at"].as_str() <= status["now"].as_str(), "{status}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operators_routes_are_not_on_the_public_port() {
    let dir = tempfile::tempdir().unwrap();
    let server = Start::on(dir.path().join("data")).serve();
    let login = server.set_up().await;
    for path in ["/metrics", "/v1/operator/status", "/v1/operator/log/export"] {
        let (status, body) = server.call(&login, "GET", path, None).await;
        assert_eq!((status, &body["code"]), (404, &json!("not_found")), "{path}");
    }
}

/// Where operators are served over TCP, as a running server notes it.
fn port(data: &Path) -> String {
    let note: Value = serde_json::from_str(&fs::read_to_string(data.join("server.json")).unwrap()).unwrap();
    text(&note["operator_listen"])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_port_operators_need_the_token_whatever_they_ask_for() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let start = Start::on(&data).with(&["--operator-listen", "127.0.0.1:0"]);
    let server = start.serve();
    let login = server.set_up().await;
    let (at, file) = (port(&data), data.join("operator-token"));
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let token = fs::read_to_string(&file).unwrap().trim().to_owned();
    let client = settled::client::http::plain().build().unwrap();
    let ask = async |path: &str, credential: Option<(&str, &str)>| {
        let mut request = client.get(format!("http://{at}{path}"));
        if let Some((name, value)) = credential {
            request = request.header(name, value);
        }
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    let bearer = format!("Bearer {token}");
    for path in ["/v1/operator/status", "/metrics", "/readyz", "/v1/operator/log/export", "/nowhere"] {
        let others =
            [format!("Bearer {}", login.token), format!("Bearer {token}x"), format!("Basic {token}")];
        for other in others {
            assert_eq!(ask(path, Some(("authorization", &other))).await.0, 401, "{path}, {other}");
        }
        assert_eq!(ask(path, Some(("x-fastn-api-key", &token))).await.0, 401, "{path}");
        let (status, body) = ask(path, None).await;
        assert_eq!(status, 401, "{path}");
        assert!(body.contains("unauthenticated") && !body.contains(&token), "{body}");
        let expected = if path == "/nowhere" { 404 } else { 200 };
        assert_eq!(ask(path, Some(("authorization", &bearer))).await.0, expected, "{path}");
    }
    // The socket is as it was, and so is the token after another start.
    assert!(server.operator("/metrics").ends_with("# EOF\n"));
    assert_eq!(server.stop().and_then(|status| status.code()), Some(0));
    let server = start.serve();
    assert_eq!(fs::read_to_string(&file).unwrap().trim(), token);
    drop(server);
}

#[test]
fn a_token_goes_over_no_network_in_the_clear_and_a_weak_one_is_none() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let serve = |args: &[&str]| settled_on(&data, &[&["serve", "--listen", "127.0.0.1:0"], args].concat());
    let refused = serve(&["--operator-listen", "0.0.0.0:0"]);
    assert!(refused.code == Some(2) && refused.stderr.contains("needs --tls-cert"), "{refused:?}");
    let weak = dir.path().join("token");
    fs::write(&weak, "hunter2\n").unwrap();
    fs::set_permissions(&weak, fs::Permissions::from_mode(0o600)).unwrap();
    let refused =
        serve(&["--operator-listen", "127.0.0.1:0", "--operator-token-file", weak.to_str().unwrap()]);
    assert!(refused.code == Some(2) && refused.stderr.contains("32 visible ASCII characters"), "{refused:?}");
}
