//! What is asked for: [`Command`], the sum of the areas' commands, the [`Context`] to decide one in, and what
//! deciding yields.
//!
//! `decide` is pure: the same state, command and context give the same events. A command holds fresh ids and
//! values that are already sealed and hashed; plaintext never enters here.

use crate::actor::Actor;
use crate::clock::Timestamp;
use crate::event::{Event, Outcome, Resource, Version};
use crate::history::restore::command::RestoreSettings;
use crate::ids::{DataKeyId, EnvironmentId};
use crate::organization::Organization;
use crate::platform::accounts::command::{AccountsCommand, AccountsRejection};
use crate::platform::deletions::command::{DeletionsCommand, DeletionsRejection};
use crate::platform::foundings::command::{FoundingsCommand, FoundingsRejection};
use crate::platform::managed_apps::command::{ManagedAppsCommand, ManagedAppsRejection};
use crate::platform::memberships::command::{MembershipsCommand, MembershipsRejection};
use crate::platform::operations::command::OperationsCommand;
use crate::platform::plans::command::{PlansCommand, PlansRejection};
use crate::platform::signing_keys::command::SigningKeysCommand;
use crate::promotion::command::PromoteEnvironment;
use crate::settings::api_keys::command::{ApiKeysCommand, ApiKeysRejection};
use crate::settings::billing::command::{BillingCommand, BillingRejection};
use crate::settings::billing::value::Excess;
use crate::settings::connections::command::{ConnectionsCommand, ConnectionsRejection};
use crate::settings::customer_data::command::{CustomerDataCommand, CustomerDataRejection};
use crate::settings::customers::command::{CustomersCommand, CustomersRejection};
use crate::settings::environments::command::{EnvironmentsCommand, EnvironmentsRejection};
use crate::settings::executions::command::{ExecutionsCommand, ExecutionsRejection};
use crate::settings::general::command::{GeneralCommand, GeneralRejection};
use crate::settings::invitations::command::{InvitationsCommand, InvitationsRejection};
use crate::settings::join_requests::command::{JoinRequestsCommand, JoinRequestsRejection};
use crate::settings::oauth_apps::command::{OauthAppsCommand, OauthAppsRejection};
use crate::settings::people::command::{PeopleCommand, PeopleRejection};
use crate::settings::roles::access::grants;
use crate::settings::roles::command::{RolesCommand, RolesRejection};
use crate::settings::roles::permission::Permission;
use crate::settings::secrets::command::{SecretsCommand, SecretsRejection};
use crate::settings::sessions::command::{SessionsCommand, SessionsRejection};
use crate::settings::sessions::projection::Holder;
use crate::settings::teams::command::{TeamsCommand, TeamsRejection};
use crate::store::denials::{DenialsRejection, RecordRefused};
use crate::store::encryption_keys::NoteRotation;
use crate::store::exports::NoteExport;
use crate::store::finishing::FinishEntry;

pub mod exempt;
mod from;
mod platform;

/// A command to one stream.
#[derive(Clone, Debug)]
pub enum Command {
    /// To an organization.
    Organization(OrganizationCommand),
    /// To the platform.
    Platform(PlatformCommand),
}

/// A command to an organization's stream.
#[derive(Clone, Debug)]
pub enum OrganizationCommand {
    /// To the organization's own settings.
    General(GeneralCommand),
    /// To its people.
    People(PeopleCommand),
    /// To invitations.
    Invitations(InvitationsCommand),
    /// To those who ask to join.
    JoinRequests(JoinRequestsCommand),
    /// To its teams.
    Teams(TeamsCommand),
    /// To its roles.
    Roles(RolesCommand),
    /// To its API keys.
    ApiKeys(ApiKeysCommand),
    /// To its environments.
    Environments(EnvironmentsCommand),
    /// To its customers.
    Customers(CustomersCommand),
    /// To customers' documents.
    CustomerData(CustomerDataCommand),
    /// To executions.
    Executions(ExecutionsCommand),
    /// To its secrets.
    Secrets(SecretsCommand),
    /// To its OAuth apps.
    OauthApps(OauthAppsCommand),
    /// To its connections.
    Connections(ConnectionsCommand),
    /// To its plan and quotas.
    Billing(BillingCommand),
    /// To its sessions.
    Sessions(SessionsCommand),
    /// Something was refused or failed, and is recorded.
    Refuse(RecordRefused),
    /// Events are taken out.
    Export(NoteExport),
    /// A key that wraps others was rotated.
    EncryptionKeys(NoteRotation),
    /// What the ledger says is recorded after a crash.
    Finish(FinishEntry),
    /// Settings are brought back.
    Restore(RestoreSettings),
    /// Configuration and secrets are carried over to another environment.
    Promote(PromoteEnvironment),
}

