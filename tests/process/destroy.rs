//! What is destroyed is gone: for whoever has the whole disk and the root key, once its organization's key is rotated;
//! and killed or without power at any step, what was not destroyed opens and what was acknowledged as destroyed does not.

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustix::process::Signal;
use serde_json::{Value, json};
use settled::ids::{DataKeyId, StreamId};
use settled::seal::Plain;
use settled::seal::root::RootKey;
use settled::snapshot::SnapshotError;
use settled::snapshot::keys::KeysFile;
use settled::snapshot::place::Located;

use crate::disk::Disk;
use crate::journal::assert_sound;
use crate::keys::{is_stopped, names, stop};
use crate::preload::library;
use crate::process::{Ended, Login, Server, Start, command, scale, settled_on, text};
use crate::snapshots::taken;
use crate::thief::{Loot, Thief};

/// What every value begins with, its number after it.
pub const CANARY: &str = "a canary that nobody may hear of ";

/// Makes secrets whose values are canaries with their numbers; gives their ids.
pub async fn make(server: &Server, login: &Login, numbers: std::ops::Range<usize>) -> Vec<String> {
    let mut made = Vec::new();
    for number in numbers {
        let body = json!({"name": format!("S{number}"), "value": format!("{CANARY}{number}")});
        let (status, body) = server.call(login, "POST", "/v1/secrets", Some(body)).await;
        assert_eq!(status, 201, "{body}");
        made.push(text(&body["id"]));
    }
    made
}

/// What a secret's value is, or the status that says why it is none.
pub async fn reveal(server: &Server, login: &Login, secret: &str) -> Result<String, u16> {
    let path = format!("/v1/secrets/{secret}/reveal");
    let (status, body) = server.call(login, "POST", &path, Some(json!({}))).await;
    if status == 200 { Ok(text(&body["value"])) } else { Err(status) }
}

/// Destroys a secret.
pub async fn destroy(server: &Server, login: &Login, secret: &str) {
    let (status, body) =
        server.call(login, "POST", &format!("/v1/secrets/{secret}/destroy"), Some(json!({}))).await;
    assert_eq!(status, 204, "{body}");
}

/// Replaces the key of a stream.
pub fn rotate(dir: &Path, stream: &str) -> Ended {
    settled_on(dir, &["key", "rotate", "--json", "--stream", stream])
}

/// Every sealed value of every secret, as history has it, by its secret.
pub fn loot(dir: &Path, stream: &str) -> Vec<(String, Loot)> {
    let exported = settled_on(dir, &["log", "export", "--stream", stream]);
    assert_eq!(exported.code, Some(0), "{exported:?}");
    let events = exported.stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let sealed = |event: Value| {
        let value = &event["data"]["value"];
        (event["resource"]["type"] == "secret" && value.is_object()).then(|| {
            let secret = text(&event["resource"]["id"]);
            let loot = Loot {
                stream: stream.parse().unwrap(),
                resource_type: "secret".to_owned(),
                resource_id: secret.clone(),
                field: "value".to_owned(),
                key: text(&value["sealed"]).parse().unwrap(),
                data: URL_SAFE_NO_PAD.decode(text(&value["data"])).unwrap(),
            };
            (secret, loot)
        })
    };
    events.filter_map(sealed).collect()
}

/// The data keys that the keys of a snapshot open.
pub fn carried(history: &Path, root: &str) -> Vec<DataKeyId> {
    let keys = Located::from(history).keys();
    let root = RootKey::from_text(&Plain::from(root.trim())).unwrap();
    let mut found = Vec::new();
    let read = KeysFile::open(&keys, &root).unwrap().read(|_, keys| {
        found.extend(keys.data_keys.iter().map(|(id, _)| *id));
        Ok::<_, SnapshotError>(())
    });
    read.unwrap();
    found
}

