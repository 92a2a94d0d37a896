//! Root keys made and rotated: while the server runs, without it, and cut off at every step.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::disk::Disk;
use crate::journal::{Journal, assert_sound};
use crate::preload::library;
use crate::process::{Ended, Login, Server, Start, command, run, settled, settled_on};

/// Makes a root key, and gives its fingerprint.
pub fn generate(path: &Path) -> String {
    let ended = settled(&["key", "generate", "--json", "--output", path.to_str().unwrap()]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    crate::process::text(&ended.json()["fingerprint"])
}

fn rotate(dir: &Path, new: &Path) -> Ended {
    settled_on(dir, &["key", "rotate", "--json", "--new-root-key-file", new.to_str().unwrap()])
}

fn root_key(server: &Server) -> Value {
    let status: Value = serde_json::from_str(&server.operator("/v1/operator/status")).unwrap();
    status["root_key"].clone()
}

/// That what is sealed opens: a person's name and address.
async fn opens(server: &Server, login: &Login) {
    let (status, me) = server.call(login, "GET", "/v1/me", None).await;
    assert_eq!((status, &me["person"]["name"]), (200, &json!("Ada")), "{me}");
}

/// Stops a server cleanly.
pub fn stop(server: Server) {
    assert_eq!(server.stop().and_then(|status| status.code()), Some(0));
}

#[test]
fn a_root_key_is_made_in_a_file_or_on_standard_output_and_never_over_another() {
    use std::os::unix::fs::PermissionsExt as _;

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("new.key");
    let fingerprint = generate(&path);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let before = fs::read(&path).unwrap();
    let again = settled(&["key", "generate", "--output", path.to_str().unwrap()]);
    assert_eq!((again.code, again.stdout.as_str()), (Some(2), ""), "{again:?}");
    assert!(again.stderr.contains("a root key is never overwritten"), "{again:?}");
    assert_eq!(fs::read(&path).unwrap(), before);

    let printed = settled(&["key", "generate"]);
    assert_eq!(printed.code, Some(0));
    assert!(printed.stdout.starts_with("settled-root-key-1:") && printed.stdout.lines().count() == 1);
    assert!(!printed.stderr.contains(printed.stdout.trim()) && !printed.stderr.contains(&fingerprint));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_root_key_is_rotated_under_load_and_the_next_start_needs_the_new_one() {
    let dir = tempfile::tempdir().unwrap();
    let start = Start::on(dir.path().join("data")).with(&["--organizations", "open"]);
    let server = start.serve();
    let login = server.set_up().await;
    let (old, new) = (start.dir.join("root.key"), dir.path().join("new.key"));
    let fingerprint = generate(&new);
    let journal = Arc::new(Journal::default());
    let writers = journal.write(&server, &login, 8);
    tokio::time::sleep(Duration::from_millis(200)).await;
    let ended = rotate(&start.dir, &new);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let rotated = ended.json();
    assert_eq!((&rotated["to"], &rotated["key_files"]), (&json!(fingerprint), &json!(2)), "{rotated}");
    assert_eq!(root_key(&server), json!({"fingerprint": fingerprint}));
    let founded = json!({"name": "Further", "timezone": "Europe/Paris"});
    let (status, body) = server.call(&login, "POST", "/v1/organizations", Some(founded)).await;
    assert_eq!(status, 201, "{body}");
    opens(&server, &login).await;
    drop(writers);
    let refused = rotate(&start.dir, &new);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("the new root key is the one in use"), "{refused:?}");
    stop(server);

    let key = fs::read_to_string(&new).unwrap();
    for text in [&ended.stdout, &ended.stderr, &fs::read_to_string(dir.path().join("data.stderr")).unwrap()] {
        assert!(!text.contains(key.trim()), "{text}");
    }
    let noted = settled_on(&start.dir, &["log", "export", "--stream", "platform"]);
    let noted: Vec<&str> =
        noted.stdout.lines().filter(|line| line.contains("\"encryption_key.rotate\"")).collect();
    assert_eq!(noted.len(), 1, "{noted:?}");
    let event: Value = serde_json::from_str(noted[0]).unwrap();
    assert_eq!(event["data"], json!({"root": {"from": rotated["from"], "to": fingerprint}}));
    assert_eq!(event["actor"]["id"], "operator");

    let refused = start.refused();
    assert_eq!(refused.code, Some(3), "{refused:?}");
    assert!(
        refused.stderr.contains("wrong root key") && refused.stderr.contains(&fingerprint),
        "{refused:?}"
    );
    fs::rename(&new, &old).unwrap();
    let server = start.serve();
    opens(&server, &login).await;
    journal.verify(&server, &login).await;
    assert_sound(&start.dir);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_root_key_is_rotated_from_and_to_wherever_it_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let start = Start::on(dir.path().join("data"));
    let server = start.serve();
    let login = server.set_up().await;
    let [first, second] = ["first.key", "second.key"].map(|name| dir.path().join(name));
    let fingerprints = [generate(&first), generate(&second)];
    let texts = [&first, &second].map(|path| fs::read_to_string(path).unwrap());

    // While it runs, to one that is in a variable of whoever asks.
    let data = start.dir.to_str().unwrap();
    let mut by_variable = command(&["key", "rotate", "--data-dir", data, "--new-root-key-env", "NEXT"]);
    by_variable.env("NEXT", texts[0].trim());
    let ended = run(by_variable);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let said = format!("The next start needs {}, which is in the variable NEXT", fingerprints[0]);
    assert!(ended.stdout.contains(&said), "{ended:?}");
    stop(server);
    let by_variable = start.clone().env("KEY", texts[0].trim()).with(&["--root-key-env", "KEY"]);
    let server = by_variable.serve();
    opens(&server, &login).await;
    stop(server);

    // Without a server, from a variable to what a command prints.
    let prints = format!("cat {}", second.display());
    let mut by_command = command(&["key", "rotate", "--json", "--data-dir", data, "--root-key-env", "KEY"]);
    by_command.args(["--new-root-key-command", &prints]).env("KEY", texts[0].trim());
    let ended = run(by_command);
    assert_eq!((ended.code, &ended.json()["to"]), (Some(0), &json!(fingerprints[1])), "{ended:?}");
    assert!(by_variable.refused().stderr.contains(&fingerprints[1]));
    let server = start.clone().with(&["--root-key-command", &prints]).serve();
    opens(&server, &login).await;

    for wrong in [
        &["key", "rotate"][..],
        &["key", "rotate", "--new-root-key-file", "a", "--new-root-key-env", "B"],
        &["key", "rotate", "--stream", "nobody"],
        &["key", "generate", "--json"],
    ] {
        assert_eq!(settled_on(&start.dir, wrong).code, Some(2), "{wrong:?}");
    }
    let none = settled_on(&start.dir, &["key", "rotate", "--new-root-key-command", "echo none"]);
    assert_eq!(none.code, Some(3), "{none:?}");
    assert_eq!(root_key(&server)["fingerprint"], json!(fingerprints[1]), "nothing was begun");
}

/// A folder with all that is in another.
pub fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}

