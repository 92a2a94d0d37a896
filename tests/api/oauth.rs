//! Consenting, from the link to the token that a program reads, with a provider on a real port.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::consent::{Acme, Browser};
use crate::server::{Somebody, text};

#[tokio::test(flavor = "multi_thread")]
async fn a_consent_becomes_a_token_that_a_program_reads() {
    let acme = Acme::new().await;
    let (connection, path) = acme.connection("crm").await;
    let page = acme.page(&path).await.is(200);
    for named in ["Acme", "Ours", "Dev", "crm", "<code>read</code>", "<code>write</code>", "127.0.0.1"] {
        assert!(page.text.contains(named), "{named}: {}", page.text);
    }
    let mut browser = Browser::default();
    let sent = acme.go(&path, &mut browser).await;
    assert!(
        sent.url.as_str().starts_with(&format!("{}/authorize?tenant=a&", acme.provider.base)),
        "{}",
        sent.url
    );
    assert_eq!(sent.parameter("response_type"), "code");
    assert_eq!(sent.parameter("client_id"), "settled");
    assert_eq!(sent.parameter("scope"), "read write");
    assert_eq!(sent.parameter("code_challenge_method"), "S256");
    let redirect_uri = format!("{}/oauth/callback/{}", acme.server.base(), acme.app);
    assert_eq!(sent.parameter("redirect_uri"), redirect_uri);
    assert_eq!(acme.show(&connection).await["status"], "pending");

    let told = acme.back(&browser, &acme.app, &format!("state={}&code=c%26d", sent.parameter("state"))).await;
    assert!(told.is(200).text.contains("Connected"));
    let [asked] = &acme.provider.asked()[..] else { panic!("one request") };
    assert_eq!((asked.field("grant_type"), asked.field("code")), (Some("authorization_code"), Some("c&d")));
    assert_eq!(asked.field("redirect_uri"), Some(&*redirect_uri));
    assert_eq!(asked.field("client_secret"), Some("Zq7clientsecret"));
    let verifier = asked.field("code_verifier").unwrap();
    assert_eq!(URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes())), sent.parameter("code_challenge"));

    let shown = acme.show(&connection).await;
    assert_eq!((&shown["status"], &shown["credential_version"]), (&json!("connected"), &json!(1)));
    assert!(!shown.to_string().contains("Zq7"), "{shown}");
    let read = acme.read().await;
    assert_eq!(read["crm"]["access_token"], "Zq7access1");
    assert_eq!(read["crm"]["expires_at"], shown["expires_at"]);
    assert!(!read.to_string().contains("refresh"), "{read}");
    let rows = acme.server.audit(&acme.owner, "&action=connection.connect").await;
    assert_eq!((rows.len(), &rows[0]["user"]["kind"]), (1, &json!("system")));

    // The link is used up; the connection goes, and its token is given back.
    acme.page(&path).await.is(404);
    let path = format!("/v1/connections/{connection}");
    acme.server.delete(&path, &acme.owner).await.is(204);
    let asked = acme.provider.asked().pop().unwrap();
    assert_eq!((asked.path.as_str(), asked.field("token")), ("/revoke", Some("Zq7refresh1")));
    assert_eq!(acme.read().await, json!({}));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_refuses_pkce_is_sent_none() {
    let acme = Acme::new().await;
    let path = format!("/v1/oauth-apps/{}", acme.app);
    acme.server.patch(&path, &acme.owner, &json!({"pkce": false})).await.is(200);
    let (connection, link) = acme.connection("crm").await;
    let mut browser = Browser::default();
    let sent = acme.go(&link, &mut browser).await;
    assert_eq!(
        (sent.parameter("code_challenge"), sent.parameter("code_challenge_method")),
        Default::default()
    );
    acme.back(&browser, &acme.app, &format!("state={}&code=good", sent.parameter("state"))).await.is(200);
    let [asked] = &acme.provider.asked()[..] else { panic!("one request") };
    assert_eq!(asked.field("code_verifier"), None);
    assert_eq!(acme.show(&connection).await["status"], "connected");
}

