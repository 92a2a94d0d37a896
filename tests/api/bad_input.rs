//! Bad input for every field and parameter of every route, made from the OpenAPI document: never a 5xx, always
//! problem details that name the place, and nothing appended.

use reqwest::Method;
use serde_json::{Value, json};
use settled::settings::customer_data::value::DataKeyName;

use crate::documented::Document;
use crate::server::{Answer, Somebody, TestServer, send};
use crate::sound::sound_bodies;
use crate::things::{Things, is_page, with_query};

/// A route of the document, with one request that goes through.
struct Operation {
    method: Method,
    path: String,
    /// Names of its query parameters, with one value that is wrong for each, where there is one.
    query: Vec<(String, Option<&'static str>)>,
    /// The schema of its body, references resolved.
    body: Option<Value>,
    sound: Value,
}

fn wrong_value(name: &str) -> Option<&'static str> {
    match name {
        "limit" => Some("0"),
        "after" => Some("-1"),
        "cursor" => Some("abc"),
        "from" | "to" | "as_of" => Some("yesterday"),
        "name" => Some("lower"),
        "event" => Some("first"),
        "type" | "outcome" | "format" | "mode" | "permission" | "status" | "in_sync" | "environment"
        | "customer" | "meter" | "granularity" => Some("nothing"),
        "user" | "resource" | "action" | "subject" | "role" | "q" | "team" | "external_id" | "workflow" => {
            Some("")
        }
        _ => None,
    }
}

fn operations(owner: &Somebody, things: &Things) -> Vec<Operation> {
    let document = Document::read();
    let bodies = sound_bodies(things, owner);
    let mut operations = Vec::new();
    // Keys alone come to `/v1/ctx`, and each use of one is an event: what is wrong there is tested in `ctx`.
    let is_tested = |path: &String| !path.starts_with("/v1/ctx") && !is_page(path);
    let paths = document.0["paths"].as_object().unwrap();
    for (path, methods) in paths.iter().filter(|(path, _)| is_tested(path)) {
        for (method, operation) in methods.as_object().unwrap() {
            let upper = method.to_uppercase();
            let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
            let query = parameters
                .iter()
                .filter(|parameter| parameter["in"] == "query")
                .map(|parameter| parameter["name"].as_str().unwrap())
                .map(|name| (name.to_owned(), wrong_value(name)))
                .collect();
            let body = operation.pointer("/requestBody/content/application~1json/schema");
            let sound = bodies
                .iter()
                .find(|((m, p), _)| *m == upper && *p == path.as_str())
                .map(|(_, body)| body.clone());
            assert!(body.is_none() || sound.is_some(), "{upper} {path} has no sound body in this test");
            operations.push(Operation {
                method: upper.parse().unwrap(),
                path: things.path(path),
                query,
                body: body.map(|schema| document.resolved(schema)),
                sound: sound.unwrap_or(Value::Null),
            });
        }
    }
    operations
}

/// A place of a sound body: its pointer, and what stands there.
fn places(body: &Value, pointer: &str, found: &mut Vec<(String, Value)>) {
    if let Value::Object(members) = body {
        for (name, member) in members {
            let pointer = format!("{pointer}/{name}");
            found.push((pointer.clone(), member.clone()));
            places(member, &pointer, found);
        }
    }
}

fn replaced(body: &Value, pointer: &str, with: Value) -> Value {
    let mut body = body.clone();
    *body.pointer_mut(pointer).expect("the place is in the sound body") = with;
    body
}

fn removed(body: &Value, pointer: &str) -> Value {
    let mut body = body.clone();
    let (parent, name) = pointer.rsplit_once('/').expect("a place has a parent");
    let parent = if parent.is_empty() { Some(&mut body) } else { body.pointer_mut(parent) };
    parent.and_then(Value::as_object_mut).expect("a place's parent is an object").remove(name);
    body
}

/// Counts what a server's streams have, denials and failures aside: none may be caused by a bad request here, since
/// the caller may do everything, and wrong logins are not among them.
fn versions(server: &TestServer, owner: &Somebody) -> (u64, u64, usize) {
    (server.version(owner.organization), server.platform_version(), server.app().store.organizations().len())
}

