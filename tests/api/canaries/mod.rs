//! Canaries: values that must not get out go through every endpoint and every error path of a real process that logs
//! all it can. They are then looked for in answers where they do not belong, log lines, metrics, arguments, and every
//! file of the data directory, decompressed.

use std::path::Path;

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use self::connections::{READ, connections_come_and_go};
use self::customers::customers_come_and_are_erased;
use self::joining::people_come_and_are_erased;
use self::mail::accounts_by_mail;
use crate::canary::{CONTROL, Canaries, IMPORTED, nothing_on_disk};
use crate::process::Process;
use crate::server::{Answer, send, text};
use crate::things::Things;

mod connections;
mod customers;
mod fifty;
mod joining;
mod mail;

/// A client of the process.
struct Client<'a> {
    process: &'a Process,
    canaries: &'a mut Canaries,
    http: reqwest::Client,
}

impl Client<'_> {
    /// A request with canaries in every header that may hold one.
    fn request(&self, method: Method, path: &str, token: Option<&str>) -> reqwest::RequestBuilder {
        let request = self
            .http
            .request(method, format!("{}{path}", self.process.base))
            .header("user-agent", self.canaries.of("user agent"))
            .header("settled-reason", self.canaries.of("reason"))
            .header("idempotency-key", self.canaries.of("idempotency key"))
            .header("cookie", format!("__Host-settled={}", self.canaries.of("cookie")))
            .header("x-forwarded-for", self.canaries.of("ip"));
        match token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// Sends it, and looks for canaries where none belongs.
    async fn send(&self, request: reqwest::RequestBuilder, allowed: &[&str]) -> Answer {
        let answer = send(request).await;
        let allowed = if answer.status < 400 { allowed } else { &[] };
        let whole = format!("{:?}\n{}", answer.headers, answer.text);
        let found: Vec<_> = self
            .canaries
            .found(whole.as_bytes())
            .into_iter()
            .filter(|kind| !allowed.contains(kind))
            .collect();
        assert!(found.is_empty(), "{found:?} in {} {whole}", answer.status);
        answer
    }

    /// The same without the idempotency key that an earlier request to its path had.
    fn anew(&self, request: RequestBuilder) -> RequestBuilder {
        let mut request = request.build().unwrap();
        request.headers_mut().remove("idempotency-key");
        RequestBuilder::from_parts(self.http.clone(), request)
    }

    async fn post_anew(&self, path: &str, token: &str, body: &Value) -> Answer {
        self.send(self.anew(self.request(Method::POST, path, Some(token)).json(body)), &[]).await
    }

    async fn json(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        body: &Value,
        allowed: &[&str],
    ) -> Answer {
        self.send(self.request(method, path, token).json(body), allowed).await
    }
}

/// What a program reads.
const IN_CTX: [&str; 1 + READ.len()] = ["secret value", READ[0], READ[1], READ[2], READ[3]];

