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
    pub name: Option<Sealed>,
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
                let Some(name) = &update.name else { return Ok(Vec::new()) };
                let updated = PersonUpdated { person: update.person, name: name.clone() };
                Ok(vec![NewEvent::new(
                    Resource::new(ResourceType::Person, update.person),
                    PeopleEvent::PersonUpdated(updated),
                )])
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::PreconditionFailed;
    use crate::event::Event;
    use crate::given::{
        by, by_having_seen, events, founded, id, joined, member, organization, person, sealed,
    };

    fn rename(number: u128) -> PeopleCommand {
        PeopleCommand::Update(UpdatePerson { person: id(number), name: Some(sealed(7)) })
    }

    #[test]
    fn somebody_joins_once() {
        let join = PeopleCommand::Join(joined(2));
        let decided = join.decide(&organization(founded()), &by(person(id(1)))).unwrap();
        assert_eq!(decided[0].uses, [id(2)]);
        assert_eq!(events(Ok::<_, ()>(decided)), Ok(member(2, None)));
        let state = organization(founded().into_iter().chain(member(2, None)));
        assert_eq!(join.decide(&state, &by(person(id(1)))), Ok(Vec::new()));
    }

    #[test]
    fn a_person_changes_their_own_name() {
        let decided = rename(1).decide(&organization(founded()), &by_having_seen(person(id(1)), 2));
        let updated = PersonUpdated { person: id(1), name: sealed(7) };
        assert_eq!(events(decided), Ok(vec![Event::People(PeopleEvent::PersonUpdated(updated))]));
    }

    #[test]
    fn nobody_changes_anothers_name() {
        let state = organization(founded().into_iter().chain(member(2, None)));
        let decided = rename(2).decide(&state, &by(person(id(1))));
        assert_eq!(decided, Err(PeopleRejection::NotFound.into()));
    }

    #[test]
    fn a_stranger_has_no_name_here() {
        let decided = rename(3).decide(&organization(founded()), &by(person(id(3))));
        assert_eq!(decided, Err(PeopleRejection::NotFound.into()));
    }

    #[test]
    fn what_was_seen_must_still_be_so() {
        let decided = rename(1).decide(&organization(founded()), &by_having_seen(person(id(1)), 1));
        assert_eq!(decided, Err(PreconditionFailed.into()));
    }
}
