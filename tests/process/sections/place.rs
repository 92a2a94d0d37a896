//! Where something of an organization is read, and what is to be found there.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::process::{Login, Server};

/// What is at a place.
#[derive(Clone, Debug, PartialEq)]
pub enum Stands {
    /// Nothing.
    Gone,
    /// At least this; null is a field that is not there.
    Has(Value),
    /// Nothing that the test says anything about.
    Unsaid,
}

/// Where something is read, and by whom.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// By which API key; by the organization's Owner without one.
    key: Option<String>,
    path: String,
    at: At,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum At {
    /// The one row of a list with a field of this value.
    Row(&'static str, String),
    /// What an answer has under a JSON Pointer (RFC 6901).
    Pointer(String),
}

impl Place {
    /// The one row of a list with a field of this value.
    pub fn row(path: &str, field: &'static str, value: &str) -> Self {
        Self { key: None, path: path.to_owned(), at: At::Row(field, value.to_owned()) }
    }

    /// An answer.
    pub fn whole(path: &str) -> Self {
        Self { key: None, path: path.to_owned(), at: At::Pointer(String::new()) }
    }

    /// What a program reads at run time, under a JSON Pointer.
    pub fn read_by(key: &str, pointer: String) -> Self {
        let path = "/v1/ctx?environment=prod".to_owned();
        Self { key: Some(key.to_owned()), path, at: At::Pointer(pointer) }
    }

    fn within(&self, answer: &Value) -> Option<Value> {
        match &self.at {
            At::Pointer(pointer) => answer.pointer(pointer).cloned(),
            At::Row(field, value) => {
                let rows = answer.get("data").or(answer.get("usage")).and_then(Value::as_array);
                let mut found = rows.expect("a list").iter().filter(|row| row[*field] == value.as_str());
                let row = found.next().cloned();
                assert!(found.next().is_none(), "{self:?} is there twice");
                row
            }
        }
    }
}

impl Stands {
    /// Whether it is what was found at a place.
    pub fn holds(&self, found: Option<&Value>) -> bool {
        match self {
            Self::Gone => found.is_none(),
            Self::Has(expected) => found.is_some_and(|found| has(found, expected)),
            Self::Unsaid => true,
        }
    }
}

fn has(found: &Value, expected: &Value) -> bool {
    match expected {
        Value::Object(fields) => {
            fields.iter().all(|(name, expected)| has(found.get(name).unwrap_or(&Value::Null), expected))
        }
        other => found == other,
    }
}

/// Reads places of one server, each answer once.
pub struct Reader<'a> {
    server: &'a Server,
    owner: &'a Login,
    answers: BTreeMap<(Option<String>, String), Option<Value>>,
}

impl<'a> Reader<'a> {
    pub fn new(server: &'a Server, owner: &'a Login) -> Self {
        Self { server, owner, answers: BTreeMap::new() }
    }

    /// What is at a place.
    pub async fn at(&mut self, place: &Place) -> Option<Value> {
        let asked = (place.key.clone(), place.path.clone());
        if !self.answers.contains_key(&asked) {
            let answer = self.whole(place).await;
            self.answers.insert(asked.clone(), answer);
        }
        self.answers[&asked].as_ref().and_then(|answer| place.within(answer))
    }

    /// The answer of a path, with all pages of a list; nothing where there is nothing, or the key is refused.
    async fn whole(&self, place: &Place) -> Option<Value> {
        let mut whole = self.page(place, &place.path).await?;
        while let Some(cursor) = whole["next_cursor"].as_str() {
            let next = format!("{}?cursor={cursor}", place.path);
            let mut next = self.page(place, &next).await.expect("a list goes on");
            let rows = next["data"].as_array_mut().expect("a page has data");
            whole["data"].as_array_mut().expect("a page has data").append(rows);
            whole["next_cursor"] = next["next_cursor"].take();
        }
        Some(whole)
    }

    async fn page(&self, place: &Place, path: &str) -> Option<Value> {
        let login = match &place.key {
            None => self.owner.clone(),
            Some(key) => Login { token: key.clone(), organization: String::new() },
        };
        let (status, body) = self.server.call(&login, "GET", path, None).await;
        match status {
            200 => Some(body),
            401 | 404 => None,
            other => panic!("{other}: {path}: {body}"),
        }
    }
}
