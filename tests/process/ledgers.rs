//! The ledger beside other stores' and over damage, as an operator meets it: what fails takes no line of another store with it,
//! a damaged line stops no restore, and a drill without a server knows what is lost.

use std::fs::{self, OpenOptions};
use std::io::Write as _;

use serde_json::Value;

use crate::destroy::{destroy, make, rotate};
use crate::keys::stop;
use crate::preload::library;
use crate::process::{Start, settled_on};
use crate::snapshots::{as_text, taken};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_note_that_fails_takes_no_line_of_another_store_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let trigger = folder.path().join("trigger");
    let start = Start::on(folder.path().join("data"))
        .env("LD_PRELOAD", as_text(library()))
        .env("FAIL_CALL", "fdatasync")
        .env("FAIL_FILE", "/snapshots/ledger")
        .env("FAIL_TRIGGER", as_text(&trigger));
    let server = start.serve();
    let login = server.set_up().await;
    let secrets = make(&server, &login, 0..2).await;
    destroy(&server, &login, &secrets[0]).await;
    let ledger = start.dir.join("snapshots/ledger");
    let line = fs::read(&ledger).unwrap();
    OpenOptions::new().append(true).open(&ledger).unwrap().write_all(&line).unwrap();
    fs::write(&trigger, b"").unwrap();
    let path = format!("/v1/secrets/{}/destroy", secrets[1]);
    let (status, body) = server.call(&login, "POST", &path, Some(serde_json::json!({}))).await;
    assert_eq!((status, &body["code"]), (503, &"ledger_unwritable".into()), "{body}");
    assert_eq!(fs::read(&ledger).unwrap(), [&line[..], &line].concat());
    fs::remove_file(&trigger).unwrap();
    destroy(&server, &login, &secrets[1]).await;
    let text = fs::read_to_string(&ledger).unwrap();
    assert!(text.starts_with(&String::from_utf8(line).unwrap().repeat(2)) && text.lines().count() == 3);
    stop(server);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_server_a_drill_tells_destroyed_keys_from_lost_ones_and_a_restore_goes_on_over_damage() {
    let folder = tempfile::tempdir().unwrap();
    let start = Start::on(folder.path().join("data"));
    let server = start.serve();
    let login = server.set_up().await;
    let secrets = make(&server, &login, 0..2).await;
    let history = taken(&start.dir);
    destroy(&server, &login, &secrets[0]).await;
    // The snapshot's keys are rewritten without what was destroyed.
    assert_eq!(rotate(&start.dir, &login.organization).code, Some(0));
    stop(server);
    let ledger = start.dir.join("snapshots/ledger");
    let whole = fs::read_to_string(&ledger).unwrap();
    let drill = || {
        let drilled = settled_on(&start.dir, &["snapshot", "drill", "--json"]);
        let report: Value = drilled.json();
        assert_eq!(report["missing_keys"], 1, "{drilled:?}");
        (drilled.code, report["lost_keys"].clone())
    };
    assert_eq!(drill(), (Some(0), 0.into()), "it was destroyed, says the ledger");
    fs::write(&ledger, "").unwrap();
    assert_eq!(drill(), (Some(1), 1.into()), "nothing says that it was");
    fs::remove_file(&ledger).unwrap();
    assert_eq!(drill(), (Some(1), Value::Null), "nobody knows");
    let told = settled_on(&start.dir, &["snapshot", "drill"]);
    assert!(told.stdout.contains("nobody knows whether they were destroyed"), "{told:?}");

    // A line that is not what was written, and one that is.
    fs::write(&ledger, format!("{}{whole}", whole.replace("crc32", "crc33"))).unwrap();
    let other = folder.path().join("other");
    fs::create_dir(&other).unwrap();
    fs::copy(start.dir.join("root.key"), other.join("root.key")).unwrap();
    let restored = settled_on(&other, &["snapshot", "restore", as_text(&history), "--json"]);
    assert_eq!(restored.code, Some(1), "{restored:?}");
    assert!(restored.stderr.contains("WARNING") && restored.stderr.contains("at byte 0"), "{restored:?}");
    assert_eq!(
        (&restored.json()["taken_away"], &restored.json()["ledgers"][0]["damaged"]),
        (&1.into(), &1.into())
    );
    let server = Start::on(&other).serve();
    server.log_in().await;
    stop(server);
}
