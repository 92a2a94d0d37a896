//! `/v1/auth/*`: login, its throttle, the choice of an organization, logout, switch; and when sessions end.

use reqwest::Method;
use serde_json::{Value, json};
use settled::event::{Event, Outcome};
use settled::settings::roles::role::SystemRole;

use crate::server::{OWNER_EMAIL, PASSWORD, Somebody, TestServer, send, text, that_ended};

#[tokio::test(flavor = "multi_thread")]
async fn a_login_opens_a_session_and_a_logout_ends_it() {
    let (server, owner) = TestServer::set_up().await;
    let answer = server.log_in(&json!({"email": "OLIVE@Example.com", "password": PASSWORD})).await.is(200);
    let body = answer.json();
    assert_eq!(body["organization"]["name"], "Acme");
    assert_eq!(body["person"]["id"], owner.person.to_string());
    let session = Somebody { token: text(&body["token"]), ..owner.clone() };
    server.get("/v1/me", &session).await.is(200);
    server.post("/v1/auth/logout", Some(&session), &json!({})).await.is(204);
    server.get("/v1/me", &session).await.is_problem(401, "unauthenticated");
    server.post("/v1/auth/logout", Some(&session), &json!({})).await.is_problem(401, "unauthenticated");
    server.get("/v1/me", &owner).await.is(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_cause_of_a_failed_login_is_answered_alike() {
    let (server, owner) = TestServer::set_up().await;
    let unknown_organization = "org_01kqxk5rd0e5xrpzzv0jjq4zgn";
    let mut shapes = Vec::new();
    for body in [
        json!({"email": OWNER_EMAIL, "password": "wrong"}),
        json!({"email": "nobody@example.com", "password": PASSWORD}),
        json!({"email": OWNER_EMAIL, "password": PASSWORD, "organization": unknown_organization}),
        json!({"email": "nobody@example.com", "password": PASSWORD, "organization": owner.organization}),
    ] {
        let answer = server.log_in(&body).await;
        assert!(answer.header("www-authenticate").is_some());
        let mut problem = answer.is_problem(401, "login_failed");
        problem.as_object_mut().unwrap().remove("request_id");
        shapes.push(problem);
    }
    assert!(shapes.windows(2).all(|pair| pair[0] == pair[1]), "{shapes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_login_is_recorded_once_a_minute_and_then_counted() {
    let (server, owner) = TestServer::set_up_manual().await;
    for _ in 0..4 {
        server.log_in(&json!({"email": OWNER_EMAIL, "password": "wrong"})).await.is(401);
    }
    let failures = "&action=auth.login&outcome=failure";
    server.eventually(async || server.audit(&owner, failures).await.len() == 1).await;
    server.advance(61);
    server.eventually(async || server.audit(&owner, failures).await.len() == 2).await;
    let rows = server.audit(&owner, failures).await;
    assert_eq!(rows[0]["count"], 3);
    assert_eq!(rows[0]["resource"]["id"], owner.person.to_string());
    assert_eq!(rows[1]["count"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_address_leaves_the_organizations_streams_alone() {
    let (server, owner) = TestServer::set_up_manual().await;
    let version = server.version(owner.organization);
    let platform = server.platform_version();
    for _ in 0..3 {
        server.log_in(&json!({"email": "nobody@example.com", "password": PASSWORD})).await.is(401);
    }
    // They are counted behind the answer, and recorded once the minute is over: the last may be of the next one.
    let all = |failures: &[(String, String, Option<u64>)]| -> u64 {
        failures.iter().filter_map(|(.., count)| *count).sum()
    };
    let counted = async || {
        server.advance(60);
        all(&platform_failures(&server)) == 3
    };
    server.eventually(counted).await;
    let failures = platform_failures(&server);
    assert!(failures.iter().all(|(action, cause, _)| action == "auth.login" && cause == "unknown_login"));
    assert_eq!(server.platform_version(), platform + failures.len() as u64);
    assert_eq!(server.version(owner.organization), version);
}

/// The platform's failures, oldest first: action, cause, count.
fn platform_failures(server: &TestServer) -> Vec<(String, String, Option<u64>)> {
    let store = &server.app().store;
    let failed = that_ended(store, store.platform(), Outcome::Failure).into_iter();
    let told = failed.filter_map(|event| match event.event {
        Event::Refused(refused) => {
            Some((refused.action, refused.data.cause.unwrap_or_default(), event.count))
        }
        _ => None,
    });
    told.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_tokens_are_one_event_a_cause_and_minute() {
    let (server, owner) = TestServer::set_up_manual().await;
    let ended = server.another_session(&owner).await;
    server.advance(12 * 3600);
    let again = server.log_in(&json!({"email": OWNER_EMAIL, "password": PASSWORD})).await.is(200).json();
    let owner = Somebody { token: text(&again["token"]), ..owner };
    let version = server.version(owner.organization);
    let wrong = |number: usize| Somebody { token: format!("wrong-{number}"), ..owner.clone() };
    for number in 0..500 {
        server.get("/v1/general", &wrong(number)).await.is_problem(401, "unauthenticated");
    }
    server.get("/v1/general", &ended).await.is(401);
    for _ in 0..2 {
        let key = server.request(Method::GET, "/v1/me", None).header("x-fastn-api-key", "fastn_test_x");
        send(key).await.is(401);
        server.get_unknown("/v1/general").await.is(401);
    }
    assert_eq!(platform_failures(&server), [], "nothing waits for the log");
    server.advance(60);
    server.eventually(async || platform_failures(&server).len() == 3).await;
    let mut failures = platform_failures(&server);
    failures.sort();
    let of = |cause: &str, count| ("auth.authenticate".to_owned(), cause.to_owned(), Some(count));
    assert_eq!(failures, [of("ended_session", 1), of("unknown_key", 2), of("unknown_token", 500)]);
    assert_eq!(server.version(owner.organization), version, "no organization's stream knows of them");
    // Another minute is another event.
    server.get("/v1/general", &wrong(0)).await.is(401);
    server.advance(60);
    server.eventually(async || platform_failures(&server).len() == 4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn guessing_is_slowed_down_and_never_locked_out() {
    let (server, _owner) = TestServer::set_up_manual().await;
    let wrong = json!({"email": OWNER_EMAIL, "password": "wrong"});
    for _ in 0..5 {
        server.log_in(&wrong).await.is(401);
    }
    let right = json!({"email": OWNER_EMAIL, "password": PASSWORD});
    let refused = server.log_in(&right).await;
    let wait: u64 = refused.header("retry-after").expect("it says when").parse().unwrap();
    refused.is_problem(429, "too_many_requests");
    assert!((1..=300).contains(&wait), "{wait}");
    // Another address is not slowed down.
    server.log_in(&json!({"email": "nobody@example.com", "password": "wrong"})).await.is(401);
    server.advance(wait);
    server.log_in(&right).await.is(200);
    server.log_in(&wrong).await.is(401);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_several_organizations_one_is_chosen_after_the_password() {
    let (server, owner) = TestServer::set_up().await;
    let beta =
        server.post("/v1/organizations", Some(&owner), &json!({"name": "Beta", "timezone": "UTC"})).await;
    let beta = beta.is(201).json();
    let login = |organization: Value| {
        let mut body = json!({"email": OWNER_EMAIL, "password": PASSWORD});
        if organization != "absent" {
            body["organization"] = organization;
        }
        body
    };
    let choice =
        server.log_in(&login(json!("absent"))).await.is_problem(409, "organization_selection_required");
    let names: Vec<_> =
        choice["organizations"].as_array().unwrap().iter().map(|row| text(&row["name"])).collect();
    assert_eq!(names, ["Acme", "Beta"]);
    let wrong = server.log_in(&json!({"email": OWNER_EMAIL, "password": "wrong"})).await;
    wrong.is_problem(401, "login_failed");
    let there = server.log_in(&login(beta["id"].clone())).await.is(200).json();
    assert_eq!(there["organization"], beta);
    let nowhere = server.log_in(&login(Value::Null)).await.is(200).json();
    assert_eq!(nowhere["organization"], Value::Null);
    let nowhere = Somebody { token: text(&nowhere["token"]), ..owner.clone() };
    assert_eq!(server.get("/v1/me", &nowhere).await.is(200).json()["organization"], Value::Null);
    for path in ["/v1/general", "/v1/environments", "/v1/audit", "/v1/events"] {
        server.get(path, &nowhere).await.is_problem(403, "organization_required");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_switch_ends_the_old_session() {
    let (server, owner) = TestServer::set_up().await;
    let beta =
        server.post("/v1/organizations", Some(&owner), &json!({"name": "Beta", "timezone": "UTC"})).await;
    let beta = text(&beta.is(201).json()["id"]);
    let switched =
        server.post("/v1/auth/switch", Some(&owner), &json!({"organization": beta})).await.is(200).json();
    server.get("/v1/me", &owner).await.is_problem(401, "unauthenticated");
    let there = Somebody { token: text(&switched["token"]), ..owner.clone() };
    assert_eq!(server.get("/v1/general", &there).await.is(200).json()["name"], "Beta");
    let stranger = "org_01kqxk5rd0e5xrpzzv0jjq4zgn";
    let refused = server.post("/v1/auth/switch", Some(&there), &json!({"organization": stranger})).await;
    refused.is_problem(404, "not_found");
    server.get("/v1/me", &there).await.is(200);
    let acme = json!({"organization": owner.organization});
    server.post("/v1/auth/switch", Some(&there), &acme).await.is(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_after_twelve_idle_hours() {
    let (server, owner) = TestServer::set_up_manual().await;
    for _ in 0..3 {
        server.advance(12 * 3600 - 60);
        server.get("/v1/me", &owner).await.is(200);
    }
    server.advance(12 * 3600 + 1);
    server.get("/v1/me", &owner).await.is_problem(401, "unauthenticated");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_after_thirty_days_however_often_it_is_used() {
    let (server, owner) = TestServer::set_up_manual().await;
    for _ in 0..(30 * 24 / 10) {
        server.get("/v1/me", &owner).await.is(200);
        server.advance(10 * 3600);
    }
    server.get("/v1/me", &owner).await.is_problem(401, "unauthenticated");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_counts_as_use_and_sessions_outlive_it() {
    let (mut server, owner) = TestServer::set_up_manual().await;
    server.advance(11 * 3600);
    server.restart().await;
    server.advance(11 * 3600);
    server.get("/v1/me", &owner).await.is(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_permission_is_lost_at_once() {
    let (server, owner) = TestServer::set_up().await;
    let developer = server.add(owner.organization, "dev@example.com", "Dev").await;
    let assignment = server.assign(&developer, SystemRole::Developer, None).await;
    server.environment(&owner, "Dev", "test").await;
    let path = "/v1/environments/dev/config/A";
    server.put(path, &developer, &json!({"value": 1})).await.is(201);
    server.unassign(owner.organization, assignment).await;
    let refused = server.put(path, &developer, &json!({"value": 2})).await.is_problem(403, "forbidden");
    assert_eq!(refused["permission"], "config:write");
    server.get("/v1/me", &developer).await.is(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_credential_is_told_apart_from_two() {
    let (server, owner) = TestServer::set_up().await;
    let bearer = format!("Bearer {}", owner.token);
    let several = server.request(Method::GET, "/v1/me", Some(&owner.token)).header("x-fastn-api-key", "k");
    send(several).await.is_problem(400, "several_credentials");
    let twice = server.request(Method::GET, "/v1/me", Some(&owner.token)).header("authorization", &bearer);
    send(twice).await.is_problem(400, "several_credentials");
    for header in ["Bearer nothing", "Basic YTpi", "Bearer", ""] {
        let answer = send(server.request(Method::GET, "/v1/me", None).header("authorization", header)).await;
        assert!(answer.header("www-authenticate").is_some());
        answer.is_problem(401, "unauthenticated");
    }
    let key =
        send(server.request(Method::GET, "/v1/me", None).header("x-fastn-api-key", "fastn_test_x")).await;
    key.is_problem(401, "unauthenticated");
    server.get_unknown("/v1/me").await.is_problem(401, "unauthenticated");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_switches_with_one_session_at_most_one_makes_a_session() {
    let (server, owner) = TestServer::set_up().await;
    let body = json!({"organization": owner.organization.to_string()});
    let switch = || server.post("/v1/auth/switch", Some(&owner), &body);
    let (a, b, c, d) = tokio::join!(switch(), switch(), switch(), switch());
    let made = [a, b, c, d].iter().filter(|answer| answer.status == 200).count();
    assert_eq!(made, 1);
    assert_eq!(server.app().store.directory().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_switch_does_not_lengthen_a_login() {
    let (server, owner) = TestServer::set_up_manual().await;
    let before = server.get("/v1/me/sessions", &owner).await.is(200).json();
    server.advance(3600);
    let body = json!({"organization": owner.organization.to_string()});
    let switched = server.post("/v1/auth/switch", Some(&owner), &body).await.is(200).json();
    assert_eq!(switched["expires_at"], before["data"][0]["expires_at"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn naming_a_foreign_organization_hides_no_failed_login() {
    let (server, owner) = TestServer::set_up().await;
    let foreign = settled::ids::Fresh.id::<settled::ids::OrganizationId>().to_string();
    for password in ["not this one, no", PASSWORD] {
        let body = json!({"email": OWNER_EMAIL, "password": password, "organization": foreign});
        server.log_in(&body).await.is_problem(401, "login_failed");
    }
    // The second within the minute is counted, and recorded with its count at the minute's end.
    let failures = || async { server.audit(&owner, "&action=auth.login&outcome=failure").await.len() == 1 };
    server.eventually(failures).await;
}
