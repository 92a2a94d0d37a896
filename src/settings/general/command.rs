//! Founding an organization and changing its own settings.

use crate::clock::DAY_SECONDS;
use crate::command::{Context, Need, NewEvent, Rejection};
use crate::event::{Resource, ResourceType};
use crate::ids::{DataKeyId, OrganizationId, RoleAssignmentId};
use crate::organization::Organization;
use crate::settings::billing::event::PlanTaken;
use crate::settings::general::ending;
use crate::settings::general::event::{
    DomainLapsed, DomainUnproven, DomainVerified, GeneralEvent, OrganizationCreated, OrganizationUpdated,
};
use crate::settings::general::projection::{EmailDomainState, Founded};
use crate::settings::general::value::{EmailDomain, Timezone};
use crate::settings::people::event::{PeopleEvent, PersonJoined};
use crate::settings::roles::access::{ceiling, given};
use crate::settings::roles::event::{RoleAssigned, RolesEvent};
use crate::settings::roles::permission::Permission;
use crate::settings::roles::role::{Grantee, RoleRef, SystemRole};
use crate::text::Name;

/// A command to the organization's own settings.
#[derive(Clone, Debug)]
pub enum GeneralCommand {
    /// Founds the organization with its Owner: the second half of a founding. Repeating it appends nothing.
    Found(FoundOrganization),
    /// Changes some settings.
    Update(UpdateOrganization),
    /// DNS proves that the e-mail domain is the organization's. Repeating it appends nothing.
    VerifyDomain(DomainChallenge),
    /// DNS does not prove it, which it did. Repeating it appends nothing until the domain lapses.
    DoubtDomain(DomainChallenge),
    /// Ends the organization. Repeating it appends nothing.
    End,
    /// Destroys data keys of it, after its end.
    Forget(Vec<DataKeyId>),
}

/// For how long DNS may fail to prove a verified domain before it lapses.
pub const DOMAIN_LAPSES_AFTER_SECONDS: i64 = 7 * DAY_SECONDS;

/// What DNS was asked about: another domain or another challenge since then makes the answer worth nothing.
#[derive(Clone, Debug)]
pub struct DomainChallenge {
    /// The domain.
    pub domain: String,
    /// What a TXT record had to say.
    pub challenge: String,
}

/// Founds the organization with its Owner.
#[derive(Clone, Debug)]
pub struct FoundOrganization {
    /// The organization.
    pub organization: OrganizationId,
    /// The key under which reasons will be sealed.
    pub key: DataKeyId,
    /// Its name.
    pub name: Name,
    /// Its time zone.
    pub timezone: Timezone,
    /// Its plan, unless that limits nothing.
    pub plan: Option<PlanTaken>,
    /// The Owner to be.
    pub founder: PersonJoined,
    /// The id of the Owner's role assignment.
    pub assignment: RoleAssignmentId,
}

/// Changes some settings; `None` leaves, `Some(None)` clears.
#[derive(Clone, Debug, Default)]
pub struct UpdateOrganization {
    /// The new name.
    pub name: Option<Name>,
    /// The new time zone.
    pub timezone: Option<Timezone>,
    /// The new domain, with the challenge that the edge drew for it.
    pub email_domain: Option<Option<(EmailDomain, String)>>,
    /// Whether domain users are added without a request.
    pub auto_approve_domain_users: Option<bool>,
    /// The role that a domain user gets.
    pub join_role: Option<RoleRef>,
}

/// Why a command to the organization's own settings appends nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GeneralRejection {
    /// The stream is another organization's.
    #[error("the stream belongs to another organization")]
    AnotherOrganization,
    /// There is no organization yet.
    #[error("there is no such organization")]
    NotFound,
    /// The role to join with does not exist.
    #[error("there is no such role")]
    UnknownRole,
    /// The domain or its challenge was changed while DNS was asked.
    #[error("the e-mail domain was changed in the meantime")]
    AnotherDomain,
}

impl GeneralCommand {
    /// What it needs of its actor.
    pub fn need(&self) -> Need {
        match self {
            Self::Found(_) => Need::System,
            Self::Update(_) | Self::VerifyDomain(_) => Need::Organization(Permission::OrganizationUpdate),
            Self::DoubtDomain(_) | Self::End | Self::Forget(_) => Need::System,
        }
    }

