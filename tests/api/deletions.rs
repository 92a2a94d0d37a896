//! An organization whose deletion was recorded, before anything of what follows is done: nobody gets in, and who is in goes.

use std::time::Duration;

use serde_json::json;
use settled::actor::Actor;
use settled::platform::deletions::command::DeletionsCommand;
use settled::store::Submission;

use crate::server::{PASSWORD, Somebody, TestServer, text};
use crate::sse::Reader;

/// Longer than anything here takes.
const SOON: Duration = Duration::from_secs(60);

async fn stream(server: &TestServer, who: &Somebody, path: &str) -> Reader {
    let stream = Reader::open(server.base(), path, &who.token, None).await.expect("the server answers");
    assert_eq!(stream.status, 200, "{path}");
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_shut_the_instant_that_is_recorded() {
    let (server, owner) = TestServer::set_up_manual().await;
    let environment = server.environment(&owner, "Prod", "live").await;
    let (_, program) = server.api_key(&owner, &json!({"name": "reads", "mode": "live"})).await;
    let ctx = format!("/v1/ctx?environment={environment}");
    let ways = [(&owner, "/v1/general"), (&owner, "/v1/me"), (&program, &*ctx)];
    for (who, path) in ways {
        server.get(path, who).await.is(200);
    }
    let body = json!({"email": "nora@example.com", "role": "viewer"});
    server.post("/v1/invitations", Some(&owner), &body).await.is(201);
    let watch = format!("/v1/ctx/watch?environment={environment}");
    let streams =
        [stream(&server, &owner, "/v1/audit/stream").await, stream(&server, &program, &watch).await];

    let store = &server.app().store;
    let open = Submission::new(DeletionsCommand::Open(owner.organization), Actor::OPERATOR);
    store.execute(store.platform(), open).await.unwrap();
    for (who, path) in ways {
        server.get(path, who).await.is(401);
    }
    let login =
        json!({"email": owner.email, "password": PASSWORD, "organization": owner.organization.to_string()});
    server.log_in(&login).await.is(401);
    let login = json!({"email": owner.email, "password": PASSWORD, "organization": null});
    let account = Somebody { token: text(&server.log_in(&login).await.is(200).json()["token"]), ..owner };
    let switch = json!({"organization": account.organization.to_string()});
    server.post("/v1/auth/switch", Some(&account), &switch).await.is(404);
    let joinable = server.get("/v1/me/joinable-organizations", &account).await.is(200);
    assert_eq!(joinable.json()["data"], json!([]));
    // A stream looks whether it may go on when something is told, and when it is to say that it is there.
    server.advance(15);
    for stream in streams {
        let ended = tokio::time::timeout(SOON, ends(stream)).await.expect("it ends, or goes on");
        assert!(ended, "it went on");
    }
}

/// Whether a stream comes to its end, and not first to a comment that says that it goes on.
async fn ends(mut stream: Reader) -> bool {
    while let Some(line) = stream.line().await {
        match line.as_str() {
            // The last chunk of an answer that is whole.
            "0" => return true,
            ":" => return false,
            _ => {}
        }
    }
    false
}
