//! What somebody on the way of a consent may try, by the section of RFC 9700 that each holds against.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use url::form_urlencoded::Serializer;

use crate::consent::{Acme, Browser, app_at};
use crate::provider::Provider;
use crate::server::{Somebody, send, text};

/// Nobody was connected, and no code was sent to anybody.
async fn nothing_came_of_it(acme: &Acme, connection: &str) {
    assert_eq!(acme.provider.asked().len(), 0, "no code was sent to the provider");
    assert_eq!(acme.show(connection).await["status"], "pending");
}

/// §4.7.1: a state is good once.
#[tokio::test(flavor = "multi_thread")]
async fn a_state_that_was_used_is_none() {
    let acme = Acme::new().await;
    let (_, path) = acme.connection("crm").await;
    let mut browser = Browser::default();
    let state = acme.go(&path, &mut browser).await.parameter("state");
    acme.back(&browser, &acme.app, &format!("state={state}&code=good")).await.is(200);
    acme.back(&browser, &acme.app, &format!("state={state}&code=good")).await.is(400);
    assert_eq!(acme.provider.asked().len(), 1);
}

/// §4.7.1: a state is used whatever comes of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_state_that_led_to_nothing_is_used_too() {
    let acme = Acme::new().await;
    let (connection, path) = acme.connection("crm").await;
    let mut browser = Browser::default();
    let state = acme.go(&path, &mut browser).await.parameter("state");
    acme.back(&Browser::default(), &acme.app, &format!("state={state}&code=good")).await.is(403);
    acme.back(&browser, &acme.app, &format!("state={state}&code=good")).await.is(400);
    nothing_came_of_it(&acme, &connection).await;
}

/// §4.7: without a state, or with one that never was, nothing was begun.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_state_there_is_nothing_to_end() {
    let acme = Acme::new().await;
    let (connection, path) = acme.connection("crm").await;
    let mut browser = Browser::default();
    acme.go(&path, &mut browser).await;
    for query in ["code=good", "state=&code=good", "state=AAAA&code=good", ""] {
        acme.back(&browser, &acme.app, query).await.is(400);
    }
    nothing_came_of_it(&acme, &connection).await;
}

/// One link is for one consent: whoever else is on the way by it comes too late, and their code is sent nowhere.
#[tokio::test(flavor = "multi_thread")]
async fn who_comes_second_by_a_link_comes_too_late() {
    let acme = Acme::new().await;
    let (connection, path) = acme.connection("crm").await;
    let (mut first, mut second) = (Browser::default(), Browser::default());
    let states = [acme.go(&path, &mut first).await, acme.go(&path, &mut second).await]
        .map(|sent| sent.parameter("state"));
    acme.back(&first, &acme.app, &format!("state={}&code=first", states[0])).await.is(200);
    acme.back(&second, &acme.app, &format!("state={}&code=second", states[1])).await.is(404);
    assert_eq!(acme.provider.asked().len(), 1);
    assert_eq!(acme.show(&connection).await["credential_version"], 1);
}

/// §4.7: a state ends.
#[tokio::test(flavor = "multi_thread")]
async fn a_state_that_is_too_old_is_none() {
    let acme = Acme::manual().await;
    let (connection, path) = acme.connection("crm").await;
    let mut browser = Browser::default();
    let state = acme.go(&path, &mut browser).await.parameter("state");
    acme.server.advance(600);
    acme.back(&browser, &acme.app, &format!("state={state}&code=good")).await.is(400);
    nothing_came_of_it(&acme, &connection).await;
}

/// §4.7: somebody's browser ends nothing that somebody else began, with their state or in their place.
#[tokio::test(flavor = "multi_thread")]
async fn a_state_is_its_browsers_alone() {
    let acme = Acme::new().await;
    let (connection, path) = acme.connection("crm").await;
    let (mut attacker, mut victim) = (Browser::default(), Browser::default());
    let state = acme.go(&path, &mut attacker).await.parameter("state");
    acme.go(&path, &mut victim).await;
    acme.back(&victim, &acme.app, &format!("state={state}&code=attackers")).await.is(403);
    nothing_came_of_it(&acme, &connection).await;
}

/// §4.7: what is said twice may be read as the one or as the other.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_twice_ends_nothing() {
    let acme = Acme::new().await;
    let (connection, path) = acme.connection("crm").await;
    let mut browser = Browser::default();
    let state = acme.go(&path, &mut browser).await.parameter("state");
    acme.back(&browser, &acme.app, &format!("state={state}&state={state}&code=good")).await.is(400);
    acme.back(&browser, &acme.app, &format!("state={state}&code=a&code=b")).await.is(400);
    nothing_came_of_it(&acme, &connection).await;
}

