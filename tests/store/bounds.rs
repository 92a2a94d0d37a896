//! What is bounded: the queue, a command's size, a frame's size, singly recorded refusals, the directory.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use settled::actor::Actor;
use settled::command::{Command, OrganizationCommand};
use settled::dns::Dns;
use settled::event::Outcome;
use settled::ids::{EnvironmentId, Fresh, StreamId};
use settled::log::frame::MAX_FRAME_BYTES;
use settled::log::held::HeldLog;
use settled::log::memory::MemoryLog;
use settled::oauth::refresh::Refresher;
use settled::outgoing::{Guard, Outgoing};
use settled::settings::sessions::command::{CloseSession, Closing, SessionsCommand};
use settled::store::{Refusal, Submission, scheduler};

use crate::commands::{create, refusal, rename, sessions, write};
use crate::durable::{all, held, queue};
use crate::test_store::{Founded, Keys, TestStore, frames, person_of, session_of, start};

/// Text that hardly compresses, as canonical JSON.
fn noise(seed: u64, length: usize) -> String {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut text = String::from("\"");
    while text.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        text.push(char::from(
            b"abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ-_"[(state >> 33) as usize % 64],
        ));
    }
    text + "\""
}

fn values(first: u64, count: u64) -> Vec<(String, Option<String>)> {
    (first..first + count).map(|number| (format!("KEY_{number}"), Some(noise(number, 10_000)))).collect()
}