    /// Decides.
    ///
    /// # Errors
    /// [`GeneralRejection`], a failed precondition, or a permission that `join_role` has and that the actor, who lets
    /// people join with it, lacks.
    pub fn decide(&self, state: &Organization, context: &Context) -> Result<Vec<NewEvent>, Rejection> {
        match self {
            Self::Found(command) => Ok(command.decide(state)?),
            Self::Update(command) => command.decide(state, context),
            Self::VerifyDomain(asked) => asked.verify(state, context),
            Self::DoubtDomain(asked) => Ok(asked.doubt(state, context)),
            Self::End => Ok(ending::end(&state.general)?),
            Self::Forget(keys) => Ok(ending::forget(&state.general, keys)?),
        }
    }
}

impl FoundOrganization {
    fn decide(&self, state: &Organization) -> Result<Vec<NewEvent>, GeneralRejection> {
        if let Some(founded) = state.general.founded() {
            return if founded.organization == self.organization {
                Ok(Vec::new())
            } else {
                Err(GeneralRejection::AnotherOrganization)
            };
        }
        let person = self.founder.person;
        let created = OrganizationCreated {
            organization: self.organization,
            key: self.key,
            name: self.name.to_string(),
            timezone: self.timezone.to_string(),
            plan: self.plan.clone(),
        };
        let owner = RoleRef::System(SystemRole::Owner);
        let assigned = RoleAssigned::new(self.assignment, Grantee::Person(person), owner, None);
        Ok(vec![
            NewEvent::new(
                Resource::named(ResourceType::Organization, self.organization, self.name.as_str()),
                GeneralEvent::OrganizationCreated(created),
            )
            .using(self.key),
            NewEvent::new(
                Resource::new(ResourceType::Person, person),
                PeopleEvent::PersonJoined(self.founder.clone()),
            )
            .using(self.founder.key),
            NewEvent::new(
                Resource::new(ResourceType::RoleAssignment, self.assignment),
                RolesEvent::RoleAssigned(assigned),
            )
            .relating(person),
        ])
    }
}

impl UpdateOrganization {
    fn decide(&self, state: &Organization, context: &Context) -> Result<Vec<NewEvent>, Rejection> {
        let current = state.general.founded().ok_or(GeneralRejection::NotFound)?;
        let mut updated = OrganizationUpdated {
            name: self.name.as_ref().filter(|name| name.as_str() != current.name).map(ToString::to_string),
            timezone: self
                .timezone
                .as_ref()
                .filter(|zone| zone.as_str() != current.timezone)
                .map(ToString::to_string),
            auto_approve_domain_users: self
                .auto_approve_domain_users
                .filter(|auto| *auto != current.auto_approve_domain_users),
            join_role: self.join_role.filter(|role| *role != current.join_role),
            ..OrganizationUpdated::default()
        };
        match &self.email_domain {
            Some(Some((domain, challenge)))
                if current.email_domain.as_ref().is_none_or(|old| old.domain != domain.as_str()) =>
            {
                updated.email_domain = Some(domain.to_string());
                updated.email_domain_challenge = Some(challenge.clone());
            }
            Some(None) if current.email_domain.is_some() => updated.cleared.push("email_domain".to_owned()),
            _ => {}
        }
        if updated.opens() {
            let role = updated.join_role.unwrap_or(current.join_role);
            let permissions = state.roles.permissions(role).ok_or(GeneralRejection::UnknownRole)?;
            let gives = [given(permissions, None)];
            ceiling(state, context.actor.id, &gives).map_err(Rejection::Forbidden)?;
        }
        // After what the actor may and what there is: 403 and 422 come before 412.
        context.check_version(current.version)?;
        if updated == OrganizationUpdated::default() {
            return Ok(Vec::new());
        }
        let name = updated.name.as_ref().unwrap_or(&current.name);
        let resource = Resource::named(ResourceType::Organization, current.organization, name);
        Ok(vec![NewEvent::new(resource, GeneralEvent::OrganizationUpdated(updated))])
    }
}

