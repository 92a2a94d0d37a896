//! What happens to the people of an organization.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::events;
use crate::ids::{DataKeyId, UserId};
use crate::seal::Sealed;

events! {
    /// The people of an organization.
    pub enum PeopleEvent {
        /// A person became a member.
        "person.join", 1 => PersonJoined(PersonJoined);
        /// A person changed their name.
        "person.update", 1 => PersonUpdated(PersonUpdated);
        /// A person's account has another address.
        "person.change_email", 1 => PersonEmailChanged(PersonEmailChanged);
        /// A person is kept out until they are let in again.
        "person.suspend", 1 => PersonSuspended(PersonNamed);
        /// A suspended person is let in again.
        "person.reactivate", 1 => PersonReactivated(PersonNamed);
        /// A person is no member any more.
        "person.remove", 1 => PersonRemoved(PersonRemoved);
        /// A person is forgotten.
        "person.erase", 1 => PersonErased(PersonErased) destroys destroyed_keys;
    }
}

impl PeopleEvent {
    /// Who is no member from here on: their roles, teams and sessions end with it.
    pub fn departed(&self) -> Option<UserId> {
        match self {
            Self::PersonRemoved(removed) => Some(removed.person),
            Self::PersonErased(erased) => Some(erased.person),
            Self::PersonJoined(_)
            | Self::PersonUpdated(_)
            | Self::PersonEmailChanged(_)
            | Self::PersonSuspended(_)
            | Self::PersonReactivated(_) => None,
        }
    }
}

/// A person became a member. Name and address are sealed under the person's own key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PersonJoined {
    /// The person.
    pub person: UserId,
    /// The person's data key in this stream.
    #[schema(value_type = String)]
    pub key: DataKeyId,
    /// Their name.
    pub name: Sealed,
    /// Their e-mail address.
    pub email: Sealed,
}

/// A person changed their name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PersonUpdated {
    /// The person.
    pub person: UserId,
    /// Their new name.
    pub name: Sealed,
}

/// A person's account has another address.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PersonEmailChanged {
    /// The person.
    pub person: UserId,
    /// Their address from now on.
    pub email: Sealed,
    /// The account's credential generation that the address came with: of two, the later one's is right.
    pub generation: u64,
}

/// A person is no member any more: their roles and sessions end with it. Whoever did it themselves has left.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PersonRemoved {
    /// The person.
    pub person: UserId,
}

/// A person, and nothing else.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PersonNamed {
    /// The person.
    pub person: UserId,
}

/// A person is forgotten: what was sealed under their key is gone with the key. Who was a member until then is none any
/// more.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PersonErased {
    /// The person.
    pub person: UserId,
    /// The keys that were destroyed.
    #[schema(value_type = Vec<String>)]
    pub destroyed_keys: Vec<DataKeyId>,
}
