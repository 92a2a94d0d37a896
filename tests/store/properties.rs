//! What holds of every history: random traffic of three organizations, in memory and on sled.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use settled::actor::{Actor, ActorId};
use settled::audit::row::find;
use settled::command::{Command, Context, OrganizationCommand, Precondition, Rejection};
use settled::event::{Outcome, Recorded, ResourceType};
use settled::ids::{EnvironmentId, Fresh, OrganizationId, RoleAssignmentId, SessionId, StoreId, StreamId};
use settled::log::EventLog;
use settled::log::filter::{ActionPattern, Filter};
use settled::log::head::Epoch;
use settled::log::memory::MemoryLog;
use settled::log::sled::open::{HeadPolicy, SledOptions, create as create_store, open as open_store};
use settled::settings::environments::command::{
    Compares, CreateEnvironment, DeleteEnvironment, EnvironmentsCommand, UpdateEnvironment, WriteConfig,
};
use settled::settings::environments::event::Mode;
use settled::settings::environments::value::{ConfigKey, Slug};
use settled::settings::general::command::{GeneralCommand, UpdateOrganization};
use settled::settings::general::value::Timezone;
use settled::settings::people::command::PeopleCommand;
use settled::settings::roles::command::{AssignRole, RolesCommand, UnassignRole};
use settled::settings::roles::role::{RoleRef, SystemRole};
use settled::settings::sessions::command::{CloseSession, Closing, SessionsCommand};
use settled::store::exports::NoteExport;
use settled::store::{Done, Idempotency, Refusal, Submission};
use settled::text::{Description, Name};

use crate::commands::{create, refusal};
use crate::scale;
use crate::test_store::{Founded, Keys, TestStore, copy, copy_into, person_of, session_of, start};

/// Each organization's things carry its mark.
const MARKS: [&str; 3] = ["alpha", "beta", "gamma"];

/// One organization of the base: its Owner, an Admin, a Developer, somebody without a role, and an environment.
#[derive(Clone)]
struct Member {
    founded: Founded,
    actors: Vec<Actor>,
    environment: EnvironmentId,
}

/// What every history begins with: three organizations with four people each, made once.
struct Base {
    log: MemoryLog,
    keys: Keys,
    members: Vec<Member>,
}

static BASE: LazyLock<Base> = LazyLock::new(|| {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let store = TestStore::in_memory();
        let mut members: Vec<Member> = Vec::new();
        for mark in MARKS {
            let founded = match members.first() {
                None => store.found(mark).await,
                Some(first) => store.found_further(first.founded.account, mark).await,
            };
            let mut actors = vec![founded.owner];
            for role in [Some(SystemRole::Admin), Some(SystemRole::Developer), None] {
                actors.push(join(&store, &founded, mark, role).await);
            }
            let environment = Fresh.id();
            let made = create(founded.owner, environment, mark);
            store.execute(&founded, made).await.unwrap();
            members.push(Member { founded, actors, environment });
        }
        Base { log: copy(&*store.log), keys: store.keys.clone(), members }
    })
});

async fn join(store: &TestStore, founded: &Founded, mark: &str, role: Option<SystemRole>) -> Actor {
    let (joined, key) = store.newcomer(founded.organization, mark);
    let person = joined.person;
    let mut submission = Submission::new(PeopleCommand::Join(joined), founded.owner);
    submission.keys = vec![key];
    store.execute(founded, submission).await.unwrap();
    if let Some(role) = role {
        let assign =
            AssignRole { assignment: Fresh.id(), person, role: RoleRef::System(role), environment: None };
        store.execute(founded, Submission::new(RolesCommand::Assign(assign), founded.owner)).await.unwrap();
    }
    Actor { id: ActorId::Person(person), session: None }
}

/// What is asked for, before it is known of whom. Indices choose among what earlier steps tried to make.
#[derive(Clone, Debug)]
enum Ask {
    Rename(u8),
    Zone(bool),
    Create { name: u8, described: bool },
    Update { which: Index, name: Option<u8>, clear: bool },
    Delete(Index),
    Config { which: Index, values: Vec<(u8, Option<u8>)>, whole: bool, create_only: bool, must_exist: bool },
    Join,
    Assign { person: Index, role: u8, environment: Option<Index> },
    Unassign(Index),
    Open,
    Close { which: Index, revoke: bool },
    Deny,
    Export,
}

#[derive(Clone, Debug)]
struct Step {
    organization: usize,
    /// Whose person asks: mostly the organization's own.
    of: usize,
    actor: usize,
    ask: Ask,
    precondition: Option<u64>,
    key: Option<(u8, u8)>,
}

