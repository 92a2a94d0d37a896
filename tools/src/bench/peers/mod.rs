//! What somebody would use instead, on the same machine in the same run: PostgreSQL, SQLite, etcd, OpenBao.
//!
//! Their drivers are heavy and serve nothing else, so they are built only with the feature `peers`, by
//! `cargo xtask bench --peers`.

use std::rc::Rc;

use anyhow::Result;

use super::audit::Filter;
use super::history::History;
use super::{Length, Options, Peer, ctx, read, snapshot, write};

#[cfg(feature = "peers")]
mod all;
#[cfg(feature = "peers")]
mod bao;
#[cfg(feature = "peers")]
mod child;
#[cfg(feature = "peers")]
mod etcd;
#[cfg(feature = "peers")]
mod postgres;
#[cfg(feature = "peers")]
mod record;
#[cfg(feature = "peers")]
mod sqlite;

/// The work of a row, as far as others do it too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// A durable write from so many connections.
    Write(u32),
    /// A durable write of what programs use, from 64 connections.
    WriteOf(write::What),
    /// A read.
    Read(read::What),
    /// A read of what programs read.
    Ctx(ctx::What),
    /// Batches appended in process.
    Append,
    /// An audit page.
    Audit(Filter),
    /// Reading everything from the first event on.
    Scan,
    /// Serving a long history.
    Memory,
    /// Keeping events, so many a commit.
    Disk(usize),
    /// A backup of a long history, taken or restored.
    Backup(snapshot::What),
}

/// The peers, if they are asked for; what they share is started when the first of them works.
pub struct Peers {
    #[cfg(feature = "peers")]
    all: Option<all::All>,
}

impl Peers {
    /// None: they were not asked for, or this build would have run again with them.
    ///
    /// # Errors
    /// None.
    #[cfg(not(feature = "peers"))]
    pub fn new(_options: &Options, _length: Length, _history: &Rc<History>) -> Result<Self> {
        Ok(Self {})
    }

    /// All of them, if they are asked for; installs what is missing.
    ///
    /// # Errors
    /// When something cannot be installed.
    #[cfg(feature = "peers")]
    pub fn new(options: &Options, length: Length, history: &Rc<History>) -> Result<Self> {
        if !options.peers {
            return Ok(Self { all: None });
        }
        crate::install::peers()?;
        Ok(Self { all: Some(all::All::new(length, options.events, history)) })
    }

    /// Those who do a work.
    #[cfg(not(feature = "peers"))]
    pub fn of(&self, _work: Work) -> Vec<Box<dyn Peer>> {
        Vec::new()
    }

    /// Those who do a work.
    #[cfg(feature = "peers")]
    pub fn of(&self, work: Work) -> Vec<Box<dyn Peer>> {
        self.all.as_ref().map(|all| all.of(work)).unwrap_or_default()
    }
}
