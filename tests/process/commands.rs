//! The command line: exit codes, `--json`, and that each command says whom it asked.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::journal::Journal;
use crate::process::{Login, Server, Start, command, run, settled, settled_on, text};

/// A store with a few hundred events, served.
async fn busy() -> (tempfile::TempDir, Start, Server, Login) {
    let dir = tempfile::tempdir().unwrap();
    let start = Start::on(dir.path().join("data"));
    let server = start.serve();
    let login = server.set_up().await;
    let journal = Arc::new(Journal::default());
    let writers = journal.write(&server, &login, 8);
    while journal.acknowledged() < 200 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    drop(writers);
    // What was on its way when the writers were dropped may still be appended.
    let mut total = Value::Null;
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let (_, page) = server.call(&login, "GET", "/v1/audit?limit=1", None).await;
        if std::mem::replace(&mut total, page["total"].clone()) == page["total"] {
            break;
        }
    }
    (dir, start, server, login)
}

#[test]
fn completions_are_printed_for_each_shell() {
    for (shell, begins) in
        [("bash", "_settled()"), ("zsh", "#compdef settled"), ("fish", "# Print an optspec")]
    {
        let ended = settled(&["completions", shell]);
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{shell}");
        assert!(ended.stdout.starts_with(begins), "{shell}: {}", &ended.stdout[..200]);
        assert!(ended.stdout.contains("fsck") && ended.stdout.contains("completions"), "{shell}");
    }
}

const STORE_COMMANDS: &[&[&str]] = &[
    &["replay"],
    &["fsck"],
    &["organizations", "list"],
    &["log", "export"],
    &["log", "tail"],
    &["clock", "accept"],
];

#[test]
fn a_wrong_command_line_is_exit_code_2_and_help_is_0() {
    for args in [&["--help"][..], &["--version"], &["serve", "--help"], &["log", "export", "--help"]] {
        let ended = settled(args);
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{args:?}");
        assert!(!ended.stdout.is_empty());
    }
    let wrong: &[&[&str]] = &[
        &[],
        &["nonsense"],
        &["serve", "--listen", "here"],
        &["serve", "--no-such-option"],
        &["fsck", "extra"],
        &["log"],
        &["log", "export", "--stream", "nobody"],
        &["log", "export", "--after", "-1"],
        &["log", "tail", "--after", "x"],
        &["clock", "accept", "--root-key-file", "a", "--root-key-env", "B"],
        &["serve", "--root-key-file", "a", "--root-key-env", "B"],
        &["serve", "--config", "/nowhere/settled.toml"],
        &["completions"],
        &["completions", "csh"],
    ];
    for args in wrong {
        let ended = settled(args);
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{args:?}: {ended:?}");
        assert!(!ended.stderr.is_empty(), "{args:?} says why");
    }
}

