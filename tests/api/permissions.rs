//! The table of permissions: as `docs/api.md` has it, as the OpenAPI document has it, and as every role meets it.

use std::collections::BTreeSet;

use serde_json::json;
use settled::event::{Event, Outcome, Resource, ResourceType};
use settled::http::access::Access;
use settled::http::routes;
use settled::settings::roles::permission::{Permission, PermissionSet};
use settled::settings::roles::role::SystemRole;
use settled::store::resident::Handle;

use crate::documented::Document;
use crate::server::{Somebody, TestServer, that_ended};
use crate::things::{Things, request};

/// Permission, whether it can be granted for one environment, and the roles that hold it: O owner, A admin,
/// D developer, V viewer, U auditor, B billing, W workflow.
const TABLE: &[(&str, bool, &str)] = &[
    ("organization:read", false, "OADVUB"),
    ("organization:update", false, "OA"),
    ("organization:own", false, "O"),
    ("organization:restore", false, "OA"),
    ("person:read", false, "OADVU"),
    ("person:invite", false, "OA"),
    ("person:manage", false, "OA"),
    ("team:manage", false, "OA"),
    ("role:read", false, "OADVU"),
    ("role:manage", false, "OA"),
    ("role:assign", false, "OA"),
    ("api_key:read", true, "OADU"),
    ("api_key:manage", true, "OAD"),
    ("environment:read", true, "OADVU"),
    ("environment:manage", true, "OA"),
    ("config:read", true, "OADVU"),
    ("config:write", true, "OAD"),
    ("secret:read", true, "OADVU"),
    ("secret:write", true, "OAD"),
    ("secret:reveal", true, "OAD"),
    ("secret:destroy", true, "OA"),
    ("ctx:read", true, "OADW"),
    ("oauth_app:read", false, "OADVU"),
    ("oauth_app:manage", false, "OAD"),
    ("connection:read", true, "OADVU"),
    ("connection:manage", true, "OAD"),
    ("customer:read", false, "OADVUBW"),
    ("customer:manage", false, "OAD"),
    ("customer_data:read", false, "OADW"),
    ("customer_data:write", false, "OADW"),
    ("execution:read", true, "OADVUW"),
    ("execution:write", true, "OADW"),
    ("billing:read", false, "OAUB"),
    ("billing:manage", false, "OAB"),
    ("audit:read", false, "OAU"),
    ("audit:export", false, "OAU"),
    ("history:read", false, "OADU"),
];

fn initial(role: SystemRole) -> char {
    match role {
        SystemRole::Owner => 'O',
        SystemRole::Admin => 'A',
        SystemRole::Developer => 'D',
        SystemRole::Viewer => 'V',
        SystemRole::Auditor => 'U',
        SystemRole::Billing => 'B',
        SystemRole::Workflow => 'W',
    }
}

fn granted(permission: &str, role: SystemRole) -> bool {
    let row = TABLE.iter().find(|(name, ..)| *name == permission);
    row.unwrap_or_else(|| panic!("{permission} is not in the table")).2.contains(initial(role))
}

#[test]
fn the_table_is_as_promised() {
    let names: Vec<String> = Permission::ALL.iter().map(ToString::to_string).collect();
    assert_eq!(names, TABLE.iter().map(|(name, ..)| *name).collect::<Vec<_>>());
    for (permission, (name, per_environment, _)) in Permission::ALL.iter().zip(TABLE) {
        assert_eq!(permission.per_environment(), *per_environment, "{name}");
        for role in SystemRole::ALL {
            assert_eq!(PermissionSet::of(role).contains(*permission), granted(name, role), "{name} {role:?}");
        }
    }
}

