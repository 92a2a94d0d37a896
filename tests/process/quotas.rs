//! Quotas of a server that is killed again and again: what was acknowledged is there, and there is never more than may be.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;
use tokio::task::JoinSet;

use crate::process::{Login, Server, Start};

const LIMIT: usize = 24;
const CONNECTIONS: usize = 8;
/// After so many acknowledgements a server is killed.
const ACKNOWLEDGED_A_ROUND: usize = 5;

/// Makes environments on so many connections until there is no room or no server.
fn make(server: &Server, login: &Login, round: usize, made: &Arc<AtomicUsize>) -> JoinSet<bool> {
    let mut makers = JoinSet::new();
    for connection in 0..CONNECTIONS {
        let (url, token, made) = (server.url.clone(), login.token.clone(), Arc::clone(made));
        makers.spawn(async move {
            let client = settled::client::http::plain().build().unwrap();
            for number in 0.. {
                let name = format!("r{round} c{connection} n{number}");
                let request = client.post(format!("{url}/v1/environments")).bearer_auth(&token);
                let Ok(answer) = request.json(&json!({"name": name, "mode": "test"})).send().await else {
                    return false;
                };
                match answer.status().as_u16() {
                    201 => made.fetch_add(1, Ordering::SeqCst),
                    402 => return true,
                    500 | 503 => return false,
                    other => panic!("{other}"),
                };
            }
            false
        });
    }
    makers
}

async fn there(server: &Server, login: &Login) -> usize {
    let (status, body) = server.call(login, "GET", "/v1/environments?limit=200", None).await;
    assert_eq!(status, 200, "{body}");
    body["data"].as_array().unwrap().len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_makes_as_many_as_there_may_be_and_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let start = Start::on(dir.path().join("data"));
    let made = Arc::new(AtomicUsize::new(0));
    let login = {
        let server = start.serve();
        let login = server.set_up().await;
        let quota = Some(json!({"limit": LIMIT, "soft": false}));
        let (status, body) = server.call(&login, "PUT", "/v1/billing/quotas/environments", quota).await;
        assert_eq!(status, 200, "{body}");
        login
    };
    for round in 0..3 {
        let server = start.serve();
        let before = there(&server, &login).await;
        assert!(made.load(Ordering::SeqCst) <= before && before <= LIMIT, "round {round}");
        let makers = make(&server, &login, round, &made);
        // There may be more than were acknowledged: of those that there is room for, each will be.
        let enough = made.load(Ordering::SeqCst) + ACKNOWLEDGED_A_ROUND.min(LIMIT - before);
        while made.load(Ordering::SeqCst) < enough {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        // Killed in the middle of what the others ask for.
        drop(server);
        makers.join_all().await;
    }
    let server = start.serve();
    assert!(make(&server, &login, 9, &made).join_all().await.into_iter().all(|full| full));
    assert_eq!(there(&server, &login).await, LIMIT);
    assert!(made.load(Ordering::SeqCst) <= LIMIT);
}
