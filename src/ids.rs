//! Identifiers: TypeIDs (a prefix, `_`, 26 characters of base32 over a UUIDv7).
//!
//! An id names something and is never a credential. Ids are minted at the edge,
//! through [`Fresh`], and travel inside commands, so that deciding stays pure.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use type_safe_id::{StaticType, TypeSafeId};
use utoipa::openapi::{ObjectBuilder, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};
use uuid::Uuid;

/// The text was not an id of the expected kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected an id that begins with `{prefix}_`")]
pub struct InvalidId {
    /// The prefix that was expected, without the underscore.
    pub prefix: &'static str,
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident, $kind:ident = $prefix:literal;)*) => {$(
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        struct $kind;

        impl StaticType for $kind {
            const TYPE: &'static str = $prefix;
        }

        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(TypeSafeId<$kind>);

        impl $name {
            /// What stands before the underscore.
            pub const PREFIX: &'static str = $prefix;

            /// Not greater than any id, for ranges.
            pub fn min() -> Self {
                Self::from_uuid(Uuid::nil())
            }

            /// Not less than any id, for ranges.
            pub fn max() -> Self {
                Self::from_uuid(Uuid::max())
            }

            /// The id over a given UUID.
            pub fn from_uuid(uuid: Uuid) -> Self {
                Self(TypeSafeId::from_uuid(uuid))
            }

            /// The UUID inside.
            pub fn uuid(&self) -> Uuid {
                self.0.uuid()
            }
        }

        impl FreshId for $name {
            fn from_uuid(uuid: Uuid) -> Self {
                $name::from_uuid(uuid)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                text.parse().map(Self).map_err(|_| InvalidId { prefix: $prefix })
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_str(IdVisitor::<$name>::new($prefix))
            }
        }

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                id_schema($prefix)
            }
        }

        impl ToSchema for $name {}
    )*};
}

ids! {
    /// An organization: the consistency boundary, and the name of its stream.
    OrganizationId, OrganizationKind = "org";
    /// A person within one organization; another organization knows the same human by another id.
    UserId, UserKind = "usr";
    /// A person's account on this server. Only the platform's stream names it.
    AccountId, AccountKind = "acc";
    /// A session of a person, or of an API key from one address.
    SessionId, SessionKind = "ses";
    /// A custom role. (A system role's id is its name.)
    RoleId, RoleKind = "role";
    /// An invitation to join an organization.
    InvitationId, InvitationKind = "inv";
    /// A request of somebody to join an organization.
    JoinRequestId, JoinRequestKind = "jr";
    /// One grant of a role to a subject.
    RoleAssignmentId, RoleAssignmentKind = "ra";
    /// A team of people.
    TeamId, TeamKind = "team";
    /// An environment.
    EnvironmentId, EnvironmentKind = "env";
    /// A secret.
    SecretId, SecretKind = "sec";
    /// An OAuth app.
    OauthAppId, OauthAppKind = "app";
    /// A connection to somebody's account elsewhere.
    ConnectionId, ConnectionKind = "con";
    /// A customer of the organization.
    CustomerId, CustomerKind = "cus";
    /// An execution of a workflow for a customer.
    ExecutionId, ExecutionKind = "exe";
    /// An API key.
    ApiKeyId, ApiKeyKind = "key";
    /// One recorded event.
    EventId, EventKind = "evt";
    /// A data key of the key ring. Looked up by this id, never tried.
    DataKeyId, DataKeyKind = "dk";
    /// A request over HTTP whose client gave it no id of its own.
    HttpRequestId, HttpRequestKind = "req";
    /// A mail on its way.
    MailId, MailKind = "mail";
    /// A store: one log with its keys, in a folder of its own. A restore makes a new one.
    StoreId, StoreKind = "store";
    /// A snapshot: an operator's files of a store.
    SnapshotId, SnapshotKind = "snp";
}

/// Ids that [`Fresh`] can mint.
pub trait FreshId {
    /// The id over a given UUID.
    fn from_uuid(uuid: Uuid) -> Self;
}

/// The one source of new ids. Held by the edge; nothing that decides or applies has one.
#[derive(Debug, Clone, Copy, Default)]
pub struct Fresh;

impl Fresh {
    /// A new id: a UUIDv7, so ids of one kind sort by the time they were minted.
    #[expect(clippy::disallowed_methods, reason = "the one place where ids are minted")]
    pub fn id<I: FreshId>(self) -> I {
        I::from_uuid(Uuid::now_v7())
    }
}

struct IdVisitor<I> {
    prefix: &'static str,
    kind: std::marker::PhantomData<I>,
}

impl<I> IdVisitor<I> {
    fn new(prefix: &'static str) -> Self {
        Self { prefix, kind: std::marker::PhantomData }
    }
}

impl<I: FromStr<Err = InvalidId>> serde::de::Visitor<'_> for IdVisitor<I> {
    type Value = I;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an id that begins with `{}_`", self.prefix)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<I, E> {
        text.parse().map_err(E::custom)
    }
}

fn id_schema(prefix: &str) -> RefOr<Schema> {
    ObjectBuilder::new()
        .schema_type(utoipa::openapi::schema::Type::String)
        .pattern(Some(format!("^{prefix}_[0-7][0-9a-hjkmnp-tv-z]{{25}}$")))
        .into()
}

/// A stream: an organization's, or the platform's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StreamId {
    /// Accounts, plans, managed OAuth apps: what belongs to no organization.
    Platform,
    /// One organization's settings.
    Organization(OrganizationId),
}

impl StreamId {
    /// Sixteen bytes for keys and frame headers: the organization's UUID, or zeros for the platform
    /// (no UUIDv7 is zero).
    pub fn to_bytes(self) -> [u8; 16] {
        match self {
            Self::Platform => [0; 16],
            Self::Organization(id) => *id.uuid().as_bytes(),
        }
    }

    /// The inverse of [`StreamId::to_bytes`].
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        if bytes == [0; 16] {
            Self::Platform
        } else {
            Self::Organization(OrganizationId::from_uuid(Uuid::from_bytes(bytes)))
        }
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Platform => f.write_str("platform"),
            Self::Organization(id) => id.fmt(f),
        }
    }
}

impl FromStr for StreamId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        if text == "platform" { Ok(Self::Platform) } else { text.parse().map(Self::Organization) }
    }
}

impl Serialize for StreamId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for StreamId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}
