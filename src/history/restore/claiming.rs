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
use crate::settings::customers::event::{CustomersEvent, EXTERNAL_ID};
use crate::settings::customers::profile::Opener;
use crate::settings::customers::projection::Customers;
use crate::store::Store;
use crate::store::brought::Brought;
use crate::store::lookup::Claim;
use crate::store::resident::Handle;

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
    store.know_external_ids(handle)?;
    let claim_of = |meant: bool, customers, id| match meant {
        true => held(store, handle, customers, id),
        false => Ok(None),
    };
    let mut exchanges = Vec::new();
    for Move { step, customer, gives_up, takes } in moves {
        let released = claim_of(gives_up, &present.customers, customer)?;
        let claimed = claim_of(takes, &past.customers, customer)?;
        exchanges.push(Exchange { step, released, claimed });
    }
    let view = handle.view();
    let mut left_out = Vec::new();
    // Whoever does not get theirs keeps what they have, which another may have counted on.
    loop {
        let releases: Vec<Claim> =
            exchanges.iter().filter_map(|exchange| exchange.released.clone()).collect();
        let admitted = |exchange: &Exchange| {
            exchange.claimed.as_ref().is_none_or(|claim| view.lookup.admits(claim, &releases))
        };
        let (remain, refused): (Vec<_>, Vec<_>) = exchanges.into_iter().partition(admitted);
        exchanges = remain;
        if refused.is_empty() {
            brought.releases.extend(releases);
            break;
        }
        left_out.extend(refused.into_iter().map(|exchange| exchange.step));
    }
    brought.claims.extend(exchanges.into_iter().filter_map(|exchange| exchange.claimed));
    left_out.sort_unstable();
    for at in left_out.into_iter().rev() {
        let Step { subject, shown, .. } = &steps[at];
        cannot.push(Cannot { subject: subject.clone(), shown: shown.clone(), why: "external_id_taken" });
        if steps[at].leave_out(EXTERNAL_ID, |event| external_id(event).map(|id| *id = None).is_some()) {
            steps.remove(at);
        }
    }
    Ok(())
}

/// The external ids that a step gives up and takes.
struct Exchange {
    step: usize,
    released: Option<Claim>,
    claimed: Option<Claim>,
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
                (updated.customer, takes || updated.clears(EXTERNAL_ID), takes)
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
