//! The ledger: what is destroyed has its line before its event, a line without its event is finished at start, and a
//! ledger that cannot be written lets nothing be destroyed.

use std::fs;
use std::sync::Arc;

use settled::actor::Actor;
use settled::event::Recorded;
use settled::ids::{DataKeyId, Fresh, StreamId};
use settled::log::EventLog;
use settled::settings::api_keys::command::{ApiKeysCommand, RevokeApiKey};
use settled::settings::secrets::command::{At, SecretsCommand};
use settled::settings::secrets::value::Scope;
use settled::store::check_ledger::check;
use settled::store::ledger::Ledger;
use settled::store::{Refusal, Submission, scheduler};

use crate::commands::rename;
use crate::durable::{all, held, queue};
use crate::secrets::Values;
use crate::test_store::{BESIDE, Founded, STORE, TestStore, copy, keeper};

/// An organization with so many secrets.
async fn given(secrets: usize) -> (TestStore, Founded, Vec<At>) {
    let store = TestStore::in_memory();
    let founded = store.found("Acme").await;
    let values = Values { store: &store, founded: &founded };
    let mut ats = Vec::new();
    for number in 0..secrets {
        let at = At { secret: Fresh.id(), scope: Scope::Organization };
        store.execute(&founded, values.create(at, &format!("S{number}"), "a value")).await.unwrap();
        ats.push(at);
    }
    (store, founded, ats)
}

async fn destroy(store: &TestStore, founded: &Founded, at: At) -> Result<(), Refusal> {
    let destroy = Submission::new(SecretsCommand::Destroy(at), founded.owner);
    store.execute(founded, destroy).await.map(drop)
}

/// The events of an organization that destroyed something.
fn destroyed(store: &TestStore, founded: &Founded) -> Vec<Recorded> {
    let events = store.events(StreamId::Organization(founded.organization));
    events.into_iter().filter(|recorded| recorded.is_for_good()).collect()
}

fn keys(store: &TestStore, founded: &Founded) -> usize {
    store.log.data_keys(StreamId::Organization(founded.organization)).unwrap().len()
}

/// All that a ledger says, whole.
fn entries(ledger: &Ledger) -> Vec<Recorded> {
    let lines = ledger.read(0..u64::MAX).unwrap();
    assert_eq!((lines.damaged.len(), lines.torn), (0, false));
    lines.entries.into_iter().map(|(_, noted)| noted.event).collect()
}

#[tokio::test]
async fn a_ledger_that_another_file_took_the_place_of_is_written_on_where_it_is_looked_for() {
    let (store, founded, ats) = given(3).await;
    let path = store.ledger().path().to_owned();
    destroy(&store, &founded, ats[0]).await.unwrap();
    // As whoever copies or edits it does.
    let copied = path.with_extension("new");
    fs::copy(&path, &copied).unwrap();
    fs::rename(&copied, &path).unwrap();
    destroy(&store, &founded, ats[1]).await.unwrap();
    assert_eq!(entries(&store.ledger()), destroyed(&store, &founded));
    fs::remove_file(&path).unwrap();
    destroy(&store, &founded, ats[2]).await.unwrap();
    assert_eq!(entries(&store.ledger()), destroyed(&store, &founded)[2..]);
}

#[tokio::test]
async fn what_is_destroyed_stands_in_the_ledger_as_it_was_recorded_and_nothing_else_does() {
    let (store, founded, secrets) = given(3).await;
    assert!(!store.ledger().path().exists(), "there is none before there is something to note");
    destroy(&store, &founded, secrets[0]).await.unwrap();
    store.execute(&founded, rename(founded.owner, "Another")).await.unwrap();
    destroy(&store, &founded, secrets[2]).await.unwrap();
    let recorded = destroyed(&store, &founded);
    assert_eq!(recorded.len(), 2);
    assert_eq!(entries(&store.ledger()), recorded);
    let report = check(&store.ledger(), &*store.log);
    assert_eq!((report.whole, report.unfinished, report.defects.len()), (2, 0, 0), "{report:?}");
}

