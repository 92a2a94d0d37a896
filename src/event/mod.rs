//! What happened: [`Event`], the sum of the areas' events, and [`Recorded`], the envelope around one.
//!
//! A record's values are strings, integers up to 2^53 − 1, booleans, arrays and objects with fixed
//! ASCII names: never null, never a fraction. So its canonical JSON is the same in every language.
//! Nothing here knows how a record is packed (`log/codec.rs`) or what it does to a state (`area.rs`).

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;
use utoipa::ToSchema;

use crate::actor::Actor;
use crate::clock::Timestamp;
use crate::event::declare::{ActionSpec, AreaEvent};
use crate::ids::{DataKeyId, EventId, StreamId};
use crate::log::upcast;
use crate::platform::accounts::event::AccountsEvent;
use crate::platform::foundings::event::FoundingsEvent;
use crate::platform::operations::event::OperationsEvent;
use crate::seal::{Commitment, Sealed};
use crate::settings::environments::event::EnvironmentsEvent;
use crate::settings::general::event::GeneralEvent;
use crate::settings::people::event::PeopleEvent;
use crate::settings::roles::event::RolesEvent;
use crate::settings::sessions::event::SessionsEvent;
use crate::store::exports::ExportsEvent;

pub mod declare;

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
    /// Environments and their configuration.
    Environments(EnvironmentsEvent),
    /// The people of an organization.
    People(PeopleEvent),
    /// Roles and who has them.
    Roles(RolesEvent),
    /// Sessions: opened by a login, closed by logout, switch or revocation.
    Sessions(SessionsEvent),
    /// Accounts, in the platform's stream.
    Accounts(AccountsEvent),
    /// Organizations being founded, in the platform's stream.
    Foundings(FoundingsEvent),
    /// What operators do, in the platform's stream.
    Operations(OperationsEvent),
    /// What was taken out.
    Exports(ExportsEvent),
}

impl Event {
    /// The current schema number of an action.
    pub fn current_schema(action: &str) -> Option<u32> {
        Self::actions().find(|spec| spec.action == action).map(|spec| spec.schema)
    }
}

/// What was attempted and did not happen. Its action is the attempted one (or `<resource>.read`).
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
    /// A team.
    Team,
    /// A role.
    Role,
    /// A grant of a role.
    RoleAssignment,
    /// An environment.
    Environment,
    /// One configuration value; its id is the environment's, its name the key.
    Config,
    /// A session.
    Session,
    /// The audit log or the stream of events.
    Audit,
    /// An account, in the platform's stream.
    Account,
    /// The server itself, in the platform's stream.
    Server,
}

impl ResourceType {
    /// Those whose things have ids of their own.
    pub fn with_ids() -> Vec<Self> {
        vec![
            Self::Organization,
            Self::Person,
            Self::Team,
            Self::Role,
            Self::RoleAssignment,
            Self::Environment,
            Self::Session,
            Self::Audit,
            Self::Account,
            Self::Server,
        ]
    }

    /// The type's name as recorded.
    pub fn name(self) -> &'static str {
        match self {
            Self::Organization => "organization",
            Self::Person => "person",
            Self::Team => "team",
            Self::Role => "role",
            Self::RoleAssignment => "role_assignment",
            Self::Environment => "environment",
            Self::Config => "config",
            Self::Session => "session",
            Self::Audit => "audit",
            Self::Account => "account",
            Self::Server => "server",
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
    /// Its name at that time; absent for people and customers, whose names are sealed.
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
        self.kind == ResourceType::Config
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
    /// The packed form's fields: all but `stream`, `version` and `at`, in an order in which
    /// `outcome`, `action` and `schema` precede `data`, so that one pass reads it with its type.
    pub fn packed(&self) -> impl Serialize + '_ {
        Packed(self)
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
}

struct Packed<'a>(&'a Recorded);

