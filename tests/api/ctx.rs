//! `/v1/ctx`, `/v1/ctx/secrets/{NAME}` and `/v1/ctx/watch`: what a program reads, what is recorded of it, and when it is
//! told of changes.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::server::{Answer, Somebody, TestServer, text};
use crate::sse::Reader;

const CTX: &str = "/v1/ctx?environment=prod";

/// Acme with environments `prod` (live) and `dev` (test), and a live workflow with its key's id.
async fn acme(server: &TestServer) -> (Somebody, String) {
    let owner = server.found().await;
    server.environment(&owner, "Prod", "live").await;
    server.environment(&owner, "Dev", "test").await;
    let (id, program) = server.api_key(&owner, &json!({"name": "Worker", "mode": "live"})).await;
    // The Owner's own credential is not needed to read.
    (Somebody { email: owner.token.clone(), ..program }, id)
}

/// The Owner of [`acme`], whose token it keeps.
fn owner(program: &Somebody) -> Somebody {
    Somebody { token: program.email.clone(), ..program.clone() }
}

async fn secret(server: &TestServer, who: &Somebody, body: Value) -> String {
    text(&server.post("/v1/secrets", Some(who), &body).await.is(201).json()["id"])
}

async fn set(server: &TestServer, who: &Somebody, key: &str, value: Value) {
    let path = format!("/v1/environments/prod/config/{key}");
    assert!(server.put(&path, who, &json!({"value": value})).await.status < 300);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_reads_what_is_meant_for_its_environment_the_environments_own_first() {
    let server = TestServer::start().await;
    let (program, _) = acme(&server).await;
    let owner = owner(&program);
    set(&server, &owner, "REGION", json!("eu")).await;
    set(&server, &owner, "LIMITS", json!({"b": [1, 2.5], "a": true})).await;
    for body in [
        json!({"name": "SHARED", "value": "everywhere"}),
        json!({"name": "TOKEN", "value": "of the organization"}),
        json!({"name": "TOKEN", "value": "of \"prod\"\n", "environment": "prod"}),
        json!({"name": "TEST_ONLY", "value": "x", "modes": ["test"]}),
        json!({"name": "ELSEWHERE", "value": "x", "environment": "dev"}),
    ] {
        secret(&server, &owner, body).await;
    }
    let read = server.get(CTX, &program).await.is(200);
    let version = text(&read.json()["version"]);
    assert_eq!(
        read.json(),
        json!({
            "environment": "prod",
            "version": version,
            "config": {"REGION": "eu", "LIMITS": {"a": true, "b": [1, 2.5]}},
            "secrets": {"SHARED": "everywhere", "TOKEN": "of \"prod\"\n"},
            "connections": {},
        })
    );
    assert_eq!(read.etag(), format!("\"0-{version}\""));
    assert_eq!(read.header("cache-control").as_deref(), Some("no-store"));
    let one = |name: &'static str| {
        let (server, program) = (&server, &program);
        async move { server.get(&format!("/v1/ctx/secrets/{name}?environment=prod"), program).await }
    };
    let expected = json!({"name": "TOKEN", "value": "of \"prod\"\n", "value_version": 1});
    assert_eq!(one("TOKEN").await.is(200).json(), expected);
    assert_eq!(one("SHARED").await.is(200).json()["value"], "everywhere");
    for hidden in ["TEST_ONLY", "ELSEWHERE", "NOTHING", "lower"] {
        one(hidden).await.is_problem(404, "not_found");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_programs_read_and_only_where_they_may() {
    let server = TestServer::start().await;
    let (program, _) = acme(&server).await;
    let owner = owner(&program);
    server.environment(&owner, "Other", "live").await;
    let body = json!({"name": "K", "mode": "live", "environments": ["other"]});
    let (_, limited) = server.api_key(&owner, &body).await;
    let (_, viewer) = server.api_key(&owner, &json!({"name": "V", "mode": "live", "role": "viewer"})).await;
    for path in
        ["/v1/ctx?environment=prod", "/v1/ctx/secrets/A?environment=prod", "/v1/ctx/watch?environment=prod"]
    {
        server.get(path, &owner).await.is_problem(403, "api_key_required");
        server.get(path, &limited).await.is_problem(404, "not_found");
        let problem = server.get(path, &viewer).await.is_problem(403, "forbidden");
        assert_eq!(problem["permission"], "ctx:read");
        let to = |environment: &str| path.replace("prod", environment);
        server.get(&to("dev"), &program).await.is_problem(403, "wrong_mode");
        server.get(&to("nowhere"), &program).await.is_problem(404, "not_found");
        let without = path.split('?').next().unwrap();
        server.get(without, &program).await.is_problem(422, "invalid_request");
        let customer = format!("{path}&customer=cus_01kqxk5rd0e5xrpzzv0jjq4zgn");
        server.get(&customer, &program).await.is_problem(404, "not_found");
    }
    server.send(Method::HEAD, CTX, &program, &[], &Value::Null).await.is(405);
    let denied = server.audit(&owner, "&outcome=denied&action=ctx.read").await;
    assert_eq!(denied.len(), 9);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_version_is_another_exactly_when_something_of_it_is() {
    let server = TestServer::start().await;
    let (program, _) = acme(&server).await;
    let owner = owner(&program);
    set(&server, &owner, "A", json!(1)).await;
    let own = secret(&server, &owner, json!({"name": "TOKEN", "value": "x", "environment": "prod"})).await;
    let tested = secret(&server, &owner, json!({"name": "T", "value": "x", "modes": ["test"]})).await;
    let tag = || async { server.get(CTX, &program).await.is(200).etag() };
    let unmodified = |tag: String| {
        let (server, program) = (&server, &program);
        async move { server.send(Method::GET, CTX, program, &[("if-none-match", &tag)], &Value::Null).await }
    };
    let mut before = tag().await;
    let (path, other) = (format!("/v1/secrets/{own}"), format!("/v1/secrets/{tested}"));
    // Nothing of what is seen.
    for (method, path, body) in [
        (
            Method::PATCH,
            &path,
            json!({"description": "of the gateway", "expires_at": "2999-01-01T00:00:00Z"}),
        ),
        (Method::PATCH, &other, json!({"value": "y"})),
        (Method::PUT, &"/v1/environments/dev/config/A".to_owned(), json!({"value": 1})),
        (Method::PATCH, &"/v1/environments/prod".to_owned(), json!({"description": "the real one"})),
        (Method::PATCH, &"/v1/general".to_owned(), json!({"name": "Acme Ltd"})),
    ] {
        assert!(server.send(method, path, &owner, &[], &body).await.status < 300);
        let answer = unmodified(before.clone()).await.is(304);
        assert_eq!((answer.etag(), answer.text.as_str()), (before.clone(), ""), "{path}");
        assert_eq!(tag().await, before, "{path}");
    }
    // Something of it.
    for (method, path, body) in [
        (Method::PATCH, path.clone(), json!({"value": "x"})),
        (Method::PATCH, path.clone(), json!({"name": "KEY"})),
        (Method::PUT, "/v1/environments/prod/config/A".to_owned(), json!({"value": 2})),
        (Method::PUT, "/v1/environments/prod/config/B".to_owned(), json!({"value": 2})),
        (Method::DELETE, "/v1/environments/prod/config/B".to_owned(), Value::Null),
        (Method::DELETE, path.clone(), Value::Null),
        (Method::POST, format!("{path}/undelete"), Value::Null),
        (Method::POST, format!("{path}/versions/2/destroy"), Value::Null),
        (Method::PATCH, path.clone(), json!({"value": "anew"})),
        (Method::POST, format!("{path}/destroy"), Value::Null),
    ] {
        let answer = server.send(method.clone(), &path, &owner, &[], &body).await;
        assert!(answer.status < 300, "{method} {path} {}", answer.text);
        let answer = unmodified(before.clone()).await.is(200);
        assert_ne!(answer.etag(), before, "{method} {path} {body}");
        before = tag().await;
        assert_eq!(answer.etag(), before);
    }
    // A way there and back leads to the same.
    set(&server, &owner, "A", json!(9)).await;
    set(&server, &owner, "A", json!(2)).await;
    assert_eq!(tag().await, before);
}

/// The events that say that secrets were read, oldest first: what they are about, and how many uses they stand for.
async fn reads(server: &TestServer, owner: &Somebody) -> Vec<(String, u64)> {
    let mut rows = server.audit(owner, "&action=secret.read").await;
    rows.reverse();
    let told = |row: &Value| (text(&row["resource"]["type"]), row["count"].as_u64().unwrap_or(1));
    rows.iter().map(told).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn that_secrets_are_read_is_recorded_before_they_leave_and_then_by_the_minute() {
    let server = TestServer::start_manual().await;
    let (program, key) = acme(&server).await;
    let owner = owner(&program);
    let token = secret(&server, &owner, json!({"name": "TOKEN", "value": "x", "environment": "prod"})).await;
    secret(&server, &owner, json!({"name": "SHARED", "value": "y"})).await;
    let one = "/v1/ctx/secrets/TOKEN?environment=prod";
    let (whole, secret) = (("environment".to_owned(), 1), ("secret".to_owned(), 1));
    let answers =
        tokio::join!(server.get(CTX, &program), server.get(CTX, &program), server.get(CTX, &program));
    assert!([answers.0, answers.1, answers.2].iter().all(|answer| answer.status == 200));
    assert_eq!(reads(&server, &owner).await, std::slice::from_ref(&whole), "once, before it left");
    for _ in 0..3 {
        server.get(one, &program).await.is(200);
    }
    assert_eq!(
        reads(&server, &owner).await,
        std::slice::from_ref(&whole),
        "it was read with the environment"
    );
    let tag = server.get(CTX, &program).await.etag();
    server.send(Method::GET, CTX, &program, &[("if-none-match", &tag)], &Value::Null).await.is(304);
    server.advance(60);
    server.eventually(|| async { reads(&server, &owner).await.len() == 2 }).await;
    // Seven of the eight: the first was recorded as a use by itself.
    assert_eq!(reads(&server, &owner).await[1], ("environment".to_owned(), 7));
    let told = async || {
        let events = server.get("/v1/events?limit=200", &owner).await.is(200).json();
        let all = events["data"].as_array().unwrap().iter();
        all.filter(|event| event["action"] == "secret.read").cloned().collect::<Vec<_>>()
    };
    let events = told().await;
    let version = text(&events[0]["data"]["environments"][0]["version"]);
    assert_eq!(tag, format!("\"0-{version}\""));
    assert_eq!(events[0]["data"]["secrets"].as_array().unwrap().len(), 2);
    assert_eq!(events[1]["data"]["environments"][0]["count"], 3);
    assert_eq!(events[1]["data"]["secrets"], json!([{"secret": token, "value_version": 1, "count": 3}]));
    assert!(events.iter().all(|event| event["actor"]["id"] == key && event["actor"]["session"].is_string()));
    // Another value is another first time, of that value alone, within the hour and after it.
    server.patch(&format!("/v1/secrets/{token}"), &owner, &json!({"value": "z"})).await.is(200);
    server.get(one, &program).await.is(200);
    server.get(CTX, &program).await.is(200);
    assert_eq!(reads(&server, &owner).await[2..], [secret]);
    server.patch(&format!("/v1/secrets/{token}"), &owner, &json!({"value": "w"})).await.is(200);
    server.get(CTX, &program).await.is(200);
    server.get(one, &program).await.is(200);
    assert_eq!(&reads(&server, &owner).await[3..], std::slice::from_ref(&whole));
    let last = &told().await[3]["data"];
    assert_eq!(last["secrets"], json!([{"secret": token, "value_version": 3, "count": 1}]), "of that alone");
    server.advance(3_600);
    server.eventually(|| async { reads(&server, &owner).await.len() == 5 }).await;
    server.get(CTX, &program).await.is(200);
    assert_eq!(reads(&server, &owner).await[4..], [("environment".to_owned(), 4), whole]);
    let of = server.audit(&owner, &format!("&action=secret.read&resource={token}")).await;
    assert_eq!(of.len(), 6, "whoever looks for a secret finds who read it: {of:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_opened_is_kept_only_while_it_is_current() {
    let server = TestServer::start().await;
    let (program, _) = acme(&server).await;
    let owner = owner(&program);
    let id = secret(&server, &owner, json!({"name": "TOKEN", "value": "first", "environment": "prod"})).await;
    let value = || async {
        let whole = server.get(CTX, &program).await.is(200).json()["secrets"]["TOKEN"].clone();
        let one = server.get("/v1/ctx/secrets/TOKEN?environment=prod", &program).await;
        assert_eq!(whole, if one.status == 200 { one.json()["value"].clone() } else { Value::Null });
        whole
    };
    let kept = || {
        let (view, store) = (server.handle(owner.organization).view(), &server.app().store);
        let environment = view.organization().environments.by_slug("prod").unwrap();
        let place = settled::ctx::seen::Place { environment, customer: None };
        let secret = settled::ctx::seen::secret(view.organization(), place, "TOKEN");
        let value = secret.is_some_and(|secret| store.ctx().value(&view, &secret).is_some());
        (value, store.ctx().whole(&view, place).is_some())
    };
    assert_eq!((value().await, kept()), (json!("first"), (true, true)));
    let path = format!("/v1/secrets/{id}");
    server.patch(&path, &owner, &json!({"value": "second"})).await.is(200);
    assert_eq!(kept(), (false, false));
    assert_eq!((value().await, kept()), (json!("second"), (true, true)));
    server.post(&format!("{path}/versions/2/destroy"), Some(&owner), &json!({})).await.is(200);
    assert_eq!(kept(), (false, false));
    assert_eq!(value().await, Value::Null);
    server.patch(&path, &owner, &json!({"value": "third"})).await.is(200);
    assert_eq!(value().await, "third");
    server.delete(&path, &owner).await.is(204);
    assert_eq!((kept(), value().await), ((false, false), Value::Null));
    server.post(&format!("{path}/undelete"), Some(&owner), &json!({})).await.is(200);
    assert_eq!(value().await, "third");
    server.post(&format!("{path}/destroy"), Some(&owner), &json!({})).await.is(204);
    assert_eq!(value().await, Value::Null);
    secret(&server, &owner, json!({"name": "TOKEN", "value": "of the organization"})).await;
    assert_eq!(value().await, "of the organization");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_environment_of_many_mib_is_answered_whole() {
    let server = TestServer::start().await;
    let (program, _) = acme(&server).await;
    let owner = owner(&program);
    let long = |number: usize| format!("{number} \"\u{1}é\n{}", "x".repeat(60_000));
    for number in 0..24 {
        let body = json!({"name": format!("S_{number}"), "value": long(number), "environment": "prod"});
        secret(&server, &owner, body).await;
        set(&server, &owner, &format!("C_{number}"), json!(long(number))).await;
    }
    let read = server.get(CTX, &program).await.is(200);
    for number in 0..24 {
        assert_eq!(read.json()["secrets"][format!("S_{number}")], long(number));
        assert_eq!(read.json()["config"][format!("C_{number}")], long(number));
    }
    let version = text(&read.json()["version"]);
    assert_eq!((read.json()["connections"].clone(), read.etag()), (json!({}), format!("\"0-{version}\"")));
    assert_eq!(reads(&server, &owner).await, [("environment".to_owned(), 1)]);
    let answer =
        server.send(Method::GET, CTX, &program, &[("if-none-match", &read.etag())], &Value::Null).await;
    answer.is(304);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_answer_ends_with_the_right_to_it() {
    let server = TestServer::start().await;
    let (program, key) = acme(&server).await;
    let owner = owner(&program);
    let long = "x".repeat(60_000);
    // More than the buffers on the way to the client hold.
    for number in 0..400 {
        set(&server, &owner, &format!("C_{number}"), json!(long)).await;
    }
    let request = server.request(Method::GET, CTX, Some(&program.token));
    let mut answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let mut read = answer.chunk().await.unwrap().expect("it begins").len();
    server.delete(&format!("/v1/api-keys/{key}"), &owner).await.is(204);
    let is_whole = loop {
        match answer.chunk().await {
            Ok(Some(piece)) => read += piece.len(),
            Ok(None) => break true,
            Err(_) => break false,
        }
    };
    assert!(!is_whole && read < 400 * long.len(), "{read}");
}

/// The next change that a watcher is told of, or that the stream ended.
async fn change(stream: &mut Reader) -> Option<(String, String)> {
    let next = tokio::time::timeout(Duration::from_secs(20), stream.next()).await.expect("it is told");
    next.map(|told| (told.event, text(&told.data["version"])))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_is_told_of_every_change_and_of_nothing_else() {
    let mut server = TestServer::start().await;
    let (program, key) = acme(&server).await;
    let owner = owner(&program);
    let path = "/v1/ctx/watch?environment=prod";
    let version = |answer: Answer| text(&answer.is(200).json()["version"]);
    let mut stream = Reader::open(server.base(), path, &program.token, None).await.unwrap();
    assert_eq!(stream.status, 200);
    server.put("/v1/environments/dev/config/A", &owner, &json!({"value": 1})).await.is(201);
    set(&server, &owner, "A", json!(1)).await;
    let now = version(server.get(CTX, &program).await);
    assert_eq!(change(&mut stream).await, Some(("change".to_owned(), now)));
    let id = secret(&server, &owner, json!({"name": "TOKEN", "value": "x"})).await;
    let now = version(server.get(CTX, &program).await);
    assert_eq!(change(&mut stream).await, Some(("change".to_owned(), now)));
    let last = stream.last.clone();
    drop(stream);
    // What happens meanwhile, over a restart too, is told to whoever comes back.
    server.patch(&format!("/v1/secrets/{id}"), &owner, &json!({"value": "y"})).await.is(200);
    server.restart().await;
    let now = version(server.get(CTX, &program).await);
    let mut stream = Reader::open(server.base(), path, &program.token, last.as_deref()).await.unwrap();
    assert_eq!(change(&mut stream).await, Some(("change".to_owned(), now)));
    let last = stream.last.clone();
    drop(stream);
    let mut stream = Reader::open(server.base(), path, &program.token, last.as_deref()).await.unwrap();
    set(&server, &owner, "B", json!(1)).await;
    let now = version(server.get(CTX, &program).await);
    assert_eq!(change(&mut stream).await, Some(("change".to_owned(), now)), "nothing was told in between");
    let mut other = Reader::open(server.base(), path, &program.token, Some("x1-5")).await.unwrap();
    assert_eq!(change(&mut other).await.map(|(event, _)| event).as_deref(), Some("reset"));
    // It ends with the key.
    server.delete(&format!("/v1/api-keys/{key}"), &owner).await.is(204);
    assert_eq!((change(&mut stream).await, change(&mut other).await), (None, None));
    assert!(stream.ended && other.ended);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_is_not_left_alone_when_its_environment_goes() {
    let server = TestServer::start().await;
    let (program, _) = acme(&server).await;
    let owner = owner(&program);
    let path = "/v1/ctx/watch?environment=prod";
    let mut stream = Reader::open(server.base(), path, &program.token, None).await.unwrap();
    server.delete("/v1/environments/prod", &owner).await.is(204);
    assert_eq!(change(&mut stream).await, None);
}
