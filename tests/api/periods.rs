//! Billing periods by the clock, from one month of a place into the next and the one after: over the ends of summer time, months
//! of every length, and a day that a place never had. Use, limits and alerts begin anew with the place's first midnight, and not
//! a moment before.

use std::time::Duration;

use serde_json::{Value, json};
use settled::clock::{Clock, Timestamp};

use crate::server::{Somebody, TestServer, text};

/// Three instants at which a place has the midnight of a month's first day, one after the other.
const MONTHS: [(&str, [&str; 3]); 8] = [
    // Summer time ends on the first of November, two hours after the month began.
    ("America/New_York", ["2026-10-01T04:00:00Z", "2026-11-01T04:00:00Z", "2026-12-01T05:00:00Z"]),
    ("America/New_York", ["2026-02-01T05:00:00Z", "2026-03-01T05:00:00Z", "2026-04-01T04:00:00Z"]),
    ("Europe/Berlin", ["2026-02-28T23:00:00Z", "2026-03-31T22:00:00Z", "2026-04-30T22:00:00Z"]),
    ("Europe/Berlin", ["2026-09-30T22:00:00Z", "2026-10-31T23:00:00Z", "2026-11-30T23:00:00Z"]),
    // Its summer time is half an hour.
    ("Australia/Lord_Howe", ["2026-03-31T13:00:00Z", "2026-04-30T13:30:00Z", "2026-05-31T13:30:00Z"]),
    ("Australia/Lord_Howe", ["2026-09-30T13:30:00Z", "2026-10-31T13:00:00Z", "2026-11-30T13:00:00Z"]),
    // A leap year's February, a quarter of an hour off the full hour.
    ("Asia/Kathmandu", ["2028-01-31T18:15:00Z", "2028-02-29T18:15:00Z", "2028-03-31T18:15:00Z"]),
    // It went over the date line, and had no 30 December.
    ("Pacific/Apia", ["2011-12-01T10:00:00Z", "2011-12-31T10:00:00Z", "2012-01-31T10:00:00Z"]),
];
const EXECUTIONS: u64 = 2;
const REQUESTS: u64 = 5;

/// An organization in a place, whose customer has executions and whose program asks.
struct Place {
    server: TestServer,
    owner: Somebody,
    program: Somebody,
    customer: String,
}

impl Place {
    async fn at(timezone: &str, begins: Timestamp) -> Self {
        let (clock, hands) = Clock::manual(begins);
        let server = TestServer::start_with(clock, Some(hands), &[]).await;
        let owner = server.found().await;
        server.patch("/v1/general", &owner, &json!({"timezone": timezone})).await.is(200);
        server.environment(&owner, "Dev", "test").await;
        let customer = server.customer(&owner, &json!({"name": "One"})).await;
        let (_, program) = server.api_key(&owner, &json!({"name": "K", "mode": "test"})).await;
        let limits = json!({"executions": {"limit": EXECUTIONS, "soft": false},
            "api_requests": {"limit": REQUESTS, "soft": true}});
        server.limit(&owner, limits).await;
        Self { server, owner, program, customer }
    }

    fn now(&self) -> Timestamp {
        self.server.app().store.clock().now()
    }

    /// Lets time pass until an instant; sessions of before have ended by then.
    async fn wait_until(&mut self, instant: Timestamp) {
        let wait = u64::try_from(instant.micros() - self.now().micros()).unwrap();
        self.server.hands.as_ref().unwrap().advance(Duration::from_micros(wait));
        self.owner = self.server.another_session(&self.owner).await;
    }

    /// Asks for an execution; the answer's status.
    async fn execute(&self) -> u16 {
        let path = format!("/v1/customers/{}/executions", self.customer);
        let body = json!({"workflow": "sync", "environment": "dev"});
        self.server.post(&path, Some(&self.owner), &body).await.status
    }

