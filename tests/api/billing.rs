//! `/v1/plans` and `/v1/billing`: plans, quotas and use; and the operator's side of them.

use reqwest::Method;
use serde_json::{Value, json};
use settled::settings::roles::role::SystemRole;

use crate::server::{Answer, Somebody, TestServer, text};

const BILLING: &str = "/v1/billing";
const PLAN: &str = "/v1/billing/plan";

fn quota(meter: &str) -> String {
    format!("/v1/billing/quotas/{meter}")
}

impl TestServer {
    /// How one meter stands.
    pub async fn meter(&self, who: &Somebody, meter: &str) -> Value {
        let billing = self.get(BILLING, who).await.is(200).json();
        let mut usage = billing["usage"].as_array().unwrap().iter();
        usage.find(|usage| usage["meter"] == meter).unwrap().clone()
    }

    pub async fn take_plan(&self, who: &Somebody, plan: &str) -> Answer {
        self.put(PLAN, who, &json!({"plan": plan})).await
    }

    /// Puts an organization on a plan of these limits.
    pub async fn limit(&self, who: &Somebody, limits: Value) {
        self.set_plan("team", limits).await;
        let path = format!("/v1/operator/organizations/{}/plan", who.organization);
        self.operates("PUT", &path, json!({"plan": "team"})).await;
    }

    /// An operator sets an organization a quota, or lifts it.
    async fn operators_quota(&self, who: &Somebody, meter: &str, quota: Option<Value>) {
        let path = format!("/v1/operator/organizations/{}/quotas/{meter}", who.organization);
        match quota {
            Some(quota) => self.operates("PUT", &path, quota).await,
            None => self.operates("DELETE", &path, json!({})).await,
        };
    }

    async fn make_environment(&self, who: &Somebody, name: &str) -> Answer {
        self.post("/v1/environments", Some(who), &json!({"name": name, "mode": "test"})).await
    }
}

/// A hard limit.
pub fn hard(meter: &str, limit: u64) -> Value {
    json!({meter: {"limit": limit, "soft": false}})
}

/// A soft limit.
fn soft(meter: &str, limit: u64) -> Value {
    json!({meter: {"limit": limit, "soft": true}})
}

