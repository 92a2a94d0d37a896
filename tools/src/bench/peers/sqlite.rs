//! SQLite, in process: a table of events in WAL mode with `synchronous=FULL`, so that a commit is durable.

use std::fs::File;
use std::hint::black_box;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Result, ensure};
use rusqlite::backup::Backup as Copying;
use rusqlite::{Connection, params};

use super::record::Record;
use crate::bench::history::{History, each_event};
use crate::bench::snapshot::seconds_on_a_quiet_disk;
use crate::bench::{Length, Peer, append, count, disk, replay, scratch, seconds};

const TABLE: &str = "
    CREATE TABLE events (
        position INTEGER PRIMARY KEY, organization TEXT NOT NULL, version INTEGER NOT NULL, at INTEGER NOT NULL,
        actor TEXT NOT NULL, action TEXT NOT NULL, resource_type TEXT NOT NULL, resource TEXT NOT NULL,
        outcome TEXT NOT NULL, rest TEXT NOT NULL
    );";

/// One for each query of the audit log that is measured, and what keeps versions gap-free.
const INDEXES: &str = "
    CREATE UNIQUE INDEX by_version ON events (organization, version);
    CREATE INDEX by_user ON events (organization, actor, version);
    CREATE INDEX by_action ON events (organization, action, at);
    CREATE INDEX by_three ON events (organization, actor, action, outcome, version);";

fn open(dir: &Path, indexed: bool) -> Result<Connection> {
    let connection = Connection::open(dir.join("events.db"))?;
    let mode: String = connection.query_row("PRAGMA journal_mode=WAL", [], |row| row.get(0))?;
    ensure!(mode == "wal", "the journal is in mode {mode}");
    connection.execute_batch("PRAGMA synchronous=FULL;")?;
    connection.execute_batch(TABLE)?;
    if indexed {
        connection.execute_batch(INDEXES)?;
    }
    Ok(connection)
}

/// Inserts records, so many a transaction.
fn insert(connection: &mut Connection, records: &[Record], per_commit: usize) -> Result<()> {
    for records in records.chunks(per_commit) {
        let transaction = connection.transaction()?;
        {
            let mut insert =
                transaction.prepare_cached("INSERT INTO events VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?)")?;
            for record in records {
                insert.execute(params![
                    record.organization,
                    record.version,
                    record.at,
                    record.actor,
                    record.action,
                    record.resource_type,
                    record.resource,
                    record.outcome,
                    record.rest
                ])?;
            }
        }
        transaction.commit()?;
    }
    Ok(())
}

fn records(history: &History, events: usize) -> Result<Vec<Record>> {
    history.first(events)?.iter().map(Record::of).collect()
}

/// Inserts in batches, into the table without further indexes.
pub(super) struct Append {
    history: Rc<History>,
    events: usize,
    details: Vec<String>,
}

impl Append {
    pub(super) fn new(history: &Rc<History>, length: Length) -> Self {
        let events = append::batches(length) * append::EVENTS;
        Self { history: Rc::clone(history), events, details: Vec::new() }
    }
}

impl Peer for Append {
    fn name(&self) -> &str {
        "SQLite (table alone)"
    }

    fn work(&mut self) -> Result<f64> {
        let records = records(&self.history, self.events)?;
        let dir = scratch()?;
        let mut connection = open(dir.path(), false)?;
        let took = seconds(|| insert(&mut connection, &records, append::EVENTS))?;
        let per_second = count(self.events) / took;
        self.details.push(format!("{per_second:.0} events/s"));
        Ok(per_second)
    }

    fn details(&mut self) -> Vec<String> {
        std::mem::take(&mut self.details)
    }
}

/// Reads every column of every row in order.
pub(super) struct Scan {
    history: Rc<History>,
    events: usize,
    made: Option<(tempfile::TempDir, Connection)>,
    details: Vec<String>,
}

impl Scan {
    pub(super) fn new(history: &Rc<History>, length: Length) -> Self {
        let (history, events) = (Rc::clone(history), replay::events(length));
        Self { history, events, made: None, details: Vec::new() }
    }

    fn connection(&mut self) -> Result<&Connection> {
        if self.made.is_none() {
            let dir = scratch()?;
            let mut connection = open(dir.path(), false)?;
            insert(&mut connection, &records(&self.history, self.events)?, 4_096)?;
            connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
            self.made = Some((dir, connection));
        }
        self.made.as_ref().map(|(_, made)| made).ok_or_else(|| anyhow::anyhow!("made just now"))
    }
}

