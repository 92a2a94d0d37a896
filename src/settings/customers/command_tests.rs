//! What is decided of customers.

use super::*;
use crate::area::Fold;
use crate::command::PreconditionFailed;
use crate::event::Event;
use crate::given::{
    by, by_having_seen, customer, environment, events, founded, has_customer, id, organization, person,
    sealed,
};
use crate::settings::customers::projection::Customers;
use crate::settings::environments::event::Mode;
use crate::settings::secrets::event::{SecretCreated, SecretsEvent};

/// Acme with customer 1, which is the event 4.
fn acme(more: impl IntoIterator<Item = Event>) -> Organization {
    organization(founded().into_iter().chain([has_customer(1)]).chain(more))
}

fn said(event: CustomersEvent) -> Event {
    Event::Customers(event)
}

fn named(number: u128) -> CustomerNamed {
    CustomerNamed { customer: id(number) }
}

fn suspended() -> Event {
    said(CustomersEvent::CustomerSuspended(named(1)))
}

fn deleted() -> Event {
    said(CustomersEvent::CustomerDeleted(named(1)))
}

fn erased_with(keys: &[u128]) -> Event {
    let destroyed_keys = keys.iter().map(|key| id(*key)).collect();
    said(CustomersEvent::CustomerErased(CustomerErased { customer: id(1), destroyed_keys }))
}

fn secret_of(customer: u128, number: u128) -> Event {
    Event::Secrets(SecretsEvent::SecretCreated(SecretCreated {
        secret: id(number),
        name: format!("S{number}"),
        environment: Some(id(1)),
        customer: Some(id(customer)),
        modes: Vec::new(),
        description: None,
        sealed_description: None,
        expires_at: None,
        value_version: 1,
        value: sealed(number),
        copied_from: None,
    }))
}

fn update() -> UpdateCustomer {
    UpdateCustomer {
        customer: id(1),
        name: None,
        external_id: None,
        tags: None,
        metadata: None,
        made_from: None,
    }
}

fn decide(command: &CustomersCommand, state: &Organization) -> Result<Vec<Event>, Rejection> {
    events(command.decide(state, &by(person(id(1)))))
}

#[test]
fn a_customer_is_made_with_its_key() {
    let created = CustomersCommand::Create(customer(2)).decide(&acme([]), &by(person(id(1)))).unwrap();
    assert_eq!(created[0].uses, [id(2)]);
    assert_eq!(created[0].resource, Resource::new(ResourceType::Customer, id::<CustomerId>(2)));
    assert_eq!(created[0].event, has_customer(2));
}

#[test]
fn what_is_sealed_is_written_anew_and_what_is_not_there_is_not_cleared() {
    let state = acme([]);
    let name = UpdateCustomer { name: Some(sealed(1)), ..update() };
    let renamed = CustomerUpdated { name: Some(sealed(1)), ..CustomerUpdated::of(id(1)) };
    let renamed = said(CustomersEvent::CustomerUpdated(renamed));
    assert_eq!(decide(&CustomersCommand::Update(name), &state), Ok(vec![renamed]));
    let clears = UpdateCustomer { tags: Some(None), external_id: Some(None), ..update() };
    assert_eq!(decide(&CustomersCommand::Update(clears.clone()), &state), Ok(vec![]));
    let tagged = CustomerUpdated { tags: Some(sealed(2)), ..CustomerUpdated::of(id(1)) };
    let state = acme([said(CustomersEvent::CustomerUpdated(tagged))]);
    let cleared = CustomerUpdated { cleared: vec!["tags".to_owned()], ..CustomerUpdated::of(id(1)) };
    let cleared = said(CustomersEvent::CustomerUpdated(cleared));
    assert_eq!(decide(&CustomersCommand::Update(clears), &state), Ok(vec![cleared.clone()]));
    assert_eq!(acme([cleared]).customers.get(id(1)).unwrap().tags, None);
    assert_eq!(decide(&CustomersCommand::Update(update()), &state), Ok(vec![]));
}

