//! `/v1/oauth-providers`, `/v1/oauth-apps`, and the operator's apps behind both.

use reqwest::Method;
use serde_json::{Value, json};
use settled::clock::Clock;
use settled::ids::StreamId;
use settled::oauth::provider::OWN_PARAMETERS;
use settled::settings::oauth_apps::client_secret_field;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use crate::server::{Somebody, TestServer, text};

const SECRET: &str = "Zq7-a client secret";

fn github() -> Value {
    json!({"provider": "github", "client_id": "Iv1.8a61f9b3a7aba766", "client_secret": SECRET, "scopes": ["repo"]})
}

fn custom() -> Value {
    json!({
        "provider": "custom",
        "name": "Ours",
        "client_id": "settled",
        "client_secret": SECRET,
        "authorize_url": "https://idp.example.com/authorize",
        "token_url": "https://idp.example.com/token",
        "revoke_url": "https://idp.example.com/revoke",
        "issuer": "https://idp.example.com",
        "client_authentication": "basic",
    })
}

async fn make(server: &TestServer, owner: &Somebody, body: &Value) -> Value {
    server.post("/v1/oauth-apps", Some(owner), body).await.is(201).json()
}

fn path_of(app: &Value) -> String {
    format!("/v1/oauth-apps/{}", text(&app["id"]))
}

/// A request over the operator's socket: its status and its body.
async fn operator(server: &TestServer, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let mut socket = UnixStream::connect(server.data_dir().join("operator.sock")).await.unwrap();
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: settled\r\nconnection: close\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    (status, serde_json::from_str(body).unwrap_or(Value::Null))
}

