//! Making, changing and deleting teams, and choosing their members, under ceiling and reach.

use crate::actor::ActorId;
use crate::command::{Context, Need, NewEvent, Rejection};
use crate::event::{Resource, ResourceType};
use crate::ids::{TeamId, UserId};
use crate::organization::Organization;
use crate::settings::roles::access::{ceiling, held_by, reach, reaches_team};
use crate::settings::roles::permission::Permission;
use crate::settings::roles::role::Grantee;
use crate::settings::teams::event::{
    MemberAdded, MemberRemoved, TeamCreated, TeamDeleted, TeamUpdated, TeamsEvent,
};
use crate::settings::teams::projection::{MEMBERSHIPS_MAX, Team, Teams};
use crate::text::{Description, Name, seen};

/// The most teams of an organization.
pub const TEAMS_MAX: usize = 1_000;

/// A command to teams.
#[derive(Clone, Debug)]
pub enum TeamsCommand {
    /// Makes a team.
    Create(CreateTeam),
    /// Renames or describes one.
    Update(UpdateTeam),
    /// Deletes one with the roles that it has.
    Delete(DeleteTeam),
    /// Makes a person a member.
    AddMember(AddMember),
    /// Makes a person a member no more.
    RemoveMember(RemoveMember),
}

/// Makes a team.
#[derive(Clone, Debug)]
pub struct CreateTeam {
    /// Its id.
    pub team: TeamId,
    /// Its name.
    pub name: Name,
    /// What it is for.
    pub description: Option<Description>,
}

/// Renames or describes a team; `None` leaves, `Some(None)` clears.
#[derive(Clone, Debug)]
pub struct UpdateTeam {
    /// Which.
    pub team: TeamId,
    /// The new name.
    pub name: Option<Name>,
    /// The new description.
    pub description: Option<Option<Description>>,
}

/// Deletes a team.
#[derive(Clone, Debug)]
pub struct DeleteTeam {
    /// Which.
    pub team: TeamId,
}

/// Makes a person a member.
#[derive(Clone, Debug)]
pub struct AddMember {
    /// Of which team.
    pub team: TeamId,
    /// Who.
    pub person: UserId,
}

/// Makes a person a member no more.
#[derive(Clone, Debug)]
pub struct RemoveMember {
    /// Of which team.
    pub team: TeamId,
    /// Who.
    pub person: UserId,
}

/// Why a command to teams appends nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TeamsRejection {
    /// There is no such team.
    #[error("there is no such team")]
    NotFound,
    /// There is no such person.
    #[error("there is no such person")]
    UnknownPerson,
    /// The person is no member.
    #[error("the person is no member of the team")]
    NotAMember,
    /// Another team has this name.
    #[error("another team has this name")]
    NameTaken,
    /// More teams than an organization can have.
    #[error("an organization has at most {TEAMS_MAX} teams")]
    TooManyTeams,
    /// More memberships than an organization can have.
    #[error("an organization has at most {MEMBERSHIPS_MAX} memberships of teams")]
    TooManyMemberships,
}

impl TeamsCommand {
    /// What it needs of its actor.
    pub fn need(&self) -> Need {
        Need::Organization(Permission::TeamManage)
    }

    /// Decides.
    ///
    /// # Errors
    /// [`TeamsRejection`], a failed precondition, a permission that a member would get and that the actor lacks, or
    /// [`Rejection::AboveYourRights`].
    pub fn decide(&self, state: &Organization, context: &Context) -> Result<Vec<NewEvent>, Rejection> {
        match self {
            Self::Create(command) => Ok(command.decide(&state.teams)?),
            Self::Update(command) => command.decide(state, context),
            Self::Delete(command) => command.decide(state, context),
            Self::AddMember(command) => command.decide(state, context),
            Self::RemoveMember(command) => command.decide(state, context),
        }
    }
}

fn find(teams: &Teams, id: TeamId) -> Result<&Team, TeamsRejection> {
    teams.get(id).ok_or(TeamsRejection::NotFound)
}

/// Whether another team's name looks like this one.
pub(super) fn is_taken(teams: &Teams, own: TeamId, name: &str) -> bool {
    let name = seen(name);
    teams.iter().any(|other| other.id != own && seen(&other.name) == name)
}

fn check_free(teams: &Teams, own: TeamId, name: &Name) -> Result<(), TeamsRejection> {
    if is_taken(teams, own, name.as_str()) { Err(TeamsRejection::NameTaken) } else { Ok(()) }
}

