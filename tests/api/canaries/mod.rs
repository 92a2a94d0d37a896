//! Canaries: values that must not get out go through every endpoint and every error path of a real process that logs
//! all it can. They are then looked for in answers where they do not belong, log lines, metrics, arguments, and every
//! file of the data directory, decompressed.

use std::collections::BTreeMap;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::Method;
use serde_json::{Value, json};
use settled::data_dir::DataDir;
use settled::log::frame::Frame;
use settled::log::{EventLog as _, Position};
use settled::open::{LogOptions, open_log};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use self::mail::accounts_by_mail;
use crate::process::Process;
use crate::server::{Answer, send, text};
use crate::things::Things;

mod mail;

/// What each canary is, and its value. Those of the server's making are added as they are made.
struct Canaries(BTreeMap<&'static str, String>);

impl Canaries {
    fn new() -> Self {
        let mail = |name: &str| format!("Zq7{name}Canary@example.com");
        let mut canaries = BTreeMap::from([
            ("email", mail("Owner")),
            ("unknown email", mail("Stranger")),
            ("newcomer email", mail("Newcomer")),
            ("another email", mail("Another")),
            ("ip", "203.0.113.177".to_owned()),
        ]);
        for kind in [
            "name",
            "new name",
            "password",
            "new password",
            "wrong password",
            "newcomer name",
            "newcomer password",
            "third password",
            "wrong mailed token",
            "wrong setup token",
            "reason",
            "user agent",
            "wrong token",
            "api key",
            "cookie",
            "idempotency key",
            "basic",
            "path",
            "parameter",
            "value",
            "field",
            "refused value",
            "refused name",
            "secret value",
            "new secret value",
        ] {
            canaries.insert(kind, format!("Zq7{}Canary{}", kind.replace(' ', ""), kind.len()));
        }
        Self(canaries)
    }

    fn of(&self, kind: &str) -> &str {
        self.0.get(kind).unwrap_or_else(|| panic!("there is no canary {kind}"))
    }

    /// The canaries in a text, in any letter case, percent-encoded or in base64.
    fn found(&self, bytes: &[u8]) -> Vec<&'static str> {
        let lower = bytes.to_ascii_lowercase();
        let holds = |needle: &[u8]| contains(bytes, needle);
        let is_there = |canary: &str| {
            contains(&lower, canary.to_ascii_lowercase().as_bytes())
                || holds(canary.replace('@', "%40").as_bytes())
                || (0..3).any(|shift| holds(inner_base64(canary, shift).as_bytes()))
        };
        self.0.iter().filter(|(_, canary)| is_there(canary)).map(|(kind, _)| *kind).collect()
    }
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

/// What base64 makes of a text that begins at some byte of a group, without what depends on its neighbours.
fn inner_base64(text: &str, shift: usize) -> String {
    let mut bytes = vec![0; shift];
    bytes.extend_from_slice(text.as_bytes());
    let encoded = URL_SAFE_NO_PAD.encode(bytes);
    encoded[4 * usize::from(shift > 0)..encoded.len() - 4].to_owned()
}

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

/// What the answer of a route may hold.
fn allowed(path: &str) -> &'static [&'static str] {
    match path {
        "/v1/setup" | "/v1/auth/login" | "/v1/auth/switch" => &["name", "new name", "email"],
        "/v1/me" | "/v1/me/password" => &["name", "new name", "email"],
        "/v1/me/sessions" => &["user agent", "ip"],
        "/v1/audit" => &["name", "new name", "reason", "ip"],
        "/v1/people" => &["name", "new name", "email"],
        "/v1/environments/{env}/config" | "/v1/environments/{env}/config/{key}" => &["value"],
        "/v1/history/{id}" => &["name", "new name", "reason", "value"],
        "/v1/diff" => &["value"],
        "/v1/secrets/{sec}/reveal" => &["secret value", "new secret value"],
        "/v1/secrets/{sec}/versions" => &["name", "new name"],
        "/v1/ctx" | "/v1/ctx/secrets/{name}" => &["secret value"],
        _ => &[],
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_must_not_get_out_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let (data, mails) = (folder.path().join("data"), folder.path().join("mails"));
    let options = ["--log-level", "trace", "--trusted-proxies", "127.0.0.0/8", "--organizations", "open"];
    let mail = ["--signup", "open", "--mail-dir", mails.to_str().unwrap()];
    let options = [&options[..], &mail].concat();
    let process = Process::start(&data, &options);
    let mut canaries = Canaries::new();
    let http = settled::client::http::plain().build().unwrap();
    let mut client = Client { process: &process, canaries: &mut canaries, http };

    let token = set_up(&mut client).await;
    everyday_use(&mut client, &token).await;
    accounts_by_mail(&mut client, &mails).await;
    let secret = secrets(&client, &token).await;
    a_program(&mut client, &token).await;
    every_route_with_canaries_everywhere(&client, &token, &secret).await;
    assert_eq!(canaries.found(process.arguments().as_bytes()), Vec::<&str>::new(), "arguments");
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
    assert!(canaries.0.len() >= 32, "{} canaries", canaries.0.len());

    let printed = process.stop();
    // The set-up link and its curl line are printed for the operator before anything is set up.
    let setup_token = canaries.0.remove("setup token").unwrap();
    assert!(printed.contains(&setup_token), "the link is printed");
    assert!(printed.contains("/v1/environments/{env}"), "requests are logged: {printed}");
    assert_eq!(canaries.found(printed.as_bytes()), Vec::<&str>::new(), "log lines: {printed}");
    canaries.0.insert("setup token", setup_token);
    nothing_on_disk(&data, &mut canaries);
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

    let body = json!({"name": "Dev ControlZq7", "slug": "dev", "mode": "test"});
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
    // Another key than that of the environment before: these are other requests.
    let request = client.request(Method::POST, "/v1/environments", Some(token));
    let mut request = request.json(&prod).build().unwrap();
    request.headers_mut().remove("idempotency-key");
    client.http.execute(request).await.unwrap().error_for_status().unwrap();
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

fn nothing_on_disk(data: &Path, canaries: &mut Canaries) {
    let mut files = 0;
    for path in files_under(data) {
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(canaries.found(&bytes), Vec::<&str>::new(), "{}", path.display());
        files += 1;
    }
    assert!(files >= 5, "only {files} files were searched");

    let opened = open_log(DataDir::open(data, 4096).unwrap(), LogOptions::default()).unwrap();
    let mut events = Vec::new();
    let mut after = Position(0);
    loop {
        let frames = opened.log.read(after).unwrap();
        let Some((last, _)) = frames.last() else { break };
        after = *last;
        for (_, bytes) in frames {
            let frame = Frame::parse(bytes).unwrap();
            for json in frame.jsons() {
                events.extend(json.unwrap().to_string().into_bytes());
            }
        }
    }
    assert_eq!(canaries.found(&events), Vec::<&str>::new(), "events as recorded");
    // What is recorded in the open is found, so what was not found is not there.
    assert!(contains(&events, b"Dev ControlZq7"));
    opened.log.close().unwrap();
}

fn files_under(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            files.extend(files_under(&entry.path()));
        } else if kind.is_file() {
            files.push(entry.path());
        }
    }
    files
}

#[test]
fn a_canary_is_found_in_each_of_its_disguises() {
    let canaries = Canaries::new();
    let name = canaries.of("name");
    for shift in 0..3 {
        let encoded = URL_SAFE_NO_PAD.encode(format!("{}{name}xyz", "a".repeat(shift)));
        assert_eq!(canaries.found(encoded.as_bytes()), ["name"], "{shift}");
    }
    assert_eq!(canaries.found(name.to_uppercase().as_bytes()), ["name"]);
    assert_eq!(canaries.found(b"nothing here"), Vec::<&str>::new());
}