#[tokio::test]
async fn a_line_without_its_event_is_finished_at_start_by_the_system_and_once() {
    let (store, founded, secrets) = given(2).await;
    // The log as it is if the process dies between the line and the append.
    let before: Arc<dyn EventLog> = Arc::new(copy(&*store.log));
    destroy(&store, &founded, secrets[0]).await.unwrap();
    let expected = destroyed(&store, &founded).remove(0);

    let crashed = store.restarted_on(before);
    assert_eq!(destroyed(&crashed, &founded), []);
    assert_eq!(check(&crashed.ledger(), &*crashed.log).unfinished, 1);
    crashed.store.finish_ledger().await;
    let finished = destroyed(&crashed, &founded);
    assert_eq!(finished.len(), 1);
    assert_eq!((&finished[0].event, &finished[0].resource), (&expected.event, &expected.resource));
    assert_eq!(finished[0].actor, Actor::SYSTEM);
    assert_eq!(keys(&crashed, &founded), keys(&store, &founded));
    let secret = crashed.handle(founded.organization).view();
    assert!(secret.organization().secrets.get(secrets[0].secret).is_none());

    scheduler::tick(&crashed.store).await;
    let again = crashed.crashed();
    again.store.finish_ledger().await;
    assert_eq!(destroyed(&again, &founded).len(), 1, "once");
    let report = check(&again.ledger(), &*again.log);
    assert_eq!((report.whole, report.unfinished, report.defects.len()), (2, 0, 0), "{report:?}");
}