/// An event about a team.
pub(super) fn about(team: TeamId, name: &str, event: TeamsEvent) -> NewEvent {
    NewEvent::new(Resource::named(ResourceType::Team, team, name), event)
}

/// An event about a membership, which concerns the person, too.
pub(super) fn about_member(team: TeamId, person: UserId, event: TeamsEvent) -> NewEvent {
    let resource = Resource::named(ResourceType::TeamMember, team, person.to_string());
    NewEvent::new(resource, event).relating(person)
}

impl CreateTeam {
    fn decide(&self, teams: &Teams) -> Result<Vec<NewEvent>, TeamsRejection> {
        if teams.iter().count() >= TEAMS_MAX {
            return Err(TeamsRejection::TooManyTeams);
        }
        check_free(teams, self.team, &self.name)?;
        let created = TeamCreated {
            team: self.team,
            name: self.name.to_string(),
            description: self.description.as_ref().map(ToString::to_string),
        };
        Ok(vec![about(self.team, self.name.as_str(), TeamsEvent::TeamCreated(created))])
    }
}

impl UpdateTeam {
    fn decide(&self, state: &Organization, context: &Context) -> Result<Vec<NewEvent>, Rejection> {
        let current = find(&state.teams, self.team)?;
        ceiling(state, context.actor.id, &held_by(state, Grantee::Team(self.team)))
            .map_err(|_| Rejection::AboveYourRights)?;
        context.check_version(current.version)?;
        let name = self.name.as_ref().filter(|name| name.as_str() != current.name);
        let described = match &self.description {
            Some(Some(new)) if current.description.as_deref() != Some(new.as_str()) => Some(new.to_string()),
            _ => None,
        };
        let clears = self.description == Some(None) && current.description.is_some();
        if name.is_none() && described.is_none() && !clears {
            return Ok(Vec::new());
        }
        if let Some(name) = name {
            check_free(&state.teams, self.team, name)?;
        }
        let updated = TeamUpdated {
            team: self.team,
            name: name.map(ToString::to_string),
            description: described,
            cleared: if clears { vec!["description".to_owned()] } else { Vec::new() },
        };
        let shown = updated.name.clone().unwrap_or_else(|| current.name.clone());
        Ok(vec![about(self.team, &shown, TeamsEvent::TeamUpdated(updated))])
    }
}

impl DeleteTeam {
    fn decide(&self, state: &Organization, context: &Context) -> Result<Vec<NewEvent>, Rejection> {
        let current = find(&state.teams, self.team)?;
        if !reaches_team(state, context.actor.id, self.team, |_| true) {
            return Err(Rejection::AboveYourRights);
        }
        context.check_version(current.version)?;
        let deleted = TeamsEvent::TeamDeleted(TeamDeleted { team: self.team });
        Ok(vec![about(self.team, &current.name, deleted)])
    }
}

impl AddMember {
    fn decide(&self, state: &Organization, context: &Context) -> Result<Vec<NewEvent>, Rejection> {
        let team = find(&state.teams, self.team)?;
        if state.people.get(self.person).is_none() {
            return Err(TeamsRejection::UnknownPerson.into());
        }
        ceiling(state, context.actor.id, &held_by(state, Grantee::Team(self.team)))
            .map_err(Rejection::Forbidden)?;
        context.check_version(team.version)?;
        if team.members.contains_key(&self.person) {
            return Ok(Vec::new());
        }
        if !state.teams.has_room_for(1) {
            return Err(TeamsRejection::TooManyMemberships.into());
        }
        let added = TeamsEvent::MemberAdded(MemberAdded { team: self.team, person: self.person });
        Ok(vec![about_member(self.team, self.person, added)])
    }
}