#[track_caller]
fn refused(answer: &Answer, label: &str) -> Value {
    assert!((400..500).contains(&answer.status), "{label}: {} {}", answer.status, answer.text);
    let problem = answer.problem();
    if answer.status == 422 {
        let error = &problem["errors"][0];
        let named = error["pointer"].is_string() || error["parameter"].is_string();
        assert!(named, "{label}: no place is named: {problem}");
    }
    problem
}

#[tokio::test(flavor = "multi_thread")]
async fn every_field_of_every_body_is_checked_and_named() {
    let (server, owner) = TestServer::set_up().await;
    let things = Things::make(&server, &owner, "dev", owner.person).await;
    let before = versions(&server, &owner);
    let mut sent = 0;
    for operation in operations(&owner, &things) {
        let Some(schema) = &operation.body else { continue };
        // Any name and any value: what is wrong there is not in the schema, and has tests of its own.
        let is_free = operation.path.ends_with("/config");
        let mut found = Vec::new();
        places(&operation.sound, "", &mut found);
        for (pointer, value) in found {
            let is_value = ["/config/A", "/data/A"].iter().any(|end| operation.path.ends_with(end))
                || pointer.starts_with("/metadata");
            let mut wrong: Vec<(Value, &str)> = Vec::new();
            if !is_free && !is_value {
                for other in [
                    json!(1.5),
                    json!(7),
                    json!(true),
                    json!([]),
                    json!([[]]),
                    json!({"x": {"y": 1}}),
                    json!("x"),
                ] {
                    let same_type = std::mem::discriminant(&other) == std::mem::discriminant(&value);
                    // A point in time is text or a version.
                    let is_version = pointer == "/as_of" && other.is_u64();
                    if !same_type && !is_version {
                        wrong.push((replaced(&operation.sound, &pointer, other), "wrong type"));
                    }
                }
                if value.is_string() {
                    for text in ["x".repeat(100_000), "\u{0}".into(), "\u{202e}\u{7}".into(), "\n\n".into()] {
                        wrong.push((replaced(&operation.sound, &pointer, json!(text)), "wrong text"));
                    }
                }
            }
            if value.is_object() && !is_free && !is_value {
                wrong.push((
                    replaced(
                        &operation.sound,
                        &format!("{pointer}/{}", value.as_object().unwrap().keys().next().unwrap()),
                        json!({"deep": [[[[]]]]}),
                    ),
                    "nested",
                ));
            }
            if is_required(schema, &pointer) {
                wrong.push((removed(&operation.sound, &pointer), "missing"));
            }
            for (body, what) in wrong {
                let label = format!("{} {} {pointer} {what}", operation.method, operation.path);
                // A password may be any short text, and a wrong one is told as such, and recorded; a secret's value
                // may be any.
                let is_secret =
                    ["password", "current", "new", "token", "value"].iter().any(|end| pointer.ends_with(end));
                if is_secret && what == "wrong text" {
                    continue;
                }
                let answer = server.send(operation.method.clone(), &operation.path, &owner, &[], &body).await;
                if operation.path == "/v1/setup" && answer.status == 409 {
                    continue;
                }
                let problem = refused(&answer, &label);
                assert_eq!(answer.status, 422, "{label}: {problem}");
                let named = problem["errors"][0]["pointer"].as_str().unwrap_or_default();
                assert!(named.starts_with(&pointer), "{label}: names {named:?}");
                sent += 1;
            }
        }
        let unknown = |mut body: Value| {
            body.as_object_mut().unwrap().insert("unknwon_field".into(), json!(1));
            body
        };
        if !is_free {
            let answer = server
                .send(
                    operation.method.clone(),
                    &operation.path,
                    &owner,
                    &[],
                    &unknown(operation.sound.clone()),
                )
                .await;
            let problem = refused(&answer, &format!("{} {} unknown", operation.method, operation.path));
            assert_eq!(problem["errors"][0]["pointer"], "/unknwon_field", "{problem}");
        }
    }
    assert!(sent > 150, "the document gave only {sent} bad bodies");
    server.app().store.flush_counts(true).await;
    assert_eq!(versions(&server, &owner), before, "a bad request appended something");
}

