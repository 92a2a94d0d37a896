//! What commands to secrets come to.

use super::*;
use crate::actor::Actor;
use crate::command::PreconditionFailed;
use crate::event::{Event, Version};
use crate::given::{
    by, by_having_seen, environment, events, founded, has_customer, id, now, organization, person, sealed,
};
use crate::ids::CustomerId;
use crate::settings::customers::event::{CustomerNamed, CustomersEvent};
use crate::settings::environments::event::{EnvironmentDeleted, EnvironmentsEvent};
use crate::settings::secrets::event::Origin;

fn at(number: u128, scope: Scope) -> At {
    At { secret: id(number), scope }
}

/// Secret 1, in environment 1.
fn one() -> At {
    at(1, Scope::Environment(id(1)))
}

fn value(number: u64) -> AtValue {
    AtValue { at: one(), value_version: number }
}

fn key(text: &str) -> ConfigKey {
    ConfigKey::try_from(text).unwrap()
}

fn environment_gone() -> Event {
    Event::Environments(EnvironmentsEvent::EnvironmentDeleted(EnvironmentDeleted { environment: id(1) }))
}

/// A secret whose value is sealed under the key of its own number.
fn created(number: u128, scope: Scope, name: &str) -> Event {
    Event::Secrets(SecretsEvent::SecretCreated(SecretCreated {
        secret: id(number),
        name: name.to_owned(),
        environment: scope.environment(),
        customer: scope.customer(),
        modes: if scope == Scope::Organization { vec![Mode::Test] } else { Vec::new() },
        description: None,
        sealed_description: None,
        expires_at: None,
        value_version: 1,
        value: sealed(number),
        copied_from: None,
    }))
}

fn updated(change: SecretUpdated) -> Event {
    Event::Secrets(SecretsEvent::SecretUpdated(change))
}

/// A further value of secret 1.
fn written(number: u64) -> Event {
    updated(SecretUpdated {
        value_version: Some(number),
        value: Some(sealed(100 + u128::from(number))),
        ..SecretUpdated::of(id(1))
    })
}

fn rolled_back(to_version: u64, value_version: u64, origin: u64) -> Event {
    Event::Secrets(SecretsEvent::SecretRolledBack(SecretRolledBack {
        secret: id(1),
        to_version,
        value_version,
        value: sealed(50),
        copied_from: Origin { resource: id(1), value_version: origin },
    }))
}

fn deleted(number: u128) -> Event {
    Event::Secrets(SecretsEvent::SecretDeleted(SecretDeleted { secret: id(number) }))
}

fn undeleted_at(expires_at: Option<Timestamp>) -> Event {
    Event::Secrets(SecretsEvent::SecretUndeleted(SecretUndeleted { secret: id(1), expires_at }))
}

fn version_destroyed(number: u64, key: u128) -> Event {
    let destroyed_keys = vec![id(key)];
    let destroyed = SecretVersionDestroyed { secret: id(1), value_version: number, destroyed_keys };
    Event::Secrets(SecretsEvent::SecretVersionDestroyed(destroyed))
}

fn destroyed(keys: &[u128]) -> Event {
    let destroyed_keys = keys.iter().map(|key| id(*key)).collect();
    Event::Secrets(SecretsEvent::SecretDestroyed(SecretDestroyed { secret: id(1), destroyed_keys }))
}

/// Acme with an environment and secret `A` in it, at version 5, and what follows.
fn acme(more: impl IntoIterator<Item = Event>) -> Organization {
    let given = [environment(1, Mode::Test), created(1, one().scope, "A")];
    organization(founded().into_iter().chain(given).chain(more))
}

fn decide(command: SecretsCommand, state: &Organization) -> Result<Vec<Event>, Rejection> {
    events(command.decide(state, &by(person(id(1)))))
}

fn create(at: At, name: &str) -> SecretsCommand {
    let modes = if at.scope == Scope::Organization { vec![Mode::Test] } else { Vec::new() };
    let value = sealed(at.secret.uuid().as_u128() & 0xff);
    let (description, expires_at) = (None, None);
    SecretsCommand::Create(CreateSecret { at, name: key(name), modes, description, expires_at, value })
}

fn nothing() -> UpdateSecret {
    UpdateSecret { at: one(), name: None, description: None, expires_at: None, value: None }
}

fn roll_back(to: u64) -> SecretsCommand {
    SecretsCommand::RollBack(RollBackSecret { to: value(to), value: sealed(50) })
}

