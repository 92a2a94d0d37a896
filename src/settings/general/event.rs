//! What happens to the organization itself.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::clock::Timestamp;
use crate::events;
use crate::ids::{DataKeyId, OrganizationId};
use crate::settings::billing::event::PlanTaken;
use crate::settings::roles::role::RoleRef;

events! {
    /// The organization's own settings.
    pub enum GeneralEvent {
        /// The organization was founded.
        "organization.create", 1 => OrganizationCreated(OrganizationCreated);
        /// Some of its settings changed.
        "organization.update", 1 => OrganizationUpdated(OrganizationUpdated);
        /// DNS proves that the e-mail domain is the organization's.
        "organization.verify_domain", 1 => DomainVerified(DomainVerified);
        /// DNS does not prove it any more: it will lapse unless DNS does again.
        "organization.check_domain", 1 => DomainUnproven(DomainUnproven);
        /// DNS did not prove it for so long that it is taken for nobody's.
        "organization.lapse_domain", 1 => DomainLapsed(DomainLapsed);
        /// An operator deleted it: nothing follows but the destruction of its keys.
        "organization.end", 1 => OrganizationEnded(OrganizationEnded);
        /// Data keys of it were destroyed, after its end.
        "organization.forget", 1 => KeysForgotten(KeysForgotten) destroys destroyed_keys;
        /// Settings were brought back, by the events before this one.
        "organization.restore", 1 => OrganizationRestored(OrganizationRestored);
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
    /// The plan that it was founded with; absent where that limits nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<PlanTaken>,
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

/// DNS proves that the e-mail domain is the organization's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DomainVerified {
    /// The domain.
    pub domain: String,
}

/// DNS does not prove it any more.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DomainUnproven {
    /// The domain.
    pub domain: String,
    /// When it lapses unless DNS proves it again.
    pub lapses_at: Timestamp,
}

/// The domain is not verified any more.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DomainLapsed {
    /// The domain.
    pub domain: String,
}

/// An operator deleted it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OrganizationEnded {}

/// Data keys of it were destroyed, after its end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct KeysForgotten {
    /// The data keys, of whatever they sealed.
    #[schema(value_type = Vec<String>)]
    pub destroyed_keys: Vec<DataKeyId>,
}

impl OrganizationUpdated {
    /// Whether the organization has no e-mail domain any more.
    pub fn clears_domain(&self) -> bool {
        self.cleared.iter().any(|field| field == "email_domain")
    }

    /// Whether it lets people join with a role who could not, or with another one: giving that role to them, so to speak.
    pub fn opens(&self) -> bool {
        self.email_domain.is_some()
            || self.auto_approve_domain_users == Some(true)
            || self.join_role.is_some()
    }
}

/// What of an organization's settings was brought back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RestoredScope {
    /// All of them.
    Organization,
    /// One environment with its configuration.
    Environment,
    /// One thing.
    Resource,
}

/// Settings were brought back. It changes nothing itself: the events before it, of the same command, did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OrganizationRestored {
    /// The version that they were brought back from.
    pub as_of: u64,
    /// What of them.
    pub scope: RestoredScope,
    /// The environment's or the thing's id, or `<id>/<name>` of what is named inside it: a document by what it is found by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// How many events did it.
    pub steps: u64,
}
