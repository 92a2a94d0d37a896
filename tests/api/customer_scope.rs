//! What a customer has and nobody else sees: secrets of customers, what programs read for one, and keys that are limited to
//! some.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use settled::settings::roles::role::SystemRole;

use crate::roles::ids;
use crate::server::{Somebody, TestServer, text};
use crate::sse::Reader;

/// Longer than anything here takes.
const SOON: Duration = Duration::from_secs(20);

impl TestServer {
    /// A customer's secret, in an environment.
    async fn secret_of(
        &self,
        who: &Somebody,
        customer: &str,
        environment: &str,
        name: &str,
        value: &str,
    ) -> String {
        let body = json!({"name": name, "value": value, "environment": environment, "customer": customer});
        text(&self.post("/v1/secrets", Some(who), &body).await.is(201).json()["id"])
    }

    /// The secrets that a program reads for a customer.
    async fn seen_for(&self, program: &Somebody, customer: &str) -> Value {
        let path = format!("/v1/ctx?environment=dev&customer={customer}");
        self.get(&path, program).await.is(200).json()["secrets"].clone()
    }
}

/// Acme with an environment, two customers, and secrets of one name in every place.
struct Acme {
    server: TestServer,
    owner: Somebody,
    program: Somebody,
    a: String,
    b: String,
}

async fn acme() -> Acme {
    let (server, owner) = TestServer::set_up().await;
    furnished(server, owner).await
}