/// What the answer of a route may hold.
fn allowed(path: &str) -> &'static [&'static str] {
    match path {
        "/v1/setup" | "/v1/auth/login" | "/v1/auth/switch" => &["name", "new name", "email"],
        "/v1/me" | "/v1/me/password" => &["name", "new name", "email"],
        "/v1/me/sessions" => &["user agent", "ip"],
        "/v1/audit" => &["name", "new name", "reason", "ip", "customer name", "document key", "workflow"],
        "/v1/customers" => &["customer name", "customer id", "customer tag", "customer note"],
        "/v1/secrets" => &["secret description"],
        "/v1/people" => &["name", "new name", "email"],
        "/v1/environments/{env}/config" | "/v1/environments/{env}/config/{key}" => &["value"],
        "/v1/history/{id}" => &["name", "new name", "reason", "value"],
        "/v1/diff" => &["value"],
        "/v1/secrets/{sec}/reveal" => &["secret value", "new secret value"],
        "/v1/secrets/{sec}/versions" => &["name", "new name"],
        "/v1/ctx" => &IN_CTX,
        "/v1/ctx/secrets/{name}" => &["secret value"],
        _ => &[],
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_must_not_get_out_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let (data, mails) = (folder.path().join("data"), folder.path().join("mails"));
    let options = ["--log-level", "trace", "--trusted-proxies", "127.0.0.0/8", "--organizations", "open"];
    let mail = ["--signup", "open", "--mail-dir", mails.to_str().unwrap()];
    let options = [&options[..], &mail, &["--oauth-allow-loopback"]].concat();
    let process = Process::start(&data, &options);
    let mut canaries = Canaries::new();
    let root_key = std::fs::read_to_string(data.join("root.key")).unwrap();
    canaries.0.insert("root key", text(&json!(root_key.trim().rsplit(':').next())));
    let http = settled::client::http::plain().build().unwrap();
    let mut client = Client { process: &process, canaries: &mut canaries, http };

    let token = set_up(&mut client).await;
    everyday_use(&mut client, &token).await;
    accounts_by_mail(&mut client, &mails).await;
    people_come_and_are_erased(&mut client, &mails, &token).await;
    customers_come_and_are_erased(&client, &token).await;
    connections_come_and_go(&mut client, &token).await;
    let secret = secrets(&client, &token).await;
    a_program(&mut client, &token).await;
    what_is_refused(&mut client, &token, &secret).await;
    every_route_with_canaries_everywhere(&client, &token, &secret).await;
    everything_that_can_be_read(&mut client, &secret).await;
    for told in process.told_by_the_system() {
        assert_eq!(canaries.found(told.as_bytes()), Vec::<&str>::new(), "{told}");
    }
    for (method, path) in [
        ("GET", "/metrics"),
        ("GET", "/v1/operator/status"),
        ("POST", "/v1/operator/replay"),
        ("POST", "/v1/operator/fsck"),
    ] {
        let answer = operator(&data, method, path).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert_eq!(canaries.found(answer.as_bytes()), Vec::<&str>::new(), "{path}");
    }
    assert!(canaries.0.len() >= 86, "{} canaries", canaries.0.len());

    let printed = process.stop();
    // The set-up link and its curl line are printed for the operator before anything is set up.
    let setup_token = canaries.0.remove("setup token").unwrap();
    assert!(printed.contains(&setup_token), "the link is printed");
    assert!(printed.contains("/v1/environments/{env}"), "requests are logged: {printed}");
    assert_eq!(canaries.found(printed.as_bytes()), Vec::<&str>::new(), "log lines: {printed}");
    canaries.0.insert("setup token", setup_token);
    nothing_on_disk(&data, &canaries);
}

/// Sets up, and gives the Owner's token.
async fn set_up(client: &mut Client<'_>) -> String {
    let wrong = json!({
        "setup_token": client.canaries.of("wrong setup token"),
        "organization": {"name": "Acme", "timezone": "UTC"},
        "person": {"email": client.canaries.of("email"), "name": client.canaries.of("name"),
            "password": client.canaries.of("password")},
    });
    client.json(Method::POST, "/v1/setup", None, &wrong, &[]).await.is(403);
    let setup_token = std::fs::read_to_string(client.process.data.join("setup-token")).unwrap();
    let setup_token = setup_token.trim().to_owned();
    let mut right = wrong.clone();
    right["setup_token"] = json!(setup_token);
    let mut weak = right.clone();
    weak["person"]["password"] = json!(client.canaries.of("value")[..10]);
    client.json(Method::POST, "/v1/setup", None, &weak, &[]).await.is(422);
    client.canaries.0.insert("setup token", setup_token);
    let answer = client.json(Method::POST, "/v1/setup", None, &right, allowed("/v1/setup")).await.is(201);
    client.json(Method::POST, "/v1/setup", None, &right, &[]).await.is(409);
    let token = text(&answer.json()["session"]["token"]);
    client.canaries.0.insert("token", token.clone());
    token
}

/// Logs in and out, changes what can be changed, and looks at all of it.
async fn everyday_use(client: &mut Client<'_>, token: &str) {
    let email = client.canaries.of("email").to_owned();
    let password = client.canaries.of("password").to_owned();
    for (email, password) in
        [(&*email, client.canaries.of("wrong password")), (client.canaries.of("unknown email"), &*password)]
    {
        let body = json!({"email": email, "password": password});
        client.json(Method::POST, "/v1/auth/login", None, &body, &[]).await.is(401);
    }
    let login = json!({"email": email, "password": password});
    let names = allowed("/v1/auth/login");
    let answer = client.json(Method::POST, "/v1/auth/login", None, &login, names).await.is(200).json();
    client.canaries.0.insert("second token", text(&answer["token"]));
    let second = text(&answer["token"]);
    let switch = json!({"organization": answer["organization"]["id"]});
    let answer =
        client.json(Method::POST, "/v1/auth/switch", Some(&second), &switch, names).await.is(200).json();
    client.canaries.0.insert("third token", text(&answer["token"]));
    let third = text(&answer["token"]);
    client.json(Method::POST, "/v1/auth/logout", Some(&third), &json!({}), &[]).await.is(204);

    let body = json!({"name": client.canaries.of("new name")});
    client.json(Method::PATCH, "/v1/me", Some(token), &body, allowed("/v1/me")).await.is(200);
    let wrong =
        json!({"current": client.canaries.of("wrong password"), "new": client.canaries.of("new password")});
    client.json(Method::POST, "/v1/me/password", Some(token), &wrong, &[]).await.is(422);
    let right = json!({"current": password, "new": client.canaries.of("new password")});
    client.json(Method::POST, "/v1/me/password", Some(token), &right, allowed("/v1/me")).await.is(200);

    let body = json!({"name": CONTROL, "slug": "dev", "mode": "test"});
    client.json(Method::POST, "/v1/environments", Some(token), &body, &[]).await.is(201);
    client.json(Method::PATCH, "/v1/general", Some(token), &json!({"name": "Acme II"}), &[]).await.is(200);
    let refused = json!({client.canaries.of("refused name"): client.canaries.of("refused value")});
    client.json(Method::PATCH, "/v1/environments/dev/config", Some(token), &refused, &[]).await.is(422);
    let audit =
        client.send(client.request(Method::GET, "/v1/audit", Some(token)), allowed("/v1/audit")).await;
    assert!(audit.is(200).text.contains(client.canaries.of("reason")), "a reason belongs into the audit log");
    let sessions = client.request(Method::GET, "/v1/me/sessions", Some(token));
    let sessions = client.send(sessions, allowed("/v1/me/sessions")).await.is(200);
    assert!(
        sessions.text.contains(client.canaries.of("user agent")) && sessions.text.contains("203.0.113.177")
    );
}

/// An API key, which is in the answers that made it alone, and what it reads.
async fn a_program(client: &mut Client<'_>, token: &str) {
    let body = json!({"name": "K", "mode": "test", "role": "developer"});
    let made = client.json(Method::POST, "/v1/api-keys", Some(token), &body, &[]).await.is(201).json();
    let (id, first) = (text(&made["id"]), text(&made["key"]));
    client.canaries.0.insert("first key", first.clone());
    let rotate = format!("/v1/api-keys/{id}/rotate");
    let grace = json!({"grace_seconds": 60});
    let rotated = client.json(Method::POST, &rotate, Some(token), &grace, &[]).await.is(200).json();
    let second = text(&rotated["key"]);
    client.canaries.0.insert("second key", second.clone());
    client
        .json(Method::POST, &rotate, Some(token), &grace, &[])
        .await
        .is_problem(409, "one_time_value_spent");
    for (path, key, status) in [
        ("/v1/ctx?environment=dev", &first, 200),
        ("/v1/ctx/secrets/TOKEN?environment=dev", &second, 200),
        ("/v1/environments/dev/config/A", &second, 404),
        ("/v1/me", &second, 403),
        ("/v1/general", &second, 403),
    ] {
        let request = client.request(Method::GET, path, None).header("x-fastn-api-key", key);
        client.send(request, allowed("/v1/ctx")).await.is(status);
    }
    let path = format!("/v1/api-keys/{id}");
    client.json(Method::PATCH, &path, Some(token), &json!({"name": {"x": second}}), &[]).await.is(422);
    client.send(client.request(Method::DELETE, &path, Some(token)), &[]).await.is(204);
    let request = client.request(Method::GET, "/v1/general", None).header("x-fastn-api-key", &second);
    client.send(request, &[]).await.is_problem(401, "api_key_revoked");
}

/// A secret goes through all that can be done with it; its id.
async fn secrets(client: &Client<'_>, token: &str) -> String {
    let send = async |method: Method, path: &str, body: Value, may: &[&str]| {
        client.json(method, path, Some(token), &body, may).await
    };
    let (old, new) = (client.canaries.of("secret value"), client.canaries.of("new secret value"));
    let prod = json!({"name": "Prod", "mode": "live"});
    client.post_anew("/v1/environments", token, &prod).await.is(201);
    let body = json!({"name": "TOKEN", "value": old, "environment": "dev"});
    let made = send(Method::POST, "/v1/secrets", body.clone(), &[]).await.is(201);
    let id = text(&made.json()["id"]);
    let path = format!("/v1/secrets/{id}");
    let at = made.version();
    send(Method::PATCH, &path, json!({"value": new}), &[]).await.is(200);
    for (version, value) in [(1, old), (2, new)] {
        let reveal = format!("{path}/reveal");
        let may = allowed("/v1/secrets/{sec}/reveal");
        let shown = send(Method::POST, &reveal, json!({"version": version}), may).await.is(200);
        assert!(shown.text.contains(value), "a value belongs into its reveal");
    }
    send(Method::POST, &format!("{path}/rollback"), json!({"to_version": 1}), &[]).await.is(200);
    let promote = json!({"to": "prod", "secrets": ["TOKEN"]});
    send(Method::POST, "/v1/environments/dev/promote", promote, &[]).await.is(200);
    let restore = json!({"as_of": at, "scope": {"resource": id}, "dry_run": true});
    send(Method::POST, "/v1/restore", restore, &[]).await.is(200);
    for wrong in [
        json!({"name": "TOKEN", "value": [old], "environment": "dev"}),
        json!({"name": "TOKEN", "value": old, "environment": "none"}),
        json!({"name": old, "value": old, "environment": "dev"}),
        json!({"name": "TOKEN", "value": old.repeat(8_000), "environment": "dev"}),
    ] {
        send(Method::POST, "/v1/secrets", wrong, &[]).await.is(422);
    }
    for read in ["", "/versions"] {
        let request = client.request(Method::GET, &format!("{path}{read}"), Some(token));
        client.send(request, allowed("/v1/secrets/{sec}/versions")).await.is(200);
    }
    id
}

/// Values that are refused for what surrounds them: the one who sends them, what they saw, how long the body is.
async fn what_is_refused(client: &mut Client<'_>, token: &str, secret: &str) {
    let body = json!({"name": "Viewer", "mode": "test", "role": "viewer"});
    let made = client.post_anew("/v1/api-keys", token, &body).await.is(201).json();
    let viewer = text(&made["key"]);
    client.canaries.0.insert("viewer's key", viewer.clone());
    let client = &*client;
    let (secret, config) = (format!("/v1/secrets/{secret}"), "/v1/environments/dev/config");
    let unwritten = client.canaries.of("unwritten value");
    let value = json!({"value": unwritten, "description": client.canaries.of("description")});
    for (method, path, body) in [
        (Method::PATCH, &*secret, &value),
        (Method::PATCH, config, &json!({"A": unwritten})),
        (Method::PUT, "/v1/environments/dev/config/A", &json!({"value": unwritten})),
    ] {
        let as_viewer = client.request(method.clone(), path, None).header("x-fastn-api-key", &viewer);
        client.send(as_viewer.json(body), &[]).await.is_problem(403, "forbidden");
        let stale = client.request(method.clone(), path, Some(token)).header("if-match", "\"0-1\"");
        client.send(client.anew(stale.json(body)), &[]).await.is_problem(412, "precondition_failed");
        let large = json!({"value": client.canaries.of("large body").repeat(64 << 10)});
        client.json(method, path, Some(token), &large, &[]).await.is_problem(413, "payload_too_large");
    }
}

/// Everything that tells of settings and of what happened to them, answered in full.
async fn everything_that_can_be_read(client: &mut Client<'_>, secret: &str) {
    // The session of before was logged out with all routes.
    let login = json!({"email": client.canaries.of("email"), "password": client.canaries.of("new password")});
    let login = client.request(Method::POST, "/v1/auth/login", None).json(&login);
    let answer = client.send(login, allowed("/v1/auth/login")).await.is(200).json();
    let token = text(&answer["token"]);
    client.canaries.0.insert("last token", token.clone());
    let (client, token) = (&*client, &*token);
    let imported = IMPORTED.iter().enumerate();
    let secrets = imported
        .map(|(number, kind)| json!({"name": format!("I_{number}"), "value": client.canaries.of(kind)}));
    let import = json!({"secrets": secrets.collect::<Vec<_>>()});
    let path = "/v1/environments/prod/secrets/import";
    client.post_anew(path, token, &import).await.is(200);
    // So many events that a savepoint is written at the stop.
    let plain: serde_json::Map<_, _> =
        (0..150).map(|number| (format!("K_{number}"), json!(number))).collect();
    let plain = client.request(Method::PATCH, "/v1/environments/dev/config", Some(token)).json(&plain);
    client.send(client.anew(plain), &[]).await.is(200);
    let history = format!("/v1/history/{secret}");
    let names = ["name", "new name", "email", "customer name", "document key", "workflow"];
    let shown = [&names[..], &["reason", "ip", "user agent"]].concat();
    for path in [
        "/v1/audit?limit=200",
        "/v1/audit/facets",
        "/v1/audit/export?format=csv",
        "/v1/audit/export?format=ndjson",
        "/v1/audit/export?format=ocsf",
        "/v1/proof/bundle",
        "/v1/events?limit=200",
        "/v1/diff?from=1",
        &history,
        "/v1/environments/dev/diff/prod",
        "/v1/environments/dev/config",
        "/v1/secrets?environment=prod",
        "/v1/secrets?environment=dev",
        "/v1/api-keys",
        "/v1/general",
        "/v1/openapi.json",
    ] {
        let sealed = path.starts_with("/v1/events") || path.starts_with("/v1/openapi");
        let may = match path.split_once('?') {
            _ if sealed => &[][..],
            Some((list @ "/v1/secrets", _)) => allowed(list),
            _ => &shown[..],
        };
        let answer = client.send(client.request(Method::GET, path, Some(token)), may).await.is(200);
        assert!(!answer.text.is_empty(), "{path}");
    }
}

/// Canaries in the path, the query, the body and the credential of every route.
async fn every_route_with_canaries_everywhere(client: &Client<'_>, token: &str, secret: &str) {
    let canary = |kind| client.canaries.of(kind);
    let things = Things::unknown("org_01kqxk5rd0e5xrpzzv0jjq4zgn");
    for row in settled::http::routes().iter().map(|route| route.row) {
        let method: Method = row.method.parse().unwrap();
        let sound = things
            .path(&row.path.replace("{env}", "dev").replace("{sec}", secret).replace("{other}", "prod"));
        let mut strange = row.path.to_owned();
        while let Some((before, after)) = strange.split_once('{') {
            let after = after.split_once('}').map_or("", |(_, after)| after);
            strange = format!("{before}{}{after}", canary("path"));
        }
        let may = allowed(row.path);
        let request = |path: &str| client.request(method.clone(), path, Some(token));
        let with_query =
            format!("{sound}?{}={}&limit={}", canary("parameter"), canary("value"), canary("value"));
        let body = json!({canary("field"): canary("refused value"), "name": {"x": canary("refused value")},
            "email": canary("refused value"), "value": null, "organization": canary("refused value"),
            "mode": canary("refused value"), "timezone": canary("refused value")});
        let text = body.to_string();
        let json = "application/json";
        for request in [
            request(&strange).json(&body),
            request(&sound).json(&body),
            request(&with_query),
            request(&sound).header("content-type", canary("refused value")).body(text.clone()),
            request(&sound).header("content-type", json).body(text[..text.len() - 1].to_owned()),
            request(&sound)
                .header("content-type", json)
                .body(format!("{{\"a\":1,\"a\":\"{}\"}}", canary("value"))),
            request(&sound).header("if-match", format!("\"{}", canary("value"))),
            request(&sound).header("settled-min-version", canary("value")),
            request(&sound).header("x-fastn-api-key", canary("api key")),
            client.request(method.clone(), &sound, None).header("x-fastn-api-key", canary("api key")),
            client
                .request(method.clone(), &sound, None)
                .header("authorization", format!("Basic {}", canary("basic"))),
            client.request(method.clone(), &sound, Some(canary("wrong token"))),
            client.request(Method::TRACE, &strange, Some(token)),
            client.request(Method::from_bytes(b"ZQ7METHOD").unwrap(), &sound, Some(token)),
            client.request(method.clone(), &format!("/{}/{}", canary("path"), canary("value")), Some(token)),
        ] {
            client.send(request, may).await;
        }
    }
    let unreadable = format!("GET /{} HTTP/9.{}\r\n\r\n", canary("path"), canary("value"));
    let mut socket =
        tokio::net::TcpStream::connect(client.process.base.trim_start_matches("http://")).await.unwrap();
    socket.write_all(unreadable.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _closed = socket.read_to_end(&mut answer).await;
    assert_eq!(client.canaries.found(&answer), Vec::<&str>::new());
}

/// An answer over the operator's socket, whole.
async fn operator(data: &Path, method: &str, path: &str) -> String {
    let mut socket = UnixStream::connect(data.join("operator.sock")).await.unwrap();
    let request = format!("{method} {path} HTTP/1.1\r\nhost: settled\r\nconnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    answer
}
