//! Random traffic of three organizations: what is asked for, by whom, and the commands that it is made into.

use std::sync::LazyLock;

use proptest::prelude::*;
use proptest::sample::Index;
use settled::actor::{Actor, ActorId};
use settled::command::{Command, OrganizationCommand, Precondition};
use settled::event::Outcome;
use settled::ids::{ApiKeyId, EnvironmentId, Fresh, JoinRequestId, OauthAppId, OrganizationId, SessionId};
use settled::log::memory::MemoryLog;
use settled::settings::api_keys::command::ApiKeysCommand;
use settled::settings::environments::command::{
    Compares, CreateEnvironment, DeleteEnvironment, EnvironmentsCommand, UpdateEnvironment, WriteConfig,
};
use settled::settings::environments::event::Mode;
use settled::settings::environments::value::{ConfigKey, Slug};
use settled::settings::general::command::{GeneralCommand, UpdateOrganization};
use settled::settings::general::value::Timezone;
use settled::settings::people::command::PeopleCommand;
use settled::settings::people::event::PersonEmailChanged;
use settled::settings::roles::command::{AssignRole, RolesCommand};
use settled::settings::roles::role::{Grantee, RoleRef, SystemRole};
use settled::settings::secrets::command::At;
use settled::settings::secrets::value::Scope;
use settled::settings::sessions::command::{CloseSession, Closing, SessionsCommand};
use settled::store::exports::{Form, NoteExport};
use settled::store::resident::View;
use settled::store::{Idempotency, Submission};
use settled::text::{Description, Name};

use crate::access_asks::{AccessAsk, MadeAccess, access_ask};
use crate::billing_asks::{BillingAsk, billing_ask};
use crate::commands::{create, refusal};
use crate::connection_asks::{self, ConnectionAsk, MadeConnections, connection_ask};
use crate::customer_asks::{CustomerAsk, MadeCustomers, customer_ask};
use crate::invitation_asks::{InvitationAsk, Tried, having_seen, invitation_ask};
use crate::join_asks::{JoinAsk, join_ask};
use crate::key_asks::{KeyAsk, key_ask};
use crate::oauth_asks::{OauthAsk, oauth_ask};
use crate::secret_asks::{SecretAsk, secret_ask};
use crate::secrets::Values;
use crate::test_store::{Founded, Keys, TestStore, copy, person_of, session_of};

/// Each organization's things carry its mark.
pub const MARKS: [&str; 3] = ["alpha", "beta", "gamma"];

/// One organization of the base: its Owner, an Admin, a Developer, somebody without a role, an environment, a secret in it
/// and one for the whole organization, and a custom role that a team has, in which is who has no role.
#[derive(Clone)]
pub struct Member {
    pub founded: Founded,
    pub actors: Vec<Actor>,
    pub environment: EnvironmentId,
    pub secrets: Vec<At>,
    pub access: MadeAccess,
}

/// What every history begins with: three organizations with four people each, made once.
pub struct Base {
    pub log: MemoryLog,
    pub keys: Keys,
    pub members: Vec<Member>,
}

pub static BASE: LazyLock<Base> = LazyLock::new(|| {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let store = TestStore::in_memory();
        let mut members: Vec<Member> = Vec::new();
        for mark in MARKS {
            let founded = match members.first() {
                None => store.found(mark).await,
                Some(first) => store.found_further(first.founded.account, mark).await,
            };
            let mut actors = vec![founded.owner];
            for role in [Some(SystemRole::Admin), Some(SystemRole::Developer), None] {
                actors.push(join(&store, &founded, mark, role).await);
            }
            let environment = Fresh.id();
            let made = create(founded.owner, environment, mark);
            store.execute(&founded, made).await.unwrap();
            let mut secrets = Vec::new();
            for scope in [Scope::Environment(environment), Scope::Organization] {
                let at = At { secret: Fresh.id(), scope };
                let values = Values { store: &store, founded: &founded };
                store.execute(&founded, values.create(at, "SECRET_0", &at.secret.to_string())).await.unwrap();
                secrets.push(at);
            }
            let access = MadeAccess::begin(&store, &founded, person_of(actors[3]), mark).await;
            members.push(Member { founded, actors, environment, secrets, access });
        }
        Base { log: copy(&*store.log), keys: store.keys.clone(), members }
    })
});

