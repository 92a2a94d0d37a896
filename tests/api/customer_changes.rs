//! `/v1/customers`: changes that meet others, that nobody may make, and what they leave of external ids.

use serde_json::{Value, json};

use crate::server::{Somebody, TestServer};

/// A customer with a name and an external id.
fn known(name: &str, external_id: &str) -> Value {
    json!({"name": name, "external_id": external_id})
}

/// Somebody who holds nothing but these permissions.
async fn holding(server: &TestServer, owner: &Somebody, permissions: &[&str]) -> Somebody {
    let name = format!("holder of {}", permissions.len());
    let role = server.role(owner, &name, permissions).await;
    let email = format!("{}@example.com", permissions.len());
    let somebody = server.add(owner.organization, &email, &name).await;
    server.give(owner, &somebody.person.to_string(), &role).await.is(201);
    somebody
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_at_the_same_time_are_all_made() {
    let (server, owner) = TestServer::set_up().await;
    let id = server.customer(&owner, &json!({"name": "Acme"})).await;
    let path = format!("/v1/customers/{id}");
    let tag = async |number: usize| {
        let patch = json!({"tags": {format!("t{number}"): "set"}});
        server.patch(&path, &owner, &patch).await.is(200);
    };
    futures_util::future::join_all((0..16).map(tag)).await;
    let tags = server.get(&path, &owner).await.is(200).json()["tags"].clone();
    assert_eq!(tags.as_object().map(serde_json::Map::len), Some(16), "{tags}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_see_a_customer_changes_none_and_is_told_of_none() {
    let (server, owner) = TestServer::set_up().await;
    let id = server.customer(&owner, &known("Acme", "K-1")).await;
    let manager = holding(&server, &owner, &["customer:manage"]).await;
    let path = format!("/v1/customers/{id}");
    let version = server.version(owner.organization);
    server.patch(&path, &manager, &json!({})).await.is_problem(404, "not_found");
    server.delete(&path, &manager).await.is_problem(404, "not_found");
    for what in ["suspend", "reactivate", "erase"] {
        server.about_customer(&manager, &id, what).await.is_problem(404, "not_found");
    }
    assert_eq!(server.version(owner.organization), version);
    let seer = holding(&server, &owner, &["customer:manage", "customer:read"]).await;
    server.patch(&path, &seer, &json!({"name": "Other"})).await.is(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_external_id_is_free_once_its_customer_is_gone_however_that_came() {
    let (mut server, owner) = TestServer::set_up().await;
    let id = server.customer(&owner, &known("A", "K-1")).await;
    let then = server.version(owner.organization);
    let path = format!("/v1/customers/{id}");
    // Without the look-up, and with it.
    for _ in 0..2 {
        server.patch(&path, &owner, &json!({"external_id": "K-2"})).await.is(200);
        server.restart().await;
        server.delete(&path, &owner).await.is(204);
        let other = server.customer(&owner, &known("B", "K-2")).await;
        server.restored(&owner, then, &json!({"resource": id})).await;
        assert_eq!(server.found_customers(&owner, "external_id=K-1").await, [&*id]);
        assert_eq!(server.found_customers(&owner, "external_id=K-2").await, [&*other]);
        server.delete(&format!("/v1/customers/{other}"), &owner).await.is(204);
    }
    // Whoever is erased gives theirs up as well.
    server.patch(&path, &owner, &json!({"external_id": "K-3"})).await.is(200);
    server.about_customer(&owner, &id, "erase").await.is(200);
    server.customer(&owner, &known("C", "K-3")).await;
    server.customer(&owner, &known("D", "K-1")).await;
}
