//! Ways to get more than one has: each is refused, and whoever tried has what they had.

use reqwest::Method;
use serde_json::{Value, json};
use settled::settings::roles::role::SystemRole;

use crate::server::{Somebody, TestServer, text};

/// Acme with people of several ranks, and what they would like to have.
struct Acme {
    server: TestServer,
    owner: Somebody,
    admin: Somebody,
    /// Manages roles, grants and teams, and little else.
    manager: Somebody,
    developer: Somebody,
    /// A Developer of the environment `dev` alone.
    limited: Somebody,
    viewer: Somebody,
    /// Manages API keys, and little else.
    keeper: Somebody,
    /// Somebody without a role.
    nobody: Somebody,
    /// The manager's own custom role.
    managing: String,
    /// A custom role that nobody has, which writes configuration.
    writing: String,
    /// A custom role that only reads.
    reading: String,
    /// Teams that own, develop, and have nothing.
    owners: String,
    developers: String,
    plain: String,
    /// Assignments: the Owner's, the Admin's, and those of the teams.
    of_owner: String,
    of_admin: String,
    of_owners: String,
    of_developers: String,
    /// API keys: a Developer's, and one that is disabled.
    strong_key: String,
    disabled_key: String,
    /// The version at which whoever joined became an Owner.
    joined_as_owner: u64,
}

/// What was tried, how, and what came of it.
struct Attempt {
    what: &'static str,
    who: Somebody,
    method: Method,
    path: String,
    body: Value,
    status: u16,
    code: &'static str,
}

impl Acme {
    async fn new() -> Self {
        let (server, owner) = TestServer::set_up().await;
        let organization = owner.organization;
        let dev = server.environment(&owner, "Dev", "test").await;
        server.environment(&owner, "Prod", "live").await;
        let managing = server.role(&owner, "Manager", MANAGING).await;
        let writing = server.role(&owner, "Writer", &["config:read", "config:write"]).await;
        let reading = server.role(&owner, "Reader", &["environment:read"]).await;
        let admin = server.add_with_role(organization, SystemRole::Admin).await;
        let developer = server.add_with_role(organization, SystemRole::Developer).await;
        let viewer = server.add_with_role(organization, SystemRole::Viewer).await;
        let manager = server.add(organization, "manager@example.com", "Manager").await;
        server.give(&owner, &manager.person.to_string(), &managing).await.is(201);
        let limited = server.add(organization, "limited@example.com", "Limited").await;
        server.assign(&limited, SystemRole::Developer, Some(dev.parse().unwrap())).await;
        let nobody = server.add(organization, "nobody@example.com", "Nobody").await;
        let keeper = server.add(organization, "keeper@example.com", "Keeper").await;
        let keeping = ["environment:read", "api_key:read", "api_key:manage", "ctx:read"];
        let keeping = server.role(&owner, "Keeper", &keeping).await;
        server.give(&owner, &keeper.person.to_string(), &keeping).await.is(201);
        let key = json!({"name": "Strong", "mode": "test", "role": "developer"});
        let (strong_key, _) = server.api_key(&owner, &key).await;
        let (disabled_key, _) = server.api_key(&owner, &key).await;
        let disable = json!({"disabled": true});
        server.patch(&format!("/v1/api-keys/{disabled_key}"), &owner, &disable).await.is(200);
        let (owners, developers, plain) = (
            server.team(&owner, "Owners").await,
            server.team(&owner, "Developers").await,
            server.team(&owner, "Plain").await,
        );
        let of_owners = text(&server.give(&owner, &owners, "owner").await.is(201).json()["id"]);
        let of_developers = text(&server.give(&owner, &developers, "developer").await.is(201).json()["id"]);
        for (team, member) in [(&owners, &owner), (&plain, &owner), (&plain, &admin), (&plain, &manager)] {
            server.add_member(&owner, team, member).await;
        }
        for role in ["owner", "viewer"] {
            server.patch("/v1/general", &owner, &json!({"join_role": role})).await.is(200);
        }
        let joined_as_owner = server.version(organization) - 1;
        let assignment = async |who: &Somebody| {
            let path = format!("/v1/role-assignments?subject={}", who.person);
            text(&server.get(&path, &owner).await.is(200).json()["data"][0]["id"])
        };
        let (of_owner, of_admin) = (assignment(&owner).await, assignment(&admin).await);
        Self {
            server,
            owner,
            admin,
            manager,
            developer,
            limited,
            viewer,
            keeper,
            nobody,
            managing,
            writing,
            reading,
            owners,
            developers,
            plain,
            of_owner,
            of_admin,
            of_owners,
            of_developers,
            strong_key,
            disabled_key,
            joined_as_owner,
        }
    }

