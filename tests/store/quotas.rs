//! Quotas hold whatever races for them: as many are made as there may be, and what is refused appends nothing.

use futures_util::future::join_all;
use proptest::prelude::*;
use settled::actor::Actor;
use settled::command::Rejection;
use settled::ids::{ApiKeyId, Fresh, StreamId};
use settled::organization::Organization;
use settled::settings::api_keys::command::{ApiKeysCommand, CreateApiKey};
use settled::settings::api_keys::value::Limits;
use settled::settings::billing::command::BillingCommand;
use settled::settings::billing::enforcement::used;
use settled::settings::billing::event::{BillingEvent, QuotaSet};
use settled::settings::billing::value::{Excess, Meter, Quota};
use settled::settings::environments::event::Mode;
use settled::settings::people::command::PeopleCommand;
use settled::settings::roles::role::{RoleRef, SystemRole};
use settled::settings::secrets::command::At;
use settled::settings::secrets::value::Scope;
use settled::store::{Refusal, Submission};
use settled::text::Name;

use crate::commands::create;
use crate::golden_customers::Customer;
use crate::histories::{BASE, MARKS, history, prepare};
use crate::key_asks::token_of;
use crate::properties::{config, in_memory, runtime, submit};
use crate::secrets::Values;
use crate::test_store::{Founded, TestStore};

const RACING: usize = 200;
const ROOM: u64 = 50;

/// A command that makes one more of something.
fn makes(store: &TestStore, founded: &Founded, meter: Meter, number: usize) -> Submission {
    match meter {
        Meter::People => {
            let (joined, key) = store.newcomer(founded.organization, "Nora");
            let mut submission = Submission::new(PeopleCommand::Join(joined), founded.owner);
            submission.keys = vec![key];
            submission
        }
        Meter::Customers => Customer::new(store, founded).created(founded),
        Meter::Environments => create(founded.owner, Fresh.id(), &format!("e-{number}")),
        Meter::Secrets => {
            let at = At { secret: Fresh.id(), scope: Scope::Organization };
            Values { store, founded }.create(at, &format!("S_{number}"), "a value")
        }
        Meter::ApiKeys => {
            let key: ApiKeyId = Fresh.id();
            let make = CreateApiKey {
                key,
                name: Name::try_from("K").unwrap(),
                mode: Mode::Test,
                role: RoleRef::System(SystemRole::Workflow),
                token: token_of(key, 0),
                last4: "aB3d".to_owned(),
                limits: Limits::NONE,
            };
            Submission::new(ApiKeysCommand::Create(make), founded.owner)
        }
        Meter::ApiRequests => unreachable!("requests are counted, and not made by a command"),
    }
}

/// What is made by commands.
fn made() -> impl Iterator<Item = Meter> {
    Meter::ALL.into_iter().filter(|meter| !meter.is_counted())
}

async fn set(store: &TestStore, founded: &Founded, meter: Meter, limit: u64, soft: bool) {
    let set = QuotaSet { meter, quota: Some(Quota { limit, soft }) };
    let submission = Submission::new(BillingCommand::SetOperatorQuota(set), Actor::OPERATOR);
    store.execute(founded, submission).await.unwrap();
}

/// How many alerts an organization was told.
fn alerts(store: &TestStore, founded: &Founded) -> usize {
    let events = store.events(StreamId::Organization(founded.organization));
    let alerted = |event: &settled::event::Event| {
        matches!(event, settled::event::Event::Billing(BillingEvent::Alerted(_)))
    };
    events.iter().filter(|recorded| alerted(&recorded.event)).count()
}

#[tokio::test]
async fn two_hundred_race_for_fifty_and_exactly_fifty_are_made_of_everything() {
    let store = TestStore::in_memory();
    let founded = store.found("Acme").await;
    let there =
        |meter| used(store.handle(founded.organization).view().organization(), meter, store.clock.now());
    for meter in made() {
        let (before, limit) = (there(meter), there(meter) + ROOM);
        set(&store, &founded, meter, limit, false).await;
        let submissions: Vec<_> = (0..RACING).map(|number| makes(&store, &founded, meter, number)).collect();
        let version = store.handle(founded.organization).view().version();
        let racing = submissions.into_iter().map(|submission| store.execute(&founded, submission));
        let results = join_all(racing).await;
        let made = results.iter().filter(|result| result.is_ok()).count() as u64;
        assert_eq!((made, there(meter)), (ROOM, before + ROOM), "{meter}");
        let excess = Rejection::QuotaExceeded(Excess { meter, limit, used: limit });
        for result in results {
            assert!(matches!(&result, Ok(done) if done.events == 1) || result.is_err());
            if let Err(refusal) = result {
                assert_eq!(refusal, Refusal::Rejected(excess.clone()));
            }
        }
        let after = store.handle(founded.organization).view().version();
        assert_eq!(after, version + ROOM, "what is refused appends nothing");
    }
    assert_eq!(alerts(&store, &founded), 0, "a hard limit refuses, and tells whoever is refused");
}

#[tokio::test]
async fn two_hundred_race_for_a_soft_fifty_and_all_are_made_with_one_alert_of_each_share() {
    let store = TestStore::in_memory();
    let founded = store.found("Acme").await;
    for (number, meter) in (1..).zip(made()) {
        set(&store, &founded, meter, ROOM, true).await;
        let submissions: Vec<_> = (0..RACING).map(|number| makes(&store, &founded, meter, number)).collect();
        let racing = submissions.into_iter().map(|submission| store.execute(&founded, submission));
        assert!(join_all(racing).await.iter().all(Result::is_ok), "{meter}");
        assert_eq!(alerts(&store, &founded), 2 * number, "{meter}");
    }
}

/// Folds a history event by event, and holds each against the quotas that it met.
fn assert_within_quotas(store: &TestStore, stream: StreamId) {
    let mut state = Organization::default();
    for recorded in store.events(stream) {
        let before = state.clone();
        state.apply(&recorded);
        for meter in made() {
            let (was, is) = (used(&before, meter, recorded.at), used(&state, meter, recorded.at));
            let limit = before.billing.bounds(meter).hard();
            assert!(is <= was || limit.is_none_or(|limit| is <= limit), "{meter}: {recorded:?}");
        }
    }
}

proptest! {
    #![proptest_config(config(64))]

    #[test]
    fn no_history_passes_a_hard_limit(history in history()) {
        runtime().block_on(async {
            let store = in_memory();
            for (pause, burst) in prepare(&history, &store) {
                store.hands.advance(std::time::Duration::from_secs(pause));
                submit(&store, &burst).await;
            }
            for member in 0..MARKS.len() {
                assert_within_quotas(&store, StreamId::Organization(BASE.members[member].founded.organization));
            }
        });
    }
}