#[test]
fn every_route_is_documented_and_everything_documented_is_a_route() {
    let served: BTreeSet<(String, String)> =
        routes().iter().map(|route| (route.row.method.to_lowercase(), route.row.path.to_owned())).collect();
    assert_eq!(served.len(), routes().len(), "a route has one row");
    let document = serde_json::to_value(settled::http::openapi::document()).unwrap();
    let documented: BTreeSet<(String, String)> = document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, methods)| {
            methods.as_object().unwrap().keys().map(move |method| (method.clone(), path.clone()))
        })
        .collect();
    assert_eq!(served, documented);
}

#[test]
fn a_route_that_can_be_denied_names_what_was_attempted() {
    for row in routes().iter().map(|route| route.row) {
        match row.access {
            Access::Founder
            | Access::Member
            | Access::Organization(_)
            | Access::Environment(_)
            | Access::Program(_) => {
                // What is only read has no action of its own.
                let is_an_action = Event::actions().any(|spec| spec.action == row.attempt);
                let is_a_read = row.method == "GET" && row.attempt.ends_with(".read");
                assert!(is_an_action || is_a_read, "{row:?}");
            }
            Access::Public | Access::OwnAccount => assert_eq!(row.attempt, "", "{row:?}"),
        }
    }
}

/// Somebody with each system role, and somebody with none.
async fn one_of_each(
    server: &TestServer,
    owner: &Somebody,
    number: usize,
) -> Vec<(Option<SystemRole>, Somebody)> {
    let mut people = Vec::new();
    for role in SystemRole::ALL.map(Some).into_iter().chain([None]) {
        let name = role.map_or("none", SystemRole::name);
        let who = server.add(owner.organization, &format!("{name}{number}@example.com"), name).await;
        if let Some(role) = role {
            server.assign(&who, role, None).await;
        }
        people.push((role, who));
    }
    people
}

#[tokio::test(flavor = "multi_thread")]
async fn every_role_meets_every_route_as_the_table_says() {
    let (server, owner) = TestServer::set_up().await;
    let (document, mut people) = (Document::read(), Vec::new());
    let member = server.add(owner.organization, "member@example.com", "Member").await;

    server.environment(&owner, "Target", "test").await;
    let mut number = 0;
    for (count, row) in routes().iter().map(|route| route.row).enumerate() {
        let (Access::Organization(permission) | Access::Environment(permission)) = row.access else {
            continue;
        };
        // Beyond so many an hour, the denials of one actor are counted together.
        if people.is_empty() || count % 40 == 0 {
            people = one_of_each(&server, &owner, count).await;
        }
        for (role, who) in &people {
            number += 1;
            // Who is removed is not there for the next.
            let meant = if row.path.starts_with("/v1/people/") {
                server.add(owner.organization, &format!("p{number}@example.com"), "P").await
            } else {
                member.clone()
            };
            let things = Things::make(&server, &owner, &format!("env-{number}"), meant.person).await;
            let (method, path, body) = request(row.method, row.path, &things, &owner);
            if (row.method, row.path) == ("DELETE", "/v1/environments/{env}") {
                // One that has connections is kept.
                server.delete(&format!("/v1/connections/{}", things.of("con")), &owner).await.is(204);
            }
            let answer = server.send(method, &path, who, &[], &body).await;
            // Nobody is to have anything by the team afterwards.
            server.delete(&format!("/v1/teams/{}", things.of("team")), &owner).await;
            let may = role.is_some_and(|role| granted(&permission.to_string(), role));
            let label = format!("{} {} as {role:?}: {} {}", row.method, row.path, answer.status, answer.text);
            if may {
                // To a token that somebody has nobody consents, which is told to whoever may have asked for that.
                let is_of_its_kind = answer.status == 409 && row.path.starts_with("/v1/connections/{con}/");
                assert!((200..300).contains(&answer.status) || is_of_its_kind, "{label}");
                if role == &Some(SystemRole::Owner) {
                    document.allows(&row, &answer);
                }
                continue;
            }
            assert_eq!(answer.status, 403, "{label}");
            assert_eq!(answer.json()["permission"], permission.to_string(), "{label}");
            let denied = server.audit(&owner, &format!("&outcome=denied&user={}", who.person)).await;
            assert_eq!(denied[0]["action"], row.attempt, "{label}");
        }
    }
}

