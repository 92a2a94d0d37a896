//! The operator's socket: figures and status of a server that has worked.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::journal::Journal;
use crate::process::Start;

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
