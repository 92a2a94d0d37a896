//! `settled log tail`.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use serde_json::{Value, json};

use crate::process::{Start, command, settled_on, text};

fn lines(ended: &crate::process::Ended) -> Vec<Value> {
    assert_eq!(ended.code, Some(0), "{ended:?}");
    ended.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_tail_is_the_end_of_the_export_with_positions_to_go_on_from() {
    let dir = tempfile::tempdir().unwrap();
    let start = Start::on(dir.path().join("data"));
    let server = start.serve();
    let login = server.set_up().await;
    for value in 0..15 {
        let body = json!({"value": value});
        server.call(&login, "PUT", "/v1/environments/prod/config/A", Some(body)).await;
    }
    // By the server, then without one.
    let mut server = Some(server);
    for _ in 0..2 {
        let export = settled_on(&start.dir, &["log", "export", "--stream", &login.organization]);
        let export: Vec<Value> = lines(&export);
        let all = lines(&settled_on(&start.dir, &["log", "tail", "--json", "--after", "0"]));
        let own: Vec<&Value> =
            all.iter().filter(|line| line["event"]["stream"] == *login.organization).collect();
        assert_eq!(own.iter().map(|line| line["event"].clone()).collect::<Vec<_>>(), export);
        let positions: Vec<u64> = all.iter().map(|line| line["position"].as_u64().unwrap()).collect();
        assert!(positions.is_sorted() && positions[0] == 1);

        let newest = lines(&settled_on(&start.dir, &["log", "tail", "--json"]));
        assert_eq!(newest, all[all.len() - newest.len()..]);
        assert!((10..30).contains(&newest.len()), "{} lines", newest.len());
        let of =
            lines(&settled_on(&start.dir, &["log", "tail", "--json", "--organization", &login.organization]));
        assert_eq!(of.iter().collect::<Vec<_>>(), own[own.len() - of.len()..]);
        let after = positions[positions.len() - 4];
        let rest = lines(&settled_on(&start.dir, &["log", "tail", "--json", "--after", &after.to_string()]));
        assert_eq!(rest, all[all.len() - 3..]);

        let shown = settled_on(&start.dir, &["log", "tail"]);
        assert_eq!(shown.stdout.lines().count(), newest.len());
        let last = shown.stdout.lines().last().unwrap();
        let event = &newest.last().unwrap()["event"];
        let expected = [
            text(&event["at"]),
            login.organization.clone(),
            "config.set success".to_owned(),
            text(&event["actor"]["id"]),
        ];
        assert!(expected.iter().all(|part| last.contains(part.as_str())), "{last}");
        if let Some(server) = server.take() {
            assert_eq!(server.stop().and_then(|status| status.code()), Some(0));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_followed_tail_shows_what_is_appended_until_the_server_stops() {
    let dir = tempfile::tempdir().unwrap();
    let start = Start::on(dir.path().join("data"));
    let server = start.serve();
    let login = server.set_up().await;
    let args = ["log", "tail", "--follow", "--json", "--stream", &login.organization];
    let mut following = command(&args)
        .args(["--data-dir", start.dir.to_str().unwrap()])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut shown = BufReader::new(following.stdout.take().unwrap()).lines().map_while(Result::ok);
    // What was there is shown first; the environment was made last.
    while !shown.next().unwrap().contains("environment.create") {}
    for value in 0..3 {
        let body = json!({"value": value});
        server.call(&login, "PUT", "/v1/environments/prod/config/A", Some(body)).await;
        let line: Value = serde_json::from_str(&shown.next().unwrap()).unwrap();
        assert_eq!(
            (&line["event"]["action"], &line["event"]["data"]["value"]),
            (&json!("config.set"), &json!(value.to_string()))
        );
    }
    assert_eq!(server.stop().and_then(|status| status.code()), Some(0));
    assert_eq!(shown.next(), None);
    assert_eq!(following.wait().unwrap().code(), Some(0));
}
