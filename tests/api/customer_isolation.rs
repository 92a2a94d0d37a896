//! Three organizations with three customers each, in random traffic over every route that destroys nothing: whoever asks sees
//! nothing of another organization, and a key that is limited to a customer nothing of any other.

use reqwest::Method;
use serde_json::{Value, json};
use settled::http::access::{Access, Row};
use settled::http::routes;

use crate::server::{Answer, Somebody, TestServer, text};
use crate::things::{Things, request};

/// How many requests are made.
const REQUESTS: usize = 2_000;

/// The same numbers in every run (SplitMix64).
struct Dice(u64);

impl Dice {
    fn of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        &all[usize::try_from((mixed ^ (mixed >> 31)) % all.len() as u64).unwrap()]
    }
}

/// A customer, the word that is in all that it has, and what stands for the segments of paths to it.
struct Customer {
    word: String,
    id: String,
    environment: String,
    things: Things,
}

/// Somebody who asks, and the words that they may be told.
struct Asker {
    who: Somebody,
    what: String,
    organization: usize,
    customer: Option<usize>,
}

impl TestServer {
    /// A customer with its word in everything that can hold one.
    async fn customer_with(
        &self,
        owner: &Somebody,
        environment: &str,
        word: &str,
        mut things: Things,
    ) -> Customer {
        let body = json!({"name": format!("Name {word}"), "external_id": format!("id-{word}"),
            "tags": {"word": format!("tag {word}")}, "metadata": {"note": format!("note {word}")}});
        let id = self.customer(owner, &body).await;
        let document = format!("/v1/customers/{id}/data/A");
        self.put(&document, owner, &json!({"value": format!("document {word}")})).await.is(201);
        let executions = format!("/v1/customers/{id}/executions");
        let begins = json!({"workflow": "sync", "environment": environment, "trigger": format!("by {word}")});
        let mut execution = String::new();
        for finishes in [true, false] {
            let begun = self.post(&executions, Some(owner), &begins).await.is(201).json();
            execution = text(&begun["id"]);
            if finishes {
                let end = json!({"status": "failed", "error": format!("error {word}"), "usage": {"n": 1}});
                self.post(&format!("{executions}/{execution}/finish"), Some(owner), &end).await.is(200);
            }
        }
        let secret = json!({"name": "TOKEN", "value": format!("secret {word}"), "environment": environment,
            "customer": id});
        let secret = text(&self.post("/v1/secrets", Some(owner), &secret).await.is(201).json()["id"]);
        let connection = json!({"kind": "token", "name": format!("own-{}", word.to_lowercase()),
            "token": format!("token {word}"), "environment": environment, "customer": id});
        let connection = self.post("/v1/connections", Some(owner), &connection).await.is(201).json();
        let connection = text(&connection["connection"]["id"]);
        for (segment, thing) in [("cus", &id), ("exe", &execution), ("sec", &secret), ("con", &connection)] {
            things.replace(segment, thing.clone());
        }
        Customer { word: word.to_owned(), id, environment: environment.to_owned(), things }
    }
}

/// The routes that destroy nothing, end nobody's session and tell nothing that anybody may know.
fn rows() -> Vec<Row> {
    let all = routes().into_iter().map(|route| route.row);
    let is_harmless = |row: &Row| {
        let ends =
            ["suspend", "erase", "revoke", "destroy", "rotate", "leave", "switch", "restore", "promote"];
        let writes = ["/data/{key}", "/executions", "/finish", "/reveal"];
        !matches!(row.access, Access::Public | Access::OwnAccount | Access::Founder)
            && !ends.iter().any(|end| row.path.contains(end))
            && (row.method == "GET"
                || (row.method != "DELETE" && writes.iter().any(|end| row.path.ends_with(end))))
    };
    all.filter(is_harmless).collect()
}

