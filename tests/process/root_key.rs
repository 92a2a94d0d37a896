//! The root key and the data directory at start: what is wrong is refused with a message that says what to do, and
//! nothing is written.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::process::{Ended, Login, Start};

/// A store that was set up and stopped cleanly.
async fn stopped() -> (tempfile::TempDir, Start, Login) {
    let dir = tempfile::tempdir().unwrap();
    let start = Start::on(dir.path().join("data"));
    let server = start.serve();
    let login = server.set_up().await;
    assert_eq!(server.stop().and_then(|status| status.code()), Some(0));
    (dir, start, login)
}

/// Every file with its mode and bytes; but not the lock, in which whoever tries writes its process id.
fn contents(dir: &Path) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(contents(&path));
        } else if !path.ends_with("lock") {
            let mode = fs::metadata(&path).unwrap().permissions().mode();
            found.insert(path.clone(), (mode, fs::read(&path).unwrap()));
        }
    }
    found
}

/// A start that is refused with exit code 3, says all of this, and leaves every byte as it was.
fn refused(start: &Start, said: &[&str]) -> Ended {
    let before = contents(&start.dir);
    let ended = start.refused();
    assert_eq!(ended.code, Some(3), "{ended:?}");
    assert!(ended.stdout.is_empty(), "{ended:?}");
    for words in said {
        assert!(ended.stderr.contains(words), "`{words}` is not said: {}", ended.stderr);
    }
    assert!(contents(&start.dir) == before, "a refused start changed something");
    ended
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_root_key_is_refused_and_nothing_is_written() {
    let (dir, start, login) = stopped().await;
    let other = Start::on(dir.path().join("other"));
    drop(other.serve());
    let (right, wrong) = (start.dir.join("root.key"), other.dir.join("root.key"));
    let ended = refused(&start.clone().with(&["--root-key-file", wrong.to_str().unwrap()]), &["root key"]);
    let secret = fs::read_to_string(&wrong).unwrap();
    assert!(!ended.stderr.contains(secret.trim()));

    let kept = fs::read(&right).unwrap();
    fs::copy(&wrong, &right).unwrap();
    refused(&start, &["root key"]);
    fs::write(&right, kept).unwrap();
    let server = start.serve();
    assert_eq!(server.call(&login, "GET", "/v1/me", None).await.0, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_root_key_is_not_made_anew() {
    let (dir, start, login) = stopped().await;
    let (here, away) = (start.dir.join("root.key"), dir.path().join("away.key"));
    fs::rename(&here, &away).unwrap();
    refused(&start, &["there is no root key in", here.to_str().unwrap()]);
    assert!(!here.exists());
    let server = start.clone().with(&["--root-key-file", away.to_str().unwrap()]).serve();
    assert_eq!(server.call(&login, "GET", "/v1/me", None).await.0, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_root_key_that_others_can_read_is_refused_with_the_remedy() {
    let (_dir, start, _) = stopped().await;
    let path = start.dir.join("root.key");
    fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    refused(&start, &["mode 0644", &format!("chmod 600 {}", path.display())]);
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    start.serve();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_root_key_comes_from_an_environment_variable_or_a_command() {
    let (dir, start, login) = stopped().await;
    let away = dir.path().join("away.key");
    fs::rename(start.dir.join("root.key"), &away).unwrap();
    let key = fs::read_to_string(&away).unwrap();
    let by_variable = start.clone().env("MY_ROOT_KEY", key.trim()).with(&["--root-key-env", "MY_ROOT_KEY"]);
    let command = format!("cat {}", away.display());
    let by_command = start.clone().with(&["--root-key-command", &command]);
    for start in [by_variable, by_command] {
        let server = start.serve();
        assert_eq!(server.call(&login, "GET", "/v1/me", None).await.0, 200);
        let arguments = fs::read(format!("/proc/{}/cmdline", server.process.pid())).unwrap();
        assert!(!String::from_utf8_lossy(&arguments).contains(key.trim()));
        assert!(!server.process.log_lines().contains(key.trim()));
        assert_eq!(server.stop().and_then(|status| status.code()), Some(0));
        assert!(!start.dir.join("root.key").exists(), "none is made beside it");
    }
    refused(&start.clone().with(&["--root-key-env", "NOT_SET"]), &["root key"]);
    refused(&start.clone().with(&["--root-key-command", "false"]), &["the command false gave no root key"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_its_current_file_a_store_is_not_set_up_anew() {
    let (_dir, start, login) = stopped().await;
    let current = start.dir.join("current");
    let named = fs::read_to_string(&current).unwrap();
    fs::remove_file(&current).unwrap();
    refused(&start, &["is missing or unreadable", named.trim(), "write its name into `current` again"]);
    fs::write(&current, named).unwrap();
    let server = start.serve();
    assert_eq!(server.call(&login, "GET", "/v1/me", None).await.0, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_server_on_a_directory_is_told_the_first_ones_process() {
    let dir = tempfile::tempdir().unwrap();
    let start = Start::on(dir.path().join("data"));
    let first = start.serve();
    let login = first.set_up().await;
    let pid = format!("in use by process {}", first.process.pid());
    let ended = start.refused();
    assert_eq!(ended.code, Some(3), "{ended:?}");
    assert!(ended.stderr.contains(&pid), "{ended:?}");
    assert_eq!(first.call(&login, "GET", "/v1/me", None).await.0, 200, "the first goes on");
    assert!(first.operator("/v1/operator/status").contains("\"ready\":true"), "over its socket too");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_that_is_taken_is_refused_and_the_store_is_left_closed_cleanly() {
    let (_dir, start, _) = stopped().await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let mut command = crate::process::command(&["serve", "--listen", &address, "--data-dir"]);
    let ended = crate::process::run({
        command.arg(&start.dir);
        command
    });
    assert_eq!(ended.code, Some(3), "{ended:?}");
    assert!(ended.stderr.contains(&format!("could not listen on {address}")), "{ended:?}");
    assert!(!start.serve().process.log_lines().contains("not a clean one"));
}
