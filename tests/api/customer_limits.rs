//! `/v1/customers/{cus}/limits`: what a single customer may have.

use serde_json::{Value, json};
use settled::settings::roles::role::SystemRole;

use crate::server::{Somebody, TestServer, text};

impl TestServer {
    async fn limit_customer(&self, who: &Somebody, customer: &str, limits: &Value) -> Value {
        self.put(&format!("/v1/customers/{customer}/limits"), who, limits).await.is(200).json()
    }
}

/// The limit and the use of a meter, as they are told.
fn told(body: &Value, meter: &str) -> (Value, Value) {
    let usage = body["usage"].as_array().unwrap();
    let one = usage.iter().find(|usage| usage["meter"] == meter).unwrap();
    (one["limit"].clone(), one["used"].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_has_no_more_than_its_limits_and_keeps_what_it_has() {
    let (server, owner) = TestServer::set_up().await;
    server.environment(&owner, "Dev", "test").await;
    let a = server.customer(&owner, &json!({"name": "A"})).await;
    let b = server.customer(&owner, &json!({"name": "B"})).await;
    let secret = async |customer: &str, name: &str| {
        let body = json!({"name": name, "value": "x", "environment": "dev", "customer": customer});
        server.post("/v1/secrets", Some(&owner), &body).await
    };
    let first = text(&secret(&a, "ONE").await.is(201).json()["id"]);
    let then = server.version(owner.organization);
    let path = format!("/v1/customers/{a}/limits");
    let none = server.get(&path, &owner).await.is(200).json();
    assert_eq!((told(&none, "secrets"), &none["version"]), ((Value::Null, json!(1)), &json!(0)));

    let limited = server.limit_customer(&owner, &a, &json!({"secrets": 1, "executions": 2})).await;
    assert_eq!(told(&limited, "secrets"), (json!(1), json!(1)));
    let version = server.version(owner.organization);
    let again = server.limit_customer(&owner, &a, &json!({"executions": 2, "secrets": 1})).await;
    assert_eq!((again, server.version(owner.organization)), (limited.clone(), version), "it is so already");
    let full = secret(&a, "TWO").await.is_problem(402, "quota_exceeded");
    assert_eq!((&full["quota"], &full["limit"], &full["use"]), (&json!("secrets"), &json!(1), &json!(1)));
    secret(&b, "TWO").await.is(201);
    // What goes makes room; neither undeleting nor a restore is a way around.
    server.delete(&format!("/v1/secrets/{first}"), &owner).await.is(204);
    secret(&a, "TWO").await.is(201);
    let undelete = format!("/v1/secrets/{first}/undelete");
    server.post(&undelete, Some(&owner), &json!({})).await.is_problem(402, "quota_exceeded");
    let back = json!({"as_of": then, "scope": {"resource": first}, "dry_run": true});
    server.post("/v1/restore", Some(&owner), &back).await.is_problem(402, "quota_exceeded");

    let begin = async |customer: &str| {
        let body = json!({"workflow": "sync", "environment": "dev"});
        server.post(&format!("/v1/customers/{customer}/executions"), Some(&owner), &body).await
    };
    for _ in 0..2 {
        begin(&a).await.is(201);
    }
    let full = begin(&a).await.is_problem(402, "quota_exceeded");
    assert_eq!((&full["quota"], &full["use"]), (&json!("executions"), &json!(2)));
    begin(&b).await.is(201);

    // Deleting the customer and bringing it back lifts nothing.
    let there = server.version(owner.organization);
    server.delete(&format!("/v1/customers/{a}"), &owner).await.is(204);
    server.restored(&owner, there, &json!({"resource": a})).await;
    begin(&a).await.is_problem(402, "quota_exceeded");
    let billing = server.get("/v1/billing", &owner).await.is(200).json();
    assert_eq!(billing["customer_limits"].as_array().map(Vec::len), Some(1));
    assert_eq!(told(&billing["customer_limits"][0], "executions"), (json!(2), json!(2)));

    let lifted = server.limit_customer(&owner, &a, &json!({})).await;
    assert_eq!(told(&lifted, "executions"), (Value::Null, json!(2)));
    begin(&a).await.is(201);
    let past = server.get(&format!("{path}?as_of={version}"), &owner).await.is(200).json();
    assert_eq!(told(&past, "executions"), (json!(2), json!(0)));
    let rows = server.get(&format!("/v1/history/{a}"), &owner).await.is(200).json();
    let set = rows["data"].as_array().unwrap();
    let set: Vec<_> = set.iter().filter(|row| row["action"] == "billing.set_customer_limit").collect();
    assert_eq!(set.len(), 2, "{rows}");
    let fields: Vec<_> =
        set[1]["changes"].as_array().unwrap().iter().map(|one| text(&one["field"])).collect();
    assert_eq!(fields, ["executions", "secrets"]);
    let audit = server.audit(&owner, &format!("&resource={a}&action=billing.*")).await;
    assert_eq!(audit.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_limit_is_refused_and_who_may_not_sets_none() {
    let (server, owner) = TestServer::set_up().await;
    let a = server.customer(&owner, &json!({"name": "A"})).await;
    let path = format!("/v1/customers/{a}/limits");
    for (body, code) in [
        (json!({"people": 1}), "unknown"),
        (json!({"doors": 1}), "unknown"),
        (json!({"secrets": 9_007_199_254_740_992_u64}), "too_large"),
        (json!({"secrets": -1}), "invalid"),
        (json!({"secrets": null}), "wrong_type"),
    ] {
        let problem = server.put(&path, &owner, &body).await.is_problem(422, "invalid_request");
        assert_eq!(problem["errors"][0]["code"], code, "{body}: {problem}");
    }
    let none = "/v1/customers/cus_01kqxk5rd0e5xrpzzv0jjq4zgn/limits";
    server.put(none, &owner, &json!({})).await.is_problem(404, "not_found");
    server.get(none, &owner).await.is_problem(404, "not_found");
    let reader = server.add_with_role(owner.organization, SystemRole::Auditor).await;
    server.get(&path, &reader).await.is(200);
    server.put(&path, &reader, &json!({"secrets": 1})).await.is_problem(403, "forbidden");
    let developer = server.add_with_role(owner.organization, SystemRole::Developer).await;
    server.get(&path, &developer).await.is_problem(403, "forbidden");
    // Of whoever is erased no limit is left.
    server.limit_customer(&owner, &a, &json!({"secrets": 1})).await;
    server.about_customer(&owner, &a, "erase").await.is(200);
    server.get(&path, &owner).await.is_problem(404, "not_found");
    let billing = server.get("/v1/billing", &owner).await.is(200).json();
    assert_eq!(billing["customer_limits"], json!([]));
}