    fn attempts(&self) -> Vec<Attempt> {
        let by = |who: &Somebody| Trying { who: who.clone(), attempts: Vec::new() };
        let Self { admin, manager, owner, nobody, .. } = self;
        let mut all = Vec::new();
        all.extend(self.admins(by(admin)));
        all.extend(self.managers(by(manager)));
        all.extend(self.keepers(by(&self.keeper)));
        all.extend(self.limited(by(&self.limited)));
        all.extend(
            by(owner)
                .delete(409, "last_owner", "stops being the last Owner", self.grant(&self.of_owner))
                .attempts,
        );
        let mine = |who: &Somebody, role: &str| json!({"subject": who.person, "role": role});
        for (who, role) in [
            (&self.viewer, "admin"),
            (&self.developer, "admin"),
            (&self.limited, "developer"),
            (nobody, "viewer"),
        ] {
            all.extend(
                by(who)
                    .post(403, "forbidden", "gives themselves a role", GRANTS, mine(who, role))
                    .post(
                        403,
                        "forbidden",
                        "makes a role",
                        "/v1/roles",
                        json!({"name": "x", "permissions": []}),
                    )
                    .put(403, "forbidden", "joins a team", self.member(&self.developers, who))
                    .delete(403, "forbidden", "takes the Admin's role", self.grant(&self.of_admin))
                    .patch(403, "forbidden", "changes a role", self.role(&self.writing), json!({"name": "x"}))
                    .attempts,
            );
        }
        all
    }