/// A command to the platform's stream.
#[derive(Clone, Debug)]
pub enum PlatformCommand {
    /// To accounts.
    Accounts(AccountsCommand),
    /// To foundings.
    Foundings(FoundingsCommand),
    /// To deletions.
    Deletions(DeletionsCommand),
    /// To memberships to be.
    Memberships(MembershipsCommand),
    /// To sessions without an organization.
    Sessions(SessionsCommand),
    /// To the operator's OAuth apps.
    ManagedApps(ManagedAppsCommand),
    /// An operator's.
    Operations(OperationsCommand),
    /// To plans.
    Plans(PlansCommand),
    /// To signing keys.
    SigningKeys(SigningKeysCommand),
    /// A key that wraps others was rotated.
    EncryptionKeys(NoteRotation),
    /// What the ledger says is recorded after a crash.
    Finish(FinishEntry),
    /// Something was refused or failed, and is recorded.
    Refuse(RecordRefused),
}

/// What decides beside the state and the command.
#[derive(Clone, Debug)]
pub struct Context {
    /// Who asks.
    pub actor: Actor,
    /// The time of the batch, never before that of the stream's last event.
    pub now: Timestamp,
    /// What the caller asks of what it changes; all of it must hold.
    pub preconditions: Vec<Precondition>,
    /// Of a program's request: which of its organization's in this month it is.
    pub ordinal: Option<u64>,
}

/// What a caller asks of the resource that it changes (`If-Match`, `If-None-Match`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Precondition {
    /// That it is there.
    Exists,
    /// That it is not there.
    Absent,
    /// That it is at one of these versions.
    OneOf(Vec<Version>),
    /// That it is at none of these versions.
    NoneOf(Vec<Version>),
}

impl Context {
    /// Refuses unless what is changed is as the caller asks; `current` is 0 where it is not there.
    ///
    /// # Errors
    /// [`Rejection::PreconditionFailed`].
    pub fn check_version(&self, current: Version) -> Result<(), PreconditionFailed> {
        check_version(&self.preconditions, current)
    }
}

/// Refuses unless all of this holds of something at a version, which is 0 where it is not there.
///
/// # Errors
/// [`PreconditionFailed`].
pub fn check_version(preconditions: &[Precondition], current: Version) -> Result<(), PreconditionFailed> {
    let met = |precondition: &Precondition| match precondition {
        Precondition::Exists => current != 0,
        Precondition::Absent => current == 0,
        Precondition::OneOf(versions) => versions.contains(&current),
        Precondition::NoneOf(versions) => !versions.contains(&current),
    };
    if preconditions.iter().all(met) { Ok(()) } else { Err(PreconditionFailed) }
}

/// The caller saw another version of what it wants to change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("what is to be changed has changed since it was read")]
pub struct PreconditionFailed;

/// An event as decided, before the writer gives it an id, a version and a time.
#[derive(Clone, Debug, PartialEq)]
pub struct NewEvent {
    /// What it is about.
    pub resource: Resource,
    /// Ids of other resources concerned.
    pub related: Vec<String>,
    /// How it ended.
    pub outcome: Outcome,
    /// How many occurrences it stands for, where it is an aggregate.
    pub count: Option<u64>,
    /// Data keys that it is the first to use.
    pub uses: Vec<DataKeyId>,
    /// Who did it, where that is not whoever asked.
    pub by: Option<Actor>,
    /// What happened.
    pub event: Event,
}

impl NewEvent {
    /// A success.
    pub fn new(resource: Resource, event: impl Into<Event>) -> Self {
        Self {
            resource,
            related: Vec::new(),
            outcome: Outcome::Success,
            count: None,
            uses: Vec::new(),
            by: None,
            event: event.into(),
        }
    }

    /// The same, which also concerns another resource.
    #[must_use]
    pub fn relating(mut self, id: impl std::fmt::Display) -> Self {
        self.related.push(id.to_string());
        self
    }

