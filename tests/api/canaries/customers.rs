//! Customers with canaries in all that is known of them and in all that they have: one stays, one is erased.

use reqwest::Method;
use serde_json::{Value, json};

use super::Client;
use crate::server::text;

/// What is known of customers.
const KNOWN: [&str; 4] = ["customer name", "customer id", "customer tag", "customer note"];

/// Customers come, have things, are changed, refused and erased.
pub(super) async fn customers_come_and_are_erased(client: &Client<'_>, token: &str) {
    for number in 0..2 {
        let customer = one_with_everything(client, token, number).await;
        refused(client, token, &customer).await;
        if number == 1 {
            let path = format!("/v1/customers/{customer}/erase");
            client.post_anew(&path, token, &json!({})).await.is(200);
        }
    }
}

async fn one_with_everything(client: &Client<'_>, token: &str, number: usize) -> String {
    let canary = |kind: &str| client.canaries.of(kind);
    let put = async |method: Method, path: &str, body: Value, may: &[&str]| {
        let request = client.request(method, path, Some(token)).json(&body);
        client.send(client.anew(request), may).await
    };
    let id = format!("{}{number}", canary("customer id"));
    let body = json!({"name": canary("customer name"), "external_id": id,
        "tags": {"canary": canary("customer tag")}, "metadata": {"note": canary("customer note")}});
    let made = put(Method::POST, "/v1/customers", body.clone(), &KNOWN).await.is(201).json();
    put(Method::POST, "/v1/customers", body, &[]).await.is(409);
    let customer = text(&made["id"]);
    let path = format!("/v1/customers/{customer}");
    let patch = json!({"metadata": {"more": canary("customer note")}});
    put(Method::PATCH, &path, patch, &KNOWN).await.is(200);
    document_with_everything(client, token, &customer).await;
    let begins = json!({"workflow": canary("workflow"), "environment": "dev", "trigger": canary("trigger")});
    let executions = format!("{path}/executions");
    let said = ["workflow", "trigger", "execution error"];
    let begun = put(Method::POST, &executions, begins, &said).await.is(201).json();
    let end = json!({"status": "failed", "error": canary("execution error")});
    let finish = format!("{executions}/{}/finish", text(&begun["id"]));
    put(Method::POST, &finish, end, &said).await.is(200);
    let by_workflow = format!("{executions}?limit=1&workflow={}", canary("workflow"));
    let found = client.send(client.request(Method::GET, &by_workflow, Some(token)), &said).await.is(200);
    assert!(found.text.contains(canary("workflow")));
    let secret = json!({"name": "OWN", "value": canary("customer secret"), "environment": "dev",
        "description": canary("secret description"), "customer": customer});
    put(Method::POST, "/v1/secrets", secret, &["secret description"]).await.is(201);
    let secrets = client.request(Method::GET, &format!("/v1/secrets?customer={customer}"), Some(token));
    client.send(secrets, &["secret description"]).await.is(200);
    let search = format!("/v1/customers?q={}", canary("customer name").to_lowercase());
    let found = client.send(client.request(Method::GET, &search, Some(token)), &KNOWN).await.is(200);
    assert!(found.text.contains(&customer));
    let by_id = format!("/v1/customers?external_id={id}");
    client.send(client.request(Method::GET, &by_id, Some(token)), &KNOWN).await.is(200);
    customer
}

/// A document is written, shown, deleted, and brought back by its key.
async fn document_with_everything(client: &Client<'_>, token: &str, customer: &str) {
    let key = client.canaries.of("document key");
    let (list, path) =
        (format!("/v1/customers/{customer}/data"), format!("/v1/customers/{customer}/data/{key}"));
    let ask = async |method: Method, path: &str, may: &[&str]| {
        client.send(client.request(method, path, Some(token)), may).await
    };
    let body = json!({"value": client.canaries.of("document")});
    let request = client.request(Method::PUT, &path, Some(token)).json(&body);
    let written = client.send(request, &["document key"]).await.is(201).version();
    let shown = ask(Method::GET, &path, &["document", "document key"]).await.is(200);
    assert!(shown.text.contains(client.canaries.of("document")));
    ask(Method::GET, &format!("{path}?as_of=-1"), &[]).await.is(422);
    ask(Method::DELETE, &path, &[]).await.is(204);
    ask(Method::GET, &path, &[]).await.is(404);
    let restore = |dry_run: bool| {
        json!({"as_of": written, "scope": {"resource": format!("{customer}/{key}")},
        "dry_run": dry_run})
    };
    let request = client.request(Method::POST, "/v1/restore", Some(token)).json(&restore(true));
    let planned = client.send(client.anew(request), &["document key"]).await.is(200);
    let request = client.request(Method::POST, "/v1/restore", Some(token)).json(&restore(false));
    let request = client.anew(request.header("if-match", planned.etag()));
    client.send(request, &["document key"]).await.is(200);
    assert!(ask(Method::GET, &list, &["document key"]).await.is(200).text.contains(key));
}

/// Values that are refused for what they are, or for where they stand.
async fn refused(client: &Client<'_>, token: &str, customer: &str) {
    let canary = |kind: &str| client.canaries.of(kind);
    let path = format!("/v1/customers/{customer}");
    for body in [
        json!({"name": [canary("customer name")]}),
        json!({"external_id": format!(" {}", canary("customer id"))}),
        json!({"tags": {format!("{} x", canary("customer tag")): "x"}}),
        json!({"tags": {"canary": [canary("customer tag")]}}),
        json!({"metadata": canary("customer note")}),
        json!({"metadata": {"note": canary("customer note").repeat(300)}}),
    ] {
        let request = client.request(Method::PATCH, &path, Some(token)).json(&body);
        client.send(client.anew(request), &[]).await.is(422);
    }
    let unknown = format!("{path}/data/{}%20x", canary("document key"));
    let request = client.request(Method::PUT, &unknown, Some(token)).json(&json!({"value": 1}));
    client.send(client.anew(request), &[]).await.is(422);
    let nowhere = json!({"workflow": canary("workflow"), "environment": "nowhere"});
    let request = client.request(Method::POST, &format!("{path}/executions"), Some(token)).json(&nowhere);
    client.send(client.anew(request), &[]).await.is(422);
}
