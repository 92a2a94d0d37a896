//! `/v1/customers`: whom the organization works for, what is known of them, and how they are found.

use reqwest::Method;
use serde_json::{Value, json};

use crate::roles::ids;
use crate::server::{Answer, Somebody, TestServer, text};

impl TestServer {
    /// A customer's id.
    pub async fn customer(&self, who: &Somebody, body: &Value) -> String {
        text(&self.post("/v1/customers", Some(who), body).await.is(201).json()["id"])
    }

    pub async fn about_customer(&self, who: &Somebody, customer: &str, what: &str) -> Answer {
        self.post(&format!("/v1/customers/{customer}/{what}"), Some(who), &json!({})).await
    }

    /// Brings something back as it was told before; what it came to.
    pub async fn restored(&self, who: &Somebody, as_of: u64, scope: &Value) -> Value {
        let of = |dry_run: bool| json!({"as_of": as_of, "scope": scope, "dry_run": dry_run});
        let planned = self.post("/v1/restore", Some(who), &of(true)).await.is(200);
        let seen = [("if-match", &*planned.etag())];
        let done = self.send(Method::POST, "/v1/restore", who, &seen, &of(false)).await.is(200).json();
        assert_eq!(done["steps"], planned.json()["steps"], "as the dry run said");
        done
    }

    pub async fn found_customers(&self, who: &Somebody, query: &str) -> Vec<String> {
        ids(&self.get(&format!("/v1/customers?{query}"), who).await.is(200).json())
    }
}