pub async fn join(store: &TestStore, founded: &Founded, mark: &str, role: Option<SystemRole>) -> Actor {
    let (joined, key) = store.newcomer(founded.organization, mark);
    let person = joined.person;
    let mut submission = Submission::new(PeopleCommand::Join(joined), founded.owner);
    submission.keys = vec![key];
    store.execute(founded, submission).await.unwrap();
    if let Some(role) = role {
        let (grantee, role) = (Grantee::Person(person), RoleRef::System(role));
        let assign = AssignRole { assignment: Fresh.id(), grantee, role, environment: None };
        store.execute(founded, Submission::new(RolesCommand::Assign(assign), founded.owner)).await.unwrap();
    }
    Actor { id: ActorId::Person(person), session: None }
}

/// What is asked for, before it is known of whom. Indices choose among what earlier steps tried to make.
#[derive(Clone, Debug)]
pub enum Ask {
    Rename(u8),
    Zone(bool),
    Create {
        name: u8,
        described: bool,
    },
    Update {
        which: Index,
        name: Option<u8>,
        clear: bool,
    },
    Delete(Index),
    Config {
        which: Index,
        values: Vec<(u8, Option<u8>)>,
        whole: bool,
        create_only: bool,
        must_exist: bool,
    },
    Join,
    Leave,
    /// Somebody is suspended, let in again, or now and then removed or erased.
    Standing {
        person: Index,
        what: u8,
    },
    ChangeEmail {
        person: Index,
        generation: u8,
    },
    Access(AccessAsk),
    Open,
    Close {
        which: Index,
        revoke: bool,
    },
    Secret(SecretAsk),
    Key(KeyAsk),
    Joining(JoinAsk),
    Invitation(InvitationAsk),
    Customer(CustomerAsk),
    Oauth(OauthAsk),
    Connection(ConnectionAsk),
    Billing(BillingAsk),
    Deny,
    Export,
}

#[derive(Clone, Debug)]
pub struct Step {
    pub organization: usize,
    /// Whose person asks: mostly the organization's own.
    pub of: usize,
    pub actor: usize,
    pub ask: Ask,
    pub precondition: Option<u64>,
    pub key: Option<(u8, u8)>,
}

/// Steps that are queued together, after some seconds have passed.
pub type Burst = (u64, Vec<Step>);

pub fn ask() -> impl Strategy<Value = Ask> {
    let index = any::<Index>;
    prop_oneof![
        2 => (0..4u8).prop_map(Ask::Rename),
        1 => any::<bool>().prop_map(Ask::Zone),
        4 => (0..6u8, any::<bool>()).prop_map(|(name, described)| Ask::Create { name, described }),
        2 => (index(), prop::option::of(0..6u8), any::<bool>())
            .prop_map(|(which, name, clear)| Ask::Update { which, name, clear }),
        1 => index().prop_map(Ask::Delete),
        9 => (index(), prop::collection::vec((0..5u8, prop::option::weighted(0.7, 0..3u8)), 1..4), any::<bool>(),
              prop::bool::weighted(0.3), prop::bool::weighted(0.2))
            .prop_map(|(which, values, whole, create_only, must_exist)| Ask::Config {
                which, values, whole, create_only, must_exist,
            }),
        1 => Just(Ask::Join),
        1 => Just(Ask::Leave),
        2 => (index(), 0..8u8).prop_map(|(person, what)| Ask::Standing { person, what }),
        1 => (index(), 2..5u8).prop_map(|(person, generation)| Ask::ChangeEmail { person, generation }),
        18 => access_ask().prop_map(Ask::Access),
        2 => Just(Ask::Open),
        2 => (index(), any::<bool>()).prop_map(|(which, revoke)| Ask::Close { which, revoke }),
        18 => secret_ask().prop_map(Ask::Secret),
        14 => key_ask().prop_map(Ask::Key),
        4 => join_ask().prop_map(Ask::Joining),
        6 => invitation_ask().prop_map(Ask::Invitation),
        14 => customer_ask().prop_map(Ask::Customer),
        9 => oauth_ask().prop_map(Ask::Oauth),
        14 => connection_ask().prop_map(Ask::Connection),
        4 => billing_ask().prop_map(Ask::Billing),
        1 => Just(Ask::Deny),
        1 => Just(Ask::Export),
    ]
}

pub fn step() -> impl Strategy<Value = Step> {
    let key = prop::option::weighted(0.3, (0..3u8, prop::bool::weighted(0.2).prop_map(u8::from)));
    let precondition = prop::option::weighted(0.2, 0..40u64);
    let actor = prop_oneof![4 => Just(0usize), 2 => Just(1), 1 => Just(2), 1 => Just(3)];
    (0..3usize, prop::option::weighted(0.05, 0..3usize), actor, ask(), precondition, key).prop_map(
        |(organization, stranger, actor, ask, precondition, key)| Step {
            organization,
            of: stranger.unwrap_or(organization),
            actor,
            ask,
            precondition,
            key,
        },
    )
}

