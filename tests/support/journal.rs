//! Many connections that write configuration values, and a journal of what was acknowledged to them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::process::{Login, Server, settled_on};

/// Keys of each connection.
const KEYS: u64 = 4;

/// What was sent and what was acknowledged, over all lives of a store.
#[derive(Default)]
pub struct Journal {
    next_value: AtomicU64,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    /// By the version that the answer named.
    acknowledged: BTreeMap<u64, Write>,
    sent: BTreeSet<(String, u64)>,
    /// Up to this version the log was held against the journal.
    verified: u64,
    refused_for_space: u64,
}

#[derive(Clone, Debug)]
struct Write {
    key: String,
    value: u64,
    sent_at: Instant,
}

impl Journal {
    pub fn acknowledged(&self) -> usize {
        self.inner().acknowledged.len()
    }

    /// How many writes were answered 507.
    pub fn refused_for_space(&self) -> u64 {
        self.inner().refused_for_space
    }

    /// How many writes that were sent after a moment were acknowledged.
    pub fn acknowledged_after(&self, moment: Instant) -> usize {
        self.inner().acknowledged.values().filter(|write| write.sent_at > moment).count()
    }

    fn inner(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Lets so many connections write until the server is gone or the returned set is dropped.
    pub fn write(self: &Arc<Self>, server: &Server, login: &Login, connections: u64) -> JoinSet<()> {
        let mut writers = JoinSet::new();
        for connection in 0..connections {
            let (journal, url, login) = (Arc::clone(self), server.url.clone(), login.clone());
            writers.spawn(async move { journal.write_on(connection, &url, &login).await });
        }
        writers
    }

    async fn write_on(&self, connection: u64, url: &str, login: &Login) {
        let client = settled::client::http::plain().build().unwrap();
        loop {
            let value = self.next_value.fetch_add(1, Ordering::Relaxed);
            let key = format!("W{connection}_{}", value % KEYS);
            self.inner().sent.insert((key.clone(), value));
            let sent_at = Instant::now();
            let answer = client
                .put(format!("{url}/v1/environments/prod/config/{key}"))
                .bearer_auth(&login.token)
                .json(&json!({ "value": value }))
                .send()
                .await;
            let Ok(response) = answer else { return };
            let status = response.status().as_u16();
            match status {
                200 | 201 => {}
                // The queue is full, the disk is full, or the server is on its way down: nothing was acknowledged.
                503 | 507 => {
                    self.inner().refused_for_space += u64::from(status == 507);
                    tokio::time::sleep(Duration::from_millis(5)).await;
                    continue;
                }
                500 => return,
                other => panic!("{other}: {:?}", response.text().await),
            }
            // A whole header with a 2xx is an acknowledgement; its body names the version.
            let Ok(body) = response.json::<Value>().await else { return };
            let version = body["version"].as_u64().expect("the answer names the version");
            let write = Write { key, value, sent_at };
            let before = self.inner().acknowledged.insert(version, write);
            assert!(before.is_none(), "version {version} was acknowledged twice");
        }
    }

    /// Holds what is served and what the log says against the journal.
    pub async fn verify(&self, server: &Server, login: &Login) {
        let after = self.inner().verified;
        let path = format!("/v1/operator/log/export?stream={}&after={after}", login.organization);
        let lines = server.operator(&path);
        let end = self.verify_events(&lines, after);
        let (status, page) = server.call(login, "GET", "/v1/environments/prod/config?limit=200", None).await;
        assert_eq!(status, 200, "{page}");
        self.verify_served(&page);
        self.inner().verified = end;
    }

    /// Holds exported events after a version against the journal; gives the last version.
    pub fn verify_events(&self, lines: &str, after: u64) -> u64 {
        let inner = self.inner();
        let mut version = after;
        let mut found = BTreeSet::new();
        let mut expected: BTreeMap<_, _> = inner.acknowledged.range(after + 1..).collect();
        for line in lines.lines() {
            let event: Value = serde_json::from_str(line).expect("a line is an event");
            version += 1;
            assert_eq!(event["version"], version, "versions have no gap");
            let write = written(&event);
            if let Some(acknowledged) = expected.remove(&version) {
                let acknowledged = (acknowledged.key.clone(), acknowledged.value);
                assert_eq!(write, Some(acknowledged), "version {version} is what was acknowledged");
            }
            if let Some(write) = write {
                assert!(inner.sent.contains(&write), "{write:?} was never sent");
                assert!(found.insert(write.clone()), "{write:?} was recorded twice");
            }
        }
        assert!(expected.is_empty(), "{} ACKNOWLEDGED CHANGES ARE LOST: {expected:?}", expected.len());
        version
    }

    /// Each key serves its last acknowledged value or one that was sent later.
    fn verify_served(&self, page: &Value) {
        let inner = self.inner();
        let rows = page["data"].as_array().expect("a page has data");
        let served: BTreeMap<&str, (u64, u64)> = rows
            .iter()
            .filter_map(|row| {
                Some((row["key"].as_str()?, (row["version"].as_u64()?, row["value"].as_u64()?)))
            })
            .collect();
        let mut last: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
        for (version, write) in &inner.acknowledged {
            last.insert(&write.key, (*version, write.value));
        }
        for (key, (version, value)) in last {
            let (served_version, served_value) = served[key];
            assert!(served_version >= version, "{key}: {served_version} is older than {version}");
            if served_version == version {
                assert_eq!(served_value, value, "{key}");
            }
        }
    }
}

/// The key and value of an event that is a write of one of the connections.
fn written(event: &Value) -> Option<(String, u64)> {
    let key = event["data"]["key"].as_str().filter(|key| key.starts_with('W'))?;
    let value = event["data"]["value"].as_str().and_then(|text| text.parse().ok());
    Some((key.to_owned(), value.expect("connections write numbers")))
}

/// Neither the log nor the keys have a defect, and every state that is or would be served is that of the log. Gives the
/// derived files that `fsck` lists: none but after a power cut, which tears them.
pub fn assert_sound(dir: &Path) -> Vec<PathBuf> {
    let fsck = settled_on(dir, &["fsck", "--json"]);
    assert!(matches!(fsck.code, Some(0 | 1)), "{fsck:?}");
    let report = fsck.json();
    assert_eq!((&report["defects"], &report["key_files"]["defects"]), (&json!([]), &json!([])));
    assert_eq!(report["derived"]["unchecked"], json!([]));
    let listed: Vec<PathBuf> = report["derived"]["defects"]
        .as_array()
        .expect("fsck prints what it found")
        .iter()
        .map(|defect| PathBuf::from(defect["file"].as_str().expect("fsck prints what it found")))
        .collect();
    assert_eq!(fsck.code, Some(u8::from(!listed.is_empty()).into()), "{report}");
    // What a server goes on with by itself after a crash makes a stream longer meanwhile, which says nothing of it.
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let replay = settled_on(dir, &["replay", "--json"]);
        assert_eq!(replay.code, Some(0), "{replay:?}");
        let streams = replay.json()["streams"].as_array().expect("streams").clone();
        let not_served: Vec<_> = streams.iter().filter(|stream| stream["served"] != true).collect();
        if not_served.is_empty() {
            return listed;
        }
        assert!(not_served.iter().all(|stream| stream["served"].is_null()), "{not_served:?}");
        assert!(Instant::now() < deadline, "they go on for a minute: {not_served:?}");
    }
}
