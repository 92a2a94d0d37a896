//! API keys without a server: how their use is counted and recorded, and what many of them cost.

use std::net::IpAddr;
use std::sync::atomic::Ordering;
use std::time::Duration;

use settled::actor::{Actor, ActorId};
use settled::area::DirectoryEntry;
use settled::event::{Event, Outcome, Recorded, Resource, ResourceType};
use settled::ids::{ApiKeyId, Fresh, SecretId, StreamId};
use settled::log::Head;
use settled::organization::Organization;
use settled::settings::api_keys::command::{ApiKeysCommand, CreateApiKey, RevokeApiKey};
use settled::settings::api_keys::event::{ApiKeyCreated, ApiKeyUsed, ApiKeysEvent, KeySessionOpened};
use settled::settings::api_keys::value::Limits;
use settled::settings::environments::event::Mode;
use settled::settings::roles::role::{RoleRef, SystemRole};
use settled::store::directory::Directory;
use settled::store::key_uses::reads::{Read, Values};
use settled::store::key_uses::{KEYS_IN_USE_MAX, Use};
use settled::store::{Refusal, Submission, scheduler};

use crate::key_asks::{closed, token_of};
use crate::test_store::{Founded, TestStore, start};

const WORKFLOW: RoleRef = RoleRef::System(SystemRole::Workflow);

/// Makes a key.
pub async fn key(store: &TestStore, founded: &Founded) -> ApiKeyId {
    let key: ApiKeyId = Fresh.id();
    let make = CreateApiKey {
        key,
        name: settled::text::Name::try_from("Deploy").unwrap(),
        mode: Mode::Live,
        role: WORKFLOW,
        token: token_of(key, 0),
        last4: "aB3d".to_owned(),
        limits: Limits::NONE,
    };
    store.execute(founded, Submission::new(ApiKeysCommand::Create(make), founded.owner)).await.unwrap();
    key
}

/// Uses a key from an address that ends with a number; its session.
async fn use_from(
    store: &TestStore,
    founded: &Founded,
    key: ApiKeyId,
    number: u8,
) -> Option<settled::ids::SessionId> {
    let used = Use { key, from: Some(IpAddr::from([192, 0, 2, number])), request_id: None };
    let open = |session| Some(KeySessionOpened { session, ip: closed(key), user_agent: None });
    store.store.use_key(&store.handle(founded.organization), used, open).await
}

/// The events of use, each with how many uses it stands for and whether it opened a session.
fn uses(store: &TestStore, founded: &Founded) -> Vec<(u64, bool)> {
    let events = store.events(StreamId::Organization(founded.organization)).into_iter();
    let told = events.filter_map(|event| match event.event {
        Event::ApiKeys(ApiKeysEvent::ApiKeyUsed(used)) => {
            Some((event.count.unwrap_or(1), used.opened.is_some()))
        }
        _ => None,
    });
    told.collect()
}

async fn pass(store: &TestStore, seconds: u64) {
    store.hands.advance(Duration::from_secs(seconds));
    scheduler::tick(&store.store).await;
}

#[tokio::test]
async fn a_key_at_full_speed_for_a_day_is_some_fifteen_hundred_events() {
    let store = TestStore::in_memory();
    let founded = store.found("Acme").await;
    let key = key(&store, &founded).await;
    // From the beginning of a day, which is when a session is opened anew.
    pass(&store, 24 * 3600 - 3 * 3600 - 4 * 60 - 5).await;
    for _ in 0..24 * 60 {
        for _ in 0..9 {
            use_from(&store, &founded, key, 1).await.expect("it has its session");
        }
        pass(&store, 60).await;
    }
    let recorded = uses(&store, &founded);
    assert!(recorded.len() <= 1_500, "{}", recorded.len());
    assert_eq!(recorded.iter().map(|(count, _)| count).sum::<u64>(), 24 * 60 * 9);
    assert_eq!(recorded.iter().filter(|(_, opened)| *opened).count(), 1);
}

