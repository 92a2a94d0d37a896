//! Who may see which of an organization's settings: today's rights, whatever point in time is looked at.

use crate::area::{AnyArea, Reads};
use crate::event::ResourceType;
use crate::history::description::{Focus, Subject};
use crate::ids::{
    ApiKeyId, ConnectionId, CustomerId, EnvironmentId, InvitationId, JoinRequestId, OauthAppId,
    OrganizationId, RoleAssignmentId, RoleId, SecretId, TeamId, UserId,
};
use crate::organization::Organization;
use crate::settings::customer_data::value::DataKeyName;
use crate::settings::environments::value::ConfigKey;
use crate::settings::roles::access::Grants;
use crate::settings::roles::permission::Permission;

/// Why a thing may not be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// The permission that is missing; `None` where the kind is none of settings.
    pub missing: Option<Permission>,
}

/// A thing that may not be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hidden {
    /// The permission that is missing; `None` where the kind is none of settings.
    pub missing: Option<Permission>,
    /// The environment that it would be needed in, where that is enough.
    pub environment: Option<EnvironmentId>,
}

/// Whether a thing of this kind may be seen, in an environment where it is or lies in one.
///
/// # Errors
/// The permission that is missing.
pub fn check(
    grants: &Grants,
    kind: ResourceType,
    environment: Option<EnvironmentId>,
) -> Result<(), Unreadable> {
    let permission = permission(kind).ok_or(Unreadable { missing: None })?;
    let held = match environment.filter(|_| permission.per_environment()) {
        Some(environment) => grants.allows_in(permission, environment),
        None => grants.allows(permission),
    };
    if held { Ok(()) } else { Err(Unreadable { missing: Some(permission) }) }
}

/// As [`check`], of a thing that was described.
pub fn allows(grants: &Grants, subject: &Subject) -> bool {
    check(grants, subject.kind, subject.environment()).is_ok()
}

/// Whether what is meant may be seen: a configuration value where its environment may be, too, and a document where its
/// customer may be. Of what lies in an environment, a secret or a connection, each event says where; here it is enough that
/// it may be seen somewhere.
pub fn sees(grants: &Grants, focus: &Focus) -> bool {
    let whole = |id: &str| match (kind_of(id), id.parse().ok()) {
        (Some(ResourceType::Secret), _) => grants.allows_somewhere(Permission::SecretRead),
        (Some(ResourceType::Connection), _) => grants.allows_somewhere(Permission::ConnectionRead),
        (Some(kind), environment) => check(grants, kind, environment).is_ok(),
        (None, _) => false,
    };
    match focus {
        Focus::All | Focus::Actions(_) => true,
        Focus::Resource(id) => whole(id),
        Focus::Named(id, _) => whole(id) && check(grants, named_in(id), id.parse().ok()).is_ok(),
    }
}

/// The kind of what is named inside the thing with this id.
pub fn named_in(id: &str) -> ResourceType {
    if id.parse::<CustomerId>().is_ok() { ResourceType::CustomerData } else { ResourceType::Config }
}

/// The first of some things that may not be seen.
pub fn hidden<'a>(grants: &Grants, things: impl IntoIterator<Item = &'a Subject>) -> Option<Hidden> {
    things.into_iter().find_map(|subject| {
        let environment = subject.environment();
        let Unreadable { missing } = check(grants, subject.kind, environment).err()?;
        Some(Hidden { missing, environment })
    })
}

/// The areas of which something may be hidden from the caller.
pub fn omitted(grants: &Grants) -> Vec<&'static str> {
    let hides =
        |area: &&AnyArea| area.kinds.iter().any(|Reads { permission, .. }| !grants.allows(*permission));
    Organization::AREAS.iter().filter(hides).map(|area| area.name).collect()
}

/// What reading a thing of this kind takes; `None` where the kind is none of settings.
pub fn permission(kind: ResourceType) -> Option<Permission> {
    let mut kinds = Organization::AREAS.iter().flat_map(|area| area.kinds);
    kinds.find(|reads| reads.kind == kind).map(|reads| reads.permission)
}

