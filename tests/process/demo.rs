//! `settled serve --demo`: one command that makes an organization with a year of history, and prints what to try, as a
//! newcomer would try it.

use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::process::{Server, Start, command, settled_on, text};

/// What a server printed after the line that it serves, up to the last command to try.
fn printed(server: &Server) -> Vec<String> {
    let mut lines = Vec::new();
    loop {
        let line = server.process.next_line().unwrap_or_else(|| panic!("no more lines after {lines:?}"));
        lines.push(line);
        if lines.last().is_some_and(|line| line.contains("/v1/ctx?")) {
            return lines;
        }
    }
}

/// A `curl` line, run as `curl` would: its URL, headers and body; a variable is what the line before it set.
async fn curl(line: &str, token: &str) -> Value {
    let words = words(&line.replace("$TOKEN", token));
    let client = settled::client::http::plain().build().unwrap();
    let url = words.iter().find(|word| word.starts_with("http://")).expect("a URL");
    let pairs = || words.iter().zip(&words[1..]);
    let body = pairs().find(|(word, _)| *word == "-d").map(|(_, value)| value);
    let mut request = if body.is_some() { client.post(url) } else { client.get(url) };
    for (_, header) in pairs().filter(|(word, _)| *word == "-H") {
        let (name, value) = header.split_once(": ").expect("a header");
        request = request.header(name, value);
    }
    let request = request.timeout(Duration::from_secs(60)).body(body.cloned().unwrap_or_default());
    let response = request.send().await.expect("the server answers");
    assert_eq!(response.status(), 200, "{line}");
    response.json().await.expect("the answer is JSON")
}

