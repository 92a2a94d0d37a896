//! Commands that several tests submit.

use settled::actor::Actor;
use settled::clock::Timestamp;
use settled::command::{Command, OrganizationCommand};
use settled::event::{Outcome, Refused, RefusedData, Resource, ResourceType};
use settled::ids::EnvironmentId;
use settled::platform::operations::command::OperationsCommand;
use settled::settings::environments::command::{
    Compares, CreateEnvironment, DeleteEnvironment, EnvironmentsCommand, WriteConfig,
};
use settled::settings::environments::event::Mode;
use settled::settings::environments::value::{ConfigKey, Slug};
use settled::settings::general::command::{GeneralCommand, UpdateOrganization};
use settled::settings::sessions::command::SessionsCommand;
use settled::store::denials::RecordRefused;
use settled::store::{Idempotency, Submission};
use settled::text::Name;

use crate::test_store::TestStore;

pub fn rename(actor: Actor, name: &str) -> Submission {
    let name = Some(Name::try_from(name).unwrap());
    Submission::new(GeneralCommand::Update(UpdateOrganization { name, ..Default::default() }), actor)
}

/// A new environment; `name` is its slug too.
pub fn create(actor: Actor, environment: EnvironmentId, name: &str) -> Submission {
    let command = CreateEnvironment {
        environment,
        name: Name::try_from(name).unwrap(),
        slug: Slug::try_from(name).unwrap(),
        mode: Mode::Test,
        description: None,
    };
    Submission::new(EnvironmentsCommand::Create(command), actor)
}

pub fn delete(actor: Actor, environment: EnvironmentId) -> Submission {
    Submission::new(EnvironmentsCommand::Delete(DeleteEnvironment { environment }), actor)
}

/// Configuration values, as canonical JSON text.
pub fn write(actor: Actor, environment: EnvironmentId, values: Vec<(String, Option<String>)>) -> Submission {
    let values = values.into_iter().map(|(key, value)| (ConfigKey::try_from(key.as_str()).unwrap(), value));
    let command = WriteConfig {
        environment,
        compares: Compares::Configuration,
        values: values.collect(),
        must_exist: false,
    };
    Submission::new(EnvironmentsCommand::WriteConfig(command), actor)
}

pub fn sessions(actor: Actor, command: SessionsCommand) -> Submission {
    Submission::new(Command::Organization(OrganizationCommand::Sessions(command)), actor)
}

pub fn with_key(mut submission: Submission, key: &str, body: &str) -> Submission {
    submission.idempotency = Some(Idempotency { key: key.to_owned(), body: body.to_owned(), status: 201 });
    submission
}

/// That something was denied or failed.
pub fn refusal(outcome: Outcome, about: &str) -> RecordRefused {
    RecordRefused {
        resource: Resource::new(ResourceType::Organization, about),
        related: Vec::new(),
        outcome,
        refused: Refused { action: "organization.update".to_owned(), data: RefusedData::default() },
        count: None,
    }
}

/// What `settled clock accept` does.
pub async fn accept_clock(store: &TestStore) -> Timestamp {
    let wall = store.clock.accept();
    let command = OperationsCommand::AcceptClock { wall, newest: store.store.newest() };
    let submission = Submission::new(command, Actor::OPERATOR);
    store.store.execute(store.store.platform(), submission).await.unwrap();
    wall
}