pub fn history() -> impl Strategy<Value = Vec<Burst>> {
    let pause = prop_oneof![6 => Just(0u64), 3 => 1..600u64, 1 => 3_600..100_000u64];
    prop::collection::vec((pause, prop::collection::vec(step(), 1..6)), 1..24)
}

/// What earlier steps tried to make in one organization.
#[derive(Default)]
pub struct Made {
    environments: Vec<EnvironmentId>,
    access: MadeAccess,
    sessions: Vec<SessionId>,
    keys: Vec<ApiKeyId>,
    people: Vec<settled::ids::UserId>,
    secrets: Vec<At>,
    join_requests: Vec<JoinRequestId>,
    invitations: Vec<Tried>,
    customers: MadeCustomers,
    apps: Vec<OauthAppId>,
    connections: MadeConnections,
}

/// A step made ready, to be submitted as it is to any store over the base.
#[derive(Clone)]
pub struct Prepared {
    pub organization: usize,
    pub submission: Submission,
}

impl Prepared {
    /// What the edge submits that has seen a state.
    pub fn having_seen(&self, view: &View) -> Submission {
        having_seen(self.submission.clone(), view)
    }
}

/// Prepares a history with a store's keys; the store's state plays no part.
pub fn prepare(history: &[Burst], with: &TestStore) -> Vec<(u64, Vec<Prepared>)> {
    let mut made: Vec<Made> = BASE.members.iter().map(Made::of).collect();
    let prepared = |step: &Step, made: &mut Made| {
        let actor = BASE.members[step.of].actors[step.actor];
        let founded = &BASE.members[step.organization].founded;
        let mut submission = made.command(step, actor, founded.organization, with);
        let seen = step.precondition.map(|version| Precondition::OneOf(vec![version, version + 1]));
        submission.preconditions.extend(seen);
        submission.idempotency = step.key.map(|(key, body)| Idempotency {
            key: format!("key {key} of {}", step.actor),
            body: format!("body {body}"),
            status: 200,
        });
        Prepared { organization: step.organization, submission }
    };
    history
        .iter()
        .map(|(pause, steps)| {
            (*pause, steps.iter().map(|step| prepared(step, &mut made[step.organization])).collect())
        })
        .collect()
}

pub fn chosen<T: Copy>(from: &[T], index: Index, or: T) -> T {
    if from.is_empty() { or } else { *index.get(from) }
}

impl Made {
    fn of(member: &Member) -> Self {
        let people = member.actors.iter().map(|actor| person_of(*actor)).collect();
        let (environments, secrets) = (vec![member.environment], member.secrets.clone());
        Self { people, environments, secrets, access: member.access.clone(), ..Self::default() }
    }