/// A store that was set up and stopped, and a root key to go over to.
struct Given {
    dir: tempfile::TempDir,
    login: Login,
    new: PathBuf,
    fingerprint: String,
}

impl Given {
    async fn stopped() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let server = Start::on(dir.path().join("data")).serve();
        let login = server.set_up().await;
        stop(server);
        let new = dir.path().join("new.key");
        let fingerprint = generate(&new);
        Self { dir, login, new, fingerprint }
    }

    /// Rotates on a copy of it, with an end before the step of this number; gives the process.
    fn rotate_until(&self, data: &Path, step: u32, signal: Signal) -> std::process::Child {
        copy(&self.dir.path().join("data"), data);
        // Before a power cut the copy is on the disk, as what is copied was.
        rustix::fs::syncfs(fs::File::open(data).unwrap()).unwrap();
        let mut rotate = command(&["key", "rotate", "--data-dir", data.to_str().unwrap()]);
        rotate
            .args(["--new-root-key-file", self.new.to_str().unwrap()])
            .env("LD_PRELOAD", library())
            .env("STEP_AT", step.to_string())
            .env("STEP_SIGNAL", signal.as_raw().to_string())
            .env("STEP_TRIGGER", &self.new)
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null());
        rotate.spawn().unwrap()
    }

    /// That a store on which a rotation was cut off is whole: it starts with the old root key, or else with the new one;
    /// it finishes what was begun, and then the new one is the one that opens it.
    async fn is_whole(&self, data: &Path, step: u32) {
        let checked = settled_on(data, &["fsck", "--json"]);
        let begun = data
            .join("stores")
            .read_dir()
            .unwrap()
            .any(|store| store.unwrap().path().join("keys/rotation").exists());
        let start = Start::on(data).with(&["--min-free-disk", "1MiB", "--ballast", "1MiB"]);
        let with_new = start.clone().with(&["--root-key-file", self.new.to_str().unwrap()]);
        let (start, is_new) = match start.spawn().served() {
            Ok(server) => {
                assert_eq!(checked.code, Some(0), "step {step}: {checked:?}");
                opens(&server, &self.login).await;
                let is_new = begun || root_key(&server)["fingerprint"] == json!(self.fingerprint);
                if is_new {
                    self.finishes(&server).await;
                }
                stop(server);
                if is_new { (with_new, true) } else { (start, false) }
            }
            Err((_, log)) => {
                assert!(log.contains(&self.fingerprint), "step {step}: it says which it needs: {log}");
                assert!(!begun, "step {step}: either would do while it is begun");
                (with_new, true)
            }
        };
        let server = start.serve();
        opens(&server, &self.login).await;
        let root = root_key(&server);
        assert_eq!(root["fingerprint"] == json!(self.fingerprint), is_new, "step {step}: {root}");
        assert_sound(data);
        for _ in 0..1_000 {
            if names(data).len() == 2 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(names(data).len(), 2, "step {step}: what was left is swept: {:?}", names(data));
        stop(server);
        let noted = settled_on(data, &["log", "export", "--stream", "platform"]);
        let noted = noted.stdout.matches("\"encryption_key.rotate\"").count();
        assert_eq!(noted, usize::from(is_new), "step {step}");
    }

    async fn finishes(&self, server: &Server) {
        for _ in 0..1_000 {
            if root_key(server) == json!({"fingerprint": self.fingerprint}) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("it is not finished: {}", server.process.last_lines());
    }
}

/// The names in the folder of a data directory's keys.
pub fn names(data: &Path) -> Vec<String> {
    let store = data.join("stores").read_dir().unwrap().next().unwrap().unwrap().path();
    let names = store.join("keys").read_dir().unwrap();
    names.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
}

/// More than a rotation of two streams has.
const STEPS_MAX: u32 = 200;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_that_is_killed_before_any_of_its_steps_loses_nothing() {
    let given = Given::stopped().await;
    let place = tempfile::tempdir().unwrap();
    let mut killed = 0;
    // Every one, always: a sample left out the one that mattered.
    for step in 1..STEPS_MAX {
        let data = place.path().join(step.to_string());
        let ended = given.rotate_until(&data, step, Signal::KILL).wait().unwrap();
        given.is_whole(&data, step).await;
        fs::remove_dir_all(&data).unwrap();
        if ended.success() {
            break;
        }
        killed += 1;
    }
    assert!(killed > 20 && killed < STEPS_MAX - 1, "{killed} rotations were killed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_during_which_the_power_is_cut_loses_nothing() {
    let given = Given::stopped().await;
    let disk = Disk::new(128);
    let mut cut = 0;
    for step in 1..STEPS_MAX {
        let data = disk.path().join(step.to_string());
        let mut process = given.rotate_until(&data, step, Signal::STOP);
        let stopped = stops(&mut process);
        disk.cut();
        process.kill().unwrap();
        process.wait().unwrap();
        disk.remount();
        given.is_whole(&data, step).await;
        fs::remove_dir_all(&data).unwrap();
        if !stopped {
            break;
        }
        cut += 1;
    }
    assert!(cut > 20 && cut < STEPS_MAX - 1, "{cut} rotations were under way");
}

/// Waits until a process has stopped, or ended: whether it has stopped.
pub fn stops(process: &mut std::process::Child) -> bool {
    for _ in 0..6_000 {
        if process.try_wait().unwrap().is_some() {
            return false;
        }
        if is_stopped(process.id()) {
            return true;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("it neither ends nor stops");
}

/// Whether a process has been stopped by a signal.
pub fn is_stopped(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('T'))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_signing_key_is_rotated_by_a_server_and_without_one() {
    let dir = tempfile::tempdir().unwrap();
    let start = Start::on(dir.path().join("data"));
    let server = start.serve();
    server.set_up().await;
    let rotate = || {
        let ended = settled_on(&start.dir, &["key", "rotate", "--signing-key", "--json"]);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        ended.json()
    };
    let first = rotate();
    assert_eq!(first["from"], Value::Null, "{first}");
    let second = rotate();
    assert_eq!(second["from"], first["to"]);
    stop(server);
    let third = rotate();
    assert_eq!(third["from"], second["to"]);
    let noted = settled_on(&start.dir, &["log", "export", "--stream", "platform"]);
    let noted = |action: &str| noted.stdout.matches(&format!("\"{action}\"")).count();
    assert_eq!((noted("signing_key.create"), noted("signing_key.rotate")), (1, 2));
    assert_sound(&start.dir);
}