#[tokio::test]
async fn a_revocation_has_its_line_and_is_finished_at_start_and_once() {
    let (store, founded, _) = given(0).await;
    let key = crate::keys::key(&store, &founded).await;
    let before: Arc<dyn EventLog> = Arc::new(copy(&*store.log));
    let revoke = ApiKeysCommand::Revoke(RevokeApiKey { key });
    store.execute(&founded, Submission::new(revoke, founded.owner)).await.unwrap();
    assert_eq!(entries(&store.ledger()), destroyed(&store, &founded));

    let crashed = store.restarted_on(before);
    let is_revoked = |store: &TestStore| {
        store.handle(founded.organization).view().organization().api_keys.get(key).unwrap().is_revoked()
    };
    assert!(!is_revoked(&crashed));
    crashed.store.finish_ledger().await;
    assert!(is_revoked(&crashed));
    let again = crashed.crashed();
    again.store.finish_ledger().await;
    let recorded = destroyed(&again, &founded);
    assert_eq!((recorded.len(), recorded[0].actor), (1, Actor::SYSTEM));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_comes_before_the_append_and_covers_all_of_the_batch() {
    let (store, hold, founded) = held().await;
    let values = Values { store: &store, founded: &founded };
    let secrets: Vec<At> = (0..3).map(|_| At { secret: Fresh.id(), scope: Scope::Organization }).collect();
    for (number, at) in secrets.iter().enumerate() {
        store.execute(&founded, values.create(*at, &format!("S{number}"), "a value")).await.unwrap();
    }
    hold.hold();
    let first = queue(&store, &founded, vec![rename(founded.owner, "One")]).await;
    assert!(hold.until_waiting());
    let destroys = secrets.iter().map(|at| Submission::new(SecretsCommand::Destroy(*at), founded.owner));
    let rest = queue(&store, &founded, destroys.collect()).await;
    hold.let_one_through();
    assert!(hold.until_waiting(), "the second commit waits for its sync");
    assert_eq!(entries(&store.ledger()).len(), 3, "all lines are there, and nothing is answered");
    hold.release();
    all(first).await.into_iter().chain(all(rest).await).for_each(|result| drop(result.unwrap()));
    assert_eq!(entries(&store.ledger()), destroyed(&store, &founded));
}

#[tokio::test]
async fn a_ledger_that_cannot_be_written_lets_nothing_be_destroyed_and_all_else_go_on() {
    let (store, founded, secrets) = given(1).await;
    let ledger = store.ledger();
    let folder = ledger.path().parent().unwrap();
    fs::write(folder, "somebody put a file here").unwrap();
    let end = store.log.end();
    let refused = destroy(&store, &founded, secrets[0]).await;
    assert!(matches!(refused, Err(Refusal::Ledger(_))), "{refused:?}");
    assert_eq!(store.log.end(), end);
    store.execute(&founded, rename(founded.owner, "Another")).await.unwrap();
    fs::remove_file(folder).unwrap();
    destroy(&store, &founded, secrets[0]).await.unwrap();
    assert_eq!(entries(&store.ledger()), destroyed(&store, &founded));
    assert_eq!(store.told(), Vec::<String>::new(), "the process goes on");
}

#[tokio::test]
async fn a_torn_last_line_is_no_reason_to_stop_and_gives_way_to_the_next() {
    let (store, founded, secrets) = given(2).await;
    destroy(&store, &founded, secrets[0]).await.unwrap();
    let path = store.ledger().path().to_owned();
    let whole = fs::read(&path).unwrap();
    for cut in 0..whole.len() {
        fs::write(&path, &whole[..cut]).unwrap();
        let lines = store.ledger().read(0..u64::MAX).unwrap();
        assert_eq!((lines.entries.len(), lines.damaged.len(), lines.torn), (0, 0, cut > 0), "{cut} bytes");
    }
    fs::write(&path, &whole[..whole.len() - 7]).unwrap();
    let crashed = store.crashed();
    crashed.store.finish_ledger().await;
    destroy(&crashed, &founded, secrets[1]).await.unwrap();
    assert_eq!(entries(&crashed.ledger()), destroyed(&crashed, &founded)[1..]);
}

#[tokio::test]
async fn every_flipped_bit_of_a_line_is_found_and_the_lines_beside_it_are_read() {
    let (store, founded, secrets) = given(3).await;
    for at in &secrets {
        destroy(&store, &founded, *at).await.unwrap();
    }
    let path = store.ledger().path().to_owned();
    let whole = fs::read(&path).unwrap();
    let recorded = destroyed(&store, &founded);
    let second = whole.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    let third = second + whole[second..].iter().position(|byte| *byte == b'\n').unwrap();
    let every = if crate::scale() >= 10 { 1 } else { 13 };
    for bit in (second * 8..third * 8).step_by(every) {
        let mut flipped = whole.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        if flipped[bit / 8] == b'\n' {
            continue;
        }
        fs::write(&path, &flipped).unwrap();
        let lines = store.ledger().read(0..u64::MAX).unwrap();
        let read: Vec<_> = lines.entries.iter().map(|(_, noted)| &noted.event).collect();
        assert_eq!(read, [&recorded[0], &recorded[2]], "bit {bit}");
        assert_eq!(lines.damaged.len(), 1, "bit {bit}");
        assert!(lines.damaged[0].contains(&format!("at byte {second}")), "{:?}", lines.damaged);
    }
    let report = check(&store.ledger(), &*store.log);
    assert_eq!((report.whole, report.defects.len()), (2, 1), "{report:?}");
}

#[tokio::test]
async fn a_start_reads_only_what_was_noted_since_it_was_remembered() {
    let (store, founded, secrets) = given(3).await;
    destroy(&store, &founded, secrets[0]).await.unwrap();
    store.store.stop();
    let length = fs::metadata(store.ledger().path()).unwrap().len();
    assert_eq!(store.ledger().checked().unwrap(), Some(length), "a clean stop remembers all");

    // What was held before is not looked at again: it may say what it likes.
    let mut text = fs::read_to_string(store.ledger().path()).unwrap();
    text.replace_range(..9, "not JSON:");
    fs::write(store.ledger().path(), &text).unwrap();
    let restarted = store.crashed();
    destroy(&restarted, &founded, secrets[1]).await.unwrap();
    let crashed = restarted.crashed();
    crashed.store.finish_ledger().await;
    assert_eq!(destroyed(&crashed, &founded).len(), 2);

    // Another epoch is another history: all of it is held against that.
    let mark = store.ledger().path().parent().unwrap().parent().unwrap().join("ledger-mark");
    let folder = store.ledger().path().parent().unwrap().to_owned();
    let other = Ledger::open(&folder, keeper(STORE, mark, "another")).unwrap();
    assert_eq!(other.checked().unwrap(), None);
    let report = check(&other, &*crashed.log);
    assert_eq!(report.defects.len(), 1, "the line that is no JSON: {report:?}");
}

#[tokio::test]
async fn a_ledger_that_is_gone_is_a_defect_and_a_key_that_came_back_too() {
    let (store, founded, secrets) = given(1).await;
    let stream = StreamId::Organization(founded.organization);
    let before: Vec<(DataKeyId, Vec<u8>)> = store.log.data_keys(stream).unwrap();
    destroy(&store, &founded, secrets[0]).await.unwrap();
    store.store.stop();
    let gone = before
        .iter()
        .find(|(id, _)| !store.log.data_keys(stream).unwrap().iter().any(|(left, _)| left == id));
    let (id, wrapped) = gone.unwrap().clone();
    let put = vec![(settled::log::Key::DataKey(stream, id), wrapped)];
    let append = settled::log::Append { stream, expected: None, frame: None, put, remove: Vec::new() };
    store.log.append(vec![append]).unwrap();
    let report = check(&store.ledger(), &*store.log);
    assert_eq!((report.whole, report.defects.len()), (0, 1), "{report:?}");
    assert!(report.defects[0].contains(&id.to_string()), "{report:?}");
    fs::remove_file(store.ledger().path()).unwrap();
    let report = check(&store.ledger(), &*store.log);
    assert!(report.defects[0].contains("it is missing or was cut"), "{report:?}");
}

#[tokio::test]
async fn what_a_store_beside_noted_in_between_is_held_against_the_log_at_the_next_start() {
    let (store, founded, secrets) = given(3).await;
    destroy(&store, &founded, secrets[0]).await.unwrap();
    let log: Arc<dyn EventLog> = Arc::new(copy(&*store.log));
    let other = TestStore::open(log, store.keys.clone(), store.clock.now(), 1_024);
    destroy(&other, &founded, secrets[1]).await.unwrap();
    note(&store, BESIDE, "another", &destroyed(&other, &founded)[1]);
    destroy(&store, &founded, secrets[2]).await.unwrap();
    assert_eq!(entries(&store.ledger()).len(), 3);
    store.store.stop();
    let restarted = store.crashed();
    restarted.store.finish_ledger().await;
    assert_eq!(destroyed(&restarted, &founded).len(), 3, "what the other destroyed is, here too");
    restarted.store.stop();
    let length = fs::metadata(store.ledger().path()).unwrap().len();
    let again = store.ledger().checked().unwrap().unwrap();
    assert!(again <= length && again > length / 2, "from there on it is not looked at again");
}

#[tokio::test]
async fn what_a_store_elsewhere_destroyed_for_practice_stays_here_and_is_no_defect() {
    let (store, founded, secrets) = given(2).await;
    let log: Arc<dyn EventLog> = Arc::new(copy(&*store.log));
    let other = TestStore::open(log, store.keys.clone(), store.clock.now(), 1_024);
    destroy(&other, &founded, secrets[0]).await.unwrap();
    note(&store, ELSEWHERE, "practice", &destroyed(&other, &founded)[0]);
    let restarted = store.crashed();
    restarted.store.finish_ledger().await;
    assert_eq!(destroyed(&restarted, &founded), []);
    assert_eq!(keys(&restarted, &founded), keys(&store, &founded));
    restarted.store.stop();
    let length = fs::metadata(store.ledger().path()).unwrap().len();
    assert_eq!(store.ledger().checked().unwrap(), Some(length), "it is not looked at again");
    let report = check(&store.ledger(), &*restarted.log);
    assert_eq!((report.of_others, report.whole, report.defects.len()), (1, 0, 0), "{report:?}");

    // As builds wrote it that did not say whose it is: it may be one that a crash cut off here.
    let path = store.ledger().path().to_owned();
    let line = fs::read_to_string(&path).unwrap();
    let (entry, _) = line.strip_prefix("{\"entry\":").unwrap().split_once(",\"crc32\":").unwrap();
    let (whose, rest) = entry.split_once(",\"stream\":").unwrap();
    assert!(whose.starts_with("{\"store\":"), "{whose}");
    let entry = format!("{{\"stream\":{rest}");
    let crc32 = format!("{:08x}", crc32fast::hash(entry.as_bytes()));
    fs::write(&path, format!("{{\"entry\":{entry},\"crc32\":\"{crc32}\"}}\n")).unwrap();
    fs::remove_file(&store.ledger().keeper().mark).unwrap();
    let again = store.crashed();
    again.store.finish_ledger().await;
    assert_eq!(destroyed(&again, &founded).len(), 1);
}

/// A store of another data directory.
const ELSEWHERE: u128 = 3;

/// Notes an event in a store's ledger, as another store that shares it.
fn note(store: &TestStore, of: u128, name: &str, event: &Recorded) {
    let folder = store.ledger().path().parent().unwrap().to_owned();
    let keeper = keeper(of, folder.join(name), name);
    Ledger::open(&folder, keeper).unwrap().note([event]).unwrap();
}

#[tokio::test]
async fn of_many_that_note_at_once_every_line_is_whole() {
    let (store, founded, secrets) = given(1).await;
    destroy(&store, &founded, secrets[0]).await.unwrap();
    let event = destroyed(&store, &founded).remove(0);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (store, event) = (&store, &event);
            scope.spawn(move || (0..25).for_each(|_| note(store, BESIDE, &thread.to_string(), event)));
        }
    });
    let entries = entries(&store.ledger());
    assert_eq!(entries.len(), 101);
    assert!(entries.iter().all(|entry| *entry == event));
}
