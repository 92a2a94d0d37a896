//! PostgreSQL, as Debian has it, in a cluster of its own: durable, with a table of events and an index for each query.

use std::cell::OnceCell;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use deadpool_postgres::{Config, Pool, Runtime as PoolRuntime};
use sha2::{Digest as _, Sha256};
use tokio_postgres::NoTls;

use self::service::Service;
use super::child::{Running, free_address};
use crate::bench::scratch;
use crate::run::{run, succeeds};

pub(super) mod backup;
pub(super) mod pages;
mod service;
pub(super) mod settings;
pub(super) mod size;

/// Debian's name of the account that the server runs under; it does not run as root.
const ACCOUNT: &str = "postgres";
/// How often the server is asked whether it takes somebody in, and how long to wait in between.
const TRIES: u32 = 300;
const PAUSE: Duration = Duration::from_millis(100);
/// What a client shows.
const TOKEN: &str = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFG";
/// The organization of all settings.
const ORGANIZATION: &str = "org_bench";

/// The cluster and the service before it, started when they are first asked for.
#[derive(Default)]
pub(super) struct Shared {
    served: OnceCell<Served>,
}

struct Served {
    /// Where the clients of the cluster run, and the service.
    runtime: tokio::runtime::Runtime,
    cluster: Cluster,
    service: Service,
    pool: Pool,
    history: OnceCell<()>,
}

impl Shared {
    fn served(&self) -> Result<&Served> {
        if let Some(served) = self.served.get() {
            return Ok(served);
        }
        let cluster = Cluster::start()?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        // Writes wait for each other's sync, so each connection has one; reads only keep two cores busy.
        let (writing, reading) = (cluster.pool(64)?, cluster.pool(8)?);
        runtime.block_on(set_up(&writing))?;
        let service = Service::start(&runtime, &reading, &writing)?;
        let served = Served { runtime, cluster, service, pool: writing, history: OnceCell::new() };
        Ok(self.served.get_or_init(|| served))
    }
}

/// A cluster in a folder of its own.
struct Cluster {
    running: Running,
}

impl Cluster {
    fn start() -> Result<Self> {
        let dir = scratch()?;
        let (programs, account) = (programs()?, account()?);
        if let Some((user, group)) = account {
            chown(dir.path(), Some(user), Some(group))?;
        }
        let program = |name: &str| {
            let mut command = Command::new(programs.join(name));
            command.current_dir(dir.path());
            if let Some((user, group)) = account {
                command.uid(user).gid(group);
            }
            command
        };
        let mut initdb = program("initdb");
        initdb.arg("-D").arg(dir.path().join("data"));
        run({
            initdb.args(["-A", "trust", "-U", "bench", "-E", "UTF8", "--no-locale", "--no-instructions"]);
            initdb
        })?;
        let address = free_address()?;
        let mut postgres = program("postgres");
        postgres.arg("-D").arg(dir.path().join("data"));
        for setting in [
            "listen_addresses=127.0.0.1",
            &format!("port={}", address.port()),
            "unix_socket_directories=",
            "fsync=on",
            "synchronous_commit=on",
            "full_page_writes=on",
            "shared_buffers=256MB",
            "max_wal_size=4GB",
            "checkpoint_timeout=30min",
            "max_connections=200",
        ] {
            postgres.args(["-c", setting]);
        }
        let cluster = Self { running: Running::start(postgres, address, dir)? };
        cluster.wait(&programs.join("pg_isready"))?;
        Ok(cluster)
    }

    /// It listens a while before it takes anybody in.
    fn wait(&self, pg_isready: &Path) -> Result<()> {
        for _ in 0..TRIES {
            let mut asked = Command::new(pg_isready);
            asked.args(["-q", "-h", "127.0.0.1", "-p", &self.running.address.port().to_string()]);
            if succeeds(asked) {
                return Ok(());
            }
            std::thread::sleep(PAUSE);
        }
        bail!("PostgreSQL takes nobody in")
    }

    fn pool(&self, connections: usize) -> Result<Pool> {
        let mut config = Config::new();
        config.host = Some(self.running.address.ip().to_string());
        config.port = Some(self.running.address.port());
        config.user = Some("bench".to_owned());
        config.dbname = Some("postgres".to_owned());
        config.pool = Some(deadpool_postgres::PoolConfig::new(connections));
        Ok(config.create_pool(Some(PoolRuntime::Tokio1), NoTls)?)
    }