#[test]
fn a_secret_is_made_with_its_first_value_under_a_key_of_its_own() {
    for scope in [Scope::Organization, Scope::Environment(id(1))] {
        let decided = create(at(2, scope), "B").decide(&acme([]), &by(person(id(1)))).unwrap();
        assert_eq!(decided[0].uses, [id(2)]);
        assert_eq!(decided[0].related.len(), usize::from(scope != Scope::Organization));
        assert_eq!(events::<()>(Ok(decided)), Ok(vec![created(2, scope, "B")]));
    }
}

#[test]
fn a_name_is_one_secrets_in_its_scope() {
    let state = acme([environment(2, Mode::Test), created(2, Scope::Organization, "B")]);
    let taken = Err(SecretsRejection::NameTaken.into());
    assert_eq!(decide(create(at(3, one().scope), "A"), &state), taken);
    assert_eq!(decide(create(at(3, Scope::Organization), "B"), &state), taken);
    for (scope, name) in [(Scope::Organization, "A"), (one().scope, "B"), (Scope::Environment(id(2)), "A")] {
        assert!(decide(create(at(3, scope), name), &state).is_ok(), "{scope:?} {name}");
    }
    let state = acme([created(2, one().scope, "B")]);
    let rename = |name| SecretsCommand::Update(UpdateSecret { name: Some(key(name)), ..nothing() });
    assert_eq!(decide(rename("B"), &state), taken);
    assert_eq!(decide(rename("A"), &state), Ok(Vec::new()));
    assert_eq!(decide(rename("C"), &state).unwrap().len(), 1);
    // What is deleted does not keep its name, and cannot have it back while it is another's.
    let state = acme([deleted(1)]);
    assert!(decide(create(at(3, one().scope), "A"), &state).is_ok());
    let state = acme([deleted(1), created(3, one().scope, "A")]);
    assert_eq!(decide(SecretsCommand::Undelete(one()), &state), taken);
}

fn import(values: &[(u128, &str, bool)]) -> SecretsCommand {
    let value = |(number, name, is_new): &(u128, &str, bool)| ImportedValue {
        at: at(*number, one().scope),
        name: key(name),
        is_new: *is_new,
        value: sealed(if *is_new { *number } else { 102 }),
    };
    let values = values.iter().map(value).collect();
    SecretsCommand::Import(ImportSecrets { environment: id(1), values })
}

#[test]
fn an_import_makes_secrets_and_gives_others_a_further_value() {
    let command = import(&[(2, "B", true), (1, "A", false), (3, "C", true)]);
    let decided = command.decide(&acme([]), &by(person(id(1)))).unwrap();
    let uses: Vec<_> = decided.iter().map(|event| event.uses.clone()).collect();
    assert_eq!(uses, [[id(2)], [id(102)], [id(3)]]);
    let expected = vec![created(2, one().scope, "B"), written(2), created(3, one().scope, "C")];
    assert_eq!(events::<()>(Ok(decided)), Ok(expected));
}

#[test]
fn an_import_is_prepared_again_if_a_name_came_or_went() {
    let stale = Err(Rejection::Stale);
    assert_eq!(decide(import(&[(2, "B", true), (3, "A", true)]), &acme([])), stale, "A came");
    assert_eq!(decide(import(&[(1, "A", false)]), &acme([deleted(1)])), stale, "A went");
    let another = acme([deleted(1), created(2, one().scope, "A")]);
    assert_eq!(decide(import(&[(1, "A", false)]), &another), stale, "A is another secret's name");
}

#[test]
fn a_secret_belongs_where_something_is() {
    let gone = create(at(2, Scope::Environment(id(9))), "B");
    assert_eq!(decide(gone, &acme([])), Err(SecretsRejection::UnknownEnvironment.into()));
    let customers = || create(at(2, Scope::Customer(id(1), id(1))), "B");
    assert_eq!(decide(customers(), &acme([])), Err(SecretsRejection::UnknownCustomer.into()));
    let made = customers().decide(&acme([has_customer(1)]), &by(person(id(1)))).unwrap();
    let (environment, customer): (EnvironmentId, CustomerId) = (id(1), id(1));
    assert_eq!(made[0].related, [environment.to_string(), customer.to_string()]);
}

#[test]
fn a_customers_secret_comes_back_with_its_customer_alone() {
    let scope = Scope::Customer(id(1), id(1));
    let gone = CustomersEvent::CustomerDeleted(CustomerNamed { customer: id(1) });
    let given = || [has_customer(1), created(2, scope, "B"), Event::Customers(gone.clone())];
    let undelete = SecretsCommand::Undelete(at(2, scope));
    assert_eq!(decide(undelete.clone(), &acme(given())), Err(SecretsRejection::CustomerGone.into()));
    let back = acme(given().into_iter().chain([has_customer(1)]));
    assert_eq!(decide(undelete, &back).map(|events| events.len()), Ok(1));
}

