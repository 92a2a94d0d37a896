//! Writing and deleting customers' documents. Their keys and what they say come sealed.

use crate::command::{Context, Need, NewEvent, Rejection};
use crate::event::{Resource, ResourceType};
use crate::ids::CustomerId;
use crate::organization::Organization;
use crate::seal::Sealed;
use crate::settings::customer_data::event::{Content, CustomerDataEvent, DocumentDeleted, DocumentSet};
use crate::settings::roles::access::grants;
use crate::settings::roles::permission::Permission;

/// The most documents of a customer.
pub const DOCUMENTS_MAX: usize = 1_000;
/// The most documents of all customers of an organization: each has some 400 bytes in memory.
pub const ALL_DOCUMENTS_MAX: usize = 500_000;

/// A command to customers' documents.
#[derive(Clone, Debug)]
pub enum CustomerDataCommand {
    /// Writes one.
    Set(SetDocument),
    /// Deletes one.
    Delete(DeleteDocument),
}

/// Writes a document. A sealed value is always written anew: telling that it is the same would be an oracle.
#[derive(Clone, Debug)]
pub struct SetDocument {
    /// Whose.
    pub customer: CustomerId,
    /// What it is found by.
    pub document: String,
    /// Its key, under the customer's; `None` of one that is there, and is found by the key itself.
    pub key: Option<Sealed>,
    /// What it says, under the customer's key.
    pub value: Sealed,
}

/// Deletes a document.
#[derive(Clone, Debug)]
pub struct DeleteDocument {
    /// Whose.
    pub customer: CustomerId,
    /// What it is found by.
    pub document: String,
}

/// Why a command to customers' documents appends nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CustomerDataRejection {
    /// There is no such customer.
    #[error("there is no such customer")]
    UnknownCustomer,
    /// The customer has no such document.
    #[error("the customer has no such document")]
    NotFound,
    /// More documents than there can be.
    #[error(
        "a customer has at most {DOCUMENTS_MAX} documents, and all customers at most {ALL_DOCUMENTS_MAX}"
    )]
    TooManyDocuments,
}

impl CustomerDataCommand {
    /// What it needs of its actor; whether it reaches the customer, `decide` asks.
    pub fn need(&self) -> Need {
        Need::Organization(Permission::CustomerDataWrite)
    }

    /// Decides.
    ///
    /// # Errors
    /// [`CustomerDataRejection`] or a failed precondition.
    pub fn decide(&self, state: &Organization, context: &Context) -> Result<Vec<NewEvent>, Rejection> {
        match self {
            Self::Set(command) => command.decide(state, context),
            Self::Delete(command) => command.decide(state, context),
        }
    }
}

/// An event about a document, which is called what it is found by.
pub(super) fn about(event: CustomerDataEvent) -> NewEvent {
    let resource = Resource::named(ResourceType::CustomerData, event.customer(), event.document());
    NewEvent::new(resource, event)
}

/// Refuses whose customer is not there for the actor.
fn check_customer(
    state: &Organization,
    context: &Context,
    customer: CustomerId,
) -> Result<(), CustomerDataRejection> {
    let is_there = state.customers.get(customer).is_some();
    let reaches = is_there && grants(state, context.actor.id).reaches(customer);
    if reaches { Ok(()) } else { Err(CustomerDataRejection::UnknownCustomer) }
}

impl SetDocument {
    fn decide(&self, state: &Organization, context: &Context) -> Result<Vec<NewEvent>, Rejection> {
        let customer = self.customer;
        check_customer(state, context, customer)?;
        let documents = &state.customer_data;
        let current = documents.get(customer, &self.document);
        context.check_version(current.map_or(0, |current| current.version))?;
        let is_full =
            || documents.of(customer).count() >= DOCUMENTS_MAX || documents.len() >= ALL_DOCUMENTS_MAX;
        if current.is_none() && is_full() {
            return Err(CustomerDataRejection::TooManyDocuments.into());
        }
        // Nothing is called by a key in the clear that is not so already.
        if current.is_none() && self.key.is_none() {
            return Err(CustomerDataRejection::NotFound.into());
        }
        let set = DocumentSet {
            customer,
            document: self.document.clone(),
            key: current.map_or_else(|| self.key.clone(), |current| current.key.clone()),
            content: Content::Value(self.value.clone()),
        };
        Ok(vec![about(CustomerDataEvent::DocumentSet(set))])
    }
}