    /// The same, which is the first to use a data key.
    #[must_use]
    pub fn using(mut self, key: DataKeyId) -> Self {
        self.uses.push(key);
        self
    }

    /// The same, which somebody else did than whoever asked.
    #[must_use]
    pub fn by(mut self, actor: Actor) -> Self {
        self.by = Some(actor);
        self
    }
}

/// What a command needs of its actor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// A permission, in the whole organization.
    Organization(Permission),
    /// A permission, in one environment.
    Environment(Permission, EnvironmentId),
    /// A permission, somewhere: how far, `decide` asks.
    Somewhere(Permission),
    /// To be the one whom the command is about: checked by `decide`.
    Own,
    /// To be Settled itself or an operator.
    System,
}

impl Need {
    /// Whether an actor meets it.
    ///
    /// # Errors
    /// The permission that is missing.
    pub fn check(self, state: &Organization, context: &Context) -> Result<(), Rejection> {
        let actor = context.actor.id;
        match self {
            Self::Own => Ok(()),
            Self::System if actor.is_system() => Ok(()),
            Self::System => Err(Rejection::SystemOnly),
            Self::Organization(permission) if grants(state, actor).allows(permission) => Ok(()),
            Self::Environment(permission, environment)
                if grants(state, actor).allows_in(permission, environment) =>
            {
                Ok(())
            }
            Self::Somewhere(permission) if grants(state, actor).allows_somewhere(permission) => Ok(()),
            Self::Organization(permission)
            | Self::Environment(permission, _)
            | Self::Somewhere(permission) => Err(Rejection::Forbidden(permission)),
        }
    }
}

