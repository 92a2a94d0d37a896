//! `settled secrets import` and `export`.

use std::io::Write as _;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::process::{Ended, Start, run};
use crate::workflow::Workflow;

async fn developer(dir: &tempfile::TempDir) -> Workflow {
    Workflow::start(&Start::on(dir.path().join("data")), "developer").await
}

fn import(workflow: &Workflow, file: &str, options: &[&str]) -> Ended {
    run(workflow.client(&[&["secrets", "import", file, "--environment", "prod"], options].concat()))
}

fn export(workflow: &Workflow, format: &str) -> Ended {
    let ended = run(workflow.client(&["secrets", "export", "--environment", "prod", "--format", format]));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    ended
}

async fn version(workflow: &Workflow) -> u64 {
    let (status, page) =
        workflow.server.call(&workflow.login, "GET", "/v1/audit?limit=1&action=secret.*", None).await;
    assert_eq!(status, 200, "{page}");
    page["data"][0]["version"].as_u64().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_is_imported_whole_or_not_at_all_and_exported_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let workflow = developer(&dir).await;
    let file = dir.path().join(".env");
    let path = file.to_str().unwrap();
    std::fs::write(&file, "# ours\nPAYMENT_KEY='sk 1$'\nexport PEM=\"one\\ntwo\"  # lines\nPLAIN=x\n")
        .unwrap();

    let dry = import(&workflow, path, &["--dry-run"]);
    assert_eq!(dry.code, Some(0), "{dry:?}");
    assert!(dry.stdout.contains("3 secrets would be written"), "{dry:?}");
    assert_eq!(version(&workflow).await, 0, "a dry run appends nothing");
    let imported = import(&workflow, path, &["--json"]);
    assert_eq!(imported.code, Some(0), "{imported:?}");
    let names: Vec<_> =
        imported.json()["secrets"].as_array().unwrap().iter().map(|row| row["name"].clone()).collect();
    assert_eq!(names, ["PAYMENT_KEY", "PEM", "PLAIN"]);

    std::fs::write(&file, "PLAIN=y\nNEW=z\n").unwrap();
    let before = version(&workflow).await;
    let conflict = import(&workflow, path, &[]);
    assert_eq!((conflict.code, conflict.stdout.as_str()), (Some(1), ""), "{conflict:?}");
    assert!(conflict.stderr.contains("PLAIN") && !conflict.stderr.contains("PAYMENT_KEY"), "{conflict:?}");
    assert_eq!(version(&workflow).await, before, "all or none");
    let overwritten = import(&workflow, path, &["--overwrite"]);
    assert_eq!(overwritten.code, Some(0), "{overwritten:?}");
    assert!(
        overwritten.stdout.contains("updated") && overwritten.stdout.contains("created"),
        "{overwritten:?}"
    );

    let exported = export(&workflow, "dotenv").stdout;
    assert_eq!(exported, "NEW='z'\nPAYMENT_KEY='sk 1$'\nPEM='one\ntwo'\nPLAIN='y'\n");
    let json: Value = serde_json::from_str(&export(&workflow, "json").stdout).unwrap();
    assert_eq!(json, json!({"NEW": "z", "PAYMENT_KEY": "sk 1$", "PEM": "one\ntwo", "PLAIN": "y"}));
    let (_, page) =
        workflow.server.call(&workflow.login, "GET", "/v1/audit?action=secret.reveal", None).await;
    assert_eq!(page["total"], 8, "each is recorded");

    // What was exported is taken again, from a pipe too.
    let mut child = workflow
        .client(&["secrets", "import", "-", "--environment", "prod", "--overwrite"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(exported.as_bytes()).unwrap();
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(0));
    assert_eq!(export(&workflow, "dotenv").stdout, exported);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_wrong_is_refused_with_its_line_before_anything_is_asked() {
    let dir = tempfile::tempdir().unwrap();
    let workflow = developer(&dir).await;
    let file = dir.path().join("x.env");
    let path = file.to_str().unwrap();
    let refused = |text: &[u8], said: &str| {
        std::fs::write(&file, text).unwrap();
        let refused = import(&workflow, path, &[]);
        assert_eq!((refused.code, refused.stdout.as_str()), (Some(2), ""), "{refused:?}");
        assert!(refused.stderr.contains(path) && refused.stderr.contains(said), "{said}: {refused:?}");
        assert!(!refused.stderr.contains("hunter2"), "{refused:?}");
    };
    refused(b"A=1\nB=hunter2$\n", ":2: a value with $ must be quoted");
    refused(b"# nothing\n", "holds no secret");
    refused(b"A=\xff", "is not UTF-8");
    refused(&vec![b'#'; (1 << 20) + 1], "longer than 1048576 bytes");
    let missing = import(&workflow, "/nowhere/.env", &[]);
    assert_eq!(missing.code, Some(2), "{missing:?}");
    assert!(missing.stderr.contains("/nowhere/.env could not be read"), "{missing:?}");
    let json = dir.path().join("x.json");
    std::fs::write(&json, "{\"A\": 5}").unwrap();
    let refused = import(&workflow, json.to_str().unwrap(), &[]);
    assert!(refused.stderr.contains("x.json:1: expected one object of text"), "{refused:?}");
    assert_eq!(version(&workflow).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_may_not_is_refused_and_nothing_is_printed() {
    let dir = tempfile::tempdir().unwrap();
    let mut workflow = developer(&dir).await;
    workflow.secret("A", "hunter2").await;
    workflow.key = workflow.server.key(&workflow.login, "viewer").await;
    let export = run(workflow.client(&["secrets", "export", "--environment", "prod"]));
    assert_eq!((export.code, export.stdout.as_str()), (Some(1), ""), "{export:?}");
    assert!(export.stderr.contains("secret:reveal"), "{export:?}");
    let file = dir.path().join(".env");
    std::fs::write(&file, "B=1").unwrap();
    let import = import(&workflow, file.to_str().unwrap(), &[]);
    assert_eq!(import.code, Some(1), "{import:?}");
    assert!(import.stderr.contains("secret:write"), "{import:?}");
}