/// RFC 6749 §2.3.1: the secret is in one place, whichever the provider wants.
#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_proves_itself_in_a_header_sends_no_secret_in_the_form() {
    let acme = Acme::new().await;
    let path = format!("/v1/oauth-apps/{}", acme.app);
    let basic = json!({"client_authentication": "basic", "client_id": "a:b", "client_secret": "Zq7:%"});
    acme.server.patch(&path, &acme.owner, &basic).await.is(200);
    let connection = acme.connected("crm").await;
    let refresh = format!("/v1/connections/{connection}/refresh");
    acme.server.post(&refresh, Some(&acme.owner), &json!({})).await.is(200);
    acme.server.delete(&format!("/v1/connections/{connection}"), &acme.owner).await.is(204);
    let asked = acme.provider.asked();
    assert_eq!(asked.iter().map(|asked| &*asked.path).collect::<Vec<_>>(), ["/token", "/token", "/revoke"]);
    // Both as in a form, so that what stands between them is the only colon.
    let expected = format!("Basic {}", STANDARD.encode("a%3Ab:Zq7%3A%25"));
    for asked in asked {
        assert_eq!(asked.authorization.as_ref(), Some(&expected));
        assert_eq!((asked.field("client_id"), asked.field("client_secret")), (None, None));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_people_write_is_text_on_the_page() {
    let acme = Acme::new().await;
    let name = "<script>alert(1)</script>\"'&";
    acme.server.patch("/v1/general", &acme.owner, &json!({"name": name})).await.is(200);
    acme.server
        .patch(&format!("/v1/oauth-apps/{}", acme.app), &acme.owner, &json!({"name": name}))
        .await
        .is(200);
    let body = json!({"oauth_app": acme.app, "environment": "dev", "name": "x", "scopes": ["<b>"]});
    let made = acme.server.post("/v1/connections", Some(&acme.owner), &body).await.is(201).json();
    let page = acme.page(&acme.path_of(&made)).await.is(200);
    assert!(!page.text.contains("<script") && !page.text.contains("<b>"), "{}", page.text);
    assert!(page.text.contains("alert(1)"), "{}", page.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erased_customers_connections_leave_nothing() {
    let acme = Acme::manual().await;
    let customer = acme.server.customer(&acme.owner, &json!({"name": "Zq7 Globex"})).await;
    let of =
        |name: &str| json!({"oauth_app": acme.app, "environment": "dev", "name": name, "customer": customer});
    let (connected, pending) = (acme.made(&of("crm")).await, acme.made(&of("erp")).await);
    acme.consent(&connected.1).await;
    let mut browser = Browser::default();
    let state = acme.go(&pending.1, &mut browser).await.parameter("state");
    let ctx = format!("/v1/ctx?environment=dev&customer={customer}");
    let read = acme.server.get(&ctx, &acme.program).await.is(200).json();
    assert_eq!(read["connections"]["crm"]["access_token"], "Zq7access1");
    let key = {
        let view = acme.server.handle(acme.owner.organization).view();
        let connection = view.organization().connections.get(connected.0.parse().unwrap()).unwrap();
        (connection.key, connection.commitment)
    };

    let erase = format!("/v1/customers/{customer}/erase");
    acme.server.post(&erase, Some(&acme.owner), &json!({})).await.is(200);
    for connection in [&connected.0, &pending.0] {
        acme.server
            .get(&format!("/v1/connections/{connection}"), &acme.owner)
            .await
            .is_problem(404, "not_found");
    }
    // Whoever holds a link, or is on the way by one, comes to nothing.
    acme.page(&pending.1).await.is(404);
    acme.back(&browser, &acme.app, &format!("state={state}&code=good")).await.is(404);
    let (ring, stream) =
        (acme.server.app().store.ring(), acme.server.handle(acme.owner.organization).stream());
    assert!(ring.data_key(stream, key.0, key.1).is_err(), "what is recorded of it opens for nobody");
    // The provider is told to forget it, and asked for nothing any more.
    let told = || async { acme.provider.asked().last().unwrap().field("token") == Some("Zq7refresh1") };
    acme.server.eventually(told).await;
    let asked = acme.provider.asked().len();
    acme.server.advance(7_200);
    acme.server.get("/v1/connections", &acme.owner).await.is(200);
    assert_eq!(acme.provider.asked().len(), asked);
}

#[tokio::test(flavor = "multi_thread")]
async fn that_access_is_read_is_recorded_before_it_leaves() {
    let acme = Acme::new().await;
    let connection = acme.connected("crm").await;
    acme.read().await;
    let rows = acme.server.audit(&acme.owner, "&action=secret.read").await;
    assert_eq!(rows.len(), 1, "the first time in an hour");
    let events = acme.server.get("/v1/events?limit=200", &acme.owner).await.is(200).json();
    let mut events = events["data"].as_array().unwrap().iter();
    let event = events.find(|event| event["action"] == "secret.read").unwrap();
    let read = json!([{"connection": connection, "credential_version": 1, "count": 1}]);
    assert_eq!(event["data"]["connections"], read, "{event}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customers_connection_goes_before_the_environments_and_is_nobody_elses() {
    let acme = Acme::new().await;
    let (server, owner) = (&acme.server, &acme.owner);
    let [one, other] = [
        server.customer(owner, &json!({"name": "One"})).await,
        server.customer(owner, &json!({"name": "Other"})).await,
    ];
    let token = |token: &str| json!({"kind": "token", "name": "crm", "token": token, "environment": "dev"});
    let mut own = token("Zq7 one's");
    own["customer"] = json!(one);
    for body in [token("Zq7 everybody's"), own.clone()] {
        server.post("/v1/connections", Some(owner), &body).await.is(201);
    }
    let read = async |who: &Somebody, customer: &str| {
        let ctx = format!("/v1/ctx?environment=dev&customer={customer}");
        server.get(&ctx, who).await.is(200).json()["connections"]["crm"]["token"].clone()
    };
    assert_eq!(read(&acme.program, &one).await, "Zq7 one's");
    assert_eq!(read(&acme.program, &other).await, "Zq7 everybody's");
    assert_eq!(acme.read().await["crm"]["token"], "Zq7 everybody's");

    let key = json!({"name": "K", "mode": "test", "role": "admin", "customers": [other]});
    let (_, key) = server.api_key(owner, &key).await;
    let list = server.get(&format!("/v1/connections?customer={one}"), owner).await.is(200).json();
    let path = format!("/v1/connections/{}", text(&list["data"][0]["id"]));
    own["name"] = json!("planted");
    for answer in [
        server.get(&path, &key).await,
        server.delete(&path, &key).await,
        server.patch(&path, &key, &json!({"name": "stolen"})).await,
        server.post("/v1/connections", Some(&key), &own).await,
    ] {
        assert!([403, 404, 422].contains(&answer.status), "{}: {}", answer.status, answer.text);
    }
    let still = server.get(&format!("/v1/connections?customer={one}"), owner).await.is(200).json();
    assert_eq!(still["data"], list["data"]);
    own["customer"] = json!("cus_01kqxk5rd0e5xrpzzv0jjq4zgn");
    server.post("/v1/connections", Some(owner), &own).await.is(422);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_ends_and_another_takes_its_place() {
    let acme = Acme::manual().await;
    let (connection, first) = acme.connection("crm").await;
    let again = format!("/v1/connections/{connection}/reconnect");
    let linked = acme.server.post(&again, Some(&acme.owner), &json!({})).await.is(200).json();
    let second = acme.path_of(&linked);
    acme.page(&first).await.is(404);
    acme.page(&second).await.is(200);
    // Whoever was on the way by the first one has gone for nothing.
    let mut browser = Browser::default();
    let sent = acme.go(&second, &mut browser).await;
    let linked = acme.server.post(&again, Some(&acme.owner), &json!({})).await.is(200).json();
    let third = acme.path_of(&linked);
    acme.back(&browser, &acme.app, &format!("state={}&code=good", sent.parameter("state"))).await.is(404);
    assert_eq!(acme.show(&connection).await["status"], "pending");
    acme.server.advance(30 * 60);
    acme.page(&third).await.is(404);
    acme.press(&third, &mut browser).await.is(404);
}