async fn ask(server: &TestServer, asker: &Asker, row: Row, of: &Customer, owner: &Somebody) -> Answer {
    let (method, mut path, mut body) = request(row.method, row.path, &of.things, owner);
    if row.path.starts_with("/v1/ctx") {
        let customer = &of.id;
        path.push_str(&format!("environment={}&customer={customer}", of.environment));
    }
    if row.path.ends_with("/data/{key}") && row.method == "PUT" {
        body = json!({"value": "written by somebody"});
    }
    server.send(method, &path, &asker.who, &[], &body).await
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_one_is_ever_seen_by_another() {
    let (server, first) = TestServer::set_up().await;
    let mut owners = vec![first.clone()];
    for name in ["Beta", "Gamma"] {
        let founded = json!({"name": name, "timezone": "UTC"});
        let founded = server.post("/v1/organizations", Some(&first), &founded).await.is(201).json();
        let there = Somebody { organization: text(&founded["id"]).parse().unwrap(), ..first.clone() };
        let there = server.another_session(&there).await;
        let me = server.get("/v1/me", &there).await.is(200).json();
        owners.push(Somebody { person: text(&me["person"]["id"]).parse().unwrap(), ..there });
    }
    let (mut customers, mut askers) = (Vec::new(), Vec::new());
    for (number, owner) in owners.iter().enumerate() {
        let mark = format!("org{number}");
        askers.push(Asker {
            who: owner.clone(),
            what: format!("owner {number}"),
            organization: number,
            customer: None,
        });
        for customer in 0..3 {
            let environment = format!("{mark}-{customer}");
            let things = Things::make(&server, owner, &environment, owner.person).await;
            let word = format!("Zq{number}{customer}word");
            let made = server.customer_with(owner, &environment, &word, things).await;
            for mode in ["test", "live"] {
                let body = json!({"name": mode, "mode": mode, "role": "admin", "customers": [made.id]});
                let (_, who) = server.api_key(owner, &body).await;
                let what = format!("{mode} key of {number}/{customer}");
                askers.push(Asker { who, what, organization: number, customer: Some(customer) });
            }
            customers.push((number, customer, made));
        }
    }
    let (rows, mut dice) = (rows(), Dice(7));
    let (mut seen, mut told) = (0, 0);
    for _ in 0..REQUESTS {
        let (asker, row, of) = (dice.of(&askers), *dice.of(&rows), dice.of(&customers));
        let answer = ask(&server, asker, row, &of.2, &owners[asker.organization]).await;
        assert!(answer.status < 500, "{} {} by {}: {}", row.method, row.path, asker.what, answer.text);
        let whole = format!("{:?} {}", answer.headers, answer.text);
        for (organization, customer, whose) in &customers {
            if !whole.contains(&whose.word) {
                continue;
            }
            let own =
                asker.organization == *organization && asker.customer.is_none_or(|own| own == *customer);
            assert!(own, "{} {} told {} of {}: {whole}", row.method, row.path, asker.what, whose.word);
            told += 1;
        }
        // What one path leads to, nobody else's does.
        let foreign = asker.organization != of.0 || asker.customer.is_some_and(|own| own != of.1);
        if foreign && (row.path.contains("{cus}") || row.path.contains("{con}")) {
            assert!([403, 404].contains(&answer.status), "{} {}: {}", row.method, row.path, answer.status);
            seen += 1;
        }
    }
    assert!(told > 20 && seen > 60, "the traffic met something: {told} {seen}");
    // Nobody has written over what is another's.
    for (number, _, of) in &customers {
        let path = format!("/v1/customers/{}/data/A", of.id);
        let value = server.get(&path, &owners[*number]).await.is(200).json()["value"].clone();
        assert!([json!("written by somebody"), json!(format!("document {}", of.word))].contains(&value));
        assert_ne!(value, Value::Null);
    }
    let unseen =
        server.send(Method::GET, "/v1/customers", &owners[0], &[], &Value::Null).await.is(200).json();
    assert_eq!(
        unseen["data"].as_array().map(Vec::len),
        Some(6),
        "three of ours and one with each environment"
    );
}