#[tokio::test]
async fn each_address_has_its_session_and_the_last_of_too_many_have_none() {
    let store = TestStore::in_memory();
    let founded = store.found("Acme").await;
    let key = key(&store, &founded).await;
    let mut sessions = std::collections::BTreeSet::new();
    for number in 0..64 {
        sessions.insert(use_from(&store, &founded, key, number).await.expect("a session"));
    }
    assert_eq!(sessions.len(), 64);
    assert_eq!(use_from(&store, &founded, key, 64).await, None);
    assert_eq!(use_from(&store, &founded, key, 0).await, sessions.first().copied());
    assert_eq!(uses(&store, &founded).len(), 64);
    // Another process knows no address any more, but how many sessions there were.
    let again = store.crashed();
    assert_eq!(use_from(&again, &founded, key, 0).await, None);
    again.hands.advance(Duration::from_secs(24 * 3600));
    assert!(use_from(&again, &founded, key, 0).await.is_some());
}

#[tokio::test]
async fn a_use_that_cannot_be_recorded_is_kept() {
    let store = TestStore::in_memory();
    let founded = store.found("Acme").await;
    let key = key(&store, &founded).await;
    store.disk.store(false, Ordering::Relaxed);
    for _ in 0..3 {
        assert_eq!(use_from(&store, &founded, key, 1).await, None, "the answer goes on");
    }
    pass(&store, 60).await;
    assert_eq!(uses(&store, &founded), []);
    store.disk.store(true, Ordering::Relaxed);
    use_from(&store, &founded, key, 1).await.expect("a session");
    pass(&store, 60).await;
    assert_eq!(uses(&store, &founded), [(1, true), (3, false)]);
}

/// A value of a secret, read by name.
fn value(value_version: u64) -> Read {
    Read::Secret { secret: SecretId::min(), value_version, customer: None }
}

#[tokio::test]
async fn what_cannot_be_recorded_is_not_read_until_it_can_be() {
    let store = TestStore::in_memory();
    let founded = store.found("Acme").await;
    let key = key(&store, &founded).await;
    let handle = store.handle(founded.organization);
    let actor = Actor { id: ActorId::ApiKey(key), session: None };
    let none = Values::default();
    let note = |number| store.store.note_read(&handle, (key, actor), value(number), &none);
    store.disk.store(false, Ordering::Relaxed);
    assert_eq!(note(1).await, Err(Refusal::DiskFull));
    store.disk.store(true, Ordering::Relaxed);
    assert_eq!(note(1).await, Ok(()));
    store.disk.store(false, Ordering::Relaxed);
    assert_eq!(note(1).await, Ok(()), "within the hour it is recorded already");
    assert_eq!(note(2).await, Err(Refusal::DiskFull), "another value");
    pass(&store, 3_600).await;
    assert_eq!(note(1).await, Err(Refusal::DiskFull), "another hour");
}

#[tokio::test]
async fn a_key_that_reads_very_much_by_name_is_recorded_before_the_minute_ends() {
    let store = TestStore::in_memory();
    let founded = store.found("Acme").await;
    let key = key(&store, &founded).await;
    let handle = store.handle(founded.organization);
    let actor = Actor { id: ActorId::ApiKey(key), session: None };
    let reads = || {
        let events = store.events(StreamId::Organization(founded.organization)).into_iter();
        let told = events.filter_map(|event| match event.event {
            Event::ApiKeys(ApiKeysEvent::SecretsRead(read)) => Some(read.secrets.len()),
            _ => None,
        });
        told.collect::<Vec<_>>()
    };
    for _ in 0..2 {
        for number in 1..=1_000 {
            store.store.note_read(&handle, (key, actor), value(number), &Values::default()).await.unwrap();
        }
    }
    let told = reads();
    assert_eq!((told.len(), told[1_000]), (1_001, 1_000), "as many first ones, and all again at once");
}