/// A customer with all that one can have.
fn whole(name: &str, external_id: &str) -> Value {
    json!({"name": name, "external_id": external_id, "tags": {"plan": "pro", "region": "eu"},
        "metadata": {"seats": 5, "contact": {"by": "mail"}}})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_is_made_shown_changed_and_cleared() {
    let (server, owner) = TestServer::set_up().await;
    let made = server.post("/v1/customers", Some(&owner), &whole("Ärzte AG", "K-17")).await.is(201);
    let body = made.json();
    let path = format!("/v1/customers/{}", text(&body["id"]));
    assert_eq!(made.header("location").as_deref(), Some(&*path));
    assert_eq!(
        (&body["name"], &body["external_id"], &body["status"]),
        (&json!("Ärzte AG"), &json!("K-17"), &json!("active"))
    );
    assert_eq!(body["tags"], json!({"plan": "pro", "region": "eu"}));
    assert_eq!(body["metadata"], json!({"contact": {"by": "mail"}, "seats": 5}));
    let shown = server.get(&path, &owner).await.is(200);
    assert_eq!((shown.json(), shown.etag()), (body, made.etag()));

    // RFC 7396, through and through.
    let patch = json!({"name": "Doktoren AG", "tags": {"plan": null, "size": "s"},
        "metadata": {"contact": {"by": null, "at": "noon"}, "seats": 6}});
    let changed = server.patch(&path, &owner, &patch).await.is(200).json();
    assert_eq!((&changed["name"], &changed["external_id"]), (&json!("Doktoren AG"), &json!("K-17")));
    assert_eq!(changed["tags"], json!({"region": "eu", "size": "s"}));
    assert_eq!(changed["metadata"], json!({"contact": {"at": "noon"}, "seats": 6}));
    let version = server.version(owner.organization);
    assert_eq!(server.patch(&path, &owner, &json!({})).await.is(200).json(), changed);
    assert_eq!(server.version(owner.organization), version, "nothing changed");

    let nothing = json!({"external_id": null, "tags": null, "metadata": null});
    let cleared = server.patch(&path, &owner, &nothing).await.is(200).json();
    assert_eq!(
        (&cleared["external_id"], &cleared["tags"], &cleared["metadata"]),
        (&Value::Null, &json!({}), &json!({}))
    );
    let version = server.version(owner.organization);
    server.patch(&path, &owner, &nothing).await.is(200);
    assert_eq!(server.version(owner.organization), version, "what is not there is not cleared");
    let stale = [("if-match", &*made.etag())];
    server
        .send(Method::PATCH, &path, &owner, &stale, &json!({"name": "X"}))
        .await
        .is_problem(412, "precondition_failed");
    let plain = server.post("/v1/customers", Some(&owner), &json!({"name": "Plain"})).await.is(201).json();
    assert_eq!(
        (&plain["external_id"], &plain["tags"], &plain["metadata"]),
        (&Value::Null, &json!({}), &json!({}))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_kept_is_refused_and_named() {
    let (server, owner) = TestServer::set_up().await;
    let id = server.customer(&owner, &whole("Acme", "K")).await;
    let path = format!("/v1/customers/{id}");
    let version = server.version(owner.organization);
    let many: serde_json::Map<_, _> = (0..51).map(|number| (format!("t{number}"), json!("x"))).collect();
    let long = "x".repeat(5_000);
    for (body, pointer, code) in [
        (json!({"external_id": "x".repeat(256)}), "/external_id", "too_long"),
        (json!({"external_id": " K"}), "/external_id", "invalid"),
        (json!({"external_id": ""}), "/external_id", "too_short"),
        (json!({"tags": {"a b": "x"}}), "/tags", "invalid"),
        (json!({"tags": {"a": ""}}), "/tags/a", "too_short"),
        (json!({"tags": {"a": 1}}), "/tags/a", "wrong_type"),
        (json!({"tags": many}), "/tags", "too_many"),
        (json!({"tags": []}), "/tags", "wrong_type"),
        (json!({"metadata": {"a": long}}), "/metadata", "too_long"),
        (json!({"metadata": {"a": 9_007_199_254_740_993_u64}}), "/metadata", "lossy_number"),
        (json!({"metadata": [1]}), "/metadata", "wrong_type"),
        (json!({"name": "x".repeat(101)}), "/name", "too_long"),
    ] {
        let mut new = body.clone();
        new.as_object_mut().unwrap().entry("name").or_insert_with(|| json!("New"));
        for answer in
            [server.post("/v1/customers", Some(&owner), &new).await, server.patch(&path, &owner, &body).await]
        {
            let error = answer.is_problem(422, "invalid_request")["errors"][0].clone();
            assert_eq!((&error["pointer"], &error["code"]), (&json!(pointer), &json!(code)), "{error}");
        }
    }
    // What was there and what comes add up.
    let halves: serde_json::Map<_, _> =
        (0..20).map(|number| (format!("m{number}"), json!("x".repeat(150)))).collect();
    server.patch(&path, &owner, &json!({"metadata": halves})).await.is(200);
    let more: serde_json::Map<_, _> =
        (20..30).map(|number| (format!("m{number}"), json!("x".repeat(150)))).collect();
    let error =
        server.patch(&path, &owner, &json!({"metadata": more})).await.is_problem(422, "invalid_request");
    assert_eq!(error["errors"][0]["code"], "too_long");
    assert_eq!(server.version(owner.organization), version + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn customers_are_found_by_name_external_id_tags_and_status() {
    let (mut server, owner) = TestServer::set_up().await;
    let a = server.customer(&owner, &whole("Ärzte AG", "K-17")).await;
    let b = server.customer(&owner, &json!({"name": "Bäcker", "tags": {"plan": "Pro plus"}})).await;
    let c = server.customer(&owner, &json!({"name": "Carl", "external_id": "ärzte"})).await;
    let (a, b, c) = (a.as_str(), b.as_str(), c.as_str());
    let all = server.found_customers(&owner, "").await;
    assert_eq!(all, [a, b, c]);
    let first = server.get("/v1/customers?limit=2", &owner).await.is(200).json();
    let cursor = text(&first["next_cursor"]);
    assert_eq!(
        [ids(&first), server.found_customers(&owner, &format!("cursor={cursor}")).await].concat(),
        all
    );
    let then = server.version(owner.organization);
    // By what was opened now, and by what is opened after a start.
    for _ in 0..2 {
        for (query, found) in [
            ("q=%C3%84RZTE", vec![a, c]),
            ("q=k-1", vec![a]),
            ("q=pro", vec![]),
            ("tag.plan=pro", vec![a]),
            ("tag.plan=Pro+plus", vec![b]),
            ("tag.plan=Pro", vec![]),
            ("tag.plan=pro&tag.region=eu&q=a", vec![a]),
            ("tag.plan=pro&tag.region=us", vec![]),
            ("external_id=K-17", vec![a]),
            ("external_id=k-17", vec![]),
            ("external_id=%C3%A4rzte&q=carl", vec![c]),
            ("external_id=%C3%A4rzte&q=bert", vec![]),
            ("external_id=K-17&tag.plan=pro", vec![a]),
            ("status=suspended", vec![]),
            ("status=active&q=b%C3%A4ck", vec![b]),
        ] {
            assert_eq!(server.found_customers(&owner, query).await, found, "{query}");
        }
        server.restart().await;
    }
    // What changes is found as it is from then on.
    server
        .patch(&format!("/v1/customers/{a}"), &owner, &json!({"name": "Zahn", "tags": {"plan": "no"}}))
        .await
        .is(200);
    server.about_customer(&owner, b, "suspend").await.is(200);
    server.delete(&format!("/v1/customers/{c}"), &owner).await.is(204);
    let d = server.customer(&owner, &json!({"name": "Dora"})).await;
    let d = d.as_str();
    for (query, found) in [
        ("q=%C3%A4rzte", vec![]),
        ("q=zahn", vec![a]),
        ("tag.plan=pro", vec![]),
        ("q=dora", vec![d]),
        ("external_id=%C3%A4rzte", vec![]),
        ("status=suspended", vec![b]),
        ("status=suspended&q=b", vec![b]),
        ("status=active", vec![a, d]),
    ] {
        assert_eq!(server.found_customers(&owner, query).await, found, "{query}");
    }
    assert_eq!(server.found_customers(&owner, &format!("as_of={then}")).await, all);
    assert_eq!(server.found_customers(&owner, &format!("as_of={then}&status=suspended")).await, [""; 0]);
    for query in [
        "q=",
        "external_id=",
        "status=erased",
        "tag.=x",
        "tag.a b=x",
        "tag.a=x&tag.a=y",
        "tag=x",
        "what=x",
        "q=a&as_of=1",
        "external_id=a&as_of=1",
        "tag.a=x&as_of=1",
    ] {
        server.get(&format!("/v1/customers?{query}"), &owner).await.is_problem(422, "invalid_request");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_two_customers_have_one_external_id() {
    let (mut server, owner) = TestServer::set_up().await;
    let id = |id: &str| json!({"name": "N", "external_id": id});
    let a = server.customer(&owner, &id("K-1")).await;
    let b = server.customer(&owner, &id("K-2")).await;
    let (at_a, at_b) = (format!("/v1/customers/{a}"), format!("/v1/customers/{b}"));
    let taken = async |server: &TestServer, id: &str| {
        let answer =
            server.post("/v1/customers", Some(&owner), &json!({"name": "N", "external_id": id})).await;
        answer.is_problem(409, "external_id_taken");
    };
    taken(&server, "K-1").await;
    server.patch(&at_b, &owner, &json!({"external_id": "K-1"})).await.is_problem(409, "external_id_taken");
    // Its own it keeps; another's is its own once that one has another.
    server.patch(&at_a, &owner, &json!({"external_id": "K-1"})).await.is(200);
    server.patch(&at_a, &owner, &json!({"external_id": "K-3"})).await.is(200);
    server.patch(&at_b, &owner, &json!({"external_id": "K-1"})).await.is(200);
    server.restart().await;
    for id in ["K-1", "K-3"] {
        taken(&server, id).await;
    }
    let c = server.customer(&owner, &id("K-2")).await;
    server.patch(&at_a, &owner, &json!({"external_id": null})).await.is(200);
    server.customer(&owner, &id("K-3")).await;
    // Who goes gives it up, also before anybody made the look-up.
    server.restart().await;
    server.delete(&at_b, &owner).await.is(204);
    server.customer(&owner, &id("K-1")).await;
    server.about_customer(&owner, &c, "erase").await.is(200);
    server.customer(&owner, &id("K-2")).await;
    taken(&server, "K-2").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_who_claim_one_external_id_at_once_one_has_it() {
    let (server, owner) = TestServer::set_up().await;
    for round in 0..4 {
        let id = format!("K-{round}");
        let body = json!({"name": "N", "external_id": id});
        let claims = (0..16).map(|_| server.post("/v1/customers", Some(&owner), &body));
        let answers = futures_util::future::join_all(claims).await;
        let made = answers.iter().filter(|answer| answer.status == 201).count();
        assert_eq!(made, 1, "round {round}");
        for answer in answers.into_iter().filter(|answer| answer.status != 201) {
            answer.is_problem(409, "external_id_taken");
        }
        assert_eq!(server.found_customers(&owner, &format!("external_id={id}")).await.len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn patches_at_once_are_all_merged() {
    let (server, owner) = TestServer::set_up().await;
    let id = server.customer(&owner, &json!({"name": "N"})).await;
    let path = format!("/v1/customers/{id}");
    let bodies: Vec<Value> = (0..4).map(|number| json!({"tags": {format!("t{number}"): "x"}})).collect();
    let patches = bodies.iter().map(|body| server.patch(&path, &owner, body));
    for answer in futures_util::future::join_all(patches).await {
        answer.is(200);
    }
    let tags = server.get(&path, &owner).await.is(200).json()["tags"].clone();
    assert_eq!(tags, json!({"t0": "x", "t1": "x", "t2": "x", "t3": "x"}));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_deleted_comes_back_by_a_restore_and_who_was_erased_does_not() {
    let (server, owner) = TestServer::set_up().await;
    let id = server.customer(&owner, &whole("Ärzte AG", "K-17")).await;
    let other = server.customer(&owner, &whole("Bäcker", "K-18")).await;
    let path = format!("/v1/customers/{id}");
    server.about_customer(&owner, &id, "suspend").await.is(200);
    let before = server.get(&path, &owner).await.is(200).json();
    let then = server.version(owner.organization);
    server.delete(&path, &owner).await.is(204);
    server.get(&path, &owner).await.is_problem(404, "not_found");
    let scope = json!({"resource": id});
    let dry = server.restored(&owner, then, &scope).await;
    assert_eq!(dry["steps"].as_array().unwrap().len(), 1, "{dry}");
    let back = server.get(&path, &owner).await.is(200).json();
    for field in ["name", "external_id", "tags", "metadata", "status", "created_at"] {
        assert_eq!(back[field], before[field], "{field}");
    }
    let answer = server.post("/v1/customers", Some(&owner), &whole("X", "K-17")).await;
    answer.is_problem(409, "external_id_taken");

    // Field by field, and what is another's by now stays away.
    let change = json!({"name": "Neu", "external_id": "K-20", "tags": null});
    server.patch(&path, &owner, &change).await.is(200);
    server.about_customer(&owner, &id, "reactivate").await.is(200);
    server.patch(&format!("/v1/customers/{other}"), &owner, &json!({"external_id": "K-17"})).await.is(200);
    let partly = server.restored(&owner, then, &scope).await;
    assert_eq!(partly["cannot"][0]["why"], "external_id_taken", "{partly}");
    let back = server.get(&path, &owner).await.is(200).json();
    assert_eq!((&back["name"], &back["external_id"]), (&before["name"], &json!("K-20")));
    assert_eq!((&back["tags"], &back["status"]), (&before["tags"], &json!("suspended")));
    // Whoever does not get theirs back keeps the one that they have.
    let answer = server.post("/v1/customers", Some(&owner), &whole("X", "K-20")).await;
    answer.is_problem(409, "external_id_taken");
    // Where all comes back, two may swap theirs, and whoever came since stays.
    server.patch(&path, &owner, &json!({"external_id": "K-18"})).await.is(200);
    let since = server.customer(&owner, &whole("C", "K-30")).await;
    server.put(&format!("/v1/customers/{since}/data/note"), &owner, &json!({"value": 1})).await.is(201);
    let all = server.restored(&owner, then, &json!({"organization": true})).await;
    assert_eq!(all["cannot"], json!([]), "{all}");
    let found = server.get("/v1/customers", &owner).await.is(200).json();
    let external: Vec<_> =
        found["data"].as_array().unwrap().iter().map(|row| row["external_id"].clone()).collect();
    assert_eq!(external, [json!("K-17"), json!("K-18"), json!("K-30")]);
    server.get(&format!("/v1/customers/{since}/data/note"), &owner).await.is(200);
    // Alone it goes, where it is asked for.
    server.restored(&owner, then, &json!({"resource": since})).await;
    server.get(&format!("/v1/customers/{since}"), &owner).await.is_problem(404, "not_found");

    server.about_customer(&owner, &id, "erase").await.is(200);
    let erased = server.restored(&owner, then, &scope).await;
    assert_eq!((&erased["steps"], &erased["cannot"][0]["why"]), (&json!([]), &json!("erased")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_request_makes_one_customer_and_shows_it_as_it_was() {
    let (server, owner) = TestServer::set_up().await;
    let key = [("idempotency-key", "once")];
    let body = whole("Acme", "K-1");
    let first = server.send(Method::POST, "/v1/customers", &owner, &key, &body).await.is(201);
    let id = text(&first.json()["id"]);
    server.patch(&format!("/v1/customers/{id}"), &owner, &json!({"name": "Other"})).await.is(200);
    let again = server.send(Method::POST, "/v1/customers", &owner, &key, &body).await.is(201);
    assert_eq!(again.header("idempotency-replayed").as_deref(), Some("true"));
    assert_eq!(again.json(), first.json());
    server.about_customer(&owner, &id, "erase").await.is(200);
    let forgotten = server.send(Method::POST, "/v1/customers", &owner, &key, &body).await.is(201).json();
    assert_eq!((&forgotten["name"], &forgotten["metadata"]), (&json!("erased customer"), &json!({})));
}
