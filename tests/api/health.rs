//! `/healthz`, `/readyz`, `/v1/version`, `/v1/openapi.json`, and the operator's socket.

use serde_json::{Value, json};

use crate::server::TestServer;

#[tokio::test(flavor = "multi_thread")]
async fn health_needs_no_set_up_and_gives_no_reasons() {
    let server = TestServer::start().await;
    for path in ["/healthz", "/readyz"] {
        assert_eq!(server.get_unknown(path).await.is(200).json(), json!({"status": "ok"}));
    }
    assert_eq!(server.get_unknown("/v1/version").await.is(200).json()["name"], "settled");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_openapi_document_is_served_and_is_the_committed_one() {
    let server = TestServer::start().await;
    let served = server.get_unknown("/v1/openapi.json").await.is(200).json();
    assert_eq!(served, serde_json::to_value(settled::http::openapi::document()).unwrap());
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/openapi.json");
    let committed: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert!(served == committed, "schemas/openapi.json is old: run `cargo xtask schemas`");
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_see_figures_and_status_on_their_socket_alone() {
    use std::os::unix::fs::PermissionsExt as _;

    let (server, owner) = TestServer::set_up().await;
    server.get("/v1/general", &owner).await.is(200);
    let (status, metrics) = server.operator("GET", "/metrics", None).await;
    assert_eq!(status, 200);
    assert!(metrics.contains("/v1/general") && metrics.trim_end().ends_with("# EOF"), "{metrics}");
    let (status, body) = server.operator("GET", "/v1/operator/status", None).await;
    assert_eq!(status, 200);
    assert!(body.contains("\"ready\":true"), "{body}");
    let (status, body) = server.operator("POST", "/v1/operator/replay", None).await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(server.operator("POST", "/v1/operator/fsck", None).await.0, 200);
    assert_eq!(server.operator("GET", "/v1/general", None).await.0, 404);

    let mode = std::fs::metadata(server.data_dir().join("operator.sock")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    for path in ["/metrics", "/v1/operator/status"] {
        server.get(path, &owner).await.is_problem(404, "not_found");
    }
}
