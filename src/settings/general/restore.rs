//! Bringing the organization's own settings back.

use crate::command::{Need, NewEvent};
use crate::event::{Resource, ResourceType};
use crate::history::description::Difference;
use crate::history::restore::plan::{Outlook, Phase, Plan, Step};
use crate::settings::general::event::{GeneralEvent, OrganizationUpdated};
use crate::settings::general::projection::{EmailDomainState, Founded};
use crate::settings::roles::access::given;
use crate::settings::roles::permission::Permission;

/// The fields that an e-mail domain is told as.
const DOMAIN: [&str; 2] = ["email_domain", "email_domain_challenge"];

/// Plans the steps that make differences go.
pub(super) fn restore(differences: &[Difference], outlook: &Outlook<'_>, plan: &mut Plan) {
    for difference in differences {
        let (Some(past), Some(present)) = (outlook.past.general.founded(), outlook.present.general.founded())
        else {
            plan.cannot(difference, "not_founded");
            continue;
        };
        let differs = |field: &str| difference.fields.iter().any(|change| change.field == field);
        let mut updated = OrganizationUpdated {
            name: differs("name").then(|| past.name.clone()),
            timezone: differs("timezone").then(|| past.timezone.clone()),
            auto_approve_domain_users: differs("auto_approve_domain_users")
                .then_some(past.auto_approve_domain_users),
            join_role: differs("join_role").then_some(past.join_role),
            ..OrganizationUpdated::default()
        };
        if DOMAIN.into_iter().any(differs) {
            match &past.email_domain {
                Some(domain) => {
                    updated.email_domain = Some(domain.domain.clone());
                    updated.email_domain_challenge = Some(domain.challenge.clone());
                }
                None => updated.cleared.push("email_domain".to_owned()),
            }
        }
        let mut kept = Vec::new();
        let is_verified =
            |founded: &Founded| founded.email_domain.as_ref().is_some_and(EmailDomainState::is_verified);
        let stays_verified = is_verified(present) && !DOMAIN.into_iter().any(differs);
        if is_verified(past) != stays_verified {
            plan.cannot(difference, "proven_by_dns");
            kept.push("email_domain_verified");
        }
        if updated.join_role.is_some_and(|role| outlook.role(role).is_none()) {
            plan.cannot(difference, "role_gone");
            updated.join_role = None;
            kept.push("join_role");
        }
        if updated == OrganizationUpdated::default() {
            continue;
        }
        let name = updated.name.as_ref().unwrap_or(&present.name).clone();
        let role = updated.join_role.unwrap_or(present.join_role);
        let gives =
            outlook.role(role).filter(|_| updated.opens()).map(|permissions| given(permissions, None));
        let event = NewEvent::new(
            Resource::named(ResourceType::Organization, present.organization, name),
            GeneralEvent::OrganizationUpdated(updated),
        );
        let step = Step::new(difference, event, Need::Organization(Permission::OrganizationUpdate));
        plan.step(Phase::Updates, step.without(&kept).giving(gives));
    }
}