    async fn ask(&self, times: u64) {
        for _ in 0..times {
            self.server.get("/v1/ctx?environment=dev", &self.program).await.is(200);
        }
    }

    async fn billing(&self) -> Value {
        self.server.get("/v1/billing", &self.owner).await.is(200).json()
    }

    /// What was used in the period: executions and requests.
    async fn used(&self) -> [u64; 2] {
        let billing = self.billing().await;
        ["executions", "api_requests"].map(|meter| {
            let mut usage = billing["usage"].as_array().unwrap().iter();
            usage.find(|usage| usage["meter"] == meter).unwrap()["used"].as_u64().unwrap()
        })
    }

    /// The shares of which the period has an alert.
    async fn told(&self) -> Vec<u64> {
        let billing = self.billing().await;
        let alerts = billing["alerts"].as_array().unwrap().iter();
        alerts.map(|alert| alert["threshold"].as_u64().unwrap()).collect()
    }

    /// One period, from its first moment to its last.
    async fn lives_through(&mut self, start: Timestamp, end: Timestamp) {
        assert_eq!(self.now(), start);
        let period = self.billing().await["period"].clone();
        assert_eq!(period, json!({"start": start.to_string(), "end": end.to_string()}));
        assert_eq!((self.used().await, self.told().await), ([0, 0], Vec::new()));
        for _ in 0..EXECUTIONS {
            assert_eq!(self.execute().await, 201);
        }
        assert_eq!(self.execute().await, 402);
        self.ask(REQUESTS + 1).await;
        let place = &*self;
        place.server.eventually(|| async { place.told().await == [80, 100] }).await;
        // The hour is over, and recorded.
        self.wait_until(start.plus_seconds(3_600)).await;
        self.server.app().store.flush_counts(false).await;
        self.ask(1).await;
        self.wait_until(Timestamp::from_micros(end.micros() - 1)).await;
        self.ask(1).await;
        self.server.app().store.flush_counts(false).await;
        assert_eq!(self.used().await, [EXECUTIONS, REQUESTS + 3]);
        assert_eq!(self.told().await, [80, 100], "of each share once");
        assert_eq!(self.execute().await, 402, "it is the same month still");
        self.wait_until(end).await;
    }

    /// What there was month by month from a moment on, by the months' beginnings.
    async fn by_month(&self, meter: &str, from: &str) -> Vec<(String, u64)> {
        let path = format!("/v1/billing/usage?meter={meter}&granularity=month&from={from}");
        let spans = self.server.get(&path, &self.owner).await.is(200).json()["data"].clone();
        let spans = spans.as_array().unwrap().iter();
        spans.map(|span| (text(&span["start"]), span["used"].as_u64().unwrap())).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_month_ends_with_its_last_moment_by_the_clocks_of_the_place() {
    for (timezone, instants) in MONTHS {
        let [first, second, third] = instants.map(|instant| instant.parse::<Timestamp>().unwrap());
        let mut place = Place::at(timezone, first).await;
        place.lives_through(first, second).await;
        place.lives_through(second, third).await;
        assert_eq!((place.used().await, place.told().await), ([0, 0], Vec::new()), "{timezone}");
        place.ask(1).await;
        assert_eq!(place.execute().await, 201, "{timezone}");
        // A month that has just begun has a moment to tell of.
        place.server.advance(1);
        let alerts = place.server.audit(&place.owner, "&action=billing.alert").await;
        assert_eq!(alerts.len(), 4, "{timezone}: two shares in each of two months");
        let [a, b, c] = [first, second, third].map(|instant| instant.to_string());
        let months = |each: u64| vec![(a.clone(), each), (b.clone(), each), (c.clone(), 1)];
        assert_eq!(place.by_month("executions", instants[0]).await, months(EXECUTIONS), "{timezone}");
        assert_eq!(place.by_month("api_requests", instants[0]).await, months(REQUESTS + 3), "{timezone}");
    }
}
