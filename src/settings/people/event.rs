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
