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
        /// A person is no member any more.
        "person.remove", 1 => PersonRemoved(PersonRemoved);
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