#[test]
fn the_secrets_of_a_customer_have_so_many_values_in_all() {
    let of = |customer: u128| Scope::Customer(id(1), id(customer));
    let many =
        |count: u128| (0..count).map(move |number| created(number + 10, of(1), &format!("N_{number}")));
    let state = |count| acme([has_customer(1), has_customer(2)].into_iter().chain(many(count)));
    let one_more = || create(at(2, of(1)), "B");
    assert!(decide(one_more(), &state(CUSTOMER_VALUES_MAX as u128 - 1)).is_ok());
    let full = state(CUSTOMER_VALUES_MAX as u128);
    let refused = || Err(SecretsRejection::CustomerFull.into());
    assert_eq!(decide(one_more(), &full), refused());
    assert!(decide(create(at(2, of(2)), "B"), &full).is_ok(), "another customer has room");
    let write = |value| {
        SecretsCommand::Update(UpdateSecret { value, ..UpdateSecret::value(at(10, of(1)), sealed(5)) })
    };
    assert_eq!(decide(write(Some(sealed(5))), &full), refused());
    let destroyed = SecretsCommand::Destroy(at(11, of(1)));
    let destroyed = decide(destroyed, &full).unwrap();
    let room = acme([has_customer(1)].into_iter().chain(many(CUSTOMER_VALUES_MAX as u128)).chain(destroyed));
    assert!(decide(write(Some(sealed(5))), &room).is_ok());
}

#[test]
fn a_scope_has_so_many_secrets_and_no_more() {
    let many = |count: usize| {
        let one = |number: usize| created(number as u128 + 2, one().scope, &format!("N_{number}"));
        let mut state = acme((0..count - 1).map(one));
        // Deleted ones count.
        let recorded = crate::given::recorded(
            crate::ids::StreamId::Organization(id(1)),
            99_999,
            now(),
            Actor::SYSTEM,
            deleted(1),
        );
        state.apply(&recorded);
        state
    };
    let create = || create(at(900_000, one().scope), "B");
    assert!(decide(create(), &many(SECRETS_MAX - 1)).is_ok());
    assert_eq!(decide(create(), &many(SECRETS_MAX)), Err(SecretsRejection::TooManySecrets.into()));
}

#[test]
fn a_value_is_always_a_new_version_and_of_the_rest_only_what_changes() {
    let later = now().plus_seconds(60);
    let state = acme([updated(SecretUpdated {
        description: Some("d".to_owned()),
        expires_at: Some(later),
        ..SecretUpdated::of(id(1))
    })]);
    let same = UpdateSecret {
        name: Some(key("A")),
        description: Some(Some(Described::Open("d".to_owned()))),
        expires_at: Some(Some(later)),
        ..nothing()
    };
    assert_eq!(decide(SecretsCommand::Update(same.clone()), &state), Ok(Vec::new()));
    let write = SecretsCommand::Update(UpdateSecret { value: Some(sealed(102)), ..same });
    let decided = write.decide(&state, &by(person(id(1)))).unwrap();
    assert_eq!(decided[0].uses, [id(102)]);
    assert_eq!(events::<()>(Ok(decided)), Ok(vec![written(2)]));
    let clear = UpdateSecret { description: Some(None), expires_at: Some(None), ..nothing() };
    let cleared = vec!["description".to_owned(), "expires_at".to_owned()];
    let expected = updated(SecretUpdated { cleared, ..SecretUpdated::of(id(1)) });
    assert_eq!(decide(SecretsCommand::Update(clear.clone()), &state), Ok(vec![expected]));
    assert_eq!(decide(SecretsCommand::Update(clear), &acme([])), Ok(Vec::new()));
}

#[test]
fn a_secret_keeps_so_many_values_until_the_oldest_is_destroyed() {
    let write = || SecretsCommand::Update(UpdateSecret { value: Some(sealed(101)), ..nothing() });
    let full = || (2..=VALUES_MAX as u64).map(written);
    assert!(decide(write(), &acme(full().take(VALUES_MAX - 2))).is_ok());
    let state = acme(full());
    assert_eq!(decide(write(), &state), Err(SecretsRejection::TooManyVersions.into()));
    assert_eq!(decide(roll_back(1), &state), Err(SecretsRejection::TooManyVersions.into()));
    let destroyed = || full().chain([version_destroyed(1, 1)]);
    let decided = decide(write(), &acme(destroyed())).unwrap();
    let state = acme(destroyed().chain(decided));
    let versions = &state.secrets.get(id(1)).unwrap().versions;
    assert_eq!((versions.size(), versions.first().map(|(number, _)| *number)), (VALUES_MAX, Some(2)));
}