/// A line as a shell splits it, as far as it needs to be known here: up to a pipe, with both kinds of quotes.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quote = None;
    for letter in line.chars() {
        match (quote, letter) {
            (Some(open), _) if letter == open => quote = None,
            (None, '\'' | '"') => quote = Some(letter),
            (None, '|') => break,
            (None, ' ') => words.push(String::new()),
            _ => words.last_mut().expect("never empty").push(letter),
        }
    }
    words
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_it_prints_works_and_its_audit_log_spans_a_year() {
    let dir = tempfile::tempdir().unwrap();
    let start = Start::on(dir.path().join("data")).with(&["--demo"]);
    let server = start.serve();
    let lines = printed(&server);
    assert!(lines.iter().any(|line| line.contains("come with every copy")));
    let commands: Vec<&String> = lines.iter().filter(|line| line.contains("curl -sS")).collect();
    assert_eq!(commands.len(), 4, "{lines:?}");
    let login = commands[0].strip_prefix("TOKEN=$(").expect("the first sets the variable");
    let token = text(&curl(login, "").await["token"]);

    let secrets = curl(commands[1], &token).await;
    assert_eq!(secrets["data"].as_array().unwrap().len(), 5, "{secrets}");
    let config = curl(commands[2], &token).await;
    assert!(!config["data"].as_array().unwrap().is_empty(), "{config}");
    let seen = curl(commands[3], &token).await;
    assert!(!seen["config"].as_object().unwrap().is_empty(), "{seen}");
    assert!(!seen["secrets"].as_object().unwrap().is_empty(), "{seen}");

    let get = async |path: &str| {
        curl(&format!("curl '{}{path}' -H \"Authorization: Bearer {token}\"", server.url), "").await
    };
    let facets = get("/v1/audit/facets").await;
    for (facet, least) in [("actions", 30), ("users", 10), ("outcomes", 3)] {
        let values = facets[facet].as_array().unwrap_or_else(|| panic!("{facets}"));
        assert!(values.len() >= least, "{facet}: {values:?}");
    }
    let newest = text(&get("/v1/audit?limit=1&to=2026-11-28").await["data"][0]["timestamp"]);
    assert!(newest.as_str() > "2026-11-20", "{newest}");
    let early = get("/v1/audit?limit=1&to=2025-12-05").await;
    assert!(early["total"].as_u64().unwrap() > 10, "{early}");
    for (list, least) in [
        ("environments", 3),
        ("people", 5),
        ("teams", 1),
        ("roles", 8),
        ("api-keys", 2),
        ("secrets", 5),
        ("customers", 8),
        ("oauth-apps", 2),
        ("connections", 2),
        ("plans", 2),
    ] {
        let list = get(&format!("/v1/{list}")).await;
        assert!(list["data"].as_array().unwrap().len() >= least, "{list}");
    }
    let customer = text(&get("/v1/customers?limit=1").await["data"][0]["id"]);
    for of_it in ["data", "executions"] {
        let list = get(&format!("/v1/customers/{customer}/{of_it}")).await;
        assert!(!list["data"].as_array().unwrap().is_empty(), "{of_it}: {list}");
    }
    let billing = get("/v1/billing").await;
    assert_eq!(billing["plan"], "growth");
    let alerts = get("/v1/audit?action=billing.alert").await;
    assert!(alerts["total"].as_u64().unwrap() > 0, "{alerts}");
    // A restored store: a version alone says nothing there.
    let stream = format!("{}/v1/audit/stream?after=1", server.url);
    let stream = settled::client::http::plain().build().unwrap().get(stream).bearer_auth(&token);
    let opening = stream.send().await.unwrap().chunk().await.unwrap().expect("an opening");
    assert!(String::from_utf8_lossy(&opening).contains("event: reset"), "{opening:?}");
    let wrapped_by_its_own = std::fs::read_to_string(server.dir().join("root.key")).unwrap();
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("snapshots/demo.root.key");
    assert_ne!(wrapped_by_its_own, std::fs::read_to_string(shipped).unwrap());
    assert!(server.stop().unwrap().success());
    let checked = settled_on(&start.dir, &["fsck"]);
    assert_eq!(checked.code, Some(0), "{checked:?}");

    // What was changed in it is there the next time.
    let server = start.serve();
    let again = text(
        &curl(printed(&server).iter().find(|line| line.starts_with("TOKEN=")).unwrap(), "").await["token"],
    );
    let url = format!("{}/v1/audit?limit=1&action=auth.login&from=2026-11-28", server.url);
    let logins = curl(&format!("curl '{url}' -H \"Authorization: Bearer {again}\""), "").await;
    assert_eq!(logins["total"], 2, "{logins}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_folder_it_lies_in_a_temporary_one_that_goes_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut serve = command(&["serve", "--demo", "--listen", "127.0.0.1:0"]);
    serve.env("TMPDIR", dir.path());
    let server = Start::on(dir.path().join("none")).spawn_as(serve).served();
    let mut server = server.unwrap_or_else(|(status, log)| panic!("no start ({status:?}):\n{log}"));
    let folders = || {
        let entries = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path());
        entries.filter(|path| path.is_dir()).collect::<Vec<_>>()
    };
    let [folder] = &folders()[..] else { panic!("one folder: {:?}", folders()) };
    assert!(printed(&server).iter().any(|line| line.contains(folder.to_str().unwrap())));
    server.process.signal(Signal::TERM);
    assert!(server.process.wait(Duration::from_secs(60)).unwrap().success());
    assert_eq!(folders(), Vec::<std::path::PathBuf>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_of_somebodys_own_is_not_taken_for_a_demo() {
    let dir = tempfile::tempdir().unwrap();
    let start = Start::on(dir.path().join("data"));
    let server = start.serve();
    server.set_up().await;
    assert!(server.stop().unwrap().success());
    let refused = start.clone().with(&["--demo"]).refused();
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(refused.stderr.contains("is not a demo"), "{refused:?}");
    let checked = settled_on(&start.dir, &["fsck"]);
    assert_eq!(checked.code, Some(0), "{checked:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_demo_is_not_served_as_somebodys_own_store() {
    let dir = tempfile::tempdir().unwrap();
    let start = Start::on(dir.path().join("data"));
    let server = start.clone().with(&["--demo"]).serve();
    assert!(server.stop().unwrap().success());
    let refused = start.refused();
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(refused.stderr.contains("password and API key everybody has"), "{refused:?}");
    assert!(start.clone().with(&["--demo"]).serve().stop().unwrap().success());
    // Whoever made it their own says so.
    std::fs::remove_file(start.dir.join("demo")).unwrap();
    assert!(start.serve().stop().unwrap().success());
}