#[test]
fn a_store_that_is_not_there_is_exit_code_3_and_nothing_is_made() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("file"), b"somebody's").unwrap();
    for place in [dir.path().join("nowhere"), dir.path().to_owned()] {
        for args in STORE_COMMANDS.iter().chain(&[&["fsck", "--accept-head"][..]]) {
            let ended = settled_on(&place, args);
            assert_eq!((ended.code, ended.stdout.as_str()), (Some(3), ""), "{args:?}: {ended:?}");
            assert!(ended.stderr.contains("there is no store in"), "{args:?}: {ended:?}");
        }
    }
    let names: Vec<_> =
        std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["file"], "a command that only looks makes nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_command_works_through_a_server_and_without_one_and_says_which() {
    let (_dir, start, server, _) = busy().await;
    let through_server: Vec<_> = STORE_COMMANDS.iter().map(|args| settled_on(&start.dir, args)).collect();
    for (ended, args) in through_server.iter().zip(STORE_COMMANDS) {
        assert_eq!(ended.code, Some(0), "{args:?}: {ended:?}");
        assert!(ended.stderr.contains("asking the server that has"), "{args:?}: {ended:?}");
    }
    assert_eq!(server.stop().and_then(|status| status.code()), Some(0));
    for (with_server, args) in through_server.iter().zip(STORE_COMMANDS) {
        let ended = settled_on(&start.dir, args);
        assert_eq!(ended.code, Some(0), "{args:?}: {ended:?}");
        assert!(ended.stderr.contains("itself: no server is running on it"), "{args:?}: {ended:?}");
        assert!(!ended.stderr.contains("not a clean one"), "{args:?} closes the store cleanly: {ended:?}");
        assert_eq!(ended.stdout.is_empty(), with_server.stdout.is_empty(), "{args:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn json_is_the_same_through_a_server_and_without_one() {
    let (_dir, start, server, login) = busy().await;
    let fsck = settled_on(&start.dir, &["fsck", "--json"]).json();
    let replay = settled_on(&start.dir, &["replay", "--json"]).json();
    let accepted = settled_on(&start.dir, &["clock", "accept", "--json"]).json();
    assert!(accepted["accepted"].as_str().is_some_and(|time| time.ends_with('Z')), "{accepted}");
    assert_eq!(fsck["defects"], json!([]));
    assert!(fsck["events"].as_u64().unwrap() > 200, "{fsck}");
    let streams: Vec<_> =
        replay["streams"].as_array().unwrap().iter().map(|row| text(&row["stream"])).collect();
    assert_eq!(streams, [login.organization.as_str(), "platform"]);
    assert_eq!(server.stop().and_then(|status| status.code()), Some(0));

    let after = settled_on(&start.dir, &["replay", "--json"]).json();
    for row in [&replay, &after].into_iter().flat_map(|report| report["streams"].as_array().unwrap()) {
        assert_eq!(row["served"], true, "{row}");
    }
    // Accepting the clock is an event of the platform.
    assert_eq!(after["streams"][0], replay["streams"][0]);
    assert_eq!(after["streams"][1]["version"], replay["streams"][1]["version"].as_u64().unwrap() + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_exported_line_is_the_preimage_of_its_leaf_and_the_same_event_as_over_http() {
    let (_dir, start, server, login) = busy().await;
    let all = settled_on(&start.dir, &["log", "export"]);
    let own = settled_on(&start.dir, &["log", "export", "--stream", &login.organization]);
    let tail = settled_on(&start.dir, &["log", "export", "--stream", &login.organization, "--after", "150"]);
    let (status, page) = server.call(&login, "GET", "/v1/events?limit=200", None).await;
    assert_eq!(status, 200, "{page}");

    let lines: Vec<&str> = own.stdout.lines().collect();
    for (event, line) in page["data"].as_array().unwrap().iter().zip(&lines) {
        assert_eq!(serde_json::from_str::<Value>(line).unwrap(), *event);
        let leaf = Sha256::new_with_prefix([0]).chain_update(line).finalize();
        assert_eq!(leaf[..], settled::log::canonical::leaf_hash(event));
    }
    assert_eq!(tail.stdout.lines().collect::<Vec<_>>(), lines[150..]);
    let platform = all.stdout.lines().filter(|line| line.contains("\"stream\":\"platform\"")).count();
    assert_eq!(all.stdout.lines().count(), lines.len() + platform);
    assert!(platform > 0);

    // Reading the events over HTTP was one more, the export.
    assert_eq!(server.stop().and_then(|status| status.code()), Some(0));
    let direct = settled_on(&start.dir, &["log", "export", "--stream", &login.organization]);
    assert_eq!(direct.stdout.lines().take(lines.len()).collect::<Vec<_>>(), lines);
    let reads: Vec<_> = direct.stdout.lines().skip(lines.len()).collect();
    assert!(reads.len() == 1 && reads[0].contains("\"audit.export\""), "{reads:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_of_a_time_begins_with_it_and_ends_before_it() {
    let (_dir, start, server, _) = busy().await;
    let export = |bounds: &[&str]| {
        let exported = settled_on(&start.dir, &[&["log", "export"], bounds].concat());
        assert_eq!(exported.code, Some(0), "{exported:?}");
        exported.stdout.lines().map(ToOwned::to_owned).collect::<Vec<_>>()
    };
    let at = |line: &String| text(&serde_json::from_str::<Value>(line).unwrap()["at"]);
    let all = export(&[]);
    // All times are written alike, so that they are in order as texts are.
    let (first, middle, last) = (at(&all[0]), at(&all[all.len() / 2]), at(&all[all.len() - 1]));
    assert!(first < middle && middle < last, "{first} {middle} {last}");
    let within = |from: &str, to: &str| {
        let is_within = |line: &&String| at(line).as_str() >= from && at(line).as_str() < to;
        all.iter().filter(is_within).cloned().collect::<Vec<_>>()
    };
    let check = || {
        assert_eq!(export(&["--from", &middle]), within(&middle, "9"), "it begins with its own");
        assert_eq!(export(&["--to", &middle]), within("", &middle), "it ends before its own");
        let part = export(&["--from", &first, "--to", &middle]);
        assert!(part == within(&first, &middle) && !part.is_empty());
        assert_eq!(export(&["--from", &middle, "--to", &middle]), [""; 0]);
        assert_eq!(export(&["--to", &first]), [""; 0]);
    };
    check();
    assert_eq!(server.stop().and_then(|status| status.code()), Some(0));
    check();
    let wrong = settled_on(&start.dir, &["log", "export", "--from", "yesterday"]);
    assert_eq!(wrong.code, Some(2), "{wrong:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_into_a_closed_pipe_ends_quietly() {
    let (_dir, start, server, _) = busy().await;
    let mut server = Some(server);
    for _ in 0..2 {
        let mut child = command(&["log", "export", "--data-dir", start.dir.to_str().unwrap()])
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(0), "{stderr}");
        assert_eq!(stderr.lines().count(), 1, "only whom it asked: {stderr}");
        // The first time by the running server, then by the command itself.
        if let Some(server) = server.take() {
            assert_eq!(server.stop().and_then(|status| status.code()), Some(0));
        }
    }
}

/// Damages sled's file in its middle, where events are.
fn damage(dir: &Path) {
    let stores = std::fs::read_dir(dir.join("stores")).unwrap();
    let store = stores.map(|entry| entry.unwrap().path()).next().unwrap();
    let path = store.join("log/db");
    let mut bytes = std::fs::read(&path).unwrap();
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    for byte in &mut bytes[used / 3..used / 3 + 4096] {
        *byte ^= 0x55;
    }
    std::fs::write(&path, bytes).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_store_is_refused_or_listed_with_place_and_remedy() {
    let (_dir, start, server, _) = busy().await;
    assert_eq!(server.stop().and_then(|status| status.code()), Some(0));
    damage(&start.dir);
    let fsck = settled_on(&start.dir, &["fsck"]);
    assert!(matches!(fsck.code, Some(1 | 3)), "{fsck:?}");
    let said = format!("{}{}", fsck.stdout, fsck.stderr);
    assert!(said.contains("position") || said.contains(start.dir.to_str().unwrap()), "where: {said}");
    assert!(said.contains("restore the newest snapshot"), "what to do: {said}");
    assert!(!said.contains("panicked at"), "{said}");
    for args in [&["replay"][..], &["log", "export"]] {
        let ended = settled_on(&start.dir, args);
        assert_eq!(ended.code, Some(3), "{args:?}: {ended:?}");
    }
    assert_eq!(start.refused().code, Some(3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_head_file_is_refused_until_an_operator_accepts_the_log() {
    let (_dir, start, server, login) = busy().await;
    assert_eq!(server.stop().and_then(|status| status.code()), Some(0));
    let stores = std::fs::read_dir(start.dir.join("stores")).unwrap();
    let store = stores.map(|entry| entry.unwrap().path()).next().unwrap();
    std::fs::remove_file(store.join("head")).unwrap();
    for args in STORE_COMMANDS {
        let ended = settled_on(&start.dir, args);
        assert_eq!(ended.code, Some(3), "{args:?}: {ended:?}");
        assert!(ended.stderr.contains("settled fsck --accept-head"), "{ended:?}");
    }
    assert_eq!(start.refused().code, Some(3));
    let accepted = settled_on(&start.dir, &["fsck", "--accept-head"]);
    assert_eq!(accepted.code, Some(0), "{accepted:?}");
    assert!(accepted.stderr.contains("accepted a log that ends at position"), "{accepted:?}");
    let server = start.serve();
    assert_eq!(server.call(&login, "GET", "/v1/me", None).await.0, 200);
}

/// The folder of the one store.
fn store_of(dir: &Path) -> PathBuf {
    let stores = std::fs::read_dir(dir.join("stores")).unwrap();
    stores.map(|entry| entry.unwrap().path()).next().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fsck_lists_each_part_of_a_store_that_does_not_open() {
    let (_dir, start, server, login) = busy().await;
    assert_eq!(server.stop().and_then(|status| status.code()), Some(0));
    let store = store_of(&start.dir);
    let name = store.file_name().unwrap().to_str().unwrap().to_owned();
    let listed = || {
        let ended = settled_on(&start.dir, &["fsck", "--json"]);
        assert_eq!(ended.code, Some(3), "{ended:?}");
        let listed = ended.json();
        assert_eq!(listed["stores"][0]["store"], json!(name), "{listed}");
        (listed["error"].as_str().unwrap().to_owned(), listed["current"].clone(), listed["stores"][0].clone())
    };

    let head = std::fs::read(store.join("head")).unwrap();
    std::fs::remove_file(store.join("head")).unwrap();
    let (error, current, found) = listed();
    assert!(error.contains("settled fsck --accept-head"), "{error}");
    assert_eq!(current["readable"], json!(name));
    assert!(found["head"]["unreadable"].as_str().unwrap().contains("missing or unreadable"), "{found}");
    let log = &found["log"]["readable"];
    assert!(log["position"].as_u64().unwrap() > 3 && log["streams"] == 2, "{found}");
    assert_eq!(log["beyond"], Value::Null);
    assert_eq!((&found["key_files"]["whole"], &found["key_files"]["defects"]), (&json!(2), &json!([])));
    std::fs::write(store.join("head"), &head).unwrap();

    std::fs::remove_file(start.dir.join("current")).unwrap();
    let (error, current, found) = listed();
    assert!(error.contains("write its name into `current` again"), "{error}");
    assert!(current["unreadable"].as_str().unwrap().contains(&name), "{current}");
    assert_eq!(found["head"]["readable"]["both_slots"], true, "{found}");
    std::fs::write(start.dir.join("current"), format!("{name}\n")).unwrap();

    std::fs::write(store.join("keys").join(&login.organization), b"no key").unwrap();
    std::fs::write(store.join("log/db"), vec![0x55; 3 << 19]).unwrap();
    let (error, _, found) = listed();
    assert!(error.contains("restore the newest snapshot") || error.contains("put back"), "{error}");
    assert!(found["log"]["unreadable"].is_string(), "{found}");
    assert_eq!(found["head"]["readable"]["epoch"], "0", "{found}");
    assert!(found["key_files"]["defects"][0].as_str().unwrap().contains(&login.organization), "{found}");
    let human = settled_on(&start.dir, &["fsck"]);
    assert_eq!(human.code, Some(3));
    for part in ["current: ", "head: ", "log: ", "1 key files are whole"] {
        assert!(human.stdout.contains(part), "{part}: {human:?}");
    }
    assert!(!human.stderr.contains("panicked at"), "panics are one line: {human:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fsck_holds_the_key_files_against_the_streams_of_the_log() {
    let (_dir, start, server, login) = busy().await;
    let through_server = settled_on(&start.dir, &["fsck", "--json"]).json();
    assert_eq!(
        through_server["key_files"],
        json!({"whole": 2, "unwrapped": true, "defects": [], "unfinished": [], "stray": []})
    );
    assert_eq!(server.stop().and_then(|status| status.code()), Some(0));
    let keys = store_of(&start.dir).join("keys");
    let key = keys.join(&login.organization);
    let whole = std::fs::read(&key).unwrap();
    let checked = |code: i32| {
        let ended = settled_on(&start.dir, &["fsck", "--json"]);
        assert_eq!(ended.code, Some(code), "{ended:?}");
        ended.json()["key_files"].clone()
    };
    let defect = |why: &str| {
        let found = checked(1);
        assert!(found["defects"][0].as_str().unwrap().contains(why), "{why}: {found}");
        assert_eq!(found["whole"], 1, "{found}");
    };
    assert_eq!(checked(0), through_server["key_files"]);

    std::fs::remove_file(&key).unwrap();
    defect("is missing");
    std::fs::write(&key, &whole[..whole.len() - 1]).unwrap();
    defect("is damaged");
    std::fs::copy(keys.join("platform"), &key).unwrap();
    defect("it is the key of platform");
    // Another root key's, which only its fingerprint tells.
    let mut other = whole.clone();
    other[20] ^= 1;
    let end = other.len() - 4;
    let crc = crc32fast::hash(&other[..end]);
    other[end..].copy_from_slice(&crc.to_be_bytes());
    std::fs::write(&key, &other).unwrap();
    defect("wrong root key");
    let root = start.dir.join("root.key");
    let elsewhere = start.dir.with_extension("root-key");
    std::fs::rename(&root, &elsewhere).unwrap();
    defect("was wrapped by root key");
    // A wrapped key that does not open is told by whoever has the root key alone.
    let mut swapped = whole.clone();
    swapped[40] ^= 1;
    let crc = crc32fast::hash(&swapped[..end]);
    swapped[end..].copy_from_slice(&crc.to_be_bytes());
    std::fs::write(&key, &swapped).unwrap();
    assert_eq!(checked(0)["unwrapped"], false);
    let given = settled_on(&start.dir, &["fsck", "--root-key-file", elsewhere.to_str().unwrap()]);
    assert_eq!(given.code, Some(1), "{given:?}");
    assert!(given.stdout.contains("its wrapped key does not open"), "{given:?}");
    std::fs::write(&key, &whole).unwrap();
    std::fs::rename(&elsewhere, &root).unwrap();

    // Nothing is wrong with a key that nobody needs, but it is named.
    let stray = "org_01kc0000000000000000000000";
    std::fs::copy(&key, keys.join(stray)).unwrap();
    assert_eq!(checked(0)["stray"], json!([stray]));
    let human = settled_on(&start.dir, &["fsck"]);
    assert!(human.stdout.contains(stray), "{human:?}");
}

#[test]
fn serve_help_names_each_option_with_its_default_and_its_variable() {
    let help = settled(&["serve", "--help"]).stdout;
    for option in
        ["data-dir", "listen", "root-key-file", "min-free-disk", "ballast", "drain-timeout", "log-format"]
    {
        let (_, rest) =
            help.split_once(&format!("--{option} ")).unwrap_or_else(|| panic!("{option}: {help}"));
        let own = rest.split("\n      --").next().unwrap();
        assert!(own.contains(&format!("SETTLED_{}", option.to_uppercase().replace('-', "_"))), "{own}");
        assert!(own.contains("[default: "), "{own}");
    }
}

#[test]
fn settled_toml_in_the_working_directory_counts_and_its_errors_name_the_line() {
    let dir = tempfile::tempdir().unwrap();
    let in_folder = |text: &str| {
        std::fs::write(dir.path().join("settled.toml"), text).unwrap();
        let mut command = command(&["serve"]);
        command.current_dir(dir.path());
        run(command)
    };
    let mistyped = in_folder("# ours\nlisten = '127.0.0.1:0'\ndata-dri = 'x'\n");
    assert_eq!(mistyped.code, Some(2), "{mistyped:?}");
    assert!(mistyped.stderr.contains("line 3: `data-dri` is not an option (did you mean `data-dir`?)"));
    assert!(!dir.path().join("settled-data").exists());

    // A data directory that cannot be made shows that the file's value was taken.
    std::fs::write(dir.path().join("taken"), b"").unwrap();
    let ended = in_folder("data-dir = 'taken/data'\n");
    assert_eq!(ended.code, Some(3), "{ended:?}");
    assert!(ended.stderr.contains("could not make taken/data"), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_asks_for_a_folder_from_a_file_serves_from_it() {
    let dir = tempfile::tempdir().unwrap();
    let (file, data) = (dir.path().join("my.toml"), dir.path().join("data"));
    std::fs::write(&file, "log-format = 'json'\nmin-free-disk = 4096\n").unwrap();
    let server = Start::on(data).env("SETTLED_CONFIG", file.to_str().unwrap()).serve();
    server.set_up().await;
    let lines = server.process.log_lines();
    let line: Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    assert!(line["level"].is_string(), "{line}");
}
