//! `/v1/access/explain`: who may, by which grants, now and in the past; and who did.

use reqwest::Method;
use serde_json::{Value, json};
use settled::settings::roles::role::SystemRole;

use crate::server::{Somebody, TestServer, text};

async fn explain(server: &TestServer, who: &Somebody, query: &str) -> Value {
    server.get(&format!("/v1/access/explain?{query}"), who).await.is(200).json()
}

fn subjects(explained: &Value) -> Vec<String> {
    let data = explained["data"].as_array().unwrap();
    data.iter().map(|row| text(&row["subject"]["id"])).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_grant_that_allows_it_is_told() {
    let (server, owner) = TestServer::set_up().await;
    let dev = server.environment(&owner, "Dev", "test").await;
    let sam = server.add(owner.organization, "sam@example.com", "Sam").await;
    let team = server.team(&owner, "Core").await;
    let reader = server.role(&owner, "Reader", &["environment:read", "config:read"]).await;
    server.add_member(&owner, &team, &sam).await;
    let by_team = text(&server.give(&owner, &team, &reader).await.is(201).json()["id"]);
    let here = json!({"subject": sam.person, "role": "developer", "environment": "dev"});
    let here = text(&server.post("/v1/role-assignments", Some(&owner), &here).await.is(201).json()["id"]);
    server.give(&owner, &sam.person.to_string(), "billing").await.is(201);

    let query = format!("subject={}&permission=config:read&environment=dev", sam.person);
    let told = explain(&server, &owner, &query).await;
    assert_eq!(
        (&told["allowed"], &told["environment"], &told["did"]),
        (&json!(true), &json!(dev), &Value::Null)
    );
    let subject = json!({"id": sam.person, "kind": "person", "name": "Sam"});
    let everywhere = json!({"environment": null, "mode": null});
    let grants = json!([
        {"role": {"id": "developer", "name": "developer"}, "assignment": here, "team": null,
            "scope": {"environment": dev, "mode": null}},
        {"role": {"id": reader, "name": "Reader"}, "assignment": by_team, "team": {"id": team, "name": "Core"},
            "scope": everywhere},
    ]);
    assert_eq!(told["data"], json!([{"subject": subject, "grants": grants}]));

    let everywhere = format!("subject={}&permission=config:write", sam.person);
    let told = explain(&server, &owner, &everywhere).await;
    assert_eq!((&told["allowed"], &told["data"][0]["grants"]), (&json!(false), &json!([])));
    let nobody = "subject=usr_01kqxk5rd0e5xrpzzv0jjq4zgn&permission=config:read";
    assert_eq!(explain(&server, &owner, nobody).await["allowed"], false);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_subject_everybody_who_may_is_told_page_by_page() {
    let (server, owner) = TestServer::set_up().await;
    server.environment(&owner, "Dev", "test").await;
    server.environment(&owner, "Prod", "live").await;
    let viewer = server.add_with_role(owner.organization, SystemRole::Viewer).await;
    let billing = server.add_with_role(owner.organization, SystemRole::Billing).await;
    let (test, _) = server.api_key(&owner, &json!({"name": "T", "mode": "test", "role": "viewer"})).await;
    let (live, _) = server.api_key(&owner, &json!({"name": "L", "mode": "live", "role": "viewer"})).await;
    let (off, _) = server.api_key(&owner, &json!({"name": "O", "mode": "live", "role": "viewer"})).await;
    server.patch(&format!("/v1/api-keys/{off}"), &owner, &json!({"disabled": true})).await.is(200);
    let all = |people: &[&Somebody], keys: &[&String]| -> Vec<String> {
        let people = people.iter().map(|somebody| somebody.person.to_string());
        people.chain(keys.iter().map(ToString::to_string)).collect()
    };
    let of = |query: &'static str| {
        let (server, owner) = (&server, &owner);
        async move { subjects(&explain(server, owner, query).await) }
    };
    assert_eq!(of("permission=config:read&environment=dev").await, all(&[&owner, &viewer], &[&test]));
    assert_eq!(of("permission=config:read&environment=prod").await, all(&[&owner, &viewer], &[&live]));
    assert_eq!(of("permission=organization:read").await, all(&[&owner, &viewer, &billing], &[&live]));
    assert_eq!(of("permission=organization:own").await, all(&[&owner], &[]));
    let told = explain(&server, &owner, "permission=config:read&environment=prod").await;
    let of_key = &told["data"][2]["grants"][0];
    assert_eq!((&of_key["assignment"], &of_key["scope"]["mode"]), (&Value::Null, &json!("live")));
    assert_eq!(told["allowed"], Value::Null);

    let first = explain(&server, &owner, "permission=organization:read&limit=3").await;
    let rest = format!("cursor={}", text(&first["next_cursor"]));
    let rest = explain(&server, &owner, &rest).await;
    assert_eq!(subjects(&rest), [live]);
    assert_eq!(rest["next_cursor"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_could_then_and_who_did_is_one_question() {
    let (server, owner) = TestServer::set_up().await;
    let dev = server.environment(&owner, "Dev", "test").await;
    let sam = server.add(owner.organization, "sam@example.com", "Sam").await;
    let given = text(&server.give(&owner, &sam.person.to_string(), "developer").await.is(201).json()["id"]);
    for value in 1..=3 {
        let body = json!({"value": value});
        server.put("/v1/environments/dev/config/A", &sam, &body).await;
    }
    let then = server.version(owner.organization);
    server.delete(&format!("/v1/role-assignments/{given}"), &owner).await.is(204);
    server.put("/v1/environments/dev/config/A", &owner, &json!({"value": 4})).await.is(200);
    let question = format!("permission=config:write&resource={dev}/A");
    let now = explain(&server, &owner, &question).await;
    assert_eq!(subjects(&now), [owner.person.to_string()]);
    assert_eq!((&now["did"]["total"], &now["did"]["users"][0]["count"]), (&json!(4), &json!(3)));
    let past = explain(&server, &owner, &format!("{question}&as_of={then}")).await;
    assert_eq!(subjects(&past), [owner.person.to_string(), sam.person.to_string()]);
    let did = json!([{"id": sam.person, "kind": "person", "name": "Sam", "count": 3}]);
    assert_eq!((&past["did"]["users"], &past["did"]["more"]), (&did, &json!(false)));

    // Who may not search the audit log is not told who did.
    let viewer = server.add_with_role(owner.organization, SystemRole::Viewer).await;
    assert_eq!(explain(&server, &viewer, &question).await["did"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_could_read_a_secret_by_which_grant_and_who_did() {
    let (server, owner) = TestServer::set_up().await;
    server.environment(&owner, "Dev", "test").await;
    server.environment(&owner, "Prod", "live").await;
    let secret = server.secret(&owner, "dev", "TOKEN").await;
    let sam = server.add(owner.organization, "sam@example.com", "Sam").await;
    let here = json!({"subject": sam.person, "role": "developer", "environment": "dev"});
    let here = text(&server.post("/v1/role-assignments", Some(&owner), &here).await.is(201).json()["id"]);
    for _ in 0..2 {
        server.post(&format!("/v1/secrets/{secret}/reveal"), Some(&sam), &json!({})).await.is(200);
    }
    let then = server.version(owner.organization);
    server.delete(&format!("/v1/role-assignments/{here}"), &owner).await.is(204);
    let question = format!("permission=secret:reveal&resource={secret}");
    assert_eq!(subjects(&explain(&server, &owner, &question).await), [owner.person.to_string()]);
    let past = explain(&server, &owner, &format!("{question}&as_of={then}")).await;
    assert_eq!(subjects(&past), [owner.person.to_string(), sam.person.to_string()]);
    assert_eq!(past["data"][1]["grants"][0]["assignment"], here);
    assert_eq!(
        past["did"]["users"][0],
        json!({"id": sam.person, "kind": "person", "name": "Sam", "count": 2})
    );
    // Beside another environment, it would have to be held there, too.
    let elsewhere = explain(&server, &owner, &format!("{question}&environment=prod&as_of={then}")).await;
    assert_eq!(subjects(&elsewhere), [owner.person.to_string()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_and_an_app_are_asked_about_like_all_else() {
    let (server, owner) = TestServer::set_up().await;
    server.environment(&owner, "Dev", "test").await;
    let sam = server.add(owner.organization, "sam@example.com", "Sam").await;
    let here = json!({"subject": sam.person, "role": "developer", "environment": "dev"});
    server.post("/v1/role-assignments", Some(&owner), &here).await.is(201);
    let app = json!({"provider": "github", "client_id": "c", "client_secret": "s"});
    let app = text(&server.post("/v1/oauth-apps", Some(&owner), &app).await.is(201).json()["id"]);
    let [one, other] = [
        server.customer(&owner, &json!({"name": "One"})).await,
        server.customer(&owner, &json!({"name": "Other"})).await,
    ];
    let body = json!({"kind": "token", "name": "crm", "token": "t", "environment": "dev", "customer": one});
    let made = server.post("/v1/connections", Some(&owner), &body).await.is(201).json();
    let connection = text(&made["connection"]["id"]);
    let mut keys = Vec::new();
    for customer in [&one, &other] {
        let key = json!({"name": "K", "mode": "test", "role": "admin", "customers": [customer]});
        keys.push(server.api_key(&owner, &key).await.0);
    }
    let allowed = async |subject: &str, asked: String| {
        explain(&server, &owner, &format!("subject={subject}&{asked}")).await["allowed"] == true
    };
    let read = || format!("permission=connection:read&resource={connection}");
    assert!(allowed(&sam.person.to_string(), read()).await, "in its environment");
    assert!(allowed(&keys[0], read()).await);
    assert!(!allowed(&keys[1], read()).await, "it is limited to another customer");
    let of_app = || format!("permission=oauth_app:read&resource={app}");
    assert!(allowed(&owner.person.to_string(), of_app()).await);
    assert!(!allowed(&sam.person.to_string(), of_app()).await, "an app is the whole organization's");
    let told = explain(&server, &owner, &read()).await;
    assert!(subjects(&told).contains(&sam.person.to_string()), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_asked_is_named() {
    let (server, owner) = TestServer::set_up().await;
    let cases = [
        ("", "permission", "missing"),
        ("permission=config:raed", "permission", "unknown_value"),
        ("permission=config:read&environment=nowhere", "environment", "unknown"),
        ("permission=config:read&resource=env_01kqxk5rd0e5xrpzzv0jjq4zgn", "resource", "unknown"),
        ("permission=config:read&resource=ses_01kqxk5rd0e5xrpzzv0jjq4zgn", "resource", "unknown"),
        ("permission=config:read&subject=system", "subject", "invalid"),
        ("permission=config:read&subject=team_01kqxk5rd0e5xrpzzv0jjq4zgn", "subject", "invalid"),
    ];
    for (query, parameter, code) in cases {
        let problem = server.get(&format!("/v1/access/explain?{query}"), &owner).await;
        let problem = problem.is_problem(422, "invalid_request");
        let error = &problem["errors"][0];
        assert_eq!(
            (&error["parameter"], &error["code"]),
            (&json!(parameter), &json!(code)),
            "{query}: {problem}"
        );
    }
    for resource in [owner.organization.to_string(), owner.person.to_string()] {
        let query = format!("permission=organization:read&resource={resource}");
        assert_eq!(subjects(&explain(&server, &owner, &query).await), [owner.person.to_string()]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_caller_may_not_see_is_not_there() {
    let (server, owner) = TestServer::set_up().await;
    let dev = server.environment(&owner, "Dev", "test").await;
    let prod = server.environment(&owner, "Prod", "live").await;
    let (here, there) = (server.secret(&owner, "dev", "A").await, server.secret(&owner, "prod", "A").await);
    let key = json!({"name": "K", "mode": "live"});
    let (key, _) = server.api_key(&owner, &key).await;
    let sam = server.add(owner.organization, "sam@example.com", "Sam").await;
    let asks = server.role(&owner, "Asks", &["role:read"]).await;
    server.give(&owner, &sam.person.to_string(), &asks).await.is(201);
    let reads = json!({"subject": sam.person, "role": "viewer", "environment": "dev"});
    server.post("/v1/role-assignments", Some(&owner), &reads).await.is(201);
    let ask = async |about: &str, value: &str| {
        let path = format!("/v1/access/explain?permission=config:read&{about}={value}");
        server.get(&path, &sam).await
    };
    for (about, value) in [("environment", "dev"), ("resource", &*dev), ("resource", &*here)] {
        assert_eq!(subjects(&ask(about, value).await.is(200).json()).len(), 2, "{about} {value}");
    }
    ask("resource", &format!("{dev}/A")).await.is(200);
    for (about, value) in [
        ("environment", "prod"),
        ("environment", &*prod),
        ("resource", &*prod),
        ("resource", &*there),
        ("resource", &*format!("{prod}/A")),
        ("resource", &*key),
        ("resource", &*owner.person.to_string()),
        ("resource", &*owner.organization.to_string()),
    ] {
        let problem = ask(about, value).await.is_problem(422, "invalid_request");
        assert_eq!(
            (&problem["errors"][0]["parameter"], &problem["errors"][0]["code"]),
            (&json!(about), &json!("unknown"))
        );
    }
    let listed = server.get("/v1/role-assignments?environment=prod", &sam).await;
    listed.is_problem(422, "invalid_request");
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_that_read_a_secret_are_among_those_who_did() {
    let (server, owner) = TestServer::set_up().await;
    server.environment(&owner, "Dev", "test").await;
    let secret = server.secret(&owner, "dev", "TOKEN").await;
    let (id, key) = server.api_key(&owner, &json!({"name": "Deploy", "mode": "test"})).await;
    server.get("/v1/ctx/secrets/TOKEN?environment=dev", &key).await.is(200);
    let told = explain(&server, &owner, &format!("permission=ctx:read&resource={secret}")).await;
    // People hold it too, by their roles, and only programs do it.
    assert_eq!((subjects(&told).len(), &told["data"][0]["subject"]["id"]), (1, &json!(id)));
    assert_eq!(told["did"]["users"], json!([{"id": id, "kind": "api_key", "name": "Deploy", "count": 1}]));
}

/// Dice that fall alike in every run (xorshift64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, count: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % count as u64) as usize
    }

    fn one<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }
}

/// A permission, a request that needs it and changes nothing, and the permission to see what it is about.
const TRIES: &[(&str, &str, &str, Option<&str>)] = &[
    ("environment:read", "GET", "/v1/environments/{env}", None),
    ("config:read", "GET", "/v1/environments/{env}/config", Some("environment:read")),
    ("config:read", "GET", "/v1/environments/{env}/config/REGION", Some("environment:read")),
    ("config:write", "PATCH", "/v1/environments/{env}/config", Some("environment:read")),
    ("secret:read", "GET", "/v1/secrets/{sec}", None),
    ("secret:write", "PATCH", "/v1/secrets/{sec}", Some("secret:read")),
    ("environment:manage", "PATCH", "/v1/environments/{env}", Some("environment:read")),
    ("organization:read", "GET", "/v1/general", None),
    ("organization:update", "PATCH", "/v1/general", None),
    ("person:read", "GET", "/v1/teams", None),
    ("role:read", "GET", "/v1/roles", None),
    ("audit:read", "GET", "/v1/audit?limit=1", None),
    ("history:read", "GET", "/v1/diff?from=1&to=1", None),
];

/// One question with what the subject met when they tried.
struct Sample {
    subject: String,
    /// How the question names what it is about, if it is about something.
    about: Option<String>,
    permissions: Vec<&'static str>,
    could: bool,
    version: u64,
}

struct World {
    server: TestServer,
    owner: Somebody,
    dice: Dice,
    subjects: Vec<(String, Somebody)>,
    grantees: Vec<String>,
    roles: Vec<String>,
    team: String,
    places: Vec<Place>,
}

/// An environment, and a secret in it.
struct Place {
    slug: &'static str,
    id: String,
    secret: String,
}

const ENVIRONMENTS: [&str; 3] = ["dev", "stage", "prod"];

impl World {
    async fn new() -> Self {
        let (server, owner) = TestServer::set_up().await;
        let mut places = Vec::new();
        for (slug, mode) in ENVIRONMENTS.into_iter().zip(["test", "test", "live"]) {
            let id = server.environment(&owner, slug, mode).await;
            let value = json!({"value": "north"});
            server.put(&format!("/v1/environments/{slug}/config/REGION"), &owner, &value).await.is(201);
            let secret = server.secret(&owner, slug, "TOKEN").await;
            places.push(Place { slug, id, secret });
        }
        let mut subjects = vec![(owner.person.to_string(), owner.clone())];
        for number in 0..3 {
            let email = format!("sam{number}@example.com");
            let somebody = server.add(owner.organization, &email, "Sam").await;
            subjects.push((somebody.person.to_string(), somebody));
        }
        let team = server.team(&owner, "Core").await;
        let custom = server.role(&owner, "Custom", &["environment:read"]).await;
        for (mode, role) in [("test", "developer"), ("live", "viewer"), ("live", &custom)] {
            subjects.push(server.api_key(&owner, &json!({"name": "K", "mode": mode, "role": role})).await);
        }
        let mut grantees: Vec<String> = subjects[1..4].iter().map(|(id, _)| id.clone()).collect();
        grantees.push(team.clone());
        let roles = ["admin", "developer", "viewer", "auditor", "billing"].map(ToOwned::to_owned);
        let roles = roles.into_iter().chain([custom]).collect();
        Self { server, owner, dice: Dice(0x9e37_79b9_7f4a_7c15), subjects, grantees, roles, team, places }
    }

    /// The Owner changes who may what.
    async fn change(&mut self) {
        let (server, owner) = (&self.server, &self.owner);
        match self.dice.below(5) {
            0 => {
                let path = format!("/v1/roles/{}", self.roles[5]);
                let all = TRIES.iter().map(|(permission, ..)| *permission);
                let some: Vec<&str> = all.filter(|_| self.dice.below(2) == 0).collect();
                server.patch(&path, owner, &json!({"permissions": some})).await.is(200);
            }
            1 => {
                let member = self.dice.one(&self.grantees[..3]);
                let path = format!("/v1/teams/{}/members/{member}", self.team);
                let method = if self.dice.below(2) == 0 { Method::PUT } else { Method::DELETE };
                server.send(method, &path, owner, &[], &Value::Null).await;
            }
            2 => {
                let held = server.get("/v1/role-assignments", owner).await.is(200).json();
                let held = held["data"].as_array().unwrap().clone();
                let ended = text(&self.dice.one(&held)["id"]);
                server.delete(&format!("/v1/role-assignments/{ended}"), owner).await;
            }
            _ => {
                let subject = self.dice.one(&self.grantees);
                let mut given = json!({"subject": subject, "role": self.dice.one(&self.roles)});
                if self.dice.below(2) == 0 {
                    given["environment"] = json!(self.dice.one(&ENVIRONMENTS));
                }
                server.post("/v1/role-assignments", Some(owner), &given).await;
            }
        }
    }

    /// Somebody tries something.
    async fn sample(&mut self) -> Sample {
        let (subject, who) = self.dice.one(&self.subjects).clone();
        let (permission, method, template, sees) = self.dice.one(TRIES);
        let Place { slug, id, secret } = self.dice.one(&self.places);
        let path = template.replace("{env}", slug).replace("{sec}", secret);
        let about = if template.contains("{sec}") {
            Some(format!("resource={secret}"))
        } else if template.ends_with("/REGION") {
            Some(format!("resource={id}/REGION"))
        } else if template.contains("{env}") {
            Some(self.dice.one(&[format!("environment={slug}"), format!("resource={id}")]).clone())
        } else {
            None
        };
        let body = if *method == "PATCH" { json!({}) } else { Value::Null };
        let answer = self.server.send(method.parse().unwrap(), &path, &who, &[], &body).await;
        assert!([200, 403, 404].contains(&answer.status), "{method} {path}: {}", answer.text);
        Sample {
            subject,
            about,
            permissions: [*permission].into_iter().chain(*sees).collect(),
            could: answer.status == 200,
            version: self.server.version(self.owner.organization),
        }
    }

    async fn is_explained(&self, sample: &Sample, as_of: Option<u64>) -> bool {
        let mut allowed = true;
        for permission in &sample.permissions {
            let mut query = format!("subject={}&permission={permission}", sample.subject);
            query.extend(sample.about.as_ref().map(|about| format!("&{about}")));
            query.extend(as_of.map(|version| format!("&as_of={version}")));
            let told = explain(&self.server, &self.owner, &query).await;
            let grants = told["data"][0]["grants"].as_array().unwrap();
            assert_eq!(told["allowed"], !grants.is_empty(), "{query}: {told}");
            allowed &= told["allowed"] == true;
        }
        allowed
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_explained_is_what_happens_now_and_in_the_past() {
    let mut world = World::new().await;
    let mut samples = Vec::new();
    for _ in 0..5 * crate::scale() * crate::scale() {
        world.change().await;
        for _ in 0..20 {
            let sample = world.sample().await;
            assert_eq!(world.is_explained(&sample, None).await, sample.could, "now: {}", label(&sample));
            samples.push(sample);
        }
    }
    let could = samples.iter().filter(|sample| sample.could).count();
    assert!(could * 5 > samples.len() && could * 5 < samples.len() * 4, "{could} of {}", samples.len());
    for sample in &samples {
        let then = world.is_explained(sample, Some(sample.version)).await;
        assert_eq!(then, sample.could, "then: {}", label(sample));
    }
}

fn label(sample: &Sample) -> String {
    let Sample { subject, about, permissions, could, version } = sample;
    format!("{subject} {permissions:?} about {about:?} at {version}: {could}")
}