#[test]
fn what_is_deleted_comes_back_with_all_of_its_values() {
    let state = acme([written(2)]);
    assert_eq!(decide(SecretsCommand::Delete(one()), &state), Ok(vec![deleted(1)]));
    assert_eq!(decide(SecretsCommand::Undelete(one()), &state), Ok(Vec::new()), "it is there");
    let state = acme([written(2), deleted(1)]);
    assert!(state.secrets.find(one().scope, "A").is_none());
    assert_eq!(decide(SecretsCommand::Undelete(one()), &state), Ok(vec![undeleted_at(None)]));
    let state = acme([written(2), deleted(1), undeleted_at(None)]);
    let secret = state.secrets.find(one().scope, "A").unwrap();
    assert_eq!((secret.value_version, secret.versions.size()), (2, 2));
}

#[test]
fn secrets_go_and_come_back_with_their_environment() {
    let state = acme([environment_gone()]);
    assert!(state.secrets.get(id(1)).unwrap().is_deleted());
    let undelete = || SecretsCommand::Undelete(one());
    assert_eq!(decide(undelete(), &state), Err(SecretsRejection::EnvironmentGone.into()));
    assert_eq!(decide(SecretsCommand::Destroy(one()), &state), Ok(vec![destroyed(&[1])]));
    let state = acme([environment_gone(), environment(1, Mode::Test)]);
    assert_eq!(decide(undelete(), &state), Ok(vec![undeleted_at(None)]));
}

#[test]
fn an_earlier_value_comes_back_as_a_copy_of_its_first_origin() {
    let state = acme([written(2)]);
    let decided = roll_back(1).decide(&state, &by(person(id(1)))).unwrap();
    assert_eq!(decided[0].uses, [id(50)]);
    assert_eq!(events::<()>(Ok(decided)), Ok(vec![rolled_back(1, 3, 1)]));
    assert_eq!(decide(roll_back(2), &state), Ok(Vec::new()), "it is the newest");
    let state = acme([written(2), rolled_back(1, 3, 1), written(4)]);
    assert_eq!(decide(roll_back(3), &state), Ok(vec![rolled_back(3, 5, 1)]));
    let state = acme([written(2), rolled_back(1, 3, 1)]);
    assert_eq!(decide(roll_back(1), &state), Ok(Vec::new()), "it is a copy of that already");
}

#[test]
fn each_reveal_is_an_event() {
    let state = acme([written(2)]);
    for number in [1, 2] {
        let revealed = SecretRevealed { secret: id(1), value_version: number };
        let expected = Event::Secrets(SecretsEvent::SecretRevealed(revealed));
        assert_eq!(decide(SecretsCommand::Reveal(value(number)), &state), Ok(vec![expected]));
    }
}

#[test]
fn what_is_destroyed_takes_its_keys_with_it_and_stays_so() {
    let state = acme([written(2)]);
    let decided = decide(SecretsCommand::DestroyVersion(value(1)), &state).unwrap();
    assert_eq!(decided, [version_destroyed(1, 1)]);
    assert_eq!(decided[0].destroyed_keys(), [id(1)]);
    let state = acme([written(2), version_destroyed(1, 1)]);
    let refused = Err(SecretsRejection::VersionDestroyed.into());
    assert_eq!(decide(SecretsCommand::DestroyVersion(value(1)), &state), Ok(Vec::new()));
    assert_eq!(decide(SecretsCommand::Reveal(value(1)), &state), refused);
    assert_eq!(decide(roll_back(1), &state), refused);
    assert_eq!(decide(SecretsCommand::Destroy(one()), &state), Ok(vec![destroyed(&[102])]));
    let state = acme([written(2), destroyed(&[1, 102])]);
    assert!(state.secrets.get(id(1)).is_none());
    assert_eq!(state.secrets.count(one().scope), 0);
}

#[test]
fn without_its_newest_value_a_secret_has_none() {
    let state = acme([written(2), version_destroyed(2, 102)]);
    assert_eq!(state.secrets.get(id(1)).unwrap().current_origin(), None);
    assert_eq!(decide(roll_back(1), &state), Ok(vec![rolled_back(1, 3, 1)]));
}

