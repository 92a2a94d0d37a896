//! `settled restore`: an operator brings settings back, through a running server or on the directory itself.

use serde_json::{Value, json};

use crate::process::{Login, Server, Start, settled_on};

async fn value(server: &Server, login: &Login) -> Value {
    server.call(login, "GET", "/v1/environments/stage/config/REGION", None).await.1["value"].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_brings_an_environment_back_with_a_server_and_without_one() {
    let dir = tempfile::tempdir().unwrap();
    let start = Start::on(dir.path().join("data"));
    let server = start.serve();
    let login = server.set_up().await;
    let stage = json!({"name": "Stage", "mode": "test"});
    let (_, made) = server.call(&login, "POST", "/v1/environments", Some(stage)).await;
    let mut version = Value::Null;
    for region in ["north", "south"] {
        let path = "/v1/environments/stage/config/REGION";
        let (_, put) = server.call(&login, "PUT", path, Some(json!({"value": region}))).await;
        if region == "north" {
            version = put["version"].clone();
        }
    }
    let as_of = version.to_string();
    let args = |more: &[&'static str]| {
        let mut args = vec!["restore", "--as-of", &*as_of, "--organization", &*login.organization];
        args.extend(["--environment", "stage"]);
        args.extend(more);
        settled_on(&start.dir, &args)
    };

    let planned = args(&["--dry-run", "--json"]);
    assert_eq!(planned.code, Some(0), "{planned:?}");
    let step = planned.json()["steps"][0].clone();
    assert_eq!((&step["action"], &step["from"]["value"]), (&json!("config.set"), &json!("south")));
    assert_eq!(step["resource"]["id"], made["id"]);
    assert_eq!(value(&server, &login).await, "south", "a dry run changes nothing");

    let done = args(&[]);
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(done.stdout.contains("config.set") && done.stdout.contains("1 steps were made"), "{done:?}");
    assert_eq!(value(&server, &login).await, "north");
    let (_, audit) = server.call(&login, "GET", "/v1/audit?action=organization.restore", None).await;
    assert_eq!(audit["data"][0]["user"]["id"], "operator");

    let (_, _) = server.call(&login, "DELETE", "/v1/environments/stage", None).await;
    assert_eq!(server.stop().and_then(|status| status.code()), Some(0));
    let alone = args(&["--json"]);
    assert_eq!(alone.code, Some(0), "{alone:?}");
    assert!(alone.stderr.contains("itself: no server is running on it"), "{alone:?}");
    let actions: Vec<_> =
        alone.json()["steps"].as_array().unwrap().iter().map(|step| step["action"].clone()).collect();
    assert_eq!(actions, ["environment.create", "config.set"]);
    let server = start.serve();
    assert_eq!(value(&server, &login).await, "north");

    for wrong in [
        &["restore", "--as-of", "yesterday", "--organization", &*login.organization][..],
        &["restore", "--as-of", "1", "--organization", "acme"],
    ] {
        assert_eq!(settled_on(&start.dir, wrong).code, Some(2), "{wrong:?}");
    }
    let nobody = "org_01kqxk5rd0e5xrpzzv0jjq4zgn";
    for unknown in [
        &["restore", "--as-of", "1", "--organization", nobody][..],
        &["restore", "--as-of", "1", "--organization", &*login.organization, "--environment", "a b"],
    ] {
        let refused = settled_on(&start.dir, unknown);
        assert_eq!(refused.code, Some(1), "{refused:?}");
    }
}
