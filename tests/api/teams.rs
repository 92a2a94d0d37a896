//! `/v1/teams` and their members.

use reqwest::Method;
use serde_json::{Value, json};
use settled::settings::roles::role::SystemRole;

use crate::roles::ids;
use crate::server::{Somebody, TestServer, text};

impl TestServer {
    /// A team's id.
    pub async fn team(&self, who: &Somebody, name: &str) -> String {
        text(&self.post("/v1/teams", Some(who), &json!({"name": name})).await.is(201).json()["id"])
    }

    /// Makes somebody a member.
    pub async fn add_member(&self, who: &Somebody, team: &str, member: &Somebody) {
        let path = format!("/v1/teams/{team}/members/{}", member.person);
        self.put(&path, who, &json!({})).await.is(204);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_team_is_made_found_changed_and_deleted() {
    let (server, owner) = TestServer::set_up().await;
    let body = json!({"name": "Platform", "description": "who runs it"});
    let made = server.post("/v1/teams", Some(&owner), &body).await.is(201);
    let path = format!("/v1/teams/{}", text(&made.json()["id"]));
    assert_eq!(made.header("location"), Some(path.clone()));
    assert_eq!(made.json()["member_count"], 0);
    assert_eq!(server.get(&path, &owner).await.is(200).json(), made.json());
    let changed = server.patch(&path, &owner, &json!({"name": "Core", "description": null})).await.is(200);
    assert_eq!((&changed.json()["name"], &changed.json()["description"]), (&json!("Core"), &Value::Null));
    let taken = json!({"name": "core"});
    server.post("/v1/teams", Some(&owner), &taken).await.is_problem(409, "name_taken");
    let stale = [("if-match", &*made.etag())];
    let patch = json!({"name": "Edge"});
    server.send(Method::PATCH, &path, &owner, &stale, &patch).await.is_problem(412, "precondition_failed");
    assert_eq!(ids(&server.get("/v1/teams", &owner).await.is(200).json()), [text(&made.json()["id"])]);
    server.delete(&path, &owner).await.is(204);
    server.delete(&path, &owner).await.is_problem(404, "not_found");
    assert_eq!(ids(&server.get("/v1/teams", &owner).await.is(200).json()), [""; 0]);
    let then = server.get(&format!("{path}?as_of={}", made.version()), &owner).await.is(200);
    assert_eq!(then.json(), made.json());
    server.get("/v1/teams/team_x?as_of=nonsense", &owner).await.is_problem(404, "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn members_have_a_teams_roles_as_long_as_they_are_members() {
    let (server, owner) = TestServer::set_up().await;
    server.environment(&owner, "Dev", "test").await;
    let sam = server.add(owner.organization, "sam@example.com", "Sam").await;
    let team = server.team(&owner, "Core").await;
    let path = format!("/v1/teams/{team}/members/{}", sam.person);
    server.give(&owner, &team, "viewer").await.is(201);
    server.get("/v1/environments", &sam).await.is_problem(403, "forbidden");
    let added = server.put(&path, &owner, &json!({})).await.is(204);
    let again = server.send(Method::PUT, &path, &owner, &[], &Value::Null).await.is(204);
    assert_eq!(again.version(), added.version(), "once");
    assert_eq!(ids(&server.get("/v1/environments", &sam).await.is(200).json()).len(), 1);
    let me = server.get("/v1/me", &sam).await.is(200).json();
    assert_eq!(me["roles"], json!([{"id": "viewer", "name": "viewer"}]));
    let general = server.get("/v1/general", &sam).await.is(200).json();
    assert_eq!(general["your_role"], json!({"id": "viewer", "name": "viewer"}));

    let shown = server.get(&format!("/v1/teams/{team}"), &sam).await.is(200);
    assert_eq!(
        (&shown.json()["member_count"], &shown.json()["version"]),
        (&json!(1), &json!(added.version()))
    );
    let members = server.get(&format!("/v1/teams/{team}/members"), &sam).await.is(200).json();
    assert_eq!(members["data"], json!([{"id": sam.person, "created_at": shown.json()["updated_at"]}]));
    server.delete(&path, &owner).await.is(204);
    server.delete(&path, &owner).await.is_problem(404, "not_found");
    server.get("/v1/environments", &sam).await.is_problem(403, "forbidden");
    let then = format!("/v1/teams/{team}/members?as_of={}", added.version());
    assert_eq!(server.get(&then, &owner).await.is(200).json(), members);

    server.add_member(&owner, &team, &sam).await;
    server.get("/v1/environments", &sam).await.is(200);
    server.delete(&format!("/v1/teams/{team}"), &owner).await.is(204);
    server.get("/v1/environments", &sam).await.is_problem(403, "forbidden");
    assert_eq!(ids(&server.get("/v1/role-assignments?role=viewer", &owner).await.is(200).json()), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn members_have_pages_and_what_is_not_there_is_not_found() {
    let (server, owner) = TestServer::set_up().await;
    let team = server.team(&owner, "Core").await;
    let mut people = vec![owner.clone()];
    for name in ["Sam", "Noor"] {
        let email = format!("{}@example.com", name.to_lowercase());
        people.push(server.add(owner.organization, &email, name).await);
    }
    for person in &people {
        server.add_member(&owner, &team, person).await;
    }
    let path = format!("/v1/teams/{team}/members");
    let first = server.get(&format!("{path}?limit=2"), &owner).await.is(200).json();
    let rest = format!("{path}?cursor={}", text(&first["next_cursor"]));
    let rest = server.get(&rest, &owner).await.is(200).json();
    let listed = [ids(&first), ids(&rest)].concat();
    assert_eq!(listed, people.iter().map(|person| person.person.to_string()).collect::<Vec<_>>());
    let unknown = "team_01kqxk5rd0e5xrpzzv0jjq4zgn";
    for path in [format!("/v1/teams/{unknown}/members?limit=0"), "/v1/teams/x/members?cursor=x".to_owned()] {
        server.get(&path, &owner).await.is_problem(404, "not_found");
    }
    server.get(&format!("{path}?limit=0"), &owner).await.is_problem(422, "invalid_request");
    for person in ["usr_01kqxk5rd0e5xrpzzv0jjq4zgn", "usr_x"] {
        let path = format!("{path}/{person}");
        server.put(&path, &owner, &json!({})).await.is_problem(404, "not_found");
        server.delete(&path, &owner).await.is_problem(404, "not_found");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_teams_history_tells_who_came_and_went_and_so_does_a_persons() {
    let (server, owner) = TestServer::set_up().await;
    let viewer = server.add_with_role(owner.organization, SystemRole::Viewer).await;
    let team = server.team(&owner, "Core").await;
    let before = server.version(owner.organization);
    server.add_member(&owner, &team, &viewer).await;
    let added = server.version(owner.organization);
    server.delete(&format!("/v1/teams/{team}/members/{}", viewer.person), &owner).await.is(204);
    let history = server.get(&format!("/v1/history/{team}"), &owner).await.is(200).json();
    let rows = history["data"].as_array().unwrap();
    let actions: Vec<_> = rows.iter().map(|row| text(&row["action"])).collect();
    assert_eq!(actions, ["team.remove_member", "team.add_member", "team.create"]);
    assert_eq!(rows[0]["resource"], json!({"type": "team_member", "id": team, "name": "viewer"}));
    assert_eq!(
        (&rows[0]["changes"][0]["from"], &rows[1]["changes"][0]["to"]),
        (&json!(viewer.person), &json!(viewer.person))
    );
    let history = server.get(&format!("/v1/history/{}", viewer.person), &owner).await.is(200).json();
    let actions: Vec<_> =
        history["data"].as_array().unwrap().iter().map(|row| text(&row["action"])).collect();
    assert_eq!(actions[..2], ["team.remove_member", "team.add_member"]);
    let diff = server.get(&format!("/v1/diff?from={before}&to={added}"), &owner).await.is(200).json();
    let member = json!({"type": "team_member", "id": team, "name": viewer.person});
    assert_eq!((&diff["data"][0]["resource"], &diff["data"][0]["change"]), (&member, &json!("created")));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_organizations_team_is_not_there() {
    let (server, owner) = TestServer::set_up().await;
    let team = server.team(&owner, "Core").await;
    let found = json!({"name": "Beta", "timezone": "UTC"});
    let beta = text(&server.post("/v1/organizations", Some(&owner), &found).await.is(201).json()["id"]);
    let there =
        server.another_session(&Somebody { organization: beta.parse().unwrap(), ..owner.clone() }).await;
    let path = format!("/v1/teams/{team}");
    server.get(&path, &there).await.is_problem(404, "not_found");
    server.delete(&path, &there).await.is_problem(404, "not_found");
    let member = format!("{path}/members/{}", owner.person);
    server.put(&member, &there, &json!({})).await.is_problem(404, "not_found");
    server.give(&there, &team, "viewer").await.is_problem(422, "invalid_request");
}