/// The denials of a stream, oldest first: action, cause, what they were about.
fn denials(server: &TestServer, handle: &Handle) -> Vec<(String, Option<String>, Resource)> {
    let denied = that_ended(&server.app().store, handle, Outcome::Denied).into_iter();
    let told = denied.filter_map(|event| match event.event {
        Event::Refused(refused) => Some((refused.action, refused.data.cause, event.resource)),
        _ => None,
    });
    told.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_known_and_refused_is_recorded_whatever_the_cause() {
    let server =
        TestServer::start_with(settled::clock::Clock::system(), None, &["--organizations", "operator"]).await;
    let owner = server.found().await;
    let found = json!({"name": "Beta", "timezone": "UTC"});
    server.post("/v1/organizations", Some(&owner), &found).await.is_problem(403, "organizations_closed");
    let rows = server.audit(&owner, "&outcome=denied").await;
    assert_eq!(rows.len(), 1);
    assert_eq!(
        (&rows[0]["action"], &rows[0]["user"]["id"]),
        (&json!("organization.create"), &json!(owner.person))
    );
    assert_eq!(rows[0]["resource"]["id"], owner.organization.to_string());

    let body = json!({"email": owner.email, "password": crate::server::PASSWORD, "organization": null});
    let nowhere =
        Somebody { token: crate::server::text(&server.log_in(&body).await.json()["token"]), ..owner.clone() };
    let version = server.version(owner.organization);
    server.post("/v1/organizations", Some(&nowhere), &found).await.is_problem(403, "organizations_closed");
    server.patch("/v1/general", &nowhere, &json!({})).await.is_problem(403, "organization_required");
    server.patch("/v1/me", &nowhere, &json!({})).await.is_problem(403, "organization_required");
    let platform = server.app().store.platform();
    let recorded = denials(&server, platform);
    let said: Vec<_> =
        recorded.iter().map(|(action, cause, _)| (action.as_str(), cause.as_deref())).collect();
    let expected = [
        ("organization.create", Some("organizations_closed")),
        ("organization.update", Some("organization_required")),
        ("person.update", Some("organization_required")),
    ];
    assert_eq!(said, expected);
    assert!(recorded.iter().all(|(_, _, resource)| resource.kind == ResourceType::Account));
    assert_eq!(server.version(owner.organization), version);
    // Within the bound of an actor and hour.
    for _ in 0..70 {
        server.get("/v1/general", &nowhere).await.is_problem(403, "organization_required");
    }
    assert_eq!(denials(&server, platform).len(), 60);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_permission_lost_on_the_way_is_denied_about_its_environment() {
    let (server, owner) = TestServer::set_up().await;
    let dev = server.environment(&owner, "Dev", "test").await;
    let somebody = server.add_with_role(owner.organization, SystemRole::Viewer).await;
    let path = "/v1/environments/dev/config/A";
    // The request passes the edge while the writer syncs that the role is gone: not each time, but soon. Once the edge
    // knows, the denial is about the organization, for the permission is held nowhere.
    for round in 0..50 {
        let assignment = server.assign(&somebody, SystemRole::Developer, Some(dev.parse().unwrap())).await;
        let body = json!({"value": round});
        let ((), _) =
            tokio::join!(server.unassign(owner.organization, assignment), server.put(path, &somebody, &body));
        let denials = denials(&server, &server.handle(owner.organization));
        if denials.iter().any(|(_, _, resource)| resource.kind == ResourceType::Environment) {
            let resource = Resource::named(ResourceType::Environment, dev, "Dev");
            assert!(
                denials.iter().any(|denied| *denied == ("config.set".to_owned(), None, resource.clone()))
            );
            return;
        }
    }
    panic!("no permission was lost on the way");
}
