//! People who come by the domain of their address: an organization that has one, and somebody who asks to join it.

use serde_json::{Value, json};
use settled::ids::OrganizationId;

use crate::server::{Answer, PASSWORD, Somebody, TestServer, text};

/// The domain of everybody's address.
pub const DOMAIN: &str = "example.com";
/// The record that proves it.
pub const RECORD: &str = "_settled-verification.example.com";

impl TestServer {
    /// Gives an organization the domain, and what a record has to say.
    pub async fn set_domain(&self, owner: &Somebody, domain: &str) -> Value {
        let set = json!({"email_domain": domain});
        self.patch("/v1/general", owner, &set).await.is(200).json()["email_domain_challenge"].clone()
    }

    /// Puts the record of a challenge into DNS.
    pub fn prove(&self, challenge: &Value) {
        self.dns.add(&text(&challenge["name"]), &[&text(&challenge["value"])]);
    }

    pub async fn verify_domain(&self, owner: &Somebody) -> Answer {
        self.post("/v1/general/email-domain/verify", Some(owner), &json!({})).await
    }

    /// Gives an organization the domain, proven by DNS.
    pub async fn prove_domain(&self, owner: &Somebody) {
        let challenge = self.set_domain(owner, DOMAIN).await;
        self.prove(&challenge);
        self.verify_domain(owner).await.is(200);
    }

    /// Somebody who has signed up, whose address is verified, and who belongs nowhere.
    pub async fn domain_user(&self, email: &str) -> Somebody {
        // Host names are written in one way.
        let (local, domain) = email.rsplit_once('@').expect("an address");
        let to = &format!("{local}@{}", domain.to_ascii_lowercase());
        let before = self.mails().iter().filter(|mail| mail.to == *to).count();
        let body = json!({"email": email, "name": "Nora New", "password": PASSWORD});
        self.post("/v1/auth/signup", None, &body).await.is(202);
        let token = self.mail_to(to, before + 1).await.token();
        self.post("/v1/auth/verify-email", None, &json!({"token": token})).await.is(204);
        let login = json!({"email": email, "password": PASSWORD, "organization": null});
        let login = self.log_in(&login).await.is(200).json();
        Somebody {
            // Nobody yet: a place to put whoever they will be.
            person: settled::ids::UserId::min(),
            organization: OrganizationId::min(),
            email: email.to_owned(),
            token: text(&login["token"]),
        }
    }

    pub async fn ask_to_join(&self, who: &Somebody, organization: impl ToString) -> Answer {
        self.post("/v1/me/join-requests", Some(who), &json!({"organization": organization.to_string()})).await
    }

    /// Where somebody may join.
    pub async fn joinable(&self, who: &Somebody) -> Vec<Value> {
        let answer = self.get("/v1/me/joinable-organizations", who).await.is(200).json();
        answer["data"].as_array().expect("a list").clone()
    }

    /// Who asks to join and waits.
    pub async fn join_requests(&self, owner: &Somebody) -> Vec<Value> {
        self.get("/v1/join-requests", owner).await.is(200).json()["data"].as_array().expect("a list").clone()
    }

    /// A request that nobody has decided yet: one that is there, or one that somebody makes.
    pub async fn join_request(&self, owner: &Somebody, mark: &str) -> String {
        if let Some(pending) = self.join_requests(owner).await.first() {
            return text(&pending["id"]);
        }
        self.prove_domain(owner).await;
        let asking = self.domain_user(&format!("{mark}-asks@{DOMAIN}")).await;
        text(&self.ask_to_join(&asking, owner.organization).await.is(201).json()["id"])
    }

    pub async fn answer_request(&self, owner: &Somebody, request: &str, verb: &str, body: &Value) -> Answer {
        self.post(&format!("/v1/join-requests/{request}/{verb}"), Some(owner), body).await
    }
}
