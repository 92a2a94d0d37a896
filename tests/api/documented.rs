//! The OpenAPI document, held against what the server takes and answers: bodies, statuses and headers.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};
use settled::http::access::{Access, Row};
use settled::http::{operator, routes};

use crate::server::{Answer, Somebody, TestServer};
use crate::sound::sound_bodies;
use crate::things::{Things, is_page, request, with_query};

/// The document.
pub struct Document(pub Value);

impl Document {
    pub fn read() -> Self {
        Self(serde_json::to_value(settled::http::openapi::document()).unwrap())
    }

    /// A part of it with its references replaced by what they refer to.
    pub fn resolved(&self, part: &Value) -> Value {
        if let Some(reference) = part["$ref"].as_str() {
            let target = self.0.pointer(reference.trim_start_matches('#'));
            return self.resolved(target.unwrap_or_else(|| panic!("{reference} is not in the document")));
        }
        match part {
            Value::Object(members) => {
                members.iter().map(|(name, member)| (name.clone(), self.resolved(member))).collect()
            }
            Value::Array(items) => items.iter().map(|item| self.resolved(item)).collect(),
            other => other.clone(),
        }
    }

    fn operation(&self, row: &Row) -> &Value {
        &self.0["paths"][row.path][row.method.to_lowercase()]
    }

    /// The schema of the bodies that a route takes.
    fn body(&self, row: &Row) -> Option<Value> {
        let schema = self.operation(row).pointer("/requestBody/content/application~1json/schema");
        schema.map(|schema| self.resolved(schema))
    }

    /// Whether a route says that it takes a header.
    fn takes(&self, row: &Row, header: &str) -> bool {
        let parameters = self.resolved(&self.operation(row)["parameters"]);
        let is_it = |parameter: &Value| parameter["in"] == "header" && parameter["name"] == header;
        parameters.as_array().is_some_and(|parameters| parameters.iter().any(is_it))
    }

    /// That an answer has the status, the body and the headers that are documented.
    #[track_caller]
    pub fn allows(&self, row: &Row, answer: &Answer) {
        let label = format!("{} {}: {} {}", row.method, row.path, answer.status, answer.text);
        let responses = &self.operation(row)["responses"];
        let kind = format!("{}XX", answer.status / 100);
        let documented =
            [answer.status.to_string(), kind].into_iter().find_map(|status| responses.get(status));
        let response = self.resolved(documented.unwrap_or_else(|| panic!("{label}: no such status")));
        let content = &response["content"];
        let media_type = answer.header("content-type").unwrap_or_default();
        let media_type = media_type.split(';').next().unwrap_or_default();
        assert!(media_type.is_empty() || content.get(media_type).is_some(), "{label}: no {media_type}");
        if media_type.ends_with("json") {
            assert_eq!(
                wrong(&content[media_type]["schema"], &answer.json()),
                Vec::<String>::new(),
                "{label}"
            );
        }
        let documented = |header: &str| response["headers"].get(header).is_some();
        for header in ["ETag", "Location", "Settled-Version"] {
            let is_there = answer.header(header).is_some();
            assert!(!is_there || documented(header), "{label}: {header} is not documented");
            assert!(
                is_there || answer.status >= 300 || !documented(header),
                "{label}: {header} is not there"
            );
        }
        for header in ["Settled-As-Of-Version", "Idempotency-Replayed", "Retry-After", "RateLimit", "Allow"] {
            assert!(answer.header(header).is_none() || documented(header), "{label}: {header}");
        }
    }
}

