//! What the directory knows, and what it forgets.

use super::*;
use crate::ids::Fresh;

const START: Timestamp = Timestamp::EPOCH;

fn opened(session: SessionId, token: u8) -> DirectoryEntry {
    DirectoryEntry::CredentialOpened { token: Commitment([token; 32]), session, opened_at: START }
}

fn take(directory: &Directory, entries: &[DirectoryEntry]) {
    directory.apply(&[(StreamId::Platform, Head { version: 1, ..Head::default() }, entries)], START);
}

#[test]
fn a_closed_credential_is_not_found() {
    let directory = Directory::default();
    let session = Fresh.id();
    take(&directory, &[opened(session, 1)]);
    assert_eq!(directory.credential(Commitment([1; 32])).unwrap().session, session);
    take(&directory, &[DirectoryEntry::CredentialClosed { session }]);
    assert!(directory.credential(Commitment([1; 32])).is_none());
    assert_eq!(directory.next_due(START), None);
}

#[test]
fn what_is_saved_is_of_one_moment_whatever_happens_while_it_is_encoded() {
    let directory = Directory::default();
    let sessions: Vec<SessionId> = (0..50).map(|_| Fresh.id()).collect();
    for (token, session) in (0..).zip(&sessions) {
        take(&directory, &[opened(*session, token)]);
    }
    let moment = directory.now();
    let then = moment.sections();
    take(&directory, &[opened(Fresh.id(), 99), DirectoryEntry::CredentialClosed { session: sessions[7] }]);
    directory.drop_ended(START.plus_seconds(SESSION_MAX_SECONDS));
    assert!(directory.is_empty());
    assert_eq!(moment.sections(), then);
    assert_eq!((moment.credentials.size(), moment.heads.size()), (50, 1));
    assert_ne!(directory.now().sections(), then);
}

#[test]
fn ended_sessions_are_dropped_after_30_days_and_not_before() {
    let directory = Directory::default();
    take(&directory, &[opened(Fresh.id(), 1)]);
    let due = directory.next_due(START).unwrap();
    assert_eq!(directory.drop_ended(due.plus_seconds(-1)), 0);
    assert_eq!(directory.drop_ended(due), 1);
    assert!(directory.is_empty());
}

#[test]
fn sessions_dated_in_the_future_end_as_if_they_were_opened_now() {
    let directory = Directory::default();
    let future = START.plus_seconds(1_000_000_000);
    take(&directory, &[opened(Fresh.id(), 1)]);
    let session = Fresh.id();
    let entry = DirectoryEntry::CredentialOpened { token: Commitment([2; 32]), session, opened_at: future };
    take(&directory, &[entry]);
    let now = START.plus_seconds(60);
    directory.bring_back(now);
    let credential = directory.credential(Commitment([2; 32])).unwrap();
    assert!(credential.is_alive(now.plus_seconds(SESSION_IDLE_SECONDS - 1)));
    assert!(!credential.is_alive(now.plus_seconds(SESSION_IDLE_SECONDS)));
    assert_eq!(credential.expires_at(), now.plus_seconds(SESSION_MAX_SECONDS));
    directory.bring_back(now.plus_seconds(60));
    assert_eq!(credential.expires_at(), now.plus_seconds(SESSION_MAX_SECONDS), "once");
    assert_eq!(directory.drop_ended(now.plus_seconds(SESSION_MAX_SECONDS)), 2);
    assert_eq!(directory.next_due(START), None);
    // Closed, it leaves nothing behind.
    let entry = DirectoryEntry::CredentialOpened { token: Commitment([3; 32]), session, opened_at: future };
    take(&directory, &[entry]);
    directory.bring_back(now);
    take(&directory, &[DirectoryEntry::CredentialClosed { session }]);
    assert_eq!(directory.next_due(START), None);
}

#[test]
fn a_credential_dies_idle_or_old() {
    let directory = Directory::default();
    take(&directory, &[opened(Fresh.id(), 1)]);
    let credential = directory.credential(Commitment([1; 32])).unwrap();
    assert!(credential.is_alive(START.plus_seconds(SESSION_IDLE_SECONDS - 1)));
    assert!(!credential.is_alive(START.plus_seconds(SESSION_IDLE_SECONDS)));
    for hour in 1..=720 {
        credential.touch(START.plus_seconds(hour * 3600));
    }
    assert!(credential.is_alive(START.plus_seconds(SESSION_MAX_SECONDS - 1)));
    assert!(!credential.is_alive(START.plus_seconds(SESSION_MAX_SECONDS)));
}