/// The kind of thing that an id names, by its prefix; `None` for ids of what is no setting.
pub fn kind_of(id: &str) -> Option<ResourceType> {
    if id.parse::<EnvironmentId>().is_ok() {
        Some(ResourceType::Environment)
    } else if id.parse::<SecretId>().is_ok() {
        Some(ResourceType::Secret)
    } else if id.parse::<ConnectionId>().is_ok() {
        Some(ResourceType::Connection)
    } else if id.parse::<OauthAppId>().is_ok() {
        Some(ResourceType::OauthApp)
    } else if id.parse::<CustomerId>().is_ok() {
        Some(ResourceType::Customer)
    } else if id.parse::<ApiKeyId>().is_ok() {
        Some(ResourceType::ApiKey)
    } else if id.parse::<UserId>().is_ok() {
        Some(ResourceType::Person)
    } else if id.parse::<InvitationId>().is_ok() {
        Some(ResourceType::Invitation)
    } else if id.parse::<JoinRequestId>().is_ok() {
        Some(ResourceType::JoinRequest)
    } else if id.parse::<TeamId>().is_ok() {
        Some(ResourceType::Team)
    } else if id.parse::<RoleId>().is_ok() {
        Some(ResourceType::Role)
    } else if id.parse::<RoleAssignmentId>().is_ok() {
        Some(ResourceType::RoleAssignment)
    } else if id.parse::<OrganizationId>().is_ok() {
        Some(ResourceType::Organization)
    } else {
        None
    }
}

/// What a text means: a thing by its id, a configuration value as `<environment's id>/<KEY>`, or a customer's document as
/// `<customer's id>/<key>`.
pub fn focus(text: &str) -> Option<Focus> {
    match text.split_once('/') {
        None => kind_of(text).map(|_| Focus::Resource(text.to_owned())),
        Some((id, key)) => {
            let has_such = id.parse::<CustomerId>().is_ok() || id.parse::<EnvironmentId>().is_ok();
            named(id, key).ok().filter(|_| has_such)
        }
    }
}

/// What has a name inside the thing with an id: a document's key in a customer, that of a configuration value elsewhere.
///
/// # Errors
/// When it is no such key, with what one is.
pub fn named(id: &str, name: &str) -> Result<Focus, String> {
    match named_in(id) {
        ResourceType::CustomerData => {
            DataKeyName::try_from(name).map(drop).map_err(|error| error.to_string())?;
        }
        _ => ConfigKey::try_from(name).map(drop).map_err(|error| error.to_string())?,
    }
    Ok(Focus::Named(id.to_owned(), name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::given::id;
    use crate::settings::roles::permission::PermissionSet;
    use crate::settings::roles::role::SystemRole;

    #[test]
    fn an_area_is_omitted_unless_all_of_it_may_be_seen() {
        let all = Grants { organization: PermissionSet::of(SystemRole::Auditor), ..Grants::default() };
        assert_eq!(omitted(&all), ["customer_data"]);
        let mut some = Grants {
            organization: [Permission::OrganizationRead, Permission::EnvironmentRead].into_iter().collect(),
            ..Grants::default()
        };
        assert_eq!(
            omitted(&some),
            [
                "people",
                "invitations",
                "join_requests",
                "teams",
                "roles",
                "api_keys",
                "environments",
                "customers",
                "customer_data",
                "secrets",
                "oauth_apps",
                "connections",
                "billing"
            ]
        );
        let environment: EnvironmentId = id(1);
        let config = [Permission::ConfigRead].into_iter().collect();
        some.environments.insert_mut(environment, config);
        assert_eq!(
            omitted(&some),
            [
                "people",
                "invitations",
                "join_requests",
                "teams",
                "roles",
                "api_keys",
                "environments",
                "customers",
                "customer_data",
                "secrets",
                "oauth_apps",
                "connections",
                "billing"
            ]
        );
        assert!(check(&some, ResourceType::Config, Some(environment)).is_ok());
        let other: EnvironmentId = id(2);
        let missing = Unreadable { missing: Some(Permission::ConfigRead) };
        assert_eq!(check(&some, ResourceType::Config, Some(other)), Err(missing));
        assert_eq!(check(&all, ResourceType::Session, None), Err(Unreadable { missing: None }));
    }

    #[test]
    fn a_thing_is_named_by_its_id_and_a_value_by_its_environments() {
        let environment: EnvironmentId = id(1);
        let id = environment.to_string();
        assert_eq!(focus(&id), Some(Focus::Resource(id.clone())));
        assert_eq!(focus(&format!("{id}/REGION")), Some(Focus::Named(id.clone(), "REGION".to_owned())));
        for text in
            ["", "dev", "owner", "dev/REGION", &format!("{id}/lower"), "ses_01kqxk5rd0e5xrpzzv0jjq4zgn"]
        {
            assert_eq!(focus(text), None, "{text}");
        }
    }
}