/// Refused for want of room, with all that whoever pays wants to know.
#[track_caller]
fn is_exceeded(answer: Answer, meter: &str, limit: u64, used: u64) {
    let problem = answer.is_problem(402, "quota_exceeded");
    assert_eq!(
        (&problem["quota"], &problem["limit"], &problem["use"]),
        (&json!(meter), &json!(limit), &json!(used))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_plan_nothing_is_limited_and_use_is_told() {
    let (server, owner) = TestServer::set_up_manual().await;
    server.patch("/v1/general", &owner, &json!({"timezone": "Europe/Paris"})).await.is(200);
    server.environment(&owner, "Dev", "test").await;
    server.secret(&owner, "dev", "TOKEN").await;
    server.api_key(&owner, &json!({"name": "K", "mode": "test"})).await;
    let answer = server.get(BILLING, &owner).await.is(200);
    let billing = answer.json();
    assert_eq!((&billing["plan"], &billing["alerts"]), (&json!("unlimited"), &json!([])));
    // The clock of these tests stands in March, within which Paris goes to summer time.
    assert_eq!(billing["period"]["start"], "2026-02-28T23:00:00.000000Z");
    assert_eq!(billing["period"]["end"], "2026-03-31T22:00:00.000000Z");
    for usage in billing["usage"].as_array().unwrap() {
        assert_eq!((&usage["limit"], &usage["percent"]), (&Value::Null, &Value::Null), "{usage}");
        let is_there = !["api_requests", "customers", "connections", "executions"]
            .contains(&usage["meter"].as_str().unwrap());
        let expected = i32::from(is_there);
        assert_eq!(usage["used"], expected, "{usage}");
    }
    assert_eq!((&billing["id"], &billing["version"]), (&json!(owner.organization), &json!(1)));
    assert!(answer.etag().ends_with("-1\""));
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_set_plans_and_everybody_concerned_sees_them() {
    let (server, owner) = TestServer::set_up().await;
    let limits = json!({"people": {"limit": 5, "soft": false}, "secrets": {"limit": 9, "soft": true}});
    let team = server.set_plan("team", limits.clone()).await;
    let expected = json!({
        "id": "team", "name": "team", "limits": limits, "self_service": true, "default": false,
    });
    assert_eq!(team, expected);
    let unlimited = json!({
        "id": "unlimited", "name": "Unlimited", "limits": {}, "self_service": false, "default": true,
    });
    let zeta = server.set_plan("zeta", json!({})).await;
    let all = server.get("/v1/plans", &owner).await.is(200).json();
    assert_eq!(all["data"], json!([team, unlimited, zeta]));
    let page = server.get("/v1/plans?limit=1", &owner).await.is(200).json();
    let next = server.get(&format!("/v1/plans?cursor={}", text(&page["next_cursor"])), &owner).await;
    assert_eq!(next.is(200).json()["data"].as_array().unwrap()[0], unlimited);
    let (_, listed) = server.operator("GET", "/v1/operator/plans", None).await;
    assert_eq!(serde_json::from_str::<Value>(&listed).unwrap(), all);
    let (status, one) = server.operator("GET", "/v1/operator/plans/team", None).await;
    assert_eq!((status, serde_json::from_str::<Value>(&one).unwrap()), (200, team.clone()));
    // What only an operator gives is shown to whom it was given.
    let ours = server.operates("PUT", "/v1/operator/plans/ours", json!({"name": "Ours"})).await;
    assert_eq!(server.get("/v1/plans", &owner).await.is(200).json(), all);
    let (_, listed) = server.operator("GET", "/v1/operator/plans", None).await;
    let every = json!([ours, team, unlimited, zeta]);
    assert_eq!(serde_json::from_str::<Value>(&listed).unwrap()["data"], every);
    let given = format!("/v1/operator/organizations/{}/plan", owner.organization);
    server.operates("PUT", &given, json!({"plan": "ours"})).await;
    assert_eq!(server.get("/v1/plans", &owner).await.is(200).json()["data"], every);

    let version = server.platform_version();
    server.set_plan("team", limits).await;
    assert_eq!(server.platform_version(), version, "setting what is so is no event");
    let sound = json!({"name": "X"});
    let too_much = json!({"name": "X", "limits": {"people": {"limit": 9_007_199_254_740_992_u64}}});
    for (path, body, status, code) in [
        ("unlimited", sound.clone(), 409, "built_in_plan"),
        ("Team", sound.clone(), 422, "invalid"),
        ("team", json!({}), 422, "invalid_request"),
        ("team", json!({"name": "X", "limits": {"doors": {"limit": 1}}}), 422, "invalid_request"),
        ("team", json!({"name": "X", "limits": {"people": {"limit": -1}}}), 422, "invalid_request"),
        ("team", json!({"name": "X", "colour": "red"}), 422, "invalid_request"),
        ("team", too_much, 422, "invalid_request"),
    ] {
        let (got, text) = server.operator("PUT", &format!("/v1/operator/plans/{path}"), Some(&body)).await;
        assert_eq!(got, status, "{path} {body}: {text}");
        assert!(text.contains(code), "{path} {body}: {text}");
    }
    assert_eq!(server.operator("GET", "/v1/operator/plans/none", None).await.0, 404);
    assert_eq!(server.platform_version(), version, "what is refused is no event");
    let (_, audit) = server.operator("GET", "/v1/operator/audit?action=plan.set", None).await;
    let audit: Value = serde_json::from_str(&audit).unwrap();
    assert_eq!(audit["total"], 3);
    assert_eq!(audit["data"][2]["resource"], json!({"type": "plan", "id": "team", "name": "team"}));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_is_taken_as_it_is_and_only_one_for_self_service_that_fits() {
    let (server, owner) = TestServer::set_up().await;
    for name in ["One", "Two"] {
        server.environment(&owner, name, "test").await;
    }
    server.set_plan("team", hard("environments", 2)).await;
    server.set_plan("small", json!({"environments": {"limit": 1}, "people": {"limit": 0}})).await;
    server.operates("PUT", "/v1/operator/plans/ours", json!({"name": "Ours"})).await;
    let version = server.version(owner.organization);
    server.take_plan(&owner, "none").await.is_problem(422, "invalid_request");
    server.take_plan(&owner, "ours").await.is_problem(409, "plan_not_self_service");
    let exceeded = server.take_plan(&owner, "small").await.is_problem(409, "plan_exceeded");
    let exceeds = json!([
        {"quota": "people", "limit": 0, "use": 1},
        {"quota": "environments", "limit": 1, "use": 2},
    ]);
    assert_eq!(exceeded["exceeds"], exceeds);
    assert_eq!(server.version(owner.organization), version, "what is refused is no event");

    let taken = server.take_plan(&owner, "team").await.is(200);
    assert_eq!((&taken.json()["plan"], &taken.json()["version"]), (&json!("team"), &json!(version + 1)));
    server.take_plan(&owner, "team").await.is(200);
    assert_eq!(server.version(owner.organization), version + 1, "no change is no event");
    is_exceeded(server.make_environment(&owner, "Three").await, "environments", 2, 2);
    // The plan's change is nobody's until they take it again.
    server.set_plan("team", hard("environments", 3)).await;
    is_exceeded(server.make_environment(&owner, "Three").await, "environments", 2, 2);
    let seen = [("if-match", taken.etag())];
    let seen: Vec<(&str, &str)> = seen.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let body = json!({"plan": "team"});
    server.send(Method::PUT, PLAN, &owner, &[("if-match", "\"0-1\"")], &body).await.is(412);
    server.send(Method::PUT, PLAN, &owner, &seen, &body).await.is(200);
    server.make_environment(&owner, "Three").await.is(201);
    // An operator gives any plan, also one that is exceeded.
    let path = format!("/v1/operator/organizations/{}/plan", owner.organization);
    assert_eq!(server.operates("PUT", &path, json!({"plan": "small"})).await["plan"], "small");
    assert_eq!(server.meter(&owner, "environments").await["percent"], 300);
    let (status, _) = server.operator("PUT", &path, Some(&json!({"plan": "none"}))).await;
    assert_eq!(status, 422);
    let rows = server.audit(&owner, "&action=billing.change_plan").await;
    let by: Vec<_> = rows.iter().map(|row| text(&row["user"]["id"])).collect();
    assert_eq!(by, ["operator".to_owned(), owner.person.to_string(), owner.person.to_string()]);
    assert_eq!(rows[0]["resource"]["type"], "billing");
}

#[tokio::test(flavor = "multi_thread")]
async fn further_organizations_are_founded_with_the_plan_that_is_meant_for_them() {
    let (mut server, owner) = TestServer::set_up().await;
    let found = async |server: &TestServer, name: &str| {
        let body = json!({"name": name, "timezone": "UTC"});
        let id = text(&server.post("/v1/organizations", Some(&owner), &body).await.is(201).json()["id"]);
        let there = Somebody { organization: id.parse().unwrap(), ..owner.clone() };
        server.another_session(&there).await
    };
    let before = found(&server, "Before").await;
    let free = json!({"name": "Free", "limits": hard("environments", 1), "default": true});
    server.operates("PUT", "/v1/operator/plans/free", free).await;
    let after = found(&server, "After").await;
    for (who, plan) in [(&owner, "unlimited"), (&before, "unlimited"), (&after, "free")] {
        assert_eq!(server.get(BILLING, who).await.is(200).json()["plan"], plan);
    }
    server.make_environment(&after, "One").await.is(201);
    is_exceeded(server.make_environment(&after, "Two").await, "environments", 1, 1);
    server.restart().await;
    is_exceeded(server.make_environment(&after, "Two").await, "environments", 1, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_organization_sets_itself_quotas_within_its_plan() {
    let (server, owner) = TestServer::set_up().await;
    server.limit(&owner, hard("environments", 3)).await;
    server.environment(&owner, "One", "test").await;
    let path = quota("environments");
    let above = server.put(&path, &owner, &json!({"limit": 4, "soft": true})).await;
    assert_eq!(above.is_problem(409, "above_plan")["limit"], 3);
    server.put(&quota("doors"), &owner, &json!({"limit": 4})).await.is_problem(404, "not_found");
    server.delete(&path, &owner).await.is_problem(404, "not_found");
    let set = server.put(&path, &owner, &json!({"limit": 1})).await.is(200);
    is_exceeded(server.make_environment(&owner, "Two").await, "environments", 1, 1);
    let version = server.version(owner.organization);
    server.put(&path, &owner, &json!({"limit": 1, "soft": false})).await.is(200);
    assert_eq!(server.version(owner.organization), version, "no change is no event");
    let usage = server.meter(&owner, "environments").await;
    let expected = json!({
        "meter": "environments", "used": 1, "limit": 1, "soft": false, "percent": 100,
        "plan_limit": {"limit": 3, "soft": false}, "own_limit": {"limit": 1, "soft": false},
    });
    assert_eq!(usage, expected);
    let stale = [("if-match", "\"0-1\"")];
    server.send(Method::DELETE, &path, &owner, &stale, &Value::Null).await.is(412);
    let etag = set.etag();
    server.send(Method::DELETE, &path, &owner, &[("if-match", &etag)], &Value::Null).await.is(204);
    server.make_environment(&owner, "Two").await.is(201);
    // A soft quota makes no hard limit a soft one.
    server.put(&path, &owner, &json!({"limit": 3, "soft": true})).await.is(200);
    server.make_environment(&owner, "Three").await.is(201);
    is_exceeded(server.make_environment(&owner, "Four").await, "environments", 3, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_sets_a_quota_above_the_plan_and_lifts_it() {
    let (server, owner) = TestServer::set_up().await;
    server.limit(&owner, hard("environments", 1)).await;
    server.environment(&owner, "One", "test").await;
    is_exceeded(server.make_environment(&owner, "Two").await, "environments", 1, 1);
    server.operators_quota(&owner, "environments", Some(json!({"limit": 2}))).await;
    server.make_environment(&owner, "Two").await.is(201);
    is_exceeded(server.make_environment(&owner, "Three").await, "environments", 2, 2);
    server.operators_quota(&owner, "environments", None).await;
    // Lowered below what there is: nothing goes, nothing comes.
    is_exceeded(server.make_environment(&owner, "Three").await, "environments", 1, 2);
    server.delete("/v1/environments/two", &owner).await.is(204);
    is_exceeded(server.make_environment(&owner, "Two").await, "environments", 1, 1);
    let organization = owner.organization;
    for (method, path, status) in [
        ("DELETE", format!("/v1/operator/organizations/{organization}/quotas/environments"), 404),
        ("PUT", format!("/v1/operator/organizations/{organization}/quotas/doors"), 404),
        ("PUT", "/v1/operator/organizations/org_01kqxk5rd0e5xrpzzv0jjq4zgn/quotas/people".to_owned(), 404),
        ("PUT", "/v1/operator/organizations/nonsense/quotas/people".to_owned(), 404),
        ("GET", format!("/v1/operator/organizations/{organization}/billing"), 200),
    ] {
        let body = (method == "PUT").then(|| json!({"limit": 1}));
        let (got, text) = server.operator(method, &path, body.as_ref()).await;
        assert_eq!(got, status, "{method} {path}: {text}");
    }
    let rows = server.audit(&owner, "&action=organization.set_quota").await;
    assert_eq!(rows.len(), 2);
    assert!(rows.iter().all(|row| row["user"]["id"] == "operator"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_soft_limit_refuses_nothing_and_tells_once_a_share_and_month() {
    let (server, owner) = TestServer::set_up_manual().await;
    server.limit(&owner, soft("environments", 5)).await;
    for number in 1..=7 {
        let key = [("idempotency-key", format!("k-{number}"))];
        let key: Vec<(&str, &str)> = key.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let body = json!({"name": format!("E {number}"), "mode": "test"});
        let made = server.send(Method::POST, "/v1/environments", &owner, &key, &body).await.is(201);
        // What an alert was recorded with is repeated as what it is.
        let again = server.send(Method::POST, "/v1/environments", &owner, &key, &body).await.is(201);
        assert_eq!(again.json(), made.json());
        assert_eq!(made.json()["version"], server.version(owner.organization));
    }
    let rows = server.audit(&owner, "&action=billing.alert").await;
    assert_eq!(rows.len(), 2);
    assert!(rows.iter().all(|row| row["user"]["id"] == "system" && row["resource"]["type"] == "billing"));
    let alerts = server.get(BILLING, &owner).await.is(200).json()["alerts"].clone();
    let told: Vec<_> =
        alerts.as_array().unwrap().iter().map(|alert| (&alert["threshold"], &alert["used"])).collect();
    assert_eq!(told, [(&json!(80), &json!(4)), (&json!(100), &json!(5))]);
    // In the next month nothing is told until there is more.
    server.advance(31 * 24 * 3600);
    let owner = server.another_session(&owner).await;
    assert_eq!(server.get(BILLING, &owner).await.is(200).json()["alerts"], json!([]));
    server.make_environment(&owner, "E 8").await.is(201);
    assert_eq!(server.audit(&owner, "&action=billing.alert").await.len(), 4);
    server.delete("/v1/environments/e-8", &owner).await.is(204);
    server.make_environment(&owner, "E 8").await.is(201);
    assert_eq!(server.audit(&owner, "&action=billing.alert").await.len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_soft_limit_that_is_set_below_use_is_told_of_at_once_and_silences_no_other() {
    let (server, owner) = TestServer::set_up().await;
    server.limit(&owner, soft("environments", 10)).await;
    for name in ["One", "Two", "Three", "Four"] {
        server.environment(&owner, name, "test").await;
    }
    let path = quota("environments");
    let told = async || {
        let alerts = server.get(BILLING, &owner).await.is(200).json()["alerts"].clone();
        let alert =
            |alert: &Value| [&alert["limit"], &alert["threshold"]].map(|figure| figure.as_u64().unwrap());
        alerts.as_array().unwrap().iter().map(alert).collect::<Vec<_>>()
    };
    let set = server.put(&path, &owner, &json!({"limit": 5, "soft": true})).await.is(200);
    assert_eq!(set.json()["version"], server.version(owner.organization), "the alert comes first");
    assert_eq!(told().await, [[5, 80]]);
    server.put(&path, &owner, &json!({"limit": 8, "soft": true})).await.is(200);
    assert_eq!(told().await, [[0; 2]; 0], "of a limit that is none any more nothing is told");
    for name in ["Five", "Six", "Seven"] {
        server.environment(&owner, name, "test").await;
    }
    assert_eq!(told().await, [[8, 80]], "a raised limit is told of in the same month");
    server.environment(&owner, "Eight", "test").await;
    assert_eq!(told().await, [[8, 80], [10, 80], [8, 100]], "and so is the plan's");
    let rows = server.audit(&owner, "&action=billing.alert").await;
    assert_eq!(rows.len(), 4);
    assert!(rows.iter().all(|row| row["user"]["id"] == "system"));
    server.delete("/v1/environments/eight", &owner).await.is(204);
    server.environment(&owner, "Eight", "test").await;
    server.operators_quota(&owner, "environments", Some(json!({"limit": 4, "soft": true}))).await;
    assert_eq!(server.audit(&owner, "&action=billing.alert").await.len(), 6, "both shares of an operator's");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_organization_pays_for_has_a_history_and_is_never_brought_back() {
    let (server, owner) = TestServer::set_up().await;
    server.set_plan("team", hard("environments", 3)).await;
    let before = server.version(owner.organization);
    server.take_plan(&owner, "team").await.is(200);
    server.put(&quota("environments"), &owner, &json!({"limit": 2})).await.is(200);
    server.make_environment(&owner, "One").await.is(201);

    let then = server.get(&format!("{BILLING}?as_of={before}"), &owner).await.is(200);
    assert_eq!(then.json()["plan"], "unlimited");
    assert_eq!(then.header("settled-as-of-version"), Some(before.to_string()));
    let history = server.get(&format!("/v1/history/{}", owner.organization), &owner).await.is(200).json();
    let actions: Vec<_> =
        history["data"].as_array().unwrap().iter().map(|row| text(&row["action"])).collect();
    assert_eq!(actions[..2], ["billing.set_quota".to_owned(), "billing.change_plan".to_owned()]);
    let diff = server.get(&format!("/v1/diff?from={before}"), &owner).await.is(200).json();
    let changed = diff["data"].as_array().unwrap();
    assert!(changed.iter().any(|change| change["resource"]["type"] == "billing"), "{diff}");

    let wanted = json!({"as_of": before, "scope": {"organization": true}, "dry_run": true});
    let plan = server.post("/v1/restore", Some(&owner), &wanted).await.is(200);
    let steps = plan.json()["steps"].as_array().unwrap().len();
    assert_eq!(steps, 1, "the environment goes, plan and quota stay");
    // Who sees no billing sees none of it in the organization's history.
    let viewer = server.add_with_role(owner.organization, SystemRole::Developer).await;
    let history = server.get(&format!("/v1/history/{}", owner.organization), &viewer).await.is(200).json();
    assert!(!history.to_string().contains("billing"), "{history}");
    server.get(BILLING, &viewer).await.is_problem(403, "forbidden");
}
