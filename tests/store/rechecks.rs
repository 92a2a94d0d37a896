//! DNS is asked again while it says nothing: what waits for it, and what does not.

use std::collections::BTreeSet;
use std::time::Duration;

use settled::actor::Actor;
use settled::dns::Dns;
use settled::ids::StreamId;
use settled::settings::general::command::{DomainChallenge, GeneralCommand, UpdateOrganization};
use settled::settings::general::value::EmailDomain;
use settled::store::Submission;
use tokio::net::UdpSocket;

use crate::test_store::{Founded, TestStore};

const DAY: Duration = Duration::from_hours(24);
/// The most questions that are open at once of those that are asked again.
const AT_ONCE: usize = 8;

/// What a machine that is slow may take; without the guard it would be for ever.
async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), what).await.expect("nothing holds it up")
}

/// A name server that never answers.
struct Silent(UdpSocket);

impl Silent {
    async fn start() -> Self {
        Self(UdpSocket::bind("127.0.0.1:0").await.unwrap())
    }

    fn dns(&self, store: &TestStore) -> Dns {
        Dns::new(self.0.local_addr().ok(), store.clock.clone())
    }

    /// Waits until it was asked about so many domains in all, each perhaps several times; `asked` has the numbers in their
    /// names.
    async fn until(&self, asked: &mut BTreeSet<String>, count: usize) {
        let mut packet = [0; 1_500];
        while asked.len() < count {
            let (length, _) = soon(self.0.recv_from(&mut packet)).await.unwrap();
            let text = String::from_utf8_lossy(&packet[..length]).into_owned();
            let number = text.split("number").nth(1).expect("every domain has its number");
            asked.insert(number.chars().take_while(char::is_ascii_digit).collect());
        }
    }
}

/// Organizations, each with a domain with its number in it that DNS proved a day ago.
async fn proven(store: &TestStore, count: usize) -> Vec<Founded> {
    let mut all = vec![store.found("Acme").await];
    for _ in 1..count {
        all.push(store.found_further(all[0].account, "Other").await);
    }
    for (number, founded) in all.iter().enumerate() {
        let (domain, challenge) = (format!("number{number}.com"), "settled-verification=1".to_owned());
        let update = UpdateOrganization {
            email_domain: Some(Some((EmailDomain::try_from(domain.as_str()).unwrap(), challenge.clone()))),
            ..UpdateOrganization::default()
        };
        let verify = GeneralCommand::VerifyDomain(DomainChallenge { domain, challenge });
        for command in [GeneralCommand::Update(update), verify] {
            store.execute(founded, Submission::new(command, founded.owner)).await.unwrap();
        }
    }
    store.hands.advance(DAY);
    all
}

#[tokio::test]
async fn while_a_round_waits_for_dns_no_other_begins() {
    let (store, silent) = (TestStore::in_memory(), Silent::start().await);
    let founded = &proven(&store, 1).await[0];
    let dns = silent.dns(&store);
    let round = tokio::spawn({
        let (store, dns, now) = (store.store.clone(), dns.clone(), store.clock.now());
        async move { store.recheck_domains(&dns, now).await }
    });
    silent.until(&mut BTreeSet::new(), 1).await;
    let tomorrow = store.clock.now().plus(DAY);
    soon(store.store.recheck_domains(&dns, tomorrow)).await;
    let stream = StreamId::Organization(founded.organization);
    assert_eq!(
        store.store.directory().take_domains_due(tomorrow, 9),
        [stream],
        "it took what it did not ask about"
    );
    // No answer is an answer in the end.
    store.hands.advance(Duration::from_secs(10));
    soon(round).await.unwrap();
    let last = store.events(stream).pop().unwrap();
    assert_eq!((last.event.action(), last.actor), ("organization.check_domain", Actor::SYSTEM));
}

#[tokio::test]
async fn what_waits_for_its_turn_is_not_in_memory_and_keeps_nobody_from_asking() {
    let (store, silent) = (TestStore::in_memory(), Silent::start().await);
    proven(&store, AT_ONCE + 4).await;
    let store = store.crashed();
    let in_memory = store.store.resident_streams();
    let dns = silent.dns(&store);
    let round = tokio::spawn({
        let (store, dns, now) = (store.store.clone(), dns.clone(), store.clock.now());
        async move { store.recheck_domains(&dns, now).await }
    });
    let mut asked = BTreeSet::new();
    silent.until(&mut asked, AT_ONCE).await;
    let verifies = tokio::spawn(async move { dns.has_text("number99.com", "a").await });
    silent.until(&mut asked, AT_ONCE + 1).await;
    assert!(asked.contains("99"), "{asked:?}");
    assert_eq!(store.store.resident_streams(), in_memory + AT_ONCE);
    store.hands.advance(Duration::from_secs(10));
    assert_eq!(soon(verifies).await.unwrap(), Ok(false));
    silent.until(&mut asked, AT_ONCE + 1 + 4).await;
    store.hands.advance(Duration::from_secs(10));
    soon(round).await.unwrap();
}
