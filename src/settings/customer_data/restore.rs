//! Bringing customers' documents back: by the version of the event that has what they said, which the customer's key still
//! opens. So a step is some bytes, however long the document.

use crate::command::Need;
use crate::event::ResourceType;
use crate::history::description::{Change, Difference, Subject};
use crate::history::restore::plan::{Outlook, Phase, Plan, Step};
use crate::ids::CustomerId;
use crate::settings::customer_data::command::{ALL_DOCUMENTS_MAX, DOCUMENTS_MAX, about};
use crate::settings::customer_data::event::{CustomerDataEvent, DocumentDeleted, DocumentSet};
use crate::settings::roles::permission::Permission;

/// What each step stands for.
const NEED: Need = Need::Organization(Permission::CustomerDataWrite);

/// Plans the steps that make differences go. Customers have planned theirs before.
pub(super) fn restore(differences: &[Difference], outlook: &Outlook<'_>, plan: &mut Plan) {
    for difference in differences {
        let Subject { id, name: Some(key), .. } = &difference.subject else { continue };
        let Ok(customer) = id.parse::<CustomerId>() else { continue };
        if outlook.stays(customer) {
            continue;
        }
        let of_customer = plan.change_of(&Subject::new(ResourceType::Customer, customer));
        let Some(past) = outlook.past.customer_data.get(customer, key) else {
            // What came since goes; with its customer, where that goes.
            if of_customer != Some(Change::Deleted) {
                let deleted = DocumentDeleted { customer, key: key.clone() };
                let event = about(customer, key, CustomerDataEvent::DocumentDeleted(deleted));
                plan.step(Phase::Deletes, Step::new(difference, event, NEED));
            }
            continue;
        };
        let will_exist =
            of_customer == Some(Change::Created) || outlook.present.customers.get(customer).is_some();
        if !will_exist {
            // What keeps the customer away is told of the customer, where that is meant, too.
            if outlook.single {
                plan.cannot(difference, "customer_gone");
            }
            continue;
        }
        let is_new = outlook.present.customer_data.get(customer, key).is_none();
        if is_new && !outlook.whole && is_full(customer, outlook) {
            plan.cannot(difference, "too_many_documents");
            continue;
        }
        let set = DocumentSet { customer, key: key.clone(), value: None, recorded: Some(past.recorded) };
        let event = about(customer, key, CustomerDataEvent::DocumentSet(set));
        let phase = if is_new { Phase::Creates } else { Phase::Updates };
        plan.step(phase, Step::new(difference, event, NEED));
    }
}

fn is_full(customer: CustomerId, outlook: &Outlook<'_>) -> bool {
    let documents = &outlook.present.customer_data;
    documents.of(customer).count() >= DOCUMENTS_MAX || documents.len() >= ALL_DOCUMENTS_MAX
}
