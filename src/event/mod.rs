//! What happened: [`Event`], the sum of the areas' events, and [`Recorded`], the envelope around one.
//!
//! A record's values are strings, integers up to 2^53 − 1, booleans, arrays and objects with fixed
//! ASCII names: never null, never a fraction. So its canonical JSON is the same in every language.
//! Nothing here knows how a record is packed (`log/codec.rs`) or what it does to a state (`area.rs`).

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::de::Deserializer;
use serde::{Deserialize, Serialize, Serializer};
use utoipa::ToSchema;

use crate::actor::Actor;
use crate::clock::Timestamp;
use crate::event::declare::{ActionSpec, AreaEvent};
use crate::ids::{DataKeyId, EnvironmentId, EventId, StreamId};
use crate::platform::accounts::event::AccountsEvent;
use crate::platform::deletions::event::DeletionsEvent;
use crate::platform::foundings::event::FoundingsEvent;
use crate::platform::managed_apps::event::ManagedAppsEvent;
use crate::platform::memberships::event::MembershipsEvent;
use crate::platform::operations::event::OperationsEvent;
use crate::platform::plans::event::PlansEvent;
use crate::platform::signing_keys::event::SigningKeysEvent;
use crate::seal::{Commitment, Sealed};
use crate::settings::api_keys::event::ApiKeysEvent;
use crate::settings::billing::event::BillingEvent;
use crate::settings::connections::event::ConnectionsEvent;
use crate::settings::customer_data::event::CustomerDataEvent;
use crate::settings::customers::event::CustomersEvent;
use crate::settings::environments::event::EnvironmentsEvent;
use crate::settings::executions::event::ExecutionsEvent;
use crate::settings::general::event::GeneralEvent;
use crate::settings::invitations::event::InvitationsEvent;
use crate::settings::join_requests::event::JoinRequestsEvent;
use crate::settings::oauth_apps::event::OauthAppsEvent;
use crate::settings::people::event::PeopleEvent;
use crate::settings::roles::event::RolesEvent;
use crate::settings::secrets::event::SecretsEvent;
use crate::settings::sessions::event::SessionsEvent;
use crate::settings::teams::event::TeamsEvent;
use crate::store::encryption_keys::EncryptionKeysEvent;
use crate::store::exports::ExportsEvent;

pub mod declare;
pub mod packed;

/// A stream's version: a gap-free count of its events, from 1. Zero is the empty stream.
pub type Version = u64;

