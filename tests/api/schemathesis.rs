//! schemathesis (from PyPI) against a real process: what it makes up from the OpenAPI document is never answered with
//! a 5xx, and every answer is as documented.

use std::process::Command;

use serde_json::{Value, json};

use crate::process::Process;
use crate::server::{PASSWORD, text};
use crate::tools::installed;

async fn post(base: &str, path: &str, token: Option<&str>, body: &Value) -> Value {
    let mut request =
        settled::client::http::plain().build().unwrap().post(format!("{base}{path}")).json(body);
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    crate::server::send(request).await.is(201).json()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_schemathesis_makes_up_is_answered_as_documented() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mails = folder.path().join("mails");
    let mail = ["--signup", "open", "--mail-dir", mails.to_str().unwrap()];
    let process = Process::start(&data, &[&["--organizations", "open"], &mail[..]].concat());
    let setup_token = std::fs::read_to_string(data.join("setup-token")).unwrap();
    let body = json!({
        "setup_token": setup_token.trim(),
        "organization": {"name": "Acme", "timezone": "UTC"},
        "person": {"email": "olive@example.com", "name": "Olive", "password": PASSWORD},
    });
    let token = text(&post(&process.base, "/v1/setup", None, &body).await["session"]["token"]);
    post(&process.base, "/v1/environments", Some(&token), &json!({"name": "Dev", "mode": "test"})).await;

    let scale: u32 = std::env::var("SETTLED_TEST_SCALE").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    let mut schemathesis = Command::new(installed("schemathesis", "schemathesis"));
    schemathesis
        .arg("run")
        .arg(format!("{}/v1/openapi.json", process.base))
        .args(["--header", &format!("Authorization: Bearer {token}")])
        // They end the session that all other requests need.
        .args(["--exclude-path", "/v1/auth/logout", "--exclude-path", "/v1/auth/switch"])
        // It has no end to wait for.
        .args(["--exclude-path", "/v1/audit/stream"])
        .args([
            "--phases",
            "examples,coverage,fuzzing",
            "--continue-on-failure",
            "--no-shrink",
            "--seed",
            "1",
        ])
        // What a time zone's name or a cursor is, no schema says: such requests are well refused.
        .args(["--checks", "all", "--exclude-checks", "positive_data_acceptance"])
        .args(["--max-examples", &(10 * scale).to_string()])
        .current_dir(folder.path());
    let output =
        tokio::task::spawn_blocking(move || schemathesis.output()).await.unwrap().expect("it starts");
    let report = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{report}");
    let tested = report.lines().find(|line| line.contains("Tested:")).unwrap_or_default();
    assert!(tested.chars().any(|digit| ('1'..='9').contains(&digit)), "it tested nothing: {report}");
    process.stop();
}
