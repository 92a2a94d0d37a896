//! Every route, generated from the table, as it is met by whoever holds its permission and nothing else, everything
//! else, or the permission in one environment; by keys of either mode; and from another organization.

use serde_json::{Value, json};
use settled::http::access::{Access, Row};
use settled::http::routes;
use settled::settings::roles::permission::Permission;

use crate::server::{Answer, Somebody, TestServer, text};
use crate::things::{Things, request};

/// What a route needs beside its permission to be gone through, where that is an environment's: to see it.
const SEES: Permission = Permission::EnvironmentRead;

/// What in a path lies in an environment.
const OF_ENVIRONMENTS: [&str; 5] = ["{env}", "{sec}", "{con}", "{api_key}", "{exe}"];

/// What is made in the environment that the body names.
const MAKES: [(&str, &str); 4] = [
    ("POST", "/v1/secrets"),
    ("POST", "/v1/connections"),
    ("POST", "/v1/api-keys"),
    ("POST", "/v1/customers/{cus}/executions"),
];

/// Acme, with somebody who gets exactly one permission, somebody who gets all others, and somebody who gets some in one
/// environment.
struct Acme {
    server: TestServer,
    owner: Somebody,
    exactly: Holder,
    others: Holder,
    scoped: Holder,
    /// An Owner of another organization.
    stranger: Somebody,
    /// Programs with all that a key can have.
    test: Somebody,
    live: Somebody,
    made: usize,
}

/// Somebody and the custom role that they have.
struct Holder {
    somebody: Somebody,
    role: String,
}

/// A cell of the matrix: what is tried, and by whom.
struct Cell {
    row: Row,
    permission: Permission,
    what: &'static str,
}

impl Acme {
    async fn new() -> Self {
        let (server, owner) = TestServer::set_up().await;
        server.environment(&owner, "Target", "test").await;
        let holder = async |name: &str| {
            let email = format!("{name}@example.com");
            let somebody = server.add(owner.organization, &email, name).await;
            Holder { somebody, role: server.role(&owner, name, &[]).await }
        };
        let (exactly, others, scoped) =
            (holder("exactly").await, holder("others").await, holder("scoped").await);
        for Holder { somebody, role } in [&exactly, &others] {
            server.give(&owner, &somebody.person.to_string(), role).await.is(201);
        }
        let beta = json!({"name": "Beta", "timezone": "UTC"});
        let beta = text(&server.post("/v1/organizations", Some(&owner), &beta).await.is(201).json()["id"]);
        let there = Somebody { organization: beta.parse().unwrap(), ..owner.clone() };
        let stranger = server.another_session(&there).await;
        let key = |mode: &'static str| {
            let (server, owner) = (&server, &owner);
            async move { server.api_key(owner, &json!({"name": mode, "mode": mode, "role": "admin"})).await.1 }
        };
        let (test, live) = (key("test").await, key("live").await);
        Self { server, owner, exactly, others, scoped, stranger, test, live, made: 0 }
    }

    /// Lets a role allow exactly this.
    async fn allow(&self, holder: &Holder, permissions: impl Iterator<Item = Permission>) {
        let permissions: Vec<String> = permissions.map(|permission| permission.to_string()).collect();
        let path = format!("/v1/roles/{}", holder.role);
        self.server.patch(&path, &self.owner, &json!({"permissions": permissions})).await.is(200);
    }

    async fn things(&mut self) -> Things {
        self.made += 1;
        let mark = format!("env-{}", self.made);
        Things::make(&self.server, &self.owner, &mark, self.owner.person).await
    }

    /// One cell, with things of its own.
    async fn try_it(&mut self, who: &Somebody, row: Row) -> (Things, Answer) {
        let things = self.things().await;
        let answer = self.send(who, row, &things).await;
        (things, answer)
    }

    async fn send(&self, who: &Somebody, row: Row, things: &Things) -> Answer {
        let (method, path, body) = request(row.method, row.path, things, &self.owner);
        self.server.send(method, &path, who, &[], &body).await
    }
}

impl Cell {
    fn label(&self, answer: &Answer) -> String {
        let Row { method, path, .. } = self.row;
        format!("{method} {path} with {}: {} {}", self.what, answer.status, answer.text)
    }

    /// Nothing about the route's permission stands in the way.
    fn passes(&self, answer: &Answer) {
        let is_denied = answer.status == 403 && answer.json()["permission"] == self.permission.to_string();
        assert!(!is_denied && answer.status != 401 && answer.status < 500, "{}", self.label(answer));
    }