async fn furnished(server: TestServer, owner: Somebody) -> Acme {
    server.environment(&owner, "Dev", "test").await;
    let a = server.customer(&owner, &json!({"name": "A"})).await;
    let b = server.customer(&owner, &json!({"name": "B"})).await;
    for (body, value) in [(json!({}), "organization"), (json!({"environment": "dev"}), "environment")] {
        for name in ["TOKEN", "SHARED"] {
            let mut body = body.clone();
            body.as_object_mut()
                .unwrap()
                .extend(json!({"name": name, "value": value}).as_object().unwrap().clone());
            server.post("/v1/secrets", Some(&owner), &body).await.is(201);
        }
    }
    server.secret_of(&owner, &a, "dev", "TOKEN", "of a").await;
    let (_, program) = server.api_key(&owner, &json!({"name": "P", "mode": "test"})).await;
    Acme { server, owner, program, a, b }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customers_secret_goes_before_all_others_and_is_read_for_it_alone() {
    let Acme { server, owner, program, a, b } = acme().await;
    let plain = server.get("/v1/ctx?environment=dev", &program).await.is(200).json();
    assert_eq!(plain["secrets"], json!({"TOKEN": "environment", "SHARED": "environment"}));
    assert_eq!(server.seen_for(&program, &a).await, json!({"TOKEN": "of a", "SHARED": "environment"}));
    assert_eq!(server.seen_for(&program, &b).await, plain["secrets"]);
    let one = async |customer: &str, name: &str| {
        let path = format!("/v1/ctx/secrets/{name}?environment=dev{customer}");
        server.get(&path, &program).await.is(200).json()["value"].clone()
    };
    assert_eq!(one("", "TOKEN").await, "environment");
    assert_eq!(one(&format!("&customer={a}"), "TOKEN").await, "of a");
    assert_eq!(one(&format!("&customer={a}"), "SHARED").await, "environment");
    assert_eq!(one(&format!("&customer={b}"), "TOKEN").await, "environment");

    // The version is another exactly when what is seen is.
    let tag = async |customer: &str| {
        server.get(&format!("/v1/ctx?environment=dev&customer={customer}"), &program).await.is(200).etag()
    };
    let (of_a, of_b) = (tag(&a).await, tag(&b).await);
    let only_b = server.secret_of(&owner, &b, "dev", "ONLY", "of b").await;
    assert_eq!(tag(&a).await, of_a);
    assert_ne!(tag(&b).await, of_b);
    let unmodified = [("if-none-match", &*of_a)];
    let path = format!("/v1/ctx?environment=dev&customer={a}");
    server.send(Method::GET, &path, &program, &unmodified, &Value::Null).await.is(304);
    server.delete(&format!("/v1/secrets/{only_b}"), &owner).await.is(204);
    assert_eq!(tag(&b).await, of_b);

    let listed =
        async |query: &str| ids(&server.get(&format!("/v1/secrets?{query}"), &owner).await.is(200).json());
    assert_eq!(listed("").await.len(), 5);
    assert_eq!(listed("environment=dev").await.len(), 3);
    assert_eq!(listed(&format!("customer={a}")).await.len(), 1);
    assert_eq!(listed(&format!("customer={b}")).await.len(), 0);
    assert_eq!(listed(&format!("customer={b}&status=deleted")).await, [only_b]);
    let unknown = "/v1/secrets?customer=cus_01kqxk5rd0e5xrpzzv0jjq4zgn";
    let problem = server.get(unknown, &owner).await.is_problem(422, "invalid_request");
    assert_eq!(problem["errors"][0]["code"], "unknown");
    // A name is one secret's of the customer.
    let again = json!({"name": "TOKEN", "value": "x", "environment": "dev", "customer": a});
    server.post("/v1/secrets", Some(&owner), &again).await.is_problem(409, "name_taken");
    let nowhere = json!({"name": "TOKEN", "value": "x", "customer": a});
    let problem = server.post("/v1/secrets", Some(&owner), &nowhere).await.is_problem(422, "invalid_request");
    assert_eq!(problem["errors"][0]["pointer"], "/environment");
}

#[tokio::test(flavor = "multi_thread")]
async fn for_which_customer_secrets_were_read_is_recorded_and_no_value_twice() {
    let (server, owner) = TestServer::set_up_manual().await;
    let Acme { server, owner, program, a, b } = furnished(server, owner).await;
    let own = ids(&server.get(&format!("/v1/secrets?customer={a}"), &owner).await.is(200).json());
    let told = async |customer: &str| {
        let rows = server.audit(&owner, &format!("&action=secret.read&resource={customer}")).await;
        let mut told = Vec::new();
        for row in rows.iter().rev() {
            let after = row["version"].as_u64().unwrap() - 1;
            let path = format!("/v1/events?after={after}&limit=1");
            let event = server.get(&path, &owner).await.is(200).json()["data"][0].clone();
            let mut related: Vec<_> = event["related"].as_array().unwrap().iter().map(text).collect();
            related.sort();
            assert!(related.windows(2).all(|two| two[0] != two[1]), "each once: {related:?}");
            told.push(event["data"].clone());
        }
        told
    };
    let values = |event: &Value| event["secrets"].as_array().map_or(0, Vec::len);
    // Many at once: each value is recorded once, before it leaves.
    let ((), (), ()) = tokio::join!(
        async { drop(server.seen_for(&program, &a).await) },
        async { drop(server.seen_for(&program, &a).await) },
        async { drop(server.seen_for(&program, &a).await) },
    );
    let first = told(&a).await;
    assert_eq!(first.len(), 1);
    assert_eq!((values(&first[0]), &first[0]["environments"][0]["customer"]), (2, &json!(a)));
    assert!(first[0]["secrets"].as_array().unwrap().iter().any(|read| read["secret"] == json!(own[0])));
    // For another one only what this key has not read in the hour is new: what `a` has of its own hid it.
    server.seen_for(&program, &b).await;
    let first = told(&b).await;
    assert_eq!((first.len(), values(&first[0])), (1, 1));
    let of_b = server.secret_of(&owner, &b, "dev", "ONLY", "of b").await;
    server.seen_for(&program, &b).await;
    let first = told(&b).await;
    assert_eq!(first[1]["secrets"], json!([{"secret": of_b, "value_version": 1, "count": 1}]));

    // What is read again is counted, for whom as well.
    server.seen_for(&program, &b).await;
    let by_name = format!("/v1/ctx/secrets/TOKEN?environment=dev&customer={a}");
    server.get(&by_name, &program).await.is(200);
    server.app().store.flush_counts(true).await;
    let (of_a, of_b) = (told(&a).await, told(&b).await);
    assert_eq!((of_a.len(), of_b.len(), of_a.last()), (2, 3, of_b.last()));
    assert_eq!(
        of_a[1]["secrets"],
        json!([{"secret": own[0], "customer": a, "value_version": 1, "count": 1}])
    );
    let counted: Vec<_> = of_a[1]["environments"].as_array().unwrap().iter().collect();
    let count = |customer: &str| {
        counted.iter().find(|read| read["customer"] == json!(customer)).map(|read| read["count"].clone())
    };
    assert_eq!((count(&a), count(&b)), (Some(json!(2)), Some(json!(1))));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_customer_has_is_carried_over_to_no_other_environment() {
    let Acme { server, owner, a, .. } = acme().await;
    server.environment(&owner, "Stage", "test").await;
    server.secret_of(&owner, &a, "dev", "OWN", "of a").await;
    let diff = server.get("/v1/environments/dev/diff/stage", &owner).await.is(200).text;
    assert!(!diff.contains("OWN"), "{diff}");
    let promote = json!({"to": "stage", "config": [], "secrets": ["OWN"]});
    server
        .post("/v1/environments/dev/promote", Some(&owner), &promote)
        .await
        .is_problem(422, "invalid_request");
}

#[tokio::test(flavor = "multi_thread")]
async fn for_a_suspended_customer_nothing_is_read_and_open_streams_end() {
    let Acme { server, owner, program, a, b } = acme().await;
    let path = format!("/v1/ctx/watch?environment=dev&customer={a}");
    let mut stream =
        Reader::open(server.base(), &path, &program.token, None).await.expect("the server answers");
    server.about_customer(&owner, &a, "suspend").await.is(200);
    let ended = tokio::time::timeout(SOON, async { while stream.next().await.is_some() {} });
    ended.await.expect("an open stream ends");
    for path in ["/v1/ctx", "/v1/ctx/secrets/TOKEN", "/v1/ctx/watch"] {
        let path = format!("{path}?environment=dev&customer={a}");
        server.get(&path, &program).await.is_problem(403, "customer_suspended");
    }
    let denied = server.audit(&owner, "&outcome=denied&action=ctx.read").await;
    assert_eq!(denied.len(), 3);
    assert_eq!(server.seen_for(&program, &b).await["TOKEN"], "environment");
    server.about_customer(&owner, &a, "reactivate").await.is(200);
    assert_eq!(server.seen_for(&program, &a).await["TOKEN"], "of a");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_customer_has_goes_and_comes_back_with_it_and_is_destroyed_with_it() {
    let Acme { mut server, owner, program, a, .. } = acme().await;
    let live = ids(&server.get(&format!("/v1/secrets?customer={a}"), &owner).await.is(200).json());
    let secret = format!("/v1/secrets/{}", live[0]);
    let then = server.version(owner.organization);
    let path = format!("/v1/ctx?environment=dev&customer={a}");
    server.get(&path, &program).await.is(200);
    server.delete(&format!("/v1/customers/{a}"), &owner).await.is(204);
    server.get(&path, &program).await.is_problem(404, "not_found");
    server.get(&secret, &owner).await.is_problem(404, "not_found");
    let undelete = server.post(&format!("{secret}/undelete"), Some(&owner), &json!({})).await;
    undelete.is_problem(409, "customer_gone");
    let back = server.restored(&owner, then, &json!({"resource": a})).await;
    let actions: Vec<_> =
        back["steps"].as_array().unwrap().iter().map(|step| text(&step["action"])).collect();
    assert_eq!(actions, ["customer.create", "secret.undelete"]);
    assert_eq!(server.seen_for(&program, &a).await["TOKEN"], "of a");
    // One alone does not come back to a customer who is not there.
    server.delete(&format!("/v1/customers/{a}"), &owner).await.is(204);
    let alone = server.restored(&owner, then, &json!({"resource": live[0]})).await;
    assert_eq!(alone["cannot"][0]["why"], "customer_gone");

    server.about_customer(&owner, &a, "erase").await.is(200);
    for _ in 0..2 {
        server.get(&path, &program).await.is_problem(404, "not_found");
        let kept = server.post(&format!("{secret}/undelete"), Some(&owner), &json!({})).await;
        kept.is_problem(404, "not_found");
        let back = server.restored(&owner, then, &json!({"resource": a})).await;
        assert_eq!(back["steps"], json!([]), "{back}");
        let why: Vec<_> = back["cannot"].as_array().unwrap().iter().map(|one| text(&one["why"])).collect();
        assert_eq!(why, ["erased", "destroyed"]);
        server.restart().await;
    }
    let erased = &server.audit(&owner, "&action=customer.erase").await[0];
    let version = &erased["version"];
    let events =
        server.get(&format!("/v1/events?after={}&limit=1", version.as_u64().unwrap() - 1), &owner).await;
    let keys = events.is(200).json()["data"][0]["data"]["destroyed_keys"].clone();
    assert_eq!(keys.as_array().map(Vec::len), Some(2), "its own and its secret's");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_customers_secret_is_for_is_sealed_and_goes_with_the_customer() {
    let Acme { server, owner, a, .. } = acme().await;
    let body = json!({"name": "NOTED", "value": "x", "environment": "dev", "customer": a,
        "description": "for Ada in person"});
    let made = server.post("/v1/secrets", Some(&owner), &body).await.is(201).json();
    assert_eq!(made["description"], "for Ada in person");
    let path = format!("/v1/secrets/{}", text(&made["id"]));
    let then = server.version(owner.organization);
    let noted = async |text: &Value| {
        let changed = server.patch(&path, &owner, &json!({"description": text})).await.is(200).json();
        assert_eq!(changed["description"], *text);
    };
    noted(&json!("for her brother")).await;
    noted(&Value::Null).await;
    server.restored(&owner, then, &json!({"resource": made["id"]})).await;
    assert_eq!(server.get(&path, &owner).await.is(200).json()["description"], "for Ada in person");
    let listed = format!("/v1/secrets?customer={a}&q=NOTED");
    server.delete(&format!("/v1/customers/{a}"), &owner).await.is(204);
    server.restored(&owner, then, &json!({"resource": a})).await;
    let shown = server.get(&listed, &owner).await.is(200).json();
    assert_eq!(shown["data"][0]["description"], "for Ada in person");
    let past = server.get(&format!("/v1/history/{}", text(&made["id"])), &owner).await.is(200);
    let events = server.get("/v1/events?limit=200", &owner).await.is(200);
    assert!(events.text.contains("sealed_description"));
    for told in [&past.text, &events.text] {
        assert!(!told.contains("Ada") && !told.contains("brother"), "{told}");
    }
    server.about_customer(&owner, &a, "erase").await.is(200);
    let then = server.get(&format!("{path}?as_of={then}"), &owner).await.is(200).json();
    assert_eq!((&then["name"], &then["description"]), (&json!("NOTED"), &Value::Null));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_limited_to_customers_names_one_and_sees_no_other() {
    let Acme { server, owner, a, b, .. } = acme().await;
    let of_b = server.secret_of(&owner, &b, "dev", "ONLY", "of b").await;
    let body = json!({"name": "Bound", "mode": "test", "role": "admin", "customers": [a, a]});
    let made = server.post("/v1/api-keys", Some(&owner), &body).await.is(201).json();
    assert_eq!(made["customers"], json!([a]));
    let bound = Somebody { token: text(&made["key"]), ..owner.clone() };
    for path in ["/v1/ctx", "/v1/ctx/secrets/TOKEN", "/v1/ctx/watch"] {
        let path = format!("{path}?environment=dev");
        let problem = server.get(&path, &bound).await.is_problem(422, "invalid_request");
        assert_eq!(problem["errors"][0]["parameter"], "customer");
        server.get(&format!("{path}&customer={a}"), &bound).await.is(200);
        server.get(&format!("{path}&customer={b}"), &bound).await.is_problem(404, "not_found");
    }
    // An Admin's key, and yet it writes nothing, and reads of secrets what it is limited to.
    let listed = ids(&server.get("/v1/secrets", &bound).await.is(200).json());
    assert!(listed.len() == 3 && !listed.contains(&of_b), "{listed:?}");
    // Another's customer and none are told alike.
    let mut told = Vec::new();
    for customer in [&*b, "cus_01kqxk5rd0e5xrpzzv0jjq4zgn"] {
        let query = format!("/v1/secrets?customer={customer}");
        let mut problem = server.get(&query, &bound).await.is_problem(422, "invalid_request");
        problem["request_id"] = Value::Null;
        told.push(problem);
    }
    assert_eq!(told[0], told[1]);
    let within = ids(&server.get("/v1/secrets?environment=dev", &bound).await.is(200).json());
    assert_eq!(within, listed, "those of the environment, which are all that a test key sees");
    assert_eq!(ids(&server.get("/v1/secrets?limit=2", &bound).await.is(200).json()), listed[..2]);
    let of_b = format!("/v1/secrets/{of_b}");
    server.get(&of_b, &bound).await.is_problem(404, "not_found");
    let write = json!({"name": "NEW", "value": "x", "environment": "dev", "customer": a});
    server.post("/v1/secrets", Some(&bound), &write).await.is_problem(403, "forbidden");
    server.post(&format!("{of_b}/reveal"), Some(&bound), &json!({})).await.is_problem(403, "forbidden");

    let live = json!({"name": "Live", "mode": "live", "role": "admin", "customers": [a]});
    let (key, live) = server.api_key(&owner, &live).await;
    assert_eq!(ids(&server.get("/v1/customers", &live).await.is(200).json()), [&*a]);
    assert_eq!(ids(&server.get("/v1/customers?q=b", &live).await.is(200).json()), [""; 0]);
    server.get(&format!("/v1/customers/{a}"), &live).await.is(200);
    server.get(&format!("/v1/customers/{b}"), &live).await.is_problem(404, "not_found");
    for path in ["/v1/audit", "/v1/events", "/v1/diff?from=1", "/v1/people", "/v1/api-keys"] {
        server.get(path, &live).await.is_problem(403, "forbidden");
    }
    server.get(&format!("/v1/customers/{a}?as_of=1"), &live).await.is_problem(403, "forbidden");
    server
        .patch(&format!("/v1/customers/{a}"), &live, &json!({"name": "X"}))
        .await
        .is_problem(403, "forbidden");

    // What it is limited to is another's to change, under the ceiling.
    let path = format!("/v1/api-keys/{key}");
    server.patch(&path, &owner, &json!({"customers": [b]})).await.is(200);
    server.get(&format!("/v1/customers/{a}"), &live).await.is_problem(404, "not_found");
    let free = server.patch(&path, &owner, &json!({"customers": null})).await.is(200).json();
    assert_eq!(free["customers"], Value::Null);
    assert_eq!(ids(&server.get("/v1/customers", &live).await.is(200).json()).len(), 2);
    let reader = server.add_with_role(owner.organization, SystemRole::Auditor).await;
    server.patch(&path, &reader, &json!({"customers": [a]})).await.is_problem(403, "forbidden");
    let unknown = json!({"customers": [a, "cus_01kqxk5rd0e5xrpzzv0jjq4zgn"]});
    let problem = server.patch(&path, &owner, &unknown).await.is_problem(422, "invalid_request");
    assert_eq!(problem["errors"][0]["pointer"], "/customers/1");
    // All of them gone: none.
    server.patch(&path, &owner, &json!({"customers": [a]})).await.is(200);
    server.about_customer(&owner, &a, "erase").await.is(200);
    assert_eq!(ids(&server.get("/v1/customers", &live).await.is(200).json()), [""; 0]);
    server.get(&format!("/v1/ctx?environment=dev&customer={a}"), &bound).await.is_problem(404, "not_found");
}