impl DomainChallenge {
    /// The domain as it is, if it is still the one that DNS was asked about.
    fn of<'a>(&self, founded: &'a Founded) -> Option<&'a EmailDomainState> {
        let same = |held: &&EmailDomainState| held.domain == self.domain && held.challenge == self.challenge;
        founded.email_domain.as_ref().filter(same)
    }

    fn verify(&self, state: &Organization, context: &Context) -> Result<Vec<NewEvent>, Rejection> {
        let founded = state.general.founded().ok_or(GeneralRejection::NotFound)?;
        let held = self.of(founded).ok_or(GeneralRejection::AnotherDomain)?;
        context.check_version(founded.version)?;
        if held.is_verified() && held.lapses_at.is_none() {
            return Ok(Vec::new());
        }
        let verified = DomainVerified { domain: self.domain.clone() };
        Ok(vec![about(founded, GeneralEvent::DomainVerified(verified))])
    }

    fn doubt(&self, state: &Organization, context: &Context) -> Vec<NewEvent> {
        let Some(founded) = state.general.founded() else { return Vec::new() };
        let Some(held) = self.of(founded).filter(|held| held.is_verified()) else { return Vec::new() };
        let domain = self.domain.clone();
        match held.lapses_at {
            None => {
                let lapses_at = context.now.plus_seconds(DOMAIN_LAPSES_AFTER_SECONDS);
                vec![about(founded, GeneralEvent::DomainUnproven(DomainUnproven { domain, lapses_at }))]
            }
            Some(lapses_at) if lapses_at <= context.now => {
                vec![about(founded, GeneralEvent::DomainLapsed(DomainLapsed { domain }))]
            }
            Some(_) => Vec::new(),
        }
    }
}

