//! Stores that are not in use, beside the one that is: what a restore took the place of, and what one left that came to no end.
//! Nothing that is destroyed later opens in them, for whoever has the whole folder and the root key.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use settled::ids::{Fresh, StoreId, StreamId};

use crate::deletion::{beside, founding};
use crate::destroy::{destroy, is_canary, loot, make, reveal, rotate};
use crate::held::until;
use crate::keys::{copy, generate, stop};
use crate::process::{Start, settled_on};
use crate::repair::in_use;
use crate::snapshots::{as_text, taken};
use crate::thief::{Loot, Thief};

/// What a restore or a repair left that was killed: a store that never came to be, with keys that the root key opens.
pub struct Left {
    folder: PathBuf,
    /// They stay open whatever becomes of their names.
    keys: Vec<fs::File>,
}

impl Left {
    /// With the keys of a store, beside it.
    pub fn beside(store: &Path) -> Self {
        let id: StoreId = Fresh.id();
        let folder = store.with_file_name(format!("unfinished-{id}"));
        fs::create_dir(&folder).unwrap();
        copy(&store.join("keys"), &folder.join("keys"));
        let keys = fs::read_dir(folder.join("keys")).unwrap();
        let keys: Vec<fs::File> = keys.map(|entry| fs::File::open(entry.unwrap().path()).unwrap()).collect();
        assert!(!keys.is_empty());
        Self { folder, keys }
    }

    /// Whether nothing is left of it, and its keys were overwritten where they lay.
    pub fn is_gone(&self) -> bool {
        let is_overwritten = |mut keys: &fs::File| {
            let mut bytes = Vec::new();
            keys.read_to_end(&mut bytes).unwrap();
            bytes.iter().all(|byte| *byte == 0)
        };
        !self.folder.exists() && self.keys.iter().all(is_overwritten)
    }
}

/// Which values a thief opens who has all of a folder: canaries that are numbered on from the first.
fn opened_from(first: usize, data: &Path, root: &str, all: &[(String, Loot)]) -> Vec<usize> {
    let thief = Thief::of(data, root);
    let values = (first..).zip(all);
    values
        .filter(|(number, (_, loot))| is_canary(thief.opens(loot), *number))
        .map(|(number, _)| number)
        .collect()
}

