//! Joining an organization, and a person's own changes.

use crate::actor::ActorId;
use crate::command::{Context, Need, NewEvent, Rejection};
use crate::event::{Resource, ResourceType};
use crate::ids::UserId;
use crate::organization::Organization;
use crate::seal::Sealed;
use crate::settings::people::event::{PeopleEvent, PersonJoined, PersonUpdated};
use crate::settings::roles::permission::Permission;

/// A command to the people of an organization.
#[derive(Clone, Debug)]
pub enum PeopleCommand {
    /// Makes somebody a member. Repeating it appends nothing.
    Join(PersonJoined),
    /// Changes one's own name.
    Update(UpdatePerson),
}

/// Changes one's own name.
#[derive(Clone, Debug)]
pub struct UpdatePerson {
    /// The person.
    pub person: UserId,
    /// The new name. A sealed value is always written anew: telling that it is the same would be an oracle.
    pub name: Sealed,
}

/// Why a command to people appends nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeopleRejection {
    /// There is no such person.
    #[error("there is no such person")]
    NotFound,
}

impl PeopleCommand {
    /// What it needs of its actor.
    pub fn need(&self) -> Need {
        match self {
            Self::Join(_) => Need::Organization(Permission::PersonInvite),
            Self::Update(_) => Need::Own,
        }
    }

    /// Decides.
    ///
    /// # Errors
    /// [`PeopleRejection`], or a failed precondition.
    pub fn decide(&self, state: &Organization, context: &Context) -> Result<Vec<NewEvent>, Rejection> {
        match self {
            Self::Join(joined) if state.people.get(joined.person).is_some() => Ok(Vec::new()),
            Self::Join(joined) => Ok(vec![
                NewEvent::new(
                    Resource::new(ResourceType::Person, joined.person),
                    PeopleEvent::PersonJoined(joined.clone()),
                )
                .using(joined.key),
            ]),
            Self::Update(update) => {
                let person = state.people.get(update.person).ok_or(PeopleRejection::NotFound)?;
                if context.actor.id != ActorId::Person(update.person) {
                    return Err(PeopleRejection::NotFound.into());
                }
                context.check_version(person.version)?;
                Ok(vec![NewEvent::new(
                    Resource::new(ResourceType::Person, update.person),
                    PeopleEvent::PersonUpdated(PersonUpdated {
                        person: update.person,
                        name: update.name.clone(),
                    }),
                )])
            }
        }
    }
}