    fn command(
        &mut self,
        step: &Step,
        actor: Actor,
        organization: OrganizationId,
        with: &TestStore,
    ) -> Submission {
        let mark = MARKS[step.organization];
        let named = |number: u8| Name::try_from(format!("{mark} {number}").as_str()).unwrap();
        let environments = self.environments.clone();
        let environment = |which: Index| chosen(&environments, which, Fresh.id());
        match step.ask.clone() {
            Ask::Rename(number) => {
                let update = UpdateOrganization { name: Some(named(number)), ..Default::default() };
                Submission::new(GeneralCommand::Update(update), actor)
            }
            Ask::Zone(other) => {
                let zone = Timezone::try_from(if other { "Asia/Tokyo" } else { "Europe/Berlin" }).unwrap();
                let update = UpdateOrganization { timezone: Some(zone), ..Default::default() };
                Submission::new(GeneralCommand::Update(update), actor)
            }
            Ask::Create { name, described } => {
                let environment = Fresh.id();
                self.environments.push(environment);
                let create = CreateEnvironment {
                    environment,
                    name: named(name),
                    slug: Slug::try_from(format!("{mark}-{name}").as_str()).unwrap(),
                    mode: if name % 2 == 0 { Mode::Test } else { Mode::Live },
                    description: described.then(|| Description::try_from(mark).unwrap()),
                };
                Submission::new(EnvironmentsCommand::Create(create), actor)
            }
            Ask::Update { which, name, clear } => {
                let update = UpdateEnvironment {
                    environment: environment(which),
                    name: name.map(named),
                    slug: None,
                    description: clear.then_some(None),
                };
                Submission::new(EnvironmentsCommand::Update(update), actor)
            }
            Ask::Delete(which) => {
                let delete = DeleteEnvironment { environment: environment(which) };
                Submission::new(EnvironmentsCommand::Delete(delete), actor)
            }
            Ask::Config { which, values, whole, create_only, must_exist } => {
                let mut values: Vec<_> = values
                    .into_iter()
                    .map(|(key, value)| {
                        let key = ConfigKey::try_from(format!("KEY_{key}").as_str()).unwrap();
                        (key, value.map(|value| format!("\"{mark} {value}\"")))
                    })
                    .collect();
                values.sort();
                values.dedup_by(|one, other| one.0 == other.0);
                let compares = if whole { Compares::Configuration } else { Compares::Value };
                let write = WriteConfig { environment: environment(which), compares, values, must_exist };
                let mut submission = Submission::new(EnvironmentsCommand::WriteConfig(write), actor);
                submission.preconditions.extend(create_only.then_some(Precondition::Absent));
                submission
            }
            Ask::Join => {
                let (joined, key) = with.newcomer(organization, mark);
                self.people.push(joined.person);
                let mut submission = Submission::new(PeopleCommand::Join(joined), actor);
                submission.keys = vec![key];
                submission
            }
            Ask::Leave => Submission::new(PeopleCommand::Leave(person_of(actor)), actor),
            Ask::Standing { person, what } => {
                let person = *person.get(&self.people);
                let command = match what {
                    0..=2 => PeopleCommand::Suspend(person),
                    3..=5 => PeopleCommand::Reactivate(person),
                    6 => PeopleCommand::Remove(person),
                    _ => PeopleCommand::Erase(person),
                };
                Submission::new(command, actor)
            }
            Ask::ChangeEmail { person, generation } => {
                let (person, generation) = (*person.get(&self.people), u64::from(generation));
                let email = with.newcomer(organization, mark).0.email;
                let changed = PersonEmailChanged { person, email, generation };
                Submission::new(PeopleCommand::ChangeEmail(changed), Actor::SYSTEM)
            }
            Ask::Billing(ask) => ask.submission(actor),
            Ask::Access(ask) => {
                let command = ask.command(&mut self.access, &self.people, named, environment);
                Submission::new(command, actor)
            }
            Ask::Open => {
                let opened = session_of(person_of(actor));
                self.sessions.push(opened.session);
                organizations(OrganizationCommand::Sessions(SessionsCommand::Open(opened)), actor)
            }
            Ask::Close { which, revoke } => {
                let session = chosen(&self.sessions, which, Fresh.id());
                let how = if revoke { Closing::Revoke } else { Closing::Logout };
                let close = SessionsCommand::Close(CloseSession { session, how });
                organizations(OrganizationCommand::Sessions(close), actor)
            }
            Ask::Secret(ask) => {
                ask.submission(&mut self.secrets, mark, environment, actor, organization, with)
            }
            Ask::Key(ask) => {
                let command = ask.command(&mut self.keys, named, environment);
                let program = |key| Actor { id: ActorId::ApiKey(key), session: None };
                let actor = match &command {
                    ApiKeysCommand::Use(used) => program(used.key),
                    _ => actor,
                };
                Submission::new(command, actor)
            }
            Ask::Joining(ask) => ask.submission(&mut self.join_requests, actor, organization, with),
            Ask::Invitation(ask) => {
                let team = |which| self.access.team(which);
                ask.submission(&mut self.invitations, team, actor, organization, with)
            }
            Ask::Customer(ask) => {
                let secrets = &mut self.secrets;
                ask.submission(&mut self.customers, secrets, environment, (mark, actor, organization), with)
            }
            Ask::Oauth(ask) => ask.submission(&mut self.apps, (mark, actor, organization), with),
            Ask::Connection(ask) => {
                let step = connection_asks::Step { mark, actor, organization, with };
                let customer = |which| self.customers.id(which);
                let app = |which| chosen(&self.apps, which, Fresh.id());
                ask.submission(&mut self.connections, environment, customer, app, step)
            }
            // Over HTTP an actor is only ever denied in their own organization.
            Ask::Deny if step.of == step.organization => {
                let denied = refusal(Outcome::Denied, &organization.to_string());
                organizations(OrganizationCommand::Refuse(denied), actor)
            }
            Ask::Deny | Ask::Export => {
                organizations(OrganizationCommand::Export(NoteExport { form: Form::Events }), actor)
            }
        }
    }
}

pub fn organizations(command: OrganizationCommand, actor: Actor) -> Submission {
    Submission::new(Command::Organization(command), actor)
}
