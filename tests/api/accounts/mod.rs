//! Accounts by mail: signing up, verifying an address, a forgotten password, another address; leaving and deleting.

use serde_json::{Value, json};
use settled::event::Outcome;
use settled::ids::StreamId;
use settled::log::filter::Filter;

use crate::server::{Answer, PASSWORD, Somebody, TestServer, text};

mod address;
mod departure;
mod enumeration;
mod recovery;
mod signup;

const NEW_PASSWORD: &str = "seven boats in the harbour";
const NEWCOMER: &str = "nora@example.com";
const DAY: u64 = 24 * 3600;

impl TestServer {
    pub async fn sign_up(&self, email: &str) -> Answer {
        let body = json!({"email": email, "name": "Nora New", "password": PASSWORD});
        self.post("/v1/auth/signup", None, &body).await
    }

    pub async fn verify(&self, token: &Value) -> Answer {
        self.post("/v1/auth/verify-email", None, &json!({"token": token})).await
    }

    pub async fn forgot(&self, email: &str) -> Answer {
        self.post("/v1/auth/password/forgot", None, &json!({"email": email})).await
    }

    pub async fn reset(&self, token: &Value, password: &str) -> Answer {
        let body = json!({"token": token, "password": password});
        self.post("/v1/auth/password/reset", None, &body).await
    }

    pub async fn change_email(&self, who: &Somebody, email: &str) -> Answer {
        self.post("/v1/me/email", Some(who), &json!({"email": email, "password": PASSWORD})).await
    }

    pub async fn password_of(&self, email: &str, password: &str) -> Answer {
        self.log_in(&json!({"email": email, "password": password, "organization": null})).await
    }

    /// A session without an organization.
    pub async fn nowhere(&self, who: &Somebody) -> Somebody {
        let login = self.password_of(&who.email, PASSWORD).await.is(200).json();
        Somebody { token: text(&login["token"]), ..who.clone() }
    }

    /// How many data keys the platform's stream has.
    pub fn data_keys(&self) -> usize {
        self.app().store.log().data_keys(StreamId::Platform).unwrap().len()
    }

    /// How many events of an action the platform's stream has.
    pub fn recorded(&self, action: &str) -> usize {
        let (store, handle) = (&self.app().store, self.app().store.platform());
        let (view, filter) =
            (handle.view(), Filter { outcomes: vec![Outcome::Success], ..Filter::default() });
        let versions = store.versions_after(handle, &view, &filter, 0, usize::MAX).unwrap();
        let events = store.recorded(handle, &view, &versions).unwrap();
        events.iter().filter(|event| event.event.action() == action).count()
    }
}