fn about(founded: &Founded, event: GeneralEvent) -> NewEvent {
    NewEvent::new(Resource::named(ResourceType::Organization, founded.organization, &founded.name), event)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actor::Actor;
    use crate::command::PreconditionFailed;
    use crate::event::Event;
    use crate::given::{by, by_having_seen, events, founded, id, joined, member, now, organization, person};

    fn found(number: u128) -> GeneralCommand {
        GeneralCommand::Found(FoundOrganization {
            organization: id(number),
            key: id(1),
            name: Name::try_from("Acme").unwrap(),
            timezone: Timezone::try_from("Europe/Berlin").unwrap(),
            plan: None,
            founder: joined(1),
            assignment: id(1),
        })
    }

    fn update(update: UpdateOrganization) -> GeneralCommand {
        GeneralCommand::Update(update)
    }

    fn named(name: &str) -> UpdateOrganization {
        UpdateOrganization { name: Some(Name::try_from(name).unwrap()), ..Default::default() }
    }

    fn domain(domain: &str) -> UpdateOrganization {
        let domain = EmailDomain::try_from(domain).unwrap();
        UpdateOrganization {
            email_domain: Some(Some((domain, "challenge".to_owned()))),
            ..Default::default()
        }
    }

    fn updated(event: OrganizationUpdated) -> Vec<Event> {
        vec![Event::General(GeneralEvent::OrganizationUpdated(event))]
    }

    #[test]
    fn an_organization_is_founded_with_its_owner() {
        let decided = found(1).decide(&organization([]), &by(Actor::SYSTEM));
        assert_eq!(events(decided), Ok(founded()));
    }

    #[test]
    fn founding_again_appends_nothing() {
        assert_eq!(found(1).decide(&organization(founded()), &by(Actor::SYSTEM)), Ok(Vec::new()));
    }

    #[test]
    fn a_stream_is_one_organizations() {
        let decided = found(2).decide(&organization(founded()), &by(Actor::SYSTEM));
        assert_eq!(decided, Err(GeneralRejection::AnotherOrganization.into()));
    }

    #[test]
    fn what_is_not_founded_cannot_be_changed() {
        let decided = update(named("New")).decide(&organization([]), &by(person(id(1))));
        assert_eq!(decided, Err(GeneralRejection::NotFound.into()));
    }

    #[test]
    fn only_what_changes_is_recorded() {
        let change = UpdateOrganization {
            timezone: Some(Timezone::try_from("Europe/Berlin").unwrap()),
            auto_approve_domain_users: Some(true),
            ..named("New")
        };
        let decided = update(change).decide(&organization(founded()), &by(person(id(1))));
        let expected = OrganizationUpdated {
            name: Some("New".to_owned()),
            auto_approve_domain_users: Some(true),
            ..Default::default()
        };
        assert_eq!(events(decided), Ok(updated(expected)));
    }

    #[test]
    fn no_change_is_no_event() {
        let decided = update(named("Acme")).decide(&organization(founded()), &by(person(id(1))));
        assert_eq!(decided, Ok(Vec::new()));
    }

    #[test]
    fn a_domain_is_set_once_and_cleared_once() {
        let mut given = founded();
        let clear = || update(UpdateOrganization { email_domain: Some(None), ..Default::default() });
        let decide = |given: &[Event], command: GeneralCommand| {
            events(command.decide(&organization(given.to_vec()), &by(person(id(1))))).unwrap()
        };
        assert_eq!(decide(&given, clear()), []);
        let set = decide(&given, update(domain("example.com")));
        assert_eq!(set.len(), 1);
        given.extend(set);
        assert_eq!(decide(&given, update(domain("example.com"))), [], "the challenge stays");
        let cleared = decide(&given, clear());
        let expected = OrganizationUpdated { cleared: vec!["email_domain".to_owned()], ..Default::default() };
        assert_eq!(cleared, updated(expected));
        given.extend(cleared);
        assert_eq!(decide(&given, clear()), []);
    }

    #[test]
    fn what_was_seen_must_still_be_so() {
        let state = organization(founded());
        assert!(update(named("New")).decide(&state, &by_having_seen(person(id(1)), 1)).is_ok());
        let decided = update(named("New")).decide(&state, &by_having_seen(person(id(1)), 2));
        assert_eq!(decided, Err(PreconditionFailed.into()));
    }

    #[test]
    fn nobody_lets_others_join_with_more_than_they_hold() {
        let state = organization(founded().into_iter().chain(member(2, Some(SystemRole::Admin))));
        let join_as = |role| {
            update(UpdateOrganization { join_role: Some(RoleRef::System(role)), ..Default::default() })
        };
        let decided = join_as(SystemRole::Owner).decide(&state, &by(person(id(2))));
        assert_eq!(decided, Err(Rejection::Forbidden(Permission::OrganizationOwn)));
        assert!(join_as(SystemRole::Developer).decide(&state, &by(person(id(2)))).is_ok());
        let unknown = UpdateOrganization { join_role: Some(RoleRef::Custom(id(9))), ..Default::default() };
        let decided = update(unknown).decide(&state, &by(person(id(1))));
        assert_eq!(decided, Err(GeneralRejection::UnknownRole.into()));
    }

    #[test]
    fn who_opens_the_way_in_needs_what_it_leads_to() {
        let owners = OrganizationUpdated {
            join_role: Some(RoleRef::System(SystemRole::Owner)),
            ..OrganizationUpdated::default()
        };
        let given = founded().into_iter().chain(member(2, Some(SystemRole::Admin))).chain(updated(owners));
        let state = organization(given);
        let toggle =
            |auto| update(UpdateOrganization { auto_approve_domain_users: Some(auto), ..Default::default() });
        let above = Err(Rejection::Forbidden(Permission::OrganizationOwn));
        for opens in [toggle(true), update(domain("example.com"))] {
            assert_eq!(opens.decide(&state, &by(person(id(2)))), above);
            assert!(opens.decide(&state, &by(person(id(1)))).is_ok());
        }
        for closes in [toggle(false), update(UpdateOrganization { email_domain: Some(None), ..named("New") })]
        {
            assert!(closes.decide(&state, &by(person(id(2)))).is_ok());
        }
    }

    fn asked(challenge: &str) -> DomainChallenge {
        DomainChallenge { domain: "example.com".to_owned(), challenge: challenge.to_owned() }
    }

    /// Acme with a domain, and what DNS said of it since.
    fn with_domain(more: impl IntoIterator<Item = GeneralEvent>) -> Organization {
        let set = OrganizationUpdated {
            email_domain: Some("example.com".to_owned()),
            email_domain_challenge: Some("challenge".to_owned()),
            ..OrganizationUpdated::default()
        };
        organization(founded().into_iter().chain(updated(set)).chain(more.into_iter().map(Event::General)))
    }

    fn verified() -> GeneralEvent {
        GeneralEvent::DomainVerified(DomainVerified { domain: "example.com".to_owned() })
    }

    fn unproven() -> GeneralEvent {
        let lapses_at = now().plus_seconds(DOMAIN_LAPSES_AFTER_SECONDS);
        GeneralEvent::DomainUnproven(DomainUnproven { domain: "example.com".to_owned(), lapses_at })
    }

    fn lapsed() -> GeneralEvent {
        GeneralEvent::DomainLapsed(DomainLapsed { domain: "example.com".to_owned() })
    }

    #[test]
    fn a_domain_is_verified_once_and_again_after_doubts() {
        let decide = |state: &Organization| {
            events(GeneralCommand::VerifyDomain(asked("challenge")).decide(state, &by(person(id(1)))))
        };
        let again = Ok(vec![Event::General(verified())]);
        assert_eq!(decide(&with_domain([])), again);
        assert_eq!(decide(&with_domain([verified()])), Ok(Vec::new()));
        assert_eq!(decide(&with_domain([verified(), unproven()])), again);
        assert_eq!(decide(&with_domain([verified(), unproven(), verified()])), Ok(Vec::new()));
        assert_eq!(decide(&with_domain([verified(), unproven(), lapsed()])), again);
    }

    #[test]
    fn what_dns_says_of_another_domain_or_challenge_is_worth_nothing() {
        let another = Err(GeneralRejection::AnotherDomain.into());
        let by_owner = by(person(id(1)));
        assert_eq!(asked("another").verify(&with_domain([]), &by_owner), another);
        assert_eq!(asked("challenge").verify(&organization(founded()), &by_owner), another);
        assert_eq!(asked("another").doubt(&with_domain([verified()]), &by(Actor::SYSTEM)), []);
        let renewed = OrganizationUpdated {
            email_domain: Some("example.org".to_owned()),
            email_domain_challenge: Some("challenge".to_owned()),
            ..OrganizationUpdated::default()
        };
        let state = with_domain([verified(), GeneralEvent::OrganizationUpdated(renewed)]);
        assert!(!state.general.founded().unwrap().email_domain.as_ref().unwrap().is_verified());
    }

    #[test]
    fn a_domain_lapses_after_seven_days_of_doubt() {
        let decide = |state: &Organization, seconds| {
            let context = Context { now: now().plus_seconds(seconds), ..by(Actor::SYSTEM) };
            events(GeneralCommand::DoubtDomain(asked("challenge")).decide(state, &context)).unwrap()
        };
        assert_eq!(decide(&with_domain([]), 0), [], "what is not verified cannot lapse");
        assert_eq!(decide(&with_domain([verified()]), 0), [Event::General(unproven())]);
        let doubted = with_domain([verified(), unproven()]);
        assert!(doubted.general.founded().unwrap().email_domain.as_ref().unwrap().is_verified());
        assert_eq!(decide(&doubted, DOMAIN_LAPSES_AFTER_SECONDS - 1), []);
        assert_eq!(decide(&doubted, DOMAIN_LAPSES_AFTER_SECONDS), [Event::General(lapsed())]);
        assert_eq!(decide(&with_domain([verified(), unproven(), lapsed()]), DOMAIN_LAPSES_AFTER_SECONDS), []);
    }

    #[test]
    fn rights_and_roles_come_before_what_was_seen() {
        let state = organization(founded().into_iter().chain(member(2, Some(SystemRole::Admin))));
        let stale = |role| {
            let command = update(UpdateOrganization { join_role: Some(role), ..Default::default() });
            command.decide(&state, &by_having_seen(person(id(2)), 9))
        };
        let above = stale(RoleRef::System(SystemRole::Owner));
        assert_eq!(above, Err(Rejection::Forbidden(Permission::OrganizationOwn)));
        assert_eq!(stale(RoleRef::Custom(id(9))), Err(GeneralRejection::UnknownRole.into()));
        assert_eq!(stale(RoleRef::System(SystemRole::Viewer)), Err(PreconditionFailed.into()));
    }
}
