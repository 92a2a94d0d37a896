//! A wall clock that jumps, while running and between runs: writes stop, reads go on, and no time ever decreases.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use settled::clock::Timestamp;
use settled::ids::StreamId;
use settled::log::check::check;
use settled::settings::sessions::command::SessionsCommand;
use settled::store::{Refusal, scheduler};

use crate::commands::{accept_clock, rename, sessions};
use crate::scale;
use crate::test_store::{Founded, TestStore, copy, frames, person_of, session_of};

const MINUTES_10: i64 = 600;
const YEARS_75: i64 = 75 * 365 * 86_400;

impl TestStore {
    /// A new run over what is durable now, whose wall clock shows `now`.
    fn run_again_at(&self, now: Timestamp) -> Self {
        let run = Self::open(Arc::new(copy(&*self.log)), self.keys.clone(), now, 1_024);
        run.store.resume_clock();
        run
    }
}

async fn write(store: &TestStore, founded: &Founded, name: &str) -> Result<Timestamp, Refusal> {
    store.execute(founded, rename(founded.owner, name)).await.map(|done| done.view.head.at)
}

fn name(store: &TestStore, founded: &Founded) -> String {
    store.handle(founded.organization).view().organization().general.founded().unwrap().name.clone()
}

#[track_caller]
fn assert_jumped(result: Result<Timestamp, Refusal>) {
    assert!(matches!(result, Err(Refusal::ClockJumped(_))), "{result:?}");
}

/// No stream's times decrease, and the log is as it should be.
#[track_caller]
fn assert_sound(store: &TestStore) {
    let mut last: HashMap<StreamId, Timestamp> = HashMap::new();
    for (position, frame) in frames(&*store.log) {
        let header = frame.header();
        let before = last.insert(header.stream, header.at).unwrap_or(Timestamp::EPOCH);
        assert!(before <= header.at, "time decreases at {position:?}: {before} to {}", header.at);
    }
    assert!(check(&*store.log, |_, _| {}).is_clean());
    store.digests();
}

#[tokio::test]
async fn a_second_back_or_forth_stops_nothing() {
    let store = TestStore::in_memory();
    let founded = store.found("Acme").await;
    let first = write(&store, &founded, "One").await.unwrap();
    store.hands.jump(-1);
    assert_eq!(write(&store, &founded, "Two").await.unwrap(), first, "a step back repeats the last time");
    store.hands.jump(2);
    assert_eq!(write(&store, &founded, "Three").await.unwrap(), first.plus_seconds(1));
    for seconds in [-1, 1] {
        let again = store.run_again_at(store.clock.now().plus_seconds(seconds));
        write(&again, &founded, "Four").await.unwrap();
        assert_sound(&again);
    }
}

#[tokio::test]
async fn a_jump_while_running_stops_writes_until_the_clock_is_right() {
    for jump in [-MINUTES_10, MINUTES_10 + 1, YEARS_75] {
        let store = TestStore::in_memory();
        let founded = store.found("Acme").await;
        let opened = session_of(person_of(founded.owner));
        let token = opened.token;
        store.execute(&founded, sessions(founded.owner, SessionsCommand::Open(opened))).await.unwrap();
        let end = store.log.end();
        store.hands.jump(jump);
        assert_jumped(write(&store, &founded, "One").await);
        assert!(store.store.problems()[0].contains("settled clock accept"));
        // Reads go on: nobody is logged out by a clock that is wrong for a while.
        scheduler::tick(&store.store).await;
        assert_eq!(name(&store, &founded), "Acme");
        let credential = store.store.directory().credential(token).expect("it was dropped by a wrong clock");
        assert!(credential.is_alive(store.clock.credible_now()), "{jump}");
        assert_eq!(store.log.end(), end);
        store.hands.jump(-jump);
        store.hands.advance(Duration::from_secs(1));
        assert_eq!(write(&store, &founded, "Two").await.unwrap(), store.clock.now());
        assert_sound(&store);
    }
}

#[tokio::test]
async fn a_jump_between_runs_stops_writes_until_the_clock_is_right() {
    let store = TestStore::in_memory();
    let founded = store.found("Acme").await;
    let opened = session_of(person_of(founded.owner));
    let token = opened.token;
    store.execute(&founded, sessions(founded.owner, SessionsCommand::Open(opened))).await.unwrap();
    for jump in [-MINUTES_10, YEARS_75] {
        let again = store.run_again_at(store.clock.now().plus_seconds(jump));
        assert_jumped(write(&again, &founded, "One").await);
        scheduler::tick(&again.store).await;
        assert!(again.store.directory().credential(token).is_some(), "it was dropped by a wrong clock");
        assert_eq!(name(&again, &founded), "Acme");
        again.hands.jump(-jump);
        write(&again, &founded, "Two").await.unwrap();
        assert_sound(&again);
    }
    // Off for ten minutes is no jump.
    let again = store.run_again_at(store.clock.now().plus_seconds(MINUTES_10));
    write(&again, &founded, "Three").await.unwrap();
}