/// What opens as an app's secret now.
fn opened(server: &TestServer, owner: &Somebody, app: &Value) -> String {
    let view = server.handle(owner.organization).view();
    let id = text(&app["id"]);
    let current = &view.organization().oauth_apps.get(id.parse().unwrap()).unwrap().client_secret;
    let stream = StreamId::Organization(owner.organization);
    let ring = server.app().store.ring();
    let key = ring.data_key(stream, current.sealed.key, current.commitment).unwrap();
    key.open(&client_secret_field(stream, &id), &current.sealed).unwrap().as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_catalogue_is_listed_by_id_with_where_it_is_from() {
    let (server, owner) = TestServer::set_up().await;
    let mut path = "/v1/oauth-providers?limit=25".to_owned();
    let mut listed = Vec::new();
    loop {
        let page = server.get(&path, &owner).await.is(200).json();
        listed.extend(page["data"].as_array().unwrap().clone());
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("/v1/oauth-providers?limit=25&cursor={cursor}");
    }
    assert!(listed.len() >= 40, "{} providers", listed.len());
    assert!(listed.windows(2).all(|pair| text(&pair[0]["id"]) < text(&pair[1]["id"])));
    let google = listed.iter().find(|provider| provider["id"] == "google").unwrap();
    assert_eq!(google["token_url"], "https://oauth2.googleapis.com/token");
    assert_eq!(google["authorize_parameters"], json!({"access_type": "offline", "prompt": "consent"}));
    assert_eq!((&google["pkce"], &google["managed"]), (&json!("supported"), &json!(false)));
    assert!(listed.iter().all(|provider| text(&provider["source"]).starts_with("https://")));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_is_made_changed_and_deleted_and_its_secret_never_shown() {
    let (server, owner) = TestServer::set_up().await;
    let made = server.post("/v1/oauth-apps", Some(&owner), &github()).await.is(201);
    let app = made.json();
    let path = path_of(&app);
    assert_eq!(made.header("location").as_deref(), Some(&*path));
    assert_eq!(app["name"], "GitHub", "where it has no name of its own");
    assert_eq!(app["authorize_url"], "https://github.com/login/oauth/authorize");
    assert_eq!(app["redirect_uri"], format!("{}/oauth/callback/{}", server.base(), text(&app["id"])));
    let shown = server.get(&path, &owner).await.is(200);
    assert_eq!((shown.json(), shown.etag()), (app.clone(), made.etag()));

    let changed = server.patch(&path, &owner, &json!({"name": "Code", "scopes": []})).await.is(200);
    assert_eq!(
        (changed.json()["name"].clone(), changed.json()["scopes"].clone()),
        (json!("Code"), json!([]))
    );
    assert_eq!(changed.json()["credentials_version"], 1);
    let same = server.patch(&path, &owner, &json!({"name": "Code"})).await.is(200);
    assert_eq!(same.version(), changed.version(), "what is so already is no event");
    let stale = [("if-match", made.etag())];
    let stale: Vec<(&str, &str)> = stale.iter().map(|(name, value)| (*name, value.as_str())).collect();
    server
        .send(Method::DELETE, &path, &owner, &stale, &Value::Null)
        .await
        .is_problem(412, "precondition_failed");
    let another = server.patch(&path, &owner, &json!({"client_secret": "another"})).await.is(200);
    assert_eq!(another.json()["credentials_version"], 2);
    assert_eq!(opened(&server, &owner, &app), "another");

    let list = server.get("/v1/oauth-apps", &owner).await.is(200);
    assert_eq!(list.json()["data"], json!([another.json()]));
    for answer in [&made, &shown, &changed, &another, &list] {
        assert!(!answer.text.contains("Zq7") && !answer.text.contains("client_secret"), "{}", answer.text);
    }
    server.delete(&path, &owner).await.is(204);
    server.delete(&path, &owner).await.is_problem(404, "not_found");
    server.get(&path, &owner).await.is_problem(404, "not_found");
    let actions = server.audit(&owner, "&action=oauth_app.*").await;
    let actions: Vec<String> = actions.iter().map(|row| text(&row["action"])).collect();
    assert_eq!(actions, ["oauth_app.delete", "oauth_app.update", "oauth_app.update", "oauth_app.create"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_url_that_can_never_be_allowed_is_refused_when_it_is_set() {
    let (server, owner) = TestServer::set_up().await;
    let app = make(&server, &owner, &custom()).await;
    let before = server.version(owner.organization);
    for url in [
        "http://idp.example.com/token",
        "https://127.0.0.1/token",
        "https://2130706433/token",
        "https://[::ffff:10.0.0.1]/token",
        "https://169.254.169.254/latest/meta-data/",
        "https://metadata.google.internal/",
        "https://localhost/token",
        "https://user:pass@idp.example.com/token",
        "https://idp.example.com/token#fragment",
        "https://idp.example.com:22/token",
        "file:///etc/passwd",
        "token",
        "",
    ] {
        for field in ["authorize_url", "token_url", "revoke_url", "issuer"] {
            let mut body = custom();
            body[field] = json!(url);
            let problem = server.post("/v1/oauth-apps", Some(&owner), &body).await.is(422).problem();
            let error = &problem["errors"][0];
            assert_eq!(error["pointer"], format!("/{field}"), "{url}: {problem}");
            assert_eq!(error["code"], "url_not_allowed", "{url}: {problem}");
            let body = json!({field: url, "client_secret": SECRET});
            let problem = server.patch(&path_of(&app), &owner, &body).await.is(422).problem();
            assert_eq!(problem["errors"][0]["pointer"], format!("/{field}"), "{url}: {problem}");
        }
    }
    assert_eq!(server.version(owner.organization), before, "nothing was appended");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_url_is_kept_as_it_was_checked() {
    let (server, owner) = TestServer::set_up().await;
    let kept = "https://idp.example.com/token";
    for url in [
        "https:idp.example.com/token",
        "https://ＩＤＰ.example.com/a/../token",
        "HTTPS://IDP.EXAMPLE.COM:443/token",
    ] {
        let mut body = custom();
        body["token_url"] = json!(url);
        assert_eq!(make(&server, &owner, &body).await["token_url"], kept, "{url}");
    }
    // What a provider calls itself is compared, character by character.
    let mut body = custom();
    body["issuer"] = json!("https://IDP.example.com");
    assert_eq!(make(&server, &owner, &body).await["issuer"], "https://IDP.example.com");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_url_says_nothing_that_is_the_flows_own_to_say() {
    let (server, owner) = TestServer::set_up().await;
    let app = make(&server, &owner, &custom()).await;
    for said in OWN_PARAMETERS {
        let url = format!("https://idp.example.com/authorize?tenant=a&{said}=b");
        let mut body = custom();
        body["authorize_url"] = json!(url);
        let problem = server.post("/v1/oauth-apps", Some(&owner), &body).await.is(422).problem();
        assert_eq!(problem["errors"][0]["pointer"], "/authorize_url", "{said}: {problem}");
        let body = json!({"authorize_url": url, "client_secret": SECRET});
        server.patch(&path_of(&app), &owner, &body).await.is(422);
    }
    let body =
        json!({"authorize_url": "https://idp.example.com/authorize?tenant=a", "client_secret": SECRET});
    server.patch(&path_of(&app), &owner, &body).await.is(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_loopback_is_allowed_where_the_operator_says_so() {
    let server = TestServer::start_with(Clock::system(), None, &["--oauth-allow-loopback"]).await;
    let owner = server.found().await;
    let mut body = custom();
    body["token_url"] = json!("http://127.0.0.1:4000/token");
    body["authorize_url"] = json!("http://localhost:4000/authorize");
    make(&server, &owner, &body).await;
    body["token_url"] = json!("http://10.0.0.1:4000/token");
    server.post("/v1/oauth-apps", Some(&owner), &body).await.is(422);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_changes_a_url_says_the_secret_again() {
    let (server, owner) = TestServer::set_up().await;
    let app = make(&server, &owner, &custom()).await;
    assert_eq!((&app["client_authentication"], &app["credentials_version"]), (&json!("basic"), &json!(1)));
    let path = path_of(&app);
    for field in ["authorize_url", "token_url", "revoke_url", "issuer"] {
        let elsewhere = json!({field: "https://elsewhere.example.net/"});
        let problem = server.patch(&path, &owner, &elsewhere).await.is(422).problem();
        assert_eq!(problem["errors"][0]["pointer"], "/client_secret", "{field}: {problem}");
    }
    let clears = json!({"revoke_url": null});
    server.patch(&path, &owner, &clears).await.is(422);
    let both = json!({"revoke_url": null, "token_url": "https://idp.example.com/v2/token", "client_secret": "again"});
    let moved = server.patch(&path, &owner, &both).await.is(200).json();
    assert_eq!((&moved["revoke_url"], &moved["credentials_version"]), (&Value::Null, &json!(2)));
    // The URLs of the catalogue are nobody's to change.
    let catalogued = make(&server, &owner, &github()).await;
    let problem = server.patch(&path_of(&catalogued), &owner, &both).await.is(422).problem();
    assert_eq!(problem["errors"][0]["code"], "not_custom", "{problem}");
    let mut with_urls = custom();
    with_urls["provider"] = json!("github");
    server.post("/v1/oauth-apps", Some(&owner), &with_urls).await.is(422);
    let mut unknown = github();
    unknown["provider"] = json!("nobody");
    let problem = server.post("/v1/oauth-apps", Some(&owner), &unknown).await.is(422).problem();
    assert_eq!(problem["errors"][0]["pointer"], "/provider");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_past_of_an_app_is_told_and_comes_back_with_the_secret_of_then() {
    let (server, owner) = TestServer::set_up().await;
    let app = make(&server, &owner, &custom()).await;
    let (path, then) = (path_of(&app), server.version(owner.organization));
    let moved =
        json!({"name": "Moved", "token_url": "https://idp.example.com/v2/token", "client_secret": "another"});
    server.patch(&path, &owner, &moved).await.is(200);

    let past = server.get(&format!("{path}?as_of={then}"), &owner).await.is(200).json();
    assert_eq!(past, app);
    let diff = server.get(&format!("/v1/diff?from={then}&to={}", then + 1), &owner).await.is(200);
    let changed = &diff.json()["data"][0];
    let fields: Vec<String> =
        changed["fields"].as_array().unwrap().iter().map(|field| text(&field["field"])).collect();
    assert_eq!(fields, ["client_secret", "name", "token_url"]);
    assert!(!diff.text.contains("Zq7") && !diff.text.contains("another"), "{}", diff.text);

    server.delete(&path, &owner).await.is(204);
    let restore = json!({"as_of": then, "scope": {"resource": app["id"]}, "dry_run": true});
    let planned = server.post("/v1/restore", Some(&owner), &restore).await.is(200);
    assert_eq!(planned.json()["steps"][0]["action"], "oauth_app.create");
    let etag = planned.etag();
    let restore = json!({"as_of": then, "scope": {"resource": app["id"]}});
    let headers = [("if-match", etag.as_str())];
    server.send(Method::POST, "/v1/restore", &owner, &headers, &restore).await.is(200);
    let back = server.get(&path, &owner).await.is(200).json();
    assert_eq!((&back["name"], &back["token_url"]), (&app["name"], &app["token_url"]));
    assert_eq!(opened(&server, &owner, &app), SECRET);
    // What was brought back is what it was: there is nothing to bring back any more.
    let again = json!({"as_of": then, "scope": {"resource": app["id"]}, "dry_run": true});
    let again = server.post("/v1/restore", Some(&owner), &again).await.is(200).json();
    assert_eq!((&again["steps"], &again["cannot"]), (&json!([]), &json!([])));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_brings_urls_back_with_their_own_secret_alone() {
    let (server, owner) = TestServer::set_up().await;
    let app = make(&server, &owner, &custom()).await;
    let then = server.version(owner.organization);
    let moved = json!({"token_url": "https://elsewhere.example.net/token", "client_secret": "another"});
    server.patch(&path_of(&app), &owner, &moved).await.is(200);
    let restore = |dry_run: bool| json!({"as_of": then, "scope": {"organization": true}, "dry_run": dry_run});
    let planned = server.post("/v1/restore", Some(&owner), &restore(true)).await.is(200);
    assert!(!planned.text.contains("Zq7") && !planned.text.contains("another"), "{}", planned.text);
    let etag = planned.etag();
    let headers = [("if-match", etag.as_str())];
    server.send(Method::POST, "/v1/restore", &owner, &headers, &restore(false)).await.is(200);
    let back = server.get(&path_of(&app), &owner).await.is(200).json();
    assert_eq!((&back["token_url"], &back["credentials_version"]), (&app["token_url"], &json!(3)));
    assert_eq!(opened(&server, &owner, &app), SECRET);
}

async fn restore_to(server: &TestServer, owner: &Somebody, version: u64) -> Value {
    let body = json!({"as_of": version, "scope": {"organization": true}, "dry_run": true});
    let planned = server.post("/v1/restore", Some(owner), &body).await.is(200);
    let (etag, body) = (planned.etag(), json!({"as_of": version, "scope": {"organization": true}}));
    server.send(Method::POST, "/v1/restore", owner, &[("if-match", etag.as_str())], &body).await.is(200);
    planned.json()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_was_written_after_an_app_came_back_never_goes_to_urls_of_before() {
    let (server, owner) = TestServer::set_up().await;
    let app = make(&server, &owner, &custom()).await;
    let (path, first) = (path_of(&app), server.version(owner.organization));
    let moved = json!({"token_url": "https://elsewhere.example.net/token", "client_secret": "theirs"});
    server.patch(&path, &owner, &moved).await.is(200);
    let elsewhere = server.version(owner.organization);
    server.delete(&path, &owner).await.is(204);
    restore_to(&server, &owner, first).await;
    assert_eq!(opened(&server, &owner, &app), SECRET);
    server.patch(&path, &owner, &json!({"client_secret": "rotated"})).await.is(200);
    restore_to(&server, &owner, elsewhere).await;
    let back = server.get(&path, &owner).await.is(200).json();
    assert_eq!(back["token_url"], "https://elsewhere.example.net/token");
    assert_eq!(opened(&server, &owner, &app), "theirs", "and not the one that was never for that URL");
}

#[tokio::test(flavor = "multi_thread")]
async fn how_an_app_is_spoken_for_comes_back_also_where_nobody_said_it() {
    let (server, owner) = TestServer::set_up().await;
    let mut quiet = custom();
    quiet.as_object_mut().unwrap().remove("client_authentication");
    let app = make(&server, &owner, &quiet).await;
    let (then, said) = (server.version(owner.organization), text(&app["client_authentication"]));
    let other = if said == "basic" { "body" } else { "basic" };
    let others = json!({"client_authentication": other, "pkce": false});
    assert_eq!(server.patch(&path_of(&app), &owner, &others).await.is(200).json()["pkce"], false);
    restore_to(&server, &owner, then).await;
    let back = server.get(&path_of(&app), &owner).await.is(200).json();
    assert_eq!((text(&back["client_authentication"]), &back["pkce"]), (said, &json!(true)));
    let nothing = restore_to(&server, &owner, then).await;
    assert_eq!(nothing["steps"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operators_app_is_everybodys_to_use_and_nobodys_to_see() {
    let (mut server, owner) = TestServer::set_up().await;
    let own = make(&server, &owner, &custom()).await;
    let path = "/v1/operator/managed-oauth-apps/github";
    assert_eq!(operator(&server, "GET", path, &Value::Null).await.0, 404);
    let app = json!({"client_id": "operators", "client_secret": SECRET, "scopes": ["read:user"]});
    assert_eq!(operator(&server, "PUT", "/v1/operator/managed-oauth-apps/nobody", &app).await.0, 404);
    assert_eq!(operator(&server, "PUT", path, &json!({"client_id": "operators"})).await.0, 422);
    let (status, set) = operator(&server, "PUT", path, &app).await;
    assert_eq!((status, &set["client_id"], set.get("client_secret")), (201, &json!("operators"), None));
    let redirect_uri = format!("{}/oauth/callback/github", server.base());
    assert_eq!(set["redirect_uri"], redirect_uri);
    assert_eq!(operator(&server, "PUT", path, &app).await.0, 200, "another secret takes its place");

    // Own apps first, a page each.
    let page = server.get("/v1/oauth-apps?limit=1", &owner).await.is(200).json();
    assert_eq!(page["data"], json!([own]));
    let next = format!("/v1/oauth-apps?cursor={}", text(&page["next_cursor"]));
    let page = server.get(&next, &owner).await.is(200).json();
    let managed = &page["data"][0];
    assert_eq!((&managed["managed"], &managed["provider"]), (&json!(true), &json!("github")));
    for hidden in ["id", "client_id", "credentials_version", "version"] {
        assert_eq!(managed[hidden], Value::Null, "{hidden}");
    }
    assert_eq!((page["data"].as_array().unwrap().len(), &page["next_cursor"]), (1, &Value::Null));
    assert!(!page.to_string().contains("operators"));
    let provider = server.get("/v1/oauth-providers?limit=200", &owner).await.is(200).json();
    let managed: Vec<String> = provider["data"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|provider| provider["managed"] == true)
        .map(|provider| text(&provider["id"]))
        .collect();
    assert_eq!(managed, ["github"]);

    server.restart().await;
    let (status, listed) = operator(&server, "GET", "/v1/operator/managed-oauth-apps", &Value::Null).await;
    assert_eq!((status, &listed["data"][0]["provider"]), (200, &json!("github")));
    assert_eq!(operator(&server, "DELETE", path, &Value::Null).await.0, 204);
    assert_eq!(operator(&server, "DELETE", path, &Value::Null).await.0, 404);
    let left = server.get("/v1/oauth-apps", &owner).await.is(200).json();
    assert_eq!(left["data"].as_array().unwrap().len(), 1);
}
