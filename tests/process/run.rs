//! `settled run`: variables, exit codes, signals, changes, and that no value is anywhere else.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, test_kill_process};
use serde_json::json;

use crate::process::{SETTLED, Start, command, run};
use crate::workflow::{Started, Workflow};

const CANARY: &str = "canary-4f1c-of-a-secret";

async fn workflow(dir: &tempfile::TempDir) -> Workflow {
    Workflow::start(&Start::on(dir.path().join("data")), "workflow").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_gets_configuration_and_secrets_and_its_exit_code_is_ours() {
    let dir = tempfile::tempdir().unwrap();
    let workflow = workflow(&dir).await;
    workflow.configure("REGION", json!("eu")).await;
    workflow.configure("LIMITS", json!({"b": [1, 2.5], "a": null})).await;
    workflow.configure("BOTH", json!("configured")).await;
    workflow.secret("PAYMENT_KEY", "it's $HOME\nand more").await;
    workflow.secret("BOTH", "secret").await;
    let ended =
        workflow.ran(r#"printf '%s|' "$REGION" "$LIMITS" "$PAYMENT_KEY" "$BOTH" "$SETTLED_API_KEY"; exit 7"#);
    assert_eq!(ended.code, Some(7), "{ended:?}");
    assert_eq!(ended.stdout, "eu|{\"a\":null,\"b\":[1,2.5]}|it's $HOME\nand more|secret||");
    assert_eq!(ended.stderr, "settled: BOTH is a secret and a configuration value; the secret is used\n");
    let kept = run(workflow.script(&["--keep-api-key"], "echo $SETTLED_API_KEY"));
    assert_eq!(kept.stdout.trim(), workflow.key);
    assert_eq!(workflow.ran("kill -KILL $$").code, Some(128 + 9));
    assert_eq!(workflow.ran("kill -SEGV $$").code, Some(128 + 11));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_begun_says_why_and_has_codes_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let workflow = workflow(&dir).await;
    let run_of = |program: &str| run(workflow.client(&["run", "--environment", "prod", "--", program]));
    let missing = run_of("/nowhere/program");
    assert_eq!(missing.code, Some(127), "{missing:?}");
    assert!(missing.stderr.contains("/nowhere/program cannot be run"), "{missing:?}");
    assert_eq!(run_of("/etc/passwd").code, Some(126));
    let unknown = run(workflow.client(&["run", "--environment", "nowhere", "--", "true"]));
    assert_eq!(unknown.code, Some(125), "{unknown:?}");
    assert!(unknown.stderr.contains("404"), "{unknown:?}");
    for args in [
        &["run", "--", "true"][..],
        &["run", "--environment", "prod"],
        &["run", "--environment", "prod", "--watch", "stop", "--", "true"],
    ] {
        assert_eq!(run(workflow.client(args)).code, Some(2), "{args:?}");
    }
    let ended = |name: &str, value: &str| {
        let mut client = workflow.script(&[], "echo ran");
        if value.is_empty() {
            client.env_remove(name)
        } else {
            client.env(name, value)
        };
        let ended = run(client);
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(125), ""), "{name}: {ended:?}");
        ended.stderr
    };
    assert!(ended("SETTLED_URL", "").contains("SETTLED_URL is not set"));
    assert!(ended("SETTLED_API_KEY", "").contains("SETTLED_API_KEY is not set"));
    assert!(ended("SETTLED_URL", "ftp://a").contains("must be http:// or https://"));
    assert!(ended("SETTLED_API_KEY", "fastn_live_nobody").contains("401"));
    let away = ended("SETTLED_URL", "http://127.0.0.1:9");
    assert!(away.contains("http://127.0.0.1:9 cannot be reached") && away.contains("refused"), "{away}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_that_decide_which_code_runs_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let workflow = workflow(&dir).await;
    workflow.configure("PATH", json!(CANARY)).await;
    workflow.secret("LD_PRELOAD", CANARY).await;
    workflow.secret("FINE", CANARY).await;
    let refused = workflow.ran("echo ran");
    assert_eq!((refused.code, refused.stdout.as_str()), (Some(125), ""), "{refused:?}");
    assert!(refused.stderr.contains("PATH would decide which programs are run"), "{refused:?}");
    assert!(refused.stderr.contains("LD_PRELOAD would decide what is loaded"), "{refused:?}");
    assert!(!refused.stderr.contains("FINE") && !refused.stderr.contains(CANARY), "{refused:?}");
}

/// Whether a process is there, and no zombie.
fn lives(pid: i32) -> bool {
    let is_there = Pid::from_raw(pid).is_some_and(|pid| test_kill_process(pid).is_ok());
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    is_there && !status.contains("State:\tZ")
}

fn until_gone(pid: i32) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while lives(pid) {
        assert!(Instant::now() < deadline, "{pid} is left behind");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signals_reach_the_command_and_what_it_started() {
    let dir = tempfile::tempdir().unwrap();
    let workflow = workflow(&dir).await;
    for (signal, name) in
        [(Signal::TERM, "TERM"), (Signal::INT, "INT"), (Signal::HUP, "HUP"), (Signal::USR1, "USR1")]
    {
        let program = format!(
            r#"$SIG{{{name}}} = sub {{ print "got {name}\n"; exit 3 }}; print "ready\n"; sleep 1 while 1"#
        );
        let mut started = Started::new(workflow.program(&[], &program));
        started.until(|out| out.contains("ready"));
        started.signal(signal);
        assert_eq!(started.code(), Some(3), "{name}: {}", started.err());
        assert!(started.out().ends_with(&format!("got {name}\n")));
    }
    let mut started = Started::new(workflow.script(&[], "sleep 1000 & echo $!; wait"));
    let pid: i32 = started.until(|out| out.ends_with('\n')).trim().parse().unwrap();
    assert!(lives(pid));
    started.signal(Signal::TERM);
    assert_eq!(started.code(), Some(128 + 15));
    until_gone(pid);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_terminal_a_key_reaches_the_command_once() {
    let dir = tempfile::tempdir().unwrap();
    let workflow = workflow(&dir).await;
    let counts = r#"$| = 1; $SIG{INT} = sub { $n++; print "interrupted\n" }; $SIG{QUIT} = sub { exit $n };
        print "ready\n"; sleep 1 while 1"#;
    let file = dir.path().join("counts.pl");
    std::fs::write(&file, counts).unwrap();
    // `script` puts a terminal around a command, and ends as it does. It starts a shell for it, which has to give way:
    // some wait for what they start instead, and the keys would end them.
    let line = format!("exec {SETTLED} run --environment prod -- perl {}", file.display());
    let mut terminal = std::process::Command::new("script");
    terminal.args(["-qefc", &line, "/dev/null"]);
    terminal.env("SETTLED_URL", &workflow.server.url).env("SETTLED_API_KEY", &workflow.key);
    let mut terminal = terminal.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(terminal.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("ready")));
    let mut keyboard = terminal.stdin.take().unwrap();
    keyboard.write_all(b"\x03").unwrap();
    assert!(lines.any(|line| line.unwrap().contains("interrupted")));
    // Long enough for a second one, were it passed on to the command besides.
    std::thread::sleep(Duration::from_millis(500));
    keyboard.write_all(b"\x1c").unwrap();
    assert_eq!(lines.map(Result::unwrap).filter(|line| line.contains("settled")).count(), 0);
    assert_eq!(terminal.wait().unwrap().code(), Some(1), "how many times it was interrupted");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watched_command_is_restarted_with_what_changed_over_a_restart_of_the_server() {
    let dir = tempfile::tempdir().unwrap();
    let start = Start::on(dir.path().join("data"));
    let mut workflow = Workflow::start(&start, "workflow").await;
    let address = workflow.server.url.strip_prefix("http://").unwrap().to_owned();
    let secret = workflow.secret("VALUE", "one").await;
    let program = r#"$SIG{TERM} = sub { exit 0 }; print "has $ENV{VALUE}\n"; sleep 1 while 1"#;
    let mut started = Started::new(workflow.program(&["--watch", "restart"], program));
    started.until(|out| out == "has one\n");
    workflow.change(&secret, "two").await;
    started.until(|out| out == "has one\nhas two\n");
    // Another version with the same text changes no variable.
    workflow.change(&secret, "two").await;
    workflow.server.process.kill();
    workflow.server = start.listening(&address).serve();
    workflow.change(&secret, "three").await;
    started.until(|out| out.ends_with("has three\n"));
    assert_eq!(started.out(), "has one\nhas two\nhas three\n");
    started.signal(Signal::TERM);
    assert_eq!(started.code(), Some(0), "what it ends with when asked, it is not started again");
    assert!(started.err().contains("the settings changed, the command is restarted"), "{}", started.err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_that_was_asked_to_end_is_not_started_again() {
    let dir = tempfile::tempdir().unwrap();
    let workflow = workflow(&dir).await;
    let secret = workflow.secret("VALUE", "one").await;
    let program = r#"$SIG{TERM} = sub { print "asked\n" }; $SIG{USR1} = sub { exit 3 }; print "ready\n"; sleep 1 while 1"#;
    let mut started =
        Started::new(workflow.program(&["--watch", "restart", "--stop-timeout", "1s"], program));
    started.until(|out| out == "ready\n");
    started.signal(Signal::TERM);
    started.until(|out| out == "ready\nasked\n");
    workflow.change(&secret, "two").await;
    // What cannot be a variable is said, so that it is known when the change was told.
    workflow.configure("PATH", json!("/tmp")).await;
    said(&started, "PATH would decide");
    started.signal(Signal::USR1);
    assert_eq!(started.code(), Some(3));
    assert_eq!(started.out(), "ready\nasked\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watched_command_that_does_not_end_is_killed_with_what_it_started() {
    let dir = tempfile::tempdir().unwrap();
    let workflow = workflow(&dir).await;
    let secret = workflow.secret("VALUE", "one").await;
    let script = "trap '' TERM; sleep 1000 & echo $VALUE $!; wait; while :; do sleep 0.05; done";
    let options = ["--watch", "restart", "--stop-timeout", "1s"];
    let mut started = Started::new(workflow.script(&options, script));
    let first = started.until(|out| out.ends_with('\n'));
    let pid: i32 = first.trim().strip_prefix("one ").unwrap().parse().unwrap();
    workflow.change(&secret, "two").await;
    started.until(|out| out.lines().count() == 2 && out.ends_with('\n') && out.contains("two"));
    until_gone(pid);
    assert!(started.err().contains("did not end in time and is killed"), "{}", started.err());
    // It ignores what would end it.
    started.signal(Signal::TERM);
    let second: i32 = started.out().lines().nth(1).unwrap().strip_prefix("two ").unwrap().parse().unwrap();
    let group = rustix::process::getpgid(Pid::from_raw(second)).unwrap();
    rustix::process::kill_process_group(group, Signal::KILL).unwrap();
    assert_eq!(started.code(), Some(128 + 9));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watched_command_is_told_by_a_signal_and_outlives_its_key() {
    let dir = tempfile::tempdir().unwrap();
    let workflow = workflow(&dir).await;
    workflow.configure("VALUE", json!(1)).await;
    let program = r#"$SIG{HUP} = sub { print "told\n" }; print "ready\n"; sleep 1 while 1"#;
    let mut started = Started::new(workflow.program(&["--watch", "signal=HUP"], program));
    started.until(|out| out == "ready\n");
    workflow.configure("VALUE", json!(2)).await;
    started.until(|out| out == "ready\ntold\n");
    // What cannot be a variable is said, and changes nothing.
    workflow.configure("PATH", json!("/tmp")).await;
    said(&started, "PATH would decide");
    let (_, keys) = workflow.server.call(&workflow.login, "GET", "/v1/api-keys", None).await;
    let path = format!("/v1/api-keys/{}", keys["data"][0]["id"].as_str().unwrap());
    assert_eq!(workflow.server.call(&workflow.login, "DELETE", &path, None).await.0, 204);
    said(&started, "is not watched any longer");
    assert_eq!(started.out(), "ready\ntold\n");
    started.signal(Signal::KILL);
    assert_eq!(started.code(), None);
}

fn said(started: &Started, what: &str) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !started.err().contains(what) {
        assert!(Instant::now() < deadline, "{what}: {}", started.err());
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Every file below a folder.
fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_value_is_in_an_argument_list_on_disk_or_in_what_is_printed() {
    let dir = tempfile::tempdir().unwrap();
    let workflow = workflow(&dir).await;
    let secret = workflow.secret("PAYMENT_KEY", CANARY).await;
    let own = dir.path().join("own");
    std::fs::create_dir(&own).unwrap();
    std::fs::set_permissions(&own, std::fs::Permissions::from_mode(0o700)).unwrap();
    let mut client = workflow.script(&["--watch", "restart"], "echo ready; while :; do sleep 0.05; done");
    client
        .current_dir(&own)
        .env("HOME", &own)
        .env("TMPDIR", &own)
        .env("XDG_CACHE_HOME", &own)
        .env("RUST_LOG", "trace");
    let started = Started::new(client);
    started.until(|out| out == "ready\n");
    workflow.change(&secret, &format!("{CANARY}-2")).await;
    started.until(|out| out == "ready\nready\n");
    let run = started.pid().as_raw_nonzero().get();
    let server = i32::try_from(workflow.server.process.pid()).unwrap();
    let children = std::fs::read_to_string(format!("/proc/{run}/task/{run}/children")).unwrap();
    let child: i32 = children.split_whitespace().next().unwrap().parse().unwrap();
    let of = |pid: i32, file: &str| std::fs::read(format!("/proc/{pid}/{file}")).unwrap();
    let holds = |bytes: &[u8], what: &str| bytes.windows(what.len()).any(|window| window == what.as_bytes());
    assert!(holds(&of(child, "environ"), CANARY), "where it belongs");
    assert!(!holds(&of(child, "environ"), &workflow.key));
    for pid in [run, server, child] {
        assert!(!holds(&of(pid, "cmdline"), CANARY) && !holds(&of(pid, "cmdline"), &workflow.key));
    }
    assert!(!holds(&of(server, "environ"), CANARY) && !holds(&of(run, "environ"), CANARY));
    assert!(!started.err().contains(CANARY), "{}", started.err());
    assert!(!workflow.server.process.log_lines().contains(CANARY));
    assert_eq!(files(&own), Vec::<std::path::PathBuf>::new(), "nothing is kept");
    for path in files(dir.path()) {
        assert!(!holds(&std::fs::read(&path).unwrap_or_default(), CANARY), "{}", path.display());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_https_it_trusts_what_the_system_trusts() {
    let dir = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let file = |name: &str, text: String| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (certificate, key) =
        (file("cert.pem", made.cert.pem()), file("key.pem", made.signing_key.serialize_pem()));
    let start = Start::on(dir.path().join("data"));
    let workflow = Workflow::start(&start, "workflow").await;
    workflow.configure("REGION", json!("eu")).await;
    let Workflow { server, key: api_key, .. } = workflow;
    assert_eq!(server.stop().and_then(|status| status.code()), Some(0));
    let server = start.with(&["--tls-cert", &certificate, "--tls-key", &key]).serve();
    let port = server.url.rsplit_once(':').unwrap().1;
    let mut client = command(&["run", "--environment", "prod", "--", "sh", "-c", "echo $REGION"]);
    client.env("SETTLED_URL", format!("https://localhost:{port}")).env("SETTLED_API_KEY", &api_key);
    let refused = {
        let mut client = command(&["run", "--environment", "prod", "--", "true"]);
        client.env("SETTLED_URL", format!("https://localhost:{port}")).env("SETTLED_API_KEY", &api_key);
        run(client)
    };
    assert_eq!(refused.code, Some(125), "{refused:?}");
    client.env("SSL_CERT_FILE", &certificate);
    let trusted = run(client);
    assert_eq!((trusted.code, trusted.stdout.as_str()), (Some(0), "eu\n"), "{trusted:?}");
}