/// §4.4.2.2: each app has a path of its own, and what was said to one is nothing to another.
#[tokio::test(flavor = "multi_thread")]
async fn what_one_app_was_told_is_nothing_to_another() {
    let acme = Acme::new().await;
    let evil = Provider::start(None).await;
    let other = app_at(&acme.server, &acme.owner, &evil).await;
    let (connection, path) = acme.connection("crm").await;
    let mut browser = Browser::default();
    let state = acme.go(&path, &mut browser).await.parameter("state");
    acme.back(&browser, &other, &format!("state={state}&code=honest")).await.is(400);
    nothing_came_of_it(&acme, &connection).await;
    assert_eq!(evil.asked().len(), 0);
}

/// §4.4.2.1: who calls itself another is another (RFC 9207).
#[tokio::test(flavor = "multi_thread")]
async fn another_issuers_answer_is_none() {
    let acme = Acme::new().await;
    let evil = Provider::start(None).await;
    let (connection, path) = acme.connection("crm").await;
    let mut browser = Browser::default();
    let said = |state: &str, issuer: &str| {
        let said = [("state", state), ("code", "honest"), ("iss", issuer)];
        Serializer::new(String::new()).extend_pairs(said).finish()
    };
    for issuer in ["https://evil.example.com", &evil.base, "", "nonsense", "null"] {
        let state = acme.go(&path, &mut browser).await.parameter("state");
        acme.back(&browser, &acme.app, &said(&state, issuer)).await.is(400);
    }
    nothing_came_of_it(&acme, &connection).await;
    let state = acme.go(&path, &mut browser).await.parameter("state");
    acme.back(&browser, &acme.app, &said(&state, &acme.provider.base)).await.is(200);
}

/// §4.4.2.1: where an app says what its provider calls itself, nothing else will do.
#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_that_an_app_names_is_the_only_one() {
    let acme = Acme::new().await;
    let named =
        json!({"issuer": format!("{}/issuer", acme.provider.base), "client_secret": "Zq7clientsecret"});
    acme.server.patch(&format!("/v1/oauth-apps/{}", acme.app), &acme.owner, &named).await.is(200);
    let (_, path) = acme.connection("crm").await;
    let mut browser = Browser::default();
    let state = acme.go(&path, &mut browser).await.parameter("state");
    acme.back(&browser, &acme.app, &format!("state={state}&code=good")).await.is(400);
    for (issuer, status) in [("", 400), ("/issuer/", 400), ("/issuer", 200)] {
        let state = acme.go(&path, &mut browser).await.parameter("state");
        let query = format!("state={state}&code=good&iss={}{issuer}", acme.provider.base);
        acme.back(&browser, &acme.app, &query).await.is(status);
    }
}

/// §4.4.1: an app whose URLs changed while somebody was on the way leads to another provider.
#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_changed_meanwhile_is_another() {
    let acme = Acme::new().await;
    let (connection, path) = acme.connection("crm").await;
    let mut browser = Browser::default();
    let state = acme.go(&path, &mut browser).await.parameter("state");
    let evil = Provider::start(None).await;
    let moved = json!({"token_url": format!("{}/token", evil.base), "client_secret": "another"});
    acme.server.patch(&format!("/v1/oauth-apps/{}", acme.app), &acme.owner, &moved).await.is(200);
    acme.back(&browser, &acme.app, &format!("state={state}&code=honest")).await.is(404);
    assert_eq!((acme.provider.asked().len(), evil.asked().len()), (0, 0));
    assert_eq!(acme.show(&connection).await["status"], "pending");
}

/// §4.9.1: tokens that one provider handed out go to no other.
#[tokio::test(flavor = "multi_thread")]
async fn a_connections_tokens_go_nowhere_once_its_apps_urls_change() {
    let acme = Acme::new().await;
    let connection = acme.connected("crm").await;
    let evil = Provider::start(None).await;
    let moved = json!({"token_url": format!("{}/token", evil.base), "revoke_url": format!("{}/revoke", evil.base),
        "client_secret": "another"});
    acme.server.patch(&format!("/v1/oauth-apps/{}", acme.app), &acme.owner, &moved).await.is(200);
    assert_eq!(acme.show(&connection).await["status"], "failed");
    assert_eq!(acme.read().await, json!({}));
    let refresh = format!("/v1/connections/{connection}/refresh");
    acme.server.post(&refresh, Some(&acme.owner), &json!({})).await.is_problem(409, "not_refreshable");
    acme.server.delete(&format!("/v1/connections/{connection}"), &acme.owner).await.is(204);
    assert_eq!(evil.asked().len(), 0, "nothing was sent to the new URLs");
}

