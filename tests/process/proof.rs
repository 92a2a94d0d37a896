//! What an auditor does elsewhere: verifies a bundle, by `settled verify` and by the script in `docs/`, and keeps a witness.

use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};
use settled::log::segment::tree::Hash;
use settled::proof::checkpoint::Checkpoint;
use settled::proof::tree::is_consistent;

use crate::keys::{is_stopped, stop};
use crate::preload::library;
use crate::process::{Ended, Login, Server, Start, command, run, scale, settled};
use crate::tools::installed;

/// More steps than signing and keeping a checkpoint has.
const STEPS_MAX: u32 = 60;

/// Where a server listens, which is the name that it signs under.
fn address(server: &Server) -> &str {
    server.url.trim_start_matches("http://")
}

/// An answer that is text; nothing if the server died on it.
async fn try_get(server: &Server, login: &Login, path: &str) -> Option<String> {
    let request = settled::client::http::plain().build().unwrap().get(format!("{}{path}", server.url));
    let answer = request.bearer_auth(&login.token).send().await.ok()?;
    let answer = answer.error_for_status().ok()?;
    answer.text().await.ok()
}

async fn get(server: &Server, login: &Login, path: &str) -> String {
    try_get(server, login, path).await.unwrap_or_else(|| panic!("{path}: {}", server.process.last_lines()))
}

async fn configure(server: &Server, login: &Login, name: &str, value: u32) {
    let path = format!("/v1/environments/prod/config/{name}");
    let (status, body) = server.call(login, "PUT", &path, Some(json!({"value": value}))).await;
    assert!(status == 200 || status == 201, "{body}");
}

/// The script in `docs/` on a bundle, with one key.
fn script(bundle: &Path, key: &str) -> Ended {
    let mut script = Command::new(installed("cryptography", "python"));
    // Optimized, as somebody may have set: what it checks is checked all the same.
    script.env("PYTHONOPTIMIZE", "1");
    script.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/verify.py")).arg(bundle).arg(key);
    run(script)
}

fn verify(bundle: &Path, key: &str, options: &[&str]) -> Ended {
    settled(&[&["verify", bundle.to_str().unwrap(), "--key", key], options].concat())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bundle_is_verified_elsewhere_by_the_command_and_by_the_script() {
    let dir = tempfile::tempdir().unwrap();
    let server = Start::on(dir.path().join("data")).serve();
    let host = address(&server).to_owned();
    let login = server.set_up().await;
    for value in 0..5 {
        configure(&server, &login, "REGION", value).await;
    }
    let keys = dir.path().join("keys");
    std::fs::write(&keys, get(&server, &login, "/v1/proof/keys").await).unwrap();
    let (file, key) = (keys.to_str().unwrap(), std::fs::read_to_string(&keys).unwrap());
    let key = key.trim_end();
    let bundle = dir.path().join("bundle.ndjson");
    std::fs::write(&bundle, get(&server, &login, "/v1/proof/bundle?from=2").await).unwrap();
    stop(server);

    for key in [file, key] {
        let ended = verify(&bundle, key, &[]);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert!(ended.stdout.starts_with("Events 2 to "), "{ended:?}");
    }
    let verified = verify(&bundle, file, &["--json"]).json();
    assert_eq!((&verified["holds"], &verified["faults"]), (&json!(true), &json!([])), "{verified}");
    assert_eq!(verified["origin"], format!("{host}/{}/0", login.organization));
    let ended = script(&bundle, key);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stdout.contains("are as recorded"), "{ended:?}");

    // One byte of the third event of the bundle, which is event 4.
    let text = std::fs::read_to_string(&bundle).unwrap();
    let line = text.lines().nth(3).unwrap();
    let event: Value = serde_json::from_str(line).unwrap();
    let event = &event["event"];
    assert_eq!(event["version"], 4);
    let altered = dir.path().join("altered.ndjson");
    let other = line.replacen("\"outcome\":\"success\"", "\"outcome\":\"succesS\"", 1);
    assert_ne!(other, line);
    std::fs::write(&altered, text.replace(line, &other)).unwrap();
    let ended = verify(&altered, file, &[]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let blamed = format!("event 4 ({}) was altered: line 4\n", event["id"].as_str().unwrap());
    assert!(ended.stdout.starts_with(&blamed), "{ended:?}");
    let verified = verify(&altered, file, &["--json"]);
    assert_eq!(verified.code, Some(1));
    let expected = json!([{"kind": "altered", "version": 4, "line": 4, "event": event["id"]}]);
    assert_eq!(verified.json()["faults"], expected);
    let ended = script(&altered, key);
    assert_ne!(ended.code, Some(0));
    assert!(
        ended.stderr.contains(&format!("event 4 ({}) was altered", event["id"].as_str().unwrap())),
        "{ended:?}"
    );

    // What shows a reader something else than what was recorded, or nothing, is refused by both.
    let (head, rest) = text.split_once('\n').unwrap();
    let emptied = head.replace("\"from\":2,", "\"from\":9,");
    for other in [
        text.replacen("{\"event\":{", "{\"event\":{\"action\":\"forged.action\",", 1),
        text.replacen("{\"event\":", "{\"event\":{\"action\":\"forged\"},\"event\":", 1),
        text.replacen("\"success\"", "\"succes\\u0073\"", 1),
        text.replacen("{\"checkpoint\":", "{\"checkpoint\":\"\",\"checkpoint\":", 1),
        text.replacen("\"from\":2", "\"from\":true", 1),
        text.replacen("bundle-1", "bundle-2", 1),
        text.replacen(",\"proof\":[", ",\"note\":\"approved by the board\",\"proof\":[", 1),
        text.replacen("\\n\\n", "\\n\\napproved by the board\\n", 1),
        text.replacen("\\n\\n— ", "\\n\\n— approved by the board\\n— ", 1),
        format!("{head}\r\n{rest}"),
        text.trim_end().to_owned(),
        format!("{emptied}\n"),
        format!("{head}\n"),
    ] {
        assert_ne!(other, text);
        std::fs::write(&altered, &other).unwrap();
        assert_eq!(verify(&altered, file, &[]).code, Some(1), "{other}");
        let ended = script(&altered, key);
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""), "{other}");
    }

    // Nobody is kept busy, nor their memory, by lines without end.
    std::fs::write(&altered, format!("{text}{}", "\n".repeat(1_000_000))).unwrap();
    let ended = verify(&altered, file, &[]);
    assert!(ended.code == Some(1) && ended.stderr.contains("lines were added"), "{ended:?}");

    // Another key than the one that signed; no key; no bundle.
    let others = "settled.example/log+01234567+AQ==";
    assert_eq!(verify(&bundle, others, &[]).code, Some(2));
    let ended =
        verify(&bundle, "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW", &["--json"]);
    assert_eq!((ended.code, &ended.json()["holds"]), (Some(1), &json!(false)));
    assert_eq!(verify(&keys, file, &[]).code, Some(1));
    assert_eq!(verify(&dir.path().join("nothing"), file, &[]).code, Some(2));
}

