//! Every way of making what is metered meets its limit, and nothing else does.

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use settled::settings::billing::value::Meter;
use settled::settings::roles::role::SystemRole;

use crate::billing::hard;
use crate::domain_users::DOMAIN;
use crate::server::{Answer, PASSWORD, Somebody, TestServer, text};

/// What is refused for want of room appends nothing.
async fn is_full(server: &TestServer, who: &Somebody, request: (Method, &str, Value), meter: &str) {
    let (method, path, body) = request;
    let version = server.version(who.organization);
    let answer = server.send(method.clone(), path, who, &[], &body).await;
    let problem = answer.is_problem(402, "quota_exceeded");
    assert_eq!(problem["quota"], meter, "{method} {path}");
    assert_eq!(server.version(who.organization), version, "{method} {path} appended something");
}

async fn restored(server: &TestServer, who: &Somebody, as_of: u64) -> Answer {
    let all = json!({"as_of": as_of, "scope": {"organization": true}});
    // The entity tag of the dry run says that nothing has changed since.
    server.send(Method::POST, "/v1/restore", who, &[("if-match", "*")], &all).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_of_making_secrets_meets_their_limit() {
    let (server, owner) = TestServer::set_up().await;
    server.environment(&owner, "Dev", "test").await;
    server.environment(&owner, "Stage", "test").await;
    let gone = server.secret(&owner, "dev", "GONE").await;
    server.secret(&owner, "dev", "KEPT").await;
    let both = server.version(owner.organization);
    let path = format!("/v1/secrets/{gone}");
    server.delete(&path, &owner).await.is(204);
    server.limit(&owner, hard("secrets", 1)).await;

    let import = "/v1/environments/dev/secrets/import";
    let promote = "/v1/environments/dev/promote";
    let undelete = format!("{path}/undelete");
    for (path, body) in [
        ("/v1/secrets", json!({"name": "NEW", "value": "v", "environment": "dev"})),
        ("/v1/secrets", json!({"name": "NEW", "value": "v"})),
        (import, json!({"secrets": [{"name": "NEW", "value": "v"}]})),
        (import, json!({"secrets": [{"name": "NEW", "value": "v"}], "dry_run": true})),
        (promote, json!({"to": "stage", "secrets": ["KEPT"]})),
        (promote, json!({"to": "stage", "secrets": ["KEPT"], "dry_run": true})),
        (&undelete, json!({})),
        ("/v1/restore", json!({"as_of": both, "scope": {"organization": true}, "dry_run": true})),
        ("/v1/restore", json!({"as_of": both, "scope": {"resource": gone}, "dry_run": true})),
    ] {
        is_full(&server, &owner, (Method::POST, path, body), "secrets").await;
    }
    let version = server.version(owner.organization);
    restored(&server, &owner, both).await.is_problem(402, "quota_exceeded");
    assert_eq!(server.version(owner.organization), version);
    // Another value is no further secret.
    let over = json!({"secrets": [{"name": "KEPT", "value": "v"}], "overwrite": true});
    server.post(import, Some(&owner), &over).await.is(200);

    server.limit(&owner, hard("secrets", 2)).await;
    server.post(&undelete, Some(&owner), &json!({})).await.is(200);
    is_full(&server, &owner, (Method::POST, promote, json!({"to": "stage", "secrets": ["KEPT"]})), "secrets")
        .await;
    // They go with their environment.
    server.delete("/v1/environments/dev", &owner).await.is(204);
    assert_eq!(server.meter(&owner, "secrets").await["used"], 0);
    server.secret(&owner, "stage", "ONE").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_of_making_environments_and_keys_meets_their_limit() {
    let (server, owner) = TestServer::set_up().await;
    server.environment(&owner, "Dev", "test").await;
    let (key, _) = server.api_key(&owner, &json!({"name": "K", "mode": "test"})).await;
    let with_dev = server.version(owner.organization);
    server.delete("/v1/environments/dev", &owner).await.is(204);
    server.environment(&owner, "Stage", "test").await;
    let limits = json!({"environments": {"limit": 1}, "api_keys": {"limit": 1}});
    server.limit(&owner, limits).await;
    let new = json!({"name": "New", "mode": "test"});
    is_full(&server, &owner, (Method::POST, "/v1/environments", new.clone()), "environments").await;
    is_full(&server, &owner, (Method::POST, "/v1/api-keys", new.clone()), "api_keys").await;
    let dev = text(&server.audit(&owner, "&action=environment.create").await[1]["resource"]["id"]);
    let one = json!({"as_of": with_dev, "scope": {"environment": dev}, "dry_run": true});
    is_full(&server, &owner, (Method::POST, "/v1/restore", one), "environments").await;
    // A restore that takes one away and brings one back has room.
    restored(&server, &owner, with_dev).await.is(200);
    assert_eq!(server.meter(&owner, "environments").await["used"], 1);
    // Rotating makes no further key, and revoking makes room.
    server
        .post(&format!("/v1/api-keys/{key}/rotate"), Some(&owner), &json!({"grace_seconds": 0}))
        .await
        .is(200);
    server.delete(&format!("/v1/api-keys/{key}"), &owner).await.is(204);
    server.post("/v1/api-keys", Some(&owner), &new).await.is(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_of_making_customers_meets_their_limit() {
    let (server, owner) = TestServer::set_up().await;
    let one = server.customer(&owner, &json!({"name": "One"})).await;
    let with_one = server.version(owner.organization);
    server.delete(&format!("/v1/customers/{one}"), &owner).await.is(204);
    let two = server.customer(&owner, &json!({"name": "Two"})).await;
    server.limit(&owner, hard("customers", 1)).await;
    let new = (Method::POST, "/v1/customers", json!({"name": "New"}));
    is_full(&server, &owner, new.clone(), "customers").await;
    let back = json!({"as_of": with_one, "scope": {"resource": one}, "dry_run": true});
    is_full(&server, &owner, (Method::POST, "/v1/restore", back), "customers").await;
    // Suspending makes no room, erasing does.
    server.post(&format!("/v1/customers/{two}/suspend"), Some(&owner), &json!({})).await.is(200);
    is_full(&server, &owner, new, "customers").await;
    server.post(&format!("/v1/customers/{two}/erase"), Some(&owner), &json!({})).await.is(200);
    server.customer(&owner, &json!({"name": "New"})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_in_meets_the_limit_of_people() {
    let (server, owner) = TestServer::set_up().await;
    server.prove_domain(&owner).await;
    let asking = server.domain_user(&format!("nora@{DOMAIN}")).await;
    let request = text(&server.ask_to_join(&asking, owner.organization).await.is(201).json()["id"]);
    let invitation = json!({"email": "ivy@example.net", "role": "viewer"});
    server.post("/v1/invitations", Some(&owner), &invitation).await.is(201);
    let token = server.mail_to("ivy@example.net", 1).await.token();
    server.limit(&owner, hard("people", 1)).await;

    let version = server.version(owner.organization);
    let refused = server.answer_request(&owner, &request, "approve", &json!({})).await;
    refused.is_problem(402, "quota_exceeded");
    let accept = json!({"token": token, "name": "Ivy", "password": PASSWORD});
    let accepts = "/v1/auth/invitations/accept";
    let refused = server.post(accepts, None, &accept).await.is_problem(402, "quota_exceeded");
    let figures = [&refused["quota"], &refused["limit"], &refused["use"]];
    assert_eq!(figures, [&json!("people"), &Value::Null, &Value::Null], "no figures for who is no member");
    server.patch("/v1/general", &owner, &json!({"auto_approve_domain_users": true})).await.is(200);
    // Who would be let in at once waits where there is no room.
    let another = server.domain_user(&format!("otto@{DOMAIN}")).await;
    assert_eq!(server.joinable(&another).await[0]["joins_at_once"], false);
    let waits = server.ask_to_join(&another, owner.organization).await.is(201).json();
    assert_eq!(waits["status"], "pending");
    assert_eq!(server.version(owner.organization), version + 2, "the toggle and the request");
    assert_eq!(server.get("/v1/people", &owner).await.json()["data"].as_array().unwrap().len(), 1);

    // Where there is room again, the same invitation and the same request are good; the account is there by now.
    server.limit(&owner, hard("people", 3)).await;
    server.post(accepts, None, &json!({"token": token, "password": PASSWORD})).await.is(200);
    server.answer_request(&owner, &request, "approve", &json!({})).await.is(200);
    let waits = text(&waits["id"]);
    let refused = server.answer_request(&owner, &waits, "approve", &json!({})).await;
    assert_eq!(refused.is_problem(402, "quota_exceeded")["limit"], 3);
    server.limit(&owner, hard("people", 5)).await;
    server.answer_request(&owner, &waits, "approve", &json!({})).await.is(200);
    let third = server.domain_user(&format!("pia@{DOMAIN}")).await;
    assert_eq!(server.joinable(&third).await[0]["joins_at_once"], true);
    assert_eq!(server.ask_to_join(&third, owner.organization).await.is(201).json()["status"], "joined");
}

#[tokio::test(flavor = "multi_thread")]
async fn executions_meet_their_limit_each_month_anew() {
    let (server, owner) = TestServer::set_up_manual().await;
    server.patch("/v1/general", &owner, &json!({"timezone": "Asia/Kolkata"})).await.is(200);
    server.environment(&owner, "Dev", "test").await;
    let customer = server.customer(&owner, &json!({"name": "One"})).await;
    server.limit(&owner, hard("executions", 2)).await;
    let path = format!("/v1/customers/{customer}/executions");
    let body = json!({"workflow": "sync", "environment": "dev"});
    let first = server.execution(&owner, &customer, "sync").await;
    let finish = format!("{path}/{first}/finish");
    server.post(&finish, Some(&owner), &json!({"status": "failed"})).await.is(200);
    let key = [("idempotency-key", "once")];
    let begun = server.send(Method::POST, &path, &owner, &key, &body).await.is(201);
    is_full(&server, &owner, (Method::POST, &path, body.clone()), "executions").await;
    // What has begun is shown, repeated and ended, and what ended makes no room.
    assert_eq!(server.send(Method::POST, &path, &owner, &key, &body).await.is(201).json(), begun.json());
    let finish = format!("{path}/{}/finish", text(&begun.json()["id"]));
    server.post(&finish, Some(&owner), &json!({"status": "succeeded"})).await.is(200);
    is_full(&server, &owner, (Method::POST, &path, body.clone()), "executions").await;
    assert_eq!(server.meter(&owner, "executions").await["used"], 2);
    let past = server.version(owner.organization);

    server.advance(31 * 24 * 3600);
    let owner = server.another_session(&owner).await;
    assert_eq!(server.meter(&owner, "executions").await["used"], 0);
    server.post(&path, Some(&owner), &body).await.is(201);
    assert_eq!(server.meter(&owner, "executions").await["percent"], 50);
    let then = server.get(&format!("/v1/billing?as_of={past}"), &owner).await.is(200).json();
    let then = then["usage"].as_array().unwrap().iter().find(|usage| usage["meter"] == "executions");
    assert_eq!(then.unwrap()["used"], 2);
    let usage = "/v1/billing/usage?meter=executions&from=2026-03-01&granularity=month";
    let spans = server.get(usage, &owner).await.is(200).json()["data"].clone();
    let used: Vec<_> =
        spans.as_array().unwrap().iter().map(|span| (text(&span["start"]), &span["used"])).collect();
    let (march, april) = ("2026-02-28T18:30:00.000000Z", "2026-03-31T18:30:00.000000Z");
    assert_eq!(used, [(march.to_owned(), &json!(2)), (april.to_owned(), &json!(1))]);
    let hours = "/v1/billing/usage?meter=executions&from=2026-04-01&granularity=hour";
    let hours = server.get(hours, &owner).await.is(200).json()["data"].clone();
    let sum: u64 = hours.as_array().unwrap().iter().map(|span| span["used"].as_u64().unwrap()).sum();
    assert_eq!(sum, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_request_comes_before_that_there_is_no_room() {
    let (server, owner) = TestServer::set_up().await;
    server.environment(&owner, "Dev", "test").await;
    server.customer(&owner, &json!({"name": "One", "external_id": "K-1"})).await;
    server.limit(&owner, json!({"customers": {"limit": 1}, "secrets": {"limit": 1}})).await;
    let version = server.version(owner.organization);
    let taken = json!({"name": "Two", "external_id": "K-1"});
    server.post("/v1/customers", Some(&owner), &taken).await.is_problem(409, "external_id_taken");
    let free = json!({"name": "Two", "external_id": "K-2"});
    server.post("/v1/customers", Some(&owner), &free).await.is_problem(402, "quota_exceeded");
    let secret = |number| json!({"name": format!("S_{number}"), "value": "x".repeat(60_000)});
    let secrets: Vec<_> = (0..16).map(secret).collect();
    let import = "/v1/environments/dev/secrets/import";
    server.post(import, Some(&owner), &json!({"secrets": secrets})).await.is_problem(422, "too_large");
    let two = json!({"secrets": secrets[..2]});
    server.post(import, Some(&owner), &two).await.is_problem(402, "quota_exceeded");
    assert_eq!(server.version(owner.organization), version);
}

/// Somebody's organization with one of everything that is metered, and no room for more of anything.
struct Full {
    server: TestServer,
    owner: Somebody,
    member: Somebody,
    program: Somebody,
    key: String,
    secret: String,
    customer: String,
    connection: String,
    executions: [String; 2],
}

impl Full {
    async fn new() -> Self {
        let (server, owner) = TestServer::set_up().await;
        server.environment(&owner, "Dev", "test").await;
        server.environment(&owner, "Stage", "test").await;
        let secret = server.secret(&owner, "dev", "TOKEN").await;
        let key = json!({"name": "K", "mode": "test", "role": "developer"});
        let (key, program) = server.api_key(&owner, &key).await;
        let member = server.add_with_role(owner.organization, SystemRole::Developer).await;
        let customer = server.customer(&owner, &json!({"name": "One"})).await;
        let executions =
            [server.execution(&owner, &customer, "a").await, server.execution(&owner, &customer, "b").await];
        let connection = server.post("/v1/connections", Some(&owner), &token_connection(1)).await.is(201);
        let connection = text(&connection.json()["connection"]["id"]);
        let none = Meter::ALL.map(|meter| (meter.name().to_owned(), json!({"limit": 0})));
        server.limit(&owner, none.into_iter().collect::<serde_json::Map<_, _>>().into()).await;
        Self { server, owner, member, program, key, secret, customer, connection, executions }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn above_every_limit_sessions_reads_changes_and_ends_go_on() {
    let full = Full::new().await;
    let Full { server, owner, member, secret, customer, .. } = &full;
    let owner = server.another_session(owner).await;
    server.another_session(member).await;
    for path in [
        "/v1/people",
        "/v1/secrets",
        "/v1/api-keys",
        "/v1/environments",
        "/v1/customers",
        "/v1/connections",
        "/v1/billing",
    ] {
        server.get(path, &owner).await.is(200);
    }
    server.post(&format!("/v1/secrets/{secret}/reveal"), Some(&owner), &json!({})).await.is(200);
    server.patch(&format!("/v1/secrets/{secret}"), &owner, &json!({"value": "other"})).await.is(200);
    server.put("/v1/environments/dev/config/A", &owner, &json!({"value": 1})).await.is(201);
    server.patch("/v1/environments/dev", &owner, &json!({"name": "Develop"})).await.is(200);
    server.put(&format!("/v1/customers/{customer}/data/a"), &owner, &json!({"value": 1})).await.is(201);
    let invitation = json!({"email": "ivy@example.net", "role": "viewer"});
    server.post("/v1/invitations", Some(&owner), &invitation).await.is(201);
    for action in ["suspend", "reactivate"] {
        for path in [format!("/v1/people/{}", member.person), format!("/v1/customers/{customer}")] {
            server.post(&format!("{path}/{action}"), Some(&owner), &json!({})).await.is(200);
        }
    }
    let finish = format!("/v1/customers/{customer}/executions/{}/finish", full.executions[0]);
    server.post(&finish, Some(&owner), &json!({"status": "failed"})).await.is(200);
    for path in [
        format!("/v1/connections/{}", full.connection),
        format!("/v1/secrets/{secret}"),
        format!("/v1/api-keys/{}", full.key),
        "/v1/environments/stage".to_owned(),
        format!("/v1/customers/{customer}"),
        format!("/v1/people/{}", member.person),
    ] {
        server.delete(&path, &owner).await.is(204);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn above_every_limit_programs_read_finish_and_take_away() {
    let full = Full::new().await;
    let Full { server, owner, program, secret, customer, .. } = &full;
    let executions = format!("/v1/customers/{customer}/executions");
    let begins = json!({"workflow": "c", "environment": "dev"});
    let set = "/v1/environments/dev/config/A";
    for refused in [
        server.put(set, program, &json!({"value": 1})).await,
        server.post(&executions, Some(program), &begins).await,
    ] {
        assert_eq!(refused.is_problem(402, "quota_exceeded")["quota"], "api_requests");
    }
    server.get(set, owner).await.is(404);
    for path in ["/v1/ctx?environment=dev", "/v1/secrets", "/v1/connections"] {
        server.get(path, program).await.is(200);
    }
    server.post(&format!("/v1/secrets/{secret}/reveal"), Some(program), &json!({})).await.is(200);
    let finish = format!("{executions}/{}/finish", full.executions[1]);
    server.post(&finish, Some(program), &json!({"status": "succeeded"})).await.is(200);
    for path in [format!("/v1/connections/{}", full.connection), format!("/v1/secrets/{secret}")] {
        server.delete(&path, program).await.is(204);
    }
}

/// Two hundred requests at once, for fifty: exactly fifty are made, and what is refused appends nothing.
async fn race(meter: &str, path: &str, body: impl Fn(u32) -> Value) {
    let (server, owner) = TestServer::set_up().await;
    if meter != "environments" {
        server.environment(&owner, "Dev", "test").await;
    }
    server.limit(&owner, hard(meter, 50)).await;
    let version = server.version(owner.organization);
    let (server, owner) = (&server, &owner);
    let made = (0..200).map(|number| {
        let body = body(number);
        async move { server.post(path, Some(owner), &body).await }
    });
    let answers = join_all(made).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 50);
    for answer in answers.into_iter().filter(|answer| answer.status != 201) {
        assert_eq!(answer.is_problem(402, "quota_exceeded")["use"], 50);
    }
    assert_eq!(server.version(owner.organization), version + 50);
    assert_eq!(server.meter(owner, meter).await["used"], 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_race_for_fifty_environments() {
    race("environments", "/v1/environments", |number| json!({"name": format!("E {number}"), "mode": "test"}))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_race_for_fifty_connections() {
    race("connections", "/v1/connections", token_connection).await;
}

fn token_connection(number: u32) -> Value {
    json!({"kind": "token", "name": format!("c-{number}"), "token": "a token", "environment": "dev"})
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_of_making_connections_meets_their_limit_and_ending_makes_room() {
    let (server, owner) = TestServer::set_up().await;
    server.environment(&owner, "Dev", "test").await;
    let customer = server.customer(&owner, &json!({"name": "One"})).await;
    let app = json!({"provider": "github", "client_id": "c", "client_secret": "a client secret"});
    let app = text(&server.post("/v1/oauth-apps", Some(&owner), &app).await.is(201).json()["id"]);
    let of_customer = |number| {
        let mut body = token_connection(number);
        body["customer"] = json!(customer);
        body
    };
    let path = "/v1/connections";
    let made = async |body: Value| {
        let answer = server.post(path, Some(&owner), &body).await.is(201).json();
        text(&answer["connection"]["id"])
    };
    let asks = json!({"oauth_app": app, "environment": "dev", "name": "asks"});
    let held = made(token_connection(1)).await;
    made(asks.clone()).await;
    made(of_customer(1)).await;
    server.limit(&owner, hard("connections", 3)).await;
    let another = json!({"oauth_app": app, "environment": "dev", "name": "another"});
    for body in [token_connection(2), another, of_customer(2)] {
        is_full(&server, &owner, (Method::POST, path, body), "connections").await;
    }
    // What is there goes on, and is changed; what is wrong with a request comes first.
    server.patch(&format!("{path}/{held}"), &owner, &json!({"token": "another"})).await.is(200);
    server.post(path, Some(&owner), &asks).await.is_problem(409, "name_taken");
    server.delete(&format!("{path}/{held}"), &owner).await.is(204);
    assert_eq!(server.meter(&owner, "connections").await["used"], 2);
    server.post(&format!("/v1/customers/{customer}/erase"), Some(&owner), &json!({})).await.is(200);
    assert_eq!(server.meter(&owner, "connections").await["used"], 1);
    let usage = server.get("/v1/billing/usage?meter=connections", &owner).await.is(200).json();
    let today = usage["data"].as_array().unwrap().last().unwrap().clone();
    assert_eq!(today["used"], 1);
    made(token_connection(2)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_request_is_not_counted_twice() {
    let (server, owner) = TestServer::set_up().await;
    server.limit(&owner, hard("environments", 1)).await;
    let (key, body) = ([("idempotency-key", "once")], json!({"name": "Dev", "mode": "test"}));
    let send = || server.send(Method::POST, "/v1/environments", &owner, &key, &body);
    let first = send().await.is(201);
    // It is full by now, and what was made is answered with all the same.
    assert_eq!(send().await.is(201).json(), first.json());
    let other = json!({"name": "Other", "mode": "test"});
    is_full(&server, &owner, (Method::POST, "/v1/environments", other), "environments").await;
    // What is wrong with a request comes before that there is no room for it.
    server.post("/v1/environments", Some(&owner), &body).await.is_problem(409, "name_taken");
    server.post("/v1/environments", Some(&owner), &json!({"name": "X"})).await.is(422);
    let stale = [("if-match", "\"0-1\"")];
    let restore = json!({"as_of": 1, "scope": {"organization": true}});
    server.send(Method::POST, "/v1/restore", &owner, &stale, &restore).await.is(412);
}
