//! kill -9 while programs read secrets: no value left the server without its key, version and hour in the audit log.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use settled::clock::{Clock, Timestamp};
use tokio::task::JoinSet;

use crate::process::{Login, Server, Start, scale, text};
use crate::unmoved::until;

const READERS: usize = 8;

/// What left: which value of the secret, and within which hours it can have.
type Left = Arc<Mutex<BTreeSet<(u64, i64, i64)>>>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_value_leaves_a_server_that_is_killed_unless_the_audit_log_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let start = Start::on(dir.path().join("data"));
    let (login, program, secret) = {
        let server = start.serve();
        let login = server.set_up().await;
        let body = json!({"name": "TOKEN", "value": "value 1", "environment": "prod"});
        let (status, made) = server.call(&login, "POST", "/v1/secrets", Some(body)).await;
        assert_eq!(status, 201, "{made}");
        let (status, key) =
            server.call(&login, "POST", "/v1/api-keys", Some(json!({"name": "W", "mode": "live"}))).await;
        assert_eq!(status, 201, "{key}");
        (login.clone(), Login { token: text(&key["key"]), ..login }, text(&made["id"]))
    };
    let left = Left::default();
    for life in 0..6 * u64::from(scale()) {
        let mut server = start.serve();
        assert_recorded(&server, &login, &secret, &left).await;
        let readers = read(&server, &program, &left);
        // A new value in the midst of it, and the kill at some moment around its first reads.
        tokio::time::sleep(Duration::from_millis(20 * (life % 3))).await;
        let body = json!({"value": format!("value {}", life + 2)});
        let (status, _) = server.call(&login, "PATCH", &format!("/v1/secrets/{secret}"), Some(body)).await;
        assert_eq!(status, 200);
        if life % 2 == 1 {
            let before = left.lock().unwrap().len();
            until("a value leaves", || left.lock().unwrap().len() > before).await;
        }
        tokio::time::sleep(Duration::from_millis(7 * (life % 5))).await;
        server.process.kill();
        readers.join_all().await;
    }
    let server = start.serve();
    let recorded = assert_recorded(&server, &login, &secret, &left).await;
    let left = left.lock().unwrap().len();
    assert!(left > 2 && recorded >= left, "{left} values left, {recorded} were recorded");
}

/// Lets programs read until the server is gone.
fn read(server: &Server, program: &Login, left: &Left) -> JoinSet<()> {
    let mut readers = JoinSet::new();
    for reader in 0..READERS {
        let (url, token, left) = (server.url.clone(), program.token.clone(), Arc::clone(left));
        let path = if reader % 2 == 0 {
            "/v1/ctx?environment=prod"
        } else {
            "/v1/ctx/secrets/TOKEN?environment=prod"
        };
        readers.spawn(async move {
            let (client, clock) = (settled::client::http::plain().build().unwrap(), Clock::system());
            loop {
                let before = clock.now();
                let request = client.get(format!("{url}{path}")).header("x-fastn-api-key", &token);
                let Ok(answer) = request.send().await else { return };
                assert_eq!(answer.status(), 200);
                let Ok(body) = answer.json::<Value>().await else { return };
                let value = body.get("value").unwrap_or(&body["secrets"]["TOKEN"]);
                let number = text(value).rsplit(' ').next().unwrap().parse().unwrap();
                left.lock().unwrap().insert((number, before.hour(), clock.now().hour()));
            }
        });
    }
    readers
}

/// Each value that left is in an event of its hour; how many such events there are.
async fn assert_recorded(server: &Server, login: &Login, secret: &str, left: &Left) -> usize {
    let path = format!("/v1/operator/log/export?stream={}", login.organization);
    let mut recorded = BTreeSet::new();
    let mut events = 0;
    for line in server.operator(&path).lines() {
        let event: Value = serde_json::from_str(line).unwrap();
        let event = event.get("event").unwrap_or(&event);
        if event["action"] != "secret.read" {
            continue;
        }
        events += 1;
        assert_eq!(event["actor"]["kind"], "api_key");
        let hour = text(&event["at"]).parse::<Timestamp>().unwrap().hour();
        for read in event["data"]["secrets"].as_array().into_iter().flatten() {
            if read["secret"] == secret {
                recorded.insert((read["value_version"].as_u64().unwrap(), hour));
            }
        }
    }
    for (number, first, last) in left.lock().unwrap().iter() {
        let is_recorded = recorded.contains(&(*number, *first)) || recorded.contains(&(*number, *last));
        assert!(is_recorded, "value {number} left and was not recorded: {recorded:?}");
    }
    events
}