/// Why a command appends nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// The actor lacks a permission.
    #[error("the permission `{0}` is missing")]
    Forbidden(Permission),
    /// Only Settled itself and operators may.
    #[error("only the system may do this")]
    SystemOnly,
    /// The actor reaches for whom, or for what, holds a permission that they lack.
    #[error("the subject holds a permission that you lack")]
    AboveYourRights,
    /// The caller saw another version.
    #[error(transparent)]
    PreconditionFailed(#[from] PreconditionFailed),
    /// What the command was prepared from has changed: it is to be prepared again.
    #[error("what the command was prepared from has changed")]
    Stale,
    /// What it would do is more than may be done at once.
    #[error("the change is too large to be made at once")]
    TooLarge,
    /// The command does not belong to this kind of stream.
    #[error("the command belongs to another kind of stream")]
    WrongStream,
    /// The organization was deleted.
    #[error("the organization is no more")]
    Over,
    /// A value that must be unique is another's.
    #[error("the value is taken")]
    Taken,
    /// There would be more of something than a quota allows.
    #[error(transparent)]
    QuotaExceeded(#[from] Excess),
    /// Of general settings.
    #[error(transparent)]
    General(#[from] GeneralRejection),
    /// Of people.
    #[error(transparent)]
    People(#[from] PeopleRejection),
    /// Of invitations.
    #[error(transparent)]
    Invitations(#[from] InvitationsRejection),
    /// Of requests to join.
    #[error(transparent)]
    JoinRequests(#[from] JoinRequestsRejection),
    /// Of teams.
    #[error(transparent)]
    Teams(#[from] TeamsRejection),
    /// Of roles.
    #[error(transparent)]
    Roles(#[from] RolesRejection),
    /// Of API keys.
    #[error(transparent)]
    ApiKeys(#[from] ApiKeysRejection),
    /// Of environments.
    #[error(transparent)]
    Environments(#[from] EnvironmentsRejection),
    /// Of customers.
    #[error(transparent)]
    Customers(#[from] CustomersRejection),
    /// Of customers' documents.
    #[error(transparent)]
    CustomerData(#[from] CustomerDataRejection),
    /// Of executions.
    #[error(transparent)]
    Executions(#[from] ExecutionsRejection),
    /// Of secrets.
    #[error(transparent)]
    Secrets(#[from] SecretsRejection),
    /// Of OAuth apps.
    #[error(transparent)]
    OauthApps(#[from] OauthAppsRejection),
    /// Of connections.
    #[error(transparent)]
    Connections(#[from] ConnectionsRejection),
    /// Of plan and quotas.
    #[error(transparent)]
    Billing(#[from] BillingRejection),
    /// Of sessions.
    #[error(transparent)]
    Sessions(#[from] SessionsRejection),
    /// Of accounts.
    #[error(transparent)]
    Accounts(#[from] AccountsRejection),
    /// Of foundings.
    #[error(transparent)]
    Foundings(#[from] FoundingsRejection),
    /// Of deletions.
    #[error(transparent)]
    Deletions(#[from] DeletionsRejection),
    /// Of plans.
    #[error(transparent)]
    Plans(#[from] PlansRejection),
    /// Of memberships to be.
    #[error(transparent)]
    Memberships(#[from] MembershipsRejection),
    /// Of the operator's OAuth apps.
    #[error(transparent)]
    ManagedApps(#[from] ManagedAppsRejection),
    /// Of what was denied or failed.
    #[error(transparent)]
    Denials(#[from] DenialsRejection),
}

impl OrganizationCommand {
    /// What it needs of its actor.
    pub fn need(&self) -> Need {
        match self {
            Self::General(command) => command.need(),
            Self::People(command) => command.need(),
            Self::Invitations(command) => command.need(),
            Self::JoinRequests(command) => command.need(),
            Self::Teams(command) => command.need(),
            Self::Roles(command) => command.need(),
            Self::ApiKeys(command) => command.need(),
            Self::Environments(command) => command.need(),
            Self::Customers(command) => command.need(),
            Self::CustomerData(command) => command.need(),
            Self::Executions(command) => command.need(),
            Self::Secrets(command) => command.need(),
            Self::OauthApps(command) => command.need(),
            Self::Connections(command) => command.need(),
            Self::Billing(command) => command.need(),
            Self::Sessions(command) => command.need(),
            Self::Refuse(_) => Need::Own,
            Self::Export(_) => Need::Organization(Permission::AuditExport),
            Self::EncryptionKeys(_) | Self::Finish(_) => Need::System,
            Self::Restore(command) => command.need(),
            Self::Promote(command) => command.need(),
        }
    }

    /// Decides, without asking whether the actor may.
    ///
    /// # Errors
    /// The area's rejection.
    pub fn decide(&self, state: &Organization, context: &Context) -> Result<Vec<NewEvent>, Rejection> {
        match self {
            Self::General(command) => command.decide(state, context),
            Self::People(command) => command.decide(state, context),
            Self::Invitations(command) => command.decide(state, context),
            Self::JoinRequests(command) => command.decide(state, context),
            Self::Teams(command) => command.decide(state, context),
            Self::Roles(command) => command.decide(state, context),
            Self::ApiKeys(command) => command.decide(state, context),
            Self::Environments(command) => command.decide(state, context),
            Self::Customers(command) => command.decide(state, context),
            Self::CustomerData(command) => command.decide(state, context),
            Self::Executions(command) => command.decide(state, context),
            Self::Secrets(command) => command.decide(state, context),
            Self::OauthApps(command) => command.decide(state, context),
            Self::Connections(command) => command.decide(state, context),
            Self::Billing(command) => command.decide(state, context),
            Self::Sessions(command) => {
                let belongs =
                    |holder| matches!(holder, Holder::Person(id) if state.people.active(id).is_some());
                command.decide(&state.sessions, belongs, context)
            }
            Self::Refuse(command) => Ok(command.decide(&state.denials, context)?),
            Self::Export(note) => Ok(note.decide(&state.exports, &own_id(state), context)),
            Self::EncryptionKeys(note) => Ok(note.decide(&state.encryption_keys, &own_id(state))),
            Self::Finish(entry) => Ok(entry.decide()),
            Self::Restore(command) => command.decide(state, context),
            Self::Promote(command) => command.decide(state, context),
        }
    }
}

/// The organization's id, which is its stream's name; nothing before it was founded.
fn own_id(state: &Organization) -> String {
    state.general.founded().map(|founded| founded.organization.to_string()).unwrap_or_default()
}

impl Command {
    /// The environment in which it needs a permission, if it is one.
    pub fn environment(&self) -> Option<EnvironmentId> {
        match self {
            Self::Organization(command) => match command.need() {
                Need::Environment(_, environment) => Some(environment),
                Need::Organization(_) | Need::Somewhere(_) | Need::Own | Need::System => None,
            },
            Self::Platform(_) => None,
        }
    }
}
