//! Domain users: where they may join, asking to, and being let in.

use reqwest::Method;
use serde_json::{Value, json};
use settled::ids::{Fresh, OrganizationId, StreamId};
use settled::platform::memberships::asks::ASKS_PER_DAY_MAX;
use settled::settings::roles::role::SystemRole;

use crate::domain_users::DOMAIN;
use crate::server::{OWNER_EMAIL, PASSWORD, Somebody, TestServer, text};

const NEWCOMER: &str = "nora@example.com";

impl TestServer {
    /// Somebody as a member, once they are one.
    async fn member(&self, who: &Somebody) -> Somebody {
        let login = self.log_in(&json!({"email": who.email, "password": PASSWORD})).await.is(200).json();
        Somebody {
            person: text(&login["person"]["id"]).parse().unwrap(),
            organization: text(&login["organization"]["id"]).parse().unwrap(),
            email: who.email.clone(),
            token: text(&login["token"]),
        }
    }

    /// The Owner proves that their own address is theirs.
    async fn prove_owners_address(&self, owner: &Somebody) {
        self.move_address(owner, OWNER_EMAIL).await;
    }

    /// Gives somebody another address that nobody had, and that they prove.
    async fn move_address(&self, who: &Somebody, email: &str) {
        let body = json!({"email": email, "password": PASSWORD});
        self.post("/v1/me/email", Some(who), &body).await.is(202);
        let token = self.mail_to(email, 1).await.token();
        self.post("/v1/auth/verify-email", None, &json!({"token": token})).await.is(204);
    }