impl Peer for Scan {
    fn name(&self) -> &str {
        "SQLite (a scan, nothing decoded)"
    }

    fn work(&mut self) -> Result<f64> {
        let events = self.events;
        let connection = self.connection()?;
        let mut found = 0;
        let took = seconds(|| -> Result<()> {
            let mut scan = connection.prepare("SELECT * FROM events ORDER BY position")?;
            let mut rows = scan.query([])?;
            while let Some(row) = rows.next()? {
                for column in 0..10 {
                    black_box(row.get_ref(column)?);
                }
                found += 1;
            }
            Ok(())
        })?;
        ensure!(found == events, "{found} of {events} events were read");
        let per_second = count(events) / took;
        self.details.push(format!("{per_second:.0} events/s"));
        Ok(per_second)
    }

    fn details(&mut self) -> Vec<String> {
        std::mem::take(&mut self.details)
    }
}

/// What the file takes, with and without an index for each query.
pub(super) struct Disk {
    history: Rc<History>,
    events: usize,
    per_commit: usize,
    indexed: bool,
    details: Vec<String>,
}

impl Disk {
    pub(super) fn new(history: &Rc<History>, per_commit: usize, indexed: bool, length: Length) -> Self {
        let (history, events) = (Rc::clone(history), disk::commits(per_commit, length) * per_commit);
        Self { history, events, per_commit, indexed, details: Vec::new() }
    }
}

impl Peer for Disk {
    fn name(&self) -> &str {
        if self.indexed { "SQLite (an index for each query)" } else { "SQLite (table alone)" }
    }

    fn work(&mut self) -> Result<f64> {
        let dir = scratch()?;
        let mut connection = open(dir.path(), self.indexed)?;
        insert(&mut connection, &records(&self.history, self.events)?, self.per_commit)?;
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        drop(connection);
        let (bytes, events) = (disk::allocated(dir.path())?, count(self.events));
        self.details.push(format!("{:.0} bytes", bytes / events));
        Ok(events / bytes)
    }

    fn details(&mut self) -> Vec<String> {
        std::mem::take(&mut self.details)
    }
}

/// Copies a database that could be written to meanwhile, and syncs the copy.
pub(super) struct Backup {
    events: u64,
    source: Option<(tempfile::TempDir, Connection)>,
    details: Vec<String>,
}

/// How many pages are copied at once, and how long it stands back for writers in between: not at all.
const PAGES: i32 = 4_096;
const PAUSE: Duration = Duration::ZERO;
/// How many events are inserted at once.
const INSERTED: usize = 4_096;

impl Backup {
    pub(super) fn new(events: u64) -> Self {
        Self { events, source: None, details: Vec::new() }
    }

    fn source(&mut self) -> Result<&Connection> {
        if self.source.is_none() {
            let dir = scratch()?;
            let mut connection = open(dir.path(), false)?;
            let mut records = Vec::new();
            each_event(self.events, |event| {
                records.push(Record::of(&event)?);
                if records.len() == INSERTED {
                    insert(&mut connection, &std::mem::take(&mut records), INSERTED)?;
                }
                Ok(())
            })?;
            insert(&mut connection, &records, INSERTED)?;
            connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
            self.source = Some((dir, connection));
        }
        self.source.as_ref().map(|(_, source)| source).ok_or_else(|| anyhow::anyhow!("made just now"))
    }
}

impl Peer for Backup {
    fn name(&self) -> &str {
        "SQLite (online backup)"
    }

    fn work(&mut self) -> Result<f64> {
        let events = self.events;
        let source = self.source()?;
        let dir = scratch()?;
        let path = dir.path().join("copy.db");
        let took = seconds_on_a_quiet_disk(|| {
            let mut copy = Connection::open(&path)?;
            Copying::new(source, &mut copy)?.run_to_completion(PAGES, PAUSE, None)?;
            copy.close().map_err(|(_, error)| error)?;
            File::open(&path)?.sync_all()?;
            Ok(File::open(dir.path())?.sync_all()?)
        })?;
        self.details.push(format!("{events} events in {took:.2} s"));
        Ok(count(usize::try_from(events)?) / took)
    }

    fn details(&mut self) -> Vec<String> {
        std::mem::take(&mut self.details)
    }
}
