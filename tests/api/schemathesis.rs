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

/// The document without the headers that any request may have, all of which are referred to. What somebody saw elsewhere, or
/// will see, is well answered with 412 or 503; `documented` and `conventions` have tests of each.
fn without_conditions(mut document: Value) -> Value {
    let paths = document["paths"].as_object_mut().expect("a document has paths");
    for operation in paths.values_mut().filter_map(Value::as_object_mut).flat_map(|item| item.values_mut()) {
        if let Some(parameters) = operation.get_mut("parameters").and_then(Value::as_array_mut) {
            parameters.retain(|parameter| parameter.get("$ref").is_none());
        }
    }
    document
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

    let document = without_conditions(serde_json::to_value(settled::http::openapi::document()).unwrap());
    std::fs::write(folder.path().join("openapi.json"), document.to_string()).unwrap();

    let scale: u32 = std::env::var("SETTLED_TEST_SCALE").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    let mut schemathesis = Command::new(installed("schemathesis", "schemathesis"));
    schemathesis
        .args(["run", "openapi.json", "--url", &process.base])
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
