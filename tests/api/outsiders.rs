//! Every route, generated from the table, as it is met by whoever is not in the organization: who shows no credential,
//! who has an account alone, and who belonged to it once or may not come in for now.

use reqwest::Method;
use serde_json::{Value, json};
use settled::http::access::{Access, Row};
use settled::http::routes;

use crate::server::{PASSWORD, Somebody, TestServer, text};
use crate::things::{Things, is_page, request};

/// Every row of the table, but for the pages: those are for whoever holds their link, and have tests of their own.
fn rows() -> impl Iterator<Item = Row> {
    routes().into_iter().map(|route| route.row).filter(|row| !is_page(row.path))
}

impl TestServer {
    /// What a row answers somebody who means these things.
    async fn asked(&self, who: &Somebody, row: Row, things: &Things, owner: &Somebody) -> (u16, Value) {
        let (method, path, body) = request(row.method, row.path, things, owner);
        let answer = self.send(method, &path, who, &[], &body).await;
        let code = if answer.status < 400 { Value::Null } else { answer.problem()["code"].clone() };
        (answer.status, code)
    }

    /// Goes over all routes with a session that belongs to no organization: its own account is all that it reaches.
    async fn reaches_its_account_alone(&self, nowhere: &Somebody, things: &Things, owner: &Somebody) {
        for row in rows().filter(|row| row.path != "/v1/auth/logout") {
            let (status, code) = self.asked(nowhere, row, things, owner).await;
            match row.access {
                Access::Public | Access::OwnAccount | Access::Founder => {
                    assert!(![401, 403].contains(&status) && status < 500, "{row:?}: {status} {code}");
                }
                Access::Program(_) => assert_eq!((status, code), (403, json!("api_key_required")), "{row:?}"),
                Access::Member | Access::Organization(_) | Access::Environment(_) => {
                    assert_eq!((status, code), (403, json!("organization_required")), "{row:?}");
                }
            }
        }
    }

    /// Goes over all routes with what authenticates nobody: only what is public answers.
    async fn is_nobody(&self, nobody: &Somebody, things: &Things, owner: &Somebody) {
        for row in rows() {
            let (status, code) = self.asked(nobody, row, things, owner).await;
            if row.access == Access::Public {
                assert!(![401, 403].contains(&status) && status < 500, "{row:?}: {status} {code}");
            } else {
                assert_eq!((status, code), (401, json!("unauthenticated")), "{row:?}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_credential_only_public_routes_answer() {
    let (server, owner) = TestServer::set_up().await;
    let things = Things::unknown(owner.organization);
    let nobody = Somebody { token: "nobody".to_owned(), ..owner.clone() };
    server.is_nobody(&nobody, &things, &owner).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_without_an_organization_reaches_its_own_account_alone() {
    let (server, owner) = TestServer::set_up().await;
    server.add_account("nowhere@example.com", "Nowhere").await;
    let login = server.log_in(&json!({"email": "nowhere@example.com", "password": PASSWORD})).await;
    let login = login.is(200).json();
    assert_eq!(login["organization"], Value::Null);
    let nowhere = Somebody { token: text(&login["token"]), ..owner.clone() };
    let things = Things::unknown(owner.organization);
    server.reaches_its_account_alone(&nowhere, &things, &owner).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_suspended_removed_or_erased_meets_every_route_as_nobody() {
    let (server, owner) = TestServer::set_up().await;
    let member = server.add(owner.organization, "member@example.com", "Member").await;
    server.environment(&owner, "Target", "test").await;
    let things = Things::make(&server, &owner, "here", member.person).await;
    for (gone, method, action) in [
        ("suspended", Method::POST, "/suspend"),
        ("removed", Method::DELETE, ""),
        ("erased", Method::POST, "/erase"),
    ] {
        let who = server.add(owner.organization, &format!("{gone}@example.com"), gone).await;
        server.give(&owner, &who.person.to_string(), "owner").await.is(201);
        server.get("/v1/general", &who).await.is(200);
        let path = format!("/v1/people/{}{action}", who.person);
        server.send(method, &path, &owner, &[], &Value::Null).await;
        let before = server.version(owner.organization);

        // The session from before has ended: the check of the form comes first, and nothing else comes before that.
        let (unreadable, large) = ("{", "x".repeat(1024 * 1024 + 1));
        for (body, status) in [(unreadable, 400), (&large, 413)] {
            let request = server.request(Method::PATCH, "/v1/general", Some(&who.token));
            let request = request.header("content-type", "application/json").body(body.to_owned());
            assert_eq!(crate::server::send(request).await.status, status, "{gone}");
        }
        server.is_nobody(&who, &things, &owner).await;

        // The account is their own; no session of it leads here again.
        let named = json!({"email": who.email, "password": PASSWORD, "organization": who.organization});
        server.log_in(&named).await.is_problem(401, "login_failed");
        let nowhere = server.nowhere(&who).await;
        let switch = json!({"organization": who.organization});
        server.post("/v1/auth/switch", Some(&nowhere), &switch).await.is_problem(404, "not_found");
        server.reaches_its_account_alone(&nowhere, &things, &owner).await;
        assert_eq!(server.version(owner.organization), before, "{gone}: none of it was an event");
    }
}