/// §4.9.1: nor do those that were on their way when the URLs changed, in either direction.
#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_that_is_under_way_brings_nothing_back() {
    let acme = Acme::new().await;
    let connection = acme.connected("crm").await;
    let evil = Provider::start(None).await;
    let app = format!("/v1/oauth-apps/{}", acme.app);
    let refresh = format!("/v1/connections/{connection}/refresh");
    acme.provider.answers(false);
    let body = json!({});
    let refreshing = acme.server.post(&refresh, Some(&acme.owner), &body);
    let moving = async {
        acme.server.eventually(|| async { acme.provider.asked().len() == 2 }).await;
        let moved = json!({"token_url": format!("{}/token", evil.base), "client_secret": "another"});
        acme.server.patch(&app, &acme.owner, &moved).await.is(200);
        acme.provider.answers(true);
    };
    let (refreshed, ()) = tokio::join!(refreshing, moving);
    assert_eq!(refreshed.is(200).json()["status"], "failed");
    acme.server.post(&refresh, Some(&acme.owner), &body).await.is_problem(409, "not_refreshable");
    assert_eq!(acme.read().await, json!({}));
    assert_eq!(evil.asked().len(), 0);
    // What has no place any more is given back to where it came from.
    let given_back = || async {
        let asked = acme.provider.asked();
        asked.iter().any(|asked| asked.path == "/revoke" && asked.field("token") == Some("Zq7refresh2"))
    };
    acme.server.eventually(given_back).await;
}

/// §4.5.3.1: a code that was given in another browser has no tokens, for its challenge was another.
#[tokio::test(flavor = "multi_thread")]
async fn a_code_that_was_given_to_somebody_else_is_worth_nothing() {
    let acme = Acme::new().await;
    let (_, victims) = acme.connection("victims").await;
    let (attackers, path) = acme.connection("attackers").await;
    let (mut victim, mut attacker) = (Browser::default(), Browser::default());
    let sent = acme.go(&victims, &mut victim).await;
    acme.provider.state().codes.insert("stolen".to_owned(), sent.parameter("code_challenge"));
    let own = acme.go(&path, &mut attacker).await.parameter("state");
    acme.back(&attacker, &acme.app, &format!("state={own}&code=stolen")).await.is(502);
    assert_eq!(acme.show(&attackers).await["status"], "pending");
    // Whose it is may.
    acme.provider.state().codes.insert("own".to_owned(), sent.parameter("code_challenge"));
    acme.back(&victim, &acme.app, &format!("state={}&code=own", sent.parameter("state"))).await.is(200);
}

/// §4.11.1: nothing that a URL says leads anybody from here to elsewhere.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_sent_to_where_a_url_says() {
    let acme = Acme::new().await;
    let (_, path) = acme.connection("crm").await;
    let mut browser = Browser::default();
    let elsewhere = "https://evil.example.com/";
    let leads: String = ["next", "redirect_uri", "return_to", "error_uri", "url"]
        .map(|name| format!("&{name}={elsewhere}"))
        .concat();
    let state = acme.go(&path, &mut browser).await.parameter("state");
    let asked = acme.page(&format!("{path}?{leads}")).await.is(200);
    let pressed = acme.press(&format!("{path}?{leads}"), &mut browser).await.is(200);
    let lost = acme.back(&browser, &acme.app, &format!("state=none{leads}")).await.is(400);
    let refused = acme.back(&browser, &acme.app, &format!("state={state}&error=denied{leads}")).await.is(400);
    let state = acme.go(&path, &mut browser).await.parameter("state");
    let done = acme.back(&browser, &acme.app, &format!("state={state}&code=good{leads}")).await.is(200);
    for page in [asked, pressed, lost, refused, done] {
        assert_eq!(page.header("location"), None);
        assert_eq!(page.header("refresh"), None);
        assert!(!page.text.contains("evil"), "{}", page.text);
    }
}

