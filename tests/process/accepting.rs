//! kill -9 while an invitation is accepted: after the start somebody is a member with all that they were promised, or is
//! invited as before.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::process::{Login, Server, Start, scale};
use crate::unmoved::until;

pub const PASSWORD: &str = "a long walk by the sea";

/// The token of the one mail that is in a folder for an address, if it is there.
pub fn mailed(mails: &Path, address: &str) -> Option<String> {
    for entry in std::fs::read_dir(mails).unwrap() {
        let mail = std::fs::read_to_string(entry.unwrap().path()).unwrap_or_default();
        if mail.contains(&format!("To: {address}"))
            && let Some((_, rest)) = mail.split_once("#token=")
        {
            // One that is being written may end in the midst of it.
            return rest.split_once(char::is_whitespace).map(|(token, _)| token.to_owned());
        }
    }
    None
}

/// The same, once it is there.
pub async fn token(mails: &Path, address: &str) -> String {
    for _ in 0..2_400 {
        if let Some(token) = mailed(mails, address) {
            return token;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("no mail came to {address}");
}

fn acceptance(token: &str) -> Value {
    json!({"token": token, "name": "Nora", "password": PASSWORD})
}

/// Whoever is a member with this address, the whole of what they were promised held against.
async fn member(server: &Server, login: &Login, address: &str, team: &str) -> bool {
    let (_, people) = server.call(login, "GET", &format!("/v1/people?q={address}"), None).await;
    let Some(person) = people["data"].get(0) else { return false };
    let id = person["id"].as_str().unwrap();
    let (_, grants) = server.call(login, "GET", &format!("/v1/role-assignments?subject={id}"), None).await;
    assert_eq!(grants["data"][0]["role"], "viewer", "{grants}");
    let (_, members) = server.call(login, "GET", &format!("/v1/teams/{team}/members?limit=200"), None).await;
    let members = members["data"].as_array().unwrap();
    assert!(members.iter().any(|member| member["id"] == id), "{members:?}");
    true
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_killed_while_somebody_accepts_has_a_member_or_an_invitation_and_nothing_between() {
    let folder = tempfile::tempdir().unwrap();
    let mails = folder.path().join("mails");
    let start = Start::on(folder.path().join("data")).with(&["--mail-dir", mails.to_str().unwrap()]);
    let mut server = start.serve();
    let login = server.set_up().await;
    let (status, team) = server.call(&login, "POST", "/v1/teams", Some(json!({"name": "Core"}))).await;
    assert_eq!(status, 201, "{team}");
    let team = team["id"].as_str().unwrap().to_owned();
    let (mut finished, mut untouched) = (0, 0);
    let rounds = 16 * scale();
    let mut whole = Duration::ZERO;
    for round in 0..=rounds {
        let address = format!("nora{round}@example.com");
        let invited = json!({"email": address, "role": "viewer", "teams": [team]});
        let (status, body) = server.call(&login, "POST", "/v1/invitations", Some(invited)).await;
        assert_eq!(status, 201, "{body}");
        let token = token(&mails, &address).await;
        let request = settled::client::http::plain().build().unwrap();
        let request = request.post(format!("{}/v1/auth/invitations/accept", server.url));
        let (began, accepts) = (Instant::now(), tokio::spawn(request.json(&acceptance(&token)).send()));
        if round == 0 {
            // How long a whole one takes: the kills are spread over that.
            until("an acceptance ends", || accepts.is_finished()).await;
            whole = began.elapsed();
        } else {
            tokio::time::sleep(whole * (round - 1) / rounds).await;
        }
        server.process.kill();
        let acknowledged = matches!(accepts.await.unwrap(), Ok(answer) if answer.status() == 200);

        server = start.serve();
        if member(&server, &login, &address, &team).await {
            finished += 1;
        } else {
            assert!(!acknowledged, "an acknowledged acceptance is lost");
            let path = "/v1/auth/invitations/accept";
            let (status, body) = server.call(&login, "POST", path, Some(acceptance(&token))).await;
            assert_eq!((status, &body["code"]), (409, &json!("another_address")), "it is pending: {body}");
            untouched += 1;
        }
        let (_, open) = server.call(&login, "GET", "/v1/invitations?limit=200", None).await;
        assert_eq!(open["data"].as_array().unwrap().len(), untouched, "{open}");
    }
    assert!(finished > 0 && untouched > 0, "{finished} finished, {untouched} as before");
    println!("kill -9: {finished} acceptances finished, {untouched} as before");
}
