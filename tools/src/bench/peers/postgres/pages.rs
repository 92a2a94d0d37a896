//! Audit pages from PostgreSQL, over a long history of one organization.

use std::io::Write as _;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use anyhow::Result;
use deadpool_postgres::Pool;
use tokio::runtime::Runtime;

use super::service::{BY_ACTION_AND_WEEK, BY_THREE, BY_USER, page};
use super::settings::request;
use super::{ORGANIZATION, Postgres, Served, TOKEN, events_indexes, events_table, hashed};
use crate::bench::audit::{Asked, CONNECTIONS, Filter};
use crate::bench::history::each_event;
use crate::bench::load::load;
use crate::bench::peers::record::Record;
use crate::bench::server::now;
use crate::bench::{Length, Peer, count, seconds};
use crate::run::say;

/// Asks for pages, over HTTP or with the driver alone.
pub(in crate::bench::peers) struct Page {
    shared: Postgres,
    filter: Filter,
    events: u64,
    over_http: bool,
    length: Length,
    details: Vec<String>,
}

impl Page {
    pub(in crate::bench::peers) fn new(
        shared: &Postgres,
        filter: Filter,
        events: u64,
        over_http: bool,
        length: Length,
    ) -> Self {
        Self { shared: Rc::clone(shared), filter, events, over_http, length, details: Vec::new() }
    }

    fn over_http(&self, asked: &[Asked]) -> Result<f64> {
        let mut request = request(&self.shared, "GET", "/audit", None)?;
        let micros = |asked: &Asked| {
            // The service takes times as it keeps them.
            let within = asked.within.map(|(from, to)| format!("&from={}&to={}", from.micros(), to.micros()));
            let query = Asked { within: None, ..asked.clone() }.query();
            format!("/audit?{query}{}", within.unwrap_or_default())
        };
        request.paths = asked.iter().map(micros).collect();
        Ok(load(&request, CONNECTIONS, self.length.seconds(), 0)?.per_second)
    }

    fn natively(&self, served: &Served, asked: &[Asked]) -> Result<f64> {
        let span = Duration::from_secs(self.length.seconds().into());
        let mut pages = 0;
        let took = seconds(|| -> Result<()> {
            pages = served.runtime.block_on(async {
                let mut tasks = tokio::task::JoinSet::new();
                for task in 0..CONNECTIONS {
                    let (pool, asked) = (served.pool.clone(), asked.to_vec());
                    tasks.spawn(async move { ask_until(&pool, span, &asked, task as usize).await });
                }
                let mut pages = 0;
                while let Some(done) = tasks.join_next().await {
                    pages += done??;
                }
                anyhow::Ok(pages)
            })?;
            Ok(())
        })?;
        Ok(count(pages) / took)
    }
}

impl Peer for Page {
    fn name(&self) -> &str {
        if self.over_http { "axum + PostgreSQL" } else { "PostgreSQL (native)" }
    }

    fn work(&mut self) -> Result<f64> {
        let served = self.shared.served()?;
        let people = people(served, self.events)?;
        let asked = self.filter.asked(&people);
        let per_second =
            if self.over_http { self.over_http(&asked)? } else { self.natively(served, &asked)? };
        self.details.push(format!("{per_second:.0} pages/s"));
        Ok(per_second)
    }

    fn details(&mut self) -> Vec<String> {
        std::mem::take(&mut self.details)
    }
}

/// Asks over one connection for a while; how often.
async fn ask_until(pool: &Pool, span: Duration, asked: &[Asked], first: usize) -> Result<usize> {
    let client = pool.get().await?;
    let (token, end) = (hashed(TOKEN), now().plus(span));
    let mut pages = 0;
    while now() < end {
        let Asked { user, action, outcome, within } = &asked[(first + pages) % asked.len()];
        let rows = match (user, action, outcome, within) {
            (Some(user), None, None, None) => {
                let statement = client.prepare_cached(&page(BY_USER)).await?;
                client.query(&statement, &[&token, user]).await?
            }
            (None, Some(action), None, Some((from, to))) => {
                let statement = client.prepare_cached(&page(BY_ACTION_AND_WEEK)).await?;
                client.query(&statement, &[&token, action, &from.micros(), &to.micros()]).await?
            }
            (Some(user), Some(action), Some(outcome), None) => {
                let statement = client.prepare_cached(&page(BY_THREE)).await?;
                client.query(&statement, &[&token, user, action, outcome]).await?
            }
            _ => anyhow::bail!("there is no statement for this filter"),
        };
        std::hint::black_box(rows);
        pages += 1;
    }
    Ok(pages)
}

/// Everybody who acts in the history, which is filled if need be.
fn people(served: &Served, events: u64) -> Result<Vec<String>> {
    fill(served, events)?;
    served.runtime.block_on(async {
        let client = served.pool.get().await?;
        let people =
            "SELECT actor FROM history WHERE actor LIKE 'usr_%' GROUP BY actor ORDER BY min(version)";
        Ok(client.query(people, &[]).await?.iter().map(|row| row.get(0)).collect())
    })
}

/// Fills the table of the long history, once, with the mix that Settled's stores have.
pub(super) fn fill(served: &Served, events: u64) -> Result<()> {
    if served.history.get().is_some() {
        return Ok(());
    }
    fill_table(&served.runtime, &served.pool, served.cluster.folder(), events)?;
    served.history.get_or_init(|| ());
    Ok(())
}

/// Makes the table `history`, and fills it by way of a file in a folder that the server reads.
pub(super) fn fill_table(runtime: &Runtime, pool: &Pool, folder: &Path, events: u64) -> Result<()> {
    say(&format!("filling PostgreSQL: {events} events"));
    let path = folder.join("history");
    let mut file = std::io::BufWriter::new(std::fs::File::create(&path)?);
    each_event(events, |recorded| {
        let record = Record { organization: ORGANIZATION.to_owned(), ..Record::of(&recorded)? };
        writeln!(file, "{}", copied(&record))?;
        Ok(())
    })?;
    file.flush()?;
    drop(file);
    runtime.block_on(async {
        let client = pool.get().await?;
        client.batch_execute(&events_table("history")).await?;
        client.batch_execute(&format!("COPY history FROM '{}'", path.display())).await?;
        client.batch_execute(&events_indexes("history")).await?;
        client.batch_execute("VACUUM ANALYZE history").await?;
        anyhow::Ok(())
    })?;
    std::fs::remove_file(path)?;
    Ok(())
}

/// A line as `COPY` reads it.
pub(super) fn copied(record: &Record) -> String {
    let Record { organization, version, at, actor, action, resource_type, resource, outcome, rest } = record;
    // Nothing but the JSON can hold what the format escapes, and JSON escapes line breaks and tabs itself.
    let rest = rest.replace('\\', "\\\\");
    format!(
        "{organization}\t{version}\t{at}\t{actor}\t{action}\t{resource_type}\t{resource}\t{outcome}\t{rest}"
    )
}
