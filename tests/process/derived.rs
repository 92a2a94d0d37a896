//! Crashes while derived files are being written: kill -9 and power cuts in the midst of savepoints, indexes and the
//! directory. What a start after that serves is the log, and what is torn is passed over, and said.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use tokio::task::JoinSet;

use crate::disk::Disk;
use crate::journal::assert_sound;
use crate::process::{Login, Server, Start, scale, settled_on};

/// Connections that write, each all of its keys at once, so that a page of 200 shows all values.
const CONNECTIONS: u64 = 3;
/// Keys of each: a request is so many events, and some 35 requests are a savepoint.
const KEYS: u64 = 64;
/// How long a round waits for a derived file to be begun.
const BEGUN_MAX: Duration = Duration::from_secs(30);

/// What each connection sent last, and was last answered.
#[derive(Default)]
struct Written(Mutex<BTreeMap<u64, Last>>);

#[derive(Clone, Copy, Default)]
struct Last {
    sent: u64,
    acknowledged: u64,
    version: u64,
}

impl Written {
    fn write(self: &Arc<Self>, server: &Server, login: &Login) -> JoinSet<()> {
        let mut writers = JoinSet::new();
        for connection in 0..CONNECTIONS {
            let (written, url, token) = (Arc::clone(self), server.url.clone(), login.token.clone());
            writers.spawn(async move { written.write_on(connection, &url, &token).await });
        }
        writers
    }

    async fn write_on(&self, connection: u64, url: &str, token: &str) {
        let client = settled::client::http::plain().build().unwrap();
        loop {
            let number = {
                let mut all = self.0.lock().unwrap();
                let last = all.entry(connection).or_default();
                last.sent += 1;
                last.sent
            };
            let values: BTreeMap<String, u64> =
                (0..KEYS).map(|key| (format!("K{connection}_{key}"), number)).collect();
            let request = client.patch(format!("{url}/v1/environments/prod/config")).bearer_auth(token);
            let Ok(response) = request.json(&values).send().await else { return };
            let status = response.status().as_u16();
            // On its way down it may say so; nothing was acknowledged.
            if status != 200 {
                assert!(matches!(status, 500 | 503), "{status}: {:?}", response.text().await);
                return;
            }
            let version = response.headers().get("settled-version").and_then(|value| value.to_str().ok());
            let version = version.expect("the answer names the version").parse().expect("a number");
            let mut all = self.0.lock().unwrap();
            let last = all.entry(connection).or_default();
            (last.acknowledged, last.version) = (number, version);
        }
    }

    /// All that was acknowledged is served, whole, and nothing that is not in the log.
    async fn verify(&self, server: &Server, login: &Login) {
        let (status, page) = server.call(login, "GET", "/v1/environments/prod/config?limit=200", None).await;
        assert_eq!(status, 200, "{page}");
        let served: BTreeMap<&str, u64> = page["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| (row["key"].as_str().unwrap(), row["value"].as_u64().unwrap()))
            .collect();
        let (status, audit) = server.call(login, "GET", "/v1/audit?limit=1", None).await;
        assert_eq!(status, 200, "{audit}");
        let log = server.operator(&format!("/v1/operator/log/export?stream={}", login.organization));
        assert_eq!(audit["total"], log.lines().count(), "what is served is all that the log has");
        let mut logged: BTreeMap<String, u64> = BTreeMap::new();
        for line in log.lines().filter(|line| line.contains("\"config.set\"")) {
            let event: Value = serde_json::from_str(line).unwrap();
            let value = event["data"]["value"].as_str().unwrap().parse().unwrap();
            logged.insert(event["data"]["key"].as_str().unwrap().to_owned(), value);
        }
        for (connection, last) in self.0.lock().unwrap().iter() {
            for key in 0..KEYS {
                let key = format!("K{connection}_{key}");
                let value = served.get(&*key).copied().unwrap_or_default();
                assert!((last.acknowledged..=last.sent).contains(&value), "{key} is {value}");
                assert_eq!(Some(value).filter(|value| *value > 0), logged.get(&key).copied(), "{key}");
            }
        }
    }

    fn version(&self) -> u64 {
        self.0.lock().unwrap().values().map(|last| last.version).max().unwrap_or_default()
    }
}

/// Everything in the folder of derived files, with its size.
fn derived(dir: &Path) -> BTreeMap<PathBuf, u64> {
    let mut found = BTreeMap::new();
    let mut folders: Vec<PathBuf> = std::fs::read_dir(dir.join("stores"))
        .map(|stores| stores.filter_map(|store| Some(store.ok()?.path().join("derived"))).collect())
        .unwrap_or_default();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            // Files come and go meanwhile.
            match entry.metadata() {
                Ok(about) if about.is_dir() => folders.push(entry.path()),
                Ok(about) => drop(found.insert(entry.path(), about.len())),
                Err(_) => {}
            }
        }
    }
    found
}

