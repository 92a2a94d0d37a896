//! `/v1/restore`: settings brought back, first as a dry run.

use reqwest::Method;
use serde_json::{Value, json};
use settled::ids::EnvironmentId;
use settled::settings::roles::role::SystemRole;

use crate::server::{Answer, Somebody, TestServer, text};

/// Acme with two environments and a value in each; and the version at which it was so.
async fn acme() -> (TestServer, Somebody, u64) {
    let (server, owner) = TestServer::set_up().await;
    for name in ["Dev", "Stage"] {
        server.environment(&owner, name, "test").await;
        let path = format!("/v1/environments/{}/config/REGION", name.to_lowercase());
        server.put(&path, &owner, &json!({"value": "north"})).await.is(201);
    }
    let version = server.version(owner.organization);
    (server, owner, version)
}

async fn restore(server: &TestServer, who: &Somebody, headers: &[(&str, &str)], body: &Value) -> Answer {
    server.send(Method::POST, "/v1/restore", who, headers, body).await
}

fn everything(as_of: u64) -> Value {
    json!({"as_of": as_of, "scope": {"organization": true}})
}

fn dry(mut body: Value) -> Value {
    body["dry_run"] = json!(true);
    body
}

fn actions(body: &Value) -> Vec<String> {
    body["steps"].as_array().unwrap().iter().map(|step| text(&step["action"])).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_brought_back_as_the_dry_run_said() {
    let (server, owner, version) = acme().await;
    let dev = server.get("/v1/environments/dev", &owner).await.json();
    let before = server.get("/v1/environments", &owner).await.json();
    server.delete("/v1/environments/dev", &owner).await.is(204);
    server.environment(&owner, "New", "live").await;
    server.patch("/v1/environments/stage", &owner, &json!({"slug": "dev", "description": "d"})).await.is(200);
    server.put("/v1/environments/dev/config/REGION", &owner, &json!({"value": "south"})).await.is(200);
    server.patch("/v1/general", &owner, &json!({"name": "Acme Ltd"})).await.is(200);

    let planned = restore(&server, &owner, &[], &dry(everything(version))).await.is(200);
    let plan = planned.json();
    assert_eq!(
        actions(&plan),
        [
            "environment.delete",
            "organization.update",
            "environment.update",
            "config.set",
            "environment.create",
            "config.set"
        ]
    );
    assert_eq!(plan["cannot"], json!([]));
    assert_eq!(plan["steps"][1]["from"], json!({"name": "Acme Ltd"}));
    assert_eq!(plan["steps"][1]["to"], json!({"name": "Acme"}));
    assert_eq!(plan["steps"][2]["from"], json!({"slug": "dev", "description": "d"}));
    assert_eq!(plan["steps"][2]["to"], json!({"slug": "stage", "description": null}));
    assert_eq!(plan["steps"][4]["from"], Value::Null);
    assert_eq!(plan["steps"][4]["resource"]["id"], dev["id"]);
    assert_eq!(plan["version"], json!(server.version(owner.organization)), "a dry run appends nothing");

    restore(&server, &owner, &[], &everything(version)).await.is_problem(428, "precondition_required");
    // Logging in is no change of a setting.
    server.another_session(&owner).await;
    let because = [("if-match", &*planned.etag()), ("settled-reason", "a%20mistake")];
    let done = restore(&server, &owner, &because, &everything(version)).await.is(200);
    assert_eq!(done.json()["steps"], plan["steps"]);
    assert_eq!(done.json()["version"], json!(server.version(owner.organization)));

    let after = server.get("/v1/environments", &owner).await.json();
    let settings = |list: &Value| -> Vec<Value> {
        let rows = list["data"].as_array().unwrap().iter();
        rows.map(|row| json!([row["id"], row["name"], row["slug"], row["mode"], row["description"]]))
            .collect()
    };
    assert_eq!(settings(&after), settings(&before));
    let value = server.get("/v1/environments/dev/config/REGION", &owner).await.is(200);
    assert_eq!(value.json()["value"], "north");
    let audit = server.audit(&owner, "&action=organization.restore").await;
    assert_eq!((&audit[0]["reason"], audit.len()), (&json!("a mistake"), 1));

    let again = [("if-match", &*done.etag())];
    let nothing = restore(&server, &owner, &again, &everything(version)).await.is(200);
    assert_eq!(nothing.json()["steps"], json!([]));
    assert_eq!(nothing.json()["version"], done.json()["version"], "a plan without steps appends nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changed_since_the_dry_run_makes_it_stale() {
    let (server, owner, version) = acme().await;
    server.patch("/v1/general", &owner, &json!({"name": "Acme Ltd"})).await.is(200);
    let tag = restore(&server, &owner, &[], &dry(everything(version))).await.is(200).etag();
    server.put("/v1/environments/dev/config/OTHER", &owner, &json!({"value": 1})).await.is(201);
    let seen = [("if-match", &*tag)];
    restore(&server, &owner, &seen, &everything(version)).await.is_problem(412, "precondition_failed");
    restore(&server, &owner, &[("if-match", "*")], &everything(version)).await.is(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_environment_or_one_value_is_brought_back_alone() {
    let (server, owner, version) = acme().await;
    for path in ["dev", "stage"] {
        let path = format!("/v1/environments/{path}/config/REGION");
        server.put(&path, &owner, &json!({"value": "south"})).await.is(200);
    }
    let any = [("if-match", "*")];
    let value = async |path: &str| {
        let path = format!("/v1/environments/{path}/config/REGION");
        text(&server.get(&path, &owner).await.is(200).json()["value"])
    };
    let one = json!({"as_of": version.to_string(), "scope": {"environment": "stage"}});
    restore(&server, &owner, &any, &one).await.is(200);
    assert_eq!((value("dev").await, value("stage").await), ("south".to_owned(), "north".to_owned()));
    let dev = text(&server.get("/v1/environments/dev", &owner).await.json()["id"]);
    let one = json!({"as_of": version, "scope": {"resource": format!("{dev}/REGION")}});
    let done = restore(&server, &owner, &any, &one).await.is(200).json();
    assert_eq!(actions(&done), ["config.set"]);
    assert_eq!(value("dev").await, "north");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_come_back_is_said_and_left() {
    let (server, owner, version) = acme().await;
    let dev = text(&server.get("/v1/environments/dev", &owner).await.json()["id"]);
    server.delete("/v1/environments/dev", &owner).await.is(204);
    server.environment(&owner, "Dev", "live").await;
    let gone = json!({"as_of": version, "scope": {"environment": dev}});
    let plan = restore(&server, &owner, &[], &dry(gone.clone())).await.is(200).json();
    assert_eq!(plan["steps"], json!([]));
    let expected =
        json!([{"resource": {"type": "environment", "id": dev, "name": "Dev"}, "why": "name_taken"}]);
    assert_eq!(plan["cannot"], expected);
    let value = json!({"as_of": version, "scope": {"resource": format!("{dev}/REGION")}});
    let plan = restore(&server, &owner, &[], &dry(value)).await.is(200).json();
    assert_eq!(plan["cannot"][0]["why"], "environment_gone");

    server.patch("/v1/environments/stage", &owner, &json!({"slug": "other", "name": "Other"})).await.is(200);
    server.patch("/v1/environments/dev", &owner, &json!({"slug": "stage"})).await.is(200);
    let stage = json!({"as_of": version, "scope": {"environment": "other"}});
    let plan = restore(&server, &owner, &[("if-match", "*")], &stage).await.is(200).json();
    assert_eq!(plan["steps"][0]["to"], json!({"name": "Stage"}), "the rest of it comes back");
    assert_eq!(plan["cannot"][0]["why"], "slug_taken");
}

#[tokio::test(flavor = "multi_thread")]
async fn grants_of_roles_come_back_only_for_an_owner_who_asks() {
    let (server, owner, _) = acme().await;
    let admin = server.add_with_role(owner.organization, SystemRole::Admin).await;
    let other = server.add(owner.organization, "dora@example.com", "Dora").await;
    let assignment = server.assign(&other, SystemRole::Developer, None).await;
    let version = server.version(owner.organization);
    server.unassign(owner.organization, assignment).await;
    let any = [("if-match", "*")];
    let plain = restore(&server, &owner, &any, &everything(version)).await.is(200).json();
    assert_eq!(plain["steps"], json!([]), "grants stay as they are");
    let one = json!({"as_of": version, "scope": {"resource": assignment.to_string()}});
    let plan = restore(&server, &owner, &[], &dry(one)).await.is(200).json();
    assert_eq!(plan["cannot"][0]["why"], "access_not_included");

    let mut with_access = everything(version);
    with_access["include_access"] = json!(true);
    let refused = restore(&server, &admin, &any, &with_access).await.is_problem(403, "forbidden");
    assert_eq!(refused["permission"], "organization:own");
    let done = restore(&server, &owner, &any, &with_access).await.is(200).json();
    assert_eq!(actions(&done), ["role_assignment.create"]);
    server.get("/v1/environments", &other).await.is(200);

    let founded = json!({"as_of": 2, "scope": {"organization": true}, "include_access": true});
    let plan = restore(&server, &owner, &[], &dry(founded)).await.is(200).json();
    let why: Vec<_> = plan["cannot"].as_array().unwrap().iter().map(|row| text(&row["why"])).collect();
    assert_eq!(why, ["last_owner"], "the last owner stays");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_restores_what_they_may_not_do_themselves() {
    let (server, owner, version) = acme().await;
    server.patch("/v1/general", &owner, &json!({"join_role": "owner"})).await.is(200);
    let then = server.version(owner.organization);
    server.patch("/v1/general", &owner, &json!({"join_role": "viewer"})).await.is(200);
    let admin = server.add_with_role(owner.organization, SystemRole::Admin).await;
    for body in [dry(everything(then)), everything(then)] {
        let refused = restore(&server, &admin, &[("if-match", "*")], &body).await;
        assert_eq!(refused.is_problem(403, "forbidden")["permission"], "organization:own");
    }
    restore(&server, &admin, &[("if-match", "*")], &everything(version)).await.is(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_that_fits_into_no_frame_is_refused_in_its_dry_run() {
    let (server, owner, _) = acme().await;
    // Incompressible, so that twenty of them pass the 768 KiB of a frame.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut noise = || {
        let draw = |_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            char::from(b'!' + (state % 90) as u8)
        };
        (0..60_000).map(draw).filter(|c| !matches!(c, '"' | '\\')).collect::<String>()
    };
    for number in 0..20 {
        let path = format!("/v1/environments/dev/config/BIG_{number}");
        server.put(&path, &owner, &json!({"value": noise()})).await.is(201);
    }
    let version = server.version(owner.organization);
    server.delete("/v1/environments/dev", &owner).await.is(204);
    for body in [dry(everything(version)), everything(version)] {
        restore(&server, &owner, &[("if-match", "*")], &body).await.is_problem(422, "too_large");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_of_mebibytes_is_refused_in_its_dry_run_however_little_is_stored() {
    let (server, owner, _) = acme().await;
    let large = "x".repeat(60_000);
    for patch in 0..5 {
        let values: serde_json::Map<String, Value> =
            (0..16).map(|number| (format!("BIG_{patch}_{number}"), json!(large))).collect();
        server.patch("/v1/environments/dev/config", &owner, &json!(values)).await.is(200);
    }
    let version = server.version(owner.organization);
    server.delete("/v1/environments/dev", &owner).await.is(204);
    let then = server.version(owner.organization);
    for body in [dry(everything(version)), everything(version)] {
        restore(&server, &owner, &[("if-match", "*")], &body).await.is_problem(422, "too_large");
    }
    assert_eq!(server.version(owner.organization), then);
    let viewer = server.add_with_role(owner.organization, SystemRole::Developer).await;
    restore(&server, &viewer, &[], &dry(everything(version))).await.is_problem(403, "forbidden");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_restore_meets_the_names_that_the_first_one_met() {
    let (server, owner, version) = acme().await;
    server.patch("/v1/environments/stage", &owner, &json!({"slug": "other"})).await.is(200);
    let one = json!({"as_of": version, "scope": {"environment": "other"}});
    let headers = [("if-match", "*"), ("idempotency-key", "once")];
    let first = restore(&server, &owner, &headers, &one).await.is(200);
    server.get("/v1/environments/other", &owner).await.is_problem(404, "not_found");
    // The key is looked up before If-Match.
    for headers in [&headers[..], &headers[1..]] {
        let again = restore(&server, &owner, headers, &one).await.is(200);
        assert_eq!(again.header("idempotency-replayed").as_deref(), Some("true"));
        assert_eq!(again.json(), json!({"version": first.json()["version"]}));
        assert_eq!((again.etag(), again.version()), (first.etag(), first.version()));
    }
    let other = json!({"as_of": version, "scope": {"environment": "dev"}});
    restore(&server, &owner, &headers, &other).await.is_problem(422, "idempotency_key_reused");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_restore_answers_with_its_version() {
    let (server, owner, version) = acme().await;
    server.patch("/v1/general", &owner, &json!({"name": "Acme Ltd"})).await.is(200);
    let tag = restore(&server, &owner, &[], &dry(everything(version))).await.is(200).etag();
    let headers = [("if-match", &*tag), ("idempotency-key", "once")];
    let first = restore(&server, &owner, &headers, &everything(version)).await.is(200).json();
    server.patch("/v1/general", &owner, &json!({"name": "Acme GmbH"})).await.is(200);
    let replayed = restore(&server, &owner, &headers, &everything(version)).await.is(200);
    assert_eq!(replayed.header("idempotency-replayed").as_deref(), Some("true"));
    assert_eq!(replayed.json(), json!({"version": first["version"]}));
    let name = server.get("/v1/general", &owner).await.json();
    assert_eq!(name["name"], "Acme GmbH", "nothing happened twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_and_was_not_there_is_not_brought_back() {
    let (server, owner, version) = acme().await;
    let beta = json!({"name": "Beta", "timezone": "UTC"});
    let beta = text(&server.post("/v1/organizations", Some(&owner), &beta).await.is(201).json()["id"]);
    let there = Somebody { organization: beta.parse().unwrap(), ..owner.clone() };
    let elsewhere = server.another_session(&there).await;
    let foreign = server.environment(&elsewhere, "Dev", "test").await;
    let them = text(&server.get("/v1/me", &elsewhere).await.is(200).json()["person"]["id"]);
    let dev = text(&server.get("/v1/environments/dev", &owner).await.json()["id"]);
    let mut told = Vec::new();
    for thing in [
        foreign.clone(),
        format!("{foreign}/REGION"),
        format!("{dev}/NEVER"),
        EnvironmentId::from_uuid(uuid::Uuid::from_u128(7)).to_string(),
        beta,
        them,
    ] {
        let body = json!({"as_of": version, "scope": {"resource": thing}});
        let headers = [("if-match", "*")];
        for (headers, body) in [(&[][..], dry(body.clone())), (&headers[..], body)] {
            let mut problem = restore(&server, &owner, headers, &body).await.is_problem(404, "not_found");
            problem["request_id"] = Value::Null;
            told.push(problem);
        }
    }
    assert!(told.windows(2).all(|two| two[0] == two[1]), "they are told alike");
    // Of what was deleted there is a past.
    server.delete(&format!("/v1/environments/{dev}/config/REGION"), &owner).await.is(204);
    let value = json!({"as_of": version, "scope": {"resource": format!("{dev}/REGION")}});
    let plan = restore(&server, &owner, &[], &dry(value)).await.is(200).json();
    assert_eq!(plan["steps"][0]["action"], "config.set");
    // As a question about it: who may not read it does not learn that it is there.
    let narrow = json!({"name": "Narrow", "permissions": ["organization:restore", "history:read"]});
    let narrow = text(&server.post("/v1/roles", Some(&owner), &narrow).await.is(201).json()["id"]);
    let somebody = server.add(owner.organization, "narrow@example.com", "Nell").await;
    server.give(&owner, &somebody.person.to_string(), &narrow).await.is(201);
    let hidden = json!({"as_of": version, "scope": {"resource": dev}, "dry_run": true});
    restore(&server, &somebody, &[], &hidden).await.is_problem(404, "not_found");
    assert_eq!(server.audit(&owner, "&outcome=denied").await, [Value::Null; 0], "a 404 is no event");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_scope_and_no_past_is_refused() {
    let (server, owner, version) = acme().await;
    let scope = |scope: Value| json!({"as_of": version, "scope": scope, "dry_run": true});
    for (body, pointer) in [
        (scope(json!({})), "/scope"),
        (scope(json!({"organization": false})), "/scope"),
        (scope(json!({"organization": true, "environment": "dev"})), "/scope"),
        (scope(json!({"environment": "none-such"})), "/scope/environment"),
        (
            scope(json!({"environment": EnvironmentId::from_uuid(uuid::Uuid::from_u128(7))})),
            "/scope/environment",
        ),
        (scope(json!({"resource": "dev"})), "/scope/resource"),
        (dry(everything(version + 1)), "/as_of"),
        (json!({"as_of": "2999-01-01T00:00:00Z", "scope": {"organization": true}}), "/as_of"),
    ] {
        let problem = restore(&server, &owner, &[], &body).await.is_problem(422, "invalid_request");
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{body}");
    }
}
