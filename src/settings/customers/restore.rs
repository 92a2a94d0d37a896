//! Bringing customers back as they were: under the keys that they had, so that what was sealed then is recorded again as it
//! was. Who was erased does not come back.

use crate::command::Need;
use crate::history::description::Difference;
use crate::history::restore::plan::{Outlook, Phase, Plan, Step};
use crate::ids::CustomerId;
use crate::settings::customers::command::{CUSTOMERS_MAX, SEALED_BYTES_MAX, about};
use crate::settings::customers::event::{
    CustomerCreated, CustomerNamed, CustomerUpdated, CustomersEvent, OPTIONAL,
};
use crate::settings::customers::projection::{Customer, Status};
use crate::settings::roles::permission::Permission;

/// What each step stands for.
const NEED: Need = Need::Organization(Permission::CustomerManage);

/// Plans the steps that make differences go. That an external id is another's by now only the look-up knows: whoever
/// prepares the plan asks it.
pub(super) fn restore(differences: &[Difference], outlook: &Outlook<'_>, plan: &mut Plan) {
    for difference in differences {
        let Ok(id) = difference.subject.id.parse::<CustomerId>() else { continue };
        match (outlook.past.customers.get(id), outlook.present.customers.get(id)) {
            (None, Some(_)) if outlook.stays(id) => {}
            (None, Some(_)) => {
                let deleted = CustomersEvent::CustomerDeleted(CustomerNamed { customer: id });
                plan.step(Phase::Deletes, Step::new(difference, about(id, deleted), NEED));
            }
            (Some(past), None) => match refusal(id, outlook) {
                Some(why) => plan.cannot(difference, why),
                None => {
                    let event = about(id, CustomersEvent::CustomerCreated(created(past)));
                    plan.step(Phase::Creates, Step::new(difference, event, NEED));
                }
            },
            (Some(past), Some(present)) => update(difference, past, present, plan),
            (None, None) => {}
        }
    }
}

/// Why a customer that is none any more does not come back.
fn refusal(id: CustomerId, outlook: &Outlook<'_>) -> Option<&'static str> {
    let customers = &outlook.present.customers;
    if customers.is_erased(id) {
        return Some("erased");
    }
    let is_full = customers.len() >= CUSTOMERS_MAX || customers.sealed_bytes() >= SEALED_BYTES_MAX;
    (!outlook.whole && is_full).then_some("too_many_customers")
}

fn created(past: &Customer) -> CustomerCreated {
    CustomerCreated {
        customer: past.id,
        key: past.key,
        name: past.name.clone(),
        external_id: past.external_id.clone(),
        tags: past.tags.clone(),
        metadata: past.metadata.clone(),
        suspended: past.status == Status::Suspended,
    }
}

fn update(difference: &Difference, past: &Customer, present: &Customer, plan: &mut Plan) {
    let id = past.id;
    if past.status != present.status {
        let named = CustomerNamed { customer: id };
        let event = match past.status {
            Status::Active => CustomersEvent::CustomerReactivated(named),
            Status::Suspended => CustomersEvent::CustomerSuspended(named),
        };
        let step = Step::new(difference, about(id, event), NEED);
        plan.step(Phase::Updates, step.without(&["name"]).without(&OPTIONAL));
    }
    let differs = |field: &str| difference.fields.iter().any(|change| change.field == field);
    let cleared = OPTIONAL.into_iter().zip(past.optional());
    let updated = CustomerUpdated {
        name: Some(past.name.clone()).filter(|_| differs("name")),
        external_id: past.external_id.clone().filter(|_| differs("external_id")),
        tags: past.tags.clone().filter(|_| differs("tags")),
        metadata: past.metadata.clone().filter(|_| differs("metadata")),
        cleared: cleared
            .filter(|(field, then)| then.is_none() && differs(field))
            .map(|(field, _)| field.to_owned())
            .collect(),
        ..CustomerUpdated::of(id)
    };
    if updated != CustomerUpdated::of(id) {
        let event = about(id, CustomersEvent::CustomerUpdated(updated));
        plan.step(Phase::Updates, Step::new(difference, event, NEED).without(&["suspended"]));
    }
}
