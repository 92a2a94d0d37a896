//! One wrapped data key, or one checkpoint, that is damaged in the store on the disk: a check names it, a server that meets it
//! answers with nothing of it, all else goes on, and a snapshot of before brings it back.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use settled::ids::{DataKeyId, StreamId};

use crate::destroy::{loot, make, reveal};
use crate::journal::assert_sound;
use crate::keys::{copy, stop};
use crate::process::{Login, Server, Start, scale, settled_on};
use crate::snapshots::as_text;

const CHECKPOINT: &str = "/v1/proof/checkpoint";

/// A store that was stopped, with two secrets, a checkpoint, and a snapshot of all of it.
struct Given {
    folder: tempfile::TempDir,
    login: Login,
    secrets: Vec<String>,
    /// The data keys of their values.
    keys: Vec<DataKeyId>,
}

async fn checkpoint(server: &Server, login: &Login) -> u16 {
    let request = settled::client::http::plain().build().unwrap().get(format!("{}{CHECKPOINT}", server.url));
    request.bearer_auth(&login.token).send().await.unwrap().status().as_u16()
}

impl Given {
    async fn stopped() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let start = Start::on(folder.path().join("data"));
        let server = start.serve();
        let login = server.set_up().await;
        let secrets = make(&server, &login, 0..2).await;
        assert_eq!(checkpoint(&server, &login).await, 200);
        stop(server);
        let keys = loot(&start.dir, &login.organization).into_iter().map(|(_, loot)| loot.key).collect();
        let this = Self { folder, login, secrets, keys };
        let taken = settled_on(&start.dir, &["snapshot", "create", "--output", as_text(&this.snapshot())]);
        assert_eq!(taken.code, Some(0), "{taken:?}");
        this
    }

    fn snapshot(&self) -> PathBuf {
        self.folder.path().join("taken.settled")
    }

    fn stream(&self) -> [u8; 16] {
        self.login.organization.parse::<StreamId>().unwrap().to_bytes()
    }

    /// The key of a data key in sled's tree.
    fn data_key(&self, number: usize) -> Vec<u8> {
        [&b"K"[..], &self.stream(), self.keys[number].uuid().as_bytes()].concat()
    }

    /// A copy of the data directory in which one value of sled's tree is another.
    fn damaged(&self, name: &str, key: &[u8], damage: impl FnOnce(&sled::Db, Vec<u8>) -> Vec<u8>) -> Start {
        let data = self.folder.path().join(name);
        copy(&self.folder.path().join("data"), &data);
        let store = data.join("stores").join(fs::read_to_string(data.join("current")).unwrap().trim_end());
        let log = sled::Config::new().path(store.join("log")).flush_every_ms(None).open().unwrap();
        let whole = log.get(key).unwrap().expect("it is there").to_vec();
        let damaged = damage(&log, whole);
        log.insert(key, damaged).unwrap();
        log.flush().unwrap();
        Start::on(data)
    }
}

/// What a check finds of keys and of checkpoints.
fn defects(data: &Path) -> [Value; 2] {
    let checked = settled_on(data, &["fsck", "--json"]);
    assert_eq!(checked.code, Some(1), "{checked:?}");
    let report = checked.json();
    ["data_keys", "checkpoints"].map(|part| report[part]["defects"].clone())
}

fn flip(mut bytes: Vec<u8>, at: usize) -> Vec<u8> {
    let at = at % bytes.len();
    bytes[at] ^= 0x11;
    bytes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_data_key_is_named_shows_no_value_and_comes_back_from_a_snapshot() {
    let given = Given::stopped().await;
    let (key, sibling) = (given.data_key(0), given.data_key(1));
    let mut number = 0;
    let mut damaged = |damage: &dyn Fn(&sled::Db, Vec<u8>) -> Vec<u8>| {
        number += 1;
        given.damaged(&format!("key-{number}"), &key, damage)
    };
    let mut starts = vec![
        damaged(&|_, whole| whole[..whole.len() / 2].to_vec()),
        damaged(&|log, _| log.get(&sibling).unwrap().unwrap().to_vec()),
    ];
    let every = if scale() >= 10 { 6 } else { 40 };
    starts.extend((0..85).step_by(every).map(|at| damaged(&|_, whole| flip(whole, at))));
    for start in starts {
        let [keys, checkpoints] = defects(&start.dir);
        let named = keys[0].as_str().unwrap_or_default().contains(&given.keys[0].to_string());
        assert!(keys.as_array().unwrap().len() == 1 && named, "{keys}");
        assert_eq!(checkpoints, json!([]));
        let replayed = settled_on(&start.dir, &["replay"]);
        assert_eq!(replayed.code, Some(0), "no state rests on it: {replayed:?}");

        let server = start.serve();
        assert_eq!(reveal(&server, &given.login, &given.secrets[0]).await, Err(500));
        assert!(reveal(&server, &given.login, &given.secrets[1]).await.is_ok(), "all else goes on");
        let log = server.process.log_lines();
        assert!(log.contains(&given.keys[0].to_string()), "the log names it: {log}");
        stop(server);

        // What lies in the log beyond the snapshot, such as the reveals, the store has itself.
        let repaired =
            settled_on(&start.dir, &["fsck", "--repair-from", as_text(&given.snapshot()), "--json"]);
        assert_eq!((repaired.code, &repaired.json()["data_keys"]), (Some(0), &json!(1)), "{repaired:?}");
        assert_sound(&start.dir);
        let server = start.serve();
        assert!(reveal(&server, &given.login, &given.secrets[0]).await.is_ok());
        stop(server);
        fs::remove_dir_all(&start.dir).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_checkpoint_is_named_and_no_other_is_shown_in_its_place() {
    let given = Given::stopped().await;
    let key = [&b"S"[..], &given.stream()].concat();
    let mut number = 0;
    let mut damaged = |damage: &dyn Fn(Vec<u8>) -> Vec<u8>| {
        number += 1;
        given.damaged(&format!("checkpoint-{number}"), &key, |_, whole| damage(whole))
    };
    let mut starts = vec![damaged(&|whole| whole[..whole.len() / 2].to_vec()), damaged(&|_| Vec::new())];
    let every = if scale() >= 10 { 10 } else { 70 };
    starts.extend((0..200).step_by(every).map(|at| damaged(&|whole| flip(whole, at))));
    for start in starts {
        let [keys, checkpoints] = defects(&start.dir);
        let named = checkpoints[0].as_str().unwrap_or_default().contains(&given.login.organization);
        assert!(checkpoints.as_array().unwrap().len() == 1 && named, "{checkpoints}");
        assert_eq!(keys, json!([]));
        let server = start.serve();
        assert_eq!(checkpoint(&server, &given.login).await, 500);
        assert!(reveal(&server, &given.login, &given.secrets[0]).await.is_ok(), "all else goes on");
        let log = server.process.log_lines();
        assert!(log.contains(&format!("the last checkpoint of {}", given.login.organization)), "{log}");
        stop(server);
        fs::remove_dir_all(&start.dir).unwrap();
    }
}
