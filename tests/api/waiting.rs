//! Who waits to be let in, and goes, comes another way, or has asked by halves.

use reqwest::Method;
use serde_json::{Value, json};
use settled::actor::{Actor, ActorId};
use settled::ids::{Fresh, OrganizationId, UserId};
use settled::platform::accounts::projection::ORGANIZATIONS_PER_ACCOUNT_MAX;
use settled::platform::memberships::command::{MembershipsCommand, OpenMembership};
use settled::platform::memberships::event::MembershipOpened;
use settled::settings::roles::role::SystemRole;
use settled::store::Submission;

use crate::server::{Answer, PASSWORD, Somebody, TestServer, text};

const NEWCOMER: &str = "nora@example.com";

#[tokio::test(flavor = "multi_thread")]
async fn who_changes_their_address_has_not_asked_by_the_new_one() {
    let (server, owner) = TestServer::set_up().await;
    server.prove_domain(&owner).await;
    let nora = server.domain_user(NEWCOMER).await;
    server.ask_to_join(&nora, owner.organization).await.is(201);
    let body = json!({"email": "nora@example.org", "password": PASSWORD});
    server.post("/v1/me/email", Some(&nora), &body).await.is(202);
    let token = server.mail_to("nora@example.org", 1).await.token();
    server.post("/v1/auth/verify-email", None, &json!({"token": token})).await.is(204);
    assert_eq!(server.join_requests(&owner).await, [Value::Null; 0]);
    let rows = server.audit(&owner, "&action=join_request.decline").await;
    assert_eq!((rows.len(), &rows[0]["user"]["id"]), (1, &json!("system")));
    server.ask_to_join(&nora, owner.organization).await.is_problem(404, "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_deletes_their_account_waits_nowhere_and_who_cannot_goes_on_waiting() {
    let (server, owner) = TestServer::set_up().await;
    server.prove_domain(&owner).await;
    let nora = server.domain_user(NEWCOMER).await;
    let asked = server.ask_to_join(&nora, owner.organization).await.is(201).json();
    let waits_as = server.join_requests(&owner).await[0]["person"].clone();
    let elsewhere = server.belongs_elsewhere(&nora).await;
    let delete = async |who: &Somebody| {
        server.send(Method::DELETE, "/v1/me", who, &[], &json!({"password": PASSWORD})).await
    };
    delete(&nora).await.is_problem(409, "memberships_left");
    assert_eq!(server.join_requests(&owner).await[0]["id"], asked["id"]);
    server.post("/v1/me/leave", Some(&elsewhere), &json!({})).await.is(204);
    delete(&nora).await.is(204);
    assert_eq!(server.join_requests(&owner).await, [Value::Null; 0]);
    let rows = server.audit(&owner, "&action=join_request.decline").await;
    assert_eq!((rows.len(), &rows[0]["user"]["id"]), (1, &waits_as), "it was their own doing");
}

impl TestServer {
    /// Somebody in an organization that is founded for it, of which somebody else is an Owner, too.
    async fn belongs_elsewhere(&self, who: &Somebody) -> Somebody {
        let found = json!({"name": "Elsewhere", "timezone": "UTC"});
        let founded = self.post("/v1/organizations", Some(who), &found).await.is(201).json();
        let organization = text(&founded["id"]).parse().unwrap();
        self.add_with_role(organization, SystemRole::Owner).await;
        self.another_session(&Somebody { organization, ..who.clone() }).await
    }

    /// Invites somebody who has an account, and accepts it for them.
    async fn accept_invitation(&self, owner: &Somebody, who: &Somebody) -> Answer {
        let before = self.mails().iter().filter(|mail| mail.to == who.email).count();
        let invite = json!({"email": who.email, "role": "developer"});
        self.post("/v1/invitations", Some(owner), &invite).await.is(201);
        let token = self.mail_to(&who.email, before + 1).await.token();
        self.post("/v1/auth/invitations/accept", Some(who), &json!({"token": token})).await
    }

    /// How many pairs of accounts and persons there are.
    pub fn pairs(&self) -> usize {
        let platform = self.app().store.platform().view();
        platform.platform().accounts.iter().map(|account| account.persons.len()).sum()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_and_is_invited_is_one_person_there_and_waits_no_more() {
    let (server, owner) = TestServer::set_up().await;
    server.prove_domain(&owner).await;
    let nora = server.domain_user(NEWCOMER).await;
    server.ask_to_join(&nora, owner.organization).await.is(201);
    let login = server.accept_invitation(&owner, &nora).await.is(200).json();
    assert_eq!(login["person"]["email"], NEWCOMER);
    assert_eq!(server.join_requests(&owner).await, [Value::Null; 0]);
    assert_eq!(server.pairs(), 2, "the Owner's and hers");
    let rows = server.audit(&owner, "&action=join_request.decline").await;
    assert_eq!((rows.len(), &rows[0]["user"]["id"]), (1, &login["person"]["id"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_cannot_accept_an_invitation_goes_on_waiting() {
    // Its scheduler, which has what is open decided, waits for the clock.
    let (server, owner) = TestServer::set_up_manual().await;
    server.prove_domain(&owner).await;
    let nora = server.domain_user(NEWCOMER).await;
    let asked = server.ask_to_join(&nora, owner.organization).await.is(201).json();
    for _ in 0..ORGANIZATIONS_PER_ACCOUNT_MAX {
        server.ask_cut_short(Fresh.id()).await;
    }
    server.accept_invitation(&owner, &nora).await.is_problem(409, "too_many_organizations");
    assert_eq!(server.join_requests(&owner).await[0]["id"], asked["id"]);
}

impl TestServer {
    /// The newest account asks to join, and only the platform's half is made, as a crash right after it would leave things.
    async fn ask_cut_short(&self, organization: OrganizationId) -> UserId {
        let store = &self.app().store;
        let platform = store.platform().view();
        let account = platform.platform().accounts.iter().max_by_key(|account| account.id).unwrap();
        let (account, left) = (account.id, account.persons.clone());
        let (person, join_request) = (Fresh.id(), Some(Fresh.id()));
        let membership = MembershipOpened { account, organization, person, join_request, invitation: None };
        let open = OpenMembership { membership, account: None, left };
        let actor = Actor { id: ActorId::Account(account), session: None };
        let open = Submission::new(MembershipsCommand::Open(open), actor);
        store.execute(store.platform(), open).await.unwrap();
        person
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_was_cut_short_is_made_at_the_next_start() {
    let (mut server, owner) = TestServer::set_up().await;
    server.prove_domain(&owner).await;
    let nora = server.domain_user(NEWCOMER).await;
    let person = server.ask_cut_short(owner.organization).await;
    assert_eq!(server.join_requests(&owner).await, [Value::Null; 0]);
    server.restart().await;
    let pending = server.join_requests(&owner).await;
    assert_eq!((&pending[0]["email"], &pending[0]["person"]), (&json!(NEWCOMER), &json!(person)));
    let asked = server.ask_to_join(&nora, owner.organization).await.is(200).json();
    assert_eq!(asked["id"], pending[0]["id"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_again_has_their_own_request_finished_and_nobody_elses() {
    // Its scheduler, which finishes everybody's, waits for the clock.
    let (server, owner) = TestServer::set_up_manual().await;
    server.prove_domain(&owner).await;
    let nora = server.domain_user(NEWCOMER).await;
    server.ask_cut_short(owner.organization).await;
    let otto = server.domain_user("otto@example.com").await;
    let own = server.ask_to_join(&otto, owner.organization).await.is(201).json();
    assert_eq!(server.ask_to_join(&otto, owner.organization).await.is(200).json(), own);
    let pending = async || server.join_requests(&owner).await.len();
    assert_eq!(pending().await, 1, "Otto's alone");
    server.ask_to_join(&nora, owner.organization).await.is(200);
    assert_eq!(pending().await, 2);
}
