//! Who is invited and who asks to join: their names and addresses are shown to whom they are meant for while they are
//! there, and to nobody once they were turned away or erased, whatever point in time is asked about.

use std::path::Path;

use reqwest::Method;
use serde_json::{Value, json};

use super::Client;
use super::mail::mailed;
use crate::server::{Answer, text};

/// What only the organization's own lists may show.
const SHOWN: &[&str] = &[
    "name",
    "new name",
    "email",
    "invited email",
    "declining email",
    "revoked email",
    "requester email",
    "turned away email",
    "invited name",
    "requester name",
    "turned away name",
];

/// The first link of those that this mails; three came before.
const FIRST_LINK: usize = 4;

/// An Owner, and what they call.
struct Owner<'a, 'b> {
    client: &'a mut Client<'b>,
    token: &'a str,
}

impl Owner<'_, '_> {
    fn of(&self, kind: &str) -> String {
        self.client.canaries.of(kind).to_owned()
    }

    async fn post(&self, path: &str, body: &Value) -> Answer {
        let request = self.client.request(Method::POST, path, Some(self.token)).json(body);
        self.client.send(self.client.anew(request), SHOWN).await
    }

    async fn get(&self, path: &str, may: &[&str]) -> Answer {
        self.client.send(self.client.request(Method::GET, path, Some(self.token)), may).await.is(200)
    }

    async fn invite(&self, kind: &str) -> String {
        let invited = json!({"email": self.of(kind), "role": "viewer"});
        text(&self.post("/v1/invitations", &invited).await.is(201).json()["id"])
    }

    /// A mailed token, which is a canary from now on.
    async fn mailed(&mut self, mails: &Path, number: usize, kind: &'static str) -> String {
        let token = mailed(mails, FIRST_LINK + number).await;
        self.client.canaries.0.insert(kind, token.clone());
        token
    }

    /// Somebody signs up, follows the link, and asks to join; the id of the request.
    async fn ask_to_join(&mut self, who: [&'static str; 3], mails: &Path, number: usize) -> String {
        let [email, name, token] = who;
        let password = self.of("member's password");
        let sign_up = json!({"email": self.of(email), "name": self.of(name), "password": password});
        self.client.json(Method::POST, "/v1/auth/signup", None, &sign_up, &[]).await.is(202);
        let verify = json!({"token": self.mailed(mails, number, token).await});
        self.client.json(Method::POST, "/v1/auth/verify-email", None, &verify, &[]).await.is(204);
        let login = json!({"email": self.of(email), "password": password, "organization": null});
        let login =
            self.client.json(Method::POST, "/v1/auth/login", None, &login, SHOWN).await.is(200).json();
        let session = text(&login["token"]);
        let joinable = self.client.request(Method::GET, "/v1/me/joinable-organizations", Some(&session));
        let joinable = self.client.send(joinable, &[]).await.is(200).json();
        let ask = json!({"organization": joinable["data"][0]["id"]});
        let ask = self.client.request(Method::POST, "/v1/me/join-requests", Some(&session)).json(&ask);
        text(&self.client.send(self.client.anew(ask), &[]).await.is(201).json()["id"])
    }
}

/// People come by invitation and by their domain, others do not, and those who came are erased.
pub(super) async fn people_come_and_are_erased(client: &mut Client<'_>, mails: &Path, token: &str) {
    let mut owner = Owner { client, token };
    let invited = owner.invite("invited email").await;
    let accept = owner.mailed(mails, 0, "accepting token").await;
    owner.invite("declining email").await;
    let decline = json!({"token": owner.mailed(mails, 1, "declining token").await});
    let revoked = owner.invite("revoked email").await;
    owner.mailed(mails, 2, "revoked token").await;
    let listed = owner.get("/v1/invitations", SHOWN).await;
    for kind in ["invited email", "declining email", "revoked email"] {
        assert!(listed.text.contains(owner.client.canaries.of(kind)), "{kind} is not listed");
    }
    let then = listed.version();
    owner.client.json(Method::POST, "/v1/auth/invitations/decline", None, &decline, &[]).await.is(204);
    let path = format!("/v1/invitations/{revoked}");
    owner.client.send(owner.client.request(Method::DELETE, &path, Some(token)), &[]).await.is(204);
    let accept =
        json!({"token": accept, "name": owner.of("invited name"), "password": owner.of("member's password")});
    let path = "/v1/auth/invitations/accept";
    let login = owner.client.json(Method::POST, path, None, &accept, SHOWN).await.is(200).json();
    owner.client.json(Method::POST, path, None, &accept, &[]).await.is(422);

    // The address of whoever accepted is proven, so they vouch for the domain of everybody here.
    let domain = owner.client.request(Method::PATCH, "/v1/general", Some(token));
    let domain = domain.json(&json!({"email_domain": "example.com"}));
    owner.client.send(owner.client.anew(domain), &[]).await.is(200);
    let asking = ["requester email", "requester name", "requester's verifying token"];
    let asking = owner.ask_to_join(asking, mails, 3).await;
    let turned_away = ["turned away email", "turned away name", "turned away verifying token"];
    let turned_away = owner.ask_to_join(turned_away, mails, 4).await;
    let listed = owner.get("/v1/join-requests", SHOWN).await;
    let asked = listed.version();
    for kind in ["requester email", "requester name", "turned away email", "turned away name"] {
        assert!(listed.text.contains(owner.client.canaries.of(kind)), "{kind} is not listed");
    }
    let approve = format!("/v1/join-requests/{asking}/approve");
    let approved = owner.post(&approve, &json!({})).await.is(200).json();
    owner.post(&format!("/v1/join-requests/{turned_away}/decline"), &json!({})).await.is(200);
    let people = owner.get("/v1/people", SHOWN).await;
    for kind in ["invited email", "invited name", "requester email", "requester name"] {
        assert!(people.text.contains(owner.client.canaries.of(kind)), "{kind} is not listed");
    }

    let persons = [text(&login["person"]["id"]), text(&approved["person"])];
    for person in &persons {
        owner.post(&format!("/v1/people/{person}/erase"), &json!({})).await.is(200);
    }
    let (now, members) = (people.version(), persons.join("&user="));
    for path in [
        format!("/v1/invitations?as_of={then}"),
        format!("/v1/invitations/{invited}?as_of={then}"),
        format!("/v1/invitations/{revoked}?as_of={then}"),
        format!("/v1/join-requests?as_of={asked}"),
        format!("/v1/people?as_of={now}"),
        format!("/v1/people/{}?as_of={now}", persons[0]),
        format!("/v1/people/{}?as_of={now}", persons[1]),
        "/v1/people?q=canary".to_owned(),
        "/v1/people?status=erased".to_owned(),
        format!("/v1/history/{}", persons[0]),
        format!("/v1/history/{invited}"),
        format!("/v1/history/{asking}"),
        format!("/v1/diff?from=1&to={now}"),
        format!("/v1/audit?user={members}"),
        "/v1/audit/facets".to_owned(),
        "/v1/audit/export?format=csv".to_owned(),
        "/v1/audit/export?format=ndjson".to_owned(),
        "/v1/events?limit=200".to_owned(),
        format!("/v1/access/explain?permission=config:read&as_of={now}"),
    ] {
        // The Owner's own name and reasons are the organization's; nothing of the others is.
        owner.get(&path, &["name", "new name", "email", "reason", "ip", "user agent"]).await;
    }
}
