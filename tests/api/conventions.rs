//! What holds for every route: bodies, parameters, headers, the order of checks, what is recorded of denials.

use reqwest::Method;
use serde_json::{Value, json};
use settled::http::access::Access;
use settled::settings::roles::role::SystemRole;

use crate::server::{Answer, Somebody, TestServer, send, text};
use crate::things::{Things, is_page, with_query};

async fn raw(
    server: &TestServer,
    who: &Somebody,
    kind: Option<&str>,
    body: impl Into<reqwest::Body>,
) -> Answer {
    let mut request = server.request(Method::PATCH, "/v1/general", Some(&who.token)).body(body);
    if let Some(kind) = kind {
        request = request.header("content-type", kind);
    }
    send(request).await
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_are_strict_json() {
    let (server, owner) = TestServer::set_up().await;
    let version = server.version(owner.organization);
    let json = Some("application/json");
    raw(&server, &owner, None, "{}").await.is_problem(415, "unsupported_media_type");
    raw(&server, &owner, Some("text/plain"), "{}").await.is_problem(415, "unsupported_media_type");
    raw(&server, &owner, Some("application/json; charset=latin1"), "{}").await.is(415);
    raw(&server, &owner, Some("application/json; charset=UTF-8"), "{}").await.is(200);
    raw(&server, &owner, json, "{").await.is_problem(400, "invalid_json");
    raw(&server, &owner, json, "{} {}").await.is_problem(400, "invalid_json");
    raw(&server, &owner, json, &b"{\"name\": \"\xff\"}"[..]).await.is_problem(400, "invalid_utf8");
    raw(&server, &owner, json, r#"{"name": "a", "name": "b"}"#).await.is_problem(400, "duplicate_key");
    let deep = format!(r#"{{"name": {}{}}}"#, "[".repeat(64), "]".repeat(64));
    raw(&server, &owner, json, deep).await.is_problem(400, "too_deep");
    let large = format!(r#"{{"name": "{}"}}"#, "x".repeat(1024 * 1024));
    raw(&server, &owner, json, large).await.is_problem(413, "payload_too_large");
    assert_eq!(server.version(owner.organization), version);
}

#[tokio::test(flavor = "multi_thread")]
async fn checks_come_in_their_order() {
    let (server, owner) = TestServer::set_up().await;
    server.environment(&owner, "Dev", "test").await;
    let viewer = server.add_with_role(owner.organization, SystemRole::Viewer).await;
    let nobody = Somebody { token: "wrong".into(), ..owner.clone() };
    let billing = server.add_with_role(owner.organization, SystemRole::Billing).await;
    // What cannot be read comes before who it is.
    raw(&server, &nobody, Some("text/plain"), "{}").await.is(415);
    raw(&server, &nobody, Some("application/json"), "{").await.is(400);
    let wrong = json!({"nmae": 1});
    // Who it is comes before what they may.
    server.patch("/v1/general", &nobody, &wrong).await.is(401);
    // What they may on the route comes before what is there and how it is written.
    server.patch("/v1/general", &viewer, &wrong).await.is(403);
    server.get("/v1/environments/nowhere", &billing).await.is(403);
    server.patch("/v1/environments/nowhere", &viewer, &wrong).await.is(403);
    // What is there comes before how it is written.
    server.patch("/v1/environments/nowhere", &owner, &wrong).await.is(404);
    server.get("/v1/environments/nowhere?x=1", &owner).await.is(404);
    // How it is written comes before what was seen of it, and that before what it contradicts.
    let stale = [("if-match", "\"0-1\"")];
    let path = "/v1/environments/dev";
    server.send(Method::PATCH, path, &owner, &stale, &wrong).await.is(422);
    server.environment(&owner, "Prod", "live").await;
    server.send(Method::PATCH, path, &owner, &stale, &json!({"slug": "prod"})).await.is(412);
    server.patch(path, &owner, &json!({"slug": "prod"})).await.is(409);
}

/// Two faults at once: the earlier in the order of checks is answered.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_faults_the_earlier_is_answered() {
    let (server, owner) = TestServer::set_up().await;
    server.environment(&owner, "Dev", "test").await;
    server.environment(&owner, "Prod", "live").await;
    let viewer = server.add_with_role(owner.organization, SystemRole::Viewer).await;
    let nobody = Somebody { token: "wrong".into(), ..owner.clone() };
    let (admin, limited) = (
        server.add_with_role(owner.organization, SystemRole::Admin).await,
        server.add(owner.organization, "lim@example.com", "Lim").await,
    );
    let dev = text(&server.get("/v1/environments/dev", &owner).await.json()["id"]);
    server.assign(&limited, SystemRole::Admin, Some(dev.parse().unwrap())).await;
    server.assign(&limited, SystemRole::Viewer, None).await;

    let (env, prod) = ("/v1/environments/dev", "/v1/environments/prod");
    let (absent, value) = ("/v1/environments/none", "/v1/environments/dev/config/A");
    let unknown = "/v1/me/sessions/ses_01kqxk5rd0e5xrpzzv0jjq4zgn";
    let (get, patch, put, delete) = (Method::GET, Method::PATCH, Method::PUT, Method::DELETE);
    let (wrong, taken) = (json!({"nmae": 1}), json!({"slug": "prod"}));
    let (owner_role, no_role) =
        (json!({"join_role": "owner"}), json!({"join_role": "role_01kqxk5rd0e5xrpzzv0jjq4zgn"}));
    let stale: &[_] = &[("if-match", "\"0-1\"")];
    let bad_match: &[_] = &[("if-match", "nonsense")];
    let bad_minimum: &[_] = &[("settled-min-version", "x")];
    let none: &[(&str, &str)] = &[];
    let cases = [
        // 400 and 401.
        (&nobody, &get, "/v1/general", none, &wrong, 400),
        // 401 and 422.
        (&nobody, &patch, "/v1/general", bad_minimum, &wrong, 401),
        // The route's 403 and 404; and 422, in the query, in a header, in the body.
        (&viewer, &patch, absent, none, &wrong, 403),
        (&viewer, &patch, "/v1/general?x=1", none, &wrong, 403),
        (&viewer, &patch, "/v1/general", bad_minimum, &wrong, 403),
        (&viewer, &patch, "/v1/general", bad_match, &wrong, 403),
        // 404 and 422.
        (&owner, &patch, absent, bad_minimum, &wrong, 404),
        (&owner, &get, "/v1/environments/none?x=1", none, &Value::Null, 404),
        (&owner, &get, "/v1/environments/dev/config/A?x=1", none, &Value::Null, 404),
        (&owner, &delete, value, bad_minimum, &Value::Null, 404),
        (&owner, &delete, unknown, bad_minimum, &Value::Null, 404),
        // 404 and 412.
        (&owner, &delete, value, stale, &Value::Null, 404),
        // The permission's 403 in one environment and 422, 412, 409.
        (&limited, &patch, "/v1/environments/prod?x=1", none, &wrong, 403),
        (&limited, &patch, prod, bad_minimum, &wrong, 403),
        (&limited, &patch, prod, stale, &taken, 403),
        // The ceiling's 403 and 412; an unknown role's 422 and 412.
        (&admin, &patch, "/v1/general", stale, &owner_role, 403),
        (&admin, &patch, "/v1/general", stale, &no_role, 422),
        // 422 and 412, 409.
        (&owner, &patch, env, stale, &wrong, 422),
        (&owner, &patch, env, bad_match, &taken, 422),
        (&owner, &patch, env, bad_minimum, &taken, 422),
        (&owner, &put, value, stale, &wrong, 422),
        // 412 and 409.
        (&owner, &patch, env, stale, &taken, 412),
        (&owner, &patch, env, none, &taken, 409),
    ];
    for (number, (who, method, path, headers, body, status)) in cases.into_iter().enumerate() {
        let answer = server.send(method.clone(), path, who, headers, body).await;
        assert_eq!(answer.status, status, "case {number}: {method} {path}: {}", answer.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_permission_in_one_environment_is_asked_for_there() {
    let (server, owner) = TestServer::set_up().await;
    let dev = server.environment(&owner, "Dev", "test").await;
    server.environment(&owner, "Prod", "live").await;
    let limited = server.add(owner.organization, "lim@example.com", "Lim").await;
    server.assign(&limited, SystemRole::Developer, Some(dev.parse().unwrap())).await;
    let listed = server.get("/v1/environments", &limited).await.is(200).json();
    assert_eq!(listed["data"].as_array().unwrap().len(), 1, "only what one may see is listed");
    server.get("/v1/environments/prod", &limited).await.is_problem(404, "not_found");
    server
        .put("/v1/environments/prod/config/A", &limited, &json!({"value": 1}))
        .await
        .is_problem(404, "not_found");
    server.put("/v1/environments/dev/config/A", &limited, &json!({"value": 1})).await.is(201);
    server.get("/v1/general", &limited).await.is_problem(403, "forbidden");
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_parameters_are_refused_everywhere() {
    let (server, owner) = TestServer::set_up().await;
    let things = Things::make(&server, &owner, "dev", owner.person).await;
    let (_, program) = server.api_key(&owner, &json!({"name": "Program", "mode": "test"})).await;
    for row in settled::http::routes().iter().map(|route| route.row).filter(|row| !is_page(row.path)) {
        let path = things.path(row.path);
        let method: Method = row.method.parse().unwrap();
        let body = if method == Method::GET || method == Method::DELETE { Value::Null } else { json!({}) };
        let who = if matches!(row.access, Access::Program(_)) { &program } else { &owner };
        let answer = server.send(method, &with_query(&path, "as_off=1"), who, &[], &body).await;
        let problem = answer.is_problem(422, "invalid_request");
        assert_eq!(problem["errors"][0]["parameter"], "as_off", "{} {}", row.method, row.path);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_where_none_belongs_is_refused() {
    let (server, owner) = TestServer::set_up().await;
    let things = Things::make(&server, &owner, "dev", owner.person).await;
    let version = server.version(owner.organization);
    let nobody = Somebody { token: "wrong".into(), ..owner.clone() };
    for row in settled::http::routes().iter().map(|route| route.row) {
        if row.takes_a_body {
            continue;
        }
        let path = things.path(row.path);
        for who in [&owner, &nobody] {
            let answer = server.send(row.method.parse().unwrap(), &path, who, &[], &json!({})).await;
            answer.is_problem(400, "unexpected_body");
        }
    }
    // An empty one is none.
    let empty = server.request(Method::GET, "/v1/me", Some(&owner.token)).header("content-length", "0");
    send(empty).await.is(200);
    assert_eq!(server.version(owner.organization), version);
}

#[tokio::test(flavor = "multi_thread")]
async fn other_methods_and_paths_are_named_as_such() {
    let (server, owner) = TestServer::set_up().await;
    for (method, path, allow) in [
        (Method::DELETE, "/v1/general", "GET,HEAD,PATCH"),
        (Method::POST, "/v1/me", "GET,HEAD,PATCH,DELETE"),
        (Method::PUT, "/v1/environments", "GET,HEAD,POST"),
        (Method::GET, "/v1/auth/login", "POST"),
    ] {
        for token in [Some(&*owner.token), None] {
            let answer = send(server.request(method.clone(), path, token)).await;
            assert_eq!(answer.header("allow").as_deref(), Some(allow), "{method} {path}");
            answer.is_problem(405, "method_not_allowed");
        }
    }
    for path in ["/", "/v1", "/v1/", "/v1/general/", "/v2/general", "/v1/environments//config"] {
        server.get(path, &owner).await.is_problem(404, "not_found");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_forbids_to_store_it_and_has_an_id() {
    let (server, owner) = TestServer::set_up().await;
    for path in ["/v1/general", "/healthz", "/nowhere", "/v1/environments/nowhere", "/v1/me?x=1"] {
        let answer = server.get(path, &owner).await;
        assert_eq!(answer.header("cache-control").as_deref(), Some("no-store"), "{path}");
        assert!(answer.header("x-request-id").is_some(), "{path}");
    }
    let ask = |id: &'static str| {
        let (server, owner) = (&server, &owner);
        async move {
            let headers = [("x-request-id", id)];
            server
                .send(Method::GET, "/v1/me", owner, &headers, &Value::Null)
                .await
                .header("x-request-id")
                .unwrap()
        }
    };
    assert_eq!(ask("my-id_1.2").await, "my-id_1.2");
    for bad in ["a b", "", "a/b"] {
        assert_ne!(ask(bad).await, bad);
    }
    assert_ne!(ask(Box::leak("x".repeat(129).into_boxed_str())).await.len(), 129);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_requests_id_and_reason_are_recorded() {
    let (server, owner) = TestServer::set_up().await;
    let viewer = server.add_with_role(owner.organization, SystemRole::Viewer).await;
    let headers = [("x-request-id", "req-77"), ("settled-reason", "because%20we%20can")];
    let change = json!({"name": "Acme II"});
    server.send(Method::PATCH, "/v1/general", &owner, &headers, &change).await.is(200);
    server.send(Method::PATCH, "/v1/general", &viewer, &headers, &change).await.is(403);
    let other = server.another_session(&owner).await;
    server.send(Method::POST, "/v1/auth/logout", &other, &headers, &json!({})).await.is(204);
    let events = server.get("/v1/events?limit=200", &owner).await.is(200).json();
    let events = events["data"].as_array().unwrap();
    let of = |action: &str, outcome: &str| {
        let found = events.iter().find(|event| event["action"] == action && event["outcome"] == outcome);
        found.unwrap_or_else(|| panic!("no {action} {outcome}"))
    };
    assert_eq!(of("organization.update", "success")["request_id"], "req-77");
    assert_eq!(of("organization.update", "denied")["request_id"], "req-77");
    assert_eq!(of("auth.logout", "success")["request_id"], "req-77");
    for (action, shown) in
        [("organization.update&outcome=success", "because we can"), ("auth.logout", "because we can")]
    {
        let rows = server.audit(&owner, &format!("&action={action}")).await;
        assert_eq!(rows[0]["reason"], shown, "{action}");
    }
    for bad in ["%zz", "%FF", "%00", &"a".repeat(501)] {
        let headers = [("settled-reason", bad)];
        let problem = server.send(Method::PATCH, "/v1/general", &owner, &headers, &change).await;
        assert_eq!(problem.is_problem(422, "invalid_request")["errors"][0]["parameter"], "Settled-Reason");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_can_ask_for_what_it_wrote() {
    let (server, owner) = TestServer::set_up().await;
    let version = server.version(owner.organization);
    let ask = |wanted: String| {
        let (server, owner) = (&server, &owner);
        async move {
            let headers = [("settled-min-version", wanted.as_str())];
            server.send(Method::GET, "/v1/general", owner, &headers, &Value::Null).await
        }
    };
    assert_eq!(ask(version.to_string()).await.is(200).version(), version);
    let behind = ask((version + 1).to_string()).await;
    assert!(behind.header("retry-after").is_some());
    behind.is_problem(503, "not_yet");
    ask("x".to_owned()).await.is_problem(422, "invalid_request");
}

#[tokio::test(flavor = "multi_thread")]
async fn denials_are_recorded_up_to_sixty_an_hour_and_then_counted() {
    let (server, owner) = TestServer::set_up_manual().await;
    let viewer = server.add_with_role(owner.organization, SystemRole::Viewer).await;
    for _ in 0..64 {
        server.patch("/v1/general", &viewer, &json!({"name": "x"})).await.is(403);
    }
    let denied = "&outcome=denied";
    let rows = server.audit(&owner, denied).await;
    assert_eq!(rows.len(), 60);
    assert_eq!(rows[0]["user"]["id"], viewer.person.to_string());
    assert_eq!(rows[0]["action"], "organization.update");
    // Another actor has a share of its own.
    let billing = server.add_with_role(owner.organization, SystemRole::Billing).await;
    server.get("/v1/environments", &billing).await.is(403);
    assert_eq!(server.audit(&owner, &format!("{denied}&user={}", billing.person)).await.len(), 1);
    server.advance(3600);
    server.eventually(async || server.audit(&owner, denied).await.len() == 62).await;
    let rows = server.audit(&owner, &format!("{denied}&user={}", viewer.person)).await;
    assert_eq!(rows[0]["count"], 4);
    server.patch("/v1/general", &viewer, &json!({"name": "x"})).await.is(403);
    assert_eq!(server.audit(&owner, &format!("{denied}&user={}", viewer.person)).await.len(), 62);
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_are_recorded_at_a_stop() {
    let (mut server, owner) = TestServer::set_up_manual().await;
    let viewer = server.add_with_role(owner.organization, SystemRole::Viewer).await;
    for _ in 0..62 {
        server.get("/v1/audit", &viewer).await.is(403);
    }
    server.restart().await;
    let rows = server.audit(&owner, "&outcome=denied&action=audit.read").await;
    assert_eq!((rows.len(), &rows[0]["count"]), (61, &json!(2)));
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_that_are_no_denial_are_no_event() {
    let (server, owner) = TestServer::set_up().await;
    server.environment(&owner, "Dev", "test").await;
    let version = server.version(owner.organization);
    server.get("/v1/environments/nowhere", &owner).await.is(404);
    server.post("/v1/environments", Some(&owner), &json!({"name": "Dev", "mode": "test"})).await.is(409);
    server.patch("/v1/general", &owner, &json!({"name": 1})).await.is(422);
    let stale = [("if-match", "\"0-1\"")];
    server.send(Method::PATCH, "/v1/environments/dev", &owner, &stale, &json!({"name": "X"})).await.is(412);
    let other_epoch = format!("\"ab12-{version}\"");
    let stale = [("if-match", &*other_epoch)];
    server.send(Method::PATCH, "/v1/environments/dev", &owner, &stale, &json!({"name": "X"})).await.is(412);
    server.get_unknown("/v1/general").await.is(401);
    assert_eq!(server.version(owner.organization), version);

    server.secret(&owner, "dev", "TOKEN").await;
    let (key, _) = server.api_key(&owner, &json!({"name": "K", "mode": "test"})).await;
    server.delete(&format!("/v1/api-keys/{key}"), &owner).await.is(204);
    let version = server.version(owner.organization);
    for (path, body, status) in [
        (&*format!("/v1/api-keys/{key}/rotate"), json!({}), 409),
        ("/v1/api-keys/key_01kqxk5rd0e5xrpzzv0jjq4zgn/rotate", json!({}), 404),
        ("/v1/api-keys", json!({"name": "K", "mode": "test", "role": "owner"}), 422),
        ("/v1/secrets", json!({"name": "TOKEN", "value": "x", "environment": "dev"}), 409),
        ("/v1/secrets/sec_01kqxk5rd0e5xrpzzv0jjq4zgn/reveal", json!({}), 404),
        ("/v1/environments/dev/promote", json!({"to": "nowhere"}), 422),
    ] {
        server.post(path, Some(&owner), &body).await.is(status);
    }
    assert_eq!(server.version(owner.organization), version);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_jumps_stops_writes_and_not_reads() {
    let (server, owner) = TestServer::set_up_manual().await;
    let hands = server.hands.clone().unwrap();
    hands.jump(-10);
    let refused = server.patch("/v1/general", &owner, &json!({"name": "x"})).await;
    assert!(refused.header("retry-after").is_some());
    refused.is_problem(503, "clock_jumped");
    server.get("/v1/general", &owner).await.is(200);
    server.get("/v1/audit", &owner).await.is(200);
    hands.jump(10);
    server.patch("/v1/general", &owner, &json!({"name": "x"})).await.is(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_problem_looks_like_this() {
    let (server, owner) = TestServer::set_up().await;
    let headers = [("x-request-id", "r-1")];
    let answer = server.send(Method::PATCH, "/v1/general", &owner, &headers, &json!({"name": 1})).await;
    insta::assert_json_snapshot!(answer.problem(), @r#"
    {
      "code": "invalid_request",
      "detail": "the request is not valid; see errors",
      "errors": [
        {
          "code": "wrong_type",
          "message": "expected a string",
          "pointer": "/name"
        }
      ],
      "request_id": "r-1",
      "status": 422,
      "title": "Unprocessable Entity",
      "type": "urn:settled:invalid_request"
    }
    "#);
    let answer = server.send(Method::GET, "/v1/environments/x", &owner, &headers, &Value::Null).await;
    insta::assert_json_snapshot!(answer.problem(), @r#"
    {
      "code": "not_found",
      "detail": "there is nothing here that you may see",
      "request_id": "r-1",
      "status": 404,
      "title": "Not Found",
      "type": "urn:settled:not_found"
    }
    "#);
    let id = text(&answer.problem()["request_id"]);
    assert_eq!(id, "r-1");
}
