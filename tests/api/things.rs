//! One of each thing that a path names, for tests that go over all routes.

use reqwest::Method;
use serde_json::{Value, json};
use settled::ids::UserId;

use crate::server::{Somebody, TestServer, text};

/// The meter that paths name: the organization has a quota of its own for it, which is far away.
const METER: &str = "api_keys";

/// What stands for the variable segments of paths.
pub struct Things(Vec<(&'static str, String)>);

impl Things {
    /// All of them are there: an environment with a value, a team with a member and a role, a role that nobody has. They
    /// are named after `mark`, which is the environment's slug.
    pub async fn make(server: &TestServer, owner: &Somebody, mark: &str, member: UserId) -> Self {
        server.environment(owner, mark, "test").await;
        let path = format!("/v1/environments/{mark}/config/A");
        server.put(&path, owner, &json!({"value": "before"})).await.is(201);
        let role = server.role(owner, &format!("{mark} role"), &["config:read"]).await;
        let team = server.team(owner, &format!("{mark} team")).await;
        let given = server.give(owner, &team, "workflow").await.is(201);
        let path = format!("/v1/teams/{team}/members/{member}");
        server.put(&path, owner, &json!({})).await.is(204);
        let secret = server.secret(owner, mark, "TOKEN").await;
        let app = json!({"provider": "custom", "client_id": mark, "client_secret": "a client secret",
            "authorize_url": "https://idp.example.com/authorize", "token_url": "https://idp.example.com/token"});
        let app = server.post("/v1/oauth-apps", Some(owner), &app).await.is(201).json();
        let connection = json!({"kind": "token", "name": "billing", "token": "a token", "environment": mark});
        let connection = server.post("/v1/connections", Some(owner), &connection).await.is(201).json();
        let key = json!({"name": mark, "mode": "test", "environments": [mark]});
        let (api_key, _) = server.api_key(owner, &key).await;
        let invited = json!({"email": format!("{mark}@example.net"), "role": "viewer"});
        let invited = server.post("/v1/invitations", Some(owner), &invited).await.is(201).json();
        let request = server.join_request(owner, mark).await;
        let customer = server.customer(owner, &json!({"name": mark, "external_id": mark})).await;
        let path = format!("/v1/customers/{customer}/data/A");
        server.put(&path, owner, &json!({"value": "before"})).await.is(201);
        let runs = json!({"workflow": "sync", "environment": mark});
        let path = format!("/v1/customers/{customer}/executions");
        let execution = server.post(&path, Some(owner), &runs).await.is(201).json();
        let quota = format!("/v1/billing/quotas/{METER}");
        server.put(&quota, owner, &json!({"limit": 1_000_000, "soft": true})).await.is(200);
        let sessions = server.get("/v1/me/sessions", owner).await.is(200).json();
        Self(vec![
            ("env", mark.to_owned()),
            ("other", mark.to_owned()),
            ("key", "A".to_owned()),
            ("sec", secret),
            ("con", text(&connection["connection"]["id"])),
            ("token", "no-link".to_owned()),
            ("app", text(&app["id"])),
            ("name", "TOKEN".to_owned()),
            ("n", "1".to_owned()),
            ("api_key", api_key),
            ("team", team),
            ("usr", member.to_string()),
            ("jr", request),
            ("role", role),
            ("cus", customer),
            ("exe", text(&execution["id"])),
            ("inv", text(&invited["id"])),
            ("ra", text(&given.json()["id"])),
            ("ses", text(&sessions["data"][0]["id"])),
            ("meter", METER.to_owned()),
            ("id", owner.organization.to_string()),
        ])
    }

    /// None of them is there, but what the past is asked of.
    pub fn unknown(organization: impl std::fmt::Display) -> Self {
        let of = |prefix: &str| format!("{prefix}_01kqxk5rd0e5xrpzzv0jjq4zgn");
        let mut things: Vec<(&'static str, String)> =
            ["env", "team", "usr", "inv", "jr", "role", "ra", "ses", "sec", "app", "con", "cus", "exe"]
                .map(|prefix| (prefix, of(prefix)))
                .into();
        things.extend([
            ("key", "A".to_owned()),
            ("token", "no-link".to_owned()),
            ("other", of("env")),
            ("n", "1".to_owned()),
            ("name", "TOKEN".to_owned()),
            ("meter", "doors".to_owned()),
            ("api_key", of("key")),
            ("id", organization.to_string()),
        ]);
        Self(things)
    }

    /// Lets something else stand for a segment.
    pub fn replace(&mut self, segment: &str, thing: String) {
        let place = self.0.iter_mut().find(|(name, _)| *name == segment);
        place.unwrap_or_else(|| panic!("nothing stands for {{{segment}}}")).1 = thing;
    }

    /// One of them.
    pub fn of(&self, segment: &str) -> &str {
        let found = self.0.iter().find(|(name, _)| *name == segment);
        found.map_or_else(|| panic!("nothing stands for {{{segment}}}"), |(_, thing)| thing)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(_, thing)| thing.as_str())
    }

    /// The path of a template.
    pub fn path(&self, template: &str) -> String {
        let path = self
            .0
            .iter()
            .fold(template.to_owned(), |path, (name, thing)| path.replace(&format!("{{{name}}}"), thing));
        assert!(!path.contains('{'), "nothing stands for a segment of {path}");
        path
    }
}

/// Whether a route answers people's browsers, with pages: there is nothing else to a URL there that has a meaning, and what a
/// provider puts into one beside is passed over (RFC 6749 §4.1.2).
pub fn is_page(path: &str) -> bool {
    path.starts_with("/connect/") || path.starts_with("/oauth/callback/")
}

/// A path with a query, and with what its route cannot do without, unless the query begins with that.
pub fn with_query(path: &str, query: &str) -> String {
    let needed = match path {
        "/v1/access/explain" if !query.starts_with("permission=") => "permission=config:read&",
        "/v1/billing/usage" if !query.starts_with("meter=") => "meter=people&",
        "/v1/diff" if !query.starts_with("from=") => "from=1&",
        "/v1/proof/inclusion" if !query.starts_with("event=") => "event=1&",
        "/v1/proof/consistency" if query.starts_with("from=") => "to=1&",
        "/v1/proof/consistency" if query.starts_with("to=") => "from=1&",
        "/v1/proof/consistency" => "from=1&to=1&",
        _ => "",
    };
    format!("{path}?{needed}{query}")
}

/// A request of a route that goes through wherever it is permitted.
pub fn request(method: &str, template: &str, things: &Things, owner: &Somebody) -> (Method, String, Value) {
    let path = with_query(&things.path(template), "");
    let name = format!("New {}", things.of("env"));
    let body = match (method, template) {
        ("POST", _) if template.ends_with("/executions") => {
            json!({"workflow": "sync", "environment": things.of("env")})
        }
        ("POST", _) if template.ends_with("/finish") => json!({"status": "succeeded"}),
        ("POST", "/v1/secrets") => {
            json!({"name": "NEW", "value": "a value", "environment": things.of("env")})
        }
        ("POST", _) if template.ends_with("/import") => json!({"secrets": [{"name": "NEW", "value": "v"}]}),
        ("POST", _) if template.ends_with("/promote") => json!({"to": "target"}),
        ("POST", _) if template.ends_with("/rollback") => json!({"to_version": 1}),
        ("POST", "/v1/environments") => json!({"name": name, "mode": "test"}),
        ("POST", "/v1/connections") => {
            json!({"kind": "token", "name": "new", "token": "a token", "environment": things.of("env")})
        }
        ("POST", "/v1/oauth-apps") => {
            json!({"provider": "github", "client_id": "new", "client_secret": "a client secret"})
        }
        ("POST", "/v1/api-keys") => {
            json!({"name": "K", "mode": "test", "environments": [things.of("env")]})
        }
        ("POST", "/v1/invitations") => {
            json!({"email": format!("new-{}@example.net", things.of("env")), "role": "viewer"})
        }
        ("POST", "/v1/teams" | "/v1/customers") => json!({"name": name}),
        ("POST", "/v1/roles") => json!({"name": name, "permissions": []}),
        ("POST", "/v1/role-assignments") => json!({"subject": things.of("team"), "role": things.of("role")}),
        ("POST", "/v1/restore") => {
            json!({"as_of": 1, "scope": {"resource": owner.organization}, "dry_run": true})
        }
        ("PUT", path) if path.contains("/members/") => json!({}),
        ("PUT", "/v1/billing/plan") => json!({"plan": "unlimited"}),
        ("PUT", path) if path.contains("/quotas/") => json!({"limit": 1_000_000, "soft": true}),
        ("PUT", path) if path.ends_with("/limits") => json!({"secrets": 1_000_000}),
        ("PUT", _) => json!({"value": "after"}),
        ("GET" | "DELETE", _) => Value::Null,
        _ => json!({}),
    };
    (method.parse().unwrap(), path, body)
}
