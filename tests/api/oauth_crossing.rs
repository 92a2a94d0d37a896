//! What crosses with a consent that is under way: whatever ends meanwhile, nothing that a provider hands out is left there.

use serde_json::json;

use crate::consent::{Acme, Browser};
use crate::server::Answer;

/// What the provider was asked to take back.
fn given_back(acme: &Acme) -> Vec<String> {
    let asked = acme.provider.asked();
    let back = asked.iter().filter(|asked| asked.path == "/revoke");
    back.filter_map(|asked| asked.field("token")).map(ToOwned::to_owned).collect()
}

/// Somebody comes back while the provider keeps them waiting, and meanwhile something happens.
async fn meanwhile(acme: &Acme, path: &str, happens: impl Future<Output = ()>) -> Answer {
    let mut browser = Browser::default();
    let state = acme.go(path, &mut browser).await.parameter("state");
    let query = format!("state={state}&code=good");
    acme.provider.answers(false);
    let happening = async {
        acme.server.eventually(|| async { acme.provider.asked().len() == 1 }).await;
        happens.await;
        acme.provider.answers(true);
    };
    let (told, ()) = tokio::join!(acme.back(&browser, &acme.app, &query), happening);
    told
}

/// A connection of a customer's, and the path of its page.
async fn of_customer(acme: &Acme) -> (String, String, String) {
    let customer = acme.server.customer(&acme.owner, &json!({"name": "Globex"})).await;
    let body = json!({"oauth_app": acme.app, "environment": "dev", "name": "crm", "customer": customer});
    let (connection, path) = acme.made(&body).await;
    (customer, connection, path)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_ended_meanwhile_leaves_nothing_at_the_provider() {
    let acme = Acme::manual().await;
    let (connection, path) = acme.connection("crm").await;
    let ended = async {
        acme.server.delete(&format!("/v1/connections/{connection}"), &acme.owner).await.is(204);
    };
    let told = meanwhile(&acme, &path, ended).await.is(404);
    assert!(told.text.contains("leads nowhere"), "{}", told.text);
    assert_eq!(given_back(&acme), ["Zq7refresh1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_who_is_erased_meanwhile_leaves_nothing_at_the_provider() {
    let acme = Acme::manual().await;
    let (customer, _, path) = of_customer(&acme).await;
    let erased = async {
        let erase = format!("/v1/customers/{customer}/erase");
        acme.server.post(&erase, Some(&acme.owner), &json!({})).await.is(200);
    };
    meanwhile(&acme, &path, erased).await.is(404);
    assert_eq!(given_back(&acme), ["Zq7refresh1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_consents_for_a_customer_who_is_not_served() {
    let acme = Acme::manual().await;
    let (customer, connection, path) = of_customer(&acme).await;
    let again = format!("/v1/connections/{connection}/reconnect");
    let becomes = async |action: &str| {
        let path = format!("/v1/customers/{customer}/{action}");
        acme.server.post(&path, Some(&acme.owner), &json!({})).await.is(200);
    };
    let told = meanwhile(&acme, &path, becomes("suspend")).await;
    told.is(404);
    assert_eq!(given_back(&acme), ["Zq7refresh1"]);
    acme.page(&path).await.is(404);
    acme.press(&path, &mut Browser::default()).await.is(404);
    acme.server.post(&again, Some(&acme.owner), &json!({})).await.is_problem(409, "customer_inactive");
    becomes("reactivate").await;
    acme.consent(&path).await;
    assert_eq!(acme.show(&connection).await["status"], "connected");
    acme.server.delete(&format!("/v1/customers/{customer}"), &acme.owner).await.is(204);
    acme.server.post(&again, Some(&acme.owner), &json!({})).await.is_problem(409, "customer_inactive");
}

/// A connection ends when somebody says so; its provider is told as well as that goes.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_ends_whatever_its_provider_does() {
    let acme = Acme::manual().await;
    let [silent, lost] = [acme.connected("silent").await, acme.connected("lost").await];
    let path = |connection: &str| format!("/v1/connections/{connection}");
    acme.provider.answers(false);
    let meanwhile = async {
        acme.server.eventually(|| async { given_back(&acme) == ["Zq7refresh1"] }).await;
        acme.server.get(&path(&silent), &acme.owner).await.is_problem(404, "not_found");
        acme.server.advance(10);
    };
    let ended = path(&silent);
    let (ended, ()) = tokio::join!(acme.server.delete(&ended, &acme.owner), meanwhile);
    ended.is(204);
    acme.provider.answers(true);
    acme.provider.state().lost = 1;
    acme.server.delete(&path(&lost), &acme.owner).await.is(204);
    assert_eq!(given_back(&acme), ["Zq7refresh1", "Zq7refresh2"]);
}
