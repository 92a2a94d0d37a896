//! A good client beside an attack: how long it waits, held against the same without.

use std::time::{Duration, Instant};

use reqwest::RequestBuilder;
use tokio::task::JoinSet;

use crate::operator::figure;
use crate::process::{Login, Server};

/// How often it is measured at most. Other programs of a machine have their own peaks: with and without are measured
/// side by side until a pair is quiet.
const PAIRS_MAX: usize = 8;
/// What two threads that want the same core make each other wait: the clients' and the attackers' are on the machine, too.
/// Below it a longer wait says nothing of the server.
const SLICE: Duration = Duration::from_millis(3);

/// What was measured side by side.
pub struct Pairs {
    what: &'static str,
    taken: Vec<(Duration, Duration)>,
}

impl Pairs {
    pub fn of(what: &'static str) -> Self {
        Self { what, taken: Vec::new() }
    }

    /// Whether there is no pair yet in which the good client waited less than twice as long with as without, or less
    /// than a slice of the scheduler's; fails where there are enough.
    #[expect(clippy::print_stdout, reason = "what was measured is shown with a test's output")]
    pub fn go_on(&self) -> bool {
        let said = format!("p99 without and with {}: {:?}", self.what, self.taken);
        if self.taken.last().is_some_and(|(without, with)| *with < (*without * 2).max(SLICE)) {
            println!("{said}");
            return false;
        }
        assert!(self.taken.len() < PAIRS_MAX, "{said}");
        true
    }

    pub fn add(&mut self, without: Duration, with: Duration) {
        self.taken.push((without, with));
    }
}

/// How many requests a measurement has, and the pause between two.
const REQUESTS: usize = 400;
const EVERY: Duration = Duration::from_millis(4);

/// [`p99_of`] a person's reads.
pub async fn p99(server: &Server, login: &Login) -> Duration {
    p99_of(general(server).bearer_auth(&login.token)).await
}

/// A read of the organization's settings, without who reads.
pub fn general(server: &Server) -> RequestBuilder {
    let client = settled::client::http::plain().build().unwrap();
    client.get(format!("{}/v1/general", server.url))
}

/// The time within which 99 % of a good client's requests were answered. They are sent evenly, whether or not those before
/// have been answered, so that a pause of the server is seen by all that it meets.
pub async fn p99_of(read: RequestBuilder) -> Duration {
    let mut reads = JoinSet::new();
    let mut due = tokio::time::interval(EVERY);
    for _ in 0..REQUESTS {
        due.tick().await;
        let request = read.try_clone().expect("it has no body");
        reads.spawn(async move {
            let began = Instant::now();
            let answer = request.send().await.expect("the server answers");
            assert_eq!(answer.status(), 200);
            answer.bytes().await.expect("the whole answer comes");
            began.elapsed()
        });
    }
    let mut took = reads.join_all().await;
    took.sort();
    took[REQUESTS * 99 / 100]
}

/// The memory of the server that is in RAM, in MiB.
pub fn resident_mib(server: &Server) -> f64 {
    figure(&server.operator("/metrics"), "settled_process_resident_memory_bytes") / f64::from(1 << 20)
}

/// What the server says is wrong.
pub fn problems(server: &Server) -> Vec<String> {
    let readiness: serde_json::Value = serde_json::from_str(&server.operator("/readyz")).unwrap();
    assert_eq!(readiness["ready"], true);
    serde_json::from_value(readiness["problems"].clone()).unwrap()
}

/// Waits until something is so, and fails if it does not come.
pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < deadline, "it does not come: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