#[test]
fn a_secret_expires_once_and_only_when_it_is_time() {
    let expire = |state: &Organization| decide(SecretsCommand::Expire(id(1)), state);
    let until =
        |expires_at| updated(SecretUpdated { expires_at: Some(expires_at), ..SecretUpdated::of(id(1)) });
    let expired =
        Event::Secrets(SecretsEvent::SecretExpired(SecretExpired { secret: id(1), expires_at: now() }));
    assert_eq!(expire(&acme([])), Ok(Vec::new()));
    assert_eq!(expire(&acme([until(now().plus_seconds(1))])), Ok(Vec::new()));
    assert_eq!(expire(&acme([until(now())])), Ok(vec![expired.clone()]));
    assert_eq!(expire(&acme([until(now()), expired.clone()])), Ok(Vec::new()), "once");
    assert_eq!(expire(&acme([until(now()), deleted(1)])), Ok(Vec::new()));
    let again = acme([until(now().plus_seconds(-5)), expired.clone(), until(now())]);
    assert_eq!(expire(&again), Ok(vec![expired]));
    // What comes back says when it is to be looked at, unless that was done.
    let undelete = |state: &Organization| decide(SecretsCommand::Undelete(one()), state);
    assert_eq!(undelete(&acme([until(now()), deleted(1)])), Ok(vec![undeleted_at(Some(now()))]));
}

#[test]
fn what_is_not_there_is_not_found() {
    let elsewhere = at(1, Scope::Organization);
    let update = |at| SecretsCommand::Update(UpdateSecret { at, ..nothing() });
    let roll_back = |at| {
        let to = AtValue { at, value_version: 1 };
        SecretsCommand::RollBack(RollBackSecret { to, value: sealed(50) })
    };
    let live = |at| {
        let value = AtValue { at, value_version: 1 };
        let of_value = [SecretsCommand::Reveal(value), SecretsCommand::DestroyVersion(value)];
        [update(at), SecretsCommand::Delete(at), roll_back(at)].into_iter().chain(of_value)
    };
    let kept = |at| [SecretsCommand::Undelete(at), SecretsCommand::Destroy(at)];
    let not_found = Err(SecretsRejection::NotFound.into());
    for at in [at(9, one().scope), elsewhere] {
        for command in live(at).chain(kept(at)) {
            assert_eq!(decide(command, &acme([])), not_found);
        }
    }
    for command in live(one()) {
        assert_eq!(decide(command, &acme([deleted(1)])), not_found);
    }
    let none = Err(SecretsRejection::VersionNotFound.into());
    for number in [0, 2] {
        assert_eq!(decide(SecretsCommand::Reveal(value(number)), &acme([])), none);
        assert_eq!(decide(SecretsCommand::DestroyVersion(value(number)), &acme([])), none);
    }
}

#[test]
fn what_was_seen_must_still_be_so() {
    let state = acme([written(2)]);
    let seen = |command: &SecretsCommand, version: Version| {
        command.decide(&state, &by_having_seen(person(id(1)), version)).map(|events| events.len())
    };
    let value_of_one = value(1);
    for command in [
        SecretsCommand::Update(UpdateSecret { name: Some(key("B")), ..nothing() }),
        SecretsCommand::Delete(one()),
        roll_back(1),
        SecretsCommand::Reveal(value_of_one),
        SecretsCommand::DestroyVersion(value_of_one),
        SecretsCommand::Destroy(one()),
    ] {
        assert_eq!(seen(&command, 5), Err(PreconditionFailed.into()), "{command:?}");
        assert_eq!(seen(&command, 6), Ok(1), "{command:?}");
    }
}

#[test]
fn each_command_needs_its_permission_where_the_secret_belongs() {
    use Permission::{SecretDestroy, SecretReveal, SecretWrite};
    let scoped = |scope| {
        let at = at(1, scope);
        let value = AtValue { at, value_version: 1 };
        [
            (create(at, "A"), SecretWrite),
            (SecretsCommand::Update(UpdateSecret { at, ..nothing() }), SecretWrite),
            (SecretsCommand::Delete(at), SecretWrite),
            (SecretsCommand::Undelete(at), SecretWrite),
            (SecretsCommand::RollBack(RollBackSecret { to: value, value: sealed(1) }), SecretWrite),
            (SecretsCommand::Reveal(value), SecretReveal),
            (SecretsCommand::DestroyVersion(value), SecretDestroy),
            (SecretsCommand::Destroy(at), SecretDestroy),
        ]
    };
    for (command, permission) in scoped(Scope::Organization) {
        assert_eq!(command.need(), Need::Organization(permission));
    }
    for (command, permission) in scoped(one().scope) {
        assert_eq!(command.need(), Need::Environment(permission, id(1)));
    }
    assert_eq!(SecretsCommand::Expire(id(1)).need(), Need::System);
}
