//! Which peers do which work.

use std::rc::Rc;

use super::{Work, bao, etcd, postgres, sqlite};
use crate::bench::history::History;
use crate::bench::{Length, Peer, ctx, read, snapshot, write};

/// What the peers share, each started when it is first asked for.
pub(super) struct All {
    length: Length,
    events: u64,
    history: Rc<History>,
    postgres: Rc<postgres::Shared>,
    etcd: Rc<etcd::Shared>,
    bao: Rc<bao::Shared>,
    backup: Rc<postgres::backup::Source>,
}

impl All {
    pub(super) fn new(length: Length, events: u64, history: &Rc<History>) -> Self {
        Self {
            length,
            events,
            history: Rc::clone(history),
            postgres: Rc::default(),
            etcd: Rc::default(),
            bao: Rc::default(),
            backup: Rc::new(postgres::backup::Source::of(snapshot::events(events, length))),
        }
    }

    pub(super) fn of(&self, work: Work) -> Vec<Box<dyn Peer>> {
        let length = self.length;
        let mut peers: Vec<Box<dyn Peer>> = Vec::new();
        match work {
            Work::Write(connections) => {
                peers.push(Box::new(postgres::settings::WriteOverHttp::new(
                    &self.postgres,
                    connections,
                    length,
                )));
                peers.push(Box::new(postgres::settings::WriteNatively::new(
                    &self.postgres,
                    connections,
                    length,
                )));
                peers.push(Box::new(etcd::Write::new(&self.etcd, connections, length)));
                peers.push(Box::new(bao::Write::new(&self.bao, connections, length)));
            }
            Work::WriteOf(what) => {
                if what == write::What::Secret {
                    peers.push(Box::new(bao::Write::new(&self.bao, 64, length)));
                }
            }
            Work::Ctx(what) => {
                if what == ctx::What::Secret {
                    peers.push(Box::new(bao::Read::new(&self.bao, length)));
                }
            }
            Work::Read(what) => {
                peers.push(Box::new(postgres::settings::Read::new(&self.postgres, what, length)));
                if what == read::What::Value {
                    peers.push(Box::new(bao::Read::new(&self.bao, length)));
                }
            }
            Work::Append => peers.push(Box::new(sqlite::Append::new(&self.history, length))),
            Work::Audit(filter) => {
                let page = |over_http| {
                    postgres::pages::Page::new(&self.postgres, filter, self.events, over_http, length)
                };
                peers.push(Box::new(page(true)));
                peers.push(Box::new(page(false)));
            }
            Work::Scan => peers.push(Box::new(sqlite::Scan::new(&self.history, length))),
            Work::Memory => {
                peers.push(Box::new(postgres::size::Memory::new(&self.postgres, self.events, length)));
            }
            // The first is what the row is held against.
            Work::Backup(snapshot::What::Take) => {
                peers.push(Box::new(sqlite::Backup::new(snapshot::events(self.events, length))));
                peers.push(Box::new(postgres::backup::Backup::dump(&self.backup)));
            }
            Work::Backup(snapshot::What::Restore) => {
                peers.push(Box::new(postgres::backup::Backup::restore(&self.backup)));
            }
            Work::Disk(events) => {
                let sqlite = |indexed| sqlite::Disk::new(&self.history, events, indexed, length);
                peers.push(Box::new(sqlite(false)));
                peers.push(Box::new(sqlite(true)));
                if events > 1 {
                    peers.push(Box::new(postgres::size::Disk::new(&self.history, events, length)));
                }
            }
        }
        peers
    }
}