fn opened(data: &Path, root: &str, all: &[(String, Loot)]) -> Vec<usize> {
    opened_from(0, data, root, all)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_store_before_destroyed_last_opens_in_it_no_more_also_where_the_new_one_never_had_it() {
    let folder = tempfile::tempdir().unwrap();
    let start = founding(folder.path().join("data"));
    let server = start.serve();
    let login = server.set_up().await;
    make(&server, &login, 0..1).await;
    let history = taken(&start.dir);
    // A secret that was made and destroyed since, and an organization that was founded since, in which one was.
    let secrets = make(&server, &login, 1..2).await;
    destroy(&server, &login, &secrets[0]).await;
    let two = beside(&server, login.clone()).await;
    destroy(&server, &two.goes, &two.secrets[0]).await;
    stop(server);
    let all = loot(&start.dir, &login.organization);
    let of_goes = loot(&start.dir, &two.goes.organization);
    let (before, root) = (in_use(&start.dir), fs::read_to_string(start.dir.join("root.key")).unwrap());
    let restored = settled_on(&start.dir, &["snapshot", "restore", as_text(&history), "--json"]);
    assert_eq!(restored.code, Some(0), "{restored:?}");
    assert_eq!(opened(&start.dir, &root, &all), [0, 1], "the thief knows how");
    assert_eq!(opened_from(1, &start.dir, &root, &of_goes), [1, 2, 3]);

    // One key cannot be overwritten: that keeps no other, is said, and is done by a later start.
    let stuck = before.join("keys").join(&login.organization);
    let aside = folder.path().join("aside");
    fs::rename(&stuck, &aside).unwrap();
    fs::create_dir(&stuck).unwrap();
    let done = "opens in no store beside this one any more";
    let server = start.serve();
    let is_said = |said: &[&str]| {
        let log = server.process.log_lines();
        said.iter().all(|said| log.contains(said))
    };
    until("one is done, one is said", || is_said(&["may open in a store beside", done])).await;
    stop(server);
    assert_eq!(opened_from(1, &start.dir, &root, &of_goes), [0; 0]);
    fs::remove_dir(&stuck).unwrap();
    fs::rename(&aside, &stuck).unwrap();
    assert_eq!(opened(&start.dir, &root, &all), [0, 1]);
    let server = start.serve();
    until("it is done", || server.process.log_lines().contains(done)).await;
    stop(server);
    assert_eq!(opened(&start.dir, &root, &all), [0], "what the new store has opens there");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_beside_that_cannot_be_overwritten_keeps_none_here_from_being_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let start = Start::on(folder.path().join("data"));
    let server = start.serve();
    let login = server.set_up().await;
    let secrets = make(&server, &login, 0..2).await;
    let history = taken(&start.dir);
    stop(server);
    let before = in_use(&start.dir);
    assert_eq!(settled_on(&start.dir, &["snapshot", "restore", as_text(&history)]).code, Some(0));
    let server = start.serve();
    let login = server.log_in().await;
    destroy(&server, &login, &secrets[1]).await;
    stop(server);
    let all = loot(&start.dir, &login.organization);
    let (store, root) = (in_use(&start.dir), fs::read_to_string(start.dir.join("root.key")).unwrap());
    let stuck = before.join("keys").join(&login.organization);
    fs::remove_file(&stuck).unwrap();
    fs::create_dir(&stuck).unwrap();
    let rotations = || {
        let exported = settled_on(&start.dir, &["log", "export", "--stream", &login.organization]);
        exported.stdout.matches("encryption_key.rotate").count()
    };
    assert_eq!(opened(&store, &root, &all), [0, 1]);
    let rotated = rotate(&start.dir, &login.organization);
    assert_eq!(rotated.code, Some(3), "{rotated:?}");
    assert!(rotated.stderr.contains(stuck.to_str().unwrap()), "{rotated:?}");
    assert_eq!((opened(&store, &root, &all), rotations()), (vec![0], 0), "it is replaced, and not noted");
    fs::remove_dir(&stuck).unwrap();
    let rotated = rotate(&start.dir, &login.organization);
    assert_eq!((rotated.code, rotations()), (Some(0), 1), "{rotated:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_destroyed_after_a_restore_opens_in_the_store_before_neither_nor_does_an_old_root_key() {
    let folder = tempfile::tempdir().unwrap();
    let start = Start::on(folder.path().join("data"));
    let server = start.serve();
    let login = server.set_up().await;
    let secrets = make(&server, &login, 0..3).await;
    let history = taken(&start.dir);
    stop(server);
    let all = loot(&start.dir, &login.organization);
    let before = in_use(&start.dir);
    let restored = settled_on(&start.dir, &["snapshot", "restore", as_text(&history), "--json"]);
    assert_eq!(restored.code, Some(0), "{restored:?}");
    assert_eq!(restored.json()["replaced"], before.file_name().unwrap().to_str().unwrap());
    let server = start.serve();
    let login = server.log_in().await;
    destroy(&server, &login, &secrets[1]).await;
    stop(server);

    let root = fs::read_to_string(start.dir.join("root.key")).unwrap();
    assert_eq!(opened(&start.dir, &root, &all), [0, 1, 2], "the thief knows how");
    let rotated = rotate(&start.dir, &login.organization);
    assert_eq!((rotated.code, &rotated.json()["beside"]), (Some(0), &1.into()), "{rotated:?}");
    assert_eq!(opened(&start.dir, &root, &all), [0, 2]);

    // The store before stays, but for that key; and its other keys go over to another root key, too.
    let new = folder.path().join("new.key");
    generate(&new);
    let rotated = settled_on(&start.dir, &["key", "rotate", "--new-root-key-file", new.to_str().unwrap()]);
    assert_eq!(rotated.code, Some(0), "{rotated:?}");
    let thief = Thief::of(&start.dir, &root);
    for stream in [StreamId::Platform, login.organization.parse().unwrap()] {
        assert!(thief.stream_keys(stream).is_empty(), "the old root key opens that of {stream}");
    }
    let thief = Thief::of(&before.join("keys"), &fs::read_to_string(&new).unwrap());
    assert_eq!(thief.stream_keys(StreamId::Platform).len(), 1);
    fs::rename(&new, start.dir.join("root.key")).unwrap();
    let server = start.serve();
    let login = server.log_in().await;
    assert_eq!(reveal(&server, &login, &secrets[0]).await.as_deref().map(|value| value.len() > 9), Ok(true));
    stop(server);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_killed_restore_left_is_overwritten_by_whoever_opens_the_store_next() {
    let folder = tempfile::tempdir().unwrap();
    let start = Start::on(folder.path().join("data"));
    let server = start.serve();
    server.set_up().await;
    stop(server);
    let store = in_use(&start.dir);
    let left = Left::beside(&store);
    let server = start.serve();
    assert!(left.is_gone());
    assert!(server.process.log_lines().contains("never came to be"), "it is said");
    stop(server);
    let left = Left::beside(&store);
    let rotated = rotate(&start.dir, "platform");
    assert_eq!(rotated.code, Some(0), "{rotated:?}");
    assert!(left.is_gone());
    let server = start.serve();
    server.log_in().await;
    stop(server);
}