    /// Where files lie that the server reads.
    fn folder(&self) -> &Path {
        self.running.dir.path()
    }

    /// The memory of all its processes, each page that several share counted once, in bytes.
    fn resident_bytes(&self) -> Result<f64> {
        let mut kib = 0.0;
        for process in family(self.running.process())? {
            // A backend may end in between.
            let rollup = std::fs::read_to_string(format!("/proc/{process}/smaps_rollup")).unwrap_or_default();
            let share = rollup.lines().find_map(|line| line.strip_prefix("Pss:"));
            kib += share.map_or(Ok(0.0), |share| share.trim().trim_end_matches(" kB").parse::<f64>())?;
        }
        Ok(1_024.0 * kib)
    }
}

/// A process and its children.
fn family(process: u32) -> Result<Vec<u32>> {
    let children = std::fs::read_to_string(format!("/proc/{process}/task/{process}/children"))?;
    let children = children.split_whitespace().map(str::parse).collect::<Result<Vec<u32>, _>>()?;
    Ok(std::iter::once(process).chain(children).collect())
}

/// Where Debian keeps the programs of the newest version that is installed.
fn programs() -> Result<PathBuf> {
    let mut versions: Vec<_> = std::fs::read_dir("/usr/lib/postgresql")?
        .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
        .collect();
    versions.retain(|programs| programs.join("postgres").exists());
    versions.sort();
    versions.pop().context("PostgreSQL is not installed")
}

/// User and group of the account that root has to run it under; none for anybody else.
fn account() -> Result<Option<(u32, u32)>> {
    let id = |arguments: &[&str]| -> Result<u32> {
        let output = Command::new("id").args(arguments).output()?;
        Ok(String::from_utf8_lossy(&output.stdout).trim().parse()?)
    };
    if id(&["-u"])? == 0 { Ok(Some((id(&["-u", ACCOUNT])?, id(&["-g", ACCOUNT])?))) } else { Ok(None) }
}

/// A table of events; its indexes are made apart, so that a table can be filled before.
fn events_table(name: &str) -> String {
    format!(
        "CREATE TABLE {name} (
            organization text NOT NULL, version bigint GENERATED BY DEFAULT AS IDENTITY, at bigint NOT NULL,
            actor text NOT NULL, action text NOT NULL, resource_type text NOT NULL, resource text NOT NULL,
            outcome text NOT NULL, rest jsonb NOT NULL
        );"
    )
}

/// An index for each query that is measured.
fn events_indexes(name: &str) -> String {
    format!(
        "ALTER TABLE {name} ADD PRIMARY KEY (organization, version);
         CREATE INDEX {name}_by_user ON {name} (organization, actor, version);
         CREATE INDEX {name}_by_action ON {name} (organization, action, at, version);
         CREATE INDEX {name}_by_three ON {name} (organization, actor, action, outcome, version);"
    )
}

/// Settings of one organization, one session, and no events yet.
async fn set_up(pool: &Pool) -> Result<()> {
    let client = pool.get().await?;
    let tables = "
        CREATE TABLE organizations (id text PRIMARY KEY, name text NOT NULL, timezone text NOT NULL);
        CREATE TABLE sessions (token bytea PRIMARY KEY, organization text NOT NULL, person text NOT NULL);
        CREATE TABLE config (
            organization text NOT NULL, key text NOT NULL, value text NOT NULL, version bigint NOT NULL,
            PRIMARY KEY (organization, key)
        );";
    client.batch_execute(tables).await?;
    client.batch_execute(&(events_table("events") + &events_indexes("events"))).await?;
    client.execute("INSERT INTO organizations VALUES ($1, 'Acme', 'Europe/Paris')", &[&ORGANIZATION]).await?;
    client
        .execute("INSERT INTO sessions VALUES ($1, $2, 'usr_owner')", &[&hashed(TOKEN), &ORGANIZATION])
        .await?;
    for number in 0..97 {
        let key = format!("SETTING_{number}");
        client
            .execute("INSERT INTO config VALUES ($1, $2, '\"as it was\"', 1)", &[&ORGANIZATION, &key])
            .await?;
    }
    client.batch_execute("VACUUM ANALYZE").await?;
    Ok(())
}

/// What is kept of a token.
fn hashed(token: &str) -> Vec<u8> {
    Sha256::digest(token.as_bytes()).to_vec()
}

type Postgres = Rc<Shared>;