#[test]
fn a_change_that_was_made_from_another_version_is_stale() {
    let of = |made_from| UpdateCustomer { tags: Some(Some(sealed(2))), made_from, ..update() };
    let state = acme([suspended()]);
    assert_eq!(decide(&CustomersCommand::Update(of(Some(4))), &state), Err(Rejection::Stale));
    assert!(decide(&CustomersCommand::Update(of(Some(5))), &state).is_ok());
    assert!(decide(&CustomersCommand::Update(of(None)), &state).is_ok());
}

#[test]
fn a_customer_is_suspended_once_and_reactivated_once() {
    let (suspend, reactivate) = (CustomersCommand::Suspend(id(1)), CustomersCommand::Reactivate(id(1)));
    let reactivated = said(CustomersEvent::CustomerReactivated(named(1)));
    assert_eq!(decide(&reactivate, &acme([])), Ok(vec![]));
    assert_eq!(decide(&suspend, &acme([])), Ok(vec![suspended()]));
    assert_eq!(decide(&suspend, &acme([suspended()])), Ok(vec![]));
    assert_eq!(decide(&reactivate, &acme([suspended()])), Ok(vec![reactivated.clone()]));
    let back = acme([suspended(), reactivated]);
    assert_eq!(back.customers.get(id(1)).map(|customer| customer.status), Some(Status::Active));
}

#[test]
fn who_is_deleted_is_none_any_more_and_may_be_erased() {
    let (delete, erase) = (CustomersCommand::Delete(id(1)), CustomersCommand::Erase(id(1)));
    assert_eq!(decide(&delete, &acme([])), Ok(vec![deleted()]));
    let gone = acme([deleted()]);
    assert_eq!(decide(&delete, &gone), Err(CustomersRejection::NotFound.into()));
    assert_eq!(decide(&erase, &gone), Ok(vec![erased_with(&[1])]));
    for given in [vec![erased_with(&[1])], vec![deleted(), erased_with(&[1])]] {
        let state = acme(given);
        assert!(state.customers.is_erased(id(1)) && state.customers.get(id(1)).is_none());
        assert_eq!(decide(&erase, &state), Ok(vec![]));
        assert_eq!(decide(&delete, &state), Err(CustomersRejection::NotFound.into()));
    }
}

#[test]
fn erasing_takes_the_keys_of_all_that_the_customer_has_and_of_nobody_else() {
    let has = [environment(1, Mode::Test), secret_of(1, 5), secret_of(1, 6), secret_of(2, 7)];
    let state = acme(has.clone().into_iter().chain([has_customer(2)]));
    let erase = CustomersCommand::Erase(id(1));
    assert_eq!(decide(&erase, &state), Ok(vec![erased_with(&[1, 5, 6])]));
    let after = acme(has.into_iter().chain([deleted()]));
    assert_eq!(decide(&erase, &after), Ok(vec![erased_with(&[1, 5, 6])]), "also what was deleted with it");
    let erased = organization(founded().into_iter().chain([
        has_customer(1),
        secret_of(1, 5),
        secret_of(2, 7),
        erased_with(&[1, 5]),
    ]));
    assert_eq!(erased.secrets.iter().map(|secret| secret.id).collect::<Vec<_>>(), [id(7)]);
    let of_two = acme([secret_of(1, 5), secret_of(1, 6), secret_of(2, 7), erased_with(&[1, 5, 6])]);
    assert_eq!(of_two.secrets.live(), 1, "two of one place");
}

#[test]
fn secrets_are_deleted_with_their_customer() {
    let state = acme([secret_of(1, 5), secret_of(2, 7), deleted()]);
    let gone: Vec<bool> = state.secrets.iter().map(|secret| secret.is_deleted()).collect();
    assert_eq!(gone, [true, false]);
}

#[test]
fn who_comes_back_has_the_key_that_was_committed_to() {
    let mut state = Organization::default();
    for (version, event) in (1..).zip([has_customer(1), deleted(), has_customer(1)]) {
        let stream = crate::ids::StreamId::Organization(id(1));
        let mut recorded = crate::given::recorded(stream, version, crate::given::now(), person(id(1)), event);
        if version == 1 {
            recorded.keys.insert(id(1), crate::seal::Commitment([7; 32]));
        }
        state.apply(&recorded);
    }
    let customer = state.customers.get(id(1)).unwrap();
    assert_eq!(customer.commitment, Some(crate::seal::Commitment([7; 32])));
    assert!(state.customers.former(id(1)).is_none());
}

