//! A store that was restored into another data directory for practice, with its ledger where the real one has its own: what is
//! destroyed in it is destroyed in it alone. In one data directory it is, whichever of its stores is in use.

use std::fs;

use settled::snapshot::keys_of;

use crate::deletion::{Snapped, founding, is_gone, snapped};
use crate::destroy::reveal;
use crate::held::until;
use crate::keys::stop;
use crate::process::settled_on;
use crate::repair::in_use;
use crate::snapshots::as_text;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_organization_that_is_deleted_for_practice_is_there_still() {
    let Snapped { folder, start, server, two, history } = snapped().await;
    stop(server);
    let root = start.dir.join("root.key");
    let shared = start.dir.join("snapshots");
    let shared = ["--snapshots-dir", as_text(&shared), "--root-key-file", as_text(&root)];
    let practice = founding(folder.path().join("practice")).with(&shared);
    let restored = settled_on(
        &practice.dir,
        &[&["snapshot", "restore", as_text(&history), "--json"][..], &shared[..]].concat(),
    );
    assert_eq!(restored.code, Some(0), "{restored:?}");
    assert!(restored.stderr.contains("to practise, name a folder of its own"), "{restored:?}");
    let server = practice.serve();
    let deleted = settled_on(&practice.dir, &["organizations", "delete", &two.goes.organization, "--yes"]);
    assert_eq!(deleted.code, Some(0), "{deleted:?}");
    is_gone(&server, &two).await;
    let are_told =
        || server.operator("/v1/operator/status").contains("are of stores elsewhere, which may go on");
    until("that another store's keys open what is gone here", are_told).await;
    stop(server);

    let server = start.serve();
    let login = server.log_in_to(&two.goes.organization).await;
    assert!(reveal(&server, &login, &two.secrets[0]).await.is_ok(), "nothing was destroyed here");
    let rotated = settled_on(&start.dir, &["key", "rotate", "--stream", &two.stays.organization]);
    assert_eq!(rotated.code, Some(0), "the keys of snapshots are looked at: {rotated:?}");
    stop(server);
    // The ledger would tell of it, but here are the two files alone.
    let elsewhere = folder.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    let copy = elsewhere.join(history.file_name().unwrap());
    fs::copy(&history, &copy).unwrap();
    fs::copy(keys_of(&history), keys_of(&copy)).unwrap();
    let again = founding(folder.path().join("again")).with(&["--root-key-file", as_text(&root)]);
    let args = ["snapshot", "restore", as_text(&copy), "--root-key-file", as_text(&root)];
    assert_eq!(settled_on(&again.dir, &args).code, Some(0));
    let server = again.serve();
    let login = server.log_in_to(&two.goes.organization).await;
    assert!(reveal(&server, &login, &two.secrets[0]).await.is_ok(), "nor can it no more be restored");
    stop(server);
    let checked = settled_on(&start.dir, &["fsck"]);
    assert!(checked.code == Some(0) && checked.stdout.contains("are of stores elsewhere"), "{checked:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_was_deleted_after_a_restore_is_gone_for_whoever_goes_back_to_the_store_before_too() {
    let Snapped { folder: _folder, start, server, two, history } = snapped().await;
    stop(server);
    let before = in_use(&start.dir);
    let restored = settled_on(&start.dir, &["snapshot", "restore", as_text(&history), "--json"]);
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
