//! A store that was restored into another data directory for practice, with its ledger where the real one has its own: what is
//! destroyed in it is destroyed in it alone. In one data directory it is, whichever of its stores is in use.

use std::fs;

use crate::deletion::{beside, founding, is_gone};
use crate::destroy::reveal;
use crate::keys::stop;
use crate::process::{settled_on, text};
use crate::repair::in_use;
use crate::snapshots::as_text;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_organization_that_is_deleted_for_practice_is_there_still() {
    let folder = tempfile::tempdir().unwrap();
    let start = founding(folder.path().join("data"));
    let server = start.serve();
    let login = server.set_up().await;
    let two = beside(&server, login).await;
    let taken = settled_on(&start.dir, &["snapshot", "create", "--json"]);
    assert_eq!(taken.code, Some(0), "{taken:?}");
    stop(server);
    let (history, root) = (text(&taken.json()["path"]), start.dir.join("root.key"));
    let shared = start.dir.join("snapshots");
    let shared = ["--snapshots-dir", as_text(&shared), "--root-key-file", as_text(&root)];
    let practice = founding(folder.path().join("practice")).with(&shared);
    let restored =
        settled_on(&practice.dir, &[&["snapshot", "restore", &history, "--json"][..], &shared[..]].concat());
    assert_eq!(restored.code, Some(0), "{restored:?}");
    assert!(restored.stderr.contains("to practise, name a folder of its own"), "{restored:?}");
    let server = practice.serve();
    let deleted = settled_on(&practice.dir, &["organizations", "delete", &two.goes.organization, "--yes"]);
    assert_eq!(deleted.code, Some(0), "{deleted:?}");
    is_gone(&server, &two).await;
    stop(server);

    let server = start.serve();
    let login = server.log_in_to(&two.goes.organization).await;
    assert!(reveal(&server, &login, &two.secrets[0]).await.is_ok(), "nothing was destroyed here");
    stop(server);
    let checked = settled_on(&start.dir, &["fsck"]);
    assert!(checked.code == Some(0) && checked.stdout.contains("are of stores elsewhere"), "{checked:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_was_deleted_after_a_restore_is_gone_for_whoever_goes_back_to_the_store_before_too() {
    let folder = tempfile::tempdir().unwrap();
    let start = founding(folder.path().join("data"));
    let server = start.serve();
    let login = server.set_up().await;
    let two = beside(&server, login).await;
    let taken = settled_on(&start.dir, &["snapshot", "create", "--json"]);
    stop(server);
    let (before, history) = (in_use(&start.dir), text(&taken.json()["path"]));
    let restored = settled_on(&start.dir, &["snapshot", "restore", &history, "--json"]);
    assert!(restored.code == Some(0) && restored.json()["shared_ledger"].is_null(), "{restored:?}");
    let deleted = settled_on(&start.dir, &["organizations", "delete", &two.goes.organization, "--yes"]);
    assert_eq!(deleted.code, Some(0), "{deleted:?}");

    fs::remove_file(before.join("succeeded-by")).unwrap();
    let name = before.file_name().unwrap().to_str().unwrap();
    fs::write(start.dir.join("current"), format!("{name}\n")).unwrap();
    let server = start.serve();
    is_gone(&server, &two).await;
    stop(server);
}