#[test]
fn who_comes_back_was_made_when_it_was_made() {
    let mut state = Organization::default();
    for (version, event) in (1..).zip([has_customer(1), deleted(), has_customer(1)]) {
        let stream = crate::ids::StreamId::Organization(id(1));
        let at = crate::given::now().plus_seconds(version as i64);
        state.apply(&crate::given::recorded(stream, version, at, person(id(1)), event));
    }
    let customer = state.customers.get(id(1)).unwrap();
    let times = [customer.created_at, customer.updated_at];
    assert_eq!(times, [1, 3].map(|seconds| crate::given::now().plus_seconds(seconds)));
}

#[test]
fn an_organization_has_so_many_customers_and_no_more() {
    let mut customers = Customers::default();
    for number in 0..CUSTOMERS_MAX {
        let event = has_customer(number as u128 + 10);
        let stream = crate::ids::StreamId::Organization(id(1));
        customers.apply(&crate::given::recorded(stream, 5, crate::given::now(), person(id(1)), event));
    }
    let full = Organization { customers, ..acme([]) };
    let create = CustomersCommand::Create(customer(2));
    assert_eq!(decide(&create, &full), Err(CustomersRejection::TooManyCustomers.into()));
    assert!(decide(&create, &acme([])).is_ok());
    assert!(decide(&CustomersCommand::Erase(id(10)), &full).is_ok());
}

#[test]
fn what_is_known_of_all_of_them_is_counted_and_has_an_end() {
    let sized = |bytes: usize| Sealed {
        data: crate::seal::SealedBytes(vec![0; bytes].into_boxed_slice()),
        ..sealed(1)
    };
    let name = sealed(1).data.0.len();
    let known = |events: Vec<Event>| acme(events).customers.sealed_bytes();
    assert_eq!(known(vec![]), name);
    let tagged = |bytes| CustomerUpdated { tags: Some(sized(bytes)), ..CustomerUpdated::of(id(1)) };
    let tagged = |bytes| said(CustomersEvent::CustomerUpdated(tagged(bytes)));
    let cleared = CustomerUpdated { cleared: vec!["tags".to_owned()], ..CustomerUpdated::of(id(1)) };
    let cleared = said(CustomersEvent::CustomerUpdated(cleared));
    assert_eq!(known(vec![tagged(100), tagged(40)]), name + 40);
    assert_eq!(known(vec![tagged(100), cleared, has_customer(2)]), 2 * name);
    assert_eq!(known(vec![tagged(100), deleted()]), 0);
    assert_eq!(known(vec![tagged(100), deleted(), has_customer(1)]), name);
    assert_eq!(known(vec![deleted(), erased_with(&[1])]), 0);

    let more = sized(100);
    let room = |known| check_room(known, [&more].into_iter());
    assert_eq!(room(SEALED_BYTES_MAX - 100), Ok(()));
    assert_eq!(room(SEALED_BYTES_MAX - 99), Err(CustomersRejection::TooMuchKnown));
    assert_eq!(check_room(SEALED_BYTES_MAX + 1, std::iter::empty()), Ok(()), "clearing always passes");
}

#[test]
fn whoever_is_not_there_is_not_decided_about_and_what_was_seen_must_still_be_so() {
    let all = |number: u128| {
        [
            CustomersCommand::Suspend(id(number)),
            CustomersCommand::Reactivate(id(number)),
            CustomersCommand::Delete(id(number)),
            CustomersCommand::Erase(id(number)),
            CustomersCommand::Update(UpdateCustomer { customer: id(number), ..update() }),
        ]
    };
    for command in all(9) {
        assert_eq!(decide(&command, &acme([])), Err(CustomersRejection::NotFound.into()), "{command:?}");
    }
    for command in all(1) {
        let decide = |seen| command.decide(&acme([]), &by_having_seen(person(id(1)), seen));
        assert_eq!(decide(3), Err(PreconditionFailed.into()), "{command:?}");
        assert!(decide(4).is_ok(), "{command:?}");
    }
}