async fn with_environment(store: &TestStore, founded: &Founded) -> EnvironmentId {
    let environment = Fresh.id();
    store.execute(founded, create(founded.owner, environment, "stage")).await.unwrap();
    environment
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_refuses_at_once() {
    let (log, hold) = HeldLog::new(MemoryLog::new());
    let store = TestStore::open(Arc::new(log), Keys::new(), start(), 2);
    let founded = store.found("Acme").await;
    hold.hold();
    let mut answers = queue(&store, &founded, vec![rename(founded.owner, "One")]).await;
    assert!(hold.until_waiting());
    answers.extend(
        queue(&store, &founded, vec![rename(founded.owner, "Two"), rename(founded.owner, "Three")]).await,
    );
    assert_eq!(store.store.queue(), (2, 2));
    let refused = store.execute(&founded, rename(founded.owner, "Four")).await;
    assert_eq!(refused.unwrap_err(), Refusal::QueueFull);
    assert!(store.store.problems().contains(&"the write queue is full".to_owned()));
    hold.release();
    for result in all(answers).await {
        assert_eq!(result.unwrap().events, 1);
    }
    store.execute(&founded, rename(founded.owner, "Four")).await.unwrap();
}

#[tokio::test]
async fn a_command_that_does_not_fit_into_a_frame_is_refused_and_appends_nothing() {
    let store = TestStore::in_memory();
    let founded = store.found("Acme").await;
    let environment = with_environment(&store, &founded).await;
    let end = store.log.end();
    let refused = store.execute(&founded, write(founded.owner, environment, values(0, 150))).await;
    assert_eq!(refused.unwrap_err(), Refusal::TooLarge);
    assert_eq!(store.log.end(), end);
    assert_eq!(
        store.execute(&founded, write(founded.owner, environment, values(0, 60))).await.unwrap().events,
        60
    );
    store.digests();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_would_be_too_large_is_split_between_commands() {
    let (store, hold, founded) = held().await;
    let environment = with_environment(&store, &founded).await;
    hold.hold();
    let mut answers = queue(&store, &founded, vec![rename(founded.owner, "One")]).await;
    assert!(hold.until_waiting());
    let commands = (0..12).map(|number| write(founded.owner, environment, values(number * 20, 20))).collect();
    answers.extend(queue(&store, &founded, commands).await);
    let before = frames(&*store.log).len();
    hold.release();
    for result in all(answers).await {
        result.unwrap();
    }
    let written = &frames(&*store.log)[before + 1..];
    assert!((3..12).contains(&written.len()), "{} frames", written.len());
    for (_, frame) in written {
        assert!(frame.bytes().len() <= 400 << 10, "{} bytes in one commit", frame.bytes().len());
        assert_eq!(frame.len() % 20, 0, "a command's events are in one frame");
    }
    // One command that is larger alone is one frame all the same.
    store.execute(&founded, write(founded.owner, environment, values(1_000, 60))).await.unwrap();
    let (_, alone) = frames(&*store.log).pop().unwrap();
    assert!(alone.len() == 60 && (400 << 10..=MAX_FRAME_BYTES).contains(&alone.bytes().len()));
    store.digests();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_everything_is_refused_everybody_is_answered() {
    let (store, _, founded) = held().await;
    store.disk.store(false, Ordering::Relaxed);
    let commands = (0..1_000).map(|_| rename(founded.owner, "Two")).collect();
    for result in all(queue(&store, &founded, commands).await).await {
        assert_eq!(result.unwrap_err(), Refusal::DiskFull);
    }
}

#[tokio::test]
async fn a_nearly_full_disk_stops_writes_and_not_logging_out() {
    let store = TestStore::in_memory();
    let founded = store.found("Acme").await;
    let opened = session_of(person_of(founded.owner));
    let session = opened.session;
    store.execute(&founded, sessions(founded.owner, SessionsCommand::Open(opened.clone()))).await.unwrap();
    store.disk.store(false, Ordering::Relaxed);
    let refused = store.execute(&founded, rename(founded.owner, "Two")).await;
    assert_eq!(refused.unwrap_err(), Refusal::DiskFull);
    let close = SessionsCommand::Close(CloseSession { session, how: Closing::Logout });
    assert_eq!(store.execute(&founded, sessions(founded.owner, close)).await.unwrap().events, 1);
    store.disk.store(true, Ordering::Relaxed);
    store.execute(&founded, rename(founded.owner, "Two")).await.unwrap();
}

/// The counts of a stream's refused events, in order; 1 where one stands for itself.
fn refused(store: &TestStore, founded: &Founded) -> Vec<u64> {
    store
        .events(StreamId::Organization(founded.organization))
        .iter()
        .filter(|event| event.outcome != Outcome::Success)
        .map(|event| event.count.unwrap_or(1))
        .collect()
}

#[tokio::test]
async fn denials_beyond_sixty_an_hour_are_one_count() {
    let store = TestStore::in_memory();
    let founded = store.found("Acme").await;
    let handle = store.handle(founded.organization);
    for _ in 0..65 {
        store.store.record_denial(&handle, founded.owner, refusal(Outcome::Denied, "org"), None).await;
    }
    scheduler::tick(&store.store).await;
    assert_eq!(refused(&store, &founded), [1; 60]);
    // Another actor has a share of their own.
    let other = Actor::person(Fresh.id(), Fresh.id());
    store.store.record_denial(&handle, other, refusal(Outcome::Denied, "org"), None).await;
    assert_eq!(refused(&store, &founded).len(), 61);

    store.hands.advance(Duration::from_secs(3_600));
    store.disk.store(false, Ordering::Relaxed);
    scheduler::tick(&store.store).await;
    assert_eq!(refused(&store, &founded).len(), 61, "a full disk takes nothing");
    store.disk.store(true, Ordering::Relaxed);
    scheduler::tick(&store.store).await;
    scheduler::tick(&store.store).await;
    assert_eq!(refused(&store, &founded)[61..], [5], "what was refused is kept, and recorded once");
    // A new hour, a new share.
    store.store.record_denial(&handle, founded.owner, refusal(Outcome::Denied, "org"), None).await;
    assert_eq!(refused(&store, &founded)[62..], [1]);
    store.digests();
}

#[tokio::test]
async fn failures_are_recorded_once_a_minute_and_counted() {
    let store = TestStore::in_memory();
    let founded = store.found("Acme").await;
    let handle = store.handle(founded.organization);
    let fail = |about: &'static str| {
        store.store.record_failure(&handle, Actor::SYSTEM, refusal(Outcome::Failure, about))
    };
    for _ in 0..4 {
        fail("one").await;
    }
    fail("two").await;
    assert_eq!(refused(&store, &founded), [1, 1]);
    store.hands.advance(Duration::from_secs(60));
    scheduler::tick(&store.store).await;
    assert_eq!(refused(&store, &founded), [1, 1, 3]);
    fail("one").await;
    assert_eq!(refused(&store, &founded), [1, 1, 3, 1]);
    fail("one").await;
    store.store.flush_counts(true).await;
    assert_eq!(refused(&store, &founded), [1, 1, 3, 1, 1], "a stop records what is open");
}

#[tokio::test]
async fn ended_sessions_leave_the_directory_by_the_scheduler() {
    let store = TestStore::in_memory();
    let founded = store.found("Acme").await;
    let opened = session_of(person_of(founded.owner));
    let token = opened.token;
    let command = Command::Organization(OrganizationCommand::Sessions(SessionsCommand::Open(opened)));
    store.execute(&founded, Submission::new(command, founded.owner)).await.unwrap();
    let dns = Dns::new(None, store.clock.clone());
    let outgoing = Outgoing::new(Guard::Public, dns.clone(), store.clock.clone());
    let refresher = Refresher::new(store.store.clone(), outgoing);
    let timers = tokio::spawn(scheduler::run(store.store.clone(), dns, refresher, std::future::pending()));
    for day in 1..=30 {
        store.hands.sleeping(1).await;
        assert!(store.store.directory().credential(token).is_some(), "it left on day {day}");
        store.hands.advance(Duration::from_secs(86_400));
        tokio::task::yield_now().await;
    }
    for _ in 0..1_000 {
        if store.store.directory().is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(store.store.directory().is_empty());
    timers.abort();
    assert_eq!(store.crashed().store.directory().len(), 1, "by the log's own time it has not ended");
}