macro_rules! event_sum {
    ($($(#[$doc:meta])* $area:ident($event:ty),)*) => {
        /// Everything that can be recorded: the sum of the areas' events, and what was refused.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Event {
            $($(#[$doc])* $area($event),)*
            /// Something that was attempted and did not happen: a denial, a failed login. Applies nothing.
            Refused(Refused),
        }

        $(impl From<$event> for Event {
            fn from(event: $event) -> Self {
                Self::$area(event)
            }
        })*

        impl Event {
            /// Every action that can be recorded with outcome `success`.
            pub fn actions() -> impl Iterator<Item = &'static ActionSpec> {
                [$(<$event>::ACTIONS,)*].into_iter().flatten()
            }

            /// The action's name on disk.
            pub fn action(&self) -> &str {
                match self {
                    $(Self::$area(event) => event.spec().action,)*
                    Self::Refused(refused) => &refused.action,
                }
            }

            /// The number of the data's shape.
            pub fn schema(&self) -> u32 {
                match self {
                    $(Self::$area(event) => event.spec().schema,)*
                    Self::Refused(_) => Refused::SCHEMA,
                }
            }

            /// The data keys that it destroyed. They are removed in the batch that records it, and whoever misses one
            /// finds here that it was destroyed, and not lost.
            pub fn destroyed_keys(&self) -> &[DataKeyId] {
                match self {
                    $(Self::$area(event) => event.destroyed_keys(),)*
                    Self::Refused(_) => &[],
                }
            }

            fn serialize_data<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                match self {
                    $(Self::$area(event) => event.serialize_data(serializer),)*
                    Self::Refused(refused) => refused.data.serialize(serializer),
                }
            }

            /// Reads data of the current schema.
            fn deserialize_data<'de, D: Deserializer<'de>>(action: &str, deserializer: D) -> Result<Self, D::Error> {
                $(let deserializer = match <$event>::deserialize_data(action, deserializer) {
                    Ok(event) => return event.map(Self::$area),
                    Err(deserializer) => deserializer,
                };)*
                let _untouched = deserializer;
                Err(serde::de::Error::custom(format_args!("unknown action `{action}`: written by a newer Settled?")))
            }
        }
    };
}

event_sum! {
    /// The organization's name, time zone, e-mail domain.
    General(GeneralEvent),
    /// API keys, and that they are used.
    ApiKeys(ApiKeysEvent),
    /// Environments and their configuration.
    Environments(EnvironmentsEvent),
    /// Secrets and their values.
    Secrets(SecretsEvent),
    /// OAuth apps and their credentials.
    OauthApps(OauthAppsEvent),
    /// Connections and their credentials.
    Connections(ConnectionsEvent),
    /// The customers of an organization.
    Customers(CustomersEvent),
    /// Customers' documents.
    CustomerData(CustomerDataEvent),
    /// Executions of workflows for customers.
    Executions(ExecutionsEvent),
    /// The people of an organization.
    People(PeopleEvent),
    /// Who is invited to join.
    Invitations(InvitationsEvent),
    /// Who asks to join.
    JoinRequests(JoinRequestsEvent),
    /// Teams and who is in them.
    Teams(TeamsEvent),
    /// Roles and who has them.
    Roles(RolesEvent),
    /// The organization's plan and quotas.
    Billing(BillingEvent),
    /// Sessions: opened by a login, closed by logout, switch or revocation.
    Sessions(SessionsEvent),
    /// Accounts, in the platform's stream.
    Accounts(AccountsEvent),
    /// Organizations being founded, in the platform's stream.
    Foundings(FoundingsEvent),
    /// Organizations being deleted, in the platform's stream.
    Deletions(DeletionsEvent),
    /// Accounts about to be somebody in an organization, in the platform's stream.
    Memberships(MembershipsEvent),
    /// The operator's OAuth apps, in the platform's stream.
    ManagedApps(ManagedAppsEvent),
    /// What operators do, in the platform's stream.
    Operations(OperationsEvent),
    /// Plans, in the platform's stream.
    Plans(PlansEvent),
    /// What checkpoints and snapshots are signed with, in the platform's stream.
    SigningKeys(SigningKeysEvent),
    /// What was taken out.
    Exports(ExportsEvent),
    /// Keys that wrap others.
    EncryptionKeys(EncryptionKeysEvent),
}

impl Event {
    /// A word of its data that it is found by, beside what is in its envelope.
    pub fn mark(&self) -> Option<&str> {
        match self {
            Self::Executions(event) => Some(event.mark()),
            _ => None,
        }
    }

    /// The current schema number of an action.
    pub fn current_schema(action: &str) -> Option<u32> {
        Self::actions().find(|spec| spec.action == action).map(|spec| spec.schema)
    }
}

/// What was attempted and did not happen. It applies nothing, but that a token was not refreshed: its connection knows when that
/// is tried again. Its action is the attempted one (or `<resource>.read`).
#[derive(Clone, Debug, PartialEq)]
pub struct Refused {
    /// The attempted action.
    pub action: String,
    /// Why it did not happen.
    pub data: RefusedData,
}

impl Refused {
    /// The schema number of [`RefusedData`].
    pub const SCHEMA: u32 = 1;
}

/// The data of a refusal.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RefusedData {
    /// The permission that was missing, of a denial.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permission: Option<String>,
    /// Why else it did not happen: a fixed word, never something a caller sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// When it is tried again, of a token that was not refreshed; absent where nothing helps but that somebody consents again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_at: Option<Timestamp>,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It happened.
    Success,
    /// A known actor lacked the permission.
    Denied,
    /// A login or a token refresh failed.
    Failure,
}

