//! `/v1/customers/{cus}/executions`: what workflows did for customers, from beginning to end, and lists of it.

use reqwest::Method;
use serde_json::{Value, json};
use settled::ids::CustomerId;
use settled::log::{Append, Key};
use settled::settings::roles::role::SystemRole;

use crate::roles::ids;
use crate::server::{Answer, Somebody, TestServer, text};

impl TestServer {
    /// An execution's id, in the environment `dev`.
    pub async fn execution(&self, who: &Somebody, customer: &str, workflow: &str) -> String {
        let body = json!({"workflow": workflow, "environment": "dev", "trigger": "a timer"});
        let path = format!("/v1/customers/{customer}/executions");
        text(&self.post(&path, Some(who), &body).await.is(201).json()["id"])
    }

    async fn finish(&self, who: &Somebody, customer: &str, execution: &str, body: &Value) -> Answer {
        self.post(&format!("/v1/customers/{customer}/executions/{execution}/finish"), Some(who), body).await
    }

    /// All pages of a list.
    async fn all_executions(&self, who: &Somebody, customer: &str, query: &str) -> Vec<String> {
        let path = format!("/v1/customers/{customer}/executions");
        let (mut url, mut all) = (format!("{path}?{query}"), Vec::new());
        loop {
            let page = self.get(&url, who).await.is(200).json();
            all.extend(ids(&page));
            let Some(cursor) = page["next_cursor"].as_str() else { return all };
            url = format!("{path}?limit=3&cursor={cursor}");
        }
    }
}

