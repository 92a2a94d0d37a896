//! `/v1/invitations` and `/v1/auth/invitations/*`: asked by mail, and accepted or declined by whoever reads it.

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use settled::ids::StreamId;
use settled::settings::roles::role::SystemRole;

use crate::roles::ids;
use crate::server::{Answer, PASSWORD, Somebody, TestServer, send, text};

const NORA: &str = "nora@example.com";
const DAY: u64 = 24 * 3600;

impl TestServer {
    async fn invite(&self, who: &Somebody, email: &str, role: &str, teams: &[&str]) -> Answer {
        let body = json!({"email": email, "role": role, "teams": teams});
        self.post("/v1/invitations", Some(who), &body).await
    }

    /// The token of the newest of so many mails to an address.
    async fn invited(&self, email: &str, count: usize) -> Value {
        let mail = self.mail_to(email, count).await;
        assert_eq!(mail.subject, "You are invited to an organization");
        assert!(mail.text.contains("/accept-invitation#token="), "{}", mail.text);
        mail.token()
    }

    async fn accept(&self, who: Option<&Somebody>, body: &Value) -> Answer {
        self.post("/v1/auth/invitations/accept", who, body).await
    }

    async fn decline(&self, token: &Value) -> Answer {
        self.post("/v1/auth/invitations/decline", None, &json!({"token": token})).await
    }

    /// Data keys of an organization's stream.
    fn keys_of(&self, who: &Somebody) -> usize {
        self.app().store.log().data_keys(StreamId::Organization(who.organization)).unwrap().len()
    }
}

