//! What holds of every history: random traffic of three organizations, in memory and on sled.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use proptest::prelude::*;
use settled::area::{Area, Section};
use settled::command::Context;
use settled::event::{Outcome, Recorded, ResourceType};
use settled::ids::{Fresh, OrganizationId, StoreId, StreamId};
use settled::log::EventLog;
use settled::log::filter::{ActionPattern, Filter};
use settled::log::head::Epoch;
use settled::log::sled::open::{HeadPolicy, SledOptions, create as create_store, open as open_store};
use settled::organization::Organization;
use settled::platform::Platform;
use settled::settings::api_keys::projection::ApiKeys;
use settled::settings::billing::projection::Billing;
use settled::settings::connections::projection::Connections;
use settled::settings::customer_data::projection::CustomerData;
use settled::settings::customers::projection::Customers;
use settled::settings::environments::projection::Environments;
use settled::settings::general::projection::General;
use settled::settings::invitations::projection::Invitations;
use settled::settings::join_requests::projection::JoinRequests;
use settled::settings::oauth_apps::projection::OauthApps;
use settled::settings::people::projection::People;
use settled::settings::roles::access::grants;
use settled::settings::roles::projection::Roles;
use settled::settings::secrets::projection::Secrets;
use settled::settings::teams::projection::Teams;
use settled::store::derived::DerivedFiles;
use settled::store::encoding::digest;
use settled::store::resident::Handle;
use settled::store::search::{Facets, Matched};
use settled::store::{Done, Refusal, Submission};

use crate::histories::{BASE, MARKS, Prepared, history, prepare};
use crate::scale;
use crate::test_store::{TestStore, copy, copy_into, person_of, start};

fn over(log: Arc<dyn EventLog>) -> TestStore {
    TestStore::open(log, BASE.keys.clone(), start(), 1_024)
}

pub fn in_memory() -> TestStore {
    over(Arc::new(copy(&BASE.log)))
}

/// A store in memory with derived files in a folder.
pub fn over_files(folder: &std::path::Path) -> TestStore {
    let files = DerivedFiles::new(folder.join("derived"), Fresh.id::<StoreId>());
    TestStore::open_with(Arc::new(copy(&BASE.log)), BASE.keys.clone(), start(), 1_024, Some(files), 64)
}

/// What a command came to, as far as it can be told apart from outside.
pub type Result = std::result::Result<(u64, u64, Option<u64>), Refusal>;

fn told(result: std::result::Result<Done, Refusal>) -> Result {
    result.map(|done| (done.version, done.events, done.replay.map(|replay| replay.version)))
}

/// Submits one burst: its commands meet in as few batches as the writer makes of them, in this order.
pub async fn submit(store: &TestStore, burst: &[Prepared]) -> Vec<Result> {
    let seen = burst.iter().map(|prepared| {
        let handle = store.handle(BASE.members[prepared.organization].founded.organization);
        let submission = prepared.having_seen(&handle.view());
        (handle, submission)
    });
    let mut waiting = Vec::new();
    for (handle, submission) in seen.collect::<Vec<_>>() {
        let of = store.store.clone();
        // On one thread, tasks are first polled, and so queued, in the order of their making.
        waiting.push(tokio::spawn(async move { told(of.execute(&handle, submission).await) }));
    }
    let mut results = Vec::new();
    for answer in waiting {
        results.push(answer.await.unwrap());
    }
    results
}

/// Decides each command of a burst twice against the published state.
fn assert_deciding_is_pure(store: &TestStore, burst: &[Prepared]) {
    for prepared in burst {
        let view = store.handle(BASE.members[prepared.organization].founded.organization).view();
        let Submission { command, actor, preconditions, .. } = prepared.having_seen(&view);
        let context = Context { actor, now: store.clock.now(), preconditions, ordinal: None };
        let before = view.state.digest();
        let first = view.state.decide(&command, &context);
        assert_eq!(view.state.decide(&command, &context), first);
        assert_eq!(view.state.digest(), before);
    }
}

