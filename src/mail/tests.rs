//! The queue: into a folder that comes and goes, by a clock that the tests move.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::*;
use crate::clock::Hands;
use crate::mail::transport::TransportError;

fn mailer(folder: &Path) -> (Mailer, Hands, Metrics) {
    let (clock, hands) = Clock::manual(Timestamp::from_micros(1_772_446_800_000_000));
    let metrics = Metrics::new();
    let transport = Transport::folder(folder).unwrap();
    let server = "https://settings.example.org";
    let mailer = Mailer::new(transport, "settled@example.org", server, clock, metrics.clone());
    (mailer.unwrap(), hands, metrics)
}

fn ada() -> EmailAddress {
    EmailAddress::try_from("ada@example.com").unwrap()
}

fn figure(metrics: &Metrics, name: &str) -> u64 {
    let text = metrics.encode();
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("settled_{name} ")));
    line.unwrap_or_else(|| panic!("no {name}")).parse().unwrap()
}

async fn until(mut holds: impl FnMut() -> bool) {
    for _ in 0..12_000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("it did not happen within 60 s");
}

fn files(folder: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path()).collect()
}

/// A mailer whose folder has gone, with one mail that waits to be tried again.
async fn failing(folder: &Path) -> (Mailer, Hands, Metrics) {
    let (mailer, hands, metrics) = mailer(folder);
    std::fs::remove_dir(folder).unwrap();
    let letter = Letter::reset_password("https://settings.example.org/reset-password#token=a".to_owned());
    mailer.send(mailer.postage(Occasion::Asked, &ada()).unwrap(), &letter);
    hands.sleeping(1).await;
    assert_eq!(figure(&metrics, "mails_waiting"), 1);
    (mailer, hands, metrics)
}

#[tokio::test]
async fn a_mail_arrives_in_a_folder_that_nobody_else_looks_into() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("mail");
    let (mailer, _hands, metrics) = mailer(&folder);
    mailer.send(mailer.postage(Occasion::Asked, &ada()).unwrap(), &Letter::already_known());
    until(|| figure(&metrics, "mails_sent_total") == 1).await;
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let files = files(&folder);
    assert_eq!((files.len(), mode(&folder), mode(&files[0])), (1, 0o700, 0o600));
    let mail = std::fs::read_to_string(&files[0]).unwrap();
    for line in [
        "From: Settled <settled@example.org>\r\n",
        "To: ada@example.com\r\n",
        "Subject: You have an account already\r\n",
        "Date: Mon, 02 Mar 2026 10:20:00 +0000\r\n",
    ] {
        assert!(mail.contains(line), "no {line} in {mail}");
    }
}

#[tokio::test]
async fn a_mail_that_fails_is_tried_again() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("mail");
    let (_mailer, hands, metrics) = failing(&folder).await;
    std::fs::create_dir(&folder).unwrap();
    hands.advance(FIRST_PAUSE - Duration::from_micros(1));
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(files(&folder), Vec::<PathBuf>::new(), "not before its time");
    hands.advance(Duration::from_micros(1));
    until(|| figure(&metrics, "mails_waiting") == 0).await;
    assert_eq!((figure(&metrics, "mails_sent_total"), figure(&metrics, "mails_failed_total")), (1, 0));
    assert_eq!(files(&folder).len(), 1);
}

#[tokio::test]
async fn a_mail_is_given_up_once_it_is_of_no_use() {
    let parent = tempfile::tempdir().unwrap();
    let (_mailer, hands, metrics) = failing(&parent.path().join("mail")).await;
    // Each pause lets ten minutes pass, the longest one; the link of the letter is good for an hour.
    let mut minutes = 0;
    loop {
        tokio::select! {
            () = hands.sleeping(1) => {
                hands.advance(LONGEST_PAUSE);
                minutes += 10;
                assert!(minutes <= 120, "it is tried for ever");
                // Whoever slept is awake before it is looked at again.
                for _ in 0..10 {
                    tokio::task::yield_now().await;
                }
            }
            () = until(|| figure(&metrics, "mails_failed_total") == 1) => break,
        }
    }
    assert!((40..=70).contains(&minutes), "given up after {minutes} minutes");
    assert_eq!((figure(&metrics, "mails_waiting"), figure(&metrics, "mails_sent_total")), (0, 0));
}

#[tokio::test]
async fn so_many_mails_wait_and_no_more() {
    let parent = tempfile::tempdir().unwrap();
    let (mailer, _hands, metrics) = failing(&parent.path().join("mail")).await;
    let send = |number: u32| {
        let to = EmailAddress::try_from(format!("{number}@example.com").as_str()).unwrap();
        mailer.send(mailer.postage(Occasion::Asked, &to).unwrap(), &Letter::already_known());
    };
    (1..WAITING_MAX).for_each(send);
    assert_eq!(figure(&metrics, "mails_waiting"), u64::from(WAITING_MAX));
    assert_eq!(figure(&metrics, "mails_failed_total"), 0);
    send(WAITING_MAX);
    assert_eq!(figure(&metrics, "mails_failed_total"), 1);
}

#[tokio::test]
async fn an_end_tries_what_waits_once_more_and_waits_for_no_pause() {
    let parent = tempfile::tempdir().unwrap();
    for comes_back in [true, false] {
        let folder = parent.path().join(format!("mail-{comes_back}"));
        let (mailer, _hands, metrics) = failing(&folder).await;
        if comes_back {
            std::fs::create_dir(&folder).unwrap();
        }
        mailer.end().await;
        let figures = (figure(&metrics, "mails_sent_total"), figure(&metrics, "mails_failed_total"));
        assert_eq!(figures, if comes_back { (1, 0) } else { (0, 1) });
    }
}

#[tokio::test]
async fn an_address_has_its_share_and_what_is_beyond_is_counted() {
    let parent = tempfile::tempdir().unwrap();
    let (mailer, _hands, metrics) = mailer(&parent.path().join("mail"));
    let take = || (0..4).filter_map(|_| mailer.postage(Occasion::Asked, &ada())).collect::<Vec<_>>();
    let taken = take();
    assert_eq!((taken.len(), figure(&metrics, "mails_withheld_total")), (3, 1));
    // What was not sent goes back; what was sent does not.
    for (number, postage) in taken.into_iter().enumerate() {
        if number == 0 {
            mailer.send(postage, &Letter::already_known());
        }
    }
    assert_eq!(take().len(), 2);
}

#[test]
fn a_folder_that_others_look_into_is_refused() {
    let parent = tempfile::tempdir().unwrap();
    std::fs::set_permissions(parent.path(), PermissionsExt::from_mode(0o750)).unwrap();
    assert!(matches!(Transport::folder(parent.path()), Err(TransportError::Open(_))));
    let file = parent.path().join("file");
    std::fs::write(&file, "").unwrap();
    assert!(matches!(Transport::folder(&file), Err(TransportError::Folder { .. })));
}
