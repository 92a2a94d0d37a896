//! PostgreSQL's dump of a long history and its restore, as an operator would run them: in the compressed form that can be
//! restored by several jobs, its compression at its fastest.

use std::cell::OnceCell;
use std::process::Command;
use std::rc::Rc;

use anyhow::Result;

use super::pages::fill_table;
use super::{Cluster, programs};
use crate::bench::snapshot::{run, seconds_on_a_quiet_disk};
use crate::bench::{Peer, count, scratch};

const FORMAT: &[&str] = &["--format=custom", "--compress=1"];
/// A restore makes its indexes by as many jobs as the machine has cores.
const JOBS: &str = "--jobs=2";

/// A cluster with the history and nothing else, started when it is first asked for.
pub(in crate::bench::peers) struct Source {
    events: u64,
    cluster: OnceCell<Cluster>,
    dump: OnceCell<tempfile::TempDir>,
}

impl Source {
    pub(in crate::bench::peers) fn of(events: u64) -> Self {
        Self { events, cluster: OnceCell::new(), dump: OnceCell::new() }
    }

    fn cluster(&self) -> Result<&Cluster> {
        if let Some(cluster) = self.cluster.get() {
            return Ok(cluster);
        }
        let cluster = Cluster::start()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        fill_table(&runtime, &cluster.pool(1)?, cluster.folder(), self.events)?;
        Ok(self.cluster.get_or_init(|| cluster))
    }

    /// One of PostgreSQL's programs, asking the cluster.
    fn program(&self, name: &str) -> Result<Command> {
        let mut command = Command::new(programs()?.join(name));
        let port = self.cluster()?.running.address.port().to_string();
        command.args(["--host=127.0.0.1", "--username=bench", "--port", &port]);
        Ok(command)
    }

    /// Dumps into a new folder, and syncs.
    fn dumped(&self) -> Result<(tempfile::TempDir, f64)> {
        let dir = scratch()?;
        let mut dump = self.program("pg_dump")?;
        dump.args(FORMAT).arg("--file").arg(dir.path().join("dump")).arg("postgres");
        // `pg_dump` syncs what it has written before it ends.
        let took = seconds_on_a_quiet_disk(|| run(dump))?;
        Ok((dir, took))
    }

    fn restored(&self) -> Result<f64> {
        let dump = match self.dump.get() {
            Some(dump) => dump,
            None => {
                let (made, _) = self.dumped()?;
                self.dump.get_or_init(|| made)
            }
        };
        let mut createdb = self.program("createdb")?;
        createdb.args(["--template=template0", "restored"]);
        run(createdb)?;
        let mut restore = self.program("pg_restore")?;
        restore.args([JOBS, "--exit-on-error", "--dbname=restored"]).arg(dump.path().join("dump"));
        let took = seconds_on_a_quiet_disk(|| run(restore))?;
        let mut dropdb = self.program("dropdb")?;
        dropdb.arg("restored");
        run(dropdb)?;
        Ok(took)
    }
}

/// Dumps, or restores a dump.
pub(in crate::bench::peers) struct Backup {
    source: Rc<Source>,
    is_restore: bool,
    details: Vec<String>,
}

impl Backup {
    pub(in crate::bench::peers) fn dump(source: &Rc<Source>) -> Self {
        Self { source: Rc::clone(source), is_restore: false, details: Vec::new() }
    }

    pub(in crate::bench::peers) fn restore(source: &Rc<Source>) -> Self {
        Self { source: Rc::clone(source), is_restore: true, details: Vec::new() }
    }
}

impl Peer for Backup {
    fn name(&self) -> &str {
        if self.is_restore { "PostgreSQL (pg_restore)" } else { "PostgreSQL (pg_dump)" }
    }

    fn work(&mut self) -> Result<f64> {
        let events = self.source.events;
        let took = if self.is_restore { self.source.restored()? } else { self.source.dumped()?.1 };
        self.details.push(format!("{events} events in {took:.2} s"));
        Ok(count(usize::try_from(events)?) / took)
    }

    fn details(&mut self) -> Vec<String> {
        std::mem::take(&mut self.details)
    }
}