/// Runs a history; after every burst what is served is what a replay gives, twice.
async fn run(store: &TestStore, history: &[(u64, Vec<Prepared>)]) -> Vec<Vec<Result>> {
    let mut results = Vec::new();
    for (pause, burst) in history {
        store.hands.advance(Duration::from_secs(*pause));
        assert_deciding_is_pure(store, burst);
        results.push(submit(store, burst).await);
        assert_eq!(store.digests(), store.digests());
    }
    results
}

pub fn runtime() -> tokio::runtime::Runtime {
    // Made before this runtime is entered: making it takes one of its own.
    LazyLock::force(&BASE);
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap()
}

pub fn stream(organization: usize) -> StreamId {
    StreamId::Organization(BASE.members[organization].founded.organization)
}

pub fn filter() -> impl Strategy<Value = (Filter, Option<u64>, usize)> {
    let actions = prop::sample::subsequence(
        vec![
            "config.*",
            "config.set",
            "secret.*",
            "environment.create",
            "organization.*",
            "auth.login",
            "person.*",
            "invitation.*",
            "connection.*",
            "credential.token_refresh",
            "*",
        ],
        0..3,
    );
    let types = prop::sample::subsequence(
        vec![
            ResourceType::Config,
            ResourceType::Environment,
            ResourceType::Secret,
            ResourceType::Organization,
            ResourceType::Session,
            ResourceType::Person,
            ResourceType::Invitation,
            ResourceType::Connection,
        ],
        0..3,
    );
    let outcomes = prop::sample::subsequence(vec![Outcome::Success, Outcome::Denied, Outcome::Failure], 0..2);
    let span = prop::option::weighted(0.3, 0..10_000i64);
    (
        (actions, types, outcomes, prop::sample::subsequence(vec![0usize, 1, 2, 3], 0..3)),
        (span.clone(), span, prop::option::weighted(0.3, 0..60u64), prop::option::weighted(0.3, 0..60u64)),
        0..30usize,
    )
        .prop_map(|((actions, types, outcomes, actors), (from, to, until, before), limit)| {
            let filter = Filter {
                actors: actors.iter().map(|actor| BASE.members[0].actors[*actor].id.to_string()).collect(),
                actions: actions.into_iter().map(ActionPattern::read).collect(),
                types,
                outcomes,
                from: from.map(|seconds| start().plus_seconds(seconds)),
                to: to.map(|seconds| start().plus_seconds(seconds)),
                until,
                ..Filter::default()
            };
            (filter, before, limit)
        })
}

pub fn config(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases: cases * scale(),
        failure_persistence: None,
        max_shrink_iters: 200,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config(100))]

    #[test]
    fn replay_is_the_live_state_and_organizations_never_see_each_other(history in history()) {
        runtime().block_on(async {
            let store = in_memory();
            let prepared = prepare(&history, &store);
            let results = run(&store, &prepared).await;
            assert_reopened_the_same(&store);
            for organization in 0..3 {
                assert_alone_is_the_same(&store, organization, &prepared, &results).await;
                assert_nothing_of_others(&store, organization);
            }
        });
    }

    #[test]
    fn a_saved_state_is_the_state_and_an_area_reads_what_it_says(history in history()) {
        runtime().block_on(async {
            let store = in_memory();
            run(&store, &prepare(&history, &store)).await;
            for organization in 0..3 {
                let view = store.handle(id(organization)).view();
                assert_saved_is_the_state(view.organization());
                assert_areas_read_what_they_say(view.organization(), &store.events(stream(organization)));
            }
            let platform = store.store.platform().view();
            let (state, mut sections) = (platform.platform(), platform.platform().sections());
            let read = Platform::from_sections(|name, projection| take(&mut sections, name, projection));
            assert_eq!(digest(&read.unwrap()), digest(state));
        });
    }

    #[test]
    fn the_audit_log_is_a_filter_over_all_events(history in history(), filters in prop::collection::vec(filter(), 1..8)) {
        runtime().block_on(async {
            let store = in_memory();
            run(&store, &prepare(&history, &store)).await;
            let all = store.events(stream(0));
            let handle = store.handle(BASE.members[0].founded.organization);
            let resources = vec![all[all.len() / 2].resource.id.clone()];
            for (filter, before, limit) in filters {
                assert_found(&store, &handle, &all, &filter, before, limit);
                let filter = Filter { resources: resources.clone(), ..filter };
                assert_found(&store, &handle, &all, &filter, before, limit);
            }
            assert_first_mentions(&store, &handle, &all);
        });
    }
}