impl DeleteDocument {
    fn decide(&self, state: &Organization, context: &Context) -> Result<Vec<NewEvent>, Rejection> {
        let (customer, document) = (self.customer, self.document.clone());
        check_customer(state, context, customer)?;
        let current = state.customer_data.get(customer, &document).ok_or(CustomerDataRejection::NotFound)?;
        context.check_version(current.version)?;
        let deleted = DocumentDeleted { customer, document, key: current.key.clone() };
        Ok(vec![about(CustomerDataEvent::DocumentDeleted(deleted))])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::PreconditionFailed;
    use crate::event::Event;
    use crate::given::{by, by_having_seen, events, founded, has_customer, id, organization, person, sealed};
    use crate::settings::customers::event::{CustomerNamed, CustomersEvent};

    fn set(customer: u128, document: &str) -> CustomerDataCommand {
        CustomerDataCommand::Set(SetDocument {
            customer: id(customer),
            document: document.to_owned(),
            key: Some(sealed(customer)),
            value: sealed(customer),
        })
    }

    fn delete(customer: u128, document: &str) -> CustomerDataCommand {
        let document = document.to_owned();
        CustomerDataCommand::Delete(DeleteDocument { customer: id(customer), document })
    }

    fn said(customer: u128, document: &str, content: Content) -> DocumentSet {
        let key = Some(sealed(customer));
        DocumentSet { customer: id(customer), document: document.to_owned(), key, content }
    }

    fn happened(set: DocumentSet) -> Event {
        Event::CustomerData(CustomerDataEvent::DocumentSet(set))
    }

    fn was_set(customer: u128, document: &str) -> Event {
        happened(said(customer, document, Content::Value(sealed(customer))))
    }

    /// Acme with the customers 1 and 2: version 5.
    fn acme(more: impl IntoIterator<Item = Event>) -> Organization {
        organization(founded().into_iter().chain([has_customer(1), has_customer(2)]).chain(more))
    }

    fn decide(command: &CustomerDataCommand, state: &Organization) -> Result<Vec<Event>, Rejection> {
        events(command.decide(state, &by(person(id(1)))))
    }

    #[test]
    fn a_document_is_written_each_time_and_deleted_once() {
        assert_eq!(decide(&set(1, "a"), &acme([])), Ok(vec![was_set(1, "a")]));
        let state = acme([was_set(1, "a")]);
        assert_eq!(decide(&set(1, "a"), &state), Ok(vec![was_set(1, "a")]), "also with what it says already");
        let deleted = decide(&delete(1, "a"), &state).unwrap();
        assert_eq!(decide(&delete(2, "a"), &state), Err(CustomerDataRejection::NotFound.into()));
        let state = acme([was_set(1, "a")].into_iter().chain(deleted));
        assert_eq!(decide(&delete(1, "a"), &state), Err(CustomerDataRejection::NotFound.into()));
    }

    #[test]
    fn what_is_called_by_its_key_in_the_clear_stays_so_and_nothing_becomes_so() {
        let clear = SetDocument { customer: id(1), document: "a".to_owned(), key: None, value: sealed(1) };
        let clear = CustomerDataCommand::Set(clear);
        assert_eq!(decide(&clear, &acme([])), Err(CustomerDataRejection::NotFound.into()));
        let before = || DocumentSet { key: None, ..said(1, "a", Content::Value(sealed(1))) };
        let state = acme([happened(before())]);
        assert_eq!(decide(&clear, &state), Ok(vec![happened(before())]));
    }

    #[test]
    fn a_document_keeps_the_ciphertext_of_its_key() {
        let first = DocumentSet { key: Some(sealed(7)), ..said(1, "a", Content::Value(sealed(1))) };
        let state = acme([happened(first.clone())]);
        assert_eq!(decide(&set(1, "a"), &state), Ok(vec![happened(first)]));
        let deleted = decide(&delete(1, "a"), &state).unwrap().remove(0);
        let Event::CustomerData(deleted) = deleted else { panic!() };
        assert_eq!(deleted.key(), Some(&sealed(7)));
    }

    #[test]
    fn what_is_there_is_the_newest_or_what_came_back() {
        let state = acme([was_set(1, "a"), was_set(1, "a")]);
        assert_eq!(state.customer_data.get(id(1), "a").map(|document| document.recorded), Some(7));
        let back = happened(said(1, "a", Content::Recorded(6)));
        let state = acme([was_set(1, "a"), was_set(1, "a"), back]);
        let document = state.customer_data.get(id(1), "a").unwrap();
        assert_eq!((document.recorded, document.version), (6, 8));
    }

    #[test]
    fn who_goes_has_no_documents_any_more() {
        let gone = CustomersEvent::CustomerDeleted(CustomerNamed { customer: id(1) });
        let state = acme([was_set(1, "a"), was_set(2, "a"), Event::Customers(gone)]);
        assert_eq!(state.customer_data.len(), 1);
        let unknown = || Err(CustomerDataRejection::UnknownCustomer.into());
        assert_eq!(decide(&set(1, "a"), &state), unknown());
        assert_eq!(decide(&delete(1, "a"), &state), unknown());
        let back = acme([
            was_set(1, "a"),
            Event::Customers(CustomersEvent::CustomerDeleted(CustomerNamed { customer: id(1) })),
            has_customer(1),
        ]);
        assert_eq!(back.customer_data.len(), 0, "they come back by steps of their own");
    }

    #[test]
    fn a_customer_has_so_many_documents_and_no_more() {
        let state = acme((0..DOCUMENTS_MAX).map(|number| was_set(1, &format!("k{number}"))));
        assert_eq!(decide(&set(1, "more"), &state), Err(CustomerDataRejection::TooManyDocuments.into()));
        assert!(decide(&set(1, "k0"), &state).is_ok(), "it is there");
        assert!(decide(&set(2, "more"), &state).is_ok(), "another's");
    }

    #[test]
    fn what_was_seen_must_still_be_so() {
        let state = acme([was_set(1, "a")]);
        for command in [set(1, "a"), delete(1, "a")] {
            let decide = |seen| command.decide(&state, &by_having_seen(person(id(1)), seen));
            assert_eq!(decide(5), Err(PreconditionFailed.into()), "{command:?}");
            assert!(decide(6).is_ok(), "{command:?}");
        }
    }
}
