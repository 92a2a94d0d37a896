//! Joining an organization, and a person's own changes. What others decide about somebody is in `standing.rs` beside this.

use crate::actor::ActorId;
use crate::command::{Context, Need, NewEvent, Rejection};
use crate::event::{Resource, ResourceType};
use crate::ids::UserId;
use crate::organization::Organization;
use crate::seal::Sealed;
use crate::settings::people::event::{
    PeopleEvent, PersonEmailChanged, PersonJoined, PersonRemoved, PersonUpdated,
};
use crate::settings::people::projection::Person;
use crate::settings::people::standing;
use crate::settings::roles::permission::Permission;

/// A command to the people of an organization.
#[derive(Clone, Debug)]
pub enum PeopleCommand {
    /// Makes somebody a member. Repeating it appends nothing.
    Join(PersonJoined),
    /// Changes one's own name.
    Update(UpdatePerson),
    /// Takes over the address that a person's account has from now on. Repeating it appends nothing.
    ChangeEmail(PersonEmailChanged),
    /// Leaves the organization.
    Leave(UserId),
    /// Keeps a member out until they are let in again.
    Suspend(UserId),
    /// Lets a suspended member in again.
    Reactivate(UserId),
    /// Makes a member one no more.
    Remove(UserId),
    /// Forgets somebody who is a member or was one.
    Erase(UserId),
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
    /// The organization would be without an owner.
    #[error("the organization needs an owner")]
    LastOwner,
    /// Somebody reaches for themselves.
    #[error("nobody suspends, removes or erases themselves")]
    Yourself,
}

impl PeopleCommand {
    /// What it needs of its actor.
    pub fn need(&self) -> Need {
        match self {
            Self::Join(_) => Need::Organization(Permission::PersonInvite),
            Self::Update(_) | Self::Leave(_) => Need::Own,
            Self::ChangeEmail(_) => Need::System,
            Self::Suspend(_) | Self::Reactivate(_) | Self::Remove(_) | Self::Erase(_) => {
                Need::Organization(Permission::PersonManage)
            }
        }
    }

    /// Decides.
    ///
    /// # Errors
    /// [`PeopleRejection`], a failed precondition, or [`Rejection::AboveYourRights`].
    pub fn decide(&self, state: &Organization, context: &Context) -> Result<Vec<NewEvent>, Rejection> {
        match self {
            Self::Join(joined) if state.people.ever(joined.person).is_some() => Ok(Vec::new()),
            Self::Join(joined) => {
                let event = PeopleEvent::PersonJoined(joined.clone());
                Ok(vec![about(joined.person, event).using(joined.key)])
            }
            Self::Update(update) => {
                own(state, context, update.person)?;
                let Some(name) = &update.name else { return Ok(Vec::new()) };
                let updated = PersonUpdated { person: update.person, name: name.clone() };
                Ok(vec![about(update.person, PeopleEvent::PersonUpdated(updated))])
            }
            Self::ChangeEmail(changed) => {
                let is_new = |person: &Person| person.email_generation < changed.generation;
                let person = state.people.get(changed.person).filter(|person| is_new(person));
                let event = PeopleEvent::PersonEmailChanged(changed.clone());
                Ok(person.map(|person| about(person.id, event)).into_iter().collect())
            }
            Self::Leave(person) => {
                own(state, context, *person)?;
                standing::owner_remains_without(state, *person)?;
                Ok(vec![about(*person, PeopleEvent::PersonRemoved(PersonRemoved { person: *person }))])
            }
            Self::Suspend(person) => standing::suspend(*person, state, context),
            Self::Reactivate(person) => standing::reactivate(*person, state, context),
            Self::Remove(person) => standing::remove(*person, state, context),
            Self::Erase(person) => standing::erase(*person, state, context),
        }
    }
}

/// An event about a person.
pub(super) fn about(person: UserId, event: PeopleEvent) -> NewEvent {
    NewEvent::new(Resource::new(ResourceType::Person, person), event)
}

/// The person is a member, the actor, and at the version that was seen.
fn own(state: &Organization, context: &Context, id: UserId) -> Result<(), Rejection> {
    let person = state.people.active(id).ok_or(PeopleRejection::NotFound)?;
    if context.actor.id != ActorId::Person(id) {
        return Err(PeopleRejection::NotFound.into());
    }
    Ok(context.check_version(person.version)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actor::Actor;
    use crate::command::PreconditionFailed;
    use crate::event::Event;
    use crate::given::{
        assigned, by, by_having_seen, events, founded, id, joined, member, organization, person, sealed,
    };
    use crate::settings::roles::access::{Grants, grants};
    use crate::settings::roles::role::{Grantee, SystemRole};

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

    #[test]
    fn an_address_is_taken_over_once_and_never_an_older_one() {
        let change = |generation| PersonEmailChanged { person: id(1), email: sealed(9), generation };
        let decide = |given: Vec<Event>, generation| {
            let command = PeopleCommand::ChangeEmail(change(generation));
            events(command.decide(&organization(given), &by(Actor::SYSTEM)))
        };
        let changed = |generation| Event::People(PeopleEvent::PersonEmailChanged(change(generation)));
        assert_eq!(decide(founded(), 2), Ok(vec![changed(2)]));
        let given = || founded().into_iter().chain([changed(2)]).collect();
        assert_eq!(decide(given(), 2), Ok(Vec::new()));
        assert_eq!(decide(given(), 3), Ok(vec![changed(3)]));
        let stranger = PersonEmailChanged { person: id(9), ..change(2) };
        let decided =
            PeopleCommand::ChangeEmail(stranger).decide(&organization(founded()), &by(Actor::SYSTEM));
        assert_eq!(decided, Ok(Vec::new()), "who is no member needs no address");
    }

    #[test]
    fn a_member_leaves_and_their_roles_end() {
        let removed = Event::People(PeopleEvent::PersonRemoved(PersonRemoved { person: id(2) }));
        let given = || founded().into_iter().chain(member(2, Some(SystemRole::Admin)));
        let leave = PeopleCommand::Leave(id(2));
        let decided = events(leave.decide(&organization(given()), &by(person(id(2)))));
        assert_eq!(decided, Ok(vec![removed.clone()]));
        let state = organization(given().chain([removed]));
        assert!(state.people.get(id(2)).is_none() && state.people.ever(id(2)).is_some());
        assert_eq!(state.roles.assignments_of(Grantee::Person(id(2))).count(), 0);
        assert_eq!(grants(&state, person(id(2)).id), Grants::default());
        assert_eq!(leave.decide(&state, &by(person(id(2)))), Err(PeopleRejection::NotFound.into()));
    }

    #[test]
    fn nobody_makes_another_leave_and_the_last_owner_stays() {
        let leave = PeopleCommand::Leave(id(1));
        let state = organization(founded().into_iter().chain(member(2, Some(SystemRole::Admin))));
        assert_eq!(leave.decide(&state, &by(person(id(2)))), Err(PeopleRejection::NotFound.into()));
        assert_eq!(leave.decide(&state, &by(person(id(1)))), Err(PeopleRejection::LastOwner.into()));
        let twice = organization(founded().into_iter().chain([assigned(4, 1, SystemRole::Owner)]));
        assert_eq!(leave.decide(&twice, &by(person(id(1)))), Err(PeopleRejection::LastOwner.into()));
        let two = organization(founded().into_iter().chain(member(2, Some(SystemRole::Owner))));
        assert!(leave.decide(&two, &by(person(id(1)))).is_ok());
    }
}