    /// An Admin lacks `organization:own` alone.
    fn admins(&self, by: Trying) -> Vec<Attempt> {
        let Self { admin, owner, nobody, owners, .. } = self;
        let to = |subject: &str, role: &str| json!({"subject": subject, "role": role});
        let me = admin.person.to_string();
        let own = json!({"name": "x", "permissions": ["organization:own"]});
        let everything = |as_of: u64, access: bool| json!({"as_of": as_of, "scope": {"organization": true}, "include_access": access, "dry_run": true});
        let invite =
            |role: &str, teams: &[&str]| json!({"email": "x@example.com", "role": role, "teams": teams});
        let person = |what: &str| format!("/v1/people/{}{what}", owner.person);
        by.post(403, "forbidden", "gives themselves all", GRANTS, to(&me, "owner"))
            .post(403, "forbidden", "invites an Owner", "/v1/invitations", invite("owner", &[]))
            .post(
                403,
                "forbidden",
                "invites into a team that owns",
                "/v1/invitations",
                invite("viewer", &[owners]),
            )
            .post(403, "above_your_rights", "suspends the Owner", &person("/suspend"), json!({}))
            .post(403, "above_your_rights", "lets the Owner in", &person("/reactivate"), json!({}))
            .post(403, "above_your_rights", "erases the Owner", &person("/erase"), json!({}))
            .delete(403, "above_your_rights", "removes the Owner", person(""))
            .post(
                403,
                "forbidden",
                "gives somebody else all",
                GRANTS,
                to(&nobody.person.to_string(), "owner"),
            )
            .post(403, "forbidden", "gives their own team all", GRANTS, to(&self.plain, "owner"))
            .post(422, "invalid_request", "makes a role that owns", "/v1/roles", own.clone())
            .patch(422, "invalid_request", "makes their role own", self.role(&self.writing), own)
            .patch(
                409,
                "system_role",
                "widens a system role",
                self.role("viewer"),
                json!({"permissions": []}),
            )
            .delete(409, "system_role", "deletes the Owner's role", self.role("owner"))
            .put(403, "forbidden", "joins a team that owns", self.member(owners, admin))
            .put(403, "forbidden", "lets somebody join a team that owns", self.member(owners, nobody))
            .delete(403, "above_your_rights", "removes an Owner from a team", self.member(owners, owner))
            .delete(
                403,
                "above_your_rights",
                "removes an Owner from a plain team",
                self.member(&self.plain, owner),
            )
            .delete(403, "above_your_rights", "takes the Owner's role", self.grant(&self.of_owner))
            .delete(403, "above_your_rights", "takes a team's ownership", self.grant(&self.of_owners))
            .patch(
                403,
                "above_your_rights",
                "renames a team that owns",
                self.team(owners),
                json!({"name": "x"}),
            )
            .delete(403, "above_your_rights", "deletes a team that owns", self.team(owners))
            .patch(403, "forbidden", "makes whoever joins own", "/v1/general", json!({"join_role": "owner"}))
            .post(403, "forbidden", "restores grants", "/v1/restore", everything(self.joined_as_owner, true))
            .post(
                403,
                "forbidden",
                "restores who joins as what",
                "/v1/restore",
                everything(self.joined_as_owner, false),
            )
            .attempts
    }

    /// A manager of access lacks what access is about.
    fn managers(&self, by: Trying) -> Vec<Attempt> {
        let Self { admin, manager, developer, nobody, developers, .. } = self;
        let to = |subject: &str, role: &str| json!({"subject": subject, "role": role});
        let (me, other) = (manager.person.to_string(), nobody.person.to_string());
        let here = json!({"subject": me, "role": "developer", "environment": "dev"});
        let allow = |permissions: &[&str]| json!({"permissions": permissions});
        let more: Vec<&str> = MANAGING.iter().copied().chain(["config:write"]).collect();
        let writer = json!({"name": "x", "permissions": ["config:write"]});
        by.post(403, "forbidden", "gives themselves more", GRANTS, to(&me, "developer"))
            .post(403, "forbidden", "gives themselves nearly all", GRANTS, to(&me, "admin"))
            .post(403, "forbidden", "gives themselves more in one environment", GRANTS, here)
            .post(403, "forbidden", "gives themselves a stronger custom role", GRANTS, to(&me, &self.writing))
            .post(403, "forbidden", "gives somebody else more", GRANTS, to(&other, "developer"))
            .post(403, "forbidden", "gives their team more", GRANTS, to(&self.plain, "workflow"))
            .post(403, "forbidden", "makes a stronger role", "/v1/roles", writer)
            .patch(
                403,
                "forbidden",
                "widens the role that they hold",
                self.role(&self.managing),
                allow(&more),
            )
            .patch(
                403,
                "forbidden",
                "widens a role for others",
                self.role(&self.reading),
                allow(&["secret:reveal"]),
            )
            .patch(
                403,
                "above_your_rights",
                "renames a stronger role",
                self.role(&self.writing),
                json!({"name": "x"}),
            )
            .patch(403, "above_your_rights", "narrows a stronger role", self.role(&self.writing), allow(&[]))
            .delete(403, "above_your_rights", "deletes a stronger role", self.role(&self.writing))
            .put(403, "forbidden", "joins a stronger team", self.member(developers, manager))
            .put(403, "forbidden", "lets somebody join a stronger team", self.member(developers, nobody))
            .delete(
                403,
                "above_your_rights",
                "removes an Admin from a plain team",
                self.member(&self.plain, admin),
            )
            .delete(403, "above_your_rights", "takes the Admin's role", self.grant(&self.of_admin))
            .delete(403, "above_your_rights", "takes a stronger team's role", self.grant(&self.of_developers))
            .patch(
                403,
                "above_your_rights",
                "renames a stronger team",
                self.team(developers),
                json!({"name": "x"}),
            )
            .delete(403, "above_your_rights", "deletes a stronger team", self.team(developers))
            .patch(
                403,
                "forbidden",
                "lets whoever joins do more",
                "/v1/general",
                json!({"join_role": "developer"}),
            )
            .post(
                403,
                "forbidden",
                "restores",
                "/v1/restore",
                json!({"as_of": 1, "scope": {"organization": true}}),
            )
            .delete(404, "not_found", "removes who is no member", self.member(&self.plain, developer))
            .attempts
    }