/// §4.16 click-jacking, §4.2 leaks by the referrer, §4.3 leaks by what a browser keeps.
#[tokio::test(flavor = "multi_thread")]
async fn pages_run_nothing_show_in_no_frame_and_tell_nobody_where_one_came_from() {
    let acme = Acme::new().await;
    let (_, path) = acme.connection("crm").await;
    let mut browser = Browser::default();
    let (shown, pressed) = (acme.page(&path).await.is(200), acme.press(&path, &mut browser).await.is(200));
    let lost = acme.page("/connect/nothing").await.is(404);
    let back = acme.back(&browser, &acme.app, "state=a&code=b").await.is(400);
    for page in [&shown, &pressed, &lost, &back] {
        let policy = page.header("content-security-policy").unwrap();
        for part in ["default-src 'none'", "frame-ancestors 'none'", "form-action 'self'", "base-uri 'none'"]
        {
            assert!(policy.contains(part), "{policy}");
        }
        assert_eq!(page.header("x-frame-options").as_deref(), Some("DENY"));
        assert_eq!(page.header("referrer-policy").as_deref(), Some("same-origin"));
        assert_eq!(page.header("cache-control").as_deref(), Some("no-store"));
        assert_eq!(page.header("content-type").as_deref(), Some("text/html; charset=utf-8"));
        for outside in ["<script", "src=", "<link", "url(", "style=", "<iframe"] {
            assert!(!page.text.contains(outside), "{}", page.text);
        }
        let (_, style) = page.text.split_once("<style>").unwrap();
        let (style, _) = style.split_once("</style>").unwrap();
        let hash = STANDARD.encode(Sha256::digest(style.as_bytes()));
        assert!(policy.contains(&format!("style-src 'sha256-{hash}'")), "{policy}: {style}");
    }
    let set = pressed.header("set-cookie").unwrap();
    for part in ["__Host-settled-connect=", "; Path=/;", "; Secure", "; HttpOnly", "; SameSite=Lax"] {
        assert!(set.contains(part), "{set}");
    }
    assert_eq!(shown.header("set-cookie"), None, "looking changes nothing");
}

/// §4.7: nobody's page but ours has somebody go on to a provider.
#[tokio::test(flavor = "multi_thread")]
async fn the_button_is_pressed_on_our_own_page_alone() {
    let acme = Acme::new().await;
    let (_, path) = acme.connection("crm").await;
    for (name, value) in [
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
        ("origin", "https://evil.example.com"),
        ("origin", "null"),
        ("accept", "text/html"),
    ] {
        let request = acme.server.request(Method::POST, &path, None).header(name, value);
        let answer = send(request).await.is(403);
        assert_eq!(answer.header("set-cookie"), None);
    }
    let own = acme.server.request(Method::POST, &path, None).header("origin", acme.server.base());
    send(own).await.is(200);
}

/// Whatever stands in a URL of a page, there is a page that says it leads nowhere, and nothing is recorded.
#[tokio::test(flavor = "multi_thread")]
async fn a_url_that_leads_nowhere_has_a_page() {
    let acme = Acme::new().await;
    let before = acme.server.version(acme.owner.organization);
    let long = "a".repeat(2_000);
    for segment in ["%00", "%ff", "..%2f..", "null", "app_", "con_01kqxk5rd0e5xrpzzv0jjq4zgn", "'--", &*long]
    {
        for query in ["", "?state=%ff&code=%00", "?as_off=1", &*format!("?state={long}&code={long}")] {
            for path in [format!("/connect/{segment}{query}"), format!("/oauth/callback/{segment}{query}")] {
                let page = acme.page(&path).await;
                assert!([400, 404].contains(&page.status), "{path}: {}", page.status);
                assert!(!page.text.contains(segment), "{path}: {}", page.text);
            }
        }
    }
    assert_eq!(acme.server.version(acme.owner.organization), before);
}

/// One organization's link, app and connection are nothing in another.
#[tokio::test(flavor = "multi_thread")]
async fn another_organizations_link_app_and_connection_are_not_there() {
    let acme = Acme::new().await;
    let connection = acme.connected("crm").await;
    let beta = json!({"name": "Beta", "timezone": "UTC"});
    let beta =
        text(&acme.server.post("/v1/organizations", Some(&acme.owner), &beta).await.is(201).json()["id"]);
    let there = Somebody { organization: beta.parse().unwrap(), ..acme.owner.clone() };
    let there = acme.server.another_session(&there).await;
    acme.server.environment(&there, "Dev", "test").await;
    let path = format!("/v1/connections/{connection}");
    acme.server.get(&path, &there).await.is_problem(404, "not_found");
    acme.server.delete(&path, &there).await.is_problem(404, "not_found");
    let body = json!({"oauth_app": acme.app, "environment": "dev"});
    acme.server.post("/v1/connections", Some(&there), &body).await.is(422);
    assert_eq!(acme.server.get("/v1/connections", &there).await.is(200).json()["data"], json!([]));
    assert_eq!(acme.show(&connection).await["status"], "connected");
}
