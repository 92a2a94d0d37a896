//! The Rust client against a real server, and the program in its documentation.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;
use settled::client::Ctx;
use settled::client::api::Api;

use crate::process::{SETTLED, Start, run};
use crate::workflow::Workflow;

/// The program in the documentation of `settled::client`, built with the tests.
fn documented() -> PathBuf {
    let program = Path::new(SETTLED).with_file_name("examples").join("read_secret");
    assert!(program.exists(), "build it: cargo build --example read_secret");
    program
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_program_in_the_documentation_prints_a_secret() {
    let dir = tempfile::tempdir().unwrap();
    let workflow = Workflow::start(&Start::on(dir.path().join("data")), "workflow").await;
    let asks = [
        ("POST", "/v1/environments", json!({"name": "Production", "mode": "live"})),
        ("POST", "/v1/secrets", json!({"name": "PAYMENT_KEY", "value": "sk_1", "environment": "production"})),
        ("PUT", "/v1/environments/production/config/API_URL", json!({"value": "https://api.example.com"})),
    ];
    for (method, path, body) in asks {
        let (status, body) = workflow.server.call(&workflow.login, method, path, Some(body)).await;
        assert_eq!(status, 201, "{body}");
    }
    let mut program = std::process::Command::new(documented());
    program.env("SETTLED_URL", &workflow.server.url).env("SETTLED_API_KEY", &workflow.key);
    let ended = run(program);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(ended.stdout, "sk_1 is for https://api.example.com\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_goes_on_while_the_server_is_away_and_a_watcher_misses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let start = Start::on(dir.path().join("data"));
    let mut workflow = Workflow::start(&start, "workflow").await;
    let secret = workflow.secret("VALUE", "one").await;
    let ctx = Ctx::new(Api::new(&workflow.server.url, &workflow.key).unwrap(), "prod");
    let first = ctx.fetch().await.unwrap();
    assert_eq!(first.secret("VALUE").unwrap().as_str(), Ok("one"));
    assert_eq!(ctx.fetch().await.unwrap().version(), first.version());
    let mut watch = ctx.watch(&first);
    workflow.change(&secret, "two").await;
    let told = tokio::time::timeout(Duration::from_secs(30), watch.next()).await.unwrap().unwrap();
    assert_eq!(told.secret("VALUE").unwrap().as_str(), Ok("two"));

    let address = workflow.server.url.strip_prefix("http://").unwrap().to_owned();
    workflow.server.process.kill();
    let away = ctx.fetch().await.unwrap();
    assert!(away.unconfirmed_for().is_some());
    assert_eq!(away.secret("VALUE").unwrap().as_str(), Ok("two"));
    assert!(ctx.secret("VALUE").await.unwrap_err().is_passing());

    let waiting = tokio::spawn(async move { watch.next().await });
    workflow.server = start.listening(&address).serve();
    workflow.change(&secret, "three").await;
    let told = tokio::time::timeout(Duration::from_secs(60), waiting).await.unwrap().unwrap().unwrap();
    assert_eq!(told.secret("VALUE").unwrap().as_str(), Ok("three"));
    assert_eq!(ctx.secret("VALUE").await.unwrap().value.as_str(), Ok("three"));
    assert_eq!(ctx.fetch().await.unwrap().unconfirmed_for(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_reads_connections_and_a_watcher_is_told_of_another_token() {
    let dir = tempfile::tempdir().unwrap();
    let workflow = Workflow::start(&Start::on(dir.path().join("data")), "workflow").await;
    workflow.secret("VALUE", "one").await;
    let call = async |method: &str, path: &str, body, expected| {
        let (status, body) = workflow.server.call(&workflow.login, method, path, Some(body)).await;
        assert_eq!(status, expected, "{body}");
        body
    };
    let token = json!({"kind": "token", "name": "billing", "token": "first", "environment": "prod"});
    let made = call("POST", "/v1/connections", token, 201).await;
    let basic =
        json!({"kind": "basic", "name": "legacy", "username": "n", "password": "p", "environment": "prod"});
    call("POST", "/v1/connections", basic, 201).await;

    let ctx = Ctx::new(Api::new(&workflow.server.url, &workflow.key).unwrap(), "prod");
    let first = ctx.fetch().await.unwrap();
    let billing = first.connection("billing").unwrap();
    assert_eq!((billing.kind(), billing.token().unwrap().as_str()), ("token", Ok("first")));
    let (name, password) = first.connection("legacy").unwrap().basic().unwrap();
    assert_eq!((name.as_str(), password.as_str()), (Ok("n"), Ok("p")));
    let mut watch = ctx.watch(&first);
    let path = format!("/v1/connections/{}", made["connection"]["id"].as_str().unwrap());
    call("PATCH", &path, json!({"token": "second"}), 200).await;
    let told = tokio::time::timeout(Duration::from_secs(30), watch.next()).await.unwrap().unwrap();
    assert_eq!(told.connection("billing").unwrap().token().unwrap().as_str(), Ok("second"));
}
