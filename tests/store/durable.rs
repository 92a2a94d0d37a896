//! Nothing is answered before what it rests on is durable, and a log that fails acknowledges nothing.

use std::sync::Arc;
use std::time::Duration;

use settled::command::Rejection;
use settled::ids::{EnvironmentId, Fresh, StreamId};
use settled::log::held::{HeldLog, Hold};
use settled::log::memory::MemoryLog;
use settled::settings::environments::command::EnvironmentsRejection;
use settled::settings::sessions::command::{CloseSession, Closing, SessionsCommand};
use settled::store::{Done, Refusal, Submission};
use tokio::task::JoinHandle;

use crate::commands::{create, delete, rename, sessions, with_key};
use crate::test_store::{Founded, TestStore, person_of, session_of};

pub type Answer = JoinHandle<Result<Done, Refusal>>;

/// A store whose log can be held, with an organization.
pub async fn held() -> (TestStore, Hold, Founded) {
    let (log, hold) = HeldLog::new(MemoryLog::new());
    let store = TestStore::over(Arc::new(log));
    let founded = store.found("Acme").await;
    (store, hold, founded)
}

/// Queues commands in this order, and returns once all are in the writer's hands or its queue.
pub async fn queue(store: &TestStore, founded: &Founded, submissions: Vec<Submission>) -> Vec<Answer> {
    let mut answers = Vec::new();
    for submission in submissions {
        let (handle, of) = (store.handle(founded.organization), store.store.clone());
        let (queued, is_queued) = tokio::sync::oneshot::channel();
        answers.push(tokio::spawn(async move {
            let answer = of.execute(&handle, submission);
            tokio::pin!(answer);
            // The first poll queues the command.
            tokio::select! {
                biased;
                early = &mut answer => return early,
                () = std::future::ready(()) => {}
            }
            let _gone = queued.send(());
            answer.await
        }));
        let _early = is_queued.await;
    }
    answers
}

/// Gives whatever might wrongly get out the time to.
async fn assert_none_is_out(answers: &[Answer]) {
    tokio::time::sleep(Duration::from_millis(100)).await;
    for (number, answer) in answers.iter().enumerate() {
        assert!(!answer.is_finished(), "answer {number} got out before its batch was durable");
    }
}