    /// The route's permission is what is missing.
    fn is_denied(&self, answer: &Answer) {
        assert_eq!(answer.status, 403, "{}", self.label(answer));
        assert_eq!(answer.json()["permission"], self.permission.to_string(), "{}", self.label(answer));
    }

    /// A key's role has the permission, and its mode does not reach there.
    fn is_in_the_wrong_mode(&self, answer: &Answer) {
        assert_eq!(answer.status, 403, "{}", self.label(answer));
        assert_eq!(answer.json()["code"], "wrong_mode", "{}", self.label(answer));
    }

    /// There is nothing there.
    fn finds_nothing(&self, answer: &Answer) {
        assert_eq!(answer.status, 404, "{}", self.label(answer));
    }
}

/// The rows that ask for a permission.
fn rows() -> impl Iterator<Item = (Row, Permission)> {
    let rows = routes().into_iter().map(|route| route.row);
    let asks = rows.filter_map(|row| Some((row, row.access.permission()?)));
    // What only programs do is tried by them alone, in `ctx`.
    asks.filter(|(row, _)| !matches!(row.access, Access::Program(_)))
}

#[tokio::test(flavor = "multi_thread")]
async fn exactly_the_permission_is_enough_and_everything_else_is_not() {
    let mut acme = Acme::new().await;
    let mut cells = 0;
    for (row, permission) in rows() {
        let all = || Permission::ALL.iter().copied();
        acme.allow(&acme.exactly, [permission, SEES].into_iter()).await;
        let all_others = all().filter(|other| *other != permission && *other != Permission::OrganizationOwn);
        acme.allow(&acme.others, all_others).await;
        for (who, what, passes) in [
            (acme.others.somebody.clone(), "all but the permission", false),
            (acme.exactly.somebody.clone(), "the permission alone", true),
        ] {
            let (_, answer) = acme.try_it(&who, row).await;
            let cell = Cell { row, permission, what };
            if passes {
                cell.passes(&answer)
            } else {
                cell.is_denied(&answer)
            }
            cells += 1;
        }
    }
    assert!(cells > 200, "{cells} cells");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_in_one_environment_holds_there_and_nowhere_else() {
    let mut acme = Acme::new().await;
    let mut cells = 0;
    for (row, permission) in rows() {
        acme.allow(&acme.scoped, [permission, SEES].into_iter()).await;
        let (here, elsewhere) = (acme.things().await, acme.things().await);
        let subject = acme.scoped.somebody.person;
        let given = json!({"subject": subject, "role": acme.scoped.role, "environment": here.of("env")});
        let given = acme.server.post("/v1/role-assignments", Some(&acme.owner), &given).await.is(201).json();
        let who = acme.scoped.somebody.clone();
        let cell = |what| Cell { row, permission, what };
        if !permission.per_environment() {
            // What is no environment's is given in none.
            cell("it in one environment").is_denied(&acme.send(&who, row, &here).await);
            cells += 1;
        } else if OF_ENVIRONMENTS.iter().any(|segment| row.path.contains(segment)) {
            cell("it elsewhere").finds_nothing(&acme.send(&who, row, &elsewhere).await);
            cell("it here").passes(&acme.send(&who, row, &here).await);
            cells += 2;
        } else if MAKES.contains(&(row.method, row.path)) {
            let answer = acme.send(&who, row, &elsewhere).await;
            assert_eq!(answer.status, 422, "{}", cell("it elsewhere").label(&answer));
            cell("it here").passes(&acme.send(&who, row, &here).await);
            cells += 2;
        } else if row.access == Access::Environment(permission) {
            cell("it in one environment").passes(&acme.send(&who, row, &here).await);
            cells += 1;
        } else {
            // It is about all environments, those to come included.
            cell("it in one environment").is_denied(&acme.send(&who, row, &here).await);
            cells += 1;
        }
        let path = format!("/v1/role-assignments/{}", text(&given["id"]));
        // Where the environment was deleted, the grant went with it.
        acme.server.delete(&path, &acme.owner).await;
    }
    assert!(cells > rows().count(), "{cells} cells");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_meet_what_their_mode_lets_them() {
    let mut acme = Acme::new().await;
    for (row, permission) in rows() {
        let Row { method, path, access, .. } = row;
        let (_, answer) = acme.try_it(&acme.test.clone(), row).await;
        let cell = Cell { row, permission, what: "a test key" };
        match access {
            _ if !permission.per_environment() => cell.is_in_the_wrong_mode(&answer),
            // It is about all environments, those of the other mode and those to come included.
            Access::Organization(_) => cell.is_denied(&answer),
            _ => cell.passes(&answer),
        }
        let (_, answer) = acme.try_it(&acme.live.clone(), row).await;
        let cell = Cell { row, permission, what: "a live key" };
        match access {
            _ if !permission.per_environment() => cell.passes(&answer),
            Access::Organization(_) => cell.is_denied(&answer),
            _ if path.contains("{env}") => cell.is_in_the_wrong_mode(&answer),
            _ if path.ends_with("/executions") && method == "POST" => cell.is_in_the_wrong_mode(&answer),
            _ if OF_ENVIRONMENTS.iter().any(|segment| path.contains(segment)) => cell.finds_nothing(&answer),
            // To what a body names, an environment of the other mode is not there.
            _ if MAKES.contains(&(method, path)) => assert_eq!(answer.status, 422, "{}", cell.label(&answer)),
            _ => cell.passes(&answer),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_a_persons_own_asks_for_a_session() {
    let mut acme = Acme::new().await;
    for row in routes().into_iter().map(|route| route.row) {
        if let Access::OwnAccount | Access::Founder | Access::Member = row.access {
            for who in [acme.test.clone(), acme.live.clone()] {
                acme.try_it(&who, row).await.1.is_problem(403, "session_required");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_programs_read_asks_for_a_key_with_exactly_that_permission() {
    let mut acme = Acme::new().await;
    let programs = routes().into_iter().filter_map(|route| match route.row.access {
        Access::Program(permission) => Some((route.row, permission)),
        _ => None,
    });
    let programs: Vec<_> = programs.collect();
    assert!(programs.len() >= 3);
    let elsewhere = acme.stranger.clone();
    acme.server.environment(&elsewhere, "Theirs", "test").await;
    for (row, permission) in programs {
        let things = acme.things().await;
        acme.allow(&acme.exactly, [permission].into_iter()).await;
        let all = Permission::ALL.iter().copied();
        acme.allow(
            &acme.others,
            all.filter(|other| *other != permission && *other != Permission::OrganizationOwn),
        )
        .await;
        let key = async |who: &Somebody, mode: &str, role: &str| {
            acme.server.api_key(who, &json!({"name": "P", "mode": mode, "role": role})).await.1
        };
        let exactly = key(&acme.owner, "test", &acme.exactly.role).await;
        let others = key(&acme.owner, "test", &acme.others.role).await;
        let live = key(&acme.owner, "live", &acme.exactly.role).await;
        let theirs = key(&elsewhere, "test", "workflow").await;
        let path = format!("{}?environment={}", things.path(row.path), things.of("env"));
        let cell = |what| Cell { row, permission, what };
        let read = async |who: &Somebody| acme.server.get(&path, who).await;
        cell("the permission alone").passes(&read(&exactly).await.is(200));
        cell("all but the permission").is_denied(&read(&others).await);
        cell("a live key").is_in_the_wrong_mode(&read(&live).await);
        cell("another organization's key").finds_nothing(&read(&theirs).await);
        read(&acme.owner).await.is_problem(403, "api_key_required");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn from_another_organization_nothing_of_this_one_is_there() {
    let mut acme = Acme::new().await;
    let (here, there) = (acme.owner.organization, acme.stranger.organization);
    let mut cells = 0;
    // A meter is nobody's.
    let names_a_thing = |row: &Row| row.path.contains('{') && !row.path.contains("{meter}");
    for (row, permission) in rows().filter(|(row, _)| names_a_thing(row)) {
        let who = acme.stranger.clone();
        let things = acme.things().await;
        let before = (acme.server.version(here), acme.server.version(there));
        let answer = acme.send(&who, row, &things).await;
        Cell { row, permission, what: "another organization's session" }.finds_nothing(&answer);
        assert_eq!(
            (acme.server.version(here), acme.server.version(there)),
            before,
            "{} {}",
            row.method,
            row.path
        );
        cells += 1;
    }
    assert!(cells >= 20, "{cells} cells");
    // What names nothing is answered about one's own.
    let own = acme.server.get("/v1/environments", &acme.stranger).await.is(200).json();
    assert_eq!(own["data"], Value::Array(Vec::new()));
}
