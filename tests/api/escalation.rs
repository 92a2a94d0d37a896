//! Ways to get more than one has: each is refused, and whoever tried has what they had.

use std::collections::BTreeMap;

use reqwest::Method;
use serde_json::json;
use settled::actor::ActorId;
use settled::event::Version;
use settled::settings::roles::access::{Grants, grants};
use settled::settings::roles::role::SystemRole;

use crate::server::{Somebody, TestServer, text};
use crate::ways_up::{Attempt, GRANTS};

/// Acme with people of several ranks, and what they would like to have.
pub struct Acme {
    pub server: TestServer,
    pub owner: Somebody,
    pub admin: Somebody,
    /// Manages roles, grants and teams, and little else.
    pub manager: Somebody,
    pub developer: Somebody,
    /// A Developer of the environment `dev`, who sees `prod`, and not `unseen`.
    pub limited: Somebody,
    pub viewer: Somebody,
    /// Manages API keys, and little else.
    pub keeper: Somebody,
    /// Somebody without a role.
    pub nobody: Somebody,
    /// The manager's own custom role.
    pub managing: String,
    /// A custom role that nobody has, which writes configuration.
    pub writing: String,
    /// A custom role that only reads.
    pub reading: String,
    /// Teams that own, develop, and have nothing.
    pub owners: String,
    pub developers: String,
    pub plain: String,
    /// Assignments: the Owner's, the Admin's, and those of the teams.
    pub of_owner: String,
    pub of_admin: String,
    pub of_owners: String,
    pub of_developers: String,
    /// API keys: a Developer's, and one that is disabled.
    pub strong_key: String,
    pub disabled_key: String,
    /// Programs with an Admin's role, live and test.
    pub live: (String, Somebody),
    pub test: (String, Somebody),
    /// The version at which whoever joined became an Owner.
    pub joined_as_owner: u64,
}

impl Acme {
    async fn new() -> Self {
        let (server, owner) = TestServer::set_up().await;
        let organization = owner.organization;
        let dev = server.environment(&owner, "Dev", "test").await;
        let prod = server.environment(&owner, "Prod", "live").await;
        server.environment(&owner, "Unseen", "live").await;
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
        server.assign(&limited, SystemRole::Viewer, Some(prod.parse().unwrap())).await;
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
        let admins = |mode: &str| json!({"name": mode, "mode": mode, "role": "admin"});
        let live = server.api_key(&owner, &admins("live")).await;
        let test = server.api_key(&owner, &admins("test")).await;
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
            live,
            test,
            joined_as_owner,
        }
    }

    /// What everybody may do, people and programs.
    fn rights(&self) -> BTreeMap<ActorId, Grants> {
        let view = self.server.handle(self.owner.organization).view();
        let state = view.organization();
        let people = state.people.iter().map(|person| ActorId::Person(person.id));
        let keys = state.api_keys.after(None).map(|(id, _)| ActorId::ApiKey(*id));
        people.chain(keys).map(|actor| (actor, grants(state, actor))).collect()
    }

    /// The version of the last event that changed a setting.
    fn revision(&self) -> Version {
        self.server.handle(self.owner.organization).view().organization().revision.version()
    }

    async fn denials(&self, who: ActorId) -> usize {
        self.server.audit(&self.owner, &format!("&outcome=denied&user={who}")).await.len()
    }
}

/// What a manager of access may do.
pub const MANAGING: &[&str] = &[
    "organization:read",
    "organization:update",
    "person:read",
    "team:manage",
    "role:read",
    "role:manage",
    "role:assign",
    "environment:read",
];

#[tokio::test(flavor = "multi_thread")]
async fn every_way_up_is_refused_and_changes_nothing() {
    let acme = Acme::new().await;
    let attempts = acme.attempts();
    assert!(attempts.len() >= 80, "only {} attempts", attempts.len());
    let rights = acme.rights();
    for attempt in attempts {
        let Attempt { what, who, method, path, body, status, code } = attempt;
        let denials = acme.denials(who.id).await;
        let revision = acme.revision();
        let answer = acme.server.send(method, &path, &who.shows, &[], &body).await;
        let met = (answer.status, &answer.json()["code"]);
        assert_eq!(met, (status, &json!(code)), "{what}: {}", answer.text);
        assert_eq!(acme.rights(), rights, "{what}");
        let told = usize::from(status == 403);
        let after = acme.denials(who.id).await;
        assert_eq!(after, denials + told, "{what}: a denial is an event, and nothing else is");
        assert_eq!(acme.revision(), revision, "{what}");
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
