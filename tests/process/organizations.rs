//! `settled organizations`: a running server and a directory of no server list the same, and delete alike.

use std::fs;

use serde_json::{Value, json};

use crate::deletion::{Two, founding, is_gone, nothing_opens, two};
use crate::journal::assert_sound;
use crate::keys::{copy, stop};
use crate::process::{Ended, Start, settled_on, text};
use crate::snapshots::taken;

fn organizations(start: &Start, args: &[&str]) -> Ended {
    settled_on(&start.dir, &[&["organizations"], args].concat())
}

fn delete(start: &Start, organization: &str, more: &[&str]) -> Ended {
    organizations(start, &[&["delete", organization, "--json"], more].concat())
}

/// The ids that are listed, and the whole list.
fn listed(start: &Start, asks: &str) -> (Vec<String>, Value) {
    let ended = organizations(start, &["list", "--json"]);
    assert!(ended.code == Some(0) && ended.stderr.contains(asks), "{ended:?}");
    let data = ended.json()["data"].clone();
    (data.as_array().unwrap().iter().map(|row| text(&row["id"])).collect(), data)
}

const SERVER: &str = "asking the server";
const ITSELF: &str = "itself: no server is running";

/// What is refused, and changes nothing.
fn refusals(start: &Start, two: &Two) {
    let unsure = delete(start, &two.goes.organization, &[]);
    assert_eq!((unsure.code, &*unsure.stdout), (Some(2), ""), "{unsure:?}");
    assert!(unsure.stderr.contains("say --yes"), "{unsure:?}");
    assert_eq!(delete(start, "nobody", &["--yes"]).code, Some(2));
    let unknown = delete(start, "org_01h455vb4pex5vsknk084sn02q", &["--yes"]);
    assert_eq!((unknown.code, &*unknown.stdout), (Some(1), ""), "{unknown:?}");
    assert!(unknown.stderr.contains("there is no organization"), "{unknown:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_and_a_directory_list_and_delete_them_alike() {
    let dir = tempfile::tempdir().unwrap();
    let start = founding(dir.path().join("data"));
    let server = start.serve();
    let two = two(&server).await;
    let (ids, by_server) = listed(&start, SERVER);
    assert_eq!(ids, [two.stays.organization.clone(), two.goes.organization.clone()]);
    assert_eq!((&by_server[1]["name"], &by_server[1]["environments"]), (&json!("Goes"), &json!(1)));
    let table = organizations(&start, &["list"]);
    assert!(table.stdout.contains("ORGANIZATION") && table.stdout.contains(&ids[1]), "{table:?}");
    refusals(&start, &two);
    let history = taken(&start.dir);
    stop(server);
    assert_eq!(listed(&start, ITSELF).1, by_server);
    refusals(&start, &two);
    let served = founding(dir.path().join("served"));
    copy(&start.dir, &served.dir);
    let name = history.with_added_extension("keys");
    let name = name.file_name().unwrap();
    let keys = |of: &Start| fs::read(of.dir.join("snapshots").join(name)).unwrap();
    let before = keys(&start);

    for (of, asks) in [(&served, SERVER), (&start, ITSELF)] {
        let server = (asks == SERVER).then(|| of.serve());
        let deleted = delete(of, &two.goes.organization, &["--yes"]);
        assert!(deleted.code == Some(0) && deleted.stderr.contains(asks), "{deleted:?}");
        assert_eq!(deleted.json(), json!({"organization": two.goes.organization}));
        assert_eq!(listed(of, asks).0, std::slice::from_ref(&two.stays.organization));
        assert_eq!(delete(of, &two.goes.organization, &["--yes"]).code, Some(1), "once");
        if let Some(server) = server {
            stop(server);
        }
        assert_ne!(keys(of), before, "{asks}: the keys of the snapshot were rewritten");
        let ledger = fs::read_to_string(of.dir.join("snapshots/ledger")).unwrap();
        assert!(ledger.contains("organization.delete") && ledger.contains("organization.forget"), "{asks}");
        assert_sound(&of.dir);
        nothing_opens(&of.dir, &of.dir.join("root.key"), &two);
        let server = of.serve();
        is_gone(&server, &two).await;
        stop(server);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_that_cannot_be_rewritten_are_said_whether_or_not_a_server_runs() {
    let dir = tempfile::tempdir().unwrap();
    let start = founding(dir.path().join("data"));
    let server = start.serve();
    let two = two(&server).await;
    stop(server);
    let keys = start.dir.join("snapshots/broken.settled.keys");
    fs::create_dir_all(keys.parent().unwrap()).unwrap();
    fs::write(&keys, "SETLKEYS and nothing else").unwrap();
    let served = founding(dir.path().join("served"));
    copy(&start.dir, &served.dir);
    for (of, server) in [(&start, None), (&served, Some(served.serve()))] {
        let deleted = delete(of, &two.goes.organization, &["--yes"]);
        assert_eq!(deleted.code, Some(0), "{deleted:?}");
        let problem = text(&deleted.json()["problem"]);
        assert!(problem.contains("may open what was destroyed"), "{problem}");
        assert!(problem.contains("broken.settled.keys"), "{problem}");
        assert!(deleted.stderr.contains(&format!("WARNING: {problem}")), "{deleted:?}");
        server.into_iter().for_each(stop);
    }
}
