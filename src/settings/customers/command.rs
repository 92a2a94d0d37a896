//! Making, changing, suspending, deleting and erasing customers. What is known of one comes sealed; that no two have one
//! external id is for the look-up, which the writer asks (`store/lookup.rs`).

use crate::command::{Context, Need, NewEvent, Rejection};
use crate::event::{Resource, ResourceType, Version};
use crate::ids::{CustomerId, DataKeyId};
use crate::organization::Organization;
use crate::seal::Sealed;
use crate::settings::customers::belongings;
use crate::settings::customers::event::{
    CustomerCreated, CustomerErased, CustomerNamed, CustomerUpdated, CustomersEvent, OPTIONAL,
};
use crate::settings::customers::projection::{Customer, Status};
use crate::settings::roles::permission::Permission;

/// The most customers of an organization.
pub const CUSTOMERS_MAX: usize = 250_000;

/// The most bytes that all that is known of an organization's customers takes, as sealed: it is in memory and in each
/// savepoint.
pub const SEALED_BYTES_MAX: usize = 256 << 20;

/// A command to customers.
#[derive(Clone, Debug)]
pub enum CustomersCommand {
    /// Makes a customer.
    Create(CustomerCreated),
    /// Changes what is known of one.
    Update(UpdateCustomer),
    /// Keeps programs from reading for one.
    Suspend(CustomerId),
    /// Lets them again.
    Reactivate(CustomerId),
    /// Deletes one with all that it has, to be brought back by a restore alone.
    Delete(CustomerId),
    /// Forgets one that is there, or was deleted.
    Erase(CustomerId),
}

/// Changes what is known of a customer; `None` leaves, `Some(None)` clears. A sealed value is always written anew: telling
/// that it is the same would be an oracle.
#[derive(Clone, Debug)]
pub struct UpdateCustomer {
    /// The customer.
    pub customer: CustomerId,
    /// The new name.
    pub name: Option<Sealed>,
    /// The new external id.
    pub external_id: Option<Option<Sealed>>,
    /// All of its tags.
    pub tags: Option<Option<Sealed>>,
    /// All of its metadata.
    pub metadata: Option<Option<Sealed>>,
    /// The version of the customer that this was made from, where it was: what it holds was merged into what that had, or
    /// gives up the external id that it had then.
    pub made_from: Option<Version>,
}

/// Why a command to customers appends nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CustomersRejection {
    /// There is no such customer.
    #[error("there is no such customer")]
    NotFound,
    /// More customers than an organization can have.
    #[error("an organization has at most {CUSTOMERS_MAX} customers")]
    TooManyCustomers,
    /// More is known of them than an organization can keep.
    #[error("what is known of an organization's customers takes at most 256 MiB, as it is sealed")]
    TooMuchKnown,
}

impl CustomersCommand {
    /// What it needs of its actor.
    pub fn need(&self) -> Need {
        Need::Organization(Permission::CustomerManage)
    }

    /// Decides.
    ///
    /// # Errors
    /// [`CustomersRejection`], a failed precondition, or [`Rejection::Stale`].
    pub fn decide(&self, state: &Organization, context: &Context) -> Result<Vec<NewEvent>, Rejection> {
        match self {
            Self::Create(_) if state.customers.len() >= CUSTOMERS_MAX => {
                Err(CustomersRejection::TooManyCustomers.into())
            }
            Self::Create(created) => {
                let known = [&created.external_id, &created.tags, &created.metadata].into_iter().flatten();
                check_room(state.customers.sealed_bytes(), known.chain([&created.name]))?;
                let event = CustomersEvent::CustomerCreated(created.clone());
                Ok(vec![about(created.customer, event).using(created.key)])
            }
            Self::Update(update) => update.decide(state, context),
            Self::Suspend(customer) => {
                let event = CustomersEvent::CustomerSuspended(CustomerNamed { customer: *customer });
                becomes(Status::Suspended, *customer, event, state, context)
            }
            Self::Reactivate(customer) => {
                let event = CustomersEvent::CustomerReactivated(CustomerNamed { customer: *customer });
                becomes(Status::Active, *customer, event, state, context)
            }
            Self::Delete(customer) => {
                live(*customer, state, context)?;
                let deleted = CustomersEvent::CustomerDeleted(CustomerNamed { customer: *customer });
                Ok(vec![about(*customer, deleted)])
            }
            Self::Erase(customer) => erase(*customer, state, context),
        }
    }
}