pub async fn all(answers: Vec<Answer>) -> Vec<Result<Done, Refusal>> {
    let mut results = Vec::new();
    for answer in answers {
        results.push(answer.await.unwrap());
    }
    results
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_answer_rests_on_what_is_not_durable() {
    let (store, hold, founded) = held().await;
    let (owner, env, twin): (_, EnvironmentId, EnvironmentId) = (founded.owner, Fresh.id(), Fresh.id());
    let opened = session_of(person_of(owner));
    let (session, token) = (opened.session, opened.token);
    hold.hold();
    // The first batch holds the writer up, so that all others meet in the second.
    let first = queue(&store, &founded, vec![rename(owner, "One")]).await;
    assert!(hold.until_waiting());
    let close = SessionsCommand::Close(CloseSession { session, how: Closing::Logout });
    let answers = queue(
        &store,
        &founded,
        vec![
            with_key(rename(owner, "Two"), "k", "b"),
            with_key(rename(owner, "Two"), "k", "b"),
            with_key(rename(owner, "Two"), "k", "other"),
            rename(owner, "Two"),
            create(owner, env, "stage"),
            create(owner, twin, "stage"),
            delete(owner, env),
            delete(owner, env),
            sessions(owner, SessionsCommand::Open(opened)),
        ],
    )
    .await;
    assert_none_is_out(&first).await;
    hold.let_one_through();
    assert!(hold.until_waiting());
    assert_eq!(all(first).await[0].as_ref().unwrap().events, 1);

    assert_none_is_out(&answers).await;
    let view = store.handle(founded.organization).view();
    assert_eq!(view.organization().general.founded().unwrap().name, "One");
    assert!(view.organization().sessions.get(session).is_none());
    assert!(store.store.directory().credential(token).is_none());
    assert_eq!(store.events(StreamId::Organization(founded.organization)).len() as u64, view.version());
    store.digests();

    hold.release();
    let results = all(answers).await;
    // The whole batch is one frame, and each answer says where it is.
    let head = store.handle(founded.organization).view().head;
    for done in results.iter().flatten() {
        assert_eq!((done.view.head.position, done.view.head.hash), (head.position, head.hash));
    }
    let version = results[0].as_ref().unwrap().version;
    assert_eq!(results[0].as_ref().unwrap().events, 1);
    let replay = results[1].as_ref().unwrap();
    assert_eq!((replay.events, replay.version), (0, version));
    assert_eq!(replay.replay.unwrap().status, 201);
    assert_eq!(results[2].as_ref().unwrap_err(), &Refusal::KeyReused);
    assert_eq!(results[3].as_ref().unwrap().events, 0);
    assert_eq!(results[4].as_ref().unwrap().events, 1);
    let rejected = |rejection: EnvironmentsRejection| Refusal::Rejected(Rejection::Environments(rejection));
    assert_eq!(results[5].as_ref().unwrap_err(), &rejected(EnvironmentsRejection::NameTaken));
    assert_eq!(results[6].as_ref().unwrap().events, 1);
    assert_eq!(results[7].as_ref().unwrap_err(), &rejected(EnvironmentsRejection::NotFound));
    assert_eq!(results[8].as_ref().unwrap().events, 1);
    assert!(store.store.directory().credential(token).is_some());
    assert_eq!(store.handle(founded.organization).view().version(), version + 3);

    let closing = queue(&store, &founded, vec![sessions(owner, close)]).await;
    all(closing).await[0].as_ref().unwrap();
    assert!(store.store.directory().credential(token).is_none());
    store.digests();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_in_the_batch_of_its_first_request_can_be_rendered() {
    let (store, hold, founded) = held().await;
    let owner = founded.owner;
    hold.hold();
    let first = queue(&store, &founded, vec![rename(owner, "One")]).await;
    assert!(hold.until_waiting());
    let answers = queue(
        &store,
        &founded,
        vec![
            with_key(rename(owner, "Two"), "k", "b"),
            rename(owner, "Three"),
            with_key(rename(owner, "Two"), "k", "b"),
        ],
    )
    .await;
    hold.release();
    all(first).await[0].as_ref().unwrap();
    let results = all(answers).await;
    let replay = results[2].as_ref().unwrap();
    let past =
        store.store.as_of(&store.handle(founded.organization), replay.replay.unwrap().version).unwrap();
    assert_eq!(past.organization().general.founded().unwrap().name, "Two");
    // What a command is answered with can be walked back from, like any published state.
    for (result, name) in results.iter().zip(["Two", "Three", "Three"]) {
        let done = result.as_ref().unwrap();
        assert_eq!(done.view.organization().general.founded().unwrap().name, name);
        let past = store.store.as_of(&store.handle(founded.organization), done.version).unwrap();
        assert_eq!(past.version(), done.version);
        assert_eq!(past.organization().general.founded().unwrap().version, done.version);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_fails_acknowledges_nothing_and_stops_the_store() {
    let (store, hold, founded) = held().await;
    let owner = founded.owner;
    let before = store.digests();
    hold.hold();
    let first = queue(&store, &founded, vec![rename(owner, "One")]).await;
    assert!(hold.until_waiting());
    let queued = queue(&store, &founded, vec![rename(owner, "Two"), rename(owner, "Acme")]).await;
    hold.fail("the disk is on fire");
    hold.release();
    for result in all(first).await.into_iter().chain(all(queued).await) {
        assert_eq!(result.unwrap_err(), Refusal::Stopped);
    }
    let later = store.execute(&founded, rename(owner, "Three")).await;
    assert_eq!(later.unwrap_err(), Refusal::Stopped);
    store.store.stop();
    assert_eq!(store.told(), ["the log could not be made durable: the disk is on fire"]);
    assert!(!store.store.is_ready());
    assert_eq!(store.digests(), before);

    let reopened = store.crashed();
    assert_eq!(reopened.digests(), before);
    let done = reopened.execute(&founded, rename(owner, "Four")).await.unwrap();
    assert_eq!(done.events, 1);
    reopened.digests();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_that_panics_ends_the_process_and_acknowledges_nothing() {
    let (store, hold, founded) = held().await;
    let owner = founded.owner;
    let before = store.digests();
    hold.hold();
    let first = queue(&store, &founded, vec![rename(owner, "One")]).await;
    assert!(hold.until_waiting());
    let queued = queue(&store, &founded, vec![rename(owner, "Two"), rename(owner, "Acme")]).await;
    hold.panic("a bug");
    hold.release();
    for result in all(first).await.into_iter().chain(all(queued).await) {
        assert_eq!(result.unwrap_err(), Refusal::Stopped);
    }
    let later = store.execute(&founded, rename(owner, "Three")).await;
    assert_eq!(later.unwrap_err(), Refusal::Stopped);
    store.store.stop();
    assert_eq!(store.told(), ["the writer panicked, which is a bug; the line before says where"]);
    assert!(!store.store.is_ready());
    assert_eq!(store.digests(), before);
    assert_eq!(store.crashed().digests(), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_finishes_what_is_queued_and_refuses_the_rest() {
    let (store, hold, founded) = held().await;
    hold.hold();
    let names = ["One", "Two", "Three"];
    let mut answers = queue(&store, &founded, vec![rename(founded.owner, names[0])]).await;
    assert!(hold.until_waiting());
    answers.extend(
        queue(&store, &founded, names[1..].iter().map(|name| rename(founded.owner, name)).collect()).await,
    );
    let stopping = store.store.clone();
    let stop = tokio::task::spawn_blocking(move || stopping.stop());
    while store.store.is_ready() {
        tokio::task::yield_now().await;
    }
    let refused = store.execute(&founded, rename(founded.owner, "Late")).await;
    assert_eq!(refused.unwrap_err(), Refusal::Stopped);
    hold.release();
    for result in all(answers).await {
        assert_eq!(result.unwrap().events, 1);
    }
    stop.await.unwrap();
    assert_eq!(
        store.handle(founded.organization).view().organization().general.founded().unwrap().name,
        "Three"
    );
    assert_eq!(store.told(), [""; 0]);
    store.digests();
}
