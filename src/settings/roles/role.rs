//! Roles by reference: a system role's id is its name, a custom one has a TypeID. And who can have one.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::ids::{RoleId, TeamId, UserId};

/// The roles that every organization has. They never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SystemRole {
    /// Everything, the organization itself included.
    Owner,
    /// Everything but owning.
    Admin,
    /// Builds: environments' contents, keys, connections.
    Developer,
    /// Looks.
    Viewer,
    /// Looks, searches, exports, proves.
    Auditor,
    /// Plans and quotas.
    Billing,
    /// What a program needs at run time.
    Workflow,
}

impl SystemRole {
    /// All of them, from the one that may most to the one that programs have.
    pub const ALL: [Self; 7] = [
        Self::Owner,
        Self::Admin,
        Self::Developer,
        Self::Viewer,
        Self::Auditor,
        Self::Billing,
        Self::Workflow,
    ];

    /// What it is for.
    pub fn description(self) -> &'static str {
        match self {
            Self::Owner => "Everything, owning the organization included",
            Self::Admin => "Everything but owning the organization",
            Self::Developer => "Builds: configuration, secrets, keys and connections",
            Self::Viewer => "Sees settings, never secret values",
            Self::Auditor => "Sees settings, searches and exports the audit log",
            Self::Billing => "Sees and changes plan and limits",
            Self::Workflow => "What a program needs at run time",
        }
    }

    /// Its name, which is its id.
    pub fn name(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Admin => "admin",
            Self::Developer => "developer",
            Self::Viewer => "viewer",
            Self::Auditor => "auditor",
            Self::Billing => "billing",
            Self::Workflow => "workflow",
        }
    }
}

/// A role by its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RoleRef {
    /// A system role.
    System(SystemRole),
    /// A custom role.
    Custom(RoleId),
}

/// The text names neither a system role nor a custom role's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a system role's name or an id that begins with `role_`")]
pub struct InvalidRole;

impl fmt::Display for RoleRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System(role) => f.write_str(role.name()),
            Self::Custom(id) => id.fmt(f),
        }
    }
}

impl FromStr for RoleRef {
    type Err = InvalidRole;

    fn from_str(text: &str) -> Result<Self, InvalidRole> {
        match SystemRole::ALL.into_iter().find(|role| role.name() == text) {
            Some(role) => Ok(Self::System(role)),
            None => text.parse().map(Self::Custom).map_err(|_| InvalidRole),
        }
    }
}

/// Who can have a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Grantee {
    /// A person.
    Person(UserId),
    /// A team, and so each of its members.
    Team(TeamId),
}

/// The text is the id of neither a person nor a team.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected an id that begins with `usr_` or `team_`")]
pub struct InvalidGrantee;

impl fmt::Display for Grantee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Person(person) => person.fmt(f),
            Self::Team(team) => team.fmt(f),
        }
    }
}

impl FromStr for Grantee {
    type Err = InvalidGrantee;

    fn from_str(text: &str) -> Result<Self, InvalidGrantee> {
        let person = text.parse().map(Self::Person);
        person.or_else(|_| text.parse().map(Self::Team)).map_err(|_| InvalidGrantee)
    }
}

/// As text, like an id.
macro_rules! by_text {
    ($($name:ident),+) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )+};
}

by_text!(RoleRef, Grantee);
