//! Permissions: the one table of what can be allowed, and which system role holds it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::settings::roles::role::SystemRole;

/// A row of the table.
struct Row {
    permission: Permission,
    resource: &'static str,
    verb: &'static str,
    /// Whether it can be granted for one environment alone.
    per_environment: bool,
    /// The system roles that hold it, by their initials: O A D V U(auditor) B W.
    granted: &'static str,
    description: &'static str,
}

macro_rules! permissions {
    ($($variant:ident = $resource:literal $verb:literal $scope:ident $granted:literal $description:literal;)*) => {
        /// Something that an actor can be allowed to do.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Permission {
            $(#[doc = $description] $variant,)*
        }

        impl Permission {
            /// All of them, in the table's order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];
        }

        const TABLE: &[Row] = &[$(Row {
            permission: Permission::$variant,
            resource: $resource,
            verb: $verb,
            per_environment: permissions!(@scope $scope),
            granted: $granted,
            description: $description,
        },)*];
    };
    (@scope environment) => { true };
    (@scope organization) => { false };
}

permissions! {
    OrganizationRead = "organization" "read" organization "OADVUB" "See the organization's name, time zone and domain";
    OrganizationUpdate = "organization" "update" organization "OA" "Change the organization's name, time zone and domain";
    OrganizationOwn = "organization" "own" organization "O" "Own the organization";
    OrganizationRestore = "organization" "restore" organization "OA" "Bring back earlier settings";
    PersonRead = "person" "read" organization "OADVU" "See the people of the organization";
    PersonInvite = "person" "invite" organization "OA" "Invite people and decide about requests to join";
    PersonManage = "person" "manage" organization "OA" "Suspend, remove and erase people";
    TeamManage = "team" "manage" organization "OA" "Make teams and choose their members";
    RoleRead = "role" "read" organization "OADVU" "See roles and who has them";
    RoleManage = "role" "manage" organization "OA" "Make and change custom roles";
    RoleAssign = "role" "assign" organization "OA" "Give roles to people and teams";
    ApiKeyRead = "api_key" "read" environment "OADU" "See API keys, never their values";
    ApiKeyManage = "api_key" "manage" environment "OAD" "Make, change, rotate and revoke API keys";
    EnvironmentRead = "environment" "read" environment "OADVU" "See environments";
    EnvironmentManage = "environment" "manage" environment "OA" "Make, change and delete environments";
    ConfigRead = "config" "read" environment "OADVU" "See configuration values";
    ConfigWrite = "config" "write" environment "OAD" "Set and delete configuration values";
    SecretRead = "secret" "read" environment "OADVU" "See which secrets there are, never their values";
    SecretWrite = "secret" "write" environment "OAD" "Set, delete and roll back secrets";
    SecretReveal = "secret" "reveal" environment "OAD" "See the value of a secret";
    SecretDestroy = "secret" "destroy" environment "OA" "Destroy secrets for ever";
    CtxRead = "ctx" "read" environment "OADW" "Read configuration, secrets and connections at run time";
    OauthAppRead = "oauth_app" "read" organization "OADVU" "See OAuth apps";
    OauthAppManage = "oauth_app" "manage" organization "OAD" "Make, change and delete OAuth apps";
    ConnectionRead = "connection" "read" environment "OADVU" "See connections";
    ConnectionManage = "connection" "manage" environment "OAD" "Make, refresh and revoke connections";
    CustomerRead = "customer" "read" organization "OADVUBW" "See customers";
    CustomerManage = "customer" "manage" organization "OAD" "Make, change, suspend and erase customers";
    CustomerDataRead = "customer_data" "read" organization "OADW" "Read customers' documents";
    CustomerDataWrite = "customer_data" "write" organization "OADW" "Write customers' documents";
    ExecutionRead = "execution" "read" environment "OADVUW" "See executions";
    ExecutionWrite = "execution" "write" environment "OADW" "Start and finish executions";
    BillingRead = "billing" "read" organization "OAUB" "See plan and usage";
    BillingManage = "billing" "manage" organization "OAB" "Change plan and limits";
    AuditRead = "audit" "read" organization "OAU" "Search the audit log";
    AuditExport = "audit" "export" organization "OAU" "Export the audit log and the events behind it";
    HistoryRead = "history" "read" organization "OADU" "See settings as they were";
}

