//! The memory and the disk that PostgreSQL takes.

use std::rc::Rc;

use anyhow::{Context as _, Result};
use tokio_postgres::types::ToSql;

use super::pages::fill;
use super::settings::request;
use super::{Cluster, Postgres, events_indexes, events_table};
use crate::bench::history::History;
use crate::bench::load::load;
use crate::bench::peers::record::Record;
use crate::bench::write::BODY;
use crate::bench::{Length, Peer, count, disk};

const MIB: f64 = 1_048_576.0;

/// The memory of all processes of the cluster while they serve.
pub(in crate::bench::peers) struct Memory {
    shared: Postgres,
    events: u64,
    length: Length,
    seed: u32,
    details: Vec<String>,
}

impl Memory {
    pub(in crate::bench::peers) fn new(shared: &Postgres, events: u64, length: Length) -> Self {
        Self { shared: Rc::clone(shared), events, length, seed: 9_000, details: Vec::new() }
    }
}

impl Peer for Memory {
    fn name(&self) -> &str {
        "PostgreSQL (the service not counted)"
    }

    fn work(&mut self) -> Result<f64> {
        self.seed += 1;
        let served = self.shared.served()?;
        fill(served, self.events)?;
        let reads = request(&self.shared, "GET", "/general", None)?;
        let writes = request(&self.shared, "PUT", "/config/SETTING_%d", Some(BODY))?;
        let (seconds, seed) = (self.length.seconds(), self.seed);
        let highest = std::thread::scope(|scope| -> Result<f64> {
            let loads = scope.spawn(move || {
                load(&reads, 64, seconds, seed).and_then(|_| load(&writes, 64, seconds, seed))
            });
            let mut highest = 0.0_f64;
            while !loads.is_finished() {
                highest = highest.max(served.cluster.resident_bytes()?);
                std::thread::sleep(std::time::Duration::from_millis(200));
            }
            loads.join().ok().context("the load's thread panicked")??;
            Ok(highest)
        })?;
        self.details.push(format!("{:.0} MiB", highest / MIB));
        Ok(1.0 / highest)
    }

    fn details(&mut self) -> Vec<String> {
        std::mem::take(&mut self.details)
    }
}

/// What the table and its indexes take, in a cluster of their own.
pub(in crate::bench::peers) struct Disk {
    history: Rc<History>,
    events: usize,
    per_commit: usize,
    details: Vec<String>,
}

impl Disk {
    pub(in crate::bench::peers) fn new(history: &Rc<History>, per_commit: usize, length: Length) -> Self {
        let (history, events) = (Rc::clone(history), disk::commits(per_commit, length) * per_commit);
        Self { history, events, per_commit, details: Vec::new() }
    }
}

impl Peer for Disk {
    fn name(&self) -> &str {
        "PostgreSQL (an index for each query)"
    }

    fn work(&mut self) -> Result<f64> {
        let records = self.history.first(self.events)?.iter().map(Record::of).collect::<Result<Vec<_>>>()?;
        let cluster = Cluster::start()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let bytes = runtime.block_on(async {
            let mut client = cluster.pool(1)?.get().await?;
            client.batch_execute(&(events_table("events") + &events_indexes("events"))).await?;
            for records in records.chunks(self.per_commit) {
                let transaction = client.transaction().await?;
                let insert = transaction.prepare_cached(INSERT).await?;
                for record in records {
                    let rest: serde_json::Value = serde_json::from_str(&record.rest)?;
                    let values: [&(dyn ToSql + Sync); 9] = [
                        &record.organization,
                        &record.version,
                        &record.at,
                        &record.actor,
                        &record.action,
                        &record.resource_type,
                        &record.resource,
                        &record.outcome,
                        &rest,
                    ];
                    transaction.execute(&insert, &values).await?;
                }
                transaction.commit().await?;
            }
            let size = client.query_one("SELECT pg_total_relation_size('events')", &[]).await?;
            let bytes: i64 = size.get(0);
            anyhow::Ok(count(usize::try_from(bytes)?))
        })?;
        let events = count(self.events);
        self.details.push(format!("{:.0} bytes, without its write-ahead log", bytes / events));
        Ok(events / bytes)
    }

    fn details(&mut self) -> Vec<String> {
        std::mem::take(&mut self.details)
    }
}

const INSERT: &str = "INSERT INTO events VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
