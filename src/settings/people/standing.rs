//! What others decide about a person: suspending and letting in again, removing, erasing. Under reach, and never so that
//! the organization is without an owner.

use crate::actor::ActorId;
use crate::command::{Context, NewEvent, Rejection};
use crate::ids::UserId;
use crate::organization::Organization;
use crate::settings::people::command::{PeopleRejection, about};
use crate::settings::people::event::{PeopleEvent, PersonErased, PersonNamed, PersonRemoved};
use crate::settings::people::projection::{Person, Status};
use crate::settings::roles::access::{owner_remains, reach};
use crate::settings::roles::role::Grantee;

/// Keeps a member out.
pub(super) fn suspend(
    person: UserId,
    state: &Organization,
    context: &Context,
) -> Result<Vec<NewEvent>, Rejection> {
    let current = reached(member(person, state)?, state, context)?;
    if current.status == Status::Suspended {
        return Ok(Vec::new());
    }
    can_do_without(person, state, context)?;
    Ok(vec![about(person, PeopleEvent::PersonSuspended(PersonNamed { person }))])
}

/// Lets a suspended member in again, who then holds what they were given.
pub(super) fn reactivate(
    person: UserId,
    state: &Organization,
    context: &Context,
) -> Result<Vec<NewEvent>, Rejection> {
    let current = reached(member(person, state)?, state, context)?;
    if current.status == Status::Active {
        return Ok(Vec::new());
    }
    Ok(vec![about(person, PeopleEvent::PersonReactivated(PersonNamed { person }))])
}

/// Makes a member one no more.
pub(super) fn remove(
    person: UserId,
    state: &Organization,
    context: &Context,
) -> Result<Vec<NewEvent>, Rejection> {
    reached(member(person, state)?, state, context)?;
    can_do_without(person, state, context)?;
    Ok(vec![about(person, PeopleEvent::PersonRemoved(PersonRemoved { person }))])
}

/// Forgets somebody who is a member, and is none from then on, or was one: their key goes.
pub(super) fn erase(
    person: UserId,
    state: &Organization,
    context: &Context,
) -> Result<Vec<NewEvent>, Rejection> {
    let current = reached(state.people.ever(person).ok_or(PeopleRejection::NotFound)?, state, context)?;
    match current.status {
        Status::Erased => return Ok(Vec::new()),
        Status::Removed => {}
        Status::Active | Status::Suspended => can_do_without(person, state, context)?,
    }
    Ok(vec![erased(current)])
}

/// That somebody is forgotten, and their key destroyed.
pub fn erased(person: &Person) -> NewEvent {
    let erased = PersonErased { person: person.id, destroyed_keys: vec![person.key] };
    about(person.id, PeopleEvent::PersonErased(erased))
}

/// An owner remains who can act as one when this person goes.
pub(super) fn owner_remains_without(state: &Organization, person: UserId) -> Result<(), PeopleRejection> {
    let gone = Grantee::Person(person);
    if owner_remains(state, |_, held| held.grantee == gone) {
        Ok(())
    } else {
        Err(PeopleRejection::LastOwner)
    }
}

fn member(person: UserId, state: &Organization) -> Result<&Person, PeopleRejection> {
    state.people.get(person).ok_or(PeopleRejection::NotFound)
}

/// The person is within the actor's reach, and as the caller saw them.
fn reached<'a>(person: &'a Person, state: &Organization, context: &Context) -> Result<&'a Person, Rejection> {
    reach(state, context.actor.id, ActorId::Person(person.id)).map_err(|_| Rejection::AboveYourRights)?;
    context.check_version(person.version)?;
    Ok(person)
}