async fn acme() -> (TestServer, Somebody, String, String) {
    let (server, owner) = TestServer::set_up().await;
    server.environment(&owner, "Dev", "test").await;
    server.environment(&owner, "Prod", "live").await;
    let a = server.customer(&owner, &json!({"name": "A"})).await;
    let b = server.customer(&owner, &json!({"name": "B"})).await;
    (server, owner, a, b)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_execution_begins_and_ends_once_with_all_that_is_said_of_it() {
    let (mut server, owner, a, b) = acme().await;
    let path = format!("/v1/customers/{a}/executions");
    let body = json!({"workflow": "crm/sync", "environment": "dev", "trigger": "a web hook"});
    let begun = server.post(&path, Some(&owner), &body).await.is(201);
    let running = begun.json();
    let id = text(&running["id"]);
    let own = format!("{path}/{id}");
    assert_eq!(begun.header("location").as_deref(), Some(&*own));
    assert_eq!(
        (&running["status"], &running["workflow"], &running["trigger"], &running["finished_at"]),
        (&json!("running"), &json!("crm/sync"), &json!("a web hook"), &Value::Null)
    );
    assert_eq!(server.get(&own, &owner).await.is(200).json(), running);
    let end = json!({"status": "failed", "error": "no\nway", "duration_ms": 17, "usage": {"tokens": 5}});
    let ended = server.finish(&owner, &a, &id, &end).await.is(200).json();
    assert_eq!(
        (&ended["status"], &ended["error"], &ended["duration_ms"], &ended["usage"]),
        (&json!("failed"), &json!("no\nway"), &json!(17), &json!({"tokens": 5}))
    );
    assert_eq!((&ended["id"], &ended["trigger"]), (&running["id"], &running["trigger"]));
    let version = server.version(owner.organization);
    server
        .finish(&owner, &a, &id, &json!({"status": "succeeded"}))
        .await
        .is_problem(409, "execution_finished");
    server.finish(&owner, &b, &id, &end).await.is_problem(404, "not_found");
    let unknown = "exe_01kqxk5rd0e5xrpzzv0jjq4zgn";
    server.finish(&owner, &a, unknown, &end).await.is_problem(404, "not_found");
    server.get(&format!("/v1/customers/{b}/executions/{id}"), &owner).await.is_problem(404, "not_found");
    assert_eq!(server.version(owner.organization), version);
    for _ in 0..2 {
        assert_eq!(server.get(&own, &owner).await.is(200).json(), ended);
        server.restart().await;
    }
    let plain = server.execution(&owner, &a, "sync").await;
    let plain = server.finish(&owner, &a, &plain, &json!({"status": "cancelled"})).await.is(200).json();
    assert!(plain["duration_ms"].is_u64() && plain["error"].is_null() && plain["usage"].is_null(), "{plain}");
    let rows = server.audit(&owner, &format!("&resource={id}")).await;
    let actions: Vec<_> = rows.iter().map(|row| text(&row["action"])).collect();
    assert_eq!(actions, ["execution.finish", "execution.start"]);
    assert_eq!(rows[0]["resource"], json!({"type": "execution", "id": id, "name": "crm/sync"}));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_begin_or_end_is_refused_and_named() {
    let (server, owner, a, _) = acme().await;
    let path = format!("/v1/customers/{a}/executions");
    let id = server.execution(&owner, &a, "sync").await;
    let version = server.version(owner.organization);
    let with = |more: Value| {
        let mut body = json!({"workflow": "sync", "environment": "dev"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    for (body, pointer, code) in [
        (with(json!({"workflow": "a b"})), "/workflow", "invalid"),
        (with(json!({"environment": "nowhere"})), "/environment", "unknown"),
        (with(json!({"trigger": "x".repeat(256)})), "/trigger", "too_long"),
        (with(json!({"trigger": "a\nb"})), "/trigger", "invalid"),
        (json!({"environment": "dev"}), "/workflow", "missing"),
    ] {
        let error = server.post(&path, Some(&owner), &body).await.is_problem(422, "invalid_request");
        let error = &error["errors"][0];
        assert_eq!((&error["pointer"], &error["code"]), (&json!(pointer), &json!(code)), "{error}");
    }
    let many: serde_json::Map<_, _> = (0..21).map(|number| (format!("f{number}"), json!(1))).collect();
    for (body, pointer) in [
        (json!({"status": "done"}), "/status"),
        (json!({"status": "failed", "error": "x".repeat(4_001)}), "/error"),
        (json!({"status": "failed", "duration_ms": 9_007_199_254_740_992_u64}), "/duration_ms"),
        (json!({"status": "failed", "duration_ms": -1}), "/duration_ms"),
        (json!({"status": "failed", "usage": many}), "/usage"),
        (json!({"status": "failed", "usage": {"a b": 1}}), "/usage"),
    ] {
        let error = server.finish(&owner, &a, &id, &body).await.is_problem(422, "invalid_request");
        assert_eq!(error["errors"][0]["pointer"], pointer, "{error}");
    }
    assert_eq!(server.version(owner.organization), version);
    server.about_customer(&owner, &a, "suspend").await.is(200);
    server.post(&path, Some(&owner), &with(json!({}))).await.is_problem(403, "customer_suspended");
    assert_eq!(server.audit(&owner, "&outcome=denied").await[0]["action"], "execution.start");
    server.finish(&owner, &a, &id, &json!({"status": "succeeded"})).await.is(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_go_on_in_history_by_status_workflow_and_time() {
    let (mut server, owner, a, b) = acme().await;
    let mut all = Vec::new();
    for number in 0..10 {
        let workflow = if number % 2 == 0 { "even" } else { "odd" };
        let id = server.execution(&owner, &a, workflow).await;
        let status = ["succeeded", "failed", "cancelled"].get(number % 4);
        if let Some(status) = status {
            server.finish(&owner, &a, &id, &json!({"status": status})).await.is(200);
        }
        all.push(id);
    }
    server.execution(&owner, &b, "even").await;
    let of = |numbers: &[usize]| numbers.iter().map(|number| all[*number].clone()).collect::<Vec<_>>();
    for _ in 0..2 {
        for (query, expected) in [
            ("limit=3", (0..10).collect::<Vec<_>>()),
            ("", (0..10).collect()),
            ("limit=3&status=running", vec![3, 7]),
            ("limit=3&status=succeeded", vec![0, 4, 8]),
            ("limit=3&status=failed", vec![1, 5, 9]),
            ("limit=3&status=cancelled&workflow=even", vec![2, 6]),
            ("limit=3&workflow=odd", vec![1, 3, 5, 7, 9]),
            ("status=running&workflow=even", vec![]),
            ("status=abandoned", vec![]),
            ("from=2020-01-01&limit=3", (0..10).collect()),
            ("to=2020-01-01", vec![]),
            ("status=running&to=2020-01-01", vec![]),
        ] {
            assert_eq!(server.all_executions(&owner, &a, query).await, of(&expected), "{query}");
        }
        server.restart().await;
    }
    let third = server.get(&format!("/v1/customers/{a}/executions/{}", all[3]), &owner).await.is(200).json();
    let since = format!("from={}", text(&third["started_at"]));
    assert_eq!(server.all_executions(&owner, &a, &since).await, all[3..]);
    let until = format!("to={}", text(&third["started_at"]));
    assert_eq!(server.all_executions(&owner, &a, &until).await, all[..3]);
    for query in ["status=done", "workflow=", "from=yesterday", "to=x", "as_of=1", "limit=0", "what=x"] {
        let path = format!("/v1/customers/{a}/executions?{query}");
        server.get(&path, &owner).await.is_problem(422, "invalid_request");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ended_is_listed_in_the_order_in_which_it_ended() {
    let (server, owner, a, b) = acme().await;
    let mut all = Vec::new();
    for _ in 0..6 {
        all.push(server.execution(&owner, &a, "sync").await);
    }
    for (number, status) in [(4, "failed"), (0, "failed"), (5, "succeeded"), (3, "failed"), (1, "cancelled")]
    {
        server.finish(&owner, &a, &all[number], &json!({"status": status})).await.is(200);
    }
    let other = server.execution(&owner, &b, "sync").await;
    server.finish(&owner, &b, &other, &json!({"status": "failed"})).await.is(200);
    for (query, expected) in [
        ("status=failed&limit=1", &[4, 0, 3][..]),
        ("status=failed", &[4, 0, 3]),
        ("status=succeeded", &[5]),
        ("status=cancelled&workflow=sync", &[1]),
        ("status=cancelled&workflow=other", &[]),
        ("status=running", &[2]),
        ("limit=4", &[0, 1, 2, 3, 4, 5]),
    ] {
        let expected: Vec<_> = expected.iter().map(|number| all[*number].clone()).collect();
        assert_eq!(server.all_executions(&owner, &a, query).await, expected, "{query}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_whose_key_is_lost_is_no_empty_one() {
    let (mut server, owner, a, _) = acme().await;
    let of_a = server.execution(&owner, &a, "sync").await;
    let path = format!("/v1/customers/{a}/executions");
    {
        let handle = server.handle(owner.organization);
        let customer: CustomerId = a.parse().unwrap();
        let key = handle.view().organization().customers.get(customer).unwrap().key;
        let remove = vec![Key::DataKey(handle.stream(), key)];
        let lost = Append { stream: handle.stream(), expected: None, frame: None, put: Vec::new(), remove };
        server.app().store.log().append(vec![lost]).unwrap();
    }
    server.restart().await;
    server.get(&path, &owner).await.is(500);
    server.get(&format!("{path}?status=running"), &owner).await.is(500);
    server.get(&format!("{path}/{of_a}"), &owner).await.is(500);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_for_whom_or_where_something_goes_is_abandoned() {
    let (server, owner, a, b) = acme().await;
    let then = server.version(owner.organization);
    let of_a = server.execution(&owner, &a, "sync").await;
    let of_b = server.execution(&owner, &b, "sync").await;
    let status = async |customer: &str, id: &str| {
        let path = format!("/v1/customers/{customer}/executions/{id}");
        text(&server.get(&path, &owner).await.is(200).json()["status"])
    };
    server.delete(&format!("/v1/customers/{a}"), &owner).await.is(204);
    let gone = format!("/v1/customers/{a}/executions");
    server.get(&gone, &owner).await.is_problem(404, "not_found");
    server.get(&format!("{gone}/{of_a}"), &owner).await.is_problem(404, "not_found");
    server.restored(&owner, then, &json!({"resource": a})).await;
    assert_eq!(status(&a, &of_a).await, "abandoned");
    assert_eq!(server.all_executions(&owner, &a, "status=abandoned").await, std::slice::from_ref(&of_a));
    let end = json!({"status": "succeeded"});
    server.finish(&owner, &a, &of_a, &end).await.is_problem(409, "execution_finished");
    assert_eq!(status(&b, &of_b).await, "running");
    server.delete("/v1/environments/dev", &owner).await.is(204);
    assert_eq!(status(&b, &of_b).await, "abandoned");
    server.finish(&owner, &b, &of_b, &end).await.is_problem(409, "execution_finished");
    server.about_customer(&owner, &b, "erase").await.is(200);
    server.get(&format!("/v1/customers/{b}/executions"), &owner).await.is_problem(404, "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_where_sees_and_ends_what_is_there_alone() {
    let (server, owner, a, b) = acme().await;
    let in_dev = server.execution(&owner, &a, "sync").await;
    let path = format!("/v1/customers/{a}/executions");
    let body = json!({"workflow": "sync", "environment": "prod"});
    let in_prod = text(&server.post(&path, Some(&owner), &body).await.is(201).json()["id"]);
    let (_, test) = server.api_key(&owner, &json!({"name": "T", "mode": "test"})).await;
    let (_, live) = server.api_key(&owner, &json!({"name": "L", "mode": "live", "customers": [a]})).await;
    assert_eq!(server.all_executions(&test, &a, "").await, std::slice::from_ref(&in_dev));
    assert_eq!(server.all_executions(&live, &a, "").await, std::slice::from_ref(&in_prod));
    server.get(&format!("{path}/{in_prod}"), &test).await.is_problem(404, "not_found");
    server.finish(&test, &a, &in_prod, &json!({"status": "succeeded"})).await.is_problem(404, "not_found");
    server.post(&path, Some(&test), &body).await.is_problem(403, "wrong_mode");
    let mine = server.execution(&test, &b, "sync").await;
    server.finish(&test, &b, &mine, &json!({"status": "succeeded"})).await.is(200);
    // Limited to a: of b nothing is there.
    server.get(&format!("/v1/customers/{b}/executions"), &live).await.is_problem(404, "not_found");
    let of_b = format!("/v1/customers/{b}/executions");
    server.post(&of_b, Some(&live), &body).await.is_problem(404, "not_found");
    server.finish(&live, &a, &in_prod, &json!({"status": "succeeded"})).await.is(200);
    let viewer = server.add_with_role(owner.organization, SystemRole::Viewer).await;
    assert_eq!(server.all_executions(&viewer, &a, "").await.len(), 2);
    server.finish(&viewer, &a, &in_dev, &json!({"status": "succeeded"})).await.is_problem(403, "forbidden");
    let billing = server.add_with_role(owner.organization, SystemRole::Billing).await;
    server.get(&path, &billing).await.is_problem(403, "forbidden");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_beginning_begins_one_and_a_repeated_end_ends_it_once() {
    let (server, owner, a, _) = acme().await;
    let path = format!("/v1/customers/{a}/executions");
    let key = [("idempotency-key", "begin")];
    let body = json!({"workflow": "sync", "environment": "dev"});
    let begun = server.send(Method::POST, &path, &owner, &key, &body).await.is(201).json();
    let end = format!("{path}/{}/finish", text(&begun["id"]));
    let key_of_end = [("idempotency-key", "end")];
    let finish = json!({"status": "succeeded"});
    let ended = server.send(Method::POST, &end, &owner, &key_of_end, &finish).await.is(200).json();
    let again = server.send(Method::POST, &path, &owner, &key, &body).await.is(201);
    assert_eq!(again.json(), begun, "as it was then");
    assert_eq!(server.send(Method::POST, &end, &owner, &key_of_end, &finish).await.is(200).json(), ended);
    assert_eq!(server.all_executions(&owner, &a, "").await.len(), 1);
}
