//! Custom roles made and changed, roles given and taken, under ceiling and reach. What each does stands in `custom.rs`
//! and `granting.rs` beside this.

use crate::command::{Context, Need, NewEvent, Rejection};
use crate::event::Resource;
use crate::ids::{EnvironmentId, RoleAssignmentId, RoleId};
use crate::organization::Organization;
use crate::settings::roles::permission::Permission;
use crate::settings::roles::projection::ASSIGNMENTS_MAX;
use crate::settings::roles::role::{Grantee, RoleRef};
use crate::settings::roles::value::CustomPermissions;
use crate::text::{Description, Name};

/// The most custom roles of an organization: the matrix shows all of them at once.
pub const ROLES_MAX: usize = 1_000;

/// A command to roles.
#[derive(Clone, Debug)]
pub enum RolesCommand {
    /// Makes a custom role.
    Create(CreateRole),
    /// Renames or describes one, or changes what it allows.
    Update(UpdateRole),
    /// Deletes one that nobody has.
    Delete(DeleteRole),
    /// Gives a role.
    Assign(AssignRole),
    /// Takes a role away.
    Unassign(UnassignRole),
}

/// Makes a custom role.
#[derive(Clone, Debug)]
pub struct CreateRole {
    /// Its id.
    pub role: RoleId,
    /// Its name.
    pub name: Name,
    /// What it is for.
    pub description: Option<Description>,
    /// What it allows.
    pub permissions: CustomPermissions,
}

/// Renames or describes a custom role, or changes what it allows; `None` leaves, `Some(None)` clears.
#[derive(Clone, Debug)]
pub struct UpdateRole {
    /// Which.
    pub role: RoleRef,
    /// The new name.
    pub name: Option<Name>,
    /// The new description.
    pub description: Option<Option<Description>>,
    /// All that it is to allow.
    pub permissions: Option<CustomPermissions>,
}

/// Deletes a custom role.
#[derive(Clone, Debug)]
pub struct DeleteRole {
    /// Which.
    pub role: RoleRef,
}

/// Gives a person or a team a role, in the organization or in one environment.
#[derive(Clone, Debug)]
pub struct AssignRole {
    /// The assignment's id.
    pub assignment: RoleAssignmentId,
    /// Who gets it.
    pub grantee: Grantee,
    /// The role.
    pub role: RoleRef,
    /// The environment that it is limited to.
    pub environment: Option<EnvironmentId>,
}

/// Takes a role away.
#[derive(Clone, Debug)]
pub struct UnassignRole {
    /// The assignment that ends.
    pub assignment: RoleAssignmentId,
}

/// Why a command to roles appends nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RolesRejection {
    /// There is no such role or assignment.
    #[error("there is no such role or role assignment")]
    NotFound,
    /// There is no such person or team.
    #[error("there is no such person or team")]
    UnknownGrantee,
    /// There is no such role.
    #[error("there is no such role")]
    UnknownRole,
    /// There is no such environment.
    #[error("there is no such environment")]
    UnknownEnvironment,
    /// System roles never change.
    #[error("a system role never changes")]
    SystemRole,
    /// Another role has this name.
    #[error("another role has this name")]
    NameTaken,
    /// More custom roles than an organization can have.
    #[error("an organization has at most {ROLES_MAX} custom roles")]
    TooManyRoles,
    /// More assignments than an organization can have.
    #[error("an organization has at most {ASSIGNMENTS_MAX} role assignments")]
    TooManyAssignments,
    /// The role is given to somebody, or to whoever joins.
    #[error("the role is in use")]
    InUse(Vec<Resource>),
    /// The organization would be without an owner.
    #[error("the organization needs an owner")]
    LastOwner,
}

impl RolesCommand {
    /// What it needs of its actor.
    pub fn need(&self) -> Need {
        match self {
            Self::Create(_) | Self::Update(_) | Self::Delete(_) => Need::Organization(Permission::RoleManage),
            Self::Assign(_) | Self::Unassign(_) => Need::Organization(Permission::RoleAssign),
        }
    }

    /// Decides.
    ///
    /// # Errors
    /// [`RolesRejection`], a failed precondition, a permission that is given and that the actor lacks, or
    /// [`Rejection::AboveYourRights`].
    pub fn decide(&self, state: &Organization, context: &Context) -> Result<Vec<NewEvent>, Rejection> {
        match self {
            Self::Create(command) => command.decide(state, context),
            Self::Update(command) => command.decide(state, context),
            Self::Delete(command) => command.decide(state, context),
            Self::Assign(command) => command.decide(state, context),
            Self::Unassign(command) => command.decide(state, context),
        }
    }
}
