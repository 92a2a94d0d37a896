//! Customers who are erased are forgotten with all that they had, whatever it was called; and what customers have is called by
//! nothing that anybody reads in the log.

use reqwest::Method;
use serde_json::{Value, json};

use crate::server::{Somebody, TestServer, text};

/// The key of a document and the name of a workflow, as programs call them.
const KEY: &str = "zq7.key-1979-03-04";
const WORKFLOW: &str = "zq7/flow:v2";

/// Everything that the organization tells of a customer, at a time or now. Of one who was erased some of it is not there.
async fn told_of(server: &TestServer, who: &Somebody, id: &str, then: u64) -> String {
    let mut told = String::new();
    for path in [
        "/v1/customers".to_owned(),
        format!("/v1/customers?as_of={then}"),
        format!("/v1/customers/{id}?as_of={then}"),
        format!("/v1/customers/{id}/data?as_of={then}"),
        format!("/v1/customers/{id}/data/{KEY}?as_of={then}"),
        format!("/v1/customers/{id}/executions"),
        format!("/v1/customers/{id}/executions?workflow={WORKFLOW}"),
        "/v1/customers?q=zq7".to_owned(),
        "/v1/customers?tag.zq7=zq7tag".to_owned(),
        "/v1/customers?external_id=Zq7External".to_owned(),
        format!("/v1/history/{id}"),
        format!("/v1/history/{id}?name={KEY}"),
        format!("/v1/diff?from=1&to={then}"),
        format!("/v1/diff?from=1&to={then}&resource={id}/{KEY}"),
        format!("/v1/audit?resource={id}"),
        format!("/v1/audit?resource={id}/{KEY}"),
        "/v1/audit/facets".to_owned(),
        "/v1/audit/export?format=csv".to_owned(),
        "/v1/audit/export?format=ndjson".to_owned(),
        "/v1/audit/export?format=ocsf".to_owned(),
        "/v1/proof/bundle".to_owned(),
        "/v1/events?limit=200".to_owned(),
    ] {
        let answer = server.get(&path, who).await;
        assert!([200, 404].contains(&answer.status), "{path}: {}", answer.text);
        told.push_str(&answer.text);
    }
    told
}