impl Outcome {
    /// The outcome's name as recorded.
    pub fn name(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Denied => "denied",
            Self::Failure => "failure",
        }
    }
}

/// The kinds of things that events are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ResourceType {
    /// The organization itself.
    Organization,
    /// A person.
    Person,
    /// An invitation to join; without a name, as a person is.
    Invitation,
    /// A request to join.
    JoinRequest,
    /// A team.
    Team,
    /// One membership of a team; its id is the team's, its name the person's id.
    TeamMember,
    /// A role.
    Role,
    /// A grant of a role.
    RoleAssignment,
    /// An API key.
    ApiKey,
    /// An environment.
    Environment,
    /// One configuration value; its id is the environment's, its name the key.
    Config,
    /// A secret.
    Secret,
    /// An OAuth app.
    OauthApp,
    /// A connection.
    Connection,
    /// A customer; without a name, as a person is.
    Customer,
    /// A customer's document; its id is the customer's, its name what the document is found by.
    CustomerData,
    /// An execution; without a name, as its customer is.
    Execution,
    /// An organization's plan and quotas; its id is the organization's, or the customer's whose limits are meant.
    Billing,
    /// A session.
    Session,
    /// The audit log or the stream of events.
    Audit,
    /// An account, in the platform's stream.
    Account,
    /// The server itself, in the platform's stream.
    Server,
    /// A snapshot, in the platform's stream.
    Snapshot,
    /// The operator's OAuth app of a provider, in the platform's stream; its id is the provider's.
    ManagedOauthApp,
    /// A plan, in the platform's stream.
    Plan,
    /// A key that wraps others: `root`, or a stream's by the stream's id.
    EncryptionKey,
    /// A key that signs, in the platform's stream.
    SigningKey,
}

impl ResourceType {
    /// Those whose things have ids of their own.
    pub fn with_ids() -> Vec<Self> {
        vec![
            Self::Organization,
            Self::Person,
            Self::Invitation,
            Self::JoinRequest,
            Self::Team,
            Self::Role,
            Self::RoleAssignment,
            Self::ApiKey,
            Self::Environment,
            Self::Secret,
            Self::OauthApp,
            Self::Connection,
            Self::Customer,
            Self::Execution,
            Self::Billing,
            Self::Session,
            Self::Audit,
            Self::Account,
            Self::Server,
            Self::Snapshot,
            Self::Plan,
        ]
    }

    /// The type's name as recorded.
    pub fn name(self) -> &'static str {
        match self {
            Self::Organization => "organization",
            Self::Person => "person",
            Self::Invitation => "invitation",
            Self::JoinRequest => "join_request",
            Self::Team => "team",
            Self::TeamMember => "team_member",
            Self::Role => "role",
            Self::RoleAssignment => "role_assignment",
            Self::ApiKey => "api_key",
            Self::Environment => "environment",
            Self::Config => "config",
            Self::Secret => "secret",
            Self::OauthApp => "oauth_app",
            Self::Connection => "connection",
            Self::Customer => "customer",
            Self::CustomerData => "customer_data",
            Self::Execution => "execution",
            Self::Billing => "billing",
            Self::Session => "session",
            Self::Audit => "audit",
            Self::Account => "account",
            Self::Server => "server",
            Self::Snapshot => "snapshot",
            Self::ManagedOauthApp => "managed_oauth_app",
            Self::Plan => "plan",
            Self::EncryptionKey => "encryption_key",
            Self::SigningKey => "signing_key",
        }
    }
}

/// What an event is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resource {
    /// The kind of thing.
    #[serde(rename = "type")]
    pub kind: ResourceType,
    /// Its id.
    pub id: String,
    /// Its name at that time; absent for people, customers and executions, whose names are sealed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