    /// Whoever manages keys makes and changes none that may do more.
    fn keepers(&self, by: Trying) -> Vec<Attempt> {
        let make = |mode: &str, role: &str| json!({"name": "K", "mode": mode, "role": role});
        let (strong, disabled) = (self.key(&self.strong_key), self.key(&self.disabled_key));
        let rotate = format!("{strong}/rotate");
        by.post(403, "forbidden", "makes a stronger key", KEYS, make("test", "developer"))
            .post(403, "forbidden", "makes a key that owns", KEYS, make("live", "owner"))
            .post(403, "forbidden", "makes a live key that sees customers", KEYS, make("live", "workflow"))
            .post(403, "above_your_rights", "rotates a stronger key", &rotate, json!({}))
            .patch(403, "above_your_rights", "enables a stronger key", disabled, json!({"disabled": false}))
            .patch(403, "above_your_rights", "renames a stronger key", &*strong, json!({"name": "x"}))
            .delete(403, "above_your_rights", "revokes a stronger key", strong.clone())
            .attempts
    }

    /// A Developer of `dev` has nothing elsewhere.
    fn limited(&self, by: Trying) -> Vec<Attempt> {
        let wide = json!({"name": "K", "mode": "test", "role": "workflow"});
        let live = json!({"name": "K", "mode": "live", "role": "workflow", "environments": ["prod"]});
        let new = json!({"name": "New", "mode": "test"});
        let promote = json!({"to": "prod", "config": ["A"]});
        let write = || json!({"value": 1});
        by.post(403, "forbidden", "makes a key of all test environments", KEYS, wide)
            .post(403, "forbidden", "makes a key of another environment", KEYS, live)
            .post(403, "forbidden", "makes an environment", "/v1/environments", new)
            .and(
                (404, "not_found"),
                "writes elsewhere",
                (Method::PUT, "/v1/environments/prod/config/A".into()),
                write(),
            )
            .post(422, "invalid_request", "promotes to elsewhere", "/v1/environments/dev/promote", promote)
            .attempts
    }

    fn key(&self, id: &str) -> String {
        format!("{KEYS}/{id}")
    }

    fn role(&self, id: &str) -> String {
        format!("/v1/roles/{id}")
    }

    fn team(&self, id: &str) -> String {
        format!("/v1/teams/{id}")
    }

    fn member(&self, team: &str, who: &Somebody) -> String {
        format!("/v1/teams/{team}/members/{}", who.person)
    }

    fn grant(&self, id: &str) -> String {
        format!("{GRANTS}/{id}")
    }

    /// What somebody may do, as they are told.
    async fn rights(&self, who: &Somebody) -> Value {
        self.server.get("/v1/me", who).await.is(200).json()["permissions"].clone()
    }

    async fn denials(&self, who: &Somebody) -> usize {
        self.server.audit(&self.owner, &format!("&outcome=denied&user={}", who.person)).await.len()
    }
}