/// Whoever wants to go leaves; and somebody has to stay who owns the organization.
fn can_do_without(person: UserId, state: &Organization, context: &Context) -> Result<(), PeopleRejection> {
    owner_remains_without(state, person)?;
    if context.actor.id == ActorId::Person(person) { Err(PeopleRejection::Yourself) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::PreconditionFailed;
    use crate::event::Event;
    use crate::given::{
        assigned, by, by_having_seen, events, founded, id, member, organization, person, team,
    };
    use crate::settings::people::command::PeopleCommand;
    use crate::settings::roles::access::{Grants, grants};
    use crate::settings::roles::permission::Permission;
    use crate::settings::roles::role::SystemRole;

    /// Acme, its Owner 1, Admin 2, Developer 3 in a team.
    fn acme(more: impl IntoIterator<Item = Event>) -> Organization {
        let people =
            member(2, Some(SystemRole::Admin)).into_iter().chain(member(3, Some(SystemRole::Developer)));
        organization(founded().into_iter().chain(people).chain(team(1, &[3])).chain(more))
    }

    fn suspended(number: u128) -> Event {
        Event::People(PeopleEvent::PersonSuspended(PersonNamed { person: id(number) }))
    }

    fn reactivated(number: u128) -> Event {
        Event::People(PeopleEvent::PersonReactivated(PersonNamed { person: id(number) }))
    }

    fn removed(number: u128) -> Event {
        Event::People(PeopleEvent::PersonRemoved(PersonRemoved { person: id(number) }))
    }

    fn erased(number: u128) -> Event {
        Event::People(PeopleEvent::PersonErased(PersonErased {
            person: id(number),
            destroyed_keys: vec![id(number)],
        }))
    }

    fn all(number: u128) -> [PeopleCommand; 4] {
        let person = id(number);
        [
            PeopleCommand::Suspend(person),
            PeopleCommand::Reactivate(person),
            PeopleCommand::Remove(person),
            PeopleCommand::Erase(person),
        ]
    }

    fn decide(command: &PeopleCommand, state: &Organization, actor: u128) -> Result<Vec<Event>, Rejection> {
        events(command.decide(state, &by(person(id(actor)))))
    }

    #[test]
    fn a_member_is_suspended_once_and_let_in_again_once() {
        let (suspend, reactivate) = (PeopleCommand::Suspend(id(3)), PeopleCommand::Reactivate(id(3)));
        assert_eq!(decide(&reactivate, &acme([]), 2), Ok(vec![]));
        assert_eq!(decide(&suspend, &acme([]), 2), Ok(vec![suspended(3)]));
        let out = acme([suspended(3)]);
        assert_eq!(decide(&suspend, &out, 2), Ok(vec![]));
        assert_eq!(decide(&reactivate, &out, 2), Ok(vec![reactivated(3)]));
        assert_eq!(grants(&out, person(id(3)).id), Grants::default());
        let back = acme([suspended(3), reactivated(3)]);
        assert!(grants(&back, person(id(3)).id).allows(Permission::ConfigWrite));
    }

    #[test]
    fn a_member_is_removed_once_and_erased_once_before_or_after() {
        let (remove, erase) = (PeopleCommand::Remove(id(3)), PeopleCommand::Erase(id(3)));
        for given in [vec![], vec![suspended(3)]] {
            assert_eq!(decide(&remove, &acme(given.clone()), 2), Ok(vec![removed(3)]));
            assert_eq!(decide(&erase, &acme(given), 2), Ok(vec![erased(3)]));
        }
        assert_eq!(decide(&remove, &acme([removed(3)]), 2), Err(PeopleRejection::NotFound.into()));
        assert_eq!(decide(&erase, &acme([removed(3)]), 2), Ok(vec![erased(3)]));
        for given in [vec![erased(3)], vec![removed(3), erased(3)]] {
            let state = acme(given);
            assert_eq!(decide(&erase, &state, 2), Ok(vec![]));
            assert_eq!(state.people.ever(id(3)).map(|person| person.status), Some(Status::Erased));
            assert_eq!(state.roles.assignments_of(Grantee::Person(id(3))).count(), 0);
            assert_eq!(state.teams.of(id(3)).count(), 0);
        }
    }

    #[test]
    fn whoever_is_not_there_is_not_decided_about() {
        for command in all(9) {
            assert_eq!(decide(&command, &acme([]), 1), Err(PeopleRejection::NotFound.into()), "{command:?}");
        }
        let gone = acme([removed(3)]);
        assert_eq!(decide(&PeopleCommand::Suspend(id(3)), &gone, 1), Err(PeopleRejection::NotFound.into()));
        assert_eq!(
            decide(&PeopleCommand::Reactivate(id(3)), &gone, 1),
            Err(PeopleRejection::NotFound.into())
        );
    }

    #[test]
    fn nobody_reaches_above_their_rights_also_not_for_whom_is_suspended() {
        let two = || [assigned(9, 3, SystemRole::Owner)];
        for state in [acme(two()), acme(two().into_iter().chain([suspended(3)]))] {
            for command in all(3) {
                assert_eq!(decide(&command, &state, 2), Err(Rejection::AboveYourRights), "{command:?}");
            }
        }
        for command in all(2) {
            assert!(decide(&command, &acme([]), 1).is_ok(), "{command:?}");
        }
    }

    #[test]
    fn the_last_owner_stays_and_one_who_is_suspended_does_not_count() {
        let refused = || Err(PeopleRejection::LastOwner.into());
        let out = acme([assigned(9, 2, SystemRole::Owner), suspended(2)]);
        for state in [acme([]), out] {
            for command in
                [PeopleCommand::Suspend(id(1)), PeopleCommand::Remove(id(1)), PeopleCommand::Erase(id(1))]
            {
                assert_eq!(decide(&command, &state, 1), refused(), "{command:?}");
            }
            assert_eq!(decide(&PeopleCommand::Leave(id(1)), &state, 1), refused());
        }
        let two = acme([assigned(9, 2, SystemRole::Owner)]);
        assert_eq!(decide(&PeopleCommand::Suspend(id(1)), &two, 2), Ok(vec![suspended(1)]));
    }

    #[test]
    fn nobody_suspends_removes_or_erases_themselves() {
        let two = acme([assigned(9, 2, SystemRole::Owner)]);
        for command in
            [PeopleCommand::Suspend(id(1)), PeopleCommand::Remove(id(1)), PeopleCommand::Erase(id(1))]
        {
            assert_eq!(decide(&command, &two, 1), Err(PeopleRejection::Yourself.into()), "{command:?}");
        }
        assert_eq!(decide(&PeopleCommand::Reactivate(id(1)), &two, 1), Ok(vec![]));
    }

    #[test]
    fn what_was_seen_must_still_be_so() {
        let state = acme([]);
        let version = state.people.get(id(3)).unwrap().version;
        for command in all(3) {
            let decide = |seen| command.decide(&state, &by_having_seen(person(id(2)), seen));
            assert_eq!(decide(version + 1), Err(PreconditionFailed.into()), "{command:?}");
            assert!(decide(version).is_ok(), "{command:?}");
        }
    }
}