/// What of a value is not as a schema has it.
fn wrong(schema: &Value, value: &Value) -> Vec<String> {
    let validator = jsonschema::validator_for(schema).unwrap_or_else(|error| panic!("{error}: {schema}"));
    validator.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_body_that_goes_through_is_as_documented_and_no_other() {
    let (server, owner) = TestServer::set_up().await;
    let things = Things::make(&server, &owner, "dev", owner.person).await;
    let (document, sound) = (Document::read(), sound_bodies(&things, &owner));
    document.resolved(&document.0);
    let mut held = 0;
    for row in routes().iter().map(|route| route.row) {
        let (Some(schema), Some(body)) = (document.body(&row), sound.get(&(row.method, row.path))) else {
            continue;
        };
        let label = format!("{} {}", row.method, row.path);
        assert_eq!(wrong(&schema, body), Vec::<String>::new(), "{label}");
        // Their names are keys and meters.
        if !["/config", "/limits"].iter().any(|end| row.path.ends_with(end)) {
            let mut unknown = body.clone();
            unknown["unknwon_field"] = json!(1);
            assert_ne!(
                wrong(&schema, &unknown),
                Vec::<String>::new(),
                "{label}: takes what it does not know"
            );
        }
        held += 1;
    }
    assert!(held >= 45, "{held} bodies");
}

/// A request of a route that is a person's own, or anybody's.
fn own_request(row: &Row, things: &Things, who: &Somebody) -> (Method, String, Value) {
    let body = sound_bodies(things, who).get(&(row.method, row.path)).cloned().unwrap_or(Value::Null);
    (row.method.parse().unwrap(), with_query(&things.path(row.path), ""), body)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_asks_for_no_permission_is_answered_as_documented() {
    let (server, owner) = TestServer::set_up().await;
    let things = Things::make(&server, &owner, "dev", owner.person).await;
    let document = Document::read();
    let mut succeeded = 0;
    for (number, row) in routes().iter().map(|route| route.row).enumerate() {
        if row.access.permission().is_some() || is_page(row.path) {
            continue;
        }
        // Each is somebody else's, so that none logs the next one out.
        let who = server.add(owner.organization, &format!("p{number}@example.com"), "P").await;
        let (method, path, body) = own_request(&row, &things, &who);
        let answer = server.send(method, &path, &who, &[], &body).await;
        document.allows(&row, &answer);
        succeeded += usize::from(answer.status < 300);
    }
    assert!(succeeded >= 12, "{succeeded} went through");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_programs_read_is_answered_as_documented() {
    let (server, owner) = TestServer::set_up().await;
    let things = Things::make(&server, &owner, "dev", owner.person).await;
    let (_, key) = server.api_key(&owner, &json!({"name": "P", "mode": "test"})).await;
    let document = Document::read();
    let rows = routes().into_iter().map(|route| route.row);
    let rows: Vec<_> = rows.filter(|row| matches!(row.access, Access::Program(_))).collect();
    assert_eq!(rows.len(), 3);
    for row in rows {
        let path = format!("{}?environment=dev", things.path(row.path));
        document.allows(&row, &server.get(&path, &key).await.is(200));
    }
}

/// What no header of that name may be.
const MALFORMED: [(&str, &str); 5] = [
    ("Idempotency-Key", "a b"),
    ("If-Match", "x"),
    ("If-None-Match", "x"),
    ("Settled-Min-Version", "x"),
    ("Settled-Reason", "%zz"),
];

/// They ask DNS, or plan, before they look at these headers.
const LATER: [&str; 2] = ["/v1/general/email-domain/verify", "/v1/restore"];

#[tokio::test(flavor = "multi_thread")]
async fn every_header_that_is_documented_is_read() {
    let (server, owner) = TestServer::set_up().await;
    let things = Things::make(&server, &owner, "dev", owner.person).await;
    server.environment(&owner, "Target", "test").await;
    let (_, key) = server.api_key(&owner, &json!({"name": "P", "mode": "test"})).await;
    let document = Document::read();
    let mut read = 0;
    for row in routes().iter().map(|route| route.row).filter(|row| !LATER.contains(&row.path)) {
        let (who, (method, path, body)) = match row.access {
            Access::Public => continue,
            Access::Program(_) => {
                let path = format!("{}?environment=dev", things.path(row.path));
                (&key, (Method::GET, path, Value::Null))
            }
            Access::Organization(_) | Access::Environment(_) => {
                (&owner, request(row.method, row.path, &things, &owner))
            }
            Access::OwnAccount | Access::Founder | Access::Member => {
                (&owner, own_request(&row, &things, &owner))
            }
        };
        // What has nothing to carry over submits nothing.
        let body =
            if row.path.ends_with("/promote") { json!({"to": "target", "config": ["A"]}) } else { body };
        for (header, malformed) in MALFORMED {
            let label = format!("{} {} {header}", row.method, row.path);
            if document.takes(&row, header) {
                let answer = server.send(method.clone(), &path, who, &[(header, malformed)], &body).await;
                let error = answer.is_problem(422, "invalid_request")["errors"][0].clone();
                assert_eq!(error["parameter"], header, "{label}: {error}");
                read += 1;
            } else if row.method == "GET" && !header.starts_with("If-") {
                let answer = server.send(method.clone(), &path, who, &[(header, malformed)], &body).await;
                assert_eq!(answer.status, 200, "{label}: {}", answer.text);
            }
        }
    }
    assert!(read > 250, "{read} headers");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_operators_are_served_is_documented_and_nothing_else() {
    let (server, _) = TestServer::set_up().await;
    let document = Document(serde_json::to_value(settled::http::openapi::operators::document()).unwrap());
    document.resolved(&document.0);
    let documented = document.0["paths"].as_object().unwrap();
    let served: BTreeSet<&str> = operator::routes().iter().map(|(path, _)| *path).collect();
    assert_eq!(served, documented.keys().map(String::as_str).collect());
    for (template, methods) in documented {
        let path = template.replace(['{', '}'], "");
        let (status, head) = server.operator_head("TRACE", &path).await;
        assert_eq!(status, 405, "{template}");
        let allowed = head.lines().find_map(|line| line.strip_prefix("allow: ")).unwrap_or_default();
        // What answers GET answers HEAD.
        let allowed =
            allowed.split(',').map(|method| method.trim().to_lowercase()).filter(|method| method != "head");
        let methods: BTreeSet<String> = methods.as_object().unwrap().keys().cloned().collect();
        assert_eq!(allowed.collect::<BTreeSet<_>>(), methods, "{template}");
    }
}