/// An event about a customer.
pub(super) fn about(customer: CustomerId, event: CustomersEvent) -> NewEvent {
    NewEvent::new(Resource::new(ResourceType::Customer, customer), event)
}

/// Refuses what comes where there is no room for it beside so many bytes. What it takes the place of is not counted
/// against it.
pub(super) fn check_room<'a>(
    known_bytes: usize,
    coming: impl Iterator<Item = &'a Sealed>,
) -> Result<(), CustomersRejection> {
    let coming: usize = coming.map(|sealed| sealed.data.0.len()).sum();
    let has_room = coming == 0 || known_bytes + coming <= SEALED_BYTES_MAX;
    if has_room { Ok(()) } else { Err(CustomersRejection::TooMuchKnown) }
}

/// The customer, as the caller saw it.
fn live<'a>(
    customer: CustomerId,
    state: &'a Organization,
    context: &Context,
) -> Result<&'a Customer, Rejection> {
    let current = state.customers.get(customer).ok_or(CustomersRejection::NotFound)?;
    context.check_version(current.version)?;
    Ok(current)
}

/// The customer has another status from now on.
fn becomes(
    status: Status,
    customer: CustomerId,
    event: CustomersEvent,
    state: &Organization,
    context: &Context,
) -> Result<Vec<NewEvent>, Rejection> {
    let current = live(customer, state, context)?;
    Ok(if current.status == status { Vec::new() } else { vec![about(customer, event)] })
}

impl UpdateCustomer {
    fn decide(&self, state: &Organization, context: &Context) -> Result<Vec<NewEvent>, Rejection> {
        let current = live(self.customer, state, context)?;
        if self.made_from.is_some_and(|version| version != current.version) {
            return Err(Rejection::Stale);
        }
        let new = [&self.external_id, &self.tags, &self.metadata];
        let fields = OPTIONAL.into_iter().zip(new).zip(current.optional());
        let cleared = fields.filter(|((_, new), old)| **new == Some(None) && old.is_some());
        let updated = CustomerUpdated {
            name: self.name.clone(),
            external_id: self.external_id.clone().flatten(),
            tags: self.tags.clone().flatten(),
            metadata: self.metadata.clone().flatten(),
            cleared: cleared.map(|((field, _), _)| field.to_owned()).collect(),
            ..CustomerUpdated::of(self.customer)
        };
        if updated == CustomerUpdated::of(self.customer) {
            return Ok(Vec::new());
        }
        check_room(state.customers.sealed_bytes(), updated.sealed())?;
        Ok(vec![about(self.customer, CustomersEvent::CustomerUpdated(updated))])
    }
}

fn erase(customer: CustomerId, state: &Organization, context: &Context) -> Result<Vec<NewEvent>, Rejection> {
    let (key, version) = match (state.customers.get(customer), state.customers.former(customer)) {
        (Some(current), _) => (Some(current.key), current.version),
        (None, Some(former)) => (former.key.map(|key| key.id), former.version),
        (None, None) => return Err(CustomersRejection::NotFound.into()),
    };
    context.check_version(version)?;
    Ok(key.map(|key| erased(state, customer, key)).into_iter().collect())
}

/// That a customer is forgotten: its key is destroyed, and those of all that it has.
pub fn erased(state: &Organization, customer: CustomerId, key: DataKeyId) -> NewEvent {
    let destroyed_keys = std::iter::once(key).chain(belongings::keys(state, customer)).collect();
    about(customer, CustomersEvent::CustomerErased(CustomerErased { customer, destroyed_keys }))
}

#[cfg(test)]
#[path = "command_tests.rs"]
mod tests;
