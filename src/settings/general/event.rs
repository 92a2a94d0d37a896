//! What happens to the organization itself.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::events;
use crate::ids::{DataKeyId, OrganizationId};
use crate::settings::roles::role::RoleRef;

events! {
    /// The organization's own settings.
    pub enum GeneralEvent {
        /// The organization was founded.
        "organization.create", 1 => OrganizationCreated(OrganizationCreated);
        /// Some of its settings changed.
        "organization.update", 1 => OrganizationUpdated(OrganizationUpdated);
    }
}

/// The organization was founded: the first event of its stream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OrganizationCreated {
    /// The organization.
    pub organization: OrganizationId,
    /// The key under which reasons and operators' addresses are sealed.
    #[schema(value_type = String)]
    pub key: DataKeyId,
    /// Its name.
    pub name: String,
    /// An IANA time zone name.
    pub timezone: String,
}

/// Some settings changed; what is absent stayed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OrganizationUpdated {
    /// The new name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The new IANA time zone name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timezone: Option<String>,
    /// The new e-mail domain, registrable and in its ASCII form; it is not verified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email_domain: Option<String>,
    /// What a DNS TXT record must say to verify the new domain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email_domain_challenge: Option<String>,
    /// Whether domain users are added without a request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auto_approve_domain_users: Option<bool>,
    /// The role that a domain user gets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub join_role: Option<RoleRef>,
    /// Names of fields that were cleared: `email_domain`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cleared: Vec<String>,
}
