//! People with accounts and roles, made through the store until their routes exist.

use std::sync::Arc;

use settled::actor::{Actor, ActorId};
use settled::command::Command;
use settled::ids::{AccountId, EnvironmentId, Fresh, OrganizationId, RoleAssignmentId, StreamId, UserId};
use settled::platform::accounts;
use settled::platform::accounts::command::AccountsCommand;
use settled::platform::accounts::event::SignedUp;
use settled::platform::foundings;
use settled::platform::foundings::command::FoundingsCommand;
use settled::platform::foundings::event::FoundingOpened;
use settled::seal::Plain;
use settled::settings::people;
use settled::settings::people::command::PeopleCommand;
use settled::settings::people::event::PersonJoined;
use settled::settings::roles::command::{AssignRole, RolesCommand, UnassignRole};
use settled::settings::roles::role::{Grantee, RoleRef, SystemRole};
use settled::store::resident::Handle;
use settled::store::{Done, Submission};

use crate::server::{PASSWORD, Somebody, TestServer};

impl TestServer {
    async fn as_system(&self, handle: &Arc<Handle>, command: impl Into<Command>) -> Done {
        let submission = Submission::new(command, Actor::SYSTEM);
        self.app().store.execute(handle, submission).await.expect("the system may")
    }

    /// Makes an account, a person of an organization with it, and a session of theirs.
    pub async fn add(&self, organization: OrganizationId, email: &str, name: &str) -> Somebody {
        let account = self.add_account(email, name).await;
        let person = self.join(organization, account, email, name).await;
        let somebody = Somebody { person, organization, email: email.to_owned(), token: String::new() };
        self.another_session(&somebody).await
    }

    /// Makes somebody with a role in the whole organization.
    pub async fn add_with_role(&self, organization: OrganizationId, role: SystemRole) -> Somebody {
        let name = role.name();
        let somebody = self.add(organization, &format!("{name}@example.com"), name).await;
        self.assign(&somebody, role, None).await;
        somebody
    }

    /// Makes an account without an organization.
    pub async fn add_account(&self, email: &str, name: &str) -> AccountId {
        let store = self.app().store.clone();
        let ring = store.clone();
        let key = tokio::task::spawn_blocking(move || ring.ring().mint(StreamId::Platform))
            .await
            .expect("minting does not panic")
            .expect("a key can be minted");
        let hash =
            self.app().passwords.hash(Plain::from(PASSWORD)).await.expect("the password can be hashed");
        let account: AccountId = Fresh.id();
        let id = account.to_string();
        let signed_up = SignedUp {
            account,
            key: key.id(),
            email: key.key().seal(&accounts::email_field(&id), &Plain::from(email)),
            name: key.key().seal(&accounts::name_field(&id), &Plain::from(name)),
            password: key.key().seal(&accounts::password_field(&id), &hash),
            link: None,
        };
        let mut submission = Submission::new(AccountsCommand::SignUp(signed_up), Actor::SYSTEM);
        submission.keys = vec![key];
        submission.claims = vec![accounts::claim(store.hasher(), &Plain::from(email), account)];
        store.execute(store.platform(), submission).await.expect("an account can be made");
        account
    }

    /// Makes an account's person in an organization: the pair in the platform's stream first, as a founding does.
    pub async fn join(
        &self,
        organization: OrganizationId,
        account: AccountId,
        email: &str,
        name: &str,
    ) -> UserId {
        let store = self.app().store.clone();
        let person: UserId = Fresh.id();
        let id = person.to_string();

        let platform = store.platform().view();
        let held = platform.platform().accounts.get(account).expect("the account exists");
        let key = store.ring().data_key(StreamId::Platform, held.key, held.commitment).expect("its key");
        let pair = FoundingOpened {
            organization,
            account,
            person,
            name: key.seal(&foundings::name_field(&organization.to_string()), &Plain::from("Acme")),
            timezone: "UTC".to_owned(),
            plan: None,
        };
        let actor = Actor { id: ActorId::Account(account), session: None };
        let submission = Submission::new(FoundingsCommand::Open(pair), actor);
        store.execute(store.platform(), submission).await.expect("the pair is recorded");
        self.as_system(store.platform(), FoundingsCommand::Close(organization)).await;

        let handle = self.handle(organization);
        let (stream, ring) = (handle.stream(), store.clone());
        let key = tokio::task::spawn_blocking(move || ring.ring().mint(stream))
            .await
            .expect("minting does not panic")
            .expect("a key can be minted");
        let joined = PersonJoined {
            person,
            key: key.id(),
            name: key.key().seal(&people::name_field(stream, &id), &Plain::from(name)),
            email: key.key().seal(&people::email_field(stream, &id), &Plain::from(email)),
        };
        let mut submission = Submission::new(PeopleCommand::Join(joined), Actor::SYSTEM);
        submission.keys = vec![key];
        store.execute(&handle, submission).await.expect("the person joins");
        person
    }

    /// Gives a role, as the system.
    pub async fn assign(
        &self,
        who: &Somebody,
        role: SystemRole,
        environment: Option<EnvironmentId>,
    ) -> RoleAssignmentId {
        let assignment: RoleAssignmentId = Fresh.id();
        let grantee = Grantee::Person(who.person);
        let command = AssignRole { assignment, grantee, role: RoleRef::System(role), environment };
        self.as_system(&self.handle(who.organization), RolesCommand::Assign(command)).await;
        assignment
    }

    /// Takes a role away, as the system.
    pub async fn unassign(&self, organization: OrganizationId, assignment: RoleAssignmentId) {
        let command = RolesCommand::Unassign(UnassignRole { assignment });
        self.as_system(&self.handle(organization), command).await;
    }
}