const GRANTS: &str = "/v1/role-assignments";
const KEYS: &str = "/v1/api-keys";
/// What a manager of access may do.
const MANAGING: &[&str] = &[
    "organization:read",
    "organization:update",
    "person:read",
    "team:manage",
    "role:read",
    "role:manage",
    "role:assign",
    "environment:read",
];

/// One after another, by one person.
struct Trying {
    who: Somebody,
    attempts: Vec<Attempt>,
}

impl Trying {
    fn and(
        mut self,
        (status, code): (u16, &'static str),
        what: &'static str,
        (method, path): (Method, String),
        body: Value,
    ) -> Self {
        self.attempts.push(Attempt { what, who: self.who.clone(), method, path, body, status, code });
        self
    }

    fn post(self, status: u16, code: &'static str, what: &'static str, path: &str, body: Value) -> Self {
        self.and((status, code), what, (Method::POST, path.to_owned()), body)
    }

    fn patch(
        self,
        status: u16,
        code: &'static str,
        what: &'static str,
        path: impl Into<String>,
        body: Value,
    ) -> Self {
        self.and((status, code), what, (Method::PATCH, path.into()), body)
    }

    fn put(self, status: u16, code: &'static str, what: &'static str, path: String) -> Self {
        self.and((status, code), what, (Method::PUT, path), json!({}))
    }

    fn delete(self, status: u16, code: &'static str, what: &'static str, path: String) -> Self {
        self.and((status, code), what, (Method::DELETE, path), Value::Null)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_up_is_refused_and_changes_nothing() {
    let acme = Acme::new().await;
    let attempts = acme.attempts();
    assert!(attempts.len() >= 40, "only {} attempts", attempts.len());
    for attempt in attempts {
        let Attempt { what, who, method, path, body, status, code } = attempt;
        let (rights, denials) = (acme.rights(&who).await, acme.denials(&who).await);
        let version = acme.server.version(acme.owner.organization);
        let answer = acme.server.send(method, &path, &who, &[], &body).await;
        assert_eq!(
            (answer.status, &answer.json()["code"]),
            (status, &json!(code)),
            "{what}: {}",
            answer.text
        );
        assert_eq!(acme.rights(&who).await, rights, "{what}");
        let told = usize::from(status == 403);
        assert_eq!(
            acme.denials(&who).await,
            denials + told,
            "{what}: a denial is an event, and nothing else is"
        );
        assert_eq!(acme.server.version(acme.owner.organization), version + told as u64, "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_and_an_idempotency_key_outlive_no_demotion() {
    let acme = Acme::new().await;
    let key = [("idempotency-key", "k")];
    let role = json!({"name": "Mine", "permissions": []});
    let send = |who: &Somebody| {
        let (server, who, role) = (&acme.server, who.clone(), role.clone());
        async move { server.send(Method::POST, "/v1/roles", &who, &key, &role).await }
    };
    send(&acme.admin).await.is(201);
    acme.server.delete(&acme.grant(&acme.of_admin), &acme.owner).await.is(204);
    send(&acme.admin).await.is_problem(403, "forbidden");
    acme.server.get("/v1/roles", &acme.admin).await.is_problem(403, "forbidden");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_another_organizations_is_nobodys_here() {
    let acme = Acme::new().await;
    let found = json!({"name": "Beta", "timezone": "UTC"});
    let beta = acme.server.post("/v1/organizations", Some(&acme.owner), &found).await.is(201);
    let organization = text(&beta.json()["id"]).parse().unwrap();
    let there = acme.server.another_session(&Somebody { organization, ..acme.owner.clone() }).await;
    let stolen = json!({"subject": acme.nobody.person, "role": "owner"});
    acme.server.post(GRANTS, Some(&there), &stolen).await.is_problem(422, "invalid_request");
    for path in [
        acme.role(&acme.writing),
        acme.team(&acme.owners),
        acme.member(&acme.owners, &acme.admin),
        acme.grant(&acme.of_owner),
    ] {
        acme.server.delete(&path, &there).await.is_problem(404, "not_found");
    }
}