impl TestServer {
    /// A customer with a document and two executions, of which one ended; its id, and that of the one which ended.
    async fn one_with_names(&self, owner: &Somebody, body: &Value) -> (String, String) {
        let id = self.customer(owner, body).await;
        let path = format!("/v1/customers/{id}");
        for value in ["Zq7Value", "Zq7Second"] {
            let answer = self.put(&format!("{path}/data/{KEY}"), owner, &json!({"value": value})).await;
            assert!([200, 201].contains(&answer.status));
        }
        self.execution(owner, &id, WORKFLOW).await;
        let begins = json!({"workflow": WORKFLOW, "environment": "dev", "trigger": "Zq7Trigger"});
        let begun = self.post(&format!("{path}/executions"), Some(owner), &begins).await.is(201).json();
        let execution = text(&begun["id"]);
        let end = json!({"status": "failed", "error": "Zq7Error", "usage": {"zq7.figure": 5}});
        let finish = format!("{path}/executions/{execution}/finish");
        self.post(&finish, Some(owner), &end).await.is(200);
        (id, execution)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_erased_is_forgotten_everywhere_and_for_ever() {
    let (mut server, owner) = TestServer::set_up().await;
    server.environment(&owner, "Dev", "test").await;
    let body = json!({"name": "Zq7Name", "external_id": "Zq7External", "tags": {"zq7": "zq7tag"},
        "metadata": {"note": "Zq7Note"}});
    let (id, execution) = server.one_with_names(&owner, &body).await;
    let path = format!("/v1/customers/{id}");
    server.patch(&path, &owner, &json!({"metadata": {"more": "Zq7More"}})).await.is(200);
    let then = server.version(owner.organization);
    let words = [
        "Zq7Name",
        "Zq7External",
        "zq7tag",
        "Zq7Note",
        "Zq7More",
        "Zq7Second",
        "Zq7Trigger",
        "Zq7Error",
        "zq7.figure",
        KEY,
        WORKFLOW,
    ];
    let told = told_of(&server, &owner, &id, then).await;
    for word in &words {
        assert!(told.contains(word), "{word} is told before");
    }
    let erased = server.about_customer(&owner, &id, "erase").await.is(200);
    let body = erased.json();
    assert_eq!((&body["name"], &body["status"]), (&json!("erased customer"), &json!("erased")));
    assert_eq!((&body["external_id"], &body["metadata"]), (&Value::Null, &json!({})));
    // Once more is no event.
    assert_eq!(server.about_customer(&owner, &id, "erase").await.is(200).version(), erased.version());
    for _ in 0..2 {
        let told = told_of(&server, &owner, &id, then).await.to_lowercase();
        for word in &words {
            assert!(!told.contains(&word.to_lowercase()), "{word} is told still");
        }
        assert!(told.contains("erased customer"));
        server.get(&path, &owner).await.is_problem(404, "not_found");
        for (method, action) in [
            (Method::PATCH, ""),
            (Method::DELETE, ""),
            (Method::POST, "/suspend"),
            (Method::POST, "/reactivate"),
        ] {
            let body = if method == Method::DELETE { Value::Null } else { json!({}) };
            let path = format!("{path}{action}");
            server.send(method, &path, &owner, &[], &body).await.is_problem(404, "not_found");
        }
        for query in
            ["data", &format!("data?as_of={then}"), &format!("data/{KEY}?as_of={then}"), "executions"]
        {
            server.get(&format!("{path}/{query}"), &owner).await.is_problem(404, "not_found");
        }
        server.restart().await;
    }
    for (action, resource) in [
        ("customer.erase", json!({"type": "customer", "id": id, "name": "erased customer"})),
        ("customer_data.set", json!({"type": "customer_data", "id": id, "name": "erased customer"})),
        ("execution.finish", json!({"type": "execution", "id": execution, "name": "erased customer"})),
    ] {
        let row = &server.audit(&owner, &format!("&resource={id}&action={action}")).await[0];
        assert_eq!(row["resource"], resource);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_and_workflows_are_called_by_their_names_wherever_they_are_shown() {
    let (server, owner) = TestServer::set_up().await;
    server.environment(&owner, "Dev", "test").await;
    let before = server.version(owner.organization);
    let (id, execution) = server.one_with_names(&owner, &json!({"name": "A"})).await;
    let document = json!({"type": "customer_data", "id": id, "name": KEY});
    let run = json!({"type": "execution", "id": execution, "name": WORKFLOW});
    let rows = server.audit(&owner, &format!("&resource={id}/{KEY}")).await;
    assert_eq!(rows.iter().map(|row| &row["resource"]).collect::<Vec<_>>(), [&document, &document]);
    for row in server.audit(&owner, &format!("&resource={execution}")).await {
        assert_eq!(row["resource"], run);
    }
    let named = server.get(&format!("/v1/history/{id}?name={KEY}"), &owner).await.is(200).json();
    let history = server.get(&format!("/v1/history/{id}"), &owner).await.is(200).json();
    for page in [&named["data"], &history["data"]] {
        let rows = page.as_array().unwrap();
        let about: Vec<_> = rows.iter().filter(|row| row["action"] == "customer_data.set").collect();
        assert_eq!(about.iter().map(|row| &row["resource"]).collect::<Vec<_>>(), [&document, &document]);
    }
    let found = |page: &Value, list: &str| {
        let all = page[list].as_array().unwrap();
        all.iter().find(|row| row["resource"]["type"] == "customer_data").unwrap()["resource"].clone()
    };
    for only in ["", &format!("&resource={id}/{KEY}")] {
        let diff = server.get(&format!("/v1/diff?from={before}{only}"), &owner).await.is(200).json();
        assert_eq!(found(&diff, "data"), document);
    }
    let then = server.version(owner.organization);
    server.delete(&format!("/v1/customers/{id}/data/{KEY}"), &owner).await.is(204);
    let deleted = &server.audit(&owner, "&action=customer_data.delete").await[0];
    assert_eq!(deleted["resource"], document);
    let restored = server.restored(&owner, then, &json!({"resource": format!("{id}/{KEY}")})).await;
    assert_eq!(found(&restored, "steps"), document);
    // So is what does not come back, and what is brought back with a customer who had gone.
    server.delete(&format!("/v1/customers/{id}"), &owner).await.is(204);
    let alone = server.restored(&owner, then, &json!({"resource": format!("{id}/{KEY}")})).await;
    assert_eq!(found(&alone, "cannot"), document);
    assert_eq!(found(&server.restored(&owner, then, &json!({"resource": id})).await, "steps"), document);
    // The record has none of it, nor has the name by which a document or a workflow is found.
    let events = server.get("/v1/events?limit=200", &owner).await.is(200);
    for word in [KEY, WORKFLOW] {
        assert!(!events.text.contains(word), "{}", events.text);
    }
    let blind = blind_ids(&events.json(), &id);
    let by_it = server.get(&format!("/v1/customers/{id}/data/{}", blind[0]), &owner).await;
    by_it.is_problem(404, "not_found");
}

/// What a customer's documents and workflows are found by, as often as events say it.
fn blind_ids(events: &Value, customer: &str) -> Vec<String> {
    let all = events["data"].as_array().unwrap().iter().filter(|event| event["data"]["customer"] == customer);
    let ids = all.flat_map(|event| [&event["data"]["document"], &event["data"]["workflow_id"]]);
    ids.filter(|id| id.is_string()).map(text).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_two_customers_call_alike_is_found_by_other_ids_and_of_one_by_one() {
    let (server, owner) = TestServer::set_up().await;
    server.environment(&owner, "Dev", "test").await;
    let mut found = Vec::new();
    for name in ["A", "B"] {
        let (id, _) = server.one_with_names(&owner, &json!({"name": name})).await;
        let events = server.get("/v1/events?limit=200", &owner).await.is(200).json();
        let ids = blind_ids(&events, &id);
        assert_eq!((ids.len(), &ids[0], &ids[2]), (4, &ids[1], &ids[3]), "of each kind one");
        assert!(ids.iter().all(|id| id.len() == 22 && id.is_ascii()), "{ids:?}");
        found.extend([ids[0].clone(), ids[2].clone()]);
    }
    let different: std::collections::BTreeSet<_> = found.iter().collect();
    assert_eq!(different.len(), 4, "of each customer others, and of each kind: {found:?}");
}
