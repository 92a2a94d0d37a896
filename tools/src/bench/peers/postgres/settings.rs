//! Reading and writing settings in PostgreSQL.

use std::rc::Rc;
use std::time::Duration;

use anyhow::Result;

use super::service::WRITE;
use super::{Postgres, TOKEN, hashed};
use crate::bench::load::{BEARER, Body, Request, load};
use crate::bench::read::What;
use crate::bench::server::now;
use crate::bench::write::{BODY, VALUE_BYTES};
use crate::bench::{Length, Peer, count, seconds};

/// Reads over HTTP.
pub(in crate::bench::peers) struct Read {
    shared: Postgres,
    what: What,
    length: Length,
    details: Vec<String>,
}

impl Read {
    pub(in crate::bench::peers) fn new(shared: &Postgres, what: What, length: Length) -> Self {
        Self { shared: Rc::clone(shared), what, length, details: Vec::new() }
    }
}

/// A request to the service.
pub(super) fn request(
    shared: &Postgres,
    method: &'static str,
    path: &str,
    body: Option<Body>,
) -> Result<Request> {
    Ok(Request {
        method,
        base: shared.served()?.service.base(),
        paths: vec![path.to_owned()],
        header: BEARER,
        tokens: vec![TOKEN.to_owned()],
        headers: Vec::new(),
        body,
    })
}

impl Peer for Read {
    fn name(&self) -> &str {
        "axum + PostgreSQL"
    }

    fn work(&mut self) -> Result<f64> {
        let path = match self.what {
            What::General => "/general",
            What::Value => "/config/SETTING_0",
            What::List => "/config",
        };
        let measured = load(&request(&self.shared, "GET", path, None)?, 64, self.length.seconds(), 0)?;
        self.details.push(format!("{:.0} reads/s, {}", measured.per_second, measured.times()));
        Ok(measured.per_second)
    }

    fn details(&mut self) -> Vec<String> {
        std::mem::take(&mut self.details)
    }
}

/// Writes over HTTP.
pub(in crate::bench::peers) struct WriteOverHttp {
    shared: Postgres,
    connections: u32,
    length: Length,
    seed: u32,
    details: Vec<String>,
}

impl WriteOverHttp {
    pub(in crate::bench::peers) fn new(shared: &Postgres, connections: u32, length: Length) -> Self {
        Self { shared: Rc::clone(shared), connections, length, seed: 0, details: Vec::new() }
    }
}

impl Peer for WriteOverHttp {
    fn name(&self) -> &str {
        "axum + PostgreSQL"
    }

    fn work(&mut self) -> Result<f64> {
        self.seed += 1;
        let request = request(&self.shared, "PUT", "/config/SETTING_%d", Some(BODY))?;
        let measured = load(&request, self.connections, self.length.seconds(), self.seed)?;
        self.details.push(format!("{:.0} writes/s, {}", measured.per_second, measured.times()));
        Ok(measured.per_second)
    }

    fn details(&mut self) -> Vec<String> {
        std::mem::take(&mut self.details)
    }
}

/// Writes with the driver, without HTTP.
pub(in crate::bench::peers) struct WriteNatively {
    shared: Postgres,
    connections: u32,
    length: Length,
    /// What was written last: each value is another one.
    written: usize,
    details: Vec<String>,
}

impl WriteNatively {
    pub(in crate::bench::peers) fn new(shared: &Postgres, connections: u32, length: Length) -> Self {
        Self { shared: Rc::clone(shared), connections, length, written: 0, details: Vec::new() }
    }
}

impl Peer for WriteNatively {
    fn name(&self) -> &str {
        "PostgreSQL (native)"
    }

    fn work(&mut self) -> Result<f64> {
        let served = self.shared.served()?;
        let until = Duration::from_secs(self.length.seconds().into());
        let first = self.written;
        let mut written = 0;
        let took = seconds(|| -> Result<()> {
            written = served.runtime.block_on(async {
                let mut tasks = tokio::task::JoinSet::new();
                for task in 0..self.connections {
                    let pool = served.pool.clone();
                    let number = first + task as usize * 1_000_000;
                    tasks.spawn(async move { write_until(&pool, until, number).await });
                }
                let mut written = 0;
                while let Some(done) = tasks.join_next().await {
                    written += done??;
                }
                anyhow::Ok(written)
            })?;
            Ok(())
        })?;
        self.written += written;
        let per_second = count(written) / took;
        self.details.push(format!("{per_second:.0} writes/s"));
        Ok(per_second)
    }

    fn details(&mut self) -> Vec<String> {
        std::mem::take(&mut self.details)
    }
}

/// Writes one value after the other over one connection for a while; how many.
async fn write_until(pool: &deadpool_postgres::Pool, span: Duration, first: usize) -> Result<usize> {
    let client = pool.get().await?;
    let statement = client.prepare_cached(WRITE).await?;
    let (token, end) = (hashed(TOKEN), now().plus(span));
    let mut written = 0;
    while now() < end {
        let number = first + written;
        let (key, value) = (format!("SETTING_{}", number % 97), format!("\"{number:0>VALUE_BYTES$}\""));
        client.query(&statement, &[&token, &key, &value, &now().micros()]).await?;
        written += 1;
    }
    Ok(written)
}
