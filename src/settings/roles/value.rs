//! What a custom role may allow.

use serde::{Deserialize, Deserializer};

use crate::settings::roles::permission::{Permission, PermissionSet};

/// Permissions that a custom role may have: all but `organization:own`, which makes an Owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CustomPermissions(PermissionSet);

/// The permission is in no custom role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not grantable: organization:own is in no custom role")]
pub struct NotGrantable;

impl CustomPermissions {
    /// The permissions.
    pub fn set(self) -> PermissionSet {
        self.0
    }
}

impl TryFrom<PermissionSet> for CustomPermissions {
    type Error = NotGrantable;

    fn try_from(set: PermissionSet) -> Result<Self, NotGrantable> {
        if set.contains(Permission::OrganizationOwn) { Err(NotGrantable) } else { Ok(Self(set)) }
    }
}

impl<'de> Deserialize<'de> for CustomPermissions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::try_from(PermissionSet::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::roles::role::SystemRole;

    #[test]
    fn a_custom_role_never_owns() {
        assert!(CustomPermissions::try_from(PermissionSet::of(SystemRole::Admin)).is_ok());
        assert_eq!(CustomPermissions::try_from(PermissionSet::of(SystemRole::Owner)), Err(NotGrantable));
    }
}