proptest! {
    #![proptest_config(config(12))]

    #[test]
    fn memory_and_sled_give_the_same_answers(history in history()) {
        runtime().block_on(async {
            let memory = in_memory();
            let prepared = prepare(&history, &memory);
            let folder = tempfile::tempdir().unwrap();
            let options = SledOptions::new(folder.path(), Fresh.id::<StoreId>());
            create_store(&options, &Epoch::default()).unwrap();
            let log = open_store(options.clone(), HeadPolicy::Require).unwrap().log;
            copy_into(&BASE.log, &log);
            let sled = over(Arc::new(log));
            assert_eq!(run(&memory, &prepared).await, run(&sled, &prepared).await);
            let digests = memory.digests();
            assert_eq!(digests, sled.digests());
            drop(sled);
            let log = open_store(options, HeadPolicy::Require).unwrap().log;
            assert_eq!(digests, over(Arc::new(log)).digests());
        });
    }
}

fn take(sections: &mut Vec<Section>, name: &str, projection: u32) -> Option<Vec<u8>> {
    let at = sections.iter().position(|section| (section.name, section.projection) == (name, projection))?;
    Some(sections.remove(at).bytes)
}

fn assert_saved_is_the_state(state: &Organization) {
    let sections = state.sections();
    let read = |mut sections: Vec<Section>| {
        Organization::from_sections(|name, projection| take(&mut sections, name, projection))
    };
    assert_eq!(digest(&read(sections.clone()).unwrap()), digest(state));
    for changed in 0..sections.len() {
        let with = |change: fn(&mut Section)| {
            let mut sections = sections.clone();
            change(&mut sections[changed]);
            read(sections)
        };
        assert!(with(|section| section.bytes.truncate(section.bytes.len() - 1)).is_none());
        assert!(with(|section| section.bytes.push(0)).is_none());
        assert!(with(|section| section.bytes[0] = 0xc1).is_none());
        assert!(with(|section| section.projection += 1).is_none());
    }
}

fn assert_areas_read_what_they_say(state: &Organization, events: &[Recorded]) {
    fn check<A: Area>(state: &Organization, events: &[Recorded]) {
        let mut alone = A::default();
        for event in events.iter().filter(|event| A::READS.contains(&event.event.action())) {
            alone.apply(event);
        }
        assert_eq!(digest(&alone), digest(A::of(state)), "{} reads more than it says", A::NAME);
    }
    check::<General>(state, events);
    check::<People>(state, events);
    check::<Invitations>(state, events);
    check::<JoinRequests>(state, events);
    check::<Teams>(state, events);
    check::<Roles>(state, events);
    check::<ApiKeys>(state, events);
    check::<Environments>(state, events);
    check::<Secrets>(state, events);
    check::<Customers>(state, events);
    check::<CustomerData>(state, events);
    check::<OauthApps>(state, events);
    check::<Connections>(state, events);
    check::<Billing>(state, events);
}

fn assert_reopened_the_same(store: &TestStore) {
    let reopened = store.crashed();
    assert_eq!(reopened.digests(), store.digests());
    assert_eq!(reopened.store.directory().len(), store.store.directory().len());
}

/// An organization's answers and state are what they are without the others' traffic.
async fn assert_alone_is_the_same(
    store: &TestStore,
    organization: usize,
    history: &[(u64, Vec<Prepared>)],
    results: &[Vec<Result>],
) {
    let alone = in_memory();
    for ((pause, burst), results) in history.iter().zip(results) {
        alone.hands.advance(Duration::from_secs(*pause));
        let (burst, expected): (Vec<Prepared>, Vec<Result>) = burst
            .iter()
            .zip(results)
            .filter(|(prepared, _)| prepared.organization == organization)
            .map(|(prepared, result)| (prepared.clone(), result.clone()))
            .unzip();
        assert_eq!(submit(&alone, &burst).await, expected, "{} sees others' traffic", MARKS[organization]);
    }
    let (with, without) = (store.handle(id(organization)).view(), alone.handle(id(organization)).view());
    assert_eq!(with.state.digest(), without.state.digest(), "{} sees others' traffic", MARKS[organization]);
    assert_eq!(with.version(), without.version());
    assert_eq!(with.head.at, without.head.at);
}

