//! Bringing customers' documents back: by the version of the event that has what they said, which the customer's key still
//! opens. So a step is some bytes, however long the document.

use crate::command::Need;
use crate::event::ResourceType;
use crate::history::description::{Change, Difference, Subject};
use crate::history::restore::plan::{Outlook, Phase, Plan, Step};
use crate::ids::CustomerId;
use crate::settings::customer_data::command::{ALL_DOCUMENTS_MAX, DOCUMENTS_MAX, about};
use crate::settings::customer_data::event::{Content, CustomerDataEvent, DocumentDeleted, DocumentSet};
use crate::settings::roles::permission::Permission;

/// What each step stands for.
const NEED: Need = Need::Organization(Permission::CustomerDataWrite);

/// Plans the steps that make differences go. Customers have planned theirs before.
pub(super) fn restore(differences: &[Difference], outlook: &Outlook<'_>, plan: &mut Plan) {
    // Where there may be no room for all, these are the documents of one customer. What goes makes room first.
    let goes = differences.iter().filter(|difference| difference.change == Change::Deleted).count();
    let mut comes = 0;
    for difference in differences {
        let Subject { id, name: Some(document), .. } = &difference.subject else { continue };
        let Ok(customer) = id.parse::<CustomerId>() else { continue };
        if outlook.stays(customer) {
            continue;
        }
        let of_customer = plan.change_of(&Subject::new(ResourceType::Customer, customer));
        let present = outlook.present.customer_data.get(customer, document);
        let document = document.clone();
        let Some(past) = outlook.past.customer_data.get(customer, &document) else {
            // What came since goes; with its customer, where that goes.
            if of_customer != Some(Change::Deleted) {
                let key = present.and_then(|present| present.key.clone());
                let event =
                    about(CustomerDataEvent::DocumentDeleted(DocumentDeleted { customer, document, key }));
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
        let is_new = present.is_none();
        if is_new && !outlook.whole {
            let documents = &outlook.present.customer_data;
            let there = [documents.of(customer).count(), documents.len()];
            if is_full(there.map(|count| count + comes - goes)) {
                plan.cannot(difference, "too_many_documents");
                continue;
            }
            comes += 1;
        }
        let (key, content) = (past.key.clone(), Content::Recorded(past.recorded));
        let event = about(CustomerDataEvent::DocumentSet(DocumentSet { customer, document, key, content }));
        let phase = if is_new { Phase::Creates } else { Phase::Updates };
        plan.step(phase, Step::new(difference, event, NEED));
    }
}

/// Whether a customer has as many documents as one can have, or all customers as all of them can.
fn is_full([of_customer, of_all]: [usize; 2]) -> bool {
    of_customer >= DOCUMENTS_MAX || of_all >= ALL_DOCUMENTS_MAX
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Event;
    use crate::given::{founded, has_customer, id, organization, sealed};
    use crate::history::description::Focus;
    use crate::history::restore::plan::plan;
    use crate::organization::Organization;

    /// An organization with a customer who has documents of these names.
    fn acme(names: impl IntoIterator<Item = String>) -> Organization {
        let documents = names.into_iter().map(|document| {
            let content = Content::Value(sealed(1));
            let set = DocumentSet { customer: id(1), document, key: Some(sealed(1)), content };
            Event::CustomerData(CustomerDataEvent::DocumentSet(set))
        });
        organization(founded().into_iter().chain([has_customer(1)]).chain(documents))
    }

    fn names(prefix: &str, count: usize) -> impl Iterator<Item = String> {
        (0..count).map(move |number| format!("{prefix}{number}"))
    }

    /// How many steps bring back what is meant, and how much does not come back.
    fn planned(past: &Organization, present: &Organization, focus: &Focus) -> (usize, usize) {
        let (steps, cannot) = plan(past, present, focus, false).finish();
        (steps.len(), cannot.len())
    }

    #[test]
    fn what_goes_makes_room_for_what_comes_back_and_no_more_than_that() {
        let (past, customer) = (acme(names("a", DOCUMENTS_MAX)), id::<CustomerId>(1).to_string());
        let whole = Focus::Resource(customer.clone());
        let present = acme(names("b", DOCUMENTS_MAX));
        assert_eq!(planned(&past, &present, &whole), (2 * DOCUMENTS_MAX, 0), "all others");
        let one = Focus::Named(customer, "a0".to_owned());
        assert_eq!(planned(&past, &present, &one), (0, 1), "nothing goes");
        let present = acme(names("b", DOCUMENTS_MAX - 1));
        assert_eq!(planned(&past, &present, &one), (1, 0));
        for (there, full) in [
            ([DOCUMENTS_MAX - 1, ALL_DOCUMENTS_MAX - 1], false),
            ([DOCUMENTS_MAX, DOCUMENTS_MAX], true),
            ([1, ALL_DOCUMENTS_MAX], true),
        ] {
            assert_eq!(is_full(there), full, "{there:?}");
        }
    }
}