/// That a value is the canary of a number.
pub fn is_canary(opened: Option<Vec<u8>>, number: usize) -> bool {
    let canary = format!("{CANARY}{number}");
    opened.is_some_and(|padded| padded.windows(canary.len()).any(|window| window == canary.as_bytes()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_with_the_whole_disk_and_the_root_key_opens_what_was_destroyed_once_the_key_is_rotated() {
    let disk = Disk::new(64);
    let start = Start::on(disk.path().join("data")).with(&["--min-free-disk", "1MiB", "--ballast", "1MiB"]);
    let server = start.serve();
    let login = server.set_up().await;
    let stream: StreamId = login.organization.parse().unwrap();
    let secrets = make(&server, &login, 0..6).await;
    let body = json!({"value": format!("{CANARY}6")});
    let (status, _) = server.call(&login, "PATCH", &format!("/v1/secrets/{}", secrets[5]), Some(body)).await;
    assert_eq!(status, 200);
    // A snapshot has the keys of all of them until they are destroyed.
    let history = taken(&start.dir);
    destroy(&server, &login, &secrets[1]).await;
    destroy(&server, &login, &secrets[4]).await;
    let path = format!("/v1/secrets/{}/versions/1/destroy", secrets[5]);
    assert_eq!(server.call(&login, "POST", &path, Some(json!({}))).await.0, 200);
    stop(server);
    let all = loot(&start.dir, &login.organization);
    assert_eq!(all.len(), 7);
    let gone = [1, 4, 5];
    let root = fs::read_to_string(start.dir.join("root.key")).unwrap();

    // Before: the thief knows how. What sled removed lies about, and the stream's key opens it.
    let thief = Thief::of(&start.dir, &root);
    for (number, (_, loot)) in all.iter().enumerate() {
        assert!(is_canary(thief.opens(loot), number), "value {number} is not found by whoever looks for it");
    }

    let server = start.serve();
    let rotated = rotate(&start.dir, &login.organization);
    assert_eq!(rotated.code, Some(0), "{rotated:?}");
    assert_eq!(rotated.json()["generation"], 2);
    for (number, secret) in secrets.iter().enumerate().filter(|(number, _)| ![1, 4].contains(number)) {
        let expected = if number == 5 { 6 } else { number };
        assert_eq!(reveal(&server, &login, secret).await, Ok(format!("{CANARY}{expected}")));
    }
    stop(server);
    let carried = carried(&history, &root);
    for (number, (_, loot)) in all.iter().enumerate() {
        assert_eq!(
            carried.contains(&loot.key),
            !gone.contains(&number),
            "value {number} and the snapshot's keys"
        );
    }
    disk.take_out();
    let image = Thief::of_image(&disk.image(), &root);
    let keys = image.stream_keys(stream);
    assert_eq!(keys.keys().collect::<Vec<_>>(), [&2], "the first generation is nowhere on the disk");
    for (number, (_, loot)) in all.iter().enumerate() {
        let opened = image.opens(loot);
        if gone.contains(&number) {
            assert!(opened.is_none(), "value {number} opens");
            let keys = image.data_keys_anywhere(stream, loot.key, &keys, scale() >= 10);
            assert_eq!(keys.len(), 0, "its key is found");
        } else {
            assert!(is_canary(opened, number), "value {number} does not open");
        }
    }
}

/// A store with secrets, stopped.
struct Given {
    dir: tempfile::TempDir,
    login: Login,
    secrets: Vec<String>,
}

impl Given {
    /// With so many secrets of which the first was destroyed.
    async fn stopped(secrets: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let server = Start::on(dir.path().join("data")).serve();
        let login = server.set_up().await;
        let secrets = make(&server, &login, 0..secrets).await;
        destroy(&server, &login, &secrets[0]).await;
        stop(server);
        Self { dir, login, secrets }
    }

    fn copy_to(&self, data: &Path) {
        crate::keys::copy(&self.dir.path().join("data"), data);
        rustix::fs::syncfs(fs::File::open(data).unwrap()).unwrap();
    }

    fn trigger(&self) -> PathBuf {
        self.dir.path().join("trigger")
    }

    /// A server on a copy of it that is over before its step of this number, once there is the trigger.
    fn server_until(&self, data: &Path, step: u32, signal: Signal) -> Start {
        Start::on(data)
            .with(&["--min-free-disk", "1MiB", "--ballast", "1MiB"])
            .logging_to(self.dir.path().join("stderr"))
            .env("LD_PRELOAD", library().to_str().unwrap())
            .env("STEP_AT", step.to_string())
            .env("STEP_SIGNAL", signal.as_raw().to_string())
            .env("STEP_TRIGGER", self.trigger().to_str().unwrap())
    }

    /// That a store on which something was cut off is whole: its secrets open but for those that were destroyed, of which
    /// those that were acknowledged are; gives how many are destroyed beside the first.
    async fn is_whole(&self, data: &Path, step: u32, acknowledged: usize) -> usize {
        let start = Start::on(data).with(&["--min-free-disk", "1MiB", "--ballast", "1MiB"]);
        let server = start.serve();
        let mut destroyed = 0;
        for (number, secret) in self.secrets.iter().enumerate() {
            match reveal(&server, &self.login, secret).await {
                Ok(value) => {
                    assert_eq!(value, format!("{CANARY}{number}"), "step {step}");
                    assert!(number > acknowledged, "step {step}: {number} was destroyed");
                }
                Err(status) => {
                    assert_eq!(status, 404, "step {step}");
                    destroyed += 1;
                }
            }
        }
        assert_sound(data);
        let fsck = settled_on(data, &["fsck", "--json"]).json();
        assert_eq!(fsck["data_keys"]["destroyed"], json!(destroyed), "step {step}: {fsck}");
        assert_eq!(fsck["ledger"]["unfinished"], 0, "step {step}: {fsck}");
        // What was finished at the start has the line of then, too.
        assert!(fsck["ledger"]["whole"].as_u64().unwrap() >= destroyed as u64, "step {step}: {fsck}");
        stop(server);
        destroyed - 1
    }
}

/// More than destroying, or rotating a stream's key, has.
const STEPS_MAX: u32 = 100;

/// Destroys the second secret on a server that is over before a step; whether that was acknowledged.
async fn destroy_until(given: &Given, data: &Path, step: u32, end: impl AsyncFnOnce(&mut Server)) -> bool {
    given.copy_to(data);
    let mut server = given.server_until(data, step, Signal::STOP).serve();
    fs::write(given.trigger(), b"").unwrap();
    let path = format!("{}/v1/secrets/{}/destroy", server.url, given.secrets[1]);
    let request = settled::client::http::plain()
        .build()
        .unwrap()
        .post(path)
        .bearer_auth(&given.login.token)
        .json(&json!({}));
    let answer = tokio::spawn(request.send());
    end(&mut server).await;
    fs::remove_file(given.trigger()).unwrap();
    let answer = answer.await.unwrap();
    answer.is_ok_and(|answer| answer.status() == 204)
}

/// Waits until the server has stopped at its step, or the request that was to lead there is over.
async fn until_stopped(server: &Server) {
    for _ in 0..300 {
        if is_stopped(server.process.pid()) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn destroying_that_is_killed_before_any_of_its_steps_is_done_or_not_and_done_where_it_was_acknowledged()
{
    let given = Given::stopped(3).await;
    let place = tempfile::tempdir().unwrap();
    let (mut done, mut undone) = (0, 0);
    for step in 1..STEPS_MAX {
        let data = place.path().join(step.to_string());
        let acknowledged = destroy_until(&given, &data, step, async |server| {
            until_stopped(server).await;
            server.process.kill();
        })
        .await;
        let destroyed = given.is_whole(&data, step, usize::from(acknowledged)).await;
        fs::remove_dir_all(&data).unwrap();
        assert!(destroyed <= 1);
        if acknowledged {
            break;
        }
        if destroyed == 1 { done += 1 } else { undone += 1 }
    }
    assert!(done > 0 && undone > 0, "{done} were finished at the next start, {undone} had not begun");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn destroying_during_which_the_power_is_cut_is_done_or_not_and_done_where_it_was_acknowledged() {
    let given = Given::stopped(3).await;
    let disk = Disk::new(128);
    let every = if scale() >= 10 { 1 } else { 2 };
    for step in (1..STEPS_MAX).step_by(every) {
        let data = disk.path().join(step.to_string());
        let acknowledged = destroy_until(&given, &data, step, async |server| {
            until_stopped(server).await;
            disk.cut();
            server.process.kill();
        })
        .await;
        disk.remount();
        given.is_whole(&data, step, usize::from(acknowledged)).await;
        fs::remove_dir_all(&data).unwrap();
        if acknowledged {
            return;
        }
    }
    panic!("destroying has no end");
}

/// Rotates the organization's key on a copy of the store, with an end before a step.
fn rotate_until(given: &Given, data: &Path, step: u32, signal: Signal) -> std::process::Child {
    given.copy_to(data);
    fs::write(given.trigger(), b"").unwrap();
    let mut rotate = command(&["key", "rotate", "--stream", &given.login.organization, "--data-dir"]);
    rotate
        .arg(data)
        .env("LD_PRELOAD", library())
        .env("STEP_AT", step.to_string())
        .env("STEP_SIGNAL", signal.as_raw().to_string())
        .env("STEP_TRIGGER", given.trigger())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null());
    rotate.spawn().unwrap()
}

/// That after a rotation that was cut off and another one everything opens that was not destroyed, and nothing else does.
async fn is_rotated(given: &Given, data: &Path, step: u32) {
    assert_eq!(given.is_whole(data, step, 0).await, 0);
    let again = rotate(data, &given.login.organization);
    assert_eq!(again.code, Some(0), "step {step}: {again:?}");
    let generation = again.json()["generation"].as_u64().unwrap();
    assert!((2..=3).contains(&generation), "step {step}: {again:?}");
    assert_eq!(given.is_whole(data, step, 0).await, 0);
    assert_eq!(names(data).len(), 2, "step {step}: {:?}", names(data));
    let root = fs::read_to_string(data.join("root.key")).unwrap();
    let thief = Thief::of(data, &root);
    for (secret, loot) in loot(data, &given.login.organization) {
        let opened = thief.opens(&loot);
        assert_eq!(opened.is_some(), secret != given.secrets[0], "step {step}: {secret}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_streams_rotation_that_is_killed_before_any_of_its_steps_loses_nothing_and_brings_nothing_back() {
    let given = Given::stopped(4).await;
    let place = tempfile::tempdir().unwrap();
    let every = if scale() >= 10 { 1 } else { 3 };
    let mut killed = 0;
    for step in (1..STEPS_MAX).step_by(every) {
        let data = place.path().join(step.to_string());
        let ended = rotate_until(&given, &data, step, Signal::KILL).wait().unwrap();
        is_rotated(&given, &data, step).await;
        fs::remove_dir_all(&data).unwrap();
        if ended.success() {
            break;
        }
        killed += 1;
    }
    assert!(killed * every > 15 && killed * every < STEPS_MAX as usize, "{killed} rotations were killed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_streams_rotation_during_which_the_power_is_cut_loses_nothing_and_brings_nothing_back() {
    let given = Given::stopped(4).await;
    let disk = Disk::new(128);
    let every = if scale() >= 10 { 2 } else { 7 };
    let mut cut = 0;
    for step in (1..STEPS_MAX).step_by(every) {
        let data = disk.path().join(step.to_string());
        let mut process = rotate_until(&given, &data, step, Signal::STOP);
        let ended = crate::keys::stops(&mut process);
        disk.cut();
        process.kill().unwrap();
        process.wait().unwrap();
        disk.remount();
        is_rotated(&given, &data, step).await;
        fs::remove_dir_all(&data).unwrap();
        if !ended {
            break;
        }
        cut += 1;
    }
    assert!(cut * every > 10, "{cut} rotations were under way");
}