fn is_named(path: &Path, begin: &str) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(begin))
}

/// Waits until a derived file is begun or there that was not; whether one was.
fn begun(dir: &Path, before: &BTreeMap<PathBuf, u64>) -> bool {
    let deadline = Instant::now() + BEGUN_MAX;
    while Instant::now() < deadline {
        if derived(dir).keys().any(|path| !before.contains_key(path)) {
            return true;
        }
        std::thread::sleep(Duration::from_micros(200));
    }
    false
}

/// How a round goes on when a derived file is begun.
#[derive(Clone, Copy)]
enum Crash {
    /// While savepoints are due because of traffic.
    Serving,
    /// While all is saved because of a stop: the directory too.
    Stopping,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_while_it_writes_derived_files_serves_the_log() {
    let rounds = if scale() >= 10 { 100 } else { 4 * scale() };
    // As many rounds as keep a store's history, which each of them reads whole, small.
    let rounds_a_store = 5;
    let (mut had_files, mut unfinished, mut done) = (0, 0, 0);
    while done < rounds {
        let dir = tempfile::tempdir().unwrap();
        let start = Start::on(dir.path().join("data"));
        let login = start.serve().set_up().await;
        let written = Arc::new(Written::default());
        for round in 0..rounds_a_store.min(rounds - done) {
            let crash = if round % 3 == 2 { Crash::Stopping } else { Crash::Serving };
            let mut server = start.serve();
            written.verify(&server, &login).await;
            let before = derived(&start.dir);
            let writers = written.write(&server, &login);
            if let Crash::Stopping = crash {
                let enough = written.version() + 300;
                while written.version() < enough {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                server.process.signal(Signal::TERM);
            }
            assert!(
                begun(&start.dir, &before),
                "no derived file was begun:\n{}",
                server.process.last_lines()
            );
            // From at once to some time after it was whole.
            tokio::time::sleep(Duration::from_micros(700 * u64::from(round * 7 % 5))).await;
            server.process.kill();
            writers.join_all().await;
            let after = derived(&start.dir);
            had_files += u32::from(after.keys().any(|path| is_named(path, "savepoint-")));
            unfinished += u32::from(after.keys().any(|path| is_named(path, "unfinished-")));
            assert_eq!(
                assert_sound(&start.dir),
                <[PathBuf; 0]>::default(),
                "a kill tears no file that has its name"
            );
            done += 1;
        }
        let server = start.serve();
        written.verify(&server, &login).await;
        assert_sound(&start.dir);
    }
    assert!(had_files * 2 > rounds, "{had_files} of {rounds} rounds had savepoints");
    println!(
        "kill -9 beside derived files: {rounds} rounds, {had_files} had savepoints, {unfinished} an unfinished file"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_power_cut_while_derived_files_are_written_leaves_torn_ones_that_are_passed_over_and_said() {
    let rounds: u32 = if scale() >= 10 { 30 } else { 2 * scale() };
    let disk = Disk::new(256);
    let logs = tempfile::tempdir().unwrap();
    let start = Start::on(disk.path().join("data"))
        .with(&["--min-free-disk", "16MiB", "--ballast", "4MiB"])
        .logging_to(logs.path().join("stderr"));
    let login = {
        let server = start.serve();
        let login = server.set_up().await;
        assert_eq!(server.stop().and_then(|status| status.code()), Some(0));
        login
    };
    let written = Arc::new(Written::default());
    let (mut torn_rounds, mut had_files) = (0, 0);
    for round in 0..rounds {
        let mut server = start.serve();
        written.verify(&server, &login).await;
        let before = derived(&start.dir);
        let writers = written.write(&server, &login);
        assert!(begun(&start.dir, &before), "no derived file was begun:\n{}", server.process.last_lines());
        tokio::time::sleep(Duration::from_millis(u64::from(round * 3 % 8))).await;
        had_files += u32::from(derived(&start.dir).keys().any(|path| is_named(path, "savepoint-")));
        disk.cut();
        let status = server.process.wait(Duration::from_secs(30));
        assert_eq!(status.and_then(|status| status.code()), Some(3), "{}", server.process.last_lines());
        writers.join_all().await;
        drop(server);
        disk.remount();

        let torn = assert_sound(&start.dir);
        let server = start.serve();
        written.verify(&server, &login).await;
        let log = server.process.log_lines();
        let newest =
            |begin: &str| torn.iter().filter(|path| is_named(path, begin)).max_by_key(|path| place(path));
        // A start reads the newest first, and what it cannot believe it names.
        for path in [newest("savepoint-"), newest("open-"), newest("directory-")].into_iter().flatten() {
            let whole = derived(&start.dir).keys().any(|other| {
                other.parent() == path.parent() && kind(other) == kind(path) && place(other) > place(path)
            });
            assert!(whole || log.contains(path.to_str().unwrap()), "{path:?} is not named:\n{log}");
        }
        torn_rounds += u32::from(!torn.is_empty());
        assert_eq!(server.stop().and_then(|status| status.code()), Some(0));
        // As an operator would after `fsck`.
        for path in torn.iter().filter(|path| path.exists()) {
            std::fs::remove_file(path).unwrap();
        }
        assert_eq!(assert_sound(&start.dir), <[PathBuf; 0]>::default());
    }
    assert!(had_files * 2 > rounds, "{had_files} of {rounds} rounds had savepoints");
    println!(
        "power cuts beside derived files: {rounds} rounds, {had_files} had savepoints, {torn_rounds} torn files"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_outlived_their_log_are_listed_by_fsck_and_removed_by_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let (start, old) = (Start::on(dir.path().join("data")), Start::on(dir.path().join("old")));
    let copy = |from: &Path, to: &Path| {
        let copied = std::process::Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
        assert!(copied.success());
    };
    let write = async |server: &Server, login: &Login, number: u64| {
        let values: BTreeMap<String, u64> = (0..KEYS).map(|key| (format!("K_{key}"), number)).collect();
        let body = Some(serde_json::to_value(values).unwrap());
        assert_eq!(server.call(login, "PATCH", "/v1/environments/prod/config", body).await.0, 200);
    };
    let server = start.serve();
    let login = server.set_up().await;
    write(&server, &login, 0).await;
    assert_eq!(server.stop().and_then(|status| status.code()), Some(0));
    copy(&start.dir, &old.dir);
    let server = start.serve();
    for number in 1..=4 {
        write(&server, &login, number).await;
    }
    assert_eq!(server.stop().and_then(|status| status.code()), Some(0));

    // The log of before, with what was made of the one that went on.
    let derived_of = |start: &Start| {
        let store = std::fs::read_dir(start.dir.join("stores")).unwrap().next().unwrap().unwrap();
        store.path().join("derived")
    };
    std::fs::remove_dir_all(derived_of(&old)).unwrap();
    copy(&derived_of(&start), &derived_of(&old));
    let outlived: Vec<PathBuf> = derived(&old.dir).into_keys().collect();
    assert!(outlived.iter().any(|path| is_named(path, "directory-")), "{outlived:?}");
    assert!(outlived.iter().any(|path| is_named(path, "savepoint-")), "{outlived:?}");
    for _ in 0..2 {
        let report = settled_on(&old.dir, &["fsck", "--json"]).json();
        let listed = report["derived"]["defects"].as_array().unwrap();
        for path in &outlived {
            let is_it = |defect: &&Value| defect["file"].as_str() == path.to_str();
            let what = &listed.iter().find(is_it).unwrap_or_else(|| panic!("{path:?}: {report}"))["what"];
            assert_eq!(what, "the log has another frame where it ends");
        }
        assert_eq!(derived(&old.dir).into_keys().collect::<Vec<_>>(), outlived, "a check removes nothing");
    }

    let server = old.serve();
    let there = derived(&old.dir);
    assert!(outlived.iter().all(|path| !there.contains_key(path)), "{there:?}");
    let (status, value) = server.call(&login, "GET", "/v1/environments/prod/config/K_1", None).await;
    assert_eq!((status, &value["value"]), (200, &Value::from(0)));
    assert_eq!(server.stop().and_then(|status| status.code()), Some(0));
    assert_eq!(assert_sound(&old.dir), <[PathBuf; 0]>::default());
}

fn kind(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    Some(name.split_once('-')?.0.to_owned())
}

fn place(path: &Path) -> Option<u64> {
    path.file_name()?.to_str()?.split_once('-')?.1.parse().ok()
}
