//! Quotas hold whatever races for them: as many are made as there may be, and what is refused appends nothing.

use futures_util::future::join_all;
use proptest::prelude::*;
use settled::actor::Actor;
use settled::command::Rejection;
use settled::event::{Event, Recorded};
use settled::ids::{ApiKeyId, EnvironmentId, Fresh, StreamId};
use settled::organization::Organization;
use settled::seal::Plain;
use settled::settings::api_keys::command::{ApiKeysCommand, CreateApiKey};
use settled::settings::api_keys::value::Limits;
use settled::settings::billing::command::BillingCommand;
use settled::settings::billing::customer_limits::used_by;
use settled::settings::billing::enforcement::used;
use settled::settings::billing::event::{BillingEvent, QuotaSet};
use settled::settings::billing::value::{Excess, Meter, Quota};
use settled::settings::connections::command::{
    At as ConnectionAt, ConnectionsCommand, CreateConnection, Made,
};
use settled::settings::connections::value::Kind;
use settled::settings::connections::{CREDENTIAL, credential_field};
use settled::settings::environments::event::Mode;
use settled::settings::environments::value::Slug;
use settled::settings::executions::command::ExecutionsCommand;
use settled::settings::people::command::PeopleCommand;
use settled::settings::roles::role::{RoleRef, SystemRole};
use settled::settings::secrets::command::At;
use settled::settings::secrets::value::Scope;
use settled::store::{Done, Refusal, Submission};
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

/// An organization in which something is made.
struct Making {
    store: TestStore,
    founded: Founded,
    environment: EnvironmentId,
    customer: Customer,
}

impl Making {
    async fn begin() -> Self {
        let store = TestStore::in_memory();
        let founded = store.found("Acme").await;
        let (environment, customer) = (Fresh.id(), Customer::new(&store, &founded));
        store.execute(&founded, create(founded.owner, environment, "dev")).await.unwrap();
        store.execute(&founded, customer.created(&founded)).await.unwrap();
        Self { store, founded, environment, customer }
    }

    /// How much there is.
    fn there(&self, meter: Meter) -> u64 {
        used(
            self.store.handle(self.founded.organization).view().organization(),
            meter,
            self.store.clock.now(),
        )
    }

    /// So many at once, each one more of something.
    async fn race(&self, meter: Meter) -> Vec<Result<Done, Refusal>> {
        let submissions: Vec<_> = (0..RACING).map(|number| self.makes(meter, number)).collect();
        join_all(submissions.into_iter().map(|submission| self.store.execute(&self.founded, submission)))
            .await
    }

    async fn limit(&self, meter: Meter, quota: Quota) {
        let set = QuotaSet { meter, quota: Some(quota) };
        let submission = Submission::new(BillingCommand::SetOperatorQuota(set), Actor::OPERATOR);
        self.store.execute(&self.founded, submission).await.unwrap();
    }

    /// How many alerts the organization was told.
    fn alerts(&self) -> usize {
        let events = self.store.events(StreamId::Organization(self.founded.organization));
        let alerted =
            |recorded: &&Recorded| matches!(recorded.event, Event::Billing(BillingEvent::Alerted(_)));
        events.iter().filter(alerted).count()
    }

    /// A command that makes one more of something.
    fn makes(&self, meter: Meter, number: usize) -> Submission {
        let Self { store, founded, environment, customer } = self;
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
            Meter::Connections => connects(store, founded, Scope::Environment(*environment), number),
            Meter::Executions => {
                let start = customer.start(founded, Fresh.id(), *environment);
                Submission::new(ExecutionsCommand::Start(start), founded.owner)
            }
            Meter::ApiRequests => unreachable!("requests are counted, and not made by a command"),
        }
    }
}

/// A connection that holds a token.
pub fn connects(store: &TestStore, founded: &Founded, scope: Scope, number: usize) -> Submission {
    let stream = StreamId::Organization(founded.organization);
    let key = store.store.ring().mint(stream).unwrap();
    let at = ConnectionAt { connection: Fresh.id(), scope };
    let place = at.connection.to_string();
    let credential = key.key().seal(&credential_field(stream, &place, CREDENTIAL), &Plain::from("a token"));
    let create = CreateConnection {
        at,
        name: Slug::try_from(format!("c-{number}").as_str()).unwrap(),
        key: key.id(),
        made: Made::Held { kind: Kind::Token, credential },
    };
    let mut submission = Submission::new(ConnectionsCommand::Create(create), founded.owner);
    submission.keys = vec![key];
    submission
}

/// What is made by commands.
fn made() -> impl Iterator<Item = Meter> {
    Meter::ALL.into_iter().filter(|meter| *meter != Meter::ApiRequests)
}

#[tokio::test]
async fn two_hundred_race_for_fifty_and_exactly_fifty_are_made_of_everything() {
    let making = Making::begin().await;
    for meter in made() {
        let (before, limit) = (making.there(meter), making.there(meter) + ROOM);
        making.limit(meter, Quota { limit, soft: false }).await;
        let version = || making.store.handle(making.founded.organization).view().version();
        let before_race = version();
        let results = making.race(meter).await;
        let made = results.iter().filter(|result| result.is_ok()).count() as u64;
        assert_eq!((made, making.there(meter)), (ROOM, before + ROOM), "{meter}");
        let excess = Rejection::QuotaExceeded(Excess { meter, limit, used: limit });
        for result in results {
            assert!(matches!(&result, Ok(done) if done.events == 1) || result.is_err());
            if let Err(refusal) = result {
                assert_eq!(refusal, Refusal::Rejected(excess.clone()));
            }
        }
        assert_eq!(version(), before_race + ROOM, "what is refused appends nothing");
    }
    assert_eq!(making.alerts(), 0, "a hard limit refuses, and tells whoever is refused");
}

#[tokio::test]
async fn two_hundred_race_for_a_soft_fifty_and_all_are_made_with_one_alert_of_each_share() {
    let making = Making::begin().await;
    for (number, meter) in (1..).zip(made()) {
        making.limit(meter, Quota { limit: ROOM, soft: true }).await;
        assert!(making.race(meter).await.iter().all(Result::is_ok), "{meter}");
        assert_eq!(making.alerts(), 2 * number, "{meter}");
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
        for customer in state.customers.iter().map(|customer| customer.id) {
            let Some(limited) = before.billing.customer_limits(customer) else { continue };
            for (meter, limit) in &limited.limits {
                let of = |state: &Organization| used_by(state, customer, *meter, recorded.at);
                assert!(of(&state) <= of(&before).max(*limit), "{meter} of {customer}: {recorded:?}");
            }
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