fn is_required(schema: &Value, pointer: &str) -> bool {
    let mut schema = schema;
    let segments: Vec<_> = pointer.split('/').skip(1).collect();
    let (last, parents) = segments.split_last().expect("a place has a name");
    for parent in parents {
        schema = &schema["properties"][parent];
    }
    schema["required"].as_array().is_some_and(|required| required.iter().any(|name| name == last))
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_are_no_json_object_are_refused_on_every_route() {
    let (server, owner) = TestServer::set_up().await;
    let things = Things::make(&server, &owner, "dev", owner.person).await;
    let before = versions(&server, &owner);
    for operation in operations(&owner, &things).iter().filter(|operation| operation.body.is_some()) {
        let sound = serde_json::to_string(&operation.sound).unwrap();
        let name = operation.sound.as_object().unwrap().keys().next().unwrap();
        let twice = sound.replacen('{', &format!("{{\"{name}\": 1, "), 1);
        let deep = format!("{{\"{name}\": {}{}}}", "[".repeat(200), "]".repeat(200));
        let json = "application/json";
        let cases: Vec<(&str, Vec<u8>, u16)> = vec![
            ("text/plain", sound.clone().into(), 415),
            ("application/x-www-form-urlencoded", "a=b".into(), 415),
            ("multipart/form-data; boundary=x", "--x--".into(), 415),
            ("application/json; charset=utf-16", sound.clone().into(), 415),
            (json, twice.into(), 400),
            (json, deep.into(), 400),
            (json, sound[..sound.len() - 1].into(), 400),
            (json, format!("{sound}{sound}").into(), 400),
            (json, vec![b'{', b'"', 0xff, b'"', b':', b'1', b'}'], 400),
            (json, vec![0; 64], 400),
            (json, vec![b' '; 1024 * 1024 + 1], 413),
            (json, format!("[{sound}]").into(), 422),
            (json, "null".into(), 422),
            (json, "\"x\"".into(), 422),
            (json, "1e999".into(), 422),
        ];
        for (kind, body, status) in cases {
            let label = format!("{} {} {kind} {} bytes", operation.method, operation.path, body.len());
            let request = server.request(operation.method.clone(), &operation.path, Some(&owner.token));
            let answer = send(request.header("content-type", kind).body(body)).await;
            refused(&answer, &label);
            assert_eq!(answer.status, status, "{label}: {}", answer.text);
        }
    }
    assert_eq!(versions(&server, &owner), before, "a bad request appended something");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_parameter_of_every_route_is_checked_and_named() {
    let (server, owner) = TestServer::set_up().await;
    let things = Things::make(&server, &owner, "dev", owner.person).await;
    let before = versions(&server, &owner);
    // What programs read has such tests in `ctx`: there a use is recorded whatever comes of it.
    let of_people = |operation: &Operation| !operation.path.starts_with("/v1/ctx");
    for operation in operations(&owner, &things).into_iter().filter(of_people) {
        let path = &operation.path;
        let mut queries: Vec<(String, String)> = Vec::new();
        for (name, wrong) in &operation.query {
            let wrong =
                wrong.unwrap_or_else(|| panic!("{path}: no wrong value of {name} is known to this test"));
            queries.push((format!("{name}={wrong}"), name.clone()));
            queries.push((format!("{name}=%ff"), name.clone()));
            queries.push((format!("{name}={}", "x".repeat(9000)), name.clone()));
            if ["limit", "after", "cursor", "from", "to", "as_of"].contains(&&**name) {
                queries.push((format!("{name}=1&{name}=2"), name.clone()));
            } else {
                let many: Vec<_> = (0..51).map(|number| format!("{name}=x{number}")).collect();
                queries.push((many.join("&"), name.clone()));
            }
        }
        queries.push(("unknwon=1".into(), "unknwon".into()));
        queries.push(("%ff=1".into(), String::new()));
        for (query, parameter) in queries {
            let label = format!("{} {path}?{}", operation.method, &query[..query.len().min(40)]);
            let url = with_query(path, &query);
            let answer = server.send(operation.method.clone(), &url, &owner, &[], &operation.sound).await;
            let problem = refused(&answer, &label);
            assert_eq!(answer.status, 422, "{label}: {problem}");
            assert_eq!(problem["errors"][0]["parameter"], parameter, "{label}: {problem}");
        }
    }
    // Reading events is one itself, but not when it is refused.
    assert_eq!(versions(&server, &owner), before, "a bad request appended something");
}

#[tokio::test(flavor = "multi_thread")]
async fn segments_of_paths_that_name_nothing_are_not_found() {
    let (server, owner) = TestServer::set_up().await;
    let things = Things::make(&server, &owner, "dev", owner.person).await;
    let before = versions(&server, &owner);
    let long = "a".repeat(5000);
    let segments = [
        "%00",
        "%ff",
        "%2e%2e",
        "..%2f..",
        "null",
        "env_",
        "ENV-01",
        "dev%20",
        "%F0%9F%8E%89",
        "'--",
        &*long,
    ];
    for operation in operations(&owner, &things) {
        for segment in segments {
            let paths = things
                .iter()
                // What a client takes for `..` leads one segment up, to another route.
                .map(|thing| {
                    let segment =
                        if thing == "1" { segment.replace("%2e%2e", "0") } else { segment.to_owned() };
                    operation.path.replace(&format!("/{thing}"), &format!("/{segment}"))
                });
            // That is a route of secrets; and documents may have such keys.
            let names_a_document = |path: &String| {
                path.rsplit_once("/data/").is_some_and(|(_, key)| DataKeyName::try_from(key).is_ok())
            };
            let is_another =
                |path: &String| path.ends_with("/%2e%2e/secrets/import") || names_a_document(path);
            for path in paths.filter(|path| *path != operation.path && !is_another(path)) {
                let answer =
                    server.send(operation.method.clone(), &path, &owner, &[], &operation.sound).await;
                refused(&answer, &format!("{} {path}", operation.method));
                assert!([404, 422].contains(&answer.status), "{} {path}: {}", operation.method, answer.text);
            }
        }
    }
    assert_eq!(versions(&server, &owner), before, "a bad request appended something");
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_of_our_own_are_checked_and_named() {
    let (server, owner) = TestServer::set_up().await;
    server.environment(&owner, "Dev", "test").await;
    server.api_key(&owner, &json!({"name": "K", "mode": "test"})).await;
    let before = versions(&server, &owner);
    let long = "a".repeat(600);
    let cases: [(&str, &[&str], &str); 4] = [
        ("idempotency-key", &["a b", "", &long], "Idempotency-Key"),
        ("settled-reason", &["%zz", "%ff", "%00", &long], "Settled-Reason"),
        ("if-match", &["7", "\"0-7", "", "*, \"0-1\""], "If-Match"),
        ("settled-min-version", &["-1", "x", "99999999999999999999999"], "Settled-Min-Version"),
    ];
    let change = json!({"name": "Changed"});
    for (name, values, parameter) in cases {
        for value in values {
            for (path, body) in
                [("/v1/general", &change), ("/v1/environments/dev", &change), ("/v1/me", &change)]
            {
                let answer = server.send(Method::PATCH, path, &owner, &[(name, value)], body).await;
                let problem = refused(&answer, &format!("{path} {name}: {value}"));
                assert_eq!(problem["errors"][0]["parameter"], parameter, "{name}: {value}: {problem}");
            }
        }
        let twice = server.request(Method::PATCH, "/v1/general", Some(&owner.token)).json(&change);
        if name != "if-match" {
            let answer = send(twice.header(name, "1").header(name, "2")).await;
            assert_eq!(refused(&answer, name)["errors"][0]["parameter"], parameter);
        }
    }
    assert_eq!(versions(&server, &owner), before, "a bad request appended something");
}