/// A witness that looks once.
fn witness(server: &Server, api_key: &str, kept: &Path, keys: &Path) -> Ended {
    let mut witness = command(&["log", "watch-checkpoints", "--once", "--to"]);
    witness.arg(kept).arg("--key").arg(keys);
    witness.env("SETTLED_URL", &server.url).env("SETTLED_API_KEY", api_key);
    run(witness)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_witness_follows_a_history_and_finds_a_fork() {
    let dir = tempfile::tempdir().unwrap();
    let (data, copy) = (dir.path().join("data"), dir.path().join("copy"));
    let (kept, keys) = (dir.path().join("kept"), dir.path().join("keys"));
    let server = Start::on(&data).serve();
    let host = address(&server).to_owned();
    let login = server.set_up().await;
    let api_key = server.key(&login, "auditor").await;
    std::fs::write(&keys, get(&server, &login, "/v1/proof/keys").await).unwrap();
    let ended = witness(&server, &api_key, &kept, &keys);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stdout.contains("events from here on"), "{ended:?}");
    configure(&server, &login, "REGION", 1).await;
    let ended = witness(&server, &api_key, &kept, &keys);
    assert!(ended.code == Some(0) && ended.stdout.contains("as before"), "{ended:?}");
    stop(server);

    // A copy of the store, from here on another history under the same name.
    assert!(Command::new("cp").arg("-a").args([&data, &copy]).status().unwrap().success());
    let server = Start::on(&data).listening(&host).serve();
    for value in 2..12 {
        configure(&server, &login, "REGION", value).await;
    }
    let ended = witness(&server, &api_key, &kept, &keys);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let before = std::fs::read_to_string(&kept).unwrap();
    stop(server);
    let server = Start::on(&copy).listening(&host).serve();
    let ended = witness(&server, &api_key, &kept, &keys);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("FORK") && ended.stderr.contains("taken back"), "{ended:?}");
    let evidence = dir.path().join("kept.fork");
    std::fs::remove_file(&evidence).unwrap();
    for value in 20..40 {
        configure(&server, &login, "REGION", value).await;
    }
    let ended = witness(&server, &api_key, &kept, &keys);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("FORK") && ended.stderr.contains("are not the first of"), "{ended:?}");
    assert!(std::fs::read_to_string(&kept).unwrap().starts_with(&before), "it keeps what it saw");
    let evidence: Value = serde_json::from_str(&std::fs::read_to_string(&evidence).unwrap()).unwrap();
    let size = |side: &str| Checkpoint::unverified(evidence[side].as_str().unwrap()).unwrap().size;
    assert!(size("shown") > size("seen"), "{evidence}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_checkpoint_that_was_shown_is_taken_back_by_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let start = Start::on(dir.path().join("data"));
    let mut server = start.serve();
    let login = server.set_up().await;
    let mut last: Option<Checkpoint> = None;
    for round in 0..4 * scale() {
        let shown = Arc::new(Mutex::new(Vec::new()));
        let url = server.url.clone();
        let ask = async |shown: Arc<Mutex<Vec<String>>>| {
            while let Some(note) = try_get(&server, &login, "/v1/proof/checkpoint").await {
                shown.lock().unwrap().push(note);
            }
        };
        let write = async || {
            let http = settled::client::http::plain().build().unwrap();
            for value in 0.. {
                let request = http.put(format!("{url}/v1/environments/prod/config/R{round}"));
                let body = json!({"value": value});
                if request.bearer_auth(&login.token).json(&body).send().await.is_err() {
                    break;
                }
            }
        };
        let pid = rustix::process::Pid::from_raw(i32::try_from(server.process.pid()).unwrap()).unwrap();
        let kill = async || {
            // Not before one was shown, and then at another moment each time.
            while shown.lock().unwrap().len() < 2 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            tokio::time::sleep(Duration::from_millis(u64::from(round % 7) * 13)).await;
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        };
        tokio::join!(ask(Arc::clone(&shown)), ask(Arc::clone(&shown)), write(), kill());
        server.process.kill();
        let shown = std::mem::take(&mut *shown.lock().unwrap());
        server = start.serve();
        let mut seen: Vec<Checkpoint> =
            shown.iter().map(|note| Checkpoint::unverified(note).unwrap()).chain(last.take()).collect();
        seen.push(Checkpoint::unverified(&get(&server, &login, "/v1/proof/checkpoint").await).unwrap());
        seen.sort_by_key(|checkpoint| checkpoint.size);
        for pair in seen.windows(2) {
            assert_follows(&server, &login, &pair[0], &pair[1]).await;
        }
        last = seen.pop();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_checkpoint_that_is_killed_before_any_of_its_steps_takes_nothing_back() {
    let place = tempfile::tempdir().unwrap();
    let given = place.path().join("given");
    let server = Start::on(&given).serve();
    // Where it listens is what it signs under.
    let host = address(&server).to_owned();
    let start = |data: &Path| Start::on(data).listening(&host);
    let login = server.set_up().await;
    let first = Checkpoint::unverified(&get(&server, &login, "/v1/proof/checkpoint").await).unwrap();
    configure(&server, &login, "REGION", 1).await;
    stop(server);
    let trigger = place.path().join("trigger");
    let mut killed = 0;
    for step in 1..STEPS_MAX {
        let data = place.path().join(step.to_string());
        crate::keys::copy(&given, &data);
        let started = start(&data)
            .env("LD_PRELOAD", library().to_str().unwrap())
            .env("STEP_AT", step.to_string())
            .env("STEP_SIGNAL", Signal::STOP.as_raw().to_string())
            .env("STEP_TRIGGER", trigger.to_str().unwrap());
        let mut server = started.serve();
        std::fs::write(&trigger, b"").unwrap();
        let url = format!("{}/v1/proof/checkpoint", server.url);
        let request = settled::client::http::plain().build().unwrap().get(url).bearer_auth(&login.token);
        let answer = tokio::spawn(async move { request.send().await.ok()?.text().await.ok() });
        while !answer.is_finished() && !is_stopped(server.process.pid()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        server.process.kill();
        std::fs::remove_file(&trigger).unwrap();
        let shown = answer.await.unwrap();
        let shown = shown.map(|note| Checkpoint::unverified(&note).unwrap());

        let server = start(&data).serve();
        let now = Checkpoint::unverified(&get(&server, &login, "/v1/proof/checkpoint").await).unwrap();
        assert_follows(&server, &login, &first, &now).await;
        if let Some(shown) = &shown {
            assert_follows(&server, &login, shown, &now).await;
            break;
        }
        killed += 1;
        stop(server);
        std::fs::remove_dir_all(&data).unwrap();
    }
    assert!(killed > 0 && killed < STEPS_MAX - 1, "{killed} checkpoints were killed");
}

/// That the events of one checkpoint are the first of another's.
async fn assert_follows(server: &Server, login: &Login, one: &Checkpoint, next: &Checkpoint) {
    if one.size == next.size {
        assert_eq!(one.root, next.root, "two roots were signed for {} events", one.size);
        return;
    }
    let path = format!("/v1/proof/consistency?from={}&to={}", one.size, next.size);
    let proof: Value = serde_json::from_str(&get(server, login, &path).await).unwrap();
    let hash = |text: &Value| -> Hash {
        use base64::Engine as _;
        let bytes = base64::engine::general_purpose::STANDARD.decode(text.as_str().unwrap()).unwrap();
        bytes.try_into().unwrap()
    };
    let proof: Vec<Hash> = proof["proof"].as_array().unwrap().iter().map(hash).collect();
    assert!(
        is_consistent((one.size, &one.root), (next.size, &next.root), &proof),
        "{} to {}",
        one.size,
        next.size
    );
}