impl RemoveMember {
    fn decide(&self, state: &Organization, context: &Context) -> Result<Vec<NewEvent>, Rejection> {
        let team = find(&state.teams, self.team)?;
        if !team.members.contains_key(&self.person) {
            return Err(TeamsRejection::NotAMember.into());
        }
        // All that the team gives, its members hold.
        reach(state, context.actor.id, ActorId::Person(self.person))
            .map_err(|_| Rejection::AboveYourRights)?;
        context.check_version(team.version)?;
        let removed = TeamsEvent::MemberRemoved(MemberRemoved { team: self.team, person: self.person });
        Ok(vec![about_member(self.team, self.person, removed)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::PreconditionFailed;
    use crate::event::Event;
    use crate::given::{
        assigned, by, by_having_seen, events, founded, granted, id, member, organization, person, team,
    };
    use crate::settings::roles::role::{RoleRef, SystemRole};

    fn create(number: u128, name: &str) -> TeamsCommand {
        let name = Name::try_from(name).unwrap();
        TeamsCommand::Create(CreateTeam { team: id(number), name, description: None })
    }

    fn rename(name: &str) -> TeamsCommand {
        let name = Some(Name::try_from(name).unwrap());
        TeamsCommand::Update(UpdateTeam { team: id(1), name, description: None })
    }

    fn delete() -> TeamsCommand {
        TeamsCommand::Delete(DeleteTeam { team: id(1) })
    }

    fn add(number: u128) -> TeamsCommand {
        TeamsCommand::AddMember(AddMember { team: id(1), person: id(number) })
    }

    fn remove(number: u128) -> TeamsCommand {
        TeamsCommand::RemoveMember(RemoveMember { team: id(1), person: id(number) })
    }

    fn has(role: SystemRole) -> Event {
        granted(9, Grantee::Team(id(1)), RoleRef::System(role), None)
    }

    /// Acme, its Owner 1, Admin 2, somebody 3, and a team with some members.
    fn acme(members: &[u128], more: impl IntoIterator<Item = Event>) -> Organization {
        let people = member(2, Some(SystemRole::Admin)).into_iter().chain(member(3, None));
        organization(founded().into_iter().chain(people).chain(team(1, members)).chain(more))
    }

    fn by_admin(command: &TeamsCommand, state: &Organization) -> Result<Vec<Event>, Rejection> {
        events(command.decide(state, &by(person(id(2)))))
    }

    #[test]
    fn a_team_is_made_with_a_name_of_its_own() {
        let state = acme(&[], []);
        assert_eq!(by_admin(&create(2, "team 2"), &state), Ok(team(2, &[])));
        assert_eq!(by_admin(&create(2, "TEAM 1"), &state), Err(TeamsRejection::NameTaken.into()));
    }

    #[test]
    fn a_name_that_looks_like_anothers_is_taken() {
        let state = acme(&[], []);
        for name in ["Te\u{200d}am 1", "Team\u{a0}1", "\u{ff34}eam 1", "TEAM \u{2060}1"] {
            let command = TeamsCommand::Create(CreateTeam {
                team: id(2),
                name: Name::try_from(name).unwrap(),
                description: None,
            });
            assert_eq!(by_admin(&command, &state), Err(TeamsRejection::NameTaken.into()), "{name:?}");
        }
    }

    #[test]
    fn of_before_that_two_teams_look_alike_and_each_stays() {
        let named = |number: u128, name: &str| {
            let created = TeamCreated { team: id(number), name: name.to_owned(), description: None };
            Event::Teams(TeamsEvent::TeamCreated(created))
        };
        let state = acme(&[], [named(2, "caf\u{e9}"), named(3, "cafe\u{301}")]);
        assert_eq!(state.teams.iter().count(), 3);
        let rename = |number: u128, name: &str| {
            let name = Some(Name::try_from(name).unwrap());
            let command = UpdateTeam { team: id(number), name, description: None };
            by_admin(&TeamsCommand::Update(command), &state)
        };
        assert_eq!(rename(3, "cafe\u{301}"), Ok(vec![]), "it is called so already");
        assert_eq!(rename(3, "CAFE\u{301}"), Err(TeamsRejection::NameTaken.into()));
        assert_eq!(rename(3, "tea").map(|events| events.len()), Ok(1));
    }

    #[test]
    fn a_team_is_renamed_described_and_cleared() {
        let described = TeamUpdated {
            team: id(1),
            name: None,
            description: Some("who ships".to_owned()),
            cleared: Vec::new(),
        };
        let describe = |text: Option<&str>| {
            let description = Some(text.map(|text| Description::try_from(text).unwrap()));
            TeamsCommand::Update(UpdateTeam { team: id(1), name: None, description })
        };
        let event = Event::Teams(TeamsEvent::TeamUpdated(described.clone()));
        let before = acme(&[], []);
        assert_eq!(by_admin(&describe(Some("who ships")), &before), Ok(vec![event.clone()]));
        assert_eq!(by_admin(&describe(None), &before), Ok(vec![]));
        assert_eq!(by_admin(&rename("team 1"), &before), Ok(vec![]));
        let after = acme(&[], [event]);
        let cleared = TeamUpdated { description: None, cleared: vec!["description".to_owned()], ..described };
        let cleared = Event::Teams(TeamsEvent::TeamUpdated(cleared));
        assert_eq!(by_admin(&describe(None), &after), Ok(vec![cleared]));
        let taken = acme(&[], team(2, &[]));
        assert_eq!(by_admin(&rename("Team 2"), &taken), Err(TeamsRejection::NameTaken.into()));
    }

    #[test]
    fn somebody_becomes_a_member_once_and_leaves_once() {
        let added = MemberAdded { team: id(1), person: id(3) };
        let added = Event::Teams(TeamsEvent::MemberAdded(added));
        let decided = add(3).decide(&acme(&[], []), &by(person(id(2)))).unwrap();
        assert_eq!(decided[0].related, [id::<UserId>(3).to_string()]);
        assert_eq!(decided[0].event, added);
        assert_eq!(by_admin(&add(3), &acme(&[3], [])), Ok(vec![]));
        assert_eq!(by_admin(&add(9), &acme(&[], [])), Err(TeamsRejection::UnknownPerson.into()));
        let removed = MemberRemoved { team: id(1), person: id(3) };
        let removed = Event::Teams(TeamsEvent::MemberRemoved(removed));
        assert_eq!(by_admin(&remove(3), &acme(&[3], [])), Ok(vec![removed]));
        assert_eq!(by_admin(&remove(3), &acme(&[], [])), Err(TeamsRejection::NotAMember.into()));
    }

    #[test]
    fn what_is_not_there_is_not_changed() {
        let state = organization(founded());
        for command in [rename("x"), delete(), add(1), remove(1)] {
            let decided = command.decide(&state, &by(person(id(1))));
            assert_eq!(decided, Err(TeamsRejection::NotFound.into()));
        }
    }

    #[test]
    fn nobody_makes_somebody_a_member_who_would_get_what_they_lack() {
        let state = acme(&[], [has(SystemRole::Owner)]);
        assert_eq!(by_admin(&add(3), &state), Err(Rejection::Forbidden(Permission::OrganizationOwn)));
        assert!(add(3).decide(&state, &by(person(id(1)))).is_ok());
        assert!(by_admin(&add(3), &acme(&[], [has(SystemRole::Developer)])).is_ok());
    }

    #[test]
    fn nobody_changes_a_team_that_holds_more_than_they_do() {
        let state = acme(&[3], [has(SystemRole::Owner)]);
        for command in [rename("x"), delete(), remove(3)] {
            assert_eq!(by_admin(&command, &state), Err(Rejection::AboveYourRights), "{command:?}");
        }
    }

    #[test]
    fn nobody_removes_a_member_or_a_team_from_whom_they_do_not_reach() {
        // An Auditor by the team alone, who owns by themselves: the Owner has all that the team gives.
        let owner = acme(&[1], [has(SystemRole::Auditor)]);
        assert_eq!(by_admin(&remove(1), &owner), Err(Rejection::AboveYourRights));
        assert!(by_admin(&delete(), &owner).is_ok());
        // The manager 3 of teams audits, and reaches neither the Admin nor what the Admin would lose.
        let manager = crate::given::custom(1, &[Permission::TeamManage, Permission::BillingRead]);
        let manages = granted(8, Grantee::Person(id(3)), RoleRef::Custom(id(1)), None);
        let more = [manager, manages, assigned(7, 3, SystemRole::Billing), has(SystemRole::Billing)];
        let state = acme(&[2, 3], more);
        let decide = |command: TeamsCommand| events(command.decide(&state, &by(person(id(3)))));
        assert_eq!(decide(remove(2)), Err(Rejection::AboveYourRights));
        assert!(decide(remove(3)).is_ok());
        assert!(decide(delete()).is_ok(), "an Admin has all that the team gives");
    }

    #[test]
    fn what_was_seen_must_still_be_so() {
        let state = acme(&[3], []);
        let seen = |command: &TeamsCommand, version| {
            command.decide(&state, &by_having_seen(person(id(2)), version)).map(|events| events.len())
        };
        for command in [rename("x"), delete(), add(2), remove(3)] {
            assert_eq!(seen(&command, 7), Err(PreconditionFailed.into()), "{command:?}");
            assert_eq!(seen(&command, 8), Ok(1), "{command:?}");
        }
    }
}