#[tokio::test]
async fn what_a_key_reads_is_recorded_where_so_many_others_are_in_use() {
    let store = TestStore::in_memory();
    let founded = store.found("Acme").await;
    let key = key(&store, &founded).await;
    let handle = store.handle(founded.organization);
    // What the store refuses of them is kept, so that each takes its room.
    for _ in 0..KEYS_IN_USE_MAX {
        let used = Use { key: Fresh.id(), from: None, request_id: None };
        store.store.use_key(&handle, used, |_| None).await;
    }
    let actor = Actor { id: ActorId::ApiKey(key), session: None };
    for _ in 0..3 {
        store.store.note_read(&handle, (key, actor), value(1), &Values::default()).await.unwrap();
    }
    let events = store.events(StreamId::Organization(founded.organization)).into_iter();
    let counts = events.filter_map(|event| match event.event {
        Event::ApiKeys(ApiKeysEvent::SecretsRead(read)) => Some(read.secrets[0].count),
        _ => None,
    });
    assert_eq!(counts.collect::<Vec<_>>(), [1, 1, 1], "none waits for a minute's end that does not come");
}

#[tokio::test]
async fn what_a_key_did_before_it_was_revoked_is_recorded() {
    let store = TestStore::in_memory();
    let founded = store.found("Acme").await;
    let key = key(&store, &founded).await;
    for _ in 0..4 {
        use_from(&store, &founded, key, 1).await;
    }
    let revoke = ApiKeysCommand::Revoke(RevokeApiKey { key });
    store.execute(&founded, Submission::new(revoke, founded.owner)).await.unwrap();
    store.store.flush_counts(true).await;
    assert_eq!(uses(&store, &founded), [(1, true), (3, false)]);
}

/// Bytes of this process that lie in memory.
fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux says how much memory is in use");
    let pages: usize = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("a number");
    pages * 4_096
}

#[test]
fn a_hundred_thousand_keys_take_less_than_40_mib() {
    const KEYS: usize = 100_000;
    let organization = settled::ids::OrganizationId::from_uuid(uuid::Uuid::from_u128(1 << 100));
    let stream = StreamId::Organization(organization);
    let directory = Directory::default();
    let mut state = Organization::default();
    let before = resident_bytes();
    for version in 1..=2 * KEYS as u64 {
        let number = version.div_ceil(2);
        let key = ApiKeyId::from_uuid(uuid::Uuid::from_u128((1 << 100) + u128::from(number)));
        let event = if version % 2 == 1 {
            ApiKeysEvent::ApiKeyCreated(ApiKeyCreated {
                key,
                name: format!("worker {number}"),
                mode: Mode::Live,
                role: WORKFLOW,
                token: token_of(key, number as u32),
                last4: "aB3d".to_owned(),
                environments: None,
                customers: None,
                expires_at: None,
                allowed_cidrs: None,
                rate_limit: None,
            })
        } else {
            ApiKeysEvent::ApiKeyUsed(ApiKeyUsed { key, opened: None })
        };
        let recorded = Recorded {
            id: Fresh.id(),
            stream,
            version,
            at: start(),
            actor: Actor { id: ActorId::ApiKey(key), session: None },
            resource: Resource::new(ResourceType::ApiKey, key),
            outcome: Outcome::Success,
            event: Event::ApiKeys(event),
            related: Vec::new(),
            reason: None,
            request_id: None,
            request: None,
            count: None,
            keys: Default::default(),
        };
        state.apply(&recorded);
        let mut entries: Vec<DirectoryEntry> = Vec::new();
        Organization::directory(&recorded, &mut entries);
        directory.apply(&[(stream, Head { version, ..Head::default() }, &entries)], start());
    }
    let taken = resident_bytes() - before;
    assert_eq!(state.api_keys.count(), KEYS);
    assert!(directory.key(token_of(ApiKeyId::from_uuid(uuid::Uuid::from_u128((1 << 100) + 7)), 7)).is_some());
    assert!(taken < 40 << 20, "{} KiB", taken >> 10);
}