#[tokio::test]
async fn an_operator_can_vouch_for_a_clock_that_is_behind_the_log() {
    let store = TestStore::in_memory();
    let founded = store.found("Acme").await;
    let right = store.clock.now();
    store.hands.jump(YEARS_75);
    accept_clock(&store).await;
    let future = write(&store, &founded, "One").await.unwrap();
    assert_eq!(future, right.plus_seconds(YEARS_75));

    store.hands.set_wall(right);
    assert_jumped(write(&store, &founded, "Two").await);
    assert_eq!(accept_clock(&store).await, right);
    assert_eq!(write(&store, &founded, "Two").await.unwrap(), future, "the log's time stands still");

    // The next runs take the accepted clock, and go on.
    let again = store.run_again_at(right.plus_seconds(3_600));
    assert_eq!(write(&again, &founded, "Three").await.unwrap(), future);
    let third = again.run_again_at(right.plus_seconds(7_200));
    assert_eq!(write(&third, &founded, "Four").await.unwrap(), future);
    assert_jumped(write(&again.run_again_at(right.plus_seconds(-60)), &founded, "Five").await);
    assert_sound(&third);
}

#[tokio::test]
async fn an_accepted_clock_is_remembered_though_only_an_organization_is_ahead_of_it() {
    let store = TestStore::in_memory();
    let founded = store.found("Acme").await;
    let right = store.clock.now();
    store.hands.jump(YEARS_75);
    // Vouched for by a crash before the event: only the organization's stream reaches into the future.
    store.clock.accept();
    write(&store, &founded, "One").await.unwrap();
    store.hands.set_wall(right);
    accept_clock(&store).await;
    let again = store.run_again_at(right.plus_seconds(60));
    write(&again, &founded, "Two").await.unwrap();
    assert_sound(&again);
}

#[tokio::test]
async fn sessions_dated_after_an_accepted_clock_end_as_all_others_do() {
    const HOUR: Duration = Duration::from_secs(3600);
    let store = TestStore::in_memory();
    let founded = store.found("Acme").await;
    let right = store.clock.now();
    store.hands.jump(YEARS_75);
    accept_clock(&store).await;
    let opened = session_of(person_of(founded.owner));
    let before = opened.token;
    store.execute(&founded, sessions(founded.owner, SessionsCommand::Open(opened))).await.unwrap();
    store.hands.set_wall(right);
    accept_clock(&store).await;
    let opened = session_of(person_of(founded.owner));
    let after = opened.token;
    store.execute(&founded, sessions(founded.owner, SessionsCommand::Open(opened))).await.unwrap();

    // In this run, and in one that begins with both.
    let again = store.run_again_at(right.plus_seconds(60));
    for run in [store, again] {
        scheduler::tick(&run.store).await;
        let credential = |token| run.store.directory().credential(token);
        assert!(credential(before).unwrap().is_alive(run.clock.credible_now()));
        run.hands.advance(HOUR * 11);
        credential(after).unwrap().touch(run.clock.credible_now());
        run.hands.advance(HOUR * 2);
        scheduler::tick(&run.store).await;
        assert!(!credential(before).unwrap().is_alive(run.clock.credible_now()), "it is idle");
        assert!(credential(after).unwrap().is_alive(run.clock.credible_now()));
        run.hands.advance(HOUR * 24 * 30);
        scheduler::tick(&run.store).await;
        assert!(credential(before).is_none() && credential(after).is_none());
    }
}

#[derive(Clone, Debug)]
enum Happening {
    Write,
    Pass(u64),
    Jump(i64),
    Restart,
    Accept,
}

fn happening() -> impl Strategy<Value = Happening> {
    let jump = prop_oneof![Just(1), Just(MINUTES_10), Just(YEARS_75)];
    prop_oneof![
        4 => Just(Happening::Write),
        2 => (0..100_000u64).prop_map(Happening::Pass),
        2 => (jump, prop::bool::ANY).prop_map(|(by, back)| Happening::Jump(if back { -by } else { by })),
        1 => Just(Happening::Restart),
        1 => Just(Happening::Accept),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20 * scale(), failure_persistence: None, ..Default::default() })]

    #[test]
    fn no_history_of_jumps_poisons_the_log(happenings in prop::collection::vec(happening(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut store = TestStore::in_memory();
            let founded = store.found("Acme").await;
            for (number, happening) in happenings.into_iter().enumerate() {
                match happening {
                    Happening::Write => match write(&store, &founded, &format!("Name {number}")).await {
                        Ok(_) | Err(Refusal::ClockJumped(_)) => {}
                        Err(other) => panic!("{other}"),
                    },
                    Happening::Pass(seconds) => store.hands.advance(Duration::from_secs(seconds)),
                    Happening::Jump(seconds) => store.hands.jump(seconds),
                    Happening::Restart => store = store.run_again_at(store.clock.now()),
                    Happening::Accept => { accept_clock(&store).await; }
                }
            }
            accept_clock(&store).await;
            write(&store, &founded, "At last").await.unwrap();
            assert_sound(&store);
        });
    }
}
