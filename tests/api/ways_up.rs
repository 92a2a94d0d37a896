//! What those in `escalation` try, and what comes of it.

use reqwest::Method;
use serde_json::{Value, json};
use settled::actor::ActorId;

use crate::escalation::{Acme, MANAGING};
use crate::server::Somebody;

pub const GRANTS: &str = "/v1/role-assignments";
const KEYS: &str = "/v1/api-keys";
const PROMOTE: &str = "/v1/environments/dev/promote";

/// What was tried, how, and what came of it.
pub struct Attempt {
    pub what: &'static str,
    pub who: Caller,
    pub method: Method,
    pub path: String,
    pub body: Value,
    pub status: u16,
    pub code: &'static str,
}

/// Who tries it: a person, or a program.
#[derive(Clone)]
pub struct Caller {
    pub id: ActorId,
    pub shows: Somebody,
}

impl Caller {
    pub fn person(who: &Somebody) -> Self {
        Self { id: ActorId::Person(who.person), shows: who.clone() }
    }

    pub fn program((id, key): &(String, Somebody)) -> Self {
        Self { id: ActorId::ApiKey(id.parse().unwrap()), shows: key.clone() }
    }
}

impl Acme {
    pub fn attempts(&self) -> Vec<Attempt> {
        let by = |who: &Somebody| Trying::by(Caller::person(who));
        let Self { admin, manager, owner, nobody, .. } = self;
        let mut all = Vec::new();
        all.extend(self.admins(by(admin)));
        all.extend(self.managers(by(manager)));
        all.extend(self.keepers(by(&self.keeper)));
        all.extend(self.limited(by(&self.limited)));
        all.extend(self.live_programs(Trying::by(Caller::program(&self.live))));
        all.extend(self.test_programs(Trying::by(Caller::program(&self.test))));
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

    /// A Developer of `dev` has nothing elsewhere; what they cannot see is not there.
    fn limited(&self, by: Trying) -> Vec<Attempt> {
        let wide = json!({"name": "K", "mode": "test", "role": "workflow"});
        let live = |environment: &str| json!({"name": "K", "mode": "live", "role": "workflow", "environments": [environment]});
        let new = json!({"name": "New", "mode": "test"});
        let promote = |to: &str| json!({"to": to, "config": ["A"]});
        let write = || json!({"value": 1});
        let value = |environment: &str| format!("/v1/environments/{environment}/config/A");
        by.post(403, "forbidden", "makes a key of all test environments", KEYS, wide)
            .post(
                422,
                "invalid_request",
                "makes a key of an environment that they cannot see",
                KEYS,
                live("unseen"),
            )
            .post(403, "forbidden", "makes a key of another environment", KEYS, live("prod"))
            .post(403, "forbidden", "makes an environment", "/v1/environments", new)
            .and((403, "forbidden"), "writes elsewhere", (Method::PUT, value("prod")), write())
            .and((404, "not_found"), "writes where they cannot see", (Method::PUT, value("unseen")), write())
            .post(403, "forbidden", "promotes to elsewhere", PROMOTE, promote("prod"))
            .post(422, "invalid_request", "promotes to where they cannot see", PROMOTE, promote("unseen"))
            .attempts
    }

    /// A live key with an Admin's role lacks what no key has, and what is a test environment's.
    fn live_programs(&self, by: Trying) -> Vec<Attempt> {
        let Self { owner, nobody, owners, of_owner, .. } = self;
        let own = json!({"subject": nobody.person, "role": "owner"});
        let team = json!({"subject": self.plain, "role": "owner"});
        let mut restore = json!({"as_of": self.joined_as_owner, "scope": {"organization": true}});
        restore["include_access"] = json!(true);
        restore["dry_run"] = json!(true);
        let test = json!({"name": "K", "mode": "test", "role": "workflow"});
        let write = (Method::PUT, "/v1/environments/dev/config/A".to_owned());
        by.post(403, "forbidden", "gives somebody all", GRANTS, own)
            .post(403, "forbidden", "gives a team all", GRANTS, team)
            .put(403, "forbidden", "lets somebody join a team that owns", self.member(owners, nobody))
            .delete(403, "above_your_rights", "removes an Owner from a team", self.member(owners, owner))
            .delete(403, "above_your_rights", "takes the Owner's role", self.grant(of_owner))
            .delete(403, "above_your_rights", "deletes a team that owns", self.team(owners))
            .patch(403, "forbidden", "makes whoever joins own", "/v1/general", json!({"join_role": "owner"}))
            .post(403, "forbidden", "restores grants", "/v1/restore", restore)
            .post(403, "forbidden", "makes a key of the other mode", KEYS, test)
            .and((403, "wrong_mode"), "writes in the other mode", write, json!({"value": 1}))
            .post(
                403,
                "session_required",
                "founds an organization",
                "/v1/organizations",
                json!({"name": "x", "timezone": "UTC"}),
            )
            .attempts
    }

    /// A test key reaches nothing that is no test environment's, whatever its role.
    fn test_programs(&self, by: Trying) -> Vec<Attempt> {
        let give = json!({"subject": self.nobody.person, "role": "viewer"});
        let live = json!({"name": "K", "mode": "live", "role": "workflow"});
        let write = (Method::PUT, "/v1/environments/prod/config/A".to_owned());
        let named = || json!({"name": "x"});
        by.post(403, "wrong_mode", "gives a role", GRANTS, give)
            .post(403, "wrong_mode", "makes a role", "/v1/roles", json!({"name": "x", "permissions": []}))
            .post(403, "wrong_mode", "makes a team", "/v1/teams", named())
            .patch(403, "wrong_mode", "changes the organization", "/v1/general", named())
            .post(403, "forbidden", "makes a key of the other mode", KEYS, live)
            .and((403, "wrong_mode"), "writes in the other mode", write, json!({"value": 1}))
            .attempts
    }

    fn key(&self, id: &str) -> String {
        format!("{KEYS}/{id}")
    }

    pub fn role(&self, id: &str) -> String {
        format!("/v1/roles/{id}")
    }

    pub fn team(&self, id: &str) -> String {
        format!("/v1/teams/{id}")
    }

    pub fn member(&self, team: &str, who: &Somebody) -> String {
        format!("/v1/teams/{team}/members/{}", who.person)
    }

    pub fn grant(&self, id: &str) -> String {
        format!("{GRANTS}/{id}")
    }
}

/// One after another, by one caller.
struct Trying {
    who: Caller,
    attempts: Vec<Attempt>,
}

impl Trying {
    fn by(who: Caller) -> Self {
        Self { who, attempts: Vec::new() }
    }

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