impl Resource {
    /// A resource without a name.
    pub fn new(kind: ResourceType, id: impl fmt::Display) -> Self {
        Self { kind, id: id.to_string(), name: None }
    }

    /// Whether it has no id of its own, and is named inside the thing with the id.
    pub fn is_inner(&self) -> bool {
        matches!(self.kind, ResourceType::Config | ResourceType::TeamMember | ResourceType::CustomerData)
    }

    /// A resource with its name.
    pub fn named(kind: ResourceType, id: impl fmt::Display, name: impl Into<String>) -> Self {
        Self { kind, id: id.to_string(), name: Some(name.into()) }
    }
}

/// The trace of an `Idempotency-Key`, on the first event of its command.
///
/// Both HMACs are under a key of the stream: a plain hash would be an oracle for what was sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestMark {
    /// HMAC-SHA256 of actor, method, path and key, base64url.
    pub key: String,
    /// HMAC-SHA256 of the body, base64url.
    pub body: String,
    /// The answer's status.
    pub status: u16,
    /// How many events the command appended, this one included.
    pub events: u64,
}

/// An event as recorded: what an auditor is shown, and what the leaf hash covers.
///
/// `stream`, `version` and `at` stand in the frame's header and are filled in when it is read.
#[derive(Clone, Debug, PartialEq)]
pub struct Recorded {
    /// The event's own id.
    pub id: EventId,
    /// The stream that it belongs to.
    pub stream: StreamId,
    /// Its place in the stream.
    pub version: Version,
    /// When its batch was decided; never decreasing in a stream.
    pub at: Timestamp,
    /// Who did it.
    pub actor: Actor,
    /// What it is about.
    pub resource: Resource,
    /// How it ended.
    pub outcome: Outcome,
    /// What happened.
    pub event: Event,
    /// Ids of other resources concerned.
    pub related: Vec<String>,
    /// Why, in the actor's words.
    pub reason: Option<Sealed>,
    /// The `x-request-id` of the request.
    pub request_id: Option<String>,
    /// The trace of an idempotency key.
    pub request: Option<RequestMark>,
    /// How many occurrences this one event stands for, where it is an aggregate.
    pub count: Option<u64>,
    /// Commitments of the data keys that this event is the first to use.
    pub keys: BTreeMap<DataKeyId, Commitment>,
}

impl Recorded {
    /// Whether it takes something away for good, which a store that is restored from an older snapshot must not bring back:
    /// what the ledger has a line for. Of an API key that is rotated, the value before is, unless it has a grace.
    pub fn is_for_good(&self) -> bool {
        let ended = match &self.event {
            Event::ApiKeys(ApiKeysEvent::ApiKeyRevoked(_))
            | Event::Deletions(DeletionsEvent::OrganizationDeleted(_)) => true,
            Event::ApiKeys(ApiKeysEvent::ApiKeyRotated(rotated)) => rotated.previous_valid_until <= self.at,
            _ => false,
        };
        ended || !self.event.destroyed_keys().is_empty()
    }

    /// The ids of what the event is about and of what it concerns. What has no id of its own, because it is named
    /// inside another thing as a configuration value is in its environment, is told as `<id>/<name>` as well.
    pub fn mentions(&self) -> impl Iterator<Item = Cow<'_, str>> {
        let inner = match &self.resource.name {
            Some(name) if self.resource.is_inner() => {
                Some(Cow::Owned(format!("{}/{name}", self.resource.id)))
            }
            _ => None,
        };
        let ids = std::iter::once(&self.resource.id).chain(&self.related);
        ids.map(|id| Cow::Borrowed(id.as_str())).chain(inner)
    }

    /// The environment that it is about, or that what it is about lies in.
    pub fn environment(&self) -> Option<EnvironmentId> {
        std::iter::once(&self.resource.id).chain(&self.related).find_map(|id| id.parse().ok())
    }
}
