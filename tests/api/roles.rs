//! `/v1/roles` and the matrix; `/v1/role-assignments`.

use reqwest::Method;
use serde_json::{Value, json};
use settled::settings::roles::role::SystemRole;

use crate::server::{Answer, Somebody, TestServer, text};

impl TestServer {
    /// A custom role's id.
    pub async fn role(&self, who: &Somebody, name: &str, permissions: &[&str]) -> String {
        let body = json!({"name": name, "permissions": permissions});
        text(&self.post("/v1/roles", Some(who), &body).await.is(201).json()["id"])
    }

    /// Gives a role.
    pub async fn give(&self, who: &Somebody, subject: &str, role: &str) -> Answer {
        self.post("/v1/role-assignments", Some(who), &json!({"subject": subject, "role": role})).await
    }
}

/// The ids of a list.
pub fn ids(page: &Value) -> Vec<String> {
    page["data"].as_array().unwrap().iter().map(|row| text(&row["id"])).collect()
}

const READER: &[&str] = &["environment:read", "config:read"];

#[tokio::test(flavor = "multi_thread")]
async fn a_role_is_made_found_changed_and_deleted() {
    let (server, owner) = TestServer::set_up().await;
    let body =
        json!({"name": "Deployer", "description": "ships", "permissions": ["config:write", "config:read"]});
    let made = server.post("/v1/roles", Some(&owner), &body).await.is(201);
    let id = text(&made.json()["id"]);
    let path = format!("/v1/roles/{id}");
    assert_eq!(made.header("location"), Some(path.clone()));
    assert_eq!(made.json()["permissions"], json!(["config:read", "config:write"]), "in the table's order");
    assert_eq!((&made.json()["system"], &made.json()["version"]), (&json!(false), &json!(made.version())));
    let shown = server.get(&path, &owner).await.is(200);
    assert_eq!((shown.json(), shown.etag()), (made.json(), made.etag()));

    let patch = json!({"name": "Shipper", "description": null, "permissions": ["config:read"]});
    let changed = server.patch(&path, &owner, &patch).await.is(200);
    assert_eq!(changed.json()["name"], "Shipper");
    assert_eq!(changed.json()["description"], Value::Null);
    assert_eq!(changed.json()["permissions"], json!(["config:read"]));
    assert_eq!(changed.version(), made.version() + 1);
    assert_eq!(server.patch(&path, &owner, &patch).await.is(200).version(), changed.version());
    let stale = [("if-match", &*made.etag())];
    server
        .send(Method::PATCH, &path, &owner, &stale, &json!({"name": "x"}))
        .await
        .is_problem(412, "precondition_failed");

    assert_eq!(server.delete(&path, &owner).await.is(204).version(), changed.version() + 1);
    for gone in [
        server.get(&path, &owner).await,
        server.patch(&path, &owner, &patch).await,
        server.delete(&path, &owner).await,
    ] {
        gone.is_problem(404, "not_found");
    }
    let then = format!("{path}?as_of={}", made.version());
    assert_eq!(server.get(&then, &owner).await.is(200).json(), made.json());
    server.get(&format!("{path}?as_of=nonsense"), &owner).await.is_problem(404, "not_found");
    server.get("/v1/roles/owner?as_of=nonsense", &owner).await.is_problem(422, "invalid_request");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_made_twice_by_one_key_is_one() {
    let (server, owner) = TestServer::set_up().await;
    let key = [("idempotency-key", "k")];
    let body = json!({"name": "Reader", "permissions": READER});
    let first = server.send(Method::POST, "/v1/roles", &owner, &key, &body).await.is(201);
    let again = server.send(Method::POST, "/v1/roles", &owner, &key, &body).await.is(201);
    assert_eq!((again.json(), again.header("location")), (first.json(), first.header("location")));
    let give = json!({"subject": owner.person, "role": first.json()["id"]});
    let first = server.send(Method::POST, "/v1/role-assignments", &owner, &key, &give).await.is(201);
    let again = server.send(Method::POST, "/v1/role-assignments", &owner, &key, &give).await.is(201);
    assert_eq!((again.json(), again.header("location")), (first.json(), first.header("location")));
}

#[tokio::test(flavor = "multi_thread")]
async fn system_roles_are_listed_first_and_never_change() {
    let (server, owner) = TestServer::set_up().await;
    let reader = server.role(&owner, "Reader", READER).await;
    let list = server.get("/v1/roles", &owner).await.is(200).json();
    let system = ["owner", "admin", "developer", "viewer", "auditor", "billing", "workflow"];
    let expected: Vec<String> = system.iter().map(|id| (*id).to_owned()).chain([reader.clone()]).collect();
    assert_eq!(ids(&list), expected);
    let page = server.get("/v1/roles?limit=7", &owner).await.is(200).json();
    assert_eq!(ids(&page), expected[..7]);
    let rest = format!("/v1/roles?cursor={}", text(&page["next_cursor"]));
    assert_eq!(ids(&server.get(&rest, &owner).await.is(200).json()), [reader]);
    for id in system {
        let path = format!("/v1/roles/{id}");
        let role = server.get(&path, &owner).await.is(200);
        assert_eq!((&role.json()["system"], &role.json()["version"]), (&json!(true), &Value::Null));
        assert_eq!(role.header("etag"), None);
        server.patch(&path, &owner, &json!({"name": "x"})).await.is_problem(409, "system_role");
        server.delete(&path, &owner).await.is_problem(409, "system_role");
        let taken = json!({"name": id, "permissions": []});
        server.post("/v1/roles", Some(&owner), &taken).await.is_problem(409, "name_taken");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_role_cannot_hold_is_refused_with_its_place() {
    let (server, owner) = TestServer::set_up().await;
    let version = server.version(owner.organization);
    for (permissions, pointer, code) in [
        (json!(["organization:own"]), "/permissions", "not_grantable"),
        (json!(["config:read", "config:raed"]), "/permissions/1", "unknown_value"),
        (json!("config:read"), "/permissions", "wrong_type"),
    ] {
        let body = json!({"name": "Role", "permissions": permissions});
        let problem = server.post("/v1/roles", Some(&owner), &body).await.is_problem(422, "invalid_request");
        let error = &problem["errors"][0];
        assert_eq!((&error["pointer"], &error["code"]), (&json!(pointer), &json!(code)), "{problem}");
    }
    assert_eq!(server.version(owner.organization), version);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_matrix_is_the_table_with_a_column_a_role() {
    let (server, owner) = TestServer::set_up().await;
    let reader = server.role(&owner, "Reader", READER).await;
    let made = server.version(owner.organization);
    let matrix = server.get("/v1/roles/matrix", &owner).await.is(200).json();
    let rows = matrix["permissions"].as_array().unwrap();
    let row = rows.iter().find(|row| row["resource"] == "config" && row["verb"] == "write").unwrap();
    assert_eq!(row["per_environment"], true);
    assert!(text(&row["description"]).starts_with("Set"));
    let column = |id: &str| {
        let roles = matrix["roles"].as_array().unwrap();
        roles.iter().find(|role| role["id"] == id).unwrap_or_else(|| panic!("no {id}")).clone()
    };
    assert_eq!(column("owner")["granted"].as_array().unwrap().len(), rows.len());
    assert_eq!(column("owner")["system"], true);
    let expected = json!({"id": reader, "name": "Reader", "system": false, "granted": READER});
    let mut granted = column(&reader);
    granted["granted"].as_array_mut().unwrap().sort_by_key(|permission| permission != "environment:read");
    assert_eq!(granted, expected);
    server.patch(&format!("/v1/roles/{reader}"), &owner, &json!({"permissions": []})).await.is(200);
    let then = server.get(&format!("/v1/roles/matrix?as_of={made}"), &owner).await.is(200);
    assert_eq!(then.json(), matrix);
    assert_eq!(then.header("settled-as-of-version"), Some(made.to_string()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_custom_role_allows_what_it_says_as_soon_as_it_is_given_or_changed() {
    let (server, owner) = TestServer::set_up().await;
    server.environment(&owner, "Dev", "test").await;
    let somebody = server.add(owner.organization, "sam@example.com", "Sam").await;
    let role = server.role(&owner, "Reader", READER).await;
    let (config, value) = ("/v1/environments/dev/config", "/v1/environments/dev/config/A");
    server.get(config, &somebody).await.is_problem(403, "forbidden");
    let given = server.give(&owner, &somebody.person.to_string(), &role).await.is(201);
    server.get(config, &somebody).await.is(200);
    server.put(value, &somebody, &json!({"value": 1})).await.is_problem(403, "forbidden");
    let path = format!("/v1/roles/{role}");
    let more = json!({"permissions": ["environment:read", "config:read", "config:write"]});
    server.patch(&path, &owner, &more).await.is(200);
    server.put(value, &somebody, &json!({"value": 1})).await.is(201);
    let me = server.get("/v1/me", &somebody).await.is(200).json();
    assert_eq!(me["roles"], json!([{"id": role, "name": "Reader"}]));
    assert_eq!(me["permissions"]["organization"], more["permissions"]);

    let problem = server.delete(&path, &owner).await.is_problem(409, "role_in_use");
    let assignment = text(&given.json()["id"]);
    assert_eq!(problem["in_use_by"], json!([{"type": "role_assignment", "id": assignment}]));
    server.delete(&format!("/v1/role-assignments/{assignment}"), &owner).await.is(204);
    server.get(config, &somebody).await.is_problem(403, "forbidden");
    server.patch("/v1/general", &owner, &json!({"join_role": role})).await.is(200);
    let problem = server.delete(&path, &owner).await.is_problem(409, "role_in_use");
    assert_eq!(problem["in_use_by"][0]["type"], "organization");
    server.patch("/v1/general", &owner, &json!({"join_role": "viewer"})).await.is(200);
    server.delete(&path, &owner).await.is(204);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_is_given_once_in_the_organization_and_once_an_environment() {
    let (server, owner) = TestServer::set_up().await;
    let dev = server.environment(&owner, "Dev", "test").await;
    let somebody = server.add(owner.organization, "sam@example.com", "Sam").await;
    let subject = somebody.person.to_string();
    let before = server.version(owner.organization);
    let everywhere = json!({"subject": subject, "role": "viewer"});
    let here = json!({"subject": subject, "role": "developer", "environment": "dev"});
    let first = server.post("/v1/role-assignments", Some(&owner), &everywhere).await.is(201);
    let second = server.post("/v1/role-assignments", Some(&owner), &here).await.is(201);
    let expected = json!({
        "id": second.json()["id"], "subject": subject, "role": "developer", "environment": dev,
        "created_at": second.json()["created_at"], "updated_at": second.json()["created_at"],
        "version": before + 2,
    });
    assert_eq!(second.json(), expected);
    let path = format!("/v1/role-assignments/{}", text(&second.json()["id"]));
    assert_eq!(second.header("location"), Some(path.clone()));
    assert_eq!(server.get(&path, &owner).await.is(200).json(), expected);
    let again = server.post("/v1/role-assignments", Some(&owner), &here).await.is(200);
    assert_eq!((again.json(), again.header("location")), (expected.clone(), None));
    assert_eq!(server.version(owner.organization), before + 2);

    let owners =
        text(&server.get("/v1/role-assignments?role=owner", &owner).await.is(200).json()["data"][0]["id"]);
    let of = |query: String| {
        let (server, owner) = (&server, &owner);
        async move { ids(&server.get(&format!("/v1/role-assignments{query}"), owner).await.is(200).json()) }
    };
    let (first, second) = (text(&first.json()["id"]), text(&second.json()["id"]));
    assert_eq!(of(String::new()).await, [owners, first.clone(), second.clone()]);
    assert_eq!(of(format!("?subject={subject}")).await, [first.clone(), second.clone()]);
    assert_eq!(of("?role=viewer".to_owned()).await, [first]);
    assert_eq!(of(format!("?environment={dev}")).await, [&*second]);
    assert_eq!(of("?environment=dev&role=viewer".to_owned()).await, [""; 0]);
    assert_eq!(of(format!("?subject={subject}&as_of={before}")).await, [""; 0]);

    server.delete("/v1/environments/dev", &owner).await.is(204);
    server.get(&path, &owner).await.is_problem(404, "not_found");
    assert_eq!(server.get(&format!("{path}?as_of={}", before + 2), &owner).await.is(200).json(), expected);
    let restored = json!({"as_of": before + 2, "scope": {"organization": true}, "include_access": true});
    server.send(Method::POST, "/v1/restore", &owner, &[("if-match", "*")], &restored).await.is(200);
    let back = server.get(&path, &owner).await.is(200).json();
    assert_eq!((&back["id"], &back["environment"]), (&expected["id"], &expected["environment"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_given_is_refused_with_its_place() {
    let (server, owner) = TestServer::set_up().await;
    let (usr, team) = ("usr_01kqxk5rd0e5xrpzzv0jjq4zgn", "team_01kqxk5rd0e5xrpzzv0jjq4zgn");
    let subject = owner.person.to_string();
    for (body, pointer) in [
        (json!({"subject": usr, "role": "viewer"}), "/subject"),
        (json!({"subject": team, "role": "viewer"}), "/subject"),
        (json!({"subject": "env_x", "role": "viewer"}), "/subject"),
        (json!({"subject": subject, "role": "role_01kqxk5rd0e5xrpzzv0jjq4zgn"}), "/role"),
        (json!({"subject": subject, "role": "king"}), "/role"),
        (json!({"subject": subject, "role": "viewer", "environment": "nowhere"}), "/environment"),
        (json!({"subject": subject, "role": "viewer", "environment": null}), "/environment"),
    ] {
        let problem = server.post("/v1/role-assignments", Some(&owner), &body).await;
        let problem = problem.is_problem(422, "invalid_request");
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{problem}");
    }
    for id in ["ra_01kqxk5rd0e5xrpzzv0jjq4zgn", "ra_x"] {
        server.delete(&format!("/v1/role-assignments/{id}"), &owner).await.is_problem(404, "not_found");
    }
    let problem = server.get("/v1/role-assignments?environment=nowhere", &owner).await;
    assert_eq!(problem.is_problem(422, "invalid_request")["errors"][0]["parameter"], "environment");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_history_of_a_role_tells_what_changed_and_who_got_it() {
    let (server, owner) = TestServer::set_up().await;
    let role = server.role(&owner, "Reader", READER).await;
    server
        .patch(&format!("/v1/roles/{role}"), &owner, &json!({"permissions": ["config:read"]}))
        .await
        .is(200);
    let given = server.give(&owner, &owner.person.to_string(), &role).await.is(201).json();
    server.delete(&format!("/v1/role-assignments/{}", text(&given["id"])), &owner).await.is(204);
    server.delete(&format!("/v1/roles/{role}"), &owner).await.is(204);
    let history = server.get(&format!("/v1/history/{role}"), &owner).await.is(200).json();
    let actions: Vec<_> =
        history["data"].as_array().unwrap().iter().map(|row| text(&row["action"])).collect();
    let expected =
        ["role.delete", "role_assignment.delete", "role_assignment.create", "role.update", "role.create"];
    assert_eq!(actions, expected);
    let change = &history["data"][3]["changes"][0];
    assert_eq!(change["field"], "permissions");
    assert_eq!(
        (&change["from"], &change["to"]),
        (&json!(["environment:read", "config:read"]), &json!(["config:read"]))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_teams_and_grants_come_back_together_and_by_an_owner_alone() {
    let (server, owner) = TestServer::set_up().await;
    let admin = server.add_with_role(owner.organization, SystemRole::Admin).await;
    let role = server.role(&owner, "Reader", READER).await;
    let team = server.team(&owner, "Core").await;
    server.put(&format!("/v1/teams/{team}/members/{}", admin.person), &owner, &json!({})).await.is(204);
    let given = text(&server.give(&owner, &team, &role).await.is(201).json()["id"]);
    let then = server.version(owner.organization);
    server.patch("/v1/general", &owner, &json!({"join_role": role})).await.is(200);
    let joins = server.version(owner.organization);

    server.patch("/v1/general", &owner, &json!({"join_role": "viewer"})).await.is(200);
    server.delete(&format!("/v1/teams/{team}"), &owner).await.is(204);
    server.delete(&format!("/v1/roles/{role}"), &owner).await.is(204);
    server.role(&owner, "Later", READER).await;
    let restore = |as_of: u64, who: &Somebody, access: bool| {
        let body = json!({"as_of": as_of, "scope": {"organization": true}, "include_access": access});
        let (server, who) = (&server, who.clone());
        async move { server.send(Method::POST, "/v1/restore", &who, &[("if-match", "*")], &body).await }
    };
    restore(then, &admin, true).await.is_problem(403, "forbidden");
    let without = restore(joins, &owner, false).await.is(200).json();
    assert_eq!(without["steps"], json!([]));
    assert_eq!(without["cannot"][0]["why"], "role_gone", "the role to join with: {without}");
    let done = restore(joins, &owner, true).await.is(200).json();
    let actions: Vec<_> =
        done["steps"].as_array().unwrap().iter().map(|step| text(&step["action"])).collect();
    assert_eq!(
        actions,
        [
            "role.delete",
            "organization.update",
            "team.create",
            "role.create",
            "team.add_member",
            "role_assignment.create"
        ]
    );
    assert_eq!(done["cannot"], json!([]));
    assert_eq!(server.get(&format!("/v1/roles/{role}"), &owner).await.is(200).json()["name"], "Reader");
    let back = server.get(&format!("/v1/role-assignments/{given}"), &owner).await.is(200).json();
    assert_eq!((&back["subject"], &back["role"]), (&json!(team), &json!(role)));
    let again = restore(joins, &owner, true).await.is(200).json();
    assert_eq!(again["steps"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_owners_who_remove_each_other_one_remains() {
    let (server, owner) = TestServer::set_up().await;
    for round in 0..10 {
        let second = server.add(owner.organization, &format!("two-{round}@example.com"), "Two").await;
        let theirs =
            text(&server.give(&owner, &second.person.to_string(), "owner").await.is(201).json()["id"]);
        let path = format!("/v1/role-assignments?subject={}&role=owner", owner.person);
        let mine = text(&server.get(&path, &owner).await.is(200).json()["data"][0]["id"]);
        let (path, other) =
            (format!("/v1/role-assignments/{theirs}"), format!("/v1/role-assignments/{mine}"));
        let answers = tokio::join!(server.delete(&path, &owner), server.delete(&other, &second));
        let statuses = |answers: &(Answer, Answer)| [answers.0.status, answers.1.status];
        let mut sorted = statuses(&answers);
        sorted.sort_unstable();
        assert_eq!(sorted, [204, 403], "{:?}", statuses(&answers));
        if answers.1.status == 204 {
            // Whoever remains gives it back for the next round.
            server.give(&second, &owner.person.to_string(), "owner").await.is(201);
            server.delete(&path, &owner).await.is(204);
        }
    }
}