pub fn id(organization: usize) -> OrganizationId {
    BASE.members[organization].founded.organization
}

/// Nothing in an organization's events, state and credentials names another, or a thing of another.
fn assert_nothing_of_others(store: &TestStore, organization: usize) {
    let mut shown = String::new();
    for event in store.events(stream(organization)) {
        shown.push_str(&format!("{event:?}\n"));
    }
    let view = store.handle(id(organization)).view();
    shown.push_str(&format!("{:?}", view.organization()));
    for other in (0..3).filter(|other| *other != organization) {
        assert!(!shown.contains(MARKS[other]), "{} shows {}", MARKS[organization], MARKS[other]);
        assert!(!shown.contains(&id(other).to_string()));
        for actor in &BASE.members[other].actors {
            assert!(!shown.contains(&actor.id.to_string()));
            assert_eq!(grants(view.organization(), actor.id), Default::default());
        }
        for event in store.events(stream(other)) {
            assert!(!shown.contains(&event.id.to_string()));
        }
    }
    for actor in &BASE.members[organization].actors {
        let holder = settled::settings::sessions::projection::Holder::Person(person_of(*actor));
        for session in view.organization().sessions.of(holder) {
            let credential = store.store.directory().of_session(session.id).expect("it is open");
            assert_eq!(credential.stream, stream(organization));
        }
    }
}

/// What a filter finds in a stream is what it is in all of the stream's events.
fn assert_found(
    store: &TestStore,
    handle: &Arc<Handle>,
    all: &[Recorded],
    filter: &Filter,
    before: Option<u64>,
    limit: usize,
) {
    let (of, view) = (&store.store, handle.view());
    let matching: Vec<&Recorded> = all.iter().filter(|event| filter.matches(event)).collect();
    let total = matching.len() as u64;

    let newest: Vec<u64> = matching.iter().rev().map(|event| event.version).collect();
    let is_before = |version: &u64| before.is_none_or(|before| *version < before);
    let versions: Vec<u64> = newest.into_iter().filter(is_before).take(limit).collect();
    let matched = of.versions(handle, &view, filter, before, limit).unwrap();
    let upto = before.unwrap_or(u64::MAX);
    assert_eq!(of.versions_before(handle, &view, filter, upto, limit).unwrap(), matched.versions);
    assert_eq!(matched, Matched { versions, total });

    let after = before.unwrap_or(0);
    let oldest = matching.iter().map(|event| event.version);
    let oldest: Vec<u64> = oldest.filter(|version| *version > after).take(limit).collect();
    assert_eq!(of.versions_after(handle, &view, filter, after, limit).unwrap(), oldest);

    for versions in [&matched.versions, &oldest] {
        let expected: Vec<Recorded> =
            versions.iter().map(|version| all[usize::try_from(*version).unwrap() - 1].clone()).collect();
        assert_eq!(of.recorded(handle, &view, versions).unwrap(), expected);
    }

    let mut facets = Facets { total, ..Facets::default() };
    for event in matching {
        *facets.actors.entry(event.actor.id).or_default() += 1;
        *facets.actions.entry(event.event.action().to_owned()).or_default() += 1;
        *facets.types.entry(event.resource.kind).or_default() += 1;
        *facets.outcomes.entry(event.outcome).or_default() += 1;
    }
    assert_eq!(of.facets(handle, &view, filter).unwrap(), facets);
}

/// The first event that is about a thing or concerns it is found for each thing that any event names.
fn assert_first_mentions(store: &TestStore, handle: &Arc<Handle>, all: &[Recorded]) {
    let view = handle.view();
    let mut first = BTreeMap::new();
    for event in all {
        for id in event.related.iter().chain([&event.resource.id]) {
            first.entry(id.clone()).or_insert(event);
        }
    }
    for (id, event) in first {
        assert_eq!(
            store.store.first_mention(handle, &view, &id, view.version(), |_| true).unwrap().as_ref(),
            Some(event),
            "{id}"
        );
    }
    assert_eq!(store.store.first_mention(handle, &view, "nobody", view.version(), |_| true).unwrap(), None);
}
