//! Founding an organization and changing its own settings.

use crate::command::{Context, Need, NewEvent, Rejection};
use crate::event::{Resource, ResourceType};
use crate::ids::{DataKeyId, OrganizationId, RoleAssignmentId};
use crate::organization::Organization;
use crate::settings::general::event::{GeneralEvent, OrganizationCreated, OrganizationUpdated};
use crate::settings::general::value::{EmailDomain, Timezone};
use crate::settings::people::event::{PeopleEvent, PersonJoined};
use crate::settings::roles::event::{RoleAssigned, RolesEvent};
use crate::settings::roles::permission::Permission;
use crate::settings::roles::role::{RoleRef, SystemRole};
use crate::text::Name;

/// A command to the organization's own settings.
#[derive(Clone, Debug)]
pub enum GeneralCommand {
    /// Founds the organization with its Owner: the second half of a founding. Repeating it appends nothing.
    Found(FoundOrganization),
    /// Changes some settings.
    Update(UpdateOrganization),
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
}

impl GeneralCommand {
    /// What it needs of its actor.
    pub fn need(&self) -> Need {
        match self {
            Self::Found(_) => Need::System,
            Self::Update(_) => Need::Organization(Permission::OrganizationUpdate),
        }
    }

    /// Decides.
    ///
    /// # Errors
    /// [`GeneralRejection`], a failed precondition, or a permission that the new `join_role` has and the actor lacks.
    pub fn decide(&self, state: &Organization, context: &Context) -> Result<Vec<NewEvent>, Rejection> {
        match self {
            Self::Found(command) => Ok(command.decide(state)?),
            Self::Update(command) => command.decide(state, context),
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
        };
        let assigned = RoleAssigned {
            assignment: self.assignment,
            person,
            role: RoleRef::System(SystemRole::Owner),
            environment: None,
        };
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
        context.check_version(current.version)?;

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
        if let Some(role) = updated.join_role {
            let permissions = state.roles.permissions(role).ok_or(GeneralRejection::UnknownRole)?;
            state.roles.ceiling(context.actor.id, permissions, None).map_err(Rejection::Forbidden)?;
        }
        if updated == OrganizationUpdated::default() {
            return Ok(Vec::new());
        }
        let name = updated.name.as_ref().unwrap_or(&current.name);
        let resource = Resource::named(ResourceType::Organization, current.organization, name);
        Ok(vec![NewEvent::new(resource, GeneralEvent::OrganizationUpdated(updated))])
    }
}