/// Steps that are queued together, after some seconds have passed.
type Burst = (u64, Vec<Step>);

fn ask() -> impl Strategy<Value = Ask> {
    let index = any::<Index>;
    prop_oneof![
        2 => (0..4u8).prop_map(Ask::Rename),
        1 => any::<bool>().prop_map(Ask::Zone),
        4 => (0..6u8, any::<bool>()).prop_map(|(name, described)| Ask::Create { name, described }),
        2 => (index(), prop::option::of(0..6u8), any::<bool>())
            .prop_map(|(which, name, clear)| Ask::Update { which, name, clear }),
        1 => index().prop_map(Ask::Delete),
        6 => (index(), prop::collection::vec((0..5u8, prop::option::weighted(0.7, 0..3u8)), 1..4), any::<bool>(),
              prop::bool::weighted(0.3), prop::bool::weighted(0.2))
            .prop_map(|(which, values, whole, create_only, must_exist)| Ask::Config {
                which, values, whole, create_only, must_exist,
            }),
        1 => Just(Ask::Join),
        3 => (index(), 0..7u8, prop::option::of(index()))
            .prop_map(|(person, role, environment)| Ask::Assign { person, role, environment }),
        2 => index().prop_map(Ask::Unassign),
        2 => Just(Ask::Open),
        2 => (index(), any::<bool>()).prop_map(|(which, revoke)| Ask::Close { which, revoke }),
        1 => Just(Ask::Deny),
        1 => Just(Ask::Export),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let key = prop::option::weighted(0.3, (0..3u8, prop::bool::weighted(0.2).prop_map(u8::from)));
    let precondition = prop::option::weighted(0.2, 0..40u64);
    let actor = prop_oneof![4 => Just(0usize), 2 => Just(1), 1 => Just(2), 1 => Just(3)];
    (0..3usize, prop::option::weighted(0.05, 0..3usize), actor, ask(), precondition, key).prop_map(
        |(organization, stranger, actor, ask, precondition, key)| Step {
            organization,
            of: stranger.unwrap_or(organization),
            actor,
            ask,
            precondition,
            key,
        },
    )
}

fn history() -> impl Strategy<Value = Vec<Burst>> {
    let pause = prop_oneof![6 => Just(0u64), 3 => 1..600u64, 1 => 3_600..100_000u64];
    prop::collection::vec((pause, prop::collection::vec(step(), 1..6)), 1..24)
}

/// What earlier steps tried to make in one organization.
#[derive(Default)]
struct Made {
    environments: Vec<EnvironmentId>,
    assignments: Vec<RoleAssignmentId>,
    sessions: Vec<SessionId>,
    people: Vec<settled::ids::UserId>,
}

/// A step made ready, to be submitted as it is to any store over the base.
#[derive(Clone)]
struct Prepared {
    organization: usize,
    submission: Submission,
}

/// Prepares a history with a store's keys; the store's state plays no part.
fn prepare(history: &[Burst], with: &TestStore) -> Vec<(u64, Vec<Prepared>)> {
    let mut made: Vec<Made> = BASE.members.iter().map(Made::of).collect();
    let prepared = |step: &Step, made: &mut Made| {
        let actor = BASE.members[step.of].actors[step.actor];
        let founded = &BASE.members[step.organization].founded;
        let mut submission = made.command(step, actor, founded.organization, with);
        submission.precondition =
            step.precondition.map(|version| Precondition::OneOf(vec![version, version + 1]));
        submission.idempotency = step.key.map(|(key, body)| Idempotency {
            key: format!("key {key} of {}", step.actor),
            body: format!("body {body}"),
            status: 200,
        });
        Prepared { organization: step.organization, submission }
    };
    history
        .iter()
        .map(|(pause, steps)| {
            (*pause, steps.iter().map(|step| prepared(step, &mut made[step.organization])).collect())
        })
        .collect()
}

fn chosen<T: Copy>(from: &[T], index: Index, or: T) -> T {
    if from.is_empty() { or } else { *index.get(from) }
}

impl Made {
    fn of(member: &Member) -> Self {
        let people = member.actors.iter().map(|actor| person_of(*actor)).collect();
        Self { people, environments: vec![member.environment], ..Self::default() }
    }

    fn command(
        &mut self,
        step: &Step,
        actor: Actor,
        organization: OrganizationId,
        with: &TestStore,
    ) -> Submission {
        let mark = MARKS[step.organization];
        let named = |number: u8| Name::try_from(format!("{mark} {number}").as_str()).unwrap();
        let environments = self.environments.clone();
        let environment = |which: Index| chosen(&environments, which, Fresh.id());
        match step.ask.clone() {
            Ask::Rename(number) => {
                let update = UpdateOrganization { name: Some(named(number)), ..Default::default() };
                Submission::new(GeneralCommand::Update(update), actor)
            }
            Ask::Zone(other) => {
                let zone = Timezone::try_from(if other { "Asia/Tokyo" } else { "Europe/Berlin" }).unwrap();
                let update = UpdateOrganization { timezone: Some(zone), ..Default::default() };
                Submission::new(GeneralCommand::Update(update), actor)
            }
            Ask::Create { name, described } => {
                let environment = Fresh.id();
                self.environments.push(environment);
                let create = CreateEnvironment {
                    environment,
                    name: named(name),
                    slug: Slug::try_from(format!("{mark}-{name}").as_str()).unwrap(),
                    mode: if name % 2 == 0 { Mode::Test } else { Mode::Live },
                    description: described.then(|| Description::try_from(mark).unwrap()),
                };
                Submission::new(EnvironmentsCommand::Create(create), actor)
            }
            Ask::Update { which, name, clear } => {
                let update = UpdateEnvironment {
                    environment: environment(which),
                    name: name.map(named),
                    slug: None,
                    description: clear.then_some(None),
                };
                Submission::new(EnvironmentsCommand::Update(update), actor)
            }
            Ask::Delete(which) => {
                let delete = DeleteEnvironment { environment: environment(which) };
                Submission::new(EnvironmentsCommand::Delete(delete), actor)
            }
            Ask::Config { which, values, whole, create_only, must_exist } => {
                let mut values: Vec<_> = values
                    .into_iter()
                    .map(|(key, value)| {
                        let key = ConfigKey::try_from(format!("KEY_{key}").as_str()).unwrap();
                        (key, value.map(|value| format!("\"{mark} {value}\"")))
                    })
                    .collect();
                values.sort();
                values.dedup_by(|one, other| one.0 == other.0);
                let compares = if whole { Compares::Configuration } else { Compares::Value };
                let write = WriteConfig {
                    environment: environment(which),
                    compares,
                    values,
                    create_only,
                    must_exist,
                };
                Submission::new(EnvironmentsCommand::WriteConfig(write), actor)
            }
            Ask::Join => {
                let (joined, key) = with.newcomer(organization, mark);
                self.people.push(joined.person);
                let mut submission = Submission::new(PeopleCommand::Join(joined), actor);
                submission.keys = vec![key];
                submission
            }
            Ask::Assign { person, role, environment: limited } => {
                let assignment = Fresh.id();
                self.assignments.push(assignment);
                let assign = AssignRole {
                    assignment,
                    person: *person.get(&self.people),
                    role: RoleRef::System(SystemRole::ALL[usize::from(role)]),
                    environment: limited.map(environment),
                };
                Submission::new(RolesCommand::Assign(assign), actor)
            }
            Ask::Unassign(which) => {
                let assignment = chosen(&self.assignments, which, Fresh.id());
                Submission::new(RolesCommand::Unassign(UnassignRole { assignment }), actor)
            }
            Ask::Open => {
                let opened = session_of(person_of(actor));
                self.sessions.push(opened.session);
                organizations(OrganizationCommand::Sessions(SessionsCommand::Open(opened)), actor)
            }
            Ask::Close { which, revoke } => {
                let session = chosen(&self.sessions, which, Fresh.id());
                let how = if revoke { Closing::Revoke } else { Closing::Logout };
                let close = SessionsCommand::Close(CloseSession { session, how });
                organizations(OrganizationCommand::Sessions(close), actor)
            }
            // Over HTTP an actor is only ever denied in their own organization.
            Ask::Deny if step.of == step.organization => {
                let denied = refusal(Outcome::Denied, &organization.to_string());
                organizations(OrganizationCommand::Refuse(denied), actor)
            }
            Ask::Deny | Ask::Export => organizations(OrganizationCommand::Export(NoteExport), actor),
        }
    }
}

fn organizations(command: OrganizationCommand, actor: Actor) -> Submission {
    Submission::new(Command::Organization(command), actor)
}

fn over(log: Arc<dyn EventLog>) -> TestStore {
    TestStore::open(log, BASE.keys.clone(), start(), 1_024)
}

fn in_memory() -> TestStore {
    over(Arc::new(copy(&BASE.log)))
}

/// What a command came to, as far as it can be told apart from outside.
type Result = std::result::Result<(u64, u64, Option<u64>), Refusal>;

fn told(result: std::result::Result<Done, Refusal>) -> Result {
    result.map(|done| (done.version, done.events, done.replay.map(|replay| replay.version)))
}

/// Submits one burst: its commands meet in as few batches as the writer makes of them, in this order.
async fn submit(store: &TestStore, burst: &[Prepared]) -> Vec<Result> {
    let mut waiting = Vec::new();
    for prepared in burst {
        let handle = store.handle(BASE.members[prepared.organization].founded.organization);
        let (of, submission) = (store.store.clone(), prepared.submission.clone());
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
        let context = Context {
            actor: prepared.submission.actor,
            now: store.clock.now(),
            precondition: prepared.submission.precondition.clone(),
        };
        let before = view.state.digest();
        let first = view.state.decide(&prepared.submission.command, &context);
        assert_eq!(view.state.decide(&prepared.submission.command, &context), first);
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

fn runtime() -> tokio::runtime::Runtime {
    // Made before this runtime is entered: making it takes one of its own.
    LazyLock::force(&BASE);
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap()
}

fn stream(organization: usize) -> StreamId {
    StreamId::Organization(BASE.members[organization].founded.organization)
}

fn filter() -> impl Strategy<Value = (Filter, Option<u64>, usize)> {
    let actions = prop::sample::subsequence(
        vec![
            "config.*",
            "config.set",
            "environment.create",
            "organization.*",
            "auth.login",
            "person.join",
            "*",
        ],
        0..3,
    );
    let types = prop::sample::subsequence(
        vec![
            ResourceType::Config,
            ResourceType::Environment,
            ResourceType::Organization,
            ResourceType::Session,
        ],
        0..3,
    );
    let outcomes = prop::sample::subsequence(vec![Outcome::Success, Outcome::Denied], 0..2);
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

fn config(cases: u32) -> ProptestConfig {
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
    fn the_audit_log_is_a_filter_over_all_events(history in history(), filters in prop::collection::vec(filter(), 1..8)) {
        runtime().block_on(async {
            let store = in_memory();
            run(&store, &prepare(&history, &store)).await;
            let all = store.events(stream(0));
            let view = store.handle(BASE.members[0].founded.organization).view();
            let resources = vec![all[all.len() / 2].resource.id.clone()];
            for (filter, before, limit) in filters {
                assert_found(&store, &view, &all, &filter, before, limit);
                assert_found(&store, &view, &all, &Filter { resources: resources.clone(), ..filter }, before, limit);
            }
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

fn id(organization: usize) -> OrganizationId {
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
            assert_eq!(view.organization().roles.grants(actor.id), Default::default());
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

fn assert_found(
    store: &TestStore,
    view: &settled::store::resident::View,
    all: &[Recorded],
    filter: &Filter,
    before: Option<u64>,
    limit: usize,
) {
    let found = find(&store.store, view, filter, before, limit).unwrap();
    let matching: Vec<&Recorded> = all.iter().rev().filter(|event| filter.matches(event)).collect();
    assert_eq!(found.total, matching.len() as u64);
    let page: Vec<&Recorded> = matching
        .into_iter()
        .filter(|event| before.is_none_or(|before| event.version < before))
        .take(limit)
        .collect();
    assert_eq!(found.events.iter().collect::<Vec<_>>(), page);
}

/// Histories that are all refused would prove nothing.
#[test]
fn random_histories_come_to_everything_that_can_be() {
    let mut runner = TestRunner::deterministic();
    let mut seen = BTreeMap::new();
    let (mut commands, mut appended) = (0, 0);
    for _ in 0..30 {
        let history = history().new_tree(&mut runner).unwrap().current();
        let results = runtime().block_on(async {
            let store = in_memory();
            run(&store, &prepare(&history, &store)).await
        });
        for result in results.into_iter().flatten() {
            commands += 1;
            let kind = match result {
                Ok((_, _, Some(_))) => "replay".to_owned(),
                Ok((_, 0, None)) => "no change".to_owned(),
                Ok((_, _, None)) => {
                    appended += 1;
                    "appended".to_owned()
                }
                Err(Refusal::Rejected(Rejection::Forbidden(_))) => "forbidden".to_owned(),
                Err(refusal) => refusal.to_string(),
            };
            *seen.entry(kind).or_insert(0) += 1;
        }
    }
    assert!(appended * 4 > commands, "{appended} of {commands} commands appended something: {seen:?}");
    for kind in [
        "replay",
        "no change",
        "forbidden",
        "the idempotency key was used for another request",
        "what is to be changed has changed since it was read",
        "there is no such environment",
        "another environment has this name",
        "the configuration value exists already",
    ] {
        assert!(seen.contains_key(kind), "no command came to: {kind}; {seen:?}");
    }
}