impl Permission {
    fn row(self) -> &'static Row {
        &TABLE[self as usize]
    }

    /// What it is about, the part before the colon.
    pub fn resource(self) -> &'static str {
        self.row().resource
    }

    /// What may be done, the part after the colon.
    pub fn verb(self) -> &'static str {
        self.row().verb
    }

    /// What it allows, in words.
    pub fn description(self) -> &'static str {
        self.row().description
    }

    /// Whether it can be granted for one environment alone.
    pub fn per_environment(self) -> bool {
        self.row().per_environment
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.resource(), self.verb())
    }
}

/// The text names no permission.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown value: there is no such permission")]
pub struct UnknownPermission;

impl FromStr for Permission {
    type Err = UnknownPermission;

    fn from_str(text: &str) -> Result<Self, UnknownPermission> {
        let (resource, verb) = text.split_once(':').ok_or(UnknownPermission)?;
        TABLE
            .iter()
            .find(|row| row.resource == resource && row.verb == verb)
            .map(|row| row.permission)
            .ok_or(UnknownPermission)
    }
}

impl Serialize for Permission {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Permission {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A set of permissions, one bit each.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct PermissionSet(u64);

const _: () = assert!(Permission::ALL.len() < 64, "a set is one bit a permission");

impl PermissionSet {
    /// No permission.
    pub const NONE: Self = Self(0);
    /// Every permission: Settled's own and operators'.
    pub const ALL: Self = Self((1 << Permission::ALL.len()) - 1);

    /// One alone.
    pub fn of_one(permission: Permission) -> Self {
        Self(1 << permission as u8)
    }

    /// Those of a system role.
    pub fn of(role: SystemRole) -> Self {
        let initial = match role {
            SystemRole::Owner => 'O',
            SystemRole::Admin => 'A',
            SystemRole::Developer => 'D',
            SystemRole::Viewer => 'V',
            SystemRole::Auditor => 'U',
            SystemRole::Billing => 'B',
            SystemRole::Workflow => 'W',
        };
        TABLE.iter().filter(|row| row.granted.contains(initial)).map(|row| row.permission).collect()
    }

    /// Whether the permission is in it.
    pub fn contains(self, permission: Permission) -> bool {
        self.0 & (1 << permission as u8) != 0
    }

    /// Both together.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What is in this set and not in the other.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Only those that can be granted for one environment.
    #[must_use]
    pub fn per_environment(self) -> Self {
        self.iter().filter(|permission| permission.per_environment()).collect()
    }

    /// Its members, in the table's order.
    pub fn iter(self) -> impl Iterator<Item = Permission> {
        Permission::ALL.iter().copied().filter(move |permission| self.contains(*permission))
    }
}

impl FromIterator<Permission> for PermissionSet {
    fn from_iter<I: IntoIterator<Item = Permission>>(permissions: I) -> Self {
        Self(permissions.into_iter().fold(0, |set, permission| set | 1 << permission as u8))
    }
}

impl fmt::Debug for PermissionSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(|permission| permission.to_string())).finish()
    }
}

impl Serialize for PermissionSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for PermissionSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::<Permission>::deserialize(deserializer).map(Self::from_iter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_stands_at_its_permission() {
        for (row, permission) in TABLE.iter().zip(Permission::ALL) {
            assert_eq!(row.permission, *permission);
            assert_eq!(permission.to_string().parse(), Ok(*permission));
        }
    }

    #[test]
    fn only_the_owner_owns() {
        for role in SystemRole::ALL {
            assert_eq!(
                PermissionSet::of(role).contains(Permission::OrganizationOwn),
                role == SystemRole::Owner
            );
        }
    }

    #[test]
    fn a_workflow_reads_at_run_time_and_writes_no_settings() {
        let set = PermissionSet::of(SystemRole::Workflow);
        assert!(set.contains(Permission::CtxRead));
        assert!(!set.contains(Permission::ConfigWrite));
        assert!(!set.contains(Permission::SecretReveal));
    }
}