impl Serialize for Packed<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let recorded = self.0;
        let optional = [
            !recorded.related.is_empty(),
            recorded.reason.is_some(),
            recorded.request_id.is_some(),
            recorded.request.is_some(),
            recorded.count.is_some(),
            !recorded.keys.is_empty(),
        ];
        let fields = 7 + optional.iter().filter(|present| **present).count();
        let mut map = serializer.serialize_map(Some(fields))?;
        map.serialize_entry("id", &recorded.id)?;
        map.serialize_entry("actor", &recorded.actor)?;
        map.serialize_entry("resource", &recorded.resource)?;
        map.serialize_entry("outcome", &recorded.outcome)?;
        map.serialize_entry("action", recorded.event.action())?;
        map.serialize_entry("schema", &recorded.event.schema())?;
        map.serialize_entry("data", &Data(&recorded.event))?;
        if !recorded.related.is_empty() {
            map.serialize_entry("related", &recorded.related)?;
        }
        if let Some(reason) = &recorded.reason {
            map.serialize_entry("reason", reason)?;
        }
        if let Some(request_id) = &recorded.request_id {
            map.serialize_entry("request_id", request_id)?;
        }
        if let Some(request) = &recorded.request {
            map.serialize_entry("request", request)?;
        }
        if let Some(count) = &recorded.count {
            map.serialize_entry("count", count)?;
        }
        if !recorded.keys.is_empty() {
            map.serialize_entry("keys", &recorded.keys)?;
        }
        map.end()
    }
}

struct Data<'a>(&'a Event);

impl Serialize for Data<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize_data(serializer)
    }
}

/// Reads the packed form of the event at a known place: the header's part of a [`Recorded`].
#[derive(Clone, Copy, Debug)]
pub struct RecordedAt {
    /// The frame's stream.
    pub stream: StreamId,
    /// The event's version.
    pub version: Version,
    /// The frame's time.
    pub at: Timestamp,
}

impl<'de> DeserializeSeed<'de> for RecordedAt {
    type Value = Recorded;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Recorded, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for RecordedAt {
    type Value = Recorded;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a recorded event")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Recorded, A::Error> {
        use serde::de::Error;

        let (mut id, mut actor, mut resource, mut outcome) = (None, None, None, None);
        let (mut action, mut schema, mut event) = (None::<String>, None::<u32>, None);
        let (mut related, mut reason, mut request_id) = (Vec::new(), None, None);
        let (mut request, mut count, mut keys) = (None, None, BTreeMap::new());
        while let Some(field) = map.next_key::<Cow<'de, str>>()? {
            match &*field {
                "id" => id = Some(map.next_value()?),
                "actor" => actor = Some(map.next_value()?),
                "resource" => resource = Some(map.next_value()?),
                "outcome" => outcome = Some(map.next_value()?),
                "action" => action = Some(map.next_value()?),
                "schema" => schema = Some(map.next_value()?),
                "data" => {
                    let seed = DataSeed {
                        action: action.take().ok_or_else(|| A::Error::missing_field("action"))?,
                        schema: schema.ok_or_else(|| A::Error::missing_field("schema"))?,
                        outcome: outcome.ok_or_else(|| A::Error::missing_field("outcome"))?,
                    };
                    event = Some(map.next_value_seed(seed)?);
                }
                "related" => related = map.next_value()?,
                "reason" => reason = Some(map.next_value()?),
                "request_id" => request_id = Some(map.next_value()?),
                "request" => request = Some(map.next_value()?),
                "count" => count = Some(map.next_value()?),
                "keys" => keys = map.next_value()?,
                other => {
                    return Err(A::Error::custom(format_args!(
                        "unknown field `{other}`: written by a newer Settled?"
                    )));
                }
            }
        }
        Ok(Recorded {
            id: id.ok_or_else(|| A::Error::missing_field("id"))?,
            stream: self.stream,
            version: self.version,
            at: self.at,
            actor: actor.ok_or_else(|| A::Error::missing_field("actor"))?,
            resource: resource.ok_or_else(|| A::Error::missing_field("resource"))?,
            outcome: outcome.ok_or_else(|| A::Error::missing_field("outcome"))?,
            event: event.ok_or_else(|| A::Error::missing_field("data"))?,
            related,
            reason,
            request_id,
            request,
            count,
            keys,
        })
    }
}

struct DataSeed {
    action: String,
    schema: u32,
    outcome: Outcome,
}

impl<'de> DeserializeSeed<'de> for DataSeed {
    type Value = Event;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Event, D::Error> {
        use serde::de::Error;

        if self.outcome != Outcome::Success {
            let data = RefusedData::deserialize(deserializer)?;
            return Ok(Event::Refused(Refused { action: self.action, data }));
        }
        match Event::current_schema(&self.action) {
            Some(current) if current != self.schema => {
                let data = Value::deserialize(deserializer)?;
                let data =
                    upcast::to_current(&self.action, self.schema, current, data).map_err(D::Error::custom)?;
                Event::deserialize_data(&self.action, data).map_err(D::Error::custom)
            }
            _ => Event::deserialize_data(&self.action, deserializer),
        }
    }
}
