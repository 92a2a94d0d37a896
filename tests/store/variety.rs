//! That random histories come to everything that can be: histories that are all refused would prove nothing, and neither
//! would those that are refused for a few things alone.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::TestRunner;
use settled::command::Rejection;
use settled::store::Refusal;

use crate::histories::{MARKS, history, prepare};
use crate::properties::{in_memory, runtime, stream, submit};

/// What random histories are refused for, at least now and then.
const REFUSED: &[&str] = &[
    "replay",
    "no change",
    "forbidden",
    "the idempotency key was used for another request",
    "what is to be changed has changed since it was read",
    "there is no such environment",
    "another environment has this name",
    "there is no such secret",
    "another secret has this name there",
    "this version of the secret was destroyed",
    "there is no such API key",
    "the API key was revoked",
    "the environment is of the other mode",
    "the organization cannot be joined with this address",
    "there is no such request to join",
    "there is no such invitation",
    "the link is no invitation's, or was used, or has ended",
    "the organization needs an owner",
    "there is no such customer",
    "there is no such execution",
    "there is no such OAuth app",
    "whoever changes a URL says the client secret again",
    "the organization has more than the plan allows",
    "there is no such connection",
    "another connection has this name there",
    "the connection is of another kind",
    "the link is void or has ended",
    "the environment has connections",
    "the OAuth app has connections",
];
/// What they record beside, where little of what is asked for comes to it.
const RECORDED: &[&str] = &[
    "connection.create success",
    "connection.connect success",
    "connection.update success",
    "connection.reconnect success",
    "connection.revoke success",
    "credential.token_refresh success",
    "credential.token_refresh failure",
    "billing.set_customer_limit success",
];
/// How many histories are looked at before what none of them came to is missed.
const HISTORIES_MAX: usize = 2_000;

#[test]
fn random_histories_come_to_everything_that_can_be() {
    let mut runner = TestRunner::deterministic();
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let (mut commands, mut appended) = (0, 0);
    let missing = |seen: &BTreeMap<String, usize>| {
        let all = REFUSED.iter().chain(RECORDED).copied();
        all.filter(|kind| !seen.contains_key(*kind)).collect::<Vec<_>>()
    };
    for _ in 0..HISTORIES_MAX {
        let history = history().new_tree(&mut runner).unwrap().current();
        let (results, recorded) = runtime().block_on(async {
            let store = in_memory();
            let mut results = Vec::new();
            for (pause, burst) in prepare(&history, &store) {
                store.hands.advance(Duration::from_secs(pause));
                results.extend(submit(&store, &burst).await);
            }
            let recorded: Vec<_> = (0..MARKS.len()).flat_map(|each| store.events(stream(each))).collect();
            (results, recorded)
        });
        for event in recorded {
            let kind = format!("{} {}", event.event.action(), event.outcome.name());
            *seen.entry(kind).or_insert(0) += 1;
        }
        for result in results {
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
        if missing(&seen).is_empty() {
            break;
        }
    }
    assert_eq!(missing(&seen), Vec::<&str>::new(), "{seen:?}");
    assert!(appended * 4 > commands, "{appended} of {commands} commands appended something: {seen:?}");
}