    async fn let_in_at_once(&self, owner: &Somebody, role: &str) {
        let settings = json!({"auto_approve_domain_users": true, "join_role": role});
        self.patch("/v1/general", owner, &settings).await.is(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_is_let_in_by_somebody() {
    let (server, owner) = TestServer::set_up().await;
    server.prove_domain(&owner).await;
    let nora = server.domain_user(NEWCOMER).await;
    let shown = server.joinable(&nora).await;
    assert_eq!(
        shown,
        [json!({"id": owner.organization, "name": "Acme", "joins_at_once": false, "join_request": null})]
    );
    let asked = server.ask_to_join(&nora, owner.organization).await.is(201).json();
    assert_eq!((&asked["status"], &asked["organization"]), (&json!("pending"), &json!(owner.organization)));
    assert_eq!(server.joinable(&nora).await[0]["join_request"], asked["id"]);
    // They are nobody there yet.
    let login = json!({"email": NEWCOMER, "password": PASSWORD, "organization": owner.organization});
    server.log_in(&login).await.is_problem(401, "login_failed");

    let pending = server.join_requests(&owner).await;
    assert_eq!(pending.len(), 1);
    assert_eq!(pending[0]["id"], asked["id"]);
    assert_eq!(
        (&pending[0]["name"], &pending[0]["email"], &pending[0]["status"], &pending[0]["role"]),
        (&json!("Nora New"), &json!(NEWCOMER), &json!("pending"), &Value::Null)
    );
    let request = text(&asked["id"]);
    let approved =
        server.answer_request(&owner, &request, "approve", &json!({"role": "developer"})).await.is(200);
    assert_eq!(
        (&approved.json()["status"], &approved.json()["role"]),
        (&json!("approved"), &json!("developer"))
    );
    assert_eq!(approved.json()["email"], NEWCOMER);
    let member = server.member(&nora).await;
    assert_eq!(json!(member.person), pending[0]["person"], "the person whom they asked as");
    let me = server.get("/v1/me", &member).await.is(200).json();
    assert_eq!((&me["person"]["name"], &me["roles"][0]["id"]), (&json!("Nora New"), &json!("developer")));
    assert_eq!(server.join_requests(&owner).await, [Value::Null; 0]);
    assert_eq!(server.joinable(&nora).await, [Value::Null; 0]);
    server
        .answer_request(&owner, &request, "approve", &json!({}))
        .await
        .is_problem(409, "join_request_decided");
    server
        .answer_request(&owner, &request, "decline", &json!({}))
        .await
        .is_problem(409, "join_request_decided");

    let rows = server.audit(&owner, &format!("&resource={request}")).await;
    let told: Vec<_> = rows.iter().map(|row| (&row["action"], &row["user"]["id"])).collect();
    let by = |action: &str, who: &Somebody| (json!(action), json!(who.person));
    let (approve, create) = (by("join_request.approve", &owner), by("join_request.create", &member));
    let (gave, joined) = (by("role_assignment.create", &owner), by("person.join", &owner));
    let expected = [gave, joined, approve, create];
    assert_eq!(told, expected.each_ref().map(|(action, who)| (action, who)));
    assert_eq!(rows[3]["user"]["name"], "Nora New");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_role_it_is_the_one_of_the_settings() {
    let (server, owner) = TestServer::set_up().await;
    server.prove_domain(&owner).await;
    server.patch("/v1/general", &owner, &json!({"join_role": "auditor"})).await.is(200);
    let nora = server.domain_user(NEWCOMER).await;
    let asked = server.ask_to_join(&nora, owner.organization).await.is(201).json();
    let key = [("idempotency-key", "k")];
    let path = format!("/v1/join-requests/{}/approve", text(&asked["id"]));
    let approve = async || server.send(Method::POST, &path, &owner, &key, &Value::Null).await.is(200);
    let first = approve().await;
    assert_eq!(first.json()["role"], "auditor");
    let again = approve().await;
    assert_eq!(again.header("idempotency-replayed").as_deref(), Some("true"));
    assert_eq!(again.json(), first.json());
    let me = server.get("/v1/me", &server.member(&nora).await).await.is(200).json();
    assert_eq!(me["roles"][0]["id"], "auditor");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_declined_is_forgotten_and_may_ask_again() {
    let (server, owner) = TestServer::set_up().await;
    server.prove_domain(&owner).await;
    let nora = server.domain_user(NEWCOMER).await;
    let asked = server.ask_to_join(&nora, owner.organization).await.is(201).json();
    let request = text(&asked["id"]);
    let then = server.version(owner.organization);
    let stream = StreamId::Organization(owner.organization);
    let keys = || server.app().store.log().data_keys(stream).unwrap().len();
    let kept = keys();
    let declined = server.answer_request(&owner, &request, "decline", &json!({})).await.is(200).json();
    assert_eq!(
        (&declined["status"], &declined["name"], &declined["email"]),
        (&json!("declined"), &Value::Null, &Value::Null)
    );
    assert_eq!(keys(), kept - 1, "their key is destroyed");
    let version = server.version(owner.organization);
    assert_eq!(
        server.answer_request(&owner, &request, "decline", &json!({})).await.is(200).version(),
        version
    );
    server
        .answer_request(&owner, &request, "approve", &json!({}))
        .await
        .is_problem(409, "join_request_decided");
    // Neither by going back in time.
    let past = server.get(&format!("/v1/join-requests?as_of={then}"), &owner).await.is(200).json();
    assert_eq!((&past["data"][0]["id"], &past["data"][0]["email"]), (&asked["id"], &Value::Null));
    let again = server.ask_to_join(&nora, owner.organization).await.is(201).json();
    assert_ne!(again["id"], asked["id"]);
    assert_eq!(server.join_requests(&owner).await.len(), 1);
    assert_eq!(server.pairs(), 2, "the Owner's and the one that waits");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_declined_again_and_again_asks_ten_times_a_day() {
    let (server, owner) = TestServer::set_up_manual().await;
    server.prove_domain(&owner).await;
    let nora = server.domain_user(NEWCOMER).await;
    for _ in 0..ASKS_PER_DAY_MAX {
        let asked = server.ask_to_join(&nora, owner.organization).await.is(201).json();
        server.answer_request(&owner, &text(&asked["id"]), "decline", &json!({})).await.is(200);
    }
    let version = (server.platform_version(), server.version(owner.organization));
    let refused = server.ask_to_join(&nora, owner.organization).await;
    assert_eq!(refused.header("retry-after").as_deref(), Some("86400"));
    refused.is_problem(429, "too_many_requests");
    assert_eq!((server.platform_version(), server.version(owner.organization)), version);
    let otto = server.domain_user("otto@example.com").await;
    server.ask_to_join(&otto, owner.organization).await.is(201);
    server.advance(24 * 3_600);
    let nora = server.nowhere_of(&nora).await;
    server.ask_to_join(&nora, owner.organization).await.is(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_twice_has_asked_once() {
    let (server, owner) = TestServer::set_up().await;
    server.prove_domain(&owner).await;
    let nora = server.domain_user(NEWCOMER).await;
    let first = server.ask_to_join(&nora, owner.organization).await.is(201).json();
    assert_eq!(server.ask_to_join(&nora, owner.organization).await.is(200).json(), first);
    let asking = (0..16).map(|_| {
        let (nora, organization) = (nora.clone(), owner.organization);
        let request = server.request(Method::POST, "/v1/me/join-requests", Some(&nora.token));
        let request = request.json(&json!({"organization": organization}));
        tokio::spawn(crate::server::send(request))
    });
    for answer in asking.collect::<Vec<_>>() {
        assert_eq!(answer.await.unwrap().is(200).json(), first);
    }
    assert_eq!(server.join_requests(&owner).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_first_requests_at_once_one_is_made() {
    let (server, owner) = TestServer::set_up().await;
    server.prove_domain(&owner).await;
    server.let_in_at_once(&owner, "viewer").await;
    let nora = server.domain_user(NEWCOMER).await;
    let asking = (0..32).map(|_| {
        let request = server.request(Method::POST, "/v1/me/join-requests", Some(&nora.token));
        tokio::spawn(crate::server::send(request.json(&json!({"organization": owner.organization}))))
    });
    let mut made = 0;
    for answer in asking.collect::<Vec<_>>() {
        let answer = answer.await.unwrap();
        made += usize::from(answer.status == 201);
        assert!([200, 201].contains(&answer.status), "{}", answer.text);
        assert_eq!(answer.json()["status"], "joined", "{}", answer.text);
    }
    assert_eq!(made, 1);
    assert_eq!(server.handle(owner.organization).view().organization().people.iter().count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_request_answers_as_the_first_did() {
    let (server, owner) = TestServer::set_up().await;
    server.prove_domain(&owner).await;
    let nora = server.domain_user(NEWCOMER).await;
    let body = json!({"organization": owner.organization});
    let key = [("idempotency-key", "k")];
    let ask = async || server.send(Method::POST, "/v1/me/join-requests", &nora, &key, &body).await;
    let first = ask().await.is(201);
    let again = ask().await.is(201);
    assert_eq!(again.header("idempotency-replayed").as_deref(), Some("true"));
    assert_eq!(again.json(), first.json());
    let other = json!({"organization": OrganizationId::max()});
    let reused = server.send(Method::POST, "/v1/me/join-requests", &nora, &key, &other).await;
    // Where one may not join, nothing is looked at.
    reused.is_problem(404, "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_to_be_let_in_at_once_is() {
    let (server, owner) = TestServer::set_up().await;
    let first = server.domain_user("first@example.com").await;
    server.prove_domain(&owner).await;
    let waiting = server.ask_to_join(&first, owner.organization).await.is(201).json();
    server.let_in_at_once(&owner, "developer").await;
    assert_eq!(server.join_requests(&owner).await[0]["id"], waiting["id"], "who waits goes on waiting");
    let nora = server.domain_user(NEWCOMER).await;
    assert_eq!(server.joinable(&nora).await[0]["joins_at_once"], true);
    let joined = server.ask_to_join(&nora, owner.organization).await.is(201).json();
    assert_eq!((&joined["status"], &joined["id"]), (&json!("joined"), &Value::Null));
    let member = server.member(&nora).await;
    let me = server.get("/v1/me", &member).await.is(200).json();
    assert_eq!((&me["person"]["email"], &me["roles"][0]["id"]), (&json!(NEWCOMER), &json!("developer")));
    assert_eq!(server.ask_to_join(&nora, owner.organization).await.is(200).json()["status"], "joined");
    let rows = server.audit(&owner, "&action=person.join").await;
    assert_eq!(
        (&rows[0]["user"]["id"], &rows[0]["resource"]["name"]),
        (&json!(member.person), &json!("Nora New"))
    );
    // What is not proven any more lets nobody in at once.
    server.set_domain(&owner, "example.org").await;
    let again = server.set_domain(&owner, DOMAIN).await;
    server.prove_owners_address(&owner).await;
    let third = server.domain_user("third@example.com").await;
    let asked = server.ask_to_join(&third, owner.organization).await.is(201).json();
    assert_eq!(asked["status"], "pending", "{again}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_members_verified_address_vouches_for_the_domain() {
    let (server, owner) = TestServer::set_up().await;
    server.set_domain(&owner, DOMAIN).await;
    let nora = server.domain_user(NEWCOMER).await;
    assert_eq!(server.joinable(&nora).await, [Value::Null; 0]);
    server.ask_to_join(&nora, owner.organization).await.is_problem(404, "not_found");
    server.prove_owners_address(&owner).await;
    assert_eq!(server.joinable(&nora).await.len(), 1);
    server.let_in_at_once(&owner, "viewer").await;
    let asked = server.ask_to_join(&nora, owner.organization).await.is(201).json();
    assert_eq!(asked["status"], "pending", "at once is only who comes by a proven domain");
    // As long as it is there, the address is a member's, and it is in the domain.
    let eve = server.domain_user("eve@example.com").await;
    let member = server.domain_user("member@example.com").await;
    server.ask_to_join(&member, owner.organization).await.is(201);
    let pending = server.join_requests(&owner).await;
    let request = pending.iter().find(|request| request["email"] == "member@example.com").unwrap();
    server.answer_request(&owner, &text(&request["id"]), "approve", &json!({})).await.is(200);
    server.move_address(&owner, "owner@example.org").await;
    assert_eq!(server.joinable(&eve).await.len(), 1, "another member has one, too");
    server.move_address(&member, "member@example.org").await;
    assert_eq!(server.joinable(&eve).await, [Value::Null; 0], "nobody has one any more");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_verified_address_of_exactly_the_domain_leads_in() {
    let (server, owner) = TestServer::set_up().await;
    server.prove_domain(&owner).await;
    let shown = server.joinable(&server.domain_user("Up@EXAMPLE.com").await).await;
    assert_eq!(shown.len(), 1, "letter case is none of it");
    let version = (server.platform_version(), server.version(owner.organization));
    let mut problems = Vec::new();
    // The Owner's address was never proven.
    let unproven = server.nowhere_of(&owner).await;
    for email in ["a@mail.example.com", "a@example.org", "a@notexample.com"] {
        let somebody = server.domain_user(email).await;
        assert_eq!(server.joinable(&somebody).await, [Value::Null; 0], "{email}");
        problems.push(server.ask_to_join(&somebody, owner.organization).await.is_problem(404, "not_found"));
        problems.push(
            server.ask_to_join(&somebody, Fresh.id::<OrganizationId>()).await.is_problem(404, "not_found"),
        );
    }
    assert_eq!(server.joinable(&unproven).await, [Value::Null; 0]);
    problems.push(server.ask_to_join(&unproven, owner.organization).await.is_problem(404, "not_found"));
    for mut problem in problems {
        problem["request_id"] = Value::Null;
        let alike =
            json!({"type": "urn:settled:not_found", "status": 404, "code": "not_found", "request_id": null});
        for (field, value) in alike.as_object().unwrap() {
            assert_eq!(problem[field], *value);
        }
        assert_eq!(problem["detail"], server.unknown_organization().await);
    }
    assert_eq!(server.version(owner.organization), version.1, "nothing is recorded of it");
}

impl TestServer {
    /// A session without an organization.
    async fn nowhere_of(&self, who: &Somebody) -> Somebody {
        let body = json!({"email": who.email, "password": PASSWORD, "organization": null});
        let login = self.log_in(&body).await.is(200).json();
        Somebody { token: text(&login["token"]), ..who.clone() }
    }

    /// What somebody is told who asks to join what is not there.
    async fn unknown_organization(&self) -> Value {
        let somebody = self.domain_user(&format!("{}@example.net", Fresh.id::<OrganizationId>())).await;
        self.ask_to_join(&somebody, OrganizationId::max()).await.is_problem(404, "not_found")["detail"]
            .clone()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn letting_in_is_under_the_ceiling() {
    let (server, owner) = TestServer::set_up().await;
    server.prove_domain(&owner).await;
    let admin = server.add_with_role(owner.organization, SystemRole::Admin).await;
    let viewer = server.add_with_role(owner.organization, SystemRole::Viewer).await;
    let nora = server.domain_user(NEWCOMER).await;
    let request = text(&server.ask_to_join(&nora, owner.organization).await.is(201).json()["id"]);
    let above = server.answer_request(&admin, &request, "approve", &json!({"role": "owner"})).await;
    assert_eq!(above.is_problem(403, "forbidden")["permission"], "organization:own");
    server.patch("/v1/general", &owner, &json!({"join_role": "owner"})).await.is(200);
    server.answer_request(&admin, &request, "approve", &json!({})).await.is_problem(403, "forbidden");
    for verb in ["approve", "decline"] {
        let problem =
            server.answer_request(&viewer, &request, verb, &json!({})).await.is_problem(403, "forbidden");
        assert_eq!(problem["permission"], "person:invite");
    }
    let invalid = server.answer_request(&owner, &request, "approve", &json!({"role": "emperor"})).await;
    invalid.is_problem(422, "invalid_request");
    server
        .answer_request(&owner, "jr_01kqxk5rd0e5xrpzzv0jjq4zgn", "approve", &json!({}))
        .await
        .is_problem(404, "not_found");
    assert_eq!(server.join_requests(&viewer).await.len(), 1);
    server.answer_request(&admin, &request, "approve", &json!({"role": "admin"})).await.is(200);
}