fn anew(token: &Value) -> Value {
    json!({"token": token, "name": "Nora New", "password": PASSWORD})
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_invited_makes_an_account_and_is_a_member_with_role_and_teams() {
    let (server, owner) = TestServer::set_up().await;
    let team = server.team(&owner, "Core").await;
    let made = server.invite(&owner, NORA, "developer", &[&team]).await.is(201);
    let body = made.json();
    assert_eq!(
        (&body["email"], &body["role"], &body["teams"], &body["status"], &body["invited_by"]),
        (&json!(NORA), &json!("developer"), &json!([team]), &json!("pending"), &json!(owner.person))
    );
    let path = format!("/v1/invitations/{}", text(&body["id"]));
    assert_eq!(made.header("location"), Some(path.clone()));
    assert_eq!(server.get(&path, &owner).await.is(200).json(), body);
    assert_eq!(server.get("/v1/invitations", &owner).await.is(200).json()["data"], json!([body]));

    let token = server.invited(NORA, 1).await;
    for lacks in [json!({"token": token}), json!({"token": token, "name": "Nora"})] {
        server.accept(None, &lacks).await.is_problem(422, "invalid_request");
    }
    let weak = json!({"token": token, "name": "Nora New", "password": "short"});
    server.accept(None, &weak).await.is_problem(422, "invalid_request");
    let login = server.accept(None, &anew(&token)).await.is(200).json();
    assert_eq!(
        (&login["person"]["name"], &login["person"]["email"], &login["organization"]["name"]),
        (&json!("Nora New"), &json!(NORA), &json!("Acme"))
    );
    let nora = Somebody { token: text(&login["token"]), email: NORA.to_owned(), ..owner.clone() };
    let me = server.get("/v1/me", &nora).await.is(200).json();
    assert_eq!(me["roles"], json!([{"id": "developer", "name": "developer"}]));
    let members = server.get(&format!("/v1/teams/{team}/members"), &owner).await.is(200).json();
    assert_eq!(ids(&members), [text(&login["person"]["id"])]);
    server.another_session(&nora).await;
    assert_eq!(server.recorded("membership.close"), 1);

    server.get(&path, &owner).await.is_problem(404, "not_found");
    let then = server.get(&format!("{path}?as_of={}", made.version()), &owner).await.is(200).json();
    assert_eq!(then, body);
    for (query, action, who) in [
        ("invitation.create", "invitation.create", json!(owner.person)),
        ("invitation.accept", "invitation.accept", login["person"]["id"].clone()),
    ] {
        let rows = server.audit(&owner, &format!("&action={query}")).await;
        assert_eq!((&rows[0]["action"], &rows[0]["user"]["id"]), (&json!(action), &who));
    }
    // Whoever accepts is the actor of what they get; by the invitation it is found, and who sent that.
    let rows = server.audit(&owner, &format!("&resource={}", text(&body["id"]))).await;
    let told: Vec<_> =
        rows.iter().rev().map(|row| (text(&row["action"]), row["user"]["id"].clone())).collect();
    let by = |action: &str, who: Value| (action.to_owned(), who);
    let nora = &login["person"]["id"];
    let chain = ["invitation.accept", "person.join", "role_assignment.create", "team.add_member"];
    let chain = chain.map(|action| by(action, nora.clone()));
    assert_eq!(told, [&[by("invitation.create", json!(owner.person))], &chain[..]].concat());

    let history = server.get(&format!("/v1/history/{}", text(&body["id"])), &owner).await.is(200).json();
    let history: Vec<_> = history["data"].as_array().unwrap().iter().map(|row| &row["action"]).collect();
    assert_eq!(history, rows.iter().map(|row| &row["action"]).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_an_account_accepts_in_a_session_or_with_the_password_it_has() {
    let (server, owner) = TestServer::set_up().await;
    let found = json!({"name": "Beta", "timezone": "UTC"});
    let beta = text(&server.post("/v1/organizations", Some(&owner), &found).await.is(201).json()["id"]);
    let there = Somebody { organization: beta.parse().unwrap(), ..owner.clone() };
    let there = server.another_session(&there).await;
    let sam = server.add(owner.organization, "sam@example.com", "Sam").await;
    let noor = server.add(owner.organization, "noor@example.com", "Noor").await;
    for email in [&sam.email, &noor.email] {
        server.invite(&there, email, "viewer", &[]).await.is(201);
    }
    let (token, other) = (server.invited(&sam.email, 1).await, server.invited(&noor.email, 1).await);
    server.accept(Some(&noor), &json!({"token": token})).await.is_problem(409, "another_address");
    server.accept(None, &json!({"token": token})).await.is_problem(422, "invalid_request");
    let login = server.accept(Some(&sam), &json!({"token": token})).await.is(200).json();
    assert_eq!(login["organization"]["id"], beta);
    server.get("/v1/me", &sam).await.is(200);

    let wrong = json!({"token": other, "password": "not what it is at all"});
    server.accept(None, &wrong).await.is_problem(401, "login_failed");
    let right = json!({"token": other, "name": "Another name", "password": PASSWORD});
    let login = server.accept(None, &right).await.is(200).json();
    assert_eq!(login["person"]["name"], "Noor", "an account keeps its name");
    server.password_of(&noor.email, PASSWORD).await.is(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_works_once_and_only_the_one_that_was_mailed_last() {
    let (server, owner) = TestServer::set_up_manual().await;
    let made = server.invite(&owner, NORA, "viewer", &[]).await.is(201).json();
    let path = format!("/v1/invitations/{}", text(&made["id"]));
    let first = server.invited(NORA, 1).await;
    server.advance(6 * DAY);
    let owner = server.another_session(&owner).await;
    let resent = server.post(&format!("{path}/resend"), Some(&owner), &json!({})).await.is(200).json();
    assert_ne!(resent["expires_at"], made["expires_at"]);
    let second = server.invited(NORA, 2).await;
    server.accept(None, &anew(&first)).await.is_problem(422, "invalid_request");
    server.advance(7 * DAY);
    let owner = server.another_session(&owner).await;
    server.accept(None, &anew(&second)).await.is_problem(422, "invalid_request");
    server.decline(&second).await.is_problem(422, "invalid_request");
    assert_eq!(server.get(&path, &owner).await.is(200).json()["status"], "expired");
    server.post(&format!("{path}/resend"), Some(&owner), &json!({})).await.is(200);
    let third = server.invited(NORA, 3).await;
    server.accept(None, &anew(&third)).await.is(200);
    let again = server.accept(None, &anew(&third)).await.is_problem(422, "invalid_request");
    assert_eq!(again["errors"][0]["code"], "invalid_token");
    server.decline(&third).await.is_problem(422, "invalid_request");
    for nothing in ["", "x", "AAAA"] {
        server.accept(None, &anew(&json!(nothing))).await.is_problem(422, "invalid_request");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invitation_that_ends_otherwise_takes_its_key_with_it() {
    let (server, owner) = TestServer::set_up_manual().await;
    let keys = server.keys_of(&owner);
    let invite =
        async |email: &str| text(&server.invite(&owner, email, "viewer", &[]).await.is(201).json()["id"]);
    let (revoked, declined, forgotten) =
        (invite("a@example.com").await, invite("b@example.com").await, invite("c@example.com").await);
    assert_eq!(server.keys_of(&owner), keys + 3);
    let path = format!("/v1/invitations/{revoked}");
    let invited = server.version(owner.organization);
    server.delete(&path, &owner).await.is(204);
    server.delete(&path, &owner).await.is_problem(404, "not_found");
    server
        .accept(None, &anew(&server.invited("a@example.com", 1).await))
        .await
        .is_problem(422, "invalid_request");
    server.decline(&server.invited("b@example.com", 1).await).await.is(204);
    assert_eq!(server.keys_of(&owner), keys + 1);
    server.advance(37 * DAY + 60);
    server.eventually(async || server.keys_of(&owner) == keys).await;
    let owner = server.another_session(&owner).await;
    assert_eq!(server.get("/v1/invitations", &owner).await.is(200).json()["data"], json!([]));
    for (id, action) in [(revoked, "revoke"), (declined, "decline"), (forgotten, "expire")] {
        let rows = server.audit(&owner, &format!("&resource={id}")).await;
        assert_eq!(rows[0]["action"], format!("invitation.{action}"));
    }
    let told = server.get(&format!("/v1/invitations?as_of={invited}"), &owner).await.is(200).json();
    let addresses: Vec<_> = told["data"].as_array().unwrap().iter().map(|held| &held["email"]).collect();
    assert_eq!(addresses, [&Value::Null; 3], "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_invited_twice_or_as_a_member() {
    let (server, owner) = TestServer::set_up().await;
    server.invite(&owner, &owner.email, "viewer", &[]).await.is_problem(409, "already_a_member");
    server.invite(&owner, "Olive@EXAMPLE.com", "viewer", &[]).await.is_problem(409, "already_a_member");
    let invite = |email: &str| {
        let body = json!({"email": email, "role": "viewer"});
        server.request(Method::POST, "/v1/invitations", Some(&owner.token)).json(&body)
    };
    let statuses = at_once((0..64).map(|_| invite(NORA)).collect()).await;
    assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 1, "{statuses:?}");
    assert!(statuses.iter().all(|status| [201, 409, 429].contains(status)), "{statuses:?}");
    server.invite(&owner, "NORA@example.com", "viewer", &[]).await.is_problem(409, "already_invited");
    let others = (0..16).map(|number| invite(&format!("p{number}@example.com")));
    let statuses = at_once(others.collect()).await;
    assert_eq!(statuses, [201; 16]);
    for (role, teams, pointer) in
        [("role_x", json!([]), "/role"), ("viewer", json!(["team_01kqxk5rd0e5xrpzzv0jjq4zgn"]), "/teams")]
    {
        let body = json!({"email": "q@example.com", "role": role, "teams": teams});
        let problem =
            server.post("/v1/invitations", Some(&owner), &body).await.is_problem(422, "invalid_request");
        assert_eq!(problem["errors"][0]["pointer"], pointer);
    }
}

/// The statuses of requests that are sent at once.
async fn at_once(requests: Vec<RequestBuilder>) -> Vec<u16> {
    let sent: Vec<_> = requests.into_iter().map(|request| tokio::spawn(send(request))).collect();
    let mut statuses = Vec::new();
    for answer in sent {
        statuses.push(answer.await.unwrap().status);
    }
    statuses
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_who_accept_at_once_one_does() {
    let (server, owner) = TestServer::set_up().await;
    server.invite(&owner, NORA, "viewer", &[]).await.is(201);
    let body = anew(&server.invited(NORA, 1).await);
    let accept = || server.request(Method::POST, "/v1/auth/invitations/accept", None).json(&body);
    let statuses = at_once((0..64).map(|_| accept()).collect()).await;
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
    assert!(statuses.iter().all(|status| [200, 401, 422, 429, 503].contains(status)), "{statuses:?}");
    let people = server.get("/v1/people", &owner).await.is(200).json();
    assert_eq!(ids(&people).len(), 2);
    assert_eq!(server.audit(&owner, "&action=invitation.accept").await.len(), 1);
    server.password_of(NORA, PASSWORD).await.is(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invitation_gives_what_its_inviter_can_give_when_it_is_accepted() {
    let (server, owner) = TestServer::set_up().await;
    let admin = server.add_with_role(owner.organization, SystemRole::Admin).await;
    let team = server.team(&owner, "Owners").await;
    server.invite(&admin, "another@example.com", "owner", &[]).await.is_problem(403, "forbidden");
    server.invite(&admin, NORA, "viewer", &[&team]).await.is(201);
    let owns = server.give(&owner, &team, "owner").await.is(201).json();
    let first = server.invited(NORA, 1).await;
    server.accept(None, &anew(&first)).await.is_problem(409, "invitation_void");
    assert_eq!(server.password_of(NORA, PASSWORD).await.status, 401, "no account was made");
    let id = text(&server.get("/v1/invitations", &owner).await.is(200).json()["data"][0]["id"]);
    let resend = format!("/v1/invitations/{id}/resend");
    server.post(&resend, Some(&admin), &json!({})).await.is_problem(403, "forbidden");
    server.delete(&format!("/v1/role-assignments/{}", text(&owns["id"])), &owner).await.is(204);
    server.post(&format!("/v1/people/{}/suspend", admin.person), Some(&owner), &json!({})).await.is(200);
    server.accept(None, &anew(&first)).await.is_problem(409, "invitation_void");
    server.post(&resend, Some(&owner), &json!({})).await.is(200);
    let second = server.invited(NORA, 2).await;
    server.accept(None, &anew(&second)).await.is(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_suspended_does_not_come_back_by_an_invitation() {
    let (server, owner) = TestServer::set_up().await;
    let sam = server.add(owner.organization, "sam@example.com", "Sam").await;
    server.post(&format!("/v1/people/{}/suspend", sam.person), Some(&owner), &json!({})).await.is(200);
    server.invite(&owner, &sam.email, "viewer", &[]).await.is_problem(409, "already_a_member");
    server.delete(&format!("/v1/people/{}", sam.person), &owner).await.is(204);
    server.invite(&owner, &sam.email, "viewer", &[]).await.is(201);
    let token = server.invited(&sam.email, 1).await;
    let login = server.accept(None, &json!({"token": token, "password": PASSWORD})).await.is(200).json();
    assert_ne!(text(&login["person"]["id"]), sam.person.to_string(), "an id never returns");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_with_an_account_is_invited_as_any_other() {
    let (server, owner) = TestServer::set_up().await;
    server.add_account("known@example.com", "Known").await;
    let answer = async |email: &str| {
        let answer = server.invite(&owner, email, "viewer", &[]).await.is(201);
        let mut names: Vec<_> = answer.headers.keys().map(ToString::to_string).collect();
        names.sort();
        let body = answer.json();
        (names, body["status"].clone(), body.as_object().unwrap().len())
    };
    assert_eq!(answer("known@example.com").await, answer("stranger@example.com").await);
    let (known, stranger) =
        (server.mail_to("known@example.com", 1).await, server.mail_to("stranger@example.com", 1).await);
    let without_token = |mail: &crate::mailbox::Mail| mail.text.replace(&text(&mail.token()), "TOKEN");
    assert_eq!(without_token(&known), without_token(&stranger));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_costs_the_address_no_mail() {
    let (server, owner) = TestServer::set_up().await;
    let admin = server.add_with_role(owner.organization, SystemRole::Admin).await;
    let team = server.team(&owner, "Core").await;
    for _ in 0..4 {
        server.invite(&admin, NORA, "owner", &[]).await.is_problem(403, "forbidden");
        server.invite(&admin, NORA, "role_01kqxk5rd0e5xrpzzv0jjq4zgn", &[]).await.is(422);
        server.invite(&admin, NORA, "viewer", &["team_01kqxk5rd0e5xrpzzv0jjq4zgn"]).await.is(422);
    }
    let made = server.invite(&admin, NORA, "viewer", &[&team]).await.is(201).json();
    let resend = format!("/v1/invitations/{}/resend", text(&made["id"]));
    let stale = [("if-match", "\"0-1\"")];
    let owns = server.give(&owner, &team, "owner").await.is(201).json();
    for _ in 0..4 {
        server.invite(&admin, NORA, "viewer", &[]).await.is_problem(409, "already_invited");
        server.post(&resend, Some(&admin), &json!({})).await.is_problem(403, "forbidden");
        let old = server.send(Method::POST, &resend, &owner, &stale, &json!({})).await;
        old.is_problem(412, "precondition_failed");
    }
    server.delete(&format!("/v1/role-assignments/{}", text(&owns["id"])), &owner).await.is(204);
    let repeated = [("idempotency-key", "again")];
    for _ in 0..4 {
        server.send(Method::POST, &resend, &admin, &repeated, &json!({})).await.is(200);
    }
    server.post(&resend, Some(&admin), &json!({})).await.is(200);
    server.post(&resend, Some(&admin), &json!({})).await.is_problem(429, "too_many_requests");
    server.mail_to(NORA, 3).await;
}
