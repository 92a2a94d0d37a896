//! External ids of customers that a plan brings back or gives up: what the writer's look-up is asked, and what is left out of
//! the plan because it is another's by now.

use std::sync::Arc;

use crate::event::Event;
use crate::history::restore::PrepareError;
use crate::history::restore::plan::{Cannot, Step};
use crate::ids::CustomerId;
use crate::organization::Organization;
use crate::seal::Sealed;
use crate::seal::keyring::KeyError;
use crate::settings::customers::event::CustomersEvent;
use crate::settings::customers::profile::Opener;
use crate::settings::customers::projection::Customers;
use crate::store::Store;
use crate::store::brought::Brought;
use crate::store::lookup::Claim;
use crate::store::resident::Handle;

/// The field that is unique.
const FIELD: &str = "external_id";

/// Adds to what a plan brings the external ids that come and go with its steps; one that is another's stays away, and the
/// plan says so. Blocks.
///
/// # Errors
/// When one cannot be opened, or the look-up not be made.
pub fn claim(
    store: &Store,
    handle: &Arc<Handle>,
    (past, present): (&Organization, &Organization),
    (steps, cannot): (&mut Vec<Step>, &mut Vec<Cannot>),
    brought: &mut Brought,
) -> Result<(), PrepareError> {
    let moves: Vec<Move> = steps.iter().enumerate().filter_map(Move::of).collect();
    if moves.is_empty() {
        return Ok(());
    }
    store.know_customers(handle)?;
    let held = |customers, id| held(store, handle, customers, id);
    for Move { customer, .. } in moves.iter().filter(|moved| moved.gives_up) {
        brought.releases.extend(held(&present.customers, *customer)?);
    }
    let view = handle.view();
    let mut left_out = Vec::new();
    for Move { step, customer, .. } in moves.iter().filter(|moved| moved.takes) {
        let Some(claim) = held(&past.customers, *customer)? else { continue };
        let holds = |owner: &str| view.state.holds_a_value(owner);
        if view.lookup.admits(&claim, &brought.releases, holds) {
            brought.claims.push(claim);
        } else {
            left_out.push(*step);
        }
    }
    for at in left_out.into_iter().rev() {
        let Step { subject, shown, .. } = &steps[at];
        cannot.push(Cannot { subject: subject.clone(), shown: shown.clone(), why: "external_id_taken" });
        if steps[at].leave_out(FIELD, |event| external_id(event).map(|id| *id = None).is_some()) {
            steps.remove(at);
        }
    }
    Ok(())
}

/// A step by which an external id comes or goes.
struct Move {
    step: usize,
    customer: CustomerId,
    gives_up: bool,
    takes: bool,
}

impl Move {
    fn of((step, planned): (usize, &Step)) -> Option<Self> {
        let Event::Customers(event) = &planned.event.event else { return None };
        let (customer, gives_up, takes) = match event {
            CustomersEvent::CustomerCreated(created) => {
                (created.customer, false, created.external_id.is_some())
            }
            CustomersEvent::CustomerUpdated(updated) => {
                let takes = updated.external_id.is_some();
                (updated.customer, takes || updated.clears(FIELD), takes)
            }
            CustomersEvent::CustomerDeleted(deleted) => (deleted.customer, true, false),
            CustomersEvent::CustomerSuspended(_)
            | CustomersEvent::CustomerReactivated(_)
            | CustomersEvent::CustomerErased(_) => return None,
        };
        (gives_up || takes).then_some(Self { step, customer, gives_up, takes })
    }
}

/// The external id that a customer has in a state.
fn held(
    store: &Store,
    handle: &Handle,
    customers: &Customers,
    id: CustomerId,
) -> Result<Option<Claim>, KeyError> {
    let Some(customer) = customers.get(id).filter(|customer| customer.external_id.is_some()) else {
        return Ok(None);
    };
    let external_id = Opener::of(handle.stream(), customer, store.ring())?.external_id()?;
    let text = external_id.as_ref().and_then(|plain| plain.as_str().ok());
    Ok(text.map(|text| store.external_id(id, text)))
}

fn external_id(event: &mut Event) -> Option<&mut Option<Sealed>> {
    match event {
        Event::Customers(CustomersEvent::CustomerCreated(created)) => Some(&mut created.external_id),
        Event::Customers(CustomersEvent::CustomerUpdated(updated)) => Some(&mut updated.external_id),
        _ => None,
    }
}
